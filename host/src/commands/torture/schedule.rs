//! What goes wrong when: made from a seed, so that a run can be had again. Pure.

use std::time::Duration;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A process is killed with SIGKILL and started again.
    Kill,
    /// A process is asked to stop with SIGTERM and started again.
    Stop,
    /// One more process joins the group, and leaves it.
    Join,
    /// AEP answers 503.
    Outage,
    /// AEP answers 429.
    Throttle,
    /// AEP takes requests and resets the connection in place of the answer.
    Reset,
    /// AEP answers late.
    Slow,
    /// All tokens are revoked.
    Revoke,
    /// A broker is killed with SIGKILL; whoever supervises it starts it again.
    Broker,
    /// The mapping is replaced, and the processes are told.
    Reload,
    /// A process goes back to the generation that it ran before.
    Rollback,
    /// A process gives a share of the records to a candidate with another mapping.
    Canary,
}

impl Kind {
    /// All kinds, in the order of the report.
    pub(super) const ALL: [Self; 12] = [
        Self::Kill,
        Self::Stop,
        Self::Join,
        Self::Outage,
        Self::Throttle,
        Self::Reset,
        Self::Slow,
        Self::Revoke,
        Self::Broker,
        Self::Reload,
        Self::Rollback,
        Self::Canary,
    ];

    /// The kind's name in the report.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::Stop => "SIGTERM",
            Self::Join => "join and leave",
            Self::Outage => "outage",
            Self::Throttle => "429",
            Self::Reset => "reset after body",
            Self::Slow => "slow answers",
            Self::Revoke => "tokens revoked",
            Self::Broker => "broker kill",
            Self::Reload => "reload",
            Self::Rollback => "rollback",
            Self::Canary => "canary",
        }
    }

    /// By when one has to begin, of a hundred parts of the time: what shows in events needs records behind it.
    fn latest(self) -> u64 {
        match self {
            // A rule needs some seconds of them.
            Self::Canary => 40,
            Self::Reload => 80,
            Self::Rollback => 90,
            _ => 100,
        }
    }

    /// The shortest and the longest time that one lasts, in milliseconds.
    fn lasts(self) -> (u64, u64) {
        match self {
            Self::Kill | Self::Stop => (100, 2_000),
            Self::Join => (3_000, 6_000),
            Self::Outage => (500, 4_000),
            Self::Throttle | Self::Reset => (500, 2_000),
            Self::Slow | Self::Reload | Self::Canary => (500, 3_000),
            Self::Revoke | Self::Rollback => (100, 100),
            Self::Broker => (1_000, 5_000),
        }
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// When it begins.
    pub(super) at: Duration,
    /// How long it lasts.
    pub(super) lasts: Duration,
    /// What.
    pub(super) kind: Kind,
    /// Chooses whom it hits.
    pub(super) whom: usize,
}

/// Faults over a time, in order: of each kind as many as asked for, each at any time.
pub(super) fn make(seed: u64, over: Duration, counts: &[(Kind, usize)]) -> Vec<Fault> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let over = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
    let mut faults = Vec::new();
    for (kind, count) in counts {
        for _ in 0..*count {
            let (shortest, longest) = kind.lasts();
            faults.push(Fault {
                // The group and the first records come first.
                at: Duration::from_millis(dice.u64(over / 20..=over * kind.latest() / 100)),
                lasts: Duration::from_millis(dice.u64(shortest..=longest)),
                kind: *kind,
                whom: dice.usize(..),
            });
        }
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_schedule_again() {
        let minute = Duration::from_mins(1);
        let counts = [(Kind::Kill, 5), (Kind::Outage, 3)];
        let first = make(7, minute, &counts);
        assert_eq!(first, make(7, minute, &counts));
        assert_ne!(first, make(8, minute, &counts));
        assert_eq!(first.iter().filter(|fault| fault.kind == Kind::Kill).count(), 5);
        assert!(first.is_sorted_by_key(|fault| fault.at));
    }
}
