//! Channels alone, over the HTTP client, on a virtual clock: a server that opens, refuses, is lost,
//! falls silent, sleeps.

mod turns;

use super::*;
use crate::bridge::Output;
use crate::bridge::context::Timer as AnyTimer;
use crate::bridge::testing::{self, context};
use crate::proto::transport::{Close, CloseCause, ConnId, Phase};
use crate::proto::ws;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the server does with an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// It says yes.
    Opens,
    /// It answers with this status.
    Refuses(u16),
    /// It says nothing.
    Silent,
    /// It can not be reached.
    Away,
}

/// Channels and their client, the clock, and a server.
struct Desk {
    ctx: Context,
    http: Http,
    channels: Channels,
    server: Server,
    /// What GET of a status URL is answered; `None`: nothing.
    status: Option<(u16, &'static str)>,
    /// Bytes of WebSockets are taken from us.
    takes: bool,
    began: Instant,
    /// By path: the connection of its last request, and the key of an upgrade.
    conns: BTreeMap<String, (ConnId, Option<String>)>,
    /// What was seen, and when, in milliseconds.
    seen: Vec<(u64, String)>,
}

fn approval(number: u64) -> Subject {
    Subject::Approval(ApprovalKey(number))
}

fn name(subject: Subject) -> String {
    match subject {
        Subject::Approval(ApprovalKey(number)) => number.to_string(),
        Subject::Chat => "chat".to_owned(),
    }
}

impl Desk {
    fn new(server: Server) -> Self {
        let ctx = context(&[]);
        Self {
            http: Http::new(ctx.config()),
            channels: Channels::new(),
            server,
            status: None,
            takes: true,
            began: ctx.now(),
            conns: BTreeMap::new(),
            seen: Vec::new(),
            ctx,
        }
    }

    /// Watches a subject at `/w/NAME`.
    fn open(&mut self, subject: Subject, status_url: Option<&str>) {
        let own = self.ctx.workspace().clone();
        let url = own
            .resolve(&format!("/w/{}", name(subject)))
            .expect("a URL");
        let status_url = status_url.map(|url| own.resolve(url).expect("a URL"));
        let (ctx, http) = (&mut self.ctx, &mut self.http);
        self.channels.open(ctx, http, subject, url, status_url);
        self.settle();
    }

    fn close(&mut self, subject: Subject) {
        self.channels.close(&mut self.ctx, &mut self.http, subject);
        self.settle();
    }

    fn see(&mut self, what: String) {
        let at = self.ctx.now() - self.began;
        self.seen.push((at.as_millis() as u64, what));
    }

    /// What was seen since the last look.
    fn looked(&mut self) -> Vec<String> {
        self.seen.drain(..).map(|(_, what)| what).collect()
    }

    /// Lets seconds pass.
    fn pass(&mut self, seconds: u64) {
        let mut ctx = std::mem::replace(&mut self.ctx, context(&[]));
        testing::pass(&mut ctx, Duration::from_secs(seconds), |ctx, timer| {
            std::mem::swap(ctx, &mut self.ctx);
            match timer {
                AnyTimer::Extension(extension::Timer::Channel(timer)) => {
                    self.channels
                        .handle_timer(&mut self.ctx, &mut self.http, timer);
                }
                AnyTimer::Http(timer) => self.http.handle_timer(&mut self.ctx, timer),
                timer => panic!("{timer:?} is none of this machine"),
            }
            self.settle();
            std::mem::swap(ctx, &mut self.ctx);
        });
        self.ctx = ctx;
        self.settle();
    }

    /// Carries everything until nothing moves.
    fn settle(&mut self) {
        loop {
            if self.http.take_back() {
                self.channels.hurry(&mut self.ctx);
            }
            self.channels.settle(&mut self.ctx, &mut self.http);
            self.http.settle(&mut self.ctx);
            if let Some(output) = self.ctx.pop_output() {
                self.output(output);
            } else if let Some(http::Event { id, what, .. }) = self.http.poll_event() {
                let (ctx, http) = (&mut self.ctx, &mut self.http);
                self.channels.handle_exchange(ctx, http, id, what);
            } else if let Some(event) = self.channels.poll_event() {
                self.event(event);
            } else {
                return;
            }
        }
    }

