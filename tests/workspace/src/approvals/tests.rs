//! The rules of approvals, without a socket.

use super::*;
use crate::raw::raw;
use crate::risk::Risk;
use crate::session::Program;

fn subject(params: &str) -> Subject {
    Subject {
        method: "tools/call".into(),
        tool: Some("t".into()),
        category: None,
        params: RawObject::parse(params).expect("an object"),
        reason: String::new(),
        client: Program::default(),
        agent: Agent::default(),
        token: "local".into(),
        risk: Risk::Unknown,
    }
}

fn yes(params: Option<&str>) -> Decision {
    let params = params.map(|p| RawObject::parse(p).expect("an object"));
    Decision {
        approve: true,
        note: None,
        by: "test".into(),
        params,
    }
}

#[test]
fn one_claim_executes_and_the_others_get_the_record() {
    let approvals = Approvals::default();
    let params = r#"{"name":"t","arguments":{"n":1.0}}"#;
    let id = approvals
        .open(subject(params), 60)
        .expect("nothing to keep");
    let params =
        RawObject::parse(r#"{"arguments":{"n": 1.0},"name":"t","_meta":{}}"#).expect("object");
    assert!(matches!(
        approvals.claim(&id, "tools/call", &params),
        Claim::Pending
    ));
    approvals
        .decide(&id, yes(None), false, false)
        .expect("pending");
    assert!(matches!(
        approvals.claim(&id, "tools/call", &params),
        Claim::Execute
    ));
    assert!(matches!(
        approvals.claim(&id, "tools/call", &params),
        Claim::Running(_)
    ));
    approvals.executed(&id, Ok(raw("done")), false);
    assert!(matches!(
        approvals.claim(&id, "tools/call", &params),
        Claim::Recorded(Ok(_))
    ));
    assert_eq!(approvals.with(&id, |a| a.executions), Some(1));
}

#[test]
fn an_approval_covers_only_what_was_approved() {
    let approvals = Approvals::default();
    let id = approvals
        .open(subject(r#"{"name":"t","arguments":{"n":1}}"#), 60)
        .expect("nothing to keep");
    assert!(
        approvals
            .decide(&id, yes(Some(r#"{"name":"u"}"#)), false, false)
            .is_err()
    );
    approvals
        .decide(
            &id,
            yes(Some(r#"{"name":"t","arguments":{"n":2}}"#)),
            false,
            false,
        )
        .expect("edit");
    let claim =
        |text: &str| approvals.claim(&id, "tools/call", &RawObject::parse(text).expect("object"));
    assert!(matches!(
        claim(r#"{"name":"t","arguments":{"n":1}}"#),
        Claim::Refused(_)
    ));
    assert!(matches!(
        claim(r#"{"name":"t","arguments":{"n":2}}"#),
        Claim::Execute
    ));
}

#[test]
fn what_is_decided_stays_decided() {
    let approvals = Approvals::default();
    let id = approvals.open(subject("{}"), 60).expect("nothing to keep");
    approvals.cancel(&id, None);
    assert!(approvals.decide(&id, yes(None), false, false).is_err());
    assert!(!approvals.expire(&id, true));
    assert_eq!(approvals.with(&id, |a| a.status), Some(Status::Cancelled));
}

/// One approval through an agent's silence: what the page says of it, and when it is forgotten.
#[test]
fn silence_is_told_from_waiting() {
    enum Step {
        SocketOpens,
        SocketGoes,
        Polls,
    }
    use Step::{Polls, SocketGoes, SocketOpens};
    // What happened at 0, what the heartbeats say, after how many ms the agent is taken for gone, and forgotten.
    for (steps, online, gone_ms, lapsed_ms) in [
        (vec![], None, 45_000, 600_000),
        (vec![Polls], None, 45_000, 600_000),
        (vec![SocketOpens, SocketGoes], None, 20_000, 600_000),
        (vec![SocketOpens, SocketGoes, Polls], None, 45_000, 600_000),
        (vec![SocketOpens, SocketGoes], Some(true), 20_000, 600_000),
        (vec![], Some(true), u64::MAX, u64::MAX),
        (vec![SocketOpens], Some(true), u64::MAX, u64::MAX),
        (vec![SocketOpens], None, u64::MAX, u64::MAX),
        (vec![SocketOpens], Some(false), 0, u64::MAX),
        (vec![], Some(false), 0, 600_000),
    ] {
        let begin = 1_000_000;
        let mut approval = Approval::new("apr_1".into(), subject("{}"), begin, 3600);
        for step in &steps {
            match step {
                SocketOpens => approval.askers.socket(true, begin),
                SocketGoes => approval.askers.socket(false, begin),
                Polls => approval.askers.heard(begin),
            }
        }
        for ms in [0, 19_999, 20_000, 44_999, 45_000, 599_999, 600_000] {
            let at = begin + ms;
            let seen = (
                approval.is_abandoned(at, online),
                approval.has_lapsed(at, online),
            );
            let expect = (ms >= gone_ms, ms >= lapsed_ms);
            assert_eq!(seen, expect, "{} steps, {online:?}, {ms} ms", steps.len());
        }
    }
}

#[test]
fn what_became_of_it_has_a_word() {
    let begin = 1_000_000;
    let later = begin + 40_000;
    let new = || Approval::new("apr_1".into(), subject("{}"), begin, 3600);
    let decided = |status| Approval {
        status,
        decided_by: Some("Ada".into()),
        ..new()
    };
    let ran = |outcome: Outcome| Approval {
        outcome: Some(outcome),
        executions: 1,
        ..decided(Status::Approved)
    };
    let mut guardian = decided(Status::Approved);
    guardian.subject.category = Some("deploy".into());
    let heard = Approval {
        delivered: true,
        ..guardian.clone()
    };
    let error = RpcError::params("no");
    for (approval, at, expect) in [
        (new(), later, Fate::Waiting),
        (decided(Status::Approved), begin, Fate::Approved),
        (decided(Status::Approved), later, Fate::AgentGone),
        (decided(Status::Expired), later, Fate::AgentGone),
        (decided(Status::Cancelled), later, Fate::AgentGone),
        (decided(Status::Rejected), later, Fate::Rejected),
        (guardian, later, Fate::AgentGone),
        (heard, later, Fate::Allowed),
        (ran(Ok(raw("x"))), later, Fate::Executed),
        (
            ran(Ok(RawObject::parse(r#"{"isError":true}"#)
                .expect("object")
                .to_raw())),
            later,
            Fate::Failed,
        ),
        (ran(Err(error)), later, Fate::Failed),
        (
            Approval {
                stage: Stage::Running,
                ..decided(Status::Approved)
            },
            later,
            Fate::Running,
        ),
        (
            Approval {
                stage: Stage::Broken,
                ..ran(Ok(raw("x")))
            },
            later,
            Fate::Unknown,
        ),
        (
            Approval {
                status: Status::Expired,
                ..new()
            },
            later,
            Fate::Expired,
        ),
        (
            Approval {
                status: Status::Cancelled,
                ..new()
            },
            later,
            Fate::Cancelled,
        ),
    ] {
        assert_eq!(approval.fate(at, None), expect, "{:?}", approval.status);
    }
}
