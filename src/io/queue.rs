//! Outgoing bytes: whole buffers in order and one cursor.
//!
//! Owns what was queued and not yet written. It must never write, copy or join buffers: the owner
//! of the descriptor asks for slices, writes them in one call and says how far it came.

use std::collections::VecDeque;
use std::io::IoSlice;

/// How many buffers one vectored write takes at most; the kernel takes 1024 (UIO_MAXIOV), but past
/// a few dozen the call costs more than it saves.
pub(crate) const SLICES_MAX: usize = 64;

/// A queue of buffers of which the first may be partly written.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are already written; always less than its length.
    written: usize,
}

impl Queue {
    /// Appends one buffer; an empty one is dropped.
    pub(crate) fn push(&mut self, chunk: Vec<u8>) {
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Fills `slices` with what waits, in order; returns how many were filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
            let skip = if filled == 0 { self.written } else { 0 };
            *slot = IoSlice::new(&chunk[skip..]);
            filled += 1;
        }
        filled
    }

    /// Marks the next `count` bytes as written.
    pub(crate) fn advance(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let Some(chunk) = self.chunks.front() else {
                break;
            };
            let rest = chunk.len() - self.written;
            if left < rest {
                self.written += left;
                return;
            }
            left -= rest;
            self.written = 0;
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() && self.chunks.capacity() > SLICES_MAX {
            self.chunks = VecDeque::new();
        }
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&mut self) {
        *self = Queue::default();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn joined(queue: &Queue) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = queue.slices(&mut slices);
        slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    #[test]
    fn every_split_point() {
        let parts: [&[u8]; 4] = [b"one\n", b"t\n", b"", b"three\n"];
        let all = parts.concat();
        for first in 0..=all.len() {
            for second in 0..=all.len() - first {
                let mut queue = Queue::default();
                for part in parts {
                    queue.push(part.to_vec());
                }
                queue.advance(first);
                assert_eq!(joined(&queue), &all[first..]);
                queue.advance(second);
                assert_eq!(joined(&queue), &all[first + second..]);
                assert_eq!(queue.is_empty(), first + second == all.len());
            }
        }
    }
}
