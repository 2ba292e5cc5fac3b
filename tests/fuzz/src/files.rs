//! The editors of hosts' files, judged by readers of others: only our entry changes, and goes again.

use aerostack_gateway::api::config::{Config, Limits};
use aerostack_gateway::api::fuzz::{Source, hosts as edit};
use aerostack_gateway::api::hosts::{HookCommand, Host, Server};
use serde_json::{Map, Value};

struct Given;

impl Source for Given {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "AEROSTACK_WORKSPACE_URL" => Some("https://w.example/ws/x".to_owned()),
            "AEROSTACK_TOKEN" => Some("mwt_T0P-S3CRET".to_owned()),
            _ => None,
        }
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

/// The host that the first byte names, and the text behind it. Longer ones show nothing new, and some of
/// the readers of others recurse.
fn input(data: &[u8]) -> Option<(&'static Host, &str)> {
    let (seed, text) = data.split_first()?;
    let text = std::str::from_utf8(text).ok()?;
    let hosts = edit::all();
    (text.len() <= 2_048).then(|| (&hosts[usize::from(*seed) % hosts.len()], text))
}

/// The text as a reader of others has it; `None` where that one refuses it.
fn read(format: &str, text: &str) -> Option<Value> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    match format {
        "Toml" => toml::from_str(text).ok(),
        // Its reader takes a zero for the end.
        "Yaml" if text.contains('\0') => None,
        "Yaml" => {
            let mut documents = yaml_rust2::YamlLoader::load_from_str(text).ok()?;
            match documents.len() {
                0 => Some(Value::Object(Map::new())),
                1 => Some(of_yaml(documents.remove(0))),
                _ => None,
            }
        }
        _ => json5::from_str(text).ok(),
    }
}

fn of_yaml(value: yaml_rust2::Yaml) -> Value {
    use yaml_rust2::Yaml;
    match value {
        // Blank lines at the end of a text are let go: they may stand behind our entry then.
        Yaml::String(text) => Value::String(text.trim_end().to_owned()),
        Yaml::Array(items) => items.into_iter().map(of_yaml).collect(),
        Yaml::Hash(members) => {
            let pair = |(name, value)| match name {
                Yaml::String(name) => (name, of_yaml(value)),
                other => (format!("{other:?}"), of_yaml(value)),
            };
            Value::Object(members.into_iter().map(pair).collect())
        }
        Yaml::Null => Value::Null,
        // Compared with themselves only.
        other => Value::String(format!("{other:?}")),
    }
}

/// Takes what stands at the path out, and above it what holds nothing else any more.
fn without(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    let members = value.as_object_mut()?;
    if rest.is_empty() {
        return members.remove(*first);
    }
    let inner = members.get_mut(*first)?;
    let found = without(inner, rest);
    if matches!(inner, Value::Null) || inner.as_object().is_some_and(Map::is_empty) {
        members.remove(*first);
    }
    found
}

/// `null` and `{}` where servers are listed say the same.
fn bare(value: &Value, path: &[&str]) -> Value {
    let mut value = value.clone();
    without(&mut value, path);
    match value {
        Value::Null => Value::Object(Map::new()),
        value => value,
    }
}

