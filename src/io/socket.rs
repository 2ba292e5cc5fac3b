//! TCP sockets: opening, asking whether they are connected, the options that each one gets.
//!
//! Owns the numbers that make TCP find out that a peer is gone. It must never keep a socket.

use crate::proto::transport::{CloseCause, ConnId};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Tokens of one connection differ in these bits: one for each address that is tried.
const SLOT_BITS: u32 = 4;

/// The token of a connection's socket.
pub(crate) fn token(id: ConnId, slot: usize) -> Token {
    Token(((id.0 as usize) << SLOT_BITS) | slot)
}

/// The connection that a token names. Ids are never reused, so a late event of an old socket finds
/// nobody.
pub(crate) fn conn_of(token: Token) -> ConnId {
    ConnId((token.0 >> SLOT_BITS) as u64)
}

/// Which of the connection's sockets a token names.
pub(crate) fn slot_of(token: Token) -> usize {
    token.0 & ((1 << SLOT_BITS) - 1)
}

/// Begins to connect and watches the socket in both directions for its whole life: with edges
/// neither costs a wake-up that is not needed.
pub(crate) fn open(
    address: SocketAddr,
    registry: &Registry,
    token: Token,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Why a socket could not be opened or connected. Without a descriptor for it, in this process or
/// on this machine, the standard library has no kind.
pub(crate) fn cause(err: &io::Error) -> CloseCause {
    use rustix::io::Errno;
    match Errno::from_io_error(err) {
        Some(Errno::MFILE | Errno::NFILE) => CloseCause::TooManyFiles,
        Some(_) | None => CloseCause::Io(err.kind()),
    }
}

/// Writable is not connected. `None`: not yet; otherwise who answered.
pub(crate) fn connected(stream: &TcpStream) -> io::Result<Option<IpAddr>> {
    if let Some(err) = stream.take_error()? {
        return Err(err);
    }
    match stream.peer_addr() {
        Ok(peer) => Ok(Some(peer.ip())),
        Err(err) if err.kind() == ErrorKind::NotConnected => Ok(None),
        Err(err) => Err(err),
    }
}

/// A call has no read time-out, so TCP itself has to find out that the peer is gone: unanswered
/// bytes within [`USER_TIMEOUT`], silence by probes.
///
/// macOS has no such limit for unanswered bytes that can be set without unsafe code: there its own
/// retransmission limit ends them, after some minutes. Silence is found alike on both.
pub(crate) fn set_options(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    }
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT.as_millis() as u32)?;
    #[cfg(target_os = "macos")]
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Silence after which the kernel probes the peer.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const KEEPALIVE_IDLE: Duration = Duration::from_secs(45);
/// Between unanswered probes; USER_TIMEOUT, or their number, ends them.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// A half-open peer must be found by TCP: calls have no read time-out of their own.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(60);
/// So many unanswered probes end a connection: 75 s after the last byte, close to USER_TIMEOUT, and
/// one lost probe is forgiven.
#[cfg(target_os = "macos")]
const KEEPALIVE_PROBES: u32 = 2;
