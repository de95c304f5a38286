//! The client for everything sent to Adobe. It decides nothing: no redirects, no retries of its own
//! (but one, below), no proxy from the environment.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::{Certificate, Proxy, Response, Url, header};

use super::backoff::retry_after;
use crate::config::{Aep, Loaded};

/// The longest time that a connection may take; a healthy one takes a tenth.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept: under the idle limits of load balancers (60 s and more).
const POOL_IDLE: Duration = Duration::from_secs(20);
/// The most bytes read of an answer that carries verdicts: 4 KB for each of a thousand messages.
const VERDICTS_CAP: usize = 4 * 1024 * 1024;
/// The most bytes read of any other answer.
const WORDS_CAP: usize = 16 * 1024;

/// Sends requests. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    inner: reqwest::Client,
}

/// What came back.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The server's wish, read and capped.
    pub retry_after: Option<Duration>,
    /// The body, or its first part where it is longer than we read.
    pub body: Bytes,
}

/// Why nothing came back.
///
/// What is displayed holds no address and no content: the kind, and the words of the operating
/// system or of TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", .kind.as_str())]
pub struct SendError {
    /// What kind of failure.
    pub kind: Transport,
    /// The innermost cause, such as `Connection refused (os error 111)`.
    pub detail: String,
}

/// A kind of transport failure; what matters is whether the request may have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// No connection: name, route, TLS or proxy. Nothing was sent.
    Unreachable,
    /// The connection broke before the whole answer. The request may have arrived.
    Broken,
    /// No whole answer in time. The request may have arrived.
    Unanswered,
}

impl Transport {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Unreachable, Self::Broken, Self::Unanswered];

    /// The kind's name in labels and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Broken => "connection broken",
            Self::Unanswered => "no answer in time",
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of trusted roots cannot be read.
    #[error("cannot read `aep.ca_file`: {0}")]
    CaFile(String),
    /// The file of trusted roots holds no certificate.
    #[error("`aep.ca_file` holds no PEM certificate; expected `-----BEGIN CERTIFICATE-----`")]
    CaContent,
    /// The proxy's address is no address. It may hold a password and is not shown.
    #[error("`aep.proxy` is not a URL of the form `http://user:password@host:port`")]
    Proxy,
    /// The TLS library refuses its settings.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

impl Client {
    /// A client with the settings of `aep` that keeps up to `connections` idle connections per host and trusts these
    /// roots, the content of `aep.ca_file`, beside the system's.
    pub fn new(aep: &Aep, roots: Option<&[u8]>, connections: usize) -> Result<Self, ClientError> {
        // Two TLS providers may be linked in; say which before any connection. An error means that
        // it was said before, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let roots = roots.map(certificates).transpose()?.unwrap_or_default();
        let proxy = match &aep.proxy {
            Some(url) => Some(Proxy::all(url.expose()).map_err(|_| ClientError::Proxy)?),
            None => None,
        };
        let builder = || {
            let builder = reqwest::Client::builder()
                .user_agent(concat!("xylem/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .retry(reqwest::retry::never())
                .no_proxy()
                .http1_only()
                .tcp_nodelay(true)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(Duration::from_millis(aep.timeout_ms))
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(connections);
            match &proxy {
                Some(proxy) => builder.proxy(proxy.clone()),
                None => builder,
            }
        };
        let inner = builder().tls_certs_merge(roots.clone()).build().or_else(|error| {
            // An image without CA certificates: plain HTTP and the extra roots must still work.
            tracing::warn!(
                cause = innermost(&error),
                "no trusted roots on this machine: HTTPS works only with `aep.ca_file`"
            );
            builder().tls_certs_only(roots).build()
        });
        Ok(Self { inner: inner.map_err(|error| ClientError::Tls(innermost(&error)))? })
    }

    /// Posts `body`. A connection that broke before any answer is tried once more at once: an idle
    /// connection may be closed by the server just when it is used, which says nothing of its
    /// health. Cancel-safe by dropping.
    pub async fn post(
        &self,
        url: &Url,
        headers: &header::HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        let response = match self.send(url, headers, body.clone()).await {
            Err(error) if error.kind == Transport::Broken => self.send(url, headers, body).await?,
            result => result?,
        };
        read(response).await
    }

    /// Posts `body` once, and waits for the head of the answer.
    async fn send(
        &self,
        url: &Url,
        headers: &header::HeaderMap,
        body: Bytes,
    ) -> Result<Response, SendError> {
        let request = self.inner.post(url.clone()).headers(headers.clone()).body(body);
        request.send().await.map_err(|error| send_error(&error))
    }
}

/// Reads an answer up to its cap. An answer that breaks off is an answer where its status alone
/// says what to do.
async fn read(mut response: Response) -> Result<Answer, SendError> {
    let success = response.status().is_success();
    let cap = if success { VERDICTS_CAP } else { WORDS_CAP };
    let wish = response.headers().get(header::RETRY_AFTER);
    let wish = wish.and_then(|value| value.to_str().ok());
    let wish = wish.and_then(|text| retry_after(text, SystemTime::now()));
    let mut body = BytesMut::new();
    while body.len() < cap {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) if success => {
                let SendError { kind, detail } = send_error(&error);
                // There was a connection, whatever the error looks like.
                let kind = if kind == Transport::Unreachable { Transport::Broken } else { kind };
                return Err(SendError { kind, detail });
            }
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(cap);
    Ok(Answer { status: response.status().as_u16(), retry_after: wish, body: body.freeze() })
}

/// What a failed request says.
pub(super) fn send_error(error: &reqwest::Error) -> SendError {
    let kind = if error.is_connect() || error.is_builder() {
        Transport::Unreachable
    } else if error.is_timeout() {
        Transport::Unanswered
    } else {
        Transport::Broken
    };
    SendError { kind, detail: innermost(error) }
}

/// The words of the innermost cause. Invariant 10: reqwest's own words name the URL, the innermost
/// cause is the system's or TLS' and names nothing of ours.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.last().map_or_else(|| "no further cause".to_owned(), ToString::to_string)
}

/// The certificates of a PEM file.
fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, ClientError> {
    match Certificate::from_pem_bundle(pem) {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        _ => Err(ClientError::CaContent),
    }
}

/// What asks AEP as a configuration says. Its `ca_file` is read once, with the configuration.
pub fn client(loaded: &Loaded, connections: usize) -> Result<Client, ClientError> {
    let roots = loaded.roots().map_err(|error| ClientError::CaFile(error.to_string()))?;
    Client::new(&loaded.config.aep, roots.as_deref(), connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(aep: &str, roots: Option<&[u8]>) -> String {
        let aep = serde_saphyr::from_str(&format!("organisation: O@AdobeOrg\n{aep}")).unwrap();
        Client::new(&aep, roots, 1).err().unwrap().to_string()
    }

    #[test]
    fn wrong_settings_are_named() {
        let words = error("", Some(b"none"));
        assert!(
            words.ends_with("holds no PEM certificate; expected `-----BEGIN CERTIFICATE-----`")
        );
    }

    #[test]
    fn invariant_10_a_wrong_proxy_is_not_repeated() {
        let words = error("proxy: 'http://me:geheim@[::1'", None);
        assert!(words.starts_with("`aep.proxy` is not a URL") && !words.contains("geheim"));
    }
}
