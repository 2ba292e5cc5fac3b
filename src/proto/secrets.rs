//! Secrets are hidden wherever text of the network is shown.
//!
//! Servers and proxies repeat what they were sent: "token mwt_… is not valid" is an everyday
//! answer. Such words end up before people, in logs and before models. This module knows the
//! secrets and takes them out, however they are spelt: as they are, percent-encoded (also twice),
//! escaped as in JSON (also twice), in another case. Text has to pass through here BEFORE it is cut:
//! half a token is no longer recognised, and is still half a token.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands in a secret's place.
const HIDDEN: &str = "***";
/// Shorter values are no secrets: hiding every "admin" would hide what went wrong, too.
const SECRET_MIN_BYTES: usize = 8;
/// Escapes within escapes that are resolved: text in JSON in JSON, URLs in URLs.
const ESCAPES_DEEP_MAX: usize = 6;
/// How many secrets of each kind that came up while the process runs are remembered (session ids and
/// tokens read anew; cookies); the oldest are forgotten first.
const LEARNT_MAX: usize = 128;

/// The values that nobody may see.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Those of the settings.
    given: Vec<Needle>,
    learnt: VecDeque<Needle>,
    /// Apart: balancers that set another cookie with every response must not wash a token out.
    cookies: VecDeque<Needle>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Secrets({})",
            self.given.len() + self.learnt.len() + self.cookies.len()
        )
    }
}

impl Secrets {
    /// The secrets of the settings; those below eight bytes do not count.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Secrets {
        let mut given = Vec::new();
        for value in values {
            given.extend(Needle::of(value));
            credentials(value, |part| given.extend(Needle::of(part)));
        }
        Secrets {
            given,
            learnt: VecDeque::new(),
            cookies: VecDeque::new(),
        }
    }

    /// A secret that came up later.
    pub fn learn(&mut self, value: &str) {
        remember(&mut self.learnt, value);
    }

    /// The same for the value of a cookie.
    pub fn learn_cookie(&mut self, value: &str) {
        remember(&mut self.cookies, value);
    }

    /// The text without secrets. A secret whose first eight bytes or more stand at the very end
    /// counts as well: the text may have been cut already. Takes time linear in the text.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let needles = || self.given.iter().chain(&self.learnt).chain(&self.cookies);
        if text.len() < SECRET_MIN_BYTES || needles().next().is_none() {
            return Cow::Borrowed(text);
        }
        let hay = Spelt::out(text);
        let mut found: Vec<(usize, usize)> = Vec::new();
        needles().for_each(|needle| needle.find(&hay, &mut found));
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_unstable();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in found {
            if start >= at {
                out.push_str(&text[at..start]);
                out.push_str(HIDDEN);
            }
            at = at.max(end);
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }

    /// The same for bytes, which stay as they are where they are no UTF-8 text.
    pub fn hide_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        match std::str::from_utf8(&bytes).map(|text| self.hide(text)) {
            Ok(Cow::Owned(text)) => text.into_bytes(),
            Ok(Cow::Borrowed(_)) | Err(_) => bytes,
        }
    }

    /// The same for a text that may be absent.
    pub fn hide_in(&self, text: &mut Option<String>) {
        if let Some(text) = text
            && let Cow::Owned(hidden) = self.hide(text)
        {
            *text = hidden;
        }
    }
}

fn remember(known: &mut VecDeque<Needle>, value: &str) {
    let Some(needle) = Needle::of(value) else {
        return;
    };
    known.retain(|known| *known != needle);
    known.push_back(needle);
    if known.len() > LEARNT_MAX {
        known.pop_front();
    }
}

/// What a header's value holds behind its scheme (`Bearer …`), and the password in `Basic …`.
fn credentials(value: &str, mut part: impl FnMut(&str)) {
    let Some((scheme, rest)) = value.split_once(' ') else {
        return;
    };
    part(rest);
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) = STANDARD.decode(rest)
        && let Ok(pair) = String::from_utf8(pair)
        && let Some((_, password)) = pair.split_once(':')
    {
        part(password);
    }
}

/// A secret as it is looked for (Knuth, Morris and Pratt: no repetition makes it slow).
#[derive(Clone, PartialEq, Eq)]
struct Needle {
    bytes: Box<[u8]>,
    /// Per byte: how much of the beginning still fits if the next byte does not.
    falls: Box<[usize]>,
}

