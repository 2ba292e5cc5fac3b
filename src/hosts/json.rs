//! Edits of JSON text: only the bytes that must change do. Comments, order, indentation, line ends
//! and a byte order mark stay as they are.

use super::EditError;
use super::json_tree::{Kind, Member, Node, Object, parse};
use super::value::{Layout, Value, is_list, push_member};

/// See [`super::Format::set`].
pub(super) fn set(
    text: &str,
    path: &[&str],
    value: &Value,
    json5: bool,
) -> Result<String, EditError> {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let Some(root) = parse(text, json5)? else {
        let mut out = String::from(if text.starts_with('\u{feff}') {
            "\u{feff}"
        } else {
            ""
        });
        out.push_str(&document(path, value, line_end));
        return Ok(out);
    };
    let mut node = &root;
    for (depth, name) in path.iter().enumerate() {
        let object = object_of(node, path, depth)?;
        let Some(member) = member(object, name)? else {
            let value = value.clone().nested(&path[depth + 1..]);
            return Ok(insert(text, &root, node, object, name, &value));
        };
        node = &member.value;
    }
    if equals(text, node, value) {
        return Ok(text.to_owned());
    }
    let mut new = String::new();
    let unit = unit(text, &root);
    let layout = Layout {
        line_end: Some(line_end).filter(|_| is_laid_out(text, &root)),
        unit: &unit,
        blank: blank(text),
    };
    value.push_json(&mut new, &layout, indent_of_line(text, node.span.start));
    Ok([&text[..node.span.start], &new, &text[node.span.end..]].concat())
}

/// See [`super::Format::remove`].
pub(super) fn remove(text: &str, path: &[&str], json5: bool) -> Result<String, EditError> {
    let root = parse(text, json5)?;
    let Some((name, parents)) = path.split_last() else {
        return Ok(text.to_owned());
    };
    let mut node = root.as_ref();
    for (depth, name) in parents.iter().enumerate() {
        let Some(own) = node else { break };
        node = member(object_of(own, path, depth)?, name)?.map(|member| &member.value);
    }
    let Some((braces, Kind::Object(object))) = node.map(|node| (&node.span, &node.kind)) else {
        return Ok(text.to_owned());
    };
    if member(object, name)?.is_none() {
        return Ok(text.to_owned());
    }
    let mut members = object.members.iter();
    let at = members.position(|m| m.name == *name).unwrap_or_default();
    let before = at.checked_sub(1).map(|at| &object.members[at]);
    let this = &object.members[at];
    let end = this.comma.unwrap_or(this.value.span.end);
    let (solid, rest) = (text[..this.start].trim_end(), &text[end..]);
    let close = braces.end - 1;
    if members.next().is_some() {
        let rest = rest.trim_start();
        return Ok([&text[..this.start], rest].concat());
    }
    if solid.len() == braces.start + 1 && text[end..close].trim().is_empty() {
        return Ok([solid, &text[close..]].concat());
    }
    // What stands on the line before may be a comment that ends with it.
    let begins_line = text[solid.len()..this.start].contains('\n');
    let ends_line = rest.trim_start_matches([' ', '\t', '\r']).starts_with('\n');
    let kept = match begins_line && !ends_line {
        true => &text[..this.start],
        false => solid,
    };
    // A comma at the end is as good as it was, a new one is not left behind.
    let comma = before.and_then(|before| before.comma);
    Ok(match comma.filter(|_| this.comma.is_none()) {
        Some(comma) => [&kept[..comma - 1], &kept[comma..], rest].concat(),
        None => [kept, rest].concat(),
    })
}

/// See [`super::Format::get`].
pub(super) fn get<'a>(
    text: &'a str,
    path: &[&str],
    json5: bool,
) -> Result<Option<&'a str>, EditError> {
    let root = parse(text, json5)?;
    let (mut node, mut start) = (root.as_ref(), 0);
    for (depth, name) in path.iter().enumerate() {
        let Some(own) = node else { return Ok(None) };
        let found = member(object_of(own, path, depth)?, name)?;
        start = found.map_or(start, |member| member.start);
        node = found.map(|member| &member.value);
    }
    // With its indentation, as it is to be shown.
    let start = text[..start].trim_end_matches([' ', '\t']).len();
    Ok(node.map(|node| &text[start..node.span.end]))
}

