//! The judge's eye on the workspace's side.

use super::*;

impl Judge {
    /// The engine transmits a request.
    pub(crate) fn transmit(
        &mut self,
        conn: ConnId,
        request: &HttpRequest,
        now_us: u64,
        ledger: &Ledger,
    ) -> Verdict {
        if let Some(flight) = self.flights.get(&conn) {
            return Err(format!("{conn:?} is busy with {flight:?}"));
        }
        self.check_token(request)?;
        check_http(request)?;
        let asked = self.find(request);
        let what = self.what(request, asked);
        self.consent.count(request, now_us)?;
        let subject = Subject::of(&request.body);
        let approval = request.approval().map(str::to_owned);
        if let Some(approval) = &approval {
            let key = request.message.as_ref().and_then(Message::key);
            self.consent.leaves(approval, key, subject.as_ref())?;
        }
        let text = format!("{} {}", request.method, request.body);
        let session = request.header("mcp-session-id").map(str::to_owned);
        let is_replay = self.lost.remove(&(text.clone(), session.clone()))
            || self.redirected.contains_key(&text);
        let opens = matches!(what, What::Initialize(_) | What::Reopen | What::Initialized);
        if !self.local && (opens || !is_replay) {
            self.check_session(request, what, ledger)?;
            self.check_order(conn, request, what, now_us)?;
        }
        if let (Some(at), "POST") = (asked, request.method.as_str()) {
            let asked = &mut self.asked[at];
            asked.transmitted = true;
            asked.possible += 1;
            // What a person approved counts, whatever the method; see `Consent`.
            let repeats = asked.safe || approval.is_some() && self.consent.at_most_once;
            if asked.possible > 1 && !repeats {
                return Err(format!(
                    "{} {} may be executed twice (I7)",
                    asked.method, asked.id
                ));
            }
            if asked.state == State::Cancelled {
                return Err(format!("{} is sent after it was cancelled", asked.id));
            }
        }
        self.leaves(request);
        let flight = Flight {
            subject,
            began_us: self.redirected.remove(&text).unwrap_or(now_us),
            within_us: self.within_us(request, what, asked),
            text,
            session,
            asked,
            approval,
            what,
            sent: false,
            early: self.handshake == Handshake::Confirming || self.unconfirmed,
        };
        self.flights.insert(conn, flight);
        Ok(())
    }

    /// The host's request that this one carries.
    pub(super) fn find(&self, request: &HttpRequest) -> Option<usize> {
        let message = request.message.as_ref()?;
        if message.kind != Kind::Request {
            return None;
        }
        if message.is_gateways() {
            // Sent again: under an approval, or because nobody knows what became of it.
            message.nonce().filter(|_| message.method != "initialize")?;
            let same = |asked: &Asked| asked.nonce == message.nonce();
            return self.asked.iter().rposition(same);
        }
        self.asked
            .iter()
            .rposition(|asked| asked.id == message.id && asked.nonce == message.nonce())
    }

    pub(super) fn what(&self, request: &HttpRequest, asked: Option<usize>) -> What {
        let Some(message) = &request.message else {
            return match request.method.as_str() {
                "GET" if request.is_upgrade() => What::Socket,
                "GET" if request.header("accept") == Some(STATUS_ACCEPT) => What::Other,
                "GET" => What::Stream,
                _ => What::Other,
            };
        };
        match message.method.as_str() {
            // Overtaken by one of the host's: it opens nothing.
            "initialize"
                if self.void.contains(&message.id)
                    || (message.is_gateways()
                        && matches!(self.handshake, Handshake::Opening(_))) =>
            {
                What::Initialize(0)
            }
            "initialize" if message.is_gateways() => What::Reopen,
            "initialize" if !message.is_modern() => {
                What::Initialize(asked.map_or(0, |at| self.asked[at].initialize))
            }
            "notifications/initialized" => What::Initialized,
            "subscriptions/listen" => What::Stream,
            _ => What::Other,
        }
    }

