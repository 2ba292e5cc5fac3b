//! The command line: arguments become one [`Command`]. Nothing is done here.

pub(crate) mod docs;
mod guard;
mod table;

pub use guard::is_hook;
pub(crate) use table::FLAGS;
pub use table::usage;

use crate::config::{HEADER_OPTION_PREFIX, Header, parse_seconds};
use crate::guard::Hook;
use crate::hosts::{self, Host};
use pico_args::Arguments;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

/// What the person asks for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Bridge stdin and stdout.
    Run(Options),
    /// Ask for the settings, check and write them, and set up AI tools.
    Setup(Options),
    /// Diagnose the connection; as JSON if asked.
    Check(Options, bool),
    /// Print an AI tool's configuration; with the token if asked.
    PrintConfig(Options, &'static Host, bool),
    /// Write an AI tool's configuration.
    Install(Options, &'static Host),
    /// Take the gateway out of an AI tool's configuration.
    Uninstall(Options, &'static Host),
    /// Answer a hook's event.
    Guard(Hook),
    /// Write a hook into an AI tool's settings.
    InstallGuard(Hook, &'static Host),
    /// Say what the guard thinks of a command line.
    Explain(Hook, String),
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
    /// `--env-file`.
    pub env_file: Option<String>,
    /// `--drain-timeout`.
    pub drain: Option<Duration>,
}

/// Arguments that make no command: one line that says how to fix it.
#[derive(Debug, PartialEq)]
pub struct UsageError(String);

/// Options that ask for something else than a bridge.
const COMMANDS: [&str; 11] = [
    "--guard",
    "--guard-explain",
    "--check",
    "--json",
    "--setup",
    "--install",
    "--uninstall",
    "--print-config",
    "--show-token",
    "--help",
    "--version",
];

/// Whether these arguments were meant to start the bridge, whatever is wrong with them: then a host
/// waits on stdin to be told.
pub fn starts_bridge(arguments: &[OsString]) -> bool {
    !arguments.iter().any(|argument| {
        let text = argument.to_string_lossy();
        let name = text.split_once('=').map_or(&*text, |(name, _)| name);
        COMMANDS.contains(&name)
    })
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the arguments that follow the program's name.
pub fn parse(arguments: Vec<OsString>) -> Result<Command, UsageError> {
    let installs = |argument: &OsString| argument.to_string_lossy().starts_with("--install");
    let installs = arguments.iter().any(installs);
    let mut arguments = Arguments::from_vec(arguments);
    if arguments.contains(["-h", "--help"]) {
        return Ok(Command::Help);
    }
    if arguments.contains(["-V", "--version"]) {
        return Ok(Command::Version);
    }
    let of_guard = match installs {
        true => guard::installs(&mut arguments)?,
        false => guard::parse(&mut arguments)?,
    };
    if let Some(command) = of_guard {
        return match arguments.finish().first() {
            Some(unknown) => Err(unknown_argument(&unknown.to_string_lossy())),
            None => Ok(command),
        };
    }
    let options = options(&mut arguments)?;
    let mut asked = Vec::new();
    for (option, command) in [("--check", Asked::Check), ("--setup", Asked::Setup)] {
        if arguments.contains(option) {
            asked.push(command);
        }
    }
    for (option, command) in HOST_COMMANDS {
        if let Some(host) = host(&mut arguments, option)? {
            asked.push(Asked::Host(command, host));
        }
    }
    let (json, show_token) = (
        arguments.contains("--json"),
        arguments.contains("--show-token"),
    );
    if let Some(unknown) = arguments.finish().first() {
        return Err(unknown_argument(&unknown.to_string_lossy()));
    }
    if json && asked != [Asked::Check] {
        return Err(UsageError::new("--json goes with --check"));
    }
    if show_token && !matches!(asked[..], [Asked::Host(HostCommand::Print, _)]) {
        return Err(UsageError::new("--show-token goes with --print-config"));
    }
    match asked[..] {
        [] => Ok(Command::Run(options)),
        [Asked::Check] => Ok(Command::Check(options, json)),
        [Asked::Setup] => Ok(Command::Setup(options)),
        [Asked::Host(HostCommand::Print, host)] => {
            Ok(Command::PrintConfig(options, host, show_token))
        }
        [Asked::Host(HostCommand::Install, host)] => Ok(Command::Install(options, host)),
        [Asked::Host(HostCommand::Uninstall, host)] => Ok(Command::Uninstall(options, host)),
        _ => Err(UsageError::new(
            "--setup, --check, --install, --uninstall and --print-config exclude each other",
        )),
    }
}

/// What is asked for instead of a bridge: one of these at most.
#[derive(PartialEq)]
enum Asked {
    Check,
    Setup,
    Host(HostCommand, &'static Host),
}

/// What is done for a host.
#[derive(Clone, Copy, PartialEq)]
enum HostCommand {
    Print,
    Install,
    Uninstall,
}

const HOST_COMMANDS: [(&str, HostCommand); 3] = [
    ("--print-config", HostCommand::Print),
    ("--install", HostCommand::Install),
    ("--uninstall", HostCommand::Uninstall),
];

fn options(arguments: &mut Arguments) -> Result<Options, UsageError> {
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
    let headers: Vec<String> = arguments
        .values_from_str("--header")
        .map_err(|_| needs("--header", "'Name: value'"))?;
    for (index, header) in headers.into_iter().enumerate() {
        Header::parse(&header).map_err(|why| UsageError(format!("--header: {why}")))?;
        options
            .env
            .push((format!("{HEADER_OPTION_PREFIX}{index:02}"), header));
    }
    options.env_file = arguments
        .opt_value_from_str("--env-file")
        .map_err(|_| needs("--env-file", "a path"))?;
    let drain: Option<String> = arguments
        .opt_value_from_str("--drain-timeout")
        .map_err(|_| needs("--drain-timeout", "seconds"))?;
    if let Some(text) = drain {
        options.drain =
            Some(parse_seconds(&text).ok_or_else(|| needs("--drain-timeout", "seconds"))?);
    }
    Ok(options)
}

/// The host that follows an option.
fn host(
    arguments: &mut Arguments,
    option: &'static str,
) -> Result<Option<&'static Host>, UsageError> {
    let names = || hosts::HOSTS.iter().map(|host| host.name);
    let all = names().collect::<Vec<_>>().join(", ");
    let name: Option<String> = arguments
        .opt_value_from_str(option)
        .map_err(|_| UsageError::new(format!("{option} needs a host: {all}")))?;
    let Some(name) = name else {
        return Ok(None);
    };
    match hosts::find(&name) {
        Some(host) => Ok(Some(host)),
        None => Err(UsageError::new(match table::nearest(&name, names()) {
            Some(meant) => format!("{option}: unknown host, did you mean {meant}?"),
            None => format!("{option}: unknown host, choose from {all}"),
        })),
    }
}

/// Says what is wrong with an argument that is none of ours. Names an option, but never repeats what
/// may be a token.
fn unknown_argument(text: &str) -> UsageError {
    const SEE: &str = "see aerostack-gateway --help";
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if let Some(error) = guard::alone(name) {
        return error;
    }
    let all = || FLAGS.iter().map(|flag| flag.long);
    if all().any(|long| long == name) {
        // All of ours were taken out before, as often as they may be given.
        let takes = FLAGS
            .iter()
            .any(|flag| flag.long == name && flag.value.is_some());
        return UsageError(match takes {
            true => format!("{name} is given twice, or in a form that can not be read: {SEE}"),
            false => format!("{name} is given twice, or with a value: it takes none"),
        });
    }
    let meant = table::nearest(name, all());
    if !name.starts_with('-') {
        return UsageError::new(match meant.filter(|meant| meant[2..] == *name) {
            Some(meant) => format!("an argument is no option: did you mean {meant}?"),
            None => {
                format!("an argument is no option: settings are given as --env NAME=VALUE, {SEE}")
            }
        });
    }
    // No secret is as short and as plain as an option's name.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let shown = match name.len() <= 24 && name.bytes().all(plain) {
        true => format!("unknown option {name}"),
        false => "unknown option (not repeated: it could be a token)".to_owned(),
    };
    UsageError(match meant {
        Some(meant) => format!("{shown}: did you mean {meant}?"),
        None => format!("{shown}: {SEE}"),
    })
}

impl UsageError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

fn needs(option: &str, what: &str) -> UsageError {
    UsageError(format!(
        "{option} needs {what}: see aerostack-gateway --help"
    ))
}

/// What `--version` prints: version, target and TLS library.
pub fn version() -> String {
    let libc = match () {
        () if cfg!(target_env = "musl") => "-musl",
        () if cfg!(target_env = "gnu") => "-gnu",
        () => "",
    };
    let abi = if cfg!(target_abi = "eabihf") {
        "eabihf"
    } else {
        ""
    };
    format!(
        "aerostack-gateway {} ({}-{}{libc}{abi}, rustls with ring)\n",
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
        let env_file = None;
        assert_eq!(
            command,
            Ok(Command::Run(Options {
                env,
                env_file,
                drain
            }))
        );
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
    fn help_and_version_win() {
        assert_eq!(check(&["--check", "-h"]), Ok(Command::Help));
        assert_eq!(check(&["--version"]), Ok(Command::Version));
        assert!(version().starts_with("aerostack-gateway ") && version().contains("rustls"));
    }

    #[test]
    fn commands() {
        let cursor = hosts::find("cursor").expect("in the table");
        let options = Options::default;
        assert_eq!(check(&["--check"]), Ok(Command::Check(options(), false)));
        assert_eq!(
            check(&["--json", "--check"]),
            Ok(Command::Check(options(), true))
        );
        for arguments in [&["--install", "cursor"][..], &["--install=cursor"]] {
            assert_eq!(check(arguments), Ok(Command::Install(options(), cursor)));
        }
        assert_eq!(
            check(&["--show-token", "--print-config", "cursor"]),
            Ok(Command::PrintConfig(options(), cursor, true))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_meant() {
        let check = |arguments: &[&str], expect: &str| {
            let error = check(arguments).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
            assert!(
                !error.contains("secret") && !error.contains("mwt_"),
                "{error}"
            );
        };
        check(
            &["--chekc"],
            "unknown option --chekc: did you mean --check?",
        );
        check(&["check"], "did you mean --check?");
        check(&["install", "cursor"], "did you mean --install?");
        check(&["--check", "--check"], "--check is given twice");
        check(&["--check=yes"], "--check is given twice, or with a value");
        check(&["--json"], "--json goes with --check");
        check(&["--show-token"], "goes with --print-config");
        check(&["--check", "--install", "cursor"], "exclude each other");
        check(&["--install"], "--install needs a host: claude-code, ");
        check(
            &["--install", "cursr"],
            "unknown host, did you mean cursor?",
        );
        check(
            &["--print-config", "mwt_secret"],
            "unknown host, choose from claude-code, ",
        );
        check(&["--mwt_secret"], "unknown option (not repeated");
        check(&["mwt_secret"], "--env NAME=VALUE");
        check(&["--token=mwt_secret"], "unknown option --token: see");
    }

    /// The table is what the program takes.
    #[test]
    fn every_option_of_the_table_is_known() {
        for flag in FLAGS {
            let value = flag.value.map(|value| match value {
                "HOST" => "cursor",
                "S" => "1",
                "NAME:VALUE" => "X-A: b",
                other => other,
            });
            let mut arguments = vec![flag.long];
            arguments.extend(value);
            match flag.long {
                "--json" => arguments.push("--check"),
                "--show-token" => arguments.extend(["--print-config", "cursor"]),
                _ => {}
            }
            assert!(check(&arguments).is_ok(), "{}", flag.long);
        }
    }
}
