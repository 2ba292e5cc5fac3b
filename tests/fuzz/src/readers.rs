//! Readers of what the host, the network and the person's settings say.

use crate::pieces;
use aerostack_gateway::api::config::{Config, Limits};
use aerostack_gateway::api::fuzz::{self, Endpoint, Secrets, Source};
use aerostack_gateway::api::proto::jsonrpc::{self, Meta, Params, Parsed};
use aerostack_gateway::api::proto::{
    Event, EventStream, Exchange, Line, LineReader, accept_for, to_rfc3339,
};
use serde_json::Value;
use serde_json::value::RawValue;

const TOKEN: &str = "mwt_T0P-S3CRET-0f-the-w0rkspace";

/// Lines of the host: in pieces as whole, and as any other reader of lines has them.
pub(crate) fn lines(data: &[u8]) {
    const MAX: usize = 40;
    let read = |pieces: &[&[u8]]| {
        let mut reader = LineReader::new(MAX);
        let mut lines = Vec::new();
        let mut keep = |line: Line<'_>| match line {
            Line::Complete(line) => lines.push(Some(line.to_vec())),
            Line::TooLong(_) => lines.push(None),
        };
        for piece in pieces {
            let mut input = *piece;
            while let Some(line) = reader.feed(&mut input) {
                keep(line);
            }
            assert!(input.is_empty() && reader.buffered() <= MAX + 1);
        }
        if let Some(line) = reader.finish() {
            keep(line);
        }
        lines
    };
    let (pieces, whole) = pieces(data);
    let lines = read(&pieces);
    assert_eq!(lines, read(&[whole]));
    let whole = whole.strip_prefix(b"\xef\xbb\xbf").unwrap_or(whole);
    let mut others = Vec::new();
    for line in whole.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX {
            others.push(None);
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            others.push(Some(line.to_vec()));
        }
    }
    assert_eq!(lines, others);
}

/// A JSON-RPC message: its parts are those of serde_json, and what is written anew is valid again.
pub(crate) fn jsonrpc(data: &[u8]) {
    if let Some(id) = jsonrpc::id_in_prefix(data) {
        assert!(serde_json::from_str::<&RawValue>(id).is_ok());
    }
    let Ok(parsed) = jsonrpc::parse(data) else {
        return;
    };
    let whole = std::str::from_utf8(data).expect("a message is UTF-8");
    let raw: &RawValue = serde_json::from_str(whole).expect("a message is JSON");
    match parsed {
        Parsed::Batch(members) => {
            let others: Vec<&RawValue> = serde_json::from_str(raw.get()).expect("it is a list");
            assert!(
                members.iter().eq(others
                    .iter()
                    .map(|raw| raw.get())
                    .collect::<Vec<_>>()
                    .iter())
            );
            members.into_iter().for_each(message);
        }
        Parsed::One(_) => message(whole),
    }
}

