//! The replay itself: reads letters, runs their records, sends what is repaired, keeps the progress.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::count::{After, Count};
use super::courier::{Courier, Parcel};
use super::letters::{Group, Letters, Ticket};
use crate::deliver::{Message, Verdict};
use crate::fault::Code;
use crate::generation::Pipeline;
use crate::id::Ids;
use crate::plugin::{RunError, Runner};
use crate::trial::{Attempt, attempt_first};

/// What records may have become before it is sent.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// How long the brokers may take to answer a commit.
const COMMIT: Duration = Duration::from_secs(10);

/// How long to wait before the last commit is tried again.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All letters were dealt with.
    Complete,
    /// It was told to stop; what was done is committed.
    Stopped,
    /// What was done is not committed: it is done again under the same ids.
    NotCommitted,
}

/// A replay of one pipeline.
pub(super) struct Replay<'a> {
    pub(super) pipeline: &'a Pipeline,
    /// Goes into the ids.
    pub(super) cluster: String,
    pub(super) runner: Runner,
    pub(super) letters: Letters,
    pub(super) courier: Courier,
    pub(super) deliver: bool,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) count: Count,
    /// By topic.
    pub(super) ids: BTreeMap<Arc<str>, Ids>,
    /// How long the last commit may take after it was told to stop.
    pub(super) grace: Duration,
}

/// What letters became that is to be sent.
#[derive(Default)]
struct Round {
    letters: Vec<Option<Pending>>,
    parcels: BTreeMap<Arc<str>, Vec<Parcel>>,
    bytes: usize,
}

/// A letter whose events are on their way.
struct Pending {
    ticket: Ticket,
    open: usize,
    refused: Option<Code>,
}

impl Replay<'_> {
    /// Goes through all letters.
    pub(super) fn run(&mut self) -> anyhow::Result<Ended> {
        if self.deliver {
            // Whoever may not commit would deliver the same with every run.
            self.letters.commit(COMMIT)?;
        }
        let complete = loop {
            if self.courier.is_stopped() {
                break false;
            }
            let Some(groups) = self.letters.read(&mut self.count, &self.stop)? else { break true };
            if !self.work(groups)? {
                break false;
            }
        };
        if self.deliver && !self.commit_all() {
            return Ok(Ended::NotCommitted);
        }
        Ok(if complete { Ended::Complete } else { Ended::Stopped })
    }

    /// Deals with letters; false where it was told to stop meanwhile.
    fn work(&mut self, groups: Vec<Group>) -> anyhow::Result<bool> {
        let mut round = Round::default();
        for mut group in groups {
            let ids = self.ids.entry(Arc::clone(&group.source.topic)).or_insert_with(|| {
                let Pipeline { id_epoch, name, .. } = self.pipeline;
                Ids::new(&self.cluster, &group.source.topic, id_epoch, name)
            });
            let ids = ids.clone();
            while !group.records.is_empty() {
                let (source, records) = (&group.source, &group.records);
                let attempts =
                    match attempt_first(self.pipeline, &mut self.runner, &ids, source, records) {
                        Ok(attempts) => attempts,
                        Err(RunError::Stopped) => return Ok(false),
                        Err(error) => return Err(error.into()),
                    };
                let done = attempts.len().min(group.records.len());
                group.records.drain(..done);
                for (ticket, attempt) in group.tickets.drain(..done).zip(attempts) {
                    self.judge(ticket, attempt, &mut round);
                }
                if round.bytes > BYTES_AT_ONCE && !self.send(std::mem::take(&mut round)) {
                    return Ok(false);
                }
            }
        }
        Ok(self.send(round))
    }

    /// Decides what can be decided of a letter, and keeps its events for sending.
    fn judge(&mut self, ticket: Ticket, attempt: Attempt, round: &mut Round) {
        let after = match attempt {
            Attempt::Filter(_) => After::Filtered,
            Attempt::Reject(fault) => After::Fault(fault.code),
            Attempt::Emit(events) => match self.courier.encode(&ticket.accepted, events) {
                Err(code) => After::Fault(code),
                Ok(messages) if messages.is_empty() => After::AcceptedBefore,
                Ok(messages) if self.deliver => return round.add(ticket, messages),
                Ok(messages) => {
                    self.count.events += messages.len() as u64;
                    After::Valid
                }
            },
        };
        self.settle(&ticket, after);
    }

    /// Sends, and notes the verdicts; false where it was told to stop meanwhile.
    fn send(&mut self, mut round: Round) -> bool {
        for (destination, parcels) in std::mem::take(&mut round.parcels) {
            for request in self.courier.cut(&destination, parcels) {
                let (messages, letters): (Vec<Message>, Vec<usize>) =
                    request.into_iter().map(|parcel| (parcel.message, parcel.letter)).unzip();
                let Some(verdicts) = self.courier.send(&destination, &messages) else {
                    return false;
                };
                self.answer(&mut round, letters.into_iter().zip(verdicts));
                self.letters.commit_if_due(COMMIT);
            }
        }
        true
    }

    fn answer(&mut self, round: &mut Round, verdicts: impl Iterator<Item = (usize, Verdict)>) {
        for (letter, verdict) in verdicts {
            self.count.events += u64::from(verdict == Verdict::Accepted);
            if let Some((ticket, after)) = round.answer(letter, verdict) {
                self.settle(&ticket, after);
            }
        }
    }

    fn settle(&mut self, ticket: &Ticket, after: After) {
        self.count.add(ticket.before, after);
        self.letters.settle(ticket);
    }

    /// Commits all that was done; false where it could not be.
    /// Commits what was done before an error, as far as that is possible.
    pub(super) fn commit_last(&mut self) {
        if self.deliver
            && let Err(error) = self.letters.commit(COMMIT)
        {
            tracing::warn!(%error, "progress is not committed");
        }
    }

    fn commit_all(&mut self) -> bool {
        loop {
            let stopped = self.courier.is_stopped();
            match self.letters.commit(if stopped { self.grace } else { COMMIT }) {
                Ok(()) => return true,
                Err(error) => tracing::warn!(%error, "progress is not committed"),
            }
            if stopped {
                return false;
            }
            self.courier.rest(COMMIT_AGAIN);
        }
    }
}

impl Round {
    fn add(&mut self, ticket: Ticket, messages: Vec<(Arc<str>, Message)>) {
        let letter = self.letters.len();
        self.letters.push(Some(Pending { ticket, open: messages.len(), refused: None }));
        for (destination, message) in messages {
            self.bytes += message.bytes.len();
            self.parcels.entry(destination).or_default().push(Parcel { message, letter });
        }
    }

    /// Notes a verdict; with the letter's last one, what became of it.
    fn answer(&mut self, letter: usize, verdict: Verdict) -> Option<(Ticket, After)> {
        let slot = self.letters.get_mut(letter)?;
        let pending = slot.as_mut()?;
        pending.open -= 1;
        if let Verdict::Refused(fault) = verdict {
            pending.refused = pending.refused.or(Some(fault.code));
        }
        if pending.open > 0 {
            return None;
        }
        let Pending { ticket, refused, .. } = slot.take()?;
        Some((ticket, refused.map_or(After::Delivered, After::Fault)))
    }
}
