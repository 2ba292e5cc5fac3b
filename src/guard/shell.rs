//! Splits a shell command line into simple commands, as a POSIX shell, bash or zsh would.
//!
//! Owns the grammar of words, quotes, expansions, operators and here-documents. It expands nothing
//! and knows no command. Where it is in doubt it splits once more than a shell would: a piece that is
//! looked at without need costs a question, a piece that is not looked at costs a file.
//! It never recurses: text in `$(…)`, backquotes and `<(…)` is handed back to be split in its turn.

mod expand;
mod scan;
mod word;

pub(super) use word::{Part, Redirect, Simple, Word};

use super::risk::Words;
use expand::{assignment, backquoted, dollar, expand};

/// The text of one script, split.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The simple commands, in order.
    pub(super) commands: Vec<Simple>,
    /// Scripts within: command and process substitutions.
    pub(super) nested: Vec<String>,
    /// A quote or parenthesis that is not closed: what was split may not be what runs.
    pub(super) broken: bool,
}

/// Splits a script.
pub(super) fn split(text: &str) -> Script {
    let mut splitter = Splitter {
        text,
        at: 0,
        script: Script::default(),
        simple: Simple::default(),
        word: None,
        wants: Wants::Word,
        documents: Vec::new(),
        piped: false,
        groups: Vec::new(),
        closed: None,
        source: None,
        arithmetics: 0,
    };
    splitter.run();
    splitter.script
}

/// What the next word is.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Word,
    /// The target of a redirection: it writes, it truncates.
    Target(bool, bool),
    /// The delimiter of a here-document; tabs are stripped.
    Delimiter(bool),
    HereString,
    /// Behind `>&`, `<&`: a descriptor, or a file.
    Descriptor(bool),
    /// The name behind `function`.
    FunctionName,
    /// A word of `[[ … ]]`: no operator redirects in there.
    Condition,
}

/// A here-document whose body begins at the next line.
struct Document {
    delimiter: String,
    tabs: bool,
    expands: bool,
    /// The command it belongs to, if that one was ended before the line.
    command: Option<usize>,
}

struct Splitter<'a> {
    text: &'a str,
    at: usize,
    script: Script,
    simple: Simple,
    word: Option<Word>,
    wants: Wants,
    documents: Vec<Document>,
    piped: bool,
    /// The groups that are open: where each begins among the commands, and whether it reads from a pipe.
    groups: Vec<(usize, bool)>,
    /// Where the group began that has just been closed.
    closed: Option<usize>,
    /// What a pipe behind a group reads from.
    source: Option<usize>,
    arithmetics: usize,
}

/// How often `((` is looked at as arithmetic; then it is two parentheses.
const ARITHMETICS_MAX: usize = 64;

const RESERVED: Words =
    Words("if then elif else fi while until do done ! coproc begin end not and or always esac");

