//! What the gateway and an Aerostack workspace say to each other beyond MCP: approvals, guardian,
//! heartbeat, chat. All of these shapes stand here, so that a change of the wire format is a change
//! of this file. Unknown members are ignored, camelCase spellings accepted, times are unix seconds
//! or RFC 3339. Texts that people will see come out without secrets, URLs for them only if they lead
//! to a web page.

use super::jsonrpc::{present, quote};
use super::object::{self, Object};
use super::secrets::Secrets;
use super::timestamp::parse_rfc3339;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The error code for "this needs a person's approval".
pub const APPROVAL_NEEDED: i64 = -32050;
/// Where a retried request names the approval that allows it.
pub const APPROVAL_META: &str = "dev.aerostack/approval_id";
/// The longest approval id.
const APPROVAL_ID_MAX: usize = 128;

/// The `data` of a -32050 error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ApprovalNeeded {
    /// Names the approval; see [`is_approval_id`].
    #[serde(default, alias = "approvalId")]
    pub approval_id: String,
    /// Where the decision is pushed.
    #[serde(default, alias = "wsUrl")]
    pub ws_url: Option<String>,
    /// Where the approval's state can be read by GET.
    #[serde(default, alias = "statusUrl")]
    pub status_url: Option<String>,
    /// Unix seconds.
    #[serde(default, alias = "expiresAt", deserialize_with = "unix_seconds")]
    pub expires_at: Option<u64>,
    /// Why it needs approval.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where a person decides.
    #[serde(default, alias = "dashboardUrl")]
    pub dashboard_url: Option<String>,
}

