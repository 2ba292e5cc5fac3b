//! Drives the real program over loopback with a plain socket: no client library stands between.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) mod login;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running workspace; ends with the test.
pub(crate) struct Workspace {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    dir: std::path::PathBuf,
    pub(crate) ready: Value,
}

impl Workspace {
    /// Starts one over plain http with the admin API and without a rate limit.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut all = vec!["--http", "--admin", "--rate-limit", "0"];
        all.extend(args);
        Self::start_with(&all)
    }

    /// Starts one with exactly these flags.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("aerostack-ws-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a scratch directory");
        let ready_file = dir.join("ready.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_aerostack-workspace"))
            .args(args)
            .arg("--ready-file")
            .arg(&ready_file)
            // What it does not remove when it is killed goes with the scratch directory.
            .env("TMPDIR", &dir)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("a line");
        let text = std::fs::read_to_string(&ready_file)
            .expect("the ready file stands before the first line");
        Workspace {
            child,
            stdout,
            dir,
            ready: serde_json::from_str(&text).expect("json"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("ready file has no {name}"))
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ready["port"])
    }

    pub(crate) fn token(&self) -> &str {
        self.text("token")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and returns what it has printed after its first line.
    pub(crate) fn said(mut self) -> String {
        self.child.kill().ok();
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).expect("UTF-8");
        said
    }

    pub(crate) fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().expect("a status")
    }

    /// A request to the workspace.
    pub(crate) fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        http(&self.address(), method, path, headers, body)
    }

    /// A POST to the MCP endpoint with the headers that every client sends.
    pub(crate) fn post(&self, headers: &[(&str, &str)], body: &str) -> Reply {
        let token = format!("Bearer {}", self.token());
        let mut all = vec![
            ("authorization", token.as_str()),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        all.retain(|(n, _)| !headers.iter().any(|(m, _)| m == n));
        all.extend(headers.iter().filter(|(_, v)| *v != "-"));
        self.http("POST", "/ws/demo", &all, body)
    }

    /// A request to the admin API.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = self.text("admin_url");
        let address = url.trim_start_matches("http://").trim_end_matches("/admin");
        let token = format!("Bearer {}", self.text("admin_token"));
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let reply = http(
            address,
            method,
            &format!("/admin{path}"),
            &[("authorization", &token)],
            &body,
        );
        assert!(
            reply.status < 300,
            "{method} {path}: {} {}",
            reply.status,
            reply.body
        );
        reply.json()
    }

    pub(crate) fn read(&self, path: &str) -> Value {
        self.admin("GET", path, &Value::Null)
    }

    pub(crate) fn set(&self, settings: Value) {
        self.admin("PATCH", "/settings", &settings);
    }

    pub(crate) fn fault(&self, fault: Value) {
        self.admin("POST", "/faults", &fault);
    }

    /// Turns the workspace's clock forward.
    pub(crate) fn turn(&self, ms: u64) {
        self.admin("POST", "/clock", &json!({ "ms": ms }));
    }

    /// Waits until a tool runs.
    pub(crate) fn until_running(&self, tool: &str) {
        self.until("/executions", |e| !e["tools"][tool].is_null());
    }

    /// Waits until a read-out of the admin API fits.
    pub(crate) fn until(&self, path: &str, fits: impl Fn(&Value) -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let value = self.read(path);
            if fits(&value) {
                return;
            }
            assert!(std::time::Instant::now() < end, "{path}: {value}");
            std::thread::yield_now();
        }
    }

    /// A session of the handshake era.
    pub(crate) fn session(&self, version: &str) -> Session<'_> {
        self.open_session(version, self.token().to_owned())
    }

    /// The same with another token.
    pub(crate) fn session_of(&self, token: &str) -> Session<'_> {
        self.open_session("2025-11-25", token.to_owned())
    }

    fn open_session(&self, version: &str, token: String) -> Session<'_> {
        let bearer = format!("Bearer {token}");
        let params = json!({ "protocolVersion": version, "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "test-host", "version": "1.0" } });
        let body =
            json!({ "jsonrpc": "2.0", "id": "init", "method": "initialize", "params": params });
        let reply = self.post(&[("authorization", &bearer)], &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.body);
        let id = reply
            .header("mcp-session-id")
            .expect("a session id")
            .to_owned();
        let result = reply.message()["result"].clone();
        let version = result["protocolVersion"]
            .as_str()
            .expect("a version")
            .to_owned();
        let session = Session {
            workspace: self,
            bearer,
            id,
            version,
            result,
        };
        let body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(session.post(&body.to_string()).status, 202);
        session
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// A session of the handshake era.
pub(crate) struct Session<'a> {
    pub(crate) workspace: &'a Workspace,
    bearer: String,
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) result: Value,
}

