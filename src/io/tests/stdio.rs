//! stdin, stdout and stderr of every kind, fast and slow, open and gone.

use super::{drive, null_fds, pattern};
use crate::bridge::{Input, Output};
use crate::io::fd::AnyFd;
use crate::io::reactor::Fds;
use crate::io::{ShellLimits, ShellSettings};
use rustix::fs::fcntl_getfl;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn settings() -> ShellSettings {
    ShellSettings {
        stdio: true,
        ..ShellSettings::default()
    }
}

/// Reads stdin to its end, waits a little, exits.
fn read_all(stdin: AnyFd) -> (Vec<u8>, usize) {
    let (mut all, mut closed) = (Vec::new(), 0);
    let fds = Fds {
        stdin,
        ..null_fds()
    };
    let (_, turns) = drive(settings(), fds, Vec::new(), |input, now, out| match input {
        Input::Stdin(bytes) => all.extend_from_slice(bytes),
        Input::StdinClosed => {
            closed += 1;
            out.deadline = Some(now.mono + Duration::from_millis(30));
        }
        Input::Timeout => out.push(Output::Exit(0)),
        other => panic!("unexpected {other:?}"),
    });
    assert_eq!(closed, 1);
    (all, turns)
}

#[test]
fn a_regular_file_as_stdin() {
    let path = std::env::temp_dir().join(format!("aerostack-io-stdin-{}", std::process::id()));
    let text = pattern(300_000);
    std::fs::write(&path, &text).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (all, turns) = read_all(Box::new(file));
    assert!(all == text);
    assert!(turns < 20, "{turns} turns");
}

#[test]
fn dev_null_as_stdin_ends_once_and_never_spins() {
    let (all, turns) = read_all(Box::new(File::open("/dev/null").unwrap()));
    assert_eq!(all, b"");
    assert!(turns < 5, "{turns} turns");
}

#[test]
fn pipes_and_sockets_as_stdin() {
    let text = pattern(1_000_000);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let copy = text.clone();
    let thread = std::thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        drop(writer);
        far.write_all(&copy).unwrap();
    });
    for stdin in [Box::new(reader) as AnyFd, Box::new(near) as AnyFd] {
        let (all, turns) = read_all(stdin);
        assert!(all == text);
        assert!(turns < 2000, "{turns} turns");
    }
    thread.join().unwrap();
}

#[test]
fn data_and_eof_in_one_event() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"last line").unwrap();
    drop(writer);
    assert_eq!(read_all(Box::new(reader)).0, b"last line");
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"last line").unwrap();
    drop(far);
    assert_eq!(read_all(Box::new(near)).0, b"last line");
}

#[test]
fn paused_stdin_waits() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"one").unwrap();
    let mut all = Vec::new();
    let fds = Fds {
        stdin: Box::new(reader),
        ..null_fds()
    };
    let mut paused = false;
    drive(settings(), fds, Vec::new(), |input, now, out| match input {
        Input::Stdin(bytes) => {
            assert!(!paused);
            all.extend_from_slice(bytes);
            if all == b"one" {
                paused = true;
                out.push(Output::PauseStdin);
                writer.write_all(b"two").unwrap();
                out.deadline = Some(now.mono + Duration::from_millis(20));
            } else {
                out.push(Output::Exit(0));
            }
        }
        Input::Timeout => {
            paused = false;
            out.push(Output::ResumeStdin);
        }
        other => panic!("unexpected {other:?}"),
    });
    assert_eq!(all, b"onetwo");
}

fn stdout_pairs() -> Vec<(Box<dyn Read + Send>, OwnedFd)> {
    let (reader, writer) = std::io::pipe().unwrap();
    let (far, near) = UnixStream::pair().unwrap();
    vec![
        (Box::new(reader), writer.into()),
        (Box::new(far), near.into()),
    ]
}

