//! A server that answers each request as a function says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::envelope::tests::{aep, destination};
use super::super::gate::{Gate, Timing};
use super::super::{Access, Destination, Message, Quota, Verdict};
use crate::config;
use crate::http::{Backoff, Client, Token, TokenTiming};
use crate::record::Operation;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The path and query.
    pub path: String,
    /// The head, lower case.
    pub head: String,
    /// The ids of its messages.
    pub ids: Vec<String>,
}

impl Request {
    /// Whether one of its messages has this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.iter().any(|other| other == id)
    }
}

/// What the server does with a request.
pub(super) enum Answer {
    /// Status and body.
    Say(u16, String),
    /// Status, header lines, body.
    SayWith(u16, &'static str, String),
    /// 207 with one entry per message, as this function says of its id.
    Each(fn(&str) -> Value),
    /// Closes the connection without an answer.
    Close,
    /// Announces more body than it sends, then closes.
    Break,
    /// Never answers.
    Hang,
}

/// All messages taken.
pub(super) fn taken() -> Answer {
    Answer::Each(|id| json!({ "xactionId": format!("x-{id}") }))
}

type Script = dyn Fn(usize, &Request) -> Answer + Send + Sync;

/// A running server; ends when dropped.
pub(super) struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts a server that answers request number `n` (from 0) as `script` says.
    pub(super) async fn start(
        script: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0", script).await
    }

    /// The same at this address.
    pub(super) async fn start_at(
        address: &str,
        script: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let bound = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared), Arc::clone(&script)));
            }
        });
        Self { address: bound, seen, _tasks: tasks }
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The ids of each request so far, joined with spaces.
    pub(super) fn ids(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.ids.join(" ")).collect()
    }

    /// A URL at this server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A destination here, with short waits.
    pub(super) fn destination(&self, yaml: &str) -> Destination {
        self.destination_with(yaml, None)
    }

    /// A destination here that sends a token.
    pub(super) fn destination_with(&self, yaml: &str, token: Option<Arc<Token>>) -> Destination {
        destination_at(&self.url("/collection/i1"), yaml, token)
    }

    /// The token of a credential at this server.
    pub(super) fn token(&self) -> Arc<Token> {
        token_at(&self.url("/token"))
    }
}

/// A destination with short waits at this inlet.
pub(super) fn destination_at(inlet: &str, yaml: &str, token: Option<Arc<Token>>) -> Destination {
    let config = destination(&format!("inlet: {inlet}\n{yaml}"));
    let access = Access { client: client(), token, quota: quota() };
    let mut destination = Destination::new("orders", &config, &aep(""), access).unwrap();
    destination.gate = Gate::new("orders", TIMING);
    destination
}

/// The token of a credential at this endpoint, with short waits.
pub(super) fn token_at(endpoint: &str) -> Arc<Token> {
    let auth = serde_saphyr::from_str(&format!(
        "token_url: {endpoint}\nclient_id: me\nclient_secret: geheim\nscopes: [a, b]"
    ));
    let timing = TokenTiming { backoff: SHORT, refused: Duration::from_millis(30) };
    Arc::new(Token::new(&auth.unwrap(), client()).unwrap().with_timing(timing))
}

/// Waits short enough for a test, in the proportions of the real ones.
pub(super) const TIMING: Timing = Timing {
    infrastructure: SHORT,
    quota: SHORT,
    auth: SHORT,
    one_event: SHORT,
    own: SHORT,
    configuration: Duration::from_millis(30),
};
const SHORT: Backoff = Backoff { base: Duration::from_millis(2), cap: Duration::from_millis(20) };

/// A quota that no test reaches.
pub(super) fn quota() -> Arc<Quota> {
    let most = 1_000_000_000;
    let settings =
        config::Quota { messages_per_second: most, requests_per_second: most, share: None };
    Arc::new(Quota::new(&settings))
}

/// A client with the default timeout: on a busy machine an answer takes its time.
pub(super) fn client() -> Client {
    Client::new(&aep(""), None, 4).unwrap()
}

/// The same destination, which waits only shortly for an answer.
pub(super) fn impatient(mut destination: Destination) -> Destination {
    destination.client = Client::new(&aep("timeout_ms: 300"), None, 4).unwrap();
    destination
}

/// Events with the ids of `names`, separated by spaces.
pub(super) fn messages(destination: &Destination, names: &str) -> Vec<Message> {
    let encode =
        |id: &str| destination.encode(id, &format!(r#"{{"_id":"{id}"}}"#), Operation::Create);
    names.split_whitespace().map(|id| encode(id).unwrap()).collect()
}

/// Delivers events with these ids, within a limit; the verdicts as text, `ok` or the fault.
pub(super) async fn deliver(destination: &Destination, names: &str) -> Vec<String> {
    let messages = messages(destination, names);
    let verdicts = within(destination.deliver(&messages)).await;
    let word = |verdict| match verdict {
        Verdict::Accepted => "ok".to_owned(),
        Verdict::Refused(fault) => format!("{}: {}", fault.code.as_str(), fault.message),
    };
    verdicts.into_iter().map(word).collect()
}

/// Waits for `future`, but not for ever.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, future).await.expect("the test takes too long")
}

/// Waits until `condition` holds, but not for ever.
pub(super) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, script: Arc<Script>) {
    while let Some(request) = read(&mut stream).await {
        let answer = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            script(seen.len() - 1, &request)
        };
        let (status, head, body) = match answer {
            Answer::Say(status, body) => (status, "", body),
            Answer::SayWith(status, head, body) => (status, head, body),
            Answer::Each(entry) => {
                let entries: Vec<Value> = request.ids.iter().map(|id| entry(id)).collect();
                (207, "", json!({ "inletId": "i1", "responses": entries }).to_string())
            }
            Answer::Close => return,
            Answer::Break => {
                let part = "HTTP/1.1 207 X\r\ncontent-length: 1000\r\n\r\n{\"responses\":[";
                stream.write_all(part.as_bytes()).await.unwrap();
                return;
            }
            Answer::Hang => std::future::pending().await,
        };
        let length = body.len();
        let text = format!("HTTP/1.1 {status} X\r\n{head}content-length: {length}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads one request; none at the connection's end.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head.to_lowercase().lines().find_map(|line| {
        line.strip_prefix("content-length:").map(|length| length.trim().parse::<usize>().unwrap())
    });
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length.unwrap_or(0) {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(body).unwrap();
    let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
    let id = |message: &Value| message["header"]["msgId"].as_str().map(str::to_owned);
    let ids = parsed["messages"].as_array().into_iter().flatten().filter_map(id).collect();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Some(Request { path, head: head.to_lowercase(), ids })
}
