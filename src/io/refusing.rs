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
pub fn refuse(refusal: Refusal, patience: Duration) {
    if !stdin_is_terminal() {
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        answer(refusal, stdin.as_fd(), stdout.as_fd(), patience);
    }
}

fn answer(mut refusal: Refusal, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>, patience: Duration) {
    let end = Instant::now() + patience;
    let mut mode = Mode::of(stdin);
    let mut buffer = vec![0; READ_BYTES];
    while !refusal.is_done() && is_ready(stdin, PollFlags::IN, end) {
        let answers = match fd::read(stdin, &mut mode, &mut buffer) {
            Ok(0) => refusal.finish(),
            Ok(read) => refusal.feed(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        if !write_all(stdout, &answers, end) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::{Read, Write, pipe};

    const REQUEST: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server/discover\"}\n";

    /// Neither a host that says nothing more nor one that reads nothing keeps the process.
    #[test]
    fn it_ends_whatever_the_host_does() {
        let refusal = || Refusal::new("X is required".to_owned(), 1 << 20);
        let patience = Duration::from_millis(20);
        let ((stdin, mut host), (mut reader, stdout)) = (pipe().unwrap(), pipe().unwrap());
        host.write_all(REQUEST).unwrap();
        answer(refusal(), stdin.as_fd(), stdout.as_fd(), patience);
        drop(stdout);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text.matches("X is required").count(), 1, "{text}");
        let (_unread, stdout) = pipe().unwrap();
        let (stdin, mut host) = pipe().unwrap();
        let many = REQUEST.repeat(900);
        host.write_all(&many).unwrap();
        answer(refusal(), stdin.as_fd(), stdout.as_fd(), patience);
    }

    #[test]
    fn a_host_that_has_gone_is_no_failure() {
        let ((stdin, mut host), (reader, stdout)) = (pipe().unwrap(), pipe().unwrap());
        drop(reader);
        host.write_all(REQUEST).unwrap();
        let refusal = Refusal::new("X".to_owned(), 100);
        answer(
            refusal,
            stdin.as_fd(),
            stdout.as_fd(),
            Duration::from_secs(60),
        );
    }
}
