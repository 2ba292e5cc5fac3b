//! A request, read once: its text, and where in it the parts lie that the gateway looks at.
//!
//! From the door on it travels as this value; nobody parses it again. The text is shared, so that a
//! message which waits in several places lies in memory once.

use super::ids::Era;
use crate::proto::identity::Identity;
use crate::proto::jsonrpc::{self, Message, Meta, Params};
use std::ops::Range;
use std::rc::Rc;

/// What a message that waits costs beside its text: its entries in tables and queues.
pub(crate) const OVERHEAD_BYTES: usize = 1_024;

/// A place in the text. Lines have at most 64 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn of(outer: &str, inner: &str) -> Self {
        let Range { start, end } = jsonrpc::range_in(outer, inner);
        Self::new(start, end - start)
    }

    fn new(start: usize, len: usize) -> Self {
        let size = |n: usize| u32::try_from(n).expect("messages are limited to 64 MiB");
        Self {
            start: size(start),
            len: size(len),
        }
    }

    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    text: Rc<str>,
    method: Box<str>,
    era: Era,
    id: Span,
    params: Option<Span>,
    meta: Option<Span>,
    arguments: Option<Span>,
    request_name: Option<Span>,
    protocol_version: Option<Span>,
    client_info: Option<Span>,
    progress_token: Option<Span>,
    uri: Option<Span>,
    has_cursor: bool,
    /// The tool's, prompt's or resource's name as text.
    name: Option<Box<str>>,
    /// What a person is shown instead of the method.
    shown: Option<Box<str>>,
    /// The asker's id where the text bears another.
    asked_as: Option<Box<str>>,
}

impl Request {
    /// A message of kind request.
    pub(crate) fn new(message: &Message<'_>, params: &Params<'_>, meta: &Meta<'_>) -> Self {
        let text = message.text;
        let span = |raw: Option<&str>| raw.map(|raw| Span::of(text, raw));
        let name = params.name.or(params.uri).or(params.task_id);
        let id = message.id.map_or(Span::new(0, 0), |id| Span::of(text, id));
        let token = meta.progress_token.filter(|raw| is_scalar(raw));
        let has_cursor = params.cursor.is_some_and(|raw| raw != "null");
        Self {
            text: text.into(),
            method: message.method.as_ref().into(),
            era: era(message, meta),
            id,
            params: message.params.map(|raw| Span::of(text, raw)),
            meta: span(params.meta),
            arguments: span(params.arguments),
            request_name: span(params.name),
            protocol_version: span(params.protocol_version),
            client_info: span(params.client_info.or(meta.client_info)),
            progress_token: span(token),
            uri: span(params.uri),
            has_cursor,
            name: name
                .and_then(jsonrpc::string)
                .map(|name| name.as_ref().into()),
            shown: None,
            asked_as: None,
        }
    }

    /// Reads a text of the gateway's own making; `None` if it is no request.
    fn parse(text: &str) -> Option<Self> {
        let message = jsonrpc::parse_one(text).ok()?;
        let params = Params::peek(message.params);
        let meta = Meta::peek(params.meta);
        (message.kind == jsonrpc::Kind::Request).then(|| Self::new(&message, &params, &meta))
    }

    /// A request of the gateway's own. `id` and `params` are raw JSON.
    pub(crate) fn own(id: &str, method: &str, params: &str, era: Era) -> Self {
        const BEFORE_ID: usize = "{\"jsonrpc\":\"2.0\",\"id\":".len();
        let text = String::from_utf8(jsonrpc::request(id, method, params)).unwrap_or_default();
        let params = Span::new(text.len() - 1 - params.len(), params.len());
        let meta = jsonrpc::member(&text[params.range()], "_meta");
        Self {
            method: method.into(),
            era,
            id: Span::new(BEFORE_ID, id.len()),
            params: Some(params),
            meta: meta.map(|raw| Span::of(&text, raw)),
            text: text.into(),
            arguments: None,
            request_name: None,
            protocol_version: None,
            client_info: None,
            progress_token: None,
            uri: None,
            has_cursor: false,
            name: None,
            shown: None,
            asked_as: None,
        }
    }

    /// What a person is shown instead of the method.
    pub(crate) fn shown_as(mut self, words: &str) -> Self {
        self.shown = Some(words.into());
        self
    }

    /// The whole message, as it is POSTed.
    pub(crate) fn text(&self) -> &Rc<str> {
        &self.text
    }

    /// What it costs while it waits, bytes.
    pub(crate) fn cost(&self) -> usize {
        self.text.len() + OVERHEAD_BYTES
    }

    /// `method`, unescaped.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Which generation of MCP it belongs to.
    pub(crate) fn era(&self) -> Era {
        self.era
    }

    /// The asker's id, raw JSON.
    pub(crate) fn id(&self) -> &str {
        self.asked_as.as_deref().unwrap_or(self.wire_id())
    }

