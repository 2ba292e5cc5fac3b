//! The steps of a diagnosis: what each answer means, and which step follows.

use super::report::Status;
use super::verdict::{self, Blame, Builtins, Problem, View};
use super::{Check, ID, MODERN_META, PAGES_MAX, SKEW_MAX_S, STEP, Step};
use crate::bridge::{Engine, Input, Now, Socket};
use crate::failure::{Failure, Refusal};
use crate::log::printable;
use crate::proto::aerostack::Offer;
use crate::proto::jsonrpc::{self, Parsed};
use std::time::Instant;

impl Check {
    /// The answer to the one request in the works; `failed` if its exchange did.
    pub(super) fn answered(&mut self, line: &[u8], failed: Option<Failure>, now: Now) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(line) else {
            return;
        };
        if message.id != Some(ID) || !message.method.is_empty() {
            return;
        }
        let answer = match (failed, message.error) {
            (Some(failure), _) => Err(Problem::Failed(failure)),
            (None, Some(raw)) => {
                let (code, words) = jsonrpc::error_parts(raw).unwrap_or_default();
                let words = self.bridge.secrets().hide(&words).into_owned();
                Err(Problem::Said { code, words })
            }
            (None, None) => Ok(message.result.unwrap_or("{}")),
        };
        match (self.step.clone(), answer) {
            (Step::Initialize, Ok(result)) => self.connected(result, now),
            (Step::Initialize, Err(problem)) if verdict::may_be_modern(&problem) => {
                self.begin(Step::Discover(problem), now);
                let params = format!("{{\"_meta\":{MODERN_META}}}");
                self.ask("server/discover", &params, now);
            }
            (Step::Initialize, Err(problem)) => self.refused(&problem, now),
            // "Some servers answer any unknown method with an empty result."
            (Step::Discover(_), Ok(result)) if result.contains("supportedVersions") => {
                self.modern = true;
                self.connected(result, now);
            }
            (Step::Discover(first), Ok(_)) => self.refused(&first, now),
            (Step::Discover(first), Err(second)) => match &second {
                Problem::Failed(Failure::Status(Refusal {
                    status: 401 | 403, ..
                })) => self.refused(&second, now),
                Problem::Failed(_) | Problem::Said { .. } => self.refused(&first, now),
            },
            (Step::Tools { count, pages }, Ok(result)) => {
                self.tools_listed(result, count, pages, now)
            }
            // A server without tools.
            (Step::Tools { count, .. }, Err(Problem::Said { code: -32601, .. })) => {
                self.tools_counted(count, "", now)
            }
            (Step::Tools { .. }, Err(problem)) => {
                if self.step_failed("tools", "Tools not available", &problem, now) {
                    self.next_after_tools(now);
                }
            }
            (Step::Heartbeat, Ok(_)) => {
                let text = "Dashboard registration (bridge visible in admin)";
                let took = self.took(now);
                self.report.step(Status::Ok, "dashboard", text, took);
                self.after_heartbeat(now);
            }
            (Step::Heartbeat, Err(Problem::Said { code: -32601, .. })) => {
                self.not_registered();
                self.after_heartbeat(now);
            }
            (Step::Heartbeat, Err(problem)) => {
                if self.step_failed("dashboard", "Dashboard registration failed", &problem, now) {
                    self.after_heartbeat(now);
                }
            }
            (Step::Socket | Step::Leave, _) => {}
        }
    }

    fn view(&self) -> View<'_> {
        View {
            origin: &self.origin,
            heard: self.first_byte.is_some(),
            has_token: self.has_token,
        }
    }

    fn took(&self, now: Now) -> u64 {
        now.mono
            .saturating_duration_since(self.step_began)
            .as_micros() as u64
    }

    fn failed(&mut self, name: &str, words: &str, now: Now) {
        self.code = 1;
        let took = self.took(now);
        self.report.step(Status::Failed, name, words, took);
    }

    /// One of the later steps failed. True if the others are worth a try: where the exchange itself
    /// failed they would only repeat it.
    fn step_failed(&mut self, name: &str, what: &str, problem: &Problem, now: Now) -> bool {
        let words = verdict::words(problem, self.view());
        self.failed(name, &format!("{what}: {words}"), now);
        let goes_on = matches!(problem, Problem::Said { .. });
        if !goes_on {
            self.leave(now);
        }
        goes_on
    }

    fn reachable(&mut self, now: Now) {
        let since = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => to.saturating_duration_since(from).as_micros() as u64,
            _ => 0,
        };
        let first_byte_us = since(self.transmitted, self.first_byte);
        let established = self.established.unwrap_or_default();
        let text = format!("Workspace URL reachable ({})", self.url);
        let took = self.took(now);
        self.report
            .reachable(&text, took, &established, first_byte_us);
    }

    /// The handshake is refused for good.
    fn refused(&mut self, problem: &Problem, now: Now) {
        let (blame, text) = verdict::handshake(problem, self.view());
        self.blame(blame, &text, now);
    }

    fn blame(&mut self, blame: Blame, text: &str, now: Now) {
        if blame != Blame::Reachable {
            self.reachable(now);
        }
        self.failed(blame.step(), text, now);
        self.leave(now);
    }

    /// The handshake is done: token and workspace are known as far as the server tells.
    fn connected(&mut self, result: &str, now: Now) {
        self.reachable(now);
        let offer = Offer::of_result(result, self.bridge.secrets());
        let secrets = self.bridge.secrets();
        let clean = |text: &str| printable(&secrets.hide(text), 100);
        let named = match (&offer.token_name, &offer.token_role) {
            (Some(name), Some(role)) => Some(format!("{}, role: {}", clean(name), clean(role))),
            (Some(one), None) | (None, Some(one)) => Some(clean(one)),
            (None, None) => None,
        };
        let (status, text) = match named {
            Some(named) => (Status::Ok, format!("Token valid ({named})")),
            None if self.has_token => (
                Status::Skipped,
                "Token: this server does not say whose it is".to_owned(),
            ),
            None => (
                Status::Skipped,
                "Token: none is sent (AEROSTACK_TOKEN=none)".to_owned(),
            ),
        };
        self.report.note(status, "token", &text);
        let name = offer.name.clone().or_else(|| server_name(result));
        let text = match name {
            Some(name) => format!("Workspace connected (\"{}\")", clean(&name)),
            None => "Workspace connected".to_owned(),
        };
        let took = self.took(now);
        self.report.step(Status::Ok, "workspace", &text, took);
        self.report.workspace(offer);
        if !self.modern {
            let line = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n";
            self.bridge.handle_input(Input::Stdin(line), now);
        }
        self.begin(Step::Tools { count: 0, pages: 0 }, now);
        self.list_tools(None, now);
    }

    fn list_tools(&mut self, cursor: Option<&str>, now: Now) {
        let mut params = "{}".to_owned();
        if let Some(cursor) = cursor {
            params = jsonrpc::set_member(&params, "cursor", cursor);
        }
        if self.modern {
            params = jsonrpc::set_member(&params, "_meta", MODERN_META);
        }
        self.ask("tools/list", &params, now);
    }

    fn tools_listed(&mut self, result: &str, count: u64, pages: u32, now: Now) {
        let tools = jsonrpc::member(result, "tools")
            .and_then(|raw| serde_json::from_str::<Vec<serde::de::IgnoredAny>>(raw).ok());
        let Some(tools) = tools else {
            let text = "Tools not available: the answer to tools/list holds no list of tools";
            self.failed("tools", text, now);
            return self.next_after_tools(now);
        };
        let (count, pages) = (count + tools.len() as u64, pages + 1);
        let cursor = jsonrpc::member(result, "nextCursor").filter(|raw| *raw != "null");
        match cursor {
            Some(_) if pages >= PAGES_MAX => self.tools_counted(count, "at least ", now),
            Some(cursor) => {
                self.step = Step::Tools { count, pages };
                self.deadline = (now.mono + STEP).min(self.ends);
                self.list_tools(Some(cursor), now);
            }
            None => self.tools_counted(count, "", now),
        }
    }

    fn tools_counted(&mut self, count: u64, least: &str, now: Now) {
        let plural = if count == 1 { "" } else { "s" };
        let text = match count {
            0 => "Tools available (0 workspace tools: add servers in the dashboard)".to_owned(),
            _ => format!("Tools available ({least}{count} tool{plural})"),
        };
        self.report.tools(count);
        let took = self.took(now);
        self.report.step(Status::Ok, "tools", &text, took);
        self.say_builtins(count == 0);
        self.next_after_tools(now);
    }

    /// Which built-in tools work here. A person reads it where one does not, or where there is
    /// nothing else.
    fn say_builtins(&mut self, alone: bool) {
        let (builtins, text) = verdict::builtins(self.shown, self.report.offer());
        let (status, loud) = match builtins {
            Builtins::Work => (Status::Ok, alone),
            Builtins::Lack => (Status::Warning, true),
            Builtins::Hidden => (Status::Skipped, alone),
        };
        if loud {
            self.report.note(status, "builtins", text);
        } else {
            self.report.silent(status, "builtins", text);
        }
    }

    fn next_after_tools(&mut self, now: Now) {
        self.begin(Step::Heartbeat, now);
        if !self.report.offer().heartbeat {
            self.not_registered();
            return self.after_heartbeat(now);
        }
        let mut params = self.bridge.check_params();
        if self.modern {
            params = jsonrpc::set_member(&params, "_meta", MODERN_META);
        }
        self.ask("aerostack/heartbeat", &params, now);
    }

    fn not_registered(&mut self) {
        let text = "Dashboard registration: this server does not know aerostack/heartbeat, so the \
                    bridge is not shown there";
        self.report.note(Status::Skipped, "dashboard", text);
    }

    /// "Also checks that the approval WebSocket can be opened where the workspace offers a probe":
    /// the chat's socket is one.
    fn after_heartbeat(&mut self, now: Now) {
        if !self.report.offer().chat {
            return self.leave(now);
        }
        self.begin(Step::Socket, now);
        self.bridge.probe_socket(now);
    }

    pub(super) fn look_at_socket(&mut self, now: Now) {
        let socket = self.bridge.probed_socket();
        if let Some(text) = verdict::socket(&socket, &self.origin) {
            self.failed("websocket", &text, now);
            self.leave(now);
        } else if socket == Socket::Open {
            self.report
                .silent(Status::Ok, "websocket", "WebSocket opened");
            self.leave(now);
        }
    }

    fn leave(&mut self, now: Now) {
        self.begin(Step::Leave, now);
        let local_s = now.wall_ms / 1_000;
        if let Some(skew_s) = self
            .bridge
            .workspace_clock_s()
            .map(|theirs| local_s.abs_diff(theirs))
            && skew_s > SKEW_MAX_S
        {
            let text = format!(
                "This machine's clock and the workspace's differ by {} minutes: set the clock",
                skew_s / 60
            );
            self.report.note(Status::Warning, "clock", &text);
        }
        self.report.finish(self.code == 0);
        self.bridge.handle_input(Input::StdinClosed, now);
    }

    /// A step's time is over.
    pub(super) fn overdue(&mut self, now: Now) {
        let began = now.mono.saturating_duration_since(self.step_began);
        let late = |what: &str| format!("timed out after {} s waiting for {what}", began.as_secs());
        let origin = &self.origin;
        match self.step.clone() {
            Step::Initialize if self.first_byte.is_some() => {
                let late = late("the rest of its answer to initialize");
                let text = format!("Workspace not connected: {late} ({origin})");
                self.blame(Blame::Workspace, &text, now);
            }
            Step::Initialize => {
                let late = late(match self.established {
                    Some(_) => "its answer to initialize",
                    None => "the connection",
                });
                let text = format!("Workspace unreachable: {late} ({origin})");
                self.blame(Blame::Reachable, &text, now);
            }
            Step::Discover(first) => self.refused(&first, now),
            Step::Tools { .. } => {
                let late = late(match self.bridge.awaits_a_person() {
                    true => {
                        "a person's approval of tools/list: AI tools see no tools before it is given"
                    }
                    false => "tools/list",
                });
                let text = format!("Tools not available: {late}");
                self.failed("tools", &text, now);
                self.leave(now);
            }
            Step::Heartbeat => {
                let late = late("the heartbeat's answer");
                let text = format!("Dashboard registration failed: {late}");
                self.failed("dashboard", &text, now);
                self.leave(now);
            }
            Step::Socket => {
                let text = verdict::without_socket(&late("its handshake"));
                self.failed("websocket", &text, now);
                self.leave(now);
            }
            Step::Leave => self.exit(),
        }
    }
}

/// `serverInfo.name` of a plain MCP server.
fn server_name(result: &str) -> Option<String> {
    let info = jsonrpc::member(result, "serverInfo")?;
    jsonrpc::member(info, "name")
        .and_then(jsonrpc::string)
        .map(|name| name.into_owned())
}
