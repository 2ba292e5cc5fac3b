//! Response heads (RFC 9112 section 4): httparse finds the lines, this file says what they mean.

use std::mem::MaybeUninit;
use std::time::Duration;

use super::HttpError;
use super::request::is_header_value;
use crate::proto::cookie;
use crate::proto::timestamp::parse_http_date;

/// The most header lines of one head.
pub(crate) const MAX_HEADERS: usize = 100;

/// The kind of a body, by its Content-Type without parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Content {
    /// No Content-Type.
    #[default]
    None,
    /// application/json.
    Json,
    /// text/event-stream.
    EventStream,
    /// Any other type, lower case.
    Other(Box<str>),
}

/// A Retry-After header (RFC 9110 section 10.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryAfter {
    /// So many seconds from now.
    Seconds(u64),
    /// At this moment, in unix seconds of the server's clock.
    At(u64),
}

/// What of a response's head matters to us. A header that is malformed and that we can do without
/// is as good as absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The response says HTTP/1.0.
    pub http10: bool,
    /// Content-Type.
    pub content: Content,
    /// Content-Length.
    pub content_length: Option<u64>,
    /// The body is chunked.
    pub chunked: bool,
    /// The first Content-Encoding that is not "identity".
    pub content_encoding: Option<Box<str>>,
    /// Connection: close.
    pub close: bool,
    /// Connection: keep-alive.
    pub keep_alive: bool,
    /// Keep-Alive: timeout=N.
    pub keep_alive_s: Option<u64>,
    /// Mcp-Session-Id, where it is visible ASCII.
    pub session_id: Option<Box<str>>,
    /// Location.
    pub location: Option<Box<str>>,
    /// Retry-After.
    pub retry_after: Option<RetryAfter>,
    /// X-RateLimit-Reset as it stands there: see [`wait_s`](super::rate_limit::wait_s).
    pub rate_limit_reset: Option<u64>,
    /// Date, in unix seconds.
    pub date_s: Option<u64>,
    /// The first WWW-Authenticate that is about bearer tokens, else the first.
    pub www_authenticate: Option<Box<str>>,
    /// Whose bot protection says here that it answered in the server's place.
    pub bot_protection: Option<&'static str>,
    /// The Set-Cookie lines, as they came, but for those that no jar would take: what a head may
    /// hold bounds them.
    pub set_cookies: Vec<Box<[u8]>>,
    /// Connection: upgrade and Upgrade: websocket, both.
    pub upgrade_websocket: bool,
    /// Sec-WebSocket-Accept.
    pub websocket_accept: Option<Box<str>>,
    /// Sec-WebSocket-Extensions or -Protocol, neither of which we ask for.
    pub websocket_extra: bool,
}

