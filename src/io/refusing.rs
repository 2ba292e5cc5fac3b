//! stdin and stdout while the settings are wrong: long enough for a host to ask and be told.
//!
//! Owns the wait, which has an end whatever the host does.

use super::fd::{self, Mode};
use crate::refusal::Refusal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, IoSlice, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// One read takes at most this much.
const READ_BYTES: usize = 16 << 10;

/// Whether stdin is a person's terminal: nobody speaks MCP there.
pub fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Answers the host's first requests with the refusal. Returns at once where stdin is a terminal,
/// and at the latest after `patience`.
pub fn refuse(mut refusal: Refusal, patience: Duration) {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if stdin.is_terminal() {
        return;
    }
    let end = Instant::now() + patience;
    let mut mode = Mode::of(stdin.as_fd());
    let mut buffer = vec![0; READ_BYTES];
    while !refusal.is_done() && is_ready(stdin.as_fd(), PollFlags::IN, end) {
        let answers = match fd::read(stdin.as_fd(), &mut mode, &mut buffer) {
            Ok(0) => refusal.finish(),
            Ok(read) => refusal.feed(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        if !write_all(stdout.as_fd(), &answers, end) {
            return;
        }
    }
}

/// False: the host has gone, or did not read in time.
fn write_all(stdout: BorrowedFd<'_>, mut bytes: &[u8], end: Instant) -> bool {
    let mut mode = Mode::of(stdout);
    while !bytes.is_empty() {
        if !is_ready(stdout, PollFlags::OUT, end) {
            return false;
        }
        match fd::write(stdout, &mut mode, &[IoSlice::new(bytes)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

/// Waits until the descriptor can be used (or fails at once); false when the time is over.
fn is_ready(fd: BorrowedFd<'_>, what: PollFlags, end: Instant) -> bool {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        let mut fds = [PollFd::from_borrowed_fd(fd, what)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
