//! Log levels and the shape of one log line. Writing it is `io`'s work; deciding whether to write it
//! is the engine's. Text that came over the network is stripped of control characters here, so that
//! nothing can move a terminal's cursor or forge a second line.

use crate::proto::timestamp;

/// How much stderr says (AEROSTACK_LOG_LEVEL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed and a person should act.
    Error,
    /// Something is odd, the gateway goes on.
    Warn,
    /// What a person who watches wants to know: connected, waiting for approval, approved.
    Info,
    /// Every exchange; still never the token.
    Debug,
}

impl Level {
    /// Reads the value of AEROSTACK_LOG_LEVEL, any case.
    pub fn parse(text: &str) -> Option<Level> {
        [
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("info", Level::Info),
            ("debug", Level::Debug),
        ]
        .into_iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name))
        .map(|(_, level)| level)
    }

    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// The most bytes of one log line's text; the rest is cut, here and nowhere else. With what stands
/// before it a line stays below PIPE_BUF (4096 bytes on Linux, 512 on macOS): one write of so much is
/// atomic and never blocks on a writable pipe.
pub(crate) const LINE_MAX_BYTES: usize = if cfg!(target_os = "linux") {
    3_000
} else {
    400
};

/// One line for stderr: time (UTC), level, text; no control characters but the final newline.
pub(crate) fn line(level: Level, wall_ms: u64, text: &str) -> String {
    let mut line = timestamp::to_rfc3339(wall_ms);
    line.push_str(" aerostack-gateway ");
    line.push_str(level.name());
    line.push_str(": ");
    push_printable(&mut line, text, LINE_MAX_BYTES);
    line.push('\n');
    line
}

/// One line about the program itself, before or after its loop: without time and level.
pub(crate) fn short_line(text: &str) -> String {
    let mut line = "aerostack-gateway: ".to_owned();
    push_printable(&mut line, text, LINE_MAX_BYTES);
    line.push('\n');
    line
}

/// Text from the network made safe for terminals and logs: control characters become blanks, and it
/// is cut at `max_bytes` on a character's border.
pub(crate) fn printable(text: &str, max_bytes: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max_bytes));
    push_printable(&mut clean, text, max_bytes);
    clean
}

fn push_printable(out: &mut String, text: &str, max_bytes: usize) {
    let start = out.len();
    for c in text.chars() {
        if out.len() - start + c.len_utf8() > max_bytes {
            out.push('…');
            return;
        }
        out.push(if is_unsafe(c) { ' ' } else { c });
    }
}

/// C0, DEL, C1, and the bidirectional controls that can reorder what a person reads.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_read_in_any_case() {
        assert!(Level::Error < Level::Warn && Level::Info < Level::Debug);
        assert_eq!(Level::parse("WARNING"), Some(Level::Warn));
        assert_eq!(Level::parse("verbose"), None);
    }

    #[test]
    fn escape_sequences_and_line_breaks_do_not_survive() {
        assert_eq!(printable("a\u{1b}[31m\r\nb\u{202e}c", 100), "a [31m  b c");
        assert_eq!(printable("åäö", 4), "åä…");
        let line = line(Level::Info, 0, "x\ny");
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z aerostack-gateway info: x y\n"
        );
        assert_eq!(short_line("x\ny"), "aerostack-gateway: x y\n");
    }

    /// A pipe takes each in one piece.
    #[test]
    fn long_lines_are_cut() {
        let long = "é".repeat(5_000);
        for line in [line(Level::Error, u64::MAX, &long), short_line(&long)] {
            assert!(
                line.ends_with("é…\n") && line.len() <= 4_096,
                "{}",
                line.len()
            );
        }
    }
}
