//! How long a backlog takes to drain.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::time::{Duration, Instant};

/// Over which time the rate is measured: long enough for some requests at a small share of the
/// quota.
const WINDOW: Duration = Duration::from_secs(10);

/// What is known of the process at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// When.
    pub(super) at: Instant,
    /// Records settled since the start.
    pub(super) settled: u64,
    /// Messages accepted by AEP since the start.
    pub(super) accepted: u64,
    /// Records that are not settled, up to the logs' ends.
    pub(super) backlog: u64,
    /// Records a second that come in.
    pub(super) arriving: f64,
    /// Messages a second that the quota lets out.
    pub(super) quota: f64,
    /// No destination waits.
    pub(super) open: bool,
}

/// How fast a backlog drains, as far as it was seen.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// Since when there is a backlog, all destinations are open, and the quota is the same.
    since: Option<Sample>,
    last: Option<Sample>,
    /// Records a second that were settled while a backlog was there, under which quota.
    seen: Option<(f64, f64)>,
}

impl Drain {
    /// Notes how things stand; about once a second.
    pub(super) fn note(&mut self, now: Sample) {
        // Some seconds' arrivals are on their way anyway; then what goes out is what comes in.
        let busy = now.open && now.backlog as f64 > 10.0 * now.arriving.max(0.1);
        let begun = self.since.filter(|since| busy && same(since.quota, now.quota));
        match begun {
            Some(since) if now.at - since.at >= WINDOW => {
                let seconds = (now.at - since.at).as_secs_f64();
                let settled = now.settled.saturating_sub(since.settled);
                self.seen = Some((settled as f64 / seconds, now.quota));
                self.since = Some(now);
            }
            Some(_) => {}
            None => self.since = busy.then_some(now),
        }
        self.last = Some(now);
    }

    /// How long the backlog takes to drain once AEP takes requests; none where more comes in than
    /// goes out, or nothing is known.
    pub(super) fn estimate(&self) -> Option<Duration> {
        let now = self.last?;
        if now.backlog == 0 {
            return Some(Duration::ZERO);
        }
        // While nothing was accepted yet, nobody knows how many events a record becomes.
        let events = if now.settled == 0 || (now.accepted == 0 && !now.open) {
            1.0
        } else {
            now.accepted as f64 / now.settled as f64
        };
        // A pipeline that filters everything is not held by the quota.
        let by_quota = if events > 0.0 { now.quota / events } else { f64::INFINITY };
        let seen = self.seen.filter(|&(_, quota)| same(quota, now.quota)).map(|(rate, _)| rate);
        let out = by_quota.min(seen.unwrap_or(f64::INFINITY));
        if !out.is_finite() {
            return None;
        }
        let seconds = now.backlog as f64 / (out - now.arriving);
        (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
    }
}

/// Whether two quotas are the same but for what a 429 changes from second to second.
fn same(one: f64, other: f64) -> bool {
    (one - other).abs() <= 0.05 * one.max(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, backlog: u64) -> Sample {
        Sample { at, settled: 0, accepted: 0, backlog, arriving: 0.0, quota: 10_000.0, open: true }
    }

    fn seconds(drain: &Drain) -> Option<u64> {
        drain.estimate().map(|estimate| estimate.as_secs())
    }

    #[test]
    fn while_aep_is_away_the_quota_says_how_long_it_will_take() {
        let (mut drain, now) = (Drain::default(), Instant::now());
        assert_eq!(seconds(&drain), None);
        drain.note(Sample { open: false, arriving: 5_000.0, ..sample(now, 3_000_000) });
        assert_eq!(seconds(&drain), Some(600));
        // Two events a record use the quota up.
        let two = Sample { settled: 1_000, accepted: 2_000, ..sample(now, 3_000_000) };
        drain.note(Sample { arriving: 5_001.0, open: false, ..two });
        assert_eq!(seconds(&drain), None);
        drain.note(Sample { arriving: 0.0, ..two });
        assert_eq!(seconds(&drain), Some(600));
        // What was filtered before AEP took anything says nothing of the rest.
        drain.note(Sample { settled: 1_000, open: false, ..sample(now, 3_000_000) });
        assert_eq!(seconds(&drain), Some(300));
        drain.note(Sample { settled: 1_000, ..sample(now, 3_000_000) });
        assert_eq!(seconds(&drain), None);
        drain.note(sample(now, 0));
        assert_eq!(seconds(&drain), Some(0));
    }

    #[test]
    fn a_rate_below_the_quota_counts_once_it_was_seen_under_that_quota() {
        let (mut drain, now) = (Drain::default(), Instant::now());
        for second in 0..=10 {
            let at = now + Duration::from_secs(second);
            let settled = 1_000 * second;
            let all = Sample { settled, accepted: settled, ..sample(at, 100_000) };
            drain.note(all);
        }
        assert_eq!(seconds(&drain), Some(100));
        let at = now + Duration::from_secs(11);
        let all = Sample { settled: 11_000, accepted: 11_000, ..sample(at, 100_000) };
        drain.note(Sample { open: false, ..all });
        assert_eq!(seconds(&drain), Some(100), "an outage does not change what was seen");
        drain.note(Sample { quota: 5_000.0, ..all });
        assert_eq!(seconds(&drain), Some(20));
    }

    #[test]
    fn without_a_backlog_nothing_is_learned() {
        let (mut drain, now) = (Drain::default(), Instant::now());
        for second in 0..=20 {
            let at = now + Duration::from_secs(second);
            let settled = 100 * second;
            drain.note(Sample { settled, accepted: settled, arriving: 100.0, ..sample(at, 50) });
        }
        drain.note(Sample { accepted: 2_000, settled: 2_000, ..sample(now, 100_000) });
        assert_eq!(seconds(&drain), Some(10));
    }
}
