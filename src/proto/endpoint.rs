//! Where requests go: scheme, host, port and request target of an http(s) URL.
//!
//! Owns the syntax of URLs (RFC 3986) and the notion of an origin. An [`Endpoint`] is valid by
//! construction: its host can be looked up or dialled and its target can stand in a request line
//! as it is. It must never decide whether an origin is to be trusted: that is the engine's policy.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The two schemes we speak. `ws` and `wss` in references are spelled `http` and `https` here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The scheme as it is written in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL that names none (RFC 9110 section 4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// An http or https URL, taken apart.
///
/// The path and query are kept byte for byte as they were given; only scheme and host are
/// normalised (lower case, canonical IPv6), so that equal origins compare equal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    scheme: Scheme,
    /// Lower case, no brackets: a registered name, IPv4 or IPv6 (the only one with a colon).
    host: Box<str>,
    port: u16,
    /// Begins with '/'; visible ASCII without '#', '"', '<', '>' and backslash.
    target: Box<str>,
}

impl Endpoint {
    /// Reads a URL that a person typed or pasted; each usual mistake has an error of its own.
    pub fn parse(url: &str) -> Result<Endpoint, EndpointError> {
        check_bytes(url)?;
        let Some((scheme, rest)) = split_scheme(url) else {
            return Err(EndpointError::NoScheme);
        };
        // "localhost:3000/mcp" looks like the scheme "localhost": only "//" makes it one.
        let Some(rest) = rest.strip_prefix("//") else {
            return Err(EndpointError::NoScheme);
        };
        let scheme = if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else {
            return Err(EndpointError::UnknownScheme(scheme.to_owned()));
        };
        let (authority, tail) = split_authority(rest);
        let (host, port) = parse_authority(authority, scheme)?;
        if tail.contains('#') {
            return Err(EndpointError::Fragment);
        }
        Ok(Endpoint {
            scheme,
            host,
            port,
            target: rooted(tail).into_boxed_str(),
        })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: lower case, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where the URL left it out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, ready for the request line (origin-form, RFC 9112 section 3.2.1).
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of the Host header (RFC 9110 section 7.2): the port only where it is not the
    /// scheme's own.
    pub fn host_header(&self) -> String {
        let mut out = String::with_capacity(self.host.len() + 8);
        self.push_authority(&mut out);
        out
    }

    /// Scheme, host and port, e.g. `https://mcp.aerostack.dev` (RFC 6454 section 6.2).
    pub fn origin(&self) -> String {
        let mut out = String::with_capacity(self.host.len() + 16);
        out.push_str(self.scheme.name());
        out.push_str("://");
        self.push_authority(&mut out);
        out
    }

    /// The whole URL.
    pub fn url(&self) -> String {
        let mut out = self.origin();
        out.push_str(&self.target);
        out
    }

    /// Whether both have the same scheme, host and port (RFC 6454 section 5).
    pub fn same_origin(&self, other: &Endpoint) -> bool {
        self.scheme == other.scheme && self.port == other.port && self.host == other.host
    }

    /// Whether the host's name says that it is this machine (RFC 6761 section 6.3). What the name
    /// resolves to is checked where the connection is made.
    pub fn is_loopback_host(&self) -> bool {
        if let Some(ip) = self.ip() {
            return ip.to_canonical().is_loopback();
        }
        let name = self.host.strip_suffix('.').unwrap_or(&self.host);
        name == "localhost" || name.ends_with(".localhost")
    }

    /// The host's address, where it is one rather than a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// A URL that came in a reply, relative to this one taken with a trailing slash: "chat/ws"
    /// under `https://h/ws/slug` is `https://h/ws/slug/chat/ws` (RFC 3986 section 5.2). The caller
    /// still has to compare origins.
    pub fn resolve(&self, reference: &str) -> Result<Endpoint, EndpointError> {
        let mut directory = self.path().to_owned();
        if !directory.ends_with('/') {
            directory.push('/');
        }
        self.resolve_against(&directory, reference)
    }

    /// A redirect's Location, relative to this URL as it is (RFC 9110 section 10.2.2).
    pub fn resolve_location(&self, reference: &str) -> Result<Endpoint, EndpointError> {
        self.resolve_against(self.path(), reference)
    }

    /// The same origin with another path and query. Bytes that may not stand in a request line are
    /// percent-encoded, so that the result is as valid as `self`.
    pub fn with_target(&self, target: &str) -> Endpoint {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut out = String::with_capacity(target.len() + 1);
        if !target.starts_with('/') {
            out.push('/');
        }
        for byte in target.bytes() {
            if is_target_byte(byte) {
                out.push(char::from(byte));
            } else {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
        self.at(out)
    }

    fn at(&self, target: String) -> Endpoint {
        Endpoint {
            scheme: self.scheme,
            host: self.host.clone(),
            port: self.port,
            target: target.into_boxed_str(),
        }
    }

    fn push_authority(&self, out: &mut String) {
        let v6 = self.host.contains(':');
        if v6 {
            out.push('[');
        }
        out.push_str(&self.host);
        if v6 {
            out.push(']');
        }
        if self.port != self.scheme.default_port() {
            out.push(':');
            out.push_str(&self.port.to_string());
        }
    }

    /// RFC 3986 section 5.2.2, without the branches that we refuse.
    fn resolve_against(&self, base: &str, reference: &str) -> Result<Endpoint, EndpointError> {
        check_bytes(reference)?;
        let reference = reference.split('#').next().unwrap_or_default();
        if reference.is_empty() {
            return Err(EndpointError::Empty);
        }
        if let Some((scheme, rest)) = split_scheme(reference) {
            return self.resolve_absolute(scheme, rest);
        }
        // A network-path reference would take the token to whatever host it names.
        if reference.starts_with("//") {
            return Err(EndpointError::NetworkPath);
        }
        let (path, query) = split_query(reference);
        let mut target = if path.is_empty() {
            base.to_owned()
        } else if path.starts_with('/') {
            remove_dot_segments(path)
        } else {
            // Section 5.2.3: all of the base but its last segment.
            let directory = base.rfind('/').map_or("/", |at| &base[..=at]);
            remove_dot_segments(&[directory, path].concat())
        };
        target.push_str(query);
        Ok(self.at(target))
    }

    fn resolve_absolute(&self, scheme: &str, rest: &str) -> Result<Endpoint, EndpointError> {
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => Scheme::Https,
            "http" | "ws" => Scheme::Http,
            other => return Err(EndpointError::UnknownScheme(other.to_owned())),
        };
        if scheme == Scheme::Http && self.scheme == Scheme::Https {
            return Err(EndpointError::Downgrade);
        }
        let rest = rest.strip_prefix("//").ok_or(EndpointError::BadHost)?;
        let (authority, tail) = split_authority(rest);
        let (host, port) = parse_authority(authority, scheme)?;
        let (path, query) = split_query(tail);
        let mut target = remove_dot_segments(&rooted(path));
        target.push_str(query);
        Ok(Endpoint {
            scheme,
            host,
            port,
            target: target.into_boxed_str(),
        })
    }
}

/// What is wrong with a URL. The text says what to change and never repeats the URL, which may
/// hold a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndpointError {
    /// Nothing there.
    Empty,
    /// Longer than [`MAX_URL`].
    TooLong,
    /// No `https://` in front.
    NoScheme,
    /// A scheme that is none of ours.
    UnknownScheme(String),
    /// `user:password@` in front of the host.
    Userinfo,
    /// A `#fragment`, which is never sent to a server.
    Fragment,
    /// A blank, tab or line break.
    Whitespace,
    /// Another control character.
    Control,
    /// Quotes or angle brackets around the URL, or a `<placeholder>` in it.
    Quotes,
    /// A character outside ASCII.
    NonAscii,
    /// A backslash, which some parsers take for a slash.
    Backslash,
    /// No host, or one that can be neither a DNS name nor an address.
    BadHost,
    /// The port is not a number from 1 to 65535.
    BadPort,
    /// `//host/path`: another host without a scheme.
    NetworkPath,
    /// http or ws under an https URL.
    Downgrade,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndpointError::Empty => "the URL is empty",
            EndpointError::TooLong => "the URL is longer than 8000 bytes",
            EndpointError::NoScheme => "the URL must begin with https:// (or http://)",
            EndpointError::UnknownScheme(scheme) => {
                f.write_str("the URL must begin with https:// (or http://), not ")?;
                return f.write_str(scheme);
            }
            EndpointError::Userinfo => "the URL holds a user name or password: remove it",
            EndpointError::Fragment => "the URL holds a #fragment: remove it",
            EndpointError::Whitespace => "the URL holds a blank or line break: remove it",
            EndpointError::Control => "the URL holds a control character: remove it",
            EndpointError::Quotes => "the URL holds quotes or angle brackets: remove them",
            EndpointError::NonAscii => {
                "the URL holds a non-ASCII character: percent-encode it (a host: its xn-- name)"
            }
            EndpointError::Backslash => "the URL holds a backslash: use / instead",
            EndpointError::BadHost => "the URL's host is neither a DNS name nor an IP address",
            EndpointError::BadPort => "the URL's port is not a number from 1 to 65535",
            EndpointError::NetworkPath => "the URL names a host without a scheme",
            EndpointError::Downgrade => "the URL is not encrypted although the workspace's is",
        })
    }
}

