//! The legacy session: opened by the host's handshake, opened again when the workspace forgot it, and
//! its event stream.

use super::call::{Asker, Call, Waiting};
use super::ids::{CallId, Era, TaskId};
use super::session::{Left, Parked, Phase};
use super::task::{Lane, Notice, NoticeKind, Purpose, Sink, Task};
use super::{Bridge, Timer};
use crate::failure::{Executed, Failure};
use crate::log::Level;
use crate::proto::aerostack::Offer;
use crate::proto::jsonrpc::{self, Params, Parsed};

const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

impl Bridge {
    /// The host's `initialize`: a second one in a process starts a new session.
    pub(super) fn host_initialize(&mut self, id: CallId, params: &Params<'_>) {
        let message = self.calls.get(id).map(|call| call.message.clone());
        self.end_session(Phase::Opening);
        if let Some(offline) = self.offline.take() {
            self.forget_offline(offline);
        }
        self.session.opening = Some(id);
        self.session.initialize = message;
        self.session.initialized = None;
        self.meet_client(params.client_info.map(|raw| raw.get()));
        if self.config.builtins_always() {
            self.after(self.config.limits.initialize_patience, Timer::Patience(id));
        }
        self.launch(id);
    }

    /// Leaves a session: its stream is closed, the workspace may forget it.
    fn end_session(&mut self, next: Phase) {
        let stream = std::mem::take(&mut self.session.stream);
        self.disarm(stream.reopen);
        if let Some(task) = stream.task {
            self.abort(task);
        }
        self.park_unsent();
        if let Some(old) = self.session.begin(next) {
            self.start(Task::new(Purpose::Delete(old), Lane::Urgent));
        }
        self.drop_confirmation();
    }

    /// A confirmation that is on its way speaks of the session that ends: it must not open the next.
    fn drop_confirmation(&mut self) {
        self.gate.drop_confirmation();
        for id in self.tasks.ids() {
            let purpose = self.tasks.get(id).map(|task| &task.purpose);
            let kind = NoticeKind::Initialized;
            if matches!(purpose, Some(Purpose::Notice(notice)) if notice.kind == kind) {
                self.abort(id);
            }
        }
    }

    /// What still waits for a connection waits for the next session: it would leave without any.
    pub(super) fn park_unsent(&mut self) {
        for id in self.tasks.ids() {
            let unsent = self.tasks.get(id).filter(|task| task.conn.is_none());
            let parked = match unsent.map(|task| &task.purpose) {
                Some(Purpose::Request(call)) => Parked::Call(*call),
                Some(Purpose::Notice(Notice {
                    kind: NoticeKind::Other,
                    era: Era::Legacy,
                    message,
                    ..
                })) => Parked::Notice(message.clone()),
                _ => continue,
            };
            if let Parked::Call(call) = parked {
                let in_session =
                    |call: &&mut Call| call.era == Era::Legacy && &*call.method != "initialize";
                match self.calls.get_mut(call).filter(in_session) {
                    Some(call) => call.waiting = Waiting::Session,
                    None => continue,
                }
            }
            self.abort(id);
            self.session.parked.push_back(parked);
        }
    }

    pub(super) fn initialize_answered(&mut self, task: TaskId, answer: &[u8], error: Option<i64>) {
        if error.is_some() {
            return self.opening_failed();
        }
        self.session.told_version = None;
        self.establish(task, answer);
        self.session.phase = Phase::Opened;
        match self.session.initialized.clone() {
            // A host that does not wait for the answer has sent it already.
            Some(initialized) => self.confirm(Phase::Confirming, initialized),
            None => self.unpark(),
        }
    }

    /// Takes over what a new session is known by: the version is the answer's, not what was proposed
    ///, the id comes from this response only.
    fn establish(&mut self, task: TaskId, answer: &[u8]) {
        let head = self.tasks.get(task).and_then(|task| task.head.as_ref());
        let id = head.and_then(|head| head.session_id.clone());
        let mut version = None;
        if let Ok(Parsed::One(message)) = jsonrpc::parse(answer)
            && let Some(result) = message.result
        {
            version = protocol_version(result);
            self.workspace = Offer::of_result(result, &self.secrets);
            self.workspace_asked = true;
        }
        let named = if id.is_some() {
            "with a session"
        } else {
            "without a session id"
        };
        let words = version
            .clone()
            .unwrap_or_else(|| "an unnamed version".into());
        self.log(Level::Info, || {
            format!("connected ({named}, protocol {words})")
        });
        if let (Some(told), Some(came)) = (&self.session.told_version, &version)
            && told != came
        {
            let words = format!("the host was told protocol {told}, the workspace speaks {came}");
            self.log(Level::Warn, || words);
        }
        if let Some(id) = &id {
            self.secrets.learn(id);
        }
        self.session.established(id, version);
    }

    /// `initialize` failed: what waited for it goes without a session, and the peer says what it
    /// thinks of that.
    pub(super) fn opening_failed(&mut self) {
        self.session.phase = Phase::None;
        self.session.initialize = None;
        self.unpark();
    }