impl Needle {
    fn of(value: &str) -> Option<Needle> {
        let value = value.trim();
        if value.len() < SECRET_MIN_BYTES {
            return None;
        }
        let bytes = Spelt::out(value).bytes;
        let mut falls = vec![0; bytes.len()];
        let mut matched = 0;
        for at in 1..bytes.len() {
            while matched > 0 && bytes[at] != bytes[matched] {
                matched = falls[matched - 1];
            }
            matched += usize::from(bytes[at] == bytes[matched]);
            falls[at] = matched;
        }
        Some(Needle {
            bytes: bytes.into(),
            falls: falls.into(),
        })
    }

    fn find(&self, hay: &Spelt, found: &mut Vec<(usize, usize)>) {
        let mut matched = 0;
        for (at, byte) in hay.bytes.iter().enumerate() {
            while matched > 0 && self.bytes[matched] != *byte {
                matched = self.falls[matched - 1];
            }
            matched += usize::from(self.bytes[matched] == *byte);
            if matched == self.bytes.len() {
                found.push((hay.starts[at + 1 - matched], hay.starts[at + 1]));
                matched = 0;
            }
        }
        if matched >= SECRET_MIN_BYTES {
            let len = hay.bytes.len();
            found.push((hay.starts[len - matched], hay.starts[len]));
        }
    }
}

/// A text with its escapes resolved and in lower case, and where each byte came from. What looks
/// like an escape in a secret itself is resolved in the same way, so both stay comparable.
struct Spelt {
    bytes: Vec<u8>,
    /// Where in the text each byte begins; one more: the text's end.
    starts: Vec<usize>,
}

impl Spelt {
    fn out(text: &str) -> Spelt {
        let mut spelt = Spelt {
            bytes: text.as_bytes().to_ascii_lowercase(),
            starts: (0..=text.len()).collect(),
        };
        for _ in 0..ESCAPES_DEEP_MAX {
            let before = spelt.bytes.len();
            spelt = spelt.resolved();
            if spelt.bytes.len() == before {
                break;
            }
        }
        spelt
    }

    /// One level of escapes less; each makes the text shorter.
    fn resolved(&self) -> Spelt {
        let mut out = Spelt {
            bytes: Vec::with_capacity(self.bytes.len()),
            starts: Vec::with_capacity(self.starts.len()),
        };
        let mut rest = &self.bytes[..];
        while let [first, ..] = rest {
            let start = self.starts[self.bytes.len() - rest.len()];
            let mut buffer = [*first, 0, 0, 0];
            let (bytes, len) = unescape(rest, &mut buffer);
            for byte in bytes {
                out.bytes.push(byte.to_ascii_lowercase());
                out.starts.push(start);
            }
            rest = &rest[len..];
        }
        out.starts.extend(self.starts.last());
        out
    }
}

/// The first character of a text: what it means, and how many bytes it takes. `%41`, `\u0041` and
/// `\/` mean one, everything else means itself.
fn unescape<'a>(text: &[u8], buffer: &'a mut [u8; 4]) -> (&'a [u8], usize) {
    let (c, len) = match text {
        [b'%', high, low, ..] => match hex(&[*high, *low]) {
            Some(value) => {
                buffer[0] = value as u8;
                return (&buffer[..1], 3);
            }
            None => ('%', 1),
        },
        [b'\\', b'u', digits @ ..] => {
            match digits.get(..4).and_then(hex).and_then(char::from_u32) {
                Some(c) => (c, 6),
                None => ('\\', 1),
            }
        }
        [b'\\', c @ (b'"' | b'/' | b'\\'), ..] => (char::from(*c), 2),
        // A byte of a longer character stays what it is.
        _ => return (&buffer[..1], 1),
    };
    (c.encode_utf8(buffer).as_bytes(), len)
}

