//! The tools that the gateway adds, in what the host is shown: what a model reads of them, their place
//! among the workspace's tools, and what the gateway says by itself while the workspace is away.

use crate::bridge::context::Context;
use crate::bridge::ids::Era;
use crate::bridge::mcp::{Away, tool_list};
use crate::bridge::request::Request;
use crate::config::BuiltinTools;
use crate::log::Level;
use crate::proto::jsonrpc::{self, Parsed, quote};
use std::borrow::Cow;

/// The guardian's name.
pub(crate) const GUARDIAN: &str = "aerostack__local_guardian";
/// The chat's name.
pub(crate) const CHAT: &str = "aerostack__agent_chat";

/// What both names begin with.
const PREFIX: &str = "aerostack__";

/// One sentence for the host's model.
const INSTRUCTIONS: &str = "Before any risky local operation (deleting or overwriting files, destructive shell commands, git \
push, changing configuration or credentials, deploying, direct database changes) call aerostack__local_guardian and \
proceed only if it answers approved.";

/// The same where a hook asks by itself: one question, not two.
const INSTRUCTIONS_OF_A_HOOK: &str = "A hook asks a person by itself before your own tools do anything risky on this machine: \
aerostack__local_guardian is only for risky operations that none of them does.";

/// How the guardian's description begins, and what it says instead where a hook asks by itself.
const ASK: &str = "Ask a person for approval BEFORE a risky operation on this machine. Call it before EACH such operation and wait \
for its answer.";
const ASK_BESIDE_A_HOOK: &str = "A hook asks a person by itself before your own tools do anything risky: do not ask twice. Call this \
for a risky operation on this machine that none of your own tools does, and wait for its answer.";

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

/// Which built-in tool a request calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `aerostack__local_guardian`.
    Guardian,
    /// `aerostack__agent_chat`.
    Chat,
}

/// The built-in tools in what the host is shown.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// It was said that tools of the workspace are hidden.
    told_hidden: bool,
    /// It was said that the workspace has no tools.
    told_empty: bool,
    /// The host was shown the built-in tools alone because the workspace did not answer.
    is_withheld: bool,
}

/// Whether the built-in tools are offered: with a workspace token always, else if the server offers
/// the extension.
pub(crate) fn are_offered(ctx: &Context) -> bool {
    ctx.config().builtins_always()
        || ctx.config().builtin_tools == BuiltinTools::Auto && ctx.peers().offer().known
}

/// The built-in tool that a request calls, if it calls one.
pub(crate) fn called(ctx: &Context, request: &Request) -> Option<Tool> {
    if request.method() != "tools/call" || !are_offered(ctx) {
        return None;
    }
    match request.name() {
        Some(GUARDIAN) => Some(Tool::Guardian),
        Some(CHAT) => Some(Tool::Chat),
        _ => None,
    }
}

impl Listing {
    /// tools/list: the built-ins join the first page; cursors and all other bytes stay. A workspace
    /// without tools has at least these.
    pub(crate) fn with_builtins(
        &mut self,
        ctx: &mut Context,
        request: &Request,
        answer: Vec<u8>,
        error: Option<i64>,
    ) -> Vec<u8> {
        if !are_offered(ctx) || !request.is_first_page() {
            return answer;
        }
        if error == Some(jsonrpc::METHOD_NOT_FOUND) {
            return jsonrpc::result(request.id(), &only_builtins(ctx, request.era()));
        }
        let Ok(Parsed::One(message)) = jsonrpc::parse(&answer) else {
            return answer;
        };
        let Some((list, tools)) = tool_list(&message) else {
            return answer;
        };
        let is_hidden = |raw: &str| {
            // Most tools do not even hold the prefix, however it is written.
            let candidate = raw.contains(PREFIX) || raw.contains("\\u");
            let name = candidate.then(|| jsonrpc::member(raw, "name"));
            let name = name.flatten().and_then(jsonrpc::string);
            name.is_some_and(|name| DEFINITIONS.iter().any(|(ours, _)| *ours == name))
        };
        let all = tools.iter().map(|raw| raw.get());
        let mut kept: Vec<&str> = all.filter(|raw| !is_hidden(raw)).collect();
        let hidden = tools.len() - kept.len();
        let own = definitions(ctx);
        kept.extend(own.iter().map(|definition| &**definition));
        let merged = format!("[{}]", kept.join(","));
        let place = jsonrpc::range_in(message.text, list);
        let merged = jsonrpc::splice(message.text, &[(place, &merged)]);
        if hidden > 0 && !std::mem::replace(&mut self.told_hidden, true) {
            ctx.log(Level::Warn, || {
                format!(
                    "{hidden} tools of the workspace bear the names of built-in tools and are hidden"
                )
            });
        }
        if tools.is_empty() && !std::mem::replace(&mut self.told_empty, true) {
            ctx.log(Level::Info, || {
                "0 workspace tools: built-in tools are always available".to_owned()
            });
        }
        merged
    }

    /// tools/list of a workspace that can not be reached: the built-ins alone. The host hears of a
    /// change when it is back.
    pub(crate) fn alone(&mut self, ctx: &Context, request: &Request) -> Option<Vec<u8>> {
        let listed = request.method() == "tools/list" && request.is_first_page();
        if !listed || !are_offered(ctx) {
            return None;
        }
        self.is_withheld = true;
        Some(jsonrpc::result(
            request.id(),
            &only_builtins(ctx, request.era()),
        ))
    }

