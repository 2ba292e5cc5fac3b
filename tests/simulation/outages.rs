//! One seed of outages, built-in tools on: the workspace is away at the start or in mid-session, in
//! every way in which that shows, and comes back.

use super::message::Kind;
use super::random::Random;
use super::script::{End, Framing, Mark, Script};
use super::workspace::{Desk, HttpRequest, Workspace};
use super::world::{Quiet, Weather, World, config};
use aerostack_gateway::api::config::Limits;
use aerostack_gateway::api::proto::CloseCause;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

const JSON: &str = "Content-Type: application/json\r\n";

/// How the workspace is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// No connection can be made.
    Refused,
    /// It takes requests and says nothing.
    Hangs,
    /// Something before it answers.
    Status(u16),
    /// Connections break.
    Breaks,
}

#[derive(Debug, Default)]
struct Outpost {
    away: Option<Away>,
    sessions: BTreeSet<String>,
    /// Sessions ever opened.
    opened: usize,
    beats: usize,
}

type Shared = Rc<RefCell<Outpost>>;

impl Workspace for Shared {
    fn handle(&mut self, request: &HttpRequest, desk: &mut Desk<'_>) -> Script {
        let mut post = self.borrow_mut();
        let length = Framing::Length;
        match post.away {
            None => {}
            Some(Away::Hangs) => return Script::nothing(End::Silent),
            Some(Away::Refused | Away::Breaks) => {
                return Script::nothing(End::Closed(CloseCause::Eof));
            }
            Some(Away::Status(status)) => {
                return Script::response(status, "", "<html>away", length, vec![]);
            }
        }
        let Some(message) = &request.message else {
            return Script::response(405, "", "", length, vec![]);
        };
        let opens = message.method == "initialize";
        let session = request.header("mcp-session-id").unwrap_or_default();
        if !opens && !post.sessions.contains(session) {
            let marks = vec![Mark::Refused];
            return Script::response(404, "Content-Type: text/plain\r\n", "gone", length, marks);
        }
        if message.kind != Kind::Request {
            return Script::response(202, "", "", length, vec![]);
        }
        desk.ledger.execute(message.nonce());
        let mut headers = JSON.to_owned();
        let mut more = "\"content\":[]".to_owned();
        match message.method.as_str() {
            "initialize" => {
                post.opened += 1;
                let session = format!("s{}", post.opened);
                headers += &format!("Mcp-Session-Id: {session}\r\n");
                post.sessions.insert(session);
                more = "\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{},\
                        \"experimental\":{\"aerostack\":{\"guardian\":{},\"heartbeat\":{}}}}"
                    .to_owned();
            }
            "tools/list" => {
                more = "\"tools\":[{\"name\":\"of_workspace\",\"inputSchema\":{}}]".to_owned();
            }
            "aerostack/heartbeat" => post.beats += 1,
            _ => {}
        }
        let nonce = message.nonce();
        let echo = nonce.map_or("null".to_owned(), |nonce| nonce.to_string());
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"_meta\":{{\"sim/nonce\":{echo}}},{more}}}}}",
            message.id
        );
        Script::response(200, &headers, &body, length, vec![])
    }
}

/// The host and the machine around it.
struct Stage {
    world: World,
    post: Shared,
    random: Random,
    nonce: u64,
}

/// Runs one seed; returns the hash of all that happened.
pub(crate) fn run(seed: u64) -> u64 {
    let mut random = Random::new(seed ^ 0x0ff1);
    let post: Shared = Rc::default();
    let settings = [("AEROSTACK_BUILTIN_TOOLS", "on")];
    let mut world = World::new(
        &format!("outages, seed {seed} (AEROSTACK_SIM_SEED={seed})"),
        seed,
        config(&settings, Limits::default()),
        Box::new(Rc::clone(&post)),
        Box::new(Quiet),
    );
    world.judge.local = true;
    let offline = random.chance(70);
    let mut stage = Stage {
        world,
        post,
        random,
        nonce: 0,
    };
    if offline {
        stage.leave();
        let ms = stage.random.below(2_000);
        stage.world.run_ms(ms);
    }
    stage.initialize();
    if offline {
        stage.wait_away();
        stage.come_back(true, true);
    }
    for _ in 0..stage.random.below(4) {
        let ms = stage.random.below(100_000);
        stage.world.run_ms(ms);
        stage.leave();
        stage.wait_away();
        let forgets = stage.random.chance(60);
        stage.come_back(false, forgets);
    }
    let beats = stage.post.borrow().beats;
    stage.world.run_ms(340_000);
    if stage.post.borrow().beats == beats {
        stage.world.fail("no sign of life");
    }
    stage.world.close_stdin(0);
    stage.world.run_ms(5_000);
    if stage.world.exit.is_none() {
        stage.world.fail("it does not end");
    }
    stage.world.finish();
    stage.world.transcript_hash()
}

