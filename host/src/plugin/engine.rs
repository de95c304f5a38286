//! The engine: wasmtime's configuration, and the ticker that lets a call look at its clock.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::{Config, EngineWeak, WasmBacktraceDetails};

use super::error::LoadError;

/// The most stack that a plugin may be given, in bytes.
pub const MAX_STACK_BYTES: usize = 8 * 1024 * 1024;

/// wasmtime's own default.
const DEFAULT_STACK_BYTES: usize = 512 * 1024;

/// The stack of a thread that runs plugins, in bytes: the guest's largest stack and the host's
/// functions above it. It is address space until it is touched.
pub const WORKER_STACK_BYTES: usize = MAX_STACK_BYTES + 1024 * 1024;

/// How often a running call looks at its clock. A look costs 0.3 microseconds, so this is free, and
/// fine enough to call a spare worker after 20 ms.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// The ticker goes on for so many ticks after the last call, so that a stream of short calls does
/// not wake it each time.
const IDLE_TICKS: u32 = 20;

/// Snapshots of JavaScript and Python plugins are mapped copy-on-write up to this size, in bytes.
const DENSE_IMAGE_BYTES: u64 = 64 * 1024 * 1024;

/// Frames of a guest's backtrace that are kept.
const BACKTRACE_FRAMES: usize = 32;

/// What runs components: one per process, cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What all clones of an engine share.
struct Shared {
    /// wasmtime fixes the stack's size per engine, so there is one for each size asked for.
    by_stack: Mutex<BTreeMap<usize, wasmtime::Engine>>,
    ticker: Ticker,
}

impl Engine {
    /// An engine without components; starts the ticker's thread.
    pub fn new() -> Result<Self, LoadError> {
        let ticker = Ticker::start().map_err(LoadError::Ticker)?;
        Ok(Self { shared: Arc::new(Shared { by_stack: Mutex::default(), ticker }) })
    }

    /// A wasmtime engine that only compiles; what it makes fits every engine.
    pub(super) fn compiler() -> wasmtime::Result<wasmtime::Engine> {
        wasmtime::Engine::new(&config(DEFAULT_STACK_BYTES)?)
    }

    /// The wasmtime engine whose guests have `bytes` of stack. Native code fits all of them.
    pub(super) fn with_stack(&self, bytes: usize) -> wasmtime::Result<wasmtime::Engine> {
        let mut by_stack = lock(&self.shared.by_stack);
        if let Some(engine) = by_stack.get(&bytes) {
            return Ok(engine.clone());
        }
        let engine = wasmtime::Engine::new(&config(bytes)?)?;
        self.shared.ticker.add(engine.weak());
        by_stack.insert(bytes, engine.clone());
        Ok(engine)
    }

    /// Lets the ticker run until the guard is dropped.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.ticker.begin();
        Running(&self.shared.ticker)
    }
}

/// Names what native code depends on beside the component: wasmtime's version, the processor's
/// features, the settings. As 16 hex digits.
pub(super) fn compatibility(engine: &wasmtime::Engine) -> String {
    let mut hasher = Blake3(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// wasmtime's settings (design decision 1). Those that native code depends on are the same in every
/// engine; the stack is not among them.
fn config(stack_bytes: usize) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // A sync call costs 0.2 microseconds without it, 0.6 with it.
        .concurrency_support(false)
        // Invariant 7: no loop runs on; the callback decides by CPU time.
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes)
        // Not used, but wasmtime holds the other to it.
        .async_stack_size(WORKER_STACK_BYTES)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(DENSE_IMAGE_BYTES)
        // The only instructions whose result may differ between processors, but for NaN's bits.
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES));
    let baseline = baseline(std::env::consts::ARCH, std::env::consts::OS);
    if let Some(Baseline { target, flags }) = baseline {
        // Without inference: what is compiled on one machine is mapped on every other.
        config.target(target)?;
        for flag in flags {
            enable(&mut config, flag);
        }
    }
    Ok(config)
}

/// The processor that native code is made for, whichever one it is made on.
#[derive(Debug, PartialEq, Eq)]
struct Baseline {
    target: &'static str,
    flags: &'static [&'static str],
}

/// x86-64-v2: every server since 2009 has it, and without SSE4.1 rounding is a call.
const X86_64_V2: &[&str] =
    &["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_cmpxchg16b"];

/// The baseline of a machine; none where native code stays on the machine that made it.
fn baseline(arch: &str, os: &str) -> Option<Baseline> {
    let (target, flags) = match (arch, os) {
        ("x86_64", "linux") => ("x86_64-unknown-linux-gnu", X86_64_V2),
        ("x86_64", "macos") => ("x86_64-apple-darwin", X86_64_V2),
        ("aarch64", "linux") => ("aarch64-unknown-linux-gnu", [].as_slice()),
        ("aarch64", "macos") => ("aarch64-apple-darwin", [].as_slice()),
        _ => return None,
    };
    Some(Baseline { target, flags })
}

