//! The wire contract between the gateway and an Aerostack workspace.
//!
#![doc = include_str!("aerostack.md")]

use super::jsonrpc::{self, quote};
use super::object::{count, fields, flag, text};
use super::secrets::Secrets;
use super::timestamp::parse_rfc3339;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The error code for "this needs a person's approval".
pub(crate) const APPROVAL_NEEDED: i64 = -32050;
/// Where a retried request names the approval that allows it.
pub(crate) const APPROVAL_META: &str = "dev.aerostack/approval_id";
/// The longest approval id.
const APPROVAL_ID_MAX: usize = 128;

/// The `data` of a -32050 error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApprovalNeeded {
    /// Names the approval; see [`is_approval_id`].
    pub approval_id: String,
    /// Where the decision is pushed.
    pub ws_url: Option<String>,
    /// Where the approval's state can be read by GET.
    pub status_url: Option<String>,
    /// Unix seconds.
    pub expires_at: Option<u64>,
    /// Why it needs approval.
    pub reason: Option<String>,
    /// Where a person decides.
    pub dashboard_url: Option<String>,
}

impl ApprovalNeeded {
    /// Reads a raw JSON-RPC error object; `None` unless its data is there and its id is sound.
    pub(crate) fn of_error(raw: &str, secrets: &Secrets) -> Option<ApprovalNeeded> {
        let [data] = fields(raw, ["data"]).ok()?;
        let names = [
            "approval_id|approvalId",
            "ws_url|wsUrl",
            "status_url|statusUrl",
            "expires_at|expiresAt",
            "reason",
            "dashboard_url|dashboardUrl",
        ];
        let [id, ws_url, status_url, expires_at, reason, page_url] = fields(data?, names).ok()?;
        let mut needed = ApprovalNeeded {
            approval_id: text(id).ok()?.filter(|id| is_approval_id(id))?,
            ws_url: text(ws_url).ok()?,
            status_url: text(status_url).ok()?,
            expires_at: unix_seconds(expires_at),
            reason: text(reason).ok()?,
            dashboard_url: page(text(page_url).ok()?, secrets),
        };
        secrets.hide_in(&mut needed.reason);
        Some(needed)
    }
}

/// A URL that is shown to people: terminals and hosts make links of it, so only http(s) counts.
fn page(url: Option<String>, secrets: &Secrets) -> Option<String> {
    let leads_to_a_page = |url: &String| {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
        })
    };
    let mut url = url.filter(leads_to_a_page);
    secrets.hide_in(&mut url);
    url
}

/// "1 to 128 of A-Z a-z 0-9 _ - . and not only dots": it becomes part of a URL.
pub(crate) fn is_approval_id(id: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=APPROVAL_ID_MAX).contains(&id.len())
        && id.bytes().all(sound)
        && id.bytes().any(|byte| byte != b'.')
}

/// What has become of an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Undecided, or a status that this version does not know.
    Pending,
    /// Send the request again; with these params (raw JSON) where the approver edited it.
    Approved {
        /// The edited params.
        params: Option<String>,
    },
    /// The workspace has run it: raw `result` or `error`.
    Executed(Outcome),
    /// A person said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// It was withdrawn.
    Cancelled,
}

/// What an executed approval came to, raw JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// `result`.
    Result(String),
    /// `error`.
    Error(String),
    /// Executed, but neither came with it.
    Nothing,
}

/// An approval object: pushed, polled, or returned by a cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApprovalState {
    /// Whose state this is.
    pub approval_id: String,
    /// What it is.
    pub decision: Decision,
    /// The reviewer's note.
    pub note: Option<String>,
    /// Who decided.
    pub decided_by: Option<String>,
}

