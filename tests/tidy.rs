//! Architecture as a test: who may name what, how long things may be, what the program may link.
//!
//! The rules are those of `src/lib.rs`: all that is impure lies in `io`, codecs import nothing of
//! ours, the machines of the engine form a tree. A new machine has to be entered below.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Files past this want splitting; their tests do not count.
const FILE_LINES: usize = 500;
/// The same for functions; blank lines and comments do not count.
const FUNCTION_LINES: usize = 70;
/// What the gateway links on this platform, itself included; a supply chain that a person can still read.
const CRATES: usize = 45;

/// The machines of `bridge`, each with the modules of `bridge` that it may name beside the common
/// words. They form a tree: who stands higher names who stands lower, and nobody a sibling.
const MACHINES: [(&str, &[&str]); 9] = [
    ("approvals", &["extension", "mcp"]),
    ("builtin", &["extension", "mcp", "turns"]),
    ("channel", &["extension", "http", "turns"]),
    (
        "extension",
        &["approvals", "builtin", "channel", "http", "mcp", "turns"],
    ),
    ("host", &[]),
    ("http", &[]),
    ("mcp", &["http"]),
    ("shutdown", &[]),
    ("turns", &[]),
];

/// Words that all machines share. The context holds the keys of everybody's timers.
const COMMON: [(&str, &[&str]); 7] = [
    ("context", &["extension", "http", "mcp", "shutdown"]),
    ("contract", &[]),
    ("ids", &[]),
    ("peers", &[]),
    ("random", &[]),
    ("request", &[]),
    ("timers", &[]),
];

/// Which modules of ours a part of the program may name.
const LAYERS: [(&str, &[&str]); 16] = [
    // The list of what is reached from outside, and what the fuzz targets reach.
    (
        "api",
        &[
            "bridge", "check", "cli", "config", "guard", "hosts", "io", "log", "proto", "refusal",
            "setup",
        ],
    ),
    ("table.rs", &[]),
    ("proto/", &["proto"]),
    ("log.rs", &["proto"]),
    ("failure", &["log", "proto"]),
    ("config/", &["log", "proto"]),
    (
        "bridge/",
        &["bridge", "config", "failure", "log", "proto", "table"],
    ),
    // Of the tests of those who play a host.
    ("storm.rs", &["bridge", "config", "proto"]),
    (
        "check/",
        &["bridge", "check", "config", "failure", "io", "log", "proto"],
    ),
    // It judges by itself, and asks over the bridge, as --check does.
    (
        "guard/",
        &[
            "bridge", "check", "config", "failure", "guard", "hosts", "io", "log", "proto",
        ],
    ),
    ("hosts/", &["config", "hosts", "log", "proto"]),
    ("cli/", &["cli", "config", "guard", "hosts"]),
    ("refusal.rs", &["proto"]),
    ("setup.rs", &["config", "hosts", "io"]),
    // The reactor drives two engines: the bridge, and the script of --check.
    (
        "io/",
        &[
            "bridge", "check", "config", "io", "log", "proto", "refusal", "table",
        ],
    ),
    ("main.rs", &[]),
];

/// Impure names, and who may use them besides `io/`.
const IMPURE: [(&str, &[&str]); 11] = [
    ("mio::", &[]),
    ("rustls::", &[]),
    ("rustix::", &[]),
    ("signal_hook", &[]),
    ("std::net::Tcp", &[]),
    ("std::thread", &[]),
    // What --install is for: the configuration files of AI tools.
    ("std::fs", &["hosts/install.rs"]),
    ("std::env::var", &[]),
    ("std::env::args", &["main.rs"]),
    ("Instant::now", &[]),
    ("SystemTime", &[]),
];

const DEPENDENCIES: [&str; 14] = [
    "base64",
    "httparse",
    "memchr",
    "mio",
    "pico-args",
    "ring",
    "rustix",
    "rustls",
    "serde",
    "serde_json",
    "signal-hook",
    "tungstenite",
    "webpki",
    "webpki-roots",
];

/// A source file: its path below `src/`, its text, and its code without tests and comments.
struct Source {
    path: String,
    text: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let base = root().join("src");
    let (mut found, mut left) = (Vec::new(), vec![base.clone()]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            match path.extension() {
                _ if path.is_dir() => left.push(path),
                Some(rs) if rs == "rs" => found.push(read(&base, path)),
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 30, "the sources were found");
    found
}

fn read(base: &Path, path: PathBuf) -> Source {
    let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
    let own = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(&text);
    let comment = |line: &&str| !line.trim_start().starts_with("//");
    let code: Vec<&str> = own.lines().filter(comment).collect();
    let below = path.strip_prefix(base).expect("within src");
    Source {
        path: below.to_string_lossy().replace('\\', "/"),
        code: code.join("\n") + "\n",
        text,
    }
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs")
            || self.path.contains("/tests/")
            || ["proto/testing.rs", "bridge/testing.rs", "storm.rs"].contains(&self.path.as_str())
    }

