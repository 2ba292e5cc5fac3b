//! The dashboard in a real browser.
//!
//! `AEROSTACK_BROWSER_TEST=1 cargo test -p aerostack-workspace --test browser -- --ignored`, with the packages
//! chromium and chromium-driver. `AEROSTACK_SCREENSHOTS=DIR` keeps pictures.

#[path = "support/browser.rs"]
mod browser;
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use browser::Browser;
use serde_json::{Value, json};
use support::{Session, Workspace};

#[test]
#[ignore = "needs chromium and chromedriver: run with --ignored (CI sets AEROSTACK_BROWSER_TEST=1)"]
fn a_person_decides_in_the_dashboard() {
    story();
}

/// With AEROSTACK_BROWSER_TEST=1 the story is part of the plain run, and a missing browser is a failure.
#[test]
fn the_browser_test_runs_where_it_is_demanded() {
    if std::env::var("AEROSTACK_BROWSER_TEST").as_deref() == Ok("1") {
        story();
        demo();
    }
}

#[test]
#[ignore = "needs chromium, chromedriver and the gateway: run with --ignored (CI sets AEROSTACK_BROWSER_TEST=1)"]
fn the_demo_waits_for_a_click() {
    demo();
}

/// `scripts/demo` as a person sees it: the gateway's call waits until Approve is clicked in the browser.
fn demo() {
    let program = Path::new(env!("CARGO_BIN_EXE_aerostack-demo"));
    let gateway = program.with_file_name("aerostack-gateway");
    assert!(gateway.exists(), "build the gateway first: cargo build");
    let mut demo = Command::new(program)
        .arg(gateway)
        .arg(env!("CARGO_BIN_EXE_aerostack-workspace"))
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
    let mut after = |words: &str| loop {
        let line = lines.next().expect(words).expect("UTF-8");
        if let Some((_, rest)) = line.split_once(words) {
            return rest.to_owned();
        }
    };
    let url = after("Open ");
    let token = after("log in with the token ");
    let browser = Browser::start();
    browser.go(&url);
    browser.until("document.body.dataset.view === 'login'");
    browser.fill("#token", &token);
    browser.click("#login-form button");
    browser.until("document.querySelector('#bridges .bridge.on')");
    let approval = url.rsplit('#').next().expect("an approval is named");
    browser.until(&format!("document.getElementById('{approval}')"));
    browser.click(&format!("#{approval} .approve"));
    assert!(after("Approved. The call ran, once: ").contains("acme/site"));
    browser.until("document.querySelector('#bridges .badge')?.textContent === 'offline' || document.querySelector('.live.off')");
    assert!(demo.wait().expect("it ends").success());
}

fn story() {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    let browser = Browser::start();
    log_in(&workspace, &browser);
    presence(&session, &browser);
    approvals(&session, &browser);
    guardian(&session, &browser);
    chat(&session, &browser);
    pictures(&session, &browser);
    browser.click("#logout");
    browser.until("document.body.dataset.view === 'login'");
}

fn log_in(workspace: &Workspace, browser: &Browser) {
    browser.go(workspace.text("dashboard_url"));
    browser.until("document.body.dataset.view === 'login'");
    browser.fill("#token", "mwt_wrong");
    browser.click("#login-form button");
    browser
        .until("document.querySelector('#login-error').textContent.includes('not the workspace')");
    browser.fill("#token", workspace.token());
    browser.click("#login-form button");
    browser.until("document.body.dataset.view === 'board'");
    let cookie = browser.run("return document.cookie");
    assert_eq!(cookie, "", "the cookie is HttpOnly");
}

fn presence(session: &Session<'_>, browser: &Browser) {
    browser.until("!document.querySelector('#bridges-empty').hidden");
    session.heartbeat("bridge-a", "one", "online");
    browser
        .until("document.querySelector('#bridges .bridge.on')?.innerText.includes('Claude Code')");
    session.heartbeat("bridge-a", "one", "offline");
    browser.until("document.querySelector('#bridges .badge')?.textContent === 'offline'");
    session.heartbeat("bridge-a", "two", "online");
    browser.until("document.querySelectorAll('#bridges .bridge.on').length === 1");
}