impl Stage {
    fn leave(&mut self) {
        let ways = [
            Away::Refused,
            Away::Hangs,
            Away::Status(503),
            Away::Status(500),
            Away::Status(502),
            Away::Breaks,
        ];
        let away = *self.random.pick(&ways);
        self.post.borrow_mut().away = Some(away);
        self.world.weather.refuse = if away == Away::Refused { 100 } else { 0 };
        if away != Away::Hangs {
            self.world.break_all();
        }
    }

    fn say(&mut self, method: &str) -> u64 {
        self.nonce += 1;
        let id = self.nonce.to_string();
        self.world
            .say(&super::host::request(&id, method, self.nonce, false));
        self.nonce
    }

    fn answer(&self, id: u64) -> Option<String> {
        let key = format!("\"id\":{id},");
        let lines = self.world.judge.heard.iter();
        lines.rev().find(|line| line.contains(&key)).cloned()
    }

    /// "If the workspace gives no answer within 3 s the gateway answers itself."
    fn initialize(&mut self) {
        let id = self.say("initialize");
        self.world.run_ms(3_500);
        let answer = self.answer(id).unwrap_or_default();
        if !answer.contains("\"result\"") {
            self.world
                .fail(&format!("initialize has no result: {answer:?}"));
        }
        self.world.say(super::host::INITIALIZED);
    }

    /// The host works on; what it asks the gateway itself has an answer.
    fn wait_away(&mut self) {
        let turns = self.random.between(1, 8);
        for _ in 0..turns {
            let ms = match self.random.below(4) {
                0 => self.random.below(600_000),
                _ => self.random.below(20_000),
            };
            self.world.run_ms(ms);
            let methods = ["tools/call", "tools/list", "ping", "resources/list"];
            let method = *self.random.pick(&methods);
            self.say(method);
        }
        if self.random.chance(20) {
            let ms = self.random.between(20_000, 7_200_000);
            self.world.sleep(0, ms);
        }
        self.world.run_ms(200);
    }

    /// It is there again: nothing has to be restarted.
    fn come_back(&mut self, first: bool, forgets: bool) {
        let opened = self.post.borrow().opened;
        let heard = self.world.judge.heard.len();
        self.post.borrow_mut().away = None;
        self.world.weather = Weather::fair();
        if forgets {
            let sessions = std::mem::take(&mut self.post.borrow_mut().sessions);
            self.world.ledger.dead_sessions.extend(sessions);
        }
        if self.random.chance(70) {
            // What hung is reset by whoever stood between.
            self.world.break_busy();
        }
        // The longest pause between two attempts, its jitter, and an attempt that hangs.
        self.world.run_ms(70_000);
        let changed = |line: &String| line.contains("notifications/tools/list_changed");
        if first && !self.world.judge.heard[heard..].iter().any(changed) {
            self.world
                .fail("the host does not hear that its tools have changed");
        }
        self.world.break_busy();
        self.world.run_ms(5_000);
        let call = self.say("tools/call");
        let list = self.say("tools/list");
        self.world.run_ms(5_000);
        for (id, part) in [(call, "\"content\":[]"), (list, "of_workspace")] {
            let answer = self.answer(id).unwrap_or_default();
            if !answer.contains(part) {
                self.world
                    .fail(&format!("all is well, but {id}: {answer:?}"));
            }
        }
        let more = self.post.borrow().opened - opened;
        match (forgets, more) {
            (true, 1) | (false, 0) => {}
            _ => self.world.fail(&format!(
                "{more} sessions were opened, forgotten: {forgets}"
            )),
        }
        let open = self.world.judge.unanswered();
        if !open.is_empty() {
            self.world
                .fail(&format!("never answered although all is well: {open:?}"));
        }
    }
}

/// Answers that the gateway gives by itself while the workspace is away.
pub(crate) fn may_be_local(method: &str) -> bool {
    matches!(method, "initialize" | "ping") || method.ends_with("/list")
}
