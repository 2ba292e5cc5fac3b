//! The fixture tools of the official conformance suite, there with `--conformance`.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::call::Call;
use crate::content;
use crate::dispatch::Catalog;
use crate::input::{self, required, response};
use crate::raw::{RawObject, raw};
use crate::rpc::{Outcome, RpcError};

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

/// The fixtures' catalog.
pub fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| serde_json::from_str(include_str!("conformance.json")).expect("valid"))
}

/// True for tools that say something before their answer.
pub fn streams(call: &Call, tool: &str) -> bool {
    match tool {
        "test_tool_with_logging"
        | "test_tool_with_progress"
        | "test_reconnection"
        | "test_logging_tool" => true,
        "test_sampling" | "test_streaming_elicitation" => !call.is_modern(),
        _ => tool.starts_with("test_elicitation") && !call.is_modern(),
    }
}

/// Executes a fixture tool.
pub async fn run(call: &Call, tool: &str, arguments: &RawObject) -> Option<Outcome> {
    Some(match tool {
        "test_tool_with_logging" => logging(call).await,
        "test_tool_with_progress" => progress(call).await,
        "test_reconnection" => {
            // The priming event has to be out before the stream is cut.
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Some(stream) = &call.stream {
                stream.cut();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            content::text("Reconnection test completed successfully.")
        }
        "test_sampling" => sampling(call, arguments).await,
        "test_elicitation" => {
            let schema = object(
                json!({ "response": { "type": "string", "description": "User's response" } }),
                "response",
            );
            elicit(
                call,
                &arguments.string("message").unwrap_or_default(),
                &schema,
            )
            .await
        }
        "test_elicitation_sep1034_defaults" => {
            elicit(call, "Review the defaults", &defaults()).await
        }
        "test_elicitation_sep1330_enums" => elicit(call, "Select options", &enums()).await,
        "test_logging_tool" => {
            if call
                .meta()
                .get("io.modelcontextprotocol/logLevel")
                .is_some()
            {
                call.notify(
                    "notifications/message",
                    &raw(&json!({ "level": "info", "data": "on request" })),
                );
            }
            content::text("ok")
        }
        "test_trigger_tool_change" => {
            call.workspace
                .announce("notifications/tools/list_changed", "toolsListChanged");
            content::text("published")
        }
        "test_trigger_prompt_change" => {
            call.workspace
                .announce("notifications/prompts/list_changed", "promptsListChanged");
            content::text("published")
        }
        _ => return plain(tool, arguments).or_else(|| round_trips(call, tool)),
    })
}

fn plain(tool: &str, arguments: &RawObject) -> Option<Outcome> {
    let image = json!({ "type": "image", "data": PNG, "mimeType": "image/png" });
    Some(match tool {
        "test_simple_text" => content::text("This is a simple text response for testing."),
        "test_image_content" => content::items(&json!([image])),
        "test_audio_content" => {
            content::items(&json!([{ "type": "audio", "data": WAV, "mimeType": "audio/wav" }]))
        }
        "test_embedded_resource" => content::items(&json!([{ "type": "resource", "resource": {
            "uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content." } }])),
        "test_multiple_content_types" => content::items(&json!([
            { "type": "text", "text": "Multiple content types test:" }, image,
            { "type": "resource", "resource": { "uri": "test://mixed-content-resource",
              "mimeType": "application/json", "text": "{\"test\":\"data\",\"value\":123}" } }])),
        "test_error_handling" => {
            content::failure("This tool intentionally returns an error for testing")
        }
        "test_streaming_elicitation" => content::text("no independent requests on this stream"),
        "json_schema_2020_12_tool" => content::text(arguments.to_raw().get()),
        "test_x_mcp_header" => content::text(&format!(
            "region={}",
            arguments
                .string("region")
                .unwrap_or_else(|| "<none>".to_owned())
        )),
        _ => return None,
    })
}

async fn logging(call: &Call) -> Outcome {
    for data in [
        "Tool execution started",
        "Tool processing data",
        "Tool execution completed",
    ] {
        call.notify(
            "notifications/message",
            &raw(&json!({ "level": "info", "data": data })),
        );
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    content::text("logged three times")
}

async fn progress(call: &Call) -> Outcome {
    for step in [0, 50, 100] {
        call.progress(step, 100, &format!("step {step}"));
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let token = call
        .meta()
        .get("progressToken")
        .map_or("no token".to_owned(), |t| {
            t.get().trim_matches('"').to_owned()
        });
    content::text(&token)
}

async fn sampling(call: &Call, arguments: &RawObject) -> Outcome {
    let prompt = arguments.string("prompt").unwrap_or_default();
    let message = json!({ "role": "user", "content": { "type": "text", "text": prompt } });
    match call
        .ask(
            "sampling/createMessage",
            &raw(&json!({ "messages": [message], "maxTokens": 100 })),
        )
        .await
    {
        Ok(answer) => content::text(&format!("LLM response: {}", text_of(answer.get()))),
        Err(e) => content::failure(&format!("Sampling failed: {}", e.raw.get())),
    }
}

fn text_of(answer: &str) -> String {
    let text = RawObject::parse(answer).and_then(|a| a.object("content")?.string("text"));
    text.unwrap_or_else(|| answer.to_owned())
}

async fn elicit(call: &Call, message: &str, schema: &Value) -> Outcome {
    let params = json!({ "message": message, "requestedSchema": schema });
    match call.ask("elicitation/create", &raw(&params)).await {
        Ok(answer) => {
            let answer = RawObject::parse(answer.get()).unwrap_or_default();
            let action = answer.string("action").unwrap_or_default();
            let content = answer.get("content").map_or("{}", |c| c.get());
            content::text(&format!(
                "Elicitation completed: action={action}, content={content}"
            ))
        }
        Err(e) => content::failure(&format!("Elicitation failed: {}", e.raw.get())),
    }
}

fn object(properties: Value, required: &str) -> Value {
    json!({ "type": "object", "properties": properties, "required": [required] })
}

fn defaults() -> Value {
    json!({ "type": "object", "required": [], "properties": {
        "name": { "type": "string", "default": "John Doe" }, "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 95.5 }, "verified": { "type": "boolean", "default": true },
        "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" } } })
}

fn enums() -> Value {
    let titled = |word: &str| {
        let one = |i: u8| json!({ "const": format!("value{i}"), "title": format!("{word} {i}") });
        [one(1), one(2), one(3)]
    };
    json!({ "type": "object", "required": [], "properties": {
        "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
        "titledSingle": { "type": "string", "oneOf": titled("Option") },
        "legacyEnum": { "type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"] },
        "untitledMulti": { "type": "array", "minItems": 1, "maxItems": 3,
            "items": { "type": "string", "enum": ["option1", "option2", "option3"] } },
        "titledMulti": { "type": "array", "minItems": 1, "maxItems": 3, "items": { "anyOf": titled("Choice") } } } })
}

fn ask_name(message: &str, field: &str, kind: &str) -> Value {
    json!({ "message": message, "requestedSchema": object(json!({ field: { "type": kind } }), field) })
}

fn ask_model(question: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": question } }], "maxTokens": 64 })
}

/// The content of an accepted elicitation.
fn accepted(call: &Call, name: &str) -> Option<RawObject> {
    let answer = RawObject::parse(response(call, name)?.get())?;
    if answer.string("action").as_deref() == Some("accept") {
        answer.object("content")
    } else {
        None
    }
}

fn round_trips(call: &Call, tool: &str) -> Option<Outcome> {
    if !call.is_modern() {
        return None;
    }
    let state = match input::state(call) {
        Ok(state) => state,
        Err(e) => return Some(Err(e)),
    };
    let elicitation = "elicitation/create";
    let name = || accepted(call, "user_name").and_then(|c| c.string("name"));
    let what_name = ask_name("What is your name?", "name", "string");
    Some(match tool {
        "test_missing_capability" => match response(call, "q") {
            None => required(
                call,
                &[("q", "sampling/createMessage", ask_model("ping"))],
                None,
            ),
            Some(_) => content::text("done"),
        },
        "test_input_required_result_elicitation" => match name() {
            Some(name) => content::text(&format!("Hello, {name}!")),
            None => required(call, &[("user_name", elicitation, what_name)], None),
        },
        "test_input_required_result_sampling" => match response(call, "capital_question") {
            Some(answer) => content::text(&format!("Sampling response: {}", text_of(answer.get()))),
            None => {
                let question = ask_model("What is the capital of France?");
                required(
                    call,
                    &[("capital_question", "sampling/createMessage", question)],
                    None,
                )
            }
        },
        "test_input_required_result_list_roots" => {
            let roots = response(call, "client_roots")
                .and_then(|r| RawObject::parse(r.get())?.read::<Vec<Value>>("roots"));
            match roots {
                Some(roots) => content::text(&format!("{} root(s)", roots.len())),
                None => required(call, &[("client_roots", "roots/list", json!({}))], None),
            }
        }
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state" => match (accepted(call, "confirm"), state) {
            (Some(_), Some(_)) if tool.ends_with("request_state") => {
                content::text("state-ok: confirmed")
            }
            (Some(_), Some(_)) => content::text("integrity-ok"),
            _ => required(
                call,
                &[(
                    "confirm",
                    elicitation,
                    ask_name("Please confirm", "ok", "boolean"),
                )],
                Some("rs"),
            ),
        },
        "test_input_required_result_multiple_inputs" => several(call, name(), what_name),
        "test_input_required_result_multi_round" => rounds(call, state),
        "test_input_required_result_capabilities" => capable(call, what_name),
        _ => return None,
    })
}

