//! Protected places: files whose change changes what runs, who may do what, or this guard.
//!
//! Owns names; it reads no disk. A path is compared by its components, in lower case, because some file systems
//! do not tell capitals apart.

use super::glob;

/// A place and why it is protected. Components are separated by `/`, `*` stands for any text within one; a
/// `$` behind it means that nothing may follow. Anything may stand before, but for those that begin with `/`.
const PLACES: &[(&str, &str)] = &[
    (".env*", "holds a program's secrets"),
    ("prod*.env$", "holds a program's secrets"),
    ("*.pem$", "is a key or certificate"),
    ("*.key$", "is a key"),
    ("*.p12$", "is a key"),
    ("*.pfx$", "is a key"),
    ("*.jks$", "is a key"),
    ("*.keystore$", "is a key"),
    ("*.kdbx$", "holds passwords"),
    ("id_rsa*$", "is a key"),
    ("id_dsa*$", "is a key"),
    ("id_ecdsa*$", "is a key"),
    ("id_ed25519*$", "is a key"),
    ("authorized_keys*$", "says who may log in"),
    ("credentials$", "holds credentials"),
    ("credentials.*$", "holds credentials"),
    (".credentials*$", "holds credentials"),
    ("secrets.*$", "holds secrets"),
    ("service-account*.json$", "holds credentials"),
    ("service_account*.json$", "holds credentials"),
    (".ssh", "holds keys and says where they are used"),
    (".gnupg", "holds keys"),
    (".aws", "holds credentials of the cloud"),
    (".azure", "holds credentials of the cloud"),
    (".config/gcloud", "holds credentials of the cloud"),
    (".kube", "holds credentials of clusters"),
    (".docker/config.json", "holds credentials of registries"),
    (".config/gh", "holds credentials of the forge"),
    (".npmrc$", "holds the registry's token and scripts"),
    (".yarnrc*$", "holds the registry's token"),
    (".pypirc$", "holds the registry's token"),
    (".cargo/credentials*", "holds the registry's token"),
    (".cargo/config*", "says what builds run"),
    (".gem/credentials", "holds the registry's token"),
    (".netrc$", "holds passwords"),
    ("_netrc$", "holds passwords"),
    (".pgpass$", "holds passwords"),
    (".my.cnf$", "holds passwords"),
    (".git-credentials$", "holds passwords"),
    (".git/hooks", "runs at git's next step"),
    (".git/config*$", "says what git runs"),
    (".git/info", "says what git runs"),
    (".git/modules", "says what git runs"),
    (".git$", "is the repository itself"),
    (".gitconfig$", "says what git runs"),
    (".config/git", "says what git runs"),
    (".husky", "runs at git's next step"),
    (".bashrc$", "runs in every shell"),
    (".bash_profile$", "runs in every shell"),
    (".bash_login$", "runs in every shell"),
    (".bash_logout$", "runs in every shell"),
    (".bash_aliases$", "runs in every shell"),
    (".profile$", "runs in every shell"),
    (".zshrc$", "runs in every shell"),
    (".zshenv$", "runs in every shell"),
    (".zprofile$", "runs in every shell"),
    (".zlogin$", "runs in every shell"),
    (".zlogout$", "runs in every shell"),
    (".kshrc$", "runs in every shell"),
    (".cshrc$", "runs in every shell"),
    (".tcshrc$", "runs in every shell"),
    (".inputrc$", "changes every shell"),
    (".config/fish", "runs in every shell"),
    (".xinitrc$", "starts by itself"),
    (".xprofile$", "starts by itself"),
    (".config/autostart", "starts by itself"),
    (".config/systemd", "starts by itself"),
    (".config/environment.d", "changes every program"),
    (".pam_environment$", "changes every program"),
    ("library/launchagents", "starts by itself"),
    ("library/launchdaemons", "starts by itself"),
    ("/etc/systemd", "starts by itself"),
    ("/etc/cron*", "starts by itself"),
    ("/var/spool/cron", "starts by itself"),
    ("/etc/init.d", "starts by itself"),
    ("/etc/rc*", "starts by itself"),
    ("/etc/profile*", "runs in every shell"),
    ("/etc/bash*", "runs in every shell"),
    ("/etc/zsh*", "runs in every shell"),
    ("/etc/environment", "changes every program"),
    ("/etc/ld.so*", "changes every program"),
    ("/etc/sudoers*", "says who may do what"),
    ("/etc/pam.d", "says who may do what"),
    ("/etc/passwd*", "says who may do what"),
    ("/etc/shadow*", "says who may do what"),
    ("/etc/group*", "says who may do what"),
    ("/etc/hosts*", "says where names lead"),
    ("/etc/resolv.conf", "says where names lead"),
    ("/etc/ssh", "says who may log in"),
    ("/etc/claude-code", "is the settings of an AI tool"),
    ("*production*.yml$", "is a configuration of production"),
    ("*production*.yaml$", "is a configuration of production"),
    ("*production*.json$", "is a configuration of production"),
    ("*production*.toml$", "is a configuration of production"),
    ("*production*.conf$", "is a configuration of production"),
    ("*production*.ini$", "is a configuration of production"),
    ("*production*.rb$", "is a configuration of production"),
    ("prod.yml$", "is a configuration of production"),
    ("prod.yaml$", "is a configuration of production"),
    ("prod.json$", "is a configuration of production"),
    ("prod.toml$", "is a configuration of production"),
    ("*.tfvars$", "is a configuration of production"),
    ("*.tfstate*$", "is what is known of the infrastructure"),
    (".claude/settings*.json*", "is the settings of an AI tool"),
    (".claude/hooks", "is a hook of an AI tool"),
    (".claude/plugins", "is a plugin of an AI tool"),
    (".claude$", "is the settings of an AI tool"),
    (".claude.json*$", "is the settings of an AI tool"),
    ("managed-settings*", "is the settings of an AI tool"),
    (".mcp.json$", "says which programs an AI tool starts"),
    (".codex/hooks*", "is a hook of an AI tool"),
    (".codex/config*", "is the settings of an AI tool"),
    (".codex/rules", "is the settings of an AI tool"),
    (".codex/auth.json", "holds credentials"),
    (".codex$", "is the settings of an AI tool"),
    (".gemini/settings*", "is the settings of an AI tool"),
    (".gemini/extensions", "is a plugin of an AI tool"),
    (".gemini/policies", "is the settings of an AI tool"),
    (".gemini/trusted*", "is the settings of an AI tool"),
    (".gemini/hooks", "is a hook of an AI tool"),
    (".gemini$", "is the settings of an AI tool"),
    (".qwen/settings*", "is the settings of an AI tool"),
    (".qwen/extensions", "is a plugin of an AI tool"),
    (".qwen/trusted*", "is the settings of an AI tool"),
    (".qwen/hooks", "is a hook of an AI tool"),
    (".qwen$", "is the settings of an AI tool"),
    (".cursor/hooks*", "is a hook of an AI tool"),
    (".cursor/mcp.json", "says which programs an AI tool starts"),
    (".cursor/*settings*", "is the settings of an AI tool"),
    (".cursor/cli*", "is the settings of an AI tool"),
    (".cursor$", "is the settings of an AI tool"),
    (".copilot", "is the settings of an AI tool"),
    (".github/hooks", "is a hook of an AI tool"),
    (".codeium", "is the settings of an AI tool"),
    (".windsurf/hooks*", "is a hook of an AI tool"),
    (".cline", "is the settings of an AI tool"),
    ("cline/hooks", "is a hook of an AI tool"),
    (".clinerules/hooks", "is a hook of an AI tool"),
    (
        "cline_mcp_settings.json$",
        "says which programs an AI tool starts",
    ),
    (
        "claude_desktop_config.json$",
        "says which programs an AI tool starts",
    ),
    (".agents/plugins", "is a plugin of an AI tool"),
    (".config/goose", "is the settings of an AI tool"),
    (".config/opencode", "is the settings of an AI tool"),
    (".opencode", "is the settings of an AI tool"),
    (".openclaw", "is the settings of an AI tool"),
    (".vscode/mcp.json", "says which programs an AI tool starts"),
    (".vscode/settings.json", "says what the editor runs"),
    (".vscode/tasks.json", "says what the editor runs"),
    (
        "code/user/mcp.json",
        "says which programs an AI tool starts",
    ),
    ("code/user/settings.json", "says what the editor runs"),
];

/// Why a path is protected, by its name. The path may be relative; `.` and `..` are taken away here.
pub(super) fn protected(path: &str) -> Option<&'static str> {
    // No place has such a long name, and long words are texts.
    if path.len() > 4_096
        || !path.contains(['.', '_', '/', '-']) && !path.eq_ignore_ascii_case("credentials")
    {
        return None;
    }
    let path = tidy(path).to_ascii_lowercase();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let absolute = path.starts_with('/');
    let expands = path.contains(['*', '?', '[', '{']);
    PLACES
        .iter()
        // Most places have no part of this name: one look tells.
        .filter(|(place, _)| expands || path.contains(letters(place)))
        .find(|(place, _)| matches(place, &parts, absolute))
        .map(|(_, reason)| *reason)
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
    let expands = have.contains(['*', '?', '[', '{']);
    let letters = have.bytes().filter(u8::is_ascii_alphabetic).count();
    // `.e*` may be `.env`; `*` alone is never a name that begins with a dot.
    expands
        && letters > 0
        && want.starts_with('.') == have.starts_with(['.', '[', '{'])
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
