//! The story of a day: log in, agents, decisions, chat; and the demo as a person sees it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::browser::Browser;
use crate::people::{agent, ask, ask_guardian, log_in, until_decided};
use crate::support::{Session, Workspace};

#[test]
fn the_demo_waits_for_a_click() {
    if let Some(browser) = Browser::demanded() {
        demo(&browser);
    }
}

#[test]
fn a_person_decides_in_the_dashboard() {
    if let Some(browser) = Browser::with_clock() {
        story(&browser);
    }
}

/// `scripts/demo` as a person sees it: the gateway's call waits until Approve is clicked in the browser.
fn demo(browser: &Browser) {
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
    browser.go(&url);
    browser.until("document.body.dataset.view === 'login'");
    browser.fill("#token", &token);
    browser.click("#login-form button");
    browser.until("document.querySelector('#bridges .bridge.on')");
    let approval = url.rsplit('#').next().expect("an approval is named");
    browser.until(&format!("document.getElementById('{approval}')"));
    // It deletes: the click is followed by a held button.
    let steady = format!("#{approval}:not(.moved)");
    browser.until(&format!("document.querySelector('{steady}')"));
    browser.click(&format!("#{approval} .approve"));
    browser.until(&format!(
        "document.querySelector('{steady}[data-step=confirm]')"
    ));
    browser.point(browser.middle(&format!("#{approval} .sure")));
    browser.button(true);
    assert!(after("Approved. The call ran, once: ").contains("acme/site"));
    browser.button(false);
    browser.until(
        "document.querySelector('#offline-list .bridge') || document.querySelector('.live.off')",
    );
    assert!(demo.wait().expect("it ends").success());
}

fn story(browser: &Browser) {
    let workspace = Workspace::start(&[]);
    let session = workspace.session("2025-11-25");
    browser.go(workspace.text("dashboard_url"));
    browser.until("document.body.dataset.view === 'login'");
    browser.fill("#token", "mwt_wrong");
    browser.click("#login-form button");
    browser
        .until("document.querySelector('#login-error').textContent.includes('not the workspace')");
    log_in(&workspace, browser);
    let cookie = browser.run("return document.cookie");
    assert_eq!(cookie, "", "the cookie is HttpOnly");
    presence(&session, browser);
    approvals(&session, browser);
    chat(&session, browser);
    browser.click("#logout");
    browser.until("document.body.dataset.view === 'login'");
}

fn presence(session: &Session<'_>, browser: &Browser) {
    browser.until("!document.querySelector('#bridges-empty').hidden");
    session.heartbeat("bridge-a", "one", "online");
    browser
        .until("document.querySelector('#bridges .bridge.on')?.innerText.includes('Claude Code')");
    session.heartbeat("bridge-a", "one", "offline");
    browser.until("document.querySelector('#offline-list .badge')?.textContent === 'offline'");
    session.heartbeat("bridge-a", "two", "online");
    browser.until("document.querySelectorAll('#bridges .bridge.on').length === 1");
}

fn approvals(session: &Session<'_>, browser: &Browser) {
    let status = |id: &str| {
        session.request("aerostack/approvals/get", json!({ "approval_id": id }))["result"].clone()
    };
    let delete = |repo: &str| {
        ask(
            session,
            browser,
            "github__delete_repo",
            json!({ "repo": repo }),
        )
    };
    let approve = |id: &str| {
        browser.turn(600);
        browser.click(&format!("#{id} .approve"));
        browser.turn(600);
        browser.fill(&format!("#{id} .typed"), "approve\u{e007}");
    };
    let first = delete("acme/old-prototype");
    browser.until(&format!(
        "document.querySelector('#{first} .arguments').textContent.includes('old-prototype')"
    ));
    browser.until("document.title.startsWith('(1)')");
    approve(&first);
    until_decided(browser, &first);
    assert_eq!(status(&first)["status"], "approved");
    let answer = session.retry(
        "github__delete_repo",
        json!({ "repo": "acme/old-prototype" }),
        &first,
    );
    assert!(answer["result"]["isError"].is_null(), "{answer}");

    let second = delete("acme/website");
    browser.turn(600);
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

    let third = delete("acme/wbesite-copy");
    browser.turn(600);
    browser.click(&format!("#{third} .edit"));
    browser.fill(&format!("#{third} .editor"), "{\"repo\": ");
    approve(&third);
    browser.until(&format!(
        "document.querySelector('#{third} .state').textContent.includes('not valid')"
    ));
    browser.fill(
        &format!("#{third} .editor"),
        "{\"repo\": \"acme/website-copy\", \"n\": 1E400}",
    );
    approve(&third);
    until_decided(browser, &third);
    let text = session.post(&get(&third)).body;
    let edited = r#""arguments":{"repo": "acme/website-copy", "n": 1E400}"#;
    assert!(text.contains(edited), "{text}");
}

