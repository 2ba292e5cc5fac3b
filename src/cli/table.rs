//! The one table of options and settings: `--help`, the man page and the shell completions are made
//! from it, and a wrong option is compared with it.

use crate::hosts;
use std::fmt::Write;

/// An option of the command line.
pub(crate) struct Flag {
    /// `-h`, where there is a short form.
    pub short: Option<&'static str>,
    /// `--help`.
    pub long: &'static str,
    /// What follows it, in capitals.
    pub value: Option<&'static str>,
    /// What it does: fits `--help`.
    pub help: &'static str,
}

/// A setting of the environment; several may share a line.
pub(crate) struct Setting {
    /// The variables, joined by ", ".
    pub names: &'static str,
    /// What it is for: fits `--help`.
    pub help: &'static str,
}

const fn flag(long: &'static str, value: Option<&'static str>, help: &'static str) -> Flag {
    Flag {
        short: None,
        long,
        value,
        help,
    }
}

const fn short(short: &'static str, long: &'static str, help: &'static str) -> Flag {
    Flag {
        short: Some(short),
        long,
        value: None,
        help,
    }
}

const fn setting(names: &'static str, help: &'static str) -> Setting {
    Setting { names, help }
}

/// All options, in the order of `--help`.
pub(crate) const FLAGS: &[Flag] = &[
    flag(
        "--setup",
        None,
        "asks for URL and token, checks and keeps them",
    ),
    flag("--check", None, "find out why the agent shows no tools"),
    flag("--json", None, "with --check: the report for machines"),
    flag(
        "--install",
        Some("HOST"),
        "set up an AI tool: writes into its own configuration",
    ),
    flag("--uninstall", Some("HOST"), "take it out again"),
    flag(
        "--print-config",
        Some("HOST"),
        "the same configuration, ready to paste",
    ),
    flag(
        "--show-token",
        None,
        "with --print-config: the token, not a placeholder",
    ),
    flag(
        "--env",
        Some("NAME=VALUE"),
        "a setting from below; wins over the environment",
    ),
    flag(
        "--env-file",
        Some("PATH"),
        "settings from a file of your own (NAME=value lines)",
    ),
    flag(
        "--header",
        Some("NAME:VALUE"),
        "a header for the workspace; may be repeated",
    ),
    flag(
        "--allow-http",
        None,
        "accept http:// to other machines (token unencrypted)",
    ),
    flag(
        "--drain-timeout",
        Some("S"),
        "seconds to wait for answers after stdin ended (3)",
    ),
    flag(
        "--guard",
        Some("HOST"),
        "a hook that asks before risky commands (README)",
    ),
    short("-h", "--help", "this text"),
    short("-V", "--version", "version, target and TLS library"),
];

/// Options that go with `--guard`: a person types them once, or never.
pub(crate) const GUARD_FLAGS: &[Flag] = &[
    flag(
        "--guard-explain",
        Some("COMMAND"),
        "what the guard thinks of a command, and why; asks nobody",
    ),
    flag(
        "--guard-level",
        Some("LEVEL"),
        "risky (default) or all: every command and every write",
    ),
    flag(
        "--guard-rules",
        Some("PATH"),
        "your own rules: {\"ask\":[…],\"allow\":[…],\"deny\":[…]}",
    ),
    flag(
        "--guard-offline",
        Some("WHAT"),
        "deny (default) or ask: the AI tool's own prompt while the workspace can not be reached",
    ),
    flag(
        "--deadline",
        Some("S"),
        "seconds until a question counts as a no (570)",
    ),
    flag(
        "--dry-run",
        None,
        "with --guard: asks nobody and stops nothing, only logs",
    ),
    flag(
        "--log-file",
        Some("PATH"),
        "with --guard: a line for each decision",
    ),
];

