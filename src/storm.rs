//! A network and a workspace that do as they like, for the engines that play the host: the diagnosis and
//! the guard. One seed, one run, on a virtual clock.

use crate::bridge::{Engine, Input, Now, Output, testing};
use crate::config::Config;
use crate::proto::testing::SplitMix;
use crate::proto::transport::{Close, CloseCause, ConnId, Established, Phase, TlsFailure};
use crate::proto::{jsonrpc, ws};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// No report, no verdict and no log may show it.
pub(crate) const TOKEN: &str = "mwt_S3CRET-of-the-storm";
/// Nothing runs for longer.
const END: Duration = Duration::from_secs(3_600);

pub(crate) fn config() -> Config {
    testing::config(&[
        ("AEROSTACK_WORKSPACE_URL", "https://w.example/ws/x"),
        ("AEROSTACK_TOKEN", TOKEN),
    ])
}

/// True if a request carries this method.
pub(crate) fn asks(request: &str, method: &str) -> bool {
    request.contains(&format!("\"method\":\"{method}\""))
}

/// What comes for one request: bytes, each so many milliseconds after those before, and then perhaps the
/// end of the connection.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) pieces: Vec<(u64, Vec<u8>)>,
    pub(crate) closes: bool,
}

impl Reply {
    pub(crate) fn response(status: u16, kind: &str, body: &str) -> Self {
        let size = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n{body}"
        );
        Self {
            pieces: vec![(1, head.into_bytes())],
            closes: false,
        }
    }

    /// `"result":…` or `"error":…` for this request.
    pub(crate) fn answer(request: &str, outcome: &str) -> Self {
        let id = id(request);
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#);
        Self::response(200, "application/json", &body)
    }

    pub(crate) fn accepted() -> Self {
        Self::response(202, "text/plain", "")
    }

    /// The head of a WebSocket, where one is asked for.
    pub(crate) fn upgrade(request: &str) -> Option<Self> {
        let (_, key) = request.split_once("Sec-WebSocket-Key: ")?;
        let accept = ws::accept_for(key.split('\r').next()?);
        let head = format!(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        Some(Self {
            pieces: vec![(1, head.into_bytes())],
            closes: false,
        })
    }

    /// The answers that no server should give.
    pub(crate) fn wrong(random: &mut SplitMix, request: &str) -> Self {
        let says = format!("the token {TOKEN} is not welcome");
        match random.below(4) {
            0 => Self::response(
                *random.pick(&[400, 401, 403, 404, 405, 410, 429, 500, 502, 503]),
                "text/plain",
                &says,
            ),
            1 => Self::response(200, "text/html", &format!("<html><title>{says}</title>")),
            2 => Self::response(
                200,
                "application/json",
                r#"{"jsonrpc":"2.0","id":"other","result":{}}"#,
            ),
            _ => Self::answer(
                request,
                &format!(r#""error":{{"code":-32000,"message":"{says}"}}"#),
            ),
        }
    }
}

/// The id of the message in a request, raw JSON.
fn id(request: &str) -> String {
    let (_, body) = request.split_once("\r\n\r\n").unwrap_or_default();
    let message = jsonrpc::parse_one(body).ok();
    let id = message.and_then(|message| message.id.map(str::to_owned));
    id.unwrap_or_else(|| "null".to_owned())
}

enum Event {
    Connected,
    Sent,
    Received(Vec<u8>),
    Closed(Close),
}

/// See the module.
pub(crate) struct Storm {
    pub(crate) random: SplitMix,
    /// Of a hundred connections and requests, so many meet with harm.
    pub(crate) harm: usize,
    pub(crate) connected: bool,
    began: Instant,
    now: Duration,
    planned: u64,
    events: BTreeMap<(Duration, u64), (ConnId, Event)>,
    gone: BTreeSet<ConnId>,
}

/// How it ended.
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) code: u8,
    pub(crate) took: Duration,
}

impl Storm {
    pub(crate) fn new(seed: u64, harm: usize) -> Self {
        Self {
            random: SplitMix(seed),
            harm,
            connected: false,
            began: Instant::now(),
            now: Duration::ZERO,
            planned: 0,
            events: BTreeMap::new(),
            gone: BTreeSet::new(),
        }
    }

    pub(crate) fn clock(&self) -> Now {
        Now {
            mono: self.began + self.now,
            wall_ms: 1_800_000_000_000 + self.now.as_millis() as u64,
        }
    }

    fn plan(&mut self, after_ms: u64, conn: ConnId, event: Event) {
        self.planned += 1;
        let at = self.now + Duration::from_millis(after_ms);
        self.events.insert((at, self.planned), (conn, event));
    }