/// Lets native code use a feature of the processor.
#[expect(
    unsafe_code,
    reason = "wasmtime marks all flags of the compiler so, since some break its assumptions"
)]
fn enable(config: &mut Config, feature: &str) {
    // SAFETY: these flags name features of the processor, and an engine that is made or maps native
    // code checks that the processor has them.
    unsafe { config.cranelift_flag_enable(feature) };
}

/// Advances the epochs while calls run, and stands still otherwise.
struct Ticker {
    state: Arc<State>,
}

/// What the ticker's thread and the workers share.
#[derive(Default)]
struct State {
    /// Calls under way.
    running: AtomicUsize,
    /// Whether the thread waits for a call to begin.
    parked: AtomicBool,
    inner: Mutex<Inner>,
    wake: Condvar,
}

/// What is behind the ticker's lock.
#[derive(Default)]
struct Inner {
    engines: Vec<EngineWeak>,
    stop: bool,
    /// Ticks so far.
    ticks: u64,
}

impl Ticker {
    /// Starts the thread; it ends when the ticker is dropped.
    fn start() -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let of_thread = Arc::clone(&state);
        std::thread::Builder::new()
            .name("xylem-ticker".to_owned())
            .spawn(move || of_thread.run())?;
        Ok(Self { state })
    }

    /// Adds an engine to those whose epoch advances.
    fn add(&self, engine: EngineWeak) {
        lock(&self.state.inner).engines.push(engine);
    }

    /// Notes a call.
    fn begin(&self) {
        // Both sides write first and read then, sequentially consistent: either the thread sees the
        // call before it parks, or the call sees the thread parked and wakes it.
        self.state.running.fetch_add(1, Ordering::SeqCst);
        if self.state.parked.load(Ordering::SeqCst) {
            let _inner = lock(&self.state.inner);
            self.state.wake.notify_one();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        lock(&self.state.inner).stop = true;
        self.state.wake.notify_one();
    }
}

impl State {
    /// The ticker's thread.
    fn run(&self) {
        let mut idle = 0;
        let mut inner = lock(&self.inner);
        while !inner.stop {
            if idle >= IDLE_TICKS {
                self.parked.store(true, Ordering::SeqCst);
                while self.running.load(Ordering::SeqCst) == 0 && !inner.stop {
                    inner = self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
                self.parked.store(false, Ordering::SeqCst);
            }
            inner = self.wake.wait_timeout(inner, TICK).unwrap_or_else(PoisonError::into_inner).0;
            inner.ticks += 1;
            inner.engines.retain(|engine| match engine.upgrade() {
                Some(engine) => {
                    engine.increment_epoch();
                    true
                }
                None => false,
            });
            idle = if self.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        }
    }
}

/// A call is under way while this lives.
pub(super) struct Running<'a>(&'a Ticker);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// BLAKE3 as a [`Hasher`], so that the answer is the same in every build and process.
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        self.0.finalize_xof().fill(&mut first);
        u64::from_be_bytes(first)
    }
}

/// Locks, whatever became of an earlier holder: what is behind these locks is always whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Waits until `condition` holds, at most ten seconds.
    fn eventually(mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(10), "waited for ten seconds");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_ticker_runs_with_a_call_and_parks_without() {
        let engine = Engine::new().unwrap();
        let state = Arc::clone(&engine.shared.ticker.state);
        let ticks = || lock(&state.inner).ticks;
        eventually(|| state.parked.load(Ordering::SeqCst));
        let parked_at = ticks();
        let call = engine.running();
        eventually(|| ticks() > parked_at + 3);
        assert!(!state.parked.load(Ordering::SeqCst));
        drop(call);
        eventually(|| state.parked.load(Ordering::SeqCst));
    }

    #[test]
    fn every_system_of_ours_has_a_baseline() {
        assert!(baseline(std::env::consts::ARCH, std::env::consts::OS).is_some());
        for (arch, os) in
            [("x86_64", "linux"), ("aarch64", "linux"), ("x86_64", "macos"), ("aarch64", "macos")]
        {
            let Baseline { target, .. } = baseline(arch, os).unwrap();
            assert!(target.starts_with(arch), "{target}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn native_code_is_for_the_baseline_and_not_for_this_processor() {
        if !std::arch::is_x86_feature_detected!("avx") {
            return;
        }
        let of = |config: &Config| compatibility(&wasmtime::Engine::new(config).unwrap());
        let mut config = config(DEFAULT_STACK_BYTES).unwrap();
        let ours = of(&config);
        enable(&mut config, "has_avx");
        assert_ne!(of(&config), ours, "the feature was inferred");
    }

    #[test]
    fn engines_of_any_stack_share_native_code() {
        let engine = Engine::new().unwrap();
        let small = engine.with_stack(512 * 1024).unwrap();
        let large = engine.with_stack(MAX_STACK_BYTES).unwrap();
        assert_eq!(compatibility(&small), compatibility(&large));
    }
}
