//! The shell over real descriptors and loopback sockets, driven by engines of a few lines.
//!
//! Owns the rig. No test sleeps in the hope that something happens meanwhile: servers are threads
//! that block on the socket, and a guard ends a test that hangs.

mod certificates;
mod conn;
mod stdio;
mod tls;
mod trust;

use super::reactor::{Fds, Reactor};
use super::*;
use crate::bridge::{Input, Now, Output};
use crate::proto::transport::{Close, ConnId, Established};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

/// A test that runs longer hangs.
const GUARD: Duration = Duration::from_secs(30);

/// What a script wants done.
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    /// When the script gets `Input::Timeout`.
    pub(super) deadline: Option<Instant>,
}

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }
}

/// An engine made of one closure.
struct Script<F> {
    step: F,
    outputs: Outputs,
    guard: Instant,
}

impl<F: FnMut(Input<'_>, Now, &mut Outputs)> Engine for Script<F> {
    fn handle_input(&mut self, input: Input<'_>, now: Now) {
        assert!(now.mono < self.guard, "the test hangs");
        if matches!(input, Input::Timeout) {
            self.outputs.deadline = None;
        }
        (self.step)(input, now, &mut self.outputs);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.queue.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.outputs.deadline.unwrap_or(self.guard).min(self.guard))
    }
}

/// Runs a script until it exits; returns the exit code and the number of turns.
pub(super) fn drive(
    settings: ShellSettings,
    fds: Fds,
    start: Vec<Output>,
    step: impl FnMut(Input<'_>, Now, &mut Outputs),
) -> (u8, usize) {
    let outputs = Outputs {
        queue: start.into(),
        deadline: None,
    };
    let mut script = Script {
        step,
        outputs,
        guard: Instant::now() + GUARD,
    };
    let Ok(mut reactor) = Reactor::new(settings, fds) else {
        panic!("no reactor")
    };
    let code = reactor.run(&mut script);
    (code, reactor.turns)
}

/// Descriptors that say and keep nothing.
pub(super) fn null_fds() -> Fds {
    let open = || {
        Box::new(
            File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .unwrap(),
        )
    };
    Fds {
        stdin: open(),
        stdout: open(),
        stderr: open(),
    }
}

pub(super) const FIRST: ConnId = ConnId(1);

/// What became of one connection that sent `request`.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) established: Option<Established>,
    pub(super) received: Vec<u8>,
    pub(super) sent: usize,
    pub(super) close: Close,
}

/// Connects, sends the request, collects everything until the connection is closed.
pub(super) fn exchange(settings: ShellSettings, url: &str, request: &[u8]) -> Told {
    let endpoint = Endpoint::parse(url).unwrap();
    let (mut established, mut received, mut sent, mut close) = (None, Vec::new(), 0, None);
    let start = vec![Output::Connect(FIRST, endpoint)];
    let (code, _) = drive(settings, null_fds(), start, |input, _, out| match input {
        Input::Connected(_, how) => {
            assert!(established.replace(how).is_none(), "connected twice");
            out.push(Output::Transmit(FIRST, request.to_vec()));
        }
        Input::Received(_, bytes) => received.extend_from_slice(bytes),
        Input::Sent(_) => sent += 1,
        Input::Closed(_, why) => {
            close = Some(why);
            out.push(Output::Exit(7));
        }
        other => panic!("unexpected {other:?}"),
    });
    assert_eq!(code, 7);
    Told {
        established,
        received,
        sent,
        close: close.unwrap(),
    }
}

/// A server for one connection; the result of `serve` is the thread's.
pub(super) fn server<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (
        port,
        std::thread::spawn(move || serve(listener.accept().unwrap().0)),
    )
}

/// Bytes that are wrong when a piece is lost, doubled or moved.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

/// Reads one request, which ends with "end" and a newline; nobody pipelines.
pub(super) fn read_request(stream: &mut impl Read) -> Vec<u8> {
    let mut request = Vec::new();
    let mut piece = vec![0; 65_536];
    while !request.ends_with(b"end\n") {
        let len = stream.read(&mut piece).unwrap();
        assert!(len > 0, "the request ended early");
        request.extend_from_slice(&piece[..len]);
    }
    request
}

/// Answers one request and closes.
pub(super) fn answer(mut stream: impl Read + Write, reply: &[u8]) -> Vec<u8> {
    let request = read_request(&mut stream);
    stream.write_all(reply).unwrap();
    stream.flush().unwrap();
    request
}
