//! The modern era's headers (2026-07-28): "stdio has no header layer, so the bridge itself must
//! produce all of these from the body".
//!
//! Owns what tools/list taught about `x-mcp-header`. It never judges arguments: a value that fits no
//! header is left out, and the workspace says what it thinks of that.

use super::Bridge;
use super::call::{Asker, Call, Waiting};
use super::ids::{CallId, Era};
use crate::log::Level;
use crate::proto::header::{encode_value, is_token};
use crate::proto::http::request::{RequestHead, is_header_value};
use crate::proto::jsonrpc::{self, Message, Meta, Params, Parsed, present};
use crate::proto::object;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What a request without its own version is sent as.
const NEWEST_VERSION: &str = "2026-07-28";
/// Tools whose header parameters are remembered; a list with more loses nothing but these headers.
const TOOLS_MAX: usize = 4_096;
/// Pages that are read to learn one tool's headers.
const PAGES_MAX: u8 = 50;

/// An argument that is mirrored into a header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Param {
    /// `Mcp-Param-…`.
    header: String,
    /// Member names from the arguments' root.
    path: Vec<String>,
}

/// Header parameters by tool.
#[derive(Debug, Default)]
pub(super) struct ToolHeaders {
    tools: BTreeMap<String, Vec<Param>>,
    pages: u8,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputSchema", deserialize_with = "present")]
    input_schema: Option<&'a RawValue>,
}

/// What the bridge reads of a ListToolsResult.
#[derive(Deserialize)]
pub(super) struct ToolList<'a> {
    #[serde(borrow)]
    pub(super) tools: &'a RawValue,
    #[serde(borrow, default, rename = "nextCursor")]
    pub(super) next_cursor: Option<&'a RawValue>,
}

impl ToolHeaders {
    /// Writes the headers of one modern message.
    pub(super) fn write(&self, head: &mut RequestHead, message: &[u8]) {
        let Ok(Parsed::One(message)) = jsonrpc::parse(message) else {
            return;
        };
        let params = Params::peek(message.params);
        let meta = Meta::peek(params.meta);
        let version = meta
            .protocol_version
            .and_then(|raw| jsonrpc::string(raw.get()));
        let version = version.as_deref().unwrap_or(NEWEST_VERSION);
        if is_header_value(version.as_bytes()) && version.is_ascii() {
            head.header("MCP-Protocol-Version", version);
        }
        if is_token_like(&message.method) {
            head.header("Mcp-Method", &message.method);
        }
        let name = match message.method.as_ref() {
            "tools/call" | "prompts/get" => params.name,
            "resources/read" => params.uri,
            "tasks/get" | "tasks/update" | "tasks/cancel" => params.task_id,
            _ => None,
        };
        let Some(name) = name.and_then(|raw| jsonrpc::string(raw.get())) else {
            return;
        };
        head.header("Mcp-Name", &encode_value(&name));
        if message.method == "tools/call" {
            self.write_params(head, &name, params.arguments.map(RawValue::get));
        }
    }

    fn write_params(&self, head: &mut RequestHead, tool: &str, arguments: Option<&str>) {
        for param in self.tools.get(tool).into_iter().flatten() {
            let value = arguments.and_then(|arguments| at_path(arguments, &param.path));
            if let Some(value) = value.and_then(header_value) {
                head.header(&param.header, &encode_value(&value));
            }
        }
    }

    /// Learns one page of tools. Returns the tools to leave out, by position, each with the reason.
    fn learn(&mut self, tools: &[&RawValue]) -> Vec<(usize, String)> {
        let mut violations = Vec::new();
        for (at, raw) in tools.iter().enumerate() {
            let Ok(tool) = object::read::<Tool<'_>>(raw.get()) else {
                continue;
            };
            let Some(name) = tool.name.and_then(|raw| jsonrpc::string(raw.get())) else {
                continue;
            };
            let schema = tool
                .input_schema
                .map(RawValue::get)
                .filter(|raw| raw.contains("x-mcp-header"));
            match schema.map_or(Ok(Vec::new()), annotations) {
                Ok(params) if params.is_empty() => {
                    self.tools.remove(name.as_ref());
                }
                Ok(params) => {
                    if self.tools.len() < TOOLS_MAX {
                        self.tools.insert(name.into_owned(), params);
                    }
                }
                Err(reason) => violations.push((at, format!("{name}: {reason}"))),
            }
        }
        violations
    }
}

