//! A click decides what the person saw, and nothing else.

use serde_json::json;

use crate::browser::Browser;
use crate::people::{
    ENTER, ESCAPE, agent, ask, ask_guardian, log_in, status, top, until_decided, words,
};
use crate::support::Workspace;

const ISSUE: &str = "github__create_issue";

fn issue(n: u32) -> serde_json::Value {
    json!({ "repo": "acme/website", "title": format!("Issue {n}") })
}

fn start() -> Option<(Browser, Workspace)> {
    let browser = Browser::with_clock()?;
    let workspace = Workspace::start(&["--gate", "*"]);
    log_in(&workspace, &browser);
    Some((browser, workspace))
}

#[test]
fn a_double_click_decides_one_card() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let ids: Vec<_> = (0..3)
        .map(|n| ask(&session, &browser, ISSUE, issue(n)))
        .collect();
    browser.turn(600);
    for pause in [0, 120, 280, 400] {
        let Some(first) = ids.iter().find(|id| status(&workspace, id) == "pending") else {
            panic!("a card was decided that nobody meant");
        };
        let tops: Vec<_> = ids.iter().map(|id| top(&browser, id)).collect();
        browser.point(browser.middle(&format!("#{first} .approve")));
        browser.click_there();
        if pause == 0 {
            until_decided(&browser, first);
            browser.turn(600);
            continue;
        }
        // The second click of a double click, at whatever speed, also when the page has heard of the first.
        browser.turn(pause / 2);
        browser.click_there();
        until_decided(&browser, first);
        browser.turn(pause / 2);
        browser.click_there();
        assert!(words(&browser, &format!("#{first} .done")).contains("Approved"));
        let now: Vec<_> = ids.iter().map(|id| top(&browser, id)).collect();
        assert_eq!(now, tops, "nothing has moved");
        let pending = ids
            .iter()
            .filter(|id| status(&workspace, id) == "pending")
            .count();
        if pending == 1 {
            break;
        }
    }
    assert_eq!(status(&workspace, &ids[2]), "pending");
}

#[test]
fn what_comes_comes_below_and_takes_no_click_at_first() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let mut ids = vec![ask_guardian(&session, &browser, "git_push", "git push")];
    browser.turn(600);
    for n in 0..4 {
        let before: Vec<_> = ids.iter().map(|id| top(&browser, id)).collect();
        let new = if n % 2 == 0 {
            ask(&session, &browser, ISSUE, issue(n))
        } else {
            ask_guardian(&session, &browser, "git_push", "git push --tags")
        };
        let after: Vec<_> = ids.iter().map(|id| top(&browser, id)).collect();
        assert_eq!(after, before, "a new card moved others");
        ids.push(new);
    }
    let order =
        browser.run("return [...document.querySelectorAll('#pending > .card')].map((c) => c.id)");
    assert_eq!(order, json!(ids), "one list, in the order of their coming");
    assert_eq!(words(&browser, "#pending-count"), "5");
    // The last one came just now.
    let last = &ids[4];
    browser.click(&format!("#{last} .approve"));
    assert_eq!(status(&workspace, last), "pending");
    browser.until(&format!(
        "document.querySelector('#{last} .state').textContent.includes('had just come here')"
    ));
    browser.turn(599);
    browser.click(&format!("#{last} .approve"));
    assert_eq!(status(&workspace, last), "pending");
    browser.turn(1);
    browser.click(&format!("#{last} .approve"));
    until_decided(&browser, last);
    assert_eq!(status(&workspace, last), "approved");
}

#[test]
fn decided_cards_stay_and_go_only_when_nothing_points_there() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let first = ask(&session, &browser, ISSUE, issue(1));
    let second = ask(&session, &browser, ISSUE, issue(2));
    browser.turn(600);
    browser.point(browser.middle(&format!("#{first} .reject")));
    browser.click_there();
    until_decided(&browser, &first);
    let place = top(&browser, &second);
    browser.turn(15_000);
    assert_eq!(
        top(&browser, &second),
        place,
        "the pointer is there: nothing moves"
    );
    assert!(words(&browser, &format!("#{first} .done")).contains("Rejected"));
    browser.point((4, 4));
    browser.until(&format!(
        "(aerostackClock.turn(100), !document.getElementById('{first}'))"
    ));
    assert_ne!(top(&browser, &second), place);
    // It has moved: the click that was meant for the place it had decides nothing.
    browser.click(&format!("#{second} .approve"));
    assert_eq!(status(&workspace, &second), "pending");
    browser.turn(600);
    browser.click(&format!("#{second} .approve"));
    until_decided(&browser, &second);
    assert_eq!(status(&workspace, &second), "approved");
}

