//! One connection's life: resolving, dialling, proxy CONNECT, TLS handshake, open, closing.
//!
//! Owns the phases and their deadlines. It must never know what the bytes mean, nor retry: each
//! [`Close`] names its cause and phase, and the engine decides.

use super::dial::{Dial, Step};
use super::link::{Flush, Link, LinkEvent, Scratch};
use super::proxy::{self, Answer, Proxy};
use super::resolve::Addresses;
use super::socket;
use super::tls::Tls;
use super::{ShellLimits, ShellSettings};
use crate::proto::endpoint::{Endpoint, Scheme};
use crate::proto::transport::{Close, CloseCause, ConnId, Established, Phase};
use mio::Registry;
use mio::event::Event;
use mio::net::TcpStream;
use std::mem;
use std::net::IpAddr;
use std::time::Instant;

/// What a connection tells the engine.
#[derive(Debug)]
pub(crate) enum ConnEvent<'a> {
    Connected(Established),
    Received(&'a [u8]),
    Closed(Close),
}

/// What the shell lends a connection for one call.
pub(crate) struct Env<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) now: Instant,
    pub(crate) tls: &'a mut Tls,
}

/// See the module.
pub(crate) struct Conn {
    id: ConnId,
    endpoint: Endpoint,
    proxy: Option<Proxy>,
    allow_http: bool,
    limits: ShellLimits,
    state: State,
    /// When the present phase is over; `None` once open.
    deadline: Option<Instant>,
    phase_start: Instant,
    established: Established,
    /// What the engine transmitted before the connection was open.
    early: Vec<Vec<u8>>,
    /// A transmission whose end the engine has not been told.
    unreported: bool,
}

enum State {
    Resolving,
    Dialing(Dialing),
    /// CONNECT is on its way, or its answer.
    Tunnel(Link, Vec<u8>),
    Handshaking(Link),
    /// Ready; `Connected` is still to be said.
    Announcing(Link),
    Open(Link),
    /// The engine is done with it, the socket is not.
    Closing(Link),
    /// Why it failed is still to be said.
    Failed(Close),
    Gone,
}

struct Dialing {
    dial: Dial,
    attempts: Vec<(usize, TcpStream)>,
    next_slot: usize,
    /// When the next address is due.
    next_at: Option<Instant>,
}

impl Conn {
    /// A connection that waits for [`Conn::handle_resolved`].
    pub(crate) fn new(
        id: ConnId,
        endpoint: Endpoint,
        settings: &ShellSettings,
        now: Instant,
    ) -> Self {
        let choose = settings
            .proxy
            .as_ref()
            .filter(|_| !endpoint.is_loopback_host());
        let proxy = choose.and_then(|choose| choose(&endpoint));
        Self {
            id,
            proxy,
            endpoint,
            allow_http: settings.allow_http,
            limits: settings.limits,
            state: State::Resolving,
            deadline: Some(now + settings.limits.connect),
            phase_start: now,
            established: Established::default(),
            early: Vec::new(),
            unreported: false,
        }
    }