/// Method names are sent where they are plain visible ASCII; others can not be valid anyway.
fn is_token_like(method: &str) -> bool {
    !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The raw value at a path of member names.
fn at_path<'a>(arguments: &'a str, path: &[String]) -> Option<&'a str> {
    let mut at = arguments;
    for name in path {
        let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(at).ok()?;
        at = members.get(name)?.get();
    }
    Some(at)
}

/// "string as is, integer decimal, boolean true/false; null or absent -> omit".
fn header_value(raw: &str) -> Option<String> {
    match raw.as_bytes().first()? {
        b'"' => jsonrpc::string(raw).map(|text| text.into_owned()),
        b't' | b'f' => Some(raw.to_owned()),
        b'-' | b'0'..=b'9' => Some(decimal(raw)),
        _ => None,
    }
}

/// An integer in decimal whatever way it was written: 42, 42.0 and 4.2e1 are the same to JSON Schema.
fn decimal(raw: &str) -> String {
    if !raw.contains(['.', 'e', 'E']) {
        return raw.to_owned();
    }
    match raw.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
            format!("{}", number as i64)
        }
        _ => raw.to_owned(),
    }
}

/// The `x-mcp-header` annotations of a schema, or the rule that one of them breaks: "only
/// `properties` chains from the root, types string/integer/boolean, RFC 9110 token, unique ignoring
/// case".
fn annotations(schema: &str) -> Result<Vec<Param>, String> {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    walk(&schema, Some(&mut Vec::new()), &mut found)?;
    let mut seen = std::collections::BTreeSet::new();
    for param in &found {
        if !seen.insert(param.header.to_ascii_lowercase()) {
            return Err(format!("{} is used twice", param.header));
        }
    }
    Ok(found)
}

/// Visits a schema. `path` is known while only `properties` led here.
fn walk(
    schema: &Value,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<Param>,
) -> Result<(), String> {
    let members = match schema {
        Value::Object(members) => members,
        Value::Array(items) => return items.iter().try_for_each(|item| walk(item, None, found)),
        _ => return Ok(()),
    };
    if let Some(annotation) = members.get("x-mcp-header") {
        let path = path.as_deref().filter(|path| !path.is_empty());
        found.push(annotated(annotation, members, path)?);
    }
    for (keyword, below) in members {
        match (keyword.as_str(), below) {
            // Values, not schemas.
            ("default" | "const" | "enum" | "examples" | "x-mcp-header", _) => {}
            ("properties", Value::Object(properties)) => {
                for (name, property) in properties {
                    match path.as_deref_mut() {
                        Some(path) => {
                            path.push(name.clone());
                            walk(property, Some(path), found)?;
                            path.pop();
                        }
                        None => walk(property, None, found)?,
                    }
                }
            }
            (
                "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(schemas),
            ) => {
                schemas
                    .values()
                    .try_for_each(|schema| walk(schema, None, found))?;
            }
            _ => walk(below, None, found)?,
        }
    }
    Ok(())
}

fn annotated(
    annotation: &Value,
    members: &serde_json::Map<String, Value>,
    path: Option<&Vec<String>>,
) -> Result<Param, String> {
    let Some(name) = annotation.as_str().filter(|name| is_token(name)) else {
        return Err("x-mcp-header is no header name".to_owned());
    };
    let Some(path) = path else {
        return Err(format!(
            "x-mcp-header {name} is not on a chain of properties"
        ));
    };
    match members.get("type").and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => Ok(Param {
            header: format!("Mcp-Param-{name}"),
            path: path.clone(),
        }),
        _ => Err(format!(
            "x-mcp-header {name} is on a value that is no string, integer or boolean"
        )),
    }
}

