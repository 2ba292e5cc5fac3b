//! How the hooks of `--guard` stand: for `--check`, and for the guardian's text, which must not say that a
//! hook asks where it does not.

use super::hooks::{FORMS, Form, Style, entries, ours, path};
use super::{EditError, Format};
use crate::config::Source;
use crate::proto::identity::sha256;
use crate::proto::jsonrpc::member;
use std::path::{Path, PathBuf};

/// As it should be.
const STANDS: &str = "installed";
const CHANGED: &str = "CHANGED since it was installed: run --install again";

/// A line for each host that has the hook: whether it is as it should be, and what that host can not enforce.
pub fn hook_states(source: &dyn Source, program: &str) -> Vec<String> {
    FORMS
        .iter()
        .filter_map(|form| state(form, source, program))
        .collect()
}

/// The hosts whose hook stands as it should, by what their `clientInfo.name` begins with.
pub fn guarded(source: &dyn Source, program: &str) -> Vec<&'static str> {
    let forms = FORMS.iter();
    let stands = |form: &&Form| found(form, source, program).is_some_and(|(_, how)| how == STANDS);
    forms.filter(stands).map(|form| form.host).collect()
}

fn state(form: &Form, source: &dyn Source, program: &str) -> Option<String> {
    let (path, found) = found(form, source, program)?;
    Some(format!(
        "Guard hook of {}: {found} ({}); {}",
        form.host,
        path.display(),
        form.open
    ))
}

/// Where the hook lies, and how it stands.
fn found(form: &Form, source: &dyn Source, program: &str) -> Option<(PathBuf, &'static str)> {
    let path = path(form, source).ok()?;
    let text = source.file(&path.to_string_lossy()).ok()?;
    let mut own = Vec::new();
    let mut whole = true;
    for (list, matcher) in form.lists {
        let entries = ours(&text, list, form.host).unwrap_or_default();
        whole &= matches!(entries[..], [entry] if is_whole(form, matcher, entry));
        own.extend(entries);
    }
    let first = own.first()?;
    let found = if is_switched_off(form, source, &text) {
        "SWITCHED OFF by disableAllHooks, hooksConfig or features.hooks"
    } else if !whole {
        CHANGED
    } else if !own.iter().all(|entry| entry.contains(program)) {
        "starts another program than this one: run --install again"
    } else if form.host == "codex" {
        trust(form, source, &path, &text, first).unwrap_or(CHANGED)
    } else {
        STANDS
    };
    Some((path, found))
}

/// Whether nothing is missing of what was written beside the command.
fn is_whole(form: &Form, matcher: &str, entry: &str) -> bool {
    let squeezed = squeezed(entry);
    let blocks = match form.style {
        Style::Arguments => "\"onFailure\":\"block\"",
        Style::Flat => "\"failClosed\":true",
        Style::Shell => "",
    };
    let holds = |part: &str| squeezed.contains(part);
    holds(blocks) && holds(matcher) && holds(&["\"timeout\":", form.timeout].concat())
}

/// Whether the person's own settings, or those of the folder it runs in, switch all hooks off: hosts obey a
/// repository there.
fn is_switched_off(form: &Form, source: &dyn Source, own: &str) -> bool {
    let nearby = |file| source.file(&[form.folder, file].concat());
    let nearby = ["/settings.json", "/settings.local.json", "/config.toml"].map(nearby);
    says_off(own) || nearby.iter().flatten().any(|text| says_off(text))
}

/// What switches all hooks off in a host's files: the language, the name, the value.
const SWITCHES: [(Format, &[&str], &str); 3] = [
    (Format::Json, &["disableAllHooks"], "true"),
    (Format::Json, &["hooksConfig", "enabled"], "false"),
    (Format::Toml, &["features", "hooks"], "false"),
];

fn says_off(text: &str) -> bool {
    let off = |(format, name, off): &(Format, &[&str], &str)| match format.get(text, name) {
        // In TOML the rest of the line is of the entry, and a comment ends it.
        Ok(entry) => entry
            .and_then(|entry| entry.split('#').next())
            .is_some_and(|entry| entry.trim_end().ends_with(off)),
        // Hosts differ in which of the two counts: better told than not.
        Err(EditError::Twice(_)) => true,
        // Of another language, or of none: no host obeys it.
        Err(_) => false,
    };
    SWITCHES.iter().any(off)
}

