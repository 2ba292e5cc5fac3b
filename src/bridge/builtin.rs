//! The built-in tools' place among the workspace's: they are listed, called and announced here.
//!
//! Owns the definitions that a model reads. What the tools do is `guarding` and `chatting`.

use super::Bridge;
use super::approving::tool_text;
use super::call::Waiting;
use super::ids::{CallId, Era};
use crate::config::BuiltinTools;
use crate::failure::Failure;
use crate::log::Level;
use crate::proto::jsonrpc::{self, Message, Params, Parsed};

/// The guardian's name.
pub(super) const GUARDIAN: &str = "aerostack__local_guardian";
/// The chat's name.
pub(super) const CHAT: &str = "aerostack__agent_chat";

/// One sentence for the host's model.
const INSTRUCTIONS: &str = "Before any risky local operation (deleting or overwriting files, destructive shell commands, git \
push, changing configuration or credentials, deploying, direct database changes) call aerostack__local_guardian and \
proceed only if it answers approved.";

/// The definitions as they are listed. The descriptions are written for the model that decides
/// whether to call. Claude Code hides tools until they are searched for, but for those that say
/// `anthropic/alwaysLoad`; and some hosts' schema readers know no `type` that is a list.
const DEFINITIONS: [(&str, &str); 2] = [
    (
        GUARDIAN,
        concat!(
            r#"{"name":"aerostack__local_guardian","title":"Local Guardian","description":"Ask a person for approval BEFORE a risky "#,
            r#"operation on this machine. Call it before EACH such operation and wait for its answer. Categories: file_delete (deleting "#,
            r#"or overwriting files), shell_destructive (rm -rf, DROP TABLE, killing processes, formatting), git_push (push, force push, "#,
            r#"reset --hard), config_modify (.env, credentials, production configuration), deploy (deploy, publish or release to any "#,
            r#"environment), database (direct changes of data outside migrations). Only the decision approved allows it: with any other "#,
            r#"answer, or none, do NOT proceed and do not try another way to the same effect. A task id, a time-out or a call that "#,
            r#"still runs in the background is NO approval: wait, or call again with the same arguments.","inputSchema":{"type":"object","properties":{"#,
            r#""category":{"type":"string","enum":["file_delete","shell_destructive","git_push","config_modify","deploy","database"],"#,
            r#""description":"What kind of operation it is"},"action":{"type":"string","description":"The exact command or change"},"#,
            r#""details":{"type":"string","description":"Why it is needed and what it affects"},"risk":{"type":"string","#,
            r#""enum":["low","medium","high","critical"],"description":"How bad it would be if it went wrong"},"cwd":{"type":"string","#,
            r#""description":"The directory it runs in"}},"required":["category","action"]},"outputSchema":{"type":"object","properties":{"#,
            r#""decision":{"type":"string","description":"approved, or the reason why not"},"approval_id":{"description":"a string or null"},"#,
            r#""note":{"description":"the person's words or null"},"decided_by":{"description":"who, or null"}},"required":["decision","approval_id","note","#,
            r#""decided_by"]},"annotations":{"title":"Local Guardian","readOnlyHint":true,"destructiveHint":false,"idempotentHint":false,"#,
            r#""openWorldHint":true},"_meta":{"anthropic/alwaysLoad":true}}"#
        ),
    ),
    (
        CHAT,
        concat!(
            r#"{"name":"aerostack__agent_chat","title":"Agent Chat","description":"Talk with the person at the Aerostack dashboard. "#,
            r#"action read: unread messages, with the conversation before them. action wait: wait until a message comes (timeout_s, at "#,
            r#"most 300). action send: send text to the dashboard, to answer or to ask.","inputSchema":{"type":"object","properties":{"#,
            r#""action":{"type":"string","enum":["read","wait","send"]},"text":{"type":"string","description":"For send: the message"},"#,
            r#""topic":{"type":"string","description":"The conversation; leave out for the general one"},"timeout_s":{"type":"number","#,
            r#""minimum":1,"maximum":300,"description":"For wait: seconds, default 50"}},"required":["action"]},"annotations":{"#,
            r#""title":"Agent Chat","readOnlyHint":false,"destructiveHint":false,"idempotentHint":false,"openWorldHint":true},"#,
            r#""_meta":{"anthropic/alwaysLoad":true}}"#
        ),
    ),
];

impl Bridge {
    /// Whether the built-in tools are offered: with a workspace token always, else if the server
    /// offers the extension.
    pub(super) fn has_builtins(&self) -> bool {
        self.config.builtins_always()
            || self.config.builtin_tools == BuiltinTools::Auto && self.workspace.known
    }

    /// Answers what the gateway answers itself. False: the request is the workspace's.
    pub(super) fn answer_locally(&mut self, id: CallId, params: &Params<'_>, era: Era) -> bool {
        let Some(call) = self.calls.get(id) else {
            return false;
        };
        if self.has_builtins() && &*call.method == "tools/call" {
            let arguments = params.arguments.map_or("{}", |raw| raw.get());
            match call.name.as_deref() {
                Some(GUARDIAN) => self.guard(id, arguments),
                Some(CHAT) => self.chat_called(id, arguments),
                _ => return self.answer_offline(id, era),
            }
            return true;
        }
        self.answer_offline(id, era)
    }

    /// A built-in tool's call is the gateway's from here on.
    pub(super) fn keep_local(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(id) {
            call.waiting = Waiting::Local;
            let deadline = call.deadline.take();
            self.disarm(deadline);
        }
    }

