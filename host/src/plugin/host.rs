//! What a store holds beside the guest: its clock, its meter, and the lines it writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};
use wasmtime::{StoreContextMut, UpdateDeadline, bail};

use super::limits::{Limits, Meter};

/// While a call has used more CPU time than this, a spare worker serves the queue.
const BUSY_AFTER: Duration = Duration::from_millis(20);

/// Lines that an instance may log in one call; more are counted.
const MAX_LINES: u32 = 100;

/// The longest line that is kept, in bytes.
const MAX_LINE_BYTES: usize = 4 * 1024;

/// What is kept of stdout and stderr of one call: the last so many bytes.
const MAX_OUTPUT_BYTES: usize = 8 * 1024;

/// How much a guest's line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Level {
    /// For the plugin's author.
    #[component(name = "trace")]
    Trace,
    /// For the plugin's author.
    #[component(name = "debug")]
    Debug,
    /// Worth knowing.
    #[component(name = "info")]
    Info,
    /// Odd, and the plugin goes on.
    #[component(name = "warn")]
    Warn,
    /// Wrong.
    #[component(name = "error")]
    Error,
}

impl Level {
    /// Its name, as the contract writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// When a guest wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// While it started: no record was seen yet, so the line holds none.
    Init,
    /// While it mapped records: the line may quote them.
    Transform,
}

/// A line that a guest logged, or wrote to stdout or stderr (level `debug`).
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// When.
    pub phase: Phase,
    /// How much it matters.
    pub level: Level,
    /// The text, at most 4 KiB.
    pub text: &'a str,
}

/// Takes guests' lines. Invariant 10: a sink that ends in the operator's log drops the text of
/// lines of [`Phase::Transform`], since a guest may quote the record.
pub type Sink = Arc<dyn Fn(Line<'_>) + Send + Sync>;

/// What a worker hands to its instances.
#[derive(Clone)]
pub struct Hooks {
    /// Where guests' lines go.
    pub sink: Sink,
    /// Called once in each `transform` (or `start`) that uses more than 20 ms of CPU time, on the worker's own
    /// thread while the guest stands still: it may wake a spare worker and must not block.
    pub on_busy: Arc<dyn Fn() + Send + Sync>,
    /// Called once in each `transform` (or `start`) in which a call uses a sixteenth of its plugin's CPU budget: twice
    /// what calls are cut to, so something is wrong. On the worker's own thread, too.
    pub on_overdue: Arc<dyn Fn() + Send + Sync>,
    /// Once true, running calls end within a tick, nothing decided.
    pub stop: Arc<AtomicBool>,
}

impl Hooks {
    /// Hooks that only take lines.
    pub fn new(sink: Sink) -> Self {
        Self { sink, on_busy: Arc::new(|| ()), on_overdue: Arc::new(|| ()), stop: Arc::default() }
    }
}

/// Why the host ended a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its CPU time was used up.
    Deadline,
    /// It waited for something that never comes.
    Blocked,
    /// The guest asked to exit.
    Exit,
    /// The worker is told to stop.
    Stopped,
}

/// The data of a store.
pub(super) struct Host {
    pub(super) meter: Meter,
    pub(super) clock: Clock,
    /// Why the host ended the present call.
    pub(super) ended: Option<Ended>,
    /// The end of what the guest wrote to stdout and stderr in the present call.
    pub(super) output: Tail,
    pub(super) phase: Phase,
    /// Lines logged so far in the present call.
    lines: u32,
    plugin: String,
    /// The CPU time after which a call is overdue.
    overdue_after: Duration,
    hooks: Hooks,
}

/// The CPU time of the present call and of the worker's present `transform`.
#[derive(Clone, Copy, Default)]
pub(super) struct Clock {
    call_began: Duration,
    budget: Duration,
    transform_began: Duration,
    /// Whether the worker has been called busy in this `transform`.
    busy: bool,
    /// Whether a call of this `transform` was overdue.
    overdue: bool,
}

impl Clock {
    /// The clock of a `transform` that begins now.
    pub(super) fn new(now: Duration) -> Self {
        Self { transform_began: now, ..Self::default() }
    }

    /// What the last call has used by now.
    pub(super) fn used(&self) -> Duration {
        cpu_time().saturating_sub(self.call_began)
    }
}

impl Host {
    /// The data of a new store.
    pub(super) fn new(plugin: &str, limits: &Limits, hooks: &Hooks) -> Self {
        Self {
            meter: Meter::new(limits.max_memory_bytes),
            clock: Clock::default(),
            ended: None,
            output: Tail::default(),
            phase: Phase::Init,
            lines: 0,
            plugin: plugin.to_owned(),
            overdue_after: limits.overdue_after(),
            hooks: hooks.clone(),
        }
    }

