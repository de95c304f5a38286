//! Delivery against a server that answers as a script says, over real sockets.

mod happy;
mod outage;
mod refusal;
mod secrets;
mod server;
mod token;
mod unknown;
