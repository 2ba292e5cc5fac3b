//! Server-sent events (WHATWG HTML section 9.2): bytes of an event stream to events.
//!
//! Owns the stream's grammar and the last event id. It must never decide when to reconnect.

use std::fmt;

use memchr::{memchr2, memchr3};

use super::grow;

/// The longest id that is worth sending back in a header.
pub(crate) const MAX_ID: usize = 1024;

/// An event that reached its blank line and has data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerEvent {
    /// The data lines, joined with LF. As they came: the stream is UTF-8 by definition, but nobody
    /// has checked it.
    pub data: Vec<u8>,
    /// The event has no type, or the type "message".
    pub message: bool,
    /// The type is "endpoint": so a server of the old HTTP+SSE transport (MCP 2024-11-05) begins
    /// its stream.
    pub endpoint: bool,
}

/// An event's data passed the limit. The stream can not be read on: close it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventTooLarge;

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a server-sent event is too large")
    }
}

impl std::error::Error for EventTooLarge {}

/// Parses one event stream.
///
/// Call [`feed`](EventStream::feed) until it returns `None`, with each piece of input. At the end
/// of the stream drop it: "once the end of the file is reached, any pending data must be
/// discarded" (section 9.2.6). The one exception is [`finish`](EventStream::finish).
#[derive(Debug)]
pub struct EventStream {
    max_event_bytes: usize,
    part: Part,
    /// The last line ended with CR: an LF right behind it belongs to it.
    after_cr: bool,
    /// How many bytes of a BOM have come; all of them once the start of the stream is past.
    bom: usize,
    word: Word,
    data: Vec<u8>,
    /// A data line has come, so that the next one is joined with LF.
    has_data: bool,
    message: bool,
    endpoint: bool,
    /// The value of the id line being read.
    id: Vec<u8>,
    /// What the next blank line makes the last event id, if an id line has come since the last.
    pending_id: Option<Option<Box<str>>>,
    last_event_id: Option<Box<str>>,
    retry_ms: Option<u64>,
    too_large: bool,
}

/// Where in a line the stream is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Part {
    /// Up to the colon.
    Name,
    /// Right behind it, where one blank is left out.
    Blank(Field),
    Value(Field),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Field {
    Data,
    Event,
    Id,
    Retry,
    /// A comment, or a field that nobody knows.
    Other,
}

impl EventStream {
    /// A stream whose events may have `max_event_bytes` of data.
    pub fn new(max_event_bytes: usize) -> Self {
        EventStream {
            max_event_bytes,
            part: Part::Name,
            after_cr: false,
            bom: 0,
            word: Word::default(),
            data: Vec::new(),
            has_data: false,
            message: true,
            endpoint: false,
            id: Vec::new(),
            pending_id: None,
            last_event_id: None,
            retry_ms: None,
            too_large: false,
        }
    }

