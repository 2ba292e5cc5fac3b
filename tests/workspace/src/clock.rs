//! The workspace's time: the system's, which tests can turn forward.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

use crate::sync;

/// A clock for everything that ends, lapses or is called old.
#[derive(Debug, Default)]
pub struct Clock {
    turned_ms: AtomicI64,
    /// Woken when the clock was turned, or when something new is to end.
    pub changed: Notify,
}

impl Clock {
    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        i64::try_from(self.now_ms() / 1000).unwrap_or(i64::MAX)
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        sync::unix_now_ms().saturating_add_signed(self.turned_ms.load(Ordering::SeqCst))
    }

    /// Turns the clock forward.
    pub fn turn(&self, ms: u32) {
        self.turned_ms.fetch_add(i64::from(ms), Ordering::SeqCst);
        self.changed.notify_one();
    }
}