#[test]
fn a_card_keeps_its_height_from_its_coming_to_its_end() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let id = ask(&session, &browser, "files__delete", json!({ "path": "x" }));
    let height = || {
        browser.run(&format!(
            "return document.getElementById('{id}').offsetHeight"
        ))
    };
    let before = height();
    browser.turn(600);
    browser.click(&format!("#{id} .approve"));
    assert_eq!(height(), before, "asked once more");
    browser.click(&format!("#{id} .back"));
    session.heartbeat("bridge-a", "one", "offline");
    browser.until(&format!(
        "document.getElementById('{id}').classList.contains('gone')"
    ));
    assert_eq!(height(), before, "the agent has gone");
    browser.turn(600);
    browser.click(&format!("#{id} .reject"));
    until_decided(&browser, &id);
    assert_eq!(height(), before, "decided");
}

#[test]
fn what_destroys_takes_a_second_gesture_of_another_kind() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let tool = ask(&session, &browser, "files__delete", json!({ "path": "x" }));
    let hook = ask_guardian(&session, &browser, "file_delete", "rm -rf build");
    browser.turn(600);
    for id in [&tool, &hook] {
        let approve = browser.middle(&format!("#{id} .approve"));
        browser.point(approve);
        for _ in 0..3 {
            browser.click_there();
            browser.turn(700);
        }
        // Clicks do not do it, however many and wherever.
        browser.point(browser.middle(&format!("#{id} .sure")));
        for _ in 0..3 {
            browser.click_there();
            browser.turn(700);
        }
        // Nor does letting go too early.
        browser.button(true);
        browser.turn(899);
        browser.button(false);
        browser.turn(5_000);
        assert_eq!(status(&workspace, id), "pending");
        browser.button(true);
        browser.turn(900);
        browser.button(false);
        until_decided(&browser, id);
        assert_eq!(status(&workspace, id), "approved");
    }
    // For those who cannot hold a button: the word.
    let typed = ask(&session, &browser, "files__delete", json!({ "path": "y" }));
    browser.turn(600);
    browser.click(&format!("#{typed} .approve"));
    browser.turn(600);
    browser.fill(&format!("#{typed} .typed"), &format!("approv{ENTER}"));
    assert_eq!(status(&workspace, &typed), "pending");
    browser.fill(&format!("#{typed} .typed"), &format!("approve{ENTER}"));
    until_decided(&browser, &typed);
    assert_eq!(status(&workspace, &typed), "approved");
}

#[test]
fn keys_ask_once_more() {
    let Some((browser, workspace)) = start() else {
        return;
    };
    let session = agent(&workspace, "one");
    let ids: Vec<_> = (0..3)
        .map(|n| ask(&session, &browser, ISSUE, issue(n)))
        .collect();
    let focused = || browser.run("return document.activeElement.closest('.card')?.id ?? null");
    browser.turn(600);
    // The first key only shows which card is meant.
    browser.keys("a");
    assert_eq!(focused(), json!(ids[0]));
    browser.turn(600);
    browser.keys("j");
    assert_eq!(focused(), json!(ids[1]));
    browser.keys("k");
    assert_eq!(focused(), json!(ids[0]));
    browser.turn(600);
    browser.keys("a");
    browser.until(&format!(
        "document.getElementById('{}').dataset.step === 'confirm'",
        ids[0]
    ));
    browser.keys(ENTER);
    assert_eq!(
        status(&workspace, &ids[0]),
        "pending",
        "too fast to have been meant"
    );
    browser.turn(600);
    browser.keys(ESCAPE);
    browser.until(&format!(
        "document.getElementById('{}').dataset.step === 'ask'",
        ids[0]
    ));
    browser.turn(600);
    browser.keys("a");
    browser.turn(600);
    browser.keys(ENTER);
    until_decided(&browser, &ids[0]);
    // Focus is on the next card, on none of its buttons: Enter again decides nothing.
    browser.until(&format!("document.activeElement.id === '{}'", ids[1]));
    browser.keys(&format!("{ENTER}{ENTER} "));
    browser.turn(600);
    browser.keys("r");
    browser.turn(600);
    browser.keys(ENTER);
    until_decided(&browser, &ids[1]);
    let statuses: Vec<_> = ids.iter().map(|id| status(&workspace, id)).collect();
    assert_eq!(statuses, ["approved", "rejected", "pending"]);
    browser.keys("n");
    browser.keys("jar?");
    let note = browser.run(&format!(
        "return document.querySelector('#{} .note').value",
        ids[2]
    ));
    assert_eq!(note, "jar?", "keys in a field are text");
    browser.keys(ESCAPE);
    browser.keys("?");
    browser.until("document.getElementById('keys').open");
}