    pub(super) fn check_session(
        &mut self,
        request: &HttpRequest,
        what: What,
        ledger: &Ledger,
    ) -> Verdict {
        let id = request.header("mcp-session-id").map(str::to_owned);
        let version = request.header("mcp-protocol-version").map(str::to_owned);
        let modern = request.message.as_ref().is_some_and(|m| m.is_modern());
        let status = request.method == "GET" && what == What::Other;
        if modern || status || matches!(what, What::Initialize(_) | What::Reopen | What::Socket) {
            return match id {
                None => Ok(()),
                Some(id) => Err(format!("session {id} where none belongs")),
            };
        }
        if let Some(id) = id.as_ref().filter(|id| !self.issued.contains(*id)) {
            return Err(format!("session {id} was never given"));
        }
        if request.method == "DELETE" {
            return id
                .map(|_| ())
                .ok_or_else(|| "DELETE of no session".to_owned());
        }
        match (&self.session, &id) {
            (Some((Some(known), v)), Some(id)) if known == id && version.as_ref() == Some(v) => {
                Ok(())
            }
            (Some((None, v)), None) if version.as_ref() == Some(v) => Ok(()),
            (None, None) => Ok(()),
            // Lost: what needs no session may go without.
            (Some((Some(known), _)), None) if ledger.dead_sessions.contains(known) => Ok(()),
            (known, id) => Err(format!(
                "session {id:?} version {version:?}, but {known:?} is known"
            )),
        }
    }

    /// Nothing legacy before the handshake is over; no cancel before its request.
    pub(super) fn check_order(
        &mut self,
        conn: ConnId,
        request: &HttpRequest,
        what: What,
        now_us: u64,
    ) -> Verdict {
        let Some(message) = &request.message else {
            return Ok(());
        };
        if what == What::Initialize(0) {
            self.void.insert(message.id.clone());
        }
        if message.is_modern() || matches!(what, What::Initialize(_)) {
            return Ok(());
        }
        if what == What::Reopen {
            self.reopens.insert(message.id.clone());
            (self.reopening, self.session) = (Some(conn), None);
            return Ok(());
        }
        let closed = match self.handshake {
            Handshake::Opening(_) => true,
            // Lists only read, and are asked for again should the server find them too early.
            Handshake::Confirming => {
                what != What::Initialized && !message.method.ends_with("/list")
            }
            Handshake::Free | Handshake::Opened => self.reopening.is_some(),
        };
        if closed {
            return Err(format!(
                "a legacy message before the handshake is over ({:?}, reopening {:?})",
                self.handshake, self.reopening
            ));
        }
        if message.method != "notifications/cancelled" {
            return Ok(());
        }
        let id = message::request_id(&request.body).unwrap_or_default();
        // A host may use the id of a request that it took back for another.
        let same = self.asked.iter().rev().filter(|asked| asked.id == id);
        let mut verdicts = same.map(|asked| may_cancel(asked, now_us));
        let newest = verdicts.next().unwrap_or(Ok(()));
        newest.or_else(|why| verdicts.find(Result::is_ok).unwrap_or(Err(why)))
    }

    /// The bytes were handed to the socket.
    pub(crate) fn sent(&mut self, conn: ConnId, now_us: u64) {
        if let Some(flight) = self.flights.get_mut(&conn) {
            flight.sent = true;
            if let Some(at) = flight.asked {
                self.asked[at].sent_us.get_or_insert(now_us);
            }
        }
    }

