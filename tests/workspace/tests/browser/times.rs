//! Agents that have gone, a workspace that is stopped, and consents for a while.

use serde_json::json;

use crate::browser::Browser;
use crate::people::{agent, ask, ask_guardian, log_in, log_in_with, status, until_decided, words};
use crate::support::Workspace;

#[test]
fn history_keeps_what_became_of_it() {
    let Some(browser) = Browser::with_clock() else {
        return;
    };
    let workspace = Workspace::start(&["--gate", "*"]);
    log_in(&workspace, &browser);
    let session = agent(&workspace, "one");
    let approve = |id: &str| {
        browser.turn(600);
        browser.click(&format!("#{id} .approve"));
        until_decided(&browser, id);
    };
    let issue = json!({ "repo": "acme/website", "title": "Kept" });
    let executed = ask(&session, &browser, "github__create_issue", issue.clone());
    approve(&executed);
    session.retry("github__create_issue", issue, &executed);
    browser.until(&format!(
        "document.querySelector('#{executed} .done').innerText.includes('It was executed.')"
    ));
    let failing = json!({ "message": "no space left" });
    let failed = ask(&session, &browser, "demo__fail", failing.clone());
    approve(&failed);
    session.retry("demo__fail", failing, &failed);
    let lost = ask(&session, &browser, "demo__add", json!({ "a": 1.0, "b": 2 }));
    approve(&lost);
    browser.until(&format!(
        "document.querySelector('#{lost} .done').innerText.includes('has not taken it up')"
    ));
    let rejected = ask(&session, &browser, "demo__log", json!({}));
    browser.fill(&format!("#{rejected} .note"), "not now");
    browser.turn(600);
    browser.click(&format!("#{rejected} .reject"));
    until_decided(&browser, &rejected);
    session.heartbeat("bridge-a", "one", "offline");
    browser.until(&format!("document.querySelector('#{lost} .done').innerText.includes('never executed: the agent had gone')"));

    let row = |word: &str| {
        let script = format!(
            "const row = [...document.querySelectorAll('#decided li')].find((r) => r.querySelector('.badge').textContent === {});
             row.querySelector('details').open = true; return row.innerText;",
            json!(word)
        );
        let text = browser.run(&script);
        text.as_str()
            .unwrap_or_else(|| panic!("no {word} in the history"))
            .to_owned()
    };
    for (word, all) in [
        (
            "executed",
            [
                "github__create_issue",
                "\"title\": \"Kept\"",
                "by dashboard",
                "\"title\":\"Kept\"",
            ],
        ),
        (
            "failed",
            [
                "demo__fail",
                "no space left",
                "by dashboard",
                "It was executed and failed",
            ],
        ),
        (
            "never executed",
            [
                "demo__add",
                "\"a\": 1.0",
                "by dashboard",
                "the agent had gone",
            ],
        ),
        (
            "rejected",
            [
                "demo__log",
                "“not now”",
                "by dashboard",
                "It was not executed",
            ],
        ),
    ] {
        let text = row(word);
        for part in all
            .into_iter()
            .chain(["Claude Code on laptop", "Decided", "Asked"])
        {
            assert!(text.contains(part), "{word}: {part} is not in {text}");
        }
    }
}

#[test]
fn a_waiting_card_says_that_its_agent_has_gone() {
    let Some(browser) = Browser::with_clock() else {
        return;
    };
    let workspace = Workspace::start(&["--gate", "*"]);
    log_in(&workspace, &browser);
    let session = agent(&workspace, "one");
    let own = ask(&session, &browser, "demo__log", json!({}));
    let other = workspace.session("2025-11-25");
    let hook = ask_guardian(&other, &browser, "file_delete", "rm x");
    browser.until("!document.querySelector('.card.gone')");
    session.heartbeat("bridge-a", "one", "offline");
    browser.until(&format!(
        "document.querySelector('#{own}.gone .state').innerText.includes('The agent has gone')"
    ));
    // A hook has no heartbeat: it has gone when nobody is heard of any more.
    assert_eq!(
        browser.run(&format!(
            "return document.querySelector('#{hook}').classList.contains('gone')"
        )),
        false
    );
    workspace.turn(45_000);
    browser.until(&format!("document.querySelector('#{hook}.gone')"));
    // It is heard of again.
    session.request("aerostack/approvals/get", json!({ "approval_id": hook }));
    workspace.turn(1);
    browser.until(&format!("document.querySelector('#{hook}:not(.gone)')"));
}

#[test]
fn a_stopped_workspace_is_said_to_be_stopped_and_comes_back_by_itself() {
    let Some(browser) = Browser::with_clock() else {
        return;
    };
    let dir = std::env::temp_dir().join(format!("aerostack-stopped-{}", std::process::id()));
    let data = ["--data", dir.to_str().expect("UTF-8"), "--gate", "*"];
    let workspace = Workspace::start(&data);
    log_in(&workspace, &browser);
    let session = agent(&workspace, "one");
    let id = ask(
        &session,
        &browser,
        "github__create_issue",
        json!({ "repo": "acme/x", "title": "t" }),
    );
    browser.turn(600);
    let mark = browser.run("globalThis.sameDocument = true; return sameDocument");
    drop(workspace);
    browser.until("document.body.dataset.live === 'off'");
    assert!(words(&browser, "#stopped").contains("The workspace does not answer."));
    assert_eq!(words(&browser, "#live-text"), "stopped");
    let off = browser.run("return [...document.querySelectorAll('.card .shown button, #chat-form button')].every((b) => b.disabled)");
    assert_eq!(off, true, "every button that decides is off");
    let page = browser.run("return document.body.innerText");
    assert!(!page.as_str().expect("text").contains("Failed to fetch"));

    let workspace = Workspace::start(&data);
    let session = agent(&workspace, "one");
    let later = session.gated("demo__log", json!({}));
    browser.until("(aerostackClock.turn(1500), document.body.dataset.live === 'on')");
    let later = later["approval_id"].as_str().expect("an id");
    browser.until(&format!("document.getElementById('{later}')"));
    assert_eq!(
        browser.run("return globalThis.sameDocument"),
        mark,
        "no reload"
    );
    browser.until("document.querySelector('#stopped').hidden");
    browser.turn(600);
    browser.click(&format!("#{id} .approve"));
    until_decided(&browser, &id);
    assert_eq!(status(&workspace, &id), "approved");
    drop(workspace);
    std::fs::remove_dir_all(dir).ok();
}

