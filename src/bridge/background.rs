//! The gateway's own requests take turns: "all background requests of a process stay under 30 a
//! minute" (the token has 120). A bucket of a few, refilled slowly; the urgent go first.

use super::ids::WatchId;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// One piece of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// A safety poll.
    Poll(WatchId),
    /// A sign of life.
    Heartbeat,
}

/// At most so many at once, and one more each `REFILL`: 5 + 24 in any minute.
const BURST: u32 = 5;
const REFILL: Duration = Duration::from_millis(2_500);

/// Work that waits for its turn.
#[derive(Debug)]
pub(super) struct Background {
    /// Polls of approvals without a live socket: a person's decision waits for them.
    urgent: VecDeque<Job>,
    calm: VecDeque<Job>,
    left: u32,
    /// When the last token was added.
    refilled: Option<Instant>,
}

impl Default for Background {
    fn default() -> Self {
        Self {
            urgent: VecDeque::new(),
            calm: VecDeque::new(),
            left: BURST,
            refilled: None,
        }
    }
}

impl Background {
    /// Queues a job; one that waits already is not queued twice.
    pub(super) fn push(&mut self, job: Job, urgent: bool) {
        if self.urgent.contains(&job) {
            return;
        }
        self.calm.retain(|waiting| !urgent || *waiting != job);
        if urgent {
            self.urgent.push_back(job);
        } else if !self.calm.contains(&job) {
            self.calm.push_back(job);
        }
    }

    /// The next job whose turn it is.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Job> {
        if self.urgent.is_empty() && self.calm.is_empty() {
            return None;
        }
        self.refill(now);
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.urgent.pop_front().or_else(|| self.calm.pop_front())
    }

    /// When the next turn comes, if anybody waits for it.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        let waits = !(self.urgent.is_empty() && self.calm.is_empty());
        waits.then(|| self.refilled.map(|at| at + REFILL)).flatten()
    }

    fn refill(&mut self, now: Instant) {
        let last = *self.refilled.get_or_insert(now);
        let tokens = now.saturating_duration_since(last).as_millis() / REFILL.as_millis();
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(tokens).min(BURST);
        self.refilled = Some(if self.left == BURST {
            now
        } else {
            last + REFILL * tokens
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_never_holds_thirty() {
        let t0 = Instant::now();
        let mut background = Background::default();
        (0..200).for_each(|n| background.push(Job::Poll(WatchId(n)), false));
        let mut times = Vec::new();
        let mut now = t0;
        while times.len() < 200 {
            while background.pop(now).is_some() {
                times.push(now);
            }
            now = background.next_turn().unwrap_or(now + REFILL);
        }
        for (at, time) in times.iter().enumerate() {
            let minute = times[at..]
                .iter()
                .filter(|t| **t - *time < Duration::from_secs(60))
                .count();
            assert!(minute < 30, "{minute}");
        }
    }

    #[test]
    fn the_urgent_go_first_and_nobody_goes_twice() {
        let now = Instant::now();
        let mut background = Background::default();
        background.push(Job::Heartbeat, false);
        background.push(Job::Poll(WatchId(1)), false);
        background.push(Job::Poll(WatchId(1)), true);
        background.push(Job::Poll(WatchId(1)), false);
        let order: Vec<_> = std::iter::from_fn(|| background.pop(now)).collect();
        assert_eq!(order, [Job::Poll(WatchId(1)), Job::Heartbeat]);
        assert_eq!(background.next_turn(), None);
    }
}