    /// Runs an engine to its end. `serve` is the workspace.
    pub(crate) fn run(
        &mut self,
        engine: &mut impl Engine,
        mut serve: impl FnMut(&mut SplitMix, &str) -> Reply,
    ) -> Outcome {
        let mut stdout = String::new();
        loop {
            while let Some(output) = engine.poll_output() {
                match output {
                    Output::Stdout(text) => stdout += &String::from_utf8_lossy(&text),
                    Output::Exit(code) => {
                        let took = self.now;
                        return Outcome { stdout, code, took };
                    }
                    Output::Connect(conn, _) => self.dial(conn),
                    Output::Transmit(conn, bytes) => {
                        let request = String::from_utf8_lossy(&bytes);
                        // A frame of a WebSocket has no answer.
                        let is_request = request.contains(" HTTP/1.1\r\n");
                        self.plan(0, conn, Event::Sent);
                        if is_request {
                            let reply = serve(&mut self.random, &request);
                            self.answer(conn, reply);
                        }
                    }
                    Output::Close(conn) => drop(self.gone.insert(conn)),
                    _ => {}
                }
            }
            assert!(self.now < END, "it never ends: {stdout}");
            self.step(engine);
        }
    }

    fn dial(&mut self, conn: ConnId) {
        let after_ms = self.random.below(40) as u64;
        if self.random.below(100) >= self.harm {
            return self.plan(after_ms, conn, Event::Connected);
        }
        let io = CloseCause::Io(ErrorKind::ConnectionRefused);
        let ways = [
            (io, Phase::Connect),
            (CloseCause::TimedOut, Phase::Connect),
            (CloseCause::TimedOut, Phase::Tls),
            (
                CloseCause::NotFound("no such name".to_owned()),
                Phase::Resolve,
            ),
            (CloseCause::Tls(TlsFailure::UnknownIssuer), Phase::Tls),
            (CloseCause::Eof, Phase::Tls),
            (CloseCause::ProxyStatus(502), Phase::Proxy),
        ];
        let (cause, phase) = self.random.pick(&ways);
        let sent = false;
        let close = Close {
            cause: cause.clone(),
            phase: *phase,
            sent,
        };
        let after_ms = self.random.below(2_000) as u64;
        self.plan(after_ms, conn, Event::Closed(close));
    }

    fn answer(&mut self, conn: ConnId, mut reply: Reply) {
        if self.random.below(100) < self.harm {
            match self.random.below(3) {
                0 => return,
                1 => reply.pieces.clear(),
                _ => {
                    if let Some((_, bytes)) = reply.pieces.last_mut() {
                        let at = self.random.below(bytes.len() + 1);
                        bytes.truncate(at);
                    }
                }
            }
            reply.closes = true;
        }
        let mut at_ms = 0;
        for (after_ms, bytes) in reply.pieces {
            at_ms += after_ms + self.random.below(20) as u64;
            let cut = self.random.below(bytes.len() + 1);
            for part in [&bytes[..cut], &bytes[cut..]] {
                self.plan(at_ms, conn, Event::Received(part.to_vec()));
            }
        }
        if reply.closes {
            let reset = CloseCause::Io(ErrorKind::ConnectionReset);
            let cause = self.random.pick(&[CloseCause::Eof, reset]).clone();
            let (phase, sent) = (Phase::Open, true);
            self.plan(at_ms, conn, Event::Closed(Close { cause, phase, sent }));
        }
    }

    /// The next event, or the engine's own time.
    fn step(&mut self, engine: &mut impl Engine) {
        let due = engine.poll_timeout().expect("it always has a deadline");
        let due = due.saturating_duration_since(self.began);
        let first = self.events.first_key_value().map(|(key, _)| *key);
        let Some(key) = first.filter(|(at, _)| *at <= due) else {
            self.now = self.now.max(due);
            return engine.handle_input(Input::Timeout, self.clock());
        };
        let Some((conn, event)) = self.events.remove(&key) else {
            return;
        };
        self.now = self.now.max(key.0);
        if self.gone.contains(&conn) {
            return;
        }
        let now = self.clock();
        match event {
            Event::Connected => {
                self.connected = true;
                engine.handle_input(Input::Connected(conn, Established::default()), now);
            }
            Event::Sent => engine.handle_input(Input::Sent(conn), now),
            Event::Received(bytes) if bytes.is_empty() => {}
            Event::Received(bytes) => engine.handle_input(Input::Received(conn, &bytes), now),
            Event::Closed(close) => {
                self.gone.insert(conn);
                engine.handle_input(Input::Closed(conn, close), now);
            }
        }
    }
}
