//! TOML with places: which bytes of a text are which table, key and value. Dates, numbers and the
//! insides of arrays are gone over, not understood.

use super::EditError;
use std::ops::Range;

/// No host nests deeper; a hostile file must not exhaust the stack.
const DEPTH_MAX: usize = 100;

/// A text's tables and keys, in order.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// The first is the root, which has no header.
    pub(super) tables: Vec<Table>,
    pub(super) entries: Vec<Entry>,
}

/// `[a.b]`, or `[[a.b]]`.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) path: Vec<String>,
    pub(super) is_array: bool,
    /// From the header's line to the end of the last entry, without the line end.
    pub(super) span: Range<usize>,
}

/// `key = value`, on a line of its own or in an inline table.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it belongs: an index into the tables.
    pub(super) table: usize,
    /// From the root on.
    pub(super) path: Vec<String>,
    /// From the key to the end of the value; on a line of its own, the whole line with its
    /// indentation and comment, without the line end.
    pub(super) span: Range<usize>,
    pub(super) value: Range<usize>,
    /// For the member of an inline table, that table's braces.
    pub(super) within: Option<Range<usize>>,
}

impl Document {
    /// Reads a whole text.
    pub(super) fn parse(text: &str) -> Result<Document, EditError> {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let mut parser = Parser {
            text,
            at,
            document: Document::default(),
        };
        parser.document.tables.push(Table {
            path: Vec::new(),
            is_array: false,
            span: at..at,
        });
        while parser.at < text.len() {
            parser.line()?;
        }
        Ok(parser.document)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    document: Document,
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

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    fn skip_line(&mut self) {
        let len = self.rest().find('\n').unwrap_or(self.rest().len());
        self.at += self.rest()[..len].trim_end_matches('\r').len();
    }

    /// Goes over a line end, if one comes.
    fn line_end(&mut self) -> bool {
        let rest = self.rest();
        let rest = rest.strip_prefix('\r').unwrap_or(rest);
        match rest.strip_prefix('\n') {
            Some(next) => {
                self.at = self.text.len() - next.len();
                true
            }
            None => false,
        }
    }

    /// One line, or several where a value spans them.
    fn line(&mut self) -> Result<(), EditError> {
        let start = self.at;
        self.blanks();
        match self.peek() {
            None => return Ok(()),
            Some(b'#') => self.skip_line(),
            Some(b'\r' | b'\n') => {}
            Some(b'[') => self.header(start)?,
            Some(_) => {
                let table = self.document.tables.len() - 1;
                let base = self.document.tables[table].path.clone();
                let index = self.entry(table, &base, None, 0)?;
                self.blanks();
                if self.peek() == Some(b'#') {
                    self.skip_line();
                }
                self.document.entries[index].span = start..self.at;
                self.document.tables[table].span.end = self.at;
            }
        }
        match self.at == self.text.len() || self.line_end() {
            true => Ok(()),
            false => self.fail("the end of the line is missing"),
        }
    }

    fn header(&mut self, start: usize) -> Result<(), EditError> {
        let is_array = self.rest().starts_with("[[");
        let close = if is_array { "]]" } else { "]" };
        self.at += close.len();
        let path = self.key()?;
        if !self.rest().starts_with(close) {
            return self.fail("a table's name must end with ]");
        }
        self.at += close.len();
        self.blanks();
        if self.peek() == Some(b'#') {
            self.skip_line();
        }
        let span = start..self.at;
        self.document.tables.push(Table {
            path,
            is_array,
            span,
        });
        Ok(())
    }

    /// A key with its dots, and the blanks around it.
    fn key(&mut self) -> Result<Vec<String>, EditError> {
        let mut parts = Vec::new();
        loop {
            self.blanks();
            parts.push(match self.peek() {
                Some(b'"' | b'\'') => {
                    let start = self.at;
                    self.string()?;
                    decode(&self.text[start..self.at])
                }
                _ => {
                    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                    let len = self.rest().find(|c| !bare(c)).unwrap_or(self.rest().len());
                    if len == 0 {
                        return self.fail("a name is missing");
                    }
                    let name = self.rest()[..len].to_owned();
                    self.at += len;
                    name
                }
            });
            self.blanks();
            if self.peek() != Some(b'.') {
                return Ok(parts);
            }
            self.at += 1;
        }
    }

    /// A key and its value; returns its index.
    fn entry(
        &mut self,
        table: usize,
        base: &[String],
        within: Option<Range<usize>>,
        depth: usize,
    ) -> Result<usize, EditError> {
        let start = self.at;
        let mut path = base.to_vec();
        path.extend(self.key()?);
        if self.peek() != Some(b'=') {
            return self.fail("a = is missing");
        }
        self.at += 1;
        self.blanks();
        let index = self.document.entries.len();
        let value = self.at;
        self.document.entries.push(Entry {
            table,
            path: path.clone(),
            span: start..start,
            value: value..value,
            within,
        });
        match self.peek() {
            Some(b'{') => self.inline_table(table, &path, depth)?,
            _ => self.value(depth)?,
        }
        let entry = &mut self.document.entries[index];
        (entry.span, entry.value) = (start..self.at, value..self.at);
        Ok(index)
    }

    /// `{ a = 1 }`, whose members are entries, too.
    fn inline_table(
        &mut self,
        table: usize,
        path: &[String],
        depth: usize,
    ) -> Result<(), EditError> {
        if depth > DEPTH_MAX {
            return self.fail("nested too deeply");
        }
        let (start, first) = (self.at, self.document.entries.len());
        self.at += 1;
        let mut comma = true;
        loop {
            self.blanks_and_lines();
            match self.peek() {
                Some(b'}') => break,
                Some(_) if comma => {}
                _ => return self.fail("a comma or } is missing"),
            }
            self.entry(table, path, Some(start..start), depth + 1)?;
            self.blanks_and_lines();
            comma = self.peek() == Some(b',');
            self.at += usize::from(comma);
        }
        self.at += 1;
        for entry in &mut self.document.entries[first..] {
            // Members of deeper tables know theirs already.
            if let Some(within) = entry.within.as_mut().filter(|within| within.start == start) {
                within.end = self.at;
            }
        }
        Ok(())
    }

    fn blanks_and_lines(&mut self) {
        loop {
            self.blanks();
            if self.peek() == Some(b'#') {
                self.skip_line();
            }
            if !self.line_end() {
                return;
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), EditError> {
        if depth > DEPTH_MAX {
            return self.fail("nested too deeply");
        }
        match self.peek() {
            Some(b'"' | b'\'') => self.string(),
            Some(b'[') => {
                self.at += 1;
                let mut comma = true;
                loop {
                    self.blanks_and_lines();
                    match self.peek() {
                        Some(b']') => break,
                        Some(_) if comma => {}
                        _ => return self.fail("a comma or ] is missing"),
                    }
                    self.value(depth + 1)?;
                    self.blanks_and_lines();
                    comma = self.peek() == Some(b',');
                    self.at += usize::from(comma);
                }
                self.at += 1;
                Ok(())
            }
            // Within an array: nobody looks for it there, so its members are dropped again.
            Some(b'{') => {
                let first = self.document.entries.len();
                self.inline_table(0, &[], depth + 1)?;
                self.document.entries.truncate(first);
                Ok(())
            }
            _ => {
                let end = |c: char| matches!(c, ',' | ']' | '}' | '#' | '\r' | '\n');
                let len = self.rest().find(end).unwrap_or(self.rest().len());
                let len = self.rest()[..len].trim_end_matches([' ', '\t']).len();
                self.at += len;
                match len {
                    0 => self.fail("a value is missing"),
                    _ => Ok(()),
                }
            }
        }
    }

    fn string(&mut self) -> Result<(), EditError> {
        let rest = self.rest();
        let quote = if rest.starts_with('"') { '"' } else { '\'' };
        let three = [quote; 3].iter().collect::<String>();
        let is_long = rest.starts_with(&three);
        let open = if is_long { 3 } else { 1 };
        let mut escaped = false;
        for (at, c) in rest[open..].char_indices() {
            let at = open + at;
            if escaped {
                escaped = false;
                continue;
            }
            match c {
                '\\' if quote == '"' => escaped = true,
                '\n' if !is_long => break,
                c if c == quote && !is_long => {
                    self.at += at + 1;
                    return Ok(());
                }
                c if c == quote && rest[at..].starts_with(&three) => {
                    // One or two quotes may stand before the closing three.
                    let more = rest[at + 3..].chars().take_while(|c| *c == quote).count();
                    self.at += at + 3 + more.min(2);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.fail("a string without an end")
    }
}

/// A string's text; as it is written, where it holds escapes that names and values of ours never have.
pub(super) fn decode(raw: &str) -> String {
    let inner = |quote: char| raw.strip_prefix(quote).and_then(|r| r.strip_suffix(quote));
    match (inner('\''), serde_json::from_str::<String>(raw)) {
        (Some(literal), _) => literal.to_owned(),
        (None, Ok(text)) => text,
        (None, Err(_)) => raw.to_owned(),
    }
}