impl ResponseHead {
    /// Reads a head that ends with `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<ResponseHead, HttpError> {
        // Not set to anything before they are read: that would cost more than all the rest.
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        match parser.parse_response_with_uninit_headers(&mut response, bytes, &mut headers) {
            Ok(httparse::Status::Complete(used)) if used == bytes.len() => {}
            Ok(_) => return Err(HttpError::BadHead("not a status line and headers")),
            Err(error) => return Err(blame(error)),
        }
        let mut head = ResponseHead {
            status: response.code.unwrap_or_default(),
            http10: response.version == Some(0),
            ..ResponseHead::default()
        };
        if head.status < 100 {
            return Err(HttpError::BadHead("status"));
        }
        let mut upgrade = Upgrade::default();
        for header in response.headers.iter() {
            head.take(header.name, header.value, &mut upgrade)?;
        }
        head.upgrade_websocket = upgrade.connection && upgrade.websocket;
        Ok(head)
    }

    /// How long the connection may have been idle for a request that must not be lost: half a second
    /// less than Keep-Alive promises, since the close is on its way by then; else `usual`.
    pub fn idle_allowed(&self, usual: Duration) -> Duration {
        let promised = self.keep_alive_s.map(Duration::from_secs);
        promised.map_or(usual, |promised| {
            promised.saturating_sub(Duration::from_millis(500))
        })
    }

    fn take(&mut self, name: &str, value: &[u8], up: &mut Upgrade) -> Result<(), HttpError> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-type") {
            self.content = content(value);
        } else if is("content-length") {
            self.content_length = Some(length(value, self.content_length)?);
        } else if is("transfer-encoding") {
            self.take_transfer_encoding(value)?;
        } else if is("content-encoding") {
            let foreign = list(value).find(|coding| !coding.eq_ignore_ascii_case(b"identity"));
            self.content_encoding = self.content_encoding.take().or(foreign.map(coding_name));
        } else if is("connection") {
            for token in list(value) {
                self.close |= token.eq_ignore_ascii_case(b"close");
                self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                up.connection |= token.eq_ignore_ascii_case(b"upgrade");
            }
        } else if is("keep-alive") {
            self.keep_alive_s = list(value).find_map(|token| {
                let (key, value) = token.split_at_checked(b"timeout=".len())?;
                key.eq_ignore_ascii_case(b"timeout=")
                    .then(|| number(value))?
            });
        } else if is("mcp-session-id") {
            // "The session ID MUST only contain visible ASCII characters (0x21 to 0x7E)."
            let visible = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
            self.session_id = if visible { text(value) } else { None };
        } else if is("location") {
            self.location = text(value);
        } else if is("retry-after") {
            self.retry_after = number(value)
                .map(RetryAfter::Seconds)
                .or_else(|| parse_http_date(value).map(RetryAfter::At));
        } else if is("x-ratelimit-reset") {
            self.rate_limit_reset = number(value);
        } else if is("date") {
            self.date_s = parse_http_date(value);
        } else if is("www-authenticate") {
            let bearer = |value: &[u8]| {
                let scheme = value.get(..b"bearer".len());
                scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
            };
            let known = self.www_authenticate.as_deref();
            if known.is_none_or(|known| !bearer(known.as_bytes()) && bearer(value)) {
                self.www_authenticate = text(value).or_else(|| self.www_authenticate.take());
            }
        } else if is("cf-mitigated") && value.eq_ignore_ascii_case(b"challenge") {
            self.bot_protection = Some("Cloudflare");
        } else if is("x-amzn-waf-action")
            && (value.eq_ignore_ascii_case(b"challenge") || value.eq_ignore_ascii_case(b"captcha"))
        {
            self.bot_protection = Some("AWS WAF");
        } else if is("set-cookie") {
            if value.len() <= cookie::LINE_MAX_BYTES {
                self.set_cookies.push(value.into());
            }
        } else if is("upgrade") {
            up.websocket |= list(value).any(|token| token.eq_ignore_ascii_case(b"websocket"));
        } else if is("sec-websocket-accept") {
            self.websocket_accept = text(value);
        } else if is("sec-websocket-extensions") || is("sec-websocket-protocol") {
            self.websocket_extra |= list(value).next().is_some();
        }
        Ok(())
    }

    /// "chunked" alone is what a server may send to a client that offers no TE; and "a sender MUST
    /// NOT apply the chunked transfer coding more than once" (RFC 9112 sections 6.1, 7).
    fn take_transfer_encoding(&mut self, value: &[u8]) -> Result<(), HttpError> {
        for coding in list(value) {
            if self.chunked || !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(HttpError::TransferCoding(coding_name(coding).into()));
            }
            self.chunked = true;
        }
        Ok(())
    }
}

/// The two headers that together announce an upgrade.
#[derive(Default)]
struct Upgrade {
    connection: bool,
    websocket: bool,
}

fn blame(error: httparse::Error) -> HttpError {
    HttpError::BadHead(match error {
        httparse::Error::TooManyHeaders => return HttpError::TooManyHeaders,
        httparse::Error::Version => return HttpError::NotHttp,
        httparse::Error::HeaderName => "header name, or a folded line",
        httparse::Error::HeaderValue => "header value",
        httparse::Error::NewLine => "line end",
        httparse::Error::Status => "status",
        httparse::Error::Token => "token",
    })
}

