//! JSON with places: which bytes of a text are which value. Comments and trailing commas are let
//! stand, and for JSON5 names without quotes and strings in single quotes.

use super::EditError;
use std::ops::Range;

/// No host nests deeper; a hostile file must not exhaust the stack.
const DEPTH_MAX: usize = 100;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Kind {
    Object(Object),
    Array,
    Text(String),
    /// A number, true, false, null.
    Other,
}

/// The members of an object, in order.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) members: Vec<Member>,
    /// The end of the last thing before the closing brace: the opening one, a member, a comma, a
    /// comment.
    pub(super) tail: usize,
}

/// A name and its value.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) start: usize,
    pub(super) value: Node,
    /// The end of the comma behind it, if there is one.
    pub(super) comma: Option<usize>,
}

/// Reads a whole text; `None` where nothing but blanks and comments is in it.
pub(super) fn parse(text: &str, json5: bool) -> Result<Option<Node>, EditError> {
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut parser = Parser {
        text,
        at,
        solid: at,
        json5,
    };
    parser.skip()?;
    if parser.at == text.len() {
        return match parser.solid == at {
            true => Ok(None),
            false => parser.fail("a comment, but no configuration"),
        };
    }
    let root = parser.value(0)?;
    parser.skip()?;
    match parser.at == text.len() {
        true => Ok(Some(root)),
        false => parser.fail("more text after the end of the configuration"),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The end of the last token or comment.
    solid: usize,
    json5: bool,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, what: &'static str) -> Result<T, EditError> {
        Err(EditError::malformed(self.text, self.at, what))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, len: usize) {
        self.at += len;
        self.solid = self.at;
    }

    /// Goes over blanks and comments.
    fn skip(&mut self) -> Result<(), EditError> {
        loop {
            let blanks = self.rest().trim_start_matches([' ', '\t', '\r', '\n']);
            self.at = self.text.len() - blanks.len();
            if blanks.starts_with("//") {
                let line = blanks.lines().next().unwrap_or_default();
                self.take(line.trim_end_matches('\r').len());
            } else if blanks.starts_with("/*") {
                match blanks.find("*/") {
                    Some(end) => self.take(end + 2),
                    None => return self.fail("a comment without an end"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, EditError> {
        if depth > DEPTH_MAX {
            return self.fail("nested too deeply");
        }
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => Kind::Object(self.object(depth)?),
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'\'') if self.json5 => Kind::Text(self.string()?),
            _ => {
                self.word()?;
                Kind::Other
            }
        };
        Ok(Node {
            span: start..self.at,
            kind,
        })
    }

    fn object(&mut self, depth: usize) -> Result<Object, EditError> {
        let mut object = Object::default();
        self.take(1);
        loop {
            self.skip()?;
            object.tail = self.solid;
            let start = self.at;
            let name = match self.peek() {
                Some(b'}') => {
                    self.take(1);
                    return Ok(object);
                }
                Some(_)
                    if object
                        .members
                        .last()
                        .is_some_and(|last| last.comma.is_none()) =>
                {
                    return self.fail("a comma or } is missing");
                }
                Some(b'"') => self.string()?,
                Some(b'\'') if self.json5 => self.string()?,
                Some(_) if self.json5 => self.name()?,
                _ => return self.fail("a name in double quotes or } is missing"),
            };
            self.skip()?;
            if self.peek() != Some(b':') {
                return self.fail("a colon is missing");
            }
            self.take(1);
            self.skip()?;
            let value = self.value(depth + 1)?;
            object.members.push(Member {
                name,
                start,
                value,
                comma: self.comma()?,
            });
        }
    }

    fn array(&mut self, depth: usize) -> Result<Kind, EditError> {
        self.take(1);
        let (mut is_empty, mut comma) = (true, None);
        loop {
            self.skip()?;
            match self.peek() {
                Some(b']') => {
                    self.take(1);
                    return Ok(Kind::Array);
                }
                Some(_) if !is_empty && comma.is_none() => {
                    return self.fail("a comma or ] is missing");
                }
                _ => {}
            }
            self.value(depth + 1)?;
            is_empty = false;
            comma = self.comma()?;
        }
    }

    /// The end of a comma, if one comes next. Comments before it are gone over.
    fn comma(&mut self) -> Result<Option<usize>, EditError> {
        self.skip()?;
        Ok((self.peek() == Some(b',')).then(|| {
            self.take(1);
            self.at
        }))
    }

    fn string(&mut self) -> Result<String, EditError> {
        let bytes = self.rest().as_bytes();
        let quote = bytes[0];
        let mut end = 1;
        while bytes.get(end).is_some_and(|byte| *byte != quote) {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        if end >= bytes.len() {
            return self.fail("a string without an end");
        }
        let raw = &self.rest()[..=end];
        let decoded = match serde_json::from_str(raw) {
            Ok(text) => text,
            // Only compared with names and values of ours, which need no escapes.
            Err(_) if self.json5 => raw[1..end].replace("\\'", "'"),
            Err(_) => return self.fail("a string with a line break or a wrong escape"),
        };
        self.take(end + 1);
        Ok(decoded)
    }

    /// A name without quotes.
    fn name(&mut self) -> Result<String, EditError> {
        let part = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || matches!(c, '_' | '$');
        let len = self.rest().find(|c| !part(c)).unwrap_or(0);
        if len == 0 {
            return self.fail("a name or } is missing");
        }
        let name = self.rest()[..len].to_owned();
        self.take(len);
        Ok(name)
    }

    fn word(&mut self) -> Result<(), EditError> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let len = self.rest().find(|c| !part(c)).unwrap_or(self.rest().len());
        let word = &self.rest()[..len];
        let known = match self.json5 {
            true => len > 0,
            false => serde_json::from_str::<serde::de::IgnoredAny>(word).is_ok(),
        };
        if !known {
            return self.fail("a value is missing or malformed");
        }
        self.take(len);
        Ok(())
    }
}
