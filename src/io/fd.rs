//! Reading and writing descriptors that are not ours, without ever blocking on them.
//!
//! Owns the choice of the system call for each kind of descriptor. It must never change a flag of
//! the descriptor: O_NONBLOCK belongs to the open file description, which the parent, our siblings
//! and often stderr share.
//!
//! What differs on macOS, where kqueue takes epoll's place:
//! - Pipes have no RWF_NOWAIT, so they are `Mode::Polled`. A read after an event returns what is
//!   there; asking again re-adds the filter, and kqueue looks at the pipe anew when that happens.
//! - A closed peer arrives as EV_EOF while bytes may still be unread. mio reports it as
//!   `is_read_closed`, after which stdin is read until a read returns 0. On stdout it is
//!   `is_write_closed`: the reader is gone.
//! - Terminals are watched. /dev/null is ready at once or, like the alias /dev/tty, refused with
//!   EINVAL; what is refused is `Mode::Always`, as with epoll's EPERM.
//! - Regular files are watched, not refused: the filter reports bytes and then the end, but of an
//!   empty file nothing; so they are read from the start, as `Mode::Always`.

use rustix::fs::FileType;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

#[cfg(target_os = "linux")]
use {rustix::io::ReadWriteFlags, std::io::IoSliceMut};

/// A descriptor that someone else owns: fds 0 to 2, or what a test puts in their place.
pub(crate) type AnyFd = Box<dyn AsFd>;

/// A pipe that polls as writable takes this much without blocking and never tears it: a page on
/// Linux; elsewhere what POSIX promises, which is all that macOS keeps free.
pub(crate) const PIPE_BUF: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// How to get at a descriptor's bytes without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// MSG_DONTWAIT.
    Socket,
    /// RWF_NOWAIT: pipes of Linux 6.4 and later.
    NoWait,
    /// Only after the kernel said ready, and then no more than surely fits.
    Polled,
    /// Regular files, block devices, /dev/null: epoll refuses them, they never wait long.
    Always,
}

impl Mode {
    /// The mode to try first.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> Mode {
        let Ok(stat) = rustix::fs::fstat(fd) else {
            return Mode::Polled;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => Mode::Socket,
            FileType::Fifo if cfg!(target_os = "linux") => Mode::NoWait,
            FileType::RegularFile | FileType::Directory | FileType::BlockDevice => Mode::Always,
            FileType::Fifo | FileType::CharacterDevice | FileType::Symlink | FileType::Unknown => {
                Mode::Polled
            }
        }
    }
}

/// Reads once. In `Mode::Polled` only after a readable event.
pub(crate) fn read(fd: BorrowedFd<'_>, mode: &mut Mode, buf: &mut [u8]) -> io::Result<usize> {
    match mode {
        Mode::Socket => {
            let read = retry_on_intr(|| rustix::net::recv(fd, &mut *buf, RecvFlags::DONTWAIT))?;
            Ok(read.0)
        }
        Mode::NoWait => match read_nowait(fd, buf) {
            Err(err) if refuses_nowait(err) => {
                *mode = Mode::Polled;
                read(fd, mode, buf)
            }
            result => Ok(result?),
        },
        Mode::Polled | Mode::Always => Ok(retry_on_intr(|| rustix::io::read(fd, &mut *buf))?),
    }
}

/// Writes once, as much as goes without blocking; WouldBlock when nothing does.
pub(crate) fn write(
    fd: BorrowedFd<'_>,
    mode: &mut Mode,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    match mode {
        Mode::Socket => Ok(retry_on_intr(|| {
            // No NOSIGNAL, which macOS lacks: std ignores SIGPIPE from the start, for sockets as
            // for the pipes below.
            let flags = SendFlags::DONTWAIT;
            rustix::net::sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), flags)
        })?),
        Mode::NoWait => match write_nowait(fd, slices) {
            Err(err) if refuses_nowait(err) => {
                *mode = Mode::Polled;
                write(fd, mode, slices)
            }
            result => Ok(result?),
        },
        Mode::Polled => {
            if !is_writable(fd)? {
                return Err(ErrorKind::WouldBlock.into());
            }
            let first = slices.iter().find(|slice| !slice.is_empty());
            let first = first.map_or(&[][..], |slice| slice);
            let few = &first[..first.len().min(PIPE_BUF)];
            Ok(retry_on_intr(|| rustix::io::write(fd, few))?)
        }
        Mode::Always => Ok(retry_on_intr(|| rustix::io::writev(fd, slices))?),
    }
}

