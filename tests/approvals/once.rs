//! Exactly once: connections break at every step, and the call is executed once at most.

use super::{connected, echo, succeeded};
use crate::common::{Workspace, call};
use serde_json::{Value, json};

/// The workspace promised at most one execution: a retry whose answer is lost is repeated, and the
/// recorded outcome is the answer.
#[test]
fn a_lost_answer_to_the_retry_is_fetched_again() {
    for fault in [
        json!({"kind": "reset"}),
        json!({"kind": "reset", "execute": true}),
        json!({"kind": "reset", "execute": true, "count": 3}),
        json!({"kind": "truncate", "bytes": 10}),
        json!({"kind": "half_chunk", "bytes": 10}),
        json!({"kind": "status", "status": 502, "execute": true}),
        json!({"kind": "status", "status": 503}),
        json!({"kind": "close_on_next"}),
    ] {
        let workspace = Workspace::gated();
        let mut gateway = connected(&workspace);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        on_calls(&workspace, &fault);
        workspace.approve(&id);
        assert_eq!(succeeded(&gateway.answer("1")), "hello", "{fault}");
        assert_eq!(workspace.executed(&id), 1, "{fault}");
        assert_eq!(workspace.executions("demo__echo"), 1, "{fault}");
        gateway.finish().code(0);
    }
}

fn on_calls(workspace: &Workspace, fault: &Value) {
    let mut fault = fault.clone();
    fault["method"] = json!("tools/call");
    workspace.fault(fault);
}

/// Without the promise the retry leaves once: a lost answer is an error that says so.
#[test]
fn without_the_promise_a_retry_leaves_once() {
    for fault in [
        json!({"kind": "reset", "execute": true}),
        json!({"kind": "reset"}),
        json!({"kind": "truncate", "bytes": 10}),
        json!({"kind": "status", "status": 502, "execute": true}),
    ] {
        let workspace = Workspace::gated();
        workspace.set(json!({"at_most_once": false}));
        let mut gateway = connected(&workspace);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        on_calls(&workspace, &fault);
        workspace.approve(&id);
        let error = gateway.answer("1");
        assert_eq!(error.at("/error/data/executed"), "unknown", "{error:?}");
        assert_eq!(workspace.requests("tools/call").len(), 2, "{fault}");
        assert!(workspace.executed(&id) <= 1);
        gateway.finish().code(0);
    }
}

/// The answer that asks for approval is lost: the host hears that the call may have run, and an
/// approval that nobody waits for executes nothing.
#[test]
fn a_lost_request_for_approval_executes_nothing() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    on_calls(&workspace, &json!({"kind": "reset", "execute": true}));
    gateway.send(&echo("1"));
    let error = gateway.answer("1");
    assert_eq!(error.at("/error/data/executed"), "unknown", "{error:?}");
    let id = workspace.one_pending();
    workspace.approve(&id);
    let sum = gateway.ask(&call("2", "demo__add", r#"{"a":2,"b":3}"#));
    assert_eq!(sum.at("/result/structuredContent/sum"), 5.0);
    gateway.finish().code(0);
    assert_eq!(workspace.executions("demo__echo"), 0);
}

/// Everything is cut before and after each step, and the session is forgotten as well.
#[test]
fn cut_at_every_step_it_is_executed_once() {
    for (step, forget) in (0..3).flat_map(|step| [(step, false), (step, true)]) {
        let workspace = Workspace::gated();
        let mut gateway = connected(&workspace);
        let cut = |at: usize| {
            if at == step {
                if forget {
                    workspace.state.end_sessions();
                }
                workspace.reset_connections();
            }
        };
        workspace.wait_sockets(1);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        workspace.wait_sockets(2);
        cut(0);
        workspace.set(json!({"hold_decisions": true}));
        workspace.approve(&id);
        cut(1);
        workspace.inside(|| workspace.state.release_decisions());
        cut(2);
        let what = format!("step {step}, session forgotten: {forget}");
        assert_eq!(succeeded(&gateway.answer("1")), "hello", "{what}");
        assert_eq!(workspace.executed(&id), 1, "{what}");
        assert_eq!(workspace.executions("demo__echo"), 1);
        gateway.finish().code(0);
    }
}

/// The same with both ways of execution: the workspace executes, and every push is lost.
#[test]
fn an_executed_outcome_survives_lost_pushes() {
    let workspace = Workspace::gated();
    workspace.set(json!({"approval_mode": "executed"}));
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.wait_sockets(2);
    workspace.set(json!({"upgrades": "forbidden"}));
    workspace.fault(json!({"kind": "reset", "method": "aerostack/approvals/get"}));
    workspace.reset_connections();
    workspace.approve(&id);
    assert_eq!(succeeded(&gateway.answer("1")), "hello");
    assert_eq!(workspace.executed(&id), 1);
    assert_eq!(workspace.requests("tools/call").len(), 1);
    gateway.finish().code(0);
}

/// The session expires while the call waits: the approval goes on in the next one.
#[test]
fn the_session_may_expire_while_a_call_waits() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.wait_sockets(2);
    assert_eq!(workspace.state.end_sessions(), 1);
    workspace.approve(&id);
    assert_eq!(succeeded(&gateway.answer("1")), "hello");
    assert_eq!(workspace.executed(&id), 1);
    assert_eq!(workspace.requests("initialize").len(), 2);
    gateway.finish().code(0);
}

/// The workspace is gone for a while, and somebody decides while it is.
#[test]
fn an_outage_in_between_delays_the_decision_only() {
    use aerostack_workspace::settings::Outage;
    for outage in [Outage::Refuse, Outage::Unavailable] {
        let workspace = Workspace::gated();
        let mut gateway = connected(&workspace);
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        workspace.wait_sockets(2);
        workspace.outage(outage);
        workspace.state.end_sessions();
        workspace.reset_connections();
        workspace.approve(&id);
        // It has been missed before it is back: by new connections, or by requests on one of them.
        let attempts = |state: &aerostack_workspace::state::Workspace| {
            state.traffic.connections() + state.traffic.seen(0, |_| true).len() as u64
        };
        let before = attempts(&workspace.state);
        workspace.wait("an attempt", |state| {
            (attempts(state) > before + 2).then_some(())
        });
        workspace.outage(Outage::None);
        assert_eq!(succeeded(&gateway.answer("1")), "hello", "{outage:?}");
        assert_eq!(workspace.executed(&id), 1);
        gateway.finish().code(0);
    }
}
