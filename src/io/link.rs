//! An established TCP stream, with or without TLS: bytes in, bytes out.
//!
//! Owns the socket, rustls' connection, the outgoing queue and the readiness that an edge-triggered
//! poll told us once. It must never know phases, deadlines or names ([`super::conn`] does), and
//! never drop a byte that arrived before an error.

use super::queue::{Queue, SLICES_MAX};
use super::tls;
use crate::proto::transport::{CloseCause, TlsFailure};
use mio::net::TcpStream;
use rustls::ClientConnection;
use std::io::{BufRead, ErrorKind, IoSlice, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::ops::Range;

/// What a link has to say.
#[derive(Debug)]
pub(crate) enum LinkEvent<'a> {
    /// The TLS handshake is done.
    Handshaken,
    /// Application bytes.
    Received(&'a [u8]),
    /// No more bytes will come. Said once. `sent`: a byte of the last transmission was handed to
    /// the socket.
    Ended { cause: CloseCause, sent: bool },
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Everything was handed to the socket.
    Done,
    /// The socket is full: a writable event will come.
    Blocked,
    /// The socket takes no more; what it has to say is still to be read.
    Failed,
}

/// The scratch buffer and how much of it one source may take per turn.
pub(crate) struct Scratch<'a> {
    /// Shared by all sources, valid during one source's pump.
    pub(crate) buf: &'a mut [u8],
    /// Reads left in this turn: a stream that never pauses must not starve the others.
    pub(crate) reads_left: &'a mut usize,
}

/// See the module.
pub(crate) struct Link {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    out: Queue,
    /// Readable, as far as the last event and read tell.
    readable: bool,
    /// The event spoke of a FIN: a short read does not mean that all is read.
    read_closed: bool,
    writable: bool,
    paused: bool,
    handshaken: bool,
    /// Which part of the scratch buffer rustls has not been fed yet; empty between pumps.
    unfed: Range<usize>,
    /// What could not be fed before a pause, or came behind the proxy's answer.
    held: Vec<u8>,
    /// Plaintext that the last event lent out.
    lent: usize,
    /// The first error sticks.
    end: Option<CloseCause>,
    /// A write failed; what the peer said before that is still to be read.
    write_error: Option<ErrorKind>,
    /// `end` has been told.
    ended: bool,
    /// Bytes of the last transmission were given to rustls.
    encrypted: bool,
    /// Bytes of the last transmission were handed to the socket.
    sent: bool,
    notified: bool,
    /// Our FIN is out.
    finished: bool,
}

/// What [`Link::poll`] found, before anything is borrowed.
enum Next {
    Nothing,
    Handshaken,
    Plaintext,
    Scratch(usize),
    Ended(CloseCause),
}

impl Link {
    /// A link over a connected stream. `held` came through a proxy's tunnel already.
    pub(crate) fn new(stream: TcpStream, tls: Option<ClientConnection>, held: Vec<u8>) -> Self {
        Self {
            stream,
            handshaken: tls.is_none(),
            tls: tls.map(Box::new),
            out: Queue::default(),
            readable: false,
            read_closed: false,
            writable: true,
            paused: false,
            unfed: 0..0,
            held,
            lent: 0,
            end: None,
            write_error: None,
            ended: false,
            encrypted: false,
            sent: false,
            notified: false,
            finished: false,
        }
    }

    /// Gives the socket back.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Notes what the poll said.
    pub(crate) fn handle_ready(&mut self, readable: bool, read_closed: bool, writable: bool) {
        self.readable |= readable || read_closed;
        self.read_closed |= read_closed;
        self.writable |= writable;
    }

    /// Whether `poll` could bring something without a new event.
    pub(crate) fn is_ready(&self) -> bool {
        let waiting = self.readable || !self.held.is_empty() || self.lent > 0 || self.end.is_some();
        !self.paused && !self.ended && waiting
    }

    /// Stops or resumes reading.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Queues bytes; [`Link::flush`] sends them.
    pub(crate) fn push(&mut self, bytes: Vec<u8>) {
        if self.is_flushed() {
            self.sent = false;
            self.encrypted = false;
        }
        if self.write_error.is_none() {
            self.out.push(bytes);
        }
    }

    /// Whether a flush could bring something forward.
    pub(crate) fn wants_flush(&self) -> bool {
        let queued = !self.out.is_empty() && self.handshaken;
        self.has_sendable() || (queued && self.writable && !self.is_broken())
    }

