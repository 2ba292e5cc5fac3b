//! The options of `--guard` and `--guard-explain`.

use super::{Command, UsageError, needs, options, table};
use crate::config::parse_seconds;
use crate::guard::{Guarded, Hook, Offline, hosts};
use pico_args::Arguments;
use std::ffi::OsString;
use std::time::Duration;

/// Without `--deadline`: what hosts give a hook whose time nobody set, less what the answer needs.
const DEADLINE: Duration = Duration::from_secs(570);

/// True for a hook, whatever is wrong with its arguments: it must not fail open.
pub fn is_hook(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| {
        let text = argument.to_string_lossy();
        text == "--guard" || text.starts_with("--guard=")
    })
}

/// Reads the options, if they are of a hook or of a question about one.
pub(super) fn parse(arguments: &mut Arguments) -> Result<Option<Command>, UsageError> {
    let explain: Option<String> = arguments
        .opt_value_from_str("--guard-explain")
        .map_err(|_| needs("--guard-explain", "a command in quotes"))?;
    let name: Option<String> = match explain {
        // What is explained is a command line, as every host has it.
        Some(_) => Some("claude-code".to_owned()),
        None => arguments
            .opt_value_from_str("--guard")
            .map_err(|_| host_needed())?,
    };
    let Some(name) = name else {
        return Ok(None);
    };
    let hook = hook(&name, arguments, DEADLINE)?;
    Ok(Some(match explain {
        Some(text) => Command::Explain(hook, text),
        None => Command::Guard(hook),
    }))
}

/// `--install HOST --guard`, with the options that the hook is to have.
pub(super) fn installs(arguments: &mut Arguments) -> Result<Option<Command>, UsageError> {
    if !arguments.contains("--guard") {
        return Ok(None);
    }
    let name: Option<String> = arguments
        .opt_value_from_str("--install")
        .map_err(|_| host_needed())?;
    let name = name.ok_or_else(host_needed)?;
    let host = crate::hosts::find(&name).ok_or_else(host_needed)?;
    let longest = crate::hosts::hook_deadline(host).map_or(DEADLINE, Duration::from_secs);
    let hook = hook(&name, arguments, longest)?;
    if hook.dry_run {
        return Err(UsageError("--dry-run is not for --install".to_owned()));
    }
    Ok(Some(Command::InstallGuard(hook, host)))
}

fn hook(name: &str, arguments: &mut Arguments, deadline: Duration) -> Result<Hook, UsageError> {
    let host = hosts::find(name).ok_or_else(host_needed)?;
    let guarded = choice(
        arguments,
        "--guard-level",
        &[("risky", Guarded::Risky), ("all", Guarded::All)],
    )?;
    let offline = choice(
        arguments,
        "--guard-offline",
        &[("deny", Offline::Deny), ("ask", Offline::Ask)],
    )?;
    let seconds: Option<String> = arguments
        .opt_value_from_str("--deadline")
        .map_err(|_| needs("--deadline", "seconds"))?;
    let deadline = match seconds {
        None => deadline,
        Some(text) => parse_seconds(&text)
            .filter(|time| !time.is_zero())
            .ok_or_else(|| needs("--deadline", "seconds"))?,
    };
    let rules = absolute(arguments, "--guard-rules")?;
    let log_file = absolute(arguments, "--log-file")?;
    let dry_run = arguments.contains("--dry-run");
    let options = options(arguments)?;
    let relative = options
        .env_file
        .as_deref()
        .is_some_and(|path| !path.starts_with('/'));
    if relative {
        return Err(needs("--env-file", "an absolute path with --guard"));
    }
    let hook = Hook {
        host,
        env: options.env,
        env_file: options.env_file,
        deadline,
        guarded: guarded.unwrap_or_default(),
        rules,
        offline: offline.unwrap_or_default(),
        dry_run,
        log_file,
    };
    Ok(hook)
}

fn host_needed() -> UsageError {
    let names: Vec<&str> = hosts::HOSTS.iter().map(|host| host.name).collect();
    UsageError(format!("--guard needs a host: {}", names.join(", ")))
}

fn choice<T: Copy>(
    arguments: &mut Arguments,
    option: &'static str,
    choices: &[(&str, T)],
) -> Result<Option<T>, UsageError> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let wrong = || needs(option, &names.join(" or "));
    let given: Option<String> = arguments.opt_value_from_str(option).map_err(|_| wrong())?;
    let Some(given) = given else {
        return Ok(None);
    };
    let found = choices.iter().find(|(name, _)| *name == given);
    found.map(|(_, value)| Some(*value)).ok_or_else(wrong)
}

/// A path: the folder a hook is started in is the repository's, so a relative one could be anything.
fn absolute(arguments: &mut Arguments, option: &'static str) -> Result<Option<String>, UsageError> {
    let path: Option<String> = arguments
        .opt_value_from_str(option)
        .map_err(|_| needs(option, "an absolute path"))?;
    match path {
        Some(path) if !path.starts_with('/') => Err(needs(option, "an absolute path")),
        path => Ok(path),
    }
}

/// Says where an option belongs that stands without `--guard`.
pub(super) fn alone(name: &str) -> Option<UsageError> {
    let known = table::GUARD_FLAGS.iter().any(|flag| flag.long == name);
    known.then(|| UsageError(format!("{name} goes with --guard")))
}
