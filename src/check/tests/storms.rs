//! The diagnosis in a storm: it ends in time, and says that all is well only where it was.

use super::super::TOTAL;
use super::*;
use crate::proto::testing::SplitMix;
use crate::storm::{self, Reply, Storm, TOKEN, asks};

const SEEDS: u64 = 2_000;
const OFFERS: &str = r#""result":{"protocolVersion":"2025-11-25","capabilities":{"experimental":{"aerostack":{"approvals":{},"guardian":{},"heartbeat":{}}}}}"#;

/// What was answered as it should be.
#[derive(Default)]
struct Good {
    session: bool,
    tools: bool,
}

fn serve(random: &mut SplitMix, request: &str, wrong: usize, good: &mut Good) -> Reply {
    if let Some(upgrade) = Reply::upgrade(request) {
        return upgrade;
    }
    if random.below(100) < wrong {
        return Reply::wrong(random, request);
    }
    if asks(request, "initialize") {
        good.session = true;
        return Reply::answer(request, OFFERS);
    }
    if asks(request, "server/discover") {
        return Reply::answer(request, r#""error":{"code":-32601,"message":"no"}"#);
    }
    if asks(request, "tools/list") {
        good.tools = true;
        return Reply::answer(request, r#""result":{"tools":[{}]}"#);
    }
    if asks(request, "aerostack/heartbeat") {
        return Reply::answer(request, r#""result":{}"#);
    }
    Reply::accepted()
}

#[test]
fn it_ends_in_time_and_passes_only_what_was_answered() {
    let (mut passed, mut failed) = (0, 0);
    for seed in 0..SEEDS {
        let (harm, wrong) = [(0, 0), (0, 20), (10, 0), (30, 10), (100, 0)][(seed % 5) as usize];
        let mut storm = Storm::new(seed, harm);
        let now = storm.clock();
        let style = Style {
            json: false,
            emoji: false,
            colour: false,
        };
        let mut check = Check::new(storm::config(), None, style, seed, now);
        let mut good = Good::default();
        let outcome = storm.run(&mut check, |random, request| {
            serve(random, request, wrong, &mut good)
        });
        let report = outcome.stdout;
        assert!(
            outcome.took <= TOTAL + Duration::from_millis(500),
            "seed {seed}: {:?}",
            outcome.took
        );
        assert!(!report.contains(TOKEN), "seed {seed}: {report}");
        assert!(report.ends_with('\n'), "seed {seed}: {report}");
        let all_is_well = report.contains("All checks passed");
        assert_eq!(all_is_well, outcome.code == 0, "seed {seed}: {report}");
        match outcome.code {
            0 => {
                assert!(good.session && good.tools, "seed {seed}: {report}");
                passed += 1;
            }
            _ => {
                assert!(harm + wrong > 0, "seed {seed}: {report}");
                failed += 1;
            }
        }
    }
    assert!(
        passed > SEEDS / 5 && failed > SEEDS / 5,
        "{passed} {failed}"
    );
}
