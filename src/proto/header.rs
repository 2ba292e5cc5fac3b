//! What may stand in a header: tokens, and MCP's encoding of values that HTTP would mangle.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// A value for Mcp-Name and Mcp-Param-* (MCP 2026-07-28, Streamable HTTP, "Value Encoding"): as it
/// is where it is visible ASCII with blanks only inside; otherwise, or where it looks like the
/// sentinel itself, `=?base64?` + padded standard Base64 of its UTF-8 + `?=`.
pub(crate) fn encode_value(value: &str) -> Cow<'_, str> {
    let blank_edge = value.starts_with(' ') || value.ends_with(' ');
    let plain = value.bytes().all(|b| matches!(b, b' '..=b'~'));
    let sentinel = value.starts_with(OPEN) && value.ends_with(CLOSE);
    if plain && !blank_edge && !sentinel {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(OPEN.len() + value.len().div_ceil(3) * 4 + CLOSE.len());
    out.push_str(OPEN);
    STANDARD.encode_string(value, &mut out);
    out.push_str(CLOSE);
    Cow::Owned(out)
}

/// Whether the text is a token, such as a header's name (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::request::is_header_value;
    use crate::proto::testing::SplitMix;

    #[test]
    fn encodes_values() {
        fn check(value: &str, expect: &str) {
            assert_eq!(encode_value(value), expect, "{value:?}");
        }
        check("", "");
        check("github__create_issue", "github__create_issue");
        check("two words, (some) ~marks", "two words, (some) ~marks");
        check("file:///a?b=c", "file:///a?b=c");
        check("å", "=?base64?w6U=?=");
        check("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?=");
        check(" a", "=?base64?IGE=?=");
        check("a ", "=?base64?YSA=?=");
        check(" ", "=?base64?IA==?=");
        check("a\tb", "=?base64?YQli?=");
        check("a\r\nb", "=?base64?YQ0KYg==?=");
        check("\0", "=?base64?AA==?=");
        check("\x7f", "=?base64?fw==?=");
        check("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=");
        check("=?base64?=", "=?base64?PT9iYXNlNjQ/PQ==?=");
        check("=?base64?x", "=?base64?x");
        check("=?BASE64?x?=", "=?BASE64?x?=");
        check("x?=", "x?=");
    }

    #[test]
    fn survives_the_trip() {
        let mut random = SplitMix(5);
        for _ in 0..5_000 {
            let len = random.below(20);
            let bytes = random.bytes(len, "=?base64 \tå".as_bytes());
            let value = String::from_utf8_lossy(&bytes);
            let encoded = encode_value(&value);
            assert!(is_header_value(encoded.as_bytes()));
            let inner = encoded
                .strip_prefix(OPEN)
                .and_then(|v| v.strip_suffix(CLOSE));
            let decoded = match inner {
                Some(inner) => STANDARD.decode(inner).expect("our own Base64"),
                None => encoded.as_bytes().to_vec(),
            };
            assert_eq!(decoded, value.as_bytes());
        }
    }

    #[test]
    fn knows_tokens() {
        for good in ["a", "Mcp-Name", "x_1!#$%&'*+.^`|~"] {
            assert!(is_token(good), "{good}");
        }
        for bad in [
            "", " ", "a b", "a:", "a(b)", "å", "a\r\n", "\"a\"", "a/b", "\0", "a,b", "{}",
        ] {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
