//! The bearer token: a value that can not be printed by accident.

use std::fmt;

/// A bearer token. `Debug` and `Display` of anything that holds it show only its kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Accepts what can stand in an Authorization header as it is. The error says what is wrong and
    /// never repeats the value.
    pub fn parse(text: &str) -> Result<Token, &'static str> {
        if text.trim().is_empty() {
            return Err("is empty: paste the token from the dashboard (it starts with mwt_)");
        }
        if text.contains(['\r', '\n']) {
            return Err("holds a line break: paste the token alone, on one line");
        }
        if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
            return Err("has quotes around it: remove them");
        }
        if text.starts_with("Bearer ") {
            return Err("starts with \"Bearer \": give the token alone");
        }
        if text.contains(char::is_whitespace) {
            return Err("holds blanks: remove them");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds characters that no token has: copy it from the dashboard again");
        }
        Ok(Token(text.into()))
    }

    /// True for tokens of Aerostack workspaces.
    pub fn is_workspace_token(&self) -> bool {
        self.0.starts_with("mwt_")
    }

    /// The secret itself, for the Authorization header and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_workspace_token() {
            "Token(mwt_…)"
        } else {
            "Token(…)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_by_mistake_is_named() {
        let check = |text: &str, expect: &str| {
            let error = Token::parse(text).expect_err(text);
            assert!(error.contains(expect), "{text:?}: {error}");
            assert!(!error.contains("secret"));
        };
        check("", "empty");
        check("  ", "empty");
        check("\"mwt_secret\"", "quotes");
        check("mwt_sec ret", "blanks");
        check("mwt_secret\n", "line break");
        check("Bearer mwt_secret", "Bearer");
        check("mwt_sécret", "characters");
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = Token::parse("mwt_secret").expect("valid");
        assert_eq!(format!("{token:?}"), "Token(mwt_…)");
        assert!(token.is_workspace_token());
    }
}
