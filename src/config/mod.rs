//! The configuration, valid by construction.
//!
//! Settings come as `NAME=value` from the environment and from `--env NAME=value` (which wins). They
//! are parsed once into a [`Config`]; after that nothing can be malformed. Each error names the
//! variable, what is wrong and how to fix it.

mod file;
mod headers;
mod limits;
mod placeholder;
mod proxy;
mod token;

pub(crate) use file::{SettingsFile, SettingsFileUse};
pub(crate) use headers::{HEADER_OPTION_PREFIX, HEADER_PREFIX, Header};
pub use limits::Limits;
pub(crate) use proxy::{Proxy, ProxyRules};
pub(crate) use token::Token;

use crate::log::Level;
use crate::proto::endpoint::{Endpoint, EndpointError, Scheme};
use crate::proto::jsonrpc;
use placeholder::Placeholder;
use std::fmt;
use std::time::Duration;

/// Where settings and the files they name are read. `io` has the real one.
pub trait Source {
    /// The value of a variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;
    /// The names of all variables that begin like this, in order, each once. Few sources have any.
    fn names(&self, prefix: &str) -> Vec<String> {
        let _ = prefix;
        Vec::new()
    }
    /// A small text file's content, or the system's words for why it can not be read.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// When the built-in tools are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinTools {
    /// With a workspace token always, else if the server offers the extension.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// CA files that the environment names, beyond the compiled-in roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustFiles {
    /// SSL_CERT_FILE.
    pub cert_file: Option<String>,
    /// SSL_CERT_DIR.
    pub cert_dir: Option<String>,
    /// NODE_EXTRA_CA_CERTS: users of the Node package have it set.
    pub node_extra: Option<String>,
}

impl TrustFiles {
    /// The value of one of the three variables.
    pub fn variable(&self, name: &str) -> Option<String> {
        match name {
            "SSL_CERT_FILE" => self.cert_file.clone(),
            "SSL_CERT_DIR" => self.cert_dir.clone(),
            "NODE_EXTRA_CA_CERTS" => self.node_extra.clone(),
            _ => None,
        }
    }
}

/// Whether a workspace's URL or a token was pasted and never filled in.
pub(crate) fn is_placeholder(name: &str, value: &str) -> bool {
    match name {
        URL => Placeholder::in_url(value).is_some(),
        _ => Placeholder::of(value).is_some(),
    }
}

/// All that a run needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The workspace (W of the contract), or any MCP server's URL.
    pub endpoint: Endpoint,
    /// The bearer token; `None` for a server without authentication (AEROSTACK_TOKEN=none).
    pub token: Option<Token>,
    /// Where the token was read, to read it again after a 401.
    pub token_file: Option<String>,
    /// Headers of the person's own, for the workspace's origin only.
    pub headers: Vec<Header>,
    /// How much stderr says.
    pub log_level: Level,
    /// AEROSTACK_LOG_FILE: where the same is written, for hosts that hide stderr.
    pub log_file: Option<String>,
    /// AEROSTACK_REQUEST_TIMEOUT for the host's requests; `None`: the host owns that.
    pub request_timeout: Option<Duration>,
    /// AEROSTACK_ALLOW_HTTP: http:// to hosts that are not loopback.
    pub allow_http: bool,
    /// AEROSTACK_TRUSTED_ORIGINS: further origins that approval and chat URLs may name.
    pub trusted_origins: Vec<Endpoint>,
    /// AEROSTACK_BUILTIN_TOOLS.
    pub builtin_tools: BuiltinTools,
    /// AEROSTACK_CHAT_HINTS.
    pub chat_hints: bool,
    /// AEROSTACK_CLAUDE_CHANNEL.
    pub claude_channel: bool,
    /// AEROSTACK_APPROVAL_WAIT: answer "still waiting" after this time; `None`: wait to the end.
    pub approval_wait: Option<Duration>,
    /// AEROSTACK_APPROVAL_TIMEOUT: how long an approval without `expires_at` is waited for.
    pub approval_timeout: Duration,
    /// CA files of the environment.
    pub trust: TrustFiles,
    /// Which targets are reached through a proxy.
    pub proxy: ProxyRules,
    /// Who this bridge is to the dashboard.
    pub identity: Identity,
    /// `--check`: this process only looks; no presence, no chat, no tools of its own.
    pub looks_only: bool,
    /// `--guard`: this process asks one question for a hook; no event stream, and the question carries
    /// what the hook saw.
    pub hook: bool,
    /// The hosts that ask by a hook of their own: what their `clientInfo.name` begins with.
    pub guarded: Vec<&'static str>,
    /// Every limit and interval.
    pub limits: Limits,
    /// Odd but workable settings, to be logged at start.
    pub warnings: Vec<String>,
}

