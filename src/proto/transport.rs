//! The words in which the shell tells the engine about connections.
//!
//! Owns the names of connections, of the phases a connection goes through and of the causes why it
//! ended. It must never hold a socket, a clock or a policy: `io` fills these values in, `bridge`
//! decides what they mean.

use std::io::ErrorKind;
use std::net::IpAddr;

/// Names one connection for the life of the process. Never reused, so that a late event of an old
/// socket can not be taken for one of a new socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Where a connection is in its life; a time-out or failure names its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking the host's name up.
    Resolve,
    /// TCP handshake, all addresses (RFC 8305).
    Connect,
    /// HTTP CONNECT through a proxy.
    Proxy,
    /// TLS handshake.
    Tls,
    /// Established: application bytes flow.
    Open,
}

impl Phase {
    /// The phase in a sentence: "timed out during …".
    pub fn name(self) -> &'static str {
        match self {
            Phase::Resolve => "DNS lookup",
            Phase::Connect => "TCP connect",
            Phase::Proxy => "proxy CONNECT",
            Phase::Tls => "TLS handshake",
            Phase::Open => "exchange",
        }
    }
}

/// What is known about a connection the moment it is ready for application bytes. Durations in
/// microseconds; 0 where the phase did not happen (no DNS for an address, no TLS for http).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Established {
    /// Name lookup.
    pub resolve_us: u64,
    /// First SYN to the winning connection.
    pub connect_us: u64,
    /// CONNECT request to its 2xx.
    pub proxy_us: u64,
    /// ClientHello to the end of the handshake.
    pub tls_us: u64,
    /// The connected peer (the proxy's address where one is used).
    pub peer: Option<IpAddr>,
}

/// Why a connection ended, and how far it had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The first error sticks: later ones are consequences.
    pub cause: CloseCause,
    /// The phase in which it happened.
    pub phase: Phase,
    /// True once any byte of the last `Transmit` was handed to the socket: the peer may have seen
    /// it. False proves that nothing of it left this process.
    pub sent: bool,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer closed its side: FIN, or close_notify on TLS. Only the framing can tell whether
    /// that was the end of the message.
    Eof,
    /// The socket failed: reset, unreachable, broken pipe, FIN without close_notify on TLS.
    Io(ErrorKind),
    /// This process, or this machine, may open no more sockets.
    TooManyFiles,
    /// The phase named in [`Close::phase`] ran past its deadline.
    TimedOut,
    /// The name does not exist or has no address; the text is the resolver's.
    NotFound(String),
    /// The TLS handshake or record layer failed.
    Tls(TlsFailure),
    /// The proxy refused CONNECT with this HTTP status (407: credentials needed).
    ProxyStatus(u16),
    /// The proxy's answer to CONNECT is not HTTP.
    ProxyProtocol,
    /// http:// to a loopback name, but the peer that answered is not a loopback address.
    NotLoopback,
}

/// Why TLS failed, sorted by what the person has to fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// No trusted root signed the chain: corporate proxy, a private CA, or a self-signed
    /// certificate.
    UnknownIssuer,
    /// The chain or the handshake is not signed with the key that it should be.
    BadSignature,
    /// The certificate is for other names (listed when known).
    WrongName(String),
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not begun: often a wrong local clock.
    NotYetValid,
    /// The server shows a CA's own certificate as its own.
    CaAsServer,
    /// The certificate's key usage leaves servers out.
    NotForServers,
    /// The certificate is malformed, or of a kind that is not supported.
    UnreadableCertificate,
    /// The first bytes were no TLS record: plain HTTP on this port?
    NotTls,
    /// Peer and we share no protocol version (we speak TLS 1.2 and 1.3).
    Version,
    /// Peer and we share no cipher suite or key exchange.
    NothingInCommon,
    /// The server wants a client certificate.
    ClientCertificate,
    /// The server has no host of this name, or the name can not stand in a certificate.
    HostName,
    /// The server ended it by an alert of this number (RFC 8446 section 6).
    Alert(u8),
    /// Records are damaged, or break the protocol.
    Damaged,
    /// This machine has no clock or no random numbers.
    Machine,
    /// The CA files that the environment names can not be read or hold no certificate.
    Roots(String),
}
