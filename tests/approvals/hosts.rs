//! What hosts do while a call waits: they give up, repeat it, take it back, or leave.

use super::{ECHO, connected, echo, refused, succeeded};
use crate::common::{Gateway, INITIALIZE, INITIALIZED, Setup, Workspace, call, modern};
use aerostack_workspace::approvals::Status;
use rustix::process::Signal;

/// The host's time is over, or a person does not want it any more.
fn cancel(gateway: &mut Gateway, id: &str, reason: &str) {
    gateway.send(&format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"{reason}"}}}}"#
    ));
    // What was said before is done when this is answered.
    gateway.ask(&call("\"after\"", "demo__add", r#"{"a":2,"b":3}"#));
}

fn approvals(workspace: &Workspace) -> usize {
    workspace.state.approvals.each(|_| ()).len()
}

/// "The same tool with the same argument bytes re-attaches", before the decision and after it; nothing
/// is executed before that.
#[test]
fn a_host_that_timed_out_finds_its_approval_again() {
    let by_era: [fn(&str) -> String; 2] = [echo, |id| {
        modern(
            id,
            "tools/call",
            &format!(r#""name":"demo__echo","arguments":{ECHO},"#),
        )
    }];
    for (make, before) in by_era
        .into_iter()
        .flat_map(|make| [(make, true), (make, false)])
    {
        let workspace = Workspace::gated();
        let mut gateway = connected(&workspace);
        gateway.send(&make("1"));
        let id = workspace.one_pending();
        workspace.wait_sockets(2);
        cancel(&mut gateway, "1", "MCP error -32001: Request timed out");
        if before {
            gateway.send(&make("2"));
            workspace.approve(&id);
        } else {
            workspace.approve(&id);
            // The decision has been heard once its socket is closed.
            workspace.wait_sockets(1);
            assert_eq!(workspace.executed(&id), 0, "nobody has asked again");
            gateway.send(&make("2"));
        }
        assert_eq!(succeeded(&gateway.answer("2")), "hello");
        assert_eq!((workspace.executed(&id), approvals(&workspace)), (1, 1));
        // It was used: the next call needs another.
        gateway.send(&make("3"));
        workspace.reject(&workspace.one_pending(), "twice");
        assert!(refused(&gateway.answer("3")).contains("twice"));
        let ended = gateway.finish().code(0);
        assert!(
            ended.lines.iter().all(|line| line.id().is_none()),
            "{ended:?}"
        );
    }
}

/// A rejection reaches the host that asks again, and other arguments are another call.
#[test]
fn only_the_same_call_attaches_to_what_was_decided() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.wait_sockets(2);
    cancel(&mut gateway, "1", "timeout");
    workspace.reject(&id, "never");
    workspace.wait_sockets(1);
    gateway.send(&call("2", "demo__echo", r#"{"text": "hello"}"#));
    let other = workspace.one_pending();
    assert_ne!(other, id);
    workspace.approve(&other);
    assert_eq!(succeeded(&gateway.answer("2")), "hello");
    assert!(refused(&gateway.ask(&echo("3"))).contains("never"));
    assert_eq!(workspace.executed(&id), 0);
    gateway.finish().code(0);
}

/// A person's change of mind withdraws the approval.
#[test]
fn a_plain_cancel_withdraws() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.wait_sockets(2);
    cancel(&mut gateway, "1", "the user pressed escape");
    workspace.wait_status(&id, Status::Cancelled);
    assert!(workspace.requests("notifications/cancelled").is_empty());
    gateway.send(&echo("2"));
    let other = workspace.one_pending();
    workspace.approve(&other);
    assert_eq!(succeeded(&gateway.answer("2")), "hello");
    assert_eq!(
        (workspace.executed(&id), workspace.executed(&other)),
        (0, 1)
    );
    let ended = gateway.finish().code(0);
    assert!(
        ended.lines.iter().all(|line| line.id().is_none()),
        "{ended:?}"
    );
}

/// AEROSTACK_APPROVAL_WAIT: the agent is told to ask again, and does.
#[test]
fn a_limited_wait_is_taken_up_by_the_next_call() {
    let workspace = Workspace::gated();
    let mut gateway = Setup::whole(&workspace)
        .env("AEROSTACK_APPROVAL_WAIT", "1")
        .spawn();
    gateway.initialize();
    gateway.send(&echo("1"));
    let words = refused(&gateway.answer("1"));
    assert!(words.contains("still waiting for approval"), "{words}");
    assert!(
        words.contains("repeat the same call") && !words.contains("NOT executed"),
        "{words}"
    );
    let id = workspace.one_pending();
    gateway.send(&echo("2"));
    workspace.approve(&id);
    assert_eq!(succeeded(&gateway.answer("2")), "hello");
    assert_eq!((workspace.executed(&id), approvals(&workspace)), (1, 1));
    gateway.finish().code(0);
}

/// Hosts that reset their time-out on progress are kept waiting.
#[test]
fn progress_says_where_to_decide() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    for token in ["\"tok\"", "7"] {
        gateway.send(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"demo__echo","arguments":{ECHO},"_meta":{{"progressToken":{token}}}}}}}"#
        ));
        let progress = gateway.message("notifications/progress");
        assert_eq!(progress.at("/params/progressToken").to_string(), token);
        let words = progress.at("/params/message").to_string();
        assert!(
            words.contains("waiting for approval in the dashboard"),
            "{words}"
        );
        assert!(words.contains(&workspace.state.dashboard_url()), "{words}");
        workspace.approve(&workspace.one_pending());
        assert_eq!(succeeded(&gateway.answer("1")), "hello");
    }
    let ended = gateway.finish().code(0);
    assert!(
        ended.lines.iter().all(|line| !line.0.contains("progress")),
        "{ended:?}"
    );
}