impl std::error::Error for EndpointError {}

/// RFC 9110 section 4.1 recommends to support at least 8000 octets; nobody needs more.
pub(crate) const MAX_URL: usize = 8000;

/// Refuses what may stand nowhere in a URL, most telling mistake first.
fn check_bytes(url: &str) -> Result<(), EndpointError> {
    // What a paste brings along in front; an apostrophe further on is legal.
    const QUOTES: [char; 7] = ['"', '\'', '`', '\u{2018}', '\u{201c}', '\u{201e}', '<'];
    if url.is_empty() {
        return Err(EndpointError::Empty);
    }
    if url.len() > MAX_URL {
        return Err(EndpointError::TooLong);
    }
    if url.trim_start().starts_with(QUOTES) {
        return Err(EndpointError::Quotes);
    }
    for byte in url.bytes() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return Err(EndpointError::Whitespace),
            b'"' | b'<' | b'>' => return Err(EndpointError::Quotes),
            b'\\' => return Err(EndpointError::Backslash),
            0..=0x1f | 0x7f => return Err(EndpointError::Control),
            0x80.. => return Err(EndpointError::NonAscii),
            _ => {}
        }
    }
    Ok(())
}

/// What `check_bytes` lets through, without the fragment's mark.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\')
}

/// RFC 3986 section 3.1: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) ":"
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    valid.then_some((scheme, rest))
}