impl Bridge {
    /// A modern tools/list answer: its headers are learnt, "tools violating the rules MUST be left
    /// out". Without a violation the bytes stay as they came.
    pub(super) fn tools_listed(&mut self, answer: Vec<u8>) -> Vec<u8> {
        let Ok(Parsed::One(message)) = jsonrpc::parse(&answer) else {
            return answer;
        };
        let Some((tools, list)) = tool_list(&message) else {
            return answer;
        };
        let violations = self.headers.learn(&list);
        if violations.is_empty() {
            return answer;
        }
        let left_out: Vec<usize> = violations.iter().map(|(at, _)| *at).collect();
        let kept: Vec<&str> = list
            .iter()
            .enumerate()
            .filter(|(at, _)| !left_out.contains(at))
            .map(|(_, raw)| raw.get())
            .collect();
        let kept = format!("[{}]", kept.join(","));
        let changed = jsonrpc::splice(
            message.text,
            &[(jsonrpc::range_in(message.text, tools), &kept)],
        );
        for (_, words) in violations {
            self.log(Level::Warn, || {
                format!("a tool is left out of tools/list: {words}")
            });
        }
        changed
    }

    /// "-32020 HeaderMismatch for a tools/call: SHOULD tools/list, then retry once with the right
    /// headers". False if that was tried already.
    pub(super) fn learn_headers(&mut self, id: CallId, answer: &[u8]) -> bool {
        let Some(call) = self.calls.get_mut(id) else {
            return false;
        };
        if &*call.method != "tools/call" || call.era != Era::Modern || call.reheaded {
            return false;
        }
        call.reheaded = true;
        call.held_answer = Some(answer.to_vec());
        call.waiting = Waiting::Headers;
        self.headers.pages = 0;
        self.list_tools(id, None);
        true
    }

    /// Our own tools/list, with the metadata of the call that needs it.
    fn list_tools(&mut self, waiting: CallId, cursor: Option<&str>) {
        let Some(call) = self.calls.get(waiting) else {
            return;
        };
        let meta = match jsonrpc::parse(&call.message) {
            Ok(Parsed::One(message)) => own_meta(&message),
            _ => return,
        };
        let cursor = cursor
            .map(|cursor| format!(",\"cursor\":{cursor}"))
            .unwrap_or_default();
        let id = self.own_id();
        let message = jsonrpc::request(&id, "tools/list", &format!("{{\"_meta\":{meta}{cursor}}}"));
        let call = Call::new(
            Asker::Headers(waiting),
            id,
            "tools/list",
            Era::Modern,
            message,
        );
        if let Some(id) = self.calls.insert(call) {
            self.launch(id);
        }
    }

    pub(super) fn headers_learnt(&mut self, waiting: CallId, answer: &[u8]) {
        let mut next = None;
        if let Ok(Parsed::One(message)) = jsonrpc::parse(answer) {
            if let Some((_, list)) = tool_list(&message) {
                self.headers.learn(&list);
            }
            next = message.result.and_then(next_cursor);
        }
        self.headers.pages += 1;
        match next {
            Some(cursor) if self.headers.pages < PAGES_MAX => {
                self.list_tools(waiting, Some(cursor))
            }
            _ => self.launch(waiting),
        }
    }
}

/// The `tools` of a result, as one raw text and one by one.
pub(super) fn tool_list<'a>(message: &Message<'a>) -> Option<(&'a str, Vec<&'a RawValue>)> {
    let list: ToolList<'a> = object::read(message.result?).ok()?;
    let tools: Vec<&'a RawValue> = serde_json::from_str(list.tools.get()).ok()?;
    Some((list.tools.get(), tools))
}

fn next_cursor(result: &str) -> Option<&str> {
    let list: ToolList<'_> = object::read(result).ok()?;
    list.next_cursor
        .map(RawValue::get)
        .filter(|raw| *raw != "null")
}

