//! The gate of a destination. While AEP takes nothing, all its requests wait here, and one at a time
//! is let through as a probe; when that one gets through, all do.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::fault::{Code, Domain};
use crate::http::{Backoff, Dice};

/// Unknown outcomes of probes in a row, after which probes carry one event.
const UNKNOWN_PROBES: u32 = 3;

/// A gate that was shut within this time before is shut again without a word, unless it stays so.
const QUIET: Duration = Duration::from_secs(10);
/// Setbacks in a row that are worth a word in any case.
const STAYS_SHUT: u32 = 3;

/// How long the gate stays shut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// After an infrastructure fault.
    pub infrastructure: Backoff,
    /// After a 429.
    pub quota: Backoff,
    /// After a refused token.
    pub auth: Backoff,
    /// Between probes of one event after unknown outcomes.
    pub one_event: Backoff,
    /// Of one piece of work that comes back again and again, beside all that.
    pub own: Backoff,
    /// After a configuration fault.
    pub configuration: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let backoff = |base_ms, cap_s| Backoff {
            base: Duration::from_millis(base_ms),
            cap: Duration::from_secs(cap_s),
        };
        Self {
            // One probe at a time is polite enough for a ceiling that keeps the recovery quick.
            infrastructure: backoff(250, 30),
            quota: backoff(500, 30),
            // Nobody mends a credential within a second.
            auth: backoff(1_000, 60),
            // Each probe may be one repeat more in the data lake.
            one_event: backoff(5_000, 60),
            // Long enough that others get through meanwhile, short beside any outage.
            own: backoff(250, 5),
            configuration: Duration::from_mins(1),
        }
    }
}

impl Timing {
    /// The wait after setback number `attempt` in a row.
    fn wait(&self, setback: &Setback, one_event: bool, attempt: u32, dice: u64) -> Duration {
        if matches!(
            setback.code,
            Code::TokenUnreachable | Code::TokenThrottled | Code::TokenRefused
        ) {
            // The token knows when its endpoint is asked again; there is no sense in any other time.
            return setback.floor.unwrap_or_default();
        }
        let backoff = match setback.code.domain() {
            Domain::Configuration => {
                return self.configuration.max(setback.floor.unwrap_or_default());
            }
            Domain::Auth => self.auth,
            Domain::Quota => self.quota,
            _ if one_event => self.one_event,
            _ => self.infrastructure,
        };
        backoff.delay(attempt, setback.floor, dice)
    }
}

/// Why a request did not get through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setback {
    /// The code to show.
    pub code: Code,
    /// The shortest wait, as the server wished.
    pub floor: Option<Duration>,
    /// The next probes are to carry one event.
    pub one_event: bool,
}

impl From<Code> for Setback {
    fn from(code: Code) -> Self {
        Self { code, floor: None, one_event: false }
    }
}

/// What the gate shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GateStatus {
    /// Requests pass.
    Open,
    /// Requests wait.
    Shut {
        /// Why.
        code: Code,
        /// For how long already.
        since: Duration,
        /// How long until the next probe; zero while one is on its way.
        retry_in: Duration,
        /// Setbacks in a row.
        attempt: u32,
        /// Probes carry one event, because nobody knows what arrives.
        one_event: bool,
    },
}

/// The gate itself, pure: `now` and `dice` are arguments.
#[derive(Debug, Default)]
struct State {
    /// Counts every opening and shutting.
    epoch: u64,
    shut: Option<Shut>,
    /// When a word was last said of shutting.
    told: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Shut {
    /// A word was said of it.
    told: bool,
    code: Code,
    since: Instant,
    until: Instant,
    attempt: u32,
    probing: bool,
    /// Probes in a row with an unknown outcome.
    unknown: u32,
    one_event: bool,
}

/// A permission to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pass {
    epoch: u64,
    /// Why the gate is shut, where this is the probe.
    probe: Option<Code>,
    one_event: bool,
}

/// The answer to a wish to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Go(Pass),
    WaitUntil(Instant),
    WaitForChange,
}

