//! How far a partition lags behind its log's end, and how fast that moves. Known of paused partitions,
//! too: that is when it matters.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::assigned::Assigned;
use crate::kafka::{LogEnds, Retentions};

/// How often the brokers are asked where logs end: one request a broker, and what is said of the
/// backlog is no older.
const INTERVAL: Duration = Duration::from_secs(2);

/// Every so many rounds they are asked how many partitions there are, too.
const COUNTED_EVERY: usize = 10;

/// How often they are asked how long topics keep their records, and where a topic is new.
const RETENTION_INTERVAL: Duration = Duration::from_mins(5);

/// How long they may take. A stop waits for it where no broker answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time over which arrivals are averaged.
const WINDOW: Duration = Duration::from_secs(30);

/// Where one log ended lately. Pure.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Oldest first; one of them may be older than the window, the rest are not.
    ends: VecDeque<(Instant, i64)>,
}

impl Backlog {
    /// Notes where the log ends now.
    pub(super) fn note(&mut self, now: Instant, end: i64) {
        if self.ends.back().is_some_and(|(_, last)| end < *last) {
            // Another log, or one that the brokers have lost a part of.
            self.ends.clear();
        }
        self.ends.push_back((now, end));
        while self.ends.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.ends.pop_front();
        }
    }

    /// One above the newest record, where it is known.
    pub(super) fn end(&self) -> Option<i64> {
        self.ends.back().map(|(_, end)| *end)
    }

    /// Records that come in a second, over the window; none before it was looked twice.
    pub(super) fn arrival_per_second(&self) -> Option<f64> {
        let ((since, first), (until, last)) = (self.ends.front()?, self.ends.back()?);
        let seconds = until.duration_since(*since).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate of half a minute")]
        (seconds > 0.0).then(|| (last - first) as f64 / seconds)
    }
}

/// Keeps what is known of backlogs fresh, on a thread of its own: a broker that does not answer must
/// not stop the polling. Ends with this handle.
pub(super) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to ask.
    pub(super) fn start(
        ends: LogEnds,
        retentions: Retentions,
        assigned: &Arc<Assigned>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let asked = (Instant::now(), BTreeSet::new());
        let mut looker = Looker { ends, retentions, asked, assigned: Arc::clone(assigned) };
        let run = move || {
            for round in 0.. {
                if round % COUNTED_EVERY == 0 || looker.assigned.all_partitions() == 0 {
                    looker.count();
                }
                looker.look();
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("backlog".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Asks no more; does not wait for the end.
    pub(super) fn stop(&mut self) {
        self.stop.take();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that asks for the ends of logs panicked");
        }
    }
}

/// What the thread asks, and when it asked for retentions of which topics.
struct Looker {
    ends: LogEnds,
    retentions: Retentions,
    asked: (Instant, BTreeSet<Arc<str>>),
    assigned: Arc<Assigned>,
}

impl Looker {
    /// How many partitions the topics have: the share of the quota is a part of all of them.
    fn count(&self) {
        for topic in self.assigned.topics() {
            match self.ends.partitions(&topic, PATIENCE) {
                Ok(count) => self.assigned.note_partitions(&topic, count),
                Err(error) => {
                    // Nor would they tell of the other topics, and a stop waits for this.
                    tracing::debug!(%error, topic, "cannot ask for partitions; asked again");
                    return;
                }
            }
        }
    }

    fn look(&mut self) {
        let ids = self.assigned.ids();
        if ids.is_empty() {
            return;
        }
        match self.ends.ask(&ids, PATIENCE) {
            Ok(found) => self.assigned.note_ends(&found, Instant::now()),
            Err(error) => {
                // Nor would they tell about topics.
                tracing::debug!(%error, "cannot ask for the ends of logs; asked again");
                return;
            }
        }
        let topics: BTreeSet<Arc<str>> = ids.into_iter().map(|id| id.topic).collect();
        let (at, asked) = &self.asked;
        if at.elapsed() >= RETENTION_INTERVAL || !topics.is_subset(asked) {
            self.assigned.note_retentions(self.retentions.ask(&topics, PATIENCE));
            self.asked = (Instant::now(), topics);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(looks: &[(u64, i64)]) -> Backlog {
        let (begin, mut backlog) = (Instant::now(), Backlog::default());
        for (second, end) in looks {
            backlog.note(begin + Duration::from_secs(*second), *end);
        }
        backlog
    }

    #[test]
    fn arrivals_are_averaged_over_the_window() {
        assert_eq!(backlog(&[]).arrival_per_second(), None);
        assert_eq!(backlog(&[(0, 7)]).arrival_per_second(), None);
        assert_eq!(backlog(&[(0, 7), (5, 57)]).arrival_per_second(), Some(10.0));
        // What was more than half a minute ago weighs nothing any more.
        let looks: Vec<(u64, i64)> = (0..20)
            .map(|at| (at * 5, if at < 4 { 1_000 * i64::try_from(at).unwrap() } else { 3_000 }))
            .collect();
        assert_eq!(backlog(&looks).arrival_per_second(), Some(0.0));
        // Looks that failed leave the last one before the window.
        assert_eq!(backlog(&[(0, 0), (100, 1_000)]).arrival_per_second(), Some(10.0));
    }

    #[test]
    fn a_log_that_ends_earlier_is_another() {
        let backlog = backlog(&[(0, 500), (5, 600), (10, 3)]);
        assert_eq!((backlog.end(), backlog.arrival_per_second()), (Some(3), None));
    }
}
