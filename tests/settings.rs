//! Each wrong setting, on the real program: exit code 2 and one line that says what was seen and what
//! to fix. A running gateway and `--check` say it in the same words.

mod common;

use common::{
    Dir, INITIALIZE, RawServer, Setup, TOKEN, Terminal, Workspace, json_reply, program, reply,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

const URL: &str = "https://mcp.example.com/ws/demo";
const NAME: &str = "AEROSTACK_WORKSPACE_URL";

fn run(variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program())
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the gateway starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Refused with these words, and `--check` finds the same.
fn refuses(variables: &[(&str, &str)], words: &[&str]) {
    let (code, out, err) = run(variables, &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    for word in words {
        assert!(err.contains(word), "{err}lacks {word}");
    }
    let problem = err.trim_start_matches("aerostack-gateway: ").trim_end();
    let (code, report, log) = run(variables, &["--check"]);
    assert_eq!(code, Some(2), "{report}{log}");
    assert!(
        format!("{report}{log}").contains(problem),
        "{report}{log}lacks {problem}"
    );
    for text in [err, report, log] {
        assert!(!text.contains("5ecret"), "{text}");
    }
}

fn url(value: &str, words: &[&str]) {
    let variables = [(NAME, value), ("AEROSTACK_TOKEN", TOKEN)];
    refuses(&variables, &[&[NAME], words].concat());
}

fn token(value: &str, words: &[&str]) {
    let variables = [(NAME, URL), ("AEROSTACK_TOKEN", value)];
    refuses(&variables, &[&["AEROSTACK_TOKEN"], words].concat());
}

#[test]
fn no_url() {
    refuses(
        &[("AEROSTACK_TOKEN", TOKEN)],
        &["AEROSTACK_WORKSPACE_URL is required", "https://"],
    );
    url("", &["AEROSTACK_WORKSPACE_URL is required"]);
}

#[test]
fn no_token() {
    refuses(
        &[(NAME, URL)],
        &["AEROSTACK_TOKEN is required", "dashboard"],
    );
}

#[test]
fn url_without_scheme() {
    url("mcp.example.com/ws/demo", &["must begin with https://"]);
    url("localhost:8787/ws/demo", &["must begin with https://"]);
}

#[test]
fn url_with_another_scheme() {
    url(
        "wss://mcp.example.com/ws/demo",
        &["must begin with https://", "wss"],
    );
}

#[test]
fn url_with_http_to_a_foreign_host() {
    url(
        "http://mcp.example.com/ws/demo",
        &["unencrypted", "mcp.example.com", "https://", "--allow-http"],
    );
}

#[test]
fn url_with_credentials() {
    url(
        "https://me:5ecret@mcp.example.com/ws/demo",
        &["user name or password", "remove it"],
    );
}

#[test]
fn url_with_a_fragment() {
    url(
        "https://mcp.example.com/ws/demo#5ecret",
        &["#fragment", "remove it"],
    );
}

#[test]
fn url_with_quotes() {
    url(
        "\"https://mcp.example.com/ws/demo\"",
        &["quotes", "remove them"],
    );
    url("'https://mcp.example.com/ws/demo'", &["quotes"]);
    url("<https://mcp.example.com/ws/demo>", &["angle brackets"]);
}

#[test]
fn url_with_blanks_or_line_ends() {
    url(
        "https://mcp.example.com/ws/my demo",
        &["blank or line break"],
    );
    url(
        "https://mcp.example.com/\nws/demo",
        &["blank or line break"],
    );
}

#[test]
fn url_without_a_usable_host_or_port() {
    url(
        "https:///ws/demo",
        &["neither a DNS name nor an IP address"],
    );
    url("https://mcp.example.com:99999/", &["port"]);
    url("https://mcp.example.com:/", &["port"]);
}

#[test]
fn token_empty() {
    token("", &["is empty", "mwt_"]);
    token("  ", &["is empty"]);
}

#[test]
fn token_with_blanks() {
    token("mwt_5ecret x", &["holds blanks", "remove them"]);
    token(" mwt_5ecret", &["holds blanks"]);
}

#[test]
fn token_with_quotes() {
    token("\"mwt_5ecret\"", &["quotes around it", "remove them"]);
    token("'mwt_5ecret'", &["quotes around it"]);
}

#[test]
fn token_with_line_ends() {
    token("mwt_5ecret\n", &["line break", "one line"]);
    token("mwt_5\r\necret", &["line break"]);
}

#[test]
fn token_with_its_header() {
    token("Bearer mwt_5ecret", &["starts with \"Bearer \"", "alone"]);
}

#[test]
fn token_file_that_can_not_be_read() {
    let variables = [(NAME, URL), ("AEROSTACK_TOKEN_FILE", "/nowhere/token")];
    refuses(
        &variables,
        &[
            "AEROSTACK_TOKEN_FILE names /nowhere/token",
            "can not be read",
        ],
    );
}

#[test]
fn proxies_that_can_not_be_used() {
    let check = |name: &str, value: &str, words: &[&str]| {
        let variables = [(NAME, URL), ("AEROSTACK_TOKEN", TOKEN), (name, value)];
        refuses(&variables, &[&[name], words].concat());
    };
    check(
        "ALL_PROXY",
        "socks5://me:5ecret@127.0.0.1:1080",
        &["socks5://", "not supported"],
    );
    check(
        "https_proxy",
        "https://127.0.0.1:3128",
        &["https:// proxy", "http://"],
    );
    check(
        "HTTPS_PROXY",
        "http://me:5ecret@:3128",
        &["expected something like"],
    );
}

/// People paste a workspace's URL with a slash behind it: it works, and it is said once. Of plain
/// servers nobody knows what they want: they are asked for what was given.
#[test]
fn url_with_a_trailing_slash() {
    let workspace = Workspace::http();
    let mut gateway = Setup::url(&format!("{}/", workspace.url)).spawn();
    gateway.initialize();
    let log = gateway.finish().code(0).stderr;
    assert_eq!(log.matches("ends with a slash").count(), 1, "{log}");
    let server = RawServer::http(|request| match request.target() {
        "POST /mcp/" => json_reply(request, "{}"),
        _ => reply("404 Not Found", "", ""),
    });
    let mut gateway = Setup::url(&format!("{}/", server.url())).spawn();
    gateway.initialize();
    gateway.finish().code(0);
}

/// Only the server can tell: its refusal is put into words.
#[test]
fn url_with_a_wrong_path() {
    let workspace = Workspace::http();
    for (wrong, words) in [
        (
            "/ws/nobodys",
            "there is no workspace at this URL (HTTP 404)",
        ),
        ("/mcp", "the path is usually /ws/<your-workspace>"),
        ("/", "takes no MCP requests at this URL (HTTP 405)"),
    ] {
        let url = workspace.url.replace("/ws/demo", wrong);
        let mut gateway = Setup::url(&url).spawn();
        gateway.send(INITIALIZE);
        let error = gateway.answer("\"init\"").error();
        assert!(error.contains(words), "{error}");
        assert!(error.contains("AEROSTACK_WORKSPACE_URL"), "{error}");
        gateway.finish().code(0);
    }
}

/// Other servers have tokens of other kinds: it works, and it is said once.
#[test]
fn token_without_mwt_is_a_warning() {
    let server = RawServer::http(|request| json_reply(request, "{}"));
    let mut gateway = Setup::url(&server.url())
        .env("AEROSTACK_TOKEN", "other_5ecret")
        .spawn();
    gateway.initialize();
    gateway.close_stdin();
    let ended = gateway.wait();
    assert!(ended.status.success(), "{}", ended.stderr);
    let warnings = ended.stderr.matches("does not start with mwt_").count();
    assert!(
        warnings == 1 && !ended.stderr.contains("5ecret"),
        "{}",
        ended.stderr
    );
}

/// AI tools hide stderr, but show the error that answers their first request.
#[test]
fn a_host_is_told_in_the_answer_to_its_first_request() {
    let discover = r#"{"jsonrpc":"2.0","id":7,"method":"server/discover","params":{}}"#;
    let mut gateway = Setup::new().spawn();
    gateway.send(discover);
    let first = gateway.answer("7").error();
    gateway.send(INITIALIZE);
    let second = gateway.answer("\"init\"").error();
    // It ends by itself: stdin is still open.
    let ended = gateway.wait().code(2);
    assert_eq!(first, second);
    let problem = first.trim_start_matches("aerostack-gateway can not start: ");
    assert!(
        problem.starts_with("AEROSTACK_WORKSPACE_URL is required"),
        "{first}"
    );
    assert_eq!(ended.stderr, format!("aerostack-gateway: {problem}\n"));
}

/// Arguments that can not be read stop a host's gateway as well; a person's command ends at once.
#[test]
fn wrong_arguments_are_told_to_a_host_only() {
    let mut gateway = Setup::url(URL).args(&["--frobnicate"]).spawn();
    gateway.send(INITIALIZE);
    let error = gateway.answer("\"init\"").error();
    assert!(error.contains("unknown option --frobnicate"), "{error}");
    gateway.wait().code(2);
    let gateway = Setup::url(URL).args(&["--check", "--frobnicate"]).spawn();
    assert!(gateway.wait().code(2).lines.is_empty());
}

#[test]
fn what_was_never_filled_in_is_called_a_placeholder() {
    url(
        "${AEROSTACK_WORKSPACE_URL}",
        &["is a placeholder that was not filled in"],
    );
    url(
        "https://mcp.aerostack.dev/ws/your-workspace",
        &["is still a placeholder"],
    );
    token(
        "${AEROSTACK_TOKEN}",
        &["is a placeholder that was not filled in"],
    );
    token("<your-token>", &["is still a placeholder"]);
    token("mwt_your_token_here", &["is still a placeholder"]);
}

#[test]
fn a_person_at_a_terminal_is_told_what_it_waits_for() {
    let workspace = Workspace::http();
    let mut terminal = Terminal::new();
    let theirs = || terminal.theirs.try_clone().expect("a duplicate");
    let setup = Setup::workspace(&workspace).stdin(theirs(), None);
    let gateway = setup.stderr(theirs(), None).spawn();
    let hint = terminal.wait("tells more; Ctrl-C ends it)");
    for word in [
        "waits for MCP messages on stdin",
        "AI tool",
        "--check",
        "--help",
    ] {
        assert!(hint.contains(word), "{hint}");
    }
    drop(gateway);
    // Nobody speaks MCP there: it does not wait to be asked.
    let theirs = terminal.theirs.try_clone().expect("a duplicate");
    let ended = Setup::new().stdin(theirs, None).spawn().wait().code(2);
    assert!(
        ended.lines.is_empty() && ended.stderr.contains("is required"),
        "{ended:?}"
    );
}

/// Settings files in a home of their own.
struct Files(Dir);

impl Files {
    fn new() -> Self {
        Self(Dir::new())
    }

    fn write(&self, name: &str, mode: u32, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("below ours")).expect("ours");
        fs::write(&path, text).expect("ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        path
    }

    fn setup(&self) -> Setup {
        Setup::new().env("HOME", self.0.path().to_str().expect("ours"))
    }
}

fn pair(url: &str) -> String {
    format!(
        "# mine\nAEROSTACK_WORKSPACE_URL={url}\nAEROSTACK_TOKEN={TOKEN}\nAEROSTACK_BUILTIN_TOOLS=off\n"
    )
}

#[test]
fn a_settings_file_is_enough() {
    let workspace = Workspace::http();
    let files = Files::new();
    files.write(
        ".config/aerostack-gateway/env",
        0o600,
        &pair(&workspace.url),
    );
    let mut gateway = files.setup().spawn();
    gateway.initialize();
    gateway.finish().code(0);
    let xdg = Files::new();
    xdg.write("aerostack-gateway/env", 0o600, &pair(&workspace.url));
    let xdg_path = xdg.0.path().to_str().expect("ours");
    let mut gateway = Setup::new().env("XDG_CONFIG_HOME", xdg_path).spawn();
    gateway.initialize();
    gateway.finish().code(0);
    let named = files.write("other/settings", 0o600, &pair(&workspace.url));
    let arguments = ["--env-file", named.to_str().expect("ours")];
    let mut gateway = Setup::new().args(&arguments).spawn();
    gateway.initialize();
    gateway.finish().code(0);
    assert_eq!(workspace.requests("initialize").len(), 3);
}

/// A project's configuration can name a URL: no token of a person's file may go there.
#[test]
fn url_and_token_are_a_pair_from_one_source() {
    let seen = Arc::new(Mutex::new(String::new()));
    let heads = seen.clone();
    let server = RawServer::http(move |request| {
        heads.lock().expect("not poisoned").push_str(&request.head);
        json_reply(request, "{}")
    });
    let files = Files::new();
    let text = pair("https://mcp.example.com/ws/demo") + "AEROSTACK_HEADER_A=X-A: 5ecret\n";
    let file = files.write(".config/aerostack-gateway/env", 0o600, &text);
    let arguments = ["--env-file", file.to_str().expect("ours")];
    let named = || files.setup().args(&arguments);
    let ended = named().env(NAME, &server.url()).spawn().finish().code(2);
    let err = ended.stderr;
    assert!(err.contains("AEROSTACK_TOKEN is required"), "{err}");
    assert!(
        err.contains("URL and token must come from the same place"),
        "{err}"
    );
    let ended = files
        .setup()
        .env(NAME, &server.url())
        .spawn()
        .finish()
        .code(2);
    assert!(
        ended.stderr.contains("AEROSTACK_TOKEN is required"),
        "{}",
        ended.stderr
    );
    let ended = named()
        .env("AEROSTACK_TOKEN", "mwt_other")
        .spawn()
        .finish()
        .code(2);
    assert!(
        ended.stderr.contains("AEROSTACK_WORKSPACE_URL is required"),
        "{}",
        ended.stderr
    );
    // Nor may it be sent to further origins that somebody else names.
    let trusting = files
        .setup()
        .env("AEROSTACK_TRUSTED_ORIGINS", &server.url());
    let log = trusting.spawn().finish().code(0).stderr;
    let warning =
        "AEROSTACK_TRUSTED_ORIGINS of the environment is not used: URL and token come from /";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    // The whole pair from elsewhere wins; what else is in the file still counts, but for its headers.
    let whole = named()
        .env(NAME, &server.url())
        .env("AEROSTACK_TOKEN", "mwt_other");
    let mut gateway = whole.spawn();
    gateway.initialize();
    gateway.finish().code(0);
    let heads = seen.lock().expect("not poisoned").to_lowercase();
    assert!(
        heads.contains("authorization: bearer mwt_other\r\n"),
        "{heads}"
    );
    assert!(!heads.contains("x-a") && !heads.contains(TOKEN), "{heads}");
}

#[test]
fn a_settings_file_that_others_can_touch_is_refused() {
    let files = Files::new();
    let refused = |path: &std::path::Path, words: &[&str]| {
        let arguments = ["--env-file", path.to_str().expect("ours")];
        let ended = files.setup().args(&arguments).spawn().finish().code(2);
        for word in words {
            assert!(ended.stderr.contains(word), "{}lacks {word}", ended.stderr);
        }
    };
    let text = pair("https://mcp.example.com/ws/demo");
    refused(
        &files.write("a", 0o644, &text),
        &["--env-file /", "read by others (mode 644)", "chmod 600"],
    );
    refused(
        &files.write("b", 0o620, &text),
        &["written by others (mode 620)"],
    );
    refused(
        &files.write("c", 0o602, &text),
        &["written by others (mode 602)"],
    );
    refused(
        &files.write("d", 0o600, "AEROSTACK_TOKN=5ecret\n"),
        &["line 1: AEROSTACK_TOKN is no setting"],
    );
    refused(
        &files.write("e", 0o600, &"#".repeat((64 << 10) + 1)),
        &["longer than 64 KiB"],
    );
    refused(&files.0.path().join("none"), &["does not exist"]);
    refused(files.0.path(), &["is no regular file"]);
    let pipe = files.0.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .expect("coreutils")
            .success()
    );
    fs::set_permissions(&pipe, fs::Permissions::from_mode(0o600)).expect("ours");
    refused(&pipe, &["is no regular file"]);
    // The default one, too.
    files.write(".config/aerostack-gateway/env", 0o640, &text);
    let ended = files.setup().spawn().finish().code(2);
    assert!(
        ended.stderr.contains("the settings file /"),
        "{}",
        ended.stderr
    );
}

/// Containers are handed their secrets in files that all may read.
#[test]
fn outside_of_home_a_readable_settings_file_is_a_warning() {
    let workspace = Workspace::http();
    let (files, home) = (Files::new(), Files::new());
    let text = pair(&workspace.url) + "HTTPS_PROXY=http://x\n";
    let file = files.write("secret", 0o444, &text);
    let arguments = ["--env-file", file.to_str().expect("ours")];
    let mut gateway = home.setup().args(&arguments).spawn();
    gateway.initialize();
    let log = gateway.finish().code(0).stderr;
    assert_eq!(
        log.matches("can be read by others (mode 444)").count(),
        1,
        "{log}"
    );
    assert_eq!(
        log.matches("holds HTTPS_PROXY: only AEROSTACK_* settings count there")
            .count(),
        1,
        "{log}"
    );
}

/// `--header` and the variables: with every request to the workspace, and never shown.
#[test]
fn headers_of_ones_own_go_to_the_workspace() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heads = seen.clone();
    let server = RawServer::http(move |request| {
        heads
            .lock()
            .expect("not poisoned")
            .push(request.head.clone());
        json_reply(request, "{}")
    });
    let mut gateway = Setup::url(&server.url())
        .env("AEROSTACK_HEADER_TENANT", "X-Tenant: blue5ecret")
        .args(&[
            "--header",
            "CF-Access-Client-Id:  abc5ecret ",
            "--header",
            "User-Agent: mine",
            "--header",
            "x-other: 1",
        ])
        .env("AEROSTACK_HEADER_OTHER", "X-Other: 2")
        .spawn();
    gateway.initialize();
    let log = gateway.finish().code(0).stderr;
    assert!(!log.contains("5ecret"), "{log}");
    let seen = seen.lock().expect("not poisoned");
    assert!(seen.len() >= 2, "{seen:?}");
    for head in &*seen {
        for line in [
            "X-Tenant: blue5ecret",
            "CF-Access-Client-Id: abc5ecret",
            "User-Agent: mine",
            "x-other: 1",
        ] {
            assert_eq!(head.lines().filter(|own| *own == line).count(), 1, "{head}");
        }
        for name in ["user-agent", "x-other"] {
            let count = head.to_lowercase().matches(name).count();
            assert_eq!(count, 1, "{head}");
        }
    }
}

