//! What a configuration must have to be a destination.

use super::inlet::InletError;
use crate::config;
use crate::http::{HeaderMap, HeaderName, HeaderValue};

/// Why a destination cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// Its inlet's address.
    #[error("`destinations.{name}.inlet`: {source}")]
    Inlet {
        /// The destination.
        name: String,
        /// What is wrong.
        source: InletError,
    },
    /// A request header.
    #[error(
        "`destinations.{name}.{field}`: `{header}` cannot be sent as a request header; use visible ASCII"
    )]
    Header {
        /// The destination.
        name: String,
        /// The field.
        field: &'static str,
        /// The header's name.
        header: String,
    },
    /// A header that the host writes itself.
    #[error("`destinations.{name}.headers`: `{header}` is written by xylem; remove it")]
    OwnHeader {
        /// The destination.
        name: String,
        /// The header's name.
        header: String,
    },
    /// A flow is needed and not given.
    #[error("`destinations.{0}.flow` is missing: `mode: raw` needs the dataflow's id")]
    Flow(String),
    /// A token is wanted and there is no credential.
    #[error("`destinations.{0}.authenticate` is true, but there is no `aep.auth`")]
    NoToken(String),
}

/// The constant headers of a destination's requests.
pub(super) fn request_headers(
    name: &str,
    destination: &config::Destination,
    aep: &config::Aep,
) -> Result<HeaderMap, DestinationError> {
    /// Headers that the host or the transport writes.
    const OWN: &[&str] = &[
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    ];
    let mut headers = HeaderMap::new();
    let mut insert = |field, header: &str, value: &str| {
        let refuse =
            || DestinationError::Header { name: name.to_owned(), field, header: header.to_owned() };
        let key = HeaderName::try_from(header).map_err(|_| refuse())?;
        headers.insert(key, HeaderValue::try_from(value).map_err(|_| refuse())?);
        Ok(())
    };
    insert("inlet", "content-type", "application/json")?;
    if let Some(flow) = &destination.flow {
        insert("flow", "x-adobe-flow-id", flow.as_str())?;
    }
    if let Some(sandbox) = &aep.sandbox {
        insert("sandbox", "x-sandbox-name", sandbox)?;
    }
    for (header, value) in &destination.headers {
        if OWN.contains(&header.to_ascii_lowercase().as_str()) {
            let (name, header) = (name.to_owned(), header.clone());
            return Err(DestinationError::OwnHeader { name, header });
        }
        insert("headers", header, value)?;
    }
    Ok(headers)
}