impl Splitter<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        self.text
            .as_bytes()
            .get(self.at + ahead)
            .copied()
            .unwrap_or(0)
    }

    fn run(&mut self) {
        while self.at < self.text.len() {
            match self.byte(0) {
                b'\\' => self.backslash(),
                b'\'' => self.single_quoted(),
                b'"' => self.double_quoted(),
                b'$' => self.dollar(),
                b'`' => self.backquoted(),
                b'#' if self.word.is_none() => {
                    let line = &self.text[self.at..];
                    self.at += line.find('\n').unwrap_or(line.len());
                }
                b' ' | b'\t' | b'\r' => {
                    self.end_word();
                    self.at += 1;
                }
                b'\n' => {
                    self.end_command();
                    self.at += 1;
                    self.read_documents();
                }
                b'<' | b'>' if self.byte(1) == b'(' => {
                    self.at += 1;
                    self.substitution();
                }
                b'<' | b'>' if self.wants != Wants::Condition => self.redirection(),
                b'&' if self.byte(1) == b'>' => {
                    self.at += 1;
                    self.redirection();
                }
                b'(' if self.byte(1) == b'(' && self.begins() => self.arithmetic(),
                b';' | b'&' | b'|' | b'(' | b')' => self.operator(),
                _ => self.plain(),
            }
        }
        self.end_command();
        self.read_documents();
    }

    fn begins(&self) -> bool {
        self.word.is_none() && self.simple.words.is_empty()
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    /// A run of characters that mean nothing special.
    fn plain(&mut self) {
        let special = |c: char| " \t\r\n\\'\"$`<>;&|()".contains(c);
        let rest = &self.text[self.at..];
        let end = rest.find(special).unwrap_or(rest.len());
        // A special character that no branch took stands for itself.
        let end = end.max(1);
        let run = &self.text[self.at..self.at + end];
        self.at += end;
        let first = self.word.is_none();
        let word = self.word();
        word.tilde |= first && run.starts_with('~');
        word.glob |= run.contains(['*', '?', '[', '{'])
            && run != "{"
            && run != "{}"
            && run != "["
            && run != "[[";
        word.push(run);
    }

    fn backslash(&mut self) {
        let rest = &self.text[self.at + 1..];
        let Some(c) = rest.chars().next() else {
            self.at += 1;
            return self.word().push("\\");
        };
        self.at += 1 + c.len_utf8();
        if c != '\n' {
            let word = self.word();
            word.quoted = true;
            word.push(c.encode_utf8(&mut [0; 4]));
        }
    }

    fn single_quoted(&mut self) {
        let rest = &self.text[self.at + 1..];
        let end = rest.find('\'').unwrap_or_else(|| {
            self.script.broken = true;
            rest.len()
        });
        self.at = (self.at + end + 2).min(self.text.len());
        let word = self.word();
        word.quoted = true;
        word.push(&rest[..end]);
    }

    fn double_quoted(&mut self) {
        let inner = &self.text[self.at + 1..];
        let end = scan::double_quote(inner);
        self.script.broken |= end.is_none();
        let end = end.unwrap_or(inner.len());
        self.at = (self.at + end + 2).min(self.text.len());
        let word = self.word.get_or_insert_default();
        word.quoted = true;
        // "" is a word, too.
        word.push("");
        expand(&inner[..end], true, word, &mut self.script.nested);
    }

    fn dollar(&mut self) {
        let rest = &self.text[self.at..];
        if let Some(quoted) = rest.strip_prefix("$'") {
            let (text, used) = scan::ansi_c(quoted);
            self.script.broken |= used.is_none();
            self.at += 2 + used.unwrap_or(quoted.len());
            let word = self.word();
            word.quoted = true;
            return word.push(&text);
        }
        if rest.starts_with("$\"") {
            self.at += 1;
            return self.double_quoted();
        }
        let word = self.word.get_or_insert_default();
        let (used, broken) = dollar(rest, word, &mut self.script.nested);
        self.script.broken |= broken;
        self.at += used;
    }

    fn backquoted(&mut self) {
        let word = self.word.get_or_insert_default();
        let (used, broken) = backquoted(&self.text[self.at..], word, &mut self.script.nested);
        self.script.broken |= broken;
        self.at += used;
    }

    /// `<(…)`, `>(…)`: at the parenthesis.
    fn substitution(&mut self) {
        let inner = &self.text[self.at + 1..];
        let end = scan::closing(inner, b')');
        self.script.broken |= end.is_none();
        let end = end.unwrap_or(inner.len());
        self.script.nested.push(inner[..end].to_owned());
        self.at = (self.at + end + 2).min(self.text.len());
        self.word().parts.push(Part::Substitution);
    }

    /// `((…))`: numbers, and perhaps substitutions.
    fn arithmetic(&mut self) {
        let inner = &self.text[self.at + 2..];
        // Each try reads to the end of the text at worst.
        self.arithmetics += 1;
        let end = match self.arithmetics <= ARITHMETICS_MAX {
            true => scan::closing(inner, b')'),
            false => None,
        };
        match end {
            Some(end) if inner[end..].starts_with("))") => {
                // A shell that takes it for two subshells runs what is within.
                let within = inner[..end].replace(['<', '>'], " ");
                self.script.nested.push(within);
                self.at += end + 4;
            }
            // Two subshells.
            _ => self.operator(),
        }
    }

    fn operator(&mut self) {
        let (first, second) = (self.byte(0), self.byte(1));
        let pipes = first == b'|' && second != b'|';
        self.end_command();
        let closed = self.closed.take();
        match first {
            b'(' => self.open(self.piped),
            b')' => self.closed = self.groups.pop().map(|(begin, _)| begin),
            _ => {}
        }
        self.at += 1;
        let doubled = first == second && matches!(first, b'|' | b'&' | b';');
        if doubled || pipes && second == b'&' {
            self.at += 1;
        }
        // What follows a pipe within parentheses reads from it, too.
        self.piped = pipes || self.piped && first == b'(';
        if pipes {
            self.source = closed;
        }
    }

    fn open(&mut self, piped: bool) {
        let within = piped || self.groups.last().is_some_and(|(_, piped)| *piped);
        self.groups.push((self.script.commands.len(), within));
    }

    fn redirection(&mut self) {
        // `2>`: the number is no argument.
        let number = |word: &Word| {
            let text = word.plain();
            let named = text.starts_with('{') && text.ends_with('}') && text.len() > 2;
            named || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        match self.word.take() {
            Some(word) if !number(&word) => self.take(word),
            _ => {}
        }
        let rest = &self.text[self.at..];
        let (used, wants) = [
            ("<<<", Wants::HereString),
            ("<<-", Wants::Delimiter(true)),
            ("<<", Wants::Delimiter(false)),
            ("<>", Wants::Target(true, false)),
            ("<&", Wants::Descriptor(false)),
            ("<", Wants::Target(false, false)),
            (">>", Wants::Target(true, false)),
            (">&", Wants::Descriptor(true)),
            (">|", Wants::Target(true, true)),
            (">!", Wants::Target(true, true)),
            (">", Wants::Target(true, true)),
        ]
        .into_iter()
        .find(|(operator, _)| rest.starts_with(operator))
        .map_or((1, Wants::Word), |(operator, wants)| {
            (operator.len(), wants)
        });
        self.at += used;
        self.wants = wants;
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            self.take(word);
        }
    }

    fn take(&mut self, word: Word) {
        match std::mem::replace(&mut self.wants, Wants::Word) {
            Wants::Target(writes, truncates) => self.simple.redirects.push(Redirect {
                writes,
                truncates,
                target: word,
            }),
            Wants::HereString => self.simple.here.push(word),
            Wants::Descriptor(writes) => {
                let text = word.plain();
                let descriptor = !text.is_empty()
                    && text
                        .trim_end_matches('-')
                        .bytes()
                        .all(|b| b.is_ascii_digit());
                if !descriptor {
                    self.simple.redirects.push(Redirect {
                        writes,
                        truncates: writes,
                        target: word,
                    });
                }
            }
            Wants::Delimiter(tabs) => self.documents.push(Document {
                delimiter: word.shown(),
                tabs,
                expands: !word.quoted,
                command: None,
            }),
            Wants::FunctionName => self.end_command(),
            Wants::Condition => {
                self.wants = if word.plain() == "]]" {
                    Wants::Word
                } else {
                    Wants::Condition
                };
                self.simple.words.push(word);
            }
            Wants::Word => self.argument(word),
        }
    }

    fn argument(&mut self, word: Word) {
        let plain = word.plain();
        if plain == "{" || plain == "}" {
            let piped = self.piped;
            self.end_command();
            self.piped = piped && plain == "{";
            match plain {
                "{" => self.open(piped),
                _ => self.closed = self.groups.pop().map(|(begin, _)| begin),
            }
            return;
        }
        if !self.simple.words.is_empty() || self.simple.data {
            return self.simple.words.push(word);
        }
        self.closed = None;
        if self.simple.assigns.is_empty() {
            match plain {
                "for" | "select" | "case" | "foreach" => return self.simple.data = true,
                "function" => return self.wants = Wants::FunctionName,
                "[[" => self.wants = Wants::Condition,
                // What all of it puts out is not known.
                "done" | "fi" | "esac" | "end" => return self.closed = Some(usize::MAX),
                _ if RESERVED.contains(plain) => return,
                _ => {}
            }
        }
        match assignment(&word) {
            Some(assigned) => self.simple.assigns.push(assigned),
            None => self.simple.words.push(word),
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.wants = Wants::Word;
        let simple = std::mem::take(&mut self.simple);
        let empty = simple.words.is_empty()
            && simple.assigns.is_empty()
            && simple.redirects.is_empty()
            && simple.here.is_empty();
        let waits = self
            .documents
            .iter()
            .any(|document| document.command.is_none());
        if empty && !waits {
            return;
        }
        let index = self.script.commands.len();
        for document in &mut self.documents {
            document.command.get_or_insert(index);
        }
        // `curl x | (cd y && sh)`: what it reads is not what stands before it.
        let inherits = !self.piped && self.groups.last().is_some_and(|(_, piped)| *piped);
        let source = self.source.take().filter(|_| self.piped);
        self.script.commands.push(Simple {
            piped: self.piped || inherits,
            source: if inherits { Some(usize::MAX) } else { source },
            ..simple
        });
        self.piped = false;
    }

    /// The bodies of the here-documents of the line that has just ended.
    fn read_documents(&mut self) {
        for document in std::mem::take(&mut self.documents) {
            let rest = &self.text[self.at..];
            let (body, used) = scan::document(rest, &document.delimiter, document.tabs);
            self.at += used;
            let mut word = Word {
                quoted: true,
                ..Word::default()
            };
            match document.expands {
                true => expand(body, false, &mut word, &mut self.script.nested),
                false => word.push(body),
            }
            let command = document
                .command
                .and_then(|index| self.script.commands.get_mut(index));
            if let Some(command) = command {
                command.here.push(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands by `;`, words by `,`; redirections behind.
    fn shown(text: &str) -> String {
        let mut left = vec![text.to_owned()];
        let mut out = Vec::new();
        while let Some(text) = left.pop() {
            let script = split(&text);
            for simple in &script.commands {
                let mut words: Vec<String> = Vec::new();
                words.extend(
                    simple
                        .assigns
                        .iter()
                        .map(|(name, value)| format!("{name}:={}", value.shown())),
                );
                words.extend(simple.words.iter().map(Word::shown));
                words.extend(
                    simple.redirects.iter().map(|r| {
                        format!("{}{}", if r.writes { ">" } else { "<" }, r.target.shown())
                    }),
                );
                words.extend(simple.here.iter().map(|here| format!("<<{}", here.shown())));
                let piped = if simple.piped { "|" } else { "" };
                out.push(format!("{piped}{}", words.join(",")));
            }
            if script.broken {
                out.push("broken".to_owned());
            }
            left.extend(script.nested.into_iter().rev());
        }
        out.join(";")
    }

    #[test]
    fn lines_are_split_as_a_shell_would() {
        for (text, expect) in [
            ("rm -rf x", "rm,-rf,x"),
            ("a;b&c&&d||e|f|&g", "a;b;c;d;e;|f;|g"),
            ("a\nb # c\nd", "a;b;d"),
            ("a#b '#' \\#", "a#b,#,#"),
            ("'r'm r\"m\" \\rm r\\\nm", "rm,rm,rm,rm"),
            ("\"\" ''", ","),
            ("A=1 B='x y' rm", "A:=1,B:=x y,rm"),
            ("rm A=1", "rm,A=1"),
            ("echo $(rm x) `rm y`", "echo,$(…),$(…);rm,x;rm,y"),
            ("echo \"$(rm \"$(a)\")\"", "echo,$(…);rm,$(…);a"),
            ("cat <(rm x) >(b)", "cat,$(…),$(…);rm,x;b"),
            ("echo '$(rm x)' \\$(a", "echo,$(rm x),$;a"),
            ("(cd x; rm y) | z", "cd,x;rm,y;|z"),
            ("a | (b; c)", "a;|b;|c"),
            ("if a; then rm x; fi", "a;rm,x"),
            ("for f in a b; do rm $f; done", "f,in,a,b;rm,$f"),
            ("case $x in a) rm x;; esac", "$x,in,a;rm,x"),
            ("f() { rm x; }; f", "f;rm,x;f"),
            ("function f { rm x; }", "rm,x"),
            (
                "a 2>&1 >b 2>/dev/null <c &>d >>e",
                "a,>b,>/dev/null,<c,>d,>e",
            ),
            ("a >&f 3>&- >| g", "a,>f,>g"),
            ("cat <<E\nrm $(b)\nE\nc", "cat,<<rm $(…)\n;c;b"),
            ("cat <<'E' && c\nrm $(b)\nE\nd", "cat,<<rm $(b)\n;c;d"),
            ("cat <<-E\n\tx\n\tE\nd", "cat,<<\tx\n;d"),
            ("a <<<'b c'", "a,<<b c"),
            ("[[ a > b ]] && c", "[[,a,>,b,]];c"),
            ("((i > 3)) && c", "c;i,3"),
            (
                "echo ${x:-$(rm y)} ${HOME} $HOME/x",
                "echo,${…},$HOME,$HOME/x;x:-$(…);rm,y",
            ),
            ("x=$'r\\x6d' a", "x:=rm,a"),
            (
                "git commit -m \"$(cat <<'E'\ndon't ) \"\nE\n)\"",
                "git,commit,-m,$(…);cat,<<don't ) \"\n",
            ),
            ("echo 'x", "echo,x;broken"),
            ("echo $(a", "echo,$(…);broken;a"),
            ("! a; time b", "a;time,b"),
            ("a \\", "a,\\"),
            ("find . -exec rm {} \\;", "find,.,-exec,rm,{},;"),
        ] {
            assert_eq!(shown(text), expect, "{text}");
        }
    }

    #[test]
    fn every_prefix_and_every_cut_is_read() {
        let text = "a \"$(b `c` ${d:-'e'} <<E\nf\nE\n)\" $'\\x41' <(g) 2>&1 | ((1)) && [[ h ]] é\\";
        for cut in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            shown(&text[..cut]);
            shown(&text[cut..]);
        }
    }
}
