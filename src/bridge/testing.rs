//! What the tests of the machines share: settings, a context on a virtual clock, requests of a host,
//! and answers as a person reads them.

use super::Now;
use super::context::{Context, Timer};
use super::request::Request;
use crate::config::{Config, Limits, Source};
use crate::proto::jsonrpc::{self, Meta, Params};
use serde_json::Value;
use std::time::{Duration, Instant};

struct Settings<'a>(&'a [(&'a str, &'a str)]);

impl Source for Settings<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let given = self.0.iter().find(|(given, _)| *given == name);
        let value = given.map(|(_, value)| *value);
        let in_file = self
            .0
            .iter()
            .any(|(given, _)| *given == "AEROSTACK_TOKEN_FILE");
        let value = value.or(match name {
            "AEROSTACK_WORKSPACE_URL" => Some("http://127.0.0.1/ws/x"),
            "AEROSTACK_TOKEN" if !in_file => Some("mwt_T0P-S3CRET"),
            _ => None,
        });
        value.map(str::to_owned)
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let names = self.0.iter().map(|(name, _)| (*name).to_owned());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    /// Every file holds the first token.
    fn file(&self, _: &str) -> Result<String, String> {
        Ok("mwt_T0P-S3CRET".to_owned())
    }
}

/// A configuration with these settings beside URL and token.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    Config::read(&Settings(settings), Limits::default()).expect("valid settings")
}

/// A context with these settings; its clock stands still until it is advanced.
pub(super) fn context(settings: &[(&str, &str)]) -> Context {
    limited(settings, |_| {}).0
}

/// The same with other limits, and with the clock to advance.
pub(super) fn limited(
    settings: &[(&str, &str)],
    change: impl FnOnce(&mut Limits),
) -> (Context, Now) {
    let now = Now {
        mono: Instant::now(),
        wall_ms: 1_795_305_600_000,
    };
    let mut config = config(settings);
    change(&mut config.limits);
    (Context::new(config, 1, now), now)
}

/// Lets time pass: each timer fires at its moment.
pub(super) fn pass(ctx: &mut Context, time: Duration, mut fire: impl FnMut(&mut Context, Timer)) {
    let end = ctx.now() + time;
    loop {
        let next = ctx.next_timeout().filter(|at| *at <= end);
        let mono = next.unwrap_or(end).max(ctx.now());
        let passed_ms = (mono - ctx.now()).as_millis() as u64;
        let wall_ms = ctx.wall_ms() + passed_ms;
        ctx.advance(Now { mono, wall_ms });
        while let Some(timer) = ctx.pop_due() {
            fire(ctx, timer);
        }
        if next.is_none() {
            return;
        }
    }
}

/// A request of the host.
pub(super) fn request(text: &str) -> Request {
    let message = jsonrpc::parse_one(text).expect(text);
    let params = Params::peek(message.params);
    let meta = Meta::peek(params.meta);
    Request::new(&message, &params, &meta)
}

/// A call of a tool, its params given.
pub(super) fn call(id: u64, params: &str) -> Request {
    request(&format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{params}}}"
    ))
}

/// The text of a tool's result, behind a mark if it is an error; any other answer as it is.
pub(super) fn words(answer: &[u8]) -> String {
    // Numbers pass that no reader of ours could hold.
    let value: Value = serde_json::from_slice(answer).unwrap_or_default();
    let result = &value["result"];
    match (result["content"][0]["text"].as_str(), &result["isError"]) {
        (Some(text), Value::Bool(true)) => format!("error: {text}"),
        (Some(text), Value::Bool(false)) => text.to_owned(),
        _ => String::from_utf8_lossy(answer).into_owned(),
    }
}
