//! One request's response, from the first byte to the verdict on the connection.

use memchr::memchr;

use super::HttpError;
use super::body::{BodyReader, Dechunker, Piece};
use super::response::ResponseHead;

/// What comes of the bytes of a response, in this order: Head, Data…, End; or Upgraded alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// The final head; interim ones (1xx) never show.
    Head(ResponseHead),
    /// Some of the body, never empty, straight out of the input.
    Data(&'a [u8]),
    /// The end of the response.
    End {
        /// The connection may carry another request.
        reusable: bool,
    },
    /// 101: what follows in the input is no longer HTTP.
    Upgraded(ResponseHead),
}

/// Reads one response.
///
/// Call [`feed`](Exchange::feed) until it returns `None`, with each piece of input. After
/// [`Event::End`] or [`Event::Upgraded`] it takes nothing more; what is left in the input is the
/// caller's. The first error sticks. When the peer closes, [`finish`](Exchange::finish) says
/// whether the response was complete.
#[derive(Debug)]
pub struct Exchange {
    upgrade: bool,
    /// How many bytes heads may still take, interim ones included.
    head_left: usize,
    /// A head that came in pieces.
    buffer: Vec<u8>,
    started: bool,
    reusable: bool,
    /// The body can not be read: it is compressed.
    coding: Option<Coding>,
    state: State,
}

/// What is done about a Content-Encoding: "identity" alone was asked for.
#[derive(Debug)]
enum Coding {
    /// Of a success the body is what counts: the coding is to blame.
    OfSuccess(String),
    /// A refusal is judged by its status; its body is left out.
    OfRefusal,
}

#[derive(Debug)]
enum State {
    Head(Line),
    Body(BodyReader),
    Done,
    Failed(HttpError),
}

impl Exchange {
    /// For a request that has been, or will be, sent. Heads may take `max_head` bytes in all.
    /// The method would matter to framing only for HEAD and CONNECT, which are not sent here.
    pub fn new(max_head: usize) -> Self {
        Exchange {
            upgrade: false,
            head_left: max_head,
            buffer: Vec::new(),
            started: false,
            reusable: false,
            coding: None,
            state: State::Head(Line::default()),
        }
    }

    /// For a request that asks for an upgrade: 101 is an answer and not an error.
    #[must_use]
    pub fn for_upgrade(mut self) -> Self {
        self.upgrade = true;
        self
    }

    /// Takes from the front of `input` up to the next event; `None` when more is needed, or when
    /// the exchange is over.
    pub fn feed<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, HttpError> {
        self.started |= !input.is_empty();
        let result = match &mut self.state {
            State::Head(_) => self.feed_head(input),
            State::Body(_) => self.feed_body(input),
            State::Done => return Ok(None),
            State::Failed(error) => return Err(error.clone()),
        };
        result.map_err(|error| self.fail(error))
    }

    /// Whether any byte of the response has come.
    pub fn started(&self) -> bool {
        self.started
    }

    /// The peer has closed: fine after the end, and it is the end of a body that has no other.
    pub fn finish(&mut self) -> Result<(), HttpError> {
        match &self.state {
            State::Body(body) if body.ends_here() => {
                self.state = State::Done;
                Ok(())
            }
            State::Done => Ok(()),
            State::Failed(error) => Err(error.clone()),
            State::Head(_) if !self.started => Err(self.fail(HttpError::NoResponse)),
            State::Head(_) | State::Body(_) => Err(self.fail(HttpError::Truncated)),
        }
    }

    fn fail(&mut self, error: HttpError) -> HttpError {
        self.buffer = Vec::new();
        self.state = State::Failed(error.clone());
        error
    }

