//! The network of the simulated world: dials, bytes both ways, ends; and the server behind it.

use super::*;

/// What a byte of the host can cost: the answer to a line that is no message.
const ANSWER_BYTES: usize = 100;

impl World {
    pub(super) fn connect(&mut self, conn: ConnId) {
        self.note("  connect", |out| {
            let _ = write!(out, "{conn:?}");
        });
        self.dialled += 1;
        let known = self.conns.insert(
            conn,
            Conn {
                open: false,
                epoch: 0,
                sent: false,
                stale: false,
                upgraded: false,
                latest_us: 0,
                paused: false,
                held: VecDeque::new(),
            },
        );
        if known.is_some() {
            self.fail("a ConnId is used again");
        }
        let (low, high) = self.weather.connect_us;
        let us = self.random.between(low, high);
        if !self.random.chance(self.weather.refuse) {
            return self.plan(us, Event::Connected(conn));
        }
        let mut failures = failures();
        if self.judge.local {
            // What passes by itself; a wrong certificate or proxy is for a person to mend.
            failures.truncate(5);
        }
        let (cause, phase) = self.random.pick(&failures).clone();
        let us = if cause == CloseCause::TimedOut {
            10_000_000
        } else {
            us
        };
        let close = Close {
            cause,
            phase,
            sent: false,
        };
        self.plan(us, Event::Refused(conn, close));
    }