impl ApprovalState {
    /// Reads an approval object from raw JSON; `None` if it is none.
    pub(crate) fn parse(raw: &str, secrets: &Secrets) -> Option<ApprovalState> {
        let names = [
            "approval_id|approvalId",
            "status",
            "note",
            "decided_by|decidedBy",
            "params",
            "result",
            "error",
        ];
        let [id, status, note, decided_by, params, result, error] = fields(raw, names).ok()?;
        let given = |raw: Option<&str>| raw.filter(|raw| *raw != "null").map(str::to_owned);
        let outcome = match (given(error), given(result)) {
            (Some(error), _) => Outcome::Error(error),
            (None, Some(result)) => Outcome::Result(result),
            (None, None) => Outcome::Nothing,
        };
        let decision = match (text(status).ok()??.as_str(), outcome) {
            ("executed", outcome) => Decision::Executed(outcome),
            ("approved", Outcome::Nothing) => Decision::Approved {
                params: given(params),
            },
            ("approved", outcome) => Decision::Executed(outcome),
            // "An unknown status is pending."
            (word, _) => refusal(word).unwrap_or(Decision::Pending),
        };
        let mut state = ApprovalState {
            approval_id: text(id).ok()??,
            decision,
            note: text(note).ok()?,
            decided_by: text(decided_by).ok()?,
        };
        secrets.hide_in(&mut state.note);
        secrets.hide_in(&mut state.decided_by);
        Some(state)
    }
}

/// The words for no. Yes is only `approved` and `executed`; every other word decides nothing.
fn refusal(word: &str) -> Option<Decision> {
    Some(match word {
        "rejected" | "denied" | "declined" | "refused" => Decision::Rejected,
        "expired" | "timeout" | "timed_out" => Decision::Expired,
        "cancelled" | "canceled" => Decision::Cancelled,
        _ => return None,
    })
}

/// Params of `aerostack/approvals/get`, and of `…/cancel` with a reason.
pub(crate) fn approval_params(
    approval_id: &str,
    reason: Option<&str>,
    meta: Option<&str>,
) -> String {
    let reason = reason
        .map(|reason| format!(",\"reason\":{}", quote(reason)))
        .unwrap_or_default();
    let meta = meta
        .map(|meta| format!(",\"_meta\":{meta}"))
        .unwrap_or_default();
    format!("{{\"approval_id\":{}{reason}{meta}}}", quote(approval_id))
}

/// What a workspace says of itself in its `initialize` or `server/discover` result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// It knows these extensions at all.
    pub known: bool,
    /// It executes an approval once and answers a repeat with the recorded outcome.
    pub at_most_once: bool,
    /// It takes `aerostack/guardian/request`.
    pub guardian: bool,
    /// It takes heartbeats.
    pub heartbeat: bool,
    /// Seconds between heartbeats.
    pub heartbeat_s: Option<u64>,
    /// It has a chat.
    pub chat: bool,
    /// Where chat messages are pushed.
    pub chat_url: Option<String>,
    /// The workspace's name.
    pub name: Option<String>,
    /// Where a person looks after it.
    pub dashboard_url: Option<String>,
    /// The token's name.
    pub token_name: Option<String>,
    /// The token's role.
    pub token_role: Option<String>,
}

impl Offer {
    /// Reads a raw `result`; a plain server offers nothing.
    pub(crate) fn of_result(raw: &str, secrets: &Secrets) -> Offer {
        let mut offer = Offer::read(raw).unwrap_or_default();
        for text in [
            &mut offer.name,
            &mut offer.token_name,
            &mut offer.token_role,
        ] {
            secrets.hide_in(text);
        }
        offer.dashboard_url = page(offer.dashboard_url, secrets);
        offer
    }

