//! A local Adobe Experience Platform: token endpoint, streaming inlets, asynchronous validator,
//! failed batches, a little of the control plane, and faults on order.
//!
//! It is a program (`aep-emulator --help`) and this library:
//!
//! ```
//! use aep_emulator::{Emulator, Fault, Settings};
//!
//! let emulator = Emulator::start(Settings::default())?;
//! let inlet = emulator.inlet_url("orders");
//! assert!(inlet.ends_with("/collection/orders"));
//! let outage = emulator.control().fault(Fault::outage(2).at("orders"));
//! assert_eq!(emulator.control().took_effect(outage), 0);
//! emulator.stop();
//! # Ok::<(), aep_emulator::StartError>(())
//! ```
//!
//! It shares no code with the xylem host, so that a test of the one against the other means
//! something. What of its behaviour is documented, observed or chosen stands in its README.

mod admin;
mod answer;
mod control;
mod door;
mod envelope;
mod failed;
mod fault;
mod ident;
mod ims;
mod inlet;
mod inspect;
mod known;
mod lake;
mod platform;
mod rate;
mod schema;
mod server;
mod settings;
mod spoil;
mod state;
mod token;
mod wire;

pub use control::{Control, Summary};
pub use failed::{FailedBatch, FailedMessage};
pub use fault::{Body, Endpoint, Fault, FaultId, FaultReport, Kind, Select};
pub use lake::{DatasetSummary, InletSummary, LakeEntry, LakeQuery};
pub use schema::{MOST_VIOLATIONS, Schema as CompiledSchema, SchemaError, Violation};
pub use server::Emulator;
pub use settings::{
    BODY_LIMIT, Client, DataType, Dataset, FailedShape, Flow, Inlet, Keep, Rate, Schema, Secret,
    Settings, SettingsError, Style, TOKEN_TTL_SECONDS,
};
pub use state::StartError;
pub use token::TokenCounts;