    /// The file without its test module.
    fn lines(&self) -> usize {
        self.text
            .split("\n#[cfg(test)]\nmod ")
            .next()
            .map_or(0, |own| own.lines().count())
    }
}

/// Collects what is wrong and says it all at once.
#[derive(Default)]
struct Report(Vec<String>);

impl Report {
    fn must(&mut self, good: bool, words: impl FnOnce() -> String) {
        if !good {
            self.0.push(words());
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
        }
    }
}

/// The paths that follow `prefix` in the code, two names deep, braces taken apart.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        // Not `super::super::`, nor the end of a longer word.
        let before = code[..at].chars().next_back();
        if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
            collect(&code[at + prefix.len()..], "", 2, &mut names);
        }
    }
    names
}

fn collect(text: &str, parent: &str, depth: usize, names: &mut BTreeSet<String>) {
    if let Some(list) = text.strip_prefix('{') {
        let mut level = 0;
        let end = list
            .find(|c| match c {
                '{' => {
                    level += 1;
                    false
                }
                '}' => {
                    level -= 1;
                    level < 0
                }
                _ => false,
            })
            .unwrap_or(list.len());
        let mut level = 0;
        let items = list[..end].split(|c| {
            level += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && level == 0
        });
        for item in items.map(str::trim).filter(|item| !item.is_empty()) {
            collect(item, parent, depth, names);
        }
        return;
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let name = format!("{parent}{}", &text[..end]);
    let module = text[..end].starts_with(|c: char| c.is_lowercase());
    match text[end..].strip_prefix("::") {
        Some(rest) if module && depth > 1 && !rest.starts_with("self") => {
            collect(rest, &format!("{name}::"), depth - 1, names);
        }
        _ => {
            names.insert(name);
        }
    }
}

#[test]
fn only_io_is_impure() {
    let mut report = Report::default();
    for source in sources() {
        let Source { path, code, .. } = &source;
        if path.starts_with("io/") || source.is_test() {
            continue;
        }
        for (name, others) in IMPURE {
            let allowed = others.contains(&path.as_str());
            report.must(allowed || !code.contains(name), || {
                format!("{path} names {name}")
            });
        }
        for name in names_after(code, "std::net::") {
            let value = ["IpAddr", "Ipv4Addr", "Ipv6Addr"].contains(&name.as_str());
            let pure = path.starts_with("proto/") || path.starts_with("config/");
            report.must(value && pure, || format!("{path} names std::net::{name}"));
        }
    }
}

#[test]
fn nobody_prints_or_leaves_work_for_later() {
    let mut report = Report::default();
    for source in sources() {
        let Source { path, text, code } = &source;
        for word in [
            "println!",
            "eprintln!",
            " print!",
            "eprint!",
            "dbg!",
            "unsafe ",
            "unimplemented!",
        ] {
            report.must(!code.contains(word), || format!("{path} has {word}"));
        }
        for word in ["TODO", "FIXME", "XXX"] {
            report.must(!text.contains(word), || format!("{path} has {word}"));
        }
        report.must(text.starts_with("//! "), || {
            format!("{path} does not say what it is")
        });
    }
}

/// What the crate does not show, the compiler sees: a field that nobody reads, a function nobody calls.
#[test]
fn one_list_shows_what_is_reached_from_outside() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let shown: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("pub "))
        .collect();
    assert_eq!(shown, ["pub mod api;"]);
}

#[test]
fn dependencies_never_run_backwards() {
    let mut report = Report::default();
    for source in sources() {
        let Source { path, code, .. } = &source;
        if path == "lib.rs" || source.is_test() {
            continue;
        }
        let layer = LAYERS.iter().find(|(prefix, _)| path.starts_with(prefix));
        let Some((_, allowed)) = layer else {
            report.must(false, || {
                format!("{path} is in no layer: enter it into LAYERS")
            });
            continue;
        };
        for name in names_after(code, "crate::") {
            let module = name.split("::").next().unwrap_or_default();
            report.must(allowed.contains(&module), || {
                format!("{path} names crate::{name}")
            });
        }
        // Bytes are moved by those who do not know what they mean.
        if path.starts_with("io/")
            && !["io/mod.rs", "io/reactor.rs", "io/clock.rs"].contains(&path.as_str())
        {
            report.must(!code.contains("crate::bridge"), || {
                format!("{path} knows the engine")
            });
        }
        if path.starts_with("bridge/") || path.starts_with("proto/") {
            report.must(!code.contains("super::super::"), || {
                format!("{path} reaches up too far")
            });
        }
    }
}