    fn feed_body<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, HttpError> {
        let State::Body(body) = &mut self.state else {
            return Ok(None);
        };
        loop {
            match (body.read(input)?, &self.coding) {
                (Some(Piece::Data(data)), None) => return Ok(Some(Event::Data(data))),
                (Some(Piece::Data(_)), Some(Coding::OfSuccess(coding))) => {
                    return Err(HttpError::Encoded(coding.clone()));
                }
                (Some(Piece::Data(_)), Some(Coding::OfRefusal)) => {}
                (Some(Piece::End), _) => {
                    self.state = State::Done;
                    return Ok(Some(Event::End {
                        reusable: self.reusable,
                    }));
                }
                (None, _) => return Ok(None),
            }
        }
    }

    fn feed_head<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, HttpError> {
        while let Some(head) = self.take_head(input)? {
            // "A client MUST be able to parse one or more 1xx responses received prior to a final
            // response, even if the client does not expect one" (RFC 9110 section 15.2).
            if head.status >= 200 {
                self.state = State::Body(self.body_of(&head));
                return Ok(Some(Event::Head(head)));
            }
            if head.status == 101 {
                if !self.upgrade {
                    return Err(HttpError::UnexpectedUpgrade);
                }
                self.state = State::Done;
                return Ok(Some(Event::Upgraded(head)));
            }
        }
        Ok(None)
    }

    /// The next head of any status. It is copied only if it does not lie whole in the input.
    fn take_head(&mut self, input: &mut &[u8]) -> Result<Option<ResponseHead>, HttpError> {
        let State::Head(line) = &mut self.state else {
            return Ok(None);
        };
        let seen = self.buffer.len();
        let found = line.find_end(input);
        let (piece, rest) = input.split_at(found.unwrap_or(input.len()));
        // Whoever answers in another protocol should hear so at once, not after 64 KiB.
        let claim = b"HTTP/1.".iter().skip(seen);
        if claim.zip(piece).any(|(expected, got)| expected != got) {
            return Err(HttpError::NotHttp);
        }
        self.head_left = self
            .head_left
            .checked_sub(piece.len())
            .ok_or(HttpError::HeadTooLarge)?;
        *input = rest;
        if found.is_none() || seen > 0 {
            self.buffer.extend_from_slice(piece);
        }
        if found.is_none() {
            return Ok(None);
        }
        let head = if seen > 0 {
            ResponseHead::parse(&std::mem::take(&mut self.buffer))?
        } else {
            ResponseHead::parse(piece)?
        };
        Ok(Some(head))
    }

    /// How the body is framed (RFC 9112 section 6.3), and whether the connection outlives it.
    fn body_of(&mut self, head: &ResponseHead) -> BodyReader {
        let body = if matches!(head.status, 204 | 304) {
            BodyReader::None
        } else if head.chunked {
            BodyReader::Chunked(Dechunker::new())
        } else if let Some(length) = head.content_length {
            BodyReader::Length(length)
        } else {
            BodyReader::Close
        };
        self.coding = head
            .content_encoding
            .as_deref()
            .map(|coding| match head.status {
                200..300 => Coding::OfSuccess(coding.to_owned()),
                _ => Coding::OfRefusal,
            });
        // "If a message is received with both a Transfer-Encoding and a Content-Length header
        // field, the Transfer-Encoding overrides the Content-Length. Such a message might indicate
        // an attempt to perform request smuggling": read it, trust nothing behind it. The same for
        // chunked in HTTP/1.0 (section 6.1).
        let suspicious = head.chunked && (head.content_length.is_some() || head.http10);
        // Section 9.3: close, else 1.1, else keep-alive.
        let persistent = !head.close && (!head.http10 || head.keep_alive);
        self.reusable = persistent && !suspicious && body != BodyReader::Close;
        body
    }
}

/// Finds the empty line that ends a head, however the head is cut: what the present line holds so
/// far. "A recipient MAY recognize a single LF as a line terminator and ignore any preceding CR"
/// (RFC 9112 section 2.2).
#[derive(Clone, Copy, Default, Debug, PartialEq)]
enum Line {
    #[default]
    Empty,
    Cr,
    Text,
}

impl Line {
    /// How many bytes of this next piece belong to the head, once that is known.
    fn find_end(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(len) = memchr(b'\n', &piece[at..]) {
            self.extend(&piece[at..at + len]);
            at += len + 1;
            if std::mem::take(self) != Line::Text {
                return Some(at);
            }
        }
        self.extend(&piece[at..]);
        None
    }

