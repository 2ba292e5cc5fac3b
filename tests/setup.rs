//! `--setup` as a person sees it: in a terminal of its own, against the reference workspace.

mod common;

use common::{Dir, TOKEN, Terminal, Workspace, program};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

const URL_QUESTION: &str = "Workspace URL (https://mcp.aerostack.dev/ws/...): ";
const TOKEN_QUESTION: &str = "Token (from the dashboard; it is not shown as you type): ";

struct Person {
    home: Dir,
    terminal: Terminal,
    child: Option<Child>,
}

impl Person {
    fn new() -> Self {
        Self {
            home: Dir::new(),
            terminal: Terminal::new(),
            child: None,
        }
    }

    fn file(&self) -> PathBuf {
        self.home.path().join(".config/aerostack-gateway/env")
    }

    fn start(&mut self, arguments: &[&str]) {
        let end = || Stdio::from(self.terminal.theirs.try_clone().expect("a duplicate"));
        let child = Command::new(program())
            .arg("--setup")
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn();
        self.child = Some(child.expect("the gateway starts"));
    }

    /// Answers a question; what was shown before it is returned.
    fn answer(&mut self, question: &str, text: &str) -> String {
        let before = self.terminal.wait(question);
        self.terminal.type_in(text);
        before
    }

    fn answer_token(&mut self) {
        self.terminal.wait(TOKEN_QUESTION);
        assert!(!self.terminal.echoes(), "what is typed is shown");
        self.terminal.type_in(&format!("{TOKEN}\n"));
    }

    fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it was started");
        child.wait().expect("our own child")
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

#[test]
fn from_nothing_to_a_tool_that_is_set_up() {
    let workspace = Workspace::http();
    let mut person = Person::new();
    fs::create_dir(person.home.path().join(".cursor")).expect("ours");
    fs::create_dir(person.home.path().join(".codex")).expect("ours");
    person.start(&[]);
    // What can not be used is said, and asked for again.
    person.answer(URL_QUESTION, "mcp.aerostack.dev\n");
    let told = person.answer(URL_QUESTION, &format!("{}\n", workspace.url));
    assert!(
        told.contains("AEROSTACK_WORKSPACE_URL is not usable"),
        "{told}"
    );
    person.terminal.wait(TOKEN_QUESTION);
    person.terminal.type_in("<your-token>\n");
    person.terminal.wait("is still a placeholder");
    person.answer_token();
    let mut shown = person.answer("Set up Codex (", "n\n");
    shown += &person.answer("Set up Cursor (", "y\n");
    shown += &person.terminal.wait("Enable it in Cursor's settings");
    assert!(person.wait().success());
    assert!(shown.contains("All checks passed."), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
    assert!(person.terminal.echoes());
    let file = person.file();
    let expect = format!(
        "# Settings of aerostack-gateway: for their owner only.\nAEROSTACK_WORKSPACE_URL={}\nAEROSTACK_TOKEN={TOKEN}\n",
        workspace.url
    );
    assert_eq!(fs::read_to_string(&file).expect("written"), expect);
    assert_eq!(
        (mode(&file), mode(file.parent().expect("a folder"))),
        (0o600, 0o700)
    );
    // The tool's file has neither: it is for this person's file to hold them.
    let cursor = person.home.path().join(".cursor/mcp.json");
    let text = fs::read_to_string(cursor).expect("written");
    assert!(text.contains(&program()), "{text}");
    assert!(
        !text.contains(TOKEN) && !text.contains(&workspace.url),
        "{text}"
    );
    assert!(!person.home.path().join(".codex/config.toml").exists());
}

#[test]
fn a_file_that_is_there_is_replaced_only_if_the_person_agrees() {
    let workspace = Workspace::http();
    let old = "AEROSTACK_TOKEN=mwt_old\nAEROSTACK_LOG_LEVEL=debug\n";
    for agrees in [false, true] {
        let mut person = Person::new();
        let path = person.home.file("settings", old);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        person.start(&["--env-file", &path]);
        person.answer(URL_QUESTION, &format!("{}\n", workspace.url));
        person.answer_token();
        let question = "exists: replace URL and token in it? [y/N] ";
        person.answer(question, if agrees { "y\n" } else { "\n" });
        assert_eq!(person.wait().code(), Some(if agrees { 0 } else { 1 }));
        let new = format!(
            "AEROSTACK_LOG_LEVEL=debug\nAEROSTACK_WORKSPACE_URL={}\nAEROSTACK_TOKEN={TOKEN}\n",
            workspace.url
        );
        let expect = if agrees { new.as_str() } else { old };
        assert_eq!(fs::read_to_string(&path).expect("ours"), expect);
    }
}

#[test]
fn a_check_that_fails_is_asked_about() {
    let mut person = Person::new();
    person.start(&[]);
    // The discard port of this machine: nobody listens there.
    person.answer(URL_QUESTION, "http://127.0.0.1:9/ws/x\n");
    person.answer_token();
    let shown = person.answer("Write the settings all the same? [y/N] ", "n\n");
    assert!(shown.contains("refused the connection"), "{shown}");
    assert_eq!(person.wait().code(), Some(1));
    assert!(!person.file().exists());
}

/// Whatever ends or stops it while the token is typed: the terminal is as it was.
#[test]
fn every_signal_leaves_the_terminal_as_it_was() {
    let signals = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::ALARM,
        Signal::TERM,
        Signal::USR1,
        Signal::USR2,
    ];
    for signal in signals {
        let mut person = Person::new();
        person.start(&[]);
        person.answer(URL_QUESTION, "https://mcp.example.com/ws/x\n");
        person.terminal.wait(TOKEN_QUESTION);
        assert!(!person.terminal.echoes());
        let pid = Pid::from_child(person.child.as_ref().expect("it runs"));
        kill_process(pid, signal).expect("it runs");
        assert_eq!(person.wait().signal(), Some(signal.as_raw()));
        assert!(person.terminal.echoes(), "{signal:?}");
    }
}

#[test]
fn without_a_person_nothing_is_asked() {
    let output = Command::new(program())
        .arg("--setup")
        .env_clear()
        .env("HOME", "/nowhere")
        .stdin(Stdio::null())
        .output()
        .expect("the gateway starts");
    assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("run it in a terminal"), "{err}");
}
