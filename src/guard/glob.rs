//! Patterns of one name or line: `*` in the tables and in a person's rules, and the shell's own.

/// `*` stands for any text, everything else for itself.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.contains('*') {
        true => walk(pattern.as_bytes(), text.as_bytes(), |want, have| {
            want == have
        }),
        false => pattern == text,
    }
}

/// A shell's pattern: `*`, `?`, `[…]`; `{…,…}` is taken for any text.
pub(super) fn shell(pattern: &str, text: &str) -> bool {
    let mut plain = String::with_capacity(pattern.len());
    let mut left = pattern;
    // `{a,b}` and `[…]` may be anything: a question too many is better than one too few.
    while let Some(at) = left.find(['{', '[']) {
        plain.push_str(&left[..at]);
        let close = if left[at..].starts_with('{') {
            '}'
        } else {
            ']'
        };
        // `{print}` is no pattern: there is nothing to choose from.
        let inner = &left[at + 1..];
        let inner = &inner[..inner.find(close).unwrap_or(inner.len())];
        if close == '}' && !inner.contains(',') && !inner.contains("..") {
            plain.push('{');
            left = &left[at + 1..];
            continue;
        }
        left = left[at..]
            .find(close)
            .map_or("", |end| &left[at + end + 1..]);
        plain.push(if close == '}' { '*' } else { '?' });
    }
    plain.push_str(left);
    walk(plain.as_bytes(), text.as_bytes(), |want, have| {
        want == have || want == b'?'
    })
}

/// The most texts that the braces of one text are looked at as.
const BRACES_MAX: usize = 64;

/// The texts that `{a,b}` stands for; braces without a comma stand for themselves. Inner ones are replaced first.
pub(super) fn braces(text: &str) -> Vec<String> {
    let (mut left, mut done) = (vec![text.to_owned()], Vec::new());
    while let Some(text) = left.pop() {
        match innermost(&text).filter(|_| left.len() + done.len() < BRACES_MAX) {
            None => done.push(text),
            Some(marks) => {
                let (before, behind) = (&text[..marks[0]], &text[marks[marks.len() - 1] + 1..]);
                let choices = marks.windows(2).map(|pair| &text[pair[0] + 1..pair[1]]);
                left.extend(choices.map(|choice| format!("{before}{choice}{behind}")));
            }
        }
    }
    done
}

/// Where the first `{a,b}` that closes has its braces and commas.
fn innermost(text: &str) -> Option<Vec<usize>> {
    let mut open: Vec<Vec<usize>> = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open.push(vec![at]),
            b',' => {
                if let Some(marks) = open.last_mut() {
                    marks.push(at);
                }
            }
            b'}' => {
                if let Some(mut marks) = open.pop().filter(|marks| marks.len() > 1) {
                    marks.push(at);
                    return Some(marks);
                }
            }
            _ => {}
        }
    }
    None
}

/// The usual walk with one way back: to the last `*`.
fn walk(pattern: &[u8], text: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, t));
                p += 1;
            }
            Some(want) if same(*want, text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars() {
        for (pattern, text, expect) in [
            ("a*", "abc", true),
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c", "abcd", false),
            ("", "a", false),
            ("*production*.yml", "my-production.1.yml", true),
            ("a?", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expect, "{pattern} {text}");
        }
        assert!(
            shell("r?", "rm")
                && shell("[r]m", "rm")
                && shell("{rm,ls}", "rm")
                && !shell("r?", "rmm")
        );
    }
}
