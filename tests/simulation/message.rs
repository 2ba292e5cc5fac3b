//! How the simulation reads JSON-RPC: with serde_json alone, so that the engine's own reader is
//! checked and not trusted.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Notification,
    Response,
}

/// The text of `params.requestId` as it was written.
pub(crate) fn request_id(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        params: Option<Inner<'a>>,
    }
    #[derive(Deserialize)]
    struct Inner<'a> {
        #[serde(borrow, rename = "requestId")]
        request_id: Option<&'a RawValue>,
    }
    let outer: Outer<'_> = serde_json::from_str(text).ok()?;
    Some(outer.params?.request_id?.get().to_owned())
}

/// One message, its parts owned.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// The id's own text; "null" where it is null or absent.
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<Value>,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<Value>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Message {
    /// `None` if the text is no single JSON-RPC message.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let members: Members<'_> = serde_json::from_str(text).ok()?;
        let method = match &members.method {
            Some(Value::String(method)) => Some(method.clone()),
            Some(_) => return None,
            None => None,
        };
        let value = |raw: Option<&RawValue>| {
            raw.map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap_or(Value::Null))
        };
        // Member by member: one that serde_json can not hold (1E400) hides no other.
        let object = |raw: Option<&RawValue>| {
            let members: BTreeMap<String, &RawValue> =
                raw.and_then(|raw| serde_json::from_str(raw.get()).ok())?;
            let pairs = members
                .into_iter()
                .map(|(name, raw)| (name, value(Some(raw))));
            Some(
                pairs
                    .map(|(name, value)| (name, value.unwrap_or(Value::Null)))
                    .collect(),
            )
        };
        let answers = members.result.is_some() || members.error.is_some();
        let kind = match (&method, members.id, answers) {
            (Some(_), Some(_), false) => Kind::Request,
            (Some(_), None, false) => Kind::Notification,
            (None, _, true) => Kind::Response,
            _ => return None,
        };
        Some(Self {
            kind,
            id: members
                .id
                .map_or_else(|| "null".to_owned(), |raw| raw.get().to_owned()),
            method: method.unwrap_or_default(),
            params: object(members.params).unwrap_or(Value::Null),
            result: value(members.result),
            error: value(members.error),
        })
    }

    /// The number that the simulated host gives each of its requests.
    pub(crate) fn nonce(&self) -> Option<u64> {
        self.params.get("_meta")?.get("sim/nonce")?.as_u64()
    }

    /// What the request is about: the same for one that is repeated.
    pub(crate) fn key(&self) -> Option<u64> {
        self.params.get("_meta")?.get("sim/key")?.as_u64()
    }

    /// The modern era's version, if the message carries one.
    pub(crate) fn version(&self) -> Option<&str> {
        self.params
            .get("_meta")?
            .get("io.modelcontextprotocol/protocolVersion")?
            .as_str()
    }

    /// Requests and notifications of the modern era.
    pub(crate) fn is_modern(&self) -> bool {
        self.version().is_some()
            || matches!(
                self.method.as_str(),
                "server/discover" | "subscriptions/listen"
            )
    }

    /// What may run twice (issue 2: initialize, ping, */list, */read, prompts/get, server/discover).
    pub(crate) fn is_safe(&self) -> bool {
        matches!(
            self.method.as_str(),
            "initialize" | "ping" | "prompts/get" | "server/discover"
        ) || self.method.ends_with("/list")
            || self.method.ends_with("/read")
    }

    /// True for ids that the gateway makes.
    pub(crate) fn is_gateways(&self) -> bool {
        self.id.starts_with("\"aerostack-gateway/")
    }
}
