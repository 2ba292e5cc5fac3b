//! Name lookup.
//!
//! Owns the short-lived threads in which getaddrinfo runs: the one exception to "one thread",
//! because POSIX has no getaddrinfo that does not block. It must never cache: the
//! resolver behind getaddrinfo does, with the right lifetimes.

use crate::proto::transport::ConnId;
use mio::{Registry, Token, Waker};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// glibc's getaddrinfo with its NSS modules needs more than 64 KiB; untouched pages cost nothing.
const STACK_BYTES: usize = 256 * 1024;

/// The addresses of a name, or the resolver's words.
pub(crate) type Addresses = Result<Vec<SocketAddr>, String>;

/// Lookups in flight.
pub(crate) struct Resolver {
    /// Made with the first lookup: literal addresses need neither.
    channel: Option<Channel>,
    /// Connections that wait, by name and port: one lookup serves them all, so that a resolver
    /// that hangs holds one thread and not one per attempt.
    waiting: Vec<Lookup>,
}

struct Channel {
    waker: Arc<Waker>,
    sender: Sender<(String, u16, Addresses)>,
    receiver: Receiver<(String, u16, Addresses)>,
}

struct Lookup {
    host: String,
    port: u16,
    conns: Vec<ConnId>,
}

impl Resolver {
    /// A resolver with nothing to do.
    pub(crate) fn new() -> Self {
        Self {
            channel: None,
            waiting: Vec::new(),
        }
    }

    /// Starts a lookup for `conn`. `Some`: the answer needs no lookup. Otherwise `token` fires.
    pub(crate) fn start(
        &mut self,
        conn: ConnId,
        host: &str,
        port: u16,
        (registry, token): (&Registry, Token),
    ) -> Option<Addresses> {
        if let Some(addresses) = known(host, port) {
            return Some(Ok(addresses));
        }
        let same = |lookup: &&mut Lookup| lookup.host == host && lookup.port == port;
        if let Some(lookup) = self.waiting.iter_mut().find(same) {
            lookup.conns.push(conn);
            return None;
        }
        match self.spawn(host, port, registry, token) {
            Ok(()) => {
                let conns = vec![conn];
                self.waiting.push(Lookup {
                    host: host.to_owned(),
                    port,
                    conns,
                });
                None
            }
            Err(err) => Some(Err(format!("no thread for the lookup: {err}"))),
        }
    }

    /// What came in since the last call: who waited, and the addresses.
    pub(crate) fn poll(&mut self) -> Option<(Vec<ConnId>, Addresses)> {
        loop {
            let (host, port, addresses) = self.channel.as_ref()?.receiver.try_recv().ok()?;
            let same = |lookup: &Lookup| lookup.host == host && lookup.port == port;
            if let Some(index) = self.waiting.iter().position(same) {
                return Some((self.waiting.swap_remove(index).conns, addresses));
            }
        }
    }

    fn spawn(
        &mut self,
        host: &str,
        port: u16,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        if self.channel.is_none() {
            let (sender, receiver) = channel();
            let waker = Arc::new(Waker::new(registry, token)?);
            self.channel = Some(Channel {
                waker,
                sender,
                receiver,
            });
        }
        let channel = self.channel.as_ref().expect("made just above");
        let (waker, sender) = (channel.waker.clone(), channel.sender.clone());
        let host = host.to_owned();
        let lookup = move || {
            let addresses = getaddrinfo(&host, port);
            // Both fail only when the loop has ended and nobody waits for the answer.
            if sender.send((host, port, addresses)).is_ok() {
                waker.wake().ok();
            }
        };
        std::thread::Builder::new()
            .name("resolve".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(lookup)
            .map(drop)
    }
}

/// Literal addresses, and the name that RFC 6761 section 6.3 lets us answer ourselves: "Name
/// resolution APIs and libraries SHOULD recognize localhost names as special and SHOULD always
/// return the IP loopback address for address queries".
fn known(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        let both = [
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ];
        return Some(both.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    None
}

fn getaddrinfo(host: &str, port: u16) -> Addresses {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Vec<SocketAddr> = addresses.collect();
            match addresses.is_empty() {
                true => Err("the name has no address".to_owned()),
                false => Ok(addresses),
            }
        }
        Err(err) => {
            let text = err.to_string();
            let prefix = "failed to lookup address information: ";
            Err(text.strip_prefix(prefix).map(str::to_owned).unwrap_or(text))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    #[test]
    fn literals_and_localhost_need_no_thread() {
        let texts = |host| {
            let addresses = known(host, 80)?;
            Some(
                addresses
                    .iter()
                    .map(SocketAddr::to_string)
                    .collect::<Vec<_>>(),
            )
        };
        let check = |host, want: &[&str]| assert_eq!(texts(host).unwrap(), want);
        check("127.0.0.1", &["127.0.0.1:80"]);
        check("::1", &["[::1]:80"]);
        check("LOCALHOST", &["[::1]:80", "127.0.0.1:80"]);
        check("a.localhost.", &["[::1]:80", "127.0.0.1:80"]);
        assert_eq!(known("example.com", 80), None);
        assert_eq!(known("localhost.example.com", 80), None);
    }

    #[test]
    fn one_thread_serves_all_who_ask_for_a_name() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let mut resolver = Resolver::new();
        // RFC 6761 section 6.4: "invalid." never exists.
        for id in [1, 2] {
            let place = (poll.registry(), Token(7));
            assert_eq!(
                resolver.start(ConnId(id), "nowhere.invalid", 443, place),
                None
            );
        }
        assert_eq!(resolver.waiting.len(), 1);
        let (conns, addresses) = loop {
            poll.poll(&mut events, None).unwrap();
            if let Some(found) = resolver.poll() {
                break found;
            }
        };
        assert_eq!(conns, [ConnId(1), ConnId(2)]);
        assert!(!addresses.unwrap_err().contains("failed to lookup"));
        assert!(resolver.waiting.is_empty() && resolver.poll().is_none());
    }
}
