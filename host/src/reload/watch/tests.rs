//! The watcher's cases, each on a real folder with real links: one change is told exactly once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use tempfile::TempDir;

use super::*;
use crate::config::Inputs;

/// So long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// An hour between polls: what comes comes by events.
const BY_EVENTS: Pace = Pace {
    poll: Duration::from_hours(1),
    // A machine under load may hold up whoever writes for a while.
    quiet: Duration::from_millis(300),
    longest: Duration::from_mins(10),
};

/// Polls only matter where no events come.
const BY_POLLS: Pace = Pace { poll: Duration::from_millis(50), ..BY_EVENTS };

/// A folder whose file `a` is watched by somebody who takes up what he is told of, as a reload does.
struct World {
    folder: TempDir,
    watch: Watch,
    taken_up: Receiver<String>,
}

impl World {
    fn new() -> Self {
        Self::with(|root| fs::write(root.join("a"), "one").unwrap(), BY_EVENTS, real)
    }

    fn with(
        set_up: impl FnOnce(&Path),
        pace: Pace,
        watcher: impl FnOnce(Arc<Signals>) -> notify::Result<Box<dyn Watcher + Send>>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        set_up(folder.path());
        let file = folder.path().join("a");
        let (watch, (taken, taken_up)) = (Watch::default(), channel());
        let follow = watch.follow();
        let take_up = move || {
            let inputs = Inputs::new("");
            let text = inputs.read_text(&file, 1_000_000).unwrap_or_else(|error| error.to_string());
            follow(inputs.fingerprint());
            text
        };
        assert_eq!(take_up(), "one");
        let told = move || taken.send(take_up()).unwrap();
        watch.start_with(pace, told, watcher).unwrap();
        let world = Self { folder, watch, taken_up };
        world.wait_for_scans(1);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What was taken up next.
    fn next(&self) -> String {
        self.taken_up.recv_timeout(PATIENCE).unwrap()
    }

    /// Fails unless all that was told is what the test has taken from [`World::next`]: what is told after a
    /// last change is that change.
    fn nothing_more(&self) {
        // What was taken up last is looked at once more.
        let scans = self.counts()[1];
        let tried = self.watch.follow();
        let inputs = Inputs::new("");
        drop(inputs.read_text(self.path("a"), 1_000_000));
        tried(inputs.fingerprint());
        self.wait_for_scans(scans + 1);
        self.write("last", "the last change");
        fs::rename(self.path("last"), self.path("a")).unwrap();
        assert_eq!(self.next(), "the last change");
        assert!(self.taken_up.try_recv().is_err());
    }

    /// Hints and scans so far.
    fn counts(&self) -> [usize; 2] {
        self.watch.signals.lock().counts
    }

    fn wait_for_scans(&self, count: usize) {
        self.wait(|state| state.counts[1] >= count);
    }

    fn wait(&self, until: impl Fn(&State) -> bool) {
        let signals = &self.watch.signals;
        let waited =
            signals.changed.wait_timeout_while(signals.lock(), PATIENCE, |state| !until(state));
        let (state, limit) = waited.unwrap();
        assert!(!limit.timed_out(), "{:?}", state.counts);
    }

    /// Sets the time of a file, and nothing else: one event.
    fn touch(&self, name: &str) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        utimensat(CWD, self.path(name), &times, AtFlags::empty()).unwrap();
    }
}

fn real(signals: Arc<Signals>) -> notify::Result<Box<dyn Watcher + Send>> {
    Ok(Box::new(notify::recommended_watcher(move |event| signals.note(&event))?))
}

/// The folder of a `ConfigMap`: `a` leads through `..data` to the contents.
fn config_map(root: &Path) {
    fs::create_dir(root.join("..1")).unwrap();
    fs::write(root.join("..1/a"), "one").unwrap();
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/a", root.join("a")).unwrap();
}

#[test]
fn a_copied_file_is_told_once() {
    let world = World::new();
    world.write("elsewhere", "two");
    fs::copy(world.path("elsewhere"), world.path("a")).unwrap();
    assert_eq!(world.next(), "two");
    world.nothing_more();
}

#[test]
fn a_half_written_file_is_told_when_it_is_whole() {
    use std::io::Write as _;
    let world = World::new();
    let mut file = fs::File::create(world.path("a")).unwrap();
    for part in 0..20 {
        let hints = world.counts()[0];
        write!(file, "part {part} ").unwrap();
        // Seen, and so the quiet begins anew.
        world.wait(|state| state.counts[0] > hints);
        assert!(world.taken_up.try_recv().is_err());
    }
    drop(file);
    assert!(world.next().ends_with("part 19 "));
    world.nothing_more();
}

#[test]
fn an_atomic_rename_is_told_once() {
    let world = World::new();
    world.write("a.tmp", "two");
    fs::rename(world.path("a.tmp"), world.path("a")).unwrap();
    assert_eq!(world.next(), "two");
    // The file that was watched first is gone; the folder is what is watched.
    world.write("a.tmp", "three");
    fs::rename(world.path("a.tmp"), world.path("a")).unwrap();
    assert_eq!(world.next(), "three");
    world.nothing_more();
}