    fn extend(&mut self, text: &[u8]) {
        *self = match (*self, text) {
            (line, []) => line,
            (Line::Empty, b"\r") => Line::Cr,
            _ => Line::Text,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::response::Content;
    use crate::proto::testing::{SplitMix, every_split, random_split};

    const MAX_HEAD: usize = 1000;

    /// What a response came to: status, body, verdict on the connection, bytes left over.
    #[derive(Debug, PartialEq)]
    struct Seen {
        status: u16,
        body: String,
        end: End,
        rest: String,
    }

    #[derive(Debug, PartialEq)]
    enum End {
        Open,
        Ended { reusable: bool },
        Upgraded,
    }

    fn run(mut exchange: Exchange, pieces: &[&[u8]]) -> (Exchange, Result<Seen, HttpError>) {
        let mut seen = Seen {
            status: 0,
            body: String::new(),
            end: End::Open,
            rest: String::new(),
        };
        for piece in pieces {
            let mut input = *piece;
            loop {
                match exchange.feed(&mut input) {
                    Ok(Some(Event::Head(head))) => seen.status = head.status,
                    Ok(Some(Event::Data(data))) => seen.body += &latin1(data),
                    Ok(Some(Event::End { reusable })) => seen.end = End::Ended { reusable },
                    Ok(Some(Event::Upgraded(head))) => {
                        (seen.status, seen.end) = (head.status, End::Upgraded);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let again = exchange.feed(&mut b"x".as_slice());
                        assert_eq!(again, Err(error.clone()), "the first error sticks");
                        return (exchange, Err(error));
                    }
                }
            }
            assert!(input.is_empty() || seen.end != End::Open);
            seen.rest += &latin1(input);
        }
        (exchange, Ok(seen))
    }

    fn latin1(bytes: &[u8]) -> String {
        bytes.iter().map(|&byte| char::from(byte)).collect()
    }

    fn plain() -> Exchange {
        Exchange::new(MAX_HEAD)
    }

    /// Any split gives `expect`; so does any prefix give either nothing or `Truncated` at its end,
    /// unless the body ends with the connection.
    fn check_with(new: fn() -> Exchange, wire: &str, expect: &Result<Seen, HttpError>) {
        every_split(wire.as_bytes(), |pieces| {
            assert_eq!(run(new(), pieces).1, *expect, "{wire:?} as {pieces:?}");
        });
        let Ok(seen) = expect else { return };
        for at in 0..wire.len() - seen.rest.len() {
            let (mut exchange, got) = run(new(), &[&wire.as_bytes()[..at]]);
            assert!(
                matches!(got, Ok(Seen { end: End::Open, .. })),
                "{at} bytes of {wire:?}"
            );
            let finish = exchange.finish();
            assert_eq!(exchange.started(), at > 0);
            match seen.end {
                _ if at == 0 => assert_eq!(finish, Err(HttpError::NoResponse)),
                End::Open => {}
                _ => assert_eq!(finish, Err(HttpError::Truncated), "{at} bytes of {wire:?}"),
            }
        }
        let (mut exchange, _) = run(new(), &[wire.as_bytes()]);
        assert_eq!(exchange.finish(), Ok(()));
    }

    fn check(wire: &str, expect: (u16, &str, End, &str)) {
        let (status, body, end, rest) = expect;
        check_with(
            plain,
            wire,
            &Ok(Seen {
                status,
                body: body.into(),
                end,
                rest: rest.into(),
            }),
        );
    }

    fn check_err(wire: &str, expect: HttpError) {
        check_with(plain, wire, &Err(expect));
    }

    const KEPT: End = End::Ended { reusable: true };
    const SPENT: End = End::Ended { reusable: false };

    #[test]
    fn reads_responses() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            (200, "{}", KEPT, ""),
        );
        check(
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
            (202, "", KEPT, ""),
        );
        check(
            "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
            (200, "{}", KEPT, ""),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nT: 1\r\n\r\n",
            (200, "{}", KEPT, ""),
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", (204, "", KEPT, ""));
        check(
            "HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\nHTTP",
            (204, "", KEPT, "HTTP"),
        );
        check(
            "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n",
            (304, "", KEPT, ""),
        );
        check(
            "HTTP/1.1 200 OK\r\n\r\nall of it",
            (200, "all of it", End::Open, ""),
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200",
            (200, "a", KEPT, "HTTP/1.1 200"),
        );
    }

    #[test]
    fn judges_the_connection() {
        let with = |version: &str, lines: &str, end| {
            let wire = [version, " 200 OK\r\n", lines, "\r\n\r\n"].concat();
            check(&wire, (200, "", end, ""));
        };
        with("HTTP/1.1", "Content-Length: 0", KEPT);
        with(
            "HTTP/1.1",
            "Content-Length: 0\r\nConnection: x, Close",
            SPENT,
        );
        with(
            "HTTP/1.1",
            "Content-Length: 0\r\nConnection: keep-alive, close",
            SPENT,
        );
        with("HTTP/1.0", "Content-Length: 0", SPENT);
        with(
            "HTTP/1.0",
            "Content-Length: 0\r\nConnection: Keep-Alive",
            KEPT,
        );
        let chunked = |version: &str, lines: &str, end| {
            let head = " 200 OK\r\nTransfer-Encoding: chunked\r\n";
            let wire = [version, head, lines, "\r\n1\r\na\r\n0\r\n\r\n"].concat();
            check(&wire, (200, "a", end, ""));
        };
        chunked("HTTP/1.1", "", KEPT);
        chunked("HTTP/1.1", "Content-Length: 3\r\n", SPENT);
        chunked("HTTP/1.0", "Connection: keep-alive\r\n", SPENT);
        check(
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nx",
            (200, "x", End::Open, ""),
        );
    }

    #[test]
    fn skips_interim_responses() {
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
        check(
            &["HTTP/1.1 100 Continue\r\n\r\n", last].concat(),
            (200, "a", KEPT, ""),
        );
        let two = "HTTP/1.1 103 x\r\nLink: <a>\r\n\r\nHTTP/1.1 102 y\r\n\r\n";
        check(&[two, last].concat(), (200, "a", KEPT, ""));
        check_err(
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            HttpError::UnexpectedUpgrade,
        );
    }

    #[test]
    fn upgrades() {
        let new = || Exchange::new(MAX_HEAD).for_upgrade();
        let seen = |status, body: &str, end, rest: &str| {
            Ok(Seen {
                status,
                body: body.into(),
                end,
                rest: rest.into(),
            })
        };
        let wire = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}";
        check_with(new, wire, &seen(101, "", End::Upgraded, "\u{1}\u{2}"));
        let wire = "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 101 y\r\n\r\n";
        check_with(new, wire, &seen(101, "", End::Upgraded, ""));
        let wire = "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno";
        check_with(new, wire, &seen(403, "no", KEPT, ""));
    }

