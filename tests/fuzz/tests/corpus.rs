//! Every target without libFuzzer: over its corpus, then over mutations of it.
//!
//! `FUZZ_SECONDS` says how long each target's mutations go on (default 1); their seed is fixed, so that
//! a failure is found again. A failing input is written beside the corpus of its kind in `artifacts`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer inputs are for libFuzzer, which has more time.
const LEN_MAX: usize = 4_096;

fn folder(kind: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(name)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder("corpus", name)).expect("the target has a corpus");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {name} is empty");
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("readable"))
        .collect()
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(word).expect("31 bits") % most.max(1)
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        start..start + self.below((len - start).min(32) + 1)
    }
}

/// One to four of: a byte changed, a range gone, doubled, or taken from another input.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let len = input.len();
        match random.below(5) {
            0 if len > 0 => {
                input[random.below(len)] = u8::try_from(random.below(256)).expect("a byte")
            }
            1 if len > 0 => input[random.below(len)] ^= 1 << random.below(8),
            2 => drop(input.drain(random.range(len))),
            3 => {
                let copy = input[random.range(len)].to_vec();
                let at = random.below(len + 1);
                input.splice(at..at, copy);
            }
            _ => {
                let other = &others[random.below(others.len())];
                let copy = other[random.range(other.len())].to_vec();
                let at = random.below(len + 1);
                input.splice(at..at, copy);
            }
        }
    }
    input.truncate(LEN_MAX);
}

fn run(name: &str, input: &[u8]) {
    let target = aerostack_fuzz::target(name);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let folder = folder("artifacts", name);
        let path = folder.join("found-by-corpus-test");
        std::fs::create_dir_all(&folder).expect("a folder of ours");
        std::fs::write(&path, input).expect("a file of ours");
        println!(
            "{name}: the input is in {}: {:?}",
            path.display(),
            String::from_utf8_lossy(input)
        );
        resume_unwind(panic);
    }
}

fn check(name: &str) {
    let corpus = corpus(name);
    for input in &corpus {
        for end in 0..=input.len() {
            run(name, &input[..end]);
        }
    }
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(1));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut runs: u64 = 0;
    while Instant::now() < until {
        let mut input = corpus[random.below(corpus.len())].clone();
        mutate(&mut input, &corpus, &mut random);
        run(name, &input);
        runs += 1;
    }
    println!(
        "{name}: {} inputs of the corpus, {runs} mutations",
        corpus.len()
    );
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_target_is_here_and_has_a_program() {
            let tested = [$(stringify!($name)),*];
            let known: Vec<&str> = aerostack_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(tested[..], known[..]);
            let manifest = include_str!("../Cargo.toml");
            for name in known {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

targets! {
    certificates cookies dates endpoint engine guard_command guard_event guard_rules hooks hosts http
    jsonrpc lines proxy secrets settings shapes sse websocket
}
