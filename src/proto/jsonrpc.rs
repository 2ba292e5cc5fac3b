//! JSON-RPC 2.0 messages as borrowed peeks: where a message's parts lie, not what they mean.
//!
//! Owns finding `id`, `method`, `params`, `result` and `error`, the splices the bridge needs, and
//! the few messages it writes itself. It must never decode and encode again: numbers such as
//! 12345678901234567890, 1.0 and 1E400, escapes and unknown members leave as they came.

mod compose;

pub use compose::{error, error_response, notification, request, result};

use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

use super::object;

/// The most messages of one batch.
pub const BATCH_MAX: usize = 4_096;
/// "The method does not exist / is not available" (JSON-RPC 2.0, 5.1).
pub const METHOD_NOT_FOUND: i64 = -32601;
/// "Internal JSON-RPC error" (JSON-RPC 2.0, 5.1).
pub const INTERNAL_ERROR: i64 = -32603;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Not UTF-8, or not JSON: -32700.
    Json,
    /// JSON, but no request, notification or response: -32600.
    Message,
    /// A batch of more than [`BATCH_MAX`] messages: -32600.
    BatchTooLong,
}

/// One line's worth: a message, or a JSON-RPC batch (2025-03-26).
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A single message.
    One(Message<'a>),
    /// The members of an array, each a message text of its own.
    Batch(Vec<&'a str>),
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `method` and `id`: wants an answer.
    Request,
    /// `method` without `id`.
    Notification,
    /// `result` or `error`.
    Response,
}

/// A message's parts as raw JSON text, borrowed from the message.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Request, notification or response.
    pub kind: Kind,
    /// The whole message.
    pub text: &'a str,
    /// `id` as written; `Some("null")` for null.
    pub id: Option<&'a str>,
    /// `method`, unescaped; empty for a response.
    pub method: Cow<'a, str>,
    /// `params` as written.
    pub params: Option<&'a str>,
    /// `result` as written.
    pub result: Option<&'a str>,
    /// `error` as written.
    pub error: Option<&'a str>,
}

/// Reads one message or batch.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Invalid> {
    // "JSON-RPC messages MUST be UTF-8 encoded" (MCP, basic/transports#messages).
    let text = std::str::from_utf8(bytes).map_err(|_| Invalid::Json)?;
    if text.trim_ascii_start().starts_with('[') {
        return batch(text).map(Parsed::Batch);
    }
    parse_one(text).map(Parsed::One)
}

/// The members of a batch. One that is too long is not read to its end.
fn batch(text: &str) -> Result<Vec<&str>, Invalid> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<&'de str>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("at most so many messages")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut sequence: A,
        ) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = sequence.next_element::<&'de RawValue>()? {
                if members.len() >= BATCH_MAX {
                    return Err(serde::de::Error::invalid_length(members.len(), &self));
                }
                members.push(member.get());
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = serde::Deserializer::deserialize_seq(&mut deserializer, Members);
    let members = members.map_err(|error| match error.is_data() {
        true => Invalid::BatchTooLong,
        false => Invalid::Json,
    })?;
    deserializer.end().map_err(|_| Invalid::Json)?;
    Ok(members)
}

/// Reads one message that is no batch.
pub fn parse_one(text: &str) -> Result<Message<'_>, Invalid> {
    let names = ["jsonrpc", "id", "method", "params", "result", "error"];
    let members = object::fields(text, names).map_err(|error| {
        // A duplicate member is JSON all the same.
        if error.is_data() {
            Invalid::Message
        } else {
            Invalid::Json
        }
    })?;
    let [version, id, method, params, result, error] = members;
    let method = match method {
        Some(method) => Some(string(method).ok_or(Invalid::Message)?),
        None => None,
    };
    let answer = result.is_some() || error.is_some();
    let kind = match (&method, id, answer) {
        (Some(_), Some(_), false) => Kind::Request,
        (Some(_), None, false) => Kind::Notification,
        // `{"error":{"code":"…"}}` of an HTTP front is no JSON-RPC message: only 2.0 says it is one.
        (None, _, true) if version == Some("\"2.0\"") => Kind::Response,
        _ => return Err(Invalid::Message),
    };
    // MCP: ids are strings or numbers; null is allowed only in an error response.
    let scalar =
        |id: &str| id.starts_with(['"', '-']) || id.starts_with(|c: char| c.is_ascii_digit());
    if kind == Kind::Request && !id.is_some_and(scalar) {
        return Err(Invalid::Message);
    }
    Ok(Message {
        kind,
        text,
        id,
        method: method.unwrap_or_default(),
        params,
        result,
        error,
    })
}