    #[test]
    fn refuses_what_it_can_not_trust() {
        check_err("SSH-2.0-OpenSSH_9.6\r\n", HttpError::NotHttp);
        check_err("\u{15}\u{3}\u{3}", HttpError::NotHttp);
        check_err("HTTP/2 200\r\n", HttpError::NotHttp);
        check_err("http/1.1 200 OK\r\n\r\n", HttpError::NotHttp);
        check_err("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", HttpError::NotHttp);
        check_err(
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            HttpError::BadHead("header name, or a folded line"),
        );
        let with = |lines: &str, error| {
            check_err(&["HTTP/1.1 200 OK\r\n", lines, "\r\n\r\nx"].concat(), error);
        };
        with(
            "Content-Length: 1\r\nContent-Length: 2",
            HttpError::ConflictingLengths,
        );
        with("Content-Length: one", HttpError::BadContentLength);
        with(
            "Transfer-Encoding: gzip",
            HttpError::TransferCoding("gzip".into()),
        );
        with("Content-Encoding: gzip", HttpError::Encoded("gzip".into()));
        with(
            "Transfer-Encoding: chunked",
            HttpError::BadChunk("chunk size is not a hexadecimal number"),
        );
    }

    #[test]
    fn leaves_out_what_is_compressed() {
        let coded = "\r\nContent-Encoding: br\r\n";
        let framings = [
            ["Content-Length: 3\r\n\r\n", "abc"],
            [
                "Transfer-Encoding: chunked\r\n\r\n",
                "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            ],
        ];
        for framing in framings.map(|parts| parts.concat()) {
            for status in [302, 401, 404, 429, 503] {
                let wire = format!("HTTP/1.1 {status} x{coded}{framing}");
                check(&wire, (status, "", KEPT, ""));
            }
            check_err(
                &format!("HTTP/1.1 200 x{coded}{framing}"),
                HttpError::Encoded("br".into()),
            );
        }
        check(
            &format!("HTTP/1.1 503 x{coded}\r\nabc"),
            (503, "", End::Open, ""),
        );
        // Nothing that could not be read: the head tells all.
        for empty in [
            "Content-Length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            check(
                &format!("HTTP/1.1 202 x{coded}{empty}"),
                (202, "", KEPT, ""),
            );
        }
        // The head is there before the body is missed: it accepts a notification.
        let mut exchange = plain();
        let wire = format!("HTTP/1.1 202 x{coded}Content-Length: 3\r\n\r\nabc");
        let mut input = wire.as_bytes();
        assert!(
            matches!(exchange.feed(&mut input), Ok(Some(Event::Head(head))) if head.status == 202)
        );
        assert_eq!(
            exchange.feed(&mut input),
            Err(HttpError::Encoded("br".into()))
        );
    }

