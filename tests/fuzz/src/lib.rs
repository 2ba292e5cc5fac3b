//! The fuzz targets: each a function of bytes that panics where a promise is broken.
//!
//! ```text
//! fuzz_targets/*.rs   a target as a libFuzzer program; `scripts/fuzz` runs them
//! tests/corpus.rs     the same without libFuzzer: the corpus, then mutations of it for a few seconds
//! corpus/NAME/        what a target begins with
//! readers, guard, files   everything that reads foreign bytes, one function each
//! engine              the whole engine: a host, a network and a server that do anything
//! ```

#![forbid(unsafe_code)]

mod engine;
mod files;
mod guard;
mod readers;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by their names, which are those of the programs and of the folders of the corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("certificates", readers::certificates),
    ("cookies", readers::cookies),
    ("dates", readers::dates),
    ("endpoint", readers::endpoint),
    ("engine", engine::run),
    ("guard_command", guard::command),
    ("guard_event", guard::event),
    ("guard_rules", guard::rules),
    ("hooks", files::hooks),
    ("hosts", files::hosts),
    ("http", readers::http),
    ("jsonrpc", readers::jsonrpc),
    ("lines", readers::lines),
    ("proxy", readers::proxy),
    ("secrets", readers::secrets),
    ("settings", readers::settings),
    ("shapes", readers::shapes),
    ("sse", readers::sse),
    ("websocket", readers::websocket),
];

/// The target of this name.
///
/// # Panics
/// There is none.
pub fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.expect("the target is in the table").1
}

/// Cuts bytes into pieces: the first byte says where, the rest is cut.
fn pieces(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let Some((seed, whole)) = data.split_first() else {
        return (Vec::new(), data);
    };
    let (mut state, mut rest, mut pieces) = (u32::from(*seed), whole, Vec::new());
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Mostly small, so that line ends, signs and lengths are cut through.
        let most = if state >> 30 == 0 { 64 } else { 5 };
        let (piece, behind) = rest.split_at(rest.len().min(1 + (state >> 16) as usize % most));
        pieces.push(piece);
        rest = behind;
    }
    (pieces, whole)
}
