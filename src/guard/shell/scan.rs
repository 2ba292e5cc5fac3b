//! Where a quote, a substitution or a here-document ends. Each looks at its text once, with a stack of its
//! own instead of recursion.

/// The end of a double-quoted text that began before `text`: the place of its closing quote.
pub(super) fn double_quote(text: &str) -> Option<usize> {
    end(text, b'"', true).or_else(|| end(text, b'"', false))
}

/// The place of the bracket that closes what began before `text`.
pub(super) fn closing(text: &str, close: u8) -> Option<usize> {
    end(text, close, true).or_else(|| end(text, close, false))
}

/// The place of the next backquote that is not escaped.
pub(super) fn backquote(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'`' => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// On the stack: `case … in a) … esac`, in which a parenthesis closes without having been opened.
const CASE: u8 = b'e';

/// Walks to the end of the innermost open thing until none is open. The stack holds what closes each.
fn end(text: &str, first: u8, cases: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = vec![first];
    let mut documents: Vec<(String, bool)> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let top = *open.last()?;
        let (byte, next) = (bytes[at], bytes.get(at + 1).copied().unwrap_or(0));
        let begins = at == 0 || b" \t\n;(&|".contains(&bytes[at - 1]);
        let is = |word: &[u8]| {
            let rest = &bytes[at..];
            let behind = rest
                .get(word.len())
                .is_none_or(|byte| b" \t\n;)&|".contains(byte));
            cases && begins && behind && rest.starts_with(word)
        };
        if byte == b'\\' {
            at += 2;
        } else if top == CASE && is(b"esac") {
            open.pop();
            at += 4;
        } else if (top == b')' || top == CASE) && is(b"case") {
            open.push(CASE);
            at += 4;
        } else if byte == top && top != CASE {
            open.pop();
            if open.is_empty() {
                return Some(at);
            }
            at += 1;
        } else if byte == b'$' && (next == b'(' || next == b'{') {
            open.push(if next == b'(' { b')' } else { b'}' });
            at += 2;
        } else if byte == b'`' {
            at += 1 + backquote(&text[at + 1..])? + 1;
        } else if top == b'"' {
            at += 1;
        } else if byte == b'"' {
            open.push(b'"');
            at += 1;
        } else if byte == b'\'' {
            at += 1 + text[at + 1..].find('\'')? + 1;
        } else if byte == b'(' && (top == b')' || top == CASE) {
            open.push(b')');
            at += 1;
        } else if (top == b')' || top == CASE) && byte == b'#' && begins {
            at += text[at..].find('\n').unwrap_or(text.len() - at);
        } else if (top == b')' || top == CASE)
            && byte == b'<'
            && next == b'<'
            && bytes.get(at + 2) != Some(&b'<')
        {
            let (document, used) = delimiter(&text[at + 2..]);
            documents.extend(document);
            at += 2 + used;
        } else if byte == b'\n' && (top == b')' || top == CASE) {
            at += 1;
            for (word, tabs) in std::mem::take(&mut documents) {
                at += document(&text[at..], &word, tabs).1;
            }
        } else {
            at += 1;
        }
    }
    None
}

/// The delimiter behind `<<`, quotes removed, and whether tabs are stripped.
fn delimiter(text: &str) -> (Option<(String, bool)>, usize) {
    let tabs = text.starts_with('-');
    let rest = text.strip_prefix('-').unwrap_or(text);
    let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let word = &rest[blank..];
    let end = word
        .find([' ', '\t', '\n', ';', '&', '|', '<', '>', '(', ')'])
        .unwrap_or(word.len());
    let name = word[..end].replace(['\'', '"', '\\'], "");
    let used = usize::from(tabs) + blank + end;
    ((!name.is_empty()).then_some((name, tabs)), used)
}

/// The body of a here-document, and how much was used, the delimiter's line included. Without one, all of the
/// text is the body, as in a shell.
pub(super) fn document<'a>(text: &'a str, delimiter: &str, tabs: bool) -> (&'a str, usize) {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = rest.find('\n').unwrap_or(rest.len());
        let line = rest[..length].trim_end_matches('\r');
        let line = if tabs {
            line.trim_start_matches('\t')
        } else {
            line
        };
        let used = (at + length + 1).min(text.len());
        if line == delimiter {
            return (&text[..at], used);
        }
        at = used;
    }
    (text, text.len())
}

/// The text of `$'…'` behind its quote, and how much was used, the closing quote included.
pub(super) fn ansi_c(text: &str) -> (String, Option<usize>) {
    let mut out: Vec<u8> = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' => return (String::from_utf8_lossy(&out).into_owned(), Some(at + 1)),
            b'\\' => {
                let escape = bytes.get(at + 1).copied().unwrap_or(0);
                at += 2;
                let (base, most) = match escape {
                    b'x' => (16, 2),
                    b'u' => (16, 4),
                    b'U' => (16, 8),
                    b'0'..=b'7' => {
                        at -= 1;
                        (8, 3)
                    }
                    _ => (0, 0),
                };
                if base == 0 {
                    out.push(match escape {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        b'a' | b'b' | b'e' | b'E' | b'f' | b'v' => b' ',
                        other => other,
                    });
                    continue;
                }
                let digits = bytes[at.min(bytes.len())..]
                    .iter()
                    .take(most)
                    .take_while(|b| (**b as char).is_digit(base))
                    .count();
                let value = u32::from_str_radix(&text[at..at + digits], base).unwrap_or(0);
                at += digits;
                match (escape, char::from_u32(value)) {
                    (b'u' | b'U', Some(c)) => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                    _ => out.push(value as u8),
                }
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    (String::from_utf8_lossy(&out).into_owned(), None)
}
