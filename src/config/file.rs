//! The text of a settings file: `NAME=value` lines.
//!
//! Owns its grammar, and the rule that URL and token are a pair from one source: a project's own
//! configuration can name a URL, and the token of a person's file must not go there. Finding, opening
//! and trusting the file is `io`'s work.

use super::headers::HEADER_PREFIX;
use super::{TOKEN, TOKEN_FILE, URL};

/// Settings that a file may hold. What is another program's stays that program's.
const NAMES: [&str; 14] = [
    URL,
    TOKEN,
    TOKEN_FILE,
    "AEROSTACK_LOG_LEVEL",
    super::LOG_FILE,
    "AEROSTACK_REQUEST_TIMEOUT",
    "AEROSTACK_ALLOW_HTTP",
    TRUSTED_ORIGINS,
    "AEROSTACK_BUILTIN_TOOLS",
    "AEROSTACK_CHAT_HINTS",
    "AEROSTACK_CLAUDE_CHANNEL",
    "AEROSTACK_APPROVAL_WAIT",
    "AEROSTACK_APPROVAL_TIMEOUT",
    "AEROSTACK_BRIDGE_ID",
];
const TRUSTED_ORIGINS: &str = "AEROSTACK_TRUSTED_ORIGINS";

/// A settings file's content.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SettingsFile {
    pairs: Vec<(String, String)>,
    /// Names that are other programs'.
    foreign: Vec<String>,
}

impl SettingsFile {
    /// Reads the text. No quotes, no expansion: a value is what stands behind the `=`, without blanks
    /// at its ends. The error names the line and repeats no value.
    pub(crate) fn parse(text: &str) -> Result<SettingsFile, String> {
        let mut file = SettingsFile::default();
        let text = text.trim_start_matches('\u{feff}');
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = index + 1;
            let Some((name, value)) = line.split_once('=') else {
                return Err(format!("line {at} has no \"=\": write NAME=value"));
            };
            let (name, value) = (name.trim_end(), value.trim_start());
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(letters) {
                return Err(format!(
                    "line {at} does not begin with a setting's name: write NAME=value, without export"
                ));
            }
            if !name.starts_with("AEROSTACK_") {
                file.foreign.push(name.to_owned());
                continue;
            }
            if !NAMES.contains(&name) && !name.starts_with(HEADER_PREFIX) {
                return Err(format!("line {at}: {name} is no setting of this program"));
            }
            if file.get(name).is_some() {
                return Err(format!("line {at}: {name} stands there twice"));
            }
            file.pairs.push((name.to_owned(), value.to_owned()));
        }
        Ok(file)
    }

    /// A setting's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The names of its settings.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// Names that it holds and that are not ours: they have no effect.
    pub(crate) fn foreign(&self) -> &[String] {
        &self.foreign
    }

    /// The text of a settings file with this URL and token; the other lines of the old one stay.
    pub(crate) fn with_pair(old: &str, url: &str, token: &str) -> String {
        let is_pair = |line: &&str| {
            let name = line.trim().trim_start_matches('\u{feff}').split('=').next();
            name.is_some_and(|name| [URL, TOKEN, TOKEN_FILE].contains(&name.trim_end()))
        };
        let mut text = String::new();
        if old.is_empty() {
            text.push_str("# Settings of aerostack-gateway: for their owner only.\n");
        }
        for line in old.lines().filter(|line| !is_pair(line)) {
            text.extend([line, "\n"]);
        }
        text.push_str(&format!("{URL}={url}\n{TOKEN}={token}\n"));
        text
    }

    /// Whether a setting belongs to the pair of URL and token: it counts only where both come from
    /// the same source.
    pub(crate) fn is_of_pair(name: &str) -> bool {
        [URL, TOKEN, TOKEN_FILE, TRUSTED_ORIGINS].contains(&name) || name.starts_with(HEADER_PREFIX)
    }
}

/// How a program that is started anew finds the same settings file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsFileUse {
    /// Arguments of its command line.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_as_they_are() {
        let text = "\u{feff}# mine\r\n\r\nAEROSTACK_WORKSPACE_URL = https://h/ws/x?a=b \r\n  # more\r\nAEROSTACK_TOKEN=mwt_$x\nAEROSTACK_HEADER_A=X-A: 1\nPATH=/bin\n";
        let file = SettingsFile::parse(text).expect("valid");
        assert_eq!(file.get(URL), Some("https://h/ws/x?a=b"));
        assert_eq!(file.get(TOKEN), Some("mwt_$x"));
        assert_eq!(file.get("AEROSTACK_HEADER_A"), Some("X-A: 1"));
        assert_eq!(file.get("PATH"), None);
        assert_eq!(file.foreign(), ["PATH"]);
        assert_eq!(file.names().count(), 3);
    }

    #[test]
    fn mistakes_are_named_by_their_line() {
        let check = |text: &str, expect: &str| {
            let error = SettingsFile::parse(text).err().expect(text);
            assert!(
                error.contains(expect) && !error.contains("s3cret"),
                "{error}"
            );
        };
        check("\nmwt_s3cret", "line 2 has no \"=\"");
        check("export AEROSTACK_TOKEN=s3cret", "without export");
        check("=s3cret", "line 1 does not begin");
        check(
            "AEROSTACK_TOKN=s3cret",
            "line 1: AEROSTACK_TOKN is no setting",
        );
        check(
            "AEROSTACK_TOKEN=s3cret\nAEROSTACK_TOKEN=s3cret",
            "line 2: AEROSTACK_TOKEN stands there twice",
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let text = SettingsFile::with_pair("", "https://h/ws/x", "mwt_1");
        let file = SettingsFile::parse(&text).expect("valid");
        assert_eq!(
            (file.get(URL), file.get(TOKEN)),
            (Some("https://h/ws/x"), Some("mwt_1"))
        );
        let old = "# mine\nAEROSTACK_TOKEN_FILE=/t\nAEROSTACK_TOKEN = mwt_0\nAEROSTACK_LOG_LEVEL=debug\nAEROSTACK_WORKSPACE_URL=x";
        assert_eq!(
            SettingsFile::with_pair(old, "https://h/", "mwt_1"),
            "# mine\nAEROSTACK_LOG_LEVEL=debug\nAEROSTACK_WORKSPACE_URL=https://h/\nAEROSTACK_TOKEN=mwt_1\n"
        );
    }
}
