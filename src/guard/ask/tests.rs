//! The question in a storm: nothing but a person's word lets anything happen.

use super::*;
use crate::proto::testing::SplitMix;
use crate::storm::{self, Reply, Storm, TOKEN, asks};

const SEEDS: u64 = 2_000;
const DEADLINE: Duration = Duration::from_secs(120);
const OFFERS: &str = r#""result":{"protocolVersion":"2025-11-25","capabilities":{"experimental":{"aerostack":{"approvals":{},"guardian":{}}}}}"#;

/// The workspace of one seed: what a person will say, and whether it was said.
struct Workspace {
    word: &'static str,
    named: &'static str,
    /// Polls and sockets are answered with "pending" so often.
    undecided: usize,
    wrong: usize,
    /// The word was given away, for the approval that was asked for.
    said: bool,
}

impl Workspace {
    fn new(random: &mut SplitMix, wrong: usize) -> Self {
        let words = [
            "approved",
            "approved",
            "approved",
            "approved",
            "rejected",
            "denied",
            "expired",
            "cancelled",
            "executed",
            "pending",
            "Approved",
            "yes",
            "timeout",
        ];
        Self {
            word: *random.pick::<&'static str>(&words),
            named: *random.pick::<&'static str>(&["apr_1", "apr_1", "apr_1", "apr_2"]),
            undecided: random.below(3),
            wrong,
            said: false,
        }
    }

