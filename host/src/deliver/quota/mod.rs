//! This process's share of the organisation's quota, over all its destinations.
//!
//! A request costs time: so long as the quota says that its messages, or the request itself, take.
//! Requests go one after the other, each when those before it are paid for; who is next is decided
//! between the destinations, so that one with much to send does not keep another waiting.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::config;

/// So much unused quota may be caught up on: short beside the second that AEP counts by, so that
/// several processes together do not exceed it.
const CREDIT: Duration = Duration::from_millis(100);

/// The share before the group has said which partitions are ours: little, since others that start now
/// do not know either.
const FIRST_SHARE: f64 = 0.05;

/// What a 429 leaves of the share, and what any number of them leave at least.
const LOWERED: f64 = 0.7;
const LOWEST: f64 = 0.1;
/// Requests that were on their way together are throttled together: that counts once.
const ONE_THROTTLING: Duration = Duration::from_secs(1);
/// What a second without a 429 gives back of the share.
const REGAINED_PER_SECOND: f64 = 0.02;

/// The share of the organisation's quota that this process uses (design 5.16).
pub struct Quota {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

/// What `/status` shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuotaStatus {
    /// The share of the organisation's quota, from 0 to 1, lowered after a 429.
    pub share: f64,
    /// Messages that may be sent in a second.
    pub messages_per_second: f64,
    /// Requests that wait for their turn.
    pub waiting: usize,
}

impl Quota {
    /// The configured share of the quota, or little of it until the partitions are known.
    pub fn new(settings: &config::Quota) -> Self {
        Self { state: Mutex::new(State::new(settings)), changed: watch::Sender::new(()) }
    }

    /// Other settings from now on. What is owed, the line, and what a 429 lowered stay; a share that was
    /// fixed and is no longer stays until the partitions are told again.
    pub fn reconfigure(&self, settings: &config::Quota) {
        self.lock().reconfigure(settings);
        self.changed.send_replace(());
    }

    /// Tells how many of the topics' partitions are assigned to this process. Without one the share
    /// stays: what is on its way has to end.
    pub fn set_partitions(&self, assigned: usize, all: usize) {
        if assigned > 0 && all > 0 {
            let mut state = self.lock();
            if state.fixed {
                return;
            }
            state.share = ratio(assigned, all).min(1.0);
            drop(state);
            self.changed.send_replace(());
        }
    }

    /// AEP answered 429: the share is lowered for a while.
    pub(super) fn lower(&self) {
        self.lock().lower(Instant::now());
    }

    /// Waits until a request with so many messages may be sent. Its turn is taken back where it is not
    /// [used](Turn::used).
    pub(super) async fn turn<'a>(&'a self, destination: &'a str, messages: usize) -> Turn<'a> {
        let mut changed = self.changed.subscribe();
        let ticket = self.lock().line_up(destination, messages);
        let mut turn = Turn { quota: self, destination, ticket, had: false };
        loop {
            changed.borrow_and_update();
            let ask = self.lock().ask(&turn.ticket, Instant::now());
            // The sender lives as long as `self`; either end is a reason to ask again.
            match ask {
                Ask::Go => break,
                Ask::WaitUntil(until) => {
                    drop(tokio::time::timeout_at(until, changed.changed()).await);
                }
                Ask::WaitForChange => drop(changed.changed().await),
            }
        }
        turn.had = true;
        self.changed.send_replace(());
        turn
    }