    /// Works for another worker from now on.
    pub(super) fn adopt(&mut self, hooks: &Hooks) {
        self.hooks = hooks.clone();
    }

    /// Prepares for a call that may use `budget` of CPU time.
    pub(super) fn begin(&mut self, began: Duration, budget: Duration) {
        self.clock.call_began = began;
        self.clock.budget = budget;
        self.ended = None;
        self.meter.refused = None;
        self.lines = 0;
        self.output.clear();
    }

    /// Hands what the call wrote to stdout and stderr to the sink, and tells of dropped lines.
    pub(super) fn end(&mut self) {
        if !self.output.is_empty() {
            let text = self.output.text();
            self.line(Level::Debug, text.trim_end());
        }
        if let Some(dropped) = self.lines.checked_sub(MAX_LINES).filter(|dropped| *dropped > 0) {
            self.line(Level::Debug, &format!("{dropped} further lines of this call are dropped"));
        }
    }

    /// Ends the call.
    pub(super) fn stop<T>(&mut self, why: Ended, text: String) -> wasmtime::Result<T> {
        self.ended = Some(why);
        bail!(text)
    }

    /// Hands a line to the sink.
    fn line(&self, level: Level, text: &str) {
        let line = Line { plugin: &self.plugin, phase: self.phase, level, text };
        (self.hooks.sink)(line);
    }

    /// Looks at the clock; called every tick while the guest runs.
    fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if self.hooks.stop.load(Ordering::Relaxed) {
            return self.stop(Ended::Stopped, "the worker is told to stop".to_owned());
        }
        // Invariant 7: the budget is CPU time of this thread. A container that its quota stops
        // for a while does not lose records to it.
        let now = cpu_time();
        let used = now.saturating_sub(self.clock.call_began);
        if !self.clock.overdue && used >= self.overdue_after {
            self.clock.overdue = true;
            (self.hooks.on_overdue)();
        }
        if used >= self.clock.budget {
            let text =
                format!("the call used its CPU time of {} ms", self.clock.budget.as_millis());
            return self.stop(Ended::Deadline, text);
        }
        if !self.clock.busy && now.saturating_sub(self.clock.transform_began) > BUSY_AFTER {
            self.clock.busy = true;
            (self.hooks.on_busy)();
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

/// The epoch callback of every store.
pub(super) fn on_tick(mut store: StoreContextMut<'_, Host>) -> wasmtime::Result<UpdateDeadline> {
    store.data_mut().tick()
}

/// Adds `xylem:plugin/logging`, the one interface of ours that a plugin imports.
pub(super) fn add_logging(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut logging = linker.instance("xylem:plugin/logging@0.1.0")?;
    logging.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, Host>, (level, message): (Level, WasmStr)| {
            let host = store.data_mut();
            host.lines = host.lines.saturating_add(1);
            if host.lines <= MAX_LINES {
                let text = message.to_str(&store)?;
                store.data().line(level, shorten(&text, MAX_LINE_BYTES));
            }
            Ok(())
        },
    )
}

/// The CPU time of the calling thread.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The first `limit` bytes of a text, cut between characters.
pub(super) fn shorten(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// The last `limit` bytes of a text, cut between characters.
pub(super) fn shorten_front(text: &str, limit: usize) -> &str {
    let at = text.ceil_char_boundary(text.len().saturating_sub(limit));
    text.get(at..).unwrap_or(text)
}

/// The last bytes of a stream.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Adds bytes and forgets the oldest beyond the limit.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(bytes.len().saturating_sub(MAX_OUTPUT_BYTES)..).unwrap_or(bytes);
        let over = (self.0.len() + bytes.len()).saturating_sub(MAX_OUTPUT_BYTES);
        self.0.drain(..over.min(self.0.len()));
        self.0.extend_from_slice(bytes);
    }

    /// What is kept, as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_last_bytes() {
        let mut tail = Tail::default();
        tail.push(b"first ");
        tail.push(&vec![b'x'; MAX_OUTPUT_BYTES - 4]);
        tail.push(b"last");
        assert_eq!(tail.0.len(), MAX_OUTPUT_BYTES);
        assert!(tail.text().starts_with('x') && tail.text().ends_with("xlast"));
        tail.push("y".repeat(3 * MAX_OUTPUT_BYTES).as_bytes());
        assert_eq!(tail.text(), "y".repeat(MAX_OUTPUT_BYTES));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shorten("aé", 2), "a");
        assert_eq!(shorten("aé", 3), "aé");
        assert_eq!(shorten("aé", 30), "aé");
        assert_eq!(shorten_front("éa", 2), "a");
        assert_eq!(shorten_front("éa", 3), "éa");
    }
}