#[test]
fn headers_that_are_the_gateways_are_refused() {
    let given = |value: &str, words: &[&str]| {
        let variables = [
            (NAME, URL),
            ("AEROSTACK_TOKEN", TOKEN),
            ("AEROSTACK_HEADER_X", value),
        ];
        refuses(&variables, &[&["AEROSTACK_HEADER_X"], words].concat());
        let (code, out, err) = run(&variables[..2], &["--header", value]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        for word in [&["--header"], words].concat() {
            assert!(
                err.contains(word) && !err.contains("5ecret"),
                "{err}lacks {word}"
            );
        }
    };
    given("Host: 5ecret", &["Host is written by the gateway itself"]);
    given(
        "Authorization: Bearer 5ecret",
        &["the token belongs into AEROSTACK_TOKEN"],
    );
    given("Mcp-Session-Id: 5ecret", &["Mcp-Session-Id is written"]);
    given("X: 5ecret\r\nY: 5ecret", &["line break"]);
    given("5ecret", &["no colon"]);
}

#[test]
fn the_log_file_holds_what_stderr_does() {
    let workspace = Workspace::http();
    let files = Files::new();
    let path = files.0.path().join("log");
    let name = path.to_str().expect("ours");
    let mut gateway = Setup::workspace(&workspace)
        .env("AEROSTACK_LOG_FILE", name)
        .spawn();
    gateway.initialize();
    let log = gateway.finish().code(0).stderr;
    assert!(log.lines().count() > 1, "{log}");
    assert_eq!(fs::read_to_string(&path).expect("written"), log);
    assert_eq!(
        fs::metadata(&path).expect("there").permissions().mode() & 0o777,
        0o600
    );
    // Also what stands in the way of a start.
    Setup::new()
        .env("AEROSTACK_LOG_FILE", name)
        .spawn()
        .finish()
        .code(2);
    let text = fs::read_to_string(&path).expect("written");
    let last = text.lines().last().expect("a line");
    assert!(
        last.contains(" error: AEROSTACK_WORKSPACE_URL is required"),
        "{text}"
    );
    // What can not be written is said, and no reason to stop.
    let mut gateway = Setup::workspace(&workspace)
        .env("AEROSTACK_LOG_FILE", "/nowhere/log")
        .spawn();
    gateway.initialize();
    let log = gateway.finish().code(0).stderr;
    assert!(
        log.contains("AEROSTACK_LOG_FILE /nowhere/log can not be written: "),
        "{log}"
    );
}
