//! Programs that need more than a row of the table: what ends processes, runs scripts or hides commands.

use super::command::is_script_option;
use super::*;

impl Judge<'_> {
    /// The guard's own process, and whatever is not known to be another one.
    pub(super) fn kill(&mut self, name: &str, args: &[Arg], stdin: &Stdin) {
        let found = "ends a process that may be this guard or the AI tool";
        let shown = joined(args);
        if name == "killall5" || name == "xkill" {
            return self.find(Category::ShellDestructive, &shown, "ends every process");
        }
        let mut operands: Vec<&Arg> = Vec::new();
        let mut options = true;
        for (at, arg) in args.iter().enumerate().skip(1) {
            let text = arg.text.as_str();
            let first = !args[1..at].iter().any(|arg| arg.text.starts_with('-'));
            if text == "--" {
                options = false;
            } else if options
                && text.starts_with('-')
                && (name != "kill" || first || text.len() > 5)
            {
                continue;
            } else {
                operands.push(arg);
            }
        }
        if name == "kill"
            && args
                .iter()
                .skip(1)
                .any(|arg| matches!(arg.text.as_str(), "-l" | "-L" | "-0"))
        {
            return;
        }
        if name == "kill" && operands.iter().any(|arg| arg.text == "-1") {
            return self.find(Category::ShellDestructive, &shown, "ends every process");
        }
        // `xargs kill -9`.
        if operands.is_empty() && (stdin.piped || stdin.file) {
            return self.find(Category::ConfigModify, &shown, found);
        }
        for arg in operands {
            let text = arg.text.as_str();
            let ours = match name {
                "kill" => match text.parse::<u32>() {
                    Ok(0) => true,
                    Ok(pid) => self.scene.files.is_ours(pid),
                    Err(_) => arg.opaque || !text.starts_with('%') && !is_signal(text),
                },
                _ => {
                    arg.opaque
                        || text.is_empty()
                        || self.scene.own.is_named(text)
                        || text.contains(['*', '.', '[', '|', '^', '$', '+']) && name != "fuser"
                }
            };
            if ours {
                return self.find(Category::ConfigModify, &shown, found);
            }
        }
    }

    /// `git -c alias.x='!rm' x`.
    pub(super) fn git_alias(&mut self, rest: &[&str], depth: usize) {
        for word in rest {
            let lower = word.to_ascii_lowercase();
            let value = match word.split_once('=') {
                Some((_, value)) if lower.starts_with("alias.") => value,
                _ if word.starts_with('!') => word,
                _ if rest.contains(&"-x")
                    || rest.contains(&"--exec")
                    || rest.contains(&"foreach")
                    || rest.contains(&"run") =>
                {
                    word
                }
                _ => continue,
            };
            let script = value.trim_start_matches('!');
            if script.len() < value.len() || script.contains(' ') {
                self.queue.push_back((script.to_owned(), depth + 1));
            } else if lower.starts_with("alias.") {
                self.queue.push_back((format!("git {script}"), depth + 1));
            }
        }
    }

    /// `apply_patch <<'EOF'`.
    pub(super) fn patch(&mut self, rest: &[&str], stdin: &Stdin) {
        let text = rest
            .first()
            .map(|text| (*text).to_owned())
            .or(stdin.text.clone());
        match text {
            Some(text) => {
                let found = super::super::operation::patch(&text, self.scene);
                self.findings.extend(found);
            }
            None => self.find(
                Category::Other,
                "apply_patch",
                "changes files by a patch that can not be seen",
            ),
        }
    }

    pub(super) fn shell(&mut self, args: &[Arg], stdin: &Stdin, depth: usize) {
        let rest = &args[1..];
        // What stands behind `-s` is for the script: `sh -s -- -c`.
        let own = rest.iter().position(|arg| is_stdin(&arg.text));
        let own = &rest[..own.unwrap_or(rest.len())];
        if own.iter().any(|arg| is_script_option(&arg.text)) {
            let scripts = rest.iter().filter(|arg| !arg.text.starts_with('-'));
            let scripts: Vec<(String, usize)> =
                scripts.map(|arg| (arg.text.clone(), depth + 1)).collect();
            return self.queue.extend(scripts);
        }
        if rest.iter().any(|arg| arg.substituted) {
            return self.downloaded(args);
        }
        let from_stdin = reads_stdin(rest);
        match (&stdin.text, from_stdin) {
            (Some(text), true) => {
                self.queue.push_back((text.clone(), depth + 1));
                if stdin.opaque {
                    self.search(&text.clone(), "is a script that is only known when it runs");
                }
            }
            (None, true) if stdin.piped || stdin.file => self.downloaded(args),
            (None, true) if self.scene.open_shells && !is_question(rest) => {
                self.find(
                    Category::Other,
                    &joined(args),
                    "opens a shell into which more can be typed without being asked about",
                );
            }
            _ => {}
        }
    }

    /// `ssh host <<EOF`, `sudo -s <<EOF`: a shell that reads its script.
    pub(super) fn login(&mut self, args: &[Arg], stdin: &Stdin, depth: usize) {
        let operands = args[1..].iter().filter(|arg| !arg.text.starts_with('-'));
        match &stdin.text {
            Some(text) => self.queue.push_back((text.clone(), depth + 1)),
            None if (stdin.piped || stdin.file) && operands.count() <= 1 => self.downloaded(args),
            None => {}
        }
    }

    pub(super) fn interpreter(&mut self, name: &str, args: &[Arg], stdin: &Stdin) {
        let rest = &args[1..];
        const PROGRAMS_FIRST: &[&str] = &["awk", "gawk", "mawk", "nawk", "sed"];
        if PROGRAMS_FIRST.contains(&name) {
            if name == "sed" {
                return;
            }
            if let Some(code) = rest.iter().find(|arg| !arg.text.starts_with('-')) {
                let code = code.text.clone();
                if code.contains("system") || code.contains('|') || code.contains('>') {
                    self.search(&code, "is a program in a line");
                }
            }
            return;
        }
        let inline = |arg: &Arg| {
            let text = arg.text.as_str();
            matches!(text, "--eval" | "--print" | "eval" | "-print")
                || text.starts_with('-')
                    && !text.starts_with("--")
                    && text.len() <= 5
                    && text.contains(['c', 'e', 'E', 'r', 'p'])
        };
        if rest.iter().any(inline) {
            let code: Vec<String> = rest.iter().map(|arg| arg.text.clone()).collect();
            return self.search(&code.join(" "), "is a program in a line");
        }
        if !reads_stdin(rest) {
            return;
        }
        match &stdin.text {
            Some(text) => {
                let text = text.clone();
                self.search(&text, "is a program in a line");
            }
            None if stdin.piped || stdin.file => self.downloaded(args),
            None if self.scene.open_shells && !is_question(rest) => {
                self.find(
                    Category::Other,
                    &joined(args),
                    "opens a program into which more can be typed without being asked about",
                );
            }
            None => {}
        }
    }

    pub(super) fn downloaded(&mut self, args: &[Arg]) {
        self.find(
            Category::ShellDestructive,
            &joined(args),
            "runs what another command puts out, which can not be seen",
        );
    }
}

/// True where no file is named that would be run.
fn reads_stdin(rest: &[Arg]) -> bool {
    rest.iter().all(|arg| arg.text.starts_with('-')) || rest.iter().any(|arg| is_stdin(&arg.text))
}

fn is_stdin(word: &str) -> bool {
    matches!(word, "-s" | "-" | "/dev/stdin" | "/dev/fd/0")
}

/// `--version` and the like.
fn is_question(rest: &[Arg]) -> bool {
    rest.iter().any(|arg| {
        matches!(
            arg.text.as_str(),
            "--version" | "-V" | "-v" | "--help" | "-h" | "-version"
        )
    })
}

fn is_signal(text: &str) -> bool {
    let name = text.trim_start_matches('-').trim_start_matches("SIG");
    !name.is_empty() && name.len() <= 6 && name.bytes().all(|byte| byte.is_ascii_uppercase())
}
