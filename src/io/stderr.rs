//! Log lines on stderr, never at the price of the loop.
//!
//! Owns the count of lines that did not fit. It must never block, buffer or fail: a host that does
//! not drain stderr loses log lines, not its bridge.

use super::clock;
use super::fd::{self, AnyFd, Mode};
use super::log_file::LogFile;
use crate::log::Level;
use std::io::IoSlice;

/// The process's stderr.
pub(crate) struct Stderr {
    fd: AnyFd,
    mode: Mode,
    dropped: u64,
    file: Option<LogFile>,
}

/// One line about the program itself before or after its loop, on stderr and in the log file.
pub fn say(level: Level, text: &str, log_file: Option<&str>) {
    let mut stderr = Stderr::new(Box::new(std::io::stderr()));
    stderr.also_to(log_file);
    if let Some(file) = &mut stderr.file {
        file.line(&crate::log::line(level, clock::now().wall_ms, text));
    }
    stderr.file = None;
    stderr.line(&crate::log::short_line(text));
}

impl Stderr {
    /// Takes the descriptor as it is.
    pub(crate) fn new(fd: AnyFd) -> Self {
        let mode = Mode::of(fd.as_fd());
        Self {
            fd,
            mode,
            dropped: 0,
            file: None,
        }
    }

    /// Writes what comes from now on into this file, too. What stands in its way is said on stderr.
    pub(crate) fn also_to(&mut self, path: Option<&str>) {
        let Some(path) = path else { return };
        match LogFile::open(path) {
            Ok(file) => self.file = Some(file),
            Err(why) => {
                let text = format!("AEROSTACK_LOG_FILE {path} can not be written: {why}");
                self.line(&crate::log::line(Level::Warn, clock::now().wall_ms, &text));
            }
        }
    }

    /// Writes one line of [`log`](crate::log), which fits into one write, or counts it as dropped.
    pub(crate) fn line(&mut self, text: &str) {
        if let Some(file) = &mut self.file {
            file.line(text);
        }
        if self.dropped > 0 {
            let notice = format!("{} log lines dropped: stderr was not read\n", self.dropped);
            if !self.write(notice.as_bytes()) {
                self.dropped += 1;
                return;
            }
            self.dropped = 0;
        }
        if !self.write(text.as_bytes()) {
            self.dropped += 1;
        }
    }

    /// One write of at most PIPE_BUF bytes, which pipes and sockets take whole or not at all.
    fn write(&mut self, bytes: &[u8]) -> bool {
        fd::write(self.fd.as_fd(), &mut self.mode, &[IoSlice::new(bytes)]).is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_unread_stderr_drops_and_says_so() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let mut stderr = Stderr::new(Box::new(writer));
        for number in 0..20_000 {
            stderr.line(&format!("line {number} {}\n", "é".repeat(100)));
        }
        assert!(stderr.dropped > 0);
        let dropped = stderr.dropped;
        let mut text = vec![0; 16 << 20];
        reader.set_nonblocking(true).unwrap();
        while reader.read(&mut text).is_ok() {}
        stderr.line("again\n");
        let count = reader.read(&mut text).unwrap();
        let text = String::from_utf8(text[..count].to_vec()).unwrap();
        let notice = format!("{dropped} log lines dropped: stderr was not read\n");
        assert_eq!(text, format!("{notice}again\n"));
    }
}
