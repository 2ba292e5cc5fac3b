//! A start that never fails: while the workspace can not be reached, the gateway answers the host
//! itself and keeps knocking.
//!
//! A wrong token or URL is not hidden: 401, 403 and 404 reach the host as they are.

use super::builtin::{is_first_page, only_builtins};
use super::call::{Asker, Waiting};
use super::ids::{CallId, Era};
use super::session::Phase;
use super::timer::TimerId;
use super::{Bridge, Timer};
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::jsonrpc::{self, Params, Parsed, quote};
use std::time::Duration;

/// Legacy versions we know; the last is the newest.
const VERSIONS: [&str; 5] = [
    "2024-10-07",
    "2024-11-05",
    "2025-03-26",
    "2025-06-18",
    "2025-11-25",
];

/// The workspace is not there yet.
#[derive(Debug)]
pub(super) struct Offline {
    /// Why, in words.
    reason: String,
    /// The next attempt.
    knock: Option<TimerId>,
    attempts: u8,
}

impl Bridge {
    /// The words for what a call meets meanwhile.
    pub(super) fn offline_reason(&self) -> String {
        self.offline
            .as_ref()
            .map(|offline| offline.reason.clone())
            .unwrap_or_default()
    }

    /// `initialize` has had no answer for three seconds.
    pub(super) fn patience_over(&mut self, id: CallId) {
        let opens = self.session.opening == Some(id);
        let Some(call) = self.calls.get(id).filter(|call| opens && call.is_hosts()) else {
            return;
        };
        let seconds = self.config.limits.initialize_patience.as_secs();
        let reason = match &call.last_failure {
            Some(failure) => failure.words(&self.config.endpoint.origin()),
            None => format!(
                "{} has not answered within {seconds} s",
                self.config.endpoint.origin()
            ),
        };
        self.start_offline(id, reason);
    }

    /// Whether this failure of the host's `initialize` is answered by the gateway itself.
    pub(super) fn hides(&self, id: CallId, failure: &Failure) -> bool {
        let Some(call) = self.calls.get(id) else {
            return false;
        };
        let opens = self.session.opening == Some(id) && call.is_hosts();
        let limited = matches!(failure, Failure::Status(refusal) if refusal.status == 429);
        opens
            && self.config.builtins_always()
            && !self.ending.is_begun()
            && (failure.is_transient() || limited || matches!(failure, Failure::TimedOut(_)))
    }