/// The `_meta` of a modern request, without what belongs to that request alone.
pub(super) fn own_meta(message: &Message<'_>) -> String {
    let meta = Params::peek(message.params)
        .meta
        .map_or("{}", RawValue::get);
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(meta).unwrap_or_default();
    let kept: Vec<String> = members
        .iter()
        .filter(|(name, _)| name.starts_with("io.modelcontextprotocol/"))
        .map(|(name, value)| format!("{}:{}", jsonrpc::quote(name), value.get()))
        .collect();
    format!("{{{}}}", kept.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_found_on_chains_of_properties() {
        let schema = r#"{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "x-mcp-header":{"type":"string"},
            "where":{"type":"object","default":{"x-mcp-header":7},"properties":{
                "zone":{"type":"integer","x-mcp-header":"Zone"}}}}}"#;
        let mut found = annotations(schema).expect("valid");
        found.sort_by(|a, b| a.header.cmp(&b.header));
        let paths: Vec<String> = found
            .iter()
            .map(|p| format!("{} {}", p.header, p.path.join(".")))
            .collect();
        assert_eq!(
            paths,
            ["Mcp-Param-Region region", "Mcp-Param-Zone where.zone"]
        );
    }

    #[test]
    fn broken_rules_are_named() {
        let check = |property: &str, expect: &str| {
            let schema = format!(r#"{{"type":"object","properties":{{"a":{property}}}}}"#);
            let error = annotations(&schema).expect_err(property);
            assert!(error.contains(expect), "{error}");
        };
        check(
            r#"{"type":"number","x-mcp-header":"N"}"#,
            "no string, integer or boolean",
        );
        check(r#"{"x-mcp-header":"N"}"#, "no string, integer or boolean");
        check(r#"{"type":"string","x-mcp-header":""}"#, "no header name");
        check(
            r#"{"type":"string","x-mcp-header":"a b"}"#,
            "no header name",
        );
        check(r#"{"type":"string","x-mcp-header":5}"#, "no header name");
        check(
            r#"{"type":"array","items":{"type":"string","x-mcp-header":"I"}}"#,
            "chain of properties",
        );
        check(
            r#"{"anyOf":[{"type":"string","x-mcp-header":"I"}]}"#,
            "chain of properties",
        );
        let twice = r#"{"properties":{"a":{"type":"string","x-mcp-header":"X"},"b":{"type":"string","x-mcp-header":"x"}}}"#;
        assert!(annotations(twice).is_err_and(|error| error.contains("twice")));
    }

    #[test]
    fn headers_mirror_the_body() {
        let mut headers = ToolHeaders::default();
        let tool = r#"{"name":"t","inputSchema":{"type":"object","properties":{
            "s":{"type":"string","x-mcp-header":"S"},"n":{"type":"integer","x-mcp-header":"N"},
            "b":{"type":"boolean","x-mcp-header":"B"},"z":{"type":"string","x-mcp-header":"Z"}}}}"#;
        let tool: &RawValue = serde_json::from_str(tool).expect("json");
        assert!(headers.learn(&[tool]).is_empty());
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":
            {"s":" å","n":42.0,"b":true,"z":null},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let mut head = RequestHead::new(crate::proto::http::request::Method::Post, "/", "h");
        headers.write(&mut head, message.as_bytes());
        let text = String::from_utf8(head.finish(None)).expect("ascii");
        for line in [
            "MCP-Protocol-Version: 2026-07-28\r\n",
            "Mcp-Method: tools/call\r\n",
            "Mcp-Name: t\r\n",
            "Mcp-Param-S: =?base64?IMOl?=\r\n",
            "Mcp-Param-N: 42\r\n",
            "Mcp-Param-B: true\r\n",
        ] {
            assert!(text.contains(line), "{text}\nlacks {line}");
        }
        assert!(!text.contains("Mcp-Param-Z"));
    }

    #[test]
    fn own_requests_take_the_hosts_metadata_without_its_progress_token() {
        let message = r#"{"id":1,"method":"x","params":{"_meta":{"progressToken":5,"io.modelcontextprotocol/clientInfo":{"name":"h"}}}}"#;
        assert_eq!(
            own_meta(&jsonrpc::parse_one(message).expect("a message")),
            r#"{"io.modelcontextprotocol/clientInfo":{"name":"h"}}"#
        );
    }
}