    #[test]
    fn limits_heads() {
        let head = |len: usize| {
            let (start, end) = ("HTTP/1.1 200 OK\r\nX: ", "\r\nContent-Length: 0\r\n\r\n");
            [start, &"x".repeat(len - start.len() - end.len()), end].concat()
        };
        check(&head(MAX_HEAD), (200, "", KEPT, ""));
        let outcome = |wire: &str, size| {
            let pieces: Vec<&[u8]> = wire.as_bytes().chunks(size).collect();
            run(plain(), &pieces).1
        };
        let endless = ["HTTP/1.1 200 OK\r\nX: ", &"x".repeat(5000)].concat();
        let interim = "HTTP/1.1 100 x\r\n\r\n".repeat(100);
        for wire in [head(MAX_HEAD + 1), endless, interim] {
            for size in [1, 10, 999, wire.len()] {
                assert_eq!(outcome(&wire, size), Err(HttpError::HeadTooLarge));
            }
        }
    }

    #[test]
    fn copies_no_whole_head() {
        let mut exchange = plain();
        let mut input = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n".as_slice();
        let event = exchange.feed(&mut input);
        assert!(
            matches!(event, Ok(Some(Event::Head(head))) if head.content == Content::EventStream)
        );
        assert_eq!(exchange.buffer.capacity(), 0);
    }

    /// Any bytes, any cut: the same outcome as in one piece.
    #[test]
    fn any_bytes() {
        let mut random = SplitMix(4);
        for _ in 0..10_000 {
            let len = random.below(40);
            let tail = random.bytes(len, b"\r\n\r\n: ,12abcX");
            let framing: &[u8] = match random.below(4) {
                0 => b"Transfer-Encoding: chunked\r\n",
                1 => b"Content-Length: 12\r\n",
                2 => b"Connection: close\r\n\r\n",
                _ => b"",
            };
            let wire = [b"HTTP/1.1 200 OK\r\n", framing, b"A: b\r\n", &tail].concat();
            let whole = run(plain(), &[&wire]).1;
            let pieces = random_split(&wire, &mut random);
            assert_eq!(run(plain(), &pieces).1, whole, "{}", wire.escape_ascii());
        }
    }
}
