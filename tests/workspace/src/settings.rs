//! How the workspace behaves: set by flags at the start, changed by the admin API while it runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which way a positive decision ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMode {
    /// The decision is `approved`; the gateway sends the request again.
    Approved,
    /// The workspace executes; the decision is `executed` and carries the outcome.
    Executed,
}

/// How answers to requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replies {
    /// JSON, except where a tool has something to say before its answer.
    Auto,
    /// Always JSON.
    Json,
    /// Always an event stream.
    Sse,
}

/// What happens to guardian requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardianMode {
    /// A person decides.
    Ask,
    /// Approved at once.
    Approve,
    /// Rejected at once.
    Reject,
}

/// How WebSocket upgrades are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upgrades {
    /// As asked.
    Accept,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// A plain 200.
    Plain,
    /// No answer at all.
    Hang,
    /// Accepted, then silent: no message, no pong.
    Silent,
    /// Accepted, then text that is no message of ours.
    Rubbish,
}

/// Whether the workspace can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// It can.
    None,
    /// Connections are reset as soon as they are accepted.
    Refuse,
    /// Every request is answered with 503.
    Unavailable,
    /// Every request is answered with 429.
    Limited,
    /// Connections are accepted and then ignored.
    Hang,
}

/// Every setting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Which way a positive decision ends.
    pub approval_mode: ApprovalMode,
    /// Globs of tool names (and `method:` names) that need approval.
    pub gates: Vec<String>,
    /// Seconds until an approval expires; 0: it never does and no `expires_at` is sent.
    pub approval_ttl_s: i64,
    /// Decisions are kept back until they are released.
    pub hold_decisions: bool,
    /// Approvals carry a `status_url`.
    pub status_url: bool,
    /// Members that replace those of the -32050 error's data; null removes.
    pub approval_data: serde_json::Map<String, Value>,
    /// `approvals.at_most_once` is advertised.
    pub at_most_once: bool,
    /// What happens to guardian requests.
    pub guardian: GuardianMode,
    /// The extensions of an Aerostack Workspace are offered.
    pub extensions: bool,
    /// The heartbeat interval that is asked for.
    pub heartbeat_interval_s: u64,
    /// How answers travel.
    pub replies: Replies,
    /// Requests a minute for each token; 0: no limit.
    pub rate_limit: u32,
    /// `initialize` is answered with this version, whatever is asked.
    pub protocol_version: Option<String>,
    /// The handshake era is served.
    pub legacy: bool,
    /// The stateless era is served.
    pub modern: bool,
    /// GET opens an event stream; otherwise 405.
    pub get_stream: bool,
    /// DELETE ends a session; otherwise 405.
    pub delete_session: bool,
    /// Sessions are handed out.
    pub sessions: bool,
    /// The `retry` of event streams, in milliseconds.
    pub retry_ms: u64,
    /// Entries of one page of a list; 0: all.
    pub page_size: usize,
    /// The demo servers' tools, resources and prompts are there.
    pub demo: bool,
    /// No tools at all: tools/list answers -32601 and the capability is absent.
    pub no_tools: bool,
    /// How WebSocket upgrades are answered.
    pub upgrades: Upgrades,
    /// Whether the workspace can be reached.
    pub outage: Outage,
    /// The `instructions` of initialize.
    pub instructions: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            approval_mode: ApprovalMode::Approved,
            gates: vec!["github__delete_repo".to_owned(), "files__delete".to_owned()],
            approval_ttl_s: 3600,
            hold_decisions: false,
            status_url: false,
            approval_data: serde_json::Map::new(),
            at_most_once: true,
            guardian: GuardianMode::Ask,
            extensions: true,
            heartbeat_interval_s: 60,
            replies: Replies::Auto,
            rate_limit: 120,
            protocol_version: None,
            legacy: true,
            modern: true,
            get_stream: true,
            delete_session: true,
            sessions: true,
            retry_ms: 500,
            page_size: 0,
            demo: true,
            no_tools: false,
            upgrades: Upgrades::Accept,
            outage: Outage::None,
            instructions: Some(
                "A local reference workspace. Risky tools wait for a person.".to_owned(),
            ),
        }
    }
}

impl Settings {
    /// Changes the members named in `patch`; the others stay.
    pub fn patch(&self, patch: serde_json::Map<String, Value>) -> Result<Settings, String> {
        let Ok(Value::Object(mut all)) = serde_json::to_value(self) else {
            return Err("settings are not an object".to_owned());
        };
        for (name, value) in patch {
            if !all.contains_key(&name) {
                return Err(format!("unknown setting: {name}"));
            }
            all.insert(name, value);
        }
        serde_json::from_value(Value::Object(all)).map_err(|e| e.to_string())
    }

    /// True if calls of this tool need approval.
    pub fn gated(&self, name: &str) -> bool {
        self.gates
            .iter()
            .any(|g| glob(g.as_bytes(), name.as_bytes()))
    }
}

/// `*` is any text, `?` any one byte.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text) || text.split_first().is_some_and(|(_, t)| glob(pattern, t))
        }
        (Some((b'?', rest)), Some((_, t))) => glob(rest, t),
        (Some((p, rest)), Some((c, t))) => p == c && glob(rest, t),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expect) in [
            ("github__*", "github__delete_repo", true),
            ("*", "", true),
            ("*__delete*", "files__delete", true),
            ("files__?ead", "files__read", true),
            ("files__read", "files__reads", false),
        ] {
            assert_eq!(
                glob(pattern.as_bytes(), text.as_bytes()),
                expect,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn patch_refuses_unknown_names() {
        let patch =
            |text: &str| Settings::default().patch(serde_json::from_str(text).expect("json"));
        assert!(patch(r#"{"nonsense":1}"#).is_err());
        assert!(
            patch(r#"{"approval_mode":"executed"}"#)
                .expect("known")
                .approval_mode
                == ApprovalMode::Executed
        );
    }
}