/// Nothing is refused, nothing is heard.
#[test]
fn a_workspace_that_hangs_is_taken_for_stopped() {
    let Some(browser) = Browser::with_clock() else {
        return;
    };
    let workspace = Workspace::start(&["--gate", "*"]);
    log_in(&workspace, &browser);
    ask(&agent(&workspace, "one"), &browser, "demo__log", json!({}));
    let signal = |name: &str| {
        let pid = workspace.pid().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.expect("kill runs").success());
    };
    signal("-STOP");
    browser.until("(aerostackClock.turn(1000), document.body.dataset.live === 'off')");
    let off = browser
        .run("return [...document.querySelectorAll('.card button')].every((b) => b.disabled)");
    assert_eq!(off, true);
    signal("-CONT");
    browser.until("(aerostackClock.turn(1000), document.body.dataset.live === 'on')");
    browser.until("[...document.querySelectorAll('.card button')].every((b) => !b.disabled)");
}

#[test]
fn bridges_are_counted_as_they_are_listed() {
    let Some(browser) = Browser::with_clock() else {
        return;
    };
    let workspace = Workspace::start(&[]);
    log_in(&workspace, &browser);
    let session = agent(&workspace, "one");
    session.heartbeat("bridge-b", "two", "online");
    for (listed, elsewhere) in [(2, 0), (1, 1), (0, 2)] {
        browser.until(&format!(
            "document.querySelectorAll('#bridges > li').length === {listed}
             && document.querySelector('#bridges-count').textContent === '{listed}'
             && document.querySelectorAll('#offline-list > li').length === {elsewhere}"
        ));
        let next = if listed == 2 {
            ("bridge-a", "one")
        } else {
            ("bridge-b", "two")
        };
        session.heartbeat(next.0, next.1, "offline");
    }
}

#[test]
fn fifteen_minutes_are_listed_with_their_end_and_can_be_revoked() {
    let Some(browser) = Browser::with_clock() else {
        return;
    };
    let workspace = Workspace::start(&["--gate", "*"]);
    log_in(&workspace, &browser);
    let session = agent(&workspace, "one");
    let issue = json!({ "repo": "acme/website", "title": "t" });
    let id = ask(&session, &browser, "github__create_issue", issue.clone());
    let danger = ask(&session, &browser, "files__delete", json!({ "path": "x" }));
    let offered = |id: &str| {
        browser.run(&format!(
            "return !document.querySelector('#{id} .while').hidden"
        ))
    };
    assert_eq!(
        (offered(&id), offered(&danger)),
        (json!(true), json!(false))
    );
    for category in [
        "file_delete",
        "shell_destructive",
        "deploy",
        "database",
        "config_modify",
    ] {
        let id = ask_guardian(&session, &browser, category, "something");
        assert_eq!(offered(&id), false, "{category}");
    }
    browser.turn(600);
    browser.click(&format!("#{id} .while"));
    let why = words(&browser, &format!("#{id} .sure-why"));
    assert!(
        why.contains("Every call of github__create_issue by this agent, with this token"),
        "{why}"
    );
    assert_eq!(status(&workspace, &id), "pending");
    browser.turn(600);
    browser.click(&format!("#{id} .sure"));
    until_decided(&browser, &id);
    browser
        .until("document.querySelector('#grants li')?.innerText.includes('github__create_issue')");
    let listed = words(&browser, "#grants li");
    assert!(
        listed.contains("until ") && listed.contains("15 min left")
            || listed.contains("14 min left"),
        "{listed}"
    );
    assert!(session.call("github__create_issue", issue.clone())["result"].is_object());
    browser.until("document.querySelector('#grants li').innerText.includes('1 call')");
    browser.turn(600);
    browser.click("#grants button");
    browser.until("document.querySelector('#grants-section').hidden");
    session.gated("github__create_issue", issue);
    let audit = || words(&browser, "#audit");
    browser
        .until("document.querySelector('#audit').innerText.includes('15-minute approval revoked')");
    assert!(
        audit().contains("15-minute approval given")
            && audit().contains("ran under a 15-minute approval")
    );
}

#[test]
fn a_viewer_looks_and_decides_nothing() {
    let Some(browser) = Browser::with_clock() else {
        return;
    };
    let workspace = Workspace::start(&["--gate", "*", "--add-token", "tv=viewer"]);
    log_in_with(
        &workspace,
        &browser,
        workspace.ready["tokens"]["tv"].as_str().expect("a token"),
    );
    let id = ask(&agent(&workspace, "one"), &browser, "demo__log", json!({}));
    browser.turn(600);
    browser.until(&format!(
        "document.querySelector('#{id} .state').innerText.includes('may look and not decide')"
    ));
    let off = browser.run("return [...document.querySelectorAll('.card button, #chat-form button')].every((b) => b.disabled)");
    assert_eq!(off, true);
}