/// `--install` and `--uninstall`.
pub(crate) fn hosts(data: &[u8]) {
    let Some((host, text)) = input(data) else {
        return;
    };
    let config = Config::read(&Given, Limits::default()).expect("the settings are right");
    let server = Server::new("/opt/a b/\"gateway\"".to_owned(), &config, &[], None, true);
    let Some(added) = edit::installed(text, host, &server) else {
        return;
    };
    let (format, path) = edit::place(host);
    let read = |text: &str| read(&format, text);
    let removed = edit::uninstalled(&added, host);
    let removed =
        removed.unwrap_or_else(|| panic!("what was put in can not be taken out: {added:?}"));
    if let Some(before) = read(text) {
        let with = read(&added);
        let mut with =
            with.unwrap_or_else(|| panic!("no longer a file of its kind: {text:?} {added:?}"));
        let entry = without(&mut with, &path).expect("our entry is there");
        let command = ["command", "cmd"].iter().find_map(|name| entry.get(name));
        let command = command.and_then(|command| command.get(0).or(Some(command)));
        assert_eq!(
            command.and_then(Value::as_str),
            Some("/opt/a b/\"gateway\"")
        );
        assert_eq!(
            bare(&with, &path),
            bare(&before, &path),
            "{text:?} became {added:?}"
        );
        let after = read(&removed);
        let after =
            after.unwrap_or_else(|| panic!("no longer a file of its kind: {added:?} {removed:?}"));
        assert_eq!(
            bare(&after, &path),
            bare(&before, &path),
            "{text:?} became {removed:?}"
        );
        // Beside others our entry comes and goes without a trace.
        let servers = path[..path.len() - 1]
            .iter()
            .try_fold(&before, |value, name| value.get(name));
        let others = servers
            .and_then(Value::as_object)
            .is_some_and(|servers| !servers.is_empty());
        if others && edit::has_entry(text, host) == Some(false) {
            assert_eq!(
                squeezed(&removed),
                squeezed(text),
                "{text:?} became {removed:?}"
            );
        }
    }
    again(
        &removed,
        |text| edit::installed(text, host, &server),
        |text| edit::uninstalled(text, host),
    );
}

/// The hook of `--guard`.
pub(crate) fn hooks(data: &[u8]) {
    let Some((host, text)) = input(data) else {
        return;
    };
    let command = HookCommand {
        program: "/opt/a b/it's \"gateway\"".to_owned(),
        arguments: vec!["--env-file".to_owned(), "/home/u/env".to_owned()],
    };
    let Some(added) = edit::hooked(text, host, &command) else {
        return;
    };
    let removed = edit::unhooked(&added, host);
    let removed =
        removed.unwrap_or_else(|| panic!("what was put in can not be taken out: {added:?}"));
    let read = |text: &str| read("Json", text);
    if let Some(before) = read(text) {
        for text in [&added, &removed] {
            let mut now = read(text).unwrap_or_else(|| panic!("no longer JSON: {text:?}"));
            let mut before = before.clone();
            for value in [&mut now, &mut before] {
                strip_hooks(value);
            }
            assert_eq!(now, before, "{text:?}");
        }
        assert!(!removed.contains("--guard") || text.contains("--guard"));
    }
    again(
        &removed,
        |text| edit::hooked(text, host, &command),
        |text| edit::unhooked(text, host),
    );
}

/// Takes our hooks out, lists that are empty then, and the version that one host wants.
fn strip_hooks(value: &mut Value) {
    let Some(members) = value.as_object_mut() else {
        return;
    };
    members.remove("version");
    if let Some(hooks) = members.get_mut("hooks").and_then(Value::as_object_mut) {
        hooks.retain(|_, list| {
            let Some(list) = list.as_array_mut() else {
                return true;
            };
            list.retain(|entry| !entry.to_string().contains("--guard"));
            !list.is_empty()
        });
        if hooks.is_empty() {
            members.remove("hooks");
        }
    }
}

/// Put in and taken out again and again, a text does not grow: what was added once, a line end at the end
/// say, is there the next time.
fn again(
    first: &str,
    add: impl Fn(&str) -> Option<String>,
    remove: impl Fn(&str) -> Option<String>,
) {
    let round = |text: &str| {
        let with = add(text).unwrap_or_else(|| panic!("what is left can not be edited: {text:?}"));
        remove(&with).unwrap_or_else(|| panic!("it can not be taken out of {with:?}"))
    };
    let second = round(first);
    let third = round(&second);
    // Blank lines may go, one at a time.
    let is_blank = second.trim().is_empty() && third.len() <= second.len();
    assert!(
        third == second || is_blank,
        "after {first:?}: {second:?}, then {third:?}"
    );
}

/// What a text says, comments and all.
fn squeezed(text: &str) -> String {
    text.replace([' ', '\t', '\r', '\n', ','], "")
}