/// Where `inner`, a slice of `outer`, lies.
///
/// # Panics
/// If `inner` is not a slice of `outer`: a programming error, never a matter of input.
pub fn range_in(outer: &str, inner: &str) -> Range<usize> {
    let start = (inner.as_ptr() as usize)
        .checked_sub(outer.as_ptr() as usize)
        .filter(|start| start + inner.len() <= outer.len())
        .expect("inner is a slice of outer");
    start..start + inner.len()
}

/// The text of a raw JSON string; `None` if it is no string (or holds a lone surrogate).
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

/// Text as a JSON string with its quotes.
pub fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serialises")
}

/// The members of `params` that the bridge looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    /// `_meta`.
    pub meta: Option<&'a str>,
    /// `name` of tools/call and prompts/get.
    pub name: Option<&'a str>,
    /// `uri` of resources/*.
    pub uri: Option<&'a str>,
    /// `taskId` of tasks/*.
    pub task_id: Option<&'a str>,
    /// `arguments` of tools/call.
    pub arguments: Option<&'a str>,
    /// `requestId` of notifications/cancelled.
    pub request_id: Option<&'a str>,
    /// `reason` of notifications/cancelled.
    pub reason: Option<&'a str>,
    /// `protocolVersion` of initialize.
    pub protocol_version: Option<&'a str>,
    /// `clientInfo` of initialize.
    pub client_info: Option<&'a str>,
    /// `cursor` of the list methods.
    pub cursor: Option<&'a str>,
}

impl<'a> Params<'a> {
    /// Peeks into raw `params`; anything but an object has no members.
    pub fn peek(raw: Option<&'a str>) -> Self {
        let names = [
            "_meta",
            "name",
            "uri",
            "taskId",
            "arguments",
            "requestId",
            "reason",
            "protocolVersion",
            "clientInfo",
            "cursor",
        ];
        let Some(Ok(found)) = raw.map(|raw| object::fields(raw, names)) else {
            return Self::default();
        };
        let [meta, name, uri, task_id, arguments, request_id, reason, ..] = found;
        let [.., protocol_version, client_info, cursor] = found;
        Self {
            meta,
            name,
            uri,
            task_id,
            arguments,
            request_id,
            reason,
            protocol_version,
            client_info,
            cursor,
        }
    }
}

/// The members of `params._meta` that the bridge looks at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta<'a> {
    /// The modern era's version of the request.
    pub protocol_version: Option<&'a str>,
    /// The modern era's client.
    pub client_info: Option<&'a str>,
    /// The token that progress notifications carry.
    pub progress_token: Option<&'a str>,
}

impl<'a> Meta<'a> {
    /// Peeks into raw `_meta`.
    pub fn peek(raw: Option<&'a str>) -> Self {
        let names = [
            "io.modelcontextprotocol/protocolVersion",
            "io.modelcontextprotocol/clientInfo",
            "progressToken",
        ];
        let Some(Ok(found)) = raw.map(|raw| object::fields(raw, names)) else {
            return Self::default();
        };
        let [protocol_version, client_info, progress_token] = found;
        Self {
            protocol_version,
            client_info,
            progress_token,
        }
    }
}

/// Ids are equal if they are the same text, the same string, or the same number: peers that parse
/// and print (JavaScript) hand back 1 for 1.0 and 12345678901234567000 for 12345678901234567890.
pub fn same_id(sent: &str, came: &str) -> bool {
    if sent == came {
        return true;
    }
    match (string(sent), string(came)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => number(sent).is_some_and(|sent| number(came) == Some(sent)),
        _ => false,
    }
}