/// Facts about machine and user that name this bridge in the dashboard.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// AEROSTACK_BRIDGE_ID, else /etc/machine-id, else the host's name.
    pub machine: String,
    /// The host's name.
    pub hostname: String,
    /// The user's name.
    pub user: String,
    /// The process, unique on this machine at this moment.
    pub pid: u32,
}

/// A setting that is missing or malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The variable.
    pub name: &'static str,
    /// What is wrong and how to fix it; never the token's value.
    pub problem: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.problem)
    }
}

const URL: &str = "AEROSTACK_WORKSPACE_URL";
const TOKEN: &str = "AEROSTACK_TOKEN";
const TOKEN_FILE: &str = "AEROSTACK_TOKEN_FILE";
/// Where the log is written besides stderr.
pub const LOG_FILE: &str = "AEROSTACK_LOG_FILE";
const EXAMPLE: &str = "https://mcp.aerostack.dev/ws/your-workspace";

/// Some hosts fill in such names, others hand them on as they are.
const NOT_FILLED_IN: &str = "is a placeholder that was not filled in: write the value itself there, \
     or leave the line out where the AI tool's own environment has the variable";

impl Config {
    /// Reads all settings. The first error is returned; warnings are kept for the log.
    pub fn read(source: &dyn Source, limits: Limits) -> Result<Config, SettingError> {
        let mut warnings = Vec::new();
        let allow_http = flag(source, "AEROSTACK_ALLOW_HTTP", false)?;
        let endpoint = workspace_url(source, allow_http, &mut warnings)?;
        let (token, token_file) = read_token(source, &mut warnings)?;
        let headers = headers::read(source, &limits)?;
        let trusted_origins = trusted_origins(source)?;
        let proxy = ProxyRules::read(source);
        for target in std::iter::once(&endpoint).chain(&trusted_origins) {
            proxy.check(target)?;
        }
        Ok(Config {
            endpoint,
            token,
            token_file,
            headers,
            log_level: log_level(source)?,
            log_file: given(source, LOG_FILE),
            request_timeout: seconds(source, "AEROSTACK_REQUEST_TIMEOUT", 0)?,
            allow_http,
            trusted_origins,
            builtin_tools: builtin_tools(source)?,
            chat_hints: flag(source, "AEROSTACK_CHAT_HINTS", true)?,
            claude_channel: flag(source, "AEROSTACK_CLAUDE_CHANNEL", true)?,
            approval_wait: seconds(source, "AEROSTACK_APPROVAL_WAIT", 0)?,
            approval_timeout: seconds(source, "AEROSTACK_APPROVAL_TIMEOUT", 3_600)?
                .unwrap_or(Duration::from_secs(3_600)),
            trust: TrustFiles {
                cert_file: given(source, "SSL_CERT_FILE"),
                cert_dir: given(source, "SSL_CERT_DIR"),
                node_extra: given(source, "NODE_EXTRA_CA_CERTS"),
            },
            proxy,
            identity: identity(source),
            looks_only: false,
            hook: false,
            guarded: Vec::new(),
            limits,
            warnings,
        })
    }

    /// Every secret of the settings: what must never be shown, whoever echoes it.
    pub fn secrets(&self) -> Vec<&str> {
        let token = self.token.as_ref().map(Token::expose);
        let headers = self.headers.iter().map(Header::expose);
        token
            .into_iter()
            .chain(headers)
            .chain(self.proxy.secrets())
            .collect()
    }