/// A whole file with this value at this path.
pub(super) fn document(path: &[&str], value: &Value, line_end: &str) -> String {
    let mut out = String::new();
    let layout = Layout {
        line_end: Some(line_end),
        unit: "  ",
        blank: " ",
    };
    value.clone().nested(path).push_json(&mut out, &layout, "");
    out.push_str(line_end);
    out
}

fn object_of<'a>(node: &'a Node, path: &[&str], depth: usize) -> Result<&'a Object, EditError> {
    let name = depth.checked_sub(1).map_or("the file", |at| path[at]);
    match &node.kind {
        Kind::Object(object) => Ok(object),
        Kind::Array | Kind::Text(_) | Kind::Other => Err(EditError::NotAnObject(name.to_owned())),
    }
}

/// RFC 8259 section 4: "The names within an object SHOULD be unique"; readers differ on which of two
/// counts.
fn member<'a>(object: &'a Object, name: &str) -> Result<Option<&'a Member>, EditError> {
    let mut named = object.members.iter().filter(|member| member.name == name);
    match (named.next(), named.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(EditError::Twice(name.to_owned())),
    }
}

fn equals(text: &str, node: &Node, value: &Value) -> bool {
    match (&node.kind, value) {
        (Kind::Text(old), Value::Text(new)) => old == new,
        (Kind::Other, Value::Raw(new)) => text[node.span.clone()] == **new,
        (Kind::Array, Value::List(items)) => is_list(&text[node.span.clone()], items),
        (_, Value::Text(_) | Value::Raw(_) | Value::List(_) | Value::Map(_)) => false,
    }
}

fn insert(
    text: &str,
    root: &Node,
    node: &Node,
    object: &Object,
    name: &str,
    value: &Value,
) -> String {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let close = node.span.end - 1;
    let own = &text[node.span.clone()];
    let laid_out = own.contains('\n') || (object.members.is_empty() && is_laid_out(text, root));
    let unit = unit(text, root);
    let layout = Layout {
        line_end: Some(line_end).filter(|_| laid_out),
        unit: &unit,
        blank: blank(text),
    };
    // The comma goes to the last member, the new one behind any comment that follows.
    let last = object.members.last();
    let comma_at = last.filter(|last| last.comma.is_none());
    let comma_at = comma_at.map(|last| last.value.span.end);
    let mut out = text[..comma_at.unwrap_or(object.tail)].to_owned();
    if let Some(comma_at) = comma_at {
        out.push(',');
        out.push_str(&text[comma_at..object.tail]);
    }
    let here = indent_of_line(text, node.span.start);
    let own_line = |member: &&Member| {
        text[..member.start]
            .trim_end_matches([' ', '\t'])
            .ends_with('\n')
    };
    let indent = match object.members.iter().rev().find(own_line) {
        Some(member) => indent_of_line(text, member.start).to_owned(),
        None => [here, &unit].concat(),
    };
    match laid_out {
        true => out.extend([line_end, &indent]),
        false if last.is_some() => out.push_str(layout.blank),
        false => {}
    }
    push_member(&mut out, name, value, &layout, &indent);
    if last.is_some_and(|last| last.comma.is_some()) {
        out.push(',');
    }
    if laid_out && !text[object.tail..close].contains('\n') {
        out.extend([line_end, here]);
        out.push_str(text[object.tail..].trim_start_matches([' ', '\t']));
    } else {
        out.push_str(&text[object.tail..]);
    }
    out
}

/// False for a file that some program wrote without line breaks.
fn is_laid_out(text: &str, root: &Node) -> bool {
    let empty = matches!(&root.kind, Kind::Object(object) if object.members.is_empty());
    empty || text[root.span.clone()].contains('\n')
}

fn blank(text: &str) -> &'static str {
    let spaced = text.contains("\": ") || !text.contains("\":");
    if spaced { " " } else { "" }
}

/// The blanks that the line of this byte begins with.
fn indent_of_line(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].trim_start_matches('\u{feff}');
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// One step of the file's own indentation.
fn unit(text: &str, root: &Node) -> String {
    let unit = match &root.kind {
        Kind::Object(object) => object
            .members
            .iter()
            .map(|member| indent_of_line(text, member.start))
            .find(|indent| !indent.is_empty()),
        Kind::Array | Kind::Text(_) | Kind::Other => None,
    };
    unit.unwrap_or("  ").to_owned()
}
