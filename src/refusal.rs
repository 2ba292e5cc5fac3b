//! What a host is told when the settings are wrong: AI tools hide stderr, but show the error that
//! answers their first request.
//!
//! Owns the answers, as a value that is fed stdin's bytes. It must never answer what was not asked: a
//! response, a notification and a line that is no JSON-RPC get nothing.

use crate::proto::jsonrpc::{self, Kind, Parsed};

/// JSON-RPC leaves -32000 to -32099 to the implementation.
const CODE: i64 = -32000;

/// Answers each request with the same error, up to `initialize`.
pub struct Refusal {
    problem: String,
    line: Vec<u8>,
    line_max_bytes: usize,
    done: bool,
}

impl Refusal {
    /// A refusal in these words.
    pub fn new(problem: String, line_max_bytes: usize) -> Self {
        Self {
            problem,
            line: Vec::new(),
            line_max_bytes,
            done: false,
        }
    }

    /// Takes bytes of stdin and returns what is to be written to stdout.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        while !self.done
            && let Some(at) = bytes.iter().position(|byte| *byte == b'\n')
        {
            self.line.extend_from_slice(&bytes[..at]);
            bytes = &bytes[at + 1..];
            answers.extend(self.end_line());
        }
        self.line.extend_from_slice(bytes);
        self.done |= self.line.len() > self.line_max_bytes;
        answers
    }

    /// Stdin has ended: what came last may lack its line end.
    pub fn finish(&mut self) -> Vec<u8> {
        let answers = match self.done {
            true => Vec::new(),
            false => self.end_line(),
        };
        self.done = true;
        answers
    }

    /// The host has been told; after `server/discover` alone it still asks `initialize`.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn end_line(&mut self) -> Vec<u8> {
        let line = std::mem::take(&mut self.line);
        let mut answers = Vec::new();
        match jsonrpc::parse(&line) {
            Ok(Parsed::One(message)) => answers.extend(self.answer(&message)),
            Ok(Parsed::Batch(members)) => {
                for message in members
                    .iter()
                    .filter_map(|text| jsonrpc::parse_one(text).ok())
                {
                    answers.extend(self.answer(&message));
                }
            }
            Err(_) => {}
        }
        answers
    }

    fn answer(&mut self, message: &jsonrpc::Message<'_>) -> Vec<u8> {
        match (message.kind, message.id) {
            (Kind::Request, Some(id)) => {
                self.done |= message.method == "initialize";
                let mut answer = jsonrpc::error(id, CODE, &self.problem, None);
                jsonrpc::end_line(&mut answer);
                answer
            }
            (Kind::Request | Kind::Notification | Kind::Response, _) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIALIZE: &str =
        "{\"jsonrpc\":\"2.0\",\"id\":\"s\",\"method\":\"initialize\",\"params\":{}}\n";
    const DISCOVER: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server/discover\"}\n";

    fn error(id: &str) -> String {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32000,\"message\":\"X is required\"}}}}\n"
        )
    }

    /// However the input is chopped.
    fn check(input: &str, expect: &str, done: bool) {
        for split in 0..=input.len() {
            let mut refusal = Refusal::new("X is required".to_owned(), 200);
            let mut out = refusal.feed(&input.as_bytes()[..split]);
            out.extend(refusal.feed(&input.as_bytes()[split..]));
            assert_eq!(refusal.is_done(), done, "{input} at {split}");
            out.extend(refusal.finish());
            assert_eq!(String::from_utf8_lossy(&out), expect, "{input} at {split}");
        }
    }

    #[test]
    fn requests_are_answered_up_to_initialize() {
        check(INITIALIZE, &error("\"s\""), true);
        check(INITIALIZE.trim_end(), &error("\"s\""), false);
        check(DISCOVER, &error("1"), false);
        check(
            &[DISCOVER, INITIALIZE].concat(),
            &[error("1"), error("\"s\"")].concat(),
            true,
        );
        check(&[INITIALIZE, DISCOVER].concat(), &error("\"s\""), true);
        check(
            &format!("[{}]\n", INITIALIZE.trim_end()),
            &error("\"s\""),
            true,
        );
    }

    #[test]
    fn nothing_else_is_answered() {
        check("", "", false);
        check("\n\nhello\n{}\n[]\n[1]\n", "", false);
        check(
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n",
            "",
            false,
        );
        check("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n", "", false);
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut refusal = Refusal::new("X".to_owned(), 200);
        assert!(refusal.feed(&[b'x'; 201]).is_empty() && refusal.is_done());
        assert!(refusal.finish().is_empty());
    }
}
