//! What is put into a host's configuration: this program, and the settings it is to run with.

use super::value::Value;
use super::{EditError, Fixed, Format, Host, NAME, json};
use crate::config::{Config, Source};

const URL: &str = "AEROSTACK_WORKSPACE_URL";
const TOKEN: &str = "AEROSTACK_TOKEN";
const TOKEN_FILE: &str = "AEROSTACK_TOKEN_FILE";
const SAMPLE_URL: &str = "https://mcp.aerostack.dev/ws/your-workspace";
const SAMPLE_TOKEN: &str = "mwt_your-token";

/// Settings with samples for the two that are required: a configuration can be shown before there is
/// an account.
pub struct Placeholders<'a>(pub &'a dyn Source);

impl Source for Placeholders<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let given = |name: &str| self.0.variable(name);
        let filled = |value: &String| !value.trim().is_empty();
        match name {
            URL => given(URL).filter(filled).or(Some(SAMPLE_URL.to_owned())),
            TOKEN => match given(TOKEN_FILE).filter(filled) {
                Some(_) => given(TOKEN),
                None => given(TOKEN).or(Some(SAMPLE_TOKEN.to_owned())),
            },
            _ => given(name),
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.0.file(path)
    }
}

/// How a host is to start the gateway.
pub struct Server {
    /// The program's absolute path.
    program: String,
    /// Its settings.
    env: Vec<(String, String)>,
    /// The token is among them.
    pub(super) holds_token: bool,
}

impl Server {
    /// This program with the settings of a configuration. `arguments`, the settings of the command
    /// line, go along: the host's environment has not got them.
    pub fn new(
        program: String,
        config: &Config,
        arguments: &[(String, String)],
        show_token: bool,
    ) -> Server {
        let mut env = vec![(URL.to_owned(), config.endpoint.url())];
        let token = match (&config.token_file, &config.token) {
            (Some(path), _) => (TOKEN_FILE, absolute(path)),
            (None, None) => (TOKEN, "none".to_owned()),
            (None, Some(token)) if show_token => (TOKEN, token.expose().to_owned()),
            (None, Some(_)) => (TOKEN, SAMPLE_TOKEN.to_owned()),
        };
        let holds_token = config.token_file.is_none() && config.token.is_some();
        env.push((token.0.to_owned(), token.1));
        for (name, value) in arguments {
            if [URL, TOKEN, TOKEN_FILE].contains(&name.as_str()) {
                continue;
            }
            let value = match show_token {
                true => value.clone(),
                false => without_userinfo(value),
            };
            match env.iter_mut().find(|(own, _)| own == name) {
                Some(own) => own.1 = value,
                None => env.push((name.clone(), value)),
            }
        }
        Server {
            program,
            env,
            holds_token: holds_token && show_token,
        }
    }

    fn command(host: &Host) -> (&'static str, &'static str) {
        match host.format {
            Format::Yaml => ("cmd", "envs"),
            Format::Json | Format::Json5 => ("command", "env"),
        }
    }

    fn entry(&self, host: &Host) -> Value {
        let (command, env) = Server::command(host);
        let mut members: Vec<(String, Value)> = host
            .fixed
            .iter()
            .map(|(name, value)| ((*name).to_owned(), fixed(value)))
            .collect();
        members.push((command.to_owned(), Value::Text(self.program.clone())));
        members.push(("args".to_owned(), Value::EmptyList));
        let pairs = self.env.iter();
        let pairs = pairs.map(|(name, value)| (name.clone(), Value::Text(value.clone())));
        members.push((env.to_owned(), Value::Map(pairs.collect())));
        Value::Map(members)
    }

