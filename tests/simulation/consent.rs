//! The judge's part about approvals: nothing runs that nobody approved, and what was approved runs
//! once.

use super::judge::Verdict;
use super::subject::Subject;
use super::workspace::HttpRequest;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// What the engine was told about an approval.
#[derive(Debug, Default)]
struct Told {
    key: u64,
    /// Every final word, in order: the first counts.
    words: Vec<&'static str>,
    /// Transmissions under it that may have been executed.
    possible: i32,
}

#[derive(Debug, Default)]
pub(crate) struct Consent {
    /// The workspace promised to execute an approval once, so that repeats do no harm.
    pub(crate) at_most_once: bool,
    told: BTreeMap<String, Told>,
    /// What each approval was asked for: its first request, byte for byte.
    subjects: BTreeMap<String, Subject>,
    /// When background requests left, and their ids.
    background: VecDeque<(u64, String)>,
}

impl Consent {
    /// The engine is about to be handed a final word.
    pub(crate) fn decided(&mut self, approval: &str, key: u64, word: &'static str) {
        let told = self.told.entry(approval.to_owned()).or_default();
        told.key = key;
        told.words.push(word);
    }

    /// The workspace asks for approval of this request.
    pub(crate) fn gated(&mut self, approval: &str, subject: &Subject) {
        let known = self.subjects.entry(approval.to_owned());
        known.or_insert_with(|| subject.clone());
    }

    /// The person wrote other arguments: the consent is for these.
    pub(crate) fn edited(&mut self, approval: &str, arguments: &str) {
        if let Some(subject) = self.subjects.get_mut(approval) {
            subject.edit(arguments);
        }
    }

    /// A request leaves under an approval.
    pub(crate) fn leaves(
        &mut self,
        approval: &str,
        key: Option<u64>,
        subject: Option<&Subject>,
    ) -> Verdict {
        let given = self.subjects.get(approval);
        if given.is_none() || given != subject {
            return Err(format!(
                "{approval} was given for {given:?}, not for {subject:?} (I11)"
            ));
        }
        let Some(told) = self.told.get_mut(approval) else {
            return Err(format!("{approval} was never approved"));
        };
        if told.words.first() != Some(&"approved") {
            return Err(format!("{approval} is {:?}", told.words));
        }
        if key != Some(told.key) {
            return Err(format!("{approval} is for {}, not {key:?}", told.key));
        }
        told.possible += 1;
        match told.possible > 1 && !self.at_most_once {
            true => Err(format!("what {approval} allows may run twice")),
            false => Ok(()),
        }
    }

    /// It is proved that it did not run.
    pub(crate) fn refused(&mut self, approval: &str) {
        if let Some(told) = self.told.get_mut(approval) {
            told.possible -= 1;
        }
    }

    /// "All background requests of a process stay under 30 a minute."
    pub(crate) fn count(&mut self, request: &HttpRequest, now_us: u64) -> Verdict {
        let method = request.message.as_ref().map(|m| m.method.as_str());
        let polls = matches!(
            method,
            Some("aerostack/approvals/get" | "aerostack/heartbeat" | "aerostack/chat/messages")
        );
        let status = request.method == "GET" && request.header("accept") == Some(STATUS_ACCEPT);
        if !(polls || status) {
            return Ok(());
        }
        // One that is sent again (a stale connection, a lost session) is the same one.
        let id = request.message.as_ref().map(|m| m.id.clone());
        // A GET has none: two about the same within five seconds are one.
        let id = id.unwrap_or_else(|| format!("{} {}", request.target, now_us / 5_000_000));
        if self.background.iter().all(|(_, known)| *known != id) {
            self.background.push_back((now_us, id));
        }
        let old = |(at, _): &(u64, String)| at + 60_000_000 <= now_us;
        while self.background.front().is_some_and(old) {
            self.background.pop_front();
        }
        match self.background.len() {
            0..30 => Ok(()),
            count => Err(format!("{count} background requests within a minute")),
        }
    }

    /// A result that is not the answer to the request itself: the outcome of an approved one with the
    /// same content, or the gateway's own words. `true`: it says that nothing was executed.
    pub(crate) fn result(&self, result: &Value, key: Option<u64>) -> Result<bool, String> {
        let ran = |told: &Told| matches!(told.words.first(), Some(&("approved" | "executed")));
        if let Some(approval) = result["_meta"]["sim/approval"].as_str() {
            let told = self.told.get(approval);
            return match told.is_some_and(|told| ran(told) && Some(told.key) == key) {
                true => Ok(false),
                false => Err(format!("the outcome of {approval} is not this call's")),
            };
        }
        let text = result["content"][0]["text"].as_str();
        match (result["isError"].as_bool(), text) {
            (Some(true), Some(text)) => self.words(text, key),
            _ => Err("the answer of another request".to_owned()),
        }
    }

    /// The gateway's own words about an approval.
    pub(crate) fn words(&self, text: &str, key: Option<u64>) -> Result<bool, String> {
        if text.contains("NOT executed") {
            let refused = |told: &Told| {
                Some(told.key) == key
                    && matches!(
                        told.words.first(),
                        Some(&("rejected" | "expired" | "cancelled"))
                    )
            };
            return match self.told.values().any(refused) {
                true => Ok(true),
                false => Err(format!("nobody said no, but the host hears: {text}")),
            };
        }
        let nothing_sent = ["was not sent", "nothing was sent"];
        let open = [
            // A workspace may run it by itself, later.
            "It has not been executed by this call",
            "no decision came in time",
            "the gateway ended while it waited for approval",
            "approved and executed, but its result did not come",
        ];
        match text {
            _ if nothing_sent.iter().any(|words| text.contains(words)) => Ok(true),
            _ if open.iter().any(|words| text.contains(words)) => Ok(false),
            _ => Err(format!("words that nobody knows: {text}")),
        }
    }
}

/// How a status URL is asked for.
pub(crate) const STATUS_ACCEPT: &str = "application/json";
