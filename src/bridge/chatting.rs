//! The chat tool and the messages' ways to the agent: by `read`, by `wait`, by a hint in the next
//! result, and for Claude Code by its channel.

use super::Bridge;
use super::Timer;
use super::approving::tool_text;
use super::background::Job;
use super::call::Asker;
use super::ids::{CallId, Era, WatchId};
use super::timer::TimerId;
use super::watch::Subject;
use crate::log::Level;
use crate::proto::aerostack::ChatMessage;
use crate::proto::jsonrpc::{self, Parsed, quote};
use crate::proto::object;
use serde::Deserialize;
use std::time::Duration;

/// A call of `wait`.
#[derive(Debug)]
struct Waiter {
    call: CallId,
    deadline: TimerId,
    progress: Option<TimerId>,
}

/// Where the chat's calls stand.
#[derive(Debug, Default)]
pub(super) struct Chatting {
    pub(super) watch: Option<WatchId>,
    waiters: Vec<Waiter>,
}

#[derive(Deserialize)]
struct Arguments {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    timeout_s: Option<f64>,
}

impl Bridge {
    /// The workspace has a chat: its messages are watched for.
    pub(super) fn begin_chat(&mut self) {
        let wanted = self.has_builtins() && !self.config.looks_only;
        if wanted && self.workspace.chat && self.chatting.watch.is_none() {
            let watch = self.watch_chat();
            self.poll_now(watch);
        }
    }

    /// Opens the chat's socket.
    pub(super) fn watch_chat(&mut self) -> WatchId {
        let named = self.workspace.chat_url.clone();
        let url = named.and_then(|url| self.trusted_url(&url, "chat.ws_url"));
        let own = &self.config.endpoint;
        let url = url.unwrap_or_else(|| own.resolve("chat/ws").unwrap_or_else(|_| own.clone()));
        let watch = self.watch(Subject::Chat, url, None);
        self.chatting.watch = Some(watch);
        watch
    }

    /// A call of the tool.
    pub(super) fn chat_called(&mut self, id: CallId, arguments: &str) {
        let arguments: Arguments = match object::read(arguments) {
            Ok(arguments) => arguments,
            Err(error) => return self.tool_refuses(id, &format!("invalid arguments: {error}")),
        };
        if let Some(problem) = self.chat_problem() {
            return self.tool_refuses(id, &problem);
        }
        match arguments.action.as_deref() {
            Some("read") => self.chat_read(id),
            Some("wait") if self.chat.unread() > 0 => self.chat_read(id),
            Some("wait") => self.chat_wait(id, arguments.timeout_s),
            Some("send") => {
                self.chat_send(id, arguments.text.as_deref(), arguments.topic.as_deref())
            }
            _ => self.tool_refuses(
                id,
                "invalid arguments: `action` must be one of read, wait, send",
            ),
        }
    }

    fn chat_problem(&self) -> Option<String> {
        if self.offline.is_some() {
            return Some(format!(
                "the workspace is not connected yet ({}): try again later",
                self.offline_reason()
            ));
        }
        let silent = self.workspace_asked && !self.workspace.chat;
        silent.then(|| "this workspace does not offer a chat".to_owned())
    }

    fn chat_read(&mut self, id: CallId) {
        self.keep_local(id);
        let params = self.chat_poll_params();
        self.ask_workspace(Asker::Chat(id), "aerostack/chat/messages", &params);
    }

