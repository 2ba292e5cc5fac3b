//! What the commands of a script put out, for those that read it from a pipe.

use super::Simple;

/// What is kept of one script; beyond it, output counts as unknown.
const MAX_BYTES: usize = 16 << 20;
/// Commands of a group whose output is put together; that of a larger one counts as unknown.
const GROUP_MAX: usize = 1_000;

/// By the commands' places; `None` can not be seen.
#[derive(Default)]
pub(super) struct Outputs {
    texts: Vec<Option<String>>,
    bytes: usize,
}

impl Outputs {
    /// What the next command reads: of the one before it, or of all of a group. What was piped on is put out
    /// no more.
    pub(super) fn read_by(&mut self, simple: &Simple) -> Option<String> {
        let before = self.texts.len().saturating_sub(1);
        let read = self.texts.get_mut(simple.source.unwrap_or(before)..)?;
        if !simple.piped || read.is_empty() || read.len() > GROUP_MAX {
            return None;
        }
        let texts: Option<Vec<String>> = read.iter_mut().map(Option::take).collect();
        read.fill(Some(String::new()));
        texts.map(|texts| texts.join("\n"))
    }

    pub(super) fn push(&mut self, output: Option<String>) {
        self.bytes += output.as_ref().map_or(0, String::len);
        self.texts.push(output.filter(|_| self.bytes <= MAX_BYTES));
    }
}
