//! Cookies of one origin (RFC 6265): what its responses set, what the next request carries.
//!
//! Load balancers tie a session to one backend by a cookie. Owns the jar of one origin, in memory
//! only. Every cookie is host-only, since the jar serves no second host: Domain is ignored. It must
//! never hold a clock: the caller says what time it is.

use std::fmt;

use super::timestamp::parse_cookie_date;

/// The most cookies of the origin; section 6.1 asks for "at least 50 cookies per domain".
pub(crate) const COOKIES_MAX: usize = 50;
/// The largest cookie, "as measured by the sum of the length of the cookie's name, value, and
/// attributes" (section 6.1); of the attributes only the path is kept.
pub(crate) const COOKIE_MAX_BYTES: usize = 4_096;
/// The longest Cookie header: servers refuse heads from 8 or 16 KiB on.
pub(crate) const HEADER_MAX_BYTES: usize = 16 << 10;
/// The longest Set-Cookie line that is looked at; attributes that nobody keeps can be long, too.
pub(crate) const LINE_MAX_BYTES: usize = 2 * COOKIE_MAX_BYTES;

/// The cookies of one origin, the least recently used first.
#[derive(Clone, Default)]
pub(crate) struct Jar {
    cookies: Vec<Cookie>,
    /// How many cookies were ever made: the order in which they are sent.
    made: u64,
}

#[derive(Clone)]
struct Cookie {
    name: Box<str>,
    value: Box<str>,
    path: Box<str>,
    secure: bool,
    /// Unix milliseconds; `None` lives as long as the jar.
    expires_ms: Option<u64>,
    /// The number of its making; a new value keeps it (section 5.3, step 11.3).
    made: u64,
}

impl Jar {
    /// Takes one Set-Cookie line of a response to `request_path` (a query is ignored). `secure`: it
    /// came over TLS. What is malformed, too large or not allowed is dropped.
    pub(crate) fn store(
        &mut self,
        set_cookie: &[u8],
        request_path: &str,
        secure: bool,
        wall_ms: u64,
    ) {
        let Some(line) = Line::parse(set_cookie) else {
            return;
        };
        let path = match line.path {
            Some(path) if path.starts_with('/') => path,
            Some(_) | None => default_path(request_path),
        };
        let size = line.name.len() + line.value.len() + path.len();
        if size > COOKIE_MAX_BYTES || !line.may_be_set(secure) {
            return;
        }
        let expires_ms = line.expires_ms(wall_ms);
        let same = |cookie: &Cookie| *cookie.name == *line.name && *cookie.path == *path;
        let before = self.cookies.iter().position(same);
        let before = before.map(|at| self.cookies.remove(at).made);
        if expires_ms.is_some_and(|expires_ms| expires_ms <= wall_ms) {
            return;
        }
        if self.cookies.len() >= COOKIES_MAX {
            self.drop_expired(wall_ms);
        }
        if self.cookies.len() >= COOKIES_MAX {
            self.cookies.remove(0);
        }
        self.made += 1;
        self.cookies.push(Cookie {
            name: line.name.into(),
            value: line.value.into(),
            path: path.into(),
            secure: line.secure,
            expires_ms,
            made: before.unwrap_or(self.made),
        });
    }

    /// The value of the Cookie header for a request to `path` (a query is ignored), if there is any
    /// cookie for it. Those that are sent count as used now.
    pub(crate) fn header(&mut self, path: &str, secure: bool, wall_ms: u64) -> Option<String> {
        self.drop_expired(wall_ms);
        let path = without_query(path);
        let fits = |cookie: &Cookie| (secure || !cookie.secure) && path_matches(path, &cookie.path);
        let (others, mut sent): (Vec<Cookie>, Vec<Cookie>) = std::mem::take(&mut self.cookies)
            .into_iter()
            .partition(|cookie| !fits(cookie));
        self.cookies = others;
        let pair = |cookie: &Cookie| cookie.name.len() + "=".len() + cookie.value.len();
        let mut length: usize = sent.iter().map(|cookie| pair(cookie) + "; ".len()).sum();
        let mut unsent = 0;
        while length > HEADER_MAX_BYTES + "; ".len() {
            length -= pair(&sent[unsent]) + "; ".len();
            unsent += 1;
        }
        self.cookies.extend(sent.drain(..unsent));
        self.cookies.extend(sent.iter().cloned());
        // "Cookies with longer paths are listed before cookies with shorter paths. Among cookies
        // that have equal-length path fields, cookies with earlier creation-times are listed before
        // cookies with later creation-times" (section 5.4).
        sent.sort_by_key(|cookie| (std::cmp::Reverse(cookie.path.len()), cookie.made));
        let pairs: Vec<String> = sent
            .iter()
            .map(|cookie| [&*cookie.name, "=", &*cookie.value].concat())
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The values, without the quotes around them: they are to be masked wherever text is shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.cookies
            .iter()
            .map(|cookie| cookie.value.trim_matches('"'))
    }

