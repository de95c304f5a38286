//! HTTP to a xylem on this machine, over its Unix socket.

use std::path::Path;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use reqwest::{Certificate, Response};

use super::client::{ClientError, SendError, innermost, send_error};

/// The most bytes read of an answer.
const CAP: usize = 4 * 1024 * 1024;

/// Asks a process.
pub struct Local {
    inner: reqwest::Client,
}

/// What it said.
#[derive(Debug)]
pub struct Said {
    /// The HTTP status.
    pub status: u16,
    /// What the header says that was asked for.
    pub header: Option<String>,
    /// The body, or its first part where it is longer than we read.
    pub text: String,
}

impl Local {
    /// A client of the process that listens on a socket.
    pub fn new(socket: &Path) -> Result<Self, ClientError> {
        // There is no TLS here, but the library wants to know.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = reqwest::Client::builder()
            .user_agent(concat!("xylem/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .tls_certs_only(Vec::<Certificate>::new())
            .unix_socket(socket);
        let inner = builder.build().map_err(|error| ClientError::Tls(innermost(&error)))?;
        Ok(Self { inner })
    }

    /// Posts to a path, with JSON where there is something to say, or gets what is there where `asked` is
    /// none, and waits for the answer, however long it takes; `header` is read of it.
    pub async fn ask(
        &self,
        path: &str,
        asked: Option<&str>,
        accept: &str,
        header: &HeaderName,
    ) -> Result<Said, SendError> {
        // The host is a name that nobody looks up.
        let url = format!("http://xylem{path}");
        let request = match asked {
            None => self.inner.get(url),
            Some("") => self.inner.post(url),
            Some(json) => {
                self.inner.post(url).header(CONTENT_TYPE, "application/json").body(json.to_owned())
            }
        };
        let request = request.header(ACCEPT, accept);
        let response = request.send().await.map_err(|error| send_error(&error))?;
        let value = response.headers().get(header).and_then(|value| value.to_str().ok());
        let said = value.map(str::to_owned);
        Ok(Said { status: response.status().as_u16(), header: said, text: text(response).await? })
    }
}

async fn text(mut response: Response) -> Result<String, SendError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| send_error(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > CAP {
            body.truncate(CAP);
            break;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