fn approvals(session: &Session<'_>, browser: &Browser) {
    let ask = |repo: &str| {
        let data = session.gated("github__delete_repo", json!({ "repo": repo }));
        let id = data["approval_id"].as_str().expect("an id").to_owned();
        browser.until(&format!("document.getElementById('{id}')"));
        id
    };
    let status = |id: &str| {
        session.request("aerostack/approvals/get", json!({ "approval_id": id }))["result"].clone()
    };

    let first = ask("acme/old-prototype");
    browser.until(&format!(
        "document.querySelector('#{first} .arguments').textContent.includes('old-prototype')"
    ));
    browser.until("document.title.startsWith('(1)')");
    browser.click(&format!("#{first} .approve"));
    browser.until(&format!("!document.getElementById('{first}')"));
    assert_eq!(status(&first)["status"], "approved");
    let answer = session.retry(
        "github__delete_repo",
        json!({ "repo": "acme/old-prototype" }),
        &first,
    );
    assert!(answer["result"]["isError"].is_null(), "{answer}");

    let second = ask("acme/website");
    browser.fill(
        &format!("#{second} .note"),
        "This one is live. Archive it instead.",
    );
    browser.click(&format!("#{second} .reject"));
    browser.until("document.querySelector('#decided').innerText.includes('Archive it instead')");
    let rejected = status(&second);
    assert_eq!(rejected["status"], "rejected");
    assert_eq!(rejected["note"], "This one is live. Archive it instead.");
    assert_eq!(rejected["decided_by"], "dashboard");

    let third = ask("acme/wbesite-copy");
    browser.click(&format!("#{third} .edit"));
    browser.fill(&format!("#{third} .editor"), "{\"repo\": ");
    browser.click(&format!("#{third} .approve"));
    browser.until(&format!(
        "document.querySelector('#{third} .error').textContent.includes('not valid')"
    ));
    browser.fill(
        &format!("#{third} .editor"),
        "{\"repo\": \"acme/website-copy\", \"n\": 1E400}",
    );
    browser.click(&format!("#{third} .approve"));
    browser.until(&format!("!document.getElementById('{third}')"));
    let text = session.post(&get(&third)).body;
    let edited = r#""arguments":{"repo": "acme/website-copy", "n": 1E400}"#;
    assert!(text.contains(edited), "{text}");
}

fn get(id: &str) -> String {
    let params = json!({ "approval_id": id });
    json!({ "jsonrpc": "2.0", "id": 5, "method": "aerostack/approvals/get", "params": params })
        .to_string()
}

fn ask_guardian(session: &Session<'_>, category: &str, action: &str, risk: &str) -> String {
    let answer = session.request("aerostack/guardian/request", json!({ "category": category, "action": action,
        "risk": risk, "cwd": "/home/dev/shop", "details": "Asked by the agent before it goes on.", "bridge_id": "bridge-a" }));
    assert_eq!(answer["error"]["code"], -32050, "{answer}");
    answer["error"]["data"]["approval_id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

fn guardian(session: &Session<'_>, browser: &Browser) {
    let push = ask_guardian(session, "git_push", "git push --force origin main", "high");
    let wipe = ask_guardian(session, "file_delete", "rm -rf build/", "low");
    browser.until("document.querySelectorAll('#guardian .card').length === 2");
    browser.until("document.querySelector('#guardian .group').textContent === 'Delete files'");
    browser.click(&format!("#{wipe} .approve"));
    browser.until(&format!("!document.getElementById('{wipe}')"));
    browser.fill(&format!("#{push} .note"), "Open a pull request.");
    browser.click(&format!("#{push} .reject"));
    browser.until("document.querySelector('#guardian-section').hidden");
    let status = |id: &str| {
        session.request("aerostack/approvals/get", json!({ "approval_id": id }))["result"]["status"]
            .clone()
    };
    assert_eq!(
        (status(&wipe), status(&push)),
        (json!("approved"), json!("rejected"))
    );
}

fn chat(session: &Session<'_>, browser: &Browser) {
    browser.fill("#chat-text", "How far are you?");
    browser.click("#chat-form button");
    browser.until("document.querySelector('#chat .message.user')?.innerText.includes('How far')");
    let messages = session.request(
        "aerostack/chat/messages",
        json!({ "bridge_id": "bridge-a" }),
    );
    assert_eq!(
        messages["result"]["messages"][0]["text"], "How far are you?",
        "{messages}"
    );
    let text = "Two of three repositories are cleaned up.";
    session.request(
        "aerostack/chat/send",
        json!({ "text": text, "topic": "cleanup", "bridge_id": "bridge-a" }),
    );
    browser.until(
        "document.querySelector('#chat .message.agent')?.innerText.includes('Two of three')",
    );
}

fn pictures(session: &Session<'_>, browser: &Browser) {
    let Ok(dir) = std::env::var("AEROSTACK_SCREENSHOTS") else {
        return;
    };
    let dir = std::path::PathBuf::from(dir);
    std::fs::create_dir_all(&dir).expect("a directory for pictures");
    session.gated("files__delete", json!({ "path": "config/app.toml" }));
    session.gated("github__delete_repo", json!({ "repo": "acme/old-prototype", "options": { "force": true, "keep": [1.0, 12_345] } }));
    ask_guardian(
        session,
        "deploy",
        "kubectl apply -f deploy/production.yaml",
        "critical",
    );
    ask_guardian(
        session,
        "database",
        "psql -c \"UPDATE users SET plan = 'free'\"",
        "high",
    );
    browser.until("document.querySelectorAll('.board .card').length === 4");
    for (width, scheme) in [
        (1280, "light"),
        (1280, "dark"),
        (390, "light"),
        (390, "dark"),
    ] {
        browser.picture(
            &dir.join(format!("dashboard-{width}-{scheme}.png")),
            width,
            scheme,
        );
        let wide = browser.run("return document.documentElement.scrollWidth > innerWidth");
        assert_eq!(
            wide,
            Value::Bool(false),
            "the page scrolls sideways at {width} px"
        );
    }
}