    /// The id that the workspace sees, raw JSON.
    pub(crate) fn wire_id(&self) -> &str {
        &self.text[self.id.range()]
    }

    /// `params`, raw JSON.
    pub(crate) fn params(&self) -> Option<&str> {
        self.at(self.params)
    }

    /// `params.arguments`, raw JSON; `{}` if there are none.
    pub(crate) fn arguments(&self) -> &str {
        self.at(self.arguments).unwrap_or("{}")
    }

    /// `params._meta`, raw JSON.
    pub(crate) fn meta(&self) -> Option<&str> {
        self.at(self.meta)
    }

    /// `params.uri`, raw JSON.
    pub(crate) fn uri(&self) -> Option<&str> {
        self.at(self.uri)
    }

    /// `params.name`, raw JSON.
    pub(crate) fn raw_name(&self) -> Option<&str> {
        self.at(self.request_name)
    }

    /// The tool's, prompt's, resource's or task's name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// `params.protocolVersion` of `initialize`.
    pub(crate) fn protocol_version(&self) -> Option<String> {
        let raw = self.at(self.protocol_version)?;
        jsonrpc::string(raw).map(|text| text.into_owned())
    }

    /// Who the host says it is, raw JSON: by `initialize`, or by a modern request's metadata.
    pub(crate) fn client_info(&self) -> Option<&str> {
        self.at(self.client_info)
    }

    /// The token for progress notifications, raw JSON: a string or a number.
    pub(crate) fn progress_token(&self) -> Option<&str> {
        self.at(self.progress_token)
    }

    /// True for a list request without a cursor.
    pub(crate) fn is_first_page(&self) -> bool {
        !self.has_cursor
    }

    /// The request in words: "github__create_issue", "prompts/get greeting", "tools/list".
    pub(crate) fn label(&self) -> String {
        let text = match (&self.shown, &self.name) {
            (Some(shown), _) => shown.to_string(),
            (None, Some(name)) if &*self.method == "tools/call" => name.to_string(),
            (None, Some(name)) => format!("{} {name}", self.method),
            (None, None) => self.method.to_string(),
        };
        crate::log::printable(&text, 160)
    }

    /// The same request under a new id: "the request ID MUST NOT have been previously used by the
    /// requestor within the same session" (MCP, basic#requests). Its asker still knows it by the
    /// first.
    pub(crate) fn rename(&mut self, new_id: &str) {
        let old = self.id;
        let asked_as = self.id().into();
        let text = jsonrpc::splice(&self.text, &[(old.range(), new_id)]);
        // A splice of two texts is text.
        let Ok(text) = String::from_utf8(text) else {
            return;
        };
        let new = Span::new(old.start as usize, new_id.len());
        let shift = |span: &mut Span| {
            if span.start > old.start {
                span.start = span.start + new.len - old.len;
            }
        };
        [
            &mut self.params,
            &mut self.meta,
            &mut self.arguments,
            &mut self.request_name,
            &mut self.protocol_version,
            &mut self.client_info,
            &mut self.progress_token,
            &mut self.uri,
        ]
        .into_iter()
        .flatten()
        .for_each(shift);
        (self.text, self.id, self.asked_as) = (text.into(), new, Some(asked_as));
    }

    /// The request as a person approved it: under a new id, with the approval named in `_meta` and
    /// with `edited` params (raw JSON) where there are some. `None` if the params are no object.
    pub(crate) fn approved(
        &self,
        new_id: &str,
        approval: (&str, &str),
        edited: Option<&str>,
    ) -> Option<Self> {
        let id = &self.text[self.id.range()];
        let made =
            jsonrpc::approved_request((&self.text, id, self.params()), new_id, approval, edited);
        let mut request = Self::parse(std::str::from_utf8(&made?).ok()?)?;
        request.asked_as = Some(self.id().into());
        request.shown.clone_from(&self.shown);
        Some(request)
    }

    /// What a consent for this request is bound to.
    pub(crate) fn identity(&self) -> Identity {
        Identity::of(&self.method, self.params())
    }

    fn at(&self, span: Option<Span>) -> Option<&str> {
        span.map(|span| &self.text[span.range()])
    }
}

/// A `notifications/cancelled`, and where in it the id of the cancelled request stands.
#[derive(Clone, Debug)]
pub(crate) struct Cancel {
    text: Rc<str>,
    request_id: Span,
    reason: Box<str>,
}

impl Cancel {
    /// The host's; `None` if it names no request.
    pub(crate) fn new(message: &Message<'_>, params: &Params<'_>) -> Option<Self> {
        let raw_id = params.request_id?;
        let reason = params.reason.and_then(jsonrpc::string);
        Some(Self {
            text: message.text.into(),
            request_id: Span::of(message.text, raw_id),
            reason: reason.unwrap_or_default().as_ref().into(),
        })
    }

