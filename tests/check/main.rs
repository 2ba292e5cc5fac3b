//! `--check` on the real program: every row of README's table, each with a real server that is wrong
//! in that way. Reports are compared to the letter, as text and as JSON, with the exit code.

#[path = "../common/mod.rs"]
mod common;
mod lower;
mod readme;
mod report;
mod secrets;
mod statuses;
mod upper;

/// Something that a diagnosis finds, and how it comes about.
struct Case {
    /// The line that tells it; `{origin}` and the like stand for parts that differ.
    says: &'static str,
    /// Brings it about and compares the reports.
    run: fn(&str),
}

/// All at once: those that are about time would add up.
fn run(cases: &[Case]) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| (case.run)(case.says));
        }
    });
}

/// All of them, for the table that explains them.
const ALL: &[&[Case]] = &[
    lower::SETTINGS,
    lower::NETWORK,
    lower::SILENCE,
    lower::TLS,
    lower::PROXY,
    statuses::STATUSES,
    statuses::ANSWERS,
    upper::STEPS,
];

#[test]
fn settings() {
    run(lower::SETTINGS);
}

#[test]
fn network() {
    run(lower::NETWORK);
}

#[test]
fn silence() {
    run(lower::SILENCE);
}

#[test]
fn certificates() {
    run(lower::TLS);
}

#[test]
fn proxies() {
    run(lower::PROXY);
}

#[test]
fn statuses() {
    run(statuses::STATUSES);
}

#[test]
fn answers_that_are_none() {
    run(statuses::ANSWERS);
}

#[test]
fn later_steps() {
    run(upper::STEPS);
}
