//! What is put into a host's configuration: this program, and the settings it is to run with.

use super::value::Value;
use super::{EditError, Fixed, Format, Host, NAME, Shape, json, toml};
use crate::config::{Config, HEADER_PREFIX, SettingsFileUse, Source, is_placeholder};

const URL: &str = "AEROSTACK_WORKSPACE_URL";
const TOKEN: &str = "AEROSTACK_TOKEN";
const TOKEN_FILE: &str = "AEROSTACK_TOKEN_FILE";
const SAMPLE_URL: &str = "https://mcp.aerostack.dev/ws/your-workspace";
const SAMPLE_TOKEN: &str = "mwt_your-token";

/// Settings with stand-ins for the two that are required, where they are missing or placeholders
/// themselves: a configuration can be shown before there is an account.
pub struct Placeholders<'a>(pub &'a dyn Source);

/// A URL that is read as one, and that nobody has.
const STAND_IN_URL: &str = "https://mcp.aerostack.dev/ws/stand-in";
const STAND_IN_TOKEN: &str = "mwt_stand-in";

impl Placeholders<'_> {
    fn given(&self, name: &str) -> Option<String> {
        let filled = |value: &String| !value.trim().is_empty() && !is_placeholder(name, value);
        self.0.variable(name).filter(filled)
    }

    /// The server as it is shown: with the samples that a person replaces.
    pub fn fill_in(&self, mut server: Server) -> Server {
        for (_, value) in server.env.iter_mut().filter(|(name, _)| name == URL) {
            if value == STAND_IN_URL {
                *value = SAMPLE_URL.to_owned();
            }
        }
        for (_, value) in server.env.iter_mut().filter(|(name, _)| name == TOKEN) {
            if value == STAND_IN_TOKEN {
                *value = SAMPLE_TOKEN.to_owned();
            }
        }
        server
    }
}

impl Source for Placeholders<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            URL => self.given(URL).or_else(|| Some(STAND_IN_URL.to_owned())),
            TOKEN => match (self.given(TOKEN), self.given(TOKEN_FILE)) {
                (None, None) => Some(STAND_IN_TOKEN.to_owned()),
                (token, _) => token,
            },
            _ => self.0.variable(name),
        }
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        self.0.names(prefix)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.0.file(path)
    }
}

/// How a host is to start the gateway.
pub struct Server {
    /// The program's absolute path.
    program: String,
    /// Its arguments.
    arguments: Vec<String>,
    /// Its settings.
    env: Vec<(String, String)>,
    /// The token is among them.
    pub(super) holds_token: bool,
}

impl Server {
    /// This program with the settings of a configuration. `options`, the settings of the command
    /// line, go along: the host's environment has not got them. Where URL and token are a settings
    /// file's, they stay there.
    pub fn new(
        program: String,
        config: &Config,
        options: &[(String, String)],
        file: Option<SettingsFileUse>,
        show_token: bool,
    ) -> Server {
        let from_file = file.is_some();
        let (arguments, mut env) = match file {
            Some(file) => (file.arguments, file.variables),
            None => (Vec::new(), pair(config, show_token)),
        };
        let options = options
            .iter()
            .filter(|(name, _)| ![URL, TOKEN, TOKEN_FILE].contains(&name.as_str()))
            .filter(|(name, _)| from_file || !name.starts_with(HEADER_PREFIX));
        for (name, value) in options {
            let value = match show_token {
                true => value.clone(),
                false => without_secret(name, value),
            };
            match env.iter_mut().find(|(own, _)| own == name) {
                Some(own) => own.1 = value,
                None => env.push((name.clone(), value)),
            }
        }
        let holds_token = config.token_file.is_none() && config.token.is_some();
        Server {
            program,
            arguments,
            env,
            holds_token: holds_token && show_token && !from_file,
        }
    }

    /// Its settings in this host, with what the host itself reads there.
    fn env(&self, host: &Host) -> impl Iterator<Item = (&str, &str)> {
        let own = self.env.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(host.env.iter().copied())
    }