fn message(text: &str) {
    let Ok(message) = jsonrpc::parse_one(text) else {
        return;
    };
    let members = jsonrpc::members(text).expect("a message is an object");
    let named = |name: &str| {
        let mut own = members.iter().filter(|(own, _)| own == name);
        let first = own.next().map(|(_, raw)| *raw);
        assert!(own.next().is_none(), "{name} stands there twice");
        first
    };
    assert_eq!(message.id, named("id"));
    assert_eq!(message.params, named("params"));
    let params = Params::peek(message.params);
    let _ = Meta::peek(params.meta);
    if let Some(error) = message.error {
        let _ = jsonrpc::error_parts(error);
    }
    for id in [message.id, params.request_id].into_iter().flatten() {
        let _ = jsonrpc::string(id);
        assert!(jsonrpc::same_id(id, id));
    }
    if message.id.is_some() {
        let anew = jsonrpc::with_id(&message, "\"new\"");
        let anew = jsonrpc::parse_one(std::str::from_utf8(&anew).expect("UTF-8"));
        let anew = anew.expect("it is a message under another id");
        assert_eq!(anew.id, Some("\"new\""));
        assert_eq!((anew.kind, anew.params), (message.kind, message.params));
    }
    let set = jsonrpc::set_member(text, "added", "[1]");
    assert_eq!(jsonrpc::member(&set, "added"), Some("[1]"));
    if let Some(id) = message.id {
        let parts = (text, id, message.params);
        let approved = jsonrpc::approved_request(parts, "7", ("approval", "\"a\""), None);
        if let Some(approved) = approved {
            let approved = String::from_utf8(approved).expect("UTF-8");
            let approved = jsonrpc::parse_one(&approved).expect("a message");
            let params = approved.params.expect("they hold the approval");
            let meta = jsonrpc::member(params, "_meta").expect("it holds the approval");
            assert_eq!(
                (approved.id, jsonrpc::member(meta, "approval")),
                (Some("7"), Some("\"a\""))
            );
        }
    }
    let mut line = text.as_bytes().to_vec();
    jsonrpc::end_line(&mut line);
    let body = line.strip_suffix(b"\n").expect("it ends a line");
    assert!(!body.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
    assert!(serde_json::from_slice::<&RawValue>(body).is_ok());
}

/// A response, whole and in pieces; what is judged of its head and body.
pub(crate) fn http(data: &[u8]) {
    const HEAD_MAX: usize = 1_024;
    let upgrade = data.first().is_some_and(|seed| seed % 4 == 0);
    let read = |pieces: &[&[u8]]| {
        let mut exchange = Exchange::new(HEAD_MAX);
        if upgrade {
            exchange = exchange.for_upgrade();
        }
        let (mut heads, mut body, mut left, mut error, mut end) =
            (Vec::new(), Vec::new(), 0, None, None);
        for piece in pieces {
            let mut input = *piece;
            loop {
                match exchange.feed(&mut input) {
                    Ok(Some(Event::Head(head) | Event::Upgraded(head))) => heads.push(head),
                    Ok(Some(Event::Data(data))) => {
                        assert!(!data.is_empty());
                        body.extend_from_slice(data);
                    }
                    Ok(Some(Event::End { reusable })) => end = Some(reusable),
                    Ok(None) => break,
                    Err(why) => {
                        error = Some(why);
                        break;
                    }
                }
            }
            left += input.len();
        }
        let left = error.is_none().then_some(left);
        (heads, body, left, error, end, exchange.finish())
    };
    let (pieces, whole) = pieces(data);
    let found = read(&pieces);
    assert_eq!(found, read(&[whole]));
    let (heads, body, ..) = &found;
    assert!(heads.len() <= 1 && body.len() <= whole.len());
    for head in heads {
        let _ = fuzz::refusal(head, body, "/ws/x", 1_787_402_096);
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        if fuzz::is_upgraded(head, key) {
            let accept = head.websocket_accept.as_deref();
            assert!(head.status == 101 && accept == Some(&*accept_for(key)));
        }
    }
    for status in [400, 401, 404, 410, 422, 503] {
        let _ = fuzz::lost_session(status, whole);
    }
}

/// An event stream, whole and in pieces, and as its specification reads it.
pub(crate) fn sse(data: &[u8]) {
    const MAX: usize = 1 << 10;
    let read = |pieces: &[&[u8]]| {
        let mut stream = EventStream::new(MAX);
        let mut events = Vec::new();
        let mut failed = false;
        'all: for piece in pieces {
            let mut input = *piece;
            loop {
                match stream.feed(&mut input) {
                    Ok(Some(event)) => events.push((event.data, event.message, event.endpoint)),
                    Ok(None) => break,
                    Err(_) => {
                        failed = true;
                        break 'all;
                    }
                }
            }
            assert!(stream.buffered() <= 3 * MAX);
        }
        let id = stream.last_event_id().map(str::to_owned);
        (events, failed, id, stream.retry_ms())
    };
    let (pieces, whole) = pieces(data);
    let found = read(&pieces);
    assert_eq!(found, read(&[whole]));
    if whole.len() <= MAX {
        assert!(!found.1);
        assert_eq!(found.0, specified(whole));
    }
}

