//! SIGTERM, SIGINT and SIGHUP as bytes on sockets that the loop watches.
//!
//! Owns the handlers for as long as the process lives. It must never decide what a signal means: the
//! engine does. Only this much is known here: a person who is in a hurry says SIGTERM or SIGINT
//! twice, but a terminal that closes may say SIGHUP more than once (kernel and shell both do), and
//! some service managers send it behind SIGTERM. So SIGHUP counts once, and only if nothing else
//! came before.

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream as Pair;

/// The reading ends.
pub(crate) struct Signals {
    terminations: UnixStream,
    hangups: UnixStream,
    /// One has come.
    begun: bool,
}

impl Signals {
    /// Installs the handlers; `token` fires with each signal.
    pub(crate) fn install(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self {
            terminations: catch(&[SIGTERM, SIGINT], registry, token)?,
            hangups: catch(&[SIGHUP], registry, token)?,
            begun: false,
        })
    }

    /// How often the process was told to end since the last call.
    pub(crate) fn take(&mut self) -> usize {
        let (terminations, hangups) = (drain(&mut self.terminations), drain(&mut self.hangups));
        let alone = !self.begun && terminations == 0 && hangups > 0;
        let count = terminations + usize::from(alone);
        self.begun |= count > 0;
        count
    }
}

fn catch(signals: &[i32], registry: &Registry, token: Token) -> io::Result<UnixStream> {
    let (reader, writer) = Pair::pair()?;
    reader.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, writer.try_clone()?)?;
    }
    let mut reader = UnixStream::from_std(reader);
    registry.register(&mut reader, token, Interest::READABLE)?;
    Ok(reader)
}

fn drain(reader: &mut UnixStream) -> usize {
    let mut bytes = [0; 16];
    let mut count = 0;
    loop {
        match reader.read(&mut bytes) {
            Ok(0) => return count,
            Ok(read) => count += read,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(_) => return count,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use signal_hook::low_level::raise;

    /// One test: the handlers are the whole process's.
    #[test]
    fn each_termination_counts_and_a_hangup_once() {
        let mut poll = Poll::new().unwrap();
        let mut said = |raised: &[&[i32]]| -> Vec<usize> {
            let mut signals = Signals::install(poll.registry(), Token(1)).unwrap();
            assert_eq!(signals.take(), 0);
            let mut counts = Vec::new();
            for together in raised {
                together.iter().for_each(|signal| raise(*signal).unwrap());
                poll.poll(&mut Events::with_capacity(8), None).unwrap();
                counts.push(signals.take());
            }
            counts
        };
        assert_eq!(said(&[&[SIGTERM, SIGINT]]), [2]);
        assert_eq!(said(&[&[SIGTERM], &[SIGTERM]]), [1, 1]);
        assert_eq!(said(&[&[SIGHUP], &[SIGHUP]]), [1, 0]);
        assert_eq!(said(&[&[SIGHUP, SIGHUP, SIGTERM]]), [1]);
        assert_eq!(said(&[&[SIGTERM], &[SIGHUP]]), [1, 0]);
        assert_eq!(said(&[&[SIGHUP], &[SIGTERM]]), [1, 1]);
    }
}