impl Session<'_> {
    pub(crate) fn headers(&self) -> [(&str, &str); 2] {
        [
            ("mcp-session-id", &self.id),
            ("mcp-protocol-version", &self.version),
        ]
    }

    pub(crate) fn post(&self, body: &str) -> Reply {
        let [id, version] = self.headers();
        let bearer = ("authorization", self.bearer.as_str());
        self.workspace.post(&[bearer, id, version], body)
    }

    /// Sends a message and does not wait for what comes of it.
    pub(crate) fn send_and_leave(&self, body: &str) {
        let [id, version] = self.headers();
        let mut tcp = TcpStream::connect(self.workspace.address()).expect("a connection");
        let head = format!(
            "POST /ws/demo HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\n{}: {}\r\n{}: {}\r\n\
             accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.workspace.address(),
            self.bearer,
            id.0,
            id.1,
            version.0,
            version.1,
            body.len()
        );
        tcp.write_all(head.as_bytes()).expect("it is sent");
        // The connection stays open: nobody cancels.
        std::mem::forget(tcp);
    }

    /// A request's answer, whole.
    pub(crate) fn request(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let reply = self.post(&body.to_string());
        assert_eq!(reply.status, 200, "{method}: {}", reply.body);
        reply.message()
    }

    pub(crate) fn call(&self, tool: &str, arguments: Value) -> Value {
        self.request(
            "tools/call",
            json!({ "name": tool, "arguments": arguments }),
        )
    }

    /// Calls a gated tool and returns the data of its -32050.
    pub(crate) fn gated(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(tool, arguments);
        assert_eq!(answer["error"]["code"], -32050, "{answer}");
        answer["error"]["data"].clone()
    }

    /// The retry that names an approval.
    pub(crate) fn retry(&self, tool: &str, arguments: Value, approval: &str) -> Value {
        let meta = json!({ "dev.aerostack/approval_id": approval });
        self.request(
            "tools/call",
            json!({ "name": tool, "arguments": arguments, "_meta": meta }),
        )
    }

    pub(crate) fn heartbeat(&self, id: &str, instance: &str, status: &str) -> Value {
        let bridge = json!({ "id": id, "instance": instance, "name": "aerostack-gateway", "version": "0.1.0",
            "hostname": "laptop", "os": "linux", "arch": "x86_64", "started_at": 1_790_000_000 });
        let client = json!({ "name": "Claude Code", "version": "2.1" });
        self.request(
            "aerostack/heartbeat",
            json!({ "bridge": bridge, "client": client, "status": status,
            "in_flight": 1, "pending_approvals": 0, "calls_total": 7 }),
        )
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The connection broke before the body was whole.
    pub(crate) broken: bool,
    /// Informational answers that came before.
    pub(crate) informational: Vec<u16>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The messages of an event stream, or the one of a JSON body.
    pub(crate) fn messages(&self) -> Vec<Value> {
        if !self
            .header("content-type")
            .is_some_and(|t| t.starts_with("text/event-stream"))
        {
            return vec![self.json()];
        }
        let data = |event: &str| {
            let lines: Vec<_> = event
                .lines()
                .filter_map(|l| l.strip_prefix("data: "))
                .collect();
            lines.join("\n")
        };
        let events = self
            .body
            .split("\n\n")
            .map(data)
            .filter(|d| !d.trim().is_empty());
        events
            .map(|d| serde_json::from_str(&d).unwrap_or_else(|e| panic!("{e}: {d}")))
            .collect()
    }

    /// The last message: the answer.
    pub(crate) fn message(&self) -> Value {
        self.messages().pop().expect("at least one message")
    }
}

/// Sends a request and reads its answer's head; the body can be read as it comes.
pub(crate) fn open(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (Reply, BufReader<TcpStream>) {
    let mut tcp = TcpStream::connect(address).expect("a connection");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|(n, _)| *n == "host") {
        head += &format!("host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    tcp.write_all(format!("{head}\r\n{body}").as_bytes()).ok();
    let mut reader = BufReader::new(tcp);
    let mut reply = Reply {
        status: 0,
        headers: Vec::new(),
        body: String::new(),
        broken: true,
        informational: Vec::new(),
    };
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return (reply, reader);
        }
        reply.status = line
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status line");
        reply.headers.clear();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            reply
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if reply.status >= 200 || reply.status == 101 {
            return (reply, reader);
        }
        reply.informational.push(reply.status);
    }
}

/// Sends a request and reads its whole answer.
pub(crate) fn http(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let (mut reply, mut reader) = open(address, method, path, headers, body);
    let mut bytes = Vec::new();
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.broken = !read_chunks(&mut reader, &mut bytes);
    } else {
        let wanted = reply
            .header("content-length")
            .and_then(|l| l.parse::<u64>().ok());
        let whole = reader
            .take(wanted.unwrap_or(u64::MAX))
            .read_to_end(&mut bytes)
            .is_ok();
        let missing = wanted.is_some_and(|w| w != bytes.len() as u64);
        reply.broken = reply.status == 0 || !whole || missing;
    }
    reply.body = String::from_utf8(bytes).expect("UTF-8");
    reply
}

fn read_chunks(reader: &mut impl BufRead, bytes: &mut Vec<u8>) -> bool {
    loop {
        let Some(chunk) = read_chunk(reader) else {
            return false;
        };
        if chunk.is_empty() {
            return true;
        }
        bytes.extend(chunk);
    }
}

/// One chunk of a chunked body; `None` if the connection broke.
pub(crate) fn read_chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let size = usize::from_str_radix(line.trim(), 16).ok()?;
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(size);
    Some(chunk)
}
