//! The first run without an account: a local workspace, the gateway, and a short MCP session between
//! them, told in plain words. `scripts/demo` builds everything and starts it.
//!
//! usage: aerostack-demo GATEWAY WORKSPACE [--yes | --serve]

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (Some(gateway), Some(workspace)) = (arguments.first(), arguments.get(1)) else {
        say("usage: aerostack-demo GATEWAY WORKSPACE [--yes | --serve]");
        return ExitCode::from(2);
    };
    let told = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let outcome =
        Workspace::start(Path::new(workspace)).and_then(|workspace| match told("--serve") {
            true => workspace.serve(gateway),
            false => session(gateway, &workspace, told("--yes")),
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("The demo failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    // A reader that has gone is no failure of the demo.
    writeln!(std::io::stdout(), "{text}").ok();
}

/// The local workspace; it ends with this value.
struct Workspace {
    child: Child,
    url: String,
    /// The owner's, for the dashboard.
    token: String,
    /// The agents', which opens no dashboard.
    agents: String,
    dashboard: String,
}

impl Workspace {
    fn start(program: &Path) -> Outcome<Self> {
        let ready = env::temp_dir().join(format!("aerostack-demo-{}.json", std::process::id()));
        // Loopback only, so plain http will do: a browser would not know the CA.
        let mut child = Command::new(program)
            .args(["--http", "--ready-file"])
            .arg(&ready)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        // The ready file is whole before the first line is printed.
        stdout.read_line(&mut String::new())?;
        let text = std::fs::read_to_string(&ready)?;
        // Nothing is left behind, however this ends.
        std::fs::remove_file(&ready)?;
        let ready: Value = serde_json::from_str(&text)?;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        let (url, token, dashboard) = (text("url"), text("token"), text("dashboard_url"));
        let agents = ready["tokens"]["agents"].as_str().unwrap_or_default();
        Ok(Self {
            child,
            url,
            token,
            agents: agents.to_owned(),
            dashboard,
        })
    }

    /// Keeps it up until Ctrl-C or until it ends.
    fn serve(self, gateway: &str) -> Outcome<()> {
        let gateway = std::fs::canonicalize(gateway)?.display().to_string();
        let config = json!({"mcpServers": {"aerostack": {"command": gateway, "env":
            {"AEROSTACK_WORKSPACE_URL": self.url, "AEROSTACK_TOKEN": self.agents}}}});
        say(&format!(
            "A local workspace is up.\n\nDashboard:  {}\nLog in with {}\n",
            self.dashboard, self.token
        ));
        say(&format!(
            "Paste this into your AI tool's MCP configuration:\n\n{config:#}\n"
        ));
        say(&format!(
            "or, for Claude Code:\n\n  claude mcp add aerostack -- {gateway} \\\n    --env AEROSTACK_WORKSPACE_URL={} \\\n    --env AEROSTACK_TOKEN={}\n",
            self.url, self.agents
        ));
        say("Ctrl-C ends it.");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            Ok(())
        })
    }

    /// One POST of the dashboard, as its page would send it.
    fn post(&self, path: &str, cookie: &str, body: &Value) -> Outcome<String> {
        let host = self
            .dashboard
            .trim_start_matches("http://")
            .trim_end_matches('/');
        let body = body.to_string();
        let mut stream = TcpStream::connect(host)?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.starts_with("HTTP/1.1 200") {
            true => Ok(answer),
            false => {
                Err(format!("{path}: {}", answer.lines().next().unwrap_or("no answer")).into())
            }
        }
    }

    /// What a person does in the dashboard: log in, approve.
    fn approve(&self, approval: &str) -> Outcome<()> {
        let answer = self.post("/api/login", "", &json!({"token": self.token}))?;
        let cookie = answer
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "))
            .and_then(|cookie| cookie.split(';').next())
            .ok_or("the dashboard gave no cookie")?;
        let path = format!("/api/approvals/{approval}/approve");
        self.post(&path, cookie, &json!({"note": "approved by the demo"}))?;
        Ok(())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An AI tool's side of stdio.
struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    next_id: u64,
}

impl Host {
    fn start(gateway: &str, workspace: &Workspace) -> Outcome<Self> {
        let mut child = Command::new(gateway)
            .env("AEROSTACK_WORKSPACE_URL", &workspace.url)
            .env("AEROSTACK_TOKEN", &workspace.agents)
            .env("AEROSTACK_LOG_LEVEL", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        Ok(Self {
            child,
            stdin,
            lines,
            next_id: 0,
        })
    }

    fn send(&mut self, message: &Value) -> Outcome<()> {
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        writeln!(stdin, "{message}")?;
        Ok(())
    }

    /// Sends a request and reads on to its answer; `progress` hears of the notifications between.
    fn ask(
        &mut self,
        method: &str,
        params: Value,
        mut progress: impl FnMut(&Value) -> Outcome<()>,
    ) -> Outcome<Value> {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let line = self.lines.next().ok_or("the gateway ended")??;
            let message: Value = serde_json::from_str(&line)?;
            if message["method"] == "notifications/progress" {
                progress(&message["params"])?;
            } else if message["id"] == id && message.get("method").is_none() {
                return match message.get("error") {
                    Some(error) => Err(format!("{method}: {error}").into()),
                    None => Ok(message["result"].clone()),
                };
            }
        }
    }

    /// Closes stdin, as AI tools do, and waits for the end.
    fn end(mut self) -> Outcome<()> {
        self.stdin = None;
        match self.child.wait()?.success() {
            true => Ok(()),
            false => Err("the gateway did not end well".into()),
        }
    }
}

fn quiet(_: &Value) -> Outcome<()> {
    Ok(())
}

fn session(gateway: &str, workspace: &Workspace, yes: bool) -> Outcome<()> {
    say(&format!(
        "1. A local workspace runs at {} (nothing leaves this machine).",
        workspace.url
    ));
    let mut host = Host::start(gateway, workspace)?;
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "demo", "version": "1"}});
    let answer = host.ask("initialize", hello, quiet)?;
    host.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
    let server = answer["serverInfo"]["name"].as_str().unwrap_or("a server");
    say(&format!(
        "2. The gateway was started like an AI tool starts it, and connected to {server}."
    ));
    let tools = host.ask("tools/list", json!({}), quiet)?;
    let tools = tools["tools"].as_array().map_or(0, Vec::len);
    say(&format!(
        "3. It offers {tools} tools: those of the workspace, and the gateway's own two."
    ));
    let call = json!({"name": "github__create_issue", "arguments": {"repo": "acme/site", "title": "Hello from the demo"}});
    let answer = host.ask("tools/call", call, quiet)?;
    say(&format!(
        "4. github__create_issue ran at once: {}",
        first_text(&answer)
    ));
    say(
        "5. github__delete_repo is dangerous: the workspace wants a person's approval. The call waits.",
    );
    let call = json!({"name": "github__delete_repo", "arguments": {"repo": "acme/site"}, "_meta": {"progressToken": "demo"}});
    let mut asked = false;
    let answer = host.ask("tools/call", call, |progress| {
        if std::mem::replace(&mut asked, true) {
            return Ok(());
        }
        let words = progress["message"].as_str().unwrap_or_default();
        let Some(at) = words.find("http") else {
            return Err("no dashboard was named".into());
        };
        invite(workspace, &words[at..], yes)
    })?;
    match answer["isError"] == true {
        true => say(&format!(
            "   The answer came at once: {}",
            first_text(&answer)
        )),
        false => say(&format!(
            "   Approved. The call ran, once: {}",
            first_text(&answer)
        )),
    }
    host.end()?;
    say("6. The AI tool closed stdin; the gateway said goodbye and ended. That is all it does.");
    Ok(())
}

/// Sends the person to the dashboard, or does there what a person would do.
fn invite(workspace: &Workspace, url: &str, yes: bool) -> Outcome<()> {
    if yes {
        say("   (--yes: the demo logs in to the dashboard and approves by itself)");
        let approval = url.rsplit('#').next().unwrap_or_default();
        return workspace.approve(approval);
    }
    say(&format!(
        "   Open {url}\n   log in with the token {}\n   and click Approve or Reject.",
        workspace.token
    ));
    if env::var_os("DISPLAY").is_some() || env::var_os("WAYLAND_DISPLAY").is_some() {
        let opened = Command::new("xdg-open")
            .arg(url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // Without a browser the address above has to do.
        drop(opened);
    }
    Ok(())
}

fn first_text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or("(no text)")
}
