//! Readiness: a latch that is released in parts and never closes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What must have happened once before the process is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A generation is live.
    Generation,
    /// A token was had, where there is a credential.
    Token,
    /// The topics are subscribed to. An assignment is not waited for: a spare member has none.
    Subscription,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Generation, Self::Token, Self::Subscription];

    /// What is waited for, in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generation => "a live generation",
            Self::Token => "a token",
            Self::Subscription => "the subscription",
        }
    }
}

/// The latch; clones are the same latch.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<[AtomicBool; Part::ALL.len()]>);

impl Ready {
    /// A latch with all parts to be released.
    pub fn new() -> Self {
        Self::default()
    }

    /// Releases one part, for good.
    pub fn release(&self, part: Part) {
        if let Some(released) = self.0.get(part as usize) {
            released.store(true, Ordering::Release);
        }
    }

    /// Whether all parts are released.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// What is still waited for.
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = Part::ALL.into_iter().zip(self.0.iter());
        parts.filter(|(_, is)| !is.load(Ordering::Acquire)).map(|(part, _)| part.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latch_is_released_in_parts() {
        let ready = Ready::new();
        ready.release(Part::Token);
        assert_eq!(ready.missing(), ["a live generation", "the subscription"]);
        ready.clone().release(Part::Generation);
        ready.release(Part::Subscription);
        assert!(ready.is_ready());
    }
}
