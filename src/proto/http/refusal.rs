//! What stands in a refusal beside its status: why the token is not enough, and whether the server
//! that was meant has answered at all.
//!
//! Owns the marks of front ends and of other transports; it must never say what is done about them.

use super::response::ResponseHead;
use crate::proto::header::is_token;

/// As much of a page as is searched for marks.
const LOOK_BYTES: usize = 16 << 10;

/// What a WWW-Authenticate says about the token (RFC 6750 section 3).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Challenge {
    /// `error`: invalid_token, insufficient_scope, invalid_request.
    pub error: Option<String>,
    /// `error_description`, for people.
    pub description: Option<String>,
    /// `scope`: what the token lacks, blanks between.
    pub scope: Option<String>,
}

impl Challenge {
    /// Reads a WWW-Authenticate of one or more challenges: of each parameter the first that is
    /// there. Malformed text ends the reading.
    pub(crate) fn parse(value: &str) -> Challenge {
        let mut challenge = Challenge::default();
        let mut rest = value;
        while let Some((name, value)) = parameter(&mut rest) {
            let known = match () {
                () if name.eq_ignore_ascii_case("error") => &mut challenge.error,
                () if name.eq_ignore_ascii_case("error_description") => &mut challenge.description,
                () if name.eq_ignore_ascii_case("scope") => &mut challenge.scope,
                () => continue,
            };
            if known.is_none() && !value.is_empty() {
                *known = Some(value);
            }
        }
        challenge
    }
}

/// The next `name=value` (RFC 9110 section 11.2); schemes and what belongs to them alone are passed
/// over.
fn parameter<'a>(rest: &mut &'a str) -> Option<(&'a str, String)> {
    loop {
        *rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if !is_token(name) {
            return None;
        }
        // "BWS": blanks around the equals sign were allowed once.
        let Some(value) = behind.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            *rest = behind;
            continue;
        };
        let value = value.trim_start_matches([' ', '\t']);
        let Some(quoted) = value.strip_prefix('"') else {
            let end = value.find([' ', '\t', ',']).unwrap_or(value.len());
            *rest = &value[end..];
            return Some((name, value[..end].to_owned()));
        };
        let (value, behind) = quoted_string(quoted)?;
        *rest = behind;
        return Some((name, value));
    }
}

/// What stands before the closing quote, without the backslashes, and what follows it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// Marks in the HTML of pages that want a browser, and whose they are.
const CHALLENGE_PAGES: &[(&str, &str)] = &[
    ("challenge-platform", "Cloudflare"),
    ("cf-chl-", "Cloudflare"),
    ("cf_chl_", "Cloudflare"),
    ("<title>just a moment", "Cloudflare"),
    ("attention required! | cloudflare", "Cloudflare"),
    ("awswaf", "AWS WAF"),
    ("captcha-delivery.com", "DataDome"),
    ("ddos-guard", "DDoS-Guard"),
    ("_incapsula_resource", "Imperva"),
    ("px-captcha", "HUMAN"),
    ("sucuri website firewall", "Sucuri"),
    ("vercel security checkpoint", "Vercel"),
    ("enable javascript and cookies to continue", "a front end"),
    ("checking your browser before", "a front end"),
    ("<title>checking your browser", "a front end"),
];

/// Whose bot protection answered instead of the server, if one did: a page that only a browser gets
/// past, in any status.
pub(crate) fn bot_protection(head: &ResponseHead, body: &[u8]) -> Option<&'static str> {
    if let Some(by) = head.bot_protection {
        return Some(by);
    }
    let page = String::from_utf8_lossy(&body[..body.len().min(LOOK_BYTES)]);
    let page = page.trim_start_matches('\u{feff}').trim_start();
    if !page.starts_with('<') {
        return None;
    }
    let page = page.to_ascii_lowercase();
    let found = CHALLENGE_PAGES.iter().find(|(mark, _)| page.contains(mark));
    found.map(|(_, by)| *by)
}

