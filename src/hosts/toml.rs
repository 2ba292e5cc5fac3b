//! Edits of TOML text: only the lines of our own table change. A table may be written with a header,
//! inline, or with dotted keys; what stands elsewhere stays byte for byte.

use super::EditError;
use super::toml_tree::{Document, Entry, decode};
use super::value::{Value, is_list, list, quoted};
use std::ops::Range;

/// See [`super::Format::set`].
pub(super) fn set(text: &str, path: &[&str], value: &Value) -> Result<String, EditError> {
    let document = Document::parse(text)?;
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    check(&document, path)?;
    if let Some(entry) = exact(&document, path)? {
        if equals(&text[entry.value.clone()], value) {
            return Ok(text.to_owned());
        }
        return Ok(with(text, entry.value.clone(), &inline(value)));
    }
    // What was there goes as a whole: it is of another kind.
    let entries = document.entries.iter().map(|entry| &entry.path);
    let mut paths = entries.chain(document.tables.iter().map(|table| &table.path));
    if paths.any(|own| own.starts_with_names(path)) {
        return set(&remove(text, path)?, path, value);
    }
    if let Some(holder) = inline_holder(text, &document, path)? {
        let name = path[holder.path.len()..].join(".");
        return Ok(insert_member(text, &document, holder, &name, value));
    }
    let (name, parent) = path.split_last().unwrap_or((&"", &[]));
    if let Value::Map(_) = value {
        let mut new = text.to_owned();
        if !new.is_empty() && !new.ends_with('\n') {
            new.push_str(line_end);
        }
        if !new.trim_start_matches('\u{feff}').trim().is_empty() {
            new.push_str(line_end);
        }
        push_table(&mut new, path, value, line_end);
        return Ok(new);
    }
    let line = |name: &str| format!("{line_end}{name} = {}", inline(value));
    let header = document.tables.iter().find(|table| table.path == parent);
    if let Some(table) = header {
        let at = table.span.end;
        return Ok(with(text, at..at, &line(&key(name))));
    }
    // `env.A = 1` in the table above: a header for `env` would define it twice.
    let dotted = document.entries.iter().rfind(|entry| {
        entry.within.is_none()
            && entry.path.starts_with_names(parent)
            && document.tables[entry.table].path.len() < parent.len()
    });
    if let Some(entry) = dotted {
        let from = document.tables[entry.table].path.len();
        let names: Vec<String> = path[from..].iter().map(|name| key(name)).collect();
        let at = entry.span.end;
        return Ok(with(text, at..at, &line(&names.join("."))));
    }
    let mut new = String::new();
    new.extend([line_end, line_end]);
    push_header(&mut new, parent);
    new.push_str(&line(&key(name)));
    let above = &parent[..parent.len().saturating_sub(1)];
    let near = document.tables.iter().rfind(|table| table.path == above);
    let at = near.map_or(text.trim_end().len(), |table| table.span.end);
    Ok(with(text, at..at, &new))
}

/// See [`super::Format::remove`].
pub(super) fn remove(text: &str, path: &[&str]) -> Result<String, EditError> {
    let document = Document::parse(text)?;
    check(&document, path)?;
    let mut cuts: Vec<Range<usize>> = Vec::new();
    for entry in &document.entries {
        if entry.path.starts_with_names(path) {
            cuts.push(match &entry.within {
                None => whole_lines(text, &entry.span),
                Some(_) => member_cut(&document, entry),
            });
        }
    }
    let tables = document.tables.iter().skip(1);
    for table in tables.filter(|table| table.path.starts_with_names(path)) {
        let mut cut = whole_lines(text, &table.span);
        // The empty line that sets it apart goes with it.
        for blank in ["\r\n", "\n"] {
            let before = &text[..cut.start];
            if before.ends_with(&[blank, blank].concat()) {
                cut.start -= blank.len();
                break;
            }
        }
        cuts.push(cut);
    }
    cuts.sort_by_key(|cut| (cut.start, std::cmp::Reverse(cut.end)));
    let (mut out, mut at) = (String::new(), 0);
    for cut in cuts {
        if cut.start >= at {
            out.push_str(&text[at..cut.start]);
        }
        at = at.max(cut.end);
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// See [`super::Format::get`].
pub(super) fn get<'a>(text: &'a str, path: &[&str]) -> Result<Option<&'a str>, EditError> {
    let document = Document::parse(text)?;
    check(&document, path)?;
    if let Some(entry) = exact(&document, path)? {
        return Ok(Some(&text[entry.span.clone()]));
    }
    let tables = document.tables.iter();
    let mut tables = tables.skip_while(|table| !table.path.starts_with_names(path));
    if let Some(first) = tables.next() {
        let more = tables.take_while(|table| table.path.starts_with_names(path));
        let end = more.last().unwrap_or(first).span.end;
        return Ok(Some(&text[first.span.start..end]));
    }
    let mut dotted = document.entries.iter();
    let dotted = dotted.find(|entry| entry.path.starts_with_names(path));
    Ok(dotted.map(|entry| &text[entry.span.clone()]))
}

/// A whole file with this table.
pub(super) fn document(path: &[&str], value: &Value, line_end: &str) -> String {
    let mut out = String::new();
    push_table(&mut out, path, value, line_end);
    out
}

trait StartsWith {
    fn starts_with_names(&self, names: &[&str]) -> bool;
}

