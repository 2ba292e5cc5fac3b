//! The gateway's own requests take turns: "all turns requests of a process stay under 30 a
//! minute" (the token has 120). A bucket of a few, refilled slowly; the urgent go first, mostly.

use super::ids::Subject;
use crate::table::Table;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// One piece of turns work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    /// A safety poll.
    Poll(Subject),
    /// A sign of life.
    Heartbeat,
}

/// At most so many at once, and one more each `REFILL`: 5 + 20 in any minute. What a lost session holds
/// back leaves later than its turn, so there is room for a few more.
const BURST: u32 = 5;
const REFILL: Duration = Duration::from_secs(3);
/// Then a calm one has its turn: ten approvals without a socket could take all turns there are, and the
/// dashboard would lose the sign of life of an agent that waits.
const URGENT_IN_A_ROW: u32 = 5;

/// Work that waits for its turn.
#[derive(Debug)]
pub(crate) struct Turns {
    /// What waits, and whether ahead of others. The queues may hold more: jobs that were forgotten,
    /// or have become urgent since.
    waiting: Table<Job, bool>,
    /// Polls of approvals without a live socket: a person's decision waits for them.
    urgent: VecDeque<Job>,
    calm: VecDeque<Job>,
    /// Urgent jobs since a calm one.
    in_a_row: u32,
    left: u32,
    /// When the last token was added.
    refilled: Option<Instant>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            waiting: Table::new(),
            urgent: VecDeque::new(),
            calm: VecDeque::new(),
            in_a_row: 0,
            left: BURST,
            refilled: None,
        }
    }
}

impl Turns {
    /// Queues a job; one that waits already is not queued twice.
    pub(crate) fn push(&mut self, job: Job, is_urgent: bool) {
        match self.waiting.get(&job) {
            Some(waits) if *waits || !is_urgent => return,
            Some(_) | None => {}
        }
        self.waiting.insert(job, is_urgent);
        match is_urgent {
            true => self.urgent.push_back(job),
            false => self.calm.push_back(job),
        }
    }

    /// A job is of no use any more.
    pub(crate) fn forget(&mut self, job: Job) {
        self.waiting.remove(&job);
        if self.waiting.is_empty() {
            self.urgent.clear();
            self.calm.clear();
        }
    }

    /// The next job whose turn it is.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Job> {
        if self.waiting.is_empty() {
            return None;
        }
        self.refill(now);
        if self.left == 0 {
            return None;
        }
        let calm_first = self.in_a_row >= URGENT_IN_A_ROW;
        let (is_urgent, job) = [!calm_first, calm_first]
            .into_iter()
            .find_map(|is_urgent| Some((is_urgent, self.next(is_urgent)?)))?;
        self.in_a_row = match is_urgent {
            true => self.in_a_row.saturating_add(1),
            false => 0,
        };
        self.left -= 1;
        Some(job)
    }

    fn next(&mut self, is_urgent: bool) -> Option<Job> {
        let queue = match is_urgent {
            true => &mut self.urgent,
            false => &mut self.calm,
        };
        while let Some(job) = queue.pop_front() {
            if self.waiting.get(&job) == Some(&is_urgent) {
                self.waiting.remove(&job);
                return Some(job);
            }
        }
        None
    }

    /// When the next turn comes, if anybody waits for it.
    pub(crate) fn next_turn(&self) -> Option<Instant> {
        let waits = !self.waiting.is_empty();
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
    use crate::bridge::ids::ApprovalKey;

    fn poll(n: u64) -> Job {
        Job::Poll(Subject::Approval(ApprovalKey(n)))
    }

    #[test]
    fn a_minute_never_holds_thirty() {
        let t0 = Instant::now();
        let mut turns = Turns::default();
        (0..200).for_each(|n| turns.push(poll(n), false));
        let mut times = Vec::new();
        let mut now = t0;
        while times.len() < 200 {
            while turns.pop(now).is_some() {
                times.push(now);
            }
            now = turns.next_turn().unwrap_or(now + REFILL);
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
        let mut turns = Turns::default();
        for _ in 0..9 {
            turns.push(Job::Heartbeat, false);
            turns.push(poll(1), false);
        }
        for _ in 0..9 {
            turns.push(poll(1), true);
            turns.push(poll(1), false);
        }
        assert_eq!((turns.urgent.len(), turns.calm.len()), (1, 2));
        let order: Vec<_> = std::iter::from_fn(|| turns.pop(now)).collect();
        assert_eq!(order, [poll(1), Job::Heartbeat]);
        assert_eq!(turns.next_turn(), None);
    }

    #[test]
    fn the_urgent_leave_some_turns_to_the_calm() {
        let mut now = Instant::now();
        let mut turns = Turns::default();
        turns.push(Job::Heartbeat, false);
        turns.push(Job::Poll(Subject::Chat), false);
        let mut order = Vec::new();
        for n in 0..14 {
            turns.push(poll(n), true);
            let job = turns.pop(now).expect("its turn");
            order.push(match job {
                Job::Heartbeat => "heartbeat",
                Job::Poll(Subject::Chat) => "chat",
                Job::Poll(_) => "poll",
            });
            now += REFILL;
        }
        assert_eq!((order[5], order[11]), ("heartbeat", "chat"), "{order:?}");
        assert_eq!(order.iter().filter(|name| **name == "poll").count(), 12);
    }

    #[test]
    fn what_is_forgotten_costs_no_turn() {
        let now = Instant::now();
        let mut turns = Turns::default();
        (0..200).for_each(|n| turns.push(poll(n), n % 2 == 0));
        (0..199).for_each(|n| turns.forget(poll(n)));
        assert_eq!((turns.pop(now), turns.pop(now)), (Some(poll(199)), None));
        assert_eq!(turns.left, BURST - 1);
    }
}
