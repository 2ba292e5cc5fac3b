//! JSON-RPC batches (2025-03-26): split on their way in, their answers joined on the way out.

use crate::table::Table;

/// Names one batch of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId(u64);

/// Batches whose answers are not complete.
#[derive(Debug, Default)]
pub(super) struct Batches {
    next: u64,
    open: Table<BatchId, Batch>,
    /// Bytes of joined answers.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Batch {
    /// Answers still to come.
    missing: usize,
    joined: Vec<u8>,
}

impl Batches {
    /// A batch of so many requests.
    pub(super) fn begin(&mut self, requests: usize) -> BatchId {
        self.next += 1;
        self.open.insert(
            BatchId(self.next),
            Batch {
                missing: requests,
                joined: Vec::new(),
            },
        );
        BatchId(self.next)
    }

    /// A request of the batch is done, with an answer or (cancelled) without. Returns the joined
    /// answers after the last one; "if there are no response objects … MUST NOT return an empty
    /// array" (JSON-RPC 2.0, section 6).
    pub(super) fn done(&mut self, id: BatchId, answer: Option<&[u8]>) -> Option<Vec<u8>> {
        let batch = self.open.get_mut(&id)?;
        if let Some(answer) = answer {
            batch
                .joined
                .push(if batch.joined.is_empty() { b'[' } else { b',' });
            batch.joined.extend_from_slice(answer);
            self.bytes += answer.len() + 1;
        }
        batch.missing = batch.missing.saturating_sub(1);
        if batch.missing > 0 {
            return None;
        }
        let mut joined = self.open.remove(&id)?.joined;
        self.bytes -= joined.len();
        if joined.is_empty() {
            return None;
        }
        joined.push(b']');
        Some(joined)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_join_when_the_last_has_come() {
        let mut batches = Batches::default();
        let id = batches.begin(3);
        assert_eq!(batches.done(id, Some(b"1")), None);
        assert_eq!(batches.done(id, None), None);
        assert_eq!(batches.done(id, Some(b"2")).as_deref(), Some(&b"[1,2]"[..]));
        assert_eq!(batches.done(id, Some(b"3")), None);
        assert_eq!(batches.bytes(), 0);
        let id = batches.begin(1);
        assert_eq!(batches.done(id, None), None);
    }
}