    /// Answers `initialize` without the workspace. If its exchange is still under way, "an answer that
    /// comes after the 3 s becomes the session, never a second one".
    pub(super) fn start_offline(&mut self, id: CallId, reason: String) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (host_id, message) = (call.id.clone(), call.message.clone());
        let under_way = !matches!(call.waiting, Waiting::Nothing);
        let exchange = match call.waiting {
            Waiting::Exchange(task) => Some(task),
            _ => None,
        };
        self.log(Level::Warn, || {
            format!("started without the workspace: {reason}")
        });
        let result = self.offline_initialize_result(&message, &reason);
        self.write_line(jsonrpc::result(&host_id, &result));
        self.offline = Some(Offline {
            reason,
            knock: None,
            attempts: 0,
        });
        if under_way {
            self.calls.disown(id, Asker::Reopening);
            self.session.phase = Phase::Reopening;
            // The host's request had all the time of the world; now it is ours.
            if let Some(task) = exchange {
                self.limit(task);
            }
        } else {
            self.forget_call(id);
            self.session.phase = Phase::Lost;
            self.knock_later();
        }
        for parked in std::mem::take(&mut self.session.parked) {
            if let super::session::Parked::Call(id) = parked {
                self.refuse_offline(id);
            }
        }
    }

    fn offline_initialize_result(&mut self, message: &[u8], reason: &str) -> String {
        let asked = match jsonrpc::parse(message) {
            Ok(Parsed::One(message)) => Params::peek(message.params)
                .protocol_version
                .and_then(|raw| jsonrpc::string(raw.get()).map(|text| text.into_owned())),
            _ => None,
        };
        let known = asked.filter(|asked| VERSIONS.contains(&asked.as_str()));
        let version = known.unwrap_or_else(|| VERSIONS[VERSIONS.len() - 1].to_owned());
        self.session.told_version = Some(version.as_str().into());
        let words = format!(
            "The Aerostack workspace is not reachable yet ({reason}). Its tools appear by themselves as soon as it is."
        );
        let changes = "{\"listChanged\":true}";
        let result = format!(
            "{{\"protocolVersion\":{},\"capabilities\":{{\"tools\":{changes},\"resources\":{{\"subscribe\":true,\"listChanged\":true}},\
             \"prompts\":{changes},\"logging\":{{}}}},\"serverInfo\":{{\"name\":\"aerostack-gateway\",\"version\":{}}},\"instructions\":{}}}",
            quote(&version),
            quote(env!("CARGO_PKG_VERSION")),
            quote(&words)
        );
        self.adapted(&result)
    }

    /// Meanwhile: lists are empty, pings are answered, settings are remembered, the rest waits for a
    /// better time. False: the workspace is there.
    pub(super) fn answer_offline(&mut self, id: CallId, era: Era) -> bool {
        if self.offline.is_none() || era == Era::Modern {
            return false;
        }
        let Some(call) = self.calls.get(id) else {
            return false;
        };
        let result = match call.method.as_ref() {
            "tools/list" if is_first_page(&call.message) => only_builtins(era),
            "resources/list" => "{\"resources\":[]}".to_owned(),
            "resources/templates/list" => "{\"resourceTemplates\":[]}".to_owned(),
            "prompts/list" => "{\"prompts\":[]}".to_owned(),
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                "{}".to_owned()
            }
            _ => {
                self.refuse_offline(id);
                return true;
            }
        };
        let answer = jsonrpc::result(&call.id, &result);
        self.complete(id, answer);
        true
    }

    fn refuse_offline(&mut self, id: CallId) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let words = format!(
            "{} failed: the workspace is not connected yet: {}. It was not executed; its tools appear by themselves",
            call.label(),
            self.offline_reason()
        );
        let answer = jsonrpc::error(&call.id, -32603, &words, Some("{\"executed\":\"no\"}"));
        self.complete(id, answer);
    }

    /// "Keeps trying with back-off."
    pub(super) fn knock_later(&mut self) {
        let Some(offline) = &mut self.offline else {
            return;
        };
        let pause = Duration::from_secs((1u64 << offline.attempts.min(5)).min(30));
        offline.attempts = offline.attempts.saturating_add(1);
        let old = offline.knock.take();
        self.disarm(old);
        let pause = self.random.around(pause, 5);
        let timer = self.after(pause, Timer::Knock);
        if let Some(offline) = &mut self.offline {
            offline.knock = Some(timer);
        }
    }

    pub(super) fn knock(&mut self) {
        if let Some(offline) = &mut self.offline {
            offline.knock = None;
            if self.session.phase == Phase::Lost && !self.ending.is_begun() {
                self.reopen();
            }
        }
    }

    /// The host begins anew: what was is over.
    pub(super) fn forget_offline(&mut self, offline: Offline) {
        self.disarm(offline.knock);
    }

    /// It was in vain: the reason may have changed.
    pub(super) fn knocked_in_vain(&mut self, reason: &str) {
        if self.offline.is_none() {
            return;
        }
        let changed = self
            .offline
            .as_ref()
            .is_some_and(|offline| offline.reason != reason);
        if changed {
            self.log(Level::Warn, || {
                format!("still without the workspace: {reason}")
            });
        }
        if let Some(offline) = &mut self.offline {
            reason.clone_into(&mut offline.reason);
        }
        self.knock_later();
    }

    /// The workspace is there: the host hears that its lists have changed.
    pub(super) fn come_online(&mut self) {
        let Some(offline) = self.offline.take() else {
            return;
        };
        self.disarm(offline.knock);
        self.log(Level::Info, || "the workspace is connected".to_owned());
        for list in ["tools", "resources", "prompts"] {
            let method = format!("notifications/{list}/list_changed");
            self.write_line(jsonrpc::notification(&method, None));
        }
    }

    /// What the host set before, for a new session: "remembered and sent after connecting (also after
    /// a lost session)".
    pub(super) fn restore_settings(&mut self) {
        if let Some(params) = self.session.log_level.clone() {
            self.ask(Asker::Nobody, "logging/setLevel", Era::Legacy, &params);
        }
        for uri in self.session.subscriptions.clone() {
            let params = format!("{{\"uri\":{uri}}}");
            self.ask(Asker::Nobody, "resources/subscribe", Era::Legacy, &params);
        }
    }

    /// Notes what a new session would have to be told.
    pub(super) fn remember_setting(
        &mut self,
        method: &str,
        raw_params: Option<&str>,
        params: &Params<'_>,
    ) {
        let limit = self.config.limits.subscriptions_max;
        match (method, params.uri) {
            ("logging/setLevel", _) => self.session.log_level = raw_params.map(Into::into),
            ("resources/subscribe", Some(uri)) if self.session.subscriptions.len() < limit => {
                self.session.subscriptions.insert(uri.get().into());
            }
            ("resources/unsubscribe", Some(uri)) => {
                self.session.subscriptions.remove(uri.get());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::{Input, Now, Output};
    use crate::config::{Config, Limits, Source};
    use crate::proto::transport::{ConnId, Established};
    use std::time::Instant;

    struct Settings;

    impl Source for Settings {
        fn variable(&self, name: &str) -> Option<String> {
            let value = match name {
                "AEROSTACK_WORKSPACE_URL" => "http://127.0.0.1/ws/x",
                "AEROSTACK_TOKEN" => "mwt_x",
                _ => return None,
            };
            Some(value.to_owned())
        }

        fn file(&self, _: &str) -> Result<String, String> {
            Err("none".to_owned())
        }
    }

    /// A workspace that takes connections and says nothing on the first of them.
    struct Silence {
        bridge: Bridge,
        now: Now,
        said: String,
        opened: Vec<ConnId>,
    }

    impl Silence {
        fn feed(&mut self, input: Input<'_>) {
            self.bridge.handle_input(input, self.now);
            while let Some(output) = self.bridge.poll_output() {
                match output {
                    Output::Stdout(line) => self.said.push_str(&String::from_utf8_lossy(&line)),
                    Output::Connect(conn, _) => {
                        let established = Input::Connected(conn, Established::default());
                        self.opened.push(conn);
                        self.bridge.handle_input(established, self.now);
                    }
                    Output::Transmit(conn, _) => {
                        self.bridge.handle_input(Input::Sent(conn), self.now);
                    }
                    _ => {}
                }
            }
        }

        fn wait(&mut self, until: impl Fn(&Self) -> bool) {
            while !until(self) {
                let at = self.bridge.poll_timeout().expect("something is awaited");
                self.now.wall_ms += (at - self.now.mono).as_millis() as u64;
                self.now.mono = at;
                self.feed(Input::Timeout);
            }
        }
    }

    /// An `initialize` that was taken and never answered does not keep the workspace away for ever.
    #[test]
    fn an_initialize_without_any_answer_is_given_up() {
        let mono = Instant::now();
        let now = Now { mono, wall_ms: 0 };
        let config = Config::read(&Settings, Limits::default()).expect("valid");
        let bridge = Bridge::new(config, 1, now);
        let (said, opened) = (String::new(), Vec::new());
        let mut silence = Silence {
            bridge,
            now,
            said,
            opened,
        };
        silence.feed(Input::Stdin(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-06-18\"}}\n"));
        silence.wait(|silence| !silence.said.is_empty());
        assert!(silence.said.contains("not reachable yet"));
        assert_eq!(silence.now.mono - mono, Duration::from_secs(3));
        silence.wait(|silence| silence.opened.len() > 1);
        assert!(silence.now.mono - mono < Duration::from_secs(60));
        let body = b"{\"jsonrpc\":\"2.0\",\"id\":\"ID\",\"result\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{}}}";
        let (first, second) = (silence.opened[0], silence.opened[1]);
        assert_ne!(first, second);
        let id = silence.bridge.calls.ids()[0];
        let id = silence
            .bridge
            .calls
            .get(id)
            .expect("it is asked")
            .id
            .clone();
        let body = String::from_utf8_lossy(body).replace("\"ID\"", &id);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
        let answer = format!("{head}{}\r\n\r\n{body}", body.len());
        silence.feed(Input::Received(second, answer.as_bytes()));
        let accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        silence.feed(Input::Received(second, accepted));
        assert!(silence.said.contains("notifications/tools/list_changed"));
    }
}
