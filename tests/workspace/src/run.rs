//! From the command line to a workspace that serves.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;

use crate::audit::Audit;
use crate::cli::Args;
use crate::state::{Identity, Workspace};
use crate::sync::random_id;
use crate::upstream::Upstream;
use crate::{listen, routes, tls};

/// Serves until SIGINT or SIGTERM.
pub async fn run(args: Args) -> Result<(), String> {
    if args.conformance && !args.listen.ip().is_loopback() {
        return Err("--conformance needs no token and is for loopback only".to_owned());
    }
    let upstreams = args
        .upstream
        .iter()
        .map(|u| Upstream::parse(u))
        .collect::<Result<Vec<_>, _>>()?;
    let audit = Audit::open(args.data.as_deref()).map_err(|e| format!("--data: {e}"))?;
    let identity = Identity {
        slug: args.slug.clone(),
        name: format!("Local workspace “{}”", args.slug),
        token: args.token.clone().unwrap_or_else(|| random_id("mwt_", 20)),
        conformance: args.conformance,
    };
    let workspace = Workspace::new(identity, args.settings(), upstreams, audit);
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|e| format!("{}: {e}", args.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let scheme = if args.http { "http" } else { "https" };
    let origin = match &args.name {
        Some(name) => format!("{scheme}://{name}:{}", address.port()),
        None => format!("{scheme}://{address}"),
    };
    workspace.origin.set(origin).ok();

    let ca_file = (!args.http).then(|| match &args.data {
        Some(dir) => dir.join("ca.pem"),
        None => tls::default_ca_file(address.port()),
    });
    let tls = match &ca_file {
        Some(file) => Some(tls::server_config(
            address.ip(),
            args.name.as_deref(),
            file,
        )?),
        None => None,
    };
    let admin = if args.admin {
        Some(open_admin(&workspace).await?)
    } else {
        None
    };
    // Before anybody is told that we are there: a signal that follows at once has to find its handler.
    let stop = stop().map_err(|e| e.to_string())?;
    announce(
        &args,
        &workspace,
        address.port(),
        ca_file.as_ref(),
        admin.as_ref(),
    )?;

    let serve = listen::serve(
        listener,
        tls,
        routes::workspace(&workspace),
        workspace.clone(),
    );
    let outcome = tokio::select! {
        outcome = serve => outcome.map_err(|e| e.to_string()),
        () = stop => Ok(()),
    };
    if let (Some(file), None) = (&ca_file, &args.data) {
        std::fs::remove_file(file).ok();
    }
    outcome
}

/// The admin API's address and token.
struct AdminAccess {
    url: String,
    token: String,
}

async fn open_admin(workspace: &Arc<Workspace>) -> Result<AdminAccess, String> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|e| e.to_string())?;
    let url = format!(
        "http://{}/admin",
        listener.local_addr().map_err(|e| e.to_string())?
    );
    let token = random_id("adm_", 20);
    tokio::spawn(listen::serve_admin(
        listener,
        routes::admin(workspace, token.clone()),
    ));
    Ok(AdminAccess { url, token })
}

/// Installs the signal handlers now; the future ends with the first signal.
fn stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn announce(
    args: &Args,
    workspace: &Workspace,
    port: u16,
    ca_file: Option<&PathBuf>,
    admin: Option<&AdminAccess>,
) -> Result<(), String> {
    let url = format!("{}/ws/{}", workspace.origin(), workspace.identity.slug);
    let token = &workspace.identity.token;
    let ca = ca_file.map(|f| f.display().to_string());
    if let Some(file) = &args.ready_file {
        let ready = json!({
            "url": url, "token": token, "ca_file": ca, "port": port,
            "dashboard_url": workspace.dashboard_url(),
            "admin_url": admin.map(|a| &a.url), "admin_token": admin.map(|a| &a.token),
            "pid": std::process::id(),
        });
        write_whole(file, &ready.to_string()).map_err(|e| format!("--ready-file: {e}"))?;
    }
    let mut env = json!({ "AEROSTACK_WORKSPACE_URL": url, "AEROSTACK_TOKEN": token });
    if let Some(ca) = &ca {
        env["SSL_CERT_FILE"] = ca.as_str().into();
    }
    let config =
        json!({ "mcpServers": { "aerostack": { "command": "aerostack-gateway", "env": env } } });
    let config = serde_json::to_string_pretty(&config).map_err(|e| e.to_string())?;
    let mut text = format!(
        "workspace   {url}\ntoken       {token}\ndashboard   {}   (log in with the token)\n",
        workspace.dashboard_url()
    );
    if let Some(ca) = &ca {
        text += &format!("CA file     {ca}\n");
    }
    if let Some(admin) = admin {
        text += &format!("admin       {}\nadmin token {}\n", admin.url, admin.token);
    }
    text += &format!("\nClaude Code and other MCP hosts:\n{config}\n");
    let mut stdout = io::stdout().lock();
    // Whoever started us may not read what we print; we serve all the same.
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .ok();
    Ok(())
}

/// Writes beside the file and renames: a reader never sees half of it.
fn write_whole(file: &std::path::Path, text: &str) -> io::Result<()> {
    let part = file.with_extension("part");
    std::fs::write(&part, text)?;
    std::fs::rename(&part, file)
}
