//! Multi round-trip requests (2026-07-28): results that ask for input, and state that cannot be forged.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::call::Call;
use crate::raw::{RawObject, raw};
use crate::rpc::{self, Outcome, RpcError};
use crate::sync::random_id;

/// The client's response to the input request `name`.
pub fn response(call: &Call, name: &str) -> Option<Box<RawValue>> {
    call.params
        .object("inputResponses")?
        .get(name)
        .map(ToOwned::to_owned)
}

/// A result that asks for input: each request is (name, method, params). `state` comes back sealed.
/// A client that lacks a capability for one of them gets -32021.
pub fn required(call: &Call, requests: &[(&str, &str, Value)], state: Option<&str>) -> Outcome {
    let mut wanted = serde_json::Map::new();
    for (name, method, params) in requests {
        let capability = match *method {
            "elicitation/create" => "elicitation",
            "sampling/createMessage" => "sampling",
            _ => "roots",
        };
        if !call.client_can(capability) {
            let data = json!({ "requiredCapabilities": { capability: {} } });
            let message = format!("this request needs the client capability {capability}");
            return Err(RpcError::with_data(
                rpc::MISSING_CAPABILITY,
                message,
                &raw(&data),
            ));
        }
        wanted.insert(
            (*name).to_owned(),
            json!({ "method": method, "params": params }),
        );
    }
    let mut result = json!({ "resultType": "input_required", "inputRequests": wanted });
    if let Some(state) = state {
        result["requestState"] = seal(call, state).into();
    }
    Ok(raw(&result))
}

/// Seals a state: its text, a nonce and a code over both.
fn seal(call: &Call, state: &str) -> String {
    let text = URL_SAFE_NO_PAD.encode(format!("{state}\n{}", random_id("", 8)));
    let tag = ring::hmac::sign(&call.workspace.state_key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Opens the state that the client echoed: `Ok(None)` without one, an error for one that is not ours.
pub fn state(call: &Call) -> Result<Option<String>, RpcError> {
    let Some(sealed) = call.params.get("requestState") else {
        return Ok(None);
    };
    let open = || {
        let sealed: String = serde_json::from_str(sealed.get()).ok()?;
        let (text, tag) = sealed.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        ring::hmac::verify(&call.workspace.state_key, text.as_bytes(), &tag).ok()?;
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        Some(text.split_once('\n')?.0.to_owned())
    };
    open()
        .map(Some)
        .ok_or_else(|| RpcError::params("requestState is not one that this server gave out"))
}

/// The arguments object of a call.
pub fn arguments(call: &Call) -> Result<RawObject, RpcError> {
    match call.params.get("arguments") {
        None => Ok(RawObject::default()),
        Some(a) => {
            RawObject::parse(a.get()).ok_or_else(|| RpcError::params("arguments must be an object"))
        }
    }
}
