//! What a refused request is told: the peer's words, and who the peer is.

use super::{Failure, Refusal};
use crate::log::printable;
use crate::proto::http::rate_limit::wait_s;
use crate::proto::http::refusal::{Challenge, bot_protection, is_old_transport};
use crate::proto::http::response::ResponseHead;

impl Failure {
    /// Of an answer whose status is no success, to a POST for `path` (`None`: to another request). `hide` masks what nobody may
    /// see; it is called before anything is cut. `local_s`: this machine's clock, in unix seconds.
    pub fn of_refusal(
        head: &ResponseHead,
        body: &[u8],
        path: Option<&str>,
        local_s: u64,
        hide: impl Fn(&str) -> String,
    ) -> Failure {
        let status = head.status;
        if let Some(by) = bot_protection(head, body) {
            return Failure::BotProtection { status, by };
        }
        if path.is_some_and(|path| is_old_transport(status, path, body)) {
            return Failure::OldTransport { status };
        }
        let challenge = head.www_authenticate.as_deref().map(Challenge::parse);
        let hidden = hide(&String::from_utf8_lossy(body));
        let (words, html) = quote_body(hidden.as_bytes());
        Failure::Status(Refusal {
            status,
            retry_after_s: wait_s(head, local_s),
            location: head.location.as_deref().map(|to| printable(&hide(to), 200)),
            words: with_challenge(words, challenge.unwrap_or_default(), hide),
            html,
        })
    }
}

/// The body's words, and what WWW-Authenticate says beyond them.
fn with_challenge(words: String, challenge: Challenge, hide: impl Fn(&str) -> String) -> String {
    let mut parts = vec![words];
    let said = challenge.description.or(challenge.error);
    parts.extend(said.map(|said| printable(&hide(&said), 200)));
    let scope = challenge.scope.map(|scope| printable(&hide(&scope), 200));
    parts.extend(scope.map(|scope| format!("scope needed: {scope}")));
    parts.retain(|part| !part.is_empty());
    parts.dedup();
    parts.join("; ")
}

/// The peer's own words in an error body: a JSON error's message, an HTML page's title, or the first
/// words of a text. Empty if there is nothing to quote.
pub(crate) fn quote_body(body: &[u8]) -> (String, bool) {
    let text = String::from_utf8_lossy(&body[..body.len().min(4_096)]);
    let trimmed = text.trim_start();
    if trimmed.starts_with('<') {
        return (html_title(trimmed), true);
    }
    // Some servers refuse in an event stream.
    let event = trimmed.lines().find_map(|line| line.strip_prefix("data:"));
    let words = json_message(body).or_else(|| json_message(event?.as_bytes()));
    let words = words.unwrap_or_else(|| trimmed.to_owned());
    if matches!(words.trim(), "{}" | "[]" | "null") {
        return (String::new(), false);
    }
    (printable(words.trim(), 300), false)
}

fn html_title(page: &str) -> String {
    // ASCII lower-casing keeps byte positions.
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|tag| {
        let start = tag + lower[tag..].find('>')? + 1;
        let end = start + lower[start..].find('<')?;
        Some(page[start..end].trim())
    });
    title.map(|title| printable(title, 120)).unwrap_or_default()
}

/// `{"error":{"message"}}`, `{"error":"…"}`, `{"message":"…"}`, `{"detail":"…"}`.
fn json_message(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error");
    [
        error.and_then(|error| error.get("message")),
        error,
        value.get("error_description"),
        value.get("message"),
        value.get("detail"),
    ]
    .into_iter()
    .flatten()
    .find_map(|found| found.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_words_are_found_and_made_printable() {
        let check = |body: &str, expect: &str, html: bool| {
            assert_eq!(
                quote_body(body.as_bytes()),
                (expect.to_owned(), html),
                "{body}"
            );
        };
        check(
            r#"{"error":{"code":"unauthorized","message":"no\u001b[2J"}}"#,
            "no [2J",
            false,
        );
        check(r#"{"error":"gone"}"#, "gone", false);
        check(
            "event: message\r\ndata: {\"error\":{\"message\":\"gone\"}}\r\n\r\n",
            "gone",
            false,
        );
        check("data: gone\n\n", "data: gone", false);
        check(
            "<!DOCTYPE html><TITLE> Sign in </TITLE><p>x",
            "Sign in",
            true,
        );
        check("<html><body>", "", true);
        check(" {}\r\n", "", false);
        check("upstream\n down", "upstream  down", false);
        check("", "", false);
    }

    fn of(lines: &str, body: &str, path: &str) -> Failure {
        let head = ["HTTP/1.1 ", lines, "\r\n\r\n"].concat();
        let head = ResponseHead::parse(head.as_bytes()).expect("a head");
        let hide = |text: &str| text.replace("mwt_secret", "[hidden]");
        Failure::of_refusal(&head, body.as_bytes(), Some(path), 1_000_000_000, hide)
    }

    #[test]
    fn refusals_are_sorted_and_quoted() {
        fn check(lines: &str, body: &str, expect: &str) {
            let words = of(lines, body, "/mcp").words("https://w.example");
            assert_eq!(words, expect, "{lines}");
        }
        let forbidden = "this token is not allowed to do this (HTTP 403)";
        let role = "Check the token's role in the dashboard";
        check("403 x", "", &format!("{forbidden}. {role}"));
        check(
            "403 x\r\nWWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"files:write\", \
             error_description=\"More permission required\"",
            "",
            &format!(
                "{forbidden} (it says: More permission required; scope needed: files:write). {role}"
            ),
        );
        check(
            "403 x\r\nWWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"mwt_secret\"",
            "{\"error\":\"no mwt_secret\"}",
            &format!(
                "{forbidden} (it says: no [hidden]; insufficient_scope; scope needed: [hidden]). {role}"
            ),
        );
        check(
            "401 x\r\nWWW-Authenticate: Bearer realm=\"mcp\", error_description=\"gone\"",
            "gone",
            "Token invalid: https://w.example refused AEROSTACK_TOKEN (HTTP 401) (it says: gone). Create a new \
             token in the dashboard and update the setting",
        );
        check(
            "304 x",
            "",
            "https://w.example answered HTTP 304 (Not Modified), which is no answer to a request. A cache in \
             between may have answered: check AEROSTACK_WORKSPACE_URL",
        );
        check(
            "307 x\r\nLocation: https://b.example/mwt_secret",
            "",
            "https://w.example redirects to https://b.example/[hidden] (HTTP 307), which is not followed. If \
             you trust it, set AEROSTACK_WORKSPACE_URL to it",
        );
        check(
            "429 x\r\nX-RateLimit-Reset: 120",
            "",
            "the rate limit of this token is used up (HTTP 429). Try again in 120 s",
        );
        check(
            "429 x\r\nRetry-After: 0",
            "",
            "the rate limit of this token is used up (HTTP 429). Try again later",
        );
        check(
            "403 x\r\nCF-Mitigated: challenge",
            "<html>",
            "the bot protection of Cloudflare stands before https://w.example and wants a browser (HTTP 403). \
             Have this URL left out of the challenge, or allow this machine's address there",
        );
        let old = "https://w.example takes no MCP requests at this URL (HTTP 404). Check \
                   AEROSTACK_WORKSPACE_URL: servers that only speak the old HTTP+SSE transport are not \
                   supported; many have a second URL, often /mcp";
        check("404 x", "<pre>Cannot POST /mcp</pre>", old);
        assert_eq!(of("404 x", "", "/sse").words("https://w.example"), old);
    }
}
