//! README's table and the reports: no row without a test, no finding without a row.

use crate::ALL;

/// The first column's texts, row by row. A text stands between backticks; `…` is any part of it.
fn rows() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    let table = readme.split("| it says | what to do |").nth(1);
    let lines = table.expect("the table of --check").lines().skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let column = row.split('|').nth(1).expect("a column");
        column
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    })
    .collect()
}

/// Whether a report's line holds what a row quotes.
fn quotes(says: &str, quoted: &str) -> bool {
    let mut rest = says;
    quoted.split('…').all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn the_table_is_whole_and_true() {
    let rows = rows();
    let cases: Vec<&str> = ALL
        .iter()
        .copied()
        .flatten()
        .map(|case| case.says)
        .collect();
    for quoted in rows.iter().flatten() {
        let found = cases.iter().any(|says| quotes(says, quoted));
        assert!(found, "no report says {quoted:?}");
    }
    for says in cases {
        let found = rows.iter().flatten().any(|quoted| quotes(says, quoted));
        assert!(found, "no row explains {says:?}");
    }
    assert!(
        rows.len() > 20 && rows.iter().all(|row| !row.is_empty()),
        "{rows:?}"
    );
}