/// The elements of a comma-separated list, empty ones left out (RFC 9110 section 5.6.1.2).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Digits and nothing else; too many are no number.
fn number(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn text(value: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.is_empty() && is_header_value(value)).then(|| text.into())
}

/// As much of a coding's name as is fit for an error's text.
fn coding_name(coding: &[u8]) -> Box<str> {
    let shown = coding
        .iter()
        .filter(|byte| byte.is_ascii_graphic())
        .take(40);
    shown.map(|&byte| char::from(byte)).collect()
}

fn content(value: &[u8]) -> Content {
    let essence = value
        .split(|&b| b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if essence.is_empty() {
        Content::None
    } else if essence.eq_ignore_ascii_case(b"application/json") {
        Content::Json
    } else if essence.eq_ignore_ascii_case(b"text/event-stream") {
        Content::EventStream
    } else {
        Content::Other(String::from_utf8_lossy(essence).to_ascii_lowercase().into())
    }
}

/// RFC 9112 section 6.3, rule 5: an invalid Content-Length is an unrecoverable error, "unless the
/// field value can be successfully parsed as a comma-separated list, all values in the list are
/// valid, and all values in the list are the same".
fn length(value: &[u8], mut known: Option<u64>) -> Result<u64, HttpError> {
    for element in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
        let length = number(element).ok_or(HttpError::BadContentLength)?;
        if known.is_some_and(|known| known != length) {
            return Err(HttpError::ConflictingLengths);
        }
        known = Some(length);
    }
    known.ok_or(HttpError::BadContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::SplitMix;

    fn parse(lines: &str) -> Result<ResponseHead, HttpError> {
        let lines = lines.trim_start_matches('\n').replace('\n', "\r\n");
        ResponseHead::parse(
            ["HTTP/1.1 200 OK\r\n", &lines, "\r\n\r\n"]
                .concat()
                .as_bytes(),
        )
    }

    fn head() -> ResponseHead {
        ResponseHead {
            status: 200,
            ..ResponseHead::default()
        }
    }

    #[test]
    fn reads_what_matters() {
        let got = parse(
            "Date: Sun, 06 Nov 1994 08:49:37 GMT
content-type: Application/JSON; charset=utf-8
CONTENT-LENGTH: 12
Mcp-Session-Id: 1868a90c-e29b~!
Keep-Alive: max=5, Timeout=7
Connection: Keep-Alive
X-RateLimit-Reset: 1700000000
Retry-After: 120
Location:   /x y  
WWW-Authenticate: Bearer realm=\"a\"
WWW-Authenticate: Basic
X-Other: \u{e5}",
        );
        let expect = ResponseHead {
            content: Content::Json,
            content_length: Some(12),
            keep_alive: true,
            keep_alive_s: Some(7),
            session_id: Some("1868a90c-e29b~!".into()),
            location: Some("/x y".into()),
            retry_after: Some(RetryAfter::Seconds(120)),
            rate_limit_reset: Some(1_700_000_000),
            date_s: Some(784_111_777),
            www_authenticate: Some("Bearer realm=\"a\"".into()),
            ..head()
        };
        assert_eq!(got, Ok(expect));
    }

    #[test]
    fn reads_upgrades() {
        let got = parse("Upgrade: WebSocket\nConnection: x, Upgrade\nSec-WebSocket-Accept: abc=");
        let expect = ResponseHead {
            upgrade_websocket: true,
            websocket_accept: Some("abc=".into()),
            ..head()
        };
        assert_eq!(got, Ok(expect));
        for half in [
            "Upgrade: websocket",
            "Connection: upgrade",
            "Upgrade: h2c\nConnection: upgrade",
        ] {
            assert_eq!(parse(half).map(|h| h.upgrade_websocket), Ok(false));
        }
        let extra = |lines| parse(lines).map(|h| h.websocket_extra);
        assert_eq!(
            extra("Sec-WebSocket-Extensions: permessage-deflate"),
            Ok(true)
        );
        assert_eq!(extra("Sec-WebSocket-Protocol: x"), Ok(true));
        assert_eq!(extra("Sec-WebSocket-Protocol: "), Ok(false));
    }

    #[test]
    fn reads_content_types() {
        fn check(value: &str, expect: Content) {
            assert_eq!(
                parse(&["Content-Type: ", value].concat()).map(|h| h.content),
                Ok(expect)
            );
        }
        check("", Content::None);
        check(";x", Content::None);
        check("application/json", Content::Json);
        check("application/json;charset=utf-8", Content::Json);
        check("text/event-stream ; x", Content::EventStream);
        check("TEXT/Event-Stream", Content::EventStream);
        check("Text/HTML; charset=x", Content::Other("text/html".into()));
        check(
            "application/json-seq",
            Content::Other("application/json-seq".into()),
        );
        assert_eq!(parse("X: y").map(|h| h.content), Ok(Content::None));
    }

    #[test]
    fn is_strict_about_framing() {
        fn check(lines: &str, expect: Result<(Option<u64>, bool), HttpError>) {
            let got = parse(lines).map(|h| (h.content_length, h.chunked));
            assert_eq!(got, expect, "{lines}");
        }
        use HttpError::*;
        check("Content-Length: 0", Ok((Some(0), false)));
        check(
            "Content-Length: 5, 5\nContent-Length: 005",
            Ok((Some(5), false)),
        );
        check(
            "Content-Length: 18446744073709551615",
            Ok((Some(u64::MAX), false)),
        );
        check("Content-Length: 5, 6", Err(ConflictingLengths));
        check(
            "Content-Length: 5\nContent-Length: 6",
            Err(ConflictingLengths),
        );
        for bad in [
            "",
            "-1",
            "+5",
            "5,",
            ",5",
            "0x5",
            "5 5",
            "5.0",
            "18446744073709551616",
            "å",
        ] {
            check(&["Content-Length: ", bad].concat(), Err(BadContentLength));
        }
        check("Transfer-Encoding: Chunked", Ok((None, true)));
        check("Transfer-Encoding: chunked,,", Ok((None, true)));
        check("Transfer-Encoding: ", Ok((None, false)));
        check(
            "Transfer-Encoding: chunked\nContent-Length: 4",
            Ok((Some(4), true)),
        );
        for bad in ["gzip, chunked", "gzip", "identity", "chunked;x", "xchunked"] {
            let coding = bad.split(',').next().unwrap_or_default();
            check(
                &["Transfer-Encoding: ", bad].concat(),
                Err(TransferCoding(coding.into())),
            );
        }
        check(
            "Transfer-Encoding: chunked, chunked",
            Err(TransferCoding("chunked".into())),
        );
        check(
            "Transfer-Encoding: chunked\nTransfer-Encoding: gzip",
            Err(TransferCoding("gzip".into())),
        );
    }

    #[test]
    fn does_without_the_malformed() {
        let got = parse(
            "Date: yesterday\nMcp-Session-Id: a b\nRetry-After: soon\nX-RateLimit-Reset: -1\n\
             Keep-Alive: timeout, timeout=x\nLocation: \nWWW-Authenticate: ",
        );
        assert_eq!(got, Ok(head()));
        assert_eq!(parse("Mcp-Session-Id: å").map(|h| h.session_id), Ok(None));
        let at = parse("Retry-After: Sunday, 06-Nov-94 08:49:37 GMT").map(|h| h.retry_after);
        assert_eq!(at, Ok(Some(RetryAfter::At(784_111_777))));
    }

    #[test]
    fn idle_connections() {
        let allowed = |lines: &str| {
            let head = parse(lines).expect("a head");
            head.idle_allowed(Duration::from_millis(1_500)).as_millis()
        };
        assert_eq!(allowed("X: y"), 1_500);
        assert_eq!(allowed("Keep-Alive: timeout=5, max=100"), 4_500);
        assert_eq!(allowed("Keep-Alive: timeout=1"), 500);
        assert_eq!(allowed("Keep-Alive: timeout=0"), 0);
    }

    #[test]
    fn keeps_the_challenge_for_bearer_tokens() {
        let kept = |lines: &str| parse(lines).map(|h| h.www_authenticate);
        let expect = |text: &str| Ok(Some(text.into()));
        let (basic, bearer) = ("WWW-Authenticate: Basic x", "WWW-Authenticate: bearer y");
        assert_eq!(
            kept(&format!("{basic}\n{bearer}\n{bearer}2")),
            expect("bearer y")
        );
        assert_eq!(kept(&format!("{bearer}\n{basic}")), expect("bearer y"));
        assert_eq!(kept(&format!("{basic}\n{basic}2")), expect("Basic x"));
    }

    #[test]
    fn keeps_cookies_line_by_line() {
        let long = "x".repeat(cookie::LINE_MAX_BYTES);
        let lines =
            format!("Set-Cookie: a=1, b; Path=/\nX: y\nset-cookie: {long}\nSET-COOKIE: {long}x");
        let got = parse(&lines).map(|h| h.set_cookies);
        assert_eq!(
            got,
            Ok(vec![
                b"a=1, b; Path=/".as_slice().into(),
                long.as_bytes().into()
            ])
        );
    }

    #[test]
    fn reads_encodings() {
        fn check(value: &str, expect: Option<&str>) {
            let got = parse(&["Content-Encoding: ", value].concat()).map(|h| h.content_encoding);
            assert_eq!(got, Ok(expect.map(Into::into)), "{value}");
        }
        check("", None);
        check("Identity", None);
        check("gzip", Some("gzip"));
        check("identity, br, gzip", Some("br"));
        check("g\u{9b}z\tip", Some("gzip"));
        check(&"x".repeat(900), Some(&"x".repeat(40)));
    }

    #[test]
    fn refuses_malformed_heads() {
        fn check(bytes: &[u8], expect: HttpError) {
            assert_eq!(
                ResponseHead::parse(bytes),
                Err(expect),
                "{}",
                bytes.escape_ascii()
            );
        }
        use HttpError::*;
        check(
            b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            BadHead("header name, or a folded line"),
        );
        check(
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            BadHead("header name, or a folded line"),
        );
        check(
            b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
            BadHead("header name, or a folded line"),
        );
        check(b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", BadHead("header value"));
        check(
            b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
            BadHead("header value"),
        );
        check(b"HTTP/1.1 20 OK\r\n\r\n", BadHead("status"));
        check(b"HTTP/1.1 099 OK\r\n\r\n", BadHead("status"));
        check(b"HTTP/1.2 200 OK\r\n\r\n", NotHttp);
        check(
            b"HTTP/1.1 200 OK\r\n",
            BadHead("not a status line and headers"),
        );
        check(
            b"HTTP/1.1 200 OK\r\n\r\nx",
            BadHead("not a status line and headers"),
        );
        let lines = |n| ["HTTP/1.1 200 OK\r\n", &"A: b\r\n".repeat(n), "\r\n"].concat();
        assert_eq!(
            ResponseHead::parse(lines(MAX_HEADERS).as_bytes()),
            Ok(head())
        );
        check(lines(MAX_HEADERS + 1).as_bytes(), TooManyHeaders);
    }

    #[test]
    fn takes_older_spellings() {
        for bytes in [
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1 200 \r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\n\n",
        ] {
            assert_eq!(
                ResponseHead::parse(bytes.as_bytes()),
                Ok(head()),
                "{bytes:?}"
            );
        }
        let got = ResponseHead::parse(b"HTTP/1.0 200 OK\r\n\r\n");
        assert_eq!(
            got,
            Ok(ResponseHead {
                http10: true,
                ..head()
            })
        );
    }

    #[test]
    fn any_bytes() {
        let mut random = SplitMix(3);
        for _ in 0..20_000 {
            let len = random.below(60);
            let tail = random.bytes(len, b"Content-Length:Date,;= 0159\r\n");
            let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
            bytes.extend_from_slice(&tail);
            bytes.extend_from_slice(b"\r\n\r\n");
            let _ = ResponseHead::parse(&bytes);
        }
    }
}
