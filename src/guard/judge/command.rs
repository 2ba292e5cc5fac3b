//! One simple command, seen from every place in it where a command may begin.

use super::*;

impl Judge<'_> {
    /// Looks at the words of a simple command.
    pub(super) fn arguments(&mut self, args: &[Arg], stdin: &Stdin, depth: usize) {
        let words: Vec<&str> = args.iter().map(|arg| arg.text.as_str()).collect();
        let (mut left, mut seen) = (vec![0], Vec::new());
        let mut reads_only = true;
        while let Some(start) = left.pop() {
            if start >= args.len() || seen.contains(&start) {
                continue;
            }
            seen.push(start);
            if seen.len() > STARTS_MAX {
                self.find(
                    Category::Other,
                    &joined(args),
                    "has too many wrappers to be looked through",
                );
                break;
            }
            let name = program(words[start]);
            let rest = &words[start + 1..];
            let wrappers = wrapped(&name, rest);
            let only_wraps = !wrappers.0.is_empty()
                && !matches!(
                    name.as_str(),
                    "docker" | "podman" | "git" | "npm" | "yarn" | "pnpm"
                );
            reads_only &= only_wraps || reads(&name, rest);
            if wrappers.1 {
                let scripts = rest
                    .iter()
                    .filter(|word| word.contains([' ', ';', '\n', '|', '&']));
                // `--split-string=rm x`, too.
                let scripts = scripts
                    .flat_map(|word| [Some(*word), word.split_once('=').map(|(_, rest)| rest)]);
                let scripts = scripts.flatten().map(|word| (word.to_owned(), depth + 1));
                self.queue.extend(scripts);
            }
            left.extend(wrappers.0.iter().map(|at| start + 1 + at));
            self.one(&name, &args[start..], stdin, depth, &mut left, start);
        }
        self.files(args, reads_only);
    }

    /// Looks at the command that begins at the first of the arguments.
    fn one(
        &mut self,
        name: &str,
        args: &[Arg],
        stdin: &Stdin,
        depth: usize,
        left: &mut Vec<usize>,
        start: usize,
    ) {
        let words: Vec<&str> = args.iter().map(|arg| arg.text.as_str()).collect();
        let rest = &words[1..];
        if let Some(rule) = self.scene.rules.command(&words) {
            self.findings.push(Finding::of_rule(rule, &joined(args)));
        }
        self.unknown_name(args, name);
        if let Some(row) = self
            .table
            .iter()
            .find(|row| rows::fits(row.pattern, name, rest))
            .filter(|_| !changes_nothing(name, rest))
        {
            self.find(row.category, &joined(args), row.reason);
        }
        self.special(name, args, stdin, depth);
        if matches!(name, "find" | "fd" | "fdfind") {
            const STARTS: &[&str] = &[
                "-exec",
                "-execdir",
                "-ok",
                "-okdir",
                "-x",
                "-X",
                "--exec",
                "--exec-batch",
            ];
            let found = rest
                .iter()
                .enumerate()
                .filter(|(_, word)| STARTS.contains(word));
            left.extend(found.map(|(at, _)| start + at + 2));
        }
        let opaque_script = args[1..].iter().any(|arg| arg.substituted);
        if opaque_script
            && (name == "eval"
                || risk::SHELLS.contains(name) && rest.iter().any(|word| is_script_option(word)))
        {
            self.downloaded(args);
        }
        if risk::CLIENTS.contains(name)
            || name == "wrangler" && rest.contains(&"d1") && rest.contains(&"execute")
        {
            self.database(name, args, stdin);
        }
        let opens = name == "ssh" && rest.iter().filter(|word| !word.starts_with('-')).count() == 1;
        if opens && self.scene.open_shells {
            self.find(
                Category::Other,
                &joined(args),
                "opens a shell into which more can be typed without being asked about",
            );
        }
    }

    /// Programs that need more than a row.
    fn special(&mut self, name: &str, args: &[Arg], stdin: &Stdin, depth: usize) {
        let words: Vec<&str> = args.iter().map(|arg| arg.text.as_str()).collect();
        let rest = &words[1..];
        let logs_in = match name {
            "ssh" | "su" | "runuser" | "chroot" | "nsenter" => true,
            "sudo" | "doas" => rest
                .iter()
                .any(|word| ["-i", "-s", "--login", "--shell"].contains(word)),
            _ => false,
        };
        if logs_in {
            self.login(args, stdin, depth);
        }
        match name {
            "crontab"
                if (stdin.piped || stdin.file || stdin.text.is_some()) && !rest.contains(&"-l") =>
            {
                self.find(
                    Category::ConfigModify,
                    &joined(args),
                    "changes what starts by itself",
                );
            }
            "cd" | "pushd" | "chdir" => self.change_folder(args),
            "kill" | "pkill" | "killall" | "skill" | "xkill" | "fuser" | "killall5" => {
                self.kill(name, args, stdin)
            }
            "git" => self.git_alias(rest, depth),
            "apply_patch" | "applypatch" => self.patch(rest, stdin),
            "vercel" | "now" if !rest.iter().any(|word| risk::VERCEL_ELSE.contains(word)) => {
                self.find(Category::Deploy, &joined(args), "deploys the folder");
            }
            "rails" if rest.contains(&"runner") || rest.first() == Some(&"r") => {
                self.search(&joined(args), "is a program in a line")
            }
            "alias" => {
                let values = rest.iter().filter_map(|word| word.split_once('='));
                let scripts = values.map(|(_, value)| (value.to_owned(), depth + 1));
                self.queue.extend(scripts);
            }
            "eval" => self.queue.push_back((rest.join(" "), depth + 1)),
            "export" | "declare" | "typeset" | "local" | "readonly" => self.exported(&args[1..]),
            "." | "source"
                if rest.first() == Some(&"/dev/stdin")
                    || args.get(1).is_some_and(|arg| arg.substituted) =>
            {
                self.downloaded(args)
            }
            _ if risk::SHELLS.contains(name) => self.shell(args, stdin, depth),
            _ if risk::INTERPRETERS.contains(name) => self.interpreter(name, args, stdin),
            _ => {}
        }
    }

    /// A command, or its first word, that is only known when it runs.
    fn unknown_name(&mut self, args: &[Arg], name: &str) {
        let why = "has a command whose name is only known when it runs";
        if args[0].opaque {
            self.search(&joined(args), why);
            if !std::mem::replace(&mut self.searched, true) {
                self.search(self.whole, why);
            }
            return;
        }
        if args[0].glob
            && let Some(row) = may_become(&args[0].text, &args[1..])
        {
            return self.find(row.category, &joined(args), row.reason);
        }
        // `git $X`: up to the first word that can not be the value of an option.
        let is_option = |at: usize| args[at].text.starts_with('-');
        let definite =
            (1..args.len()).find(|at| !is_option(*at) && (*at == 1 || !is_option(at - 1)));
        let first = 1..args
            .len()
            .min(definite.map_or(usize::MAX, |at| at + 1))
            .min(9);
        let unknown = first
            .into_iter()
            .any(|at| (args[at].opaque || args[at].choice) && !is_option(at));
        if !unknown || !self.table.iter().any(|row| rows::names(row.pattern, name)) {
            return;
        }
        let lower = self.whole.to_ascii_lowercase();
        let words = words_of(&lower);
        let mut own: Vec<&str> = args.iter().map(|arg| arg.text.as_str()).collect();
        own[0] = name;
        let row = self.table.iter().copied().find(|row| {
            row.pattern.contains(' ')
                && rows::names(row.pattern, name)
                && (rows::stands_in(row.pattern, &words) || rows::stands_in(row.pattern, &own))
        });
        if let Some(row) = row {
            self.find(row.category, &joined(args), row.reason);
        }
    }

    /// `export A=b`.
    fn exported(&mut self, args: &[Arg]) {
        for arg in args {
            if let Some((name, value)) = arg.text.split_once('=') {
                let value = vec![Arg {
                    text: value.to_owned(),
                    ..arg.clone()
                }];
                self.assigned(name, &value);
                self.remember(name, value);
            }
        }
    }

    fn change_folder(&mut self, args: &[Arg]) {
        let target = args[1..]
            .iter()
            .find(|arg| !arg.text.starts_with('-') || arg.text == "-");
        match target {
            Some(arg) if arg.opaque || arg.glob => self.places.lost = true,
            // The folder before is one that is known already.
            Some(arg) if arg.text == "-" => {}
            Some(arg) => self.places.change_to(&arg.text),
            None => {
                if let Some(home) = self.places.home() {
                    self.places.change_to(home);
                }
            }
        }
    }

    /// The files that a command names.
    fn files(&mut self, args: &[Arg], reads_only: bool) {
        let name = program(&args[0].text);
        let recursive = matches!(
            name.as_str(),
            "rg" | "ag" | "ack" | "tar" | "zip" | "cp" | "rsync" | "scp"
        ) || name.ends_with("grep")
            && args
                .iter()
                .any(|arg| arg.text.starts_with('-') && arg.text.contains(['r', 'R']));
        let moves = args.iter().any(|arg| {
            let name = program(&arg.text);
            risk::WRITERS.contains(name.as_str()) || matches!(name.as_str(), "tar" | "zip" | "7z")
        });
        let writes = risk::WRITERS
            .iter()
            .any(|writer| args.iter().take(6).any(|arg| program(&arg.text) == writer))
            || name == "sed"
                && args
                    .iter()
                    .any(|arg| arg.text.starts_with("-i") || arg.text.starts_with("--in-place"));
        let (mut value_is_read, mut found) = (false, false);
        for arg in &args[1..] {
            if std::mem::replace(&mut value_is_read, arg.text == "--env-file")
                || arg.text.starts_with("--env-file=")
            {
                continue;
            }
            if self.scene.own.settings.is_some()
                && pieces(&arg.text).any(|piece| self.places.tells_secrets(piece, recursive))
            {
                self.find(
                    Category::ConfigModify,
                    &joined(args),
                    "reads the guard's settings, which hold the token",
                );
                return;
            }
            if reads_only || found || self.places.is_exhausted() {
                continue;
            }
            let is_option = arg.text.starts_with('-');
            if writes
                && !is_option
                && (arg.opaque || self.places.lost && !arg.text.starts_with('/'))
            {
                self.find(
                    Category::ConfigModify,
                    &joined(args),
                    "changes a file whose name is only known when it runs",
                );
                found = true;
                continue;
            }
            found = self.file(args, arg, moves);
        }
    }

    /// A file that a command may change; true where that is risky.
    fn file(&mut self, args: &[Arg], arg: &Arg, moves: bool) -> bool {
        for piece in pieces(&arg.text) {
            if let Some(rule) = self.scene.rules.path(piece, self.scene.folder) {
                self.findings.push(Finding::of_rule(rule, &joined(args)));
            }
            if let Found::Protected(reason) = self.places.changed(piece) {
                let why = format!("names a file that {reason}");
                self.find(Category::ConfigModify, &joined(args), &why);
                return true;
            }
            if moves && self.places.holds_us(piece) {
                let why = "names a folder that holds this guard or its settings";
                self.find(Category::ConfigModify, &joined(args), why);
                return true;
            }
        }
        false
    }
}

