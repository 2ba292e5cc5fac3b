//! Edits of sample texts in TOML, and taking entries out of every language.

use super::entry::sample;
use super::tests::{PROGRAM, add, check, check_kept};
use super::*;

const CODEX: &str = r#"[mcp_servers.aerostack]
tool_timeout_sec = 3600
command = "/opt/my tools/aerostack-gateway"
args = []

[mcp_servers.aerostack.env]
AEROSTACK_WORKSPACE_URL = "https://mcp.example.com/ws/x"
AEROSTACK_TOKEN = "mwt_new"
"#;

#[test]
fn codex_gets_a_table_at_the_end() {
    check("codex", "", CODEX);
    let old = r#"# mine
model = "o" # good

[mcp_servers.docs]
args = [
  "[mcp_servers.aerostack]", # no header
]

[tui]
t = '''
[mcp_servers.aerostack]
'''
"#;
    check("codex", old, &format!("{old}\n{CODEX}"));
    check("codex", old.trim_end(), &format!("{old}\n{CODEX}"));
    let windows = check_kept("codex", "a = 1\r\n");
    assert!(!windows.replace("\r\n", "").contains('\n'), "{windows:?}");
    // Other servers may be written in any way.
    for old in [
        "mcp_servers.docs.command = \"x\"\n",
        "[mcp_servers]\ndocs = { command = \"x\", args = [{ a = 1 }] }\n",
        "[\"mcp_servers\".'docs']\nb = 1979-05-27 07:32:00\n",
        "[[profiles]]\na = 1\n[[profiles]]\na = 2\n",
    ] {
        check("codex", old, &format!("{old}\n{CODEX}"));
    }
}

#[test]
fn codex_keeps_what_is_not_ours() {
    let old = r#"[mcp_servers.aerostack] # ours
command = 'npx' # old
args = [
  "-y", "x",
]
startup_timeout_sec = 20 # slow

# about the rest
[tui]
a = 1

[mcp_servers.aerostack.env]
AEROSTACK_TOKEN = "mwt_old"
LANG = "C"
"#;
    let expect = r#"[mcp_servers.aerostack] # ours
command = "/opt/my tools/aerostack-gateway" # old
args = []
startup_timeout_sec = 20 # slow
tool_timeout_sec = 3600

# about the rest
[tui]
a = 1

[mcp_servers.aerostack.env]
AEROSTACK_TOKEN = "mwt_new"
LANG = "C"
AEROSTACK_WORKSPACE_URL = "https://mcp.example.com/ws/x"
"#;
    check("codex", old, expect);
    let bare = "[mcp_servers.aerostack]\ncommand = \"x\"\n# end\n[a]\n";
    let new = check_kept(
        "codex",
        &bare.replace("\"x\"", "\"/opt/my tools/aerostack-gateway\""),
    );
    assert!(
        new.contains("args = []\ntool_timeout_sec = 3600\n\n[mcp_servers.aerostack.env]\nAEROSTACK_WORKSPACE_URL = ")
            && new.ends_with("\n# end\n[a]\n"),
        "{new}"
    );
    // A remote entry would win over the command: it goes as a whole.
    let remote = "[mcp_servers.aerostack]\nurl = \"https://x\"\n\n[a]\nb = 1\n";
    check("codex", remote, &format!("\n[a]\nb = 1\n\n{CODEX}"));
}

#[test]
fn inline_tables_and_dotted_keys_stay_what_they_are() {
    let inline = r#"[mcp_servers.aerostack]
command = "x"
env = { AEROSTACK_TOKEN_FILE = "/t", LANG = "C" }
tool_timeout_sec = 9
args = []
"#;
    let expect = r#"[mcp_servers.aerostack]
command = "/opt/my tools/aerostack-gateway"
env = { LANG = "C", AEROSTACK_WORKSPACE_URL = "https://mcp.example.com/ws/x", AEROSTACK_TOKEN = "mwt_new" }
tool_timeout_sec = 9
args = []
"#;
    check("codex", inline, expect);
    let dotted = r#"[mcp_servers]
aerostack.command = "x"
aerostack.env.LANG = "C"
aerostack.tool_timeout_sec = 9
"#;
    let expect = r#"[mcp_servers]
aerostack.command = "/opt/my tools/aerostack-gateway"
aerostack.env.LANG = "C"
aerostack.env.AEROSTACK_WORKSPACE_URL = "https://mcp.example.com/ws/x"
aerostack.env.AEROSTACK_TOKEN = "mwt_new"
aerostack.tool_timeout_sec = 9
aerostack.args = []
"#;
    check("codex", dotted, expect);
    let whole = r#"mcp_servers = { a = {}, aerostack = { command = "x", tool_timeout_sec = 9, env = {} } }
"#;
    let expect = r#"mcp_servers = { a = {}, aerostack = { command = "/opt/my tools/aerostack-gateway", tool_timeout_sec = 9, env = { AEROSTACK_WORKSPACE_URL = "https://mcp.example.com/ws/x", AEROSTACK_TOKEN = "mwt_new" }, args = [] } }
"#;
    check("codex", whole, expect);
}

