//! Headers of the person's own (`--header`, `AEROSTACK_HEADER_*`), for servers behind a front that
//! wants them.
//!
//! Owns the check of names and values. Their values are secrets like the token: they go to the
//! workspace's origin only, and nothing prints them.

use super::{Limits, SettingError, Source, wrong};
use crate::proto::header::is_token;
use crate::proto::http::request::is_header_value;
use std::fmt;

/// What the variables' names begin with; what follows is the person's choice.
pub(crate) const HEADER_PREFIX: &str = "AEROSTACK_HEADER_";
/// The same for those of the command line: a header of theirs takes the place of others of its name.
pub(crate) const HEADER_OPTION_PREFIX: &str = "AEROSTACK_HEADER_OPTION_";

/// Headers that the gateway writes itself, or whose meaning belongs to one connection: one of them
/// twice, or another value, would break the framing, the session or the authorization.
const OWNED: [&str; 13] = [
    "authorization",
    "connection",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "origin",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "set-cookie",
];
/// The same for whole families.
const OWNED_FAMILIES: [&str; 5] = ["accept", "content-", "mcp-", "proxy-", "sec-"];

/// A header that goes with every request to the workspace's origin. `Debug` hides its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: Box<str>,
    value: Box<str>,
}

impl Header {
    /// Reads `Name: value`. The error names the header and never repeats the value.
    pub fn parse(text: &str) -> Result<Header, String> {
        let Some((name, value)) = text.split_once(':') else {
            return Err("has no colon: give it as \"Name: value\"".to_owned());
        };
        let (name, value) = (
            name.trim_matches([' ', '\t']),
            value.trim_matches([' ', '\t']),
        );
        if !is_token(name) {
            return Err(
                "has a name that no header can have: give it as \"Name: value\"".to_owned(),
            );
        }
        let lower = name.to_ascii_lowercase();
        let owned = OWNED.contains(&lower.as_str())
            || OWNED_FAMILIES
                .iter()
                .any(|family| lower.starts_with(family));
        if owned {
            let instead = match lower.as_str() {
                "authorization" => ": the token belongs into AEROSTACK_TOKEN",
                _ => "",
            };
            return Err(format!("{name} is written by the gateway itself{instead}"));
        }
        if text.contains(['\r', '\n', '\0']) {
            return Err(format!(
                "{name} holds a line break or NUL: give one header each"
            ));
        }
        if value.is_empty() {
            // What stands before the colon may be the secret: `KEY:`.
            return Err("has no value behind its colon: give it as \"Name: value\"".to_owned());
        }
        if !is_header_value(value.as_bytes()) {
            return Err(format!("{name} has a value with control characters"));
        }
        Ok(Header {
            name: name.into(),
            value: value.into(),
        })
    }

    /// Its name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret itself, for requests to the workspace's origin and nothing else.
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({}: …)", self.name)
    }
}

/// All headers of the settings, in the order of the variables' names.
pub(super) fn read(source: &dyn Source, limits: &Limits) -> Result<Vec<Header>, SettingError> {
    let (mut headers, mut options) = (Vec::new(), Vec::new());
    for variable in source.names(HEADER_PREFIX) {
        let Some(text) = source.variable(&variable) else {
            continue;
        };
        let header = Header::parse(&text)
            .or_else(|problem| wrong("AEROSTACK_HEADER_*", format!("{variable}: {problem}")))?;
        match variable.starts_with(HEADER_OPTION_PREFIX) {
            true => options.push(header),
            false => headers.push(header),
        }
    }
    headers.retain(|header: &Header| {
        let same = |option: &Header| option.name.eq_ignore_ascii_case(&header.name);
        !options.iter().any(same)
    });
    headers.append(&mut options);
    let bytes: usize = headers
        .iter()
        .map(|header| header.name.len() + header.value.len())
        .sum();
    if headers.len() > limits.headers_max || bytes > limits.headers_max_bytes {
        return wrong(
            "AEROSTACK_HEADER_*",
            format!(
                "are too many or too long: at most {} headers and {} bytes",
                limits.headers_max, limits.headers_max_bytes
            ),
        );
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_trimmed_and_hidden() {
        let header = Header::parse("X-Tenant:  blue, green ").expect("valid");
        assert_eq!(
            (header.name(), header.expose()),
            ("X-Tenant", "blue, green")
        );
        assert_eq!(format!("{header:?}"), "Header(X-Tenant: …)");
        let header = Header::parse("X-Url:https://h:1/").expect("valid");
        assert_eq!(header.expose(), "https://h:1/");
    }

    #[test]
    fn what_the_gateway_owns_is_refused_in_any_case() {
        for name in [
            "Host",
            "authorization",
            "COOKIE",
            "Accept",
            "Accept-Encoding",
            "Connection",
            "Content-Type",
            "content-length",
            "Transfer-Encoding",
            "TE",
            "Upgrade",
            "Expect",
            "Origin",
            "Proxy-Authorization",
            "Sec-WebSocket-Key",
            "Mcp-Session-Id",
            "mcp-protocol-version",
            "Last-Event-ID",
            "Keep-Alive",
            "Trailer",
        ] {
            let error = Header::parse(&format!("{name}: s3cret")).expect_err(name);
            assert!(error.contains("written by the gateway itself"), "{error}");
            assert!(
                error.starts_with(name) && !error.contains("s3cret"),
                "{error}"
            );
        }
        for name in [
            "X-Host",
            "Hosts",
            "TEa",
            "User-Agent",
            "CF-Access-Client-Id",
            "Secret",
        ] {
            assert!(Header::parse(&format!("{name}: v")).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let check = |text: &str, expect: &str| {
            let error = Header::parse(text).expect_err(text);
            assert!(
                error.contains(expect) && !error.contains("s3cret"),
                "{error}"
            );
        };
        check("X-A s3cret", "no colon");
        check("X A: s3cret", "a name that no header can have");
        check(": s3cret", "a name that no header can have");
        check("X-A: s3cret\r\nHost: b", "X-A holds a line break or NUL");
        check("X-A: s3cret\n", "X-A holds a line break or NUL");
        check("X-A: s3\0cret", "X-A holds a line break or NUL");
        check("X\n-A: s3cret", "a name that no header can have");
        check("X-A: s3\u{1b}cret", "control characters");
        check("s3cret: ", "no value behind its colon");
    }
}