/// `git restore --staged .` leaves the files as they are, `git config --get credential.helper` the settings.
fn changes_nothing(name: &str, rest: &[&str]) -> bool {
    let has = |words: &[&str]| rest.iter().any(|word| words.contains(word));
    match (name, rest.first()) {
        ("git", Some(&"restore")) => has(&["--staged", "-S"]) && !has(&["--worktree", "-W"]),
        ("git", Some(&"config")) => {
            let second = rest
                .get(1)
                .is_some_and(|word| ["get", "list"].contains(word));
            second || has(&["--get", "--get-all", "--get-regexp", "--list", "-l"])
        }
        _ => false,
    }
}

/// A word, and what may be a path in it: behind `=`, `@`, `:` or a short option.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let long = text.len() > 4_096 || text.contains('\n') || text.contains("://");
    let word = (!long).then_some(text);
    let behind = move |sign: char| {
        word.and_then(move |word| word.split_once(sign))
            .map(|(_, rest)| rest)
    };
    let option = word
        .filter(|word| word.starts_with('-') && !word.starts_with("--") && word.is_char_boundary(2))
        .map(|word| &word[2..]);
    let parts = [
        word.filter(|word| !word.starts_with('-')),
        behind('='),
        behind('@'),
        behind(':'),
        option,
    ];
    parts
        .into_iter()
        .flatten()
        .filter(|piece| !piece.is_empty())
}

