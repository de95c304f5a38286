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
}

#[derive(Clone, Copy, Debug)]
struct Shut {
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

    /// A request got through: its probe opens the gate. True where that changed something.
    fn passed(&mut self, pass: Pass) -> bool {
        let opens = pass.probe.is_some() && pass.epoch == self.epoch && self.shut.is_some();
        if opens {
            self.epoch += 1;
            self.shut = None;
        }
        opens
    }

    /// A request did not get through; `wait` says how long the gate stays shut before a probe, with
    /// or without one event alone, after so many setbacks. True where the gate was open, or the
    /// reason is another.
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
                self.epoch += 1;
                self.shut = Some(Shut {
                    code: setback.code,
                    since: now,
                    until: now + wait(one_event, 1),
                    attempt: 1,
                    probing: false,
                    unknown: 0,
                    one_event,
                });
                true
            }
            // The gate opened and perhaps shut again since this request left: others know better.
            None => false,
            Some(shut) if pass.probe.is_some() && pass.epoch == self.epoch => {
                let news = shut.code != setback.code;
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
        self.timing.infrastructure.delay(attempt, None, self.dice.roll())
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
        if self.gate.lock().passed(self.pass) {
            tracing::info!(destination = self.gate.name, "destination takes events again");
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
