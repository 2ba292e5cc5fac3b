//! What a word is made of: assignments, `$…`, backquotes.

use super::{Part, Word, scan};

/// `NAME=value`, `NAME+=value`.
pub(super) fn assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Part::Text(text)) = word.parts.first() else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    let (name, appends) = match name.strip_suffix('+') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let name = name.split('[').next().unwrap_or(name);
    let valid = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !valid {
        return None;
    }
    let mut parts = word.parts.clone();
    parts[0] = Part::Text(value.to_owned());
    let tilde = value.starts_with('~') && !appends;
    if appends {
        parts.insert(0, Part::Variable(name.to_owned()));
    }
    Some((
        name.to_owned(),
        Word {
            parts,
            tilde,
            // A value is not split into words.
            quoted: true,
            ..word.clone()
        },
    ))
}

/// Text in which only `$`, backquotes and backslashes mean something: inside of double quotes, and the body
/// of a here-document.
pub(super) fn expand(text: &str, quotes: bool, word: &mut Word, nested: &mut Vec<String>) {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let plain = rest.find(['\\', '$', '`']).unwrap_or(rest.len());
        if plain > 0 {
            word.push(&rest[..plain]);
            at += plain;
            continue;
        }
        at += match rest.as_bytes()[0] {
            b'\\' => {
                let next = rest.as_bytes().get(1).copied().unwrap_or(0);
                match next {
                    b'\n' => 2,
                    b'$' | b'`' | b'\\' => {
                        word.push(&rest[1..2]);
                        2
                    }
                    b'"' if quotes => {
                        word.push("\"");
                        2
                    }
                    _ => {
                        word.push("\\");
                        1
                    }
                }
            }
            b'$' => dollar(rest, word, nested).0,
            _ => backquoted(rest, word, nested).0,
        };
    }
}

/// What a `$` begins: how much was used, and whether its end is missing.
pub(super) fn dollar(rest: &str, word: &mut Word, nested: &mut Vec<String>) -> (usize, bool) {
    let inner = rest.get(2..).unwrap_or_default();
    match rest.as_bytes().get(1) {
        Some(b'(') => {
            let end = scan::closing(inner, b')');
            let text = &inner[..end.unwrap_or(inner.len())];
            nested.push(text.to_owned());
            word.parts.push(Part::Substitution);
            ((2 + text.len() + 1).min(rest.len()), end.is_none())
        }
        Some(b'{') => {
            let end = scan::closing(inner, b'}');
            let text = &inner[..end.unwrap_or(inner.len())];
            match is_name(text) {
                true => word.parts.push(Part::Variable(text.to_owned())),
                false => {
                    word.parts.push(Part::Unknown);
                    if text.contains(['$', '`']) {
                        nested.push(text.to_owned());
                    }
                }
            }
            ((2 + text.len() + 1).min(rest.len()), end.is_none())
        }
        Some(b) if b.is_ascii_alphabetic() || *b == b'_' => {
            let name = &rest[1..];
            let end = name
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(name.len());
            word.parts.push(Part::Variable(name[..end].to_owned()));
            (1 + end, false)
        }
        Some(b'!') => {
            word.parts.push(Part::Variable("!".to_owned()));
            (2, false)
        }
        Some(b) if b.is_ascii_digit() || b"@*#?$-".contains(b) => {
            word.parts.push(Part::Unknown);
            (2, false)
        }
        _ => {
            word.push("$");
            (1, false)
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(super) fn backquoted(rest: &str, word: &mut Word, nested: &mut Vec<String>) -> (usize, bool) {
    let inner = &rest[1..];
    let end = scan::backquote(inner);
    let text = &inner[..end.unwrap_or(inner.len())];
    nested.push(
        text.replace("\\`", "`")
            .replace("\\\\", "\\")
            .replace("\\$", "$"),
    );
    word.parts.push(Part::Substitution);
    ((1 + text.len() + 1).min(rest.len()), end.is_none())
}