    /// A built-in tool says no in words that a model can not misread.
    pub(super) fn tool_refuses(&mut self, id: CallId, words: &str) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let answer = jsonrpc::result(&call.id, &tool_text(words, true, call.era));
        self.complete(id, answer);
    }

    /// The definitions, as members of a JSON array.
    pub(super) fn definitions() -> String {
        DEFINITIONS.map(|(_, definition)| definition).join(",")
    }

    /// tools/list: the built-ins join the first page; cursors and all other bytes stay. A workspace
    /// without tools has at least these.
    pub(super) fn with_builtins(
        &mut self,
        id: CallId,
        answer: Vec<u8>,
        error: Option<i64>,
    ) -> Vec<u8> {
        let Some(call) = self.calls.get(id) else {
            return answer;
        };
        if !self.has_builtins() || !is_first_page(&call.message) {
            return answer;
        }
        if error == Some(-32601) {
            return jsonrpc::result(&call.id, &only_builtins(call.era));
        }
        let Ok(Parsed::One(message)) = jsonrpc::parse(&answer) else {
            return answer;
        };
        let Some((list, tools)) = super::headers::tool_list(&message) else {
            return answer;
        };
        let is_hidden = |raw: &&str| {
            let name = jsonrpc::member(raw, "name").and_then(jsonrpc::string);
            name.is_some_and(|name| DEFINITIONS.iter().any(|(ours, _)| *ours == name))
        };
        let tools: Vec<&str> = tools.iter().map(|raw| raw.get()).collect();
        let hidden = tools.iter().filter(|raw| is_hidden(raw)).count();
        let mut kept: Vec<&str> = tools
            .iter()
            .filter(|raw| !is_hidden(raw))
            .copied()
            .collect();
        kept.extend(DEFINITIONS.iter().map(|(_, definition)| *definition));
        let merged = format!("[{}]", kept.join(","));
        let merged = jsonrpc::splice(
            message.text,
            &[(jsonrpc::range_in(message.text, list), &merged)],
        );
        if hidden > 0 && !std::mem::replace(&mut self.hid_tools, true) {
            self.log(Level::Warn, || format!("{hidden} tools of the workspace bear the names of built-in tools and are hidden"));
        }
        if tools.is_empty() && !std::mem::replace(&mut self.told_empty, true) {
            self.log(Level::Info, || {
                "0 workspace tools: built-in tools are always available".to_owned()
            });
        }
        merged
    }

    /// tools/list of a workspace that can not be reached: "always listed, also when the workspace …
    /// cannot be reached". The host hears of a change when it is back.
    pub(super) fn shows_builtins_alone(&mut self, id: CallId, failure: &Failure) -> bool {
        let Some(call) = self.calls.get(id) else {
            return false;
        };
        let listed = &*call.method == "tools/list" && is_first_page(&call.message);
        let away = failure.is_transient() || matches!(failure, Failure::SessionLost(_));
        if !listed || !self.has_builtins() || !away || self.ending.is_begun() {
            return false;
        }
        let answer = jsonrpc::result(&call.id, &only_builtins(call.era));
        self.tools_withheld = true;
        self.complete(id, answer);
        true
    }

    /// The InitializeResult for the host: its instructions name the guardian, its tools can change,
    /// and Claude Code gets its channel. Without built-ins nothing changes.
    pub(super) fn adapt_initialize(&self, answer: Vec<u8>) -> Vec<u8> {
        if !self.has_builtins() {
            return answer;
        }
        let Ok(Parsed::One(message)) = jsonrpc::parse(&answer) else {
            return answer;
        };
        let Some(result) = message.result else {
            return answer;
        };
        let changed = self.adapted(result);
        jsonrpc::splice(
            message.text,
            &[(jsonrpc::range_in(message.text, result), &changed)],
        )
    }

    pub(super) fn adapted(&self, result: &str) -> String {
        let old = jsonrpc::member(result, "instructions").and_then(jsonrpc::string);
        let words = match old.as_deref() {
            Some(old) if !old.is_empty() => format!("{old}\n\n{INSTRUCTIONS}"),
            _ => INSTRUCTIONS.to_owned(),
        };
        let capabilities = jsonrpc::member(result, "capabilities").unwrap_or("{}");
        let tools = jsonrpc::member(capabilities, "tools").unwrap_or("{}");
        let tools = jsonrpc::set_member(tools, "listChanged", "true");
        let mut capabilities = jsonrpc::set_member(capabilities, "tools", &tools);
        if self.has_channel() {
            let experimental = jsonrpc::member(&capabilities, "experimental").unwrap_or("{}");
            let experimental = jsonrpc::set_member(experimental, "claude/channel", "{}");
            capabilities = jsonrpc::set_member(&capabilities, "experimental", &experimental);
        }
        let result = jsonrpc::set_member(result, "capabilities", &capabilities);
        jsonrpc::set_member(&result, "instructions", &jsonrpc::quote(&words))
    }
}

/// A ListToolsResult with the built-ins alone.
pub(super) fn only_builtins(era: Era) -> String {
    let kind = match era {
        Era::Modern => ",\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"private\"",
        Era::Legacy => "",
    };
    format!("{{\"tools\":[{}]{kind}}}", Bridge::definitions())
}

/// A list request without a cursor.
pub(super) fn is_first_page(message: &[u8]) -> bool {
    let first = |message: &Message<'_>| {
        Params::peek(message.params)
            .cursor
            .is_none_or(|raw| raw.get() == "null")
    };
    matches!(jsonrpc::parse(message), Ok(Parsed::One(message)) if first(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_json_and_bear_their_names() {
        for (name, definition) in DEFINITIONS {
            let value: serde_json::Value = serde_json::from_str(definition).expect(name);
            assert_eq!(value["name"], name);
            assert!(value["annotations"]["readOnlyHint"].is_boolean());
            assert_eq!(value["inputSchema"]["type"], "object");
        }
        serde_json::from_str::<serde_json::Value>(&only_builtins(Era::Modern)).expect("json");
    }
}