/// Section 9.2.6 of the HTML standard, word for word: events with data.
fn specified(stream: &[u8]) -> Vec<(Vec<u8>, bool, bool)> {
    let mut rest = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (mut events, mut data, mut kind) = (Vec::new(), Vec::<u8>::new(), Vec::new());
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = &rest[..end];
        let len = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + len..];
        if line.is_empty() {
            // "If the data buffer's last character is a LF, then remove the last character."
            data.pop();
            if !data.is_empty() {
                let (message, endpoint) =
                    (matches!(&kind[..], b"" | b"message"), kind == b"endpoint");
                events.push((std::mem::take(&mut data), message, endpoint));
            }
            kind.clear();
            continue;
        }
        let at = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..at] {
            b"data" => data.extend([value, b"\n"].concat()),
            b"event" => kind = value.to_vec(),
            _ => {}
        }
    }
    events
}

/// Frames of a WebSocket, whole and in pieces.
pub(crate) fn websocket(data: &[u8]) {
    const MAX: usize = 512;
    let (pieces, whole) = pieces(data);
    let found = fuzz::websocket(MAX, &pieces);
    let other = fuzz::websocket(MAX, &[whole]);
    assert_eq!((&found.frames, found.error), (&other.frames, other.error));
    assert!(
        found.held_max <= MAX + 64 + 2_048,
        "{} bytes wait",
        found.held_max
    );
    assert!(found.output_max <= 2_048 && other.output_max <= 2_048);
}

/// URLs and references to them: what is accepted is written as it is read.
pub(crate) fn endpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (url, reference) = text.split_once('\n').unwrap_or((text, text));
    let sound = |endpoint: &Endpoint| {
        assert_eq!(Endpoint::parse(&endpoint.url()).as_ref(), Ok(endpoint));
        let line = [
            endpoint.target(),
            &endpoint.host_header(),
            &endpoint.origin(),
        ]
        .concat();
        assert!(line.bytes().all(|byte| byte.is_ascii_graphic()), "{line:?}");
        assert!(endpoint.target().starts_with('/') && endpoint.path().starts_with('/'));
        assert!(!endpoint.host_header().contains(['@', '/', '\\']));
        let _ = (endpoint.is_loopback_host(), endpoint.ip());
    };
    let Ok(base) = Endpoint::parse(url) else {
        return;
    };
    sound(&base);
    for found in [base.resolve(reference), base.resolve_location(reference)]
        .iter()
        .flatten()
    {
        sound(found);
    }
    let moved = base.with_target(reference);
    assert!(moved.same_origin(&base));
    assert!(moved.target().bytes().all(|byte| byte.is_ascii_graphic()));
}

/// Dates: what is read as RFC 3339 is written as it is read.
pub(crate) fn dates(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let [_, ms, _] = fuzz::dates(text);
    if let Some(ms) = ms {
        assert_eq!(fuzz::dates(&to_rfc3339(ms))[1], Some(ms));
    }
    if let Some(number) = data.first_chunk::<8>() {
        let ms = u64::from_le_bytes(*number) % 253_402_300_800_000;
        assert_eq!(fuzz::dates(&to_rfc3339(ms))[1], Some(ms));
    }
}

/// Set-Cookie lines; what is sent of them fits into a header.
pub(crate) fn cookies(data: &[u8]) {
    let Some((seed, text)) = data.split_first() else {
        return;
    };
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let path = ["/ws/x", "/", "/ws", "/a/b?c"][usize::from(*seed) % 4];
    let now_ms = 1_795_305_600_000;
    for secure in [false, true] {
        let (header, count) = fuzz::cookies(&lines, path, secure, now_ms);
        assert!(count <= 50 && (count > 0 || header.is_none()));
    }
}

/// Every shape of the workspace's extension.
pub(crate) fn shapes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let secrets = Secrets::new([TOKEN]);
    assert_eq!(fuzz::shapes(text, &secrets), fuzz::shapes(text, &secrets));
}

