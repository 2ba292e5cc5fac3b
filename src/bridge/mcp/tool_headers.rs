//! The modern era's headers (2026-07-28): "stdio has no header layer, so the bridge itself must
//! produce all of these from the body".
//!
//! Owns what tools/list taught about `x-mcp-header`. It never judges arguments: a value that fits no
//! header is left out, and the workspace says what it thinks of that.

use super::Mcp;
use super::call::{Call, CallId, Reply, Stage};
use crate::bridge::context::Context;
use crate::bridge::http::Http;
use crate::bridge::ids::{Era, Requester};
use crate::bridge::request::Request;
use crate::log::Level;
use crate::proto::header::{encode_value, is_token};
use crate::proto::http::request::{HeaderLines, is_header_value};
use crate::proto::jsonrpc::{self, Message, Parsed};
use crate::proto::object;
use crate::table::Table;
use serde_json::value::RawValue;

/// What a request without its own version is sent as.
const NEWEST_VERSION: &str = "2026-07-28";
/// The member of a schema that asks for a header.
const ANNOTATION: &str = "x-mcp-header";
/// Schemas are looked into so deep.
const DEPTH_MAX: usize = 64;
/// Where a modern request names its version.
const VERSION_META: &str = "io.modelcontextprotocol/protocolVersion";
/// Tools that break a rule are told one by one up to so many.
const VIOLATIONS_LOGGED: usize = 20;
/// Header parameters of one tool that are remembered; a tool with more is left out.
const PARAMS_MAX: usize = 64;
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
    tools: Table<String, Vec<Param>>,
}

impl ToolHeaders {
    /// Writes the headers of one modern request.
    pub(super) fn write(&self, headers: &mut HeaderLines, request: &Request) {
        write_version(headers, request.meta());
        write_method(headers, request.method());
        let named = match request.method() {
            "tools/call" | "prompts/get" => request.raw_name().is_some(),
            "resources/read" => request.uri().is_some(),
            "tasks/get" | "tasks/update" | "tasks/cancel" => true,
            _ => false,
        };
        let Some(name) = request.name().filter(|_| named) else {
            return;
        };
        headers.add("Mcp-Name", &encode_value(name));
        if request.method() == "tools/call" {
            self.write_params(headers, name, request.arguments());
        }
    }

    /// Writes the headers of a modern message that is no request.
    pub(super) fn write_notice(&self, headers: &mut HeaderLines, text: &str) {
        if let Ok(message) = jsonrpc::parse_one(text) {
            let meta = message
                .params
                .and_then(|params| jsonrpc::member(params, "_meta"));
            write_version(headers, meta);
            write_method(headers, &message.method);
        }
    }

    fn write_params(&self, headers: &mut HeaderLines, tool: &str, arguments: &str) {
        for param in self.tools.get(tool).into_iter().flatten() {
            if let Some(value) = at_path(arguments, &param.path).and_then(header_value) {
                headers.add(&param.header, &encode_value(&value));
            }
        }
    }

