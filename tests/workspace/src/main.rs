//! The reference workspace's program.

use std::io::Write;
use std::process::ExitCode;

use aerostack_workspace::cli::Args;
use clap::Parser;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => return failed(&e.to_string()),
    };
    let outcome = runtime.block_on(aerostack_workspace::run::run(args));
    // Connections that wait for ever are part of the faults: they do not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(&e),
    }
}

fn failed(why: &str) -> ExitCode {
    writeln!(std::io::stderr(), "aerostack-workspace: {why}").ok();
    ExitCode::FAILURE
}
