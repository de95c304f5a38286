//! A listener with a bounded number of connections, each of which ends soon: whoever reaches the
//! address can hold none for long, and cannot keep a probe out by holding many.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

/// Probes and scrapes need a handful.
const MAX_CONNECTIONS: usize = 64;

/// How long a peer may take.
#[derive(Clone, Copy)]
struct Patience {
    /// Until its request is there, from the first byte of the connection.
    request: Duration,
    /// Until it has the answer, too.
    exchange: Duration,
}

/// A scrape times out after ten seconds by itself, a probe after one.
const PATIENCE: Patience =
    Patience { request: Duration::from_secs(10), exchange: Duration::from_secs(30) };

/// The listener.
pub(super) struct Bounded {
    socket: TcpListener,
    patience: Patience,
    /// The open connections, the oldest first; one ends when its sender is dropped.
    open: VecDeque<oneshot::Sender<()>>,
}

impl Bounded {
    pub(super) fn new(socket: TcpListener) -> Self {
        Self { socket, patience: PATIENCE, open: VecDeque::new() }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.socket).await;
        self.open.retain(|connection| !connection.is_closed());
        // The oldest goes, not the newest: a probe takes milliseconds, who holds on does not.
        if self.open.len() >= MAX_CONNECTIONS {
            self.open.pop_front();
        }
        let (keep, dropped) = oneshot::channel();
        self.open.push_back(keep);
        let ends = Box::pin(tokio::time::sleep(self.patience.request));
        let began = Instant::now();
        let patience = self.patience;
        (Connection { stream, began, patience, answered: false, ends, dropped }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection; reading and writing fail once its time is over.
pub(super) struct Connection {
    stream: TcpStream,
    began: Instant,
    patience: Patience,
    answered: bool,
    ends: Pin<Box<Sleep>>,
    /// Ends when others need the room.
    dropped: oneshot::Receiver<()>,
}

impl Connection {
    /// Fails once the time is over, whatever else could go on.
    fn poll_over(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.ends.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if Pin::new(&mut self.dropped).poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_over(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.answered {
            self.answered = true;
            let ends = self.began + self.patience.exchange;
            self.ends.as_mut().reset(ends);
        }
        self.poll_over(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_over(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_over(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    /// What ends the connection of a peer, by what is done with it here.
    fn ended<F: Future<Output = io::Error>>(
        peer: impl FnOnce(std::net::TcpStream) -> std::net::TcpStream + Send + 'static,
        serve: impl FnOnce(Connection) -> F,
    ) -> io::ErrorKind {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let patience = Patience { request: SHORT, exchange: SHORT * 2 };
            let mut listener = Bounded { patience, ..Bounded::new(socket) };
            let peer =
                std::thread::spawn(move || peer(std::net::TcpStream::connect(address).unwrap()));
            let (connection, _) = listener.accept().await;
            let error = serve(connection).await;
            drop(peer.join().unwrap());
            error.kind()
        })
    }

    #[test]
    fn a_byte_now_and_then_does_not_keep_a_connection() {
        let endless = |mut stream: std::net::TcpStream| {
            while stream.write_all(b"x").is_ok() {}
            stream
        };
        let kind = ended(endless, async |mut connection| {
            loop {
                if let Err(error) = connection.read(&mut [0; 16]).await {
                    return error;
                }
            }
        });
        assert_eq!(kind, io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_answer_that_nobody_reads_ends() {
        let kind = ended(
            |stream| stream,
            async |mut connection| loop {
                if let Err(error) = connection.write_all(&[0; 4_096]).await {
                    return error;
                }
            },
        );
        assert_eq!(kind, io::ErrorKind::TimedOut);
    }
}
