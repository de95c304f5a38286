//! Children that do not outlive the test process, however it ends.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};

type Request = (Command, Sender<io::Result<Child>>);

/// Starts a child that is killed when this process ends.
///
/// The kernel sends the signal when the *thread* that started the child ends, and libtest gives
/// each test a thread. So one thread, which never ends, starts all children.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    static STARTER: LazyLock<Mutex<Sender<Request>>> = LazyLock::new(|| {
        let (requests, queue) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in queue {
                drop(answer.send(command.spawn()));
            }
        });
        Mutex::new(requests)
    });
    die_with_parent(&mut command);
    let (answer, child) = channel();
    STARTER.lock().unwrap().send((command, answer)).unwrap();
    child.recv().unwrap()
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the signal can be asked for in the child only, before it execs")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    // SAFETY: prctl(2) is one system call; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}

/// Elsewhere a child ends with its handle, unless the test process is killed.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}
