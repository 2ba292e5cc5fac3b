//! Servers that mean harm, one seed of each kind: floods of pings, `retry`, redirects, tokens that
//! change, replies without end.

use super::clerk::{Clerk, decide, world_of};
use super::floods::{answer, end, limits, open};
use super::frames;
use super::host::{cancel, request};
use super::judge::TOKEN;
use super::random::Random;
use super::script::{End, Event, Framing, Mark, Script};
use super::storm;
use super::workspace::{Act, Desk, HttpRequest, Workspace};
use super::world::{Quiet, Weather, World, config};
use aerostack_gateway::api::config::Limits;
use aerostack_gateway::api::proto::ConnId;
use std::cell::RefCell;
use std::rc::Rc;

const LENGTH: Framing = Framing::Length;

fn world_with(
    kind: &str,
    seed: u64,
    settings: &[(&'static str, &str)],
    limits: Limits,
    workspace: impl Workspace + 'static,
) -> World {
    World::new(
        &format!("{kind}, seed {seed} (AEROSTACK_SIM_SEED={seed})"),
        seed,
        config(settings, limits),
        Box::new(workspace),
        Box::new(Quiet),
    )
}

fn call(world: &mut World, nonce: u64, modern: bool) {
    world.say(&request(&nonce.to_string(), "tools/call", nonce, modern));
}

fn heard(world: &World, nonce: u64) -> Option<&String> {
    let key = format!("\"id\":{nonce},");
    world.judge.heard.iter().find(|line| line.contains(&key))
}

/// All is well again: a call succeeds.
fn must_work(world: &mut World, nonce: u64) {
    call(world, nonce, false);
    world.run_ms(5_000);
    if !heard(world, nonce).is_some_and(|line| line.contains("\"result\"")) {
        let line = heard(world, nonce).cloned();
        world.fail(&format!("all is well, but {nonce}: {line:?}"));
    }
}

/// Pings on an approval's socket, whose answers nobody may read; the decision arrives all the same.
pub(crate) fn pings(seed: u64) {
    let mut random = Random::new(seed ^ 0x9196);
    let (mut world, clerk) = world_of(&[], limits(), Clerk::default());
    world.say(&super::applicant::gated(10, "tools/call", 1, false, false));
    world.run_ms(200);
    world.weather.sockets_stuck = random.chance(60);
    let conns: Vec<ConnId> = clerk.borrow().sockets.keys().copied().collect();
    if conns.is_empty() {
        world.fail("no socket was opened");
    }
    for _ in 0..random.between(20, 60) {
        let payload = vec![b'p'; random.below(126) as usize];
        let count = random.between(1, 60) as usize;
        let bytes = frames::frame(frames::PING, true, &payload).repeat(count);
        let conn = *random.pick(&conns);
        world.serve(ConnId(0), |_, desk| {
            desk.acts.push(Act::Send(conn, bytes, vec![]));
        });
        let ms = random.below(3);
        world.run_ms(ms);
    }
    world.weather.sockets_stuck = false;
    decide(&mut world, &clerk, "\"status\":\"rejected\"");
    world.run_ms(120_000);
    if heard(&world, 10).is_none() {
        world.fail("the decision does not arrive");
    }
    end(&mut world, &mut random);
}

/// Event streams that end at once and ask to be opened again: now, never, and in between.
pub(crate) fn retries(seed: u64) {
    let mut random = Random::new(seed ^ 0x4e74);
    let limits = Limits::default();
    let mut server = Random::new(seed);
    let faithful = random.chance(50);
    let mut ids = 0;
    let mut world = world_with("retries", seed, &[], limits.clone(), {
        move |request: &HttpRequest, desk: &mut Desk<'_>| {
            let opens = |m: &super::message::Message| {
                m.method == "initialize" || m.method.starts_with("notifications/")
            };
            if request.method == "DELETE" || request.message.as_ref().is_some_and(opens) {
                return answer(request, 0, desk);
            }
            desk.ledger.execute(request.nonce());
            ids += u64::from(faithful);
            let retry = *server.pick(&[0, 0, 1, 499, 700, 86_400_001, u64::MAX]);
            let event = Event::new("").id(format!("e{ids}")).retry(retry);
            Script::events("", &[event], server.chance(50), "\n").after(server.below(2_000))
        }
    });
    open(&mut world);
    let calls = random.below(5);
    for nonce in 1..=calls {
        call(&mut world, nonce, false);
    }
    let ms = *random.pick(&[5_000, 60_000, 300_000]);
    world.run_ms(ms);
    let is_get = |request: &&HttpRequest| request.method == "GET";
    let gets = world.ledger.arrived.iter().filter(is_get).count() as u64;
    let floor_ms = limits.reconnect_min.as_millis() as u64;
    let most = (calls + 1) * (world.now_ms() / floor_ms + 2);
    if gets > most {
        world.fail(&format!("{gets} GETs, {most} may be (I8)"));
    }
    end(&mut world, &mut random);
}

/// Redirects, slow ones, in circles, of whatever the gateway sends.
pub(crate) fn redirects(seed: u64) {
    let mut random = Random::new(seed ^ 0x3073);
    let calm = Rc::new(RefCell::new(false));
    let percent = *random.pick(&[20, 60, 90]);
    let slow_us = *random.pick(&[10_000, 12_000_000, 29_000_000]);
    let mut server = Random::new(seed);
    let is_calm = Rc::clone(&calm);
    let workspace = move |request: &HttpRequest, desk: &mut Desk<'_>| {
        let opens = |m: &super::message::Message| m.method == "initialize";
        let opens = request.message.as_ref().is_some_and(opens);
        if *is_calm.borrow() || opens || !server.chance(percent) {
            return answer(request, 0, desk);
        }
        let status = *server.pick(&[307, 308]);
        let headers = format!("Location: /ws/sim/{}\r\n", server.below(3));
        let marks = vec![Mark::Refused];
        Script::response(status, &headers, "", LENGTH, marks).after(server.below(slow_us))
    };
    let mut world = world_with("redirects", seed, &[], limits(), workspace);
    open(&mut world);
    let notice = |n: u64| {
        format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{{\"n\":{n}}}}}")
    };
    for nonce in 1..=random.between(5, 40) {
        match random.below(4) {
            0 => call(&mut world, nonce, false),
            1 => call(&mut world, nonce, true),
            2 => world.say(&cancel(&(nonce - 1).to_string())),
            _ => world.say(&notice(nonce)),
        }
        let ms = random.below(4_000);
        world.run_ms(ms);
    }
    *calm.borrow_mut() = true;
    world.run_ms(120_000);
    let open = storm::waiting(&world);
    if !open.is_empty() {
        world.fail(&format!("never answered although all is well: {open:?}"));
    }
    must_work(&mut world, 900_001);
    end(&mut world, &mut random);
}

/// The token changes: at the workspace first, in the file first, with a file that can not be read.
pub(crate) fn rotation(seed: u64) {
    let mut random = Random::new(seed ^ 0x707);
    let accepted = Rc::new(RefCell::new(TOKEN.to_owned()));
    let known = Rc::clone(&accepted);
    let workspace = move |request: &HttpRequest, desk: &mut Desk<'_>| {
        let right = format!("Bearer {}", known.borrow());
        match request.header("authorization") == Some(right.as_str()) {
            true => answer(request, 0, desk),
            false => Script::response(401, "", "who?", LENGTH, vec![Mark::Refused]),
        }
    };
    let settings = [("AEROSTACK_TOKEN_FILE", "/token")];
    let mut world = world_with("rotation", seed, &settings, limits(), workspace);
    open(&mut world);
    let mut nonce = 0;
    for turn in 1..=random.between(1, 8) {
        let token = format!("{TOKEN}-{turn}");
        let file_first = random.chance(50);
        for step in [file_first, !file_first] {
            match step {
                true => {
                    world.judge.tokens.insert(token.clone());
                    world.token_file = Ok(token.clone());
                }
                false => *accepted.borrow_mut() = token.clone(),
            }
            if random.chance(10) {
                world.token_file = Err("permission denied".to_owned());
            }
            for _ in 0..random.below(5) {
                nonce += 1;
                call(&mut world, nonce, random.chance(30));
                let ms = random.below(300);
                world.run_ms(ms);
            }
        }
        world.judge.tokens.insert(token.clone());
        world.token_file = Ok(token);
        let ms = random.below(20_000);
        world.run_ms(ms);
    }
    world.run_ms(70_000);
    must_work(&mut world, 900_001);
    end(&mut world, &mut random);
}

