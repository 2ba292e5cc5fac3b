//! What is reached from outside the crate: by the program, by the tests that drive whole machines, and
//! by the benchmarks. Everything else is the crate's own, so that the compiler sees what nobody uses.

/// The engine, a value that is fed inputs and drained of outputs.
pub mod bridge {
    pub use crate::bridge::{Bridge, Engine, Input, Now, Output};
}

/// `--check`.
pub mod check {
    pub use crate::check::{Check, Style, refusal};
}

/// The command line.
pub mod cli {
    pub use crate::cli::docs::documents;
    pub use crate::cli::{Command, Options, is_hook, parse, starts_bridge, usage, version};
}

/// Settings and limits.
pub mod config {
    pub use crate::config::{Config, Identity, LOG_FILE, Limits, SettingError, Source};
}

/// Readers of foreign bytes, for the fuzz targets alone.
#[cfg(fuzzing)]
pub mod fuzz;

/// `--guard`.
pub mod guard {
    pub use crate::guard::{
        Disk, Event, Files, Guarded, Hook, Judgement, Own, Settings, explain, hosts, judge,
    };
}

/// The configuration files of AI tools.
pub mod hosts {
    pub use crate::hosts::{
        HookCommand, Host, Placeholders, Server, file, guarded, hook_states, install, install_hook,
        print, uninstall, uninstall_hook,
    };
}

/// The machine around the engine.
pub mod io {
    pub use crate::io::{
        Environment, ShellLimits, ShellSettings, default_settings_file, now, panics_deny,
        program_path, random_seed, refuse, report_style, run, say, stdin_is_terminal, variable,
        write_answer,
    };
}

/// The log.
pub mod log {
    pub use crate::log::Level;
}

/// Codecs that the tests speak and the benchmarks measure.
pub mod proto {
    pub use crate::proto::http::exchange::{Event, Exchange};
    pub use crate::proto::jsonrpc;
    pub use crate::proto::line::{Line, LineReader};
    pub use crate::proto::sse::EventStream;
    pub use crate::proto::timestamp::to_rfc3339;
    pub use crate::proto::transport::{Close, CloseCause, ConnId, Established, Phase, TlsFailure};
    pub use crate::proto::ws::accept_for;
}

/// Answers to a host without settings.
pub mod refusal {
    pub use crate::refusal::Refusal;
}

/// `--setup`.
pub mod setup {
    pub use crate::setup::{SetupError, run};
}