/// Text with the token in it: none of it is left.
pub(crate) fn secrets(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let secrets = Secrets::new([TOKEN]);
    let percent: String = TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let escaped: String = TOKEN.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    for spelt in [TOKEN, &percent, &escaped, &TOKEN.to_uppercase()] {
        let text = text.replace('@', spelt);
        let hidden = secrets.hide(&text);
        assert!(!hidden.contains(spelt), "{text:?} became {hidden:?}");
        if !text.contains(spelt) {
            continue;
        }
        assert!(hidden.contains("***"));
    }
}

struct Lines<'a>(Vec<(&'a str, &'a str)>);

impl Source for Lines<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| (*value).to_owned()).or(match name {
            "AEROSTACK_WORKSPACE_URL" => Some("https://w.example/ws/x".to_owned()),
            "AEROSTACK_TOKEN" => Some(TOKEN.to_owned()),
            _ => None,
        })
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let names = self.0.iter().map(|(name, _)| (*name).to_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names.dedup();
        names
    }

    fn file(&self, path: &str) -> Result<String, String> {
        // The machine's name is no secret.
        let is_system = path.starts_with("/etc/") || path.starts_with("/proc/");
        let file = self
            .0
            .iter()
            .find(|(name, _)| *name == "FILE" && !is_system);
        file.map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| "no such file".to_owned())
    }
}

/// Settings, of the environment and of a file: what is wrong is said without the token.
pub(crate) fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Names, those of headers, too, and what is no secret are said as they stand.
    let said = |name: &str, value: &str| match name {
        "AEROSTACK_TOKEN" | "FILE" => false,
        _ if name.starts_with("AEROSTACK_HEADER_") => {
            let name = value.split_once(':').map_or("", |(name, _)| name);
            name.contains(TOKEN)
        }
        _ => value.contains(TOKEN),
    };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs = pairs.filter(|(name, value)| !name.contains(TOKEN) && !said(name, value));
    match Config::read(&Lines(pairs.collect()), Limits::default()) {
        Ok(config) => assert!(!format!("{config:?}").contains(TOKEN)),
        Err(error) => assert!(!error.to_string().contains(TOKEN)),
    }
    if let Ok(pairs) = fuzz::settings_file(text) {
        let url = "https://w.example/ws/x";
        let new = fuzz::settings_with(text, url, TOKEN);
        let new =
            fuzz::settings_file(&new).expect("a settings file is one when it is written again");
        let value = |name: &str| {
            new.iter()
                .find(|(own, _)| own == name)
                .map(|(_, value)| &value[..])
        };
        assert_eq!(value("AEROSTACK_WORKSPACE_URL"), Some(url));
        assert_eq!(value("AEROSTACK_TOKEN"), Some(TOKEN));
        for (name, old) in &pairs {
            let of_pair = [
                "AEROSTACK_WORKSPACE_URL",
                "AEROSTACK_TOKEN",
                "AEROSTACK_TOKEN_FILE",
            ];
            assert!(
                of_pair.contains(&&name[..]) || value(name) == Some(old),
                "{name}"
            );
        }
    }
}

/// Files of certificates, and certificates.
pub(crate) fn certificates(data: &[u8]) {
    for (der, serves) in fuzz::io::certificates(data) {
        assert_eq!(fuzz::io::serves(&der), serves);
    }
    let _ = fuzz::io::serves(data);
}

/// A proxy's answer to CONNECT: what is known of its beginning stays true.
pub(crate) fn proxy(data: &[u8]) {
    let mut before = Ok(None);
    for end in 0..=data.len().min(2_048) {
        let now = fuzz::io::proxy_answer(&data[..end]);
        if let Ok(Some(len)) = now {
            assert!(len <= end);
        }
        if before != Ok(None) {
            assert_eq!(now, before, "at {end}");
        }
        before = now;
    }
}

/// Whether a value is JSON, for the others here.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok()
}