fn several(call: &Call, name: Option<String>, what_name: Value) -> Outcome {
    let greeting = response(call, "greeting").map(|g| text_of(g.get()));
    let roots = response(call, "client_roots")
        .and_then(|r| RawObject::parse(r.get())?.read::<Vec<Value>>("roots"));
    match (name, greeting, roots) {
        (Some(name), Some(greeting), Some(roots)) => {
            content::text(&format!("{greeting} {name} {}", roots.len()))
        }
        _ => {
            let greeting = (
                "greeting",
                "sampling/createMessage",
                ask_model("Generate a greeting"),
            );
            let roots = ("client_roots", "roots/list", json!({}));
            required(
                call,
                &[
                    ("user_name", "elicitation/create", what_name),
                    greeting,
                    roots,
                ],
                Some("mi"),
            )
        }
    }
}

fn rounds(call: &Call, state: Option<String>) -> Outcome {
    let ask = |step, message, field, state: &str| {
        required(
            call,
            &[(
                step,
                "elicitation/create",
                ask_name(message, field, "string"),
            )],
            Some(state),
        )
    };
    match state.as_deref() {
        None => ask("step1", "Step 1: name?", "name", "round1"),
        Some("round1") => match accepted(call, "step1").and_then(|c| c.string("name")) {
            Some(name) => ask(
                "step2",
                "Step 2: color?",
                "color",
                &format!("round2 {name}"),
            ),
            None => ask("step1", "Step 1: name?", "name", "round1"),
        },
        Some(state) => match accepted(call, "step2").and_then(|c| c.string("color")) {
            Some(color) => {
                let name = state.strip_prefix("round2 ").unwrap_or("?");
                content::text(&format!("Multi-round complete: {name} {color}"))
            }
            None => ask("step2", "Step 2: color?", "color", state),
        },
    }
}

