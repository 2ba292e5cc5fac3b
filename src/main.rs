//! The program: arguments, configuration, reactor, exit code.

use aerostack_gateway::bridge::Bridge;
use aerostack_gateway::check::{self, Check};
use aerostack_gateway::cli::{self, Command, Options};
use aerostack_gateway::config::{Config, Limits, Source};
use aerostack_gateway::hosts::{self, Host, Placeholders, Server};
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
        Ok(Command::PrintConfig(options, host, show_token)) => {
            print_config(options, host, show_token)
        }
        Ok(Command::Install(options, host)) => install(options, host),
        Ok(Command::Help) => print(&cli::usage()),
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
    let config = match Config::read(&environment, Limits::default()) {
        Ok(config) => config,
        Err(error) => {
            print(&check::refusal(&error, style));
            return ExitCode::from(USAGE);
        }
    };
    let mut settings = ShellSettings::for_bridge(&config);
    (settings.stdio, settings.limits) = (false, io::ShellLimits::for_check());
    let proxy = config
        .proxy
        .choose(&config.endpoint)
        .map(ToString::to_string);
    let mut check = Check::new(config, proxy, style, io::random_seed(), io::now());
    ExitCode::from(io::run(&mut check, settings))
}

fn print_config(options: Options, host: &Host, show_token: bool) -> ExitCode {
    let environment = Environment::new(options.env.clone());
    match server(&Placeholders(&environment), &options, show_token) {
        Ok(server) => {
            if let Ok(file) = hosts::file(host, &environment) {
                let _ = writeln!(std::io::stderr(), "for {}", file.display());
            }
            print(&hosts::print(host, &server))
        }
        Err(problem) => refuse(&problem),
    }
}

fn install(options: Options, host: &Host) -> ExitCode {
    let environment = Environment::new(options.env.clone());
    let server = match server(&environment, &options, true) {
        Ok(server) => server,
        Err(problem) => return refuse(&problem),
    };
    match hosts::install(host, &server, &environment) {
        Ok(report) => print(&report),
        Err(problem) => {
            refuse(&problem);
            ExitCode::FAILURE
        }
    }
}

/// How an AI tool is to start this program.
fn server(source: &dyn Source, options: &Options, show_token: bool) -> Result<Server, String> {
    let config = Config::read(source, Limits::default()).map_err(|error| error.to_string())?;
    let program = io::program_path()?;
    Ok(Server::new(program, &config, &options.env, show_token))
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
