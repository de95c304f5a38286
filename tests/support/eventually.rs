//! Waiting: for a condition, with a limit, never for a time.

use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long [`eventually`] waits on a machine with nothing else to do. A classic group misses a
/// killed member after 45 s, so a condition that waits for that needs [`eventually_within`].
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// Stretches a duration by `XYLEM_TEST_PATIENCE`, a factor such as `3` for a slow machine.
pub fn patience(duration: Duration) -> Duration {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| {
        let Some(text) = std::env::var_os("XYLEM_TEST_PATIENCE") else { return 1.0 };
        let factor = text.to_string_lossy().parse().unwrap_or(0.0);
        assert!(
            factor > 0.0,
            "`XYLEM_TEST_PATIENCE` is `{}`; it takes a number above 0",
            text.display()
        );
        factor
    });
    duration.mul_f64(*factor)
}

/// Looks again and again until `look` gives a value; panics with its last words after 30 s.
pub fn eventually<T>(look: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, look)
}

/// [`eventually`] with another patience.
pub fn eventually_within<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let limit = patience(limit);
    let begin = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(words) if begin.elapsed() > limit => panic!("not within {limit:?}: {words}"),
            Err(_) => std::thread::park_timeout(PAUSE),
        }
    }
}

/// Runs a test's body under a time limit: a test that hangs fails, and names itself.
///
/// The body runs on a thread of its own, which is left behind where it hangs.
pub fn within(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let limit = patience(limit);
    let (done, ended) = channel();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
        body();
        done.send(()).unwrap();
    });
    let thread = thread.unwrap();
    match ended.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => panic!("`{name}` was not over after {limit:?}"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
