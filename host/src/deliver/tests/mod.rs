//! Delivery over real sockets: against a server that answers as a script says, and against the
//! emulator.

mod emulator;
mod happy;
mod outage;
mod refusal;
mod secrets;
mod server;
mod token;
mod unknown;
