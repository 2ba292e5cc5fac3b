//! Progress of one request as the host is told it: numbers that only grow.
//!
//! "The progress value MUST increase with each notification" (MCP, basic/utilities/progress). The
//! gateway tells progress while a person decides; the server may tell its own before and after, and
//! begins at its own beginning when the request is sent again. Our steps are small, so that what the
//! server says stays larger and passes as it came; where it falls behind all the same, it is lifted.

use crate::proto::{jsonrpc, object};

/// Between two notifications of ours: a day of them stays below a server's first 1 and 2.
const STEP: f64 = 0.001;

/// The progress of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// `_meta.progressToken`, raw JSON; `None`: the host wants none.
    token: Option<Box<str>>,
    /// The server's last number.
    base: f64,
    /// Ours since then.
    steps: u32,
    /// The last number that the host was told.
    told: Option<f64>,
    /// One of them was ours: from here on the order is ours to keep.
    ours: bool,
}

impl Progress {
    /// For a request with this raw token.
    pub(super) fn of(token: Option<&str>) -> Self {
        Self {
            token: token.map(Into::into),
            ..Self::default()
        }
    }

    /// The token, raw JSON.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The number of the next notification of ours, as JSON.
    pub(super) fn next(&mut self) -> String {
        self.ours = true;
        self.step()
    }

    fn step(&mut self) -> String {
        self.steps = self.steps.saturating_add(1);
        let next = self.base + f64::from(self.steps) * STEP;
        let told = self.told.unwrap_or(f64::NEG_INFINITY);
        // Beyond 2^43 a step is lost in rounding.
        let next = if next > told { next } else { told.next_up() };
        self.told = Some(next);
        serde_json::to_string(&next).expect("a number always serialises")
    }

    /// The server tells this number. `None`: it passes as it is; else what has to stand in its place.
    pub(super) fn follow(&mut self, number: &str) -> Option<String> {
        let number = jsonrpc::number(number)?;
        if self.told.is_none_or(|told| number > told) {
            (self.base, self.steps, self.told) = (number, 0, Some(number));
            return None;
        }
        self.ours.then(|| self.step())
    }
}

/// The params of `notifications/progress`, as far as they matter here.
pub(super) struct Told<'a> {
    /// Whose progress.
    pub(super) token: &'a str,
    /// How far.
    pub(super) progress: &'a str,
}

impl<'a> Told<'a> {
    /// Reads raw params.
    pub(super) fn read(params: Option<&'a str>) -> Option<Self> {
        let [token, progress] = object::fields(params?, ["progressToken", "progress"]).ok()?;
        let (token, progress) = (token?, progress?);
        Some(Self { token, progress })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "+" is a notification of ours, a number the server's; what the host hears.
    fn heard(told: &[&str]) -> Vec<String> {
        let mut progress = Progress::default();
        let hear = |word: &&str| match *word {
            "+" => progress.next(),
            number => progress.follow(number).unwrap_or_else(|| number.to_owned()),
        };
        told.iter().map(hear).collect()
    }

    #[test]
    fn numbers_only_grow() {
        let check = |told: &[&str], expect: &[&str]| assert_eq!(heard(told), expect, "{told:?}");
        check(&["+", "+", "+"], &["0.001", "0.002", "0.003"]);
        // The server's own numbers stay as they are while they grow.
        check(&["+", "1", "2.50", "3e1"], &["0.001", "1", "2.50", "3e1"]);
        check(&["1", "2", "+", "+"], &["1", "2", "2.001", "2.002"]);
        // It begins anew after an approval.
        check(
            &["50", "+", "1", "51", "2", "+"],
            &["50", "50.001", "50.002", "51", "51.001", "51.002"],
        );
        check(&["+", "0", "0", "1"], &["0.001", "0.002", "0.003", "1"]);
        check(&["-5", "+", "-4.5"], &["-5", "-4.999", "-4.5"]);
        // Without a word of ours it is the server's affair.
        check(&["2", "1", "1"], &["2", "1", "1"]);
        // No numbers that could be compared.
        check(
            &["+", "1e999", "\"x\"", "+"],
            &["0.001", "1e999", "\"x\"", "0.002"],
        );
        let large = heard(&["1e300", "+", "+", "1"]);
        let large: Vec<f64> = large.iter().map(|n| n.parse().expect("a number")).collect();
        assert!(large.windows(2).all(|pair| pair[0] < pair[1]), "{large:?}");
    }
}