    /// Forgets all: the token has changed, and with it who is asking.
    pub(crate) fn clear(&mut self) {
        self.cookies.clear();
    }

    fn drop_expired(&mut self, wall_ms: u64) {
        self.cookies
            .retain(|cookie| cookie.expires_ms.is_none_or(|at_ms| at_ms > wall_ms));
    }
}

/// The values are secrets: only how many there are is shown.
impl fmt::Debug for Jar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Jar({} cookies)", self.cookies.len())
    }
}

/// A Set-Cookie line, taken apart by section 5.2.
#[derive(Default)]
struct Line<'a> {
    name: &'a str,
    value: &'a str,
    secure: bool,
    /// A Domain attribute that is not empty.
    domain: bool,
    path: Option<&'a str>,
    max_age: Option<MaxAge>,
    /// Unix seconds.
    expires_s: Option<u64>,
}

#[derive(Clone, Copy)]
enum MaxAge {
    /// Zero or less: it has expired.
    Past,
    Seconds(u64),
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        // RFC 6265bis: a control byte other than a tab makes it no cookie. A tab in name or value
        // would come back in a header, where receivers disagree about it.
        let control = |byte: &u8| matches!(byte, 0..=8 | 10..=31 | 127);
        if line.len() > LINE_MAX_BYTES || line.iter().any(control) {
            return None;
        }
        let mut parts = std::str::from_utf8(line).ok()?.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (trim(name), trim(value));
        if name.is_empty() || name.contains('\t') || value.contains('\t') {
            return None;
        }
        let mut line = Line {
            name,
            value,
            ..Line::default()
        };
        for part in parts {
            let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
            line.take(trim(attribute), trim(value));
        }
        Some(line)
    }

    /// The last attribute of a name counts; one whose value is malformed is as good as absent.
    fn take(&mut self, attribute: &str, value: &'a str) {
        let is = |known: &str| attribute.eq_ignore_ascii_case(known);
        if is("secure") {
            self.secure = true;
        } else if is("domain") {
            self.domain |= !value.is_empty();
        } else if is("path") {
            self.path = Some(value);
        } else if is("max-age") {
            self.max_age = max_age(value).or(self.max_age);
        } else if is("expires") {
            self.expires_s = parse_cookie_date(value.as_bytes()).or(self.expires_s);
        }
    }

    /// Secure only over TLS, and the promises of the two prefixes (RFC 6265bis section 4.1.3).
    fn may_be_set(&self, over_tls: bool) -> bool {
        let starts = |prefix: &str| {
            self.name
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let secure = self.secure && over_tls;
        if starts("__Host-") {
            return secure && !self.domain && self.path == Some("/");
        }
        if starts("__Secure-") {
            return secure;
        }
        over_tls || !self.secure
    }

    /// "If a cookie has both the Max-Age and the Expires attribute, the Max-Age attribute has
    /// precedence" (section 4.1.2.2).
    fn expires_ms(&self, wall_ms: u64) -> Option<u64> {
        match (self.max_age, self.expires_s) {
            (Some(MaxAge::Past), _) => Some(0),
            (Some(MaxAge::Seconds(seconds)), _) => {
                Some(wall_ms.saturating_add(seconds.saturating_mul(1_000)))
            }
            (None, Some(at_s)) => Some(at_s.saturating_mul(1_000)),
            (None, None) => None,
        }
    }
}

