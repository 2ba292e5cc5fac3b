//! The man page and the shell completions, made from the table of options. No part of the program
//! itself: `cargo run --example docs -- target` writes them.

use super::table::{ABOUT, FIRST_STEPS, FLAGS, Flag, GUARD_FLAGS, SETTINGS, SUMMARY};
use crate::hosts::HOSTS;
use std::fmt::Write;

/// A file below the target directory and its text.
pub(crate) type Document = (&'static str, String);

/// All generated files.
pub fn documents() -> Vec<Document> {
    vec![
        ("man/aerostack-gateway.1", man()),
        ("completions/aerostack-gateway.bash", bash()),
        ("completions/_aerostack-gateway", zsh()),
        ("completions/aerostack-gateway.fish", fish()),
    ]
}

/// man-pages(7), in the man(7) macros that every formatter knows.
pub(crate) fn man() -> String {
    let mut out = format!(
        ".TH AEROSTACK-GATEWAY 1 \"\" \"aerostack-gateway {}\" \"User Commands\"\n",
        env!("CARGO_PKG_VERSION")
    );
    let _ = writeln!(out, ".SH NAME\naerostack-gateway \\- {}", roff(SUMMARY));
    let _ = writeln!(out, ".SH SYNOPSIS\n.B aerostack-gateway\n.RI [ OPTIONS ]");
    let _ = writeln!(out, ".SH DESCRIPTION\n{}\n.SH OPTIONS", roff(ABOUT));
    for flag in FLAGS.iter().chain(GUARD_FLAGS) {
        let usage = roff(flag.usage().trim_start());
        let _ = writeln!(out, ".TP\n.B {usage}\n{}", roff(&sentence(flag.help)));
    }
    let hosts: Vec<String> = HOSTS
        .iter()
        .map(|host| format!("{} ({})", host.name, host.title))
        .collect();
    let _ = writeln!(out, ".PP\nHOST is one of {}.", roff(&hosts.join(", ")));
    out.push_str(".SH ENVIRONMENT\n");
    for setting in SETTINGS {
        let names = roff(setting.names);
        let _ = writeln!(out, ".TP\n.B {names}\n{}", roff(&sentence(setting.help)));
    }
    out.push_str(
        ".SH EXIT STATUS\n.TP\n.B 0\nStdin has ended, or all checks have passed.\n.TP\n.B 1\n\
         A check has failed, or a configuration could not be written.\n.TP\n.B 2\n\
         Arguments or settings can not be used.\n.SH EXAMPLES\n.nf\n",
    );
    for step in FIRST_STEPS {
        let _ = writeln!(out, "{}", roff(step));
    }
    out.push_str(".fi\n");
    out
}

fn sentence(help: &str) -> String {
    let mut chars = help.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    format!(
        "{}{}.",
        first.map_or(String::new(), String::from),
        chars.as_str()
    )
}

/// Backslashes and hyphens mean something to roff, and so does a leading dot.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

fn hosts() -> String {
    let names: Vec<&str> = HOSTS.iter().map(|host| host.name).collect();
    names.join(" ")
}

fn options() -> String {
    let of = |flag: &Flag| match flag.short {
        Some(short) => format!("{short} {}", flag.long),
        None => flag.long.to_owned(),
    };
    FLAGS
        .iter()
        .chain(GUARD_FLAGS)
        .map(of)
        .collect::<Vec<_>>()
        .join(" ")
}

fn with_value(value: &str) -> Vec<&'static str> {
    let named = FLAGS.iter().filter(|flag| flag.value == Some(value));
    named.map(|flag| flag.long).collect()
}

/// Variables that complete the first half of `--env NAME=VALUE`.
fn variables() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .flat_map(|setting| setting.names.split(", "))
}

/// For bash 3.2 and later, with or without the bash-completion package.
pub(crate) fn bash() -> String {
    let names: Vec<String> = variables().map(|name| format!("{name}=")).collect();
    format!(
        r#"# bash completion for aerostack-gateway
_aerostack_gateway() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  case $before in
    {hosts_of}) COMPREPLY=($(compgen -W '{hosts}' -- "$word")) ;;
    --env) COMPREPLY=($(compgen -W '{names}' -- "$word")); compopt -o nospace 2>/dev/null ;;
    --drain-timeout) COMPREPLY=() ;;
    *) COMPREPLY=($(compgen -W '{options}' -- "$word")) ;;
  esac
}}
complete -F _aerostack_gateway aerostack-gateway
"#,
        hosts_of = with_value("HOST").join(" | "),
        hosts = hosts(),
        names = names.join(" "),
        options = options(),
    )
}

/// For zsh's own completion system.
pub(crate) fn zsh() -> String {
    let mut out = "#compdef aerostack-gateway\n_arguments -s \\\n".to_owned();
    for flag in FLAGS.iter().chain(GUARD_FLAGS) {
        let help = flag.help.replace('\'', "'\\''").replace(':', "\\:");
        let value = match flag.value {
            Some("HOST") => format!(":host:({})", hosts()),
            Some("NAME=VALUE") => {
                let names: Vec<&str> = variables().collect();
                format!(":setting:_values -S = setting {}", names.join(" "))
            }
            Some(other) => format!(":{other}:"),
            None => String::new(),
        };
        let repeat = match flag.long {
            "--env" | "--header" => "*",
            _ => "",
        };
        for name in flag.short.into_iter().chain([flag.long]) {
            let _ = writeln!(out, "  '{repeat}{name}[{help}]{value}' \\");
        }
    }
    out.truncate(out.len() - 3);
    out.push('\n');
    out
}

/// For fish.
pub(crate) fn fish() -> String {
    let mut out = "complete -c aerostack-gateway -f\n".to_owned();
    for flag in FLAGS.iter().chain(GUARD_FLAGS) {
        let _ = write!(out, "complete -c aerostack-gateway");
        if let Some(short) = flag.short {
            let _ = write!(out, " -s {}", &short[1..]);
        }
        let _ = write!(out, " -l {}", &flag.long[2..]);
        match flag.value {
            Some("HOST") => {
                let _ = write!(out, " -x -a '{}'", hosts());
            }
            Some("NAME=VALUE") => {
                let names: Vec<String> = variables().map(|name| format!("{name}=")).collect();
                let _ = write!(out, " -x -a '{}'", names.join(" "));
            }
            Some(_) => out.push_str(" -x"),
            None => {}
        }
        let _ = writeln!(out, " -d '{}'", flag.help.replace('\'', "\\'"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_host_is_in_every_document() {
        for (name, text) in documents() {
            for flag in FLAGS.iter().chain(GUARD_FLAGS) {
                let long = match name {
                    "man/aerostack-gateway.1" => roff(flag.long),
                    "completions/aerostack-gateway.fish" => format!("-l {}", &flag.long[2..]),
                    _ => flag.long.to_owned(),
                };
                assert!(text.contains(&long), "{name} lacks {long}");
            }
            for host in HOSTS {
                let escaped = roff(host.name);
                assert!(
                    text.contains(host.name) || text.contains(&escaped),
                    "{name}"
                );
            }
            assert!(text.ends_with('\n') && !text.contains("\\\n\n"), "{name}");
        }
    }
}