    /// The engine is about to be handed what this means.
    pub(crate) fn mark(&mut self, conn: ConnId, mark: Mark) {
        match &mark {
            Mark::Refused => {
                if let Some(flight) = self.flights.get(&conn) {
                    if let Some(at) = flight.asked {
                        self.asked[at].possible -= 1;
                    }
                    if let Some(approval) = &flight.approval {
                        self.consent.refused(approval);
                    }
                }
            }
            Mark::Gated(approval) => {
                let flight = self.flights.get(&conn);
                if let Some(subject) = flight.and_then(|flight| flight.subject.as_ref()) {
                    self.consent.gated(approval, subject);
                }
            }
            Mark::Edited {
                approval,
                arguments,
            } => self.consent.edited(approval, arguments),
            Mark::Decided {
                approval,
                key,
                word,
            } => self.consent.decided(approval, *key, word),
            Mark::InitializeResult { session, version } => {
                if let Some(session) = session {
                    self.issued.insert(session.clone());
                }
                self.initialize_result(conn, session.clone(), version.clone());
            }
            // A notification is accepted by the head of a success, whatever its body does.
            Mark::Head(200..=299) => {
                let confirms = |flight: &Flight| flight.what == What::Initialized;
                if self.handshake == Handshake::Confirming
                    && self.flights.get(&conn).is_some_and(confirms)
                {
                    self.handshake = Handshake::Free;
                    self.was_open = true;
                }
            }
            Mark::Head(_) => {}
            Mark::Done(status) => self.outcome(conn, Some(*status)),
            Mark::Answer(_) if self.flights.get(&conn).is_some_and(|flight| flight.early) => return,
            Mark::Upgraded => {
                if let Some(flight) = self.flights.get_mut(&conn) {
                    flight.within_us = None;
                }
            }
            Mark::Message(_) | Mark::Answer(_) => {}
        }
        self.marks.push(mark);
    }

    pub(super) fn initialize_result(
        &mut self,
        conn: ConnId,
        session: Option<String>,
        version: String,
    ) {
        let what = self.flights.get(&conn).map(|flight| flight.what);
        match (what, self.handshake) {
            (Some(What::Initialize(n)), Handshake::Opening(latest)) if n == latest => {
                self.session = Some((session, version));
                self.handshake = match self.early_initialized {
                    true => Handshake::Confirming,
                    false => Handshake::Opened,
                };
            }
            (Some(What::Reopen), _) if self.reopening == Some(conn) => {
                self.session = Some((session, version));
                self.reopening = None;
                self.handshake = Handshake::Confirming;
            }
            _ => {}
        }
    }

    /// The exchange on this connection is over: with a status, or the connection is gone.
    pub(super) fn outcome(&mut self, conn: ConnId, status: Option<u16>) {
        self.coming.remove(&conn);
        let Some(flight) = self.flights.remove(&conn) else {
            return;
        };
        if let (Some(at), Some(_)) = (flight.asked, status) {
            self.asked[at].heard = true;
        }
        if matches!(status, Some(307 | 308)) {
            self.redirected.insert(flight.text, flight.began_us);
        }
        if flight.what == What::Initialized {
            // Lost or put off, it is said again.
            self.unconfirmed = status.is_none_or(|status| status >= 300);
        }
        match flight.what {
            What::Initialized if self.handshake == Handshake::Confirming => {
                self.handshake = Handshake::Free;
                self.was_open = true;
            }
            What::Reopen if self.reopening == Some(conn) => self.reopening = None,
            _ => {}
        }
    }

    /// The connection ended under the engine; `unsent` proves that nothing of the request left.
    pub(crate) fn closed(&mut self, conn: ConnId, unsent: bool) {
        if let Some(flight) = self.flights.get(&conn) {
            let lost = (flight.text.clone(), flight.session.clone());
            self.lost.insert(lost);
            if let Some(at) = flight.asked.filter(|_| unsent) {
                self.asked[at].possible -= 1;
            }
            if let Some(approval) = flight.approval.as_ref().filter(|_| unsent) {
                self.consent.refused(approval);
            }
        }
        self.outcome(conn, None);
    }

    pub(crate) fn is_busy(&self, conn: ConnId) -> bool {
        self.flights.contains_key(&conn)
    }

    /// Connections with a long-lived exchange.
    pub(crate) fn streams(&self) -> usize {
        let flights = self.flights.values();
        flights
            .filter(|flight| matches!(flight.what, What::Stream | What::Socket))
            .count()
    }