fn hex(digits: &[u8]) -> Option<u32> {
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    digits
        .iter()
        .try_fold(0, |sum, digit| Some(sum << 4 | value(digit)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::SplitMix;

    const TOKEN: &str = "mwt_A+b/c=\"d%e\\f";

    fn check(secret: &str, text: &str, expect: &str) {
        assert_eq!(Secrets::new([secret]).hide(text), expect, "{text}");
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_spelt() {
        let percent: String = TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let twice = percent.replace('%', "%25");
        let json = TOKEN
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('/', "\\/");
        let nested = json.replace('\\', "\\\\");
        let unicode: String = TOKEN.bytes().map(|byte| format!("\\u{byte:04X}")).collect();
        let mixed = TOKEN.replace('_', "%5F").replace('A', "\\u0041");
        let upper = TOKEN.to_ascii_uppercase();
        for form in [
            TOKEN, &percent, &twice, &json, &nested, &unicode, &mixed, &upper,
        ] {
            check(TOKEN, form, "***");
            check(
                TOKEN,
                &format!("token {form} is not valid"),
                "token *** is not valid",
            );
            check(TOKEN, &format!("å{form}{form}å"), "å******å");
        }
        let header = "Schlüssel 1234";
        check(header, "x Schl\\u00fcssel%201234 y", "x *** y");
        check(header, "x Schl%C3%BCssel 1234 y", "x *** y");
    }

    #[test]
    fn what_is_no_secret_stays_byte_for_byte() {
        for text in [
            "",
            "mwt_",
            "mwt_A+b/c=",
            "100 % \\u00 \\ud800 %zz %",
            "\\\\n \\t \\\"",
            "å%C3",
        ] {
            check("mwt_SECRET0123", text, text);
        }
        // Below eight bytes a value is a word like others.
        check("seven77", "seven77", "seven77");
        check("eight888", "is eight888!", "is ***!");
        assert_eq!(Secrets::default().hide("mwt_SECRET0123"), "mwt_SECRET0123");
    }

    #[test]
    fn a_text_that_was_cut_within_a_secret_ends_before_it() {
        let token = "mwt_SECRETTOKEN0123456789";
        for cut in 0..token.len() {
            let text = format!("token {}", &token[..cut]);
            let expect = if cut < 8 { text.as_str() } else { "token ***" };
            check(token, &text, expect);
        }
    }

    #[test]
    fn credentials_are_hidden_without_their_scheme_too() {
        // dXNlcjpodW50ZXIyMjI= is user:hunter222
        let secrets = Secrets::new(["Basic dXNlcjpodW50ZXIyMjI=", "Bearer abcdefgh"]);
        let shown = secrets.hide("a dXNlcjpodW50ZXIyMjI= b hunter222 c abcdefgh d user");
        assert_eq!(shown, "a *** b *** c *** d user");
    }

    #[test]
    fn secrets_overlap_and_repeat() {
        let secrets = Secrets::new(["aaaaaaaab", "aaaabcdef", "cdefghij"]);
        assert_eq!(secrets.hide("xaaaaaaaabcdefghijx"), "x***x");
        assert_eq!(secrets.hide("aaaaaaaaaab"), "aa***");
        check("abababab", "abababababababab", "******");
    }

    #[test]
    fn what_came_up_later_is_hidden_too_and_the_oldest_is_forgotten() {
        let mut secrets = Secrets::new(["given-secret"]);
        (0..=LEARNT_MAX).for_each(|n| secrets.learn(&format!("learnt-{n:03}")));
        secrets.learn("short");
        let shown = secrets.hide("given-secret learnt-000 learnt-001 learnt-128 short");
        assert_eq!(shown, "*** learnt-000 *** *** short");
        assert_eq!(format!("{secrets:?}"), "Secrets(129)");
    }

    /// Whatever surrounds it and however it is spelt, nothing of a secret is left.
    #[test]
    fn any_spelling_at_any_place() {
        let mut random = SplitMix(7);
        for _ in 0..2_000 {
            let len = 8 + random.below(12);
            let mut pick = || char::from(b"abAB01_+/=%\\\""[random.below(13)]);
            let secret: String = (0..len).map(|_| pick()).collect();
            let spelt: String = secret
                .chars()
                .map(|c| match random.below(4) {
                    0 => format!("%{:02X}", c as u32),
                    1 => format!("\\u{:04x}", c as u32),
                    _ if matches!(c, '%' | '\\') => format!("%{:02x}", c as u32),
                    _ => c.to_string(),
                })
                .collect();
            let text = format!("<{spelt}>");
            check(&secret, &text, "<***>");
        }
    }
}