impl ApprovalNeeded {
    /// Reads a raw JSON-RPC error object; `None` unless its data is there and its id is sound.
    pub fn of_error(raw: &str, secrets: &Secrets) -> Option<ApprovalNeeded> {
        #[derive(Deserialize)]
        struct Error<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let error: Error<'_> = object::read(raw).ok()?;
        let mut needed: ApprovalNeeded = object::read(error.data.get()).ok()?;
        secrets.hide_in(&mut needed.reason);
        needed.dashboard_url = page(needed.dashboard_url, secrets);
        is_approval_id(&needed.approval_id).then_some(needed)
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
pub fn is_approval_id(id: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=APPROVAL_ID_MAX).contains(&id.len())
        && id.bytes().all(sound)
        && id.bytes().any(|byte| byte != b'.')
}

/// What has become of an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
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
pub enum Outcome {
    /// `result`.
    Result(String),
    /// `error`.
    Error(String),
    /// Executed, but neither came with it.
    Nothing,
}

/// An approval object: pushed, polled, or returned by a cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalState {
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
    pub fn parse(raw: &str, secrets: &Secrets) -> Option<ApprovalState> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(alias = "approvalId")]
            approval_id: String,
            status: String,
            #[serde(default)]
            note: Option<String>,
            #[serde(default, alias = "decidedBy")]
            decided_by: Option<String>,
            #[serde(borrow, default)]
            params: Option<&'a RawValue>,
            #[serde(borrow, default, deserialize_with = "present")]
            result: Option<&'a RawValue>,
            #[serde(borrow, default)]
            error: Option<&'a RawValue>,
        }
        let wire: Wire<'_> = object::read(raw).ok()?;
        let outcome = match (wire.error, wire.result) {
            (Some(error), _) => Outcome::Error(error.get().to_owned()),
            (None, Some(result)) if result.get() != "null" => {
                Outcome::Result(result.get().to_owned())
            }
            (None, _) => Outcome::Nothing,
        };
        let decision = match (wire.status.as_str(), outcome) {
            ("executed", outcome) => Decision::Executed(outcome),
            ("approved", Outcome::Nothing) => Decision::Approved {
                params: wire.params.map(|raw| raw.get().to_owned()),
            },
            ("approved", outcome) => Decision::Executed(outcome),
            // "An unknown status is pending."
            (word, _) => refusal(word).unwrap_or(Decision::Pending),
        };
        let (mut note, mut decided_by) = (wire.note, wire.decided_by);
        secrets.hide_in(&mut note);
        secrets.hide_in(&mut decided_by);
        Some(ApprovalState {
            approval_id: wire.approval_id,
            decision,
            note,
            decided_by,
        })
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
pub fn approval_params(approval_id: &str, reason: Option<&str>, meta: Option<&str>) -> String {
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
pub struct Offer {
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
    pub fn of_result(raw: &str, secrets: &Secrets) -> Offer {
        let answer = object::read::<wire::Answer>(raw);
        let mut offer = answer.map(Offer::from).unwrap_or_default();
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
}

/// The shapes of the offer as they are on the wire.
mod wire {
    use super::Object;
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Answer {
        #[serde(default)]
        capabilities: Object<Capabilities>,
        #[serde(default, rename = "_meta")]
        meta: Object<Meta>,
    }

    #[derive(Default, Deserialize)]
    struct Capabilities {
        #[serde(default)]
        experimental: Object<Experimental>,
        #[serde(default)]
        extensions: Object<Experimental>,
    }

    #[derive(Default, Deserialize)]
    struct Experimental {
        #[serde(default, alias = "dev.aerostack/workspace")]
        aerostack: Option<Object<Extensions>>,
    }

    #[derive(Default, Deserialize)]
    struct Extensions {
        #[serde(default)]
        approvals: Option<Object<Approvals>>,
        #[serde(default)]
        guardian: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        heartbeat: Option<Object<Heartbeat>>,
        #[serde(default)]
        chat: Option<Object<Chat>>,
    }

    #[derive(Default, Deserialize)]
    struct Approvals {
        #[serde(default, alias = "atMostOnce")]
        at_most_once: bool,
    }

    #[derive(Default, Deserialize)]
    struct Heartbeat {
        #[serde(default, alias = "intervalS")]
        interval_s: Option<u64>,
    }

    #[derive(Default, Deserialize)]
    struct Chat {
        #[serde(default, alias = "wsUrl")]
        ws_url: Option<String>,
    }

    #[derive(Default, Deserialize)]
    struct Meta {
        #[serde(default, rename = "dev.aerostack/workspace")]
        workspace: Object<Workspace>,
        #[serde(default, rename = "dev.aerostack/token")]
        token: Object<Token>,
    }

    #[derive(Default, Deserialize)]
    struct Workspace {
        #[serde(default)]
        slug: Option<String>,
        #[serde(default)]
        name: Option<String>,
        #[serde(default, alias = "dashboardUrl")]
        dashboard_url: Option<String>,
    }

    #[derive(Default, Deserialize)]
    struct Token {
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        role: Option<String>,
    }

    impl From<Answer> for super::Offer {
        fn from(answer: Answer) -> Self {
            let Capabilities {
                experimental,
                extensions,
            } = answer.capabilities.0;
            let offered = experimental.0.aerostack.or(extensions.0.aerostack);
            let known = offered.is_some();
            let Object(offered) = offered.unwrap_or_default();
            let Meta {
                workspace: Object(workspace),
                token: Object(token),
            } = answer.meta.0;
            Self {
                known,
                at_most_once: offered
                    .approvals
                    .is_some_and(|approvals| approvals.0.at_most_once),
                guardian: offered.guardian.is_some(),
                heartbeat: offered.heartbeat.is_some(),
                heartbeat_s: offered
                    .heartbeat
                    .and_then(|heartbeat| heartbeat.0.interval_s),
                chat: offered.chat.is_some(),
                chat_url: offered.chat.and_then(|chat| chat.0.ws_url),
                name: workspace.name.or(workspace.slug),
                dashboard_url: workspace.dashboard_url,
                token_name: token.name,
                token_role: token.role,
            }
        }
    }
}

/// A chat message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ChatMessage {
    /// Names the message in this workspace.
    pub id: String,
    /// "user" or "agent".
    pub from: String,
    /// What was said.
    pub text: String,
    /// Unix seconds.
    #[serde(default, deserialize_with = "unix_seconds")]
    pub at: Option<u64>,
    /// The conversation it belongs to.
    #[serde(default)]
    pub topic: Option<String>,
    /// The bridge it is for; `None`: all.
    #[serde(default)]
    pub to: Option<String>,
}

impl ChatMessage {
    /// Reads a pushed `{"type":"chat","message":{…}}`.
    pub fn pushed(raw: &str, secrets: &Secrets) -> Option<ChatMessage> {
        #[derive(Deserialize)]
        struct Push {
            message: Object<ChatMessage>,
        }
        let push: Push = object::read(raw).ok()?;
        Some(push.message.0.without(secrets))
    }

    /// Reads the `result` of `aerostack/chat/messages`; broken messages are left out.
    pub fn list(raw: &str, secrets: &Secrets) -> Vec<ChatMessage> {
        #[derive(Deserialize)]
        struct Messages<'a> {
            #[serde(borrow, default)]
            messages: Vec<&'a RawValue>,
        }
        let list: Option<Messages<'_>> = object::read(raw).ok();
        let messages = list.map(|list| list.messages).unwrap_or_default();
        messages
            .iter()
            .filter_map(|raw| object::read::<ChatMessage>(raw.get()).ok())
            .map(|message| message.without(secrets))
            .collect()
    }

    fn without(mut self, secrets: &Secrets) -> ChatMessage {
        if let Cow::Owned(text) = secrets.hide(&self.text) {
            self.text = text;
        }
        secrets.hide_in(&mut self.topic);
        self
    }
}

