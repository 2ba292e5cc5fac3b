//! What the gateway and an Aerostack workspace say to each other beyond MCP: approvals, guardian,
//! heartbeat, chat. All of these shapes stand here, so that a change of the wire format is a change
//! of this file. Unknown members are ignored, camelCase spellings accepted, times are unix seconds
//! or RFC 3339.

use super::jsonrpc::{present, quote};
use super::timestamp::parse_rfc3339;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The error code for "this needs a person's approval".
pub const APPROVAL_NEEDED: i64 = -32050;
/// Where a retried request names the approval that allows it.
pub const APPROVAL_META: &str = "dev.aerostack/approval_id";
/// The longest approval id.
const APPROVAL_ID_MAX: usize = 128;

/// Reads an object. Only an object: serde fills a struct from an array, too, so that `["approved"]`
/// would pass for a decision.
fn read<'a, T: Deserialize<'a>>(raw: &'a str) -> Option<T> {
    let is_object = raw.trim_ascii_start().starts_with('{');
    is_object.then(|| serde_json::from_str(raw).ok())?
}

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
    pub fn of_error(raw: &str) -> Option<ApprovalNeeded> {
        #[derive(Deserialize)]
        struct Error<'a> {
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let error: Error<'_> = read(raw)?;
        let needed: ApprovalNeeded = read(error.data.get())?;
        is_approval_id(&needed.approval_id).then_some(needed)
    }
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
    pub fn parse(raw: &str) -> Option<ApprovalState> {
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
        let wire: Wire<'_> = read(raw)?;
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
            ("rejected", _) => Decision::Rejected,
            ("expired", _) => Decision::Expired,
            ("cancelled" | "canceled", _) => Decision::Cancelled,
            // "An unknown status is pending."
            _ => Decision::Pending,
        };
        let (note, decided_by) = (wire.note, wire.decided_by);
        Some(ApprovalState {
            approval_id: wire.approval_id,
            decision,
            note,
            decided_by,
        })
    }
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
    pub fn of_result(raw: &str) -> Offer {
        serde_json::from_str::<wire::Answer>(raw)
            .map(Offer::from)
            .unwrap_or_default()
    }
}

/// The shapes of the offer as they are on the wire.
mod wire {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Answer {
        #[serde(default)]
        capabilities: Capabilities,
        #[serde(default, rename = "_meta")]
        meta: Meta,
    }

    #[derive(Default, Deserialize)]
    struct Capabilities {
        #[serde(default)]
        experimental: Experimental,
        #[serde(default)]
        extensions: Experimental,
    }

    #[derive(Default, Deserialize)]
    struct Experimental {
        #[serde(default, alias = "dev.aerostack/workspace")]
        aerostack: Option<Extensions>,
    }

