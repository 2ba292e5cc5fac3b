//! The program: arguments, configuration, reactor, exit code.

use aerostack_gateway::bridge::Bridge;
use aerostack_gateway::check::{self, Check};
use aerostack_gateway::cli::{self, Command, Options};
use aerostack_gateway::config::{Config, Limits};
use aerostack_gateway::io::{self, Environment, ShellSettings};
use std::io::Write;
use std::process::ExitCode;

/// Exit code for arguments or settings that can not be used.
const USAGE: u8 = 2;

/// Hosts that pass settings as arguments leave no choice: it works, but it is said.
const TOKEN_IN_ARGUMENTS: &str = "AEROSTACK_TOKEN was given as an argument, which other users of this \
     machine can see (ps): the environment or AEROSTACK_TOKEN_FILE hides it";

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1).collect()) {
        Ok(Command::Run(options)) => run(options),
        Ok(Command::Check(options, json)) => check(options, json),
        Ok(Command::Help) => print(cli::USAGE),
        Ok(Command::Version) => print(&cli::version()),
        Err(error) => refuse(&error.to_string()),
    }
}

fn run(options: Options) -> ExitCode {
    let mut limits = Limits::default();
    limits.drain = options.drain.unwrap_or(limits.drain);
    let visible = options
        .env
        .iter()
        .any(|(name, _)| name == "AEROSTACK_TOKEN");
    let environment = Environment::new(options.env);
    let mut config = match Config::read(&environment, limits) {
        Ok(config) => config,
        Err(error) => return refuse(&error.to_string()),
    };
    if visible && config.token.is_some() {
        config.warnings.push(TOKEN_IN_ARGUMENTS.to_owned());
    }
    let settings = ShellSettings::for_bridge(&config);
    let mut bridge = Bridge::new(config, io::random_seed(), io::now());
    ExitCode::from(io::run(&mut bridge, settings))
}

fn check(options: Options, json: bool) -> ExitCode {
    let environment = Environment::new(options.env);
    let style = io::report_style(json, &environment);
    let mut config = match Config::read(&environment, Limits::default()) {
        Ok(config) => config,
        Err(error) => {
            print(&check::refusal(&error, style));
            return ExitCode::from(USAGE);
        }
    };
    let warnings = check::prepare(&mut config);
    let mut settings = ShellSettings::for_bridge(&config);
    (settings.stdio, settings.limits) = (false, io::ShellLimits::for_check());
    let mut check = Check::new(config, warnings, None, style, io::random_seed(), io::now());
    ExitCode::from(io::run(&mut check, settings))
}

/// A reader that has gone (`--help | head`) is no failure.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn refuse(problem: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "aerostack-gateway: {problem}");
    ExitCode::from(USAGE)
}