    /// Takes from the front of `input` up to the end of the next event; `None` when the input is
    /// used up. The error sticks.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<ServerEvent>, EventTooLarge> {
        self.skip_bom(input);
        while let Some(&first) = input.first() {
            if self.too_large {
                return Err(EventTooLarge);
            }
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                *input = &input[1..];
                continue;
            }
            match self.part {
                Part::Name => {
                    let end = memchr3(b':', b'\r', b'\n', input);
                    self.word.push(take(input, end));
                    match input.first() {
                        None => {}
                        Some(b':') => {
                            *input = &input[1..];
                            self.part = Part::Blank(self.begin_value());
                        }
                        Some(_) => {
                            if let Some(event) = self.end_line(input) {
                                return Ok(Some(event));
                            }
                        }
                    }
                }
                Part::Blank(field) => {
                    // "If value starts with a U+0020 SPACE character, remove it from value."
                    *input = input.strip_prefix(b" ").unwrap_or(input);
                    self.part = Part::Value(field);
                }
                Part::Value(field) => {
                    let end = memchr2(b'\r', b'\n', input);
                    self.push_value(field, take(input, end))?;
                    if !input.is_empty() {
                        self.end_line(input);
                    }
                }
            }
        }
        if self.too_large {
            Err(EventTooLarge)
        } else {
            Ok(None)
        }
    }

    /// The stream has ended cleanly: the event that its last blank line would have ended. Servers
    /// that close right behind the data of an answer do exist. Only for a request that still waits
    /// for its answer: everything else must be discarded. A line that was cut off is in there as
    /// far as it came.
    pub fn finish(&mut self) -> Option<ServerEvent> {
        self.feed(&mut b"\n\n".as_slice()).ok().flatten()
    }

    /// Bytes of an event that has not ended yet.
    pub fn buffered(&self) -> usize {
        self.data.len() + self.id.len()
    }

    /// The id of the last event that ended, for Last-Event-ID. `None` if there was none, if it was
    /// reset to nothing, or if it can not stand in a header.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// How long the server asked to wait before reconnecting.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// "If one leading U+FEFF BYTE ORDER MARK character was found, it must be ignored." Part of
    /// one begins a field that nobody knows.
    fn skip_bom(&mut self, input: &mut &[u8]) {
        const BOM: &[u8] = b"\xef\xbb\xbf";
        while let (Some(expected), Some((byte, rest))) = (BOM.get(self.bom), input.split_first()) {
            if byte != expected {
                self.word.push(&BOM[..self.bom]);
                self.bom = BOM.len();
                return;
            }
            self.bom += 1;
            *input = rest;
        }
    }

    /// The name is complete: what its value is for.
    fn begin_value(&mut self) -> Field {
        let field = match self.word.bytes() {
            b"data" => Field::Data,
            b"event" => Field::Event,
            b"id" => Field::Id,
            b"retry" => Field::Retry,
            _ => Field::Other,
        };
        self.word = Word::default();
        if field == Field::Data && std::mem::replace(&mut self.has_data, true) {
            if self.data.len() < self.max_event_bytes {
                self.data.push(b'\n');
            } else {
                self.too_large = true;
            }
        }
        field
    }

    fn push_value(&mut self, field: Field, bytes: &[u8]) -> Result<(), EventTooLarge> {
        match field {
            Field::Data => {
                if bytes.len() > self.max_event_bytes - self.data.len() {
                    self.too_large = true;
                    self.data = Vec::new();
                    return Err(EventTooLarge);
                }
                grow::extend(&mut self.data, bytes, self.max_event_bytes);
            }
            // One byte more than can be used tells that it was too much.
            Field::Id => {
                let room = (MAX_ID + 1).saturating_sub(self.id.len());
                self.id.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Field::Event | Field::Retry => self.word.push(bytes),
            Field::Other => {}
        }
        Ok(())
    }

    /// The input stands at a line's end: takes it, and acts on the line.
    fn end_line(&mut self, input: &mut &[u8]) -> Option<ServerEvent> {
        self.after_cr = input.first() == Some(&b'\r');
        *input = &input[1..];
        let field = match self.part {
            Part::Name if self.word.is_empty() => return self.dispatch(),
            // A field without a colon has an empty value.
            Part::Name => self.begin_value(),
            Part::Blank(field) | Part::Value(field) => field,
        };
        self.part = Part::Name;
        let word = std::mem::take(&mut self.word);
        match field {
            Field::Event => {
                self.message = matches!(word.bytes(), b"" | b"message");
                self.endpoint = word.bytes() == b"endpoint";
            }
            Field::Retry => self.retry_ms = word.number().or(self.retry_ms),
            Field::Id => self.end_id(),
            Field::Data | Field::Other => {}
        }
        None
    }

    /// "If the field value does not contain U+0000 NULL, then set the last event ID buffer to the
    /// field value. Otherwise, ignore the field."
    fn end_id(&mut self) {
        if !self.id.contains(&0) {
            let usable = std::str::from_utf8(&self.id)
                .ok()
                .filter(|id| is_header_safe(id));
            self.pending_id = Some(usable.map(Box::from));
        }
        self.id.clear();
    }

    /// A blank line ends the event.
    fn dispatch(&mut self) -> Option<ServerEvent> {
        // "Set the last event ID string of the event source to the value of the last event ID
        // buffer", also where there is no data: MCP primes its streams with such an event.
        if let Some(id) = self.pending_id.take() {
            self.last_event_id = id;
        }
        self.has_data = false;
        let message = std::mem::replace(&mut self.message, true);
        let endpoint = std::mem::take(&mut self.endpoint);
        let data = std::mem::take(&mut self.data);
        (!data.is_empty()).then_some(ServerEvent {
            data,
            message,
            endpoint,
        })
    }
}

