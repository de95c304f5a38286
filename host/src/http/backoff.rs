//! How long to wait before trying again: full jitter, with the server's `Retry-After` as a floor.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The longest `Retry-After` that is believed: whoever says more is asked again after this time.
pub const RETRY_AFTER_CAP: Duration = Duration::from_mins(5);

/// Exponential back-off with full jitter.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The ceiling of the first wait.
    pub base: Duration,
    /// The ceiling of every wait.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after failure number `attempt` (from 1): evenly spread between nothing and a
    /// ceiling that doubles with each attempt, and never shorter than `floor`. `dice` decides.
    pub fn delay(self, attempt: u32, floor: Option<Duration>, dice: u64) -> Duration {
        let jittered = spread(self.ceiling(attempt), dice);
        jittered.max(floor.unwrap_or(Duration::ZERO))
    }

    /// The longest wait after failure number `attempt`.
    fn ceiling(self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1_u32 << doublings).min(self.cap)
    }
}

/// A share of `whole` between none and all of it, as `dice` decides.
pub fn spread(whole: Duration, dice: u64) -> Duration {
    /// Even shares: enough for any wait, exact in `f64`.
    const SIDES: u64 = 1 << 32;
    #[expect(clippy::cast_precision_loss, reason = "both are at most 2^32")]
    let share = (dice % (SIDES + 1)) as f64 / SIDES as f64;
    whole.mul_f64(share)
}

/// Random numbers for jitter; not for secrets.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// Dice that fall differently in every process.
    pub fn new() -> Self {
        Self(AtomicU64::new(RandomState::new().hash_one("dice")))
    }

    /// The next number (`SplitMix64`).
    pub fn roll(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date; at most [`RETRY_AFTER_CAP`]. None where it is
/// neither.
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(RETRY_AFTER_CAP))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff =
        Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(30) };

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let ceilings: Vec<u64> = [1, 2, 3, 7, 8, 9, u32::MAX]
            .map(|n| BACKOFF.delay(n, None, 1 << 32).as_millis().try_into().unwrap())
            .to_vec();
        assert_eq!(ceilings, [250, 500, 1_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(BACKOFF.delay(9, None, 0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_wait_keeps_its_bounds(attempt in 0_u32.., dice: u64, floor in 0_u64..100) {
            let floor = Duration::from_secs(floor);
            let wait = BACKOFF.delay(attempt, Some(floor), dice);
            prop_assert!(wait >= floor && wait <= floor.max(BACKOFF.cap));
            prop_assert!(BACKOFF.delay(attempt, None, dice) <= BACKOFF.cap);
        }
    }

    #[test]
    fn jitter_is_spread_evenly() {
        let dice = Dice::new();
        let mut quarters = [0_u32; 4];
        for _ in 0..4_000 {
            let share = spread(Duration::from_secs(4), dice.roll()).as_secs().min(3);
            quarters[usize::try_from(share).unwrap()] += 1;
        }
        // 1,000 expected; six standard deviations are 165.
        assert!(quarters.iter().all(|&n| (835..1_165).contains(&n)), "{quarters:?}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(read("7"), Some(7));
        assert_eq!(read(" 0 "), Some(0));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(read("86400"), Some(300));
        assert_eq!(read("99999999999999999999999"), Some(300));
        assert_eq!((read("soon"), read(""), read("-1")), (None, None, None));
    }
}
