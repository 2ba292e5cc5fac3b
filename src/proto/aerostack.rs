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
        struct Error {
            data: ApprovalNeeded,
        }
        let error: Error = serde_json::from_str(raw).ok()?;
        is_approval_id(&error.data.approval_id).then_some(error.data)
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
        let wire: Wire<'_> = serde_json::from_str(raw).ok()?;
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
        ] {
            assert_eq!(ApprovalState::parse(broken), None, "{broken}");
        }
    }
}