/// "The authority component is […] terminated by the next slash, question mark, or number sign"
/// (RFC 3986 section 3.2).
fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// The path, and the query with its question mark.
fn split_query(tail: &str) -> (&str, &str) {
    tail.split_at(tail.find('?').unwrap_or(tail.len()))
}

fn rooted(tail: &str) -> String {
    if tail.starts_with('/') {
        tail.to_owned()
    } else {
        ["/", tail].concat()
    }
}

fn parse_authority(authority: &str, scheme: Scheme) -> Result<(Box<str>, u16), EndpointError> {
    if authority.contains('@') {
        return Err(EndpointError::Userinfo);
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (literal, port) = rest.split_once(']').ok_or(EndpointError::BadHost)?;
        let ip: Ipv6Addr = literal.parse().map_err(|_| EndpointError::BadHost)?;
        (ip.to_string(), port)
    } else {
        let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let name = name.to_ascii_lowercase();
        if !is_host(&name) {
            return Err(EndpointError::BadHost);
        }
        (name, port)
    };
    Ok((host.into_boxed_str(), parse_port(port, scheme)?))
}

/// `text` is empty or begins with the colon. A colon with nothing behind it would be legal, but is
/// more often a variable that did not expand.
fn parse_port(text: &str, scheme: Scheme) -> Result<u16, EndpointError> {
    if text.is_empty() {
        return Ok(scheme.default_port());
    }
    let digits = text.strip_prefix(':').ok_or(EndpointError::BadHost)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(EndpointError::BadPort);
    }
    digits
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or(EndpointError::BadPort)
}

/// A name that DNS and TLS both take (RFC 1123 section 2.1, underscores tolerated), or a dotted
/// IPv4 address.
fn is_host(name: &str) -> bool {
    let relative = name.strip_suffix('.').unwrap_or(name);
    let last = relative.rsplit('.').next().unwrap_or_default();
    // The URL standard's "ends in a number": resolvers take 127.1, 0x7f.1 and 2130706433 for
    // addresses, so a name like that must be an address in full, and a plain one.
    if last.starts_with("0x") || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())) {
        return name.parse::<Ipv4Addr>().is_ok();
    }
    name.len() <= 253
        && relative.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

