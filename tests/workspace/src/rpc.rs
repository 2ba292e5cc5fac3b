//! JSON-RPC 2.0 messages: what comes in is classified, what goes out is built as text.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::raw::{RawObject, raw};

/// The text was not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The message is not a JSON-RPC 2.0 message.
pub const INVALID_REQUEST: i64 = -32600;
/// The method does not exist here.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters do not fit the method.
pub const INVALID_PARAMS: i64 = -32602;
/// Our own failure.
pub const INTERNAL_ERROR: i64 = -32603;
/// A header and the body disagree (2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;
/// The client lacks a capability that the request needs (2026-07-28).
pub const MISSING_CAPABILITY: i64 = -32021;
/// The protocol version is not served (2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;
/// A person has to approve the request first.
pub const APPROVAL_REQUIRED: i64 = -32050;

/// What a request came to: a raw result, or an error.
pub type Outcome = Result<Box<RawValue>, RpcError>;

/// A JSON-RPC error object, kept as raw JSON so that an upstream's error passes unchanged.
#[derive(Clone, Debug)]
pub struct RpcError {
    /// The error code, once more as a number.
    pub code: i64,
    /// The whole error object.
    pub raw: Box<RawValue>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        let message = message.into();
        RpcError {
            code,
            raw: raw(&serde_json::json!({ "code": code, "message": message })),
        }
    }

    /// An error with data.
    pub fn with_data(code: i64, message: impl Into<String>, data: &RawValue) -> Self {
        #[derive(Serialize)]
        struct Object<'a> {
            code: i64,
            message: String,
            data: &'a RawValue,
        }
        RpcError {
            code,
            raw: raw(&Object {
                code,
                message: message.into(),
                data,
            }),
        }
    }

    /// Takes over an error object of somebody else.
    pub fn from_raw(object: Box<RawValue>) -> Self {
        let code = RawObject::parse(object.get()).and_then(|o| o.read("code"));
        RpcError {
            code: code.unwrap_or(INTERNAL_ERROR),
            raw: object,
        }
    }

    /// The parameters do not fit.
    pub fn params(message: impl Into<String>) -> Self {
        RpcError::new(INVALID_PARAMS, message)
    }
}

/// One JSON-RPC message, classified.
#[derive(Clone, Debug)]
pub enum Message {
    /// Wants an answer.
    Request {
        /// The id as it came, type included.
        id: Box<RawValue>,
        /// The method.
        method: String,
        /// The parameters; empty when absent.
        params: RawObject,
    },
    /// Wants none.
    Notification {
        /// The method.
        method: String,
        /// The parameters; empty when absent.
        params: RawObject,
    },
    /// Answers one of our own requests.
    Response {
        /// The id that we gave the request.
        id: Box<RawValue>,
        /// The result or the error object.
        outcome: Outcome,
    },
}

/// Why a text is not a message, with the id where one could be read.
#[derive(Debug)]
pub struct BadMessage {
    /// The request's id, if it had a usable one.
    pub id: Option<Box<RawValue>>,
    /// What to answer.
    pub error: RpcError,
}

impl Message {
    /// Reads one message. JSON that is no JSON-RPC 2.0 message is refused, as the specification demands.
    pub fn parse(text: &str) -> Result<Message, BadMessage> {
        let bad = |id, code, message: &str| BadMessage {
            id,
            error: RpcError::new(code, message),
        };
        if serde_json::from_str::<&RawValue>(text).is_err() {
            return Err(bad(None, PARSE_ERROR, "parse error: the body is not JSON"));
        }
        let Some(wire) = RawObject::parse(text) else {
            return Err(bad(
                None,
                INVALID_REQUEST,
                "invalid request: not a JSON-RPC message",
            ));
        };
        let id = match wire.get("id") {
            Some(id) if !is_request_id(id) => {
                let why = "invalid request: id must be a string or an integer";
                return Err(bad(None, INVALID_REQUEST, why));
            }
            id => id.map(ToOwned::to_owned),
        };
        if wire.string("jsonrpc").as_deref() != Some("2.0") {
            return Err(bad(
                id,
                INVALID_REQUEST,
                "invalid request: jsonrpc must be \"2.0\"",
            ));
        }
        let params = match wire.get("params") {
            None => RawObject::default(),
            Some(p) => match RawObject::parse(p.get()) {
                Some(object) => object,
                None => {
                    return Err(bad(
                        id,
                        INVALID_REQUEST,
                        "invalid request: params must be an object",
                    ));
                }
            },
        };
        let own = |name: &str| wire.get(name).map(ToOwned::to_owned);
        match (id, wire.string("method"), own("result"), own("error")) {
            (Some(id), Some(method), None, None) => Ok(Message::Request { id, method, params }),
            (None, Some(method), None, None) => Ok(Message::Notification { method, params }),
            (Some(id), None, Some(result), None) => Ok(Message::Response {
                id,
                outcome: Ok(result),
            }),
            (Some(id), None, None, Some(e)) => Ok(Message::Response {
                id,
                outcome: Err(RpcError::from_raw(e)),
            }),
            (id, ..) => Err(bad(
                id,
                INVALID_REQUEST,
                "invalid request: neither request nor response",
            )),
        }
    }
}

/// "Requests MUST include a string or integer ID. … the ID MUST NOT be null." (MCP, basic)
fn is_request_id(id: &RawValue) -> bool {
    let text = id.get();
    text.starts_with('"')
        || (text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
            && !text.contains(['.', 'e', 'E']))
}

/// A response to `id` as text.
pub fn response(id: Option<&RawValue>, outcome: &Outcome) -> String {
    let id = id.map_or("null", RawValue::get);
    match outcome {
        Ok(result) => format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{}}}",
            result.get()
        ),
        Err(e) => format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{}}}",
            e.raw.get()
        ),
    }
}

/// A notification as text.
pub fn notification(method: &str, params: Option<&RawValue>) -> String {
    let method = raw(method);
    match params {
        Some(p) => {
            format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":{},\"params\":{}}}",
                method.get(),
                p.get()
            )
        }
        None => format!("{{\"jsonrpc\":\"2.0\",\"method\":{}}}", method.get()),
    }
}

/// A request as text.
pub fn request(id: &RawValue, method: &str, params: &RawValue) -> String {
    let method = raw(method);
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":{},\"params\":{}}}",
        id.get(),
        method.get(),
        params.get()
    )
}
