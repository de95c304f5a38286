//! Reloading: a candidate is read, taken through the gate, and put in the place of the generation
//! that runs, while records flow.
//!
//! One thread takes one request after the other. What it decides stands in a [`Report`]; a candidate
//! that does not pass the [`gate`] leaves nothing else behind (Invariant 6).

mod ask;
pub mod beside;
pub mod canary;
pub mod compare;
pub mod counts;
mod gate;
mod measure;
pub mod recent;
mod report;
pub mod shadow;
mod trials;
mod watch;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub use ask::{CanaryAsk, ShadowAsk};
pub use gate::{Candidate, Gate, Passage, Source};
pub use report::{Began, Cause, Decision, Outcome, Passed, Report, StepReport};
pub use watch::Watch;

use self::beside::Beside;
use self::canary::{Canary, CanaryReport};
use self::shadow::{Shadow, ShadowReport};
use self::trials::{Contender, Place};
use crate::config::{Fingerprint, Loaded};
use crate::settle::Budget;
use crate::telemetry::{Metrics, ReloadLabels};

/// Reports that are kept, the newest of them.
const REPORTS: usize = 16;

/// How often a canary is judged.
const JUDGE_EVERY: Duration = Duration::from_millis(500);

/// What the thread can be asked for.
#[derive(Debug)]
pub enum Ask {
    /// Take what the files hold now through the gate, and swap.
    Reload,
    /// Go back to the generation before.
    Rollback,
    /// Let a candidate run beside what runs, and compare.
    Shadow(ShadowAsk),
    /// End the shadow.
    StopShadow,
    /// Give a candidate a share of the keys.
    Canary(CanaryAsk),
    /// Take them back.
    StopCanary,
    /// Give it all of them.
    PromoteCanary,
}

/// The data path, as far as a generation can be put into it.
pub trait Live: Send + Sync + 'static {
    /// What differs from the running configuration and needs a restart, a sentence each.
    fn refuses(&self, next: &Loaded) -> Vec<String>;

    /// Puts a generation in the place of the one that runs; what that did, a sentence each. An error says
    /// why it cannot, and nothing was changed.
    fn swap(&self, next: &Candidate) -> Result<Vec<String>, String>;

    /// Workers that have nothing to do look what runs beside.
    fn look(&self) {}
}

/// A request and where its report goes.
struct Request {
    ask: Ask,
    cause: Cause,
    answer: oneshot::Sender<Report>,
}

/// The handle of the thread; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Reloader {
    requests: Sender<Request>,
    seen: Arc<Seen>,
    /// The gate's.
    give_up: Arc<AtomicBool>,
}

/// What others may look at.
#[derive(Default)]
struct Seen {
    reports: Mutex<VecDeque<Report>>,
    previous: Mutex<Option<Arc<str>>>,
    shadow: Mutex<Option<Arc<Shadow>>>,
    canary: Mutex<Option<Arc<Canary>>>,
}

/// What the thread needs.
pub struct Parts {
    /// Reads, loads and checks.
    pub gate: Gate,
    /// What runs now, and how it came to.
    pub running: (Candidate, Report),
    /// Where it runs.
    pub live: Arc<dyn Live>,
    /// Where workers look for what runs beside.
    pub beside: Arc<Beside>,
    /// The budget of bytes in flight.
    pub budget: Arc<Budget>,
    /// What is counted.
    pub metrics: Metrics,
    /// Told what was tried last, whatever came of it.
    pub tried: Box<dyn Fn(Fingerprint) + Send>,
}