/// A raw JSON number, as near as a double comes to it.
pub fn number(raw: &str) -> Option<f64> {
    // Not by `str::parse`: its tables are 15 kB that nothing else needs.
    serde_json::from_str(raw).ok()
}

/// Replaces pieces of a text, given in order and apart, by other bytes.
pub fn splice(text: &str, pieces: &[(Range<usize>, &str)]) -> Vec<u8> {
    let added: usize = pieces.iter().map(|(_, new)| new.len()).sum();
    let mut out = Vec::with_capacity(text.len() + added + 1);
    let mut at = 0;
    for (range, new) in pieces {
        out.extend_from_slice(&text.as_bytes()[at..range.start]);
        out.extend_from_slice(new.as_bytes());
        at = range.end;
    }
    out.extend_from_slice(&text.as_bytes()[at..]);
    out
}

/// The message with this id instead of its own; an absent id is put in first.
pub fn with_id(message: &Message<'_>, id: &str) -> Vec<u8> {
    match message.id {
        Some(old) => splice(message.text, &[(range_in(message.text, old), id)]),
        None => insert_member(message.text, "\"id\"", id),
    }
}

/// An object's text with one more member at its front. `name` is quoted, `value` raw JSON.
pub fn insert_member(object: &str, name: &str, value: &str) -> Vec<u8> {
    let open = object.find('{').expect("the text is an object");
    let rest = object[open + 1..].trim_ascii_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    splice(
        object,
        &[(open + 1..open + 1, &format!("{name}:{value}{comma}"))],
    )
}

/// The members of an object in their order, names unescaped, values as written; `None` if the text
/// is no object.
pub fn members(object: &str) -> Option<Vec<(String, &str)>> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, &'de str)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                members.push((name, value.get()));
            }
            Ok(members)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(object);
    serde::Deserializer::deserialize_map(&mut deserializer, Members).ok()
}

/// An object of these members.
pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (name, value) in members {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&quote(name));
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}

/// An object with this member set, others as they were; a text that is no object becomes one.
pub fn set_member(object_text: &str, name: &str, value: &str) -> String {
    let old = members(object_text).unwrap_or_default();
    let mut found = false;
    let mut new = Vec::with_capacity(old.len() + 1);
    for (old_name, old_value) in &old {
        let is_it = old_name == name;
        found |= is_it;
        new.push((old_name.as_str(), if is_it { value } else { *old_value }));
    }
    if !found {
        new.push((name, value));
    }
    object(new)
}

/// The raw value of one member.
pub fn member<'a>(object_text: &'a str, name: &str) -> Option<&'a str> {
    members(object_text)?
        .into_iter()
        .find(|(found, _)| found == name)
        .map(|(_, raw)| raw)
}

/// The request `text`, whose `id` and `params` are slices of it, under a new id and allowed by an
/// approval: `params._meta` names it, and `edited` params replace all others. Values keep their
/// bytes. `None` if the params are no object.
pub fn approved_request(
    (text, id, params): (&str, &str, Option<&str>),
    new_id: &str,
    (meta_name, meta_value): (&str, &str),
    edited: Option<&str>,
) -> Option<Vec<u8>> {
    let original = members(params.unwrap_or("{}"))?;
    let meta = original
        .iter()
        .find(|(name, _)| name == "_meta")
        .map_or("{}", |(_, raw)| *raw);
    // Neither the host nor the approver can put another approval's name there.
    let kept = members(meta).unwrap_or_default();
    let kept = kept.iter().filter(|(name, _)| name != meta_name);
    let kept = kept.map(|(name, raw)| (name.as_str(), *raw));
    let meta = object(kept.chain([(meta_name, meta_value)]));
    let edited = edited
        .map(members)
        .unwrap_or_else(|| Some(original.clone()))?;
    let rest = edited.iter().filter(|(name, _)| name != "_meta");
    let rest = rest.map(|(name, raw)| (name.as_str(), *raw));
    let new_params = object(rest.chain([("_meta", meta.as_str())]));
    let old_id = range_in(text, id);
    Some(match params {
        Some(old) => {
            let mut pieces = [(old_id, new_id), (range_in(text, old), new_params.as_str())];
            pieces.sort_by_key(|(range, _)| range.start);
            splice(text, &pieces)
        }
        None => {
            let with_id = splice(text, &[(old_id, new_id)]);
            insert_member(
                std::str::from_utf8(&with_id).ok()?,
                "\"params\"",
                &new_params,
            )
        }
    })
}

