//! The engine against a random host, a random network and a random server, on a virtual clock.
//!
//! `cargo test` runs 512 seeds of each storm, 256 of those that mean harm. `AEROSTACK_SIM_SEED=17` runs one seed again,
//! `AEROSTACK_SIM_SEEDS=10000` runs more. A failure names its seed and prints the last events before it.
//!
//! ```text
//! world, network, setting   clock, event queue, pipes, connections; drives the engine as the reactor does
//! judge, witness, consent   the invariants, watched on both sides of the engine; approvals
//! workspace, script, frames what a server is; what it does with one exchange; RFC 6455
//! subject, burden           what a consent is for; bytes that wait, and deadlines
//! host, chaos, storm        a random host, a random server, one seed of both
//! floods, hostile           hosts and servers that mean harm, one seed of each kind
//! applicant, gates, people, consents   calls that need approval, a workspace with people, one seed
//! outages                   a workspace that is away, one seed
//! scenarios, lifetime, decisions, trust, clerk, presence   one rule each, directed
//! ```

#[path = "simulation/applicant.rs"]
mod applicant;
#[path = "simulation/chaos.rs"]
mod chaos;
#[path = "simulation/clerk.rs"]
mod clerk;
#[path = "simulation/consent.rs"]
mod consent;
#[path = "simulation/consents.rs"]
mod consents;
#[path = "simulation/decisions.rs"]
mod decisions;
#[path = "simulation/floods.rs"]
mod floods;
#[path = "simulation/frames.rs"]
mod frames;
#[path = "simulation/gates.rs"]
mod gates;
#[path = "simulation/host.rs"]
mod host;
#[path = "simulation/hostile.rs"]
mod hostile;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/message.rs"]
mod message;
#[path = "simulation/outages.rs"]
mod outages;
#[path = "simulation/presence.rs"]
mod presence;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/scenarios.rs"]
mod scenarios;
#[path = "simulation/script.rs"]
mod script;
#[path = "simulation/storm.rs"]
mod storm;
#[path = "simulation/subject.rs"]
mod subject;
#[path = "simulation/trust.rs"]
mod trust;
#[path = "simulation/workspace.rs"]
mod workspace;
#[path = "simulation/world.rs"]
mod world;

const SEEDS: u64 = 512;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Every second seed: the halves run side by side.
fn seeds(first: u64) {
    if let Some(seed) = variable("AEROSTACK_SIM_SEED") {
        if seed % 2 == first {
            storm::run(seed);
        }
        return;
    }
    let count = variable("AEROSTACK_SIM_SEEDS").unwrap_or(SEEDS);
    (first..count).step_by(2).for_each(|seed| {
        storm::run(seed);
    });
}

#[test]
fn every_even_seed_keeps_the_promises() {
    seeds(0);
}

#[test]
fn every_odd_seed_keeps_the_promises() {
    seeds(1);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..8 {
        assert_eq!(storm::run(seed), storm::run(seed), "seed {seed}");
    }
}

#[test]
fn every_approval_is_kept() {
    if let Some(seed) = variable("AEROSTACK_SIM_SEED") {
        consents::run(seed);
        return;
    }
    let mut total = gates::Tally::default();
    for seed in 0..variable("AEROSTACK_SIM_SEEDS").unwrap_or(SEEDS) {
        let (_, tally) = consents::run(seed);
        total.approvals += tally.approvals;
        total.decided += tally.decided;
        total.executed += tally.executed;
    }
    assert!(total.executed > 0 && total.executed <= total.approvals);
    #[allow(clippy::print_stdout, reason = "what a long run is worth")]
    {
        println!("{total:?}");
    }
}

#[test]
fn every_outage_passes() {
    if let Some(seed) = variable("AEROSTACK_SIM_SEED") {
        outages::run(seed);
        return;
    }
    for seed in 0..variable("AEROSTACK_SIM_SEEDS").unwrap_or(SEEDS) {
        outages::run(seed);
    }
}

/// Runs every seed of a storm that means harm.
fn harm(run: fn(u64)) {
    if let Some(seed) = variable("AEROSTACK_SIM_SEED") {
        return run(seed);
    }
    (0..variable("AEROSTACK_SIM_SEEDS").unwrap_or(SEEDS / 2)).for_each(run);
}

#[test]
fn no_flood_of_a_host_fills_the_memory() {
    harm(floods::run);
}

#[test]
fn no_flood_of_pings_fills_the_memory() {
    harm(hostile::pings);
}

#[test]
fn no_retry_makes_a_busy_client() {
    harm(hostile::retries);
}

#[test]
fn no_redirect_outlasts_a_deadline() {
    harm(hostile::redirects);
}

#[test]
fn every_token_of_a_rotation_is_taken_up() {
    harm(hostile::rotation);
}

#[test]
fn no_reply_fills_the_memory_or_holds_up_others() {
    harm(hostile::replies);
}
