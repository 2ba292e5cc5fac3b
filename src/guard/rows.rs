//! Patterns of the table against the arguments of one command.

use super::glob;

/// An argument that is no option, and what stands before it.
struct Operand<'a> {
    text: &'a str,
    /// Its place among the arguments.
    at: usize,
    /// How many operands before it can not be the values of options.
    definite_before: usize,
    /// It is none itself.
    definite: bool,
}

/// The operands of a command. Behind an option that may take a value, a word may be that value.
fn operands<'a>(args: &[&'a str], flags: &str) -> Vec<Operand<'a>> {
    let (mut found, mut definite_before, mut only_operands, mut may_be_value) =
        (Vec::new(), 0, false, false);
    for (at, text) in args.iter().enumerate() {
        if !only_operands && is_option(text) {
            only_operands = *text == "--";
            may_be_value = takes_value(text, flags);
            continue;
        }
        let definite = !std::mem::take(&mut may_be_value);
        found.push(Operand {
            text,
            at,
            definite_before,
            definite,
        });
        definite_before += usize::from(definite);
    }
    found
}

fn is_option(text: &str) -> bool {
    text.len() > 1 && text.starts_with(['-', '+'])
}

fn takes_value(option: &str, flags: &str) -> bool {
    match option.strip_prefix("--") {
        Some("") => false,
        Some(long) => !long.contains('=') && !long.starts_with("no-"),
        None => option.len() == 2 && !flags.contains(&option[1..]),
    }
}

/// True where the program is one of the pattern's first token.
pub(super) fn names(pattern: &str, program: &str) -> bool {
    let first = pattern.split(' ').next().unwrap_or_default();
    // Most rows are not about this program: one look tells.
    let possible = first.contains(program) || first.contains('*');
    possible && first.split('|').any(|name| glob::matches(name, program))
}

/// True where a whole pattern fits.
pub(super) fn fits(pattern: &str, program: &str, args: &[&str]) -> bool {
    if !names(pattern, program) {
        return false;
    }
    let tokens: Vec<&str> = pattern.split(' ').skip(1).collect();
    let operands = operands(args, "");
    let mut next = 0;
    let mut words = 0;
    tokens.iter().all(|token| match token.as_bytes().first() {
        Some(b'-') => token.split('|').any(|option| has_option(option, args)),
        Some(b'~') => args.iter().any(|arg| any_of(&token[1..], arg)),
        _ => {
            let found = (next..operands.len()).find(|j| {
                let operand = &operands[*j];
                operand.definite_before <= words && any_of(token, operand.text)
            });
            next = found.map_or(operands.len(), |j| j + 1);
            words += 1;
            found.is_some()
        }
    })
}

fn any_of(token: &str, arg: &str) -> bool {
    let lower = arg.to_ascii_lowercase();
    token
        .split('|')
        .any(|want| glob::matches(want, arg) || glob::matches(want, &lower))
}

/// `-r` also in `-rf`; `--recursive` also shortened or with a value.
fn has_option(option: &str, args: &[&str]) -> bool {
    let before = args
        .iter()
        .position(|arg| *arg == "--")
        .unwrap_or(args.len());
    if option == "--" {
        return before < args.len();
    }
    args[..before].iter().any(|arg| {
        let name = arg.split('=').next().unwrap_or(arg);
        if let Some(long) = option.strip_prefix("--") {
            return name
                .strip_prefix("--")
                .is_some_and(|given| given.len() >= 3 && long.starts_with(given));
        }
        let cluster = option.len() == 2
            && arg.len() > 2
            && !arg.starts_with("--")
            && arg.starts_with('-')
            && arg[1..].bytes().all(|byte| byte.is_ascii_alphanumeric());
        name == option || cluster && arg[1..].contains(&option[1..])
    })
}