    /// The gateway's own, for a request that took too long.
    pub(crate) fn timed_out(wire_id: &str) -> Self {
        let reason = "time-out";
        let members = [("requestId", wire_id), ("reason", "\"time-out\"")];
        let params = jsonrpc::object(members);
        let text = jsonrpc::notification("notifications/cancelled", Some(&params));
        let text = String::from_utf8(text).unwrap_or_default();
        let start = text.len() - 1 - params.len() + "{\"requestId\":".len();
        Self {
            text: text.into(),
            request_id: Span::new(start, wire_id.len()),
            reason: reason.into(),
        }
    }

    /// As it came.
    pub(crate) fn text(&self) -> Rc<str> {
        self.text.clone()
    }

    /// Why, in the host's words.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// The raw id of the request that is cancelled.
    pub(crate) fn request_id(&self) -> &str {
        &self.text[self.request_id.range()]
    }

    /// The same with the id that the workspace knows the request by.
    pub(crate) fn of(&self, wire_id: &str) -> Rc<str> {
        if self.request_id() == wire_id {
            return self.text.clone();
        }
        let text = jsonrpc::splice(&self.text, &[(self.request_id.range(), wire_id)]);
        // A splice of two texts is text.
        String::from_utf8(text).unwrap_or_default().into()
    }
}

/// A message is of the modern era if its metadata names a version, or its method exists only there.
pub(crate) fn era(message: &Message<'_>, meta: &Meta<'_>) -> Era {
    let modern = meta.protocol_version.is_some()
        || matches!(
            message.method.as_ref(),
            "server/discover" | "subscriptions/listen"
        );
    if modern { Era::Modern } else { Era::Legacy }
}

fn is_scalar(raw: &str) -> bool {
    raw.starts_with('"') || raw.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// Methods whose second execution can do no harm (they only read, or open what a repeat opens
/// again); of the gateway's own those that only ask, or say what is true at any time.
pub(crate) fn is_safe(method: &str) -> bool {
    let listed = [
        "initialize",
        "ping",
        "server/discover",
        "prompts/get",
        "aerostack/approvals/get",
        "aerostack/approvals/cancel",
        "aerostack/chat/messages",
        "aerostack/heartbeat",
    ];
    listed.contains(&method) || method.ends_with("/list") || method.ends_with("/read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        Request::parse(text).expect(text)
    }

    #[test]
    fn parts_stay_where_they_are_when_the_id_changes() {
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":1},"_meta":{"progressToken":"p"}}}"#,
            r#"{"method":"tools/call","params":{"_meta":{"progressToken":"p"},"arguments":{"x":1},"name":"a"},"id":7,"jsonrpc":"2.0"}"#,
        ] {
            for id in ["99", "\"a-much-longer-id\""] {
                let mut it = request(text);
                it.rename(id);
                assert_eq!((it.id(), it.wire_id()), ("7", id));
                assert_eq!(it.arguments(), r#"{"x":1}"#);
                assert_eq!(it.progress_token(), Some("\"p\""));
                assert_eq!(it.meta(), Some(r#"{"progressToken":"p"}"#));
                assert_eq!((it.raw_name(), it.name()), (Some("\"a\""), Some("a")));
                assert_eq!(&*it.text().replace(id, "7"), text);
                it.rename("2");
                assert_eq!((it.id(), it.wire_id()), ("7", "2"));
            }
        }
    }

    #[test]
    fn an_approved_request_keeps_its_askers_id() {
        let it = request(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a"}}"#);
        let approved = it
            .approved("\"n\"", ("m", "\"apr\""), None)
            .expect("an object");
        assert_eq!((approved.id(), approved.wire_id()), ("7", "\"n\""));
        assert_eq!(
            approved.params(),
            Some(r#"{"name":"a","_meta":{"m":"apr"}}"#)
        );
        let it = request(r#"{"jsonrpc":"2.0","id":7,"method":"x","params":[1]}"#);
        assert!(it.approved("\"n\"", ("m", "\"apr\""), None).is_none());
    }

    #[test]
    fn a_cancel_names_the_request_as_the_workspace_knows_it() {
        let cancel = Cancel::timed_out("7");
        assert_eq!((cancel.request_id(), cancel.reason()), ("7", "time-out"));
        assert_eq!(cancel.of("7"), cancel.text());
        assert_eq!(
            &*cancel.of("\"x\""),
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x","reason":"time-out"}}"#
        );
    }

    #[test]
    fn own_requests_know_their_parts() {
        let it = Request::own("\"g/1\"", "aerostack/x", r#"{"a":1}"#, Era::Legacy);
        assert_eq!((it.wire_id(), it.params()), ("\"g/1\"", Some(r#"{"a":1}"#)));
        assert_eq!(it.label(), "aerostack/x");
    }
}
