//! A listener with a bounded number of connections, each of which ends soon: whoever reaches the
//! address can hold none for long, and cannot keep a probe out by holding many.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
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
    /// Until the answer is there, where the peer may wait for what it asked for.
    work: Duration,
}

/// A scrape times out after ten seconds by itself, a probe after one.
const PATIENCE: Patience = Patience {
    request: Duration::from_secs(10),
    exchange: Duration::from_secs(30),
    // A reload that compiles a large plugin beside a busy data path takes minutes.
    work: Duration::from_hours(1),
};

/// The listener.
pub(super) struct Bounded<L> {
    socket: L,
    patience: Patience,
    /// The open connections, the oldest first; one ends when its sender is dropped.
    open: VecDeque<oneshot::Sender<()>>,
}

impl<L> Bounded<L> {
    pub(super) fn new(socket: L) -> Self {
        Self { socket, patience: PATIENCE, open: VecDeque::new() }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = self.socket.accept().await;
        self.open.retain(|connection| !connection.is_closed());
        // The oldest goes, not the newest: a probe takes milliseconds, who holds on does not.
        if self.open.len() >= MAX_CONNECTIONS {
            self.open.pop_front();
        }
        let (keep, dropped) = oneshot::channel();
        self.open.push_back(keep);
        let ends = Box::pin(tokio::time::sleep(self.patience.request));
        let began = Instant::now();
        let (patience, works) = (self.patience, Arc::default());
        (Connection { stream, began, patience, works, answered: false, ends, dropped }, peer)
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.socket.local_addr()
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) door: Door,
    works: Arc<AtomicBool>,
}

/// Where a peer came in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door {
    /// `admin.listen`.
    Tcp(SocketAddr),
    /// The Unix socket, and whose process it is, where the system says.
    Socket(Option<u32>),
}

impl Peer {
    /// Gives the peer time to wait for what it asked for.
    pub(super) fn may_wait(&self) {
        self.works.store(true, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, Bounded<TcpListener>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded<TcpListener>>) -> Self {
        let works = Arc::clone(&stream.io().works);
        Self { door: Door::Tcp(*stream.remote_addr()), works }
    }
}

impl Connected<IncomingStream<'_, Bounded<UnixListener>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded<UnixListener>>) -> Self {
        let connection = stream.io();
        let user = connection.stream.peer_cred().ok().map(|peer| peer.uid());
        Self { door: Door::Socket(user), works: Arc::clone(&connection.works) }
    }
}

/// A connection; reading and writing fail once its time is over.
pub(super) struct Connection<S> {
    stream: S,
    began: Instant,
    patience: Patience,
    /// The peer may wait for what it asked for.
    works: Arc<AtomicBool>,
    answered: bool,
    ends: Pin<Box<Sleep>>,
    /// Ends when others need the room.
    dropped: oneshot::Receiver<()>,
}

impl<S> Connection<S> {
    /// Fails once the time is over, whatever else could go on.
    fn poll_over(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.ends.as_mut().poll(context).is_ready() {
            let later = self.began + self.patience.work;
            let waits = self.works.load(Ordering::Relaxed) && !self.answered;
            if !waits || later <= Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.ends.as_mut().reset(later);
            return self.poll_over(context);
        }
        if Pin::new(&mut self.dropped).poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_over(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.answered {
            self.answered = true;
            let Patience { request, exchange, .. } = self.patience;
            // Whoever waited for long has as much time to read as others at least.
            let ends = (self.began + exchange).max(Instant::now() + request);
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
    use tokio::net::TcpStream;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    /// What ends the connection of a peer, by what is done with it here.
    fn ended<F: Future<Output = io::Error>>(
        peer: impl FnOnce(std::net::TcpStream) -> std::net::TcpStream + Send + 'static,
        works: bool,
        serve: impl FnOnce(Connection<TcpStream>) -> F,
    ) -> io::ErrorKind {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let patience = Patience { request: SHORT, exchange: SHORT * 2, work: SHORT * 5 };
            let mut listener = Bounded { patience, ..Bounded::new(socket) };
            let peer =
                std::thread::spawn(move || peer(std::net::TcpStream::connect(address).unwrap()));
            let (connection, _) = listener.accept().await;
            connection.works.store(works, Ordering::Relaxed);
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
        let kind = ended(endless, false, async |mut connection| {
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
            false,
            async |mut connection| loop {
                if let Err(error) = connection.write_all(&[0; 4_096]).await {
                    return error;
                }
            },
        );
        assert_eq!(kind, io::ErrorKind::TimedOut);
    }

    #[test]
    fn whoever_may_wait_waits_longer_but_not_for_ever() {
        let begun = std::time::Instant::now();
        let kind = ended(
            |stream| stream,
            true,
            async |mut connection| loop {
                if let Err(error) = connection.read(&mut [0; 16]).await {
                    return error;
                }
            },
        );
        assert!(kind == io::ErrorKind::TimedOut && begun.elapsed() >= SHORT * 5);
    }
}
