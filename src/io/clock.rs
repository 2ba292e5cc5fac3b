//! The clocks: nothing else in the program reads them.

use crate::bridge::Now;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads both clocks: once per turn, and for the engine's beginning.
pub fn now() -> Now {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
    Now {
        mono: Instant::now(),
        wall_ms,
    }
}
