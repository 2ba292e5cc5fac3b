//! Files that settings name, read without ever waiting.
//!
//! A FIFO without a writer, a terminal or a socket would hold up the only thread for ever, at the
//! start as well as when a token is read anew. So a file is opened without blocking, what was opened
//! (not what the name stood for a moment before) is looked at, and only a regular file is read.

use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::path::Arg;
use std::fs::File;
use std::io::{self, Read};

const NOT_REGULAR: &str = "it is not a regular file (a pipe or device is never read)";

/// The first `max_bytes` of a regular file.
pub(super) fn read_regular(path: impl Arg, max_bytes: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = fs::open(path, flags, Mode::empty())?;
    let stat = fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other(NOT_REGULAR));
    }
    // Room for all of it, and one byte to see its end by: no piece is read that is smaller than need be.
    let expected = u64::try_from(stat.st_size).unwrap_or(0).min(max_bytes);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1);
    File::from(fd).take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same as text.
pub(super) fn read_text(path: &str, max_bytes: u64) -> Result<String, String> {
    let bytes = read_regular(path, max_bytes).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let dir = std::env::temp_dir().join(format!("aerostack-file-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        std::fs::write(path("token"), "mwt_x\n").unwrap();
        std::os::unix::fs::symlink(path("token"), path("link")).unwrap();
        fs::mkfifoat(fs::CWD, path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        std::os::unix::fs::symlink(path("fifo"), path("to-fifo")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["token", "link"] {
            assert_eq!(read_text(&path(name), 64), Ok("mwt_x\n".to_owned()));
            assert_eq!(read_text(&path(name), 3), Ok("mwt".to_owned()));
        }
        for name in [&path("fifo"), &path("to-fifo"), &path(""), "/dev/zero"] {
            assert_eq!(read_text(name, 64), Err(NOT_REGULAR.to_owned()), "{name}");
        }
        // A socket can not even be opened.
        assert!(read_text(&path("socket"), 64).is_err());
        assert!(
            read_text(&path("none"), 64)
                .unwrap_err()
                .contains("No such file")
        );
        std::fs::write(path("token"), b"\xff").unwrap();
        assert_eq!(
            read_text(&path("token"), 64),
            Err("it is not UTF-8 text".to_owned())
        );
        drop(socket);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
