//! The section `aep`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::reference::{Address, Secret};

/// The organisation in Adobe Experience Platform.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aep {
    /// The organisation id, `…@AdobeOrg`.
    pub organisation: Address,
    /// The sandbox, sent as `x-sandbox-name`; an inlet belongs to one in any case.
    #[serde(default)]
    pub sandbox: Option<String>,
    /// The tenant's namespace with its underscore, such as `_acme`. Mappings write `_tenant`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// OAuth server-to-server credential; absent means inlets without authentication.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// An HTTP proxy for everything sent to Adobe, `http://user:password@host:port`. The proxy
    /// variables of the environment are not read.
    #[serde(default)]
    pub proxy: Option<Secret>,
    /// A PEM file of trusted roots beside the system's, relative to the configuration file.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How long one request may take, in milliseconds, before it counts as unanswered.
    #[serde(default = "Aep::default_timeout_ms")]
    #[schemars(range(min = 10, max = 600_000))]
    pub timeout_ms: u64,
}

impl Aep {
    /// Longer than AEP's own slow answers, shorter than a consumer's patience.
    fn default_timeout_ms() -> u64 {
        30_000
    }
}

/// An OAuth server-to-server credential of the Adobe Developer Console.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The token endpoint.
    #[serde(default = "Auth::default_token_url")]
    pub token_url: Address,
    /// The credential's client id.
    pub client_id: Address,
    /// The credential's client secret.
    pub client_secret: Secret,
    /// The scopes that the Developer Console shows for the credential.
    pub scopes: Vec<String>,
}

impl Auth {
    fn default_token_url() -> Address {
        Address::literal("https://ims-na1.adobelogin.com/ims/token/v3")
    }
}
