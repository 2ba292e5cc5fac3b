//! The pure codecs over fixed bytes.
//!
//!     bench-codecs                  bytes per second of each, wall clock
//!     bench-codecs NAME ROUNDS      one of them, so often and nothing else: for callgrind
//!     bench-codecs names            their names

use aerostack_gateway::api::proto::EventStream;
use aerostack_gateway::api::proto::jsonrpc;
use aerostack_gateway::api::proto::{Event, Exchange};
use aerostack_gateway::api::proto::{Line, LineReader};
use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// As the reactor reads: no piece is longer.
const PIECE: usize = 64 * 1024;
const LIMIT: usize = 64 << 20;
/// What each codec reads in one round.
const BYTES: usize = 1 << 20;

/// One codec: what it is called, what it reads, how it reads it once.
struct Codec {
    name: &'static str,
    input: fn() -> Vec<u8>,
    run: fn(&[u8]) -> usize,
}

const CODECS: [Codec; 9] = [
    Codec {
        name: "lines-small",
        input: || request_lines(160),
        run: lines,
    },
    Codec {
        name: "lines-large",
        input: || request_lines(BYTES - 1),
        run: lines,
    },
    Codec {
        name: "length-body",
        input: length_response,
        run: response,
    },
    Codec {
        name: "chunked-small",
        input: || chunked_response(160),
        run: response,
    },
    Codec {
        name: "chunked-large",
        input: || chunked_response(16 * 1024),
        run: response,
    },
    Codec {
        name: "sse-small",
        input: || event_stream(160),
        run: events,
    },
    Codec {
        name: "sse-large",
        input: || event_stream(BYTES - 64),
        run: events,
    },
    Codec {
        name: "jsonrpc",
        input: || reply(BYTES),
        run: message,
    },
    Codec {
        name: "line-out",
        input: || reply(BYTES),
        run: line_out,
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            for codec in &CODECS {
                writeln!(out, "{:14} {:>8.0} MB/s", codec.name, speed(codec))?;
            }
        }
        ["names"] => {
            for codec in &CODECS {
                writeln!(out, "{}", codec.name)?;
            }
        }
        [name, rounds] => {
            let codec = CODECS.iter().find(|codec| codec.name == name);
            let codec = codec.ok_or("no codec of this name")?;
            let input = (codec.input)();
            for _ in 0..rounds.parse::<u32>()? {
                black_box((codec.run)(black_box(&input)));
            }
        }
        _ => return Err("bench-codecs [NAME ROUNDS | names]".into()),
    }
    Ok(())
}

/// The best of several tries: others only ever make it slower.
fn speed(codec: &Codec) -> f64 {
    let input = (codec.input)();
    let mut best = Duration::MAX;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        let start = Instant::now();
        black_box((codec.run)(black_box(&input)));
        best = best.min(start.elapsed());
    }
    input.len() as f64 / best.as_secs_f64() / 1e6
}

fn lines(input: &[u8]) -> usize {
    let mut reader = LineReader::new(LIMIT);
    let mut found = 0;
    for mut piece in input.chunks(PIECE) {
        while let Some(line) = reader.feed(&mut piece) {
            found += usize::from(matches!(line, Line::Complete(_)));
        }
    }
    found
}

fn response(input: &[u8]) -> usize {
    let mut exchange = Exchange::new(PIECE);
    let mut found = 0;
    for mut piece in input.chunks(PIECE) {
        while let Some(event) = exchange.feed(&mut piece).expect("well formed") {
            if let Event::Data(data) = event {
                found += data.len();
            }
        }
    }
    found
}

fn events(input: &[u8]) -> usize {
    let mut stream = EventStream::new(LIMIT);
    let mut found = 0;
    for mut piece in input.chunks(PIECE) {
        while let Some(event) = stream.feed(&mut piece).expect("well formed") {
            found += event.data.len();
        }
    }
    found
}

fn message(input: &[u8]) -> usize {
    match jsonrpc::parse(input).expect("well formed") {
        jsonrpc::Parsed::One(message) => message.result.map_or(0, str::len),
        jsonrpc::Parsed::Batch(members) => members.len(),
    }
}

fn line_out(input: &[u8]) -> usize {
    let mut line = input.to_vec();
    jsonrpc::end_line(&mut line);
    line.len()
}

/// A result of about `bytes`, as a file's text makes it.
fn reply(bytes: usize) -> Vec<u8> {
    const TEXT: &str = r#"fn main() { let answer = \"forty-two\"; assert!(answer.len() > 2); }\n"#;
    let start = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":""#;
    let end = "\"}]}}";
    let room = bytes.saturating_sub(start.len() + end.len());
    let mut text = start.to_owned() + &TEXT.repeat(room / TEXT.len());
    // Never in the middle of an escape.
    text.push_str(&"x".repeat((start.len() + room).saturating_sub(text.len())));
    (text + end).into_bytes()
}

fn request_lines(length: usize) -> Vec<u8> {
    let mut line = reply(length);
    line.push(b'\n');
    line.repeat((BYTES / line.len()).max(1))
}

fn event_stream(length: usize) -> Vec<u8> {
    let event = [b"event: message\ndata: ", &reply(length)[..], b"\n\n"].concat();
    event.repeat((BYTES / event.len()).max(1))
}

fn length_response() -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").into_bytes();
    bytes.extend(reply(BYTES));
    bytes
}

fn chunked_response(chunk: usize) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in reply(BYTES).chunks(chunk) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}