/// True for a command whose arguments are only read.
fn reads(name: &str, rest: &[&str]) -> bool {
    match name {
        "git" => risk::GIT_READ_ONLY
            .iter()
            .any(|word| rows::fits(&format!("git {word}"), "git", rest)),
        "find" => !rest.iter().any(|word| {
            word.starts_with("-exec")
                || word.starts_with("-ok")
                || word.starts_with("-fprint")
                || *word == "-fls"
                || *word == "-delete"
        }),
        "sed" => !rest.iter().any(|word| {
            word.starts_with("-i")
                || word.starts_with("--in-place")
                || word.starts_with("-n") && word.contains('i')
        }),
        "sort" | "tree" | "yq" | "fd" | "fdfind" => !rest.iter().any(|word| {
            ["-o", "-i", "-x", "-X", "--output", "--inplace", "--exec"]
                .iter()
                .any(|option| word.starts_with(option))
        }),
        _ if risk::SHELLS.contains(name) => rest.iter().any(|word| is_script_option(word)),
        _ => risk::READ_ONLY.contains(name),
    }
}

/// Where commands begin within the arguments of a wrapper, and whether arguments may be scripts.
fn wrapped(name: &str, rest: &[&str]) -> (Vec<usize>, bool) {
    let (mut starts, mut scripts) = (Vec::new(), false);
    let asks_only = matches!(name, "command" | "sudo")
        && rest
            .first()
            .is_some_and(|word| ["-v", "-V", "-l"].contains(word));
    if asks_only {
        return (starts, scripts);
    }
    for wrapper in risk::WRAPPERS
        .iter()
        .filter(|wrapper| rows::fits(wrapper.names, name, rest))
    {
        starts.extend(rows::starts(rest, wrapper.fixed, wrapper.flags));
        scripts |= wrapper.scripts;
    }
    let runs_file = risk::INTERPRETERS.contains(name) || risk::SHELLS.contains(name);
    if runs_file && !rest.iter().any(|word| is_script_option(word)) {
        starts.extend(rows::starts(rest, 0, "uBIOEsSxl"));
        // `python -m twine upload`.
        starts.extend(rest.iter().position(|word| *word == "-m").map(|at| at + 1));
    }
    (starts, scripts)
}

/// `-c`, `-lc`, `-ec`.
pub(in crate::guard) fn is_script_option(word: &str) -> bool {
    let letters = word.strip_prefix('-').unwrap_or_default();
    matches!(word, "--command" | "--commands" | "/c")
        || !letters.is_empty()
            && letters.contains('c')
            && letters.len() <= 6
            && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The row that fits a command whose name is a pattern of the shell.
fn may_become(pattern: &str, rest: &[Arg]) -> Option<risk::Row> {
    let name = pattern
        .rsplit('/')
        .next()
        .unwrap_or(pattern)
        .to_ascii_lowercase();
    let rest: Vec<&str> = rest.iter().map(|arg| arg.text.as_str()).collect();
    // `*` alone is a case of a `case`.
    let letters = name.contains(|c: char| c.is_ascii_alphabetic());
    risk::rows().find(|row| {
        let first = row.pattern.split(' ').next().unwrap_or_default();
        let fits = |want: &str| glob::shell(&name, want) && rows::fits(row.pattern, want, &rest);
        letters && first.split('|').any(fits)
    })
}
