//! Tools of other MCP servers: what their names and arguments tell of files, commands and databases.

use super::judge::{self, Scene};
use super::operation::{command_text, quoted};
use super::places::{Found, Places};
use super::risk::{Category, Words};
use super::{Finding, operation};
use crate::proto::jsonrpc;
use serde_json::value::RawValue;

/// Values of one call that are looked at.
const VALUES_MAX: usize = 20_000;

const COMMANDS: Words = Words(
    "command cmd commands script shell shell_command command_line commandline bash exec \
    shellcommand",
);
/// What is typed into a terminal, where a tool's name says that there is one.
const TYPED: Words = Words("input keys text data line lines stdin chars");
const TERMINALS: Words = Words("process terminal shell tmux pty console ssh repl keys bash");
const CODE: Words = Words("code python javascript js expression function source_code program");
const PATHS: Words = Words(
    "path paths file files file_path filepath filename file_name target target_file \
    destination dest output output_path outputpath output_file uri old_path new_path oldpath \
    newpath notebook_path relative_path absolute_path directory dir source to from location \
    save_path pathinproject path_in_project",
);
const STATEMENTS: Words = Words("sql query statement statements queries");
/// What a database is made of, in a tool's name.
const DATA: Words = Words(
    "many one database databases collection collections table tables index row rows record \
    records document documents schema",
);
/// Words of a tool's name that say that it only looks.
const LOOKS: Words = Words(
    "read get list search find view info stat tree show describe grep glob cat head tail \
    query fetch lookup count diff status log",
);

/// Words that say that it does not.
const CHANGES: Words = Words(
    "write edit delete remove update create move rename save put set replace append patch insert",
);
/// Words that say that something goes away.
const DELETES: Words = Words("delete remove unlink rm rmdir trash erase destroy");

/// What is risky in a call, or why it can not be read.
pub(super) fn judge(
    tool: &str,
    arguments: &str,
    scene: &Scene<'_>,
) -> Result<Vec<Finding>, String> {
    let words = words(tool);
    let is = |list: &Words| words.iter().any(|word| list.contains(word));
    let looks = is(&LOOKS) && !is(&CHANGES);
    let deletes = is(&DELETES);
    let mut findings = Vec::new();
    findings.extend(
        scene
            .rules
            .command(&[tool])
            .map(|rule| Finding::of_rule(rule, tool)),
    );
    let mut call = Call {
        tool,
        scene,
        looks,
        deletes,
        terminal: is(&TERMINALS),
        places: Places::new(scene.files, scene.own, scene.home, scene.folder),
    };
    let mut left = vec![(String::new(), arguments)];
    let mut seen = 0;
    while let Some((name, raw)) = left.pop() {
        seen += 1;
        if seen > VALUES_MAX {
            let why = "has too many arguments to be looked through";
            findings.push(Finding::new(Category::Other, tool, why));
            break;
        }
        if raw.starts_with('{') {
            let members = jsonrpc::members(raw).ok_or(UNREADABLE)?;
            findings.extend(command_with_arguments(&members, scene));
            let lower = |(name, raw): (String, _)| (name.to_ascii_lowercase(), raw);
            left.extend(members.into_iter().rev().map(lower));
        } else if raw.starts_with('[') {
            let list: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| UNREADABLE)?;
            if COMMANDS.contains(name.as_str())
                && let Some(text) = command_text(raw)
            {
                findings.extend(judge::command(&text, scene));
            }
            left.extend(list.into_iter().rev().map(|raw| (name.clone(), raw.get())));
        } else if raw.starts_with('"') {
            let text = jsonrpc::string(raw).ok_or(UNREADABLE)?;
            findings.extend(call.value(&name, &text));
        }
    }
    findings.extend(by_name(&words, tool));
    Ok(findings)
}

const UNREADABLE: &str = "its arguments can not be read";

/// A call, and what its tool's name tells.
struct Call<'a> {
    tool: &'a str,
    scene: &'a Scene<'a>,
    looks: bool,
    deletes: bool,
    terminal: bool,
    places: Places<'a>,
}

impl Call<'_> {
    /// What is risky in a text of this name.
    fn value(&mut self, name: &str, text: &str) -> Vec<Finding> {
        let known = |list: &Words| list.contains(name);
        if known(&COMMANDS) || self.terminal && known(&TYPED) {
            judge::command(text, self.scene)
        } else if known(&CODE) {
            judge::code(text, self.scene)
        } else if known(&STATEMENTS) {
            judge::statements(text, self.tool).into_iter().collect()
        } else if known(&PATHS) {
            self.path(text.strip_prefix("file://").unwrap_or(text))
        } else if text.starts_with("*** Begin Patch") {
            operation::patch(text, self.scene)
        } else {
            Vec::new()
        }
    }

    fn path(&mut self, path: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let rule = self.scene.rules.path(path, self.scene.folder);
        findings.extend(rule.map(|rule| Finding::of_rule(rule, path)));
        if self.places.tells_secrets(path, true) {
            let why = "reads the guard's settings, which hold the token";
            findings.push(Finding::new(Category::ConfigModify, path, why));
        }
        match self.places.changed(path) {
            Found::Protected(reason) if !self.looks => {
                let why = format!("changes a file that {reason}");
                findings.push(Finding::new(Category::ConfigModify, path, &why));
            }
            _ if self.deletes => {
                findings.push(Finding::new(Category::FileDelete, path, "is deleted"));
            }
            Found::Protected(_) | Found::Outside | Found::Nothing => {}
        }
        findings
    }
}

/// `{"command":"rm","args":["-rf","x"]}`.
fn command_with_arguments(members: &[(String, &str)], scene: &Scene<'_>) -> Vec<Finding> {
    let of = |name: &str| {
        members
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, raw)| *raw)
    };
    let command = of("command").or(of("cmd")).and_then(jsonrpc::string);
    let args: Option<Vec<String>> = of("args")
        .or(of("arguments"))
        .and_then(|raw| serde_json::from_str(raw).ok());
    match (command, args) {
        (Some(command), Some(args)) => {
            let args: Vec<String> = args.iter().map(|word| quoted(word)).collect();
            judge::command(&format!("{command} {}", args.join(" ")), scene)
        }
        _ => Vec::new(),
    }
}

/// What a tool's name alone tells.
fn by_name(words: &[String], tool: &str) -> Option<Finding> {
    let has = |word: &str| words.iter().any(|known| known == word);
    if has("push") || has("merge") {
        return Some(Finding::new(
            Category::GitPush,
            tool,
            "sends something to a shared repository, by its name",
        ));
    }
    if has("deploy") || has("publish") || has("release") && has("create") {
        return Some(Finding::new(
            Category::Deploy,
            tool,
            "deploys or publishes, by its name",
        ));
    }
    let writes = has("drop") || has("truncate");
    let changes = words.iter().any(|word| DELETES.contains(word)) || has("update") || has("insert");
    if writes || changes && words.iter().any(|word| DATA.contains(word)) {
        return Some(Finding::new(
            Category::Database,
            tool,
            "changes data, by its name",
        ));
    }
    if has("kubectl")
        && ["apply", "delete", "create", "patch", "scale", "rollout"]
            .iter()
            .any(|word| has(word))
    {
        return Some(Finding::new(
            Category::Deploy,
            tool,
            "changes a cluster, by its name",
        ));
    }
    None
}

/// The words of a tool's name behind its server's: `mcp__files__writeFile` is `write`, `file`.
fn words(tool: &str) -> Vec<String> {
    let name = tool.rsplit("__").next().unwrap_or(tool);
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c.is_ascii_uppercase() || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            last.push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