/// Whether a refused POST shows a server of the old HTTP+SSE transport (MCP 2024-11-05), which has no
/// POST at the URL of its event stream: 405, a 404 that says so, or any 404 at a URL that ends in
/// "/sse". `path`: that of the request, a query is ignored.
pub(crate) fn is_old_transport(status: u16, path: &str, body: &[u8]) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    match status {
        405 => true,
        404 => {
            let text = String::from_utf8_lossy(&body[..body.len().min(LOOK_BYTES)]);
            let text = text.to_ascii_lowercase();
            // Express; Fastify.
            text.contains("cannot post")
                || text.contains("route post:")
                || path.trim_end_matches('/').ends_with("/sse")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::SplitMix;

    #[test]
    fn reads_challenges() {
        fn check(value: &str, error: &str, description: &str, scope: &str) {
            let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let expect = Challenge {
                error: text(error),
                description: text(description),
                scope: text(scope),
            };
            assert_eq!(Challenge::parse(value), expect, "{value}");
        }
        check("", "", "", "");
        check("Bearer", "", "", "");
        check("Bearer realm=\"a, error=b\"", "", "", "");
        check(
            "Bearer realm=\"mcp\", error=\"invalid_token\", error_description=\"The token expired at 12:00\"",
            "invalid_token",
            "The token expired at 12:00",
            "",
        );
        check(
            "Bearer error=\"insufficient_scope\", scope=\"files:read files:write\", \
             resource_metadata=\"https://a.example/x?y=z\", error_description=\"More, please\"",
            "insufficient_scope",
            "More, please",
            "files:read files:write",
        );
        check(
            "bearer ERROR=invalid_token,Scope=a",
            "invalid_token",
            "",
            "a",
        );
        check("Bearer error = \"a\" , scope\t=\tb", "a", "", "b");
        check(
            "Bearer error=\"say \\\"no\\\" \\\\\"",
            "say \"no\" \\",
            "",
            "",
        );
        check(
            "Basic realm=\"x\", Bearer scope=\"a\", scope=\"b\"",
            "",
            "",
            "a",
        );
        check("Bearer scope=\"\", scope=\"b\"", "", "", "b");
        check("Negotiate YWJj==, Bearer error=\"a\"", "a", "", "");
        check("Bearer error=\"never closed", "", "", "");
        check("Bearer error=\"a\\", "", "", "");
        check("Bearer error=a, \"b\", scope=c", "a", "", "");
        check(
            "Bearer error_description=\"zu kurz: å\"",
            "",
            "zu kurz: å",
            "",
        );
    }

    #[test]
    fn any_text() {
        let mut random = SplitMix(13);
        for _ in 0..5_000 {
            let len = random.below(40);
            let bytes = random.bytes(len, b"Bearer scope=\"a\\\", \t\xc3\xa5");
            let _ = Challenge::parse(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn knows_bot_protections() {
        fn check(lines: &str, body: &str, expect: Option<&str>) {
            let head = ["HTTP/1.1 403 Forbidden\r\n", lines, "\r\n"].concat();
            let head = ResponseHead::parse(head.as_bytes()).expect("a head");
            assert_eq!(
                bot_protection(&head, body.as_bytes()),
                expect,
                "{lines}{body}"
            );
        }
        let page = |title: &str, text: &str| {
            format!(
                "<!DOCTYPE html><html><head><title>{title}</title></head><body>{text}</body></html>"
            )
        };
        let cloudflare = Some("Cloudflare");
        check("CF-Mitigated: challenge\r\n", "", cloudflare);
        check("cf-mitigated: Challenge\r\n", "{}", cloudflare);
        check("X-Amzn-Waf-Action: captcha\r\n", "", Some("AWS WAF"));
        check("X-Amzn-Waf-Action: challenge\r\n", "", Some("AWS WAF"));
        check("CF-Mitigated: \r\nX-Amzn-Waf-Action: count\r\n", "", None);
        check("", &page("Just a moment...", ""), cloudflare);
        check(
            "",
            &page("Attention Required! | Cloudflare", ""),
            cloudflare,
        );
        check(
            "",
            &page("x", "<script src=\"/cdn-cgi/challenge-platform/h/b\">"),
            cloudflare,
        );
        check(
            "",
            &page(
                "x",
                "<script src=\"https://geo.captcha-delivery.com/c.js\">",
            ),
            Some("DataDome"),
        );
        check(
            "",
            &page("x", "Enable JavaScript and cookies to continue"),
            Some("a front end"),
        );
        check("", &page("Vercel Security Checkpoint", ""), Some("Vercel"));
        check(
            "",
            &page("403 Forbidden", "<center>cloudflare</center>"),
            None,
        );
        check("Server: cloudflare\r\n", &page("403 Forbidden", ""), None);
        check("", "Just a moment...", None);
        check(
            "",
            "{\"message\":\"enable javascript and cookies to continue\"}",
            None,
        );
        check("", "", None);
    }

    #[test]
    fn knows_the_old_transport() {
        fn check(status: u16, path: &str, body: &str, expect: bool) {
            let got = is_old_transport(status, path, body.as_bytes());
            assert_eq!(got, expect, "{status} {path} {body}");
        }
        check(405, "/mcp", "", true);
        check(404, "/mcp", "<pre>Cannot POST /mcp</pre>", true);
        check(
            404,
            "/mcp",
            "{\"message\":\"Route POST:/mcp not found\"}",
            true,
        );
        check(404, "/sse", "Not Found", true);
        check(404, "/a/sse/?x=y", "", true);
        check(404, "/mcp?a=/sse", "Not Found", false);
        check(404, "/ws/sse-2", "Not Found", false);
        check(400, "/sse", "Cannot POST", false);
        check(200, "/sse", "", false);
    }
}
