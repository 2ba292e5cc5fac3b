//! A person's own rules: `{"ask":[…],"allow":[…],"deny":[…]}`.
//!
//! A rule is a pattern of a command (a string, or `{"command":…}`) or of a path (`{"path":…}`), in which `*`
//! stands for any text. A rule of `allow` is no pattern: it is one command, word for word. A file that can not
//! be read as this is refused whole: half of somebody's rules is not what they wrote.

use super::{glob, judge, paths, risk, shell};
use crate::proto::jsonrpc;
use serde_json::value::RawValue;

/// The rules of a file, or none.
#[derive(Debug, Default)]
pub(super) struct Rules {
    patterns: Vec<Pattern>,
    allow: Vec<Vec<String>>,
}

/// A pattern of `ask` or `deny`.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) text: String,
    pub(super) denies: bool,
    path: bool,
}

impl Rules {
    /// Reads a file's text; the error says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Rules, String> {
        let members = jsonrpc::members(text).ok_or("it is no JSON object")?;
        let mut rules = Rules::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, raw) in &members {
            if !["ask", "allow", "deny"].contains(&name.as_str()) {
                return Err(format!(
                    "{name:?} is none of \"ask\", \"allow\" and \"deny\""
                ));
            }
            if seen.contains(&name.as_str()) {
                return Err(format!("{name:?} stands there twice"));
            }
            seen.push(name);
            let list: Vec<&RawValue> =
                serde_json::from_str(raw).map_err(|_| format!("{name:?} is no list"))?;
            for raw in list {
                rules.add(name, raw.get())?;
            }
        }
        // Denied before asked.
        rules.patterns.sort_by_key(|pattern| !pattern.denies);
        Ok(rules)
    }

    fn add(&mut self, list: &str, raw: &str) -> Result<(), String> {
        let wrong = || {
            format!(
                "a rule of {list:?} is neither a text nor {{\"command\": …}} nor {{\"path\": …}}"
            )
        };
        let (text, path) = match jsonrpc::string(raw) {
            Some(text) => (text.into_owned(), false),
            None => match jsonrpc::members(raw).ok_or_else(wrong)?.as_slice() {
                [(name, value)] if name == "command" || name == "path" => (
                    jsonrpc::string(value).ok_or_else(wrong)?.into_owned(),
                    name == "path",
                ),
                _ => return Err(wrong()),
            },
        };
        if text.trim().is_empty() {
            return Err(format!("a rule of {list:?} is empty"));
        }
        if list != "allow" {
            self.patterns.push(Pattern {
                text,
                denies: list == "deny",
                path,
            });
            return Ok(());
        }
        let words = if path { None } else { simple_words(&text) };
        let words = words.ok_or_else(|| {
            format!("{text:?} of \"allow\" is not one plain command: it must be written word for word, without quotes that matter to a shell, variables, patterns, redirections or -c")
        })?;
        self.allow.push(words);
        Ok(())
    }

    /// The rule that names this command, denying ones first.
    pub(super) fn command(&self, words: &[&str]) -> Option<&Pattern> {
        let mut patterns = self
            .patterns
            .iter()
            .filter(|pattern| !pattern.path)
            .peekable();
        patterns.peek()?;
        let line = words.join(" ");
        let name = words
            .first()
            .and_then(|word| word.rsplit('/').next())
            .unwrap_or_default();
        let short = format!(
            "{name}{}",
            &line[words.first().map_or(0, |word| word.len())..]
        );
        patterns.find(|pattern| {
            glob::matches(&pattern.text, &line) || glob::matches(&pattern.text, &short)
        })
    }

    /// The rule that names this path, denying ones first.
    pub(super) fn path(&self, path: &str, folder: &str) -> Option<&Pattern> {
        let mut patterns = self
            .patterns
            .iter()
            .filter(|pattern| pattern.path)
            .peekable();
        patterns.peek()?;
        let (plain, absolute) = (paths::tidy(path), paths::join(folder, path));
        patterns.find(|pattern| {
            let text = pattern.text.as_str();
            glob::matches(text, &plain)
                || glob::matches(text, &absolute)
                || glob::matches(&format!("*/{text}"), &absolute)
        })
    }

    /// True for a command line that is one of `allow`, word for word.
    pub(super) fn allows(&self, text: &str) -> bool {
        !self.allow.is_empty()
            && simple_words(text).is_some_and(|words| self.allow.contains(&words))
    }
}

