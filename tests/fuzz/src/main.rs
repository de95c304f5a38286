//! The targets under libFuzzer, which brings `main`; `XYLEM_FUZZ_TARGET` names the one to run.
#![no_main]

use std::sync::OnceLock;

use xylem_fuzz::{TARGETS, Target};

/// The one that was named.
fn target() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var_os("XYLEM_FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|(target, _)| name == *target);
        assert!(found.is_some(), "XYLEM_FUZZ_TARGET names no target");
        found.map_or(|_: &[u8]| {}, |(_, target)| *target)
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| target()(data));