    /// A turn is taken, and what it asks for comes at once.
    fn event(&mut self, event: Event) {
        match event {
            Event::Pushed(subject, text) => {
                let text = String::from_utf8(text).expect("text");
                self.see(format!("{} is told {text}", name(subject)));
            }
            Event::Turn(Job::Poll(subject)) => {
                self.see(format!("poll {}", name(subject)));
                self.channels.polled(&mut self.ctx, subject);
            }
            Event::Turn(Job::Heartbeat) => self.see("heartbeat".to_owned()),
            Event::Read(key, body) => {
                let subject = Subject::Approval(key);
                let body = body.map(|body| String::from_utf8(body).expect("text"));
                self.see(format!("{} is read: {body:?}", name(subject)));
                self.channels.polled(&mut self.ctx, subject);
            }
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Connect(conn, _) if self.server == Server::Away => {
                let (cause, phase, sent) = (CloseCause::Eof, Phase::Connect, false);
                let close = Close { cause, phase, sent };
                self.http.handle_closed(&mut self.ctx, conn, close);
            }
            Output::Connect(conn, _) => self.http.handle_connected(&mut self.ctx, conn),
            Output::Transmit(conn, bytes) if bytes.starts_with(b"GET ") => {
                self.http.handle_sent(conn);
                self.requested(conn, &String::from_utf8_lossy(&bytes));
            }
            Output::Transmit(conn, bytes) => {
                for words in frames(&bytes) {
                    self.see(format!("{} {words}", self.path_of(conn)));
                }
                if self.takes {
                    self.http.handle_sent(conn);
                }
            }
            Output::Close(conn) => {
                if let Some((path, _)) = self.conns.iter().find(|(_, (of, _))| *of == conn) {
                    let path = path.clone();
                    self.conns.remove(&path);
                    self.see(format!("{path} is hung up"));
                }
            }
            Output::Log(..) => {}
            output => panic!("{output:?}"),
        }
    }

    fn path_of(&self, conn: ConnId) -> &str {
        let found = self.conns.iter().find(|(_, (of, _))| *of == conn);
        found.map_or("nobody", |(path, _)| path)
    }

    fn requested(&mut self, conn: ConnId, head: &str) {
        let path = head.split(' ').nth(1).expect("a path").to_owned();
        assert!(
            head.contains("\r\nAuthorization: Bearer mwt_T0P-S3CRET\r\n"),
            "{head}"
        );
        let key = head.split("Sec-WebSocket-Key: ").nth(1);
        let key = key
            .and_then(|rest| rest.split('\r').next())
            .map(str::to_owned);
        self.see(format!("GET {path}"));
        let upgrade = key.is_some();
        self.conns.retain(|_, (of, _)| *of != conn);
        self.conns.insert(path.clone(), (conn, key));
        let answer = match (upgrade, self.server, self.status) {
            (true, Server::Opens, _) => return self.accept(&path),
            (true, Server::Silent | Server::Away, _) | (false, _, None) => return,
            (true, Server::Refuses(status), _) => (status, ""),
            (false, _, Some(answer)) => answer,
        };
        let (status, body) = answer;
        let size = body.len();
        self.receive(
            &path,
            format!("HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n\r\n{body}").as_bytes(),
        );
    }

