//! The steps of a diagnosis: what each answer means, and which step follows.

use super::report::Status;
use super::{Check, MODERN_META, PAGES_MAX, SKEW_MAX_S, STEP, Step};
use crate::bridge::{Input, Now, Output, Socket};
use crate::failure::{Failure, Refusal};
use crate::proto::jsonrpc::{self, Parsed};
use std::time::Instant;

impl Check {
    pub(super) fn answered(&mut self, line: &[u8], now: Now) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(line) else {
            return;
        };
        if message.id != Some("\"check\"") {
            return;
        }
        let failed = message
            .error
            .map(|raw| jsonrpc::error_parts(raw).unwrap_or((0, String::new())));
        let result = message.result.unwrap_or("{}").to_owned();
        match (self.step, failed) {
            (Step::Initialize, None) => self.connected(&result, now),
            (Step::Initialize, Some(error)) => self.initialize_failed(&error, now),
            (Step::Discover, None) if result.contains("supportedVersions") => {
                self.modern = true;
                self.connected(&result, now);
            }
            (Step::Discover, None) => self.refuse_workspace("its answers are no MCP", now),
            (Step::Discover, Some((_, words))) => self.refuse_workspace(&words, now),
            (Step::Tools, None) => self.tools_listed(&result, now),
            (Step::Tools, Some((-32601, _))) => self.tools_counted(now),
            (Step::Tools, Some((_, words))) => {
                let words = self.words(&words);
                self.failed("tools", &format!("Tools not available: {words}"), now);
                self.next_after_tools(now);
            }
            (Step::Heartbeat, None) => {
                self.report.step(
                    Status::Ok,
                    "dashboard",
                    "Dashboard registration (bridge visible in admin)",
                    self.took(now),
                );
                self.after_heartbeat(now);
            }
            (Step::Heartbeat, Some((-32601, _))) => {
                self.report.note(
                    Status::Skipped,
                    "dashboard",
                    "Dashboard registration: not offered by this server",
                );
                self.after_heartbeat(now);
            }
            (Step::Heartbeat, Some((_, words))) => {
                let words = self.words(&words);
                self.failed(
                    "dashboard",
                    &format!("Dashboard registration failed: {words}"),
                    now,
                );
                self.after_heartbeat(now);
            }
            (Step::Socket | Step::Leave, _) => {}
        }
    }

    /// The words of our own failure where there was one, else the workspace's.
    fn words(&self, words: &str) -> String {
        match self.bridge.last_failure() {
            Some(failure) => failure.words(&self.origin),
            None => format!("the server answered: {}", crate::log::printable(words, 300)),
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

    fn initialize_failed(&mut self, (code, words): &(i64, String), now: Now) {
        let failure = self.bridge.last_failure().cloned();
        match failure {
            None if *code == -32050 => {
                self.refuse_workspace("it wants approval for initialize", now)
            }
            // The server itself said no: perhaps it only speaks the modern era.
            None => {
                self.reason(words);
                self.begin(Step::Discover, now);
                self.ask(
                    "server/discover",
                    &format!("{{\"_meta\":{MODERN_META}}}"),
                    now,
                );
            }
            Some(Failure::Status(Refusal {
                status: status @ (401 | 403),
                ..
            })) => {
                self.reachable(now);
                let words = self.words(words);
                let hint = if status == 403 { "Token invalid: " } else { "" };
                self.failed("token", &format!("{hint}{words}"), now);
                self.leave(now);
            }
            Some(Failure::Status(Refusal { status: 429, .. })) => {
                self.reachable(now);
                let words = self.words(words);
                self.failed(
                    "workspace",
                    &format!("Workspace not connected: {words}"),
                    now,
                );
                self.leave(now);
            }
            Some(failure) => {
                let words = failure.words(&self.origin);
                let text = if words.contains("Workspace unreachable") {
                    words
                } else {
                    format!("Workspace unreachable: {words}")
                };
                self.failed("reachable", &text, now);
                self.leave(now);
            }
        }
    }

    fn reason(&mut self, words: &str) {
        self.report.remember(words);
    }

    fn refuse_workspace(&mut self, words: &str, now: Now) {
        self.reachable(now);
        let first = self.report.remembered();
        let words = if first.is_empty() {
            self.words(words)
        } else {
            format!("the server answered: {first}")
        };
        self.failed(
            "workspace",
            &format!("Workspace not connected: {words}. Is this URL an MCP endpoint?"),
            now,
        );
        self.leave(now);
    }

    /// The handshake is done: token and workspace are known as far as the server tells.
    fn connected(&mut self, result: &str, now: Now) {
        self.reachable(now);
        let offer = match self.modern {
            true => crate::proto::aerostack::Offer::of_result(result),
            false => self.bridge.offer().clone(),
        };
        self.report.workspace(&offer);
        let clean = |text: &str| crate::log::printable(text, 100);
        match (&offer.token_name, &offer.token_role) {
            (Some(name), Some(role)) => {
                let text = format!("Token valid ({}, role: {})", clean(name), clean(role));
                self.report.step(Status::Ok, "token", &text, 0);
            }
            (Some(name), None) | (None, Some(name)) => {
                self.report.step(
                    Status::Ok,
                    "token",
                    &format!("Token valid ({})", clean(name)),
                    0,
                );
            }
            (None, None) => self.report.note(
                Status::Skipped,
                "token",
                "Token: not offered by this server",
            ),
        }
        let name = offer.name.clone().or_else(|| server_name(result));
        let text = match name {
            Some(name) => format!("Workspace connected (\"{}\")", clean(&name)),
            None => "Workspace connected".to_owned(),
        };
        let took = self.took(now);
        self.report.step(Status::Ok, "workspace", &text, took);
        if !self.modern {
            let line = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n";
            self.bridge.handle_input(Input::Stdin(line), now);
        }
        self.begin(Step::Tools, now);
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

    fn tools_listed(&mut self, result: &str, now: Now) {
        let tools = jsonrpc::member(result, "tools");
        let count =
            tools.and_then(|raw| serde_json::from_str::<Vec<serde::de::IgnoredAny>>(raw).ok());
        self.tools += count.map_or(0, |tools| tools.len() as u64);
        self.pages += 1;
        let cursor = jsonrpc::member(result, "nextCursor").filter(|raw| *raw != "null");
        match cursor {
            Some(cursor) if self.pages < PAGES_MAX => {
                let cursor = cursor.to_owned();
                self.deadline = (now.mono + STEP).min(self.ends);
                self.list_tools(Some(&cursor), now);
            }
            _ => self.tools_counted(now),
        }
    }

    fn tools_counted(&mut self, now: Now) {
        let count = self.tools;
        let plural = if count == 1 { "" } else { "s" };
        let text = match count {
            0 => "Tools available (0 workspace tools: add servers in the dashboard; built-in tools are always available)".to_owned(),
            _ => format!("Tools available ({count} tool{plural})"),
        };
        self.report.tools(count);
        let took = self.took(now);
        self.report.step(Status::Ok, "tools", &text, took);
        self.next_after_tools(now);
    }

    fn next_after_tools(&mut self, now: Now) {
        let offers = self.report.offers_heartbeat();
        self.begin(Step::Heartbeat, now);
        if !offers {
            self.report.note(
                Status::Skipped,
                "dashboard",
                "Dashboard registration: not offered by this server",
            );
            return self.after_heartbeat(now);
        }
        let mut params = self.bridge.check_params();
        if self.modern {
            params = jsonrpc::set_member(&params, "_meta", MODERN_META);
        }
        self.ask("aerostack/heartbeat", &params, now);
    }

    /// "Also checks that the approval WebSocket can be opened where the workspace offers a probe":
    /// the chat's socket is one.
    fn after_heartbeat(&mut self, now: Now) {
        if !self.report.offers_socket() {
            return self.leave(now);
        }
        self.begin(Step::Socket, now);
        self.bridge.probe_socket(now);
    }

    pub(super) fn look_at_socket(&mut self, now: Now) {
        match self.bridge.probed_socket() {
            Socket::Opening => {}
            Socket::Open => {
                self.report
                    .silent(Status::Ok, "websocket", "WebSocket opened", self.took(now));
                self.leave(now);
            }
            Socket::Refused(why) => {
                let text = format!(
                    "WebSocket refused: {why}. Approvals would only be noticed by the 30 s poll; let your proxy or firewall pass WebSockets"
                );
                self.failed("websocket", &text, now);
                self.leave(now);
            }
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
        let seconds = now
            .mono
            .saturating_duration_since(self.step_began)
            .as_secs();
        let origin = self.origin.clone();
        match self.step {
            Step::Initialize | Step::Discover => {
                let phase = if self.established.is_some() {
                    "its answer to initialize"
                } else {
                    "the connection"
                };
                let text = format!(
                    "Workspace unreachable: timed out after {seconds} s waiting for {phase} ({origin})"
                );
                self.failed("reachable", &text, now);
                self.leave(now);
            }
            Step::Tools => {
                let text = format!(
                    "Tools not available: timed out after {seconds} s waiting for tools/list"
                );
                self.failed("tools", &text, now);
                self.leave(now);
            }
            Step::Heartbeat => {
                let text = format!(
                    "Dashboard registration failed: timed out after {seconds} s waiting for the heartbeat's answer"
                );
                self.failed("dashboard", &text, now);
                self.leave(now);
            }
            Step::Socket => {
                let text = format!(
                    "WebSocket refused: timed out after {seconds} s during its handshake; let your proxy or firewall pass WebSockets"
                );
                self.failed("websocket", &text, now);
                self.leave(now);
            }
            Step::Leave => self.out.push_back(Output::Exit(self.code)),
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
