//! One live store with its exports. After any failure it is dropped: a trap poisons the whole
//! store, and what a guest left half done helps nobody.

use std::time::Duration;

use wasmtime::{Store, Trap, WasmBacktrace};

use super::bindings::{self, Outcome, Record, Source};
use super::chain::Plugin;
use super::engine::Engine;
use super::error::{RunError, StartError};
use super::host::{Clock, Ended, Hooks, Host, Phase, cpu_time, on_tick, shorten, shorten_front};
use super::limits::{Limits, MAX_OUTPUT_BYTES};
use crate::fault::{Code, Fault};

/// Host resources that a guest may hold at once: a few timers and streams.
const MAX_HANDLES: usize = 1_024;

/// An instance whose memory is past half its limit after so many calls is replaced: linear memory
/// never shrinks, and at the limit it would cost a batch run twice.
const CALLS_BEFORE_REPLACED: u64 = 1_000;

/// The longest message and backtrace of a guest that a fault carries, in bytes.
const MAX_WORDS: usize = 4 * 1024;

/// How a call failed.
pub(super) enum Failure {
    /// It says something about the records: the fault, if there was only one.
    Fault(Box<Fault>),
    /// It says nothing: the worker is told to stop.
    Stopped,
}

/// What a call gave, and the CPU time it took.
pub(super) struct Answer {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) cpu: Duration,
}

/// A live plugin. It is used until a call fails.
pub(super) struct Instance {
    store: Store<Host>,
    exports: bindings::Plugin,
    engine: Engine,
    limits: Limits,
    calls: u64,
}

impl Instance {
    /// Makes an instance and runs its `init`, under the limits of a call each.
    pub(super) fn start(
        plugin: &Plugin,
        hooks: &Hooks,
        clock: &mut Clock,
    ) -> Result<Self, RunError> {
        let component = &plugin.component;
        let mut host = Host::new(&plugin.name, &plugin.limits, hooks);
        host.clock = *clock;
        let mut store = Store::new(component.pre.engine(), host);
        store.limiter(|data| &mut data.meter);
        store.epoch_deadline_callback(on_tick);
        // Invariant 7: an answer costs the host no more than this.
        store.set_hostcall_fuel(MAX_OUTPUT_BYTES);
        store.set_max_component_handles(MAX_HANDLES);

        let failed = |failure| match failure {
            Failure::Stopped => RunError::Stopped,
            Failure::Fault(fault) => {
                StartError::Failed { plugin: plugin.name.clone(), text: fault.message }.into()
            }
        };
        let guard = Guard { engine: &component.engine, limits: &plugin.limits, records: 1 };
        let (exports, _) =
            guard.run(&mut store, |store| component.pre.instantiate(store)).map_err(failed)?;
        let (answer, _) = guard
            .run(&mut store, |store| {
                exports.xylem_plugin_transformer().call_init(store, &plugin.configuration)
            })
            .map_err(failed)?;
        if let Err(text) = answer {
            let text = shorten(&text, MAX_WORDS).to_owned();
            return Err(StartError::Refused { plugin: plugin.name.clone(), text }.into());
        }
        store.data_mut().phase = Phase::Transform;
        *clock = store.data().clock;
        let (engine, limits) = (component.engine.clone(), plugin.limits);
        Ok(Self { store, exports, engine, limits, calls: 0 })
    }

    /// Maps records. After a failure the instance must go.
    pub(super) fn transform(
        &mut self,
        source: Source<'_>,
        records: &[Record<'_>],
        clock: &mut Clock,
    ) -> Result<Answer, Failure> {
        self.calls += 1;
        let host = self.store.data_mut();
        host.clock = *clock;
        let guard = Guard { engine: &self.engine, limits: &self.limits, records: records.len() };
        let result = guard.run(&mut self.store, |store| {
            self.exports.xylem_plugin_transformer().call_transform(store, source, records)
        });
        *clock = self.store.data().clock;
        let (outcomes, cpu) = result?;
        if outcomes.len() == records.len() {
            return Ok(Answer { outcomes, cpu });
        }
        let (outcomes, records) = (outcomes.len(), records.len());
        let text = format!("the answer has {outcomes} outcomes for {records} records");
        Err(Failure::Fault(Box::new(Fault::new(Code::PluginCount, text))))
    }

    /// Linear memories and tables, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.store.data().meter.used()
    }

    /// Whether it has mapped nothing yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.calls == 0
    }

    /// Works for another worker from now on.
    pub(super) fn adopt(&mut self, hooks: &Hooks) {
        self.store.data_mut().adopt(hooks);
    }

    /// Whether a new instance should take its place.
    pub(super) fn is_worn(&self) -> bool {
        self.calls >= CALLS_BEFORE_REPLACED
            && self.memory_bytes() > self.limits.max_memory_bytes / 2
    }
}

/// Runs guest code under limits.
struct Guard<'a> {
    engine: &'a Engine,
    limits: &'a Limits,
    /// Records in the call: how much CPU time it may use.
    records: usize,
}

impl Guard<'_> {
    /// Runs `call`; says what it gave and the CPU time it took.
    fn run<T>(
        &self,
        store: &mut Store<Host>,
        call: impl FnOnce(&mut Store<Host>) -> wasmtime::Result<T>,
    ) -> Result<(T, Duration), Failure> {
        let running = self.engine.running();
        let began = cpu_time();
        store.data_mut().begin(began, self.limits.budget(self.records));
        store.set_epoch_deadline(1);
        let result = call(store);
        let cpu = cpu_time().saturating_sub(began);
        drop(running);
        let result = result.map_err(|error| self.failure(store.data(), &error));
        store.data_mut().end();
        Ok((result?, cpu))
    }

    /// What an error of wasmtime means.
    fn failure(&self, host: &Host, error: &wasmtime::Error) -> Failure {
        let output = host.output.text();
        let words = shorten_front(output.trim(), MAX_WORDS);
        let cause = error.root_cause().to_string();
        let with_words = |text: String| match words {
            "" => text,
            words => format!("{text}\n{words}"),
        };
        let (code, text) = match (&host.ended, host.meter.refused) {
            (Some(Ended::Stopped), _) => return Failure::Stopped,
            (Some(Ended::Deadline), _) => (Code::PluginDeadline, cause),
            (Some(Ended::Blocked), _) => (Code::PluginBlocked, with_words(cause)),
            (None, _) if is_output_size(error) => (Code::PluginOutputSize, cause),
            // An allocator that is refused memory aborts.
            (None, Some(wanted)) if is_abort(error) => {
                let limit = self.limits.max_memory_bytes;
                let text =
                    format!("the guest wants {wanted} bytes of memory, the limit is {limit}");
                (Code::PluginMemory, with_words(text))
            }
            _ => (Code::PluginTrap, with_words(cause)),
        };
        let mut fault = Box::new(Fault::new(code, text));
        fault.trace = error
            .downcast_ref::<WasmBacktrace>()
            .map(|trace| shorten(&trace.to_string(), MAX_WORDS).to_owned());
        Failure::Fault(fault)
    }
}

/// Whether the guest returned more than `hostcall_fuel` allows; wasmtime has no type for it.
fn is_output_size(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| cause.to_string().contains("fuel allocated for hostcalls"))
}

/// Whether the guest gave up by itself, or could not even start.
fn is_abort(error: &wasmtime::Error) -> bool {
    !matches!(error.downcast_ref::<Trap>(), Some(Trap::StackOverflow))
}