    fn accept(&mut self, path: &str) {
        let (_, key) = &self.conns[path];
        let accept = ws::accept_for(key.as_deref().expect("an upgrade"));
        let head = format!(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.receive(path, head.as_bytes());
    }

    /// Bytes of the server, on the connection of this path.
    fn receive(&mut self, path: &str, mut bytes: &[u8]) {
        let conn = self.conns[path].0;
        while !bytes.is_empty() {
            self.http.handle_received(&mut self.ctx, conn, &mut bytes);
            self.settle();
        }
    }

    /// The server's side of the connection is gone.
    fn lose(&mut self, path: &str) {
        let (conn, _) = self.conns.remove(path).expect("a connection");
        let (cause, phase, sent) = (CloseCause::Eof, Phase::Open, true);
        let close = Close { cause, phase, sent };
        self.http.handle_closed(&mut self.ctx, conn, close);
        self.settle();
    }

    /// Milliseconds between the sights of this.
    fn pauses(&self, what: &str) -> Vec<u64> {
        let at: Vec<u64> = self.times(what);
        at.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn times(&self, what: &str) -> Vec<u64> {
        let same = self.seen.iter().filter(|(_, seen)| seen == what);
        same.map(|(at, _)| *at).collect()
    }
}

/// Frames of ours in words: they are masked, and none is long.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    while let [kind, size, a, b, c, d, rest @ ..] = bytes {
        assert_eq!(size & 0x80, 0x80, "masked");
        let (payload, rest) = rest.split_at((size & 0x7f) as usize);
        let mask = [a, b, c, d].into_iter().cycle();
        let payload: Vec<u8> = payload
            .iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        words.push(match kind {
            0x88 => "is told goodbye".to_owned(),
            0x89 => "is pinged".to_owned(),
            0x8a => format!("hears {}", String::from_utf8_lossy(&payload)),
            other => format!("gets {other:x}"),
        });
        bytes = rest;
    }
    assert_eq!(bytes, [0; 0], "whole frames");
    words
}

/// A short frame of the server.
fn from_server(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | kind, payload.len() as u8];
    bytes.extend_from_slice(payload);
    bytes
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A pause with a quarter of jitter.
#[track_caller]
fn around(pause_ms: u64, expected_s: u64) {
    let most = expected_s * 1_250;
    let least = expected_s * 750;
    assert!(
        (least..=most).contains(&pause_ms),
        "{pause_ms} ms for {expected_s} s"
    );
}

#[test]
fn what_is_pushed_is_handed_on() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), None);
    assert_eq!(desk.channels.socket(approval(1)), Socket::Open);
    desk.open(Subject::Chat, None);
    // An approval's state is pushed at once; of the chat's past nothing is.
    assert_eq!(desk.looked(), ["GET /w/1", "GET /w/chat", "poll chat"]);
    let text = from_server(TEXT, b"{\"a\":1}");
    for cut in 0..=text.len() {
        desk.receive("/w/1", &text[..cut]);
        desk.receive("/w/1", &text[cut..]);
        assert_eq!(desk.looked(), ["1 is told {\"a\":1}"], "cut at {cut}");
    }
    let both = [from_server(TEXT, b"1"), from_server(TEXT, b"2")].concat();
    desk.receive("/w/chat", &both);
    assert_eq!(desk.looked(), ["chat is told 1", "chat is told 2"]);
    desk.close(approval(1));
    assert_eq!(desk.looked(), ["/w/1 is told goodbye", "/w/1 is hung up"]);
    assert!(desk.channels.is_busy());
    desk.close(Subject::Chat);
    assert!(!desk.channels.is_busy());
    desk.pass(100);
    assert_eq!(
        desk.looked(),
        ["/w/chat is told goodbye", "/w/chat is hung up"]
    );
}

#[test]
fn a_refused_socket_is_tried_again_after_growing_pauses() {
    let mut desk = Desk::new(Server::Refuses(503));
    desk.open(approval(1), None);
    let trouble = desk.channels.socket(approval(1));
    assert!(matches!(trouble, Socket::Refused(Some(_))), "{trouble:?}");
    desk.pass(240);
    let pauses = desk.pauses("GET /w/1");
    for (pause, expected) in pauses.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
        around(*pause, expected);
    }
    assert!(pauses.len() >= 8, "{pauses:?}");
    // Each time the state is asked for, at once.
    let polls = desk.times("poll 1");
    for at in desk.times("GET /w/1").iter().take(5) {
        assert!(polls.contains(at), "no poll at {at}: {polls:?}");
    }
    // Opening is not enough, nor is a word; a socket that has lasted, and the pauses begin anew.
    desk.server = Server::Opens;
    let reopened = |desk: &mut Desk| {
        while desk.times("GET /w/1").is_empty() {
            desk.pass(1);
        }
    };
    desk.seen.clear();
    reopened(&mut desk);
    desk.receive("/w/1", &from_server(TEXT, b"1"));
    desk.seen.clear();
    desk.lose("/w/1");
    reopened(&mut desk);
    around(desk.times("GET /w/1")[0] - desk.times("poll 1")[0], 30);
    desk.pass(21);
    desk.seen.clear();
    desk.lose("/w/1");
    desk.pass(2);
    around(desk.times("GET /w/1")[0] - desk.times("poll 1")[0], 1);
}

#[test]
fn a_pause_ends_when_the_workspace_answers_again() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), None);
    desk.server = Server::Away;
    desk.lose("/w/1");
    desk.pass(80);
    // Its next attempt is up to half a minute away, when another reaches the workspace.
    desk.server = Server::Opens;
    desk.seen.clear();
    desk.open(approval(2), None);
    assert_eq!(desk.looked(), ["GET /w/2"]);
    desk.pass(1);
    assert_eq!(desk.looked(), ["GET /w/1"]);
    // A socket that is refused keeps its pauses, whatever else is answered.
    desk.server = Server::Refuses(503);
    desk.lose("/w/1");
    desk.pass(40);
    desk.seen.clear();
    desk.open(approval(3), None);
    desk.pass(1);
    assert_eq!(desk.times("GET /w/1"), [0; 0]);
}

