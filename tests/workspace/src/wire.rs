//! Connections: plain or TLS bytes, with a control by which a fault can spoil what is written.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use crate::sync::Locked;

/// What faults may do to one connection.
#[derive(Debug, Default)]
pub struct ConnControl {
    /// The connection's number, counted from 1 since the start.
    pub number: u64,
    plan: Mutex<Plan>,
    reset: AtomicBool,
    closed: AtomicBool,
    close_on_next: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    /// Requests that came over this connection.
    pub requests: AtomicU64,
}

#[derive(Debug, Default)]
struct Plan {
    prefix: Vec<u8>,
    cut: Option<Cut>,
    drip: Option<(usize, Duration)>,
}

/// Cuts the connection after so many bytes of the next response's body.
#[derive(Debug)]
struct Cut {
    head: Vec<u8>,
    in_body: bool,
    left: usize,
}

impl ConnControl {
    /// A control for connection `number`.
    pub fn new(number: u64) -> Arc<Self> {
        Arc::new(ConnControl {
            number,
            ..ConnControl::default()
        })
    }

    /// These bytes go out before the next response (an informational response).
    pub fn write_first(&self, bytes: &[u8]) {
        self.plan.locked().prefix.extend_from_slice(bytes);
    }

    /// The connection is reset after `bytes` of the next body.
    pub fn cut_after(&self, bytes: usize) {
        self.plan.locked().cut = Some(Cut {
            head: Vec::new(),
            in_body: false,
            left: bytes,
        });
    }

    /// From now on at most `bytes` are written at a time, with a pause between.
    pub fn drip(&self, bytes: usize, every: Duration) {
        self.plan.locked().drip = Some((bytes.max(1), every));
    }

    /// The connection is closed without an answer when the next request's bytes arrive.
    pub fn close_on_next(&self) {
        self.close_on_next.store(true, Ordering::SeqCst);
    }

    /// Closes an idle connection (a FIN, no announcement).
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Resets the connection at once (a RST where the system allows).
    pub fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        for waker in self.wakers.locked().drain(..) {
            waker.wake();
        }
    }

    fn register(&self, waker: &Waker) {
        let mut wakers = self.wakers.locked();
        if !wakers.iter().any(|w| w.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// A byte stream, plain or TLS.
#[derive(Debug)]
pub enum Transport {
    /// http
    Plain(TcpStream),
    /// https
    Tls(Box<TlsStream<TcpStream>>),
}

/// A server-side connection under control.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    control: Arc<ConnControl>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Puts a transport under control.
    pub fn new(transport: Transport, control: Arc<ConnControl>) -> Self {
        Connection {
            transport,
            control,
            pause: None,
        }
    }

    fn failed(&self) -> io::Result<()> {
        if !self.control.reset.load(Ordering::SeqCst) {
            return Ok(());
        }
        let tcp = match &self.transport {
            Transport::Plain(tcp) => tcp,
            Transport::Tls(tls) => tls.get_ref().0,
        };
        tcp.set_zero_linger().ok();
        Err(io::ErrorKind::ConnectionReset.into())
    }

    fn raw_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Transport::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn raw_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// How many of `bytes` the cut still lets through; `None` without a cut or before the body.
    fn allowed(&self, bytes: &[u8]) -> Option<usize> {
        let plan = self.control.plan.locked();
        let cut = plan.cut.as_ref()?;
        if cut.in_body {
            return Some(cut.left.min(bytes.len()));
        }
        let seen = [&cut.head, bytes].concat();
        let body_at = head_end(&seen)?.saturating_sub(cut.head.len());
        Some((body_at + cut.left).min(bytes.len()))
    }

    fn count(&self, written: &[u8]) {
        let mut plan = self.control.plan.locked();
        let Some(cut) = plan.cut.as_mut() else { return };
        let mut body = written.len();
        if !cut.in_body {
            cut.head.extend_from_slice(written);
            let Some(end) = head_end(&cut.head) else {
                return;
            };
            cut.in_body = true;
            body = cut.head.len() - end;
        }
        cut.left = cut.left.saturating_sub(body);
    }

    fn write_prefix(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let prefix = self.control.plan.locked().prefix.clone();
            if prefix.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let n = std::task::ready!(self.raw_write(cx, &prefix))?;
            self.control.plan.locked().prefix.drain(..n);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.failed()?;
        if this.control.closed.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        this.control.register(cx.waker());
        let before = buf.filled().len();
        let read = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        let got = buf.filled().len() > before;
        if got && this.control.close_on_next.load(Ordering::SeqCst) {
            this.control.reset();
            this.failed()?;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.failed()?;
        this.control.register(cx.waker());
        if let Some(pause) = &mut this.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        std::task::ready!(this.write_prefix(cx))?;
        let drip = this.control.plan.locked().drip;
        let mut part = &bytes[..bytes.len().min(drip.map_or(usize::MAX, |d| d.0))];
        if let Some(allowed) = this.allowed(part) {
            if allowed == 0 && !part.is_empty() {
                std::task::ready!(this.raw_flush(cx))?;
                this.control.reset();
                return Poll::Ready(this.failed().map(|()| 0));
            }
            part = &part[..allowed];
        }
        let n = std::task::ready!(this.raw_write(cx, part))?;
        this.count(&part[..n]);
        if let Some((_, every)) = drip {
            this.pause = Some(Box::pin(tokio::time::sleep_until(Instant::now() + every)));
            // Best effort: these bytes are written, so Pending may not be answered any more.
            let _ = this.raw_flush(cx);
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.failed()?;
        self.raw_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
