//! Values that somebody pasted and never filled in: `${AEROSTACK_TOKEN}`, `<your-token>`,
//! `mwt_your_token_here`, `your-workspace`.
//!
//! Owns telling them from real values. A real token is random: it does not consist of the few words
//! that placeholders are made of.

/// What a placeholder says, apart from its kind of value.
const WORDS: [&str; 41] = [
    "a",
    "access",
    "actual",
    "aerostack",
    "api",
    "bearer",
    "change",
    "changeme",
    "dummy",
    "enter",
    "example",
    "fill",
    "from",
    "goes",
    "here",
    "id",
    "in",
    "insert",
    "key",
    "mcp",
    "me",
    "my",
    "name",
    "paste",
    "placeholder",
    "put",
    "real",
    "replace",
    "sample",
    "secret",
    "slug",
    "tbd",
    "the",
    "this",
    "todo",
    "token",
    "url",
    "with",
    "workspace",
    "ws",
    "your",
];
/// At least one of these stands in it.
const TELLING: [&str; 13] = [
    "change",
    "changeme",
    "dummy",
    "enter",
    "here",
    "insert",
    "paste",
    "placeholder",
    "replace",
    "sample",
    "tbd",
    "todo",
    "your",
];

/// What kind of placeholder a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placeholder {
    /// `${NAME}`: the AI tool should have filled it in.
    Variable,
    /// `<your-token>`, `mwt_your_token_here`: a person should have.
    Words,
}

impl Placeholder {
    /// Of a whole value, such as a token.
    pub(super) fn of(value: &str) -> Option<Placeholder> {
        let value = value.trim().trim_matches(['"', '\'']);
        if is_variable(value) {
            return Some(Placeholder::Variable);
        }
        let inner = bracketed(value);
        let is_filler = says_nothing(value.strip_prefix("mwt_").unwrap_or(value));
        let is_words = has_placeholder_words(inner.unwrap_or(value))
            || inner.is_some_and(|inner| words(inner).all(|word| WORDS.contains(&word.as_str())));
        (is_filler || is_words).then_some(Placeholder::Words)
    }

    /// Of one of a URL's parts: a label of its host, a segment of its path.
    pub(super) fn in_url(url: &str) -> Option<Placeholder> {
        let url = url.trim().trim_matches(['"', '\'']);
        if is_variable(url) {
            return Some(Placeholder::Variable);
        }
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let labels = host.split(['.', ':']);
        let segments = path.split(['/', '?', '#', '&', '=']);
        labels
            .chain(segments)
            .filter(|part| !part.is_empty())
            .find_map(|part| match bracketed(part) {
                Some(_) => Some(Placeholder::Words),
                None => (has_placeholder_words(part) || says_nothing(part))
                    .then_some(Placeholder::Words),
            })
    }
}

/// `${NAME}`, `${env:NAME}`, `${input:name}`, `{{name}}`, `%NAME%`, `$NAME`.
fn is_variable(value: &str) -> bool {
    let name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let between = |open: &str, close: &str| {
        let rest = value.split_once(open)?.1;
        rest.split_once(close).map(|(inner, _)| inner)
    };
    between("${", "}").is_some()
        || between("{{", "}}").is_some()
        || value.strip_prefix('$').is_some_and(name)
        || value
            .strip_prefix('%')
            .and_then(|rest| rest.strip_suffix('%'))
            .is_some_and(name)
}

/// What stands between angle, square or curly brackets that enclose all of it.
fn bracketed(value: &str) -> Option<&str> {
    [('<', '>'), ('[', ']'), ('{', '}')]
        .iter()
        .find_map(|(open, close)| value.strip_prefix(*open)?.strip_suffix(*close))
}

/// `xxxx`, `****`, `...`.
fn says_nothing(value: &str) -> bool {
    let filler = |c: char| matches!(c, 'x' | 'X' | '*' | '.' | '…' | '-' | '_');
    (value.len() >= 3 && value.chars().all(filler)) || value == "…"
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .filter(|word| word != "mwt")
}

/// All of it is words of placeholders, and one of them tells that it is one.
fn has_placeholder_words(text: &str) -> bool {
    let mut telling = false;
    for word in words(text) {
        if !WORDS.contains(&word.as_str()) {
            return false;
        }
        telling |= TELLING.contains(&word.as_str());
    }
    telling
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let check = |value: &str, expect: Option<Placeholder>| {
            assert_eq!(Placeholder::of(value), expect, "{value}");
        };
        for value in [
            "${AEROSTACK_TOKEN}",
            "${env:AEROSTACK_TOKEN}",
            "${input:token}",
            "{{TOKEN}}",
            "$AEROSTACK_TOKEN",
            "%AEROSTACK_TOKEN%",
            "mwt_${TOKEN}",
            "${A:-}",
        ] {
            check(value, Some(Placeholder::Variable));
        }
        for value in [
            "<your-token>",
            "<token>",
            "[token]",
            "<YOUR TOKEN>",
            "mwt_your_token_here",
            "mwt_your-token",
            "mwt_<your-token>",
            "YOUR_TOKEN",
            "your_aerostack_token",
            "paste-your-token-here",
            "mwt_xxxxxxxx",
            "mwt_...",
            "mwt_…",
            "changeme",
            "Todo",
            "replace-me",
            "\"<your-token>\"",
        ] {
            check(value, Some(Placeholder::Words));
        }
        for value in [
            "mwt_0123456789abcdef",
            "mwt_yours3cretf00",
            "none",
            "mwt_x",
            "mwt_tests_only",
            "token",
            "secret",
            "mwt_here1",
            "mwt_your_5ecret",
            "<mwt_5ecret>",
            "$2y$10$abc",
            "a%20b%",
            "",
        ] {
            check(value, None);
        }
    }

    #[test]
    fn urls() {
        let check = |value: &str, expect: Option<Placeholder>| {
            assert_eq!(Placeholder::in_url(value), expect, "{value}");
        };
        check("${AEROSTACK_WORKSPACE_URL}", Some(Placeholder::Variable));
        check(
            "https://mcp.aerostack.dev/ws/${WORKSPACE}",
            Some(Placeholder::Variable),
        );
        for value in [
            "https://mcp.aerostack.dev/ws/your-workspace",
            "https://mcp.aerostack.dev/ws/your-workspace/",
            "https://mcp.aerostack.dev/ws/<your-workspace>",
            "https://mcp.aerostack.dev/ws/<slug>",
            "https://mcp.aerostack.dev/ws/{workspace}",
            "https://mcp.aerostack.dev/ws/YOUR_WORKSPACE_SLUG",
            "https://your-workspace.example.com/mcp",
            "<your-url>",
            "https://mcp.aerostack.dev/ws/...",
        ] {
            check(value, Some(Placeholder::Words));
        }
        for value in [
            "https://mcp.aerostack.dev/ws/x",
            "https://mcp.aerostack.dev/ws/my-workspace",
            "http://127.0.0.1:9/ws/x",
            "https://example.com/mcp",
            "http://[::1]:80/mcp",
            "<https://mcp.example.com/ws/demo>",
            "https://mcp.aerostack.dev/ws/yours",
            "https://h/ws/workspace",
        ] {
            check(value, None);
        }
    }
}
