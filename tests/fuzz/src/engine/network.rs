//! What the network does with connections.

use super::server::{self, Manner};
use super::{Input, World, judge};
use aerostack_gateway::api::proto::{Close, CloseCause, ConnId, Established, Phase, TlsFailure};
use std::io::ErrorKind;

/// A connection that the engine asked for.
#[derive(Default)]
pub(super) struct Conn {
    open: bool,
    sent: bool,
    /// A reply has begun.
    answered: bool,
    upgraded: bool,
    paused: bool,
    /// What came while it was not read.
    held: Vec<u8>,
    /// The rest of a reply.
    rest: Vec<u8>,
    /// The request that has no whole answer yet.
    pub(super) request: Option<server::Request>,
}

impl World {
    /// The connection that a number means, of those that are as they should be.
    fn pick(&self, at: u8, fits: impl Fn(&Conn) -> bool) -> Option<ConnId> {
        let fitting: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, conn)| fits(conn))
            .map(|(id, _)| *id)
            .collect();
        let at = usize::from(at).checked_rem(fitting.len())?;
        Some(fitting[at])
    }

    pub(super) fn connected(&mut self, at: u8) {
        if let Some(id) = self.pick(at, |conn| !conn.open) {
            self.connect(id);
        }
    }

    fn connect(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.open = true;
            self.give(Input::Connected(id, Established::default()), 0);
        }
    }

    pub(super) fn refused(&mut self, at: u8, how: u8) {
        let Some(id) = self.pick(at, |conn| !conn.open) else {
            return;
        };
        let (cause, phase) = match how % 7 {
            0 => (CloseCause::Io(ErrorKind::ConnectionRefused), Phase::Connect),
            1 => (CloseCause::TimedOut, Phase::Connect),
            2 => (
                CloseCause::NotFound("no such host".to_owned()),
                Phase::Resolve,
            ),
            3 => (CloseCause::Tls(TlsFailure::UnknownIssuer), Phase::Tls),
            4 => (CloseCause::ProxyStatus(407), Phase::Proxy),
            5 => (CloseCause::TooManyFiles, Phase::Connect),
            _ => (CloseCause::Eof, Phase::Tls),
        };
        self.conns.remove(&id);
        self.give(
            Input::Closed(
                id,
                Close {
                    cause,
                    phase,
                    sent: false,
                },
            ),
            0,
        );
    }

    pub(super) fn transmit(&mut self, id: ConnId, bytes: &[u8]) {
        let conn = self.conns.get_mut(&id);
        let conn = conn
            .filter(|conn| conn.open)
            .expect("it sends on open connections only");
        if conn.upgraded {
            assert!(!judge::holds_token(bytes), "in a frame (I9)");
            return;
        }
        assert!(
            conn.request.is_none(),
            "two requests at once on a connection"
        );
        let request = server::Request::parse(bytes);
        (conn.sent, conn.answered) = (false, false);
        conn.rest.clear();
        self.judge.transmit(id, &request);
        conn.request = Some(request);
    }

    pub(super) fn sent(&mut self, at: u8) {
        let waits = |conn: &Conn| conn.open && !conn.sent && conn.request.is_some();
        if let Some(id) = self.pick(at, waits) {
            self.send(id);
        }
    }

    fn send(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.sent = true;
            self.give(Input::Sent(id), 0);
        }
    }

    pub(super) fn closed(&mut self, at: u8, how: u8) {
        let Some(id) = self.pick(at, |conn| conn.open) else {
            return;
        };
        let cause = match how % 4 {
            0 | 1 => CloseCause::Eof,
            2 => CloseCause::Io(ErrorKind::ConnectionReset),
            _ => CloseCause::Tls(TlsFailure::BadSignature),
        };
        let Some(conn) = self.conns.remove(&id) else {
            return;
        };
        // Some of it may have left before.
        let sent = conn.sent || conn.request.is_none() || how & 4 != 0;
        self.judge.closed(id, !sent);
        let phase = Phase::Open;
        self.give(Input::Closed(id, Close { cause, phase, sent }), 0);
    }

    pub(super) fn pause(&mut self, id: ConnId, paused: bool) {
        let conn = self
            .conns
            .get_mut(&id)
            .expect("Pause and Resume of a connection that is there");
        assert!(conn.paused != paused, "Pause and Resume take turns");
        conn.paused = paused;
    }

    pub(super) fn raw_bytes(&mut self, at: u8, bytes: &[u8]) {
        if let Some(id) = self.pick(at, |conn| conn.open)
            && !judge::holds_token(bytes)
        {
            self.receive(id, bytes);
        }
    }

    pub(super) fn receive(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.open) else {
            return;
        };
        conn.held.extend_from_slice(bytes);
        if conn.paused || conn.held.is_empty() {
            // The peer's socket is full.
            return conn.held.truncate(4_096);
        }
        let bytes = std::mem::take(&mut conn.held);
        let is_whole = self.judge.received(id, &bytes);
        if is_whole && let Some(conn) = self.conns.get_mut(&id) {
            let upgrade = conn
                .request
                .take()
                .is_some_and(|request| request.key.is_some());
            conn.upgraded |= upgrade && self.judge.is_upgraded(id);
        }
        self.give(Input::Received(id, &bytes), bytes.len());
    }

    /// A request is answered; of the answer a part, where the manner says so.
    pub(super) fn reply(&mut self, at: u8, manner: &Manner) {
        let Some(id) = self.pick(at, |conn| conn.sent && conn.request.is_some()) else {
            return;
        };
        self.answer(id, manner);
    }

    fn answer(&mut self, id: ConnId, manner: &Manner) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let Some(request) = &conn.request else {
            return;
        };
        let (bytes, closes) = server::answer(request, manner);
        let cut = manner.cut(bytes.len());
        conn.answered = true;
        conn.rest = bytes[cut..].to_vec();
        self.receive(id, &bytes[..cut]);
        if !manner.waits() {
            self.proceed_on(id);
            if closes && self.conns.contains_key(&id) {
                self.conns.remove(&id);
                self.judge.closed(id, false);
                let close = Close {
                    cause: CloseCause::Eof,
                    phase: Phase::Open,
                    sent: true,
                };
                self.give(Input::Closed(id, close), 0);
            }
        }
    }

    pub(super) fn proceed(&mut self, at: u8) {
        let has_rest = |conn: &Conn| !conn.rest.is_empty() || !conn.held.is_empty() && !conn.paused;
        if let Some(id) = self.pick(at, has_rest) {
            self.proceed_on(id);
        }
    }

    fn proceed_on(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            let rest = std::mem::take(&mut conn.rest);
            self.receive(id, &rest);
        }
    }

    pub(super) fn frame(&mut self, at: u8, what: u8) {
        if let Some(id) = self.pick(at, |conn| conn.upgraded) {
            self.receive(id, &server::frame(what));
        }
    }

    /// Everything that waits comes to a good end: dials, requests, answers.
    pub(super) fn all_goes_well(&mut self) {
        let ids: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in ids {
            if self.conns.get(&id).is_some_and(|conn| !conn.open) {
                self.connect(id);
            }
            let waits =
                |conn: &&Conn| conn.open && !conn.sent && !conn.answered && conn.request.is_some();
            if self.conns.get(&id).filter(waits).is_some() {
                self.send(id);
            }
            self.proceed_on(id);
            if self
                .conns
                .get(&id)
                .is_some_and(|conn| conn.sent && !conn.answered && conn.request.is_some())
            {
                self.answer(id, &Manner::default());
            }
        }
    }
}
