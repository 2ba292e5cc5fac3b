//! The request writer (RFC 9112 section 3): one buffer from the request line to the last byte of
//! the body, written once.

use crate::proto::header::is_token;

/// The methods that MCP uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    /// GET: an event stream, a WebSocket upgrade, a status poll.
    Get,
    /// POST: a JSON-RPC message.
    Post,
    /// DELETE: the end of a session.
    Delete,
}

impl Method {
    /// The method as it is written in the request line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// Header lines in the making, for whoever knows neither the request line nor what every request
/// carries. Nothing is refused here, either.
#[derive(Clone, Default)]
pub(crate) struct HeaderLines {
    bytes: Vec<u8>,
}

impl HeaderLines {
    /// Adds one header line.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> &mut Self {
        push_line(&mut self.bytes, name, value);
        self
    }

    /// The lines, each with its CRLF.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn push_line(bytes: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(is_token(name), "header name {name:?}");
    debug_assert!(is_header_value(value.as_bytes()), "value of header {name}");
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

/// A request head in the making. Nothing is refused here: names and values have been checked
/// ([`is_header_value`]) by whoever learned them. No `Debug`: the token is in here.
#[derive(Clone)]
pub(crate) struct RequestHead {
    bytes: Vec<u8>,
}

impl RequestHead {
    /// Request line and Host, which comes first (RFC 9110 section 7.2). Both arguments are an
    /// `Endpoint`'s. Nothing here can decompress: "if no Accept-Encoding header field is in the
    /// request, any content coding is considered acceptable" (section 12.5.3), so it says so.
    pub(crate) fn new(method: Method, target: &str, host_header: &str) -> Self {
        debug_assert!(target.starts_with('/') && target.bytes().all(|b| b.is_ascii_graphic()));
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(method.name().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(target.as_bytes());
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        let mut head = RequestHead { bytes };
        head.header("Host", host_header)
            .header("Accept-Encoding", "identity");
        head
    }

    /// Adds one header line.
    pub(crate) fn header(&mut self, name: &str, value: &str) -> &mut Self {
        push_line(&mut self.bytes, name, value);
        self
    }

    /// Adds header lines that were built and checked before, each with its CRLF.
    pub(crate) fn raw(&mut self, prebuilt: &[u8]) -> &mut Self {
        debug_assert!(prebuilt.is_empty() || prebuilt.ends_with(b"\r\n"));
        debug_assert!(!prebuilt.windows(4).any(|w| w == b"\r\n\r\n"));
        self.bytes.extend_from_slice(prebuilt);
        self
    }

    /// The whole request in one buffer. `Some(b"")` is a body of no bytes, which a POST still has
    /// to declare (RFC 9110 section 8.6); `None` is no body.
    pub(crate) fn finish(self, body: Option<&[u8]>) -> Vec<u8> {
        const LENGTH: &[u8] = b"Content-Length: ";
        let body_len = body.map_or(0, <[u8]>::len);
        let mut digits = [0; 20];
        let digits = match body {
            Some(body) => decimal(body.len() as u64, &mut digits),
            None => &[],
        };
        let length_line = if body.is_some() {
            LENGTH.len() + digits.len() + 2
        } else {
            0
        };
        let mut out = Vec::with_capacity(self.bytes.len() + length_line + 2 + body_len);
        out.extend_from_slice(&self.bytes);
        if body.is_some() {
            out.extend_from_slice(LENGTH);
            out.extend_from_slice(digits);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body.unwrap_or_default());
        out
    }
}

/// Whether the bytes may stand as a header's value and arrive as they are: no controls but tab, no
/// blank at either end (RFC 9110 section 5.5).
pub(crate) fn is_header_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !blank(value.first())
        && !blank(value.last())
        && value
            .iter()
            .all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f))
}

/// Writes `n` at the end of `buffer` and returns the digits; the format machinery would be larger.
fn decimal(mut n: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buffer[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_requests() {
        fn check(body: Option<&[u8]>, expect: &str) {
            let mut head = RequestHead::new(Method::Post, "/ws/a?b", "h:81");
            head.header("Accept", "*/*")
                .raw(b"A: 1\r\nB: 2\r\n")
                .raw(b"");
            let out = head.finish(body);
            let start = "POST /ws/a?b HTTP/1.1\r\nHost: h:81\r\nAccept-Encoding: identity\r\n\
                         Accept: */*\r\nA: 1\r\nB: 2\r\n";
            assert_eq!(String::from_utf8_lossy(&out), [start, expect].concat());
            assert_eq!(out.capacity(), out.len());
        }
        check(None, "\r\n");
        check(Some(b""), "Content-Length: 0\r\n\r\n");
        check(Some(b"{}"), "Content-Length: 2\r\n\r\n{}");
        check(
            Some(&[b'x'; 1000]),
            &["Content-Length: 1000\r\n\r\n", &"x".repeat(1000)].concat(),
        );
    }

    #[test]
    fn writes_methods() {
        for (method, name) in [
            (Method::Get, "GET"),
            (Method::Post, "POST"),
            (Method::Delete, "DELETE"),
        ] {
            let out = RequestHead::new(method, "/", "h").finish(None);
            assert_eq!(
                out,
                [
                    name,
                    " / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\n\r\n"
                ]
                .concat()
                .into_bytes()
            );
        }
    }

    #[test]
    fn writes_decimals() {
        for n in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }

    #[test]
    fn judges_header_values() {
        fn check(value: &[u8], expect: bool) {
            assert_eq!(is_header_value(value), expect, "{value:?}");
        }
        check(b"", true);
        check(b"Bearer mwt_x", true);
        check(b"a \tb", true);
        check("å".as_bytes(), true);
        for bad in [
            "\r",
            "\n",
            "a\r\nX: 1",
            "\0",
            "a\x1bb",
            "a\x7f",
            " a",
            "a ",
            "\ta",
            "a\t",
            " ",
        ] {
            check(bad.as_bytes(), false);
        }
    }
}