    fn state(&mut self) -> String {
        let word = match self.undecided {
            0 => self.word,
            _ => "pending",
        };
        self.undecided = self.undecided.saturating_sub(1);
        self.said |= word == "approved" && self.named == "apr_1";
        format!(r#"{{"approval_id":"{}","status":"{word}"}}"#, self.named)
    }

    fn serve(&mut self, random: &mut SplitMix, request: &str) -> Reply {
        if let Some(upgrade) = Reply::upgrade(request) {
            return self.push(random, upgrade);
        }
        if random.below(100) < self.wrong {
            return Reply::wrong(random, request);
        }
        if asks(request, "initialize") {
            return Reply::answer(request, OFFERS);
        }
        if asks(request, "aerostack/guardian/request") {
            if random.below(5) == 0 {
                // Decided at once, by a rule of the workspace.
                self.said |= self.word == "approved";
                let outcome = format!(r#""result":{{"decision":"{}"}}"#, self.word);
                return Reply::answer(request, &outcome);
            }
            return Reply::answer(
                request,
                r#""error":{"code":-32050,"message":"ask","data":{"approval_id":"apr_1","ws_url":"/ws/x/approvals/apr_1/ws"}}"#,
            );
        }
        if asks(request, "aerostack/approvals/get") {
            let state = self.state();
            return Reply::answer(request, &format!(r#""result":{state}"#));
        }
        Reply::accepted()
    }

    /// The state, pushed up to twice.
    fn push(&mut self, random: &mut SplitMix, mut reply: Reply) -> Reply {
        for _ in 0..random.below(3) {
            let state = self.state();
            let mut frame = vec![0x81, state.len() as u8];
            frame.extend_from_slice(state.as_bytes());
            reply.pieces.push((random.below(20_000) as u64, frame));
        }
        reply.closes = random.below(2) == 0;
        reply
    }
}

#[test]
fn nothing_but_an_approval_is_one_whatever_the_network_does() {
    let (mut approved, mut refused, mut away) = (0, 0, 0);
    for seed in 0..SEEDS {
        let harm = [0, 0, 10, 40, 100][(seed % 5) as usize];
        let mut storm = Storm::new(seed, harm);
        let mut workspace = Workspace::new(&mut storm.random, [0, 15][usize::from(harm > 0)]);
        let mut config = storm::config();
        prepare(&mut config, DEADLINE);
        let now = storm.clock();
        let arguments =
            r#"{"category":"file_delete","action":"rm -rf victim","host":"codex","operation":"1:x"}"#.to_owned();
        let mut ask = Ask::new(config, Some(arguments), now.mono + DEADLINE, seed, now);
        let outcome = storm.run(&mut ask, |random, request| workspace.serve(random, request));
        let label = format!("seed {seed}, {} of {}", workspace.word, workspace.named);
        assert!(outcome.took <= DEADLINE, "{label}: {:?}", outcome.took);
        assert_eq!(outcome.stdout, "", "{label}");
        let answer = ask.answer();
        assert!(
            !format!("{answer:?}").contains(TOKEN),
            "{label}: {answer:?}"
        );
        match answer {
            Answer::Approved(_) => {
                assert!(workspace.said, "{label}: nobody said so");
                approved += 1;
            }
            Answer::No(why) => {
                let must = harm == 0 && workspace.said;
                assert!(!must, "{label}: {why}");
                refused += 1;
            }
            Answer::Unreachable(why) => {
                assert!(!storm.connected, "{label}: {why}");
                away += 1;
            }
        }
    }
    assert!(
        approved > SEEDS / 10 && refused > SEEDS / 4 && away > SEEDS / 50,
        "{approved} {refused} {away}"
    );
}

#[test]
fn only_silence_before_anything_was_sent_is_the_network_s() {
    use crate::proto::transport::{Phase, TlsFailure};
    use std::io::ErrorKind;
    let no_name = || CloseCause::NotFound("no such host".to_owned());
    let refused = CloseCause::Io(ErrorKind::ConnectionRefused);
    let reset = CloseCause::Io(ErrorKind::ConnectionReset);
    let table = [
        (Phase::Resolve, no_name(), true),
        (Phase::Resolve, CloseCause::TimedOut, true),
        (Phase::Connect, CloseCause::TimedOut, true),
        (Phase::Connect, refused, true),
        (Phase::Connect, CloseCause::TooManyFiles, false),
        (Phase::Connect, CloseCause::NotLoopback, false),
        (Phase::Proxy, no_name(), false),
        (Phase::Proxy, CloseCause::TimedOut, false),
        (Phase::Proxy, CloseCause::ProxyStatus(407), false),
        (Phase::Tls, CloseCause::TimedOut, true),
        (Phase::Tls, reset.clone(), false),
        (Phase::Tls, CloseCause::Eof, false),
        (
            Phase::Tls,
            CloseCause::Tls(TlsFailure::UnknownIssuer),
            false,
        ),
        (Phase::Open, CloseCause::TimedOut, false),
        (Phase::Open, reset, false),
    ];
    for (phase, cause, expected) in table {
        for sent in [false, true] {
            let cause = cause.clone();
            let close = Close { cause, phase, sent };
            assert_eq!(is_of_the_network(&close), expected && !sent, "{close:?}");
        }
    }
}

#[test]
fn a_decision_in_words() {
    let table = [
        (r#"{"decision":"approved"}"#, "yes: approved"),
        (
            r#"{"decision":"approved","decided_by":"ann","note":"go\non"}"#,
            "yes: approved by ann: go on",
        ),
        (
            r#"{"decision":"approved","decided_by":"","note":""}"#,
            "yes: approved",
        ),
        (
            r#"{"decision":"rejected","decided_by":"ann"}"#,
            "no: rejected by ann",
        ),
        (
            r#"{"decision":"expired","note":"late"}"#,
            "no: expired: late",
        ),
        (
            r#"{"decision":"error","decided_by":"ann","note":"down"}"#,
            "no: down",
        ),
        (r#"{"decision":"Approved"}"#, "no: Approved"),
        (r#"{"decision":true}"#, "no: the workspace gave no decision"),
        ("{}", "no: the workspace gave no decision"),
    ];
    for (structured, expected) in table {
        let said = match decision(&format!(r#"{{"structuredContent":{structured}}}"#)) {
            Answer::Approved(words) => format!("yes: {words}"),
            Answer::No(words) => format!("no: {words}"),
            other => panic!("{structured}: {other:?}"),
        };
        assert_eq!(said, expected, "{structured}");
    }
    assert_eq!(
        decision(r#"{"content":[]}"#),
        Answer::No("the workspace gave no decision".to_owned())
    );
}
