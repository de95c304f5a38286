//! Watching the files that a configuration is made of, level-triggered: events are hints that make a scan
//! come sooner, and what decides is whether the contents differ from what was tried last.
//!
//! A change is told once the file system is quiet and two scans agree, so that a file that is still
//! being written is not taken for a new one. Whoever is told says by [`Watch::follow`] what was tried.

mod places;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher};

use places::Places;

use crate::config::{Fingerprint, Reload};

/// How patient the watch is.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Between two scans where nothing happens.
    poll: Duration,
    /// Nothing may have happened for so long before a scan counts.
    quiet: Duration,
    /// How long a storm of events can hold up a scan, and files that change all the time their being told.
    longest: Duration,
}

impl From<&Reload> for Pace {
    fn from(settings: &Reload) -> Self {
        Self {
            poll: Duration::from_secs(settings.poll_seconds.into()),
            // A copy over a slow network writes more often than that.
            quiet: Duration::from_millis(400),
            longest: Duration::from_secs(10),
        }
    }
}

/// The watch; it ends when this is dropped.
#[derive(Default)]
pub struct Watch {
    signals: Arc<Signals>,
}

impl Watch {
    /// Begins to watch; `told` is called for each change, and returns when it was taken up or refused.
    pub fn start(&self, settings: &Reload, told: impl Fn() + Send + 'static) -> io::Result<()> {
        self.start_with(Pace::from(settings), told, |signals| {
            let watcher = notify::recommended_watcher(move |event| signals.note(&event))?;
            Ok(Box::new(watcher))
        })
    }

    /// Takes what was tried last; only what differs from it is told.
    pub fn follow(&self) -> impl Fn(Fingerprint) + Send + Sync + 'static {
        let signals = Arc::clone(&self.signals);
        move |tried| signals.change(|state| state.tried = Some(tried.clone()))
    }

    fn start_with(
        &self,
        pace: Pace,
        told: impl Fn() + Send + 'static,
        watcher: impl FnOnce(Arc<Signals>) -> notify::Result<Box<dyn Watcher + Send>>,
    ) -> io::Result<()> {
        let mut thread = Thread {
            signals: Arc::clone(&self.signals),
            pace,
            tried: Fingerprint::default(),
            watcher: None,
            folders: BTreeSet::new(),
            deaf: false,
            told: Box::new(told),
        };
        match watcher(Arc::clone(&self.signals)) {
            Ok(watcher) => thread.watcher = Some(watcher),
            Err(error) => thread.is_deaf(&error),
        }
        std::thread::Builder::new().name("watch".into()).spawn(move || while thread.turn() {})?;
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.signals.change(|state| state.ended = true);
    }
}

/// What reaches the thread.
#[derive(Default)]
struct Signals {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Something happened to a file.
    hint: bool,
    /// What was tried, since it was last looked.
    tried: Option<Fingerprint>,
    ended: bool,
    /// What events have to name to be a hint.
    of_interest: Places,
    /// How many hints there were, and how many scans.
    #[cfg(test)]
    counts: [usize; 2],
}

/// What the thread was woken by.
enum Woken {
    Hint,
    Tried(Fingerprint),
    Time,
    End,
}

impl Signals {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Takes an event, on a thread of notify.
    fn note(&self, event: &notify::Result<Event>) {
        self.change(|state| {
            if is_hint(event, &state.of_interest) {
                state.hint = true;
                #[cfg(test)]
                (state.counts[0] += 1);
            }
        });
    }

    /// Waits for something to happen, no longer than `limit`.
    fn wait(&self, limit: Duration) -> Woken {
        let nothing = |state: &mut State| !state.ended && !state.hint && state.tried.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), limit, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return Woken::End;
        }
        if let Some(tried) = state.tried.take() {
            return Woken::Tried(tried);
        }
        if std::mem::take(&mut state.hint) { Woken::Hint } else { Woken::Time }
    }
}

/// Whether an event may mean that a file changed. Our own scans raise events, too: of files that are
/// opened, and closed after reading.
fn is_hint(event: &notify::Result<Event>, of_interest: &Places) -> bool {
    // Events were lost, or a watch was.
    let Ok(event) = event else { return true };
    let changes = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    let is_listed =
        |path: &Path| path.parent().is_some_and(|parent| of_interest.listed.contains(parent));
    let counts = |path: &PathBuf| of_interest.names.contains(path) || is_listed(path);
    let names_one = || event.paths.iter().any(counts);
    event.need_rescan() || changes && (event.paths.is_empty() || names_one())
}

/// The thread's own.
struct Thread {
    signals: Arc<Signals>,
    pace: Pace,
    /// What was tried last.
    tried: Fingerprint,
    /// None where the system has no events for us.
    watcher: Option<Box<dyn Watcher + Send>>,
    folders: BTreeSet<PathBuf>,
    /// It has been said that some events do not come.
    deaf: bool,
    told: Box<dyn Fn() + Send>,
}

impl Thread {
    /// Waits for something and looks; false at the end.
    fn turn(&mut self) -> bool {
        match self.signals.wait(self.pace.poll) {
            Woken::End => return false,
            // What changed since it was read is seen by the look, what changes later by the events.
            Woken::Tried(tried) => self.tried = tried,
            Woken::Hint => {
                if !self.rest() {
                    return false;
                }
            }
            Woken::Time => {}
        }
        self.look()
    }

    /// Waits until nothing happens any more, within bounds; false at the end.
    fn rest(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            match self.signals.wait(self.pace.quiet) {
                Woken::End => return false,
                Woken::Tried(tried) => self.tried = tried,
                Woken::Hint if begun.elapsed() < self.pace.longest => {}
                Woken::Hint | Woken::Time => return true,
            }
        }
    }

    /// Scans the files, and tells where they differ from what was tried; false at the end.
    fn look(&mut self) -> bool {
        // Watched first: what changes during the scan is seen by one or the other.
        self.watch();
        let begun = Instant::now();
        let mut seen = self.scan();
        while seen != self.tried {
            if !self.rest() {
                return false;
            }
            let before = std::mem::replace(&mut seen, self.scan());
            let settled = seen == before || begun.elapsed() > self.pace.longest;
            if settled && seen != self.tried {
                (self.told)();
                break;
            }
        }
        true
    }

    fn scan(&self) -> Fingerprint {
        let seen = self.tried.again();
        #[cfg(test)]
        self.signals.change(|state| state.counts[1] += 1);
        seen
    }

    /// Watches the folders in which a change of a file shows; those that came back are watched anew.
    fn watch(&mut self) {
        let Some(mut watcher) = self.watcher.take() else { return };
        let places = Places::of(self.tried.paths());
        let folders = std::mem::replace(&mut self.folders, places.folders.clone());
        self.signals.lock().of_interest = places.clone();
        for folder in folders.difference(&places.folders) {
            // It may be gone.
            drop(watcher.unwatch(folder));
        }
        for folder in &places.folders {
            // One that is watched already stays so.
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                self.is_deaf(&error);
            }
        }
        self.watcher = Some(watcher);
    }

    /// Says once that events do not come.
    fn is_deaf(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.deaf, true) {
            let poll_seconds = self.pace.poll.as_secs();
            tracing::warn!(
                %error,
                poll_seconds,
                "the system does not tell of changed files: they are looked at every `reload.poll_seconds`"
            );
        }
    }
}

#[cfg(test)]
mod tests;
