//! Edits of YAML text, line by line: names in block style are found by their indentation, which is
//! sound, because whatever belongs to a name is indented deeper. What this can not see through
//! (anchors, flow style where an entry must go in, tabs) is refused, never guessed.

use super::EditError;
use super::value::{Value, is_list};
use std::ops::Range;

const BY_HAND: &str = "written in a way that can not be edited safely; add the entry by hand";

/// What a name in block style does not begin with.
const SIGNS: [char; 11] = ['\t', '{', '[', '%', '?', '&', '*', '!', '|', '>', '-'];

/// White space within a line (YAML 1.2.2 section 5.5): a form feed or a no-break space is a text.
const WHITE: [char; 2] = [' ', '\t'];

/// A line without its end.
struct Line<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    indent: usize,
}

impl Line<'_> {
    fn content(&self) -> &str {
        self.text[self.indent..].trim_end_matches(WHITE)
    }

    fn is_blank(&self) -> bool {
        self.content().is_empty()
    }

    fn is_comment(&self) -> bool {
        self.content().starts_with('#')
    }

    fn is_item(&self) -> bool {
        self.content() == "-" || self.content().starts_with("- ")
    }

    fn is_name(&self) -> bool {
        !self.content().starts_with(SIGNS) && name_and_rest(self.content()).is_some()
    }
}

/// See [`super::Format::set`].
pub(super) fn set(text: &str, path: &[&str], value: &Value) -> Result<String, EditError> {
    let lines = read(text)?;
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (mut range, mut indent) = (0..lines.len(), 0);
    for (depth, name) in path.iter().enumerate() {
        let is_last = depth + 1 == path.len();
        let mut new = String::new();
        let Some(at) = find(&lines, range.clone(), indent, name)? else {
            let value = value.clone().nested(&path[depth + 1..]);
            value.push_yaml(&mut new, name, indent, line_end);
            return Ok(insert(text, &lines, range, &new, line_end));
        };
        let block = block(&lines, at, range.end);
        let (_, rest) = name_and_rest(lines[at].content()).unwrap_or_default();
        if is_last {
            if equals(rest, block.len(), value) {
                return Ok(text.to_owned());
            }
            value.push_yaml(&mut new, name, indent, line_end);
            let cut = lines[at].start..lines[block.end - 1].end;
            return Ok([&text[..cut.start], &new, &text[cut.end..]].concat());
        }
        let rest = plain(rest);
        let first = (at + 1..block.end).find(|i| !lines[*i].is_blank() && !lines[*i].is_comment());
        match first {
            None if matches!(rest, "" | "{}" | "null" | "~") => {
                let value = value.clone().nested(&path[depth + 1..]);
                value.push_yaml(&mut new, name, indent, line_end);
                let cut = lines[at].start..lines[at].end;
                return Ok([&text[..cut.start], &new, &text[cut.end..]].concat());
            }
            Some(first) if rest.is_empty() && lines[first].is_item() => {
                return Err(EditError::NotAnObject((*name).to_owned()));
            }
            Some(first) if rest.is_empty() && lines[first].indent > indent => {
                (range, indent) = (at + 1..block.end, lines[first].indent);
                let mut own = lines[range.clone()].iter().filter(|l| l.indent == indent);
                // A text or flow style that begins on a line of its own.
                if !own.all(|l| l.is_blank() || l.is_comment() || l.is_item() || l.is_name()) {
                    return Err(EditError::Unsafe(first + 1, BY_HAND));
                }
            }
            _ => return Err(EditError::Unsafe(at + 1, BY_HAND)),
        }
    }
    Ok(text.to_owned())
}

/// See [`super::Format::remove`].
pub(super) fn remove(text: &str, path: &[&str]) -> Result<String, EditError> {
    let lines = read(text)?;
    let Some(block) = locate(&lines, path)? else {
        return Ok(text.to_owned());
    };
    let start = lines[block.start].start;
    let end = lines.get(block.end).map_or(text.len(), |line| line.start);
    Ok([&text[..start], &text[end..]].concat())
}

/// See [`super::Format::get`].
pub(super) fn get<'a>(text: &'a str, path: &[&str]) -> Result<Option<&'a str>, EditError> {
    let lines = read(text)?;
    let block = locate(&lines, path)?;
    Ok(block.map(|block| &text[lines[block.start].start..lines[block.end - 1].end]))
}

/// The lines of what stands at a path.
fn locate(lines: &[Line<'_>], path: &[&str]) -> Result<Option<Range<usize>>, EditError> {
    let (mut range, mut indent, mut found) = (0..lines.len(), 0, None);
    for name in path {
        let Some(at) = find(lines, range.clone(), indent, name)? else {
            return Ok(None);
        };
        let own = block(lines, at, range.end);
        range = at + 1..own.end;
        found = Some(own);
        let first = range
            .clone()
            .find(|i| !lines[*i].is_blank() && !lines[*i].is_comment());
        indent = first.map_or(usize::MAX, |first| lines[first].indent);
    }
    Ok(found)
}

fn read(text: &str) -> Result<Vec<Line<'_>>, EditError> {
    let mut lines = Vec::new();
    let mut start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let (mut begun, mut marked) = (false, false);
    while start < text.len() {
        let len = text[start..].find('\n');
        let end = len.map_or(text.len(), |len| start + len);
        let own = text[start..end].trim_end_matches('\r');
        let line = Line {
            text: own,
            start,
            end: start + own.len(),
            indent: own.len() - own.trim_start_matches(' ').len(),
        };
        check(&line, lines.len() + 1, begun, marked)?;
        let says = !line.is_blank() && !line.is_comment();
        begun |= says && line.content() != "---";
        marked |= says;
        lines.push(line);
        start = end + 1;
    }
    Ok(lines)
}