    /// The text of a configuration with this server in it. Members of an entry that is there already
    /// stay as they are, where they are not ours.
    pub(super) fn add_to(&self, text: &str, host: &Host) -> Result<String, EditError> {
        let (command, env) = Server::command(host);
        let mut base = host.servers.to_vec();
        base.push(NAME);
        let at = |name| [&base[..], &[name]].concat();
        if text.trim_start_matches('\u{feff}').trim().is_empty()
            || host.format.get(text, &base)?.is_none()
            || host.format.get(text, &at(command))?.is_none()
        {
            return host.format.set(text, &base, &self.entry(host));
        }
        let mut text = host
            .format
            .set(text, &at(command), &Value::Text(self.program.clone()))?;
        text = host.format.set(&text, &at("args"), &Value::EmptyList)?;
        for (name, value) in &self.env {
            let path = [&base[..], &[env, name]].concat();
            text = host.format.set(&text, &path, &Value::Text(value.clone()))?;
        }
        // A token that is left would win over the file.
        for name in [TOKEN, TOKEN_FILE] {
            if !self.env.iter().any(|(own, _)| own == name) {
                let path = [&base[..], &[env, name]].concat();
                text = host.format.remove(&text, &path)?;
            }
        }
        Ok(text)
    }

    /// The entry as it stands in a text, without secrets.
    pub(super) fn shown(&self, text: &str, host: &Host) -> String {
        let mut path = host.servers.to_vec();
        path.push(NAME);
        let shown = host.format.get(text, &path).ok().flatten();
        let mut shown = shown.unwrap_or_default().to_owned();
        for (name, value) in &self.env {
            if name == TOKEN && value != "none" {
                shown = shown.replace(value, SAMPLE_TOKEN);
            }
        }
        hide(&shown)
    }
}

fn fixed(value: &Fixed) -> Value {
    match value {
        Fixed::Text(text) => Value::Text((*text).to_owned()),
        Fixed::Raw(raw) => Value::Raw(raw),
    }
}

fn absolute(path: &str) -> String {
    match std::path::absolute(path) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => path.to_owned(),
    }
}

/// `http://user:password@host` without what is secret in it.
fn without_userinfo(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://user:password@{host}"),
        _ => value.to_owned(),
    }
}

/// Tokens that stood in an entry before, and are nobody's to see on a screen.
fn hide(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let value = line.find(TOKEN).map(|at| at + TOKEN.len());
        let value =
            value.filter(|at| !line[*at..].starts_with(TOKEN_FILE.trim_start_matches(TOKEN)));
        match value {
            Some(at) => {
                // Whatever follows the name, up to the end of the line or of the string.
                let quote = |c: char| matches!(c, '"' | '\'' | ':' | ' ' | '=');
                let from = line.len() - line[at..].trim_start_matches(quote).len();
                let end = |c: char| matches!(c, '"' | '\'' | ',' | '}' | '\r' | '\n');
                let to = line[from..].find(end).map_or(line.len(), |len| from + len);
                let token = if from == to || line[from..to] == *"none" {
                    &line[from..to]
                } else {
                    "mwt_…"
                };
                out.extend([&line[..from], token, &hide(&line[to..])]);
            }
            None => out.push_str(&hide_words(line)),
        }
    }
    out
}

/// Words that begin like a token.
fn hide_words(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("mwt_") {
        let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '~'));
        let len = rest[at..].find(end).unwrap_or(rest.len() - at);
        out.extend([&rest[..at], "mwt_…"]);
        rest = &rest[at + len..];
    }
    out.push_str(rest);
    out
}

/// The configuration of a host, ready to paste; for Claude Code the command that sets it up.
pub fn print(host: &Host, server: &Server) -> String {
    if host.name == "claude-code" {
        return claude_command(server);
    }
    let mut path = host.servers.to_vec();
    path.push(NAME);
    let entry = server.entry(host);
    match (host.format, &path[..]) {
        (Format::Yaml, [first, rest @ ..]) => {
            let mut out = String::new();
            entry.nested(rest).push_yaml(&mut out, first, 0, "\n");
            out.push('\n');
            out
        }
        _ => json::document(&path, &entry, "\n"),
    }
}

/// The name comes first: `--env` takes all that follows it.
fn claude_command(server: &Server) -> String {
    let mut out = format!("claude mcp add --scope user {NAME}");
    for (name, value) in &server.env {
        out.push_str(&format!(" --env {}", shell(&format!("{name}={value}"))));
    }
    out.push_str(&format!(" -- {}\n", shell(&server.program)));
    out
}

/// A word that any POSIX shell reads as this text.
fn shell(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    match text.bytes().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
pub(super) fn sample(program: &str, token: &str) -> Server {
    let env = [(URL, "https://mcp.example.com/ws/x"), (TOKEN, token)];
    Server {
        program: program.to_owned(),
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        holds_token: true,
    }
}
