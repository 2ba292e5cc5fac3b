//! TCP sockets: opening, asking whether they are connected, the options that each one gets.
//!
//! Owns the numbers that make TCP find out that a peer is gone. It must never keep a socket.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

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

/// P9: writable is not connected. `None`: not yet; otherwise who answered.
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
pub(crate) fn set_options(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT.as_millis() as u32)?;
    }
    Ok(())
}

/// Silence after which the kernel probes the peer.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(45);
/// Between unanswered probes; USER_TIMEOUT ends them.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// PITFALLS P18.
const USER_TIMEOUT: Duration = Duration::from_secs(60);
