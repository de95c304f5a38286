//! From a component to native code, out of the way of the records (design decision 8).
//!
//! Compiling a JavaScript or Python plugin takes seconds of CPU time and hundreds of megabytes. It
//! happens in a child process that steps back: a tenth of the weight of a worker, first to be killed
//! when memory runs out, with limits of its own; and only when the container's limit leaves room.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::binary::{self, Outline};
use super::engine::Engine;
use super::error::LoadError;
use super::room;

/// CPU time that one compilation may take, in seconds: ten times the slowest seen.
const MAX_CPU_SECONDS: u64 = 180;

/// How long it may take however little CPU time is left for it.
const MAX_TIME: Duration = Duration::from_mins(30);

/// How often it is looked whether the compiler is done, or is to be.
const LOOK: Duration = Duration::from_millis(10);

/// The compiler's place among threads: a tenth of the weight of a worker, as the gate's thread that starts it, which could
/// not give it a better one. With nice 19 it had 1 % of a core beside a backlog: 20 minutes for a JavaScript plugin.
const NICE: i32 = 10;

/// The compiler's own memory, in bytes. With the two factors below the need comes out a little
/// above what was measured: 27 MiB for Rust (18), 73 for JavaScript (61), 324 for Python (312).
const BASE_BYTES: u64 = 24 * 1024 * 1024;

/// Memory per byte of the component: its bytes, the data in the result, the result written out.
const PER_BYTE: u64 = 6;

/// Memory per byte of the component's code: what the compiler makes of it.
const PER_CODE_BYTE: u64 = 30;

/// Refuses to open a symbolic link.
#[expect(clippy::cast_possible_wrap, reason = "a flag, which the system takes as a signed number")]
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// The largest component that is read, in bytes.
const MAX_COMPONENT_BYTES: u64 = 256 * 1024 * 1024;

/// Reads a component's file, unless it is larger than any component.
pub fn read_component(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let mut wasm = Vec::new();
    let mut file = File::open(path).map_err(failed)?.take(MAX_COMPONENT_BYTES + 1);
    file.read_to_end(&mut wasm).map_err(failed)?;
    if wasm.len() as u64 > MAX_COMPONENT_BYTES {
        let what = format!("is larger than {MAX_COMPONENT_BYTES} bytes");
        return Err(LoadError::NotAComponent { name: path.display().to_string(), what });
    }
    Ok(wasm)
}

/// Where components are compiled.
#[derive(Clone, Debug)]
pub enum Compile {
    /// In this process: for tests and for commands that do nothing else.
    InProcess,
    /// In a child process of this program, which is `xylem`.
    Child(PathBuf),
}

/// What is to be compiled.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) name: &'a str,
    pub(super) wasm: &'a [u8],
    pub(super) outline: &'a Outline,
    /// Where the native code goes.
    pub(super) file: &'a Path,
    /// Whoever sets it does not want to wait for the end.
    pub(super) give_up: &'a AtomicBool,
}

impl Compile {
    /// Writes the native code of a component to its file.
    pub(super) fn run(&self, work: &Work<'_>) -> Result<(), LoadError> {
        match self {
            Self::InProcess => {
                let native = native(work.name, work.wasm, work.outline)?;
                write(work.file, &native)
            }
            Self::Child(program) => {
                let need = need(work.outline);
                check_room(work.name, need, room::left())?;
                // The limit counts address space that is never touched.
                child(program, work, need + need / 4)
            }
        }
    }
}

/// Refuses to compile where the memory would not do, rather than have the kernel kill something.
fn check_room(name: &str, need: u64, left: Option<u64>) -> Result<(), LoadError> {
    match left {
        Some(left) if left < need => Err(LoadError::CompileMemory {
            name: name.to_owned(),
            need_mib: need.div_ceil(1024 * 1024),
            left_mib: left / (1024 * 1024),
            stale: "",
        }),
        _ => Ok(()),
    }
}

/// The memory that compiling a component takes at most, in bytes.
fn need(outline: &Outline) -> u64 {
    BASE_BYTES + outline.bytes * PER_BYTE + outline.code_bytes * PER_CODE_BYTE
}

/// Compiles, here and now.
fn native(name: &str, wasm: &[u8], outline: &Outline) -> Result<Vec<u8>, LoadError> {
    let engine = Engine::compiler()
        .map_err(|error| LoadError::Native { name: name.to_owned(), source: error.into() })?;
    engine.precompile_component(wasm).map_err(|error| {
        let tools: Vec<String> = outline.producers.iter().map(ToString::to_string).collect();
        let made_by = match tools.as_slice() {
            [] => String::new(),
            tools => format!(" (made by {})", tools.join(", ")),
        };
        LoadError::NotUnderstood { name: name.to_owned(), made_by, text: format!("{error:#}") }
    })
}