/// SIGTERM: the approval is withdrawn, and the host hears what that means.
#[test]
fn sigterm_withdraws_what_waits() {
    let workspace = Workspace::gated();
    let mut gateway = connected(&workspace);
    gateway.send(&echo("1"));
    let id = workspace.one_pending();
    workspace.wait_sockets(2);
    gateway.signal(Signal::TERM);
    let words = refused(&gateway.answer("1"));
    assert!(words.contains("the gateway ended"), "{words}");
    assert!(!words.contains("NOT executed"), "{words}");
    gateway.wait().code(0);
    workspace.wait_status(&id, Status::Cancelled);
    assert_eq!(workspace.sessions(), 0);
    assert_eq!(workspace.executed(&id), 0);
}

/// stdin ends: a decision within the drain time still counts, later the approval is withdrawn.
#[test]
fn the_end_of_stdin_is_waited_out() {
    for decided in [true, false] {
        let workspace = Workspace::gated();
        let limit = if decided { "600" } else { "1" };
        let mut gateway = Setup::whole(&workspace)
            .args(&["--drain-timeout", limit])
            .spawn();
        gateway.initialize();
        gateway.send(&echo("1"));
        let id = workspace.one_pending();
        workspace.wait_sockets(2);
        gateway.close_stdin();
        if decided {
            workspace.approve(&id);
            assert_eq!(succeeded(&gateway.answer("1")), "hello");
        } else {
            let words = refused(&gateway.answer("1"));
            assert!(words.contains("the gateway ended"), "{words}");
            workspace.wait_status(&id, Status::Cancelled);
        }
        gateway.wait().code(0);
        assert_eq!(workspace.executed(&id), u32::from(decided));
    }
}

/// Nobody reads any more: the approval is withdrawn.
#[test]
fn a_host_that_is_gone_withdraws() {
    let workspace = Workspace::gated();
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.write(format!("{INITIALIZE}\n{INITIALIZED}\n{}\n", echo("1")).into_bytes());
    let id = workspace.one_pending();
    workspace.wait_sockets(2);
    drop(gateway.take_stdout());
    // A write is what notices it.
    gateway.send(&call("2", "demo__add", r#"{"a":2,"b":3}"#));
    workspace.wait_status(&id, Status::Cancelled);
    gateway.wait().code(0);
    assert_eq!(workspace.executed(&id), 0);
}

/// A batch waits for its gated member.
#[test]
fn a_batch_waits_for_the_approval_of_its_member() {
    let workspace = Workspace::gated();
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.send(&INITIALIZE.replace("2025-11-25", "2025-03-26"));
    gateway.answer("\"init\"");
    gateway.send(INITIALIZED);
    gateway.send(&format!(
        "[{},{}]",
        echo("1"),
        call("2", "demo__add", r#"{"a":2,"b":3}"#)
    ));
    workspace.approve(&workspace.one_pending());
    let answers = gateway
        .find("the batch", |line| line.0.starts_with('['))
        .json();
    assert_eq!(answers.as_array().map(Vec::len), Some(2), "{answers}");
    assert!(answers.to_string().contains("hello"), "{answers}");
    gateway.finish().code(0);
}
