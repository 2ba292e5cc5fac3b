//! The audit log: who did what, in memory and, with `--data`, on disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::clock::Clock;
use crate::store::Store;
use crate::sync::Locked;

/// Characters kept of each text.
const TEXT_MAX: usize = 300;
/// Entries kept in memory.
const ENTRIES_MAX: usize = 1000;

/// One entry.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its number, from 1.
    pub n: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who: a bridge, a token, `dashboard`, `admin`, `workspace`.
    pub actor: String,
    /// What, as a short verb phrase.
    pub event: String,
    /// More about it.
    pub detail: String,
}

/// The log.
#[derive(Debug, Default)]
pub struct Audit {
    clock: Arc<Clock>,
    store: Option<Arc<Store>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    count: u64,
}

impl Audit {
    /// A log that also goes to the store, and begins with what is there.
    pub fn open(store: Option<Arc<Store>>) -> Result<Self, String> {
        let kept = store
            .as_ref()
            .map_or(Ok(Vec::new()), |s| s.audit(ENTRIES_MAX))?;
        let inner = Inner {
            count: kept.last().map_or(0, |e| e.n),
            entries: kept.into(),
        };
        Ok(Audit {
            clock: Arc::default(),
            store,
            inner: Mutex::new(inner),
        })
    }

    /// The same log on another clock.
    pub(crate) fn on(self, clock: Arc<Clock>) -> Self {
        Audit { clock, ..self }
    }

    /// Where it is kept.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.store.clone()
    }

    /// Adds an entry.
    pub fn record(&self, actor: &str, event: &str, detail: impl Into<String>) {
        let mut inner = self.inner.locked();
        inner.count += 1;
        let entry = Entry {
            n: inner.count,
            at_ms: self.clock.now_ms(),
            actor: printable(actor),
            event: event.to_owned(),
            detail: printable(&detail.into()),
        };
        if let Some(store) = &self.store {
            store.keep_audit(&entry);
        }
        inner.entries.push_back(entry);
        if inner.entries.len() > ENTRIES_MAX {
            inner.entries.pop_front();
        }
    }

    /// The newest entries, newest first.
    pub fn newest(&self, limit: usize) -> Vec<Entry> {
        self.inner
            .locked()
            .entries
            .iter()
            .rev()
            .take(limit)
            .cloned()
            .collect()
    }
}

/// Text from the network without control characters.
fn printable(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