    /// True where built-in tools are offered whatever the server says.
    pub fn builtins_always(&self) -> bool {
        match self.builtin_tools {
            BuiltinTools::On => true,
            BuiltinTools::Off => false,
            BuiltinTools::Auto => self.token.as_ref().is_some_and(Token::is_workspace_token),
        }
    }
}

/// A variable that is set to more than blanks.
fn given(source: &dyn Source, name: &str) -> Option<String> {
    source
        .variable(name)
        .filter(|value| !value.trim().is_empty())
}

fn wrong<T>(name: &'static str, problem: impl Into<String>) -> Result<T, SettingError> {
    Err(SettingError {
        name,
        problem: problem.into(),
    })
}

fn workspace_url(
    source: &dyn Source,
    allow_http: bool,
    warnings: &mut Vec<String>,
) -> Result<Endpoint, SettingError> {
    let Some(text) = given(source, URL) else {
        return wrong(
            URL,
            format!(
                "is required: set it to your workspace's URL, such as {EXAMPLE}, or run \
                 aerostack-gateway --setup in a terminal"
            ),
        );
    };
    let text = text.trim();
    match Placeholder::in_url(text) {
        Some(Placeholder::Variable) => return wrong(URL, NOT_FILLED_IN),
        Some(Placeholder::Words) => {
            return wrong(
                URL,
                "is still a placeholder: paste your workspace's URL from the dashboard",
            );
        }
        None => {}
    }
    let endpoint = match Endpoint::parse(text) {
        Ok(endpoint) => endpoint,
        Err(EndpointError::Userinfo) => {
            return wrong(
                URL,
                format!("holds a user name or password: remove it, the token goes into {TOKEN}"),
            );
        }
        Err(error) => {
            return wrong(
                URL,
                format!("is not usable: {error} (expected something like {EXAMPLE})"),
            );
        }
    };
    if endpoint.scheme() == Scheme::Http && !endpoint.is_loopback_host() {
        if !allow_http {
            return wrong(
                URL,
                format!(
                    "starts with http://, which would send your token unencrypted to {}: use https://, \
                     or pass --allow-http (AEROSTACK_ALLOW_HTTP=1) if you accept that",
                    endpoint.host()
                ),
            );
        }
        warnings.push(format!(
            "the token is sent unencrypted to {} (http://)",
            endpoint.host()
        ));
    }
    Ok(without_last_slash(endpoint, warnings))
}

/// `…/ws/slug/` is how people paste a workspace's URL, and no workspace has it. Of other servers we
/// do not know that.
fn without_last_slash(endpoint: Endpoint, warnings: &mut Vec<String>) -> Endpoint {
    let path = endpoint.target().strip_suffix('/');
    let workspace = path.filter(|path| path.rsplit('/').nth(1) == Some("ws"));
    let Some(path) = workspace.filter(|path| !path.contains('?')) else {
        return endpoint;
    };
    warnings.push(format!("{URL} ends with a slash, which is left out"));
    endpoint.with_target(path)
}

fn read_token(
    source: &dyn Source,
    warnings: &mut Vec<String>,
) -> Result<(Option<Token>, Option<String>), SettingError> {
    // A variable that is set wins over a file; an empty one is a mistake, not an absence.
    if let Some(text) = source.variable(TOKEN) {
        if text == "none" {
            return Ok((None, None));
        }
        return Ok((Some(checked_token(TOKEN, &text, warnings)?), None));
    }
    let Some(path) = given(source, TOKEN_FILE) else {
        return wrong(
            TOKEN,
            "is required: create a token in the dashboard under Workspace > Tokens and set it \
             (or AEROSTACK_TOKEN_FILE=path; AEROSTACK_TOKEN=none for a server without authentication)",
        );
    };
    let text = match source.file(&path) {
        Ok(text) => text,
        Err(error) => {
            return wrong(
                TOKEN_FILE,
                format!("names {path}, which can not be read: {error}"),
            );
        }
    };
    let text = text.trim_end_matches(['\r', '\n']);
    Ok((Some(checked_token(TOKEN_FILE, text, warnings)?), Some(path)))
}