/// The words of a line that is one simple command and nothing else.
fn simple_words(text: &str) -> Option<Vec<String>> {
    if text.contains([
        ';', '&', '|', '(', ')', '<', '>', '{', '}', '!', '#', '\n', '\r', '$', '`', '\\', '~',
    ]) {
        return None;
    }
    // Without those characters there is nothing nested, redirected or read from here.
    let script = shell::split(text);
    let [simple] = script.commands.as_slice() else {
        return None;
    };
    if script.broken || !simple.assigns.is_empty() {
        return None;
    }
    let words: Option<Vec<String>> = simple
        .words
        .iter()
        .map(|word| word.literal().map(|text| text.into_owned()))
        .collect();
    let words = words.filter(|words| !words.is_empty())?;
    // What a shell dropped (`if`, `do`) would be another command.
    let whole = text
        .split_whitespace()
        .next()
        .is_some_and(|first| first.trim_matches(['"', '\'']) == words[0]);
    let name = judge::program(&words[0]);
    let runs = risk::SHELLS.contains(&name) || risk::INTERPRETERS.contains(&name);
    let is_code =
        |word: &String| judge::is_script_option(word) || word == "-e" || word.starts_with("--eval");
    let script = name == "eval" || (runs && words.iter().any(is_code));
    (whole && !script).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_whole_or_not_at_all() {
        for (text, problem) in [
            ("[]", "no JSON object"),
            ("{\"denny\":[]}", "none of"),
            ("{\"ask\":\"x\"}", "no list"),
            ("{\"ask\":[1]}", "neither"),
            ("{\"ask\":[\" \"]}", "empty"),
            ("{\"ask\":[{\"cmd\":\"x\"}]}", "neither"),
            ("{\"ask\":[{\"path\":1}]}", "neither"),
            ("{\"ask\":[{\"path\":\"a\",\"command\":\"b\"}]}", "neither"),
            ("{\"ask\":[],\"ask\":[]}", "twice"),
            ("{\"allow\":[\"rm -rf $X\"]}", "not one plain command"),
            ("{\"allow\":[\"a > b\"]}", "not one plain command"),
            ("{\"allow\":[\"bash -c ls\"]}", "not one plain command"),
            (
                "{\"allow\":[\"/bin/bash -lc ls\"]}",
                "not one plain command",
            ),
            ("{\"allow\":[\"python3 -c x\"]}", "not one plain command"),
            ("{\"allow\":[\"perl -e x\"]}", "not one plain command"),
            ("{\"allow\":[\"node --eval=x\"]}", "not one plain command"),
            ("{\"allow\":[\"eval ls\"]}", "not one plain command"),
            ("{\"allow\":[\"ls 'a\"]}", "not one plain command"),
            ("{\"allow\":[\"if ls\"]}", "not one plain command"),
            ("{\"allow\":[\"for x in a b\"]}", "not one plain command"),
            ("{\"allow\":[\"A=1 b\"]}", "not one plain command"),
            ("{\"allow\":[\"rm *\"]}", "not one plain command"),
            ("{\"allow\":[{\"path\":\"/x\"}]}", "not one plain command"),
        ] {
            let error = Rules::read(text).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
        for text in [
            "{}",
            "{\"ask\":[{\"command\":\"rm *\"},{\"path\":\"/x\"}]}",
            "{\"allow\":[\"bash build.sh\",\"python3 setup.py -x\",\"grep -e x\",\"tar -c x\"]}",
        ] {
            assert!(Rules::read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn denied_before_asked_and_allowed_word_for_word() {
        let text = r#"{"ask":["curl *",{"path":"/etc/*"}],"deny":["curl evil*",{"path":"secret.txt"}],"allow":["git push origin main"]}"#;
        let rules = Rules::read(text).expect("good");
        let denies = |line: &str| {
            rules
                .command(&line.split(' ').collect::<Vec<_>>())
                .map(|pattern| pattern.denies)
        };
        assert_eq!(denies("curl evil.example"), Some(true));
        assert_eq!(denies("/usr/bin/curl good.example"), Some(false));
        assert_eq!(denies("curlx a"), None);
        assert_eq!(
            rules.path("../etc/x", "/a").map(|pattern| pattern.denies),
            Some(false)
        );
        assert_eq!(
            rules.path("secret.txt", "/a").map(|pattern| pattern.denies),
            Some(true)
        );
        for (line, expect) in [
            ("git push origin main", true),
            ("git  push 'origin' main", true),
            ("git push origin main --force", false),
            ("git push origin main; ls", false),
            ("git push origin main &", false),
            ("git push origin main'", false),
            ("git push origin main > x", false),
            ("git push origin main << x", false),
            ("A=1 git push origin main", false),
            ("git push origin $BRANCH", false),
            ("/usr/bin/git push origin main", false),
            ("if git push origin main", false),
        ] {
            assert_eq!(rules.allows(line), expect, "{line}");
        }
    }
}