    /// How to start it, by the host's names.
    fn command(&self, host: &Host) -> Vec<(&'static str, Value)> {
        let program = Value::Text(self.program.clone());
        let arguments = Value::List(self.arguments.clone());
        match host.shape {
            Shape::Usual => vec![("command", program), ("args", arguments)],
            Shape::Goose => vec![("cmd", program), ("args", arguments)],
            Shape::OpenCode => {
                let all = std::iter::once(&self.program).chain(&self.arguments);
                vec![("command", Value::List(all.cloned().collect()))]
            }
        }
    }

    fn entry(&self, host: &Host) -> Value {
        let mut members: Vec<(String, Value)> = host
            .fixed
            .iter()
            .chain(host.limits)
            .map(|(name, value)| ((*name).to_owned(), fixed(value)))
            .collect();
        let command = self.command(host).into_iter();
        members.extend(command.map(|(name, value)| (name.to_owned(), value)));
        let pairs = self.env(host);
        let pairs = pairs.map(|(name, value)| (name.to_owned(), Value::Text(value.to_owned())));
        let pairs: Vec<(String, Value)> = pairs.collect();
        if !pairs.is_empty() {
            members.push((host.shape.env().to_owned(), Value::Map(pairs)));
        }
        Value::Map(members)
    }

    /// The text of a configuration with this server in it. Members of an entry that is there already
    /// stay as they are, where they are not ours.
    pub(super) fn add_to(&self, text: &str, host: &Host) -> Result<String, EditError> {
        let base = host.entry();
        let at = |name| [&base[..], &[name]].concat();
        let command = self.command(host);
        let first = command.first().map_or("command", |(name, _)| *name);
        if text.trim_start_matches('\u{feff}').trim().is_empty()
            || host.format.get(text, &base)?.is_none()
            || host.format.get(text, &at(first))?.is_none()
        {
            return host.format.set(text, &base, &self.entry(host));
        }
        let mut text = text.to_owned();
        for (name, value) in &command {
            text = host.format.set(&text, &at(name), value)?;
        }
        for (name, value) in self.env(host) {
            let path = [&base[..], &[host.shape.env(), name]].concat();
            let known = self.env.iter().any(|(own, _)| own == name);
            // What a host reads there may be the person's own choice.
            if known || host.format.get(&text, &path)?.is_none() {
                let value = Value::Text(value.to_owned());
                text = host.format.set(&text, &path, &value)?;
            }
        }
        for (name, value) in host.limits {
            if host.format.get(&text, &at(name))?.is_none() {
                text = host.format.set(&text, &at(name), &fixed(value))?;
            }
        }
        // A URL or token that is left would win over the file that holds them now.
        for name in [URL, TOKEN, TOKEN_FILE] {
            if !self.env.iter().any(|(own, _)| own == name) {
                let path = [&base[..], &[host.shape.env(), name]].concat();
                text = host.format.remove(&text, &path)?;
            }
        }
        Ok(text)
    }

    /// The entry as it stands in a text, without secrets.
    pub(super) fn shown(&self, text: &str, host: &Host) -> String {
        let mut shown = entry_text(text, host);
        for (name, value) in &self.env {
            if name == TOKEN && value != "none" {
                shown = shown.replace(value, SAMPLE_TOKEN);
            }
        }
        hide(&shown)
    }
}

/// The gateway's entry as it is written.
pub(super) fn entry_text(text: &str, host: &Host) -> String {
    let entry = host.format.get(text, &host.entry());
    entry.ok().flatten().unwrap_or_default().to_owned()
}