/// Where the command that a wrapper starts may begin: behind so many words, and further behind where an option
/// may take one as its value.
pub(super) fn starts(args: &[&str], fixed: usize, flags: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut rest = args;
    let mut skipped = 0;
    // `env A=1 rm`, `xargs -- rm`.
    if let Some(at) = args.iter().position(|arg| *arg == "--") {
        found.push(at + 1);
        if fixed > 0 {
            rest = &args[..at];
        }
    }
    if fixed == 0 {
        while rest.first().is_some_and(|arg| is_assignment(arg)) {
            rest = &rest[1..];
            skipped += 1;
        }
    }
    for (ordinal, operand) in operands(rest, flags).iter().enumerate() {
        if fixed == 0 && is_assignment(operand.text) {
            found.extend(
                starts(&rest[operand.at + 1..], 0, flags)
                    .iter()
                    .map(|at| at + skipped + operand.at + 1),
            );
            break;
        }
        if ordinal >= fixed {
            found.push(skipped + operand.at);
        }
        if operand.definite && operand.definite_before >= fixed {
            break;
        }
    }
    found.retain(|at| *at < args.len());
    found
}

fn is_assignment(arg: &str) -> bool {
    arg.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// True where the words of a pattern stand in a text that can not be split, in their order.
pub(super) fn stands_in(pattern: &str, words: &[&str]) -> bool {
    let mut tokens = pattern.split(' ');
    let first = tokens.next().unwrap_or_default();
    let is_program = |word: &&str| {
        let name = word.rsplit('/').next().unwrap_or(word);
        first
            .split('|')
            .any(|want| want.len() > 1 && glob::matches(want, name))
    };
    let Some(at) = words.iter().position(is_program) else {
        return false;
    };
    tokens.all(|token| {
        let token = token.trim_start_matches('~');
        match token.starts_with('-') {
            true => token.split('|').any(|option| has_option(option, words)),
            false => words[at + 1..].iter().any(|word| any_of(token, word)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, line: &str, expect: bool) {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(
            fits(pattern, words[0], &words[1..]),
            expect,
            "{pattern} <- {line}"
        );
    }

    #[test]
    fn words_are_found_behind_options_and_nowhere_else() {
        for (line, expect) in [
            ("git push", true),
            ("git -C x push", true),
            ("git -c a=b -C x --git-dir=y push origin", true),
            ("git --git-dir y push", true),
            ("git log push", false),
            ("git commit -m push", false),
            ("git --no-pager log push", false),
            ("git stash push", false),
            ("gitk push", false),
        ] {
            check("git push", line, expect);
        }
    }

    #[test]
    fn options_are_found_in_clusters_and_shortened() {
        let pattern = "rm -r|-R|--recursive -f|--force";
        for (line, expect) in [
            ("rm -rf x", true),
            ("rm -f x -R", true),
            ("rm --recurs --force x", true),
            ("rm -r x", false),
            ("rm -- -rf", false),
            ("rm -fv x", false),
        ] {
            check(pattern, line, expect);
        }
        check("dd ~of=*", "dd if=a of=b", true);
        check("find -delete", "find . -name d -delete", true);
        check("find -delete", "find . -name delete", false);
    }

    #[test]
    fn wrapped_commands_are_found() {
        let check = |line: &str, fixed, flags, expect: &[usize]| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(starts(&words, fixed, flags), expect, "{line}");
        };
        check("rm -rf x", 0, "", &[0]);
        check("-u root rm x", 0, "", &[1, 2]);
        check("-n rm x", 0, "n", &[1]);
        check("A=1 B=2 rm x", 0, "", &[2]);
        check("-i A=1 rm x", 0, "i", &[2]);
        check("-k 5 10 rm x", 1, "", &[2, 3]);
        check("10 rm x", 1, "", &[1]);
        check("run -e A=1 -p 80 img rm x", 2, "", &[4, 5, 6]);
        check("exec pod -- rm x", 2, "", &[3]);
        check("-u", 0, "", &[]);
    }
}
