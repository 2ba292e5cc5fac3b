//! The impure shell: the only place that names sockets, TLS, threads, descriptors and clocks.
//!
//! Owns how bytes move. It must never decide what they mean: all policy is the engine's, and the
//! two know each other only by `Input` and `Output`.
//!
//! ```text
//!   stdin  ─ stdio ─┐                         ┌─ conn ─ link ─ rustls ─ TcpStream
//!   stdout ─ stdio ─┤                         │    └ dial, proxy, tls, roots
//!   stderr ─ stderr ┼─ reactor ── Engine      │
//!   signal ─ signal ┤      └──────────────────┘
//!   names  ─ resolve┘
//! ```

mod clock;
mod conn;
mod dial;
mod environment;
mod fd;
mod file;
#[cfg(fuzzing)]
pub mod fuzz;
mod hook;
mod link;
mod log_file;
mod provider;
mod proxy;
mod queue;
mod reactor;
mod refusing;
mod resolve;
mod roots;
mod settings_file;
mod signal;
mod socket;
mod stderr;
mod stdio;
mod terminal;
mod tls;
mod usage;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use crate::bridge::Engine;
use crate::config::Config;
use crate::proto::endpoint::Endpoint;
use std::time::Duration;

pub use clock::now;
pub use environment::{Environment, program_path, random_seed, report_style, variable};
pub(crate) use hook::{exists, is_ours, link_target, log_line, read_event, real_path, short_text};
pub use hook::{panics_deny, write_answer};
pub(crate) use proxy::Proxy;
pub use reactor::run;
pub use refusing::{refuse, stdin_is_terminal};
pub use settings_file::default_settings_file;
pub(crate) use settings_file::{settings_file_content, write_settings_file};
pub use stderr::say;
pub(crate) use terminal::Terminal;
pub(crate) use tls::TlsSettings;

/// Chooses the proxy for a target that is not on this machine.
pub(crate) type ProxyChoice = Box<dyn Fn(&Endpoint) -> Option<Proxy>>;

/// What the shell needs to know.
#[derive(Default)]
pub struct ShellSettings {
    /// Watch stdin and stdout and catch SIGTERM, SIGINT and SIGHUP. False for `--check`: stdin is left
    /// alone, a signal ends the process, stdout is touched only by `Output::Stdout`.
    pub stdio: bool,
    /// With `stdio`: stdin is left alone all the same, because it has been read. For `--guard`.
    pub without_stdin: bool,
    /// Certificate authorities.
    pub tls: TlsSettings,
    /// Which proxy, if any; never asked for loopback hosts.
    pub proxy: Option<ProxyChoice>,
    /// Let http:// go to peers that are not on this machine.
    pub allow_http: bool,
    /// AEROSTACK_LOG_FILE: where the log is written besides stderr.
    pub log_file: Option<String>,
    /// Time limits.
    pub limits: ShellLimits,
}

impl ShellSettings {
    /// The shell of a bridge: stdin, stdout and signals belong to it.
    pub fn for_bridge(config: &Config) -> Self {
        let rules = config.proxy.clone();
        let choose = move |endpoint: &Endpoint| rules.choose(endpoint).map(Proxy::from);
        Self {
            stdio: true,
            without_stdin: false,
            tls: TlsSettings::from_env(|name| config.trust.variable(name)),
            proxy: Some(Box::new(choose)),
            allow_http: config.allow_http,
            log_file: config.log_file.clone(),
            limits: ShellLimits {
                connect: config.limits.connect_timeout,
                proxy: config.limits.proxy_timeout,
                tls: config.limits.tls_timeout,
                ..ShellLimits::default()
            },
        }
    }
}

/// How long the phases of a connection and the shell's own pauses may last.
#[derive(Clone, Copy, Debug)]
pub struct ShellLimits {
    /// Name lookup and TCP connect together: a person waits.
    pub connect: Duration,
    /// From CONNECT to the proxy's 2xx.
    pub proxy: Duration,
    /// From ClientHello to the end of the handshake.
    pub tls: Duration,
    /// How long a closed connection may take to send what was queued before.
    pub close: Duration,
    /// How long the end of the process may wait for the host to read stdout.
    pub exit: Duration,
}

impl ShellLimits {
    /// For `--check`: a person waits, and the whole run takes less than ten seconds.
    pub fn for_check() -> Self {
        let [connect, proxy, tls] = crate::check::PHASES;
        Self {
            connect,
            proxy,
            tls,
            ..Self::default()
        }
    }
}

impl Default for ShellLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            proxy: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            close: Duration::from_secs(2),
            exit: Duration::from_millis(500),
        }
    }
}
