//! One seed of approvals: a storm, a calm in which everyone is answered, and an end.

use super::applicant::Applicant;
use super::gates::{Gates, Manner, Tally};
use super::random::Random;
use super::storm;
use super::world::{World, config};
use aerostack_gateway::api::config::Limits;

/// Runs one seed; returns the hash of all that happened, and what came of the approvals.
pub(crate) fn run(seed: u64) -> (u64, Tally) {
    let mut random = Random::new(seed ^ 0xa44a);
    let manner = manner(&mut random);
    let mut world = begin(seed, manner.clone(), &mut random);
    world.weather = storm::weather(&mut random);
    (world.weather.stdout_rate, world.weather.cuts) = (None, world.weather.cuts.min(3));
    for _ in 0..random.below(4) {
        let ms = random.between(11_000, 600_000);
        world.sleep(random.below(90_000_000), ms);
    }
    if random.chance(65) {
        world.run_ms(random.between(20_000, 90_000));
        calm(&mut world, manner.forgets);
    } else {
        let ms = random.between(1_000, 90_000);
        world.run_ms(ms);
    }
    storm::end(&mut world, &mut random);
    world.finish();
    (world.transcript_hash(), world.workspace.tally())
}

fn manner(random: &mut Random) -> Manner {
    let restarts = random.chance(30);
    Manner {
        at_most_once: random.chance(50),
        gate: *random.pick(&[60, 90, 100]),
        faults: *random.pick(&[0, 0, 5, 15, 30]),
        socket_faults: *random.pick(&[0, 10, 50]),
        socket_refusals: *random.pick(&[0, 0, 20, 60, 100]),
        decide_us: *random.pick(&[2_000_000, 20_000_000, 70_000_000]),
        shares: *random.pick(&[0, 0, 30, 90]),
        nags: *random.pick(&[0, 0, 2, 4]),
        restarts,
        forgets: restarts && random.chance(40),
        status_url: random.chance(20),
        expires: random.chance(30),
        skew_s: *random.pick(&[0, 0, 500_000]),
    }
}

fn begin(seed: u64, manner: Manner, random: &mut Random) -> World {
    let mut limits = Limits::default();
    if random.chance(30) {
        limits.approval_sockets_max = random.between(1, 3) as usize;
    }
    if random.chance(20) {
        limits.connections_max = random.between(2, 6) as usize;
    }
    let mut settings = vec![];
    if manner.forgets || random.chance(10) {
        settings.push(("AEROSTACK_APPROVAL_TIMEOUT", "60"));
    }
    if random.chance(15) {
        settings.push(("AEROSTACK_APPROVAL_WAIT", "9"));
    }
    let (calls, pause_us) = *random.pick(&[(12, 9_000_000), (25, 4_000_000), (40, 300_000)]);
    let modern = random.chance(40);
    let host = Applicant::new(random, modern, calls, pause_us);
    let at_most_once = manner.at_most_once;
    let mut world = World::new(
        &format!("approvals, seed {seed} (AEROSTACK_SIM_SEED={seed})"),
        seed,
        config(&settings, limits),
        Box::new(Gates::new(manner)),
        Box::new(host),
    );
    world.judge.consent.at_most_once = at_most_once;
    world
}

/// The network and the workspace are well again: whoever waits is answered.
fn calm(world: &mut World, forgets: bool) {
    world.weather = super::world::Weather::fair();
    world.calm();
    world.break_busy();
    let steps = if forgets { 60 } else { 30 };
    for _ in 0..steps {
        world.run_ms(5_000);
        if storm::waiting(world).is_empty() {
            return;
        }
    }
    let open = storm::waiting(world);
    world.fail(&format!("never answered although all is well: {open:?}"));
}