/// Refuses what is no block style of names at the top.
fn check(line: &Line<'_>, number: usize, begun: bool, marked: bool) -> Result<(), EditError> {
    let content = line.content();
    if content.starts_with('\t') && !line.is_blank() && line.indent == 0 {
        return Err(EditError::Unsafe(
            number,
            "begins with a tab, which YAML does not allow",
        ));
    }
    // A carriage return ends a line in YAML, too (section 5.4), and nobody writes it alone.
    let indented = line.indent > 0 && !begun && !line.is_blank() && !line.is_comment();
    if indented || line.text.contains('\r') {
        return Err(EditError::Unsafe(number, BY_HAND));
    }
    if line.indent > 0 || line.is_blank() || line.is_comment() || line.is_item() && begun {
        return Ok(());
    }
    match content {
        "---" if !marked => Ok(()),
        "---" | "..." => Err(EditError::Unsafe(number, BY_HAND)),
        _ if content.starts_with(SIGNS) => Err(EditError::Unsafe(number, BY_HAND)),
        _ if name_and_rest(content).is_some() => Ok(()),
        _ => Err(EditError::Malformed(
            number,
            1,
            "\"name: value\" was expected",
        )),
    }
}

/// What stands before white space and `#`.
fn without_comment(text: &str) -> &str {
    let end = [" #", "\t#"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min();
    text[..end.unwrap_or(text.len())].trim_end_matches(WHITE)
}

/// `name: rest`, the name without its quotes.
fn name_and_rest(content: &str) -> Option<(&str, &str)> {
    if let Some(quote) = content.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let (name, rest) = content[1..].split_once(quote)?;
        return Some((
            name,
            rest.trim_start_matches(WHITE)
                .strip_prefix(':')?
                .trim_matches(WHITE),
        ));
    }
    // What stands in a comment is no name.
    let own = without_comment(content);
    let (name, rest) = match own.find(": ") {
        Some(at) => (&content[..at], &content[at + 2..]),
        None => (own.strip_suffix(':')?, ""),
    };
    Some((name.trim_end_matches(WHITE), rest.trim_matches(WHITE)))
}

fn find(
    lines: &[Line<'_>],
    range: Range<usize>,
    indent: usize,
    name: &str,
) -> Result<Option<usize>, EditError> {
    let is_named = |at: &usize| {
        let line = &lines[*at];
        line.indent == indent
            && !line.is_comment()
            && name_and_rest(line.content()).is_some_and(|(own, _)| own == name)
    };
    let mut named = range.filter(is_named);
    match (named.next(), named.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(EditError::Twice(name.to_owned())),
    }
}

/// The lines that belong to the name on a line: all that are indented deeper, and list items beside
/// it. Blank lines and comments at the end belong to what follows.
fn block(lines: &[Line<'_>], at: usize, end: usize) -> Range<usize> {
    let indent = lines[at].indent;
    let mut last = at;
    for (index, line) in lines.iter().enumerate().take(end).skip(at + 1) {
        if line.is_blank() || (line.is_comment() && line.indent <= indent) {
            continue;
        }
        if line.indent < indent || (line.indent == indent && !line.is_item()) {
            break;
        }
        last = index;
    }
    at..last + 1
}

/// A scalar without a comment behind it.
fn plain(rest: &str) -> &str {
    match rest.strip_prefix('#') {
        Some(_) => "",
        None => without_comment(rest),
    }
}

fn equals(rest: &str, lines: usize, value: &Value) -> bool {
    let one_line = lines == 1;
    match value {
        Value::Text(new) if rest.starts_with('"') => {
            one_line && serde_json::from_str::<String>(rest).is_ok_and(|old| old == *new)
        }
        Value::Text(new) if rest.starts_with('\'') => {
            let inner = rest.strip_prefix('\'').and_then(|r| r.strip_suffix('\''));
            one_line && inner.is_some_and(|inner| inner.replace("''", "'") == *new)
        }
        Value::Text(new) => one_line && plain(rest) == new,
        Value::Raw(new) => one_line && plain(rest) == *new,
        Value::List(items) => one_line && is_list(plain(rest), items),
        Value::Map(_) => false,
    }
}

/// New lines behind the last one of a range that says something.
fn insert(
    text: &str,
    lines: &[Line<'_>],
    range: Range<usize>,
    new: &str,
    line_end: &str,
) -> String {
    let indent = new.len() - new.trim_start_matches(' ').len();
    let says = |at: &usize| {
        let line = &lines[*at];
        !line.is_blank() && (!line.is_comment() || line.indent >= indent)
    };
    match range.rev().find(says) {
        Some(at) => {
            let at = lines[at].end;
            [&text[..at], line_end, new, &text[at..]].concat()
        }
        None => [text, new, line_end].concat(),
    }
}