    fn read(raw: &str) -> Option<Offer> {
        let [capabilities, meta] = within(Some(raw), ["capabilities", "_meta"])?;
        let kinds = ["experimental", "extensions"];
        let [experimental, extensions] = within(capabilities, kinds)?;
        let [experimental] = within(experimental, [EXTENSIONS])?;
        let [extensions] = within(extensions, [EXTENSIONS])?;
        let offered = experimental.or(extensions).filter(|raw| *raw != "null");
        let names = ["approvals", "guardian", "heartbeat", "chat"];
        let [approvals, guardian, heartbeat, chat] = within(offered, names)?;
        let there = |raw: Option<&str>| raw.is_some_and(|raw| raw != "null");
        let [at_most_once] = within(approvals, ["at_most_once|atMostOnce"])?;
        let [interval_s] = within(heartbeat, ["interval_s|intervalS"])?;
        let [chat_url] = within(chat, ["ws_url|wsUrl"])?;
        let parts = ["dev.aerostack/workspace", "dev.aerostack/token"];
        let [workspace, token] = within(meta, parts)?;
        let names = ["name", "slug", "dashboard_url|dashboardUrl"];
        let [name, slug, dashboard_url] = within(workspace, names)?;
        let [token_name, token_role] = within(token, ["name", "role"])?;
        Some(Offer {
            known: offered.is_some(),
            at_most_once: flag(at_most_once).ok()?,
            guardian: there(guardian),
            heartbeat: there(heartbeat),
            heartbeat_s: count(interval_s).ok()?,
            chat: there(chat),
            chat_url: text(chat_url).ok()?,
            name: text(name).ok()?.or(text(slug).ok()?),
            dashboard_url: text(dashboard_url).ok()?,
            token_name: text(token_name).ok()?,
            token_role: text(token_role).ok()?,
        })
    }
}

/// Under which names a workspace offers its extensions, in the legacy and in the modern era.
const EXTENSIONS: &str = "aerostack|dev.aerostack/workspace";

/// The members of an object that may be absent or `null`; `None` if it is something else.
fn within<'a, const N: usize>(
    raw: Option<&'a str>,
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    match raw {
        None | Some("null") => Some([None; N]),
        Some(raw) => fields(raw, names).ok(),
    }
}

/// A chat message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatMessage {
    /// Names the message in this workspace.
    pub id: String,
    /// "user" or "agent".
    pub from: String,
    /// What was said.
    pub text: String,
    /// Unix seconds.
    pub at: Option<u64>,
    /// The conversation it belongs to.
    pub topic: Option<String>,
    /// The bridge it is for; `None`: all.
    pub to: Option<String>,
}

impl ChatMessage {
    /// Reads a pushed `{"type":"chat","message":{…}}`.
    pub(crate) fn pushed(raw: &str, secrets: &Secrets) -> Option<ChatMessage> {
        let [message] = fields(raw, ["message"]).ok()?;
        ChatMessage::read(message?, secrets)
    }

    /// Reads the `result` of `aerostack/chat/messages`; broken messages are left out.
    pub(crate) fn list(raw: &str, secrets: &Secrets) -> Vec<ChatMessage> {
        let list = fields(raw, ["messages"]).ok().and_then(|[list]| list);
        let list = list.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list).ok());
        let list = list.unwrap_or_default();
        let messages = list.iter().map(|raw| raw.get());
        messages
            .filter_map(|raw| ChatMessage::read(raw, secrets))
            .collect()
    }

    fn read(raw: &str, secrets: &Secrets) -> Option<ChatMessage> {
        let names = ["id", "from", "text", "at", "topic", "to"];
        let [id, from, words, at, topic, to] = fields(raw, names).ok()?;
        let mut message = ChatMessage {
            id: text(id).ok()??,
            from: text(from).ok()??,
            text: text(words).ok()??,
            at: unix_seconds(at),
            topic: text(topic).ok()?,
            to: text(to).ok()?,
        };
        if let Cow::Owned(words) = secrets.hide(&message.text) {
            message.text = words;
        }
        secrets.hide_in(&mut message.topic);
        Some(message)
    }
}

/// What the guardian answers without an approval: `{"decision","note"?}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuardianDecision {
    /// "approved" or "rejected".
    pub decision: String,
    /// The reviewer's note.
    pub note: Option<String>,
    /// Who decided.
    pub decided_by: Option<String>,
}

impl GuardianDecision {
    /// Reads a raw `result`; anything else is no decision.
    pub(crate) fn parse(raw: &str, secrets: &Secrets) -> GuardianDecision {
        let mut decision = GuardianDecision::read(raw).unwrap_or_default();
        secrets.hide_in(&mut decision.note);
        secrets.hide_in(&mut decision.decided_by);
        decision
    }

