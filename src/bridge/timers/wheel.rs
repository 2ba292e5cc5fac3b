//! The timer wheel: deadlines in O(1), and a next deadline that is exact.
//!
//! Six levels of 64 slots, one millisecond at the bottom, so 2^36 ms (two years) at the top. An
//! entry lies on the level where its deadline first differs from the wheel's present. A bitmap a
//! level finds the next occupied slot without ticking: when nothing is due, nobody wakes. `now` is
//! always an argument; the wheel never reads a clock.

use std::time::{Duration, Instant};

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const NONE: u32 = u32::MAX;

/// Names one armed timer. Stale keys (fired or cancelled) are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerId {
    index: u32,
    generation: u32,
}

/// Deadlines, each with what to do when it comes.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    origin: Instant,
    /// Milliseconds since `origin` up to which all deadlines have fired.
    elapsed: u64,
    occupied: [u64; LEVELS],
    heads: [[u32; SLOTS]; LEVELS],
    entries: Vec<Entry<T>>,
    free: u32,
}

#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    what: Option<T>,
    generation: u32,
    next: u32,
    prev: u32,
    level: u8,
    slot: u8,
}

impl<T> Wheel<T> {
    /// An empty wheel whose time begins at `origin`.
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            elapsed: 0,
            occupied: [0; LEVELS],
            heads: [[NONE; SLOTS]; LEVELS],
            entries: Vec::new(),
            free: NONE,
        }
    }

    /// Arms a timer. A deadline that has passed fires at the next `pop_due`.
    pub(super) fn insert(&mut self, deadline: Instant, what: T) -> TimerId {
        let deadline = self.ticks_up(deadline).max(self.elapsed);
        let index = self.allocate(deadline, what);
        self.link(index);
        TimerId {
            index,
            generation: self.entries[index as usize].generation,
        }
    }

    /// Disarms a timer and hands back what it was for; `None` if it has fired or was cancelled.
    pub(super) fn cancel(&mut self, id: TimerId) -> Option<T> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation != id.generation || entry.what.is_none() {
            return None;
        }
        self.unlink(id.index);
        self.release(id.index)
    }

    /// The earliest deadline, exact to the millisecond (rounded up).
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // Level n holds only deadlines later than every one on level n-1 (they differ from the
        // present in a higher digit), and slots of a level are in order: the first slot decides.
        let (level, slot) = self.first_slot()?;
        let mut index = self.heads[level][slot];
        let mut earliest = u64::MAX;
        while index != NONE {
            let entry = &self.entries[index as usize];
            earliest = earliest.min(entry.deadline);
            index = entry.next;
        }
        Some(self.origin + Duration::from_millis(earliest))
    }

    /// The next timer that is due at `now`, earliest first; call until `None`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let now = self.ticks_down(now);
        loop {
            let Some((level, slot)) = self.first_slot() else {
                self.elapsed = self.elapsed.max(now);
                return None;
            };
            let start = self.slot_start(level, slot);
            if start > now {
                self.elapsed = self.elapsed.max(now);
                return None;
            }
            if level == 0 {
                self.elapsed = self.elapsed.max(start);
                let index = self.heads[0][slot];
                self.unlink(index);
                return self.release(index);
            }
            self.cascade(level, slot, start);
        }
    }

    /// Moves every entry of a slot that the present has reached down to finer levels.
    fn cascade(&mut self, level: usize, slot: usize, start: u64) {
        self.elapsed = self.elapsed.max(start);
        let mut index = self.heads[level][slot];
        self.heads[level][slot] = NONE;
        self.occupied[level] &= !(1 << slot);
        while index != NONE {
            let next = self.entries[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    /// The first occupied slot in time order.
    fn first_slot(&self) -> Option<(usize, usize)> {
        (0..LEVELS).find_map(|level| {
            // All deadlines are at or after `elapsed`, so on no level does an occupied slot lie
            // before the present's digit, and no rotation is needed.
            let bits = self.occupied[level];
            (bits != 0).then(|| (level, bits.trailing_zeros() as usize))
        })
    }

    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = SLOT_BITS * level as u32;
        let above = self.elapsed >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        above | (slot as u64) << shift
    }

    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        let differs = (deadline ^ self.elapsed) | 1;
        let level = ((63 - differs.leading_zeros()) / SLOT_BITS) as usize;
        let level = level.min(LEVELS - 1);
        let slot = (deadline >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let head = self.heads[level][slot];
        let entry = &mut self.entries[index as usize];
        (entry.level, entry.slot, entry.prev, entry.next) = (level as u8, slot as u8, NONE, head);
        if head != NONE {
            self.entries[head as usize].prev = index;
        }
        self.heads[level][slot] = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (prev, next) = (entry.prev, entry.next);
        let (level, slot) = (entry.level as usize, entry.slot as usize);
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev != NONE {
            self.entries[prev as usize].next = next;
        } else {
            self.heads[level][slot] = next;
            if next == NONE {
                self.occupied[level] &= !(1 << slot);
            }
        }
    }

    fn allocate(&mut self, deadline: u64, what: T) -> u32 {
        if self.free == NONE {
            let index = u32::try_from(self.entries.len()).expect("far fewer than 2^32 timers");
            self.entries.push(Entry {
                deadline,
                what: Some(what),
                generation: 0,
                next: NONE,
                prev: NONE,
                level: 0,
                slot: 0,
            });
            return index;
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        (entry.deadline, entry.what) = (deadline, Some(what));
        index
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        entry.what.take()
    }

    /// Deadlines round up and the present rounds down, so a timer never fires early; the cap keeps
    /// every deadline within the top level's single turn.
    fn ticks_up(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.origin).as_nanos();
        let last = (1 << (SLOT_BITS * LEVELS as u32)) - 1;
        // Narrowed only when it is small: what wraps would be due at once.
        u64::try_from(nanos.div_ceil(1_000_000)).map_or(last, |ticks| ticks.min(last))
    }

    fn ticks_down(&self, at: Instant) -> u64 {
        let millis = at.saturating_duration_since(self.origin).as_millis() as u64;
        millis.min((1 << (SLOT_BITS * LEVELS as u32)) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn fires_in_order_and_never_early() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        for n in [5u64, 1, 70_000, 64, 63, 4_096, 5] {
            wheel.insert(t0 + ms(n), n);
        }
        let mut seen = Vec::new();
        while let Some(next) = wheel.next_deadline() {
            assert_eq!(wheel.pop_due(next - Duration::from_micros(1)), None);
            while let Some(n) = wheel.pop_due(next) {
                assert_eq!(t0 + ms(n), next);
                seen.push(n);
            }
        }
        assert_eq!(seen, [1, 5, 5, 63, 64, 4_096, 70_000]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_stale_id_cancels_nothing() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        let first = wheel.insert(t0 + ms(1), 'a');
        assert_eq!(wheel.cancel(first), Some('a'));
        assert_eq!(wheel.cancel(first), None);
        let second = wheel.insert(t0 + ms(1), 'b');
        assert_eq!(wheel.cancel(first), None);
        assert_eq!(wheel.pop_due(t0 + ms(1)), Some('b'));
        assert_eq!(wheel.cancel(second), None);
    }

    #[test]
    fn after_a_fired_timeout_the_next_deadline_is_later() {
        let t0 = Instant::now();
        let mut wheel = Wheel::new(t0);
        wheel.insert(t0, 0);
        wheel.insert(t0 + Duration::from_micros(1_500), 1);
        assert_eq!(wheel.pop_due(t0 + ms(1)), Some(0));
        assert_eq!(wheel.pop_due(t0 + ms(1)), None);
        assert!(wheel.next_deadline().is_some_and(|next| next > t0 + ms(1)));
    }

    /// Every order of insert, cancel and advance agrees with a plain sorted list.
    #[test]
    fn agrees_with_a_sorted_list() {
        for seed in 0..64u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut random = move |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let t0 = Instant::now();
            let mut now = 0u64;
            let mut wheel = Wheel::new(t0);
            let mut model: Vec<(u64, u64, TimerId)> = Vec::new();
            for serial in 0..400u64 {
                match random(4) {
                    0 | 1 => {
                        let spread = [4, 64, 5_000, 400_000, 90_000_000][random(5) as usize];
                        let at = now + random(spread);
                        let id = wheel.insert(t0 + ms(at), serial);
                        model.push((at, serial, id));
                    }
                    2 if !model.is_empty() => {
                        let (_, what, id) = model.remove(random(model.len() as u64) as usize);
                        assert_eq!(wheel.cancel(id), Some(what));
                    }
                    _ => {
                        let reach = [1, 50, 6_000, 1_000_000][random(4) as usize];
                        now += random(reach);
                        let mut fired = Vec::new();
                        while let Some(what) = wheel.pop_due(t0 + ms(now)) {
                            fired.push(what);
                        }
                        let mut due: Vec<u64> =
                            model.iter().filter(|e| e.0 <= now).map(|e| e.1).collect();
                        model.retain(|e| e.0 > now);
                        fired.sort_unstable();
                        due.sort_unstable();
                        assert_eq!(fired, due, "seed {seed}");
                    }
                }
                let earliest = model.iter().map(|e| t0 + ms(e.0)).min();
                assert_eq!(wheel.next_deadline(), earliest, "seed {seed}");
            }
        }
    }
}
