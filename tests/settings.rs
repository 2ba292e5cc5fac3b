//! Each wrong setting, on the real program: exit code 2 and one line that says what was seen and what
//! to fix. A running gateway and `--check` say it in the same words.

mod common;

use common::{INITIALIZE, RawServer, Setup, TOKEN, Workspace, json_reply, program, reply};
use std::process::Command;

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
        ("/", "does not take MCP requests here (HTTP 405)"),
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