/// Section 5.2.2: digits, perhaps with "-" before them.
fn max_age(value: &str) -> Option<MaxAge> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse().unwrap_or(u64::MAX);
    if seconds == 0 || digits.len() < value.len() {
        return Some(MaxAge::Past);
    }
    Some(MaxAge::Seconds(seconds))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn without_query(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

/// Section 5.1.4: the directory of the request's path.
fn default_path(request_path: &str) -> &str {
    let path = without_query(request_path);
    match path.rfind('/') {
        Some(at) if at > 0 && path.starts_with('/') => &path[..at],
        Some(_) | None => "/",
    }
}

/// Section 5.1.4: the same path, or one below it.
fn path_matches(request_path: &str, cookie_path: &str) -> bool {
    let request_path = if request_path.is_empty() {
        "/"
    } else {
        request_path
    };
    request_path.strip_prefix(cookie_path).is_some_and(|below| {
        below.is_empty() || cookie_path.ends_with('/') || below.starts_with('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::SplitMix;

    /// 2026-08-22T12:34:56Z
    const NOW: u64 = 1_787_402_096_000;

    fn after(lines: &[&str]) -> Jar {
        let mut jar = Jar::default();
        for line in lines {
            jar.store(line.as_bytes(), "/ws/a", true, NOW);
        }
        jar
    }

    /// What a request to `/ws/a` carries after these lines, over TLS.
    fn check(lines: &[&str], expect: &str) {
        let header = after(lines).header("/ws/a", true, NOW).unwrap_or_default();
        assert_eq!(header, expect, "{lines:?}");
    }

    #[test]
    fn takes_names_and_values() {
        check(&["a=1"], "a=1");
        check(&["a=1; Path=/; HttpOnly; SameSite=Lax; Partitioned"], "a=1");
        check(&[" a \t=\t 1 ; Path=/"], "a=1");
        check(&["a=b=c"], "a=b=c");
        check(&["a="], "a=");
        check(&["a=\"1 2\""], "a=\"1 2\"");
        check(&["å=ä"], "å=ä");
        check(&["A=1", "a=2"], "A=1; a=2");
        for bad in ["", "a", ";", "=1", " =1", "; a=1", "a;=1", "\t=1"] {
            check(&[bad], "");
        }
        let mut jar = Jar::default();
        jar.store(b"a=\xff", "/", true, NOW);
        assert_eq!(jar.header("/", true, NOW), None);
    }

    #[test]
    fn refuses_control_bytes() {
        for control in (0..32).chain([127_u8]).map(char::from) {
            check(&[&format!("a=1{control}2; Path=/")], "");
            check(&[&format!("a{control}b=1; Path=/")], "");
            let in_attribute = format!("a=1; X={control}y; Path=/");
            check(&[&in_attribute], if control == '\t' { "a=1" } else { "" });
        }
    }

    #[test]
    fn a_new_value_replaces_the_old_in_its_place() {
        check(&["a=1", "b=1", "a=2"], "a=2; b=1");
        check(&["a=1; Path=/", "a=2; Path=/ws"], "a=2; a=1");
        check(&["a=1", "b=1", "a=; Max-Age=0", "a=3"], "b=1; a=3");
    }

    #[test]
    fn paths() {
        fn check(line: &str, set_at: &str, asked: &str, expect: bool) {
            let mut jar = Jar::default();
            jar.store(line.as_bytes(), set_at, false, NOW);
            let got = jar.header(asked, false, NOW).is_some();
            assert_eq!(got, expect, "{line} at {set_at} for {asked}");
        }
        check("a=1; Path=/", "/x/y", "/mcp", true);
        check("a=1; Path=/other", "/mcp", "/mcp", false);
        check("a=1; Path=/ws", "/", "/ws", true);
        check("a=1; Path=/ws", "/", "/ws/", true);
        check("a=1; Path=/ws", "/", "/ws/a?b=/", true);
        check("a=1; Path=/ws", "/", "/wsa", false);
        check("a=1; Path=/ws", "/", "/WS", false);
        check("a=1; Path=/ws", "/", "/?/ws", false);
        check("a=1; Path=/ws/", "/", "/ws/a", true);
        check("a=1; Path=/ws/", "/", "/ws", false);
        check("a=1; Path=/", "/", "", true);
        // The last one counts, and "/" is not assumed where it is no path.
        check("a=1; Path=/x; Path=/ws", "/", "/ws", true);
        check("a=1; Path=/ws; Path=", "/x/y", "/ws", false);
        check("a=1; Path=ws", "/x/y", "/x/z", true);
        // The default path.
        check("a=1", "/ws/a/b", "/ws/a", true);
        check("a=1", "/ws/a/b?c=/d/e", "/ws/a/x", true);
        check("a=1", "/ws/a/b", "/ws", false);
        check("a=1", "/ws/a/", "/ws/a", true);
        check("a=1", "/ws", "/other", true);
        check("a=1", "/", "/other", true);
        check("a=1", "", "/other", true);
        check("a=1", "ws/a", "/other", true);
    }

    #[test]
    fn longer_paths_come_first_then_the_older() {
        check(
            &[
                "a=1; Path=/",
                "b=1; Path=/ws",
                "c=1; Path=/ws/a",
                "d=1; Path=/ws",
            ],
            "c=1; b=1; d=1; a=1",
        );
    }

    #[test]
    fn secure_ones_stay_within_tls() {
        fn check(line: &str, over_tls: bool, expect: bool) {
            let mut jar = Jar::default();
            jar.store(line.as_bytes(), "/", over_tls, NOW);
            assert_eq!(jar.header("/", over_tls, NOW).is_some(), expect, "{line}");
        }
        check("a=1; Secure", true, true);
        check("a=1; SECURE=no", false, false);
        check("__Secure-a=1; Secure", true, true);
        check("__Secure-a=1", true, false);
        check("__secure-a=1", true, false);
        check("__Secure-a=1; Secure", false, false);
        check("__Host-a=1; Secure; Path=/", true, true);
        check("__Host-a=1; Secure; Path=/; Domain=", true, true);
        check(
            "__Host-a=1; Secure; Path=/; Domain=example.com",
            true,
            false,
        );
        check("__Host-a=1; Secure; Path=/ws", true, false);
        check("__Host-a=1; Secure", true, false);
        check("__host-a=1; Path=/", true, false);
        check("__Host-a=1; Secure; Path=/", false, false);
        check("__Hosta=1", false, true);
        let mut jar = after(&["a=1; Secure; Path=/"]);
        assert_eq!(jar.header("/", false, NOW), None);
        assert_eq!(jar.header("/", true, NOW), Some("a=1".to_owned()));
    }

    #[test]
    fn domain_is_ignored() {
        check(&["a=1; Domain=other.example"], "a=1");
        check(&["a=1; Domain=.com"], "a=1");
    }

    #[test]
    fn cookies_end() {
        fn check(attributes: &str, lives_ms: Option<u64>) {
            let mut jar = after(&["a=0; Path=/"]);
            let line = ["a=1; Path=/; ", attributes].concat();
            jar.store(line.as_bytes(), "/", true, NOW);
            let at = |wall_ms: u64| jar.clone().header("/", true, wall_ms);
            match lives_ms {
                Some(0) => assert_eq!(at(NOW), None, "{attributes}"),
                Some(lives_ms) => {
                    let last = at(NOW + lives_ms - 1);
                    assert_eq!(last, Some("a=1".to_owned()), "{attributes}");
                    assert_eq!(at(NOW + lives_ms), None, "{attributes}");
                }
                None => assert!(at(u64::MAX).is_some(), "{attributes}"),
            }
        }
        check("", None);
        check("Max-Age=2", Some(2_000));
        check("max-age = 2 ", Some(2_000));
        check("Max-Age=0", Some(0));
        check("Max-Age=-0", Some(0));
        check("Max-Age=-5", Some(0));
        check("Max-Age=-99999999999999999999999", Some(0));
        check("Max-Age=5; Max-Age=2", Some(2_000));
        check("Max-Age=5; Max-Age=x", Some(5_000));
        for bad in [
            "Max-Age",
            "Max-Age=",
            "Max-Age=-",
            "Max-Age=+5",
            "Max-Age=5s",
            "Max-Age=1.5",
        ] {
            check(bad, None);
        }
        check("Expires=Sat, 22 Aug 2026 12:35:06 GMT", Some(10_000));
        check("Expires=Sat, 22 Aug 2026 12:34:56 GMT", Some(0));
        check("Expires=Thu, 01-Jan-1970 00:00:01 GMT", Some(0));
        check("Expires=Thu, 01 Jan 1930 00:00:00 GMT", Some(0));
        check("Expires=tomorrow", None);
        check("Expires=0", None);
        // Max-Age wins, wherever it stands.
        check(
            "Max-Age=3; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            Some(3_000),
        );
        check("Expires=Thu, 01 Jan 2037 00:00:00 GMT; Max-Age=0", Some(0));
        // A time that no clock reaches.
        let mut jar = after(&["a=1; Max-Age=99999999999999999999; Path=/"]);
        assert!(jar.header("/", true, u64::MAX - 1).is_some());
    }

    #[test]
    fn the_least_recently_used_of_too_many_goes() {
        let mut jar = Jar::default();
        for n in 0..COOKIES_MAX {
            jar.store(format!("c{n}=1; Path=/{n}").as_bytes(), "/", true, NOW);
        }
        assert!(jar.header("/0", true, NOW).is_some());
        jar.store(b"c1=2; Path=/1", "/", true, NOW);
        jar.store(b"new=1; Path=/new", "/", true, NOW);
        let has = |jar: &Jar, path: &str| jar.clone().header(path, true, NOW).is_some();
        assert_eq!(jar.cookies.len(), COOKIES_MAX);
        assert_eq!(
            [
                has(&jar, "/0"),
                has(&jar, "/1"),
                has(&jar, "/2"),
                has(&jar, "/3")
            ],
            [true, true, false, true]
        );
        // What has expired goes before what is in use.
        jar.store(b"c49=1; Path=/49; Max-Age=1", "/", true, NOW);
        jar.store(b"newer=1; Path=/newer", "/", true, NOW + 1_000);
        assert_eq!([has(&jar, "/3"), has(&jar, "/49")], [true, false]);
        assert!(jar.header("/newer", true, NOW).is_some());
    }

    #[test]
    fn large_cookies_are_dropped() {
        let kept = |value: usize| {
            let line = ["a=", &"x".repeat(value), "; Path=/ws"].concat();
            after(&[&line]).cookies.len()
        };
        assert_eq!(kept(COOKIE_MAX_BYTES - "a".len() - "/ws".len()), 1);
        assert_eq!(kept(COOKIE_MAX_BYTES - "a".len() - "/ws".len() + 1), 0);
        let line = |total: usize| {
            let start = "a=1; Path=/; X=";
            [start, &"x".repeat(total - start.len())].concat()
        };
        check(&[&line(LINE_MAX_BYTES)], "a=1");
        check(&[&line(LINE_MAX_BYTES + 1)], "");
        // One that is too large replaces nothing.
        check(
            &["a=1", &["a=", &"x".repeat(COOKIE_MAX_BYTES)].concat()],
            "a=1",
        );
    }

    #[test]
    fn a_header_holds_the_most_recently_used() {
        let mut jar = Jar::default();
        let value = "x".repeat(HEADER_MAX_BYTES / 4 - "a=".len() - "; ".len());
        for name in ["a", "b", "c", "d"] {
            jar.store(format!("{name}={value}").as_bytes(), "/", true, NOW);
        }
        let names = |jar: &mut Jar| {
            let header = jar.header("/", true, NOW).unwrap_or_default();
            assert!(header.len() <= HEADER_MAX_BYTES);
            header
                .split("; ")
                .map(|pair| pair[..1].to_owned())
                .collect::<String>()
        };
        assert_eq!(names(&mut jar), "abcd");
        jar.store(b"e=1", "/", true, NOW);
        assert_eq!(names(&mut jar), "bcde");
        jar.store(format!("a={value}").as_bytes(), "/", true, NOW);
        assert_eq!(names(&mut jar), "acde");
        // Two have to stay behind.
        for name in ["b", "f"] {
            jar.store(format!("{name}={value}").as_bytes(), "/", true, NOW);
        }
        assert_eq!(names(&mut jar), "abef");
        // Exactly the limit.
        let mut jar = Jar::default();
        let quarter = "x".repeat(HEADER_MAX_BYTES / 4 - "a=".len());
        for (name, cut) in [("a", 0), ("b", 2), ("c", 2), ("d", 2)] {
            let line = format!("{name}={}", &quarter[cut..]);
            jar.store(line.as_bytes(), "/", true, NOW);
        }
        let header = jar.header("/", true, NOW).unwrap_or_default();
        assert_eq!(header.len(), HEADER_MAX_BYTES);
    }

    #[test]
    fn secrets_are_listed_and_never_shown() {
        let mut jar = after(&["a=secret-1", "b=\"secret-2\""]);
        assert_eq!(jar.secrets().collect::<Vec<_>>(), ["secret-1", "secret-2"]);
        assert_eq!(format!("{jar:?}"), "Jar(2 cookies)");
        jar.clear();
        assert_eq!(jar.secrets().count(), 0);
        assert_eq!(jar.header("/ws/a", true, NOW), None);
    }

    /// Any bytes: no panic, no limit passed, and what is sent can stand in a header.
    #[test]
    fn any_bytes() {
        use crate::proto::http::request::is_header_value;
        let mut random = SplitMix(11);
        let mut jar = Jar::default();
        for round in 0..5_000 {
            let len = random.below(40);
            let mut line = random.bytes(len, b"ab=;/ 1-");
            let attribute: &[u8] = match random.below(5) {
                0 => b"; Max-Age=",
                1 => b"; Expires=Sat, 22 Aug 2026 1",
                2 => b"; Path=/",
                3 => b"; Secure",
                _ => b"",
            };
            line.extend_from_slice(attribute);
            let len = random.below(6);
            line.extend_from_slice(&random.bytes(len, b"0123456789"));
            jar.store(&line, "/ws/a", random.below(2) == 0, NOW + round);
            if let Some(header) = jar.header("/ws/a?b", true, NOW + round) {
                assert!(is_header_value(header.as_bytes()), "{header:?}");
                assert!(header.len() <= HEADER_MAX_BYTES);
            }
            assert!(jar.cookies.len() <= COOKIES_MAX);
        }
    }
}