    fn read(raw: &str) -> Option<GuardianDecision> {
        let names = ["decision", "note", "decided_by|decidedBy"];
        let [decision, note, decided_by] = fields(raw, names).ok()?;
        Some(GuardianDecision {
            decision: text(decision).ok()?.unwrap_or_default(),
            note: text(note).ok()?,
            decided_by: text(decided_by).ok()?,
        })
    }

    /// What it comes to; only the word `approved` lets anything happen.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.decision.as_str() {
            "approved" => Verdict::Approved,
            word if refusal(word).is_some() => Verdict::Rejected,
            _ => Verdict::Undecided,
        }
    }
}

/// What a guardian's answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Approved,
    /// A clear no.
    Rejected,
    /// Neither: nothing may happen either.
    Undecided,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeartbeatAnswer {
    /// Seconds until the next one.
    pub interval_s: Option<u64>,
    /// Unread chat messages.
    pub unread_chat: Option<u64>,
}

impl HeartbeatAnswer {
    /// Reads a raw `result`; anything else says nothing.
    pub(crate) fn parse(raw: &str) -> HeartbeatAnswer {
        HeartbeatAnswer::read(raw).unwrap_or_default()
    }

    fn read(raw: &str) -> Option<HeartbeatAnswer> {
        let names = ["interval_s|intervalS", "unread_chat|unreadChat"];
        let [interval_s, unread_chat] = fields(raw, names).ok()?;
        Some(HeartbeatAnswer {
            interval_s: count(interval_s).ok()?,
            unread_chat: count(unread_chat).ok()?,
        })
    }
}

