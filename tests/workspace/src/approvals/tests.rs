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