#[test]
fn machines_form_a_tree() {
    let mut report = Report::default();
    let known: BTreeMap<&str, &[&str]> = MACHINES.into_iter().chain(COMMON).collect();
    let mut seen = BTreeSet::new();
    for source in sources() {
        let Source { path, code, .. } = &source;
        let Some(below) = path.strip_prefix("bridge/").filter(|_| !source.is_test()) else {
            continue;
        };
        let machine = below.split(['/', '.']).next().unwrap_or_default();
        // The router knows everybody, and is known to nobody; what it tells a diagnosis stands apart.
        if matches!(below, "mod.rs" | "diagnosis.rs" | "testing.rs") {
            continue;
        }
        report.must(
            !code.contains("Bridge::") && !code.contains("Bridge {"),
            || format!("{path} names the router"),
        );
        let Some(allowed) = known.get(machine) else {
            report.must(false, || format!("{path} belongs to no machine: enter it"));
            continue;
        };
        seen.insert(machine.to_owned());
        let top = !below.contains('/') || below == format!("{machine}/mod.rs");
        let mut used = names_after(code, "crate::bridge::");
        if top {
            used.extend(names_after(code, "super::"));
        }
        for name in used {
            let module = name.split("::").next().unwrap_or_default();
            let own = module == machine || COMMON.iter().any(|(common, _)| *common == module);
            // Input, Output and the like stand at the top of `bridge`.
            let word = module.starts_with(char::is_uppercase);
            report.must(own || word || allowed.contains(&module), || {
                format!("{path} names {name}")
            });
        }
    }
    for name in known.keys() {
        report.must(seen.contains(*name), || {
            format!("bridge/{name} is gone: take it off the list")
        });
    }
}

#[test]
fn timers_have_names_and_no_handles() {
    let mut report = Report::default();
    for Source { path, code, .. } in sources() {
        let keeper = path.starts_with("bridge/timers");
        report.must(keeper || !code.contains("TimerId"), || {
            format!("{path} keeps a timer's handle")
        });
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut report = Report::default();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let lines = source.lines();
        report.must(lines <= FILE_LINES, || {
            format!("{} has {lines} lines", source.path)
        });
        for (name, lines) in functions(&source.code) {
            report.must(lines <= FUNCTION_LINES, || {
                format!("{}: {name} has {lines} lines", source.path)
            });
        }
    }
}

/// Functions with their lines. rustfmt puts the closing brace where the function began.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let lines: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    for (at, line) in lines.iter().enumerate() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let head = line.trim_start();
        let Some(start) = head.find("fn ").filter(|start| {
            let before = &head[..*start];
            before
                .split_whitespace()
                .all(|word| word.starts_with("pub") || word == "const" || word.ends_with(')'))
        }) else {
            continue;
        };
        let name = head[start + 3..]
            .split(['(', '<'])
            .next()
            .unwrap_or_default();
        let close = format!("{indent}}}");
        let length = lines[at..].iter().position(|line| *line == close);
        if !head.ends_with('}') && !head.ends_with(';') {
            found.push((
                name.to_owned(),
                length.map_or(usize::MAX, |length| length + 1),
            ));
        }
    }
    found
}

#[test]
fn the_supply_chain_is_short_and_explained() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let mut report = Report::default();
    let (mut section, mut before, mut direct) = (String::new(), "", BTreeSet::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once(" = ")
        {
            report.must(before.starts_with("# "), || {
                format!("{name} has no reason above it")
            });
            if section == "[dependencies]" {
                direct.insert(name.to_owned());
            }
        }
        before = line;
    }
    let allowed: BTreeSet<String> = DEPENDENCIES.iter().map(|name| (*name).to_owned()).collect();
    report.must(direct == allowed, || {
        format!("[dependencies] are {direct:?}")
    });
    let linked = linked();
    report.must((10..=CRATES).contains(&linked.len()), || {
        format!("{} crates are linked: {linked:?}", linked.len())
    });
}

/// Everything that is linked, by cargo's own word.
fn linked() -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = std::process::Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--package", "aerostack-gateway", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let text = String::from_utf8_lossy(&tree.stdout);
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
