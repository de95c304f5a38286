//! Whatever lies where a component should: it is a plugin, or it is refused with a reason.
//!
//! The way of a reload is taken whole (outline, compiler, cache, contract), only that the compiler runs
//! here and not in a child. Its cost follows the input's size, which the chore bounds.

use std::cell::OnceCell;

use tempfile::TempDir;
use xylem::plugin::{Cache, Compile, Engine, Limits, Loader};

/// A loader with a cache of its own.
struct Bench {
    loader: Loader,
    folder: TempDir,
}

impl Bench {
    #[expect(clippy::unwrap_used, reason = "without a folder and an engine nothing can be tried")]
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::private(folder.path().join("cache"));
        let loader = Loader::new(Engine::new().unwrap(), cache, Compile::InProcess);
        Self { loader, folder }
    }

    /// Leaves nothing behind, so that the next input does not find this one's code.
    fn clear(&self) {
        let left = std::fs::remove_dir_all(self.folder.path().join("cache"));
        assert!(left.is_ok(), "{left:?}");
    }
}

thread_local! {
    static BENCH: OnceCell<Bench> = const { OnceCell::new() };
}

/// The input is the file.
pub(crate) fn run(data: &[u8]) {
    BENCH.with(|bench| {
        let bench = bench.get_or_init(Bench::new);
        let loaded = bench.loader.load("fuzzed", data, &Limits::default());
        let inspected = bench.loader.inspect("fuzzed", data);
        match (&loaded, &inspected) {
            (Ok(component), Ok(report)) => {
                assert_eq!(component.digest(), report.digest);
                assert_eq!(report.refusal, None, "loaded, and yet no plugin");
            }
            (Err(refused), Ok(report)) => assert_eq!(report.refusal, Some(refused.to_string())),
            (Err(refused), Err(_)) => assert!(!refused.to_string().is_empty()),
            (Ok(_), Err(error)) => unreachable!("loaded, and yet not inspected: {error}"),
        }
        if loaded.is_ok() || inspected.is_ok() {
            bench.clear();
        }
    });
}