    /// The name and port to look up and dial: the proxy's, where there is one.
    pub(crate) fn dial_target(&self) -> (&str, u16) {
        match &self.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (self.endpoint.host(), self.endpoint.port()),
        }
    }

    /// Begins to dial, if the lookup is still awaited.
    pub(crate) fn handle_resolved(&mut self, addresses: Addresses, env: &mut Env<'_>) {
        if !matches!(self.state, State::Resolving) {
            return;
        }
        self.established.resolve_us = self.lap(env.now);
        match addresses {
            Ok(addresses) => {
                let dial = Dial::new(&addresses, env.now);
                let (attempts, next_slot, next_at) = (Vec::new(), 0, None);
                self.state = State::Dialing(Dialing {
                    dial,
                    attempts,
                    next_slot,
                    next_at,
                });
                self.dial(env);
            }
            Err(why) => {
                let why = match &self.proxy {
                    Some(proxy) => format!("proxy {}: {why}", proxy.host),
                    None => why,
                };
                self.fail(CloseCause::NotFound(why), Phase::Resolve);
            }
        }
    }

    /// Notes what the poll said of one of its sockets.
    pub(crate) fn handle_event(&mut self, event: &Event, env: &mut Env<'_>) {
        let closed = event.is_read_closed() || event.is_error();
        let flags = (
            event.is_readable(),
            closed,
            event.is_writable() || event.is_error(),
        );
        match &mut self.state {
            State::Dialing(dialing) => {
                let slot = socket::slot_of(event.token());
                let Some(index) = dialing.attempts.iter().position(|(own, _)| *own == slot) else {
                    return;
                };
                match socket::connected(&dialing.attempts[index].1) {
                    Ok(None) => {}
                    Ok(Some(peer)) => {
                        let (_, stream) = dialing.attempts.swap_remove(index);
                        self.handle_connected(stream, peer, env);
                        if let Some(link) = self.link_mut() {
                            link.handle_ready(flags.0, flags.1, flags.2);
                        }
                    }
                    Err(err) => {
                        dialing.attempts.swap_remove(index);
                        dialing.dial.handle_failure(socket::cause(&err), env.now);
                        self.dial(env);
                    }
                }
            }
            State::Tunnel(link, _)
            | State::Handshaking(link)
            | State::Announcing(link)
            | State::Open(link)
            | State::Closing(link) => link.handle_ready(flags.0, flags.1, flags.2),
            State::Resolving | State::Failed(_) | State::Gone => {}
        }
    }

    /// When [`Conn::handle_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Dialing(dialing) => match (dialing.next_at, self.deadline) {
                (Some(next), Some(last)) => Some(next.min(last)),
                (next, last) => next.or(last),
            },
            State::Resolving | State::Tunnel(..) | State::Handshaking(_) | State::Closing(_) => {
                self.deadline
            }
            State::Announcing(_) | State::Open(_) | State::Failed(_) | State::Gone => None,
        }
    }

    /// Gives the phase up, or dials the next address.
    pub(crate) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        let expired = self.deadline.is_some_and(|deadline| deadline <= env.now);
        let phase = match &self.state {
            State::Dialing(_) if !expired => return self.dial(env),
            State::Resolving => Phase::Resolve,
            State::Dialing(_) => Phase::Connect,
            State::Tunnel(..) => Phase::Proxy,
            State::Handshaking(_) => Phase::Tls,
            State::Closing(_) if expired => return self.state = State::Gone,
            State::Closing(_)
            | State::Announcing(_)
            | State::Open(_)
            | State::Failed(_)
            | State::Gone => return,
        };
        if expired {
            self.fail(CloseCause::TimedOut, phase);
        }
    }

    /// The next thing for the engine, or `None` until the next event or turn. After `Closed` the
    /// connection is to be dropped.
    pub(crate) fn poll<'a>(
        &'a mut self,
        scratch: &'a mut Scratch<'_>,
        env: &mut Env<'_>,
    ) -> Option<ConnEvent<'a>> {
        if let Some(established) = self.set_up(scratch, env) {
            return Some(ConnEvent::Connected(established));
        }
        if let State::Failed(close) = &self.state {
            let close = close.clone();
            self.state = State::Gone;
            return Some(ConnEvent::Closed(close));
        }
        if let State::Closing(link) = &mut self.state {
            if link.discard(scratch) {
                self.state = State::Gone;
            }
            return None;
        }
        let State::Open(link) = &mut self.state else {
            return None;
        };
        match link.poll(scratch)? {
            LinkEvent::Received(bytes) => Some(ConnEvent::Received(bytes)),
            LinkEvent::Ended { cause, sent } => Some(ConnEvent::Closed(Close {
                cause,
                phase: Phase::Open,
                sent,
            })),
            LinkEvent::Handshaken => None,
        }
    }

    /// Goes through the phases that need bytes from the peer; `Some` when the last one is done.
    fn set_up(&mut self, scratch: &mut Scratch<'_>, env: &mut Env<'_>) -> Option<Established> {
        loop {
            match &mut self.state {
                State::Tunnel(link, answer) => match link.poll(scratch)? {
                    LinkEvent::Received(bytes) => {
                        answer.extend_from_slice(bytes);
                        match proxy::answer(answer) {
                            Ok(Answer::Partial) => {}
                            Ok(Answer::Open(len)) => self.handle_tunnel(len, env),
                            Err(cause) => self.fail(cause, Phase::Proxy),
                        }
                    }
                    LinkEvent::Ended { cause, .. } => self.fail(cause, Phase::Proxy),
                    LinkEvent::Handshaken => {}
                },
                State::Handshaking(link) => match link.poll(scratch)? {
                    LinkEvent::Handshaken => {
                        self.established.tls_us = self.lap(env.now);
                        self.announce();
                    }
                    LinkEvent::Ended { cause, .. } => self.fail(cause, Phase::Tls),
                    LinkEvent::Received(_) => {}
                },
                State::Announcing(_) => {
                    if let State::Announcing(link) = mem::replace(&mut self.state, State::Gone) {
                        self.state = State::Open(link);
                    }
                    return Some(self.established);
                }
                State::Resolving
                | State::Dialing(_)
                | State::Open(_)
                | State::Closing(_)
                | State::Failed(_)
                | State::Gone => return None,
            }
        }
    }

    /// Queues application bytes.
    pub(crate) fn transmit(&mut self, bytes: Vec<u8>) {
        self.unreported = true;
        match &mut self.state {
            State::Announcing(link) | State::Open(link) => link.push(bytes),
            State::Resolving | State::Dialing(_) | State::Tunnel(..) | State::Handshaking(_) => {
                self.early.push(bytes);
            }
            State::Closing(_) | State::Failed(_) | State::Gone => {}
        }
    }

    /// Stops or resumes reading.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        if let State::Announcing(link) | State::Open(link) = &mut self.state {
            link.set_paused(paused);
        }
    }

    /// Whether `poll` could bring something without a new event.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.state {
            State::Failed(_) | State::Announcing(_) => true,
            State::Tunnel(link, _) | State::Handshaking(link) | State::Open(link) => {
                link.is_ready()
            }
            State::Closing(link) => link.wants_discard(),
            State::Resolving | State::Dialing(_) | State::Gone => false,
        }
    }

    /// Whether `flush` could bring something forward.
    pub(crate) fn wants_flush(&self) -> bool {
        match &self.state {
            State::Tunnel(link, _)
            | State::Handshaking(link)
            | State::Announcing(link)
            | State::Open(link)
            | State::Closing(link) => link.wants_flush(),
            State::Resolving | State::Dialing(_) | State::Failed(_) | State::Gone => false,
        }
    }

    /// Sends what is queued. True when the last transmission is now with the socket.
    pub(crate) fn flush(&mut self) -> bool {
        if let State::Closing(link) = &mut self.state {
            link.close();
            if link.is_over() {
                self.state = State::Gone;
            }
            return false;
        }
        let is_open = matches!(self.state, State::Announcing(_) | State::Open(_));
        let Some(link) = self.link_mut() else {
            return false;
        };
        let done = link.flush() == Flush::Done;
        done && is_open && mem::take(&mut self.unreported)
    }

    /// The engine is done with it: sends what is queued and our side's end, and is gone when the
    /// peer has ended its side, too, or time is up. To drop the socket at once would reset the
    /// connection as soon as another byte came, and what we sent last would be lost.
    pub(crate) fn close(&mut self, now: Instant) {
        self.state = match mem::replace(&mut self.state, State::Gone) {
            State::Announcing(mut link) | State::Open(mut link) => {
                self.deadline = Some(now + self.limits.close);
                link.close();
                if link.is_over() {
                    State::Gone
                } else {
                    State::Closing(link)
                }
            }
            State::Closing(link) => State::Closing(link),
            // Nothing of the engine's has been sent.
            _ => State::Gone,
        };
    }

    /// Whether it can be dropped.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Tunnel(link, _)
            | State::Handshaking(link)
            | State::Announcing(link)
            | State::Open(link)
            | State::Closing(link) => Some(link),
            State::Resolving | State::Dialing(_) | State::Failed(_) | State::Gone => None,
        }
    }

    fn dial(&mut self, env: &mut Env<'_>) {
        let State::Dialing(dialing) = &mut self.state else {
            return;
        };
        loop {
            match dialing.dial.poll(env.now) {
                Step::Start(address) => {
                    let slot = dialing.next_slot;
                    dialing.next_slot += 1;
                    let token = socket::token(self.id, slot);
                    match socket::open(address, env.registry, token) {
                        Ok(stream) => dialing.attempts.push((slot, stream)),
                        Err(err) => dialing.dial.handle_failure(socket::cause(&err), env.now),
                    }
                }
                Step::Wait(next_at) => return dialing.next_at = next_at,
                Step::Failed(cause) => return self.fail(cause, Phase::Connect),
            }
        }
    }

    /// An address has answered: the other attempts are dropped with the state.
    fn handle_connected(&mut self, stream: TcpStream, peer: IpAddr, env: &mut Env<'_>) {
        self.established.connect_us = self.lap(env.now);
        self.established.peer = Some(peer);
        // A name such as "localhost" is only a name: what counts is who answered, and a proxy on
        // this machine answers for all the world.
        let is_local = peer.to_canonical().is_loopback();
        if self.endpoint.scheme() == Scheme::Http
            && !self.allow_http
            && (!is_local || self.proxy.is_some())
        {
            return self.fail(CloseCause::NotLoopback, Phase::Connect);
        }
        if let Err(err) = socket::set_options(&stream) {
            return self.fail(CloseCause::Io(err.kind()), Phase::Connect);
        }
        match &self.proxy {
            Some(proxy) => {
                let request = proxy::request(proxy, self.endpoint.host(), self.endpoint.port());
                let mut link = Link::new(stream, None, Vec::new());
                link.push(request);
                self.state = State::Tunnel(link, Vec::new());
                self.deadline = Some(env.now + self.limits.proxy);
            }
            None => self.handle_stream(stream, Vec::new(), env),
        }
    }

    /// The proxy's tunnel stands; all but `len` bytes of its answer came through the tunnel.
    fn handle_tunnel(&mut self, len: usize, env: &mut Env<'_>) {
        self.established.proxy_us = self.lap(env.now);
        if let State::Tunnel(link, mut answer) = mem::replace(&mut self.state, State::Gone) {
            let held = answer.split_off(len);
            self.handle_stream(link.into_stream(), held, env);
            // Its edges were seen by the old link.
            if let Some(link) = self.link_mut() {
                link.handle_ready(true, false, true);
            }
        }
    }

    /// The stream to the endpoint stands.
    fn handle_stream(&mut self, stream: TcpStream, held: Vec<u8>, env: &mut Env<'_>) {
        match self.endpoint.scheme() {
            Scheme::Http => {
                self.state = State::Handshaking(Link::new(stream, None, held));
                self.announce();
            }
            Scheme::Https => match env.tls.client(&self.endpoint) {
                Ok(tls) => {
                    self.state = State::Handshaking(Link::new(stream, Some(tls), held));
                    self.deadline = Some(env.now + self.limits.tls);
                }
                Err(failure) => self.fail(CloseCause::Tls(failure), Phase::Tls),
            },
        }
    }

    fn announce(&mut self) {
        if let State::Handshaking(mut link) = mem::replace(&mut self.state, State::Gone) {
            for bytes in mem::take(&mut self.early) {
                link.push(bytes);
            }
            self.deadline = None;
            self.state = State::Announcing(link);
        }
    }

    /// The first error sticks: a failed state is left only by saying so. Before the connection is
    /// open nothing of the engine's has been sent.
    fn fail(&mut self, cause: CloseCause, phase: Phase) {
        // What was looked up and dialled is the proxy: its troubles are not the workspace's.
        let phase = match phase {
            Phase::Resolve | Phase::Connect if self.proxy.is_some() => Phase::Proxy,
            Phase::Resolve | Phase::Connect | Phase::Proxy | Phase::Tls | Phase::Open => phase,
        };
        self.state = State::Failed(Close {
            cause,
            phase,
            sent: false,
        });
    }

    /// Microseconds since the phase began; begins the next.
    fn lap(&mut self, now: Instant) -> u64 {
        let lap = now.saturating_duration_since(self.phase_start);
        self.phase_start = now;
        u64::try_from(lap.as_micros()).unwrap_or(u64::MAX)
    }
}