#[test]
fn a_socket_is_lost_in_many_ways() {
    let close = from_server(CLOSE, &1_000u16.to_be_bytes());
    let masked = [0x81, 0x81, 0, 0, 0, 0, b'x'];
    let not_utf8 = from_server(TEXT, b"\xff");
    let too_large = [&[0x81, 127][..], &(1u64 << 20).to_be_bytes()].concat();
    for (bytes, last_word) in [
        (&close[..], "is told goodbye"),
        (&masked, "is told goodbye"),
        (&not_utf8, "is told goodbye"),
        (&too_large, "is told goodbye"),
    ] {
        let mut desk = Desk::new(Server::Opens);
        desk.open(approval(1), None);
        desk.seen.clear();
        desk.receive("/w/1", bytes);
        let last_word = format!("/w/1 {last_word}");
        assert_eq!(
            desk.looked(),
            [&last_word, "/w/1 is hung up", "poll 1"],
            "{bytes:x?}"
        );
        desk.pass(2);
        assert_eq!(desk.looked(), ["GET /w/1"], "{bytes:x?}");
    }
    // The wrong answer to our key is no WebSocket.
    let mut desk = Desk::new(Server::Silent);
    desk.open(approval(1), None);
    desk.receive("/w/1", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n");
    assert_eq!(desk.looked(), ["GET /w/1", "/w/1 is hung up", "poll 1"]);
    let trouble = desk.channels.socket(approval(1));
    assert!(
        matches!(trouble, Socket::Refused(Some(Failure::Handshake(_)))),
        "{trouble:?}"
    );
    // Nor is an upgrade that is never answered.
    let mut desk = Desk::new(Server::Silent);
    desk.open(approval(1), None);
    desk.pass(19);
    assert_eq!(desk.looked(), ["GET /w/1"]);
    desk.pass(1);
    assert_eq!(desk.looked(), ["/w/1 is hung up", "poll 1"]);
}

#[test]
fn a_silent_socket_is_pinged_and_then_dead() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), None);
    desk.pass(49);
    assert_eq!(desk.times("/w/1 is pinged"), [20_000, 40_000]);
    desk.pass(1);
    assert_eq!(desk.times("/w/1 is hung up"), [50_000]);
    // Polled by then for the third time: at 30 s for safety, and at once.
    assert_eq!(desk.times("poll 1"), [30_000, 50_000]);
    // A sign of life of any kind, and it lives.
    for kind in [PONG, PING, TEXT] {
        let mut desk = Desk::new(Server::Opens);
        desk.open(approval(1), None);
        for _ in 0..10 {
            desk.pass(40);
            desk.receive("/w/1", &from_server(kind, b""));
        }
        assert_eq!(desk.times("/w/1 is hung up"), [0; 0], "{kind}");
        assert_eq!(desk.times("GET /w/1"), [0], "{kind}");
    }
}

#[test]
fn only_the_newest_pong_waits() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), None);
    desk.seen.clear();
    desk.takes = false;
    let mut most = 0;
    for n in 0..10_000 {
        desk.receive("/w/1", &from_server(PING, n.to_string().as_bytes()));
        most = most.max(desk.channels.held_bytes());
    }
    assert_eq!(desk.looked(), ["/w/1 hears 0"]);
    assert!(most <= 1_024 + 131, "{most}");
    desk.takes = true;
    let conn = desk.conns["/w/1"].0;
    desk.http.handle_sent(conn);
    desk.settle();
    let heard = desk.looked();
    assert_eq!(
        heard.last().map(String::as_str),
        Some("/w/1 hears 9999"),
        "{heard:?}"
    );
    assert_eq!(desk.channels.held_bytes(), 0);
}

/// A state that is asked for again on a stale connection is heard once it comes.
#[test]
fn a_state_that_is_read_again_after_a_stale_connection_is_heard() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), Some("/s"));
    desk.status = Some((200, "pending"));
    desk.pass(30);
    desk.status = None;
    desk.pass(30);
    desk.looked();
    desk.status = Some((200, "approved"));
    desk.lose("/s");
    let mut read = desk.looked();
    read.retain(|seen| seen.contains("is read"));
    assert_eq!(read, ["1 is read: Some(\"approved\")"]);
}

/// A server that says the state and closes, each time: it is asked less and less, as one that refuses.
#[test]
fn a_socket_that_closes_behind_its_message_is_opened_less_and_less() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), None);
    for _ in 0..60 {
        if desk.conns.contains_key("/w/1") {
            desk.receive("/w/1", b"\x81\x01x");
            desk.lose("/w/1");
        }
        desk.pass(1);
    }
    let times = desk.times("GET /w/1").len();
    assert!((5..=7).contains(&times), "{times}");
}