    /// The host's `notifications/initialized`.
    pub(super) fn host_initialized(&mut self, text: &str) {
        let message = text.as_bytes().to_vec();
        match self.session.phase {
            Phase::Opening => self.session.initialized = Some(message),
            Phase::Opened => {
                self.session.initialized = Some(message.clone());
                self.confirm(Phase::Confirming, message);
            }
            // The host says it to a session that was lost meanwhile: we say it to the new one.
            Phase::Reopening | Phase::Lost => self.session.initialized = Some(message),
            Phase::None | Phase::Confirming | Phase::Ready => self.notify(message, Era::Legacy),
        }
    }

    fn confirm(&mut self, phase: Phase, initialized: Vec<u8>) {
        self.session.phase = phase;
        self.park_unsent();
        let kind = NoticeKind::Initialized;
        self.post(kind, Era::Legacy, initialized);
    }

    /// `initialized` was accepted.
    pub(super) fn session_ready(&mut self) {
        let again = self.session.phase == Phase::Reopening;
        self.session.phase = Phase::Ready;
        self.open_stream();
        if again {
            self.restore_settings();
            self.come_online();
        }
        self.begin_presence();
        self.begin_chat();
        self.unpark();
    }

    /// What waited for the session leaves, in order.
    fn unpark(&mut self) {
        for parked in std::mem::take(&mut self.session.parked) {
            match parked {
                // Cancelled requests are gone, others have been parked anew.
                Parked::Call(id) => {
                    if self
                        .calls
                        .get(id)
                        .is_some_and(|call| matches!(call.waiting, Waiting::Session))
                    {
                        self.launch(id);
                    }
                }
                Parked::Notice(message) => self.notify(message, Era::Legacy),
            }
        }
    }

