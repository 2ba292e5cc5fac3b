//! What a hook needs of the system: its event from stdin, names on the disk, processes above it.

use super::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// Processes above a hook that are looked at.
const ANCESTORS_MAX: usize = 64;

/// All of stdin, at most so many bytes, at the latest after `patience`. The error says what was wrong.
pub(crate) fn read_event(max_bytes: usize, patience: Duration) -> Result<Vec<u8>, String> {
    let ends = clock::now().mono + patience;
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    let stdin = std::io::stdin();
    loop {
        wait_for(&stdin, ends)?;
        match stdin.lock().read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) if bytes.len() + count > max_bytes => {
                return Err(format!("the event is larger than {} MiB", max_bytes >> 20));
            }
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(format!("the event can not be read: {error}")),
        }
    }
}

fn wait_for(stdin: &std::io::Stdin, ends: Instant) -> Result<(), String> {
    let left = ends.saturating_duration_since(clock::now().mono);
    let left = Timespec::try_from(left).map_err(|error| error.to_string())?;
    let mut fds = [PollFd::new(stdin, PollFlags::IN)];
    match poll(&mut fds, Some(&left)) {
        Ok(0) => Err("the event did not end in time".to_owned()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(format!("the event can not be waited for: {error}")),
    }
}

/// Writes a hook's answer; false where nobody reads it.
pub fn write_answer(stdout: &str, stderr: &str) -> bool {
    let said = std::io::stdout().write_all(stdout.as_bytes());
    let flushed = std::io::stdout().flush();
    let _ = std::io::stderr().write_all(stderr.as_bytes());
    said.is_ok() && flushed.is_ok()
}

/// A panic ends with exit code 2 and words: hosts take an abort for an accident of ours and go on.
pub fn panics_deny() {
    std::panic::set_hook(Box::new(|_| {
        let words =
            b"aerostack-gateway --guard: NOT APPROVED: an internal error (please report it)\n";
        let _ = std::io::stderr().write_all(words);
        std::process::exit(2);
    }));
}

/// The path without links, if it exists.
pub(crate) fn real_path(path: &str) -> Option<String> {
    fs::canonicalize(path)
        .ok()?
        .into_os_string()
        .into_string()
        .ok()
}

/// Where a symbolic link leads.
pub(crate) fn link_target(path: &str) -> Option<String> {
    fs::read_link(path)
        .ok()?
        .into_os_string()
        .into_string()
        .ok()
}

/// True where something is there.
pub(crate) fn exists(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// A regular file's text, if it is no longer than this.
pub(crate) fn short_text(path: &str, max_bytes: u64) -> Option<String> {
    let long = fs::metadata(path).ok()?.len() > max_bytes;
    (!long)
        .then(|| super::file::read_text(path, max_bytes).ok())
        .flatten()
}

/// True for this process, those above it, and other ones of this program. Where that can not be known, true.
pub(crate) fn is_ours(pid: u32) -> bool {
    if !exists("/proc/self") {
        return true;
    }
    let mut above = Some(std::process::id());
    for _ in 0..ANCESTORS_MAX {
        match above {
            Some(0) | None => break,
            Some(found) if found == pid => return true,
            Some(found) => above = parent(found),
        }
    }
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    program(&pid.to_string()).is_some_and(|other| program("self") == Some(other))
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

/// Appends a line to the log file, if it can be opened.
pub(crate) fn log_line(path: &str, text: &str) {
    if let Ok(mut file) = super::log_file::LogFile::open(path) {
        file.line(&crate::log::line(
            crate::log::Level::Info,
            clock::now().wall_ms,
            text,
        ));
    }
}
