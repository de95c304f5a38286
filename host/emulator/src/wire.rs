//! Connections that can be made to misbehave: a reset that the client really sees, an answer that
//! arrives byte by byte.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};

/// A listener whose connections obey their [`Wire`].
pub(crate) struct Ear(pub(crate) TcpListener);

/// A connection.
pub(crate) struct Conn {
    stream: TcpStream,
    wire: Wire,
    nap: Option<Pin<Box<Sleep>>>,
}

/// The handle by which a request's handler spoils its own connection.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Orders>);

#[derive(Debug)]
struct Orders {
    reset: AtomicBool,
    /// Bytes still to be written before a reset; negative means no such order.
    cut_after: AtomicI64,
    /// Milliseconds between bytes; 0 is full speed.
    crawl_ms: AtomicU64,
}

impl Wire {
    fn new() -> Self {
        Self(Arc::new(Orders {
            reset: AtomicBool::new(false),
            cut_after: AtomicI64::new(-1),
            crawl_ms: AtomicU64::new(0),
        }))
    }

    /// The connection ends with a TCP reset at its next write.
    pub(crate) fn reset(&self) {
        self.0.reset.store(true, Ordering::Release);
    }

    /// The connection ends with a TCP reset after so many more bytes.
    pub(crate) fn cut_after(&self, bytes: u32) {
        self.0.cut_after.store(i64::from(bytes), Ordering::Release);
    }

    /// From now on one byte is written each `interval_ms`.
    pub(crate) fn crawl(&self, interval_ms: u64) {
        self.0.crawl_ms.store(interval_ms, Ordering::Release);
    }
}

impl Conn {
    /// Drops what is left to send and answers the peer with RST.
    fn break_off(&self) -> io::Error {
        match self.stream.set_zero_linger() {
            Ok(()) => io::Error::from(io::ErrorKind::ConnectionReset),
            Err(error) => error,
        }
    }

    fn crawl(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let interval = self.wire.0.crawl_ms.load(Ordering::Acquire);
        if interval == 0 {
            return Poll::Ready(());
        }
        let nap = self.nap.get_or_insert_with(|| Box::pin(sleep(Duration::from_millis(interval))));
        if nap.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.nap = None;
        Poll::Ready(())
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.wire.0.cut_after.load(Ordering::Acquire);
        if self.wire.0.reset.load(Ordering::Acquire) || left == 0 {
            return Poll::Ready(Err(self.break_off()));
        }
        if self.crawl(context).is_pending() {
            return Poll::Pending;
        }
        let crawls = self.wire.0.crawl_ms.load(Ordering::Acquire) > 0;
        let most = if crawls { 1 } else { usize::try_from(left).unwrap_or(bytes.len()) };
        let part = bytes.get(..most).unwrap_or(bytes);
        let written = Pin::new(&mut self.stream).poll_write(context, part);
        if let (Poll::Ready(Ok(count)), true) = (&written, left > 0) {
            let count = i64::try_from(*count).unwrap_or(left);
            self.wire.0.cut_after.store((left - count).max(0), Ordering::Release);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.0.reset.load(Ordering::Acquire) {
            return Poll::Ready(Err(self.break_off()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Listener for Ear {
    type Io = Conn;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Conn, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "no TCP_NODELAY");
                    }
                    return (Conn { stream, wire: Wire::new(), nap: None }, peer);
                }
                Err(error) => {
                    // Out of file descriptors, mostly: others must close theirs first.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Ear>> for Wire {
    fn connect_info(stream: IncomingStream<'_, Ear>) -> Self {
        stream.io().wire.clone()
    }
}
