//! The few messages that the gateway writes itself. Parts are raw JSON and leave as they came.

use super::{object, quote};

/// An error response. `id` and `data` are raw JSON.
pub fn error(id: &str, code: i64, message: &str, data: Option<&str>) -> Vec<u8> {
    let data = data
        .map(|data| format!(",\"data\":{data}"))
        .unwrap_or_default();
    let message = quote(message);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":{message}{data}}}}}")
        .into_bytes()
}

/// An error response with this raw error object.
pub fn error_response(id: &str, error: &str) -> Vec<u8> {
    object([("jsonrpc", "\"2.0\""), ("id", id), ("error", error)]).into_bytes()
}

/// A success response. `id` and `result` are raw JSON.
pub fn result(id: &str, result: &str) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}").into_bytes()
}

/// A request. `id` and `params` are raw JSON.
pub fn request(id: &str, method: &str, params: &str) -> Vec<u8> {
    let method = quote(method);
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method},\"params\":{params}}}")
        .into_bytes()
}

/// A notification. `params` is raw JSON.
pub fn notification(method: &str, params: Option<&str>) -> Vec<u8> {
    let method = quote(method);
    let params = params
        .map(|params| format!(",\"params\":{params}"))
        .unwrap_or_default();
    format!("{{\"jsonrpc\":\"2.0\",\"method\":{method}{params}}}").into_bytes()
}
