//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::settings::{ApprovalMode, Replies, Settings};

/// A small local Aerostack Workspace: an MCP endpoint with approvals, guardian, chat and a dashboard.
#[derive(Debug, Parser)]
#[command(name = "aerostack-workspace", version)]
pub struct Args {
    /// Where to listen; port 0 takes a free one. Anything but loopback is your decision.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Plain http instead of https with a CA of its own.
    #[arg(long)]
    pub http: bool,
    /// The token of bridges and of the dashboard; a random one unless given.
    #[arg(
        long,
        env = "AEROSTACK_WORKSPACE_TOKEN",
        hide_env_values = true,
        value_name = "mwt_…"
    )]
    pub token: Option<String>,
    /// Add a token: NAME=owner, agent, reviewer or viewer.
    #[arg(long, value_name = "NAME=ROLE")]
    pub add_token: Vec<String>,
    /// The workspace's name in its URL.
    #[arg(long, default_value = "demo")]
    pub slug: String,
    /// The host name in the URL and the certificate, for those who reach us by one.
    #[arg(long)]
    pub name: Option<String>,
    /// Keep the audit log and the CA file in this directory.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Put a Streamable HTTP MCP server behind this workspace: its tools appear as NAME__tool.
    #[arg(long, value_name = "NAME=URL")]
    pub upstream: Vec<String>,
    /// Tools that need approval, as globs ('github__*'), or methods ('resources/read'). Replaces the default:
    /// github__delete_repo and files__delete.
    #[arg(long, value_name = "GLOB")]
    pub gate: Vec<String>,
    /// How an approval ends: `approved` (the gateway sends the call again) or `executed` (the workspace runs it).
    #[arg(long, default_value = "approved", value_name = "MODE", value_parser = ["approved", "executed"])]
    pub approvals: String,
    /// Answers as `auto`, `json` or `sse`.
    #[arg(long, default_value = "auto", value_name = "KIND", value_parser = ["auto", "json", "sse"])]
    pub replies: String,
    /// Requests a minute for each token; 0 for no limit.
    #[arg(long, default_value_t = 120, value_name = "N")]
    pub rate_limit: u32,
    /// Write a JSON object with url, token, ca_file … to this file once ready.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Open the admin API (faults, decisions, read-outs) on a loopback port of its own.
    #[arg(long)]
    pub admin: bool,
    /// Add the fixture tools of the official MCP conformance suite, and ask for no token (loopback only).
    #[arg(long)]
    pub conformance: bool,
}

impl Args {
    /// The settings that the flags ask for.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings {
            rate_limit: self.rate_limit,
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
