//! Edits of sample texts of every host: what must change does, and not a byte beside it.

use super::entry::sample;
use super::*;

pub(super) const PROGRAM: &str = "/opt/my tools/aerostack-gateway";

pub(super) fn add(host: &str, text: &str) -> Result<String, EditError> {
    sample(PROGRAM, "mwt_new").add_to(text, find(host).unwrap())
}

/// The edit gives exactly this; a second one changes nothing.
pub(super) fn check(host: &str, old: &str, expect: &str) {
    let new = add(host, old).unwrap_or_else(|why| panic!("{old}\n{why}"));
    assert_eq!(new, expect, "{host}: {old}");
    assert_eq!(add(host, &new).unwrap(), new, "{host}: again");
}

/// Nothing but insertions: all of the old text is there, in order.
pub(super) fn check_kept(host: &str, old: &str) -> String {
    let new = add(host, old).unwrap_or_else(|why| panic!("{old}\n{why}"));
    let mut rest = new.as_str();
    for c in old.chars() {
        let at = rest
            .find(c)
            .unwrap_or_else(|| panic!("{c:?} was lost: {new}"));
        rest = &rest[at + c.len_utf8()..];
    }
    assert_eq!(add(host, &new).unwrap(), new, "{host}: again");
    new
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn every_host_gets_a_whole_file_where_there_is_none() {
    for host in HOSTS {
        for old in ["", "\n  \n", "\u{feff}"] {
            let new = add(host.name, old).unwrap();
            assert_eq!(add(host.name, &new).unwrap(), new, "{}", host.name);
            assert!(new.ends_with('\n') && new.contains("mwt_new"), "{new}");
            if matches!(host.format, Format::Json | Format::Json5) {
                let entry = format!("/{}/{NAME}", host.servers.join("/"));
                let value = json(&new);
                let entry = value.pointer(&entry).unwrap();
                match host.shape {
                    Shape::OpenCode => assert_eq!(entry["command"][0], PROGRAM),
                    Shape::Usual | Shape::Goose => assert_eq!(entry["command"], PROGRAM),
                }
                assert_eq!(entry[host.shape.env()]["AEROSTACK_TOKEN"], "mwt_new");
            }
        }
    }
}

const ENTRY: &str = r#""aerostack": {
      "command": "/opt/my tools/aerostack-gateway",
      "args": [],
      "env": {
        "AEROSTACK_WORKSPACE_URL": "https://mcp.example.com/ws/x",
        "AEROSTACK_TOKEN": "mwt_new"
      }
    }"#;

#[test]
fn an_entry_goes_behind_the_others() {
    let old = "{\n  \"mcpServers\": {\n    \"a\": { \"url\": \"x\" }\n  },\n  \"z\": 1.50\n}\n";
    let expect = format!(
        "{{\n  \"mcpServers\": {{\n    \"a\": {{ \"url\": \"x\" }},\n    {ENTRY}\n  }},\n  \"z\": 1.50\n}}\n"
    );
    check("cursor", old, &expect);
    let none = "{\n  \"z\": 1\n}";
    let expect = format!("{{\n  \"z\": 1,\n  \"mcpServers\": {{\n    {ENTRY}\n  }}\n}}");
    check("cursor", none, &expect);
    let empty = "{\n  \"mcpServers\": {}\n}\n";
    let expect = format!("{{\n  \"mcpServers\": {{\n    {ENTRY}\n  }}\n}}\n");
    check("claude-desktop", empty, &expect);
    let expect = format!("{{\n  \"mcpServers\": {{\n    {ENTRY}\n  }}\n}}\n");
    check("windsurf", "{}\n", &expect);
}

