//! The three ways a body can be framed (RFC 9112 section 6.3). Data passes through as slices of
//! the input; nothing is buffered here.

use memchr::memchr2;

use super::HttpError;

/// The most bytes one chunk extension, or the whole trailer section, may take: they carry nothing
/// for us, but a peer could send them for ever.
pub(crate) const MAX_OVERHEAD: u32 = 16 * 1024;

/// A piece of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Piece<'a> {
    /// Some of its data; never empty.
    Data(&'a [u8]),
    /// Its end.
    End,
}

/// Reads one body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum BodyReader {
    /// No body at all: 204, 304.
    None,
    /// As many bytes as Content-Length said; the number is what is left.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked(Dechunker),
    /// All that comes until the peer closes.
    Close,
}

impl BodyReader {
    /// Takes from the front of `input`; `None` when more is needed. Not to be called after the end.
    pub(crate) fn read<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Piece<'a>>, HttpError> {
        match self {
            BodyReader::None | BodyReader::Length(0) => Ok(Some(Piece::End)),
            BodyReader::Length(left) => Ok(take_data(input, left).map(Piece::Data)),
            BodyReader::Chunked(dechunker) => dechunker.read(input),
            BodyReader::Close => {
                let data = std::mem::take(input);
                Ok((!data.is_empty()).then_some(Piece::Data(data)))
            }
        }
    }

    /// Whether the body is complete if the peer closes now.
    pub(crate) fn ends_here(&self) -> bool {
        match self {
            BodyReader::None | BodyReader::Close => true,
            BodyReader::Length(left) => *left == 0,
            BodyReader::Chunked(dechunker) => dechunker.state == State::Done,
        }
    }
}

/// Up to `left` bytes of the input, and none of them copied.
fn take_data<'a>(input: &mut &'a [u8], left: &mut u64) -> Option<&'a [u8]> {
    let take = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(input.len());
    let (data, rest) = input.split_at(take);
    *input = rest;
    *left -= take as u64;
    (!data.is_empty()).then_some(data)
}

/// Takes a chunked body apart (RFC 9112 section 7.1). Strict about CRLF: where two parsers see
/// different chunks, one of them can be smuggled past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dechunker {
    state: State,
    /// What the extension or the trailer section may still take.
    allowance: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Before the first digit of a chunk size.
    Start,
    /// Within the digits.
    Size(u64),
    /// Behind the digits, up to CR.
    Extension(u64),
    /// Behind that CR.
    SizeLf(u64),
    /// Within the data.
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    /// Within one.
    TrailerLine,
    TrailerLf,
    /// Behind the CR of the empty line that ends it all.
    LastLf,
    Done,
}

impl Dechunker {
    /// At the start of a body.
    pub(crate) fn new() -> Self {
        Dechunker {
            state: State::Start,
            allowance: MAX_OVERHEAD,
        }
    }

    fn read<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, HttpError> {
        loop {
            match &mut self.state {
                State::Data(left) => {
                    let data = take_data(input, left);
                    if *left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(data.map(Piece::Data));
                }
                State::Extension(_) | State::TrailerLine => {
                    if !self.skip_to_cr(input)? {
                        return Ok(None);
                    }
                }
                State::Done => return Ok(Some(Piece::End)),
                _ => {
                    let Some((&byte, rest)) = input.split_first() else {
                        return Ok(None);
                    };
                    *input = rest;
                    self.step(byte)?;
                }
            }
        }
    }

    /// The states that look at one byte: a dozen for each chunk.
    fn step(&mut self, byte: u8) -> Result<(), HttpError> {
        self.state = match (self.state, byte) {
            (State::Start, _) => State::Size(hex(byte).ok_or(BAD_SIZE)?),
            (State::Size(n), b'\r') => State::SizeLf(n),
            // chunk-ext = *( BWS ";" BWS chunk-ext-name [ … ] )
            (State::Size(n), b';' | b' ' | b'\t') => State::Extension(n),
            (State::Size(n), _) => {
                let digit = hex(byte).ok_or(BAD_SIZE)?;
                self.spend(1)?; // for leading zeros without end
                // "Recipients MUST anticipate potentially large hexadecimal numerals and prevent
                // parsing errors due to integer conversion overflows."
                State::Size(n.checked_mul(16).ok_or(HUGE)? | digit)
            }
            (State::SizeLf(0), b'\n') => {
                self.allowance = MAX_OVERHEAD;
                State::Trailer
            }
            (State::SizeLf(n), b'\n') => {
                self.allowance = MAX_OVERHEAD;
                State::Data(n)
            }
            (State::SizeLf(_), _) => return Err(HttpError::BadChunk("chunk size without CRLF")),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Start,
            (State::DataCr | State::DataLf, _) => {
                return Err(HttpError::BadChunk("chunk longer than its size"));
            }
            (State::Trailer, b'\r') => State::LastLf,
            (State::Trailer, b'\n') => return Err(BARE_LF),
            (State::Trailer, _) => {
                self.spend(1)?;
                State::TrailerLine
            }
            (State::TrailerLf, b'\n') => State::Trailer,
            (State::LastLf, b'\n') => State::Done,
            (State::TrailerLf | State::LastLf, _) => {
                return Err(HttpError::BadChunk("bare CR in the trailer section"));
            }
            // Handled in `read`.
            (State::Extension(_) | State::Data(_) | State::TrailerLine | State::Done, _) => {
                self.state
            }
        };
        Ok(())
    }

