//! Protected places: files whose change changes what runs, who may do what, or this guard.
//!
//! Owns names; it reads no disk. A path is compared by its components, in lower case, because some file systems
//! do not tell capitals apart.

use super::glob;

/// The places, as they are read.
const PLACES: &str = include_str!("places.txt");

/// Each place and why it is protected.
fn places() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut reason = "";
    PLACES.lines().filter_map(move |line| {
        if let Some(why) = line.strip_prefix('[') {
            reason = why.trim_end_matches(']');
            return None;
        }
        (!line.is_empty() && !line.starts_with('#')).then_some((line, reason))
    })
}

/// Why a path is protected, by its name. The path may be relative; `.` and `..` are taken away here.
pub(super) fn protected(path: &str) -> Option<&'static str> {
    // No place has such a long name, and long words are texts.
    if path.len() > 4_096
        || !path.contains(['.', '_', '/', '-']) && !path.eq_ignore_ascii_case("credentials")
    {
        return None;
    }
    match path.contains('{') {
        true => glob::braces(path).iter().find_map(|path| named(path)),
        false => named(path),
    }
}

/// The same of a path without braces that a shell would replace.
fn named(path: &str) -> Option<&'static str> {
    let path = tidy(path).to_ascii_lowercase();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let absolute = path.starts_with('/');
    let expands = path.contains(['*', '?', '[']) || path.contains('{') && path.contains(',');
    places()
        // Most places have no part of this name: one look tells.
        .filter(|(place, _)| expands || path.contains(letters(place)))
        .find(|(place, _)| matches(place, &parts, absolute))
        .map(|(_, reason)| reason)
}

/// What stands in every path of a place: its longest beginning or end without `*`.
fn letters(place: &str) -> &str {
    let place = place.trim_end_matches('$');
    place
        .split('*')
        .max_by_key(|part| part.len())
        .unwrap_or_default()
}

fn matches(place: &str, parts: &[&str], absolute: bool) -> bool {
    let (place, last) = match place.strip_suffix('$') {
        Some(place) => (place, true),
        None => (place, false),
    };
    let (place, rooted) = match place.strip_prefix('/') {
        Some(place) => (place, true),
        None => (place, false),
    };
    let length = place.split('/').count();
    if length > parts.len() || rooted && !absolute {
        return false;
    }
    let starts = 0..=parts.len() - length;
    starts
        .filter(|start| (!rooted || *start == 0) && (!last || start + length == parts.len()))
        .any(|start| {
            place
                .split('/')
                .zip(&parts[start..])
                .all(|(want, have)| component(want, have))
        })
}

/// A component of a path that may itself be a pattern of the shell.
fn component(want: &str, have: &str) -> bool {
    if glob::matches(want, have) {
        return true;
    }
    // Braces are still here where there were too many.
    let braces = have.contains('{') && have.contains(',');
    let expands = have.contains(['*', '?', '[']) || braces;
    let letters = have.bytes().filter(u8::is_ascii_alphabetic).count();
    // `.e*` may be `.env`; `*` alone is never a name that begins with a dot.
    expands
        && letters > 0
        && want.starts_with('.')
            == (have.starts_with(['.', '[']) || braces && have.starts_with('{'))
        && want.starts_with('.')
        && glob::shell(have, want.trim_end_matches('*'))
}

/// The path without `.`, `..` and doubled slashes, as text alone.
pub(super) fn tidy(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    if absolute {
        format!("/{joined}")
    } else {
        joined
    }
}

/// `path` from `folder`, tidied.
pub(super) fn join(folder: &str, path: &str) -> String {
    match path.starts_with('/') {
        true => tidy(path),
        false => tidy(&format!("{folder}/{path}")),
    }
}

/// True for `path` itself and all within.
pub(super) fn within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_by_name() {
        for path in [
            ".env",
            "a/.env.local",
            "./.env",
            "/home/u/.ssh/config",
            "~/.ssh",
            ".git/hooks/pre-commit",
            "x/../.npmrc",
            ".ENV",
            "certs/a.pem",
            ".claude/settings.local.json",
            "/etc/cron.d/x",
            "/etc/crontab",
            "id_ed25519",
            "credentials",
            ".envrc",
            ".e*",
            ".en?",
            ".{env,x}",
            "{x,.env}",
            "{a,b/{c,.env}}",
            ".env{.example,}",
            "config/production.yml",
            ".codex/hooks.json",
            ".claude",
            ".git",
        ] {
            assert!(protected(path).is_some(), "{path}");
        }
        for path in [
            "src/main.rs",
            "env",
            "environment.ts",
            "credentials.rs/x",
            "a.keyboard",
            "*",
            ".*/x",
            "etc/cron.d",
            ".github/workflows/a.yml",
            ".claude/skills/a.md",
            "",
            "/",
            "..",
            "production",
            ".gitignore",
            "*.rs",
            "/x/{print $1}",
            "/x/{\"a\":1}",
            "src/{a,b}",
            "/x/{src,test}/**/*.ts",
            "update .env handling",
        ] {
            assert!(protected(path).is_none(), "{path}");
        }
    }

    #[test]
    fn paths_are_tidied() {
        for (path, expect) in [
            ("/a/../../b/./c", "/b/c"),
            ("../a/..", ".."),
            ("a//b/", "a/b"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(tidy(path), expect);
        }
        assert!(within("/a/b", "/a") && within("/a", "/a/") && !within("/ab", "/a"));
    }
}