    /// What `/status` shows.
    pub fn status(&self) -> QuotaStatus {
        let state = self.lock();
        let share = state.share * state.left(Instant::now());
        QuotaStatus {
            share,
            messages_per_second: state.messages_per_second * share,
            waiting: state.line.len(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_precision_loss, reason = "partitions and messages are far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// A request's place in the line, then its turn. Dropped unused, it costs nothing.
pub(super) struct Turn<'a> {
    quota: &'a Quota,
    destination: &'a str,
    ticket: Ticket,
    had: bool,
}

impl Turn<'_> {
    /// The request is sent now.
    pub(super) fn used(self) {
        // Paid for already; what is left to do on a drop is for those that are not used.
        std::mem::forget(self);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.quota.lock().give_back(self.destination, &self.ticket, self.had, Instant::now());
        self.quota.changed.send_replace(());
    }
}

/// The quota itself, pure: `now` is an argument.
#[derive(Debug)]
struct State {
    messages_per_second: f64,
    requests_per_second: f64,
    share: f64,
    /// The configuration gives the share.
    fixed: bool,
    /// What is left of the share after a 429, and since when.
    lowered: Option<(f64, Instant)>,
    /// Seconds of the whole quota that what was sent still owes; below 0 it is credit. As of when.
    owed: (f64, Option<Instant>),
    line: BTreeSet<Ticket>,
    /// Start-time fair queueing: how far each destination got, in nanoseconds of the whole quota,
    /// and how far the one did that went last.
    reached: HashMap<String, u64>,
    last: u64,
    tickets: u64,
}

/// Who goes first: whose destination got least, then who came first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    start: u64,
    number: u64,
    messages: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Go,
    WaitUntil(Instant),
    WaitForChange,
}

impl State {
    fn new(settings: &config::Quota) -> Self {
        Self {
            messages_per_second: f64::from(settings.messages_per_second),
            requests_per_second: f64::from(settings.requests_per_second),
            share: settings.share.unwrap_or(FIRST_SHARE),
            fixed: settings.share.is_some(),
            lowered: None,
            owed: (0.0, None),
            line: BTreeSet::new(),
            reached: HashMap::new(),
            last: 0,
            tickets: 0,
        }
    }

    fn reconfigure(&mut self, settings: &config::Quota) {
        self.messages_per_second = f64::from(settings.messages_per_second);
        self.requests_per_second = f64::from(settings.requests_per_second);
        self.share = settings.share.unwrap_or(self.share);
        self.fixed = settings.share.is_some();
    }

    fn line_up(&mut self, destination: &str, messages: usize) -> Ticket {
        let before = self.reached.get(destination).copied().unwrap_or_default();
        // Who had nothing to send saves nothing up.
        let start = before.max(self.last);
        let cost = u64::try_from(self.cost(messages).as_nanos()).unwrap_or(u64::MAX);
        self.reached.insert(destination.to_owned(), start.saturating_add(cost));
        self.tickets += 1;
        let ticket = Ticket { start, number: self.tickets, messages };
        self.line.insert(ticket.clone());
        ticket
    }

    fn ask(&mut self, ticket: &Ticket, now: Instant) -> Ask {
        if self.line.first() != Some(ticket) {
            return Ask::WaitForChange;
        }
        let rate = self.pay(now);
        let owed = self.owed.0;
        if owed > 0.0 {
            // Rounded up, so that whoever comes then finds it paid.
            let wait = Duration::from_secs_f64(owed / rate) + Duration::from_nanos(1);
            return Ask::WaitUntil(now + wait);
        }
        self.owed.0 += self.cost(ticket.messages).as_secs_f64();
        self.line.remove(ticket);
        self.last = self.last.max(ticket.start);
        Ask::Go
    }

    /// Pays with the time that went by, at the present share; what that is.
    fn pay(&mut self, now: Instant) -> f64 {
        let rate = self.share * self.left(now);
        let (owed, since) = self.owed;
        let seconds = since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        let credit = CREDIT.as_secs_f64() * rate;
        self.owed = (seconds.mul_add(-rate, owed).max(-credit), Some(now));
        rate
    }

    /// A request leaves the line, or was not sent though it had its turn.
    fn give_back(&mut self, destination: &str, ticket: &Ticket, had: bool, now: Instant) {
        let cost = self.cost(ticket.messages);
        if had {
            self.pay(now);
            self.owed.0 -= cost.as_secs_f64();
        } else {
            self.line.remove(ticket);
        }
        if let Some(reached) = self.reached.get_mut(destination) {
            *reached = reached.saturating_sub(u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// What a request takes of the whole quota.
    fn cost(&self, messages: usize) -> Duration {
        let of_messages = ratio(messages, 1) / self.messages_per_second;
        Duration::from_secs_f64(of_messages.max(1.0 / self.requests_per_second))
    }

    /// What is left of the share after a 429.
    fn left(&self, now: Instant) -> f64 {
        self.lowered.map_or(1.0, |(left, since)| {
            let seconds = now.saturating_duration_since(since).as_secs_f64();
            REGAINED_PER_SECOND.mul_add(seconds, left).min(1.0)
        })
    }

    fn lower(&mut self, now: Instant) {
        if self.lowered.is_none_or(|(_, since)| now - since >= ONE_THROTTLING) {
            self.lowered = Some(((self.left(now) * LOWERED).max(LOWEST), now));
        }
    }
}

#[cfg(test)]
mod tests;
