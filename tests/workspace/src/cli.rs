//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::settings::{ApprovalMode, Replies, Settings};

const ABOUT: &str = "\
A local Aerostack Workspace: one MCP endpoint in front of your tools, where a person approves what matters.

AI tools reach it through aerostack-gateway. Calls of gated tools, and risky local operations that an agent asks about, wait in the dashboard until somebody approves or rejects them there.";

const EXAMPLES: &str = "\
Examples:
  Try it, with demo tools and everything in memory:
    aerostack-workspace

  Keep it: approvals, history, chat, audit log, tokens, address and certificate stay in a directory:
    aerostack-workspace --data ~/.local/share/aerostack

  Put a local MCP server behind it, and ask before it writes:
    aerostack-workspace --no-demo --gate 'files__write*' --gate 'files__edit*' \\
      --upstream-stdio files='npx -y @modelcontextprotocol/server-filesystem /home/me/project'

  Give another machine's agents a token of their own, and a colleague one that decides:
    aerostack-workspace --data DIR --add-token ci=agent --add-token ada=reviewer

Roles of tokens:
  owner      everything: the token that opens the dashboard from the beginning
  agent      connects agents; opens no dashboard, so that no agent decides for itself. The configuration that is
             printed for AI tools has such a token
  reviewer   sees the dashboard and decides; connects no agent
  viewer     sees the dashboard and changes nothing";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "aerostack-workspace", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 110)]
pub struct Args {
    /// Where to listen; port 0 takes a free one, with --data the same as before
    #[arg(
        long,
        default_value = "127.0.0.1:0",
        value_name = "ADDR:PORT",
        help_heading = "Address"
    )]
    pub listen: SocketAddr,
    /// Plain http instead of https with a certificate of its own
    #[arg(long, help_heading = "Address")]
    pub http: bool,
    /// The host name in the URL and the certificate, for those who reach it by one
    #[arg(long, value_name = "HOST", help_heading = "Address")]
    pub name: Option<String>,
    /// The workspace's name in its URL: …/ws/SLUG
    #[arg(long, default_value = "demo", help_heading = "Address")]
    pub slug: String,

    /// Keep everything in this directory, in SQLite; nothing is lost when the program is killed
    #[arg(long, value_name = "DIR", help_heading = "Memory and tokens")]
    pub data: Option<PathBuf>,
    /// The owner's token; else the one that was kept, or a random one
    #[arg(
        long,
        env = "AEROSTACK_WORKSPACE_TOKEN",
        hide_env_values = true,
        value_name = "mwt_…",
        help_heading = "Memory and tokens"
    )]
    pub token: Option<String>,
    /// Add a token with a role, or change its role: owner, agent, reviewer or viewer (repeatable)
    #[arg(long, value_name = "NAME=ROLE", help_heading = "Memory and tokens")]
    pub add_token: Vec<String>,

    /// Put a Streamable HTTP MCP server behind this workspace: its tools appear as NAME__tool (repeatable)
    #[arg(long, value_name = "NAME=URL", help_heading = "Tools")]
    pub upstream: Vec<String>,
    /// The same with a program that speaks MCP over stdio (repeatable)
    #[arg(long, value_name = "NAME='COMMAND …'", help_heading = "Tools")]
    pub upstream_stdio: Vec<String>,
    /// Without the demo tools
    #[arg(long, help_heading = "Tools")]
    pub no_demo: bool,
    /// Ask before tools that match a glob ('github__*'), or before a method ('resources/read') (repeatable)
    ///
    /// Replaces the default, which is github__delete_repo and files__delete of the demo.
    #[arg(long, value_name = "GLOB", help_heading = "Tools")]
    pub gate: Vec<String>,
    /// After a yes, let the gateway send the call again (approved), or execute it here (executed)
    #[arg(long, default_value = "approved", value_name = "MODE", value_parser = ["approved", "executed"], help_heading = "Tools")]
    pub approvals: String,
    /// Requests a minute for each token; 0 for no limit
    #[arg(long, default_value_t = 120, value_name = "N", help_heading = "Tools")]
    pub rate_limit: u32,

    /// Answer as `auto`, `json` or `sse`
    #[arg(long, default_value = "auto", value_name = "KIND", value_parser = ["auto", "json", "sse"], help_heading = "For tests", hide_short_help = true)]
    pub replies: String,
    /// Write a JSON object with url, token, ca_file … to this file once ready
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "For tests",
        hide_short_help = true
    )]
    pub ready_file: Option<PathBuf>,
    /// Open the admin API (faults, decisions, read-outs) on a loopback port of its own
    #[arg(long, help_heading = "For tests", hide_short_help = true)]
    pub admin: bool,
    /// Add the fixture tools of the official MCP conformance suite, and ask for no token (loopback only)
    #[arg(long, help_heading = "For tests", hide_short_help = true)]
    pub conformance: bool,
}

impl Args {
    /// The settings that the flags ask for.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings {
            rate_limit: self.rate_limit,
            demo: !self.no_demo,
            approval_mode: match self.approvals.as_str() {
                "executed" => ApprovalMode::Executed,
                _ => ApprovalMode::Approved,
            },
            replies: match self.replies.as_str() {
                "json" => Replies::Json,
                "sse" => Replies::Sse,
                _ => Replies::Auto,
            },
            ..Settings::default()
        };
        if !self.gate.is_empty() {
            settings.gates = self.gate.clone();
        }
        settings
    }
}