/// Makes a message one stdio line: raw CR and LF become blanks (lossless: in valid JSON they are only
/// ever insignificant white space), a newline ends it.
pub fn end_line(message: &mut Vec<u8>) {
    // A 10 MB reply passes through here, and a loop over its bytes does not vectorise when the
    // program is built for size: memchr always does.
    let mut done = 0;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &message[done..]) {
        message[done + at] = b' ';
        done += at + 1;
    }
    message.push(b'\n');
}

/// `code` and `message` of a raw JSON-RPC error object; `None` if it is none.
pub fn error_parts(raw: &str) -> Option<(i64, String)> {
    let [code, message] = object::fields(raw, ["code", "message"]).ok()?;
    let message = match message {
        None => String::new(),
        Some(raw) => string(raw)?.into_owned(),
    };
    Some((code?.parse().ok()?, message))
}

/// The id in the first bytes of a message that was too long to keep: so that its sender learns which
/// request failed. Best effort: only a top-level `id` that comes before any other long member.
pub fn id_in_prefix(prefix: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(prefix) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&prefix[..error.valid_up_to()]).ok()?,
    };
    let mut rest = text.trim_ascii_start().strip_prefix('{')?;
    loop {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let name = values.next()?.ok()?.get();
        let used = values.byte_offset();
        rest = rest[used..].trim_ascii_start().strip_prefix(':')?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let value = values.next()?.ok()?.get();
        let used = values.byte_offset();
        if name == "\"id\"" {
            // A number at the very end may have been cut.
            return (used < rest.len()).then_some(value);
        }
        rest = rest[used..].trim_ascii_start().strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Message<'_> {
        parse_one(text).expect("a message")
    }

    #[test]
    fn kinds_are_told_apart_by_their_members() {
        assert_eq!(
            one(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).kind,
            Kind::Request
        );
        assert_eq!(
            one(r#"{"jsonrpc":"2.0","method":"x","params":{}}"#).kind,
            Kind::Notification
        );
        assert_eq!(
            one(r#"{"jsonrpc":"2.0","id":1,"result":null}"#).kind,
            Kind::Response
        );
        assert_eq!(
            one(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#).id,
            Some("null")
        );
        for bad in [
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":[1],"method":"x"}"#,
            r#"{"id":1,"id":2,"method":"x"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"error":{"code":"unauthorized","message":"no"}}"#,
            "7",
            "\"x\"",
        ] {
            assert_eq!(parse_one(bad).err(), Some(Invalid::Message), "{bad}");
        }
    }

    #[test]
    fn every_proper_prefix_of_a_message_is_no_json() {
        let text = r#"{"jsonrpc":"2.0","id":"å\u0000","method":"a/b","params":{"x":[1E400,{"y":"\ud800"}]}}"#;
        for end in 0..text.len() {
            assert!(parse(&text.as_bytes()[..end]).is_err(), "{end}");
        }
        assert_eq!(one(text).params, Some(r#"{"x":[1E400,{"y":"\ud800"}]}"#));
    }

    #[test]
    fn escaped_member_names_and_methods_are_understood() {
        let m = one(r#"{"\u0069d":7,"m\u0065thod":"tools\/call"}"#);
        assert_eq!((m.id, m.method.as_ref()), (Some("7"), "tools/call"));
    }

    #[test]
    fn bytes_survive_a_change_of_id() {
        let text = "{\"a\":1.0, \"id\" : 12345678901234567890 ,\"method\":\"x\",\"params\":[1E+2]}";
        let m = one(text);
        assert_eq!(
            with_id(&m, "\"gw-1\""),
            text.replace("12345678901234567890", "\"gw-1\"").as_bytes()
        );
        let m = one(r#"{"jsonrpc":"2.0","error":{"code":1}}"#);
        assert_eq!(
            with_id(&m, "5"),
            br#"{"id":5,"jsonrpc":"2.0","error":{"code":1}}"#
        );
    }

    #[test]
    fn ids_that_a_peer_printed_anew_still_match() {
        for (a, b) in [
            ("1", "1"),
            ("1.0", "1"),
            ("12345678901234567890", "12345678901234567000"),
            (r#""a""#, r#""\u0061""#),
        ] {
            assert!(same_id(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("1", "\"1\""),
            ("1", "2"),
            ("\"a\"", "\"b\""),
            ("1", "null"),
        ] {
            assert!(!same_id(a, b), "{a} {b}");
        }
    }

    #[test]
    fn lines_hold_no_breaks() {
        let mut m = b"{\r\n \"a\": \"\\n\"\n}".to_vec();
        end_line(&mut m);
        assert_eq!(m, b"{   \"a\": \"\\n\" }\n");
    }

    #[test]
    fn an_id_is_found_in_the_head_of_a_message_too_long() {
        let check = |prefix: &str, expect: Option<&str>| {
            assert_eq!(id_in_prefix(prefix.as_bytes()), expect, "{prefix}");
        };
        check(
            r#"{"jsonrpc":"2.0","id":17,"method":"x","params":{"a":"yyyy"#,
            Some("17"),
        );
        check(r#" { "id" : "q" , "#, Some("\"q\""));
        check(r#"{"params":{"id":3},"id":4,"#, Some("4"));
        check(r#"{"params":{"a":"yyy"#, None);
        check(r#"{"id":17"#, None);
        check("[{", None);
    }

    #[test]
    fn members_are_inserted_into_empty_and_full_objects() {
        assert_eq!(insert_member("{ }", "\"a\"", "1"), b"{\"a\":1 }");
        assert_eq!(
            insert_member("{\"b\":2}", "\"a\"", "1"),
            b"{\"a\":1,\"b\":2}"
        );
    }

    #[test]
    fn an_approved_request_names_its_approval_and_keeps_every_number() {
        let check = |text: &str, edited: Option<&str>, expect: &str| {
            let meta = ("k", "\"apr\"");
            let message = one(text);
            let id = message.id.expect("a request");
            let parts = (message.text, id, message.params);
            let made = approved_request(parts, "9", meta, edited).expect("made");
            assert_eq!(String::from_utf8(made).expect("UTF-8"), expect);
        };
        check(
            r#"{"id":"a","method":"m","params":{"arguments":{"n":1E400},"_meta":{"t":1.0,"k":"forged"}}}"#,
            None,
            r#"{"id":9,"method":"m","params":{"arguments":{"n":1E400},"_meta":{"t":1.0,"k":"apr"}}}"#,
        );
        check(
            r#"{"params":{"name":"x","arguments":{}},"method":"m","id":1}"#,
            Some(r#"{"name":"x","arguments":{"n":12345678901234567890},"_meta":{"k":"forged"}}"#),
            r#"{"params":{"name":"x","arguments":{"n":12345678901234567890},"_meta":{"k":"apr"}},"method":"m","id":9}"#,
        );
        check(
            r#"{"id":1,"method":"m"}"#,
            None,
            r#"{"params":{"_meta":{"k":"apr"}},"id":9,"method":"m"}"#,
        );
    }

    #[test]
    fn the_own_messages_are_json() {
        for bytes in [
            error("1", -32603, "a \"b\"\n", Some("{\"x\":1}")),
            result("\"x\"", "{}"),
            request("1", "m", "{}"),
            notification("n", None),
        ] {
            assert!(parse(&bytes).is_ok(), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}
