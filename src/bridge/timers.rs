//! Timers, named by what they are for: setting one that runs moves it, stopping one that does not
//! run is nothing. Nobody holds a handle, so none can be lost or fire for something that is gone.

mod wheel;

use crate::table::Table;
use std::time::Instant;
use wheel::{TimerId, Wheel};

/// Deadlines by key; the timer wheel keeps them in order.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    wheel: Wheel<K>,
    running: Table<K, TimerId>,
}

impl<K: Copy + Ord> Timers<K> {
    /// None is running; time begins at `origin`.
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            wheel: Wheel::new(origin),
            running: Table::new(),
        }
    }

    /// Fires `key` at this time. One that runs already is moved.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        let timer = self.wheel.insert(at, key);
        if let Some(old) = self.running.insert(key, timer) {
            self.wheel.cancel(old);
        }
    }

    /// `key` will not fire.
    pub(crate) fn stop(&mut self, key: K) {
        if let Some(timer) = self.running.remove(&key) {
            self.wheel.cancel(timer);
        }
    }

    /// True while `key` is going to fire.
    pub(crate) fn runs(&self, key: K) -> bool {
        self.running.contains_key(&key)
    }

    /// The next key whose time has come, earliest first; call until `None`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let key = self.wheel.pop_due(now)?;
        self.running.remove(&key);
        Some(key)
    }

    /// When the next one fires.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.wheel.next_deadline()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_key_fires_once_at_the_time_it_was_set_last() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut timers = Timers::new(t0);
        timers.set('a', at(10));
        timers.set('b', at(20));
        timers.set('a', at(30));
        timers.set('c', at(5));
        timers.stop('c');
        timers.stop('c');
        assert!(timers.runs('a') && !timers.runs('c'));
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.pop_due(at(30)), Some('b'));
        assert_eq!(timers.pop_due(at(30)), Some('a'));
        assert_eq!((timers.pop_due(at(30)), timers.next()), (None, None));
        assert!(!timers.runs('a'));
    }
}
