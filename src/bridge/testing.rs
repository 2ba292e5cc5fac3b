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
pub(super) fn config(settings: &[(&str, &str)]) -> Config {
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