fn capable(call: &Call, what_name: Value) -> Outcome {
    if call.params.get("inputResponses").is_some() {
        return content::text("capability-aware inputs fulfilled");
    }
    let mut wanted = Vec::new();
    if call.client_can("elicitation") {
        wanted.push(("user_name", "elicitation/create", what_name));
    }
    if call.client_can("sampling") {
        wanted.push(("greeting", "sampling/createMessage", ask_model("Greet")));
    }
    if call.client_can("roots") {
        wanted.push(("client_roots", "roots/list", json!({})));
    }
    if wanted.is_empty() {
        content::text("no capability declared")
    } else {
        required(call, &wanted, None)
    }
}

/// Reads a fixture resource.
pub fn read_resource(uri: &str) -> Option<Outcome> {
    Some(match uri {
        "test://static-text" => content::resource(
            uri,
            "text/plain",
            "This is the content of the static text resource.",
        ),
        "test://static-binary" => Ok(raw(
            &json!({ "contents": [{ "uri": uri, "mimeType": "image/png", "blob": PNG }] }),
        )),
        "test://watched-resource" => content::resource(uri, "text/plain", "watched"),
        _ => {
            let id = uri
                .strip_prefix("test://template/")?
                .strip_suffix("/data")?;
            let data =
                json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            content::resource(uri, "application/json", &data.to_string())
        }
    })
}

/// Gets a fixture prompt.
pub fn prompt(call: &Call, name: &str, arguments: &RawObject) -> Option<Outcome> {
    let text = |t: &str| json!({ "type": "text", "text": t });
    let need = |n: &str| {
        arguments
            .string(n)
            .ok_or_else(|| RpcError::params(format!("{n} is missing")))
    };
    Some(match name {
        "test_simple_prompt" => content::prompt(&text("This is a simple prompt for testing.")),
        "test_prompt_with_arguments" => need("arg1").and_then(|a| Ok((a, need("arg2")?))).and_then(|(a, b)| {
            content::prompt(&text(&format!("Prompt with arguments: arg1='{a}', arg2='{b}'")))
        }),
        "test_prompt_with_embedded_resource" => need("resourceUri").map(|uri| {
            let resource = json!({ "uri": uri, "mimeType": "text/plain", "text": "Embedded resource content for testing." });
            raw(&json!({ "messages": [
                { "role": "user", "content": { "type": "resource", "resource": resource } },
                { "role": "user", "content": text("Please process the embedded resource above.") }] }))
        }),
        "test_prompt_with_image" => Ok(raw(&json!({ "messages": [
            { "role": "user", "content": { "type": "image", "data": PNG, "mimeType": "image/png" } },
            { "role": "user", "content": text("Please analyze the image above.") }] }))),
        "test_input_required_result_prompt" if call.is_modern() => {
            match accepted(call, "user_context").and_then(|c| c.string("context")) {
                Some(context) => content::prompt(&text(&format!("Context: {context}"))),
                None => {
                    let ask = ask_name("What context?", "context", "string");
                    required(call, &[("user_context", "elicitation/create", ask)], None)
                }
            }
        }
        _ => return None,
    })
}