    fn chat_send(&mut self, id: CallId, text: Option<&str>, topic: Option<&str>) {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return self.tool_refuses(id, "invalid arguments: `text` is missing");
        };
        if text.len() > self.config.limits.chat_max_bytes {
            let words = format!(
                "invalid arguments: `text` is longer than {} bytes",
                self.config.limits.chat_max_bytes
            );
            return self.tool_refuses(id, &words);
        }
        self.keep_local(id);
        let topic = topic
            .map(|topic| format!(",\"topic\":{}", quote(topic)))
            .unwrap_or_default();
        let params = format!(
            "{{\"text\":{}{topic},\"bridge_id\":{}}}",
            quote(text),
            quote(&self.bridge_id())
        );
        self.ask_workspace(Asker::Chat(id), "aerostack/chat/send", &params);
    }

    /// "At most 300; at most 50 s where the request has no progressToken": hosts give up after 60.
    fn chat_wait(&mut self, id: CallId, timeout_s: Option<f64>) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let has_token = call.progress.token().is_some();
        let most = if has_token {
            self.config.limits.chat_wait_max
        } else {
            self.config.limits.chat_wait_quiet
        };
        let wanted = timeout_s
            .filter(|s| s.is_finite())
            .map(|s| Duration::from_secs_f64(s.clamp(1.0, 300.0)));
        let wait = wanted
            .unwrap_or(self.config.limits.chat_wait_quiet)
            .min(most);
        self.keep_local(id);
        let deadline = self.after(wait, Timer::ChatWait(id));
        let progress = has_token
            .then(|| self.after(self.config.limits.progress_every, Timer::ChatProgress(id)));
        self.chatting.waiters.push(Waiter {
            call: id,
            deadline,
            progress,
        });
        if let Some(watch) = self.chatting.watch {
            self.poll_now(watch);
        }
    }

    pub(super) fn chat_progress(&mut self, id: CallId) {
        let Some(at) = self
            .chatting
            .waiters
            .iter()
            .position(|waiter| waiter.call == id)
        else {
            return;
        };
        let timer = self.after(self.config.limits.progress_every, Timer::ChatProgress(id));
        self.chatting.waiters[at].progress = Some(timer);
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let Some(token) = call.progress.token().map(str::to_owned) else {
            return;
        };
        let progress = call.progress.next();
        let params = format!(
            "{{\"progressToken\":{token},\"progress\":{progress},\"message\":\"waiting for a message from the dashboard\"}}"
        );
        self.write_line(jsonrpc::notification(
            "notifications/progress",
            Some(&params),
        ));
    }

    pub(super) fn chat_wait_over(&mut self, id: CallId) {
        self.forget_waiter(id);
        self.chat_says(
            id,
            "No message from the dashboard came in this time.",
            false,
        );
    }

    fn forget_waiter(&mut self, id: CallId) {
        if let Some(at) = self
            .chatting
            .waiters
            .iter()
            .position(|waiter| waiter.call == id)
        {
            let waiter = self.chatting.waiters.remove(at);
            self.disarm(Some(waiter.deadline));
            self.disarm(waiter.progress);
        }
    }

    /// The host took back a call of the chat tool.
    pub(super) fn chat_withdrawn(&mut self, id: CallId) {
        self.forget_waiter(id);
    }

    fn chat_says(&mut self, id: CallId, words: &str, is_error: bool) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let answer = jsonrpc::result(&call.id, &tool_text(words, is_error, call.era));
        self.complete(id, answer);
    }

    /// Hands over what is unread and lets the workspace know.
    fn hand_over(&mut self, id: CallId) {
        let text = self.chat.transcript();
        self.chat_says(id, &text, false);
        self.mark_read();
    }

    fn mark_read(&mut self) {
        if let Some(newest) = self.chat.mark_read() {
            let (newest, bridge) = (quote(&newest), quote(&self.bridge_id()));
            let params = format!(
                "{{\"after\":{newest},\"mark_read\":{newest},\"limit\":1,\"bridge_id\":{bridge}}}"
            );
            self.ask_workspace(Asker::Nobody, "aerostack/chat/messages", &params);
        }
    }

    /// The workspace answered a `read` or a `send`.
    pub(super) fn chat_answered(&mut self, host: CallId, answer: &[u8]) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(answer) else {
            return self.chat_failed(host, "its answer can not be read");
        };
        if let Some((code, words)) = message.error.and_then(jsonrpc::error_parts) {
            if code == -32601 {
                self.end_chat();
                return self.chat_failed(host, "it does not offer a chat");
            }
            let words = self.clean(&words, 300);
            return self.chat_failed(host, &words);
        }
        let result = message.result.unwrap_or("{}");
        let is_list = jsonrpc::member(result, "messages").is_some();
        if is_list {
            self.absorb(ChatMessage::list(result, &self.secrets), true);
            self.hand_over(host);
        } else {
            self.chat_says(host, "Sent to the dashboard.", false);
            self.mark_read();
            // What the agent said belongs to the conversation, in its place.
            if let Some(watch) = self.chatting.watch {
                self.poll_now(watch);
            }
        }
    }

    pub(super) fn chat_failed(&mut self, host: CallId, why: &str) {
        self.chat_says(
            host,
            &format!("The chat does not work at the moment: {why}"),
            true,
        );
    }

    fn end_chat(&mut self) {
        self.workspace.chat = false;
        if let Some(watch) = self.chatting.watch.take() {
            self.unwatch(watch);
        }
    }

    pub(super) fn poll_chat(&mut self) {
        let params = self.chat_poll_params();
        self.ask_workspace(Asker::ChatPoll, "aerostack/chat/messages", &params);
    }

    fn chat_poll_params(&self) -> String {
        let after = self
            .chat
            .last_id()
            .map(|id| format!("\"after\":{},", quote(id)))
            .unwrap_or_default();
        format!(
            "{{{after}\"limit\":50,\"bridge_id\":{}}}",
            quote(&self.bridge_id())
        )
    }

    pub(super) fn chat_polled(&mut self, answer: &[u8]) {
        if let Ok(Parsed::One(message)) = jsonrpc::parse(answer) {
            let code = message
                .error
                .and_then(jsonrpc::error_parts)
                .map(|(code, _)| code);
            if code == Some(-32601) {
                return self.end_chat();
            }
            let messages = ChatMessage::list(message.result.unwrap_or("{}"), &self.secrets);
            self.absorb(messages, true);
        }
        self.chat_poll_over();
    }

    pub(super) fn chat_poll_over(&mut self) {
        if let Some(watch) = self.chatting.watch {
            self.polled(watch, None);
        }
    }

    pub(super) fn chat_pushed(&mut self, text: &str) {
        if let Some(message) = ChatMessage::pushed(text, &self.secrets) {
            self.absorb(vec![message], false);
        }
    }

    /// The workspace counts more unread messages than are known here.
    pub(super) fn chat_may_have_more(&mut self, unread: u64) {
        if unread > self.chat.unread() as u64
            && let Some(watch) = self.chatting.watch
        {
            self.background.push(Job::Poll(watch), false);
        }
    }

    /// New messages: "only `from: user` messages … and only to the bridge named in `to`".
    fn absorb(&mut self, messages: Vec<ChatMessage>, listed: bool) {
        let own = self.bridge_id();
        let ours = |message: &ChatMessage| message.to.as_ref().is_none_or(|to| *to == own);
        let limits = &self.config.limits;
        let messages = messages.into_iter().filter(ours);
        let news: Vec<ChatMessage> = if listed {
            let list = messages.map(|message| {
                let unread = message.from == "user";
                (message, unread)
            });
            self.chat.add_list(list.collect(), limits)
        } else {
            let added = |message: &ChatMessage| {
                let unread = message.from == "user";
                self.chat.add(message.clone(), unread, limits)
            };
            messages.filter(added).collect()
        };
        let news: Vec<_> = news.iter().filter(|news| news.from == "user").collect();
        if self.has_channel() {
            for message in &news {
                let params = channel_params(message);
                let method = "notifications/claude/channel";
                self.write_line(jsonrpc::notification(method, Some(&params)));
            }
        }
        if !news.is_empty() {
            self.log(Level::Info, || {
                "a message came from the dashboard".to_owned()
            });
            self.wake_waiter();
        }
    }

    /// The one who has waited longest gets what came.
    fn wake_waiter(&mut self) {
        if let Some(waiter) = self.chatting.waiters.first() {
            let id = waiter.call;
            self.forget_waiter(id);
            self.hand_over(id);
        }
    }

    /// Claude Code's research preview, legacy era only.
    pub(super) fn has_channel(&self) -> bool {
        let host = self
            .client
            .as_ref()
            .is_some_and(|client| client.name.contains("claude-code"));
        self.config.claude_channel && host && self.session.is_begun()
    }

    /// "A short text item is appended to the next successful tools/call result, once per message."
    pub(super) fn with_hint(&mut self, answer: Vec<u8>) -> Vec<u8> {
        if !self.config.chat_hints || self.chat.unread() == 0 || !self.has_builtins() {
            return answer;
        }
        let Ok(Parsed::One(message)) = jsonrpc::parse(&answer) else {
            return answer;
        };
        let Some(result) = message.result else {
            return answer;
        };
        let failed = jsonrpc::member(result, "isError").is_some_and(|raw| raw == "true");
        let content = jsonrpc::member(result, "content").filter(|raw| raw.starts_with('['));
        let Some(content) = content.filter(|_| !failed) else {
            return answer;
        };
        let fresh = self.chat.announce();
        if fresh == 0 {
            return answer;
        }
        let plural = if fresh == 1 { "" } else { "s" };
        let words = quote(&format!(
            "{fresh} unread message{plural} from the dashboard: call aerostack__agent_chat"
        ));
        let empty = content[1..].trim_ascii_start().starts_with(']');
        let comma = if empty { "" } else { "," };
        let end = jsonrpc::range_in(message.text, content).end - 1;
        let item = format!("{comma}{{\"type\":\"text\",\"text\":{words}}}");
        jsonrpc::splice(message.text, &[(end..end, &item)])
    }

    /// A request of our own in the era of the host's traffic.
    pub(super) fn ask_workspace(&mut self, asker: Asker, method: &str, params: &str) {
        match &self.modern_meta {
            Some(meta) if !self.session.is_begun() => {
                let params = jsonrpc::set_member(params, "_meta", meta);
                self.ask(asker, method, Era::Modern, &params);
            }
            _ => self.ask(asker, method, Era::Legacy, params),
        }
    }
}

/// "Meta keys: letters, digits, underscore only."
fn channel_params(message: &ChatMessage) -> String {
    let topic = message.topic.as_deref().unwrap_or("general");
    format!(
        "{{\"content\":{},\"meta\":{{\"topic\":{},\"message_id\":{}}}}}",
        quote(&message.text),
        quote(topic),
        quote(&message.id)
    )
}