    /// Whether all that was queued is with the socket.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// The next thing that came in, or `None` until the next event or turn.
    pub(crate) fn poll<'a>(&'a mut self, scratch: &'a mut Scratch<'_>) -> Option<LinkEvent<'a>> {
        if let Some(tls) = &mut self.tls {
            tls.reader().consume(mem::take(&mut self.lent));
        }
        if self.paused || self.ended {
            // Other sources use the scratch buffer before we are asked again.
            let unfed = mem::take(&mut self.unfed);
            self.held.extend_from_slice(&scratch.buf[unfed]);
            return None;
        }
        match self.next(scratch) {
            Next::Nothing => None,
            Next::Handshaken => Some(LinkEvent::Handshaken),
            Next::Plaintext => {
                let tls = self.tls.as_mut().expect("plaintext comes out of rustls");
                Some(LinkEvent::Received(plaintext(tls)))
            }
            Next::Scratch(len) => Some(LinkEvent::Received(&scratch.buf[..len])),
            Next::Ended(cause) => {
                self.ended = true;
                // The alert that says why goes out once, if it goes at all.
                self.flush();
                Some(LinkEvent::Ended {
                    cause,
                    sent: self.sent,
                })
            }
        }
    }

    fn next(&mut self, scratch: &mut Scratch<'_>) -> Next {
        loop {
            if let Some(tls) = &mut self.tls {
                if !self.handshaken && !tls.is_handshaking() {
                    self.handshaken = true;
                    return Next::Handshaken;
                }
                // What is decrypted comes first, also before an error or EOF.
                self.lent = if self.handshaken {
                    plaintext(tls).len()
                } else {
                    0
                };
                if self.lent > 0 {
                    return Next::Plaintext;
                }
                if self.end.is_none() && self.feed(scratch.buf) {
                    continue;
                }
            } else if !self.held.is_empty() {
                let len = self.held.len().min(scratch.buf.len());
                scratch.buf[..len].copy_from_slice(&self.held[..len]);
                self.held.drain(..len);
                return Next::Scratch(len);
            }
            if let Some(cause) = &self.end {
                return Next::Ended(cause.clone());
            }
            match self.read(scratch) {
                None => return Next::Nothing,
                Some(0) => {}
                Some(len) if self.tls.is_some() => self.unfed = 0..len,
                Some(len) => return Next::Scratch(len),
            }
        }
    }

    /// Gives rustls some of the ciphertext at hand; false when there is none.
    fn feed(&mut self, scratch: &[u8]) -> bool {
        let tls = self.tls.as_mut().expect("only ciphertext is fed");
        let from_held = !self.held.is_empty();
        let bytes = if from_held {
            &self.held[..]
        } else {
            &scratch[self.unfed.clone()]
        };
        if bytes.is_empty() {
            return false;
        }
        let mut rest = bytes;
        // P3 can not happen: the plaintext was drained before. Any other error shows below.
        let fed = tls.read_tls(&mut rest);
        let used = bytes.len() - rest.len();
        match from_held {
            true => drop(self.held.drain(..used)),
            false => self.unfed.start += used,
        }
        let end = match (tls.process_new_packets(), fed) {
            (Err(err), _) => Some(CloseCause::Tls(self.blame(&err))),
            (Ok(state), _) if state.peer_has_closed() => Some(CloseCause::Eof),
            (Ok(_), Ok(0) | Err(_)) => {
                // A record is longer than TLS allows.
                Some(CloseCause::Tls(TlsFailure::Damaged))
            }
            (Ok(_), Ok(_)) => None,
        };
        if let Some(cause) = end {
            self.end.get_or_insert(cause);
            self.unfed = 0..0;
            self.held = Vec::new();
        }
        true
    }

    /// After the handshake a bad record is damage, not a server that speaks another protocol.
    fn blame(&self, err: &rustls::Error) -> TlsFailure {
        match tls::failure(err) {
            TlsFailure::NotTls if self.handshaken => TlsFailure::Damaged,
            failure => failure,
        }
    }

    /// One read of the socket. `None`: nothing to read now. `Some(0)`: look again.
    fn read(&mut self, scratch: &mut Scratch<'_>) -> Option<usize> {
        if !self.readable || *scratch.reads_left == 0 {
            return None;
        }
        *scratch.reads_left -= 1;
        match self.stream.read(scratch.buf) {
            // TLS ends by close_notify. Without it, a body that lasts to the end may be cut.
            Ok(0) if self.tls.is_some() && self.handshaken => {
                self.fail(CloseCause::Io(ErrorKind::UnexpectedEof));
            }
            Ok(0) => self.fail(CloseCause::Eof),
            Ok(len) => {
                // A short read has emptied the socket: what comes later is a new edge. Not so
                // the FIN that the event has already told of.
                self.readable = len == scratch.buf.len() || self.read_closed || self.is_broken();
                return Some(len);
            }
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) if err.kind() == ErrorKind::WouldBlock && !self.is_broken() => {
                self.readable = false;
                return None;
            }
            Err(err) => self.fail(CloseCause::Io(err.kind())),
        }
        Some(0)
    }

    fn is_broken(&self) -> bool {
        self.write_error.is_some()
    }

    fn fail(&mut self, cause: CloseCause) {
        self.readable = false;
        let first = self.write_error.map(CloseCause::Io);
        self.end.get_or_insert(first.unwrap_or(cause));
    }

    /// Sends what is queued, as far as it goes.
    pub(crate) fn flush(&mut self) -> Flush {
        loop {
            self.encrypt();
            if !self.has_sendable() {
                break;
            }
            match self.write() {
                Ok(0) => self.break_off(ErrorKind::WriteZero),
                Ok(_) => self.sent |= self.encrypted,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(err) => self.break_off(err.kind()),
            }
        }
        match self.write_error {
            Some(_) => Flush::Failed,
            None if self.is_flushed() => Flush::Done,
            None => Flush::Blocked,
        }
    }

    /// Whether there are bytes that the socket could take.
    fn has_sendable(&self) -> bool {
        let waiting = match &self.tls {
            Some(tls) => tls.wants_write(),
            None => !self.out.is_empty(),
        };
        waiting && self.writable && !self.is_broken()
    }

    fn break_off(&mut self, kind: ErrorKind) {
        self.write_error = Some(kind);
        self.out.clear();
        self.readable = true;
    }

    /// One write to the socket.
    fn write(&mut self) -> std::io::Result<usize> {
        if let Some(tls) = &mut self.tls {
            return tls.write_tls(&mut self.stream);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = self.out.slices(&mut slices);
        self.encrypted = true;
        let count = self.stream.write_vectored(&slices[..filled])?;
        self.out.advance(count);
        Ok(count)
    }

    /// Moves the queue into rustls, as far as it takes it (64 KiB); head and body that were
    /// queued apart become one record.
    fn encrypt(&mut self) {
        let Some(tls) = self.tls.as_mut().filter(|_| self.handshaken) else {
            return;
        };
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.out.slices(&mut slices);
            let taken = match tls.writer().write_vectored(&slices[..filled]) {
                Ok(taken) if taken > 0 => taken,
                Ok(_) => return,
                // process_new_packets has told of it.
                Err(_) => return self.out.clear(),
            };
            self.encrypted = true;
            self.out.advance(taken);
        }
    }

    /// Ends our side: what is queued, close_notify, FIN. Call again after a writable event.
    pub(crate) fn close(&mut self) {
        self.flush();
        if !self.out.is_empty() || self.finished {
            return;
        }
        if let Some(tls) = self.tls.as_mut().filter(|_| !self.notified) {
            self.notified = true;
            tls.send_close_notify();
        }
        if self.flush() != Flush::Blocked {
            self.finished = true;
            // Write, not Both. An error means that the socket is closed already.
            self.stream.shutdown(Shutdown::Write).ok();
        }
    }

    /// Reads what nobody wants any more. True when it is over.
    pub(crate) fn discard(&mut self, scratch: &mut Scratch<'_>) -> bool {
        while self.end.is_none() && self.read(scratch).is_some() {}
        self.is_over()
    }

    /// Whether `discard` could bring something without a new event.
    pub(crate) fn wants_discard(&self) -> bool {
        self.readable && self.end.is_none()
    }

    /// Whether both sides have ended, or the socket has failed.
    pub(crate) fn is_over(&self) -> bool {
        (self.finished && self.end.is_some()) || self.is_broken()
    }
}

/// The plaintext at hand.
fn plaintext(tls: &mut ClientConnection) -> &[u8] {
    // Ok(empty), UnexpectedEof and WouldBlock all mean that there is none.
    tls.reader().into_first_chunk().unwrap_or(&[])
}
