//! The audit log: who did what, in memory and, with `--data`, on disk as one JSON object a line.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use serde::Serialize;

use crate::sync::{Locked, unix_now_ms};

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
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    count: u64,
    file: Option<File>,
}

impl Audit {
    /// A log that also goes to `dir/audit.jsonl`.
    pub fn open(dir: Option<&Path>) -> io::Result<Self> {
        let file = match dir {
            None => None,
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                Some(
                    OpenOptions::new()
                        .create(true)
                        .append(true)
                        .open(dir.join("audit.jsonl"))?,
                )
            }
        };
        Ok(Audit {
            inner: Mutex::new(Inner {
                file,
                ..Inner::default()
            }),
        })
    }

    /// Adds an entry.
    pub fn record(&self, actor: &str, event: &str, detail: impl Into<String>) {
        let mut inner = self.inner.locked();
        inner.count += 1;
        let entry = Entry {
            n: inner.count,
            at_ms: unix_now_ms(),
            actor: printable(actor),
            event: event.to_owned(),
            detail: printable(&detail.into()),
        };
        if let (Some(file), Ok(mut line)) = (&mut inner.file, serde_json::to_vec(&entry)) {
            line.push(b'\n');
            // A full disk must not stop approvals; the entry stays in memory.
            file.write_all(&line).ok();
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
