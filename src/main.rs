//! The program: arguments, configuration, reactor, exit code.

use aerostack_gateway::api::bridge::Bridge;
use aerostack_gateway::api::check::{self, Check, Style};
use aerostack_gateway::api::cli::{self, Command, Options};
use aerostack_gateway::api::config::{Config, LOG_FILE, Limits, SettingError};
use aerostack_gateway::api::guard::{self, Disk, Hook};
use aerostack_gateway::api::hosts::{self, HookCommand, Host, Placeholders, Server};
use aerostack_gateway::api::io::{self, Environment, ShellSettings};
use aerostack_gateway::api::log::Level;
use aerostack_gateway::api::refusal::Refusal;
use aerostack_gateway::api::setup::{self, SetupError};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code for arguments or settings that can not be used.
const USAGE: u8 = 2;
/// Exit code for what was asked for and could not be done.
const FAILURE: u8 = 1;

/// Hosts that pass settings as arguments leave no choice: it works, but it is said.
const TOKEN_IN_ARGUMENTS: &str = "AEROSTACK_TOKEN was given as an argument, which other users of this \
     machine can see (ps): the environment or AEROSTACK_TOKEN_FILE hides it";

/// A hook reads no environment, so its settings need a file.
const NO_SETTINGS_FILE: &str = "--guard needs its settings in a file, because a hook never reads the environment: \
     run --setup first, or name one with --env-file";

/// A person started it by hand, and it says nothing.
const WAITING_FOR_A_HOST: &str = "waits for MCP messages on stdin: it is meant to be started by an AI \
     tool (--check tests the connection, --install sets up a tool, --help tells more; Ctrl-C ends it)";

/// One block in each of the allocator's smaller groups of pages, held until the end.
///
/// musl gives such a group back to the kernel as soon as nothing is in it, and most of what a start allocates
/// is soon gone: the same page was asked for and given back again and again, 13 system calls and 60 us of
/// the 1.15 ms until the first answer.
fn held_pages() -> [Vec<u8>; 3] {
    std::hint::black_box([500, 1_000, 2_000].map(Vec::with_capacity))
}

fn main() -> ExitCode {
    let _held = held_pages();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if cli::is_hook(&arguments) {
        io::panics_deny();
    }
    let bridges = cli::starts_bridge(&arguments);
    match cli::parse(arguments) {
        Ok(Command::Run(options)) => run(options),
        Ok(Command::Setup(options)) => set_up(options),
        Ok(Command::Check(options, json)) => check(options, json),
        Ok(Command::PrintConfig(options, host, show_token)) => {
            print_config(options, host, show_token)
        }
        Ok(Command::Install(options, host)) => install(options, host),
        Ok(Command::Uninstall(options, host)) => uninstall(options, host),
        Ok(Command::Guard(hook)) => guard(&hook),
        Ok(Command::InstallGuard(hook, host)) => install_guard(hook, host),
        Ok(Command::Explain(hook, text)) => explain(&hook, &text),
        Ok(Command::Help) => print(&cli::usage()),
        Ok(Command::Version) => print(&cli::version()),
        Err(error) if bridges => refuse_host(&error.to_string(), &[]),
        Err(error) => refuse(&error.to_string()),
    }
}

/// All settings of the options, the environment and the settings file.
fn settings(options: &Options, limits: Limits) -> Result<(Environment, Config), SettingError> {
    let environment = Environment::new(options.env.clone(), options.env_file.as_deref())?;
    let mut config =
        Config::read(&environment, limits).map_err(|error| environment.explain(error))?;
    let warnings = environment.warnings().iter().cloned();
    config.warnings.extend(warnings);
    Ok((environment, config))
}

fn run(options: Options) -> ExitCode {
    let mut limits = Limits::default();
    limits.drain = options.drain.unwrap_or(limits.drain);
    let mut config = match settings(&options, limits) {
        Ok((environment, config)) => Config {
            guarded: hosts::guarded(&environment, &io::program_path().unwrap_or_default()),
            ..config
        },
        Err(error) => return refuse_host(&error.to_string(), &options.env),
    };
    let visible = options
        .env
        .iter()
        .any(|(name, _)| name == "AEROSTACK_TOKEN");
    if visible && config.token.is_some() {
        config.warnings.push(TOKEN_IN_ARGUMENTS.to_owned());
    }
    if io::stdin_is_terminal() {
        io::say(Level::Info, WAITING_FOR_A_HOST, None);
    }
    let settings = ShellSettings::for_bridge(&config);
    let mut bridge = Bridge::new(config, io::random_seed(), io::now());
    ExitCode::from(io::run(&mut bridge, settings))
}

/// Wrong settings of a run: a host hears of them in the answer to its first request, a person on
/// stderr and in the log file.
fn refuse_host(problem: &str, env: &[(String, String)]) -> ExitCode {
    let limits = Limits::default();
    let log_file = io::variable(env, LOG_FILE);
    io::say(Level::Error, problem, log_file.as_deref());
    let words = format!("aerostack-gateway can not start: {problem}");
    let refusal = Refusal::new(words, limits.refusal_line_max_bytes);
    io::refuse(refusal, limits.refusal_patience);
    ExitCode::from(USAGE)
}