    #[derive(Default, Deserialize)]
    struct Extensions {
        #[serde(default)]
        approvals: Option<Approvals>,
        #[serde(default)]
        guardian: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        heartbeat: Option<Heartbeat>,
        #[serde(default)]
        chat: Option<Chat>,
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
        workspace: Workspace,
        #[serde(default, rename = "dev.aerostack/token")]
        token: Token,
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
            } = answer.capabilities;
            let offered = experimental.aerostack.or(extensions.aerostack);
            let known = offered.is_some();
            let offered = offered.unwrap_or_default();
            let Meta { workspace, token } = answer.meta;
            Self {
                known,
                at_most_once: offered
                    .approvals
                    .is_some_and(|approvals| approvals.at_most_once),
                guardian: offered.guardian.is_some(),
                heartbeat: offered.heartbeat.is_some(),
                heartbeat_s: offered.heartbeat.and_then(|heartbeat| heartbeat.interval_s),
                chat: offered.chat.is_some(),
                chat_url: offered.chat.and_then(|chat| chat.ws_url),
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
    pub fn pushed(raw: &str) -> Option<ChatMessage> {
        #[derive(Deserialize)]
        struct Push {
            message: ChatMessage,
        }
        serde_json::from_str::<Push>(raw)
            .ok()
            .map(|push| push.message)
    }

    /// Reads the `result` of `aerostack/chat/messages`; broken messages are left out.
    pub fn list(raw: &str) -> Vec<ChatMessage> {
        #[derive(Deserialize)]
        struct Messages<'a> {
            #[serde(borrow, default)]
            messages: Vec<&'a RawValue>,
        }
        let list: Option<Messages<'_>> = serde_json::from_str(raw).ok();
        let messages = list.map(|list| list.messages).unwrap_or_default();
        messages
            .iter()
            .filter_map(|raw| serde_json::from_str(raw.get()).ok())
            .collect()
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
    pub fn parse(raw: &str) -> GuardianDecision {
        read(raw).unwrap_or_default()
    }
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
        let needed = ApprovalNeeded::of_error(raw).expect("read");
        assert_eq!(
            (needed.approval_id.as_str(), needed.expires_at),
            ("apr_1", Some(60))
        );
        let raw = r#"{"code":-32050,"message":"m","data":{"approval_id":"a/../b"}}"#;
        assert_eq!(ApprovalNeeded::of_error(raw), None);
        assert_eq!(
            ApprovalNeeded::of_error(r#"{"code":-32050,"message":"m"}"#),
            None
        );
        let raw = r#"{"code":-32050,"data":{"approval_id":"a","expires_at":{"x":1}}}"#;
        assert_eq!(
            ApprovalNeeded::of_error(raw).and_then(|needed| needed.expires_at),
            None
        );
    }

    #[test]
    fn offers_are_read_from_both_eras() {
        let legacy = r#"{"capabilities":{"experimental":{"aerostack":{"approvals":{"at_most_once":true},"guardian":{},
            "heartbeat":{"interval_s":5},"chat":{"ws_url":"/c"}}}},"_meta":{"dev.aerostack/workspace":{"slug":"s"},
            "dev.aerostack/token":{"name":"t","role":"editor"}}}"#;
        let offer = Offer::of_result(legacy);
        assert!(
            offer.known && offer.at_most_once && offer.guardian && offer.chat && offer.heartbeat
        );
        assert_eq!(
            (offer.heartbeat_s, offer.name.as_deref()),
            (Some(5), Some("s"))
        );
        let modern = r#"{"capabilities":{"extensions":{"dev.aerostack/workspace":{"guardian":{}},"other":5}}}"#;
        let offer = Offer::of_result(modern);
        assert!(offer.known && offer.guardian && !offer.chat && !offer.at_most_once);
        for plain in [
            "{}",
            "[]",
            r#"{"capabilities":{"tools":{}}}"#,
            r#"{"capabilities":5}"#,
        ] {
            assert_eq!(Offer::of_result(plain), Offer::default(), "{plain}");
        }
    }

    #[test]
    fn broken_chat_messages_do_not_hide_the_others() {
        let raw = r#"{"messages":[{"id":"1","from":"user","text":"a","at":5},{"id":2},{"id":"3","from":"agent","text":"b"}]}"#;
        let ids: Vec<String> = ChatMessage::list(raw).into_iter().map(|m| m.id).collect();
        assert_eq!(ids, ["1", "3"]);
    }

    #[test]
    fn only_the_word_approved_is_an_approval() {
        let check = |rest: &str, expect: Decision| {
            let raw = format!(r#"{{"type":"approval","approval_id":"a",{rest}}}"#);
            assert_eq!(
                ApprovalState::parse(&raw).map(|state| state.decision),
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
            assert_eq!(ApprovalState::parse(broken), None, "{broken}");
        }
        for broken in [r#"["approved"]"#, r#""approved""#, "null", ""] {
            assert_eq!(GuardianDecision::parse(broken).decision, "", "{broken}");
        }
    }
}
