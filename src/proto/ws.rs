//! WebSocket as a client speaks it (RFC 6455): the opening handshake, and frames by tungstenite.
//!
//! Owns the handshake's arithmetic and a [`WebSocket`] that is fed bytes and drained of them. It
//! must never decide when to ping, to reconnect, or how long a close may take.

use std::fmt;
use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig, WebSocketContext};

use super::http::request::HeaderLines;
use super::http::response::ResponseHead;

/// A Sec-WebSocket-Key: "a nonce consisting of a randomly selected 16-byte value that has been
/// base64-encoded" (section 4.1).
pub(crate) fn key(seed: [u8; 16]) -> String {
    STANDARD.encode(seed)
}

/// The Sec-WebSocket-Accept that proves that the server read the key (section 4.2.2).
pub fn accept_for(key: &str) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    STANDARD.encode(sha1.finish())
}

/// Adds the headers that ask for the upgrade (section 4.1).
pub(crate) fn write_upgrade(head: &mut HeaderLines, key: &str) {
    head.add("Upgrade", "websocket")
        .add("Connection", "Upgrade")
        .add("Sec-WebSocket-Version", "13")
        .add("Sec-WebSocket-Key", key);
}

/// Whether a 101 is the answer to the request that carried this key: the five checks that section
/// 4.1 demands of a client.
pub(crate) fn check_upgrade(head: &ResponseHead, key: &str) -> Result<(), WsError> {
    let wrong = if head.status != 101 || !head.upgrade_websocket {
        "the server did not switch to websocket"
    } else if head.websocket_accept.as_deref() != Some(accept_for(key).as_str()) {
        "sec-websocket-accept does not match the key"
    } else if head.websocket_extra {
        "the server chose an extension or protocol that was not offered"
    } else {
        return Ok(());
    };
    Err(WsError::Protocol(wrong))
}

/// The longest frame we write: a control frame with its mask.
const CONTROL_FRAME_MAX: usize = 2 + 4 + 125;
/// Output beyond this waits until the rest has been taken.
const OUTPUT_MAX: usize = 1024;

/// What the peer sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    /// A whole message, valid UTF-8.
    Text(Vec<u8>),
    /// The peer closes, or answers our close, with this code. Nothing follows; once the output is
    /// written, "the server MUST close the underlying TCP connection first" (section 7.1.1), so
    /// wait for that, but not for ever.
    Closed(Option<u16>),
    /// The answer to a ping.
    Pong,
}

/// Why the connection has failed (section 7.1.7). Write the output, then drop it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WsError {
    /// A message or frame above the limit.
    TooLarge,
    /// A text message that is not UTF-8.
    NotUtf8,
    /// Anything else that the peer may not do; the text says what.
    Protocol(&'static str),
}

impl fmt::Display for WsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WsError::TooLarge => "the websocket message is too large",
            WsError::NotUtf8 => "the websocket message is not utf-8",
            WsError::Protocol(what) => what,
        })
    }
}

impl std::error::Error for WsError {}

/// An open WebSocket between bytes in and bytes out.
///
/// After [`feed`](WebSocket::feed), call [`next`](WebSocket::next) until it returns `None`; then,
/// and after [`ping`](WebSocket::ping) and [`close`](WebSocket::close), send what
/// [`take_output`](WebSocket::take_output) returns, and say [`sent`](WebSocket::sent) when it has
/// left. Pings are answered on the way; while nothing leaves, only the newest pong waits ("an
/// endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame",
/// section 5.5.3), so that a peer that pings and does not read costs no memory.
#[derive(Debug)]
pub(crate) struct WebSocket {
    context: WebSocketContext,
    pipe: Pipe,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// The peer's close has been handed out: whatever it sends now is ignored.
    Closed,
    Failed(WsError),
}

