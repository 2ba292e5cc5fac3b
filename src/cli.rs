//! The command line: arguments become one [`Command`]. Nothing is done here.

use crate::config::parse_seconds;
use pico_args::Arguments;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

/// What `--help` prints: one screen.
pub const USAGE: &str = "\
aerostack-gateway: your Aerostack Workspace as an MCP server on stdin and stdout

An AI tool starts it as an MCP server; every message is forwarded to the workspace over
HTTPS. It also bridges any other Streamable HTTP MCP server.

USAGE
  aerostack-gateway [OPTIONS]

OPTIONS
  --env NAME=VALUE     a setting from below; wins over the environment; repeatable
  --allow-http         accept http:// to hosts that are not this machine (token unencrypted)
  --drain-timeout S    seconds to wait for answers after stdin has ended (default 3)
  -h, --help           this text
  -V, --version        version, target and TLS library

SETTINGS (environment)
  AEROSTACK_WORKSPACE_URL    required: https://mcp.aerostack.dev/ws/your-workspace
  AEROSTACK_TOKEN            required: the token (mwt_…); none for a server without one
  AEROSTACK_TOKEN_FILE       a file with the token instead; read again after a 401
  AEROSTACK_LOG_LEVEL        debug, info (default), warn or error, on stderr
  AEROSTACK_REQUEST_TIMEOUT  seconds for each call; default none: the AI tool decides
  AEROSTACK_ALLOW_HTTP       1: as --allow-http
  AEROSTACK_BUILTIN_TOOLS    on, off, or auto (default: with a workspace token)
  SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS   further CAs (PEM)

EXAMPLE
  claude mcp add aerostack -- aerostack-gateway \\
    --env AEROSTACK_WORKSPACE_URL=https://mcp.aerostack.dev/ws/your-workspace \\
    --env AEROSTACK_TOKEN=mwt_your-token
";

/// What the person asks for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Bridge stdin and stdout.
    Run(Options),
    /// Diagnose the connection; as JSON if asked.
    Check(Options, bool),
    /// Print the usage.
    Help,
    /// Print the version.
    Version,
}

/// Options of a run.
#[derive(Debug, Default, PartialEq)]
pub struct Options {
    /// `--env`, in order.
    pub env: Vec<(String, String)>,
    /// `--drain-timeout`.
    pub drain: Option<Duration>,
}

/// Arguments that make no command: one line that says how to fix it.
#[derive(Debug, PartialEq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the arguments that follow the program's name.
pub fn parse(arguments: Vec<OsString>) -> Result<Command, UsageError> {
    let mut arguments = Arguments::from_vec(arguments);
    if arguments.contains(["-h", "--help"]) {
        return Ok(Command::Help);
    }
    if arguments.contains(["-V", "--version"]) {
        return Ok(Command::Version);
    }
    let mut options = Options::default();
    let pairs: Vec<String> = arguments
        .values_from_str("--env")
        .map_err(|_| needs("--env", "NAME=VALUE"))?;
    for pair in pairs {
        match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                options.env.push((name.to_owned(), value.to_owned()));
            }
            // The value may be a token: it is not repeated.
            _ => return Err(needs("--env", "NAME=VALUE")),
        }
    }
    if arguments.contains("--allow-http") {
        options
            .env
            .push(("AEROSTACK_ALLOW_HTTP".to_owned(), "1".to_owned()));
    }
    let drain: Option<String> = arguments
        .opt_value_from_str("--drain-timeout")
        .map_err(|_| needs("--drain-timeout", "seconds"))?;
    if let Some(text) = drain {
        options.drain =
            Some(parse_seconds(&text).ok_or_else(|| needs("--drain-timeout", "seconds"))?);
    }
    let (check, json) = (arguments.contains("--check"), arguments.contains("--json"));
    let rest = arguments.finish();
    match rest.first() {
        None if check => Ok(Command::Check(options, json)),
        None => Ok(Command::Run(options)),
        Some(unknown) => Err(UsageError(unknown_argument(&unknown.to_string_lossy()))),
    }
}

/// Names an option, but never repeats a value: it may be a token.
fn unknown_argument(text: &str) -> String {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if name.starts_with('-') {
        let name = crate::log::printable(name, 80);
        format!("unknown argument {name}: see aerostack-gateway --help")
    } else {
        "an argument is no option: settings are given as --env NAME=VALUE, see aerostack-gateway \
         --help"
            .to_owned()
    }
}

fn needs(option: &str, what: &str) -> UsageError {
    UsageError(format!(
        "{option} needs {what}: see aerostack-gateway --help"
    ))
}

/// What `--version` prints.
pub fn version() -> String {
    format!(
        "aerostack-gateway {} ({}-{}, rustls with ring)\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> Result<Command, UsageError> {
        parse(arguments.iter().map(OsString::from).collect())
    }

    #[test]
    fn settings_may_come_as_arguments() {
        let command = check(&[
            "--env",
            "A=1",
            "--env",
            "B=x=y",
            "--allow-http",
            "--drain-timeout",
            "0.5",
        ]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = vec![
            pair("A", "1"),
            pair("B", "x=y"),
            pair("AEROSTACK_ALLOW_HTTP", "1"),
        ];
        let drain = Some(Duration::from_millis(500));
        assert_eq!(command, Ok(Command::Run(Options { env, drain })));
    }

    #[test]
    fn mistakes_are_named_without_repeating_values() {
        let error = check(&["--env", "mwt_secret"]).expect_err("no name");
        assert!(!error.to_string().contains("mwt_secret"));
        assert!(check(&["--env"]).is_err() && check(&["--drain-timeout", "x"]).is_err());
        assert!(
            check(&["--frobnicate"])
                .expect_err("unknown")
                .to_string()
                .contains("--frobnicate")
        );
    }

    #[test]
    fn help_fits_one_screen() {
        assert!(USAGE.lines().count() <= 40 && USAGE.lines().all(|line| line.len() <= 100));
        assert_eq!(check(&["-h"]), Ok(Command::Help));
        assert_eq!(check(&["--version"]), Ok(Command::Version));
    }
}
