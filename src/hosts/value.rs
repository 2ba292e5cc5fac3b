//! The few kinds of values that are written into configurations, as JSON and as YAML.

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// Anything else, as it is written in both languages: `true`, `300`.
    Raw(&'static str),
    /// Strings, on one line.
    List(Vec<String>),
    /// Names and values, in this order.
    Map(Vec<(String, Value)>),
}

/// How a JSON value is laid out.
pub(super) struct Layout<'a> {
    /// The file's line end; `None`: all on one line.
    pub(super) line_end: Option<&'a str>,
    /// One step of indentation.
    pub(super) unit: &'a str,
    /// What stands behind a colon, and on one line behind a comma.
    pub(super) blank: &'a str,
}

impl Value {
    /// A value that holds this one at the end of a path.
    pub(super) fn nested(self, path: &[&str]) -> Value {
        path.iter().rev().fold(self, |value, name| {
            Value::Map(vec![((*name).to_owned(), value)])
        })
    }

    /// Appends the value as JSON; its first line stands at `indent`.
    pub(super) fn push_json(&self, out: &mut String, layout: &Layout<'_>, indent: &str) {
        match self {
            Value::Text(text) => out.push_str(&quoted(text)),
            Value::Raw(raw) => out.push_str(raw),
            Value::List(items) => out.push_str(&list(items)),
            Value::Map(members) => {
                let deeper = [indent, layout.unit].concat();
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    match layout.line_end {
                        Some(line_end) => out.extend([line_end, &deeper]),
                        None if index > 0 => out.push_str(layout.blank),
                        None => {}
                    }
                    push_member(out, name, value, layout, &deeper);
                }
                if let Some(line_end) = layout.line_end {
                    out.extend([line_end, indent]);
                }
                out.push('}');
            }
        }
    }

    /// Appends `name: value` as lines of YAML, without the last line end.
    pub(super) fn push_yaml(&self, out: &mut String, name: &str, indent: usize, line_end: &str) {
        out.push_str(&" ".repeat(indent));
        out.push_str(&scalar(name));
        out.push(':');
        match self {
            Value::Text(text) => out.extend([" ", &scalar(text)]),
            Value::Raw(raw) => out.extend([" ", raw]),
            Value::List(items) => out.extend([" ", &list(items)]),
            Value::Map(members) => {
                for (name, value) in members {
                    out.push_str(line_end);
                    value.push_yaml(out, name, indent + 2, line_end);
                }
            }
        }
    }
}

/// Appends `"name": value` as JSON.
pub(super) fn push_member(
    out: &mut String,
    name: &str,
    value: &Value,
    layout: &Layout<'_>,
    indent: &str,
) {
    out.extend([&quoted(name), ":", layout.blank]);
    value.push_json(out, layout, indent);
}

/// A list of strings in JSON; also one of YAML and TOML.
pub(super) fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// Whether a list is written like this, in any of the languages.
pub(super) fn is_list(text: &str, items: &[String]) -> bool {
    serde_json::from_str::<Vec<String>>(text).is_ok_and(|old| old == items)
}

/// A JSON string; also a double-quoted scalar of YAML, which is a superset.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is valid JSON")
}

/// A scalar of YAML, plain where no reader could take it for anything but this text.
fn scalar(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b' ' | b'-');
    let first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'/');
    let word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word));
    if first && !word && text.bytes().all(plain) && !text.ends_with(' ') {
        text.to_owned()
    } else {
        quoted(text)
    }
}
