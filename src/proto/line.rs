//! Newline framing: what the host writes to stdin, one JSON-RPC message a line.
//!
//! Owns the cut between lines. It must never look inside one.

use memchr::memchr;

use super::grow;

/// How much of an oversize line is shown, so that its id can be found.
pub(crate) const PEEK: usize = 4096;

/// Memory above this is given back once the line that needed it is gone.
const KEEP: usize = 64 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A line, without its line end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line<'a> {
    /// The whole line; never blank.
    Complete(&'a [u8]),
    /// The line passed the limit: its first bytes, at most [`PEEK`]. The rest is skipped.
    TooLong(&'a [u8]),
}

/// Cuts a stream of bytes into lines.
///
/// Lines end with LF or CRLF; blank lines and a byte order mark at the very start are skipped. A
/// line that lies whole in the input is not copied.
#[derive(Debug)]
pub struct LineReader {
    max_bytes: usize,
    /// The start of a line whose end has not come, or the line last handed out.
    buffer: Vec<u8>,
    /// The buffer has been handed out and is to be emptied.
    spent: bool,
    /// Within an oversize line that has been reported.
    skipping: bool,
    /// How many bytes of a BOM have come; all of them once the start of the stream is past.
    bom: usize,
}

/// Where a line was found. (A borrow of the buffer can not leave the loop that may change it.)
enum Found<'a> {
    Input(&'a [u8]),
    Buffer,
    TooLongInput(&'a [u8]),
    TooLongBuffer,
}

impl LineReader {
    /// A reader of lines of at most `max_bytes`, line end not counted.
    pub fn new(max_bytes: usize) -> Self {
        LineReader {
            max_bytes,
            buffer: Vec::new(),
            spent: false,
            skipping: false,
            bom: 0,
        }
    }

    /// Takes from the front of `input` up to the end of the next line; `None` when the input is
    /// used up.
    pub fn feed<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Option<Line<'s>> {
        self.recycle();
        self.skip_bom(input);
        Some(match self.find(input)? {
            Found::Input(line) => Line::Complete(line),
            Found::Buffer => Line::Complete(trim_cr(&self.buffer)),
            Found::TooLongInput(start) => Line::TooLong(start),
            Found::TooLongBuffer => Line::TooLong(&self.buffer),
        })
    }

    /// The end of the input: a last line without a newline counts.
    pub fn finish(&mut self) -> Option<Line<'_>> {
        self.recycle();
        self.end_bom();
        self.skipping = false;
        self.spent = true;
        let line = trim_cr(&self.buffer);
        (!is_blank(line)).then_some(Line::Complete(line))
    }

    /// How many bytes wait for the rest of their line.
    pub fn buffered(&self) -> usize {
        if self.spent { 0 } else { self.buffer.len() }
    }

    fn recycle(&mut self) {
        if !std::mem::take(&mut self.spent) {
            return;
        }
        if self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
    }

    fn skip_bom(&mut self, input: &mut &[u8]) {
        while let (Some(expected), Some((byte, rest))) = (BOM.get(self.bom), input.split_first()) {
            if byte != expected {
                return self.end_bom();
            }
            self.bom += 1;
            *input = rest;
        }
    }

    /// The start of the stream is past: part of a BOM is part of the first line.
    fn end_bom(&mut self) {
        if self.bom < BOM.len() {
            self.buffer.extend_from_slice(&BOM[..self.bom]);
            self.bom = BOM.len();
        }
    }

    fn find<'a>(&mut self, input: &mut &'a [u8]) -> Option<Found<'a>> {
        while !input.is_empty() {
            let end = memchr(b'\n', input);
            let piece = &input[..end.unwrap_or(input.len())];
            if !self.skipping && self.is_too_long(piece, end.is_some()) {
                // What is left of the line, newline included, stays for the next call to skip.
                self.skipping = true;
                return Some(self.peek(piece));
            }
            *input = &input[end.map_or(input.len(), |end| end + 1)..];
            if end.is_none() {
                if !self.skipping {
                    grow::extend(&mut self.buffer, piece, self.max_bytes.saturating_add(1));
                }
                return None;
            }
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.buffer.is_empty() {
                let line = trim_cr(piece);
                if !is_blank(line) {
                    return Some(Found::Input(line));
                }
                continue;
            }
            grow::extend(&mut self.buffer, piece, self.max_bytes.saturating_add(1));
            self.spent = true;
            if !is_blank(&self.buffer) {
                return Some(Found::Buffer);
            }
            self.recycle();
        }
        None
    }

    /// Whether the line passes the limit with this piece. A CR at its end may belong to the line
    /// end, whether or not the newline has come.
    fn is_too_long(&self, piece: &[u8], ended: bool) -> bool {
        let len = self.buffer.len().saturating_add(piece.len());
        let last = if piece.is_empty() {
            &self.buffer
        } else {
            piece
        }
        .last();
        let cr = usize::from(last == Some(&b'\r'));
        debug_assert!(ended || !piece.is_empty());
        len - cr > self.max_bytes
    }

    /// The first bytes of an oversize line; nothing else of it is kept.
    fn peek<'a>(&mut self, piece: &'a [u8]) -> Found<'a> {
        if self.buffer.is_empty() {
            return Found::TooLongInput(&piece[..piece.len().min(PEEK)]);
        }
        let missing = PEEK.saturating_sub(self.buffer.len());
        self.buffer.truncate(PEEK);
        self.buffer.shrink_to(PEEK);
        self.buffer
            .extend_from_slice(&piece[..piece.len().min(missing)]);
        self.spent = true;
        Found::TooLongBuffer
    }
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::{SplitMix, every_split, random_split};

    fn read(max_bytes: usize, pieces: &[&[u8]]) -> Vec<String> {
        let mut reader = LineReader::new(max_bytes);
        let mut lines = Vec::new();
        let show = |line: Line<'_>| match line {
            Line::Complete(line) => line.escape_ascii().to_string(),
            Line::TooLong(start) => ["TOO LONG ", &start.escape_ascii().to_string()].concat(),
        };
        for piece in pieces {
            let mut input = *piece;
            while let Some(line) = reader.feed(&mut input) {
                lines.push(show(line));
                assert_eq!(reader.buffered(), 0);
            }
            assert!(input.is_empty());
            assert!(
                reader.buffered() <= max_bytes + 1,
                "room for a CR, not for more"
            );
        }
        lines.extend(reader.finish().map(show));
        assert_eq!(reader.buffered(), 0);
        assert_eq!(reader.finish(), None);
        lines
    }

    fn check(wire: &[u8], expect: &[&str]) {
        every_split(wire, |pieces| {
            assert_eq!(read(8, pieces), expect, "{pieces:?}")
        });
    }

    #[test]
    fn cuts_lines() {
        check(b"", &[]);
        check(b"a\n", &["a"]);
        check(b"a\nbc\n", &["a", "bc"]);
        check(b"a\r\nb\r\n", &["a", "b"]);
        check(b"a\r\r\nb\rc\n", &["a\\r", "b\\rc"]);
        check(b"\n\r\na\n \t \r\n\n\nb", &["a", "b"]);
        check(b"a\nlast", &["a", "last"]);
        check(b"last\r", &["last"]);
        check(b"\r", &[]);
        check(b"  ", &[]);
        check(b" a \n", &[" a "]);
        check(
            "å\u{1f980}\n".as_bytes(),
            &["\\xc3\\xa5\\xf0\\x9f\\xa6\\x80"],
        );
        check(b"\0\n\xff\n", &["\\x00", "\\xff"]);
    }

    #[test]
    fn skips_one_bom_at_the_start() {
        check(b"\xef\xbb\xbf{}\n{}\n", &["{}", "{}"]);
        check(b"\xef\xbb\xbf\n{}", &["{}"]);
        check(b"\xef\xbb\xbf", &[]);
        check(b"\xef\xbb\n", &["\\xef\\xbb"]);
        check(b"\xef\xbb", &["\\xef\\xbb"]);
        check(b"\xefa\n", &["\\xefa"]);
        check(b"\xef\xbb\xbf\xef\xbb\xbf\n", &["\\xef\\xbb\\xbf"]);
        check(b"a\n\xef\xbb\xbf\n", &["a", "\\xef\\xbb\\xbf"]);
        check(b"\xef\xbb\xbf12345678\n", &["12345678"]);
    }

    #[test]
    fn limits_lines() {
        check(b"12345678\n12345678\r\n12345678", &["12345678"; 3]);
        let check = |wire: &[u8], rest: &[&str]| {
            every_split(wire, |pieces| {
                let lines = read(8, pieces);
                assert!(lines[0].starts_with("TOO LONG 12345678"), "{lines:?}");
                assert_eq!(lines[1..], *rest);
            });
        };
        check(b"123456789\nnext\n", &["next"]);
        check(b"123456789\r\n\nnext", &["next"]);
        check(b"12345678\rx\nnext\n", &["next"]);
        check(b"12345678\r\r\nnext\n", &["next"]);
        check(b"12345678901234567890\nnext\r\n", &["next"]);
        check(b"123456789", &[]);
    }

    #[test]
    fn an_oversize_line_is_reported_at_once_and_not_kept() {
        let mut reader = LineReader::new(1 << 20);
        let piece = vec![b'x'; 300_000];
        let mut reports = 0;
        for _ in 0..20 {
            let mut input = piece.as_slice();
            while let Some(line) = reader.feed(&mut input) {
                assert!(matches!(line, Line::TooLong(start) if start.len() == PEEK));
                reports += 1;
            }
            assert!(reports == 0 || (reader.buffered() == 0 && reader.buffer.capacity() <= PEEK));
        }
        assert_eq!(reports, 1);
        let mut input = b"end of it\nnext\n".as_slice();
        assert_eq!(reader.feed(&mut input), Some(Line::Complete(b"next")));
        assert_eq!(reader.feed(&mut input), None);
    }

    #[test]
    fn copies_only_torn_lines() {
        let mut reader = LineReader::new(100);
        let mut input = b"one\ntwo\r\n\nthr".as_slice();
        let range = input.as_ptr_range();
        for _ in 0..2 {
            let Some(Line::Complete(line)) = reader.feed(&mut input) else {
                panic!("a line")
            };
            assert!(range.contains(&line.as_ptr()));
        }
        assert_eq!(reader.feed(&mut input), None);
        assert_eq!(reader.buffered(), 3);
    }

    #[test]
    fn gives_memory_back() {
        let mut reader = LineReader::new(usize::MAX);
        for fill in [b'x', b' '] {
            let long = vec![fill; 10 << 20];
            for piece in long.chunks(65_536) {
                assert_eq!(reader.feed(&mut &*piece), None);
            }
            assert!(reader.buffer.capacity() < 13 << 20);
            let mut input = b"\nnext\n".as_slice();
            if fill == b'x' {
                let line = reader.feed(&mut input);
                assert!(matches!(line, Some(Line::Complete(line)) if line.len() == 10 << 20));
            }
            assert_eq!(reader.feed(&mut input), Some(Line::Complete(b"next")));
            assert_eq!(reader.buffer.capacity(), 0);
        }
    }

    /// Any bytes, any cut: the same lines as in one piece.
    #[test]
    fn any_bytes() {
        let mut random = SplitMix(8);
        for _ in 0..20_000 {
            let len = random.below(50);
            let wire = random.bytes(len, b"ab \r\n\xef\xbb\xbf");
            // How much of an oversize line is shown depends on the cut.
            let lines = |pieces: &[&[u8]]| {
                let mut lines = read(8, pieces);
                for line in lines.iter_mut().filter(|line| line.starts_with("TOO LONG")) {
                    line.truncate(8);
                }
                lines
            };
            let pieces = random_split(&wire, &mut random);
            assert_eq!(lines(&pieces), lines(&[&wire]), "{}", wire.escape_ascii());
        }
    }
}
