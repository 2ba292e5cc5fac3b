//! SIGTERM and SIGINT as bytes on a socket that the loop watches.
//!
//! Owns the two handlers for as long as the process lives. It must never decide what a signal
//! means: the engine does.

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, ErrorKind, Read};

/// The reading end.
pub(crate) struct Signals {
    reader: UnixStream,
}

impl Signals {
    /// Installs the handlers; `token` fires with each signal.
    pub(crate) fn install(registry: &Registry, token: Token) -> io::Result<Self> {
        let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGTERM, writer.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGINT, writer)?;
        let mut reader = UnixStream::from_std(reader);
        registry.register(&mut reader, token, Interest::READABLE)?;
        Ok(Self { reader })
    }

    /// How many signals came since the last call.
    pub(crate) fn take(&mut self) -> usize {
        let mut bytes = [0; 16];
        let mut count = 0;
        loop {
            match self.reader.read(&mut bytes) {
                Ok(0) => return count,
                Ok(read) => count += read,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(_) => return count,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    #[test]
    fn each_signal_counts() {
        let mut poll = Poll::new().unwrap();
        let mut signals = Signals::install(poll.registry(), Token(1)).unwrap();
        assert_eq!(signals.take(), 0);
        signal_hook::low_level::raise(SIGTERM).unwrap();
        signal_hook::low_level::raise(SIGINT).unwrap();
        poll.poll(&mut Events::with_capacity(4), None).unwrap();
        assert_eq!(signals.take(), 2);
    }
}