/// Replies that are large, too large, without end, or stop half-way, beside small ones.
pub(crate) fn replies(seed: u64) {
    let mut random = Random::new(seed ^ 0x4e9);
    let limits = Limits {
        message_max_bytes: 8 << 10,
        held_max_bytes: 24 << 10,
        ..limits()
    };
    let (most, streams) = (limits.message_max_bytes, limits.connections_max as u64);
    let mut server = Random::new(seed);
    let workspace = move |request: &HttpRequest, desk: &mut Desk<'_>| {
        let kind = request.nonce().map_or(0, |nonce| nonce / 1_000);
        match kind {
            1 => answer(request, most - 300, desk),
            2 => answer(request, 2 * most, desk).anonymous(),
            3 => {
                let mut script = answer(request, most - 300, desk);
                let at = server.below(script.bytes.len() as u64) as usize;
                script = script.cut(at, End::Silent);
                script
            }
            4 => {
                let mut script = answer(request, 20 * most, desk).anonymous();
                let len = script.bytes.len();
                script
                    .pauses
                    .extend((0..len).step_by(512).map(|at| (at, 3_000)));
                script
            }
            _ => answer(request, 0, desk),
        }
    };
    let mut world = world_with("replies", seed, &[], limits, workspace);
    open(&mut world);
    world.weather.cuts = 6;
    if random.chance(30) {
        world.weather.stdout_rate = Some(random.between(50, 400));
    }
    let mut stalled = Vec::new();
    for nonce in 1..=random.between(5, 40) {
        let mut kind = *random.pick(&[0, 0, 1, 1, 2, 3, 4]);
        if kind == 3 && stalled.len() as u64 + 2 >= streams {
            kind = 1;
        }
        let nonce = kind * 1_000 + nonce;
        if kind == 3 {
            stalled.push(nonce);
        }
        call(&mut world, nonce, random.chance(30));
        let ms = random.below(200);
        world.run_ms(ms);
    }
    world.run_ms(60_000);
    let open = storm::waiting(&world);
    let small = |(_, _, nonce): &&(String, String, Option<u64>)| *nonce < Some(1_000);
    if let Some(open) = open.iter().find(small) {
        world.fail(&format!("a small reply is held up: {open:?}"));
    }
    for nonce in stalled {
        world.say(&cancel(&nonce.to_string()));
    }
    world.weather = Weather::fair();
    world.unstick_stdout();
    // While what has stopped holds all memory, cancels wait until it gives way.
    world.run_ms(400_000);
    let open = storm::waiting(&world);
    if !open.is_empty() {
        world.fail(&format!("never answered although all is well: {open:?}"));
    }
    must_work(&mut world, 900_001);
    end(&mut world, &mut random);
}
