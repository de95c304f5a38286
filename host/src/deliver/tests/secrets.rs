//! What must not be seen is not seen.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::super::envelope::tests::{aep, destination};
use super::server::*;
use crate::deliver::{Access, Destination};
use crate::fault::Code;
use crate::http::Client;
use crate::record::Operation;

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Logs into `log` all that is logged, down to what libraries trace, until both are dropped.
fn log_everything(log: &Log) -> (tracing::subscriber::DefaultGuard, tracing::Dispatch) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, what another test's thread logs first would be judged by that
    // thread, which has none, and be off for all.
    let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    (guard, tracing::Dispatch::new(everything.with_writer(io::sink).finish()))
}

impl Log {
    /// What was logged so far.
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn invariant_10_neither_secrets_nor_contents_are_logged_or_shown() {
    let log = Log::default();
    let _logging = log_everything(&log);
    // Everything goes wrong once, and every answer repeats what it should not.
    let server = Server::start(|n, request| {
        let echo = "geheim t0ken customer-17".to_owned();
        match (n, request.path.as_str()) {
            (0, _) => Answer::Say(400, echo),
            (_, "/token") => Answer::Say(200, r#"{"access_token":"t0ken"}"#.to_owned()),
            (2, _) => Answer::Say(401, echo),
            (4, _) => Answer::Say(503, echo),
            (5, _) => Answer::Close,
            (6, _) => Answer::Break,
            (7, _) => Answer::Say(413, echo),
            (8, _) => Answer::Say(404, echo),
            (9, _) => Answer::Say(207, echo),
            _ => Answer::Each(|id| {
                if id == "a" {
                    json!({ "status": 400, "message": "customer-17" })
                } else {
                    json!({})
                }
            }),
        }
    })
    .await;
    let token = server.token();
    let destination = server.destination_with("", Some(Arc::clone(&token)));
    let encode =
        |id| destination.encode(id, r#"{"name":"customer-17"}"#, Operation::Create).unwrap();
    let messages = [encode("a"), encode("b")];
    let verdicts = within(destination.deliver(&messages)).await;
    // AEP's words go into the dead letter, and `Debug` does not show them.
    assert!(format!("{verdicts:?}").contains("aep.refused"), "{verdicts:?}");
    let shown = format!("{verdicts:?} {:?} {:?}", destination.status(), token.status());
    let logged = log.text();
    assert!(logged.contains("aep.unavailable") && logged.contains("token.refused"), "{logged}");
    for secret in ["geheim", "t0ken", "customer-17"] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!logged.contains(secret), "{logged}");
    }
}

/// A destination behind a proxy with the password `geheim`.
fn behind(proxy: &Server, inlet: &str) -> Destination {
    let address = proxy.url("").replace("http://", "http://me:geheim@");
    let aep = aep(&format!("proxy: '{address}'"));
    let config = destination(&format!("inlet: {inlet}"));
    let client = Client::new(&aep, None, 1).unwrap();
    let access = Access { client, token: None, quota: quota() };
    let mut destination = Destination::new("orders", &config, &aep, access).unwrap();
    destination.gate = super::super::Gate::new("orders", TIMING);
    destination
}

/// `me:geheim` in Base64, and how a proxy is told it.
const CREDENTIALS: (&str, &str) = ("bWU6Z2VoZWlt", "proxy-authorization: basic bwu6z2vozwlt");

#[tokio::test]
async fn a_proxy_is_used_with_its_credentials() {
    let log = Log::default();
    let _logging = log_everything(&log);
    let proxy = Server::start(|n, request| {
        assert_eq!(request.path, "http://inlet.invalid/collection/batch/i1");
        assert!(request.head.contains(CREDENTIALS.1));
        if n == 0 { Answer::Say(407, String::new()) } else { taken() }
    })
    .await;
    let destination = behind(&proxy, "http://inlet.invalid/collection/i1");
    assert_eq!(deliver(&destination, "a").await, ["ok"]);
    assert_eq!(proxy.requests().len(), 2);
    // Invariant 10.
    let logged = log.text();
    assert!(logged.contains("inlet.invalid"), "{logged}");
    assert!(!logged.contains("geheim") && !logged.contains(CREDENTIALS.0), "{logged}");
}

#[tokio::test]
async fn invariant_11_a_proxy_that_refuses_an_https_inlet_is_waited_for() {
    let log = Log::default();
    let _logging = log_everything(&log);
    let proxy = Server::start(|_, request| {
        assert_eq!(request.path, "inlet.invalid:443");
        assert!(request.head.contains(CREDENTIALS.1));
        Answer::Say(407, String::new())
    })
    .await;
    let destination = behind(&proxy, "https://inlet.invalid/collection/i1");
    tokio::select! {
        verdicts = deliver(&destination, "a b") => panic!("{verdicts:?}"),
        () = until(|| proxy.requests().len() > 4) => {}
    }
    let last = destination.status().last_fault.map(|(last, _)| last);
    assert_eq!(last, Some(Code::Unreachable));
    // Invariant 10.
    let logged = log.text();
    assert!(!logged.contains("geheim") && !logged.contains(CREDENTIALS.0), "{logged}");
}
