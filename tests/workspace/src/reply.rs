//! HTTP answers, and how faults change them.

use axum::body::Body;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::json;
use serde_json::value::RawValue;

use crate::faults::FaultKind;
use crate::raw::{RawObject, raw, spread};
use crate::rpc::{self, Outcome, RpcError};

/// A response with a body of that type.
pub fn body(status: u16, content_type: &str, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// A response without a body.
pub fn empty(status: u16) -> Response {
    let mut response = body(status, "text/plain", Body::empty());
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// A JSON response.
pub fn json(status: u16, value: &impl serde::Serialize) -> Response {
    body(status, "application/json", raw(value).get().to_owned())
}

/// A JSON-RPC error with an HTTP status.
pub fn error(status: u16, id: Option<&RawValue>, error: RpcError) -> Response {
    body(status, "application/json", rpc::response(id, &Err(error)))
}

/// The house style of errors that are not JSON-RPC: `{"error":{"code","message"}}`.
pub fn refusal(status: u16, code: &str, message: &str) -> Response {
    json(
        status,
        &json!({ "error": { "code": code, "message": message } }),
    )
}

/// Adds a header.
pub fn header(mut response: Response, name: &'static str, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    response
}

/// How an answer is changed on its way out.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// As a stream (`true`) or as JSON (`false`), whatever the settings say.
    pub stream: Option<bool>,
    /// Another id.
    pub wrong_id: bool,
    /// No id.
    pub null_id: bool,
    /// Over many lines.
    pub pretty: bool,
    /// Each event twice.
    pub duplicate: bool,
    /// The stream ends without the answer.
    pub cut: bool,
    /// The stream stays open after the answer.
    pub open: bool,
    /// This error instead of an outcome; nothing is executed.
    pub error: Option<RpcError>,
}

impl Shape {
    /// Reads those faults that change an answer.
    pub fn of(faults: &[FaultKind]) -> Self {
        let mut shape = Shape::default();
        for fault in faults {
            match fault {
                FaultKind::WrongId => shape.wrong_id = true,
                FaultKind::NullId => shape.null_id = true,
                FaultKind::Pretty => shape.pretty = true,
                FaultKind::Duplicate => (shape.duplicate, shape.stream) = (true, Some(true)),
                FaultKind::ForceSse => shape.stream = Some(true),
                FaultKind::ForceJson => shape.stream = Some(false),
                FaultKind::SseCut => (shape.cut, shape.stream) = (true, Some(true)),
                FaultKind::SseOpen => (shape.open, shape.stream) = (true, Some(true)),
                FaultKind::Error {
                    code,
                    message,
                    data,
                } => {
                    shape.error = Some(match data {
                        Some(data) => RpcError::with_data(*code, message, &raw(data)),
                        None => RpcError::new(*code, message),
                    });
                }
                _ => {}
            }
        }
        shape
    }

    /// The answer's text.
    pub fn text(&self, id: &RawValue, outcome: &Outcome) -> String {
        let other = raw("an-id-that-nobody-sent");
        let id = if self.wrong_id { &other } else { id };
        let error = self.error.clone().map(Err);
        let text = rpc::response(
            (!self.null_id).then_some(id),
            error.as_ref().unwrap_or(outcome),
        );
        if self.pretty { spread(&text) } else { text }
    }
}

/// The answer of a `status` fault.
pub fn faulty(status: u16, kind: Option<&str>, headers: &[(String, String)]) -> Response {
    let html = format!(
        "<!doctype html><title>{status}</title><h1>{status}</h1><p>Something went wrong.</p>\n"
    );
    let mut response = match kind.unwrap_or("json") {
        "json" => refusal(status, "FAULT", "this is a fault on purpose"),
        "jsonrpc" => error(
            status,
            None,
            RpcError::new(rpc::INTERNAL_ERROR, "this is a fault on purpose"),
        ),
        "html" => body(status, "text/html; charset=utf-8", html),
        "empty" => empty(status),
        text => body(status, "text/plain; charset=utf-8", text.to_owned()),
    };
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Adds members to a result that lacks them (`resultType` and caching hints of 2026-07-28).
pub fn complete(result: &RawValue, members: &[(&str, Box<RawValue>)]) -> Box<RawValue> {
    let Some(mut object) = RawObject::parse(result.get()) else {
        return result.to_owned();
    };
    for (name, value) in members {
        if object.get(name).is_none() {
            object.set(name, value.clone());
        }
    }
    object.to_raw()
}