    /// True once, after the host was shown the built-ins alone: it has to look again.
    pub(crate) fn take_withheld(&mut self) -> bool {
        std::mem::take(&mut self.is_withheld)
    }
}

/// The InitializeResult for the host: its instructions name the guardian, its tools can change, and
/// Claude Code gets its channel. Without built-ins nothing changes.
pub(crate) fn adapt_initialize(ctx: &Context, request: &Request, answer: Vec<u8>) -> Vec<u8> {
    if !are_offered(ctx) || request.era() == Era::Modern {
        return answer;
    }
    let Ok(Parsed::One(message)) = jsonrpc::parse(&answer) else {
        return answer;
    };
    let Some(result) = message.result else {
        return answer;
    };
    let place = jsonrpc::range_in(message.text, result);
    jsonrpc::splice(message.text, &[(place, &adapted(ctx, result))])
}

fn adapted(ctx: &Context, result: &str) -> String {
    let old = jsonrpc::member(result, "instructions").and_then(jsonrpc::string);
    let own = match ctx.is_guarded() {
        true => INSTRUCTIONS_OF_A_HOOK,
        false => INSTRUCTIONS,
    };
    let words = match old.as_deref() {
        Some(old) if !old.is_empty() => format!("{old}\n\n{own}"),
        _ => own.to_owned(),
    };
    let capabilities = jsonrpc::member(result, "capabilities").unwrap_or("{}");
    let tools = jsonrpc::member(capabilities, "tools").unwrap_or("{}");
    let tools = jsonrpc::set_member(tools, "listChanged", "true");
    let mut capabilities = jsonrpc::set_member(capabilities, "tools", &tools);
    if ctx.has_channel() {
        let experimental = jsonrpc::member(&capabilities, "experimental").unwrap_or("{}");
        let experimental = jsonrpc::set_member(experimental, "claude/channel", "{}");
        capabilities = jsonrpc::set_member(&capabilities, "experimental", &experimental);
    }
    let result = jsonrpc::set_member(result, "capabilities", &capabilities);
    jsonrpc::set_member(&result, "instructions", &quote(&words))
}

/// The definitions for this host.
fn definitions(ctx: &Context) -> [Cow<'static, str>; 2] {
    let is_guarded = ctx.is_guarded();
    DEFINITIONS.map(|(_, definition)| match is_guarded {
        true => definition.replacen(ASK, ASK_BESIDE_A_HOOK, 1).into(),
        false => definition.into(),
    })
}

/// A ListToolsResult with the built-ins alone.
fn only_builtins(ctx: &Context, era: Era) -> String {
    let kind = match era {
        Era::Modern => ",\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"private\"",
        Era::Legacy => "",
    };
    let definitions = definitions(ctx).join(",");
    format!("{{\"tools\":[{definitions}]{kind}}}")
}

/// The InitializeResult of a gateway whose workspace is away.
fn initialize_result(ctx: &Context, version: &str, why: &str) -> String {
    let words = quote(&format!(
        "The Aerostack workspace is not reachable yet ({why}). Its tools appear by themselves as soon as it is."
    ));
    let changes = "{\"listChanged\":true}";
    let resources = "{\"subscribe\":true,\"listChanged\":true}";
    let capabilities = jsonrpc::object([
        ("tools", changes),
        ("resources", resources),
        ("prompts", changes),
        ("logging", "{}"),
    ]);
    let server = jsonrpc::object([
        ("name", "\"aerostack-gateway\""),
        ("version", concat!("\"", env!("CARGO_PKG_VERSION"), "\"")),
    ]);
    let result = jsonrpc::object([
        ("protocolVersion", quote(version).as_str()),
        ("capabilities", &capabilities),
        ("serverInfo", &server),
        ("instructions", &words),
    ]);
    adapted(ctx, &result)
}

/// What the host is answered while the workspace is away: lists are empty but for the built-ins,
/// pings are answered, settings are kept, the rest waits for a better time.
pub(crate) fn answer_while_away(ctx: &Context, request: &Request, away: &Away) -> Vec<u8> {
    let why = &away.words;
    let result = match request.method() {
        "initialize" => initialize_result(ctx, &away.version, why),
        "tools/list" if request.is_first_page() => only_builtins(ctx, request.era()),
        "resources/list" => "{\"resources\":[]}".to_owned(),
        "resources/templates/list" => "{\"resourceTemplates\":[]}".to_owned(),
        "prompts/list" => "{\"prompts\":[]}".to_owned(),
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
            "{}".to_owned()
        }
        _ => {
            let words = format!(
                "{} failed: the workspace is not connected yet: {why}. It was not executed; its tools appear by themselves",
                request.label()
            );
            let data = Some("{\"executed\":\"no\"}");
            return jsonrpc::error(request.id(), jsonrpc::INTERNAL_ERROR, &words, data);
        }
    };
    jsonrpc::result(request.id(), &result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::testing::context;

    #[test]
    fn definitions_are_json_and_bear_their_names() {
        for (name, definition) in DEFINITIONS {
            let value: serde_json::Value = serde_json::from_str(definition).expect(name);
            assert_eq!(value["name"], name);
            assert!(name.starts_with(PREFIX));
            assert!(value["annotations"]["readOnlyHint"].is_boolean());
            assert_eq!(value["inputSchema"]["type"], "object");
        }
        let ctx = context(&[]);
        serde_json::from_str::<serde_json::Value>(&only_builtins(&ctx, Era::Modern)).expect("json");
        assert!(DEFINITIONS[0].1.contains(ASK), "or a hook changes nothing");
    }
}