/// The settings that people need; the README has all.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("AEROSTACK_WORKSPACE_URL", "required: the workspace's URL"),
    setting(
        "AEROSTACK_TOKEN",
        "required: the token; none for a server without",
    ),
    setting("AEROSTACK_TOKEN_FILE", "a file with the token instead"),
    setting(
        "AEROSTACK_LOG_LEVEL",
        "debug, info (default), warn or error, on stderr",
    ),
    setting(
        "AEROSTACK_LOG_FILE",
        "a file for the log, where the AI tool hides it",
    ),
    setting(
        "AEROSTACK_REQUEST_TIMEOUT",
        "seconds for each call; default: the AI tool's own",
    ),
    setting("AEROSTACK_ALLOW_HTTP", "1: as --allow-http"),
    setting(
        "AEROSTACK_BUILTIN_TOOLS",
        "on, off, or auto (default: with a mwt_ token)",
    ),
    setting(
        "SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS",
        "further CAs (PEM)",
    ),
    setting(
        "HTTPS_PROXY, ALL_PROXY, NO_PROXY",
        "as with curl; http:// proxies",
    ),
];

/// What the program is, in one line.
pub(super) const SUMMARY: &str = "your Aerostack Workspace as an MCP server on stdin and stdout";
/// What it does.
pub(super) const ABOUT: &str = "\
An AI tool starts it; every message is forwarded to the workspace over HTTPS.
It also bridges any other Streamable HTTP MCP server.";
/// From nothing to a working tool.
pub(super) const FIRST_STEPS: &[&str] = &[
    "aerostack-gateway --setup                      # or, with the two settings:",
    "aerostack-gateway --check",
    "aerostack-gateway --install cursor",
    "aerostack-gateway --print-config claude-code   # a \"claude mcp add\" command",
];

impl Flag {
    /// `-h, --help` or `--install HOST`.
    pub(super) fn usage(&self) -> String {
        let short = self.short.map_or("    ".to_owned(), |s| format!("{s}, "));
        let value = self.value.map_or(String::new(), |v| format!(" {v}"));
        format!("{short}{}{value}", self.long)
    }
}

/// A terminal's usual width.
const COLUMNS: usize = 80;

/// What `--help` prints: 80 columns wide, and less than two screens.
pub fn usage() -> String {
    let mut out = format!(
        "aerostack-gateway: {SUMMARY}\n\n{ABOUT}\n\nUSAGE\n  aerostack-gateway [OPTIONS]\n\nOPTIONS\n"
    );
    for flag in FLAGS {
        let _ = writeln!(out, "  {:<25}{}", flag.usage(), flag.help);
    }
    let mut line = "  HOST:".to_owned();
    for host in hosts::HOSTS {
        if line.len() + 1 + host.name.len() > COLUMNS {
            let _ = writeln!(out, "{line}");
            line = "       ".to_owned();
        }
        line.extend([" ", host.name]);
    }
    let _ = writeln!(out, "{line}\n\nSETTINGS (environment)");
    for setting in SETTINGS {
        let _ = writeln!(out, "  {:<25}  {}", setting.names, setting.help);
    }
    out.push_str("\nFIRST STEPS\n");
    for step in FIRST_STEPS {
        let _ = writeln!(out, "  {step}");
    }
    out
}

/// The option or host that a mistyped one most likely was.
pub(super) fn nearest(
    word: &str,
    names: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let typed = word.trim_start_matches('-');
    names
        .filter_map(|name| {
            let known = name.trim_start_matches('-');
            let begun = typed.len() >= 3 && known.starts_with(typed);
            let distance = if begun { 0 } else { distance(typed, known) };
            // A third of the letters may be wrong, and one always.
            (distance <= (known.len() / 3).max(1)).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters were left out, added, changed, or swapped with their neighbour (optimal string
/// alignment).
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_the_screen() {
        let usage = usage();
        assert!(usage.lines().count() <= 48, "{usage}");
        for line in usage.lines() {
            assert!(line.chars().count() <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn mistyped_names_are_recognised() {
        let check = |word: &str, expect: Option<&str>| {
            let names = FLAGS.iter().map(|flag| flag.long);
            assert_eq!(nearest(word, names), expect, "{word}");
        };
        check("--chekc", Some("--check"));
        check("-check", Some("--check"));
        check("--print", Some("--print-config"));
        check("--printconfig", Some("--print-config"));
        check("--instal", Some("--install"));
        check("--vesrion", Some("--version"));
        check("--frobnicate", None);
        check("--x", None);
        check("", None);
        check("--token", None);
    }
}
