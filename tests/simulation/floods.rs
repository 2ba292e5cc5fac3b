//! A host that sends what no host would, faster than anybody reads: one seed.

use super::host::{INITIALIZED, cancel, request};
use super::message::Kind;
use super::random::Random;
use super::script::{End, Framing, Mark, Script};
use super::storm;
use super::workspace::{Desk, HttpRequest, Workspace};
use super::world::{Quiet, Weather, World, config};
use aerostack_gateway::api::config::Limits;

const JSON: &str = "Content-Type: application/json\r\n";
/// Pieces of a pipe, and how many there are.
const PIECE_BYTES: usize = 256;
const PIECES: usize = 80;

/// Small limits: what passes them is a fault, not a matter of time.
pub(crate) fn limits() -> Limits {
    Limits {
        line_max_bytes: 512,
        message_max_bytes: 2_048,
        held_max_bytes: 4_096,
        stdout_high_bytes: 1_024,
        small_reply_bytes: 192,
        requests_max: 64,
        connections_max: 8,
        connections_reserve: 2,
        streams_max: 4,
        approval_sockets_max: 4,
        approval_message_max_bytes: 2_048,
        ..Limits::default()
    }
}

/// A good answer, so many bytes longer than it has to be.
pub(crate) fn answer(request: &HttpRequest, pad: usize, desk: &mut Desk<'_>) -> Script {
    let Some(message) = &request.message else {
        return Script::response(405, "", "", Framing::Length, vec![]);
    };
    if message.kind != Kind::Request {
        return Script::response(202, "", "", Framing::Length, vec![]);
    }
    desk.ledger.execute(message.nonce());
    let mut marks = Vec::new();
    let mut more = format!("\"content\":[],\"pad\":\"{}\"", "x".repeat(pad));
    if message.method == "initialize" {
        let version = "2025-06-18".to_owned();
        more = format!("\"protocolVersion\":\"{version}\",\"capabilities\":{{}}");
        let session = None;
        marks.push(Mark::InitializeResult { session, version });
    }
    if let (Some(nonce), false) = (message.nonce(), message.is_gateways()) {
        marks.push(Mark::Answer(nonce));
    }
    let nonce = message
        .nonce()
        .map_or("null".to_owned(), |nonce| nonce.to_string());
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"_meta\":{{\"sim/nonce\":{nonce}}},{more}}}}}",
        message.id
    );
    Script::response(200, JSON, &body, Framing::Length, marks)
}

/// Opens the session.
pub(crate) fn open(world: &mut World) {
    world.say(&request("0", "initialize", 1_000_000, false));
    world.run_ms(100);
    world.say(INITIALIZED);
    world.run_ms(100);
}

/// The end, by any way; every request has its answer.
pub(crate) fn end(world: &mut World, random: &mut Random) {
    world.weather = Weather::fair();
    world.unstick_stdout();
    world.run_ms(50);
    storm::end(world, random);
    world.finish();
}

/// How the workspace bears it.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Answers,
    /// It takes requests and says nothing, once the session is open.
    Hangs,
    Slow,
}

struct Server {
    manner: Manner,
    random: Random,
}

impl Workspace for Server {
    fn handle(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        let opens = |name: &str| matches!(name, "initialize" | "notifications/initialized");
        let opens = request
            .message
            .as_ref()
            .is_some_and(|message| opens(&message.method));
        match self.manner {
            Manner::Hangs if !opens => Script::nothing(End::Silent),
            Manner::Slow if !opens => {
                let us = self.random.below(2_000_000);
                answer(request, self.random.below(500) as usize, desk).after(us)
            }
            Manner::Answers | Manner::Hangs | Manner::Slow => answer(request, 0, desk),
        }
    }
}

/// What is sent over and over.
#[derive(Clone, Copy, Debug)]
enum Flood {
    NoMessages,
    Duplicates,
    Notices,
    Cancels,
    Batches,
    Requests,
    All,
}

