//! What the simulated server does with one exchange: bytes, pauses, an end; and what each part of
//! the bytes means to the judge.

use super::random::Random;
use aerostack_gateway::api::proto::CloseCause;

/// What the engine knows once it has been handed the bytes up to here.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    /// A message for the host: a line with this text must come out of the same turn.
    Message(String),
    /// The answer to the request with this number.
    Answer(u64),
    /// A refusal that proves that the request was not executed.
    Refused,
    /// An InitializeResult.
    InitializeResult {
        session: Option<String>,
        version: String,
    },
    /// The head of the response has come.
    Head(u16),
    /// The response is complete.
    Done(u16),
    /// The connection is a WebSocket from here on.
    Upgraded,
    /// The request needs this approval (-32050).
    Gated(String),
    /// The person approves with these arguments.
    Edited { approval: String, arguments: String },
    /// The workspace's word about an approval, and what the approved request was about.
    Decided {
        approval: String,
        key: u64,
        word: &'static str,
    },
}

/// How the exchange ends on the server's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection serves the next request.
    KeepAlive,
    /// It is closed or breaks.
    Closed(CloseCause),
    /// Nothing more comes, ever.
    Silent,
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) status: u16,
    /// Before the first byte.
    pub(crate) wait_us: u64,
    pub(crate) bytes: Vec<u8>,
    /// By offset; one past the end of the bytes means: when the connection closes.
    pub(crate) marks: Vec<(usize, Mark)>,
    /// A cut in the bytes, and what passes before the rest.
    pub(crate) pauses: Vec<(usize, u64)>,
    pub(crate) end: End,
}

/// How a body says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunked,
    /// By closing the connection.
    Close,
}

/// One event of an event stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) retry_ms: Option<u64>,
    /// Before this event.
    pub(crate) pause_us: u64,
    pub(crate) data: String,
    pub(crate) marks: Vec<Mark>,
}

impl Event {
    pub(crate) fn new(data: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }

    pub(crate) fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    pub(crate) fn retry(mut self, ms: u64) -> Self {
        self.retry_ms = Some(ms);
        self
    }

    pub(crate) fn mark(mut self, mark: Mark) -> Self {
        self.marks.push(mark);
        self
    }

    pub(crate) fn after(mut self, us: u64) -> Self {
        self.pause_us = us;
        self
    }
}

impl Script {
    /// No byte at all, then this end.
    pub(crate) fn nothing(end: End) -> Self {
        Self {
            status: 0,
            wait_us: 0,
            bytes: Vec::new(),
            marks: Vec::new(),
            pauses: Vec::new(),
            end,
        }
    }

    /// The same, with a mark behind its head.
    pub(crate) fn with_head(&self) -> Self {
        let mut script = self.clone();
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end.map(|end| end + 4) {
            let place = script.marks.partition_point(|(at, _)| *at < end);
            script.marks.insert(place, (end, Mark::Head(self.status)));
        }
        script
    }

    fn begin(status: u16, headers: &str) -> Self {
        let mut script = Self::nothing(End::KeepAlive);
        script.status = status;
        script.bytes = format!("HTTP/1.1 {status} Status\r\n{headers}").into_bytes();
        script
    }

