//! What a person is shown: exactly what will run, with everything visible that a screen would hide.

/// A command as text: line ends and other control characters by their pictures, line breaks kept.
pub(super) fn command(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("␊\n"),
            _ => push(&mut out, c),
        }
    }
    out
}

/// A file's content: line breaks and tabs stay, they are what a file is made of.
pub(super) fn content(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            _ => push(&mut out, c),
        }
    }
    out
}

/// The same in one line, for a log or a message.
pub(super) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut out, c));
    out
}

fn push(out: &mut String, c: char) {
    match c {
        // Control pictures: U+2400 and the control character's own number.
        '\u{0}'..='\u{1f}' => out.extend(char::from_u32(0x2400 + c as u32)),
        '\u{7f}' => out.push('␡'),
        // C1, and what has no width, or turns the order in which a line is read.
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e01ef}'
        | '\u{3164}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{ffa0}' => {
            out.push_str(&format!("<U+{:04X}>", c as u32));
        }
        _ => out.push(c),
    }
}

/// What is replaced by what: the lines that both begin and end with are left out. A piece of a file does not
/// know in which line it begins.
pub(super) fn difference(old: &str, new: &str, whole: bool) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (
        old.split_inclusive('\n').collect(),
        new.split_inclusive('\n').collect(),
    );
    let same =
        |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let before = same(&mut old.iter().zip(&new));
    let behind = same(&mut old[before..].iter().rev().zip(new[before..].iter().rev()));
    let mut out = match whole {
        true => format!("@@ line {} @@\n", before + 1),
        false => "@@ edit @@\n".to_owned(),
    };
    for (sign, lines) in [
        ('-', &old[before..old.len() - behind]),
        ('+', &new[before..new.len() - behind]),
    ] {
        for line in lines {
            out.push(sign);
            out.push_str(&content(line));
            if !line.ends_with('\n') {
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_hidden() {
        assert_eq!(
            command("a\n\tb\u{1b}[2K\u{202e}c\u{200b}"),
            "a␊\n␉b␛[2K<U+202E>c<U+200B>"
        );
        assert_eq!(content("a\tb\r\nc"), "a\tb␍\nc");
        assert_eq!(line("a\nb"), "a␊b");
    }

    #[test]
    fn differences_are_what_changed() {
        assert_eq!(
            difference("a\nb\nc\n", "a\nX\nc\n", true),
            "@@ line 2 @@\n-b\n+X\n"
        );
        assert_eq!(difference("", "a", true), "@@ line 1 @@\n+a\n");
        assert_eq!(difference("a\na\n", "a\n", true), "@@ line 2 @@\n-a\n");
        assert_eq!(difference("a\nb", "a\nc", false), "@@ edit @@\n-b\n+c\n");
    }
}
