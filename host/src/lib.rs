//! xylem carries Kafka topics through WebAssembly plugins into Adobe Experience Platform.
//!
//! The modules stand in reading order: first what everything is made of, then the way a record
//! goes, then the owners that it calls, then the commands. A reader goes down, never up again.
#![deny(unsafe_code)]

pub mod record;
pub mod id;
pub mod stamp;
pub mod fault;
pub mod config;

pub mod consume;
pub mod transform;
pub mod validate;
pub mod batch;
pub mod deliver;
pub mod settle;
pub mod dead_letter;

pub mod generation;
pub mod kafka;
pub mod plugin;
pub mod schema;
pub mod http;
pub mod reload;
mod trial;
pub mod admin;
pub mod telemetry;
pub mod stop;

pub mod app;
pub mod commands;

#[cfg(test)]
mod manual;
#[cfg(test)]
mod rig;
