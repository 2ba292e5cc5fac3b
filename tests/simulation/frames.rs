//! RFC 6455 as the simulated server speaks it, written by hand so that the engine's own reader is
//! checked and not trusted.

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// One frame of a server: no mask.
pub(crate) fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode | if last { 0x80 } else { 0 }];
    match payload.len() {
        len @ 0..126 => bytes.push(len as u8),
        len @ 126..65_536 => {
            bytes.push(126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// A text in two fragments with a ping between them: "control frames MAY be injected".
pub(crate) fn fragments(text: &str) -> Vec<u8> {
    let half = (0..=text.len() / 2).rev();
    let half = half
        .into_iter()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let (first, second) = text.split_at(half);
    let mut bytes = frame(TEXT, false, first.as_bytes());
    bytes.extend(frame(PING, true, b"between"));
    bytes.extend(frame(0, true, second.as_bytes()));
    bytes
}

/// The frames of a client as `(opcode, payload)`; `Err` says what is wrong with them. The engine
/// hands over whole frames.
pub(crate) fn read(mut bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, &'static str> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        if first & 0x70 != 0 {
            return Err("reserved bits");
        }
        if second & 0x80 == 0 {
            return Err("a client's frame without a mask");
        }
        let (len, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, _) => return Err("a client that says so much"),
            (len, rest) => (usize::from(len), rest),
        };
        let [a, b, c, d, rest @ ..] = rest else {
            return Err("half a frame");
        };
        if rest.len() < len {
            return Err("half a payload");
        }
        let mask = [*a, *b, *c, *d];
        let payload = &rest[..len];
        let masked = payload.iter().zip(mask.iter().cycle());
        frames.push((first & 0x0f, masked.map(|(byte, key)| byte ^ key).collect()));
        bytes = &rest[len..];
    }
    match bytes {
        [] => Ok(frames),
        _ => Err("half a frame"),
    }
}

#[test]
fn frames_are_as_the_rfc_shows_them() {
    // Section 5.7: a masked "Hello", and an unmasked one in two fragments.
    let hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(read(&hello), Ok(vec![(TEXT, b"Hello".to_vec())]));
    assert_eq!(frame(TEXT, false, b"Hel"), [0x01, 0x03, 0x48, 0x65, 0x6c]);
    assert_eq!(frame(0, true, b"lo"), [0x80, 0x02, 0x6c, 0x6f]);
    assert_eq!(
        frame(BINARY, true, &[0; 256])[..4],
        [0x82, 0x7e, 0x01, 0x00]
    );
}
