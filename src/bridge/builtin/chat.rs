//! The chat tool, and the messages' ways to the agent: by `read`, by `wait`, by a hint in the next
//! result, and for Claude Code by its channel.

use super::Event;
use super::calls::Calls;
use super::conversation::Conversation;
use crate::bridge::context::{self, Context};
use crate::bridge::ids::{Requester, Subject, Ticket};
use crate::bridge::request::Request;
use crate::log::Level;
use crate::proto::aerostack::ChatMessage;
use crate::proto::jsonrpc::{self, Parsed};
use crate::proto::object;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

const MESSAGES: &str = "aerostack/chat/messages";
const SEND: &str = "aerostack/chat/send";

/// What this machine's timers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A call of `wait` has waited long enough.
    Wait(Ticket),
    /// Its next progress notification.
    Progress(Ticket),
}

impl From<Timer> for context::Timer {
    fn from(timer: Timer) -> Self {
        super::Timer::Chat(timer).into()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    conversation: Conversation,
    calls: Calls,
    /// Calls of `wait`, the oldest first.
    waiters: VecDeque<Ticket>,
    is_watched: bool,
    events: VecDeque<Event>,
}

/// What a call of the tool says.
struct Arguments {
    action: Option<String>,
    text: Option<String>,
    topic: Option<String>,
    timeout_s: Option<f64>,
}

impl Arguments {
    fn read(raw: &str) -> Result<Self, String> {
        let names = ["action", "text", "topic", "timeout_s"];
        let [action, text, topic, timeout_s] =
            object::fields(raw, names).map_err(|error| error.to_string())?;
        let words = |name: &str, raw: Option<&str>| {
            object::text(raw).map_err(|wrong| format!("`{name}` must be {}", wrong.0))
        };
        Ok(Self {
            action: words("action", action)?,
            text: words("text", text)?,
            topic: words("topic", topic)?,
            timeout_s: match timeout_s {
                None | Some("null") => None,
                Some(raw) => Some(jsonrpc::number(raw).ok_or("`timeout_s` must be a number")?),
            },
        })
    }
}

/// Params of `aerostack/chat/messages`.
#[derive(Default, Serialize)]
struct List<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark_read: Option<&'a str>,
    limit: u32,
    bridge_id: &'a str,
}

/// Params of `aerostack/chat/send`.
#[derive(Serialize)]
struct Send<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    bridge_id: &'a str,
}

impl Chat {
    /// The next thing that happened.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The workspace has a chat: its messages are watched for.
    pub(crate) fn begin(&mut self, ctx: &mut Context) {
        if ctx.peers().offer().chat && !self.is_watched {
            self.watch(ctx);
            self.events.push_back(Event::PollChat);
        }
    }

    /// Opens the chat's socket.
    pub(crate) fn watch(&mut self, ctx: &mut Context) {
        let named = ctx.peers().offer().chat_url.clone();
        let url = named.and_then(|url| ctx.trusted_url(&url, "chat.ws_url"));
        let own = ctx.workspace();
        let url = url.unwrap_or_else(|| own.resolve("chat/ws").unwrap_or_else(|_| own.clone()));
        self.is_watched = true;
        self.events.push_back(Event::OpenChat(url));
    }

    /// A timer of this machine fired.
    pub(crate) fn handle_timer(&mut self, ctx: &mut Context, timer: Timer) {
        match timer {
            Timer::Wait(ticket) => {
                self.forget_waiter(ctx, ticket);
                let words = "No message from the dashboard came in this time.";
                self.say(ticket, words, false);
            }
            Timer::Progress(ticket) => {
                ctx.set(Timer::Progress(ticket), ctx.limits().progress_every);
                let words = "waiting for a message from the dashboard";
                self.events.push_back(Event::Waiting(ticket, words));
            }
        }
    }

    /// A call of the tool. `away`: why the workspace is not there.
    pub(crate) fn handle_call(
        &mut self,
        ctx: &mut Context,
        ticket: Ticket,
        request: &Request,
        away: Option<&str>,
    ) {
        self.calls.open(ticket, request);
        let arguments = match Arguments::read(request.arguments()) {
            Ok(arguments) => arguments,
            Err(error) => {
                return self.say(ticket, &format!("invalid arguments: {error}"), true);
            }
        };
        if let Some(why) = away {
            let words = format!("the workspace is not connected yet ({why}): try again later");
            return self.say(ticket, &words, true);
        }
        if ctx.peers().was_asked() && !ctx.peers().offer().chat {
            return self.say(ticket, "this workspace does not offer a chat", true);
        }
        match arguments.action.as_deref() {
            Some("read") => self.read(ctx, ticket),
            Some("wait") if self.conversation.unread() > 0 => self.read(ctx, ticket),
            Some("wait") => {
                let has_token = request.progress_token().is_some();
                self.wait(ctx, ticket, arguments.timeout_s, has_token);
            }
            Some("send") => self.send(ctx, ticket, &arguments),
            _ => {
                let words = "invalid arguments: `action` must be one of read, wait, send";
                self.say(ticket, words, true);
            }
        }
    }

