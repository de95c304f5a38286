//! What runs beside the generation that runs: a shadow or a canary, one at a time. Workers look here before
//! each call.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::canary::{Pair, Split};
use super::shadow::Tap;
use crate::generation::Pipeline;

/// What runs beside.
#[derive(Clone)]
pub enum Trial {
    /// A candidate that is shown records and delivers nothing.
    Shadow(Arc<Tap>),
    /// A candidate that has a share of the keys.
    Canary(Arc<Split>),
}

impl Trial {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Shadow(one), Self::Shadow(other)) => Arc::ptr_eq(one, other),
            (Self::Canary(one), Self::Canary(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// The place for it.
#[derive(Default)]
pub struct Beside {
    /// All that a call costs where nothing is there.
    is_taken: AtomicBool,
    trial: RwLock<Option<Trial>>,
}

impl Beside {
    /// What is there.
    pub fn get(&self) -> Option<Trial> {
        if !self.is_taken.load(Ordering::Acquire) {
            return None;
        }
        self.trial.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The two sides of a pipeline's canary, where one is there for just this pipeline of just this
    /// generation.
    pub fn canary(&self, pipeline: &Arc<Pipeline>) -> Option<Arc<Pair>> {
        match self.get()? {
            Trial::Canary(split) => split.pair(pipeline),
            Trial::Shadow(_) => None,
        }
    }

    /// Puts something there; not where something is.
    pub(super) fn put(&self, trial: Trial) -> Result<(), Taken> {
        let mut place = self.trial.write().unwrap_or_else(PoisonError::into_inner);
        let word = match &*place {
            None => {
                *place = Some(trial);
                self.is_taken.store(true, Ordering::Release);
                return Ok(());
            }
            Some(Trial::Shadow(_)) => "shadow",
            Some(Trial::Canary(_)) => "canary",
        };
        Err(Taken(word))
    }

    /// Takes it away, where it is still there.
    pub(super) fn take(&self, trial: &Trial) {
        let mut place = self.trial.write().unwrap_or_else(PoisonError::into_inner);
        if place.as_ref().is_some_and(|there| there.is_same(trial)) {
            self.is_taken.store(false, Ordering::Release);
            *place = None;
        }
    }
}

/// Something runs beside already.
#[derive(Debug, thiserror::Error)]
#[error("a {0} runs already, and only one thing runs beside at a time: stop it first")]
pub struct Taken(&'static str);

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("is_taken", &self.is_taken).finish_non_exhaustive()
    }
}
