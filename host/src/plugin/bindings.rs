//! The contract as types, made from `wit/plugin.wit`. What goes into a call borrows, so payloads
//! are copied once, into the guest.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
});

pub(super) use self::exports::xylem::plugin::transformer::Source;
pub(super) use self::xylem::plugin::types::{Event, Header, Operation, Outcome, Payload, Record};
