//! The least of HTTP: GET and POST on loopback and over a Unix socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::eventually::patience;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// GETs a path from a port on loopback; the error says what did not work.
///
/// HTTP/1.0, so that the body ends with the connection and is never chunked.
pub fn get(port: u16, path: &str) -> Result<Answer, String> {
    get_with(port, path, "")
}

/// The same with `headers`, lines that end with CR and LF.
pub fn get_with(port: u16, path: &str, headers: &str) -> Result<Answer, String> {
    exchange(port, &format!("GET {path}"), headers)
        .map_err(|error| format!("GET {path} from port {port}: {error}"))
}

/// POSTs nothing to a path on a port on loopback; `headers` are lines that end with CR and LF.
pub fn post(port: u16, path: &str, headers: &str) -> Result<Answer, String> {
    exchange(port, &format!("POST {path}"), headers)
        .map_err(|error| format!("POST {path} to port {port}: {error}"))
}

/// POSTs nothing to a path over a Unix socket.
pub fn post_local(socket: &Path, path: &str) -> Result<Answer, String> {
    let exchange = || {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patience(LIMIT)))?;
        answer(stream, &format!("POST {path}"), "Content-Length: 0\r\n")
    };
    exchange().map_err(|error| format!("POST {path} to {}: {error}", socket.display()))
}

/// A reload compiles, perhaps, and a process in a test may have few cores.
const LIMIT: Duration = Duration::from_mins(1);

fn exchange(port: u16, request: &str, headers: &str) -> std::io::Result<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    let limit = if request.starts_with("GET") { Duration::from_secs(10) } else { LIMIT };
    stream.set_read_timeout(Some(patience(limit)))?;
    answer(stream, request, headers)
}

fn answer(mut stream: impl Read + Write, request: &str, headers: &str) -> std::io::Result<Answer> {
    write!(stream, "{request} HTTP/1.0\r\nHost: 127.0.0.1\r\n{headers}\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let malformed = || std::io::Error::other(format!("no HTTP answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer { status: status.ok_or_else(malformed)?, body: body.to_owned() })
}