impl State {
    fn ask(&mut self, now: Instant) -> Ask {
        match &mut self.shut {
            None => Ask::Go(Pass { epoch: self.epoch, probe: None, one_event: false }),
            Some(shut) if shut.probing => Ask::WaitForChange,
            Some(shut) if now < shut.until => Ask::WaitUntil(shut.until),
            Some(shut) => {
                shut.probing = true;
                let pass =
                    Pass { epoch: self.epoch, probe: Some(shut.code), one_event: shut.one_event };
                Ask::Go(pass)
            }
        }
    }

    /// A request got through: its probe opens the gate. None where it was not that; true where a
    /// word was said of its shutting.
    fn passed(&mut self, pass: Pass) -> Option<bool> {
        if pass.probe.is_none() || pass.epoch != self.epoch {
            return None;
        }
        let shut = self.shut.take()?;
        self.epoch += 1;
        Some(shut.told)
    }

    /// A request did not get through; `wait` says how long the gate stays shut before a probe, with
    /// or without one event alone, after so many setbacks. True where it is worth a word: the gate
    /// was open for a while, or stays shut, or the reason is another.
    fn failed(
        &mut self,
        pass: Pass,
        setback: &Setback,
        now: Instant,
        wait: impl Fn(bool, u32) -> Duration,
    ) -> bool {
        let unknown = u32::from(setback.code == Code::UnknownOutcome);
        match &mut self.shut {
            None if pass.epoch == self.epoch => {
                let one_event = setback.one_event;
                let told = self.told.is_none_or(|told| now.duration_since(told) >= QUIET);
                self.told = if told { Some(now) } else { self.told };
                self.epoch += 1;
                self.shut = Some(Shut {
                    told,
                    code: setback.code,
                    since: now,
                    until: now + wait(one_event, 1),
                    attempt: 1,
                    probing: false,
                    unknown: 0,
                    one_event,
                });
                told
            }
            // The gate opened and perhaps shut again since this request left: others know better.
            None => false,
            Some(shut) if pass.probe.is_some() && pass.epoch == self.epoch => {
                let news = if shut.told {
                    shut.code != setback.code
                } else {
                    shut.attempt + 1 >= STAYS_SHUT
                };
                if news {
                    shut.told = true;
                    self.told = Some(now);
                }
                shut.code = setback.code;
                shut.unknown = if unknown == 1 { shut.unknown + 1 } else { 0 };
                shut.one_event |= setback.one_event || shut.unknown >= UNKNOWN_PROBES;
                shut.attempt = shut.attempt.saturating_add(1);
                shut.until = now + wait(shut.one_event, shut.attempt);
                shut.probing = false;
                news
            }
            // One of those that were on their way when the gate was shut: it adds no attempt, but
            // the server's wish holds.
            Some(shut) => {
                shut.one_event |= setback.one_event;
                shut.until = shut.until.max(now + setback.floor.unwrap_or_default());
                false
            }
        }
    }

    /// A request was given up before it was answered: another may be the probe.
    fn forfeited(&mut self, pass: Pass) -> bool {
        match &mut self.shut {
            Some(shut) if pass.probe.is_some() && pass.epoch == self.epoch && shut.probing => {
                shut.probing = false;
                true
            }
            _ => false,
        }
    }
}

/// The shared gate of one destination.
pub(super) struct Gate {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    timing: Timing,
    dice: Dice,
    /// The destination's name, for the log.
    name: String,
}

/// A permission to send one request. Dropped without a word, it lets another be the probe.
pub(super) struct Permit<'a> {
    gate: &'a Gate,
    pass: Pass,
    spent: bool,
}