impl WebSocket {
    /// Behind the handshake. Messages may have `max_message_bytes`.
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        // The defaults, 128 KiB of buffer and messages of 64 MiB, are a server's.
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .max_write_buffer_size(CONTROL_FRAME_MAX)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        WebSocket {
            context: WebSocketContext::new(Role::Client, Some(config)),
            pipe: Pipe::default(),
            state: State::Open,
        }
    }

    /// Adds bytes that came from the peer.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.state == State::Open {
            self.pipe.input.extend_from_slice(bytes);
        }
    }

    /// The next thing the peer said; `None` when more bytes are needed. The error sticks.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, WsError> {
        loop {
            match self.state {
                State::Open => {}
                State::Closed => return Ok(None),
                State::Failed(error) => return Err(error),
            }
            let frame = match self.context.read(&mut self.pipe) {
                Ok(Message::Text(text)) => Frame::Text(text.as_bytes().to_vec()),
                // JSON by another name; other binary data is not for us.
                Ok(Message::Binary(bytes)) if std::str::from_utf8(&bytes).is_ok() => {
                    Frame::Text(bytes.to_vec())
                }
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Frame(_)) => continue,
                Ok(Message::Pong(_)) => Frame::Pong,
                Ok(Message::Close(frame)) => {
                    self.end(State::Closed);
                    Frame::Closed(frame.map(|frame| frame.code.into()))
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(None);
                }
                Err(error) => {
                    self.fail(blame(&error));
                    continue;
                }
            };
            return Ok(Some(frame));
        }
    }

    /// Bytes that wait: of a message that is not complete, and for the peer.
    pub(crate) fn held_bytes(&self) -> usize {
        self.pipe.input.len() + self.pipe.output.len()
    }

    /// Asks for a sign of life.
    pub(crate) fn ping(&mut self) {
        if self.context.can_write() {
            // The state was asked. If nothing leaves, there is no room: that ping is left out.
            let _ = self
                .context
                .write(&mut self.pipe, Message::Ping(Vec::new().into()));
        }
    }

    /// Starts the closing handshake, code 1000; the peer answers with [`Frame::Closed`]. Messages
    /// that were under way still come first.
    pub(crate) fn close(&mut self) {
        self.close_with(CloseCode::Normal);
    }

    /// The bytes to send, if any; nothing before those taken last were [`sent`](WebSocket::sent).
    pub(crate) fn take_output(&mut self) -> Option<Vec<u8>> {
        // A pong or close that the last `next` queued.
        let _ = self.context.flush(&mut self.pipe);
        let output = std::mem::take(&mut self.pipe.output);
        self.pipe.leaving |= !output.is_empty();
        (!output.is_empty()).then_some(output)
    }

    /// What was taken has left: there is room for more.
    pub(crate) fn sent(&mut self) {
        self.pipe.leaving = false;
    }

    fn close_with(&mut self, code: CloseCode) {
        let frame = CloseFrame {
            code,
            reason: "".into(),
        };
        let _ = self.context.close(&mut self.pipe, Some(frame));
    }

    /// "An endpoint SHOULD send a Close frame with an appropriate status code before proceeding to
    /// _Close the WebSocket Connection_" (section 7.1.7).
    fn fail(&mut self, error: WsError) {
        self.close_with(match error {
            WsError::TooLarge => CloseCode::Size,
            WsError::NotUtf8 => CloseCode::Invalid,
            WsError::Protocol(_) => CloseCode::Protocol,
        });
        self.end(State::Failed(error));
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.pipe.input = Vec::new();
        self.pipe.read = 0;
    }
}

fn blame(error: &Error) -> WsError {
    WsError::Protocol(match error {
        Error::Capacity(_) => return WsError::TooLarge,
        Error::Utf8(_) => return WsError::NotUtf8,
        Error::Protocol(ProtocolError::NonZeroReservedBits) => "websocket reserved bits are set",
        Error::Protocol(ProtocolError::MaskedFrameFromServer) => "masked websocket frame",
        Error::Protocol(ProtocolError::FragmentedControlFrame) => {
            "fragmented websocket control frame"
        }
        Error::Protocol(ProtocolError::ControlFrameTooBig) => "websocket control frame too big",
        Error::Protocol(
            ProtocolError::UnexpectedContinueFrame | ProtocolError::ExpectedFragment(_),
        ) => "websocket fragments out of order",
        Error::Protocol(ProtocolError::InvalidCloseSequence) => "malformed websocket close frame",
        Error::Protocol(
            ProtocolError::InvalidOpcode(_)
            | ProtocolError::UnknownControlFrameType(_)
            | ProtocolError::UnknownDataFrameType(_),
        ) => "unknown websocket opcode",
        _ => "malformed websocket frame",
    })
}