/// Whether a write would be taken now (or would fail at once).
fn is_writable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let ready = retry_on_intr(|| poll(&mut fds, Some(&at_once)))?;
    Ok(ready > 0)
}

/// The offset that means "the descriptor's own position" to preadv2 and pwritev2.
#[cfg(target_os = "linux")]
const OWN_POSITION: u64 = u64::MAX;

#[cfg(target_os = "linux")]
fn read_nowait(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    retry_on_intr(|| {
        let mut slices = [IoSliceMut::new(&mut *buf)];
        rustix::io::preadv2(fd, &mut slices, OWN_POSITION, ReadWriteFlags::NOWAIT)
    })
}

#[cfg(not(target_os = "linux"))]
fn read_nowait(_fd: BorrowedFd<'_>, _buf: &mut [u8]) -> Result<usize, Errno> {
    Err(Errno::OPNOTSUPP)
}

#[cfg(target_os = "linux")]
fn write_nowait(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    retry_on_intr(|| rustix::io::pwritev2(fd, slices, OWN_POSITION, ReadWriteFlags::NOWAIT))
}

#[cfg(not(target_os = "linux"))]
fn write_nowait(_fd: BorrowedFd<'_>, _slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    Err(Errno::OPNOTSUPP)
}

/// Old kernels say EOPNOTSUPP, older ones and sandboxes ENOSYS, EINVAL or EPERM.
fn refuses_nowait(err: Errno) -> bool {
    matches!(
        err,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::SPIPE
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn full(fd: BorrowedFd<'_>, mut mode: Mode) -> usize {
        let line = [b'x'; 10_000];
        let mut total = 0;
        loop {
            match write(fd, &mut mode, &[IoSlice::new(&line)]) {
                Ok(count) => total += count,
                Err(err) => {
                    assert_eq!(err.kind(), ErrorKind::WouldBlock);
                    return total;
                }
            }
        }
    }

    #[test]
    fn a_full_pipe_never_blocks_in_any_mode() {
        for mode in [Mode::NoWait, Mode::Polled] {
            let (_reader, writer) = std::io::pipe().unwrap();
            assert_eq!(Mode::of(writer.as_fd()), Mode::NoWait);
            assert!(full(writer.as_fd(), mode) >= PIPE_BUF);
        }
    }

    #[test]
    fn a_full_socket_never_blocks() {
        let (_reader, writer) = UnixStream::pair().unwrap();
        assert_eq!(Mode::of(writer.as_fd()), Mode::Socket);
        assert!(full(writer.as_fd(), Mode::Socket) >= PIPE_BUF);
    }

    #[test]
    fn an_empty_pipe_and_socket_do_not_block_the_reader() {
        let mut buf = [0; 16];
        let (reader, writer) = std::io::pipe().unwrap();
        let mut mode = Mode::NoWait;
        match read(reader.as_fd(), &mut mode, &mut buf) {
            Err(err) => assert_eq!(err.kind(), ErrorKind::WouldBlock),
            Ok(count) => panic!("{count} bytes out of an empty pipe"),
        }
        drop(writer);
        assert_eq!(read(reader.as_fd(), &mut mode, &mut buf).unwrap(), 0);
        let (reader, _writer) = UnixStream::pair().unwrap();
        let err = read(reader.as_fd(), &mut Mode::Socket, &mut buf).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_dead_reader_is_a_broken_pipe() {
        for mode in [Mode::NoWait, Mode::Polled] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let err = write(writer.as_fd(), &mut { mode }, &[IoSlice::new(b"x")]).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::BrokenPipe);
        }
    }
}