/// RFC 3986 section 5.2.4 for paths that begin with '/'.
fn remove_dot_segments(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            _ => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        // "/a/b/.." is the directory "/a/", not the file "/a".
        if last {
            out.push('/');
        }
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::SplitMix;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    #[test]
    fn takes_urls_apart() {
        fn check(url: &str, expect: (&str, u16, &str, &str, &str)) {
            let e = endpoint(url);
            let got = (e.host(), e.port(), e.target(), &*e.host_header(), &*e.url());
            assert_eq!(got, expect, "{url}");
            assert_eq!(
                endpoint(&e.url()),
                e,
                "{url} does not survive its own spelling"
            );
        }
        check(
            "https://mcp.aerostack.dev/ws/acme",
            (
                "mcp.aerostack.dev",
                443,
                "/ws/acme",
                "mcp.aerostack.dev",
                "https://mcp.aerostack.dev/ws/acme",
            ),
        );
        check(
            "HTTPS://MCP.Dev",
            ("mcp.dev", 443, "/", "mcp.dev", "https://mcp.dev/"),
        );
        check("https://h:443/", ("h", 443, "/", "h", "https://h/"));
        check("https://h:80/", ("h", 80, "/", "h:80", "https://h:80/"));
        check("http://h:80", ("h", 80, "/", "h", "http://h/"));
        check("http://h?x=1", ("h", 80, "/?x=1", "h", "http://h/?x=1"));
        check(
            "http://h:8080/A%20b/?q=/?&;",
            (
                "h",
                8080,
                "/A%20b/?q=/?&;",
                "h:8080",
                "http://h:8080/A%20b/?q=/?&;",
            ),
        );
        check(
            "http://127.0.0.1:1/x",
            ("127.0.0.1", 1, "/x", "127.0.0.1:1", "http://127.0.0.1:1/x"),
        );
        check(
            "http://[::1]/x",
            ("::1", 80, "/x", "[::1]", "http://[::1]/x"),
        );
        check(
            "http://[0:0::0:1]:65535/",
            ("::1", 65535, "/", "[::1]:65535", "http://[::1]:65535/"),
        );
        check(
            "https://[2001:DB8::A]/",
            (
                "2001:db8::a",
                443,
                "/",
                "[2001:db8::a]",
                "https://[2001:db8::a]/",
            ),
        );
        check(
            "http://a_b.c-d.e.:3000/it's",
            (
                "a_b.c-d.e.",
                3000,
                "/it's",
                "a_b.c-d.e.:3000",
                "http://a_b.c-d.e.:3000/it's",
            ),
        );
        check(
            "http://h/a/../b/./c//d",
            ("h", 80, "/a/../b/./c//d", "h", "http://h/a/../b/./c//d"),
        );
        check(
            "http://1password.com/",
            (
                "1password.com",
                80,
                "/",
                "1password.com",
                "http://1password.com/",
            ),
        );
    }

    #[test]
    fn names_each_mistake() {
        fn check(url: &str, expect: EndpointError) {
            assert_eq!(Endpoint::parse(url), Err(expect), "{url:?}");
        }
        use EndpointError::*;
        check("", Empty);
        check("mcp.aerostack.dev/ws/x", NoScheme);
        check("localhost:3000/mcp", NoScheme);
        check("h/x?u=http://y", NoScheme);
        check("https:/h", NoScheme);
        check("https:h", NoScheme);
        check("://h", NoScheme);
        check("//h/x", NoScheme);
        check("ftp://h/", UnknownScheme("ftp".into()));
        check("wss://h/", UnknownScheme("wss".into()));
        check("https://u:p@h/", Userinfo);
        check("https://mwt_secret@h/", Userinfo);
        check("https://a@b@c/", Userinfo);
        check("https://h/x#", Fragment);
        check("https://h#x", Fragment);
        check(" https://h/", Whitespace);
        check("https://h/\n", Whitespace);
        check("https://h/a b", Whitespace);
        check("https://h/\0", Control);
        check("https://h/\x7f", Control);
        check("\"https://h/\"", Quotes);
        check("'https://h/'", Quotes);
        check("“https://h/”", Quotes);
        check("`https://h/`", Quotes);
        check("<https://h/>", Quotes);
        check("https://h/ws/<slug>", Quotes);
        check("https://h/a\"b", Quotes);
        check("https://bücher.example/", NonAscii);
        check("https://h/ü", NonAscii);
        check("https:\\\\h\\x", Backslash);
        check("https://h\\@evil/", Backslash);
        for url in [
            "https://",
            "https:///x",
            "https://:443/",
            "https://?x",
            "https://.",
            "https://a..b/",
            "https://-a/",
            "https://a-/",
            "https://%41/",
            "https://a,b/",
            "https://[::1",
            "https://[]/",
            "https://[::1%25eth0]/",
            "https://[127.0.0.1]/",
            "https://[::1]x/",
            "https://::1/",
            "https://1.2.3/",
            "https://1.2.3.4.5/",
            "https://256.1.1.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://a.0x1/",
            "https://127.1/",
            "https://127.0.0.01/",
            "https://1.2.3.4./",
            "https://*.h/",
            "https://$HOST/",
            "https://{slug}.h/",
        ] {
            check(url, BadHost);
        }
        check(&["https://", &"a".repeat(64), "/"].concat(), BadHost);
        check(&["https://", &"a.".repeat(127), "b/"].concat(), BadHost);
        for url in [
            "https://h:/",
            "https://h:0/",
            "https://h:65536/",
            "https://h:+80/",
            "https://h:8a/",
            "https://h:80:80/",
        ] {
            check(url, BadPort);
        }
        check(&["https://h/", &"a".repeat(MAX_URL)].concat(), TooLong);
        endpoint(&["https://h/", &"a".repeat(MAX_URL - 10)].concat());
    }

    /// The table of RFC 3986 section 5.4 as far as we take part in it.
    #[test]
    fn resolves_like_rfc_3986() {
        fn check(reference: &str, expect: &str) {
            let base = endpoint("http://a/b/c/d;p?q");
            assert_eq!(
                base.resolve_location(reference).map(|e| e.url()),
                Ok(expect.into()),
                "{reference}"
            );
        }
        check("http://g", "http://g/");
        check("g", "http://a/b/c/g");
        check("./g", "http://a/b/c/g");
        check("g/", "http://a/b/c/g/");
        check("/g", "http://a/g");
        check("?y", "http://a/b/c/d;p?y");
        check("g?y", "http://a/b/c/g?y");
        check("g#s", "http://a/b/c/g");
        check("g?y#s", "http://a/b/c/g?y");
        check(";x", "http://a/b/c/;x");
        check("g;x", "http://a/b/c/g;x");
        check("g;x?y#s", "http://a/b/c/g;x?y");
        check(".", "http://a/b/c/");
        check("./", "http://a/b/c/");
        check("..", "http://a/b/");
        check("../", "http://a/b/");
        check("../g", "http://a/b/g");
        check("../..", "http://a/");
        check("../../g", "http://a/g");
        check("../../../g", "http://a/g");
        check("../../../../g", "http://a/g");
        check("/./g", "http://a/g");
        check("/../g", "http://a/g");
        check("g.", "http://a/b/c/g.");
        check(".g", "http://a/b/c/.g");
        check("g..", "http://a/b/c/g..");
        check("..g", "http://a/b/c/..g");
        check("./../g", "http://a/b/g");
        check("./g/.", "http://a/b/c/g/");
        check("g/./h", "http://a/b/c/g/h");
        check("g/../h", "http://a/b/c/h");
        check("g;x=1/./y", "http://a/b/c/g;x=1/y");
        check("g;x=1/../y", "http://a/b/c/y");
        check("g?y/../x", "http://a/b/c/g?y/../x");
        check("http://g/a/../b", "http://g/b");
        check("HTTPS://G?x", "https://g/?x");
        check("apr_1:2/ws", "http://a/b/c/apr_1:2/ws");
    }

    #[test]
    fn resolves_under_the_workspace() {
        fn check(base: &str, reference: &str, expect: Result<&str, EndpointError>) {
            let got = endpoint(base).resolve(reference).map(|e| e.url());
            assert_eq!(got, expect.map(str::to_owned), "{base} + {reference}");
        }
        use EndpointError::*;
        let w = "https://h/ws/acme";
        check(
            w,
            "approvals/apr_1/ws",
            Ok("https://h/ws/acme/approvals/apr_1/ws"),
        );
        check("https://h/ws/acme/", "x", Ok("https://h/ws/acme/x"));
        check("https://h/ws/acme?k=v", "x", Ok("https://h/ws/acme/x"));
        check("https://h", "x", Ok("https://h/x"));
        check(w, "?x", Ok("https://h/ws/acme/?x"));
        check(w, "/ws/acme/chat/ws", Ok("https://h/ws/acme/chat/ws"));
        check(w, "../other", Ok("https://h/ws/other"));
        check(w, "wss://h/x", Ok("https://h/x"));
        check(w, "WSS://H:443", Ok("https://h/"));
        check(w, "wss://evil:1/x", Ok("https://evil:1/x"));
        check("http://h/w", "ws://h/x", Ok("http://h/x"));
        check("http://h/w", "wss://h/x", Ok("https://h/x"));
        check(w, "ws://h/x", Err(Downgrade));
        check(w, "http://h/x", Err(Downgrade));
        check(w, "//evil/x", Err(NetworkPath));
        check(w, "/.//evil/x", Ok("https://h//evil/x"));
        check(w, "\\\\evil\\x", Err(Backslash));
        check(w, "/\\evil", Err(Backslash));
        check(w, "wss://h@evil/x", Err(Userinfo));
        check(w, "wss:evil", Err(BadHost));
        check(w, "wss:/evil", Err(BadHost));
        check(w, "javascript:x", Err(UnknownScheme("javascript".into())));
        check(w, "", Err(Empty));
        check(w, "#x", Err(Empty));
        check(w, "x y", Err(Whitespace));
        check(w, "x\r\nEvil: 1", Err(Whitespace));
        check(w, "\t//evil", Err(Whitespace));
        check(w, "x\u{1}", Err(Control));
        check(w, "ü", Err(NonAscii));
    }

    #[test]
    fn compares_origins() {
        fn check(a: &str, b: &str, same: bool) {
            assert_eq!(endpoint(a).same_origin(&endpoint(b)), same, "{a} {b}");
            assert_eq!(
                endpoint(a).origin() == endpoint(b).origin(),
                same,
                "{a} {b}"
            );
        }
        check("https://h/a", "https://H:443/b?c", true);
        check("http://[::1]/", "http://[0:0:0:0:0:0:0:1]:80/x", true);
        check("https://h/", "http://h/", false);
        check("https://h/", "https://h:444/", false);
        check("https://h/", "https://h.evil/", false);
        check("https://h:80/", "http://h:80/", false);
    }

    #[test]
    fn knows_loopback() {
        fn check(host: &str, expect: bool) {
            assert_eq!(
                endpoint(&["http://", host, "/"].concat()).is_loopback_host(),
                expect,
                "{host}"
            );
        }
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.9.8.7",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            check(host, true);
        }
        for host in [
            "localhost.evil",
            "notlocalhost",
            "128.0.0.1",
            "[::2]",
            "0.0.0.0",
            "[::]",
            "127.evil",
        ] {
            check(host, false);
        }
        assert_eq!(
            endpoint("http://10.0.0.1/").ip(),
            Some(IpAddr::from([10, 0, 0, 1]))
        );
        assert_eq!(endpoint("http://h/").ip(), None);
    }

    #[test]
    fn changes_the_target() {
        fn check(target: &str, expect: &str) {
            assert_eq!(endpoint("https://h/w?q").with_target(target).url(), expect);
        }
        check("/w/approvals/apr_1/ws", "https://h/w/approvals/apr_1/ws");
        check("x?y=1", "https://h/x?y=1");
        check("", "https://h/");
        check("/a b\r\nX: 1#ü", "https://h/a%20b%0D%0AX:%201%23%C3%BC");
    }

    #[test]
    fn path_excludes_the_query() {
        assert_eq!(endpoint("https://h/a/b?c/d").path(), "/a/b");
        assert_eq!(endpoint("https://h?c").path(), "/");
    }

    #[test]
    fn errors_never_repeat_the_url() {
        let error = Endpoint::parse("https://user:hunter2@h/").expect_err("userinfo");
        assert!(!error.to_string().contains("hunter2"));
    }

    /// Whatever goes in: no panic, and what comes out is valid and stays so.
    #[test]
    fn any_bytes() {
        let mut random = SplitMix(1);
        let base = endpoint("https://h/ws/acme?x");
        for _ in 0..20_000 {
            let len = random.below(24);
            let tail = random.bytes(len, b"/.:?#@[]%a1-_\\htps");
            let tail = String::from_utf8_lossy(&tail).into_owned();
            for text in [tail.clone(), ["https://", &tail].concat()] {
                for e in [
                    Endpoint::parse(&text),
                    base.resolve(&text),
                    base.resolve_location(&text),
                ] {
                    let Ok(e) = e else { continue };
                    assert_eq!(endpoint(&e.url()), e, "{text:?}");
                    assert!(e.target().starts_with('/') && e.target().bytes().all(is_target_byte));
                }
            }
        }
    }
}
