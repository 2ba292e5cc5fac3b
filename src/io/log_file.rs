//! AEROSTACK_LOG_FILE: the log for people whose AI tool hides stderr.
//!
//! Owns the file and its size: at the limit it becomes `.1`, and a new one is begun. It must never
//! fail the program: what can not be written is lost, as on stderr.

use crate::config::Limits;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An open log file. Several gateways may share one: lines are appended whole.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    max_bytes: u64,
}

impl LogFile {
    /// Opens or creates the file, for its owner only. The error is the system's word.
    pub(crate) fn open(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        Ok(Self {
            file: open(&path)?,
            path,
            max_bytes: Limits::default().log_file_max_bytes,
        })
    }

    /// Appends one line.
    pub(crate) fn line(&mut self, line: &str) {
        // Twice where another gateway has rotated it, and has filled the new one.
        for _ in 0..2 {
            let size = self.file.metadata().map_or(0, |metadata| metadata.len());
            if size > 0 && size + line.len() as u64 > self.max_bytes {
                self.rotate();
            }
        }
        let _ = self.file.write_all(line.as_bytes());
    }

    /// Once: the older `.1` goes. Another gateway may have been faster.
    fn rotate(&mut self) {
        let own = self.file.metadata().map(|own| (own.dev(), own.ino()));
        let named = fs::metadata(&self.path).map(|named| (named.dev(), named.ino()));
        if own.ok() == named.ok() {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            if fs::rename(&self.path, old).is_err() {
                // Bounded all the same.
                let _ = self.file.set_len(0);
            }
        }
        if let Ok(file) = open(&self.path) {
            self.file = file;
        }
    }
}

fn open(path: &Path) -> Result<File, String> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| std::io::Error::from(error).to_string())?;
    let file = File::from(file);
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err("it is no regular file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_bounded_and_its_owners() {
        let folder = std::env::temp_dir().join(format!("aerostack-log-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log");
        let mut log = LogFile::open(path.to_str().unwrap()).unwrap();
        log.max_bytes = 20;
        let mut other = LogFile::open(path.to_str().unwrap()).unwrap();
        other.max_bytes = 20;
        for line in ["one 345678\n", "two 345678\n", "three\n"] {
            log.line(line);
        }
        // Its own file is `.1` by now, and the new one has no room.
        other.line("four 56789\n");
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("log.1"), "two 345678\nthree\n");
        assert_eq!(read("log"), "four 56789\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(LogFile::open(folder.to_str().unwrap()).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