const FLOODS: [Flood; 6] = [
    Flood::NoMessages,
    Flood::Duplicates,
    Flood::Notices,
    Flood::Cancels,
    Flood::Batches,
    Flood::Requests,
];

/// Runs one seed.
pub(crate) fn run(seed: u64) {
    let mut random = Random::new(seed ^ 0xf100d);
    let flood = *random.pick(&[&FLOODS[..], &[Flood::All]].concat());
    let manner = *random.pick(&[Manner::Answers, Manner::Hangs, Manner::Hangs, Manner::Slow]);
    let server = Server {
        manner,
        random: Random::new(seed),
    };
    let mut world = World::new(
        &format!("floods, seed {seed} (AEROSTACK_SIM_SEED={seed}), {flood:?}, {manner:?}"),
        seed,
        config(&[], limits()),
        Box::new(server),
        Box::new(Quiet),
    );
    open(&mut world);
    world.weather.stdout_stuck = random.chance(60);
    if random.chance(30) {
        world.weather.stdout_rate = Some(random.between(1, 40));
    }
    pour(&mut world, flood, &mut random);
    let ms = *random.pick(&[1_000, 20_000, 100_000]);
    world.run_ms(ms);
    if random.chance(50) {
        world.weather = Weather::fair();
        world.unstick_stdout();
        world.run_ms(60_000);
        let open = storm::waiting(&world);
        if !matches!(manner, Manner::Hangs) && !open.is_empty() {
            world.fail(&format!("never answered although all is read: {open:?}"));
        }
    }
    end(&mut world, &mut random);
}

/// The flood, in pieces as a pipe cuts it.
fn pour(world: &mut World, flood: Flood, random: &mut Random) {
    let mut bytes: Vec<u8> = Vec::new();
    let mut nonce = 1;
    while bytes.len() < PIECE_BYTES * PIECES {
        let flood = match flood {
            Flood::All => *random.pick(&FLOODS),
            flood => flood,
        };
        line(flood, &mut nonce, random, &mut bytes);
        bytes.push(b'\n');
    }
    let pause = *random.pick(&[0, 10, 2_000]);
    for (at, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
        world.say_later(at as u64 * pause, piece.to_vec());
    }
}

fn line(flood: Flood, nonce: &mut u64, random: &mut Random, out: &mut Vec<u8>) {
    *nonce += 1;
    let id = nonce.to_string();
    let pad = "n".repeat(random.below(200) as usize);
    let text = match flood {
        Flood::NoMessages => {
            let lines = [
                "7",
                "{oops",
                "[]",
                "{}",
                "\"\u{fffd}\"",
                "[1,",
                "{\"id\":1}",
            ];
            (*random.pick(&lines)).to_owned()
        }
        Flood::Duplicates => request("7", "tools/call", *nonce, false),
        Flood::Notices => match random.chance(50) {
            true => format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/{pad}\"}}"),
            false => {
                format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"result\":{{\"x\":\"{pad}\"}}}}")
            }
        },
        Flood::Cancels => match random.chance(50) {
            true => cancel(&(*nonce - 1).to_string()),
            false => request(&id, "tools/call", *nonce, random.chance(30)),
        },
        Flood::Batches => {
            let ping = request(&id, "ping", *nonce, false);
            let notice = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}".to_owned();
            let member = match random.below(3) {
                0 => "1".to_owned(),
                1 => ping,
                _ => notice,
            };
            let most = 500 / (member.len() as u64 + 1);
            let count = random.between(1, most) as usize;
            format!("[{}]", vec![member; count].join(","))
        }
        Flood::Requests | Flood::All => {
            let methods = ["tools/call", "ping", "tools/list", "resources/read"];
            let method = *random.pick(&methods);
            request(&id, method, *nonce, random.chance(30))
        }
    };
    out.extend_from_slice(text.as_bytes());
}
