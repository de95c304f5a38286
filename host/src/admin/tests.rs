use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

/// A source with something to show.
struct Source;

impl StatusSource for Source {
    fn status(&self) -> Status {
        Status { version: "1.2.3".to_owned(), ..Status::default() }
    }

    fn refresh(&self, metrics: &Metrics) {
        metrics.in_flight_records.set(42);
    }
}

fn config(listen: &str, token: Option<&str>) -> Config {
    let mut config: Config = serde_json::from_value(serde_json::json!({
        "kafka": { "brokers": "k", "group": "g", "start": "latest" },
        "aep": { "organisation": "1@AdobeOrg" },
        "destinations": {},
        "pipelines": {},
        "admin": { "listen": listen },
    }))
    .unwrap();
    config.admin.token = token.map(Secret::literal);
    config
}

fn start(ready: &Ready) -> Admin {
    let config = config("127.0.0.1:0", None);
    Admin::start(&config, None, Metrics::default(), ready.clone(), Arc::new(Source)).unwrap()
}

/// One request over a real connection; status line and body.
fn ask(admin: &Admin, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(admin.address()).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_routes_answer() {
    let ready = Ready::new();
    let admin = start(&ready);
    assert_eq!(ask(&admin, "GET /livez").0, "HTTP/1.1 200 OK");
    let (line, body) = ask(&admin, "GET /readyz");
    assert_eq!(line, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(
        body,
        "waiting for a live generation\nwaiting for a token\nwaiting for the subscription\n"
    );
    let (_, json) = ask(&admin, "GET /status");
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&status["ready"], &status["version"]), (&false.into(), &"1.2.3".into()));

    for part in Part::ALL {
        ready.release(part);
    }
    assert_eq!(ask(&admin, "GET /readyz").0, "HTTP/1.1 200 OK");
    let (_, page) = ask(&admin, "GET /metrics");
    assert!(page.contains("\nxylem_in_flight_records 42\n"), "{page}");
    assert!(page.contains("\nxylem_ready 1\n"), "{page}");
    assert_eq!(ask(&admin, "POST /status").0, "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(ask(&admin, "GET /reload").0, "HTTP/1.1 403 Forbidden");
    assert_eq!(ask(&admin, "GET /other").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn whoever_holds_connections_keeps_no_probe_out() {
    let admin = start(&Ready::new());
    let held: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(admin.address()).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(ask(&admin, "GET /livez").0, "HTTP/1.1 200 OK");
    drop(held);
}

#[test]
fn a_connection_serves_one_request() {
    let admin = start(&Ready::new());
    let mut stream = TcpStream::connect(admin.address()).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    // Ends, although the request does not ask for it.
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("live\n"), "{answer}");
}

#[test]
fn a_connection_held_open_does_not_hold_up_the_stop() {
    let admin = start(&Ready::new());
    let mut held = TcpStream::connect(admin.address()).unwrap();
    held.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    drop(admin);
}

#[test]
fn the_socket_serves_the_routes_and_goes_with_the_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let socket = Socket::at(path.clone()).unwrap();
    let (config, source) = (config("127.0.0.1:0", None), Arc::new(Source));
    let admin =
        Admin::start(&config, Some(socket), Metrics::default(), Ready::new(), source).unwrap();
    let exchange = |request: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(exchange("GET /livez").ends_with("live\n"));
    assert!(exchange("GET /status").starts_with("HTTP/1.1 200 OK"));
    // Nothing is reloaded here.
    assert!(exchange("POST /reload").starts_with("HTTP/1.1 503 "));
    let (line, words) = ask(&admin, "POST /reload");
    assert_eq!(line, "HTTP/1.1 403 Forbidden");
    assert!(words.starts_with("this changes what runs: ask on the Unix socket"), "{words}");
    drop(admin);
    assert!(!path.exists());
}

#[test]
fn an_address_in_use_is_named() {
    let admin = start(&Ready::new());
    let taken = config(&admin.address().to_string(), None);
    let refused = Admin::start(&taken, None, Metrics::default(), Ready::new(), Arc::new(Source));
    let message = refused.err().unwrap().to_string();
    assert!(message.starts_with("`admin.listen`: cannot listen on `127.0.0.1:"), "{message}");
}

#[test]
fn invariant_10_status_beyond_loopback_needs_the_token() {
    let token = Secret::literal("correct horse battery");
    let with =
        |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
    let near = Door::Tcp("[::ffff:127.0.0.1]:1".parse().unwrap());
    let far = Door::Tcp("10.0.0.7:1".parse().unwrap());
    let user = rustix::process::geteuid().as_raw();
    assert!(may_see(Door::Socket(Some(user)), &HeaderMap::new(), None));
    assert!(!may_see(Door::Socket(Some(user + 4_711)), &HeaderMap::new(), None));
    assert!(may_see(near, &HeaderMap::new(), None));
    assert!(may_see(far, &with("Bearer correct horse battery"), Some(&token)));
    assert!(may_see(far, &with("bearer correct horse battery"), Some(&token)));
    for headers in [
        HeaderMap::new(),
        with("Bearer correct horse batter"),
        with("Bearer "),
        with("Basic correct horse battery"),
        with("x"),
    ] {
        assert!(!may_see(far, &headers, Some(&token)), "{headers:?}");
        assert!(!may_see(far, &headers, None), "{headers:?}");
    }
    assert!(!may_see(far, &with("Bearer "), None));
}
