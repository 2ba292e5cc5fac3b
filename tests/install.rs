//! `--print-config` and `--install` of the real program, in home directories of their own.

mod common;

use common::{Dir, TOKEN, program};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const URL: &str = "https://mcp.example.com/ws/demo";

/// Hosts and their files below HOME.
const FILES: &[(&str, &str)] = &[
    ("claude-code", ".claude.json"),
    (
        "claude-desktop",
        ".config/Claude/claude_desktop_config.json",
    ),
    ("cline", ".cline/data/settings/cline_mcp_settings.json"),
    ("codex", ".codex/config.toml"),
    ("copilot", ".copilot/mcp-config.json"),
    ("cursor", ".cursor/mcp.json"),
    ("droid", ".factory/mcp.json"),
    ("gemini", ".gemini/settings.json"),
    ("goose", ".config/goose/config.yaml"),
    ("openclaw", ".openclaw/openclaw.json"),
    ("opencode", ".config/opencode/opencode.json"),
    ("qwen", ".qwen/settings.json"),
    ("vscode", ".config/Code/User/mcp.json"),
    ("windsurf", ".codeium/windsurf/mcp_config.json"),
];

struct Home(Dir);

impl Home {
    fn new() -> Self {
        Self(Dir::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below HOME")).expect("a folder of ours");
        fs::write(&path, text).expect("a file of ours");
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .env_clear()
            .env("HOME", self.0.path())
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.env("AEROSTACK_WORKSPACE_URL", URL);
        output(command.env("AEROSTACK_TOKEN", TOKEN))
    }

    /// It must succeed, and show no token.
    fn install(&self, host: &str) -> String {
        let output = self.run(&["--install", host]);
        let (out, err) = texts(&output);
        assert!(output.status.success() && err.is_empty(), "{err}");
        assert!(!out.contains(TOKEN), "{out}");
        out
    }

    /// It must fail, say this, and leave the file as it is.
    fn refuses(&self, host: &str, path: &Path, expect: &str) {
        let before = fs::read(path).ok();
        let output = self.run(&["--install", host]);
        let (out, err) = texts(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains(expect) && err.lines().count() == 1, "{err}");
        assert!(!err.contains(TOKEN), "{err}");
        assert_eq!(fs::read(path).ok(), before);
        let folder = path.parent().expect("below HOME");
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let name = entry.expect("readable").file_name();
            let name = name.to_string_lossy();
            assert!(
                !name.contains("-backup.") && !name.contains(".new."),
                "{name} was left"
            );
        }
    }
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the gateway starts")
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

#[test]
fn every_host_is_set_up_once() {
    for (host, file) in FILES {
        let home = Home::new();
        let empty = match *host {
            "goose" => "a: 1\n",
            "codex" => "a = 1\n",
            _ => "{\n  \"a\": 1\n}\n",
        };
        let path = home.write(file, empty);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
        let report = home.install(host);
        assert!(
            report.contains("+ ") && report.contains(".aerostack-backup.1"),
            "{report}"
        );
        assert!(report.contains("(mode 640)"), "{report}");
        let text = fs::read_to_string(&path).expect("written");
        assert!(text.contains(TOKEN) && text.contains(&program()), "{text}");
        assert_eq!(mode(&path), 0o640);
        let backup = path.with_file_name(format!(
            "{}.aerostack-backup.1",
            path.file_name().expect("a file").to_string_lossy()
        ));
        assert_eq!(fs::read_to_string(&backup).expect("a backup"), empty);
        assert_eq!(mode(&backup), 0o600);
        let inode = fs::metadata(&path).expect("it exists").ino();
        assert!(home.install(host).ends_with("is already up to date.\n"));
        assert_eq!(
            fs::metadata(&path).expect("it exists").ino(),
            inode,
            "written again"
        );
    }
}

#[test]
fn a_new_file_is_for_its_owner_only() {
    for (host, file) in FILES {
        let home = Home::new();
        let folder = match *host {
            "claude-code" => ".claude",
            "windsurf" => ".codeium",
            "cline" => ".cline",
            _ => file.rsplit_once('/').expect("a folder").0,
        };
        let path = home.path(file);
        home.refuses(host, &path, "was not found on this system");
        fs::create_dir_all(home.path(folder)).expect("ours");
        let report = home.install(host);
        assert!(
            !report.contains("backup") && !report.contains("chmod"),
            "{report}"
        );
        assert_eq!(mode(&path), 0o600, "{host}");
    }
}

#[test]
fn nothing_else_of_a_file_changes() {
    let home = Home::new();
    let text = "\u{feff}// my servers\r\n{\r\n\t\"servers\": {\r\n\t\t\"a\": {}, // x\r\n\t},\r\n\t\"inputs\": []\r\n}\r\n";
    let path = home.write(".config/Code/User/mcp.json", text);
    home.install("vscode");
    let new = fs::read_to_string(&path).expect("written");
    let start = new.find("\r\n\t\t\"aerostack\"").expect("the entry");
    let end = new.find("\r\n\t},").expect("the end of servers");
    assert_eq!([&new[..start], &new[end..]].concat(), text);
}

#[test]
fn a_changed_setting_changes_only_itself() {
    let home = Home::new();
    let path = home.write(".cursor/mcp.json", "");
    home.install("cursor");
    let old = fs::read_to_string(&path).expect("written");
    let output = output(
        home.command(&["--install", "cursor", "--env", "LANG=C"])
            .env("AEROSTACK_WORKSPACE_URL", "https://other.example/ws/x")
            .env("AEROSTACK_TOKEN", TOKEN),
    );
    let (report, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    assert!(
        report.contains("- ") && report.contains("+ ") && !report.contains(TOKEN),
        "{report}"
    );
    let new = fs::read_to_string(&path).expect("written");
    let expect = old.replace(URL, "https://other.example/ws/x").replace(
        &format!("\"{TOKEN}\""),
        &format!("\"{TOKEN}\",\n        \"LANG\": \"C\""),
    );
    assert_eq!(new, expect);
    assert!(home.path(".cursor/mcp.json.aerostack-backup.2").exists());
}

#[test]
fn a_token_file_takes_the_tokens_place() {
    let home = Home::new();
    let path = home.write(".cursor/mcp.json", "{}");
    home.install("cursor");
    let file = home.write("token", TOKEN);
    let output = output(
        home.command(&["--install", "cursor"])
            .env("AEROSTACK_WORKSPACE_URL", URL)
            .env("AEROSTACK_TOKEN_FILE", &file),
    );
    assert!(output.status.success(), "{}", texts(&output).1);
    let text = fs::read_to_string(&path).expect("written");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let env = &value["mcpServers"]["aerostack"]["env"];
    assert_eq!(env["AEROSTACK_TOKEN_FILE"], file.to_str().expect("ours"));
    assert!(
        env.get("AEROSTACK_TOKEN").is_none() && !text.contains(TOKEN),
        "{text}"
    );
}

#[test]
fn links_lead_to_the_real_file() {
    let home = Home::new();
    let real = home.write("dotfiles/mcp.json", "{}\n");
    fs::create_dir(home.path(".cursor")).expect("ours");
    let link = home.path(".cursor/mcp.json");
    symlink("../dotfiles/mcp.json", &link).expect("ours");
    home.install("cursor");
    assert!(link.is_symlink(), "the link is still one");
    assert!(fs::read_to_string(&real).expect("written").contains(TOKEN));
    assert!(home.path("dotfiles/mcp.json.aerostack-backup.1").exists());
    fs::remove_file(&real).expect("ours");
    home.refuses("cursor", &link, "a symbolic link that leads nowhere");
}

#[test]
fn what_can_not_be_edited_is_left_alone() {
    let check = |host: &str, file: &str, text: &[u8], expect: &str| {
        let home = Home::new();
        let path = home.write(file, "");
        fs::write(&path, text).expect("ours");
        home.refuses(host, &path, expect);
    };
    let cursor = ".cursor/mcp.json";
    check(
        "cursor",
        cursor,
        b"not json",
        "line 1, column 1: a value is missing or malformed",
    );
    check(
        "cursor",
        cursor,
        b"{\"mcpServers\": []}",
        "is not a set of names and values",
    );
    check(
        "cursor",
        cursor,
        b"{\"mcpServers\":{},\"mcpServers\":{}}",
        "stands there twice",
    );
    check("cursor", cursor, b"{\"a\": \"\xff\"}", "is not UTF-8");
    check("cursor", cursor, b"\xff\xfe{\0}\0", "is not UTF-8");
    check(
        "goose",
        ".config/goose/config.yaml",
        b"extensions: {a: {}}\n",
        "edited safely",
    );
    let home = Home::new();
    let path = home.write(cursor, "{}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("ours");
    home.refuses("cursor", &path, "is read-only");
    let home = Home::new();
    fs::create_dir_all(home.path(cursor)).expect("ours");
    home.refuses("cursor", &home.path(cursor), "is no regular file");
}

#[test]
fn files_are_looked_for_where_the_environment_says() {
    let home = Home::new();
    let elsewhere = home.write("elsewhere/goose/config.yaml", "");
    let claude = home.path("claude-home/.claude.json");
    fs::create_dir(home.path("claude-home")).expect("ours");
    let run = |host: &str, name: &str, value: &Path| {
        let mut command = home.command(&["--install", host]);
        command
            .env("AEROSTACK_WORKSPACE_URL", URL)
            .env("AEROSTACK_TOKEN", TOKEN);
        let output = output(command.env(name, value));
        assert!(output.status.success(), "{}", texts(&output).1);
    };
    run("goose", "XDG_CONFIG_HOME", &home.path("elsewhere"));
    assert!(
        fs::read_to_string(&elsewhere)
            .expect("written")
            .contains(TOKEN)
    );
    run(
        "claude-code",
        "CLAUDE_CONFIG_DIR",
        &home.path("claude-home"),
    );
    let written = |path: &Path| fs::read_to_string(path).expect("written").contains(TOKEN);
    assert!(written(&claude));
    for (host, name, value, file) in [
        ("codex", "CODEX_HOME", "c", "c/config.toml"),
        ("copilot", "COPILOT_HOME", "p", "p/mcp-config.json"),
        ("cline", "CLINE_MCP_SETTINGS_PATH", "l.json", "l.json"),
        ("openclaw", "OPENCLAW_STATE_DIR", "s", "s/openclaw.json"),
        (
            "openclaw",
            "OPENCLAW_HOME",
            "h",
            "h/.openclaw/openclaw.json",
        ),
        ("openclaw", "OPENCLAW_CONFIG_PATH", "o.json", "o.json"),
        ("opencode", "OPENCODE_CONFIG", "oc.json", "oc.json"),
        ("gemini", "GEMINI_CLI_HOME", "g", "g/.gemini/settings.json"),
        ("qwen", "QWEN_HOME", "q", "q/settings.json"),
        (
            "cline",
            "CLINE_DATA_DIR",
            "d",
            "d/settings/cline_mcp_settings.json",
        ),
    ] {
        run(host, name, &home.path(value));
        assert!(written(&home.path(file)), "{host}");
    }
}

/// What --install put in, --uninstall takes out, without any setting.
#[test]
fn uninstalled_as_it_was_installed() {
    for (host, file) in FILES {
        let home = Home::new();
        let old = match *host {
            "goose" => "a: 1\nextensions:\n  b:\n    cmd: c\n",
            "codex" => "a = 1\n\n[mcp_servers.b]\ncommand = \"c\"\n",
            "openclaw" => "{\n  \"mcp\": {\n    \"servers\": {\n      \"b\": {}\n    }\n  }\n}\n",
            "opencode" => "{\n  \"mcp\": {\n    \"b\": {}\n  }\n}\n",
            "vscode" => "{\n  \"servers\": {\n    \"b\": {}\n  }\n}\n",
            _ => "{\n  \"mcpServers\": {\n    \"b\": {}\n  }\n}\n",
        };
        let path = home.write(file, old);
        home.install(host);
        assert_ne!(fs::read_to_string(&path).expect("written"), old);
        for expect in ["The file as it was: ", "has no entry aerostack"] {
            let out = output(&mut home.command(&["--uninstall", host]));
            let (report, err) = texts(&out);
            assert!(
                out.status.success() && report.contains(expect),
                "{report}{err}"
            );
            assert!(!report.contains(TOKEN), "{report}");
            assert_eq!(fs::read_to_string(&path).expect("written"), old, "{host}");
        }
    }
    let none = output(&mut Home::new().command(&["--uninstall", "cursor"]));
    assert_eq!(none.status.code(), Some(1));
    assert!(texts(&none).1.contains("Cursor was not found"));
}

/// A call that waits for a person must not be given up by the tool.
#[test]
fn every_host_that_has_a_time_limit_gets_an_hour() {
    for (host, limit) in [
        ("claude-code", "\"timeout\": 3600000"),
        ("cline", "\"timeout\": 3600"),
        ("codex", "tool_timeout_sec = 3600"),
        ("copilot", "\"timeout\": 3600000"),
        ("gemini", "\"timeout\": 3600000"),
        ("goose", "timeout: 3600"),
        ("openclaw", "\"requestTimeoutMs\": 3600000"),
        ("opencode", "\"timeout\": 3600000"),
        ("qwen", "\"timeout\": 3600000"),
    ] {
        let home = Home::new();
        let file = FILES.iter().find(|(name, _)| *name == host).expect("known");
        let path = home.write(file.1, "");
        home.install(host);
        let text = fs::read_to_string(path).expect("written");
        let held = text
            .lines()
            .any(|line| line.trim().trim_end_matches(',') == limit);
        assert!(held, "{text}");
    }
}

/// Where URL and token are a settings file's, the entry holds neither, and an older one loses them.
#[test]
fn what_a_settings_file_holds_stays_there() {
    let home = Home::new();
    let path = home.write(".cursor/mcp.json", "{}");
    home.install("cursor");
    let text = format!("AEROSTACK_WORKSPACE_URL={URL}\nAEROSTACK_TOKEN={TOKEN}\n");
    let entry = |arguments: &[&str], xdg: Option<&Path>| {
        let mut command = home.command(&[&["--install", "cursor"], arguments].concat());
        command.envs(xdg.map(|xdg| ("XDG_CONFIG_HOME", xdg)));
        let out = output(&mut command);
        assert!(out.status.success(), "{}", texts(&out).1);
        let text = fs::read_to_string(&path).expect("written");
        assert!(!text.contains(TOKEN) && !text.contains(URL), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let entry = &value["mcpServers"]["aerostack"];
        (entry["args"].clone(), entry["env"].clone())
    };
    let private = |name: &str| {
        let file = home.write(name, &text);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours");
        file
    };
    let named = private("elsewhere/settings");
    let (args, env) = entry(&["--env-file", named.to_str().expect("ours")], None);
    assert_eq!(args, serde_json::json!(["--env-file", named]));
    assert_eq!(env, serde_json::json!({}));
    private(".config/aerostack-gateway/env");
    let (args, env) = entry(&["--env", "AEROSTACK_LOG_LEVEL=debug"], None);
    assert_eq!(args, serde_json::json!([]));
    assert_eq!(env, serde_json::json!({"AEROSTACK_LOG_LEVEL": "debug"}));
    // AI tools hand on HOME, but seldom this.
    let xdg = home.path("xdg");
    private("xdg/aerostack-gateway/env");
    let (args, env) = entry(&[], Some(&xdg));
    assert_eq!(args, serde_json::json!([]));
    assert_eq!(env["XDG_CONFIG_HOME"], serde_json::json!(xdg));
}

#[test]
fn headers_go_along_and_are_not_shown() {
    let home = Home::new();
    let path = home.write(".cursor/mcp.json", "{}");
    let header = ["--header", "CF-Access-Client-Id: 5ecret"];
    let out = home.run(&[&["--install", "cursor"], &header[..]].concat());
    let (report, err) = texts(&out);
    assert!(
        out.status.success() && !report.contains("5ecret"),
        "{report}{err}"
    );
    let text = fs::read_to_string(&path).expect("written");
    let expect = "\"AEROSTACK_HEADER_CF_ACCESS_CLIENT_ID\": \"CF-Access-Client-Id: 5ecret\"";
    assert!(text.contains(expect), "{text}");
    let (shown, err) = texts(&home.run(&[&["--print-config", "codex"], &header[..]].concat()));
    assert!(shown.contains("CF-Access-Client-Id: your-value"), "{shown}");
    assert!(
        !shown.contains("5ecret") && !err.contains("5ecret"),
        "{shown}"
    );
}

#[test]
fn settings_must_be_good_to_be_installed() {
    let home = Home::new();
    let path = home.write(".cursor/mcp.json", "{}");
    let output = output(&mut home.command(&["--install", "cursor"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        texts(&output)
            .1
            .contains("AEROSTACK_WORKSPACE_URL is required")
    );
    assert_eq!(fs::read_to_string(path).expect("ours"), "{}");
}

#[test]
fn configurations_are_printed_without_the_token() {
    let home = Home::new();
    for (host, _) in FILES {
        let bare = output(&mut home.command(&["--print-config", host]));
        let (sample, _) = texts(&bare);
        assert!(
            bare.status.success() && sample.contains("mwt_your-token"),
            "{sample}"
        );
        assert!(
            sample.contains("https://mcp.aerostack.dev/ws/your-workspace"),
            "{sample}"
        );
        assert!(sample.contains(&program()), "{sample}");
        let (hidden, err) = texts(&home.run(&["--print-config", host]));
        assert!(
            hidden.contains(URL) && hidden.contains("mwt_your-token"),
            "{hidden}"
        );
        assert!(!hidden.contains(TOKEN) && !err.contains(TOKEN));
        let (shown, _) = texts(&home.run(&["--print-config", host, "--show-token"]));
        assert_eq!(shown, hidden.replace("mwt_your-token", TOKEN));
        match *host {
            "goose" => assert!(shown.starts_with("extensions:\n  aerostack:\n"), "{shown}"),
            "claude-code" => assert!(shown.starts_with("claude mcp add "), "{shown}"),
            "codex" => assert!(shown.starts_with("[mcp_servers.aerostack]\n"), "{shown}"),
            _ => assert!(
                serde_json::from_str::<serde_json::Value>(&shown).is_ok(),
                "{shown}"
            ),
        }
    }
}

/// The command for Claude Code is run by a shell, with a stand-in for `claude`.
#[test]
fn the_command_survives_a_shell() {
    let home = Home::new();
    let program = home.write("bin/claude", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    let (command, _) = texts(&home.run(&[
        "--print-config",
        "claude-code",
        "--env",
        "X=it's $HOME \"x\"",
    ]));
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(&command)
        .env_clear()
        .env("PATH", home.path("bin"));
    let (arguments, err) = texts(&output(&mut shell));
    assert!(
        arguments
            .contains("\nX=it's $HOME \"x\"\n--env\nCLAUDE_CODE_MCP_AUTO_BACKGROUND_MS=0\n--\n/"),
        "{arguments}{err}"
    );
}