/// Unix seconds from a number (seconds) or an RFC 3339 text; anything else is absent.
fn unix_seconds(raw: Option<&str>) -> Option<u64> {
    let raw = raw?;
    match jsonrpc::string(raw) {
        Some(text) => parse_rfc3339(&text).map(|ms| ms / 1_000),
        None => {
            let seconds = jsonrpc::number(raw).filter(|seconds| *seconds >= 0.0)?;
            Some(seconds as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Secrets {
        Secrets::default()
    }

    #[test]
    fn approval_ids_can_stand_in_a_path() {
        for id in ["apr_1", "a.b-c_D9", &"x".repeat(128)] {
            assert!(is_approval_id(id), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "å", "a?b", &"x".repeat(129)] {
            assert!(!is_approval_id(id), "{id}");
        }
    }

    #[test]
    fn needed_is_read_tolerantly() {
        let raw = r#"{"code":-32050,"message":"m","data":{"approvalId":"apr_1","ws_url":"/x","expires_at":"1970-01-01T00:01:00Z","new":1}}"#;
        let needed = ApprovalNeeded::of_error(raw, &none()).expect("read");
        assert_eq!(
            (needed.approval_id.as_str(), needed.expires_at),
            ("apr_1", Some(60))
        );
        let raw = r#"{"code":-32050,"message":"m","data":{"approval_id":"a/../b"}}"#;
        assert_eq!(ApprovalNeeded::of_error(raw, &none()), None);
        assert_eq!(
            ApprovalNeeded::of_error(r#"{"code":-32050,"message":"m"}"#, &none()),
            None
        );
        let raw = r#"{"code":-32050,"data":{"approval_id":"a","expires_at":{"x":1}}}"#;
        assert_eq!(
            ApprovalNeeded::of_error(raw, &none()).and_then(|needed| needed.expires_at),
            None
        );
    }

    #[test]
    fn offers_are_read_from_both_eras() {
        let legacy = r#"{"capabilities":{"experimental":{"aerostack":{"approvals":{"at_most_once":true},"guardian":{},
            "heartbeat":{"interval_s":5},"chat":{"ws_url":"/c"}}}},"_meta":{"dev.aerostack/workspace":{"slug":"s"},
            "dev.aerostack/token":{"name":"t","role":"editor"}}}"#;
        let offer = Offer::of_result(legacy, &none());
        assert!(
            offer.known && offer.at_most_once && offer.guardian && offer.chat && offer.heartbeat
        );
        assert_eq!(
            (offer.heartbeat_s, offer.name.as_deref()),
            (Some(5), Some("s"))
        );
        let modern = r#"{"capabilities":{"extensions":{"dev.aerostack/workspace":{"guardian":{}},"other":5}}}"#;
        let offer = Offer::of_result(modern, &none());
        assert!(offer.known && offer.guardian && !offer.chat && !offer.at_most_once);
        for plain in [
            "{}",
            "[]",
            r#"{"capabilities":{"tools":{}}}"#,
            r#"{"capabilities":5}"#,
        ] {
            assert_eq!(
                Offer::of_result(plain, &none()),
                Offer::default(),
                "{plain}"
            );
        }
    }

    #[test]
    fn broken_chat_messages_do_not_hide_the_others() {
        let raw = r#"{"messages":[{"id":"1","from":"user","text":"a","at":5},{"id":2},{"id":"3","from":"agent","text":"b"}]}"#;
        let ids: Vec<String> = ChatMessage::list(raw, &none())
            .into_iter()
            .map(|m| m.id)
            .collect();
        assert_eq!(ids, ["1", "3"]);
    }

    #[test]
    fn only_the_word_approved_is_an_approval() {
        let check = |rest: &str, expect: Decision| {
            let raw = format!(r#"{{"type":"approval","approval_id":"a",{rest}}}"#);
            assert_eq!(
                ApprovalState::parse(&raw, &none()).map(|state| state.decision),
                Some(expect),
                "{raw}"
            );
        };
        check(
            r#""status":"approved""#,
            Decision::Approved { params: None },
        );
        check(
            r#""status":"approved","params":{"a":1.0}"#,
            Decision::Approved {
                params: Some(r#"{"a":1.0}"#.into()),
            },
        );
        check(
            r#""status":"executed","result":{"x":1E400}"#,
            Decision::Executed(Outcome::Result(r#"{"x":1E400}"#.into())),
        );
        check(
            r#""status":"executed""#,
            Decision::Executed(Outcome::Nothing),
        );
        check(r#""status":"rejected","result":{}"#, Decision::Rejected);
        for status in ["Approved", "approve", "ok", "", "APPROVED", "granted"] {
            check(&format!(r#""status":"{status}""#), Decision::Pending);
        }
        for broken in [
            "{}",
            "[]",
            "1",
            r#"{"approval_id":"a"}"#,
            r#"{"approval_id":"a","status":true}"#,
            r#"["a","approved"]"#,
        ] {
            assert_eq!(ApprovalState::parse(broken, &none()), None, "{broken}");
        }
        for broken in [r#"["approved"]"#, r#""approved""#, "null", ""] {
            assert_eq!(
                GuardianDecision::parse(broken, &none()).decision,
                "",
                "{broken}"
            );
        }
    }
    #[test]
    fn the_words_for_no() {
        let decision = |status: &str| {
            let raw = format!(r#"{{"approval_id":"a","status":"{status}"}}"#);
            ApprovalState::parse(&raw, &none()).map(|state| state.decision)
        };
        let verdict = |word: &str| {
            let raw = format!(r#"{{"decision":"{word}"}}"#);
            GuardianDecision::parse(&raw, &none()).verdict()
        };
        for (word, expect) in [
            ("rejected", Decision::Rejected),
            ("denied", Decision::Rejected),
            ("declined", Decision::Rejected),
            ("refused", Decision::Rejected),
            ("expired", Decision::Expired),
            ("timeout", Decision::Expired),
            ("timed_out", Decision::Expired),
            ("cancelled", Decision::Cancelled),
            ("canceled", Decision::Cancelled),
        ] {
            assert_eq!(decision(word), Some(expect), "{word}");
            assert_eq!(verdict(word), Verdict::Rejected, "{word}");
        }
        for word in ["pending", "escalated", "no", "Denied", "denied ", ""] {
            assert_eq!(decision(word), Some(Decision::Pending), "{word}");
            assert_eq!(verdict(word), Verdict::Undecided, "{word}");
        }
        assert_eq!(verdict("approved"), Verdict::Approved);
        assert_eq!(verdict("executed"), Verdict::Undecided);
    }

    /// Whatever a shape is filled from by position, it is none of ours.
    #[test]
    fn arrays_are_no_objects_at_any_depth() {
        assert_eq!(
            ApprovalNeeded::of_error(r#"{"code":-32050,"data":["apr_1"]}"#, &none()),
            None
        );
        assert_eq!(
            ApprovalNeeded::of_error(r#"[{"approval_id":"apr_1"}]"#, &none()),
            None
        );
        for raw in [
            r#"[{"experimental":{"aerostack":{"guardian":{}}}}]"#,
            r#"{"capabilities":[{"aerostack":{"guardian":{}}}]}"#,
            r#"{"capabilities":{"experimental":[{"guardian":{}}]}}"#,
            r#"{"capabilities":{"experimental":{"aerostack":[{"at_most_once":true},{}]}}}"#,
            r#"{"capabilities":{"experimental":{"aerostack":{"approvals":[true]}}}}"#,
            r#"{"_meta":[{"name":"n"}]}"#,
            r#"{"_meta":{"dev.aerostack/workspace":["s","n"]}}"#,
        ] {
            assert_eq!(Offer::of_result(raw, &none()), Offer::default(), "{raw}");
        }
        let messages = r#"{"messages":[["1","user","text"]]}"#;
        assert_eq!(ChatMessage::list(messages, &none()), []);
        assert_eq!(
            ChatMessage::pushed(r#"{"message":["1","user","text"]}"#, &none()),
            None
        );
        assert_eq!(
            ChatMessage::pushed(r#"[{"id":"1","from":"user","text":"t"}]"#, &none()),
            None
        );
        assert_eq!(HeartbeatAnswer::parse("[5,7]"), HeartbeatAnswer::default());
    }

    #[test]
    fn what_people_see_holds_no_secret_and_no_script() {
        let secrets = Secrets::new(["mwt_SECRET0123"]);
        let check = |url: &str, expect: Option<&str>| {
            let raw = format!(
                r#"{{"code":-32050,"data":{{"approval_id":"a","reason":"for mwt_SECRET0123","dashboard_url":"{url}"}}}}"#
            );
            let needed = ApprovalNeeded::of_error(&raw, &secrets).expect("needed");
            assert_eq!(needed.dashboard_url.as_deref(), expect, "{url}");
            assert_eq!(needed.reason.as_deref(), Some("for ***"));
            let raw = format!(
                r#"{{"_meta":{{"dev.aerostack/workspace":{{"name":"mwt_SECRET0123","dashboard_url":"{url}"}}}}}}"#
            );
            let offer = Offer::of_result(&raw, &secrets);
            assert_eq!(offer.dashboard_url.as_deref(), expect, "{url}");
            assert_eq!(offer.name.as_deref(), Some("***"));
        };
        check("https://a.example/x", Some("https://a.example/x"));
        check("HTTP://a.example", Some("HTTP://a.example"));
        check(
            "https://a.example/?t=mwt%5FSECRET0123&x",
            Some("https://a.example/?t=***&x"),
        );
        for script in [
            "javascript:alert(1)",
            "JavaScript://a.example/%0Aalert(1)",
            " javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "//a.example",
            "https:a.example",
            "",
        ] {
            check(script, None);
        }
        let raw = r#"{"approval_id":"a","status":"denied","note":"not \u006dwt_SECRET0123","decided_by":"mwt_SECRET0123","result":{"mwt_SECRET0123":1}}"#;
        let state = ApprovalState::parse(raw, &secrets).expect("a state");
        assert_eq!(state.note.as_deref(), Some("not ***"));
        assert_eq!(state.decided_by.as_deref(), Some("***"));
        // The outcome is the workspace's answer: byte for byte.
        let raw = r#"{"approval_id":"a","status":"executed","result":{"mwt_SECRET0123":1}}"#;
        let outcome = Outcome::Result(r#"{"mwt_SECRET0123":1}"#.to_owned());
        let state = ApprovalState::parse(raw, &secrets).expect("a state");
        assert_eq!(state.decision, Decision::Executed(outcome));
    }
}