fn checked_token(
    name: &'static str,
    text: &str,
    warnings: &mut Vec<String>,
) -> Result<Token, SettingError> {
    match Placeholder::of(text) {
        Some(Placeholder::Variable) => return wrong(name, NOT_FILLED_IN),
        Some(Placeholder::Words) => {
            return wrong(
                name,
                "is still a placeholder: paste the token from the dashboard (it starts with mwt_)",
            );
        }
        None => {}
    }
    let token = Token::parse(text).or_else(|problem| wrong(name, problem))?;
    if !token.is_workspace_token() {
        warnings.push(format!(
            "{name} does not start with mwt_: it is sent as it is, but it is no Aerostack workspace token"
        ));
    }
    Ok(token)
}

fn log_level(source: &dyn Source) -> Result<Level, SettingError> {
    match given(source, "AEROSTACK_LOG_LEVEL") {
        None => Ok(Level::Info),
        Some(text) => Level::parse(text.trim()).ok_or_else(|| SettingError {
            name: "AEROSTACK_LOG_LEVEL",
            problem: format!("is {text:?}: use debug, info, warn or error"),
        }),
    }
}

fn flag(source: &dyn Source, name: &'static str, default: bool) -> Result<bool, SettingError> {
    match given(source, name).as_deref().map(str::trim) {
        None => Ok(default),
        Some("1" | "true" | "on" | "yes") => Ok(true),
        Some("0" | "false" | "off" | "no") => Ok(false),
        Some(text) => wrong(name, format!("is {text:?}: use 1 or 0")),
    }
}

/// Whole or decimal seconds; 0 is `None`.
fn seconds(
    source: &dyn Source,
    name: &'static str,
    default: u64,
) -> Result<Option<Duration>, SettingError> {
    let duration = match given(source, name) {
        None => Duration::from_secs(default),
        Some(text) => match parse_seconds(&text) {
            Some(duration) => duration,
            None => {
                return wrong(
                    name,
                    format!("is {text:?}: use seconds from 0 (off) to 604800"),
                );
            }
        },
    };
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

/// Seconds from 0 to a week.
pub(crate) fn parse_seconds(text: &str) -> Option<Duration> {
    let number = jsonrpc::number(text.trim());
    let seconds = number.filter(|s| (0.0..=604_800.0).contains(s))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn trusted_origins(source: &dyn Source) -> Result<Vec<Endpoint>, SettingError> {
    const NAME: &str = "AEROSTACK_TRUSTED_ORIGINS";
    let list = given(source, NAME).unwrap_or_default();
    list.split([',', ' '])
        .filter(|item| !item.is_empty())
        .map(|item| {
            Endpoint::parse(item).or_else(|error| wrong(NAME, format!("holds {item:?}: {error}")))
        })
        .collect()
}

fn builtin_tools(source: &dyn Source) -> Result<BuiltinTools, SettingError> {
    const NAME: &str = "AEROSTACK_BUILTIN_TOOLS";
    match given(source, NAME).as_deref().map(str::trim) {
        None | Some("auto") => Ok(BuiltinTools::Auto),
        Some("on" | "1") => Ok(BuiltinTools::On),
        Some("off" | "0") => Ok(BuiltinTools::Off),
        Some(text) => wrong(NAME, format!("is {text:?}: use on, off or auto")),
    }
}

fn identity(source: &dyn Source) -> Identity {
    let line = |path: &str| source.file(path).ok().map(|text| text.trim().to_owned());
    let hostname = line("/proc/sys/kernel/hostname")
        .or_else(|| given(source, "HOSTNAME"))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned());
    let machine = given(source, "AEROSTACK_BRIDGE_ID")
        .or_else(|| line("/etc/machine-id").filter(|id| !id.is_empty()))
        .unwrap_or_else(|| hostname.clone());
    let user = given(source, "USER")
        .or_else(|| given(source, "LOGNAME"))
        .unwrap_or_default();
    Identity {
        machine,
        hostname,
        user,
        pid: std::process::id(),
    }
}

#[cfg(test)]
mod tests;
