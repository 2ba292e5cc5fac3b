//! What people set, and what they are told.

use super::*;
use std::collections::BTreeMap;

#[derive(Default)]
struct Settings {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
}

impl Source for Settings {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        self.files
            .get(path)
            .map(|text| (*text).to_owned())
            .ok_or_else(|| "no such file".to_owned())
    }
}

fn read(variables: &[(&'static str, &'static str)]) -> Result<Config, SettingError> {
    let variables = variables.iter().copied().collect();
    let files = [("/t", "mwt_file\n"), ("/etc/machine-id", "abc\n")].into();
    Config::read(&Settings { variables, files }, Limits::default())
}

const URL_OK: (&str, &str) = ("AEROSTACK_WORKSPACE_URL", "https://mcp.aerostack.dev/ws/x");
const TOKEN_OK: (&str, &str) = ("AEROSTACK_TOKEN", "mwt_x");

#[test]
fn two_variables_are_enough() {
    let config = read(&[URL_OK, TOKEN_OK]).expect("valid");
    assert_eq!(config.endpoint.host(), "mcp.aerostack.dev");
    assert!(config.builtins_always() && config.warnings.is_empty());
    assert_eq!(config.request_timeout, None);
    assert_eq!(config.identity.machine, "abc");
}

#[test]
fn errors_name_the_variable_and_the_fix() {
    let check = |variables: &[(&'static str, &'static str)], expect: &str| {
        let error = read(variables).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
        assert!(!error.contains("mwt_x"), "{error}");
    };
    check(&[TOKEN_OK], "AEROSTACK_WORKSPACE_URL is required");
    check(&[URL_OK], "AEROSTACK_TOKEN is required");
    check(
        &[("AEROSTACK_WORKSPACE_URL", "  "), TOKEN_OK],
        "AEROSTACK_WORKSPACE_URL is required",
    );
    check(
        &[
            ("AEROSTACK_WORKSPACE_URL", "mcp.aerostack.dev/ws/x"),
            TOKEN_OK,
        ],
        "AEROSTACK_WORKSPACE_URL is not usable",
    );
    check(
        &[
            ("AEROSTACK_WORKSPACE_URL", "http://example.com/ws/x"),
            TOKEN_OK,
        ],
        "unencrypted",
    );
    check(
        &[
            ("AEROSTACK_WORKSPACE_URL", "https://a:b@example.com/"),
            TOKEN_OK,
        ],
        "user name or password",
    );
    check(
        &[URL_OK, ("AEROSTACK_TOKEN", "")],
        "AEROSTACK_TOKEN is empty",
    );
    check(
        &[URL_OK, ("AEROSTACK_TOKEN_FILE", "/none")],
        "can not be read: no such file",
    );
    check(
        &[URL_OK, TOKEN_OK, ("AEROSTACK_LOG_LEVEL", "loud")],
        "use debug, info, warn or error",
    );
    check(
        &[URL_OK, TOKEN_OK, ("AEROSTACK_REQUEST_TIMEOUT", "-1")],
        "use seconds",
    );
    check(
        &[URL_OK, TOKEN_OK, ("AEROSTACK_BUILTIN_TOOLS", "maybe")],
        "use on, off or auto",
    );
    check(
        &[URL_OK, TOKEN_OK, ("AEROSTACK_TRUSTED_ORIGINS", "x")],
        "AEROSTACK_TRUSTED_ORIGINS holds",
    );
}

#[test]
fn a_token_file_is_read_and_remembered() {
    let config = read(&[URL_OK, ("AEROSTACK_TOKEN_FILE", "/t")]).expect("valid");
    assert_eq!(config.token.expect("read").expose(), "mwt_file");
    assert_eq!(config.token_file.as_deref(), Some("/t"));
}

#[test]
fn plain_servers_need_no_token_and_http_only_on_loopback() {
    let config = read(&[
        ("AEROSTACK_WORKSPACE_URL", "http://127.0.0.1:1/mcp"),
        ("AEROSTACK_TOKEN", "none"),
    ])
    .expect("valid");
    assert!(config.token.is_none() && !config.builtins_always());
    let config = read(&[
        ("AEROSTACK_WORKSPACE_URL", "http://example.com/mcp"),
        ("AEROSTACK_TOKEN", "other"),
        ("AEROSTACK_ALLOW_HTTP", "1"),
    ])
    .expect("valid");
    assert_eq!(config.warnings.len(), 2);
}

#[test]
fn the_slash_behind_a_workspace_is_left_out() {
    let check = |url: &'static str, expect: &str, warnings: usize| {
        let config = read(&[("AEROSTACK_WORKSPACE_URL", url), TOKEN_OK]).expect(url);
        assert_eq!(config.endpoint.url(), expect);
        assert_eq!(config.warnings.len(), warnings, "{url}");
    };
    check("https://h/ws/x/", "https://h/ws/x", 1);
    check(
        "https://h/api/gateway/ws/x/",
        "https://h/api/gateway/ws/x",
        1,
    );
    check("https://h/ws/x", "https://h/ws/x", 0);
    check("https://h/mcp/", "https://h/mcp/", 0);
    check("https://h/ws/x?y=/", "https://h/ws/x?y=/", 0);
    check("https://h/", "https://h/", 0);
}

#[test]
fn a_call_meets_no_server_that_closes_after_two_seconds() {
    let limits = Limits::default();
    assert_eq!(limits.idle_fresh.as_millis(), 1_500);
}
