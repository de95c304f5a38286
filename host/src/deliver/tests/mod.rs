//! Delivery against a server that answers as a script says, over real sockets.

mod happy;
mod server;
