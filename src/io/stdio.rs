//! stdin and stdout as they really are: pipes, Unix sockets, files, /dev/null, terminals.
//!
//! Owns their readiness and the queue of lines for stdout. It must never change a flag of fds 0 to
//! 2, block on them, write part of a line and forget the rest, or decide what a closed side means.

use super::fd::{self, AnyFd, Mode};
use super::queue::{Queue, SLICES_MAX};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io::{ErrorKind, IoSlice};
use std::os::fd::AsRawFd;

/// What a read of stdin came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes at the start of the buffer.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The host closed its side. Said once.
    Closed,
}

/// The host's messages to us.
pub(crate) struct Stdin {
    fd: AnyFd,
    token: Token,
    mode: Mode,
    /// epoll knows the descriptor; it refuses regular files and /dev/null.
    registered: bool,
    ready: bool,
    /// The event spoke of a hang-up: a short read does not mean that all is read.
    read_closed: bool,
    paused: bool,
    closed: bool,
}

impl Stdin {
    /// Watches the descriptor.
    pub(crate) fn new(fd: AnyFd, registry: &Registry, token: Token) -> Self {
        let mut mode = Mode::of(fd.as_fd());
        let raw = fd.as_fd().as_raw_fd();
        let registered = registry
            .register(&mut SourceFd(&raw), token, Interest::READABLE)
            .is_ok();
        if !registered {
            mode = Mode::Always;
        }
        // Nothing may ever be said of an empty file.
        let ready = mode == Mode::Always;
        let (read_closed, paused, closed) = (false, false, false);
        Self {
            fd,
            token,
            mode,
            registered,
            ready,
            read_closed,
            paused,
            closed,
        }
    }

    /// Notes what the poll said.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        self.ready = true;
        self.read_closed |= event.is_read_closed() || event.is_error();
    }

    /// Whether a read is due.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready && !self.paused && !self.closed
    }

    /// Stops or resumes reading.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Reads once.
    pub(crate) fn read(&mut self, registry: &Registry, buf: &mut [u8]) -> Read {
        if !self.is_ready() {
            return Read::Nothing;
        }
        match fd::read(self.fd.as_fd(), &mut self.mode, buf) {
            Ok(0) => self.close(registry),
            Ok(len) => {
                match self.mode {
                    // Only the kernel can say whether more is there without blocking us: ask it
                    // to tell again.
                    Mode::Polled => self.rearm(registry),
                    // A short read has emptied it: what comes later is a new edge.
                    Mode::Socket | Mode::NoWait => {
                        self.ready = len == buf.len() || self.read_closed;
                    }
                    Mode::Always => {}
                }
                Read::Bytes(len)
            }
            Err(err) if err.kind() == ErrorKind::WouldBlock && self.registered => {
                self.ready = false;
                Read::Nothing
            }
            Err(_) => self.close(registry),
        }
    }

    fn rearm(&mut self, registry: &Registry) {
        let raw = self.fd.as_fd().as_raw_fd();
        let source = &mut SourceFd(&raw);
        self.ready = registry
            .reregister(source, self.token, Interest::READABLE)
            .is_err();
    }

    /// A closed stdin must never wake us again.
    fn close(&mut self, registry: &Registry) -> Read {
        self.closed = true;
        if self.registered {
            let raw = self.fd.as_fd().as_raw_fd();
            registry.deregister(&mut SourceFd(&raw)).ok();
        }
        Read::Closed
    }
}

/// What a flush of stdout came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing to tell: nothing was queued, or the reader is waited for.
    Nothing,
    /// All that was queued is written.
    Drained,
    /// Nobody reads any more. Said once.
    Gone,
}

/// Our messages to the host.
pub(crate) struct Stdout {
    fd: AnyFd,
    token: Token,
    mode: Mode,
    registered: bool,
    /// Whole lines; the cursor in it is the only place where a line is half written.
    queue: Queue,
    /// The reader was too slow: a writable event will come.
    blocked: bool,
    /// Lines were left over by the last flush, and writable events are asked for.
    waited: bool,
    gone: bool,
    /// The engine knows that it is gone.
    told: bool,
}

/// Errors and hang-ups are always reported; a write event only where we wait for one: a Unix
/// socket would send one for every message that the host takes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ERRORS_ONLY: Interest = Interest::PRIORITY;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ERRORS_ONLY: Interest = Interest::WRITABLE;

impl Stdout {
    /// Watches the descriptor for the reader's end.
    pub(crate) fn new(fd: AnyFd, registry: &Registry, token: Token) -> Self {
        let mut mode = Mode::of(fd.as_fd());
        let raw = fd.as_fd().as_raw_fd();
        let registered = registry
            .register(&mut SourceFd(&raw), token, ERRORS_ONLY)
            .is_ok();
        if !registered {
            mode = Mode::Always;
        }
        let queue = Queue::default();
        let (blocked, waited, gone, told) = (false, false, false, false);
        Self {
            fd,
            token,
            mode,
            registered,
            queue,
            blocked,
            waited,
            gone,
            told,
        }
    }

    /// Notes what the poll said.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        if event.is_error() || event.is_write_closed() {
            self.gone = true;
        }
        if event.is_writable() {
            self.blocked = false;
        }
    }

    /// Queues one whole line.
    pub(crate) fn push(&mut self, line: Vec<u8>) {
        if !self.gone {
            self.queue.push(line);
        }
    }

    /// Whether a flush could bring something forward.
    pub(crate) fn wants_flush(&self) -> bool {
        (self.gone && !self.told) || (!self.queue.is_empty() && !self.blocked)
    }

    /// Whether lines wait.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes what waits, as far as it goes without blocking.
    pub(crate) fn flush(&mut self, registry: &Registry) -> Written {
        let had_lines = !self.queue.is_empty();
        while !self.gone && !self.blocked && !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.queue.slices(&mut slices);
            match fd::write(self.fd.as_fd(), &mut self.mode, &slices[..filled]) {
                Ok(count) => self.queue.advance(count),
                Err(err) if err.kind() == ErrorKind::WouldBlock && self.registered => {
                    self.blocked = true;
                }
                Err(_) => self.gone = true,
            }
        }
        if self.gone {
            self.queue.clear();
            return match std::mem::replace(&mut self.told, true) {
                false => Written::Gone,
                true => Written::Nothing,
            };
        }
        let waits = !self.queue.is_empty();
        if waits != self.waited {
            self.watch(registry, waits);
        }
        match had_lines && !waits {
            true => Written::Drained,
            false => Written::Nothing,
        }
    }

    /// Asks for writable events while lines wait.
    fn watch(&mut self, registry: &Registry, waits: bool) {
        self.waited = waits;
        let interest = match waits {
            true => ERRORS_ONLY | Interest::WRITABLE,
            false => ERRORS_ONLY,
        };
        let raw = self.fd.as_fd().as_raw_fd();
        // This also asks for the present state: what became writable meanwhile is told.
        let watched = registry.reregister(&mut SourceFd(&raw), self.token, interest);
        if watched.is_err() {
            self.blocked = false;
        }
    }
}
