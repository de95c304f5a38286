//! The emulator as its clients meet it: over HTTP, held against what is documented and observed of AEP.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::shadow_unrelated,
    reason = "a test may panic"
)]

mod control;
mod door;
mod faults;
mod platform;
mod support;
mod token;
mod validation;