    /// WebSockets, open or asked for.
    pub(crate) fn sockets(&self) -> usize {
        let flights = self.flights.values();
        flights.filter(|flight| flight.what == What::Socket).count()
    }

    /// All outputs of one input have come: what had to be among them?
    pub(crate) fn end_of_turn(&mut self, now_us: u64) -> Verdict {
        self.check_deadlines(now_us)?;
        for conn in std::mem::take(&mut self.must_close) {
            if self.flights.contains_key(&conn) {
                return Err(format!("{conn:?} of a cancelled modern request stays open"));
            }
        }
        let lines = std::mem::take(&mut self.lines);
        for mark in std::mem::take(&mut self.marks) {
            match mark {
                Mark::Message(key) => {
                    let count = lines.iter().filter(|line| line.contains(&key)).count();
                    if count != 1 {
                        return Err(format!("{key} came {count} times"));
                    }
                }
                Mark::Answer(nonce) => {
                    let open = |asked: &&Asked| {
                        asked.nonce == Some(nonce)
                            && asked.state == State::Open
                            && asked.batch.is_none()
                    };
                    if let Some(asked) = self.asked.iter().find(open) {
                        return Err(format!("the answer to {} was not handed on", asked.id));
                    }
                }
                Mark::Refused
                | Mark::Gated(_)
                | Mark::Edited { .. }
                | Mark::InitializeResult { .. }
                | Mark::Head(_)
                | Mark::Done(_)
                | Mark::Upgraded
                | Mark::Decided { .. } => {}
            }
        }
        Ok(())
    }

    /// `initialized` can not be delivered: the session is used without it.
    pub(crate) fn confirmation_given_up(&mut self) {
        if self.handshake == Handshake::Confirming {
            self.handshake = Handshake::Free;
        }
    }

    /// The host's last handshake came to its end.
    pub(crate) fn has_session(&self) -> bool {
        self.was_open && self.handshake == Handshake::Free
    }

    /// Ids of requests without an answer that stand alone on their line.
    pub(crate) fn unanswered_alone(&self) -> Vec<String> {
        let open = self.open.values().map(|at| &self.asked[*at]);
        let alone = open.filter(|asked| asked.batch.is_none());
        alone.map(|asked| asked.id.clone()).collect()
    }

    /// The same without subscriptions, which may stay open, and what shares a batch with one.
    pub(crate) fn unanswered_in_time(&self) -> Vec<(String, String, Option<u64>)> {
        let open: Vec<&Asked> = self.open.values().map(|at| &self.asked[*at]).collect();
        let listens = |asked: &&&Asked| asked.method == "subscriptions/listen";
        let held: Vec<usize> = open
            .iter()
            .filter(listens)
            .filter_map(|a| a.batch)
            .collect();
        let due = open.iter().filter(|asked| {
            let held = asked.batch.is_some_and(|batch| held.contains(&batch));
            !held && asked.method != "subscriptions/listen"
        });
        due.map(|asked| (asked.id.clone(), asked.method.clone(), asked.nonce))
            .collect()
    }

    /// Requests without an answer, as `(id, method, nonce)`.
    pub(crate) fn unanswered(&self) -> Vec<(String, String, Option<u64>)> {
        let open = self.open.values().map(|at| &self.asked[*at]);
        open.map(|asked| (asked.id.clone(), asked.method.clone(), asked.nonce))
            .collect()
    }