fn squeezed(text: &str) -> String {
    text.replace([' ', '\n', '\t', '\r'], "")
}

/// Codex keeps beside the hooks which of them the person trusts: by its place in the list, with a digest of
/// its values. It skips all others without a word. `None`: it is not read as a hook at all.
fn trust(
    form: &Form,
    source: &dyn Source,
    hooks: &Path,
    text: &str,
    own: &str,
) -> Option<&'static str> {
    let all = entries(text, "PreToolUse").ok().flatten()?;
    let at = all.iter().position(|entry| *entry == own)?;
    let config = hooks.with_file_name("config.toml");
    let config = source.file(&config.to_string_lossy()).unwrap_or_default();
    // The folder before it has more than one name where links lead to it.
    let key = format!("/hooks.json:pre_tool_use:{at}:0");
    let digest = digest(form, own)?;
    let all_off = says_off(&config);
    let mut found = "NOT TRUSTED yet: /hooks in Codex";
    for state in config.split("\n[").filter(|state| state.contains(&key)) {
        let off = all_off || state.contains("enabled = false");
        if state.contains(&digest) && !off {
            return Some(STANDS);
        }
        found = "CHANGED since it was trusted, or switched off: /hooks in Codex";
    }
    Some(found)
}

/// What Codex makes of a hook's values: members in the order of their names, what is not given left out. The
/// command counts as it is written: Codex writes a text as we do.
fn digest(form: &Form, entry: &str) -> Option<String> {
    let (_, matcher) = form.lists.first()?;
    let (_, hook) = entry.split_once('[')?;
    let (hook, _) = hook.rsplit_once(']')?;
    let text = [
        "{\"event_name\":\"pre_tool_use\",\"hooks\":[{\"async\":false,\"command\":",
        member(hook, "command")?,
        ",\"timeout\":",
        form.timeout,
        ",\"type\":\"command\"}],\"matcher\":\"",
        matcher,
        "\"}",
    ];
    Some(sha256(text.concat().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_read_in_every_way_that_it_is_written() {
        for off in [
            "{\"disableAllHooks\":true}",
            "{\n  // for now\n  \"disableAllHooks\" : true,\n}",
            "{\"disableAllHooks\": false, \"disableAllHooks\": true}",
            "{\"hooksConfig\": {\"disabled\": [], \"enabled\": false}}",
            "[features]\nhooks = false\n",
            "[features]\nhooks=false # for now",
            "features.hooks = false",
            "features = { plan = true, hooks = false }\n",
        ] {
            assert!(says_off(off), "{off}");
        }
        for on in [
            "",
            "{\"disableAllHooks\": false}",
            "{\"env\": {\"disableAllHooks\": true}}",
            "{\"hooksConfig\": {\"enabled\": true}}",
            "{\"hooksConfig\": \"enabled\"}",
            "[features]\nplugin_hooks = false\n",
            "[features]\n# hooks = false\nhooks = true\n",
            "[mine]\nhooks = false\n",
        ] {
            assert!(!says_off(on), "{on}");
        }
    }

    /// As Codex 0.169.0 said it (`hooks/list` of its app-server).
    #[test]
    fn codex_trusts_a_digest_of_the_values() {
        let codex = FORMS.iter().find(|form| form.host == "codex");
        let codex = codex.expect("it is known");
        let group = r#"{"matcher": "Bash|apply_patch|mcp__.*", "hooks": [{"type": "command", "command": "'/opt/a b/aerostack-gateway' --guard codex --env-file /home/u/é", "timeout": 3600}]}"#;
        let seen = "a637dc61c1377cb347069ccfd86d15ec8192876be5373cc6a5ec558516938d45";
        for layout in [group.to_owned(), group.replace(": [{", ":\n  [\n    {\n")] {
            assert_eq!(digest(codex, &layout).as_deref(), Some(seen), "{layout}");
        }
        let other = group.replace("--env-file", "--log-file");
        assert_ne!(digest(codex, &other).as_deref(), Some(seen));
        assert_eq!(digest(codex, "{}"), None);
    }
}
