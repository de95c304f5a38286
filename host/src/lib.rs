//! xylem carries Kafka topics through WebAssembly plugins into Adobe Experience Platform.
//!
//! The modules stand in reading order: first the way a record goes, then the owners that it calls.
#![deny(unsafe_code)]

pub mod admin;
pub mod batch;
pub mod commands;
pub mod config;
pub mod deliver;
pub mod fault;
pub mod http;
pub mod id;
pub mod plugin;
pub mod record;
pub mod schema;
pub mod settle;
pub mod telemetry;
pub mod validate;

#[cfg(test)]
mod manual;
