//! From the command line to a workspace that serves.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, json};
use tokio::net::TcpListener;

use crate::audit::Audit;
use crate::cli::Args;
use crate::state::{Identity, Workspace};
use crate::store::Store;
use crate::sync::random_id;
use crate::tokens::{AGENTS, MAIN};
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
        .chain(args.upstream_stdio.iter().map(|u| Upstream::parse_stdio(u)))
        .collect::<Result<Vec<_>, _>>()?;
    for (at, upstream) in upstreams.iter().enumerate() {
        if upstreams[..at].iter().any(|u| u.name == upstream.name) {
            return Err(format!("two servers are named {}", upstream.name));
        }
    }
    let store = match &args.data {
        Some(dir) => Some(Arc::new(
            Store::open(dir).map_err(|e| format!("--data: {e}"))?,
        )),
        None => None,
    };
    let kept = |name: &str| store.as_ref().map_or(Ok(None), |s| s.fact(name));
    let token = match args.token.clone().or(kept("token")?) {
        Some(token) => token,
        None => random_id("mwt_", 20),
    };
    if let Some(store) = &store {
        store.keep_fact("token", &token)?;
    }
    let identity = Identity {
        slug: args.slug.clone(),
        name: format!("Local workspace “{}”", args.slug),
        token,
        conformance: args.conformance,
    };
    let audit = Audit::open(store.clone())?;
    let workspace = Workspace::open(identity, args.settings(), upstreams, audit)?;
    // What is printed for AI tools must not open the dashboard: no agent decides for itself.
    let agents = workspace.tokens.add(&format!("{AGENTS}=agent"));
    agents.map_err(|e| format!("--data: {e}"))?;
    for token in &args.add_token {
        let added = workspace.tokens.add(token);
        added.map_err(|e| format!("--add-token: {e}"))?;
    }
    let listener = bind(args.listen, store.as_deref())
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
    let name = args.name.as_deref();
    let tls = match (&ca_file, &store) {
        (None, _) => None,
        (Some(file), None) => Some(tls::server_config(address.ip(), name, file)?),
        (Some(file), Some(store)) => Some(tls::kept_config(address.ip(), name, file, store)?),
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

    for at in 0..workspace.upstreams.len() {
        let workspace = workspace.clone();
        tokio::spawn(async move { connect(&workspace.upstreams[at]).await });
    }
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
    for upstream in &workspace.upstreams {
        upstream.stop().await;
    }
    if let (Some(file), None) = (&ca_file, &args.data) {
        std::fs::remove_file(file).ok();
    }
    outcome
}

/// Connects a server behind us before somebody needs it, and tells the person at the terminal what came of it.
async fn connect(upstream: &Upstream) {
    let words = match upstream.connect().await {
        Ok(tools) => format!("{}: {tools} tools", upstream.name),
        Err(e) => format!("{}: no tools, because it answered {e}", upstream.name),
    };
    writeln!(io::stderr(), "aerostack-workspace: {words}").ok();
}

/// Listens; on port 0 where it listened before, so that those who know the address come back to it.
async fn bind(address: SocketAddr, store: Option<&Store>) -> io::Result<TcpListener> {
    let kept = store.and_then(|s| s.fact("port").ok().flatten());
    let before = kept.and_then(|port| port.parse::<u16>().ok());
    let again = before.filter(|_| address.port() == 0);
    let listener = match again {
        Some(port) => match TcpListener::bind((address.ip(), port)).await {
            Ok(listener) => listener,
            // Somebody else has it now.
            Err(_) => TcpListener::bind(address).await?,
        },
        None => TcpListener::bind(address).await?,
    };
    if let Some(store) = store {
        let port = listener.local_addr()?.port();
        store.keep_fact("port", &port.to_string()).ok();
    }
    Ok(listener)
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
    let tokens = workspace.tokens.list();
    if let Some(file) = &args.ready_file {
        let ready = json!({
            "url": url, "token": token, "ca_file": ca, "port": port,
            "dashboard_url": workspace.dashboard_url(),
            "tokens": tokens.iter().map(|t| (t.name.clone(), t.secret.clone().into())).collect::<Map<_, _>>(),
            "admin_url": admin.map(|a| &a.url), "admin_token": admin.map(|a| &a.token),
            "pid": std::process::id(),
        });
        write_whole(file, &ready.to_string()).map_err(|e| format!("--ready-file: {e}"))?;
    }
    let agents = tokens.iter().find(|t| t.name == AGENTS);
    let agents = agents.map_or(token, |t| &t.secret);
    let mut env = json!({ "AEROSTACK_WORKSPACE_URL": url, "AEROSTACK_TOKEN": agents });
    if let Some(ca) = &ca {
        env["SSL_CERT_FILE"] = ca.as_str().into();
    }
    let config =
        json!({ "mcpServers": { "aerostack": { "command": "aerostack-gateway", "env": env } } });
    let config = serde_json::to_string_pretty(&config).map_err(|e| e.to_string())?;
    let mut text = format!(
        "workspace   {url}\ndashboard   {}   (log in with the token)\ntoken       {token}   the owner's: keep it from agents\n",
        workspace.dashboard_url()
    );
    for other in tokens.iter().filter(|t| t.name != MAIN) {
        text += &format!(
            "token       {}   {}: {}\n",
            other.secret,
            other.name,
            other.role.name()
        );
    }
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
    use std::os::unix::fs::OpenOptionsExt;
    let part = file.with_extension("part");
    // It holds tokens.
    let mut private = std::fs::OpenOptions::new();
    private.create(true).write(true).truncate(true).mode(0o600);
    private.open(&part)?.write_all(text.as_bytes())?;
    std::fs::rename(&part, file)
}
