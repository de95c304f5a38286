//! What every Rust plugin shares: the contract's types, one trait and the export macro.
//!
//! ```
//! use xylem_kit::{Outcome, Payload, Plugin, Record, Source, event, reject};
//!
//! struct Greetings {
//!     greeting: String,
//! }
//!
//! impl Plugin for Greetings {
//!     fn init(configuration: &str) -> Result<Self, String> {
//!         Ok(Greetings { greeting: configuration.to_owned() })
//!     }
//!
//!     fn transform(&self, _source: &Source, record: &Record) -> Outcome {
//!         match &record.payload {
//!             Some(Payload::Text(name)) => {
//!                 Outcome::Emit(vec![event(format!(r#"{{"title":"{} {name}"}}"#, self.greeting))])
//!             }
//!             Some(Payload::Bytes(_)) => reject("not-text", "the pipeline must say `payload: text`"),
//!             None => Outcome::Filter("tombstone".to_owned()),
//!         }
//!     }
//! }
//!
//! xylem_kit::export!(Greetings);
//! # fn main() {}
//! ```
//!
//! The types are generated from `wit/plugin.wit` and compile for the developer's own machine too,
//! so a plugin's mapping is tested with plain `cargo test`.

#[expect(clippy::pedantic, reason = "generated from wit/plugin.wit")]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "plugin",
        pub_export_macro: true,
        default_bindings_module: "xylem_kit::bindings",
    });
}

pub use bindings::exports::xylem::plugin::transformer::Source;
pub use bindings::xylem::plugin::logging::Level;
pub use bindings::xylem::plugin::types::{
    Event, Header, Operation, Outcome, Payload, Record, Rejection,
};

/// A plugin: made once for each instance, then asked for one outcome per record.
pub trait Plugin: Sized + 'static {
    /// Reads the configuration (JSON text); an error text refuses it.
    fn init(configuration: &str) -> Result<Self, String>;

    /// Maps one record. The same record gives the same outcome, whatever came before it.
    fn transform(&self, source: &Source, record: &Record) -> Outcome;
}

/// Writes a line to the operator's log; does nothing outside a component.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    bindings::xylem::plugin::logging::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, message);
}

/// An event for the pipeline's first destination, to be created.
pub fn event(body: String) -> Event {
    Event { body, route: None, operation: None }
}

/// A rejection without a path.
pub fn reject(code: &str, message: impl Into<String>) -> Outcome {
    Outcome::Reject(Rejection { code: code.to_owned(), message: message.into(), path: None })
}

/// Exports a [`Plugin`] as the component's `transformer`.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        mod component {
            use super::*;
            use std::cell::OnceCell;
            use $crate::bindings::exports::xylem::plugin::transformer::Guest;

            thread_local! {
                static PLUGIN: OnceCell<Box<$plugin>> = const { OnceCell::new() };
            }

            struct Component;

            impl Guest for Component {
                fn init(configuration: String) -> Result<(), String> {
                    let plugin = <$plugin as $crate::Plugin>::init(&configuration)?;
                    PLUGIN.with(|cell| cell.set(Box::new(plugin))).map_err(|_| "init ran twice".to_owned())
                }

                fn transform(
                    source: $crate::Source,
                    records: Vec<$crate::Record>,
                ) -> Vec<$crate::Outcome> {
                    PLUGIN.with(|cell| {
                        let plugin = cell.get().expect("the host calls init first");
                        records
                            .iter()
                            .map(|record| $crate::Plugin::transform(&**plugin, &source, record))
                            .collect()
                    })
                }
            }

            $crate::bindings::export!(Component with_types_in $crate::bindings);
        }
    };
}
