//! The real disk.

use super::Files;
use crate::io;

/// A file that is shown as a difference is no longer.
const TEXT_MAX_BYTES: u64 = 1 << 20;

/// The machine that the hook runs on.
#[derive(Debug)]
pub struct Disk;

impl Files for Disk {
    fn real(&self, path: &str) -> Option<String> {
        io::real_path(path)
    }

    fn link(&self, path: &str) -> Option<String> {
        io::link_target(path)
    }

    fn exists(&self, path: &str) -> bool {
        io::exists(path)
    }

    fn text(&self, path: &str) -> Option<String> {
        io::short_text(path, TEXT_MAX_BYTES)
    }

    fn is_ours(&self, pid: u32) -> bool {
        io::is_ours(pid)
    }
}