/// Compiles in a child process.
fn child(program: &Path, work: &Work<'_>, memory: u64) -> Result<(), LoadError> {
    let Work { name, wasm, file, .. } = *work;
    let failed =
        |status: String, text: String| LoadError::Compile { name: name.to_owned(), status, text };
    let io = |error: std::io::Error| failed("not run".to_owned(), error.to_string());
    let mut child = Command::new(program)
        .args(["precompile", "--internal"])
        .arg(file)
        .args(["--internal-name", name, "--internal-memory"])
        .arg(memory.to_string())
        // Invariant 10: whatever the environment holds is none of the compiler's business.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    // The child reads everything before it says anything. If it is gone, its status says more than
    // the broken pipe.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(wasm));
    // Where everything else is busy, the compiler gets next to nothing.
    let deadline = Instant::now() + MAX_TIME;
    while child.try_wait().map_err(io)?.is_none() {
        if work.give_up.load(Ordering::Acquire) || Instant::now() > deadline {
            child.kill().map_err(io)?;
        }
        std::thread::park_timeout(LOOK);
    }
    let output = child.wait_with_output().map_err(io)?;
    if output.status.success() && matches!(written, Some(Ok(()))) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let text = match text.as_str() {
        "" => format!(
            "it may use {} MiB, {MAX_CPU_SECONDS} s of CPU and {} minutes",
            memory / (1024 * 1024),
            MAX_TIME.as_secs() / 60
        ),
        _ => text,
    };
    Err(failed(output.status.to_string(), text))
}

/// The child process: reads a component from stdin and writes its native code to `file`.
pub fn compile_as_child(name: &str, file: &Path, memory: u64) -> Result<(), LoadError> {
    let io = |source| LoadError::Cache { what: "write", path: file.to_owned(), source };
    yield_to_others(memory);
    let mut wasm = Vec::new();
    std::io::stdin().take(MAX_COMPONENT_BYTES).read_to_end(&mut wasm).map_err(io)?;
    let outline = binary::outline(name, &wasm)?;
    let native = native(name, &wasm, &outline)?;
    write(file, &native)
}

/// Writes native code to the file that the cache made for it; never through a link that somebody
/// laid in its place.
fn write(file: &Path, native: &[u8]) -> Result<(), LoadError> {
    let mut options = File::options();
    options.write(true).custom_flags(NO_FOLLOW);
    options
        .open(file)
        .and_then(|mut file| file.write_all(native))
        .map_err(|source| LoadError::Cache { what: "write", path: file.to_owned(), source })
}

/// Puts this process behind those that serve. What the system refuses is done without: the checks of
/// the parent stand.
fn yield_to_others(memory: u64) {
    let refused = [
        rustix::process::setpriority_process(None, NICE).err(),
        setrlimit(Resource::Data, Rlimit { current: Some(memory), maximum: Some(memory) }).err(),
        setrlimit(
            Resource::Cpu,
            Rlimit { current: Some(MAX_CPU_SECONDS), maximum: Some(MAX_CPU_SECONDS) },
        )
        .err(),
    ];
    tracing::debug!(?refused, "the compiler yields");
    #[cfg(target_os = "linux")]
    {
        let killed = std::fs::write("/proc/self/oom_score_adj", "1000").err();
        let orphan =
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .err();
        tracing::debug!(?killed, ?orphan, "the compiler yields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_need_grows_with_code_more_than_with_data() {
        let of = |bytes, code_bytes| need(&Outline { bytes, code_bytes, ..Outline::default() });
        assert!(of(1_000_000, 0) < of(1_000_000, 1_000_000));
        assert!(of(0, 0) >= BASE_BYTES);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link] = ["target", "link"].map(|name| folder.path().join(name));
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(write(&link, b"native").is_err());
        write(&target, b"native").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"native");
    }

    #[test]
    fn without_room_the_error_names_need_and_what_is_left() {
        let mib = 1024 * 1024;
        assert!(check_room("p", 100 * mib, Some(100 * mib)).is_ok());
        assert!(check_room("p", 100 * mib, None).is_ok());
        let error = || check_room("p", 100 * mib, Some(99 * mib)).unwrap_err();
        let text = error().to_string();
        assert!(text.starts_with("compiling `p` needs 100 MiB of memory and 99 MiB are left"));
        let stale = error().stale(true).to_string();
        assert!(
            stale.starts_with(&text) && stale.ends_with("release or kind of processor"),
            "{stale}"
        );
    }
}