impl Reloader {
    /// Starts the thread.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let (requests, asked) = channel();
        let (running, report) = parts.running;
        let seen = Arc::new(Seen::default());
        let give_up = Arc::clone(parts.gate.loader.give_up());
        let thread = Thread {
            tried: running.fingerprint(),
            gate: parts.gate,
            running,
            previous: None,
            live: parts.live,
            place: Place { beside: parts.beside, budget: parts.budget },
            contender: None,
            is_back: false,
            metrics: parts.metrics,
            tell: parts.tried,
            seen: Arc::clone(&seen),
        };
        (thread.tell)(thread.tried.clone());
        seen.keep(report);
        std::thread::Builder::new().name("reload".into()).spawn(move || thread.run(&asked))?;
        Ok(Self { requests, seen, give_up })
    }

    /// Asks for something; the report comes when it is done. What takes something away does not wait for a candidate
    /// on its way: that is given up.
    pub fn ask(&self, ask: Ask, cause: Cause) -> oneshot::Receiver<Report> {
        let (answer, report) = oneshot::channel();
        if matches!(ask, Ask::Rollback | Ask::StopShadow | Ask::StopCanary) {
            self.give_up.store(true, Ordering::Release);
        }
        // Where the thread is gone, so is the answer's sender, and the receiver says so.
        drop(self.requests.send(Request { ask, cause, answer }));
        report
    }

    /// The newest reports, the newest first.
    pub fn reports(&self) -> Vec<Report> {
        self.seen.reports().iter().rev().cloned().collect()
    }

    /// What came of the last shadow, or comes of the one that runs.
    pub fn shadow(&self) -> Option<ShadowReport> {
        let shadow = self.seen.shadow().clone();
        shadow.map(|shadow| shadow.report())
    }

    /// What came of the last canary, or comes of the one that runs.
    pub fn canary(&self) -> Option<CanaryReport> {
        let canary = self.seen.canary().clone();
        canary.map(|canary| canary.report())
    }

    /// The generation that a rollback returns to.
    pub fn previous(&self) -> Option<Arc<str>> {
        self.seen.previous.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    fn keep(&self, report: Report) {
        let mut reports = self.reports();
        reports.push_back(report);
        if reports.len() > REPORTS {
            reports.pop_front();
        }
    }

    fn reports(&self) -> MutexGuard<'_, VecDeque<Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own.
struct Thread {
    gate: Gate,
    running: Candidate,
    /// What a rollback returns to.
    previous: Option<Candidate>,
    /// What was tried last.
    tried: Fingerprint,
    live: Arc<dyn Live>,
    /// Where something may run beside.
    place: Place,
    /// A canary that runs.
    contender: Option<Contender>,
    /// Whether what runs is what a rollback returned to.
    is_back: bool,
    metrics: Metrics,
    tell: Box<dyn Fn(Fingerprint) + Send>,
    seen: Arc<Seen>,
}

impl Thread {
    fn run(mut self, asked: &Receiver<Request>) {
        loop {
            let request = if self.has_canary() {
                asked.recv_timeout(JUDGE_EVERY)
            } else {
                asked.recv().map_err(RecvTimeoutError::from)
            };
            let (began, before) = (Began::now(), Arc::clone(&self.running.generation.name));
            let (cause, (decision, steps), answer) = match request {
                Ok(Request { ask, cause, answer }) => {
                    (cause, self.answer(ask, cause), Some(answer))
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => match self.judge_canary() {
                    Some(decision) => (Self::BY_ITSELF, (decision, Vec::new()), None),
                    None => continue,
                },
            };
            let running = Arc::clone(&self.running.generation.name);
            let report = began.report(cause, decision, steps, [Some(&*before), Some(&*running)]);
            self.note(&report);
            // Whoever asked may have gone.
            if let Some(answer) = answer {
                drop(answer.send(report));
            }
        }
    }

    fn answer(&mut self, ask: Ask, cause: Cause) -> (Decision, Vec<StepReport>) {
        if matches!(ask, Ask::Rollback | Ask::StopShadow | Ask::StopCanary) {
            // It was asked for, and now it is done.
            self.gate.loader.give_up().store(false, Ordering::Release);
        }
        match ask {
            Ask::Reload => self.reload(cause),
            Ask::Rollback => (self.roll_back(), Vec::new()),
            Ask::Shadow(ask) => self.start_shadow(&ask),
            Ask::StopShadow => (self.stop_shadow(), Vec::new()),
            Ask::Canary(ask) => self.start_canary(&ask),
            Ask::StopCanary => (self.stop_canary(), Vec::new()),
            Ask::PromoteCanary => (self.promote_canary(), Vec::new()),
        }
    }

    fn note(&self, report: &Report) {
        let (outcome, reason) = (report.outcome.as_str(), report.reason.as_str());
        let running = report.running.as_deref();
        if report.is_done() {
            tracing::info!(outcome, reason, running, "reload");
            for effect in &report.effects {
                tracing::info!("{effect}");
            }
        } else {
            tracing::warn!(outcome, reason, running, "reload");
            for problem in report.problems() {
                tracing::warn!("{problem}");
            }
        }
        let labels = ReloadLabels { cause: report.cause.as_str(), outcome };
        self.metrics.reloads.get_or_create(&labels).inc();
        let differs = self.tried != self.running.fingerprint();
        self.metrics.files_not_running.set(i64::from(differs));
        // What a storm of touched files comes to is not worth a place.
        if report.outcome != Outcome::Unchanged || report.cause != Cause::Files {
            self.seen.keep(report.clone());
        }
    }

    fn reload(&mut self, cause: Cause) -> (Decision, Vec<StepReport>) {
        let running = self.running.fingerprint();
        // Bytes that were refused, or rolled back, are not tried again until somebody asks for it.
        if cause == Cause::Files && self.tried != running && self.tried.again() == self.tried {
            return (
                Decision::new(Outcome::Unchanged, "the files hold what was tried before"),
                Vec::new(),
            );
        }
        if self.running.elsewhere.is_none() && running.again() == running {
            self.follow(running);
            return (Decision::new(Outcome::Unchanged, "the files hold what runs"), Vec::new());
        }
        let passage = self.gate.pass(Some(&self.running), |loaded| self.live.refuses(loaded));
        self.follow(passage.tried);
        let decision = match passage.candidate {
            Err(refused) => refused,
            Ok(candidate) if self.running.is_same(&candidate) => {
                // What runs beside knows the generation that runs by its identity.
                let generation = Arc::clone(&self.running.generation);
                self.running = Candidate { generation, ..candidate };
                Decision::new(Outcome::Unchanged, "what changed in the files makes no difference")
            }
            Ok(candidate) => match self.brings_back(&candidate).filter(|_| cause == Cause::Files) {
                Some(what) => Decision::new(
                    Outcome::Refused,
                    format!(
                        "{what} is again what was {}; change the files, or take it all the same by `xylem reload`",
                        if self.is_back { "rolled back" } else { "replaced by a canary" }
                    ),
                ),
                None => self.swap(candidate, &in_words(&passage.steps)),
            },
        };
        (decision, passage.steps)
    }

    /// What of a candidate was rolled back, where what runs is what was returned to; or was replaced by a canary that
    /// came from elsewhere.
    fn brings_back(&self, candidate: &Candidate) -> Option<String> {
        let holds = self.is_back || self.running.elsewhere.is_some();
        let left = self.previous.as_ref().filter(|_| holds)?;
        candidate.brings_back(left, &self.running)
    }

    fn roll_back(&mut self) -> Decision {
        match self.previous.clone() {
            Some(previous) => {
                let differs = self.tried != previous.fingerprint();
                let reason = if differs {
                    "back to the generation before; the files still hold the other, and a restart reads them"
                } else {
                    "back to the generation before, which is what the files hold"
                };
                let decision = self.swap(previous.with_secrets_of(&self.running), reason);
                self.is_back |= differs && decision.outcome == Outcome::Swapped;
                decision
            }
            None => Decision::new(Outcome::Refused, "there is no generation before this one"),
        }
    }

    fn swap(&mut self, candidate: Candidate, reason: &str) -> Decision {
        let before = Arc::clone(&self.running.generation.name);
        let effects = match self.live.swap(&candidate) {
            Ok(effects) => effects,
            Err(words) => return Decision::new(Outcome::Refused, words),
        };
        self.end_trials();
        self.is_back &= self.running.is_rotated_to(&candidate);
        let name = Arc::clone(&candidate.generation.name);
        // What only rotates a secret is no step to go back.
        let is_step = !self.running.is_rotated_to(&candidate);
        let replaced = std::mem::replace(&mut self.running, candidate);
        if is_step {
            self.previous = Some(replaced);
            *self.seen.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        }
        Decision {
            outcome: Outcome::Swapped,
            reason: reason.to_owned(),
            candidate: Some(name.to_string()),
            effects,
        }
    }

    /// Remembers what was tried, and tells whoever watches the files.
    fn follow(&mut self, tried: Fingerprint) {
        self.tried = tried.clone();
        (self.tell)(tried);
    }
}

/// That no step refused a candidate, and which had nothing to say of it.
fn in_words(steps: &[StepReport]) -> String {
    let skipped = steps.iter().filter(|step| step.passed == Passed::Skipped);
    let skipped: Vec<&str> = skipped.map(|step| step.step.as_str()).collect();
    if skipped.is_empty() {
        return "all steps are passed".to_owned();
    }
    format!("no step refuses it, and skipped are {}", skipped.join(", "))
}
