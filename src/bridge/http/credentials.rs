//! Whom a request says it comes from: the token, and what else every request carries.
//!
//! Owns where each may go: the token to the own origin and to those that the person trusts (the
//! caller names no others), everything else to the own origin alone.

use crate::bridge::context::Context;
use crate::config::{Config, Header, Token};
use crate::proto::cookie::Jar;
use crate::proto::endpoint::{Endpoint, Scheme};
use crate::proto::http::request::RequestHead;
use crate::proto::http::response::ResponseHead;
use std::fmt;

/// See the module.
pub(super) struct Credentials {
    own: Endpoint,
    token: Option<Token>,
    /// Counts tokens, so that a refusal can be told to be of an old one.
    generation: u32,
    /// The person's own headers, for the own origin alone.
    headers: Vec<Header>,
    /// Header lines that every request to the own origin carries, each with its CRLF; and those that
    /// one to another origin carries.
    lines: [Vec<u8>; 2],
    cookies: Jar,
}

/// No header line: one of them is the token's.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) fn new(config: &Config) -> Self {
        let mut credentials = Self {
            own: config.endpoint.clone(),
            token: config.token.clone(),
            generation: 0,
            headers: config.headers.clone(),
            lines: [Vec::new(), Vec::new()],
            cookies: Jar::default(),
        };
        credentials.build();
        credentials
    }

    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn renew(&mut self, token: Token) {
        self.token = Some(token);
        self.generation += 1;
        self.build();
        // They were set for somebody else.
        self.cookies.clear();
    }

    /// Writes what a request to this target carries.
    pub(super) fn write(&mut self, head: &mut RequestHead, target: &Endpoint, wall_ms: u64) {
        let [own, foreign] = &self.lines;
        if !target.same_origin(&self.own) {
            head.raw(foreign);
            return;
        }
        head.raw(own);
        let secure = target.scheme() == Scheme::Https;
        if let Some(cookies) = self.cookies.header(target.path(), secure, wall_ms) {
            head.header("Cookie", &cookies);
        }
    }

    /// Takes the cookies of a response of this target.
    pub(super) fn store(&mut self, ctx: &mut Context, head: &ResponseHead, target: &Endpoint) {
        if head.set_cookies.is_empty() || !target.same_origin(&self.own) {
            return;
        }
        let secure = target.scheme() == Scheme::Https;
        for line in &head.set_cookies {
            self.cookies
                .store(line, target.path(), secure, ctx.wall_ms());
        }
        for secret in self.cookies.secrets() {
            ctx.keep_cookie(secret);
        }
    }

    fn build(&mut self) {
        let token = self.token.as_ref();
        self.lines = [lines(&self.headers, token), lines(&[], token)];
    }
}

fn lines(headers: &[Header], token: Option<&Token>) -> Vec<u8> {
    let mut lines = String::new();
    let is_agent = |header: &Header| header.name().eq_ignore_ascii_case("user-agent");
    if !headers.iter().any(is_agent) {
        lines.push_str(concat!(
            "User-Agent: aerostack-gateway/",
            env!("CARGO_PKG_VERSION"),
            "\r\n"
        ));
    }
    for header in headers {
        lines.extend([header.name(), ": ", header.expose(), "\r\n"]);
    }
    if let Some(token) = token {
        lines.push_str("Authorization: Bearer ");
        lines.push_str(token.expose());
        lines.push_str("\r\n");
    }
    lines.into_bytes()
}