impl Gate {
    /// An open gate.
    pub(super) fn new(name: &str, timing: Timing) -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            timing,
            dice: Dice::new(),
            name: name.to_owned(),
        }
    }

    /// Waits until a request may be sent.
    pub(super) async fn enter(&self) -> Permit<'_> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let ask = self.lock().ask(Instant::now());
            // The sender lives as long as `self`, so `changed` never fails; either end is a reason
            // to ask again.
            match ask {
                Ask::Go(pass) => return Permit { gate: self, pass, spent: false },
                Ask::WaitUntil(until) => {
                    drop(tokio::time::timeout_at(until, changed.changed()).await);
                }
                Ask::WaitForChange => drop(changed.changed().await),
            }
        }
    }

    /// A wait of one call alone, after setback number `attempt` of its own.
    pub(super) fn own_wait(&self, attempt: u32) -> Duration {
        self.timing.own.delay(attempt, None, self.dice.roll())
    }

    /// What `/status` shows.
    pub(super) fn status(&self) -> GateStatus {
        let now = Instant::now();
        match &self.lock().shut {
            None => GateStatus::Open,
            Some(shut) => GateStatus::Shut {
                code: shut.code,
                since: now.saturating_duration_since(shut.since),
                retry_in: shut.until.saturating_duration_since(now),
                attempt: shut.attempt,
                one_event: shut.one_event,
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Whether this is still what the gate would say: it may have been shut since.
    pub(super) fn holds(&self) -> bool {
        self.gate.lock().epoch == self.pass.epoch
    }

    /// Why the gate is shut, where this request is the probe.
    pub(super) fn probe(&self) -> Option<Code> {
        self.pass.probe
    }

    /// Whether this request may carry one event only.
    pub(super) fn one_event(&self) -> bool {
        self.pass.one_event
    }

    /// AEP is there and listens: the gate opens for all, at once.
    pub(super) fn passed(mut self) {
        self.spent = true;
        let opened = self.gate.lock().passed(self.pass);
        if opened == Some(true) {
            tracing::info!(destination = self.gate.name, "destination takes events again");
        }
        if opened.is_some() {
            self.gate.changed.send_replace(());
        }
    }

    /// The request did not get through: all wait.
    pub(super) fn failed(mut self, setback: impl Into<Setback>) {
        self.spent = true;
        let setback = setback.into();
        let gate = self.gate;
        let dice = gate.dice.roll();
        let wait = |one_event, attempt| gate.timing.wait(&setback, one_event, attempt, dice);
        let news = gate.lock().failed(self.pass, &setback, Instant::now(), wait);
        if news {
            tracing::warn!(
                destination = gate.name,
                code = setback.code.as_str(),
                domain = setback.code.domain().as_str(),
                "destination waits: {}",
                setback.code.advice()
            );
        }
        gate.changed.send_replace(());
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.spent && self.gate.lock().forfeited(self.pass) {
            self.gate.changed.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits a second for every setback.
    fn wait(_: bool, attempt: u32) -> Duration {
        Duration::from_secs(attempt.into())
    }

    fn pass(state: &mut State, now: Instant) -> Pass {
        match state.ask(now) {
            Ask::Go(pass) => pass,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn while_shut_one_probe_goes_at_a_time_and_its_success_opens_for_all() {
        let (mut state, start) = (State::default(), Instant::now());
        let passes: Vec<Pass> = (0..16).map(|_| pass(&mut state, start)).collect();
        let setback = Setback::from(Code::Unavailable);
        let news: Vec<bool> =
            passes.iter().map(|&pass| state.failed(pass, &setback, start, wait)).collect();
        // Sixteen that failed together are one setback: the wait is the first, not the sixteenth.
        assert_eq!(news.iter().filter(|&&news| news).count(), 1);
        let due = start + Duration::from_secs(1);
        assert_eq!(state.ask(start), Ask::WaitUntil(due));
        let probe = pass(&mut state, due);
        assert_eq!(probe.probe, Some(Code::Unavailable));
        assert_eq!(state.ask(due), Ask::WaitForChange);
        state.failed(probe, &setback, due, wait);
        assert_eq!(state.ask(due), Ask::WaitUntil(due + Duration::from_secs(2)));
        let second = pass(&mut state, due + Duration::from_secs(2));
        assert_eq!(state.passed(second), Some(true));
        assert_eq!(pass(&mut state, due).probe, None);
    }

    #[test]
    fn a_gate_that_flaps_is_told_of_once_and_one_that_stays_shut_in_any_case() {
        let (mut state, mut now) = (State::default(), Instant::now());
        let setback = Setback::from(Code::Throttled);
        let mut told = Vec::new();
        for _ in 0..3 {
            let first = pass(&mut state, now);
            let news = state.failed(first, &setback, now, wait);
            now += Duration::from_secs(1);
            let probe = pass(&mut state, now);
            told.push((news, state.passed(probe)));
        }
        assert_eq!(told, [(true, Some(true)), (false, Some(false)), (false, Some(false))]);
        let mut next = pass(&mut state, now);
        let mut words = Vec::new();
        for _ in 0..4 {
            words.push(state.failed(next, &setback, now, wait));
            now += Duration::from_secs(10);
            next = pass(&mut state, now);
        }
        assert_eq!(words, [false, false, true, false]);
    }

    #[test]
    fn a_late_answer_neither_opens_nor_shuts() {
        let (mut state, now) = (State::default(), Instant::now());
        let (late, other) = (pass(&mut state, now), pass(&mut state, now));
        let setback = Setback::from(Code::Throttled);
        state.failed(other, &setback, now, wait);
        assert_eq!(state.passed(late), None);
        assert!(matches!(state.ask(now), Ask::WaitUntil(_)));
        let probe = pass(&mut state, now + Duration::from_secs(1));
        state.passed(probe);
        assert!(!state.failed(late, &setback, now, wait));
        assert!(matches!(state.ask(now), Ask::Go(_)));
    }

    #[test]
    fn the_servers_wish_holds_whoever_hears_it() {
        let (mut state, now) = (State::default(), Instant::now());
        let (first, second) = (pass(&mut state, now), pass(&mut state, now));
        state.failed(first, &Setback::from(Code::Unavailable), now, wait);
        let floor = Some(Duration::from_secs(7));
        let wish = Setback { code: Code::Unavailable, floor, one_event: false };
        state.failed(second, &wish, now, wait);
        assert_eq!(state.ask(now), Ask::WaitUntil(now + Duration::from_secs(7)));
    }

    #[test]
    fn a_probe_that_was_given_up_lets_another_go() {
        let (mut state, now) = (State::default(), Instant::now());
        let first = pass(&mut state, now);
        state.failed(first, &Setback::from(Code::Unreachable), now, wait);
        let due = now + Duration::from_secs(1);
        let probe = pass(&mut state, due);
        assert!(state.forfeited(probe));
        assert!(pass(&mut state, due).probe.is_some());
    }

    #[test]
    fn after_three_probes_with_unknown_outcome_probes_carry_one_event() {
        let (mut state, mut now) = (State::default(), Instant::now());
        let mut next = pass(&mut state, now);
        let mut carried = Vec::new();
        for _ in 0..5 {
            carried.push(next.one_event);
            state.failed(next, &Setback::from(Code::UnknownOutcome), now, wait);
            now += Duration::from_secs(10);
            next = pass(&mut state, now);
        }
        // The first request, three retries, then one event.
        assert_eq!(carried, [false, false, false, false, true]);
    }

    #[test]
    fn waits_are_those_of_the_domain() {
        let timing = Timing::default();
        let longest = |code, one_event, attempt| {
            timing.wait(&Setback::from(code), one_event, attempt, 1 << 32).as_millis()
        };
        assert_eq!(longest(Code::Unavailable, false, 1), 250);
        assert_eq!(longest(Code::Unavailable, false, 99), 30_000);
        assert_eq!(longest(Code::Throttled, false, 1), 500);
        assert_eq!(longest(Code::Unauthorized, false, 1), 1_000);
        assert_eq!(longest(Code::UnknownOutcome, true, 1), 5_000);
        for attempt in [1, 99] {
            assert_eq!(longest(Code::HeaderRefused, false, attempt), 60_000);
            assert_eq!(longest(Code::NotFound, true, attempt), 60_000);
        }
        let floor = Some(Duration::from_secs(40));
        let token = Setback { code: Code::TokenRefused, floor, one_event: false };
        assert_eq!(timing.wait(&token, false, 9, 1), Duration::from_secs(40));
    }
}
