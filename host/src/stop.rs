//! Stop points: places where a crash test holds the process to kill it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The stop point that `XYLEM_STOP_AT` names, `NAME` or `NAME:N` for the N-th passage.
struct Wanted {
    name: String,
    passages: AtomicU32,
}

static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();

/// Reads the variable's value once, at start.
pub fn arm(value: Option<&str>) {
    let wanted = value.map(|text| {
        let (name, passage) = text.split_once(':').unwrap_or((text, "1"));
        Wanted { name: name.to_owned(), passages: AtomicU32::new(passage.parse().unwrap_or(1)) }
    });
    WANTED.get_or_init(|| wanted);
}

/// Stops the process with SIGSTOP where a test asked for it. In every build, so that the crash test
/// kills the binary that ships; costs a load where nothing is asked for.
pub fn point(name: &str) {
    let Some(Some(wanted)) = WANTED.get() else { return };
    if wanted.name == name && wanted.passages.fetch_sub(1, Ordering::Relaxed) == 1 {
        tracing::warn!(point = name, "stopped at a stop point");
        let stopped =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        if let Err(error) = stopped {
            tracing::error!(%error, "cannot stop");
        }
    }
}