fn check(options: Options, json: bool) -> ExitCode {
    let style = io::report_style(json);
    match settings(&options, Limits::default()) {
        Ok((environment, config)) => {
            let code = diagnose(config, style);
            if !json {
                hook_states(&environment);
            }
            ExitCode::from(code)
        }
        Err(error) => {
            print(&check::refusal(&error, style));
            ExitCode::from(USAGE)
        }
    }
}

/// Says how the hooks of `--guard` stand, where there are any.
fn hook_states(environment: &Environment) {
    let program = io::program_path().unwrap_or_default();
    for line in hosts::hook_states(environment, &program) {
        print(&format!("{line}\n"));
    }
}

/// Runs the diagnosis and prints its report; 0: all passed.
fn diagnose(config: Config, style: Style) -> u8 {
    let mut settings = ShellSettings::for_bridge(&config);
    (settings.stdio, settings.limits) = (false, io::ShellLimits::for_check());
    let proxy = config
        .proxy
        .choose(&config.endpoint)
        .map(ToString::to_string);
    let mut check = Check::new(config, proxy, style, io::random_seed(), io::now());
    io::run(&mut check, settings)
}

fn set_up(options: Options) -> ExitCode {
    let check = |config| diagnose(config, io::report_style(false)) == 0;
    match setup::run(&options.env, options.env_file.as_deref(), check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(SetupError::Unusable(problem)) => refuse(&problem),
        Err(SetupError::GivenUp(problem)) => done(Err(problem)),
    }
}

fn print_config(options: Options, host: &Host, show_token: bool) -> ExitCode {
    let environment = match Environment::new(options.env.clone(), options.env_file.as_deref()) {
        Ok(environment) => environment,
        Err(error) => return refuse(&error.to_string()),
    };
    let samples = Placeholders(&environment);
    let server = Config::read(&samples, Limits::default())
        .map_err(|error| error.to_string())
        .and_then(|config| server(&environment, &config, &options, show_token));
    match server {
        Ok(server) => {
            if let Ok(file) = hosts::file(host, &environment) {
                let _ = writeln!(std::io::stderr(), "for {}", file.display());
            }
            print(&hosts::print(host, &samples.fill_in(server)))
        }
        Err(problem) => refuse(&problem),
    }
}

fn install(options: Options, host: &Host) -> ExitCode {
    let server = settings(&options, Limits::default())
        .map_err(|error| error.to_string())
        .and_then(|(environment, config)| {
            let server = server(&environment, &config, &options, true)?;
            Ok((environment, server))
        });
    match server {
        Ok((environment, server)) => done(hosts::install(host, &server, &environment)),
        Err(problem) => refuse(&problem),
    }
}

fn uninstall(options: Options, host: &Host) -> ExitCode {
    // What is to be removed needs no settings: those of the command line may say where the host is.
    match Environment::new(options.env, None) {
        Ok(environment) => done(hosts::uninstall_hook(host, &environment).and_then(|hook| {
            let server = hosts::uninstall(host, &environment)?;
            Ok(hook.unwrap_or_default() + &server)
        })),
        Err(error) => refuse(&error.to_string()),
    }
}

/// Says what was done to a host's configuration, or what stood in the way.
fn done(report: Result<String, String>) -> ExitCode {
    match report {
        Ok(report) => print(&report),
        Err(problem) => {
            refuse(&problem);
            ExitCode::from(FAILURE)
        }
    }
}

/// How an AI tool is to start this program.
fn server(
    environment: &Environment,
    config: &Config,
    options: &Options,
    show_token: bool,
) -> Result<Server, String> {
    let program = io::program_path()?;
    let file = environment.settings_file_use();
    Ok(Server::new(program, config, &options.env, file, show_token))
}

/// Answers a hook's event. An answer that nobody reads is a no.
fn guard(hook: &Hook) -> ExitCode {
    let words = hook.run();
    match io::write_answer(&words.stdout, &words.stderr) {
        true => ExitCode::from(words.code),
        false => ExitCode::from(USAGE),
    }
}

/// Writes a hook, after the workspace was seen as the hook will see it.
fn install_guard(mut hook: Hook, host: &Host) -> ExitCode {
    let default = || io::default_settings_file().filter(|path| path.exists());
    let file = hook.env_file.take().map(PathBuf::from).or_else(default);
    let Some(file) = file else {
        return refuse(NO_SETTINGS_FILE);
    };
    hook.env_file = Some(file.to_string_lossy().into_owned());
    // `--env` says where the AI tool is; what the hook is to know stands in the file.
    let environment = Environment::without_file(std::mem::take(&mut hook.env));
    if let Err(why) = hook.settings().map(drop).and_then(|()| hook.probe()) {
        let words = format!("the hook was not installed, because it would deny everything: {why}");
        return done(Err(words));
    }
    done(io::program_path().and_then(|program| {
        let arguments = hook.written();
        hosts::install_hook(host, &HookCommand { program, arguments }, &environment)
    }))
}

fn explain(hook: &Hook, text: &str) -> ExitCode {
    let folder = std::env::current_dir().unwrap_or_default();
    match hook.settings() {
        Ok(settings) => print(&guard::explain(
            text,
            &folder.to_string_lossy(),
            &settings,
            &Disk,
        )),
        Err(problem) => refuse(&problem),
    }
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
