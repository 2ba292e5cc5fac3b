//! The command line of the real program: what it prints, where, and with which exit code.

mod common;

use common::{Ended, Setup, TOKEN};

const URL: &str = "https://mcp.example.com/ws/demo";

/// Runs to the end with stdin closed.
fn run(setup: Setup) -> (Option<i32>, String, String) {
    let gateway = setup.spawn();
    let pid = gateway.pid();
    let (code, stdout, stderr) = finish_raw(gateway);
    assert!(!stdout.contains(TOKEN) && !stderr.contains(TOKEN), "{pid}");
    (code, stdout, stderr)
}

/// As [`common::Gateway::finish`], but stdout may be prose.
fn finish_raw(mut gateway: common::Gateway) -> (Option<i32>, String, String) {
    let mut stdout = std::fs::File::from(gateway.take_stdout());
    gateway.close_stdin();
    let text = std::io::read_to_string(&mut stdout).expect("stdout is UTF-8");
    let Ended { status, stderr, .. } = gateway.wait();
    (status.code(), text, stderr)
}

#[test]
fn help_fits_one_screen_and_names_every_setting() {
    for flag in ["--help", "-h"] {
        let (code, stdout, stderr) = run(Setup::new().args(&[flag]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        for name in [
            "AEROSTACK_WORKSPACE_URL",
            "AEROSTACK_TOKEN",
            "AEROSTACK_TOKEN_FILE",
            "AEROSTACK_LOG_LEVEL",
            "AEROSTACK_REQUEST_TIMEOUT",
            "AEROSTACK_ALLOW_HTTP",
            "SSL_CERT_FILE",
            "NODE_EXTRA_CA_CERTS",
            "--env",
            "--drain-timeout",
            "claude mcp add",
        ] {
            assert!(stdout.contains(name), "--help lacks {name}");
        }
        assert!(stdout.lines().all(|line| line.chars().count() <= 100));
    }
}

#[test]
fn version_is_one_line() {
    for flag in ["--version", "-V"] {
        let (code, stdout, stderr) = run(Setup::new().args(&[flag]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let expect = format!("aerostack-gateway {} (", env!("CARGO_PKG_VERSION"));
        assert!(
            stdout.starts_with(&expect) && stdout.lines().count() == 1,
            "{stdout}"
        );
    }
}

/// Exit code 2, one line on stderr that holds the words, nothing on stdout.
fn refuses(setup: Setup, words: &[&str]) {
    let (code, stdout, stderr) = run(setup);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("aerostack-gateway: ") && stderr.ends_with('\n'));
    for word in words {
        assert!(stderr.contains(word), "{stderr}lacks {word}");
    }
}

#[test]
fn missing_settings_are_named_with_what_to_do() {
    refuses(
        Setup::new(),
        &["AEROSTACK_WORKSPACE_URL", "required", "https://"],
    );
    let only_url = Setup::new().env("AEROSTACK_WORKSPACE_URL", URL);
    refuses(only_url, &["AEROSTACK_TOKEN", "required", "dashboard"]);
    let empty = Setup::url("").env("AEROSTACK_TOKEN", TOKEN);
    refuses(empty, &["AEROSTACK_WORKSPACE_URL", "required"]);
    let no_file = Setup::url(URL)
        .without("AEROSTACK_TOKEN")
        .env("AEROSTACK_TOKEN_FILE", "/nowhere/token");
    refuses(no_file, &["AEROSTACK_TOKEN_FILE", "/nowhere/token"]);
}

#[test]
fn malformed_settings_are_named_with_what_is_wrong() {
    let check = |name: &str, value: &str, words: &[&str]| {
        let named = [&[name], words].concat();
        refuses(Setup::url(URL).env(name, value), &named);
    };
    check(
        "AEROSTACK_WORKSPACE_URL",
        "mcp.example.com/ws/demo",
        &["expected something like"],
    );
    check(
        "AEROSTACK_WORKSPACE_URL",
        "ftp://mcp.example.com",
        &["expected something like"],
    );
    check(
        "AEROSTACK_WORKSPACE_URL",
        "https://",
        &["expected something like"],
    );
    check(
        "AEROSTACK_WORKSPACE_URL",
        "https://me:pw@mcp.example.com/",
        &["remove"],
    );
    check(
        "AEROSTACK_WORKSPACE_URL",
        "http://mcp.example.com/ws/x",
        &["--allow-http", "https://"],
    );
    check(
        "AEROSTACK_LOG_LEVEL",
        "loud",
        &["debug, info, warn or error"],
    );
    check("AEROSTACK_REQUEST_TIMEOUT", "soon", &["seconds"]);
    check("AEROSTACK_REQUEST_TIMEOUT", "-1", &["seconds"]);
    check("AEROSTACK_ALLOW_HTTP", "maybe", &["1 or 0"]);
    check("AEROSTACK_BUILTIN_TOOLS", "some", &["on, off or auto"]);
}

/// Whatever is wrong with a token, no part of it is repeated.
#[test]
fn a_malformed_token_is_never_repeated() {
    let secret = "S3cretPart";
    for (token, word) in [
        ("", "empty"),
        ("\"mwt_S3cretPart\"", "quotes"),
        ("Bearer mwt_S3cretPart", "Bearer"),
        ("mwt_S3cretPart\n", "line break"),
        ("mwt_ S3cretPart", "blanks"),
        ("mwt_S3cretPart\u{e9}", "characters"),
    ] {
        let (code, stdout, stderr) = run(Setup::url(URL).env("AEROSTACK_TOKEN", token));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{token:?}");
        assert!(
            stderr.contains("AEROSTACK_TOKEN") && stderr.contains(word),
            "{stderr}"
        );
        assert!(
            !stderr.contains(secret) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}

#[test]
fn wrong_arguments_are_refused_without_repeating_values() {
    refuses(
        Setup::url(URL).args(&["--frobnicate"]),
        &["--frobnicate", "--help"],
    );
    refuses(Setup::url(URL).args(&["extra"]), &["--env NAME=VALUE"]);
    refuses(
        Setup::url(URL).args(&["--drain-timeout", "x"]),
        &["--drain-timeout", "seconds"],
    );
    refuses(
        Setup::url(URL).args(&["--drain-timeout"]),
        &["--drain-timeout"],
    );
    refuses(Setup::url(URL).args(&["--env"]), &["--env", "NAME=VALUE"]);
    // The token alone, without its name: `run` checks that it is not repeated.
    refuses(
        Setup::url(URL).args(&["--env", TOKEN]),
        &["--env", "NAME=VALUE"],
    );
    refuses(Setup::url(URL).args(&["--token", TOKEN]), &["--token"]);
    refuses(Setup::url(URL).args(&[TOKEN]), &["--env NAME=VALUE"]);
    refuses(
        Setup::url(URL).args(&[&format!("AEROSTACK_TOKEN={TOKEN}")]),
        &["--env NAME=VALUE"],
    );
    refuses(
        Setup::url(URL).args(&[&format!("--token={TOKEN}")]),
        &["--token"],
    );
}

/// Control characters of an argument do not reach the terminal.
#[test]
fn an_unknown_argument_is_printed_without_control_characters() {
    let (code, _, stderr) = run(Setup::url(URL).args(&["--x\u{1b}[31m\r\nsecond line"]));
    assert_eq!(code, Some(2));
    assert!(
        !stderr.contains('\u{1b}') && stderr.lines().count() == 1,
        "{stderr:?}"
    );
}