/// Takes from the input up to `end`, or all of it.
fn take<'a>(input: &mut &'a [u8], end: Option<usize>) -> &'a [u8] {
    let (taken, rest) = input.split_at(end.unwrap_or(input.len()));
    *input = rest;
    taken
}

/// Whether the id comes through a header as it is; blanks at the ends would be lost.
fn is_header_safe(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.trim() == id && !id.chars().any(char::is_control)
}

/// A field's name, or a short value: as much of it as is needed to know it. 20 digits are a u64.
#[derive(Clone, Copy, Default, Debug)]
struct Word {
    bytes: [u8; 21],
    len: usize,
}

impl Word {
    fn push(&mut self, bytes: &[u8]) {
        let take = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + take].copy_from_slice(&bytes[..take]);
        self.len += take;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// "If the field value consists of only ASCII digits", and is a time that can pass.
    fn number(&self) -> Option<u64> {
        let whole = self.len < self.bytes.len();
        if !whole || !self.bytes().iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(self.bytes()).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{SplitMix, every_split, random_split};

    /// Each event as "data" or "!data" (not a message), then id and retry at the end.
    type Outcome = Result<(Vec<String>, Option<String>, Option<u64>), EventTooLarge>;

    fn read(max: usize, pieces: &[&[u8]]) -> Outcome {
        let mut stream = EventStream::new(max);
        let mut events = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            loop {
                match stream.feed(&mut input) {
                    Ok(Some(event)) => {
                        let data = event.data.escape_ascii().to_string();
                        events.push([if event.message { "" } else { "!" }, &data].concat());
                    }
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(stream.feed(&mut b"\n\n".as_slice()), Err(error));
                        assert_eq!(stream.feed(&mut b"".as_slice()), Err(error));
                        return Err(error);
                    }
                }
            }
            assert!(input.is_empty());
        }
        Ok((
            events,
            stream.last_event_id().map(str::to_owned),
            stream.retry_ms(),
        ))
    }

    /// The same stream in each of the three line ends, BOM or not, however cut.
    fn check(wire: &str, events: &[&str], id: Option<&str>, retry: Option<u64>) {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        let expect = Ok((events, id.map(str::to_owned), retry));
        for line_end in ["\n", "\r\n", "\r"] {
            for bom in ["", "\u{feff}"] {
                let wire = [bom, &wire.replace('\n', line_end)].concat();
                every_split(wire.as_bytes(), |pieces| {
                    assert_eq!(read(100, pieces), expect, "{wire:?} as {pieces:?}");
                });
            }
        }
    }

    #[test]
    fn reads_events() {
        let check = |wire: &str, events: &[&str]| check(wire, events, None, None);
        check("", &[]);
        check("\n\n\n", &[]);
        check("data: {}\n\n", &["{}"]);
        check("data:{}\n\n", &["{}"]);
        check("data:  {} \n\n", &[" {} "]);
        check("data: {\ndata: }\n\n", &["{\\n}"]);
        check("data: a\n\ndata: b\n\n\ndata: c\n\n", &["a", "b", "c"]);
        check("data: a:b: c\n\n", &["a:b: c"]);
        check("data:\t\n\n", &["\\t"]);
        check("data: å\n\n", &["\\xc3\\xa5"]);
        check("data: \0\n\n", &["\\x00"]);
        // The three examples of section 9.2.6.
        check("data: YHOO\ndata: +2\ndata: 10\n\n", &["YHOO\\n+2\\n10"]);
        check("data\n\ndata\ndata\n\ndata:", &["\\n"]);
        check("data:test\n\ndata: test\n\n", &["test", "test"]);
    }

    #[test]
    fn drops_what_is_no_event() {
        let check = |wire: &str, events: &[&str]| check(wire, events, None, None);
        check(": keep-alive\n\n:\n\n::\n:data: x\n\n", &[]);
        check("data: a\n: between\ndata: b\n\n", &["a\\nb"]);
        check(
            "datas: a\ndat: b\nDATA: c\n data: d\ndata : e\nx\n: f\n\n",
            &[],
        );
        check("data: unfinished", &[]);
        check("data: unfinished\n", &[]);
        check("data: a\n\ndata: unfinished\n", &["a"]);
        check("data:\n\n", &[]);
        check("event: ping\n\ndata: a\n\n", &["a"]);
        check("\u{feff}data: not at the start when there was a BOM", &[]);
    }

    #[test]
    fn reads_types() {
        let check = |wire: &str, events: &[&str]| check(wire, events, None, None);
        check("event: message\ndata: a\n\n", &["a"]);
        check("event: endpoint\ndata: a\n\ndata: b\n\n", &["!a", "b"]);
        check("data: a\nevent: x\n\n", &["!a"]);
        check("event: x\nevent: message\ndata: a\n\n", &["a"]);
        check("event: x\nevent\ndata: a\n\n", &["a"]);
        check("event:  message\ndata: a\n\n", &["!a"]);
        check("event: message-and-much-longer\ndata: a\n\n", &["!a"]);
    }

    #[test]
    fn knows_the_old_transports_first_event() {
        let endpoint = |wire: &str| {
            let mut stream = EventStream::new(100);
            let event = stream.feed(&mut wire.as_bytes());
            event.ok().flatten().map(|event| event.endpoint)
        };
        assert_eq!(
            endpoint("event: endpoint\ndata: /messages?id=1\n\n"),
            Some(true)
        );
        assert_eq!(endpoint("data: /messages\nevent:endpoint\n\n"), Some(true));
        assert_eq!(endpoint("event: endpoint\n\ndata: {}\n\n"), Some(false));
        assert_eq!(
            endpoint("event: endpoint\nevent: x\ndata: a\n\n"),
            Some(false)
        );
        assert_eq!(endpoint("event: endpoints\ndata: a\n\n"), Some(false));
        assert_eq!(endpoint("data: a\n\n"), Some(false));
    }

    #[test]
    fn hands_out_at_the_end_what_no_blank_line_ended() {
        fn check(wire: &str, expect: Option<&str>) {
            for line_end in ["\n", "\r\n", "\r"] {
                every_split(wire.replace('\n', line_end).as_bytes(), |pieces| {
                    let mut stream = EventStream::new(20);
                    for piece in pieces {
                        let mut input = *piece;
                        while let Ok(Some(_)) = stream.feed(&mut input) {}
                    }
                    let got = stream.finish().map(|event| event.data);
                    let got = got.as_deref().map(String::from_utf8_lossy);
                    assert_eq!(got.as_deref(), expect, "{wire:?} as {pieces:?}");
                    assert_eq!(stream.finish(), None, "only once");
                });
            }
        }
        check("data: {}\n", Some("{}"));
        check("data: {}", Some("{}"));
        check("data: {\ndata: }", Some("{\n}"));
        check("id: 1\nevent: message\ndata: {}", Some("{}"));
        check("data: {}\nid: 1", Some("{}"));
        check("data: {}\ndata", Some("{}\n"));
        check("data: {}\n\n", None);
        check("data: a\n\ndata: b\n", Some("b"));
        check("data: a\n\n: keep-alive", None);
        check("", None);
        check("data:", None);
        check("event: x\n", None);
        check("data: more than it may have, by far", None);
    }

    #[test]
    fn remembers_ids() {
        let check = |wire: &str, events: &[&str], id| check(wire, events, id, None);
        check("id: 1\ndata: a\n\n", &["a"], Some("1"));
        check("id: 1\ndata:\n\n", &[], Some("1"));
        check("id: 1\n\n", &[], Some("1"));
        check("id: 1\ndata: a\n", &[], None);
        check("id: 1\n\nid: 2\ndata: unfinished\n", &[], Some("1"));
        check("id: 1\nid: 2\n\ndata: a\n\n", &["a"], Some("2"));
        check("id: 1\n\nid\n\n", &[], None);
        check("id: 1\n\nid:\ndata: a\n\n", &["a"], None);
        check("id: 1\n\nid: 2\0\n\n", &[], Some("1"));
        check("id: 1\n\nid: a\tb\n\n", &[], None);
        check("id: 1\n\nid:  edge\n\n", &[], None);
        check("id: stream_å/7 8\n\n", &[], Some("stream_å/7 8"));
    }

    #[test]
    fn ids_that_no_header_can_hold_are_none() {
        let long = ["id: ", &"x".repeat(MAX_ID), "\n\n"].concat();
        assert!(matches!(read(9, &[long.as_bytes()]), Ok((_, Some(id), _)) if id.len() == MAX_ID));
        let longer = ["id: 1\n\nid: ", &"x".repeat(5 * MAX_ID), "\n\n"].concat();
        assert_eq!(read(9, &[longer.as_bytes()]), Ok((vec![], None, None)));
        assert_eq!(
            read(9, &[b"id: 1\n\nid: \xff\n\n"]),
            Ok((vec![], None, None))
        );
    }

    #[test]
    fn reads_retry() {
        let check = |wire: &str, retry| check(wire, &[], None, retry);
        check("retry: 3000\n", Some(3000));
        check("retry: 3000\n\nretry: 0\n", Some(0));
        check(
            "retry: 3000\nretry: 3s\nretry: -1\nretry:\nretry\nretry: +1\n",
            Some(3000),
        );
        check("retry: 18446744073709551615\n", Some(u64::MAX));
        check(
            "retry: 18446744073709551616\nretry: 000000000000000000001\n",
            None,
        );
        check("retry: 3000", None);
    }

    #[test]
    fn limits_events() {
        let outcome = |wire: &str| {
            let whole = read(8, &[wire.as_bytes()]);
            every_split(wire.as_bytes(), |pieces| assert_eq!(read(8, pieces), whole));
            whole.map(|(events, ..)| events)
        };
        assert_eq!(outcome("data: 12345678\n\n"), Ok(vec!["12345678".into()]));
        assert_eq!(
            outcome("data: 1234567\ndata:\n\n"),
            Ok(vec!["1234567\\n".into()])
        );
        assert_eq!(outcome("data: 123456789"), Err(EventTooLarge));
        assert_eq!(outcome("data: 12345678\ndata:\n\n"), Err(EventTooLarge));
        assert_eq!(outcome("data: 12345678\ndata\n"), Err(EventTooLarge));
        assert_eq!(outcome("data: 1234\ndata: 5678\n"), Err(EventTooLarge));
        assert_eq!(
            outcome(": a long comment is nothing\ndata: 1\n\n"),
            Ok(vec!["1".into()])
        );
        assert_eq!(
            outcome("a-long-name-is-nothing: and its value\n\n"),
            Ok(vec![])
        );
    }

    #[test]
    fn a_large_event_is_copied_once() {
        let data = vec![b'x'; 10 << 20];
        let wire = [b"data: ", data.as_slice(), b"\n\n"].concat();
        let mut stream = EventStream::new(64 << 20);
        for piece in wire.chunks(16_384) {
            let mut input = piece;
            if let Ok(Some(event)) = stream.feed(&mut input) {
                assert!(event.data == data && event.data.capacity() < 13 << 20);
                assert_eq!(stream.data.capacity(), 0);
                return;
            }
            assert!(stream.data.capacity() < 13 << 20);
        }
        panic!("no event");
    }

    /// Any bytes, any cut: the same events as in one piece.
    #[test]
    fn any_bytes() {
        let mut random = SplitMix(9);
        for _ in 0..20_000 {
            let mut wire = Vec::new();
            for _ in 0..random.below(8) {
                let name = [
                    "data", "data:", "data: ", "id: ", "event: ", "retry: ", ":", "\u{feff}",
                ];
                wire.extend_from_slice(name[random.below(name.len())].as_bytes());
                let len = random.below(6);
                wire.extend_from_slice(&random.bytes(len, b"a1 :"));
                let end = ["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n"];
                wire.extend_from_slice(end[random.below(end.len())].as_bytes());
            }
            let pieces = random_split(&wire, &mut random);
            assert_eq!(
                read(12, &pieces),
                read(12, &[&wire]),
                "{}",
                wire.escape_ascii()
            );
        }
    }
}