impl StartsWith for Vec<String> {
    fn starts_with_names(&self, names: &[&str]) -> bool {
        self.len() >= names.len() && self.iter().zip(names).all(|(own, name)| own == name)
    }
}

/// Nothing of ours can stand in an array of tables, and no table may have two headers.
fn check(document: &Document, path: &[&str]) -> Result<(), EditError> {
    let names = |path: &[String]| path.last().cloned().unwrap_or_default();
    for (index, table) in document.tables.iter().enumerate().skip(1) {
        let is_ours = table.path.len() <= path.len()
            && table.path.iter().zip(path).all(|(own, name)| own == name);
        if !is_ours && !table.path.starts_with_names(path) {
            continue;
        }
        if table.is_array {
            return Err(EditError::NotAnObject(names(&table.path)));
        }
        if document.tables[index + 1..]
            .iter()
            .any(|other| other.path == table.path)
        {
            return Err(EditError::Twice(names(&table.path)));
        }
    }
    Ok(())
}

fn exact<'a>(document: &'a Document, path: &[&str]) -> Result<Option<&'a Entry>, EditError> {
    let mut named = document.entries.iter().filter(|entry| entry.path == path);
    match (named.next(), named.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(EditError::Twice(
            path.last().copied().unwrap_or_default().to_owned(),
        )),
    }
}

/// The innermost inline table that the path leads into.
fn inline_holder<'a>(
    text: &str,
    document: &'a Document,
    path: &[&str],
) -> Result<Option<&'a Entry>, EditError> {
    let above = |entry: &&Entry| {
        entry.path.len() < path.len() && entry.path.iter().zip(path).all(|(own, name)| own == name)
    };
    let entries = document.entries.iter().filter(above);
    match entries.max_by_key(|entry| entry.path.len()) {
        Some(holder) if !text[holder.value.clone()].starts_with('{') => {
            let name = holder.path.last().cloned().unwrap_or_default();
            Err(EditError::NotAnObject(name))
        }
        holder => Ok(holder),
    }
}

fn insert_member(
    text: &str,
    document: &Document,
    holder: &Entry,
    name: &str,
    value: &Value,
) -> String {
    let braces = holder.value.clone();
    let own = |entry: &&Entry| entry.within.as_ref() == Some(&braces);
    let last = document.entries.iter().rfind(own);
    let new = format!("{name} = {}", inline(value));
    match last {
        Some(last) => with(text, last.span.end..last.span.end, &format!(", {new}")),
        None => with(text, braces, &format!("{{ {new} }}")),
    }
}

/// The bytes of a member of an inline table with the comma that is no longer needed.
fn member_cut(document: &Document, entry: &Entry) -> Range<usize> {
    let siblings = document.entries.iter();
    let siblings: Vec<&Entry> = siblings
        .filter(|other| other.within == entry.within)
        .collect();
    let at = siblings
        .iter()
        .take_while(|other| other.span != entry.span)
        .count();
    match (at.checked_sub(1), siblings.get(at + 1)) {
        (_, Some(next)) => entry.span.start..next.span.start,
        (Some(before), None) => siblings[before].span.end..entry.span.end,
        (None, None) => entry.span.clone(),
    }
}

fn whole_lines(text: &str, span: &Range<usize>) -> Range<usize> {
    let rest = &text[span.end..];
    let after = rest.strip_prefix('\r').unwrap_or(rest);
    let after = after.strip_prefix('\n').unwrap_or(after);
    span.start..text.len() - after.len()
}

fn with(text: &str, span: Range<usize>, new: &str) -> String {
    [&text[..span.start], new, &text[span.end..]].concat()
}

fn equals(raw: &str, value: &Value) -> bool {
    match value {
        Value::Text(text) => raw.starts_with(['"', '\'']) && decode(raw) == *text,
        Value::Raw(new) => raw == *new,
        Value::List(items) => is_list(raw, items),
        Value::Map(_) => raw == inline(value),
    }
}

fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !name.is_empty() && name.bytes().all(bare) {
        true => name.to_owned(),
        false => text(name),
    }
}

/// A basic string. JSON's escapes are TOML's, but JSON lets DEL stand.
fn text(value: &str) -> String {
    quoted(value).replace('\u{7f}', "\\u007f")
}

fn inline(value: &Value) -> String {
    match value {
        Value::Text(value) => text(value),
        Value::Raw(raw) => (*raw).to_owned(),
        Value::List(items) => list(items),
        Value::Map(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| format!("{} = {}", key(name), inline(value)));
            match members.collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => "{}".to_owned(),
                some => format!("{{ {some} }}"),
            }
        }
    }
}

fn push_header(out: &mut String, path: &[&str]) {
    let names: Vec<String> = path.iter().map(|name| key(name)).collect();
    out.extend(["[", &names.join("."), "]"]);
}

/// The table and below it those that it holds, each with a header.
fn push_table(out: &mut String, path: &[&str], value: &Value, line_end: &str) {
    let Value::Map(members) = value else { return };
    push_header(out, path);
    out.push_str(line_end);
    let is_map = |value: &Value| matches!(value, Value::Map(_));
    for (name, value) in members.iter().filter(|(_, value)| !is_map(value)) {
        out.extend([&key(name), " = ", &inline(value), line_end]);
    }
    for (name, value) in members.iter().filter(|(_, value)| is_map(value)) {
        out.push_str(line_end);
        push_table(out, &[path, &[name]].concat(), value, line_end);
    }
}
