//! The way through a real proxy: Debian's squid, run by hand on a port of its own, which alone knows the
//! workspace's name. `AEROSTACK_PROXY_TEST=1 cargo test --test proxy -- --ignored`.

mod common;

use common::{Dir, Gateway, INITIALIZE, Nobody, Setup, Workspace, call};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const NAME: &str = "workspace.test";
/// As it stands in the variable; squid's helper gets "me p@ss".
const PASSWORD: &str = "me:p%40ss";

struct Squid {
    child: Child,
    port: u16,
    _dir: Dir,
}

impl Squid {
    /// A proxy that knows the workspace's name; with `guarded` only [`PASSWORD`] may use it.
    fn start(guarded: bool) -> Self {
        let dir = Dir::new();
        let hosts = dir.file("hosts", format!("127.0.0.1 {NAME}\n"));
        // squid's helpers speak lines: "user password" in, OK or ERR out.
        let helper = dir.file(
            "helper",
            "#!/bin/sh\nwhile read -r line; do\n  case $line in\n  'me p@ss') echo OK ;;\n  *) echo ERR ;;\n  esac\ndone\n",
        );
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&helper, executable).expect("a file of ours");
        let port = free_port();
        let access = match guarded {
            true => format!(
                "auth_param basic program {helper}\nauth_param basic children 1\n\
                 acl known proxy_auth REQUIRED\nhttp_access allow known\n"
            ),
            false => "http_access allow all\n".to_owned(),
        };
        let config = dir.file(
            "squid.conf",
            format!(
                "http_port 127.0.0.1:{port}\nhosts_file {hosts}\n{access}http_access deny all\n\
                 cache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\n\
                 coredump_dir none\npinger_enable off\nvisible_hostname localhost\n\
                 shutdown_lifetime 0 seconds\nmax_filedescriptors 1024\n"
            ),
        );
        let program = ["/usr/sbin/squid", "/usr/local/sbin/squid"];
        let program = program.iter().find(|path| Path::new(path).exists());
        let mut child = Command::new(program.expect("squid is installed (Debian's package squid)"))
            .args(["-N", "-d", "1", "-f", &config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("squid starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut lines = stderr.lines().map_while(Result::ok);
        let mut said = Vec::new();
        loop {
            match lines.next() {
                Some(line) if line.contains("Accepting HTTP Socket connections") => break,
                Some(line) => said.push(line),
                None => panic!("squid ended: {said:#?}"),
            }
        }
        // It must never wait for somebody to read what else it says.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            port,
            _dir: dir,
        }
    }

    fn url(&self, credentials: &str) -> String {
        format!("http://{credentials}127.0.0.1:{}", self.port)
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port for a squid, which takes none of its own choice.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn spawn(workspace: &Workspace, proxy: &str) -> Gateway {
    Setup::whole(workspace).env("HTTPS_PROXY", proxy).spawn()
}

/// The handshake fails with these words, and never with the password.
fn fails(workspace: &Workspace, proxy: &str, words: &[&str]) {
    let mut gateway = spawn(workspace, proxy);
    gateway.send(INITIALIZE);
    let answer = gateway.answer("\"init\"");
    // A host is given a session all the same: what is wrong stands in the answer to its next call.
    let answer = match answer.0.contains("\"error\"") {
        true => answer,
        false => gateway.ask(&call("1", "demo__echo", r#"{"text":"hello"}"#)),
    };
    for word in words {
        assert!(answer.0.contains(word), "{} lacks {word}", answer.0);
    }
    gateway.close_stdin();
    let ended = gateway.wait();
    assert!(!ended.stderr.contains("p%40ss") && !ended.stderr.contains("p@ss"));
    assert!(!ended.stderr.contains("bWU6"), "the header is no better");
}

#[test]
#[ignore = "needs squid: run with --ignored (scripts/test sets AEROSTACK_PROXY_TEST=1)"]
fn everything_goes_through_the_proxy() {
    through();
}

#[test]
#[ignore = "needs squid: run with --ignored (scripts/test sets AEROSTACK_PROXY_TEST=1)"]
fn credentials_are_sent_and_their_lack_is_named() {
    credentials();
}

/// With AEROSTACK_PROXY_TEST=1 both are part of the plain run, and a missing squid is a failure.
#[test]
fn the_proxy_tests_run_where_they_are_demanded() {
    if std::env::var("AEROSTACK_PROXY_TEST").as_deref() == Ok("1") {
        through();
        credentials();
    }
}

/// Only squid knows the name: each connection that the workspace sees came through it.
fn through() {
    let squid = Squid::start(false);
    let workspace = Workspace::whole(Workspace::named(NAME));
    workspace.set(serde_json::json!({ "gates": ["demo__echo"] }));
    let mut gateway = spawn(&workspace, &squid.url(""));
    gateway.initialize();
    gateway.send(&call("1", "demo__echo", r#"{"text":"hello"}"#));
    let id = workspace.one_pending();
    // The approval's WebSocket and the chat's.
    workspace.wait_sockets(2);
    workspace.approve(&id);
    assert_eq!(gateway.answer("1").text(), "hello");
    assert_eq!(workspace.executed(&id), 1);
    assert!(
        workspace.requests("aerostack/approvals/get").is_empty(),
        "it was pushed"
    );
    gateway.finish().code(0);
    // The diagnosis takes the same way, and says so.
    let check = Setup::whole(&workspace)
        .env("HTTPS_PROXY", &squid.url(&format!("{PASSWORD}@")))
        .args(&["--check"])
        .spawn();
    let (report, _) = prose(check);
    let via = format!("Via proxy http://127.0.0.1:{} (HTTPS_PROXY)", squid.port);
    assert!(report.contains(&via), "{report}");
    assert!(report.contains("All checks passed"), "{report}");
    // The proxy's own refusal: it knows no such name.
    let other = Workspace::named("unknown.test");
    fails(
        &other,
        &squid.url(""),
        &["the proxy refused to connect", "NO_PROXY"],
    );
    // Without the proxy the name is nobody's.
    let direct = Setup::whole(&workspace)
        .env("HTTPS_PROXY", &squid.url(""))
        .env("NO_PROXY", ".test")
        .args(&["--check"])
        .spawn();
    let (report, _) = prose(direct);
    assert!(
        report.contains("was not found") && !report.contains("Via"),
        "{report}"
    );
}

/// What a gateway that is no bridge prints until it ends, and its exit code.
fn prose(mut gateway: Gateway) -> (String, Option<i32>) {
    let stdout = std::fs::File::from(gateway.take_stdout());
    let report = std::io::read_to_string(stdout).expect("UTF-8");
    (report, gateway.wait().status.code())
}

fn credentials() {
    let squid = Squid::start(true);
    let workspace = Workspace::named(NAME);
    let mut gateway = spawn(&workspace, &squid.url(&format!("{PASSWORD}@")));
    gateway.initialize();
    gateway.finish().code(0);
    fails(
        &workspace,
        &squid.url(""),
        &["HTTP 407", "HTTPS_PROXY", "credentials"],
    );
    fails(
        &workspace,
        &squid.url("me:wrong@"),
        &["HTTP 407", "refuses those"],
    );
    // The diagnosis, to the letter.
    let check = Setup::workspace(&workspace)
        .env("HTTPS_PROXY", &squid.url("me:wrong@"))
        .args(&["--check"])
        .spawn();
    let (report, code) = prose(check);
    let expect = format!(
        "Aerostack Connection Check\n[-] Via proxy http://127.0.0.1:{} (HTTPS_PROXY)\n[failed] Workspace \
         unreachable: the proxy wants credentials, or refuses those it was given (HTTP 407). Put them into \
         HTTPS_PROXY: http://user:password@host:port\nNot all checks passed: see above for what to fix.\n",
        squid.port
    );
    assert_eq!((report.as_str(), code), (expect.as_str(), Some(1)));
}

#[test]
fn a_proxy_that_is_not_there_is_not_the_workspaces_fault() {
    let workspace = Workspace::named(NAME);
    let nobody = Nobody::new();
    let proxy = format!("http://{PASSWORD}@{}", nobody.address());
    fails(
        &workspace,
        &proxy,
        &["the proxy refused the connection", "HTTPS_PROXY"],
    );
}

/// A server that is no proxy at all.
#[test]
fn what_is_no_proxy_is_named() {
    let workspace = Workspace::named(NAME);
    let server = common::RawServer::start(|mut stream, _| {
        use std::io::Write;
        stream.write_all(b"220 mail.example.com ESMTP\r\n").ok();
    });
    let proxy = format!("http://{}", server.address);
    fails(&workspace, &proxy, &["does not answer like an HTTP proxy"]);
}