/// URL, token and the headers that go with them.
fn pair(config: &Config, show_token: bool) -> Vec<(String, String)> {
    let mut env = vec![(URL.to_owned(), config.endpoint.url())];
    let (name, value) = match (&config.token_file, &config.token) {
        (Some(path), _) => (TOKEN_FILE, absolute(path)),
        (None, None) => (TOKEN, "none".to_owned()),
        (None, Some(token)) if show_token => (TOKEN, token.expose().to_owned()),
        (None, Some(_)) => (TOKEN, SAMPLE_TOKEN.to_owned()),
    };
    env.push((name.to_owned(), value));
    for header in &config.headers {
        let letter = |c: char| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_uppercase(),
            false => '_',
        };
        let variable: String = header.name().chars().map(letter).collect();
        let value = match show_token {
            true => format!("{}: {}", header.name(), header.expose()),
            false => format!("{}: your-value", header.name()),
        };
        env.push((format!("{HEADER_PREFIX}{variable}"), value));
    }
    env
}

fn fixed(value: &Fixed) -> Value {
    match value {
        Fixed::Text(text) => Value::Text((*text).to_owned()),
        Fixed::Raw(raw) => Value::Raw(raw),
        Fixed::List(items) => Value::List(items.iter().map(|item| (*item).to_owned()).collect()),
    }
}

fn absolute(path: &str) -> String {
    match std::path::absolute(path) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => path.to_owned(),
    }
}

/// A setting's value without what is secret in it: `http://user:password@host`, `Name: value`.
fn without_secret(name: &str, value: &str) -> String {
    if name.starts_with(HEADER_PREFIX) {
        let header = value.split_once(':').map_or("Name", |(header, _)| header);
        return format!("{header}: your-value");
    }
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://user:password@{host}"),
        _ => value.to_owned(),
    }
}

/// Where the name of a setting with a secret ends in a line.
fn end_of_secret_name(line: &str) -> Option<usize> {
    let token = line.match_indices(TOKEN).map(|(at, _)| at + TOKEN.len());
    let is_file = |at: &usize| line[*at..].starts_with(TOKEN_FILE.trim_start_matches(TOKEN));
    let token = token.filter(|at| !is_file(at)).min();
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let header = line.find(HEADER_PREFIX).map(|at| {
        let name = line[at..].find(|c| !letter(c));
        name.map_or(line.len(), |len| at + len)
    });
    token.into_iter().chain(header).min()
}

/// Secrets that stood in an entry before, and are nobody's to see on a screen.
pub(super) fn hide(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        match end_of_secret_name(line) {
            Some(at) => {
                // Whatever follows the name, up to the end of the line or of the string.
                let quote = |c: char| matches!(c, '"' | '\'' | ':' | ' ' | '=');
                let from = line.len() - line[at..].trim_start_matches(quote).len();
                let end = |c: char| matches!(c, '"' | '\'' | ',' | '}' | '\r' | '\n');
                let to = line[from..].find(end).map_or(line.len(), |len| from + len);
                let secret = if from == to || line[from..to] == *"none" {
                    &line[from..to]
                } else if line[..at].ends_with(TOKEN) {
                    "mwt_…"
                } else {
                    "…"
                };
                out.extend([&line[..from], secret, &hide(&line[to..])]);
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
        return claude_command(host, server);
    }
    let path = host.entry();
    let entry = server.entry(host);
    match (host.format, &path[..]) {
        (Format::Yaml, [first, rest @ ..]) => {
            let mut out = String::new();
            entry.nested(rest).push_yaml(&mut out, first, 0, "\n");
            out.push('\n');
            out
        }
        (Format::Toml, _) => toml::document(&path, &entry, "\n"),
        (Format::Json | Format::Json5 | Format::Yaml, _) => json::document(&path, &entry, "\n"),
    }
}

/// The name comes first: `--env` takes all that follows it.
fn claude_command(host: &Host, server: &Server) -> String {
    let mut out = format!("claude mcp add --scope user {NAME}");
    for (name, value) in server.env(host) {
        out.push_str(&format!(" --env {}", shell(&format!("{name}={value}"))));
    }
    out.push_str(&format!(" -- {}", shell(&server.program)));
    for argument in &server.arguments {
        out.push_str(&format!(" {}", shell(argument)));
    }
    out.push('\n');
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
        arguments: Vec::new(),
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        holds_token: true,
    }
}