/// What the guardian answers without an approval: `{"decision","note"?}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GuardianDecision {
    /// "approved" or "rejected".
    #[serde(default)]
    pub decision: String,
    /// The reviewer's note.
    #[serde(default)]
    pub note: Option<String>,
    /// Who decided.
    #[serde(default, alias = "decidedBy")]
    pub decided_by: Option<String>,
}

impl GuardianDecision {
    /// Reads a raw `result`; anything else is no decision.
    pub fn parse(raw: &str, secrets: &Secrets) -> GuardianDecision {
        let mut decision: GuardianDecision = object::read(raw).unwrap_or_default();
        secrets.hide_in(&mut decision.note);
        secrets.hide_in(&mut decision.decided_by);
        decision
    }

    /// What it comes to; only the word `approved` lets anything happen.
    pub fn verdict(&self) -> Verdict {
        match self.decision.as_str() {
            "approved" => Verdict::Approved,
            word if refusal(word).is_some() => Verdict::Rejected,
            _ => Verdict::Undecided,
        }
    }
}

/// What a guardian's answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Approved,
    /// A clear no.
    Rejected,
    /// Neither: nothing may happen either.
    Undecided,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct HeartbeatAnswer {
    /// Seconds until the next one.
    #[serde(default, alias = "intervalS")]
    pub interval_s: Option<u64>,
    /// Unread chat messages.
    #[serde(default, alias = "unreadChat")]
    pub unread_chat: Option<u64>,
}

impl HeartbeatAnswer {
    /// Reads a raw `result`; anything else says nothing.
    pub fn parse(raw: &str) -> HeartbeatAnswer {
        object::read(raw).unwrap_or_default()
    }
}

/// Unix seconds from a number (seconds) or an RFC 3339 text; anything else is absent.
fn unix_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Time {
        Number(f64),
        Text(String),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Time::deserialize(deserializer)? {
        Time::Number(seconds) if seconds >= 0.0 => Some(seconds as u64),
        Time::Text(text) => parse_rfc3339(&text).map(|ms| ms / 1_000),
        Time::Number(_) | Time::Other(_) => None,
    })
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