#[test]
fn what_is_no_toml_is_refused_with_the_place() {
    let check = |text: &str, expect: &str| {
        let error = add("codex", text).expect_err(text).to_string();
        assert!(error.contains(expect), "{text}: {error}");
    };
    check("a = 1\nb\n", "line 2, column 2: a = is missing");
    check("a = \n", "line 1, column 5: a value is missing");
    check("a = \"x\n\"", "a string without an end");
    check("a = '''x''", "a string without an end");
    check("a = \"x\" 2\n", "the end of the line is missing");
    check("a = [\"x\" 2]\n", "a comma or ]");
    check("a = {b = \"1\" c = 2}\n", "a comma or }");
    check("[x\n", "a table's name must end with ]");
    check("= 1\n", "a name is missing");
    check("a = {b = [", "a comma or ]");
    check("[[mcp_servers]]\na = 1\n", "\"mcp_servers\" is not a set");
    check(
        "[[mcp_servers.aerostack]]\na = 1\n",
        "\"aerostack\" is not a set",
    );
    check("mcp_servers = 1\n", "\"mcp_servers\" is not a set");
    check(
        "[mcp_servers.aerostack]\n[mcp_servers.aerostack]\n",
        "\"aerostack\" stands there twice",
    );
    check(
        "[mcp_servers.aerostack]\ncommand = 1\ncommand = 2\n",
        "\"command\" stands there twice",
    );
    check(&format!("a = {}", "[".repeat(100_000)), "nested too deeply");
    check(
        &format!("a = {}", "{b=".repeat(100_000)),
        "nested too deeply",
    );
}

/// Every prefix of a good file is an error or a good file, never a panic.
#[test]
fn every_prefix_of_a_file_is_survived() {
    let text = "\u{feff}# é\r\na.\"b.c\" = [1, {x = 'y'}, \"\"\"q\"\"\"\"] # c\r\n[[t]]\r\n\
                [mcp_servers.aerostack.env]\r\nA = {b = {c = 1}, d = \"\\\"\"}\r\n";
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let _ = add("codex", &text[..end]);
        let _ = Format::Toml.remove(&text[..end], &["mcp_servers", "aerostack"]);
    }
    add("codex", text).unwrap();
}

/// What was put in is taken out again, to the byte where the place for it was there before.
#[test]
fn taking_out_leaves_the_rest() {
    let remove = |host: &str, text: &str| {
        let host = find(host).unwrap();
        host.format.remove(text, &host.entry()).unwrap()
    };
    for (host, old) in [
        ("codex", "# a\nmodel = 1\n\n[tui]\na = 1\n"),
        ("codex", "a = 1\r\n"),
        ("cursor", "{\n  \"mcpServers\": {\n    \"a\": {}\n  }\n}\n"),
        (
            "opencode",
            "{\n  \"mcp\": {\n    // mine\n    \"a\": {}\n  }\n}\n",
        ),
        ("openclaw", "{mcp: {servers: {a: {}}}}\n"),
        ("goose", "extensions:\n  a:\n    cmd: x\nb: 1\n"),
    ] {
        let new = add(host, old).unwrap();
        assert_ne!(new, old);
        assert_eq!(remove(host, &new), old, "{host}");
        assert_eq!(remove(host, old), old, "{host}");
    }
    assert_eq!(remove("codex", CODEX), "");
    let dotted = "[mcp_servers]\na = 1\naerostack.command = 1\naerostack.env = { a = 1 }\nb = 2\n";
    assert_eq!(remove("codex", dotted), "[mcp_servers]\na = 1\nb = 2\n");
    let inline = "mcp_servers = { aerostack = { command = 1 }, a = {} }\n";
    assert_eq!(remove("codex", inline), "mcp_servers = { a = {} }\n");
}

/// A name of ours that holds names of somebody's is a text from then on.
#[test]
fn what_stands_in_the_way_of_a_setting_goes() {
    let old =
        "[mcp_servers.aerostack]\ncommand = \"x\"\nenv = { AEROSTACK_TOKEN.FILE = 1, A = 2 }\n";
    let new = add("codex", old).unwrap();
    assert!(
        new.contains("AEROSTACK_TOKEN = \"mwt_new\"") && new.contains("A = 2"),
        "{new}"
    );
    assert!(!new.contains("FILE"), "{new}");
}

#[test]
fn headers_of_the_persons_own_are_not_shown() {
    let server = sample(PROGRAM, "mwt_new");
    let host = find("codex").unwrap();
    let text = r#"[mcp_servers.aerostack.env]
AEROSTACK_HEADER_X_A = "X-A: 5ecret"
AEROSTACK_TOKEN_FILE = "/kept"
AEROSTACK_TOKEN='5ecret'
"#;
    let shown = server.shown(text, host);
    assert!(
        !shown.contains("5ecret") && shown.contains("/kept"),
        "{shown}"
    );
}
