//! The built binary as a child process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually;
use crate::lines::Lines;
use crate::target::{repository, target};
use crate::{children, http};

/// A running `xylem`, killed when this is dropped. Where the test panics, what it wrote is shown.
pub struct Xylem {
    child: Child,
    status: Option<ExitStatus>,
    admin_port: u16,
    stdout: Lines,
    stderr: Lines,
    setup: Setup,
}

/// A folder with a configuration, and how `xylem` is started in it; good for several starts.
pub struct Setup {
    folder: TempDir,
    admin_port: u16,
    environment: Vec<(OsString, OsString)>,
}

impl Setup {
    /// A folder whose `xylem.yaml` is `configuration`, to which the section `admin` is added.
    pub fn new(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin_port = crate::free_port();
        let text = format!("{configuration}\nadmin:\n  listen: 127.0.0.1:{admin_port}\n");
        std::fs::write(folder.path().join("xylem.yaml"), text).unwrap();
        Self { folder, admin_port, environment: Vec::new() }
    }

    /// Puts a file beside the configuration.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// Sets a variable of the child's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Where the configuration lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts `xylem run -c xylem.yaml`.
    pub fn start(self) -> Xylem {
        self.start_with(&["run", "-c", "xylem.yaml"])
    }

    /// Starts another command that has a cache of native code.
    pub fn start_with(self, arguments: &[&str]) -> Xylem {
        self.start_program(&binary("xylem"), arguments)
    }

    /// [`Setup::start_with`] with another build of `xylem`.
    pub fn start_program(self, program: &Path, arguments: &[&str]) -> Xylem {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        // Native code is kept between runs, and not in the user's own cache.
        command.arg("--cache").arg(target().join("tmp/native"));
        // Where the process's socket is, and nobody else's.
        command.env("XDG_RUNTIME_DIR", self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = children::spawn(command).unwrap();
        Xylem {
            stdout: Lines::read(child.stdout.take().unwrap()),
            stderr: Lines::read(child.stderr.take().unwrap()),
            child,
            status: None,
            admin_port: self.admin_port,
            setup: self,
        }
    }
}

impl Xylem {
    /// Waits until `/readyz` says 200; panics with what the process wrote where it ends before.
    pub fn wait_ready(&mut self) -> &mut Self {
        let port = self.admin_port;
        eventually(|| {
            if let Some(status) = self.ended() {
                return Ok(Err(format!("xylem ended with {status}:\n{}", self.stderr.text())));
            }
            let answer = http::get(port, "/readyz")?;
            if answer.status == 200 { Ok(Ok(())) } else { Err(format!("{answer:?}")) }
        })
        .unwrap_or_else(|words| panic!("{words}"));
        self
    }

    /// `/status` as JSON.
    pub fn status(&self) -> Value {
        let answer = http::get(self.admin_port, "/status").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// `/metrics` in Prometheus' text format.
    pub fn metrics(&self) -> String {
        http::get(self.admin_port, "/metrics").unwrap().body
    }

    /// Where `/livez`, `/readyz`, `/status` and `/metrics` are, on loopback.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// What the process wrote to its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// What the process wrote to its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits for a line of standard error that holds `part`.
    pub fn wait_for_stderr(&self, part: &str) -> String {
        eventually(|| {
            let text = self.stderr.text();
            let line = text.lines().find(|line| line.contains(part));
            line.map(str::to_owned).ok_or_else(|| format!("no line with {part:?} in:\n{text}"))
        })
    }

    /// Where the process was started.
    pub fn folder(&self) -> &Path {
        self.setup.folder()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks for a graceful stop.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it as `kill -9` does, and gives the folder back for another start.
    pub fn kill9(mut self) -> Setup {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.take_setup()
    }

    /// Asks for a graceful stop and waits for the end: its exit status, and the folder.
    pub fn stop(mut self) -> (ExitStatus, Setup) {
        self.sigterm();
        (self.wait(), self.take_setup())
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        eventually(|| self.ended().ok_or_else(|| format!("alive:\n{}", self.stderr.text())))
    }

    /// Waits until the process has stopped itself with SIGSTOP, as `XYLEM_STOP_AT` makes it.
    #[cfg(target_os = "linux")]
    pub fn wait_stopped(&self) {
        eventually(|| match state(self.pid()) {
            'T' => Ok(()),
            other => Err(format!("the process is in state `{other}`:\n{}", self.stderr.text())),
        });
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.status = self.status.or_else(|| self.child.try_wait().unwrap());
        self.status
    }

    fn take_setup(&mut self) -> Setup {
        let taken =
            Setup { folder: tempfile::tempdir().unwrap(), admin_port: 0, environment: Vec::new() };
        std::mem::replace(&mut self.setup, taken)
    }
}

impl Drop for Xylem {
    #[expect(clippy::print_stderr, reason = "libtest shows it beside the panic")]
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("what xylem wrote to standard error:\n{}", self.stderr.text());
        }
    }
}

/// Runs a command of `xylem` to its end, such as `check -c xylem.yaml`, in a folder.
pub fn run_to_end(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("xylem"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    // A process that was started from the same folder has its socket there.
    command.env("XDG_RUNTIME_DIR", folder);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    children::spawn(command).unwrap().wait_with_output().unwrap()
}

/// Runs `xylem` to its end with nobody reading what it writes to stdout, as behind `head`.
pub fn run_unread(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("xylem"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = children::spawn(command).unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

/// A program of this workspace, built when it is first asked for: `cargo test` builds libraries
/// and tests only, and an old binary would prove nothing.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // The whole workspace is selected so that features are those of `cargo test --workspace`.
        cargo.current_dir(repository()).args(["build", "--release", "--quiet", "--workspace"]);
        cargo.args(["--bin", "xylem", "--bin", "aep-emulator", "--bin", "xylem-bench"]);
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            // What cargo set for this test would make build scripts that watch it run again.
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&variable);
            }
        }
        let status = cargo.status().unwrap();
        assert!(status.success(), "`cargo build` ended with {status}");
    });
    target().join("release").join(name)
}

/// The letter that the kernel gives for a process's state.
#[cfg(target_os = "linux")]
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name.chars().next().unwrap()
}