    /// Learns one page of tools. Returns the tools to leave out, by position, each with the reason.
    fn learn(&mut self, tools: &[&RawValue]) -> Vec<(usize, String)> {
        let mut violations = Vec::new();
        for (at, raw) in tools.iter().enumerate() {
            let Ok([name, schema]) = object::fields(raw.get(), ["name", "inputSchema"]) else {
                continue;
            };
            let Some(name) = name.and_then(jsonrpc::string) else {
                continue;
            };
            let schema = schema.filter(|raw| raw.contains(ANNOTATION));
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

fn write_version(headers: &mut HeaderLines, meta: Option<&str>) {
    let raw = meta.and_then(|meta| jsonrpc::member(meta, VERSION_META));
    let version = raw.and_then(jsonrpc::string);
    let version = version.as_deref().unwrap_or(NEWEST_VERSION);
    if is_header_value(version.as_bytes()) && version.is_ascii() {
        headers.add("MCP-Protocol-Version", version);
    }
}

fn write_method(headers: &mut HeaderLines, method: &str) {
    if is_token_like(method) {
        headers.add("Mcp-Method", method);
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
        let mut members = jsonrpc::members(at)?.into_iter();
        (_, at) = members.rfind(|(there, _)| there == name)?;
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
    match jsonrpc::number(raw) {
        Some(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
            format!("{}", number as i64)
        }
        _ => raw.to_owned(),
    }
}

/// The `x-mcp-header` annotations of a schema, or the rule that one of them breaks: "only
/// `properties` chains from the root, types string/integer/boolean, RFC 9110 token, unique ignoring
/// case".
fn annotations(schema: &str) -> Result<Vec<Param>, String> {
    let mut found = Vec::new();
    walk(schema, Some(&mut Vec::new()), 0, &mut found)?;
    for (at, param) in found.iter().enumerate() {
        let same = |other: &Param| other.header.eq_ignore_ascii_case(&param.header);
        if found[..at].iter().any(same) {
            return Err(format!("{} is used twice", param.header));
        }
    }
    Ok(found)
}

/// Visits a schema. `path` is known while only `properties` led here. A part without an annotation is
/// not taken apart, and none deeper than `DEPTH_MAX`.
fn walk(
    schema: &str,
    mut path: Option<&mut Vec<String>>,
    depth: usize,
    found: &mut Vec<Param>,
) -> Result<(), String> {
    if depth > DEPTH_MAX || !schema.contains(ANNOTATION) {
        return Ok(());
    }
    if schema.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(schema).unwrap_or_default();
        let mut items = items.iter().map(|item| item.get());
        return items.try_for_each(|item| walk(item, None, depth + 1, found));
    }
    let members = jsonrpc::members(schema).unwrap_or_default();
    let member = |wanted: &str| members.iter().rfind(|(name, _)| name == wanted);
    if let Some((_, annotation)) = member(ANNOTATION) {
        if found.len() >= PARAMS_MAX {
            return Err(format!("it has more than {PARAMS_MAX} header parameters"));
        }
        let kind = member("type").and_then(|(_, raw)| jsonrpc::string(raw));
        let path = path.as_deref().filter(|path| !path.is_empty());
        found.push(annotated(annotation, kind.as_deref(), path)?);
    }
    for (keyword, below) in &members {
        match keyword.as_str() {
            // Values, not schemas.
            "default" | "const" | "enum" | "examples" | ANNOTATION => {}
            "properties" if below.starts_with('{') => {
                for (name, property) in jsonrpc::members(below).unwrap_or_default() {
                    match path.as_deref_mut() {
                        Some(path) => {
                            path.push(name);
                            walk(property, Some(path), depth + 1, found)?;
                            path.pop();
                        }
                        None => walk(property, None, depth + 1, found)?,
                    }
                }
            }
            "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
                if below.starts_with('{') =>
            {
                for (_, schema) in jsonrpc::members(below).unwrap_or_default() {
                    walk(schema, None, depth + 1, found)?;
                }
            }
            _ => walk(below, None, depth + 1, found)?,
        }
    }
    Ok(())
}

fn annotated(
    annotation: &str,
    kind: Option<&str>,
    path: Option<&Vec<String>>,
) -> Result<Param, String> {
    let name = jsonrpc::string(annotation).filter(|name| is_token(name));
    let Some(name) = name else {
        return Err("x-mcp-header is no header name".to_owned());
    };
    let Some(path) = path else {
        return Err(format!(
            "x-mcp-header {name} is not on a chain of properties"
        ));
    };
    match kind {
        Some("string" | "integer" | "boolean") => Ok(Param {
            header: format!("Mcp-Param-{name}"),
            path: path.clone(),
        }),
        _ => Err(format!(
            "x-mcp-header {name} is on a value that is no string, integer or boolean"
        )),
    }
}

/// A list of tools that is read to learn headers.
#[derive(Debug)]
pub(super) struct Learning {
    waiting: CallId,
    pages: u8,
}

impl Learning {
    /// The request that needs the headers.
    pub(super) fn waiting(&self) -> CallId {
        self.waiting
    }
}

impl Mcp {
    /// A modern tools/list answer: its headers are learnt, "tools violating the rules MUST be left
    /// out" (MCP 2026-07-28, tools). Without a violation the bytes stay as they came.
    pub(super) fn tools_listed(&mut self, ctx: &mut Context, answer: Vec<u8>) -> Vec<u8> {
        let Ok(Parsed::One(message)) = jsonrpc::parse(&answer) else {
            return answer;
        };
        let Some((tools, list)) = tool_list(&message) else {
            return answer;
        };
        let violations = self.tool_headers.learn(&list);
        if violations.is_empty() {
            return answer;
        }
        let mut left_out = violations.iter().map(|(at, _)| *at).peekable();
        let mut kept: Vec<&str> = Vec::new();
        for (at, raw) in list.iter().enumerate() {
            if left_out.next_if_eq(&at).is_none() {
                kept.push(raw.get());
            }
        }
        let kept = format!("[{}]", kept.join(","));
        let place = jsonrpc::range_in(message.text, tools);
        let changed = jsonrpc::splice(message.text, &[(place, &kept)]);
        for (_, words) in violations.iter().take(VIOLATIONS_LOGGED) {
            ctx.log(Level::Warn, || {
                format!("a tool is left out of tools/list: {words}")
            });
        }
        let more = violations.len().saturating_sub(VIOLATIONS_LOGGED);
        if more > 0 {
            ctx.log(Level::Warn, || {
                format!("{more} more tools are left out of tools/list")
            });
        }
        changed
    }

    /// "-32020 HeaderMismatch for a tools/call: SHOULD tools/list, then retry once with the right
    /// headers". False if that was tried already.
    pub(super) fn learn_headers(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        id: CallId,
        reply: &Reply,
    ) -> bool {
        let Some(call) = self.calls.get_mut(id) else {
            return false;
        };
        let request = call.request();
        let modern = request.method() == "tools/call" && request.era() == Era::Modern;
        if !modern || !call.attempts.new_headers() {
            return false;
        }
        call.fallback = Some(reply.clone());
        if let Some(Stage::Exchange(exchange)) = self.calls.stage(id) {
            let exchange = *exchange;
            self.leave_exchange(ctx, http, exchange, Era::Modern);
        }
        self.calls.enter(id, Stage::Headers);
        let learning = Learning {
            waiting: id,
            pages: 0,
        };
        self.list_tools(ctx, http, learning, None);
        true
    }

    /// Our own tools/list, with the metadata of the request that needs it.
    fn list_tools(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        learning: Learning,
        cursor: Option<&str>,
    ) {
        let Some(call) = self.calls.get(learning.waiting) else {
            return;
        };
        let meta = own_meta(call.request().meta());
        let members = [("_meta", Some(meta.as_str())), ("cursor", cursor)];
        let members = members
            .iter()
            .filter_map(|(name, raw)| Some((*name, (*raw)?)));
        let params = jsonrpc::object(members);
        let id = ctx.own_id();
        let request = Request::own(&id, "tools/list", &params, Era::Modern);
        let call = Call::new(Requester::Nobody, request);
        let id = self.calls.insert(call, Stage::Parked);
        self.learning.insert(id, learning);
        self.launch(ctx, http, id);
    }

    pub(super) fn headers_learnt(
        &mut self,
        ctx: &mut Context,
        http: &mut Http,
        mut learning: Learning,
        answer: &[u8],
    ) {
        let mut next = None;
        if let Ok(Parsed::One(message)) = jsonrpc::parse(answer) {
            if let Some((_, list)) = tool_list(&message) {
                self.tool_headers.learn(&list);
            }
            next = message.result.and_then(next_cursor);
        }
        learning.pages += 1;
        match next {
            Some(cursor) if learning.pages < PAGES_MAX => {
                self.list_tools(ctx, http, learning, Some(cursor));
            }
            _ if matches!(self.calls.stage(learning.waiting), Some(Stage::Headers)) => {
                let new_id = ctx.own_id();
                self.calls.rename(learning.waiting, &new_id);
                self.launch(ctx, http, learning.waiting);
            }
            _ => {}
        }
    }
}

/// The `tools` of a result, as one raw text and one by one.
pub(crate) fn tool_list<'a>(message: &Message<'a>) -> Option<(&'a str, Vec<&'a RawValue>)> {
    let [tools] = object::fields(message.result?, ["tools"]).ok()?;
    let tools = tools?;
    Some((tools, serde_json::from_str(tools).ok()?))
}

fn next_cursor(result: &str) -> Option<&str> {
    let [cursor] = object::fields(result, ["nextCursor"]).ok()?;
    cursor.filter(|raw| *raw != "null")
}

/// The raw `_meta` of a modern request, without what belongs to that request alone.
pub(crate) fn own_meta(meta: Option<&str>) -> String {
    let members = jsonrpc::members(meta.unwrap_or("{}")).unwrap_or_default();
    let kept = members
        .iter()
        .filter(|(name, _)| name.starts_with("io.modelcontextprotocol/"));
    jsonrpc::object(kept.map(|(name, raw)| (name.as_str(), *raw)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::jsonrpc::{Meta, Params};

    fn request(text: &str) -> Request {
        let message = jsonrpc::parse_one(text).expect(text);
        let params = Params::peek(message.params);
        Request::new(&message, &params, &Meta::peek(params.meta))
    }

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
        let mut lines = HeaderLines::default();
        headers.write(&mut lines, &request(message));
        let text = String::from_utf8(lines.into_bytes()).expect("ascii");
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
        let meta = r#"{"progressToken":5,"io.modelcontextprotocol/clientInfo":{"name":"h"}}"#;
        assert_eq!(
            own_meta(Some(meta)),
            r#"{"io.modelcontextprotocol/clientInfo":{"name":"h"}}"#
        );
    }
}