fn get(id: &str) -> String {
    let params = json!({ "approval_id": id });
    json!({ "jsonrpc": "2.0", "id": 5, "method": "aerostack/approvals/get", "params": params })
        .to_string()
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

/// Pictures of every state, for a person's eyes: AEROSTACK_SCREENSHOTS=DIR.
#[test]
fn pictures_are_taken_where_they_are_wanted() {
    let Ok(dir) = std::env::var("AEROSTACK_SCREENSHOTS") else {
        return;
    };
    let Some(browser) = Browser::with_clock() else {
        return;
    };
    let dir = std::path::PathBuf::from(dir);
    std::fs::create_dir_all(&dir).expect("a directory for pictures");
    let take = |name: &str| {
        for (width, scheme) in [
            (1280, "light"),
            (1280, "dark"),
            (390, "light"),
            (390, "dark"),
        ] {
            let file = dir.join(format!("{name}-{width}-{scheme}.png"));
            browser.picture(&file, width, scheme);
        }
        browser.look(1280, "light");
        browser.until("innerWidth === 1280");
        browser.turn(700);
    };
    let workspace = Workspace::start(&["--gate", "*"]);
    log_in(&workspace, &browser);
    take("empty");
    let session = agent(&workspace, "one");
    let issue = json!({ "repo": "acme/website", "title": "The logo is too small" });
    let first = ask(&session, &browser, "github__create_issue", issue.clone());
    ask(
        &session,
        &browser,
        "files__write",
        json!({ "path": "config/app.toml", "text": "name = \"shop\"\ndebug = true\nport = 8080\n" }),
    );
    let wipe = ask_guardian(
        &session,
        &browser,
        "shell_destructive",
        "rm -rf ./build ./dist && npm run build",
    );
    ask(
        &session,
        &browser,
        "demo__raw",
        json!({ "path": "src/main.rs", "edits": [{ "oldText": "let limit = 10;", "newText": "let limit = 100;" }] }),
    );
    browser.turn(700);
    take("waiting");
    browser.click(&format!("#{first} .while"));
    browser.turn(700);
    browser.click(&format!("#{first} .sure"));
    until_decided(&browser, &first);
    session.retry("github__create_issue", issue, &first);
    session.request(
        "aerostack/chat/send",
        json!({ "text": "Two of three repositories are cleaned up.", "bridge_id": "bridge-a" }),
    );
    workspace.admin(
        "POST",
        "/chat",
        &json!({ "text": "Go on with the third, please." }),
    );
    browser.click(&format!("#{wipe} .approve"));
    browser.turn(700);
    browser.until(&format!(
        "document.querySelector('#{first} .done').innerText.includes('executed')"
    ));
    take("decided");
    session.heartbeat("bridge-a", "one", "offline");
    browser.until("document.querySelector('.card.gone')");
    browser.run("document.querySelectorAll('#decided details, #offline').forEach((d) => { d.open = true; })");
    take("gone");
    drop(workspace);
    browser.until("document.body.dataset.live === 'off'");
    take("stopped");
}
