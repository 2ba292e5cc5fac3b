//! The question in a storm: nothing but a person's word lets anything happen.

use super::*;
use crate::proto::ws;
use crate::storm::{self, Random, Reply, Storm, TOKEN};

const SEEDS: u64 = 2_000;
const DEADLINE: Duration = Duration::from_secs(120);
const OFFERS: &str = r#""result":{"protocolVersion":"2025-11-25","capabilities":{"experimental":{"aerostack":{"approvals":{},"guardian":{}}}}}"#;

/// The workspace of one seed: what a person will say, and whether it was said.
struct Workspace {
    word: &'static str,
    named: &'static str,
    /// Polls and sockets are answered with "pending" so often.
    undecided: u64,
    wrong: u64,
    /// The word was given away, for the approval that was asked for.
    said: bool,
}

impl Workspace {
    fn new(random: &mut Random, wrong: u64) -> Self {
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

    fn serve(&mut self, random: &mut Random, request: &str) -> Reply {
        if let Some(key) = request.split("Sec-WebSocket-Key: ").nth(1) {
            return self.upgrade(random, key.split('\r').next().unwrap_or_default());
        }
        if random.below(100) < self.wrong {
            return Reply::wrong(random, request);
        }
        let asks = |method: &str| request.contains(&format!("\"method\":\"{method}\""));
        if asks("initialize") {
            return Reply::answer(request, OFFERS);
        }
        if asks("aerostack/guardian/request") {
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
        if asks("aerostack/approvals/get") {
            let state = self.state();
            return Reply::answer(request, &format!(r#""result":{state}"#));
        }
        Reply::accepted()
    }

    fn upgrade(&mut self, random: &mut Random, key: &str) -> Reply {
        let accept = ws::accept_for(key);
        let head = format!(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let mut pieces = vec![(1, head.into_bytes())];
        for _ in 0..random.below(3) {
            let state = self.state();
            let mut frame = vec![0x81, state.len() as u8];
            frame.extend_from_slice(state.as_bytes());
            pieces.push((random.below(20_000), frame));
        }
        let closes = random.below(2) == 0;
        Reply { pieces, closes }
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