/// The stream that tungstenite believes to read and write. An empty one blocks: `Ok(0)` would mean
/// that the peer is gone.
#[derive(Default, Debug)]
struct Pipe {
    input: Vec<u8>,
    /// How much of the input has been read.
    read: usize,
    output: Vec<u8>,
    /// Output was taken and has not left yet.
    leaving: bool,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let unread = &self.input[self.read..];
        let len = unread.len().min(buffer.len());
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..len].copy_from_slice(&unread[..len]);
        self.read += len;
        if self.read == self.input.len() {
            self.read = 0;
            // One large message is no reason to hold its memory for the connection's life.
            if self.input.capacity() > 64 * 1024 {
                self.input = Vec::new();
            } else {
                self.input.clear();
            }
        }
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.leaving || self.output.len() >= OUTPUT_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{SplitMix, every_split, random_split};

    const MAX: usize = 200;

    /// A server's frame: first byte (FIN, RSV, opcode) and payload, unmasked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ ..=125 => out.push(len as u8),
            len @ ..=0xffff => {
                out.push(126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
        out
    }

    /// The client's frames as (first byte, payload), unmasked again.
    fn unmask(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let [first, len, rest @ ..] = bytes {
            assert_eq!(len & 0x80, 0x80, "a client masks");
            let (mask, rest) = rest.split_at(4);
            let (payload, rest) = rest.split_at(usize::from(len & 0x7f));
            let payload = payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(b, m)| b ^ m)
                .collect();
            frames.push((*first, payload));
            bytes = rest;
        }
        frames
    }

    type Outcome = (Vec<Frame>, Option<WsError>, Vec<(u8, Vec<u8>)>);

    fn run(pieces: &[&[u8]]) -> Outcome {
        let mut socket = WebSocket::new(MAX);
        let (mut frames, mut error, mut output) = (Vec::new(), None, Vec::new());
        for piece in pieces {
            socket.feed(piece);
            loop {
                match socket.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(e) => {
                        assert_eq!(socket.next(), Err(e));
                        error = Some(e);
                        break;
                    }
                }
            }
            output.extend(socket.take_output().unwrap_or_default());
            assert_eq!(socket.take_output(), None);
            socket.sent();
        }
        (frames, error, unmask(&output))
    }

    fn check(wire: &[&[u8]], frames: &[Frame], error: Option<WsError>, output: &[(u8, &[u8])]) {
        let output = output
            .iter()
            .map(|(first, payload)| (*first, payload.to_vec()))
            .collect();
        let expect = (frames.to_vec(), error, output);
        let wire = wire.concat();
        every_split(&wire, |pieces| {
            assert_eq!(run(pieces), expect, "{pieces:?}")
        });
    }

    fn text(text: &str) -> Frame {
        Frame::Text(text.into())
    }

    #[test]
    fn computes_the_handshake() {
        // The example of section 1.3.
        assert_eq!(key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(
            accept_for("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let mut lines = HeaderLines::default();
        write_upgrade(&mut lines, &key(*b"the sample nonce"));
        let expect = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        assert_eq!(lines.into_bytes(), expect);
    }

    #[test]
    fn checks_the_answer() {
        let good = ResponseHead {
            status: 101,
            upgrade_websocket: true,
            websocket_accept: Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()),
            ..ResponseHead::default()
        };
        let check = |head: ResponseHead| check_upgrade(&head, "dGhlIHNhbXBsZSBub25jZQ==").is_ok();
        assert!(check(good.clone()));
        assert!(!check(ResponseHead {
            status: 200,
            ..good.clone()
        }));
        assert!(!check(ResponseHead {
            upgrade_websocket: false,
            ..good.clone()
        }));
        assert!(!check(ResponseHead {
            websocket_accept: None,
            ..good.clone()
        }));
        let lower = Some("s3ppLMBiTxaQ9kYGzzhZRbK+xOo=".into());
        assert!(!check(ResponseHead {
            websocket_accept: lower,
            ..good.clone()
        }));
        assert!(!check(ResponseHead {
            websocket_extra: true,
            ..good
        }));
    }

    #[test]
    fn reads_messages() {
        check(&[&frame(0x81, b"{}")], &[text("{}")], None, &[]);
        check(&[&frame(0x81, b"")], &[text("")], None, &[]);
        let long = "x".repeat(MAX);
        check(&[&frame(0x81, long.as_bytes())], &[text(&long)], None, &[]);
        let parts = [
            frame(0x01, b"a\xc3"),
            frame(0x00, b"\xa5"),
            frame(0x80, b"b"),
        ]
        .concat();
        check(
            &[&parts, &frame(0x81, b"c")],
            &[text("a\u{e5}b"), text("c")],
            None,
            &[],
        );
        let binary = [
            frame(0x82, b"json"),
            frame(0x82, b"\xff\xfe"),
            frame(0x81, b"on"),
        ];
        check(&[&binary.concat()], &[text("json"), text("on")], None, &[]);
    }

    #[test]
    fn answers_pings_between_and_within_messages() {
        let wire = [
            frame(0x89, b""),
            frame(0x01, b"a"),
            frame(0x89, b"12"),
            frame(0x80, b"b"),
            frame(0x8a, b"unasked"),
            frame(0x89, b"3"),
        ];
        let pongs: &[(u8, &[u8])] = &[(0x8a, b""), (0x8a, b"12"), (0x8a, b"3")];
        check(&[&wire.concat()], &[text("ab"), Frame::Pong], None, pongs);
    }

    /// A peer that pings without end and reads nothing: what waits does not grow, and it is the
    /// newest pong that follows once there is room.
    #[test]
    fn only_the_newest_pong_waits() {
        let mut socket = WebSocket::new(MAX);
        let ping = |socket: &mut WebSocket, first: u32, count: u32| {
            for n in first..first + count {
                socket.feed(&frame(0x89, &n.to_be_bytes()));
                assert_eq!(socket.next(), Ok(None));
            }
        };
        ping(&mut socket, 0, 1);
        let first = socket.take_output().unwrap_or_default();
        assert_eq!(unmask(&first), [(0x8a, vec![0; 4])]);
        ping(&mut socket, 1, 100_000);
        assert_eq!(socket.take_output(), None, "the first has not left");
        socket.ping();
        assert_eq!(socket.take_output(), None);
        socket.sent();
        let mut rest = Vec::new();
        while let Some(output) = socket.take_output() {
            rest.extend(output);
            socket.sent();
        }
        assert!(rest.len() <= 2 * CONTROL_FRAME_MAX, "{}", rest.len());
        let newest = (0x8a, 100_000_u32.to_be_bytes().to_vec());
        assert_eq!(unmask(&rest).last(), Some(&newest));
        // All in one piece: bounded, too.
        let pings: Vec<u8> = (0..50_000_u32)
            .flat_map(|n| frame(0x89, &n.to_be_bytes()))
            .collect();
        socket.feed(&pings);
        assert_eq!(socket.next(), Ok(None));
        let output = socket.take_output().unwrap_or_default();
        assert!(output.len() <= OUTPUT_MAX + CONTROL_FRAME_MAX);
        // Closing needs no room beyond.
        socket.close();
        socket.feed(&frame(0x88, b"\x03\xe8"));
        assert_eq!(socket.next(), Ok(Some(Frame::Closed(Some(1000)))));
    }

    #[test]
    fn closes_when_the_peer_does() {
        let going_away = frame(0x88, b"\x03\xe9bye");
        let frames = [text("a"), Frame::Closed(Some(1001))];
        let wire = [
            &frame(0x81, b"a")[..],
            &going_away,
            &frame(0x81, b"late"),
            b"\xff\xff",
        ];
        check(&wire, &frames, None, &[(0x88, b"\x03\xe9bye")]);
        check(
            &[&frame(0x88, b"")],
            &[Frame::Closed(None)],
            None,
            &[(0x88, b"")],
        );
        let application = frame(0x88, &4001_u16.to_be_bytes());
        check(
            &[&application],
            &[Frame::Closed(Some(4001))],
            None,
            &[(0x88, b"\x0f\xa1")],
        );
    }

    #[test]
    fn closes_when_we_do() {
        let mut socket = WebSocket::new(MAX);
        socket.close();
        socket.close();
        socket.ping();
        let output = socket.take_output().unwrap_or_default();
        assert_eq!(unmask(&output), [(0x88, b"\x03\xe8".to_vec())]);
        socket.feed(&[frame(0x81, b"under way"), frame(0x88, b"\x03\xe8")].concat());
        assert_eq!(socket.next(), Ok(Some(text("under way"))));
        assert_eq!(socket.next(), Ok(Some(Frame::Closed(Some(1000)))));
        socket.feed(b"junk");
        assert_eq!(socket.next(), Ok(None));
        assert_eq!(socket.take_output(), None);
    }

    #[test]
    fn pings() {
        let mut socket = WebSocket::new(MAX);
        assert_eq!(socket.take_output(), None);
        socket.ping();
        let output = socket.take_output().unwrap_or_default();
        assert_eq!(unmask(&output), [(0x89, vec![])]);
        socket.feed(&frame(0x8a, b""));
        assert_eq!(socket.next(), Ok(Some(Frame::Pong)));
        assert_eq!(socket.next(), Ok(None));
    }

    #[test]
    fn refuses_what_the_rfc_forbids() {
        fn refused(wire: &[u8], error: WsError, code: u16) {
            check(&[wire], &[], Some(error), &[(0x88, &code.to_be_bytes())]);
        }
        use WsError::*;
        refused(&frame(0x81, &[b'x'; MAX + 1])[..4], TooLarge, 1009);
        refused(b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", TooLarge, 1009);
        let (first, last) = (frame(0x01, &[b'x'; MAX]), frame(0x80, b"x"));
        refused(&[first, last].concat(), TooLarge, 1009);
        refused(&frame(0x81, b"\xff"), NotUtf8, 1007);
        refused(
            b"\xc1\x00",
            Protocol("websocket reserved bits are set"),
            1002,
        );
        refused(
            b"\x81\x81\0\0\0\0x",
            Protocol("masked websocket frame"),
            1002,
        );
        refused(
            &frame(0x09, b""),
            Protocol("fragmented websocket control frame"),
            1002,
        );
        refused(
            &frame(0x89, &[0; 126]),
            Protocol("websocket control frame too big"),
            1002,
        );
        refused(
            &frame(0x80, b"x"),
            Protocol("websocket fragments out of order"),
            1002,
        );
        let twice = [frame(0x01, b"x"), frame(0x01, b"y")].concat();
        refused(&twice, Protocol("websocket fragments out of order"), 1002);
        refused(
            &frame(0x88, b"x"),
            Protocol("malformed websocket close frame"),
            1002,
        );
        refused(
            &frame(0x83, b""),
            Protocol("unknown websocket opcode"),
            1002,
        );
        refused(
            &frame(0x8b, b""),
            Protocol("unknown websocket opcode"),
            1002,
        );
    }

    #[test]
    fn holds_little_memory() {
        let mut socket = WebSocket::new(1 << 20);
        let large = vec![b'x'; 1 << 20];
        socket.feed(&frame(0x81, &large));
        assert!(matches!(socket.next(), Ok(Some(Frame::Text(text))) if text.len() == 1 << 20));
        assert_eq!(socket.next(), Ok(None));
        assert_eq!(socket.pipe.input.capacity(), 0);
    }

    /// Any bytes, any cut: the same outcome as in one piece.
    #[test]
    fn any_bytes() {
        let mut random = SplitMix(10);
        for _ in 0..5_000 {
            let mut wire = Vec::new();
            for _ in 0..random.below(6) {
                let first = [
                    0x81,
                    0x01,
                    0x80,
                    0x00,
                    0x82,
                    0x89,
                    0x8a,
                    0x88,
                    random.next() as u8,
                ];
                let first = first[random.below(first.len())];
                let len = random.below(8);
                wire.extend_from_slice(&frame(first, &random.bytes(len, b"\x03\xe8abc")));
            }
            if random.below(4) == 0 && !wire.is_empty() {
                let at = random.below(wire.len());
                wire[at] = random.next() as u8;
            }
            let pieces = random_split(&wire, &mut random);
            assert_eq!(run(&pieces), run(&[&wire]), "{}", wire.escape_ascii());
        }
    }
}