    /// A request was refused because the workspace forgot the session: refused means not executed, so
    /// it is sent once more in a new one.
    pub(super) fn resend_in_new_session(&mut self, id: CallId, session: u32) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.resent = true;
        call.waiting = Waiting::Session;
        self.session.parked.push_back(Parked::Call(id));
        self.lose_session(session);
        if !self.session.is_closed() {
            // Another request has had it opened again already.
            self.unpark();
        }
    }

    /// Opens the session again, once for all who noticed its loss.
    pub(super) fn lose_session(&mut self, generation: u32) {
        let current = generation == self.session.generation;
        if current && matches!(self.session.phase, Phase::Ready | Phase::Opened) {
            self.log(Level::Info, || {
                "the workspace forgot the session: a new one is opened".to_owned()
            });
            self.reopen();
        }
    }

    /// Our own `initialize`, as the host's was but for its id.
    pub(super) fn reopen(&mut self) {
        // The workspace does not know the id any more: nothing to DELETE.
        self.session.id = None;
        self.end_session(Phase::Reopening);
        let id = self.own_id();
        let message = match self.session.initialize.as_deref().map(jsonrpc::parse) {
            Some(Ok(Parsed::One(message))) => jsonrpc::with_id(&message, &id),
            _ => return self.reopen_failed("no initialize of the host is known".to_owned()),
        };
        let call = Call::new(Asker::Reopening, id, "initialize", Era::Legacy, message);
        if let Some(id) = self.calls.insert(call) {
            self.session.opening = Some(id);
            self.launch(id);
        }
    }

    /// The answer to an `initialize` that a later one overtook: its session is given back.
    pub(super) fn overtaken(&mut self, task: TaskId, answer: &[u8]) {
        let head = self.tasks.get(task).and_then(|task| task.head.as_ref());
        let Some(id) = head.and_then(|head| head.session_id.clone()) else {
            return;
        };
        let version = match jsonrpc::parse(answer) {
            Ok(Parsed::One(message)) => message.result.and_then(protocol_version),
            _ => None,
        };
        let stray = Purpose::Delete(Left { id, version });
        self.start(Task::new(stray, Lane::Urgent));
    }

    pub(super) fn reopened(&mut self, task: TaskId, id: CallId, answer: &[u8], error: Option<i64>) {
        if error.is_some() {
            self.complete(id, Vec::new());
            let (words, _) = self.quoted(answer);
            return self.reopen_failed(words);
        }
        self.establish(task, answer);
        self.complete(id, Vec::new());
        let initialized = self.session.initialized.clone();
        self.confirm(
            Phase::Reopening,
            initialized.unwrap_or_else(|| INITIALIZED.to_vec()),
        );
    }

    /// Those who wait hear it; the next request tries again.
    pub(super) fn reopen_failed(&mut self, words: String) {
        self.session.phase = Phase::Lost;
        self.knocked_in_vain(&words);
        for parked in std::mem::take(&mut self.session.parked) {
            if let Parked::Call(id) = parked {
                self.conclude(id, Failure::SessionLost(words.clone()));
            }
        }
    }

    // The session's event stream.

    pub(super) fn open_stream(&mut self) {
        self.session.stream.reopen = None;
        if self.config.hook {
            return;
        }
        if self.session.phase == Phase::Ready && !self.ending.is_begun() {
            let task = self.start(Task::new(Purpose::EventStream, Lane::Stream));
            self.session.stream.task = Some(task);
        }
    }

    pub(super) fn stream_opened(&mut self) {
        self.session.stream.was_open = true;
        self.log(Level::Debug, || "the event stream is open".to_owned());
    }

    /// "405: none offered; not an error"; after it was open, 404 means that the session is lost, but
    /// "on the first GET after initialize a 404 means that none is offered".
    pub(super) fn stream_refused(&mut self, status: u16, session: u32) {
        self.session.stream.task = None;
        let was_open = self.session.stream.was_open;
        match status {
            404 if was_open => self.lose_session(session),
            429 | 500.. => self.stream_ended(false),
            _ => self.log(Level::Debug, || {
                format!("no event stream is offered (HTTP {status})")
            }),
        }
    }

    /// The stream ended or its connection did: it is opened again after the server's `retry`.
    pub(super) fn stream_ended(&mut self, delivered: bool) {
        let limits = &self.config.limits;
        let stream = &mut self.session.stream;
        stream.task = None;
        stream.failures = if delivered {
            0
        } else {
            stream.failures.saturating_add(1)
        };
        let hopeless = !stream.was_open && stream.failures > limits.retries_max;
        if self.session.phase != Phase::Ready || self.ending.is_begun() || hopeless {
            return;
        }
        let delay = match stream.retry_ms {
            // "The client MUST respect the retry field."
            Some(retry_ms) => limits.reconnect_pause(retry_ms),
            None => {
                let doubled = limits.stream_retry * (1 << stream.failures.min(5));
                self.random.around(doubled.min(limits.stream_retry_max), 10)
            }
        };
        let timer = self.after(delay, Timer::Stream);
        self.session.stream.reopen = Some(timer);
    }

    // A request's own stream.

    /// Remembers how far a stream has come, for its resumption.
    pub(super) fn note_position(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let Sink::Events(events) = &task.sink else {
            return;
        };
        let (last, retry_ms) = match task.call() {
            Some(call) => match self.calls.get_mut(call) {
                Some(call) => (&mut call.last_event_id, &mut call.retry_ms),
                None => return,
            },
            None => (
                &mut self.session.stream.last_event_id,
                &mut self.session.stream.retry_ms,
            ),
        };
        // A resumed stream that has said nothing yet knows no position.
        if let Some(id) = events
            .last_event_id()
            .filter(|id| last.as_deref() != Some(*id))
        {
            *last = (!id.is_empty()).then(|| id.into());
        }
        *retry_ms = events.retry_ms().or(*retry_ms);
    }

    /// The stream ended without the answer. "On disconnection the client SHOULD resume"; in the modern
    /// era there is no resumption: "the request is lost".
    pub(super) fn stream_broke(&mut self, id: CallId, failure: Failure, delivered: bool) {
        let resumes_max = self.config.limits.resumes_max;
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if &*call.method == "subscriptions/listen" {
            return self.conclude(id, Failure::SubscriptionEnded);
        }
        // Its answer had begun: whatever becomes of the resumption, it may have run.
        call.ran = Executed::Unknown;
        call.resumes = if delivered { 1 } else { call.resumes + 1 };
        let resumable = call.era == Era::Legacy && call.last_event_id.is_some();
        if !resumable || call.resumes > resumes_max || self.ending.is_over() {
            return self.request_failed(id, failure);
        }
        let limits = &self.config.limits;
        let asked = call.retry_ms.map(|ms| limits.reconnect_pause(ms));
        let delay = asked.unwrap_or(limits.stream_retry);
        let timer = self.after(delay, Timer::Resume(id));
        let call = self.calls.get_mut(id).expect("just looked up");
        call.waiting = Waiting::Resume(timer);
        let label = call.label();
        self.log(Level::Debug, || {
            format!(
                "the stream of {label} is resumed in {} ms",
                delay.as_millis()
            )
        });
    }

    pub(super) fn resume(&mut self, id: CallId) {
        if self.calls.get(id).is_none() {
            return;
        }
        let task = self.start(Task::new(Purpose::Resume(id), Lane::Stream));
        if let Some(call) = self.calls.get_mut(id) {
            call.waiting = Waiting::Exchange(task);
        }
    }

    pub(super) fn resume_refused(&mut self, id: CallId, status: u16) {
        self.conclude(id, Failure::NoAnswer { status });
    }

    pub(super) fn resume_failed(&mut self, id: CallId, failure: Failure) {
        self.stream_broke(id, failure, false);
    }
}

/// `protocolVersion` of an InitializeResult, if it can stand in a header.
fn protocol_version(result: &str) -> Option<Box<str>> {
    let version = jsonrpc::string(jsonrpc::member(result, "protocolVersion")?)?;
    let visible = version.bytes().all(|byte| byte.is_ascii_graphic());
    visible.then(|| version.as_ref().into())
}