    /// Skips to behind the next CR; false when the input ends before it.
    fn skip_to_cr(&mut self, input: &mut &[u8]) -> Result<bool, HttpError> {
        let end = memchr2(b'\r', b'\n', input);
        self.spend(end.unwrap_or(input.len()))?;
        let Some(end) = end else {
            *input = &[];
            return Ok(false);
        };
        if input[end] == b'\n' {
            return Err(BARE_LF);
        }
        *input = &input[end + 1..];
        self.state = match self.state {
            State::Extension(n) => State::SizeLf(n),
            _ => State::TrailerLf,
        };
        Ok(true)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), HttpError> {
        let left = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.allowance.checked_sub(bytes));
        self.allowance = left.ok_or(HttpError::ChunkOverhead)?;
        Ok(())
    }
}

impl Default for Dechunker {
    fn default() -> Self {
        Self::new()
    }
}

const BAD_SIZE: HttpError = HttpError::BadChunk("chunk size is not a hexadecimal number");
const HUGE: HttpError = HttpError::BadChunk("chunk size too large");
const BARE_LF: HttpError = HttpError::BadChunk("line feed without carriage return");

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{SplitMix, every_split, random_split};

    /// The data, whether the end was seen, and what was left of the input.
    type Outcome = Result<(Vec<u8>, bool, Vec<u8>), HttpError>;

    fn read(mut body: BodyReader, pieces: &[&[u8]]) -> Outcome {
        let (mut data, mut rest, mut ended) = (Vec::new(), Vec::new(), false);
        for piece in pieces {
            let mut input = *piece;
            while !ended {
                match body.read(&mut input)? {
                    Some(Piece::Data(part)) => {
                        assert!(!part.is_empty());
                        data.extend_from_slice(part);
                    }
                    Some(Piece::End) => ended = true,
                    None => {
                        assert!(input.is_empty(), "bytes left although more is needed");
                        break;
                    }
                }
            }
            rest.extend_from_slice(input);
        }
        Ok((data, ended, rest))
    }

    fn check(body: &BodyReader, wire: &[u8], expect: &Outcome) {
        every_split(wire, |pieces| {
            assert_eq!(
                read(body.clone(), pieces),
                *expect,
                "{:?}",
                wire.escape_ascii().to_string()
            );
        });
        // No prefix of a good body is an error, nor is it complete.
        if let Ok((_, true, rest)) = expect
            && let Some(last) = wire.len().checked_sub(rest.len() + 1)
        {
            for at in 0..=last {
                let (_, ended, _) = read(body.clone(), &[&wire[..at]]).expect("a prefix");
                assert!(!ended, "ended after {at} bytes");
            }
        }
    }

    fn chunked() -> BodyReader {
        BodyReader::Chunked(Dechunker::new())
    }

    #[test]
    fn reads_lengths() {
        let check = |length, wire: &str, data: &str, ended, rest: &str| {
            let expect = Ok((data.into(), ended, rest.into()));
            check(&BodyReader::Length(length), wire.as_bytes(), &expect);
        };
        check(5, "hello", "hello", true, "");
        check(5, "helloHTTP/1.1", "hello", true, "HTTP/1.1");
        check(6, "hello", "hello", false, "");
        check(u64::MAX, "hello", "hello", false, "");
        assert_eq!(
            read(BodyReader::Length(0), &[b"x"]),
            Ok((vec![], true, b"x".to_vec()))
        );
        assert_eq!(
            read(BodyReader::None, &[b"x"]),
            Ok((vec![], true, b"x".to_vec()))
        );
        assert_eq!(
            read(BodyReader::Close, &[b"x", b"y"]),
            Ok((b"xy".to_vec(), false, vec![]))
        );
    }

    #[test]
    fn reads_chunks() {
        let check = |wire: &str, data: &str, rest: &str| {
            check(
                &chunked(),
                wire.as_bytes(),
                &Ok((data.into(), true, rest.into())),
            );
        };
        check("0\r\n\r\n", "", "");
        check("5\r\nhello\r\n0\r\n\r\n", "hello", "");
        check(
            "1\r\na\r\n00A\r\n0123456789\r\n000\r\n\r\nHTTP",
            "a0123456789",
            "HTTP",
        );
        check("b\r\nhello\r\nworl\r\n0\r\n\r\n", "hello\r\nworl", "");
        check("2;a=b;c=\"d;e\"\r\nhi\r\n0;last\r\n\r\n", "hi", "");
        check("2 \t; a\r\nhi\r\n0 \r\n\r\n", "hi", "");
        check("1\r\na\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\nrest", "a", "rest");
        check("00000000000000000000001\r\na\r\n0\r\n\r\n", "a", "");
    }

    #[test]
    fn refuses_broken_chunks() {
        let check = |wire: &str, expect: HttpError| {
            check(&chunked(), wire.as_bytes(), &Err(expect));
        };
        for wire in [
            "\r\n", "\n", "x", "-1", "+1", " 1", "0x1", "1g", "1\n", ";a\r\n", "\0",
        ] {
            check(wire, BAD_SIZE);
        }
        check("10000000000000000\r\n", HUGE);
        check("fffffffffffffffff\r\n", HUGE);
        check("1;a\nb", BARE_LF);
        check("0\r\n\n", BARE_LF);
        check("0\r\nA: b\n\n", BARE_LF);
        check("1\rx", HttpError::BadChunk("chunk size without CRLF"));
        check("1\r\r", HttpError::BadChunk("chunk size without CRLF"));
        check("1;\rx", HttpError::BadChunk("chunk size without CRLF"));
        check("1\r\nab", HttpError::BadChunk("chunk longer than its size"));
        check(
            "1\r\na\n",
            HttpError::BadChunk("chunk longer than its size"),
        );
        check(
            "1\r\na\rb",
            HttpError::BadChunk("chunk longer than its size"),
        );
        check(
            "0\r\n\rx",
            HttpError::BadChunk("bare CR in the trailer section"),
        );
        check(
            "0\r\nA\rx",
            HttpError::BadChunk("bare CR in the trailer section"),
        );
    }

    #[test]
    fn a_huge_chunk_is_only_a_number() {
        let expect = Ok((b"abc".to_vec(), false, vec![]));
        check(&chunked(), b"ffffffffffffffff\r\nabc", &expect);
    }

    #[test]
    fn limits_what_is_skipped() {
        let long = "x".repeat(MAX_OVERHEAD as usize + 1);
        for head in ["1;", "0\r\n", "0\r\na: b\r\n"] {
            let wire = [head, &long].concat();
            for size in [1, 7, 1000, wire.len()] {
                let pieces: Vec<&[u8]> = wire.as_bytes().chunks(size).collect();
                assert_eq!(read(chunked(), &pieces), Err(HttpError::ChunkOverhead));
            }
        }
        let zeros = "0".repeat(MAX_OVERHEAD as usize + 3);
        assert_eq!(
            read(chunked(), &[zeros.as_bytes()]),
            Err(HttpError::ChunkOverhead)
        );
        // The limit is for each chunk: a long stream may carry a signature on every one.
        let signed = ["1;", &long[..10_000], "\r\na\r\n"].concat().repeat(5) + "0\r\n\r\n";
        let expect = Ok((b"aaaaa".to_vec(), true, vec![]));
        assert_eq!(read(chunked(), &[signed.as_bytes()]), expect);
    }

    #[test]
    fn large_data_stays_in_large_slices() {
        let wire = [
            b"a00000\r\n".as_slice(),
            &vec![b'x'; 10 << 20],
            b"\r\n0\r\n\r\n",
        ]
        .concat();
        let mut input = wire.as_slice();
        let piece = chunked().read(&mut input);
        assert!(matches!(piece, Ok(Some(Piece::Data(data))) if data.len() == 10 << 20));
    }

    /// Any bytes, any cut: the same outcome as in one piece.
    #[test]
    fn any_bytes() {
        let mut random = SplitMix(2);
        for _ in 0..20_000 {
            let len = random.below(40);
            let wire = random.bytes(len, b"0012a;\r\n\r\n\r\n");
            let whole = read(chunked(), &[&wire]);
            let pieces = random_split(&wire, &mut random);
            assert_eq!(read(chunked(), &pieces), whole, "{}", wire.escape_ascii());
        }
    }
}
