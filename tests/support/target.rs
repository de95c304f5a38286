//! Where things are: the repository, cargo's target folder, a free port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Cargo's target folder: a test runs from `<target>/release/deps/NAME`, the benchmark from
/// `<target>/release/NAME`.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    let profile = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    profile.parent().unwrap().to_owned()
}

/// A port on loopback that nobody listens on.
///
/// It lies below the range from which the system takes ports for outgoing connections, so that it
/// is still free when a killed process comes back to it.
pub fn free_port() -> u16 {
    const RANGE: std::ops::Range<u32> = 15_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Test processes that run at the same time begin at different places.
        let begin = std::process::id().wrapping_mul(97);
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = RANGE.start + begin.wrapping_add(step) % (RANGE.end - RANGE.start);
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
