//! What the tests of the machines share: settings, and a context on a virtual clock.

use super::Now;
use super::context::Context;
use crate::config::{Config, Limits, Source};
use std::time::Instant;

struct Settings<'a>(&'a [(&'a str, &'a str)]);

impl Source for Settings<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let given = self.0.iter().find(|(given, _)| *given == name);
        let value = given.map(|(_, value)| *value);
        let value = value.or(match name {
            "AEROSTACK_WORKSPACE_URL" => Some("http://127.0.0.1/ws/x"),
            "AEROSTACK_TOKEN" => Some("mwt_T0P-S3CRET"),
            _ => None,
        });
        value.map(str::to_owned)
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("none".to_owned())
    }
}

/// A configuration with these settings beside URL and token.
pub(super) fn config(settings: &[(&str, &str)]) -> Config {
    Config::read(&Settings(settings), Limits::default()).expect("valid settings")
}

/// A context with these settings; its clock stands still until it is advanced.
pub(super) fn context(settings: &[(&str, &str)]) -> Context {
    let now = Now {
        mono: Instant::now(),
        wall_ms: 1_795_305_600_000,
    };
    Context::new(config(settings), 1, now)
}
