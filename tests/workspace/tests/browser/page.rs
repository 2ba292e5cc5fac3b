//! How the page looks and reads: risk at a glance, names for screen readers, phones, dark rooms, notifications.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::people::{agent, ask, ask_guardian, guardian, log_in, until_decided, words};
use crate::support::Workspace;

fn start() -> Option<(Browser, Workspace)> {
    let browser = Browser::with_clock()?;
    let workspace = Workspace::start(&["--gate", "*"]);
    log_in(&workspace, &browser);
    Some((browser, workspace))
}

#[test]
fn risk_is_seen_at_a_glance() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let mut colours = Vec::new();
    for (tool, risk) in [
        ("github__list_repos", "Reads"),
        ("github__create_issue", "Changes"),
        ("demo__log", "Unmarked"),
        ("files__delete", "Destructive"),
    ] {
        let id = ask(&session, &browser, tool, json!({}));
        assert_eq!(
            words(&browser, &format!("#{id} .risk")).trim_start_matches("! "),
            risk,
            "{tool}"
        );
        colours.push(browser.run(&format!(
            "return getComputedStyle(document.getElementById('{id}')).borderLeftColor"
        )));
    }
    colours.dedup();
    assert_eq!(colours.len(), 4, "each risk has its colour: {colours:?}");
    for (category, risk) in [
        ("git_push", "Changes"),
        ("database", "Destructive"),
        ("other", "Unmarked"),
    ] {
        let id = ask_guardian(&session, &browser, category, "something");
        assert_eq!(
            words(&browser, &format!("#{id} .risk")).trim_start_matches("! "),
            risk,
            "{category}"
        );
    }
}

