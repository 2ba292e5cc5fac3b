//! A workspace, an agent and a person at the dashboard.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::{Session, Workspace};

/// Enter, as WebDriver names it.
pub(crate) const ENTER: &str = "\u{e007}";
/// Escape.
pub(crate) const ESCAPE: &str = "\u{e00c}";

/// Logs in with the main token.
pub(crate) fn log_in(workspace: &Workspace, browser: &Browser) {
    log_in_with(workspace, browser, workspace.token());
}

pub(crate) fn log_in_with(workspace: &Workspace, browser: &Browser, token: &str) {
    browser.go(workspace.text("dashboard_url"));
    browser.until("document.body.dataset.view === 'login'");
    browser.fill("#token", token);
    browser.click("#login-form button");
    browser.until("document.body.dataset.view === 'board'");
}

/// An agent of a bridge whose process is known.
pub(crate) fn agent<'a>(workspace: &'a Workspace, instance: &str) -> Session<'a> {
    let session = workspace.session("2025-11-25");
    session.heartbeat("bridge-a", instance, "online");
    session
}

/// Calls a gated tool; its card is there when this returns.
pub(crate) fn ask(
    session: &Session<'_>,
    browser: &Browser,
    tool: &str,
    arguments: Value,
) -> String {
    let data = session.gated(tool, arguments);
    let id = data["approval_id"].as_str().expect("an id").to_owned();
    browser.until(&format!("document.getElementById('{id}')"));
    id
}

/// Asks the guardian, as a hook does; its card is there when this returns.
pub(crate) fn ask_guardian(
    session: &Session<'_>,
    browser: &Browser,
    category: &str,
    action: &str,
) -> String {
    let params = json!({ "category": category, "action": action, "cwd": "/home/dev/shop", "host": "claude-code",
        "tool": "Bash", "matched": "a rule", "bridge_id": "bridge-a" });
    guardian(session, browser, params)
}

pub(crate) fn guardian(session: &Session<'_>, browser: &Browser, params: Value) -> String {
    let answer = session.request("aerostack/guardian/request", params);
    let id = answer["error"]["data"]["approval_id"].as_str();
    let id = id
        .unwrap_or_else(|| panic!("no approval: {answer}"))
        .to_owned();
    browser.until(&format!("document.getElementById('{id}')"));
    id
}

/// What the workspace says of an approval; the question is no poll of an agent.
pub(crate) fn status(workspace: &Workspace, id: &str) -> String {
    let approval = workspace.read(&format!("/approvals/{id}"));
    approval["status"].as_str().expect("a status").to_owned()
}

/// Waits until the page shows that an approval is decided.
pub(crate) fn until_decided(browser: &Browser, id: &str) {
    browser.until(&format!(
        "document.querySelector('#{id}').dataset.step === 'done'"
    ));
}

/// The top of an element in the page, in pixels.
pub(crate) fn top(browser: &Browser, id: &str) -> Value {
    browser.run(&format!(
        "return document.getElementById('{id}').getBoundingClientRect().top + scrollY"
    ))
}

/// What an element says.
pub(crate) fn words(browser: &Browser, selector: &str) -> String {
    let text = browser.run(&format!(
        "return document.querySelector({}).innerText",
        json!(selector)
    ));
    text.as_str().unwrap_or_default().to_owned()
}