#[test]
fn comments_line_ends_and_indentation_stay() {
    let tabs = "\u{feff}// mine\r\n{\r\n\t\"servers\": {\r\n\t\t\"a\": {}, // last\r\n\t\t/* end */\r\n\t},\r\n}\r\n";
    let new = check_kept("vscode", tabs);
    assert!(!new.replace("\r\n", "").contains('\n'), "{new:?}");
    assert!(
        new.contains("/* end */\r\n\t\t\"aerostack\": {\r\n\t\t\t\"type\": \"stdio\""),
        "{new}"
    );
    let comment = "{\n    \"servers\": {\n        \"a\": {} // no comma\n    }\n}";
    let new = check_kept("vscode", comment);
    assert!(
        new.contains("\"a\": {}, // no comma\n        \"aerostack\": {\n            \"type\""),
        "{new}"
    );
    check_kept("vscode", "{ // empty\n}");
    check_kept("vscode", "{ /* empty */ }");
    let minified = r#"{"a":{"b":"é\u00e9"},"mcpServers":{"c":{}}}"#;
    let new = check_kept("cline", minified);
    assert!(
        !new.contains('\n') && new.contains(r#""c":{},"aerostack":{"disabled":false,"#),
        "{new}"
    );
    json(&new);
    json(&check_kept("cline", r#"{"mcpServers":{}}"#));
}

#[test]
fn an_old_entry_keeps_what_is_not_ours() {
    let old = r#"{
  "mcpServers": {
    "aerostack": {
      "command": "npx",
      "args": ["-y", "@aerostack/gateway"], // the old one
      "disabled": true,
      "env": { "AEROSTACK_WORKSPACE_URL": "https://old.example/", "AEROSTACK_TOKEN": "mwt_old", "LANG": "C" },
      "autoApprove": ["x"]
    },
    "b": {}
  }
}"#;
    let expect = old
        .replace("\"npx\"", &format!("\"{PROGRAM}\""))
        .replace(r#"["-y", "@aerostack/gateway"]"#, "[]")
        .replace("https://old.example/", "https://mcp.example.com/ws/x")
        .replace("mwt_old", "mwt_new")
        .replace("[\"x\"]", "[\"x\"],\n      \"timeout\": 3600");
    check("cline", old, &expect);
    // A limit of the person's own stays.
    let own = expect.replace("3600", "90");
    check("cline", &own, &own);
    // A remote entry would win over the command: it goes as a whole.
    let remote = r#"{"mcpServers": {"aerostack": {"url": "https://x", "headers": {}}}}"#;
    let new = json(&add("cursor", remote).unwrap());
    assert_eq!(
        new["mcpServers"]["aerostack"]["url"],
        serde_json::Value::Null
    );
}

#[test]
fn json5_is_understood_for_openclaw_only() {
    let old = "{\n  // OpenClaw\n  gateway: { port: 18789, mode: 'local', hex: +0x1F },\n  mcp: {\n    servers: {\n      'it\\'s': {},\n    },\n  },\n}\n";
    let new = check_kept("openclaw", old);
    assert!(
        new.contains("'it\\'s': {},\n      \"aerostack\": {"),
        "{new}"
    );
    assert!(add("cursor", old).is_err());
}

#[test]
fn what_is_no_json_is_refused_with_the_place() {
    let check = |text: &str, expect: &str| {
        let error = add("cursor", text).expect_err(text).to_string();
        assert!(error.contains(expect), "{text}: {error}");
    };
    check("not json", "line 1, column 1");
    check(
        "{\n  \"a\": 1\n  \"b\": 2\n}",
        "line 3, column 3: a comma or } is missing",
    );
    check("{\"a\": }", "a value is missing");
    check("{\"a\": 01}", "a value is missing or malformed");
    check("{\"a\" 1}", "a colon");
    check("{\"a\": \"x\ny\"}", "line break");
    check("{\"a\": \"x", "a string without an end");
    check("{\"a\": \"x\\", "a string without an end");
    check("{,}", "a name in double quotes");
    check("{\"a\": [1 2]}", "a comma or ]");
    check("{\"a\": [", "a value is missing");
    check("{ /* x }", "a comment without an end");
    check("{} {}", "more text");
    check("{", "a name in double quotes");
    check("// only this", "no configuration");
    check("[]", "\"the file\" is not a set");
    check("{\"mcpServers\": []}", "\"mcpServers\" is not a set");
    check("{\"mcpServers\": null}", "\"mcpServers\" is not a set");
    check(
        "{\"mcpServers\": {}, \"mcpServers\": {}}",
        "\"mcpServers\" stands there twice",
    );
    check(
        "{\"mcpServers\": {\"aerostack\": {}, \"aerostack\": {}}}",
        "\"aerostack\" stands there twice",
    );
    check(&"[".repeat(100_000), "nested too deeply");
    check(&"{\"a\":".repeat(100_000), "nested too deeply");
}

/// Every prefix of a good file is an error or a good file, never a panic.
#[test]
fn every_prefix_of_a_file_is_survived() {
    let text =
        "\u{feff}{ // c\n \"mcpServers\": {\"é\": [1, 2,], \"b\": \"\\\"\", /* d */ },\n}\r\n";
    for (end, _) in text.char_indices() {
        for host in HOSTS {
            let _ = add(host.name, &text[..end]);
        }
    }
}

#[test]
fn removing_leaves_valid_json() {
    let check = |text: &str, name: &str, expect: &str| {
        assert_eq!(Format::Json.remove(text, &["o", name]).unwrap(), expect);
    };
    let text = r#"{"o": {"a": 1, "b": 2, "c": 3}}"#;
    check(text, "a", r#"{"o": {"b": 2, "c": 3}}"#);
    check(text, "b", r#"{"o": {"a": 1, "c": 3}}"#);
    check(text, "c", r#"{"o": {"a": 1, "b": 2}}"#);
    check(text, "d", text);
    check(r#"{"o": {"a": 1}}"#, "a", r#"{"o": {}}"#);
    check(r#"{"o": {"a": 1, }}"#, "a", r#"{"o": {}}"#);
    check("{\"o\": {\n  \"a\": 1\n}}", "a", "{\"o\": {}}");
    check("{}", "a", "{}");
}

/// What stands beside our entry stays as it was, comments and commas too, however often it comes and goes.
#[test]
fn an_entry_comes_and_goes_without_a_trace() {
    let path = ["o", "a"];
    let set = |text: &str| Format::Json.set(text, &path, &Value::Map(Vec::new()));
    for text in [
        "{\"o\": {\n  \"b\": 1\n}}",
        "{\"o\": {\n  \"b\": 1, // of b\n}}",
        "{\"o\": {\n  \"b\": 1 // of b\n}}",
        "{\"o\": {\n  \"b\": 1, /* x */\n  // y\n}}",
        "{\"o\": { // x\n}}",
        "{\"o\":{\"b\":1}}",
        "{\"o\": {\"b\": 1, }}",
        "{\"o\": {}}",
        "{\r\n\t\"o\": {}\r\n}\r\n",
    ] {
        let with = set(text).unwrap();
        assert_ne!(with, text);
        assert_eq!(Format::Json.remove(&with, &path).unwrap(), text, "{with}");
    }
    // Behind ours, and on its line.
    for (text, expect) in [
        (
            "{\"o\": {\"a\": 1, // x\n \"b\": 2}}",
            "{\"o\": {// x\n \"b\": 2}}",
        ),
        (
            "{\"o\": {\"b\": 2, // x\n \"a\": 1}}",
            "{\"o\": {\"b\": 2 // x\n }}",
        ),
    ] {
        assert_eq!(Format::Json.remove(text, &path).unwrap(), expect);
    }
}

const GOOSE: &str = "  aerostack:
    name: aerostack
    description: Aerostack Workspace
    type: stdio
    enabled: true
    timeout: 3600
    cmd: /opt/my tools/aerostack-gateway
    args: []
    envs:
      AEROSTACK_WORKSPACE_URL: \"https://mcp.example.com/ws/x\"
      AEROSTACK_TOKEN: mwt_new";

#[test]
fn goose_gets_an_extension() {
    let old = "GOOSE_PROVIDER: openai # mine\nextensions:\n  developer:\n    enabled: true\n    # inside\n\n# after\nGOOSE_MODE: auto\n";
    let expect = old.replace("    # inside\n", &format!("    # inside\n{GOOSE}\n"));
    check("goose", old, &expect);
    check("goose", "", &format!("extensions:\n{GOOSE}\n"));
    check("goose", "a: 1\n", &format!("a: 1\nextensions:\n{GOOSE}\n"));
    check("goose", "a: 1", &format!("a: 1\nextensions:\n{GOOSE}"));
    for empty in [
        "extensions: {}\nb: 1\n",
        "extensions:\nb: 1\n",
        "extensions: null # none\nb: 1\n",
    ] {
        check("goose", empty, &format!("extensions:\n{GOOSE}\nb: 1\n"));
    }
    let deep = "---\nextensions:\n    a:\n        args:\n        - x\n        envs: {}\n";
    let new = check_kept("goose", deep);
    assert!(
        new.contains("\n    aerostack:\n      name: aerostack\n"),
        "{new}"
    );
    let windows = check_kept(
        "goose",
        "a: 1\r\nextensions:\r\n  b:\r\n    c: |\r\n      # text\r\n",
    );
    assert!(!windows.replace("\r\n", "").contains('\n'), "{windows:?}");
    assert!(windows.contains("# text\r\n  aerostack:"), "{windows}");
}

#[test]
fn goose_keeps_what_is_not_ours() {
    let old = "extensions:\n  'aerostack':\n    enabled: false # for now\n    timeout: 9\n    cmd: npx\n    args:\n    - -y\n    - x\n    envs:\n      LANG: C\n      AEROSTACK_TOKEN_FILE: /t\n    type: stdio\n  z: {}\n";
    let expect = "extensions:\n  'aerostack':\n    enabled: false # for now\n    timeout: 9\n    cmd: /opt/my tools/aerostack-gateway\n    args: []\n    envs:\n      LANG: C\n      AEROSTACK_WORKSPACE_URL: \"https://mcp.example.com/ws/x\"\n      AEROSTACK_TOKEN: mwt_new\n    type: stdio\n  z: {}\n";
    check("goose", old, expect);
}

#[test]
fn yaml_that_can_not_be_seen_through_is_refused() {
    let check = |text: &str, expect: &str| {
        let error = add("goose", text).expect_err(text).to_string();
        assert!(error.contains(expect), "{text}: {error}");
    };
    check("{\"extensions\": {}}", "by hand");
    check("extensions: {a: {}}\n", "by hand");
    check("extensions: &x\n  a: 1\n", "by hand");
    check("extensions:\n- a\n", "not a set");
    check("extensions:\n  - a\n", "not a set");
    check("a: 1\n---\nb: 2\n", "line 2");
    check("a: 1\n\tb: 2\n", "tab");
    check("extensions: {}\nextensions: {}\n", "twice");
    check("extensions:\n  aerostack: {}\n  aerostack: {}\n", "twice");
    check("just words\n", "line 1, column 1");
    check("  a: 1\n", "by hand");
    check("---\n\n a: 1\n", "by hand");
    check("---\n---\na: 1\n", "by hand");
    check("extensions:\n  text\n", "by hand");
    check("extensions:\n  {a: 1}\n", "by hand");
    check("extensions:\n \ta:\n    b: 1\n", "by hand");
    check("a: 1\rextensions: {}\nb: 2\n", "by hand");
    // A text, and a comment with a colon in it.
    check("extensions:\n  o  # c: d\nb: 1\n", "by hand");
    check("o\t#c: d\n", "line 1, column 1");
    // No white space in YAML.
    check("# c\n\u{c}\u{c}", "line 2, column 1");
    check("\u{a0}\na: 1\n", "line 1, column 1");
    check("extensions:\u{2003}\n", "line 1, column 1");
}

#[test]
fn secrets_are_not_shown() {
    let server = sample(PROGRAM, "other-kind-of-token");
    let old = r#"{"mcpServers": {"aerostack": {
      "args": ["--env", "AEROSTACK_TOKEN=secret1", "mwt_secret2"],
      "env": {"AEROSTACK_TOKEN": "secret3", "AEROSTACK_TOKEN_FILE": "/kept"}
    }}}"#;
    let host = find("cursor").unwrap();
    let shown = server.shown(old, host);
    assert!(
        !shown.contains("secret") && shown.contains("/kept"),
        "{shown}"
    );
    let new = server.add_to("", host).unwrap();
    assert!(new.contains("other-kind-of-token"));
    assert!(!server.shown(&new, host).contains("other-kind"));
    let yaml = find("goose").unwrap();
    let shown = server.shown(&server.add_to("", yaml).unwrap(), yaml);
    assert!(
        !shown.contains("other-kind") && shown.contains("AEROSTACK_TOKEN"),
        "{shown}"
    );
}

#[test]
fn configurations_are_ready_to_paste() {
    let server = sample(PROGRAM, "mwt_your-token");
    for host in HOSTS {
        let text = print(host, &server);
        match host.name {
            "claude-code" => assert_eq!(
                text,
                "claude mcp add --scope user aerostack --env AEROSTACK_WORKSPACE_URL=https://mcp.example.com/ws/x \
                 --env AEROSTACK_TOKEN=mwt_your-token --env CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS=0 -- '/opt/my tools/aerostack-gateway'\n"
            ),
            // What is pasted and what is installed are the same.
            _ => assert_eq!(text, server.add_to("", host).unwrap()),
        }
    }
}
