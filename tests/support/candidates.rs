//! Candidates that must not get in.

use std::path::Path;

use crate::guests;

/// One of them.
pub struct Bad {
    /// What it does.
    pub name: &'static str,
    component: fn() -> Vec<u8>,
    /// The size of its file, where that is not the component's.
    bytes: Option<u64>,
    /// The plugin's settings.
    pub settings: &'static str,
}

/// All of them. They are to be held against the guest `stamp`, with 100 ms of CPU time for a call and recent
/// records kept.
pub const BAD: [Bad; 9] = [
    bad("it loops on records", hostile, "{misbehave: loop}"),
    bad("it loops in init", hostile, "{misbehave: init-loop}"),
    bad("it traps in init", hostile, "{misbehave: init-trap}"),
    bad("it is of another world", other_world, "{}"),
    bad("it is truncated", truncated, "{}"),
    Bad { bytes: Some(300_000_000), ..bad("it has 300 MB", hostile, "{}") },
    bad("it asks for a network", network, "{}"),
    bad("it maps wrongly", wrong, "{}"),
    bad("it is several times slower", slower, "{kilosteps: 40}"),
];

const fn bad(name: &'static str, component: fn() -> Vec<u8>, settings: &'static str) -> Bad {
    Bad { name, component, bytes: None, settings }
}

impl Bad {
    /// Puts it in the place of a component.
    pub fn lay(&self, path: &Path) {
        let beside = path.with_extension("bad");
        std::fs::write(&beside, (self.component)()).unwrap();
        if let Some(bytes) = self.bytes {
            std::fs::File::options().write(true).open(&beside).unwrap().set_len(bytes).unwrap();
        }
        std::fs::rename(beside, path).unwrap();
    }
}

fn hostile() -> Vec<u8> {
    std::fs::read(guests::built("hostile")).unwrap()
}

fn other_world() -> Vec<u8> {
    renamed(&hostile(), b"xylem:plugin/transformer@0.1.0", b"other:plugin/transformer@0.1.0")
}

fn truncated() -> Vec<u8> {
    let mut wasm = hostile();
    wasm.truncate(wasm.len() / 2);
    wasm
}

/// Not WASI's own sockets, which many toolchains import without a use for them: of those every operation refuses.
/// The same length of names keeps the component whole.
fn network() -> Vec<u8> {
    renamed(&hostile(), b"xylem:plugin/logging@0.1.0", b"acme:sockets/network@0.2.0")
}

fn wrong() -> Vec<u8> {
    renamed(&guests::stamp(3), b"\"timestamp\":\"", b"\"datestamp\":\"")
}

fn slower() -> Vec<u8> {
    guests::stamp(3)
}

/// A component with another name in it, of the same length.
pub fn renamed(wasm: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut wasm = wasm.to_vec();
    let places: Vec<usize> = memchr::memmem::find_iter(&wasm, from).collect();
    assert!(!places.is_empty(), "the component does not have the name");
    for at in places {
        wasm.splice(at..at + from.len(), to.iter().copied());
    }
    wasm
}
