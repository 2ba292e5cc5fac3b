//! HTTP CONNECT (RFC 9110 section 9.3.6): the words exchanged with a proxy.
//!
//! Owns the request's text and the reading of the answer. It must never hold a socket, resolve the
//! target's name (that is the proxy's to do) or show the credentials to anyone but the proxy.

use crate::config;
use crate::proto::transport::CloseCause;
use std::fmt;

/// An answer's head may be this long; squid's error heads have some 400 bytes.
pub(crate) const ANSWER_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// A proxy that speaks HTTP CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of Proxy-Authorization ("Basic …") where the proxy's URL has credentials.
    pub authorization: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Proxy({}:{})", self.host, self.port)
    }
}

impl From<&config::Proxy> for Proxy {
    fn from(proxy: &config::Proxy) -> Self {
        Self {
            host: proxy.host.clone(),
            port: proxy.port,
            authorization: proxy.authorization.clone(),
        }
    }
}

/// The CONNECT request for a target that is named as it is, unresolved.
pub(crate) fn request(proxy: &Proxy, host: &str, port: u16) -> Vec<u8> {
    // RFC 9110 section 7.2: an IPv6 address stands in brackets.
    let target = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = &proxy.authorization {
        head.push_str("Proxy-Authorization: ");
        head.push_str(authorization);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// What the proxy has said so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not yet a whole head.
    Partial,
    /// The tunnel stands; this many bytes were the head, the rest came through the tunnel.
    Open(usize),
}

/// Reads the answer to CONNECT from all bytes received so far.
pub(crate) fn answer(bytes: &[u8]) -> Result<Answer, CloseCause> {
    let mut at = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&bytes[at..]) {
            Ok(httparse::Status::Complete(len)) => {
                at += len;
                match response.code.unwrap_or(0) {
                    // "Any 2xx (Successful) response indicates that the sender … will switch to
                    // tunnel mode immediately after the response header section."
                    200..=299 => return Ok(Answer::Open(at)),
                    101 => return Err(CloseCause::ProxyProtocol),
                    // Interim: the real answer follows.
                    100..=199 => continue,
                    code => return Err(CloseCause::ProxyStatus(code)),
                }
            }
            Ok(httparse::Status::Partial) if bytes.len() < ANSWER_MAX => {
                return Ok(Answer::Partial);
            }
            Ok(httparse::Status::Partial) | Err(_) => return Err(CloseCause::ProxyProtocol),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn proxy(authorization: Option<&str>) -> Proxy {
        let authorization = authorization.map(str::to_owned);
        Proxy {
            host: "proxy".to_owned(),
            port: 3128,
            authorization,
        }
    }

    #[test]
    fn requests() {
        let check = |proxy: &Proxy, host, want: &str| {
            assert_eq!(String::from_utf8(request(proxy, host, 443)).unwrap(), want);
        };
        check(
            &proxy(None),
            "example.com",
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
        );
        check(
            &proxy(Some("Basic YTpi")),
            "::1",
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\
             Proxy-Authorization: Basic YTpi\r\n\r\n",
        );
        assert!(!format!("{:?}", proxy(Some("Basic YTpi"))).contains("YTpi"));
    }

    #[test]
    fn answers_at_every_prefix() {
        let check = |text: &str, want: Result<Answer, CloseCause>| {
            assert_eq!(answer(text.as_bytes()), want, "{text:?}");
        };
        let good =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n";
        for end in 0..good.len() {
            check(&good[..end], Ok(Answer::Partial));
        }
        check(good, Ok(Answer::Open(good.len())));
        check(&format!("{good}rest"), Ok(Answer::Open(good.len())));
        check(
            "HTTP/1.1 407 Auth\r\n\r\n",
            Err(CloseCause::ProxyStatus(407)),
        );
        check(
            "HTTP/1.1 503 No\r\nA: b\r\n\r\n<html>",
            Err(CloseCause::ProxyStatus(503)),
        );
        check("SSH-2.0-OpenSSH", Err(CloseCause::ProxyProtocol));
        check(
            "HTTP/1.1 101 Switching\r\n\r\n",
            Err(CloseCause::ProxyProtocol),
        );
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(ANSWER_MAX));
        check(&endless, Err(CloseCause::ProxyProtocol));
    }
}