    fn read(&mut self, ctx: &Context, ticket: Ticket) {
        let params = self.list(ctx);
        self.events
            .push_back(Event::Ask(Requester::Chat(ticket), MESSAGES, params));
    }

    fn send(&mut self, ctx: &Context, ticket: Ticket, arguments: &Arguments) {
        let text = arguments.text.as_deref();
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return self.say(ticket, "invalid arguments: `text` is missing", true);
        };
        let most = ctx.limits().chat_max_bytes;
        if text.len() > most {
            let words = format!("invalid arguments: `text` is longer than {most} bytes");
            return self.say(ticket, &words, true);
        }
        let params = to_json(&Send {
            text,
            topic: arguments.topic.as_deref(),
            bridge_id: ctx.peers().bridge_id(),
        });
        self.events
            .push_back(Event::Ask(Requester::Chat(ticket), SEND, params));
    }

    /// Hosts give up after 60 s unless they hear of progress.
    fn wait(&mut self, ctx: &mut Context, ticket: Ticket, wanted: Option<f64>, has_token: bool) {
        let (longest, quiet) = (ctx.limits().chat_wait_max, ctx.limits().chat_wait_quiet);
        let most = if has_token { longest } else { quiet };
        let wanted = wanted.filter(|s| s.is_finite());
        let wanted = wanted.map(|s| Duration::from_secs_f64(s.clamp(1.0, longest.as_secs_f64())));
        ctx.set(Timer::Wait(ticket), wanted.unwrap_or(quiet).min(most));
        if has_token {
            ctx.set(Timer::Progress(ticket), ctx.limits().progress_every);
        }
        self.waiters.push_back(ticket);
        if self.is_watched {
            self.events.push_back(Event::PollChat);
        }
    }

    fn forget_waiter(&mut self, ctx: &mut Context, ticket: Ticket) {
        ctx.stop(Timer::Wait(ticket));
        ctx.stop(Timer::Progress(ticket));
        self.waiters.retain(|waiter| *waiter != ticket);
    }

    /// The host took a call back.
    pub(crate) fn withdraw(&mut self, ctx: &mut Context, ticket: Ticket) {
        self.forget_waiter(ctx, ticket);
        self.calls.drop(ticket);
    }

    /// The end: a call that is still open is answered.
    pub(crate) fn end(&mut self, ctx: &mut Context) {
        for ticket in self.calls.tickets() {
            self.forget_waiter(ctx, ticket);
            self.handle_failed(ticket, "the gateway was told to end");
        }
    }

    fn say(&mut self, ticket: Ticket, words: &str, is_error: bool) {
        self.events.extend(self.calls.say(ticket, words, is_error));
    }

    /// Hands over what is unread and lets the workspace know.
    fn hand_over(&mut self, ctx: &Context, ticket: Ticket) {
        let text = self.conversation.transcript();
        self.say(ticket, &text, false);
        self.mark_read(ctx);
    }

    fn mark_read(&mut self, ctx: &Context) {
        if let Some(newest) = self.conversation.mark_read() {
            let params = to_json(&List {
                after: Some(&newest),
                mark_read: Some(&newest),
                limit: 1,
                bridge_id: ctx.peers().bridge_id(),
            });
            self.events
                .push_back(Event::Ask(Requester::Report, MESSAGES, params));
        }
    }

    /// The workspace answered a `read` or a `send`.
    pub(crate) fn handle_answer(&mut self, ctx: &mut Context, ticket: Ticket, answer: &[u8]) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(answer) else {
            return self.handle_failed(ticket, "its answer can not be read");
        };
        if let Some((code, words)) = message.error.and_then(jsonrpc::error_parts) {
            if code == jsonrpc::METHOD_NOT_FOUND {
                self.is_not_offered(ctx);
                return self.handle_failed(ticket, "it does not offer a chat");
            }
            let words = ctx.clean(&words, 300);
            return self.handle_failed(ticket, &words);
        }
        let result = message.result.unwrap_or("{}");
        if jsonrpc::member(result, "messages").is_some() {
            let messages = ChatMessage::list(result, ctx.secrets());
            self.absorb(ctx, messages, true);
            return self.hand_over(ctx, ticket);
        }
        self.say(ticket, "Sent to the dashboard.", false);
        self.mark_read(ctx);
        // What the agent said belongs to the conversation, in its place.
        if self.is_watched {
            self.events.push_back(Event::PollChat);
        }
    }

    /// The workspace did not answer.
    pub(crate) fn handle_failed(&mut self, ticket: Ticket, why: &str) {
        self.say(
            ticket,
            &format!("The chat does not work at the moment: {why}"),
            true,
        );
    }

    fn is_not_offered(&mut self, ctx: &mut Context) {
        ctx.peers_mut().correct(|offer| offer.chat = false);
        if std::mem::take(&mut self.is_watched) {
            self.events.push_back(Event::CloseChat);
        }
    }

    /// It is the turn of a poll.
    pub(crate) fn poll(&mut self, ctx: &Context) {
        let params = self.list(ctx);
        let requester = Requester::Poll(Subject::Chat);
        self.events
            .push_back(Event::Ask(requester, MESSAGES, params));
    }

    fn list(&self, ctx: &Context) -> String {
        to_json(&List {
            after: self.conversation.last_id(),
            limit: 50,
            bridge_id: ctx.peers().bridge_id(),
            ..List::default()
        })
    }

    /// A poll was answered.
    pub(crate) fn handle_polled(&mut self, ctx: &mut Context, answer: &[u8]) {
        if let Ok(Parsed::One(message)) = jsonrpc::parse(answer) {
            let error = message.error.and_then(jsonrpc::error_parts);
            if error.is_some_and(|(code, _)| code == jsonrpc::METHOD_NOT_FOUND) {
                return self.is_not_offered(ctx);
            }
            let messages = ChatMessage::list(message.result.unwrap_or("{}"), ctx.secrets());
            self.absorb(ctx, messages, true);
        }
    }

    /// A message was pushed.
    pub(crate) fn handle_pushed(&mut self, ctx: &mut Context, text: &[u8]) {
        let text = std::str::from_utf8(text).ok();
        if let Some(message) = text.and_then(|text| ChatMessage::pushed(text, ctx.secrets())) {
            self.absorb(ctx, vec![message], false);
        }
    }

    /// True if the workspace counts more unread messages than are known here.
    pub(crate) fn lacks(&self, unread: u64) -> bool {
        self.is_watched && unread > self.conversation.unread() as u64
    }

    /// New messages: only those of a person are for the agent, and only those for this bridge.
    fn absorb(&mut self, ctx: &mut Context, messages: Vec<ChatMessage>, is_list: bool) {
        let own = ctx.peers().bridge_id();
        let ours = |message: &ChatMessage| message.to.as_ref().is_none_or(|to| to == own);
        let limits = ctx.limits();
        let messages = messages.into_iter().filter(ours);
        let news: Vec<ChatMessage> = if is_list {
            let list = messages.map(|message| {
                let unread = message.from == "user";
                (message, unread)
            });
            self.conversation.add_list(list.collect(), limits)
        } else {
            let added = |message: &ChatMessage| {
                let unread = message.from == "user";
                self.conversation.add(message.clone(), unread, limits)
            };
            messages.filter(added).collect()
        };
        let news = news.iter().filter(|news| news.from == "user");
        let mut is_new = false;
        for message in news {
            is_new = true;
            if ctx.has_channel() {
                let params = channel_params(message);
                let method = "notifications/claude/channel";
                let notification = jsonrpc::notification(method, Some(&params));
                self.events.push_back(Event::Notify(notification));
            }
        }
        if is_new {
            ctx.log(Level::Info, || {
                "a message came from the dashboard".to_owned()
            });
            // The one who has waited longest gets what came.
            if let Some(ticket) = self.waiters.front().copied() {
                self.forget_waiter(ctx, ticket);
                self.hand_over(ctx, ticket);
            }
        }
    }

    /// A short text item joins the next successful result of a tool, once for each message.
    pub(crate) fn with_hint(&mut self, ctx: &Context, answer: Vec<u8>) -> Vec<u8> {
        if !ctx.config().chat_hints || self.conversation.unread() == 0 {
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
        let fresh = self.conversation.announce();
        if fresh == 0 {
            return answer;
        }
        let plural = if fresh == 1 { "" } else { "s" };
        let words = jsonrpc::quote(&format!(
            "{fresh} unread message{plural} from the dashboard: call aerostack__agent_chat"
        ));
        let is_empty = content[1..].trim_ascii_start().starts_with(']');
        let comma = if is_empty { "" } else { "," };
        let end = jsonrpc::range_in(message.text, content).end - 1;
        let item = jsonrpc::object([("type", "\"text\""), ("text", &words)]);
        jsonrpc::splice(message.text, &[(end..end, &format!("{comma}{item}"))])
    }
}

/// Claude Code's channel: meta keys are letters, digits, underscore only.
fn channel_params(message: &ChatMessage) -> String {
    #[derive(Serialize)]
    struct Params<'a> {
        content: &'a str,
        meta: Meta<'a>,
    }
    #[derive(Serialize)]
    struct Meta<'a> {
        topic: &'a str,
        message_id: &'a str,
    }
    to_json(&Params {
        content: &message.text,
        meta: Meta {
            topic: message.topic.as_deref().unwrap_or("general"),
            message_id: &message.id,
        },
    })
}

/// Texts and numbers always serialise.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
