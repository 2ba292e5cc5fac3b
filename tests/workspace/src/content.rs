//! Results of tools, resources and prompts.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::raw::{RawObject, raw};
use crate::rpc::Outcome;

/// A tool result of one text.
pub fn text(text: &str) -> Outcome {
    Ok(raw(
        &json!({ "content": [{ "type": "text", "text": text }] }),
    ))
}

/// A tool result of one text that is already JSON (a raw string).
pub fn raw_string(text: &RawValue) -> Outcome {
    let mut item = RawObject::default();
    item.set("type", raw("text"));
    item.set("text", text.to_owned());
    let mut result = RawObject::default();
    result.set("content", raw(&[item]));
    Ok(result.to_raw())
}

/// A tool result with structured content, and the same as text.
pub fn structured(value: &RawValue) -> Outcome {
    let mut item = RawObject::default();
    item.set("type", raw("text"));
    item.set("text", raw(value.get()));
    let mut result = RawObject::default();
    result.set("content", raw(&[item]));
    result.set("structuredContent", value.to_owned());
    Ok(result.to_raw())
}

/// "Tool Execution Errors … Reported in tool results with `isError: true`." (tools)
pub fn failure(message: &str) -> Outcome {
    Ok(raw(
        &json!({ "content": [{ "type": "text", "text": message }], "isError": true }),
    ))
}

/// A tool result of these content items.
pub fn items(content: &Value) -> Outcome {
    Ok(raw(&json!({ "content": content })))
}

/// The contents of a text resource.
pub fn resource(uri: &str, mime: &str, text: &str) -> Outcome {
    Ok(raw(
        &json!({ "contents": [{ "uri": uri, "mimeType": mime, "text": text }] }),
    ))
}

/// A prompt of one user message.
pub fn prompt(content: &Value) -> Outcome {
    Ok(raw(
        &json!({ "messages": [{ "role": "user", "content": content }] }),
    ))
}
