//! The guard: events of hosts' hooks, command lines, the person's rules.

use crate::readers::is_json;
use aerostack_gateway::api::guard::{
    Files, Guarded, Judgement, Own, Settings, explain, hosts, judge,
};

const FOLDER: &str = "/home/u/app";

/// A disk where everything below two folders is there.
struct Disk;

impl Files for Disk {
    fn real(&self, path: &str) -> Option<String> {
        self.exists(path).then(|| path.to_owned())
    }

    fn link(&self, path: &str) -> Option<String> {
        (path == "/home/u/app/link").then(|| "/home/u/.ssh/config".to_owned())
    }

    fn exists(&self, path: &str) -> bool {
        path.starts_with("/home/u") || path.starts_with("/opt/bin")
    }

    fn text(&self, path: &str) -> Option<String> {
        path.ends_with(".txt").then(|| "one\ntwo\n".to_owned())
    }

    fn is_ours(&self, pid: u32) -> bool {
        pid == 77
    }
}

fn settings(rules: Option<&str>, guarded: Guarded) -> Result<Settings, String> {
    let own = Own {
        program: Some("/opt/bin/aerostack-gateway".to_owned()),
        settings: Some("/home/u/.config/aerostack/guard.env".to_owned()),
        others: vec!["/home/u/.claude/settings.json".to_owned()],
    };
    Settings::new(rules, guarded, own, Some("/home/u".to_owned()))
}

/// A command line: it is judged, and no disguise makes it harmless.
pub(crate) fn command(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let settings = settings(None, Guarded::Risky).expect("no rules are right");
    let said = |text: &str| explain(text, FOLDER, &settings, &Disk);
    // `sh -c` takes a script that begins like this for more options, and runs nothing.
    if said(text).starts_with("silent") || text.starts_with(['-', '+']) {
        return;
    }
    let quoted = format!("'{}'", text.replace('\'', r"'\''"));
    for disguise in [
        format!("true\n{text}"),
        format!("sh -c {quoted}"),
        format!("eval {quoted}"),
    ] {
        let words = said(&disguise);
        assert!(
            !words.starts_with("silent"),
            "{text:?} is risky, {disguise:?} is {words}"
        );
    }
}

/// A hook's event: what can not be read is denied, what is said is the host's language.
pub(crate) fn event(data: &[u8]) {
    let Some((seed, raw)) = data.split_first() else {
        return;
    };
    let Ok(raw) = std::str::from_utf8(raw) else {
        return;
    };
    let host = &hosts::HOSTS[usize::from(seed % 8) % hosts::HOSTS.len()];
    let guarded = if seed & 8 == 0 {
        Guarded::Risky
    } else {
        Guarded::All
    };
    let settings = settings(None, guarded).expect("no rules are right");
    let event = match host.read(raw) {
        Ok(event) => event,
        Err(why) => {
            let words = host.denied(&why.to_string());
            assert!(words.code == 2 || is_json(&words.stdout));
            return;
        }
    };
    assert!(event.folder.starts_with('/') && is_json_or_not_kept(&event.input));
    let said = [
        Some(host.approved(&event, "they said \"yes\"\n\u{1b}")),
        Some(host.denied("they said \"no\"\n")),
        host.asked(&event, "why"),
    ];
    for words in said.into_iter().flatten() {
        assert!(
            words.stdout.is_empty() || is_json(&words.stdout),
            "{words:?}"
        );
    }
    if let Judgement::Ask(question) = judge(&event, &settings, &Disk) {
        let shown = [question.action, question.details].concat();
        let hidden = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(!shown.contains(hidden), "{shown:?}");
    }
}

/// A number that no reader of ours could hold is JSON all the same.
fn is_json_or_not_kept(input: &str) -> bool {
    input.is_empty() || serde_json::from_str::<&serde_json::value::RawValue>(input).is_ok()
}

/// The person's rules, and a command line under them: what they deny stays denied.
pub(crate) fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (rules, command) = text.split_once('\0').unwrap_or((text, "git push --force"));
    let Ok(settings) = settings(Some(rules), Guarded::Risky) else {
        return;
    };
    let words = explain(command, FOLDER, &settings, &Disk);
    let known = ["silent: ", "ask (", "deny: "];
    assert!(
        known.iter().any(|known| words.starts_with(known)),
        "{words:?}"
    );
}