#[test]
fn a_config_map_that_swaps_its_link_is_told_once() {
    let world = World::with(config_map, BY_EVENTS, real);
    for (number, text) in [(2, "two"), (3, "three")] {
        fs::create_dir(world.path(&format!("..{number}"))).unwrap();
        world.write(&format!("..{number}/a"), text);
        symlink(format!("..{number}"), world.path("..data_tmp")).unwrap();
        fs::rename(world.path("..data_tmp"), world.path("..data")).unwrap();
        fs::remove_dir_all(world.path(&format!("..{}", number - 1))).unwrap();
        assert_eq!(world.next(), text);
    }
    world.nothing_more();
}

#[test]
fn a_file_system_without_events_is_polled() {
    let deaf = |_| Ok(Box::new(notify::NullWatcher) as Box<dyn Watcher + Send>);
    let world = World::with(|root| fs::write(root.join("a"), "one").unwrap(), BY_POLLS, deaf);
    world.write("a.tmp", "two");
    fs::rename(world.path("a.tmp"), world.path("a")).unwrap();
    assert_eq!(world.next(), "two");
    world.nothing_more();
    assert_eq!(world.counts()[0], 0);
}

#[test]
fn a_system_that_refuses_to_watch_is_polled() {
    let refuses = |_| Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
    let world = World::with(config_map, BY_POLLS, refuses);
    fs::create_dir(world.path("..2")).unwrap();
    world.write("..2/a", "two");
    symlink("..2", world.path("..data_tmp")).unwrap();
    fs::rename(world.path("..data_tmp"), world.path("..data")).unwrap();
    assert_eq!(world.next(), "two");
    world.nothing_more();
}

#[test]
fn a_file_that_is_touched_or_written_with_the_same_is_not_told() {
    let world = World::new();
    for again in [World::touch, |of: &World, name: &str| of.write(name, "one")] {
        let [hints, scans] = world.counts();
        again(&world, "a");
        world.wait_for_scans(scans + 1);
        assert!(world.counts()[0] > hints);
    }
    assert!(world.taken_up.try_recv().is_err());
    world.nothing_more();
}

#[test]
fn a_deleted_file_is_told_once_and_again_when_it_is_back() {
    let world = World::new();
    fs::remove_file(world.path("a")).unwrap();
    // Whoever takes it up refuses it; see `a_file_that_goes_or_breaks_changes_nothing`.
    assert_eq!(world.next(), "there is no such file");
    world.write("a", "two");
    assert_eq!(world.next(), "two");
    world.nothing_more();
}

#[test]
fn a_storm_of_changes_is_told_once() {
    let world = World::new();
    for number in 0..300 {
        world.write("a", &format!("change {number}"));
        world.write(&format!("beside-{}", number % 7), "another file");
    }
    assert_eq!(world.next(), "change 299");
    world.nothing_more();
}

#[test]
fn reading_the_files_is_no_reason_to_read_them_again() {
    const READS: usize = 100;
    let world = World::new();
    let [before, _] = world.counts();
    for _ in 0..READS {
        drop(fs::read(world.path("a")));
    }
    // Events come in order: those of the reads would have been counted by the time this is told.
    world.write("a", "another");
    assert_eq!(world.next(), "another");
    let [after, _] = world.counts();
    assert!(after - before < READS / 2, "{READS} reads gave {} hints", after - before);
    world.nothing_more();
}

#[test]
fn a_folder_that_goes_and_comes_back_is_watched_again() {
    let set_up = |root: &Path| {
        fs::create_dir_all(root.join("b/c")).unwrap();
        fs::write(root.join("b/c/a"), "one").unwrap();
        symlink("b/c/a", root.join("a")).unwrap();
    };
    let world = World::with(set_up, BY_EVENTS, real);
    fs::remove_dir_all(world.path("b")).unwrap();
    assert_eq!(world.next(), "there is no such file");
    fs::create_dir_all(world.path("b/c")).unwrap();
    world.write("b/c/a", "two");
    assert_eq!(world.next(), "two");
    fs::rename(world.path("b"), world.path("away")).unwrap();
    fs::rename(world.path("away"), world.path("b")).unwrap();
    world.write("b/c/a", "three");
    assert_eq!(world.next(), "three");
    world.nothing_more();
}

#[test]
fn what_others_do_in_the_folder_is_no_hint() {
    let of = |path: &str| BTreeSet::from([PathBuf::from(path)]);
    let interest = Places { names: of("/f/a"), listed: of("/g"), ..Places::default() };
    let event = |kind, path: &str| Ok(Event::new(kind).add_path(path.into()));
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
    assert!(is_hint(&event(written, "/f/a"), &interest));
    assert!(!is_hint(&event(read, "/f/a"), &interest));
    assert!(!is_hint(&event(written, "/f/b"), &interest));
    assert!(is_hint(&event(written, "/g/b"), &interest));
    assert!(!is_hint(&event(read, "/g/b"), &interest));
    assert!(is_hint(&Err(notify::Error::generic("lost")), &interest));
    let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
    assert!(is_hint(&Ok(overflow), &interest));
}
