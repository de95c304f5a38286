//! What must not be seen is not seen.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::super::envelope::tests::{aep, destination};
use super::server::*;
use crate::deliver::Destination;
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

#[tokio::test]
async fn invariant_10_neither_secrets_nor_contents_are_logged_or_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, what another test's thread logs first would be judged by that
    // thread, which has none, and be off for all.
    let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let _second = tracing::Dispatch::new(everything.with_writer(io::sink).finish());
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
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("aep.unavailable") && logged.contains("token.refused"), "{logged}");
    for secret in ["geheim", "t0ken", "customer-17"] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!logged.contains(secret), "{logged}");
    }
}

#[tokio::test]
async fn a_proxy_is_used_with_its_credentials() {
    let proxy = Server::start(|n, request| {
        assert_eq!(request.path, "http://inlet.invalid/collection/batch/i1");
        // `me:geheim` in Base64.
        assert!(request.head.contains("proxy-authorization: basic bwu6z2vozwlt"));
        if n == 0 { Answer::Say(407, String::new()) } else { taken() }
    })
    .await;
    let address = proxy.url("").replace("http://", "http://me:geheim@");
    let aep = aep(&format!("proxy: '{address}'"));
    let config = destination("inlet: http://inlet.invalid/collection/i1");
    let client = Client::new(&aep, 1).unwrap();
    let mut destination = Destination::new("orders", &config, &aep, client, None, quota()).unwrap();
    destination.gate = super::super::Gate::new("orders", super::server::TIMING);
    assert_eq!(deliver(&destination, "a").await, ["ok"]);
    assert_eq!(proxy.requests().len(), 2);
}
