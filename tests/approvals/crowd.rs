//! Many approvals at once: bounded sockets, each decided correctly, other traffic unaffected.

use super::{connected, refused, succeeded};
use crate::common::{Workspace, call};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CROWD: usize = 200;

/// 200 calls wait at once and are decided in a random order, while connections break and other calls
/// come and go.
#[test]
fn two_hundred_approvals_are_each_decided_correctly() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    for n in 0..CROWD {
        let arguments = format!(r#"{{"text":"call {n}"}}"#);
        gateway.send(&call(&n.to_string(), "demo__echo", &arguments));
    }
    let ids = workspace.pending(CROWD);
    let text_of = |id: &String| {
        let params = workspace
            .state
            .approvals
            .with(id, |a| a.subject.params.to_raw());
        let params: Value = serde_json::from_str(params.expect("it is known").get()).expect("JSON");
        params["arguments"]["text"]
            .as_str()
            .expect("text")
            .to_owned()
    };
    let by_text: BTreeMap<String, String> =
        ids.iter().map(|id| (text_of(id), id.clone())).collect();
    assert_eq!(by_text.len(), CROWD, "one approval for each call");
    // "Bounded sockets (limit in the table; beyond it the poll serves)", and the chat's.
    workspace.wait_sockets(64 + 1);
    for fault in [
        json!({"kind": "reset", "method": "tools/call", "skip": 3, "count": 10}),
        json!({"kind": "reset", "method": "tools/call", "skip": 20, "count": 10, "execute": true}),
        json!({"kind": "truncate", "bytes": 9, "method": "tools/call", "skip": 50, "count": 5}),
        json!({"kind": "reset", "http": "WS", "count": 7}),
    ] {
        let mut fault: Value = fault;
        if fault["method"] == "tools/call" {
            fault["tool"] = json!("demo__echo");
        }
        workspace.fault(fault);
    }
    let mut order = ids.clone();
    shuffle(&mut order);
    for (at, id) in order.iter().enumerate() {
        if decides(&text_of(id)) {
            workspace.approve(id);
        } else {
            workspace.reject(id, &format!("note for {}", text_of(id)));
        }
        if at % 20 == 0 {
            let sum = gateway.ask(&call(
                &format!("\"s{at}\""),
                "demo__add",
                r#"{"a":2,"b":3}"#,
            ));
            assert_eq!(sum.at("/result/structuredContent/sum"), 5.0);
        }
    }
    for n in 0..CROWD {
        let text = format!("call {n}");
        let answer = gateway.answer(&n.to_string());
        let id = &by_text[&text];
        if decides(&text) {
            assert_eq!(succeeded(&answer), text);
            assert_eq!(workspace.executed(id), 1, "{text}");
        } else {
            assert!(
                refused(&answer).contains(&format!("note for {text}")),
                "{answer:?}"
            );
            assert_eq!(workspace.executed(id), 0, "{text}");
        }
    }
    let ended = gateway.finish().code(0);
    assert!(
        ended.lines.iter().all(|line| line.id().is_none()),
        "{ended:?}"
    );
}

/// Every third is rejected.
fn decides(text: &str) -> bool {
    let n: usize = text["call ".len()..].parse().expect("a number");
    !n.is_multiple_of(3)
}

/// An order that no rule of the gateway follows, the same in each run.
fn shuffle<T>(items: &mut [T]) {
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for at in (1..items.len()).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let other = (random >> 33) as usize % (at + 1);
        items.swap(at, other);
    }
}