    /// A response whose body is one piece. Marks stand at its end.
    pub(crate) fn response(
        status: u16,
        headers: &str,
        body: &str,
        framing: Framing,
        marks: Vec<Mark>,
    ) -> Self {
        let mut script = Self::begin(status, headers);
        match framing {
            Framing::Length => {
                script.push(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
            }
            Framing::Chunked => {
                script.push("Transfer-Encoding: chunked\r\n\r\n");
                let half = body.len() / 2;
                let half = (0..=half)
                    .rev()
                    .find(|at| body.is_char_boundary(*at))
                    .unwrap_or(0);
                for part in [&body[..half], &body[half..]] {
                    if !part.is_empty() {
                        script.push(&format!("{:x};x=1\r\n{part}\r\n", part.len()));
                    }
                }
                script.push("0\r\nTrailer: x\r\n\r\n");
            }
            Framing::Close => {
                script.push(&format!("Connection: close\r\n\r\n{body}"));
                script.end = End::Closed(CloseCause::Eof);
            }
        }
        let at = script.bytes.len() + usize::from(framing == Framing::Close);
        let done = std::iter::once(Mark::Done(status));
        script
            .marks
            .extend(marks.into_iter().chain(done).map(|mark| (at, mark)));
        script
    }

    /// An event stream, complete.
    pub(crate) fn events(
        headers: &str,
        events: &[Event],
        chunked: bool,
        line_end: &'static str,
    ) -> Self {
        let mut script = Self::begin(200, headers);
        script.push("Content-Type: text/event-stream\r\n");
        script.push(if chunked {
            "Transfer-Encoding: chunked\r\n\r\n"
        } else {
            "Connection: close\r\n\r\n"
        });
        for event in events {
            script.event(event, chunked, line_end);
        }
        if chunked {
            script.push("0\r\n\r\n");
            script.marks.push((script.bytes.len(), Mark::Done(200)));
        } else {
            script.marks.push((script.bytes.len() + 1, Mark::Done(200)));
            script.end = End::Closed(CloseCause::Eof);
        }
        script
    }

    fn event(&mut self, event: &Event, chunked: bool, line_end: &str) {
        if event.pause_us > 0 {
            self.pauses.push((self.bytes.len(), event.pause_us));
        }
        let mut text = format!(": comment{line_end}");
        if let Some(id) = &event.id {
            text += &format!("id: {id}{line_end}");
        }
        if let Some(retry) = event.retry_ms {
            text += &format!("retry: {retry}{line_end}");
        }
        for line in event.data.split('\n') {
            text += &format!("data: {line}{line_end}");
        }
        text += line_end;
        if chunked {
            self.push(&format!("{:x}\r\n", text.len()));
        }
        self.push(&text);
        // CR alone ends the blank line: the event is complete before the LF.
        let at = self.bytes.len() - (line_end.len() - 1);
        let marks = event.marks.iter().map(|mark| (at, mark.clone()));
        self.marks.extend(marks);
        if chunked {
            self.push("\r\n");
        }
    }

    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn after(mut self, us: u64) -> Self {
        self.wait_us = us;
        self
    }

    pub(crate) fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Only so many of the bytes come, then the connection ends in this way.
    pub(crate) fn cut(mut self, at: usize, end: End) -> Self {
        // A clean end counts as the blank line that is missing; only what the session is matters so late.
        let is_clean = matches!(end, End::Closed(CloseCause::Eof))
            && self.bytes.windows(7).all(|word| word != b"chunked");
        for (offset, mark) in &mut self.marks {
            // A mark beyond the bytes comes with the end as it is.
            let missing = self.bytes.get(at..*offset);
            let is_whole =
                missing.is_some_and(|rest| rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')));
            if is_clean && is_whole && matches!(mark, Mark::InitializeResult { .. }) {
                *offset = at;
            }
        }
        self.bytes.truncate(at);
        self.marks.retain(|(offset, _)| *offset <= at);
        self.pauses.retain(|(offset, _)| *offset <= at);
        self.end = end;
        self
    }

    /// The stream stays open behind its last event.
    pub(crate) fn left_open(mut self) -> Self {
        if self.bytes.ends_with(b"0\r\n\r\n") {
            self.bytes.truncate(self.bytes.len() - 5);
        }
        let len = self.bytes.len();
        self.marks
            .retain(|(at, mark)| *at <= len && !matches!(mark, Mark::Done(_)));
        self.end = End::Silent;
        self
    }

    /// The pieces in which the network delivers the bytes: each with the time before it.
    pub(crate) fn pieces(&self, random: &mut Random, cuts: u64) -> Vec<Piece> {
        let len = self.bytes.len();
        let mut at: Vec<usize> = self.pauses.iter().map(|(at, _)| *at).collect();
        let some = if cuts == 0 { 0 } else { random.below(cuts) };
        at.extend((0..some).map(|_| random.below(len as u64 + 1) as usize));
        at.extend([0, len]);
        at.sort_unstable();
        at.dedup();
        let mut pieces = Vec::new();
        for ends in at.windows(2) {
            let (from, to) = (ends[0], ends[1]);
            let paused: u64 = self
                .pauses
                .iter()
                .filter(|(at, _)| *at == from)
                .map(|(_, us)| us)
                .sum();
            pieces.push(Piece {
                delay_us: paused + if cuts == 0 { 0 } else { random.below(3_000) },
                bytes: self.bytes[from..to].to_vec(),
                marks: self.marks_between(from, to),
            });
        }
        pieces
    }

    /// What the end of the connection means.
    pub(crate) fn marks_at_close(&self) -> Vec<Mark> {
        self.marks_between(self.bytes.len(), usize::MAX)
    }

    fn marks_between(&self, from: usize, to: usize) -> Vec<Mark> {
        let within = |(at, _): &&(usize, Mark)| *at > from && *at <= to;
        self.marks
            .iter()
            .filter(within)
            .map(|(_, mark)| mark.clone())
            .collect()
    }
}

/// Bytes that arrive together.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) delay_us: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) marks: Vec<Mark>,
}

impl Script {
    /// What comes is no HTTP.
    pub(crate) fn garbled(mut self) -> Self {
        self.bytes = b"\x15\x03\x01 this is no HTTP\r\n\r\n".to_vec();
        self.marks.clear();
        self
    }
}

impl Script {
    /// Nothing of it has to reach the host.
    pub(crate) fn anonymous(mut self) -> Self {
        self.marks
            .retain(|(_, mark)| !matches!(mark, Mark::Answer(_)));
        self
    }
}