#[test]
fn the_exact_operation_is_shown() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let params = json!({ "category": "shell_destructive", "action": "rm -rf ./build\u{202e} && make\u{7}", "cwd": "/home/dev/shop",
        "host": "codex", "tool": "Bash", "matched": "rm -r with -f", "risk": "high",
        "details": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old line\n+new line", "bridge_id": "bridge-a" });
    let id = guardian(&session, &browser, params);
    let card = words(&browser, &format!("#{id}"));
    for part in [
        "Destructive shell command",
        "rm -rf ./build⟨U+202E⟩ && make⟨U+0007⟩",
        "/home/dev/shop",
        "codex",
        "Bash",
        "rm -r with -f",
        "high risk",
        "Claude Code on laptop",
    ] {
        assert!(card.contains(part), "{part} is not in {card}");
    }
    let lines = |id: &str, sign: &str| {
        browser.run(&format!("return [...document.querySelectorAll('#{id} .content .{sign}')].map((s) => s.textContent.trim())"))
    };
    assert_eq!(lines(&id, "add"), json!(["+++ b/x", "+new line"]));
    assert_eq!(lines(&id, "del"), json!(["--- a/x", "-old line"]));

    let write = ask(
        &session,
        &browser,
        "files__write",
        json!({ "path": "notes/a.md", "text": "# Title\n\u{200b}hidden" }),
    );
    let card = words(&browser, &format!("#{write}"));
    for part in [
        "notes/a.md",
        "Content, 2 lines",
        "# Title",
        "⟨U+200B⟩hidden",
    ] {
        assert!(card.contains(part), "{part} is not in {card}");
    }
    let edit = ask(
        &session,
        &browser,
        "demo__raw",
        json!({ "path": "a.rs", "edits": [{ "oldText": "let a = 1;", "newText": "let a = 2;" }], "n": 1.50 }),
    );
    assert_eq!(lines(&edit, "del"), json!(["- let a = 1;"]));
    assert_eq!(lines(&edit, "add"), json!(["+ let a = 2;"]));
    let exact = browser.run(&format!(
        "return document.querySelector('#{edit} .arguments').textContent"
    ));
    assert!(
        exact.as_str().expect("text").contains("\"n\": 1.5"),
        "{exact}"
    );
}

/// Names and roles as a screen reader gets them.
fn names(browser: &Browser, role: &str) -> Vec<String> {
    browser.cdp("Accessibility.enable", json!({}));
    let tree = browser.cdp("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().expect("a tree");
    let fits = nodes
        .iter()
        .filter(|n| n["role"]["value"] == role && n["ignored"] == false);
    fits.map(|n| n["name"]["value"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn everything_has_a_name_for_screen_readers() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let id = ask(
        &session,
        &browser,
        "github__create_issue",
        json!({ "repo": "acme/x", "title": "t" }),
    );
    ask(&session, &browser, "files__delete", json!({ "path": "x" }));
    browser.turn(600);
    let buttons = names(&browser, "button");
    for name in [
        "Approve: github__create_issue",
        "Reject: github__create_issue",
        "Approve for 15 minutes: github__create_issue",
        "Approve: files__delete",
        "Log out",
    ] {
        assert!(buttons.contains(&name.to_owned()), "{name}: {buttons:?}");
    }
    assert!(buttons.iter().all(|n| !n.is_empty()), "{buttons:?}");
    assert!(
        !buttons.iter().any(|n| n.contains("Hold")),
        "a step that is not shown is not read: {buttons:?}"
    );
    let cards = names(&browser, "article");
    assert_eq!(cards, ["github__create_issue", "files__delete"]);
    assert!(names(&browser, "textbox").iter().all(|n| !n.is_empty()));
    // What happens is said, once, where it is listened to.
    browser.click(&format!("#{id} .approve"));
    until_decided(&browser, &id);
    browser
        .until("document.querySelector('#say').textContent === 'Approved: github__create_issue'");
}

/// The contrast of an element's text against what lies behind it, by WCAG.
const CONTRAST: &str = "
    const of = (node) => {
      const numbers = (c) => { const [r, g, b, a = 1] = c.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
      let back = node; while (back && numbers(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
      const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
      const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
      const seen = (c) => { canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
      const [a, b] = [light(seen(getComputedStyle(node).color)), light(seen(getComputedStyle(back ?? document.body).backgroundColor))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    return [...document.querySelectorAll('.card .what, .card .who, .card .risk, .facts dt, .card .shown button, .badge, .state, .count, .sub, .when, .done-text, .live')]
      .filter((n) => n.innerText?.trim() && n.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !n.closest('[data-step=done]'))
      .map((n) => [`${n.className}: ${n.innerText}`, of(n)]).filter(([, ratio]) => ratio < 4.5);";

#[test]
fn it_reads_well_on_a_phone_and_in_the_dark() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let id = ask(
        &session,
        &browser,
        "github__create_issue",
        json!({ "repo": "acme/a-repository-with-a-very-long-name-that-does-not-fit-on-a-phone", "title": "t" }),
    );
    let danger = ask_guardian(
        &session,
        &browser,
        "shell_destructive",
        "find . -name '*.tmp' -delete && docker system prune --all --force --volumes",
    );
    browser.turn(600);
    browser.click(&format!("#{danger} .approve"));
    for width in [1280, 390, 320] {
        for scheme in ["light", "dark"] {
            browser.look(width, scheme);
            browser.until(&format!("innerWidth === {width}"));
            let wide = browser.run("return document.documentElement.scrollWidth > innerWidth");
            assert_eq!(wide, false, "the page scrolls sideways at {width} px");
            let poor = browser.run(CONTRAST);
            assert_eq!(poor, json!([]), "contrast at {width} px, {scheme}");
            let dark = browser.run("return getComputedStyle(document.body).backgroundColor");
            assert_eq!(dark == "rgb(245, 246, 248)", scheme == "light", "{dark}");
        }
    }
    let small = browser.run(&format!(
        "return [...document.querySelectorAll('#{id} .shown button, #{id} .note, #{danger} .shown button, .top button:not(.wide)')]
           .filter((b) => b.offsetParent && b.getBoundingClientRect().height < 44).map((b) => b.className)"
    ));
    assert_eq!(small, json!([]), "a finger needs 44 px");
}

#[test]
fn a_hidden_page_notifies() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    ask(&session, &browser, "demo__log", json!({ "count": 1 }));
    assert_eq!(browser.run("return noted"), json!([]), "it is looked at");
    browser.run("Object.defineProperty(document, 'hidden', { value: true })");
    ask_guardian(&session, &browser, "file_delete", "rm -rf build");
    let expect: Value = json!([["Delete files waits for you", "rm -rf build"]]);
    assert_eq!(browser.run("return noted"), expect);
    browser.until("document.title.startsWith('(2)')");
}
