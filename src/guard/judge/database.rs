//! Clients of databases: whether the statements they are given can be seen, and what they do.

use super::*;

impl Judge<'_> {
    pub(super) fn database(&mut self, name: &str, args: &[Arg], stdin: &Stdin) {
        let rest = &args[1..];
        let harmless = ["--version", "--help", "-V", "-?", "-l", "--list"];
        if rest.iter().any(|arg| harmless.contains(&arg.text.as_str()))
            && stdin.text.is_none()
            && !stdin.piped
            && !stdin.file
        {
            return;
        }
        let shown = joined(args);
        let keys = matches!(name, "redis-cli" | "valkey-cli");
        // `wrangler d1 execute` is no statement yet.
        let words = rest.iter().map(|arg| arg.text.as_str());
        let mut text: Vec<&str> = words.filter(|word| *word != "execute").collect();
        text.extend(stdin.text.as_deref());
        if let Some(word) = writing_word(&text.join(" "), keys) {
            return self.find(
                Category::Database,
                &shown,
                &format!("gives a database statements with {word}"),
            );
        }
        let from_file = rest.iter().any(|arg| {
            let text = arg.text.as_str();
            matches!(
                text,
                "-f" | "--file" | "-i" | "--init" | "-init" | "--queries-file"
            ) || text.starts_with("--file=")
                || text.ends_with(".sql")
                || text.ends_with(".js")
        });
        let unseen = stdin.text.is_none() && (stdin.piped || stdin.file);
        let statement = stdin.text.is_some() || has_statement(name, rest);
        if from_file
            || unseen
            || stdin.opaque
            || rest.iter().any(|arg| arg.opaque && arg.text.contains("$("))
        {
            return self.find(
                Category::Database,
                &shown,
                "gives a database statements that can not be seen",
            );
        }
        let statement_unknown = rest.iter().enumerate().any(|(at, arg)| {
            let behind =
                at == 0 || !rest[at - 1].text.starts_with('-') || is_statement(&rest[at - 1].text);
            arg.opaque && (behind && at > 0 || is_statement(&arg.text))
        });
        if statement_unknown {
            return self.find(
                Category::Database,
                &shown,
                "gives a database statements that can not be seen",
            );
        }
        if !statement {
            self.find(
                Category::Database,
                &shown,
                "opens a database for statements that can not be seen",
            );
        }
    }
}

/// The first word that writes.
pub(super) fn writing_word(text: &str, keys: bool) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let meta = [
        "\\i ", "\\ir ", "\\!", "\\copy", "\\o ", "\\w ", "\\g ", ".read", ".import", ".restore",
        ".shell", ".system", ".output", ".load", ".save", ".clone",
    ];
    if let Some(found) = meta.iter().find(|word| lower.contains(*word)) {
        return Some((*found).trim().to_owned());
    }
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let writes = |word: &&str| match keys {
        true => risk::WRITING_KEYS.contains(word) || risk::WRITING.contains(word),
        false => risk::WRITING.contains(word),
    };
    words.into_iter().find(writes).map(str::to_ascii_uppercase)
}

/// True where the arguments hold a statement.
fn has_statement(name: &str, rest: &[Arg]) -> bool {
    let operands = rest.iter().filter(|arg| !arg.text.starts_with('-')).count();
    match name {
        "sqlite3" | "sqlite" | "duckdb" | "litecli" => operands >= 2,
        "redis-cli" | "valkey-cli" => operands >= 1,
        _ => has_literal(rest),
    }
}

/// `-c`, `-e`, `--eval`, `--execute`, `--command`, `--query`, also with what follows attached.
fn is_statement(text: &str) -> bool {
    [
        "-c", "-e", "-q", "-Q", "--eval", "--exec", "--comm", "--query",
    ]
    .iter()
    .any(|option| text.starts_with(option))
}

fn has_literal(rest: &[Arg]) -> bool {
    rest.iter().any(|arg| {
        let text = arg.text.as_str();
        let phrase = !text.starts_with('-') && text.contains([' ', '(']) && text.len() > 6;
        is_statement(text) || phrase
    })
}