    pub(super) fn connected(&mut self, conn: ConnId) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        entry.open = true;
        self.note("connected", |out| {
            let _ = write!(out, "{conn:?}");
        });
        self.give(Input::Connected(conn, Established::default()));
        self.plan_idle_close(conn);
    }

    pub(super) fn refused(&mut self, conn: ConnId, close: Close) {
        if self.remove(conn).is_none() {
            return;
        }
        self.note("refused", |out| {
            let _ = write!(out, "{conn:?} {close:?}");
        });
        self.give(Input::Closed(conn, close));
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Conn> {
        let entry = self.conns.remove(&conn)?;
        self.workspace.gone(conn);
        self.socket_out.remove(&conn);
        let heard = (entry.sent && !entry.stale).then_some(entry.epoch);
        self.gone.insert(conn, heard);
        Some(entry)
    }

    /// Every connection with an exchange under way breaks.
    pub(crate) fn break_busy(&mut self) {
        let mut conns: Vec<ConnId> = self.conns.keys().copied().collect();
        conns.retain(|conn| self.judge.is_busy(*conn));
        self.break_these(conns);
    }

    /// Every connection that is open breaks.
    pub(crate) fn break_all(&mut self) {
        let open = self.conns.iter().filter(|(_, entry)| entry.open);
        let conns = open.map(|(conn, _)| *conn).collect();
        self.break_these(conns);
    }

    pub(super) fn break_these(&mut self, conns: Vec<ConnId>) {
        for conn in conns {
            let cause = CloseCause::Io(ErrorKind::ConnectionReset);
            self.plan(0, Event::Deliver(conn, Delivery::Closed(cause, Vec::new())));
        }
    }

    pub(crate) fn stdin_is_paused(&self) -> bool {
        self.stdin_paused
    }

    pub(super) fn transmit(&mut self, conn: ConnId, bytes: &[u8]) {
        if self.conns.get(&conn).is_some_and(|entry| entry.upgraded) {
            self.note("  frames", |out| {
                let _ = write!(out, "{conn:?} {} bytes", bytes.len());
            });
            let (low, high) = self.weather.latency_us;
            let us = self.random.between(low, high);
            let at = self.after_earlier(conn, us);
            *self.socket_out.entry(conn).or_default() += bytes.len();
            if !self.weather.sockets_stuck {
                self.plan(10, Event::FramesSent(conn));
            }
            return self.plan(at, Event::Frames(conn, bytes.to_vec()));
        }
        let request = match HttpRequest::parse(bytes) {
            Ok(request) => request,
            Err(words) => self.fail(&words),
        };
        self.note("  transmit", |out| {
            let _ = write!(out, "{conn:?} {}", request.label());
        });
        let Some(entry) = self.conns.get_mut(&conn).filter(|entry| entry.open) else {
            self.fail("Transmit on a connection that is not open");
        };
        entry.epoch += 1;
        entry.sent = false;
        let epoch = entry.epoch;
        let verdict = self
            .judge
            .transmit(conn, &request, self.now_us, &self.ledger);
        self.must(verdict);
        let handed = self.random.below(2).min(self.weather.cuts) * self.random.below(4_000) + 10;
        let (low, high) = self.weather.latency_us;
        let arrives = handed + self.random.between(low, high);
        self.plan(handed, Event::Sent(conn, epoch));
        self.plan(arrives, Event::Arrive(conn, epoch, Box::new(request)));
        if self.random.chance(self.weather.breaks) {
            let cause = CloseCause::Io(ErrorKind::ConnectionReset);
            let at = self.random.below(2 * arrives);
            self.plan(
                at,
                Event::Deliver(conn, Delivery::Closed(cause, Vec::new())),
            );
        }
    }

    pub(super) fn sent(&mut self, conn: ConnId, epoch: u64) {
        let Some(entry) = self
            .conns
            .get_mut(&conn)
            .filter(|entry| entry.epoch == epoch)
        else {
            return;
        };
        entry.sent = true;
        self.judge.sent(conn, self.now_us);
        self.note("sent", |out| {
            let _ = write!(out, "{conn:?}");
        });
        self.give(Input::Sent(conn));
    }

    /// The server has the whole request. The engine may have closed the connection since.
    pub(super) fn arrive(&mut self, conn: ConnId, epoch: u64, request: &HttpRequest) {
        let entry = self.conns.get(&conn);
        // Not handed to the socket, or the server was gone.
        if entry.is_some_and(|entry| entry.stale || !entry.sent || entry.epoch != epoch) {
            return;
        }
        let gone = entry.is_none();
        if gone && (self.gone.get(&conn) != Some(&Some(epoch)) || self.random.chance(50)) {
            return;
        }
        self.note("arrived", |out| {
            let _ = write!(out, "{conn:?} {}", request.label());
        });
        let mut script = Script::nothing(End::Silent);
        self.serve(conn, |workspace, desk| {
            script = workspace.handle(request, desk);
        });
        self.ledger.arrived.push(request.clone());
        self.ledger.arrived_ms.push(self.now_us / 1_000);
        if !gone {
            self.play(conn, &script);
        }
    }

    /// The server is at work; then what it does of itself is done.
    pub(crate) fn serve(
        &mut self,
        conn: ConnId,
        work: impl FnOnce(&mut dyn Workspace, &mut Desk<'_>),
    ) {
        let mut acts = Vec::new();
        let mut desk = Desk {
            wall_ms: WALL_MS + self.slept_ms + self.now_us / 1_000,
            conn,
            acts: &mut acts,
            random: &mut self.random,
            ledger: &mut self.ledger,
        };
        work(&mut *self.workspace, &mut desk);
        if let Some(words) = self.ledger.broken.take() {
            self.fail(&words);
        }
        for act in acts {
            let (low, high) = self.weather.latency_us;
            let us = self.random.between(low, high);
            match act {
                Act::Wake(us, number) => self.plan(us, Event::Wake(number)),
                Act::Send(conn, bytes, marks) => {
                    let at = self.after_earlier(conn, us);
                    let piece = Piece {
                        delay_us: 0,
                        bytes,
                        marks,
                    };
                    self.plan(at, Event::Deliver(conn, Delivery::Bytes(piece)));
                }
                Act::Drop(conn, cause) => {
                    let at = self.after_earlier(conn, us);
                    self.plan(
                        at,
                        Event::Deliver(conn, Delivery::Closed(cause, Vec::new())),
                    );
                }
            }
        }
    }

    /// The server is well from here on.
    pub(crate) fn calm(&mut self) {
        self.serve(ConnId(0), |workspace, desk| workspace.calm(desk));
    }

    /// Bytes do not overtake each other: microseconds from now, at least so many.
    pub(super) fn after_earlier(&mut self, conn: ConnId, us: u64) -> u64 {
        let now = self.now_us;
        let Some(entry) = self.conns.get_mut(&conn) else {
            return us;
        };
        entry.latest_us = entry.latest_us.max(now + us);
        entry.latest_us - now
    }

    pub(super) fn play(&mut self, conn: ConnId, script: &Script) {
        let mut at = script.wait_us;
        let script = &script.with_head();
        for piece in script.pieces(&mut self.random, self.weather.cuts) {
            at += piece.delay_us;
            let (low, _) = self.weather.latency_us;
            let at = self.after_earlier(conn, at + low);
            self.plan(at, Event::Deliver(conn, Delivery::Bytes(piece)));
        }
        if let End::Closed(cause) = &script.end {
            let (low, _) = self.weather.latency_us;
            let delivery = Delivery::Closed(cause.clone(), script.marks_at_close());
            self.plan(at + low + 1, Event::Deliver(conn, delivery));
        }
    }

    pub(super) fn plan_idle_close(&mut self, conn: ConnId) {
        if let Some((low, high)) = self.weather.idle_us
            && let Some(entry) = self.conns.get(&conn)
        {
            let epoch = entry.epoch;
            let us = self.random.between(low, high);
            self.plan(us, Event::IdleClose(conn, epoch));
        }
    }

    /// The server closes; the engine hears it a moment later and may have sent something by then.
    pub(super) fn idle_close(&mut self, conn: ConnId, epoch: u64) {
        let busy = self.judge.is_busy(conn);
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        if entry.epoch != epoch || busy {
            return;
        }
        entry.stale = true;
        let us = self.random.below(20_000);
        let causes = [CloseCause::Eof, CloseCause::Io(ErrorKind::ConnectionReset)];
        let cause = self.random.pick(&causes).clone();
        self.plan(
            us,
            Event::Deliver(conn, Delivery::Closed(cause, Vec::new())),
        );
    }

    pub(super) fn deliver(&mut self, conn: ConnId, delivery: Delivery) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        if entry.paused || !entry.held.is_empty() {
            return entry.held.push_back(delivery);
        }
        match delivery {
            Delivery::Bytes(piece) => {
                if entry.stale || piece.bytes.is_empty() {
                    return;
                }
                let upgraded = |mark: &Mark| matches!(mark, Mark::Upgraded);
                entry.upgraded |= piece.marks.iter().any(upgraded);
                self.note("received", |out| {
                    let _ = write!(
                        out,
                        "{conn:?} {:?}",
                        String::from_utf8_lossy(&piece.bytes[..piece.bytes.len().min(300)])
                    );
                });
                let done = piece.marks.iter().any(|mark| matches!(mark, Mark::Done(_)));
                for mark in piece.marks {
                    self.judge.mark(conn, mark);
                }
                self.judge.received(conn, piece.bytes.len());
                self.give(Input::Received(conn, &piece.bytes));
                if done {
                    self.plan_idle_close(conn);
                }
            }
            Delivery::Closed(cause, marks) => {
                let sent = entry.sent;
                self.remove(conn);
                self.note("closed", |out| {
                    let _ = write!(out, "{conn:?} {cause:?} sent {sent}");
                });
                for mark in marks {
                    self.judge.mark(conn, mark);
                }
                self.judge.closed(conn, !sent);
                let phase = Phase::Open;
                self.give(Input::Closed(conn, Close { cause, phase, sent }));
            }
        }
    }

    pub(super) fn pause(&mut self, conn: ConnId, pause: bool) {
        self.note(if pause { "  pause" } else { "  resume" }, |out| {
            let _ = write!(out, "{conn:?}");
        });
        let Some(entry) = self.conns.get_mut(&conn) else {
            self.fail("Pause or Resume of an unknown connection");
        };
        if entry.paused == pause {
            self.fail("Pause and Resume do not alternate");
        }
        entry.paused = pause;
        self.pauses += u32::from(pause);
        if !pause {
            self.plan(0, Event::Flush(conn));
        }
    }

    /// A connection is read again.
    pub(super) fn flush(&mut self, conn: ConnId) {
        loop {
            let Some(entry) = self.conns.get_mut(&conn) else {
                return;
            };
            if entry.paused {
                return;
            }
            let mut held = std::mem::take(&mut entry.held);
            let Some(first) = held.pop_front() else {
                return;
            };
            self.deliver(conn, first);
            if let Some(entry) = self.conns.get_mut(&conn) {
                held.append(&mut entry.held);
                entry.held = held;
            }
        }
    }

    /// What went in and did not come out waits in the engine, or where the engine counts it: never
    /// more than the budget, one message beyond it, and what one input may bring (I5).
    pub(super) fn check_held(&mut self) {
        let limits = &self.limits;
        let one = limits.line_max_bytes.max(limits.message_max_bytes);
        let small = limits.small_reply_bytes
            * (limits.connections_max + limits.connections_reserve + limits.streams_max);
        let most = limits.held_max_bytes + one + small + self.stdin_chunk;
        let sockets: usize = self.socket_out.values().sum();
        let held = self.judge.held() + sockets;
        if held > most {
            self.fail(&format!("{held} bytes wait, {most} may (I5)"));
        }
        // A line of one byte is answered with an error that explains it.
        let input = self.stdin_chunk.max(limits.line_max_bytes);
        let (queued, most) = (self.stdout_queued, most + ANSWER_BYTES * input);
        if queued > most {
            self.fail(&format!("{queued} bytes wait for stdout, {most} may (I5)"));
        }
    }

    pub(super) fn check_connections(&mut self) {
        let limits = &self.limits;
        let counted = self.conns.len().saturating_sub(self.judge.streams());
        // A stream that waits may have one dialled for it.
        let most = limits.connections_max + limits.connections_reserve + 8;
        if counted > most {
            self.fail("more connections than the limit allows");
        }
        if self.judge.sockets() > limits.approval_sockets_max {
            self.fail("more sockets than the limit allows");
        }
    }
}

/// The ways in which a dial fails.
fn failures() -> Vec<(CloseCause, Phase)> {
    use aerostack_gateway::api::proto::TlsFailure;
    vec![
        (CloseCause::Io(ErrorKind::ConnectionRefused), Phase::Connect),
        (CloseCause::Io(ErrorKind::ConnectionRefused), Phase::Connect),
        (CloseCause::Io(ErrorKind::HostUnreachable), Phase::Connect),
        (CloseCause::TimedOut, Phase::Connect),
        (
            CloseCause::NotFound("no such host".to_owned()),
            Phase::Resolve,
        ),
        (CloseCause::Eof, Phase::Tls),
        (CloseCause::Tls(TlsFailure::UnknownIssuer), Phase::Tls),
        (CloseCause::ProxyStatus(502), Phase::Proxy),
        (CloseCause::ProxyProtocol, Phase::Proxy),
        (CloseCause::NotLoopback, Phase::Connect),
    ]
}
