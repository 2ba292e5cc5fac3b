//! One seed: a storm, perhaps a calm in which everything must come right again, and an end.

use super::chaos::Chaos;
use super::host::{ChaosHost, request};
use super::random::Random;
use super::world::{Weather, World, config};
use aerostack_gateway::api::config::Limits;

/// Runs one seed; returns the hash of all that happened.
pub(crate) fn run(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut world = begin(seed, &mut random);
    world.weather = weather(&mut random);
    let minutes = random.between(1, 60_000);
    if random.chance(60) {
        world.run_ms(60_000);
        calm(&mut world);
    } else {
        world.run_ms(minutes);
    }
    end(&mut world, &mut random);
    world.finish();
    world.transcript_hash()
}

fn begin(seed: u64, random: &mut Random) -> World {
    let mut limits = Limits {
        line_max_bytes: 4_096,
        ..Limits::default()
    };
    if random.chance(50) {
        limits.connections_max = random.between(1, 6) as usize;
        limits.connections_reserve = random.between(1, 4) as usize;
        limits.idle_max = random.between(1, 3) as usize;
    }
    if random.chance(30) {
        limits.requests_max = random.between(2, 12) as usize;
    }
    if random.chance(40) {
        limits.stdout_high_bytes = random.between(100, 4_000) as usize;
    }
    let timeout = random.between(2, 20).to_string();
    let settings: &[(&str, &str)] = match random.chance(25) {
        true => &[("AEROSTACK_REQUEST_TIMEOUT", &timeout)],
        false => &[],
    };
    let faults = *random.pick(&[0, 5, 15, 40]);
    let amnesia = *random.pick(&[0, 0, 3, 10]);
    let chaos = Chaos::new(faults, random.chance(75), random.chance(60), amnesia);
    let host = ChaosHost::new(random, limits.line_max_bytes);
    World::new(
        &format!("seed {seed} (AEROSTACK_SIM_SEED={seed})"),
        seed,
        config(settings, limits),
        Box::new(chaos),
        Box::new(host),
    )
}

pub(crate) fn weather(random: &mut Random) -> Weather {
    let mut weather = Weather {
        connect_us: (100, *random.pick(&[500, 20_000, 400_000])),
        refuse: *random.pick(&[0, 0, 5, 30]),
        latency_us: (50, *random.pick(&[300, 5_000, 80_000])),
        cuts: *random.pick(&[0, 3, 12]),
        breaks: *random.pick(&[0, 0, 4]),
        idle_us: None,
        stdout_rate: None,
        stdout_stuck: false,
        sockets_stuck: false,
    };
    if random.chance(60) {
        weather.idle_us = Some((1_000, *random.pick(&[30_000, 5_000_000])));
    }
    if random.chance(30) {
        weather.stdout_rate = Some(random.between(1, 40));
    }
    weather
}

/// The network and the server are well again: every request gets its answer and the next one works.
fn calm(world: &mut World) {
    world.weather = Weather::fair();
    world.calm();
    world.unstick_stdout();
    world.break_busy();
    for _ in 0..40 {
        world.run_ms(5_000);
        if waiting(world).is_empty() {
            break;
        }
    }
    let open = waiting(world);
    if !open.is_empty() {
        world.fail(&format!("never answered although all is well: {open:?}"));
    }
    // A session that is lost again before is not opened again.
    world.run_ms(Limits::default().reopen_pause.as_millis() as u64);
    // Subscriptions may fill the limit of requests by themselves.
    if world.stdin_is_paused() {
        return;
    }
    for (nonce, modern) in [(900_001, false), (900_002, true)] {
        if !modern && !world.judge.has_session() {
            continue;
        }
        let before = world.judge.heard.len();
        world.say(&request(&nonce.to_string(), "tools/call", nonce, modern));
        for _ in 0..20 {
            world.run_ms(2_000);
            if waiting(world).is_empty() {
                break;
            }
        }
        let good = |line: &String| {
            line.contains(&nonce.to_string())
                && (line.contains("\"result\"") || line.contains("srv:"))
        };
        if !world.judge.heard[before..].iter().any(good) {
            world.fail("a call does not succeed although all is well");
        }
    }
}

/// Requests that should have an answer: a subscription may stay open.
pub(crate) fn waiting(world: &World) -> Vec<(String, String, Option<u64>)> {
    world.judge.unanswered_in_time()
}

pub(crate) fn end(world: &mut World, random: &mut Random) {
    let limits = Limits::default();
    let begun = world.now_ms();
    let drain = match random.below(10) {
        0..5 if !world.stdin_is_paused() => {
            world.close_stdin(0);
            limits.drain
        }
        5 => {
            world.lose_stdout(0);
            std::time::Duration::ZERO
        }
        6 => {
            world.terminate(0);
            world.terminate(random.below(300_000));
            limits.drain_terminated
        }
        _ => {
            world.terminate(0);
            limits.drain_terminated
        }
    };
    let most = (drain + limits.farewell).as_millis() as u64;
    world.run_ms(most + 5);
    match world.exit {
        Some(at) if at <= begun + most + 2 => {}
        at => world.fail(&format!("told to end at {begun} ms, exit at {at:?}")),
    }
}
