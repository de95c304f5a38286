//! Token buckets per organisation: requests and messages per second.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::settings::Rate;

/// Seconds in which a synchronous validation's allowance of [`SYNC_PER_MINUTE`] fills up.
const MINUTE: f64 = 60.0;
/// Synchronous validations a minute and connection.
const SYNC_PER_MINUTE: f64 = 60.0;

/// The buckets of all organisations and, for synchronous validation, of all inlets.
#[derive(Debug)]
pub(crate) struct Rates {
    rate: Option<Rate>,
    buckets: Mutex<HashMap<String, (Bucket, Bucket)>>,
    sync: Mutex<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    depth: f64,
    per_second: f64,
    at: Instant,
}

impl Rates {
    /// Buckets of this rate; none never refuses.
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::default(), sync: Mutex::default() }
    }

    /// Whether a request with so many messages may pass. The error is the text for `Retry-After`.
    /// More messages than a second's worth pass when the bucket is full, and leave it in debt.
    pub(crate) fn admit(
        &self,
        org: &str,
        messages: usize,
        now: Instant,
    ) -> Result<(), Option<String>> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (requests, contents) = buckets.entry(org.to_owned()).or_insert_with(|| {
            let bucket =
                |per_second: u32| Bucket::new(f64::from(per_second), f64::from(per_second), now);
            (bucket(rate.requests_per_second), bucket(rate.messages_per_second))
        });
        requests.fill(now);
        contents.fill(now);
        let cost = f64::from(u32::try_from(messages).unwrap_or(u32::MAX));
        if requests.level >= 1.0 && contents.level >= cost.min(contents.depth) {
            requests.level -= 1.0;
            contents.level -= cost;
            return Ok(());
        }
        Err(rate.retry_after.map(|seconds| seconds.to_string()))
    }

    /// Whether the inlet may validate one more message synchronously.
    pub(crate) fn admit_sync(&self, inlet: &str, now: Instant) -> bool {
        let mut buckets = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .entry(inlet.to_owned())
            .or_insert_with(|| Bucket::new(SYNC_PER_MINUTE, SYNC_PER_MINUTE / MINUTE, now));
        bucket.fill(now);
        let admitted = bucket.level >= 1.0;
        if admitted {
            bucket.level -= 1.0;
        }
        admitted
    }
}

impl Bucket {
    fn new(depth: f64, per_second: f64, at: Instant) -> Self {
        Self { level: depth, depth, per_second, at }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.depth);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn requests_and_messages_have_a_bucket_each() {
        let rate = Rate { requests_per_second: 2, messages_per_second: 10, retry_after: Some(1) };
        let rates = Rates::new(Some(rate));
        let now = Instant::now();
        assert!(rates.admit("a", 1, now).is_ok());
        assert!(rates.admit("a", 1, now).is_ok());
        assert_eq!(
            rates.admit("a", 1, now),
            Err(Some("1".to_owned())),
            "third request in a second"
        );
        assert!(rates.admit("b", 10, now).is_ok(), "another organisation has its own");
        assert!(rates.admit("b", 1, now).is_err(), "eleventh message in a second");
        let later = now + Duration::from_secs(1);
        assert!(rates.admit("a", 25, later).is_ok(), "a full bucket admits a large request");
        assert!(
            rates.admit("a", 1, later + Duration::from_secs(1)).is_err(),
            "and is in debt then"
        );
        assert!(rates.admit("a", 1, later + Duration::from_secs(3)).is_ok());
    }

    #[test]
    fn sixty_synchronous_validations_a_minute() {
        let rates = Rates::new(None);
        let now = Instant::now();
        let passed = (0..70).filter(|_| rates.admit_sync("a", now)).count();
        assert_eq!(passed, 60);
        assert!(rates.admit_sync("a", now + Duration::from_secs(1)));
    }
}