    /// After the end.
    pub(crate) fn end(&self, ledger: &Ledger) -> Verdict {
        if !self.open.is_empty() {
            return Err(format!("never answered: {:?}", self.unanswered()));
        }
        if self.invalid_expected != 0 || self.oversize_expected != 0 {
            return Err(format!(
                "{} errors for invalid and {} for oversize lines are missing",
                self.invalid_expected, self.oversize_expected
            ));
        }
        if self.duplicates.values().any(|count| *count > 0) {
            return Err(format!("duplicates without error: {:?}", self.duplicates));
        }
        for asked in &self.asked {
            let count = asked.nonce.map_or(0, |nonce| ledger.executions(nonce));
            if count > 1 && !asked.safe {
                return Err(format!("{} ran {count} times (I7)", asked.id));
            }
            if count > 0 && asked.denied {
                return Err(format!(
                    "{} {} ran, but the host was told that it did not",
                    asked.method, asked.id
                ));
            }
        }
        Ok(())
    }
}

/// What every request to the workspace looks like.
fn check_http(request: &HttpRequest) -> Verdict {
    let elsewhere =
        |(name, value): &(String, String)| name != "authorization" && value.contains(TOKEN);
    if request.headers.iter().any(elsewhere)
        || request.target.contains(TOKEN)
        || request.body.contains(TOKEN)
    {
        return Err("the token is where it does not belong".to_owned());
    }
    if request.header("host") != Some("w.example") || !request.target.starts_with(PATH) {
        return Err(format!(
            "host {:?} target {}",
            request.header("host"),
            request.target
        ));
    }
    let accept = request.header("accept");
    match (request.method.as_str(), &request.message) {
        ("POST", Some(message)) => {
            if accept != Some("application/json, text/event-stream")
                || request.header("content-type") != Some("application/json")
            {
                return Err("a POST without the right Accept and Content-Type".to_owned());
            }
            check_era(request, message)
        }
        ("GET", None) if request.is_upgrade() => {
            let right = request.header("upgrade") == Some("websocket")
                && request.header("connection") == Some("Upgrade")
                && request.header("sec-websocket-version") == Some("13")
                && request.header("sec-websocket-key").map(str::len) == Some(24);
            match right {
                true => Ok(()),
                false => Err(format!("wrong upgrade: {:?}", request.headers)),
            }
        }
        ("GET", None) if accept == Some(STATUS_ACCEPT) => Ok(()),
        ("GET", None) if accept == Some("text/event-stream") => Ok(()),
        ("DELETE", None) => Ok(()),
        (method, message) => Err(format!("{method} with {message:?}")),
    }
}

fn check_era(request: &HttpRequest, message: &Message) -> Verdict {
    if !message.is_modern() {
        return match request.has("mcp-method") || request.has("mcp-name") {
            true => Err("modern headers on a legacy message".to_owned()),
            false => Ok(()),
        };
    }
    let version = message.version().unwrap_or("2026-07-28");
    let name = match message.method.as_str() {
        "tools/call" | "prompts/get" => message.params["name"].as_str(),
        "resources/read" => message.params["uri"].as_str(),
        _ => None,
    };
    let right = request.header("mcp-protocol-version") == Some(version)
        && request.header("mcp-method") == Some(message.method.as_str())
        && request.header("mcp-name") == name
        && message.kind != Kind::Response
        && request.method == "POST"
        && !request.has("last-event-id");
    match right {
        true => Ok(()),
        false => Err(format!("wrong modern headers: {:?}", request.headers)),
    }
}

/// A cancel follows its request, and by a moment in which the answer may come.
fn may_cancel(asked: &Asked, now_us: u64) -> Verdict {
    let id = &asked.id;
    match (asked.state, asked.sent_us) {
        (State::Answered | State::Open, _) => Ok(()),
        // Its answer may lie in the batch already.
        (State::Cancelled, _) if asked.batch.is_some() || asked.cancelled_late || asked.heard => {
            Ok(())
        }
        (State::Cancelled, _) if asked.modern => Err(format!("a modern cancel of {id} was POSTed")),
        (State::Cancelled, Some(sent)) if sent + CANCEL_GRACE_US <= now_us => Ok(()),
        (State::Cancelled, sent) => {
            Err(format!("the cancel of {id} overtakes it (sent: {sent:?})"))
        }
    }
}

#[path = "burden.rs"]
mod burden;