#[test]
fn a_slow_reader_gets_whole_lines_and_stalls_nothing() {
    for (mut reader, stdout) in stdout_pairs() {
        let flags = fcntl_getfl(&stdout).unwrap();
        let kept = stdout.try_clone().unwrap();
        let mut lines: Vec<Vec<u8>> = (0..3000).map(|n| format!("{n}\n").into_bytes()).collect();
        lines.push(pattern(3_000_000));
        lines.extend((0..200).map(|n| vec![n as u8; 5000]));
        let want = lines.concat();
        let (mut ticks, mut drained, mut thread) = (0, 0, None);
        let len = want.len();
        let mut read = Some(move || {
            let mut all = vec![0; len];
            reader.read_exact(&mut all).unwrap();
            (all, reader)
        });
        let (stdin, writer) = std::io::pipe().unwrap();
        let fds = Fds {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            ..null_fds()
        };
        let soon = |now: Instant| Some(now + Duration::from_millis(3));
        let mut first = vec![Output::Log(crate::log::Level::Info, "x".to_owned())];
        first.extend(lines.into_iter().map(Output::Stdout));
        // The end of stdin gives the script its first input.
        drop(writer);
        drive(settings(), fds, first, |input, now, out| match input {
            Input::StdinClosed => out.deadline = soon(now.mono),
            Input::Timeout => {
                ticks += 1;
                match ticks {
                    10 => thread = Some(std::thread::spawn(read.take().unwrap())),
                    _ => out.deadline = soon(now.mono),
                }
            }
            Input::StdoutDrained => {
                drained += 1;
                out.push(Output::Exit(0));
            }
            other => panic!("unexpected {other:?}"),
        });
        assert_eq!((ticks, drained), (10, 1));
        let (all, _reader) = thread.unwrap().join().unwrap();
        assert!(all == want, "stdout was damaged");
        assert_eq!(fcntl_getfl(&kept).unwrap(), flags);
    }
}

#[test]
fn a_reader_that_leaves_is_noticed_without_a_write() {
    for (reader, stdout) in stdout_pairs() {
        let (stdin, writer) = std::io::pipe().unwrap();
        let fds = Fds {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            ..null_fds()
        };
        let mut reader = Some(reader);
        let mut gone = 0;
        let hello = vec![Output::Stdout(b"hello\n".to_vec())];
        drop(writer);
        let (_, turns) = drive(settings(), fds, hello, |input, now, out| match input {
            Input::StdinClosed => drop(reader.take()),
            Input::StdoutDrained => {}
            Input::StdoutGone => {
                gone += 1;
                out.push(Output::Stdout(b"nobody hears this\n".to_vec()));
                out.deadline = Some(now.mono + Duration::from_millis(30));
            }
            Input::Timeout => out.push(Output::Exit(0)),
            other => panic!("unexpected {other:?}"),
        });
        assert_eq!(gone, 1);
        assert!(turns < 10, "{turns} turns");
    }
}

#[test]
fn the_end_waits_for_stdout_but_not_for_ever() {
    let limits = ShellLimits {
        exit: Duration::from_millis(50),
        ..ShellLimits::default()
    };
    let (reader, stdout): (PipeReader, _) = std::io::pipe().unwrap();
    let fds = Fds {
        stdout: Box::new(stdout),
        ..null_fds()
    };
    let start = vec![Output::Stdout(vec![b'x'; 1 << 20]), Output::Exit(3)];
    let begin = Instant::now();
    let all = ShellSettings {
        stdio: true,
        limits,
        ..ShellSettings::default()
    };
    let (code, _) = drive(all, fds, start, |_, _, _| {});
    let took = begin.elapsed();
    assert_eq!(code, 3);
    assert!(
        took >= Duration::from_millis(50) && took < Duration::from_secs(5),
        "{took:?}"
    );
    drop(reader);
}

#[test]
fn a_file_as_stdout_and_the_check_mode() {
    let path = std::env::temp_dir().join(format!("aerostack-io-stdout-{}", std::process::id()));
    let text = pattern(500_000);
    for stdio in [true, false] {
        let file = File::create(&path).unwrap();
        // In the check mode nobody looks at stdin, not even at its end.
        let fds = Fds {
            stdout: Box::new(file),
            ..null_fds()
        };
        let start = vec![Output::Stdout(text.clone()), Output::Exit(0)];
        let settings = ShellSettings {
            stdio,
            ..ShellSettings::default()
        };
        drive(settings, fds, start, |input, _, _| {
            panic!("unexpected {input:?}")
        });
        assert!(std::fs::read(&path).unwrap() == text);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn flags_of_the_standard_descriptors_never_change() {
    let (near, _far) = UnixStream::pair().unwrap();
    let before = fcntl_getfl(near.as_fd()).unwrap();
    let again = || Box::new(near.try_clone().unwrap()) as AnyFd;
    let fds = Fds {
        stdin: again(),
        stdout: again(),
        stderr: again(),
    };
    let start = vec![
        Output::Stdout(b"line\n".to_vec()),
        Output::Log(crate::log::Level::Info, "log".to_owned()),
        Output::Exit(0),
    ];
    drive(settings(), fds, start, |_, _, _| {});
    assert_eq!(fcntl_getfl(near.as_fd()).unwrap(), before);
}
