//! stdin, stdout and stderr as hosts really hand them over: pipes, Unix sockets, files, terminals,
//! /dev/null; stuck readers, broken lines, and every way to end.

mod common;

use common::{
    Gateway, INITIALIZE, INITIALIZED, Line, RawServer, Setup, Workspace, call, json_reply, request,
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

const ECHO: &str = r#"{"text":"hello"}"#;

/// A whole conversation as text: handshake, one call.
fn script() -> String {
    let call = call("1", "demo__echo", ECHO);
    format!("{INITIALIZE}\n{INITIALIZED}\n{call}\n")
}

/// The conversation of [`script`] was answered, in this order.
fn assert_answered(lines: &[Line]) {
    let ids: Vec<_> = lines.iter().filter_map(Line::id).collect();
    assert_eq!(ids, ["\"init\"", "1"], "{lines:?}");
    assert_eq!(lines[lines.len() - 1].text(), "hello");
}

/// One call works, and the end of stdin ends it with code 0.
fn converse(mut gateway: Gateway) {
    gateway.initialize();
    let answer = gateway.ask(&call("1", "demo__echo", ECHO));
    assert_eq!(answer.text(), "hello");
    gateway.finish().code(0);
}

#[test]
fn pipes() {
    let workspace = Workspace::http();
    converse(Setup::workspace(&workspace).spawn());
    assert_eq!(workspace.sessions(), 0, "the session was given back");
}

/// Node gives its children AF_UNIX sockets as fds 0 to 2.
#[test]
fn unix_sockets() {
    let workspace = Workspace::http();
    let (in_ours, in_theirs) = UnixStream::pair().expect("a pair");
    let (out_ours, out_theirs) = UnixStream::pair().expect("a pair");
    let (err_ours, err_theirs) = UnixStream::pair().expect("a pair");
    let setup = Setup::workspace(&workspace)
        .stdin(in_theirs, Some(in_ours.into()))
        .stdout(out_theirs, Some(out_ours.into()))
        .stderr(err_theirs, Some(err_ours.into()));
    converse(setup.spawn());
}

/// One socket for both directions, as some supervisors do it: half-closing it is the end of stdin.
#[test]
fn one_socket_for_both_directions() {
    let workspace = Workspace::http();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let also_theirs = theirs.try_clone().expect("a duplicate");
    let reader: OwnedFd = ours.try_clone().expect("a duplicate").into();
    let mut gateway = Setup::workspace(&workspace)
        .stdin(theirs, None)
        .stdout(also_theirs, Some(reader))
        .spawn();
    (&ours).write_all(script().as_bytes()).expect("it reads");
    gateway.answer("\"init\"");
    assert_eq!(gateway.answer("1").text(), "hello");
    ours.shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    gateway.wait().code(0);
}

/// `aerostack-gateway < file > file`: epoll refuses both.
#[test]
fn regular_files() {
    let workspace = Workspace::http();
    let dir = common::Dir::new();
    let input = dir.file("in", script());
    let output = dir.path().join("out");
    let gateway = Setup::workspace(&workspace)
        .stdin(File::open(input).expect("just written"), None)
        .stdout(File::create(&output).expect("our directory"), None)
        .spawn();
    gateway.wait().code(0);
    assert_answered(&lines_of(&output));
    assert_eq!(workspace.sessions(), 0);
}

fn lines_of(path: &std::path::Path) -> Vec<Line> {
    let bytes = std::fs::read(path).expect("it was written");
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| common::check_line(line.to_vec()))
        .collect()
}

/// A large file is read in turns: calls are answered, none is lost.
#[test]
fn a_large_file_as_stdin() {
    let workspace = Workspace::http();
    let dir = common::Dir::new();
    let mut input = format!("{INITIALIZE}\n{INITIALIZED}\n");
    let text = "x".repeat(10_000);
    for id in 0..300 {
        input += &call(
            &id.to_string(),
            "demo__echo",
            &format!(r#"{{"text":"{text}"}}"#),
        );
        input += "\n";
    }
    let output = dir.path().join("out");
    Setup::workspace(&workspace)
        .stdin(
            File::open(dir.file("in", input)).expect("just written"),
            None,
        )
        .stdout(File::create(&output).expect("our directory"), None)
        .args(&["--drain-timeout", "20"])
        .spawn()
        .wait()
        .code(0);
    let lines = lines_of(&output);
    assert_eq!(lines.len(), 301);
    assert!(lines[1..].iter().all(|line| line.text() == text));
}

#[test]
fn dev_null_as_stdin_ends_at_once() {
    let workspace = Workspace::http();
    let null = File::open("/dev/null").expect("it exists");
    let ended = Setup::workspace(&workspace)
        .stdin(null, None)
        .spawn()
        .wait();
    assert!(ended.code(0).lines.is_empty());
}

/// Everything into /dev/null: nobody sees the answers, all else is as usual.
#[test]
fn dev_null_as_stdout_and_stderr() {
    let workspace = Workspace::http();
    let null = || {
        File::options()
            .write(true)
            .open("/dev/null")
            .expect("it exists")
    };
    let mut gateway = Setup::workspace(&workspace)
        .stdout(null(), None)
        .stderr(null(), None)
        .spawn();
    gateway.write(script().into_bytes());
    workspace.wait_requests("tools/call", 1);
    gateway.finish().code(0);
    assert_eq!(workspace.sessions(), 0);
}

/// A person tries it in a terminal, in raw mode so that the kernel edits nothing.
#[test]
fn a_terminal() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let workspace = Workspace::http();
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("it is ours");
    unlockpt(&ours).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let name = name
        .to_str()
        .expect("names of terminals are ASCII")
        .to_owned();
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .open(&name)
            .expect("it is ours")
    };
    let theirs = open();
    let mut mode = tcgetattr(&theirs).expect("it is a terminal");
    mode.make_raw();
    tcsetattr(&theirs, OptionalActions::Now, &mode).expect("it is a terminal");
    let before = fcntl_getfl(&theirs).expect("it is open");
    let writer = ours.try_clone().expect("a duplicate");
    let mut gateway = Setup::workspace(&workspace)
        .stdin(theirs.try_clone().expect("a duplicate"), Some(writer))
        .stdout(theirs.try_clone().expect("a duplicate"), Some(ours))
        .spawn();
    gateway.initialize();
    let big = gateway.ask(&call("1", "demo__big", r#"{"bytes":100000}"#));
    assert_eq!(big.text().len(), 100_000);
    gateway.signal(Signal::TERM);
    // Our copy keeps the terminal open: its end would be an error, not an end of file.
    let after = fcntl_getfl(&theirs).expect("it is open");
    drop(theirs);
    gateway.wait().code(0);
    assert_eq!(before, after);
}

/// I3: O_NONBLOCK belongs to the open file description, which the host shares. Never set, never
/// cleared; a host that set it is served all the same.
#[test]
fn flags_of_the_hosts_descriptors_stay_as_they_are() {
    for nonblocking in [false, true] {
        for sockets in [false, true] {
            check_flags(nonblocking, sockets);
        }
    }
}

/// (reader, writer) of a pipe or a socket pair.
fn channel(socket: bool) -> (OwnedFd, OwnedFd) {
    if socket {
        let (a, b) = UnixStream::pair().expect("a pair");
        (a.into(), b.into())
    } else {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        (reader.into(), writer.into())
    }
}

fn check_flags(nonblocking: bool, sockets: bool) {
    let workspace = Workspace::http();
    let (in_theirs, in_ours) = channel(sockets);
    let (out_ours, out_theirs) = channel(sockets);
    let (err_ours, err_theirs) = channel(sockets);
    let theirs = [&in_theirs, &out_theirs, &err_theirs];
    // The same open file descriptions, so that their flags can be read from here.
    let copies: Vec<OwnedFd> = theirs.map(|fd| fd.try_clone().expect("a duplicate")).into();
    if nonblocking {
        for fd in &copies {
            let flags = fcntl_getfl(fd).expect("it is open");
            fcntl_setfl(fd, flags | OFlags::NONBLOCK).expect("it is open");
        }
    }
    let flags = || -> Vec<OFlags> {
        let read = |fd: &OwnedFd| fcntl_getfl(fd.as_fd()).expect("it is open");
        copies.iter().map(read).collect()
    };
    let before = flags();
    let mut gateway = Setup::workspace(&workspace)
        .stdin(in_theirs, Some(in_ours))
        .stdout(out_theirs, Some(out_ours))
        .stderr(err_theirs, Some(err_ours))
        .spawn();
    gateway.initialize();
    assert_eq!(before, flags(), "while it runs");
    let big = gateway.ask(&call("1", "demo__big", r#"{"bytes":1000000}"#));
    assert_eq!(big.text().len(), 1_000_000);
    assert_eq!(before, flags(), "after a long line");
    // Our copies would keep stdout and stderr open after its end.
    gateway.close_stdin();
    workspace.wait("the end of the session", |_| {
        (workspace.sessions() == 0).then_some(())
    });
    assert_eq!(before, flags(), "at the end");
    drop(copies);
    gateway.wait().code(0);
}

/// A host that does not read its answers can still talk, and what piles up stays with
/// the network. The answers are made once and served by a raw server: 100 MB are served at once.
#[test]
fn a_stuck_stdout_reader_stalls_nothing_and_memory_stays_bounded() {
    const CALLS: usize = 10;
    let big = format!(
        r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#,
        "x".repeat(10_000_000)
    );
    let (seen, requests) = std::sync::mpsc::channel();
    let server = RawServer::http(move |request| {
        seen.send(request.body.clone()).ok();
        json_reply(request, if request.is("tools/call") { &big } else { "{}" })
    });
    let wait_for = |what: &str, count: usize| {
        let found = || {
            requests
                .recv_timeout(common::DEADLINE)
                .expect(what)
                .contains(what)
        };
        (0..count).for_each(|_| while !found() {});
    };
    let mut gateway = Setup::url(&server.url()).spawn();
    gateway.write(format!("{INITIALIZE}\n{INITIALIZED}\n").into_bytes());
    let mut stdout = File::from(gateway.take_stdout());
    let mut byte = [0];
    while byte != *b"\n" {
        stdout
            .read_exact(&mut byte)
            .expect("the answer to initialize");
    }
    // The first answer is whole and on its way: from here on stdout is stuck.
    gateway.send(&call("0", "big", "{}"));
    wait_until_readable(&stdout);
    gateway.put_stdout(stdout.into());
    for id in 1..CALLS {
        gateway.send(&call(&id.to_string(), "big", "{}"));
    }
    wait_for("tools/call", CALLS);
    // Other traffic goes on, though no answer can be written.
    gateway.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    wait_for("roots/list_changed", 1);
    // Each of these is a turn of its loop, in which it could read 256 KiB of each answer.
    for turn in 0..100 {
        gateway.send(&request(&format!("\"p{turn}\""), "ping"));
        wait_for("ping", 1);
    }
    let peak_kib = gateway.status_kib("VmHWM");
    // Now everything is read, and is whole.
    for id in 0..CALLS {
        let answer = gateway.answer(&id.to_string());
        assert!(answer.0.len() > 10_000_000 && answer.0.ends_with("xxx\"}]}}"));
    }
    gateway.answer("\"p99\"");
    gateway.finish().code(0);
    assert!(peak_kib < 48_000, "{peak_kib} KiB while nobody read");
}

fn wait_until_readable(file: &File) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(file, PollFlags::IN)];
    let deadline = Timespec::try_from(common::DEADLINE).expect("a short time");
    assert_eq!(
        poll(&mut fds, Some(&deadline)).expect("it is open"),
        1,
        "nothing came"
    );
}

/// A host that never drains stderr has a bridge all the same.
#[test]
fn unread_stderr_at_debug_level_does_not_block() {
    for sockets in [false, true] {
        let workspace = Workspace::http();
        let (ours, theirs) = channel(sockets);
        let mut gateway = Setup::workspace(&workspace)
            .stderr(theirs, Some(ours))
            .unread_stderr()
            .spawn();
        gateway.initialize();
        for id in 0..2_000 {
            gateway.send(&call(&id.to_string(), "demo__echo", ECHO));
        }
        for id in 0..2_000 {
            gateway.answer(&id.to_string());
        }
        gateway.finish().code(0);
    }
}

/// For stderr: A host that closed it loses the log and nothing else.
#[test]
fn closed_stderr_is_no_trouble() {
    let workspace = Workspace::http();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    converse(Setup::workspace(&workspace).stderr(writer, None).spawn());
}

#[test]
fn a_line_that_is_no_json_is_answered_and_the_next_is_intact() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let before = workspace.seen(|_| true).len();
    for (line, code) in [
        ("this is not JSON", -32_700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"", -32_700),
        ("{\"id\":1}{\"id\":2}", -32_700),
        ("\u{feff}", -32_700),
        ("42", -32_600),
        ("\"text\"", -32_600),
        ("[]", -32_600),
        ("{}", -32_600),
    ] {
        gateway.send(line);
        let error = gateway.next();
        assert_eq!(error.at("/error/code"), code, "{line}: {error:?}");
        assert!(error.at("/id").is_null(), "{line}");
    }
    // Not UTF-8.
    gateway.write(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}\n".to_vec());
    assert_eq!(gateway.next().at("/error/code"), -32_700);
    // Blank lines and a trailing CR are tolerated.
    gateway.write(b"\n\r\n  \n".to_vec());
    gateway.write([request("7", "ping").as_bytes(), b"\r\n"].concat());
    assert_eq!(gateway.next().id().as_deref(), Some("7"));
    let forwarded = workspace.requests("ping").len();
    assert_eq!(forwarded, 1, "{before} requests before");
    gateway.finish().code(0);
}

/// 64 MiB is the limit of one line.
#[test]
fn an_oversize_line_is_refused_and_the_next_is_intact() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let text = "x".repeat(66 << 20);
    gateway.send(&call(
        "\"big\"",
        "demo__echo",
        &format!(r#"{{"text":"{text}"}}"#),
    ));
    let error = gateway.answer("\"big\"");
    assert_eq!(error.at("/error/data/executed"), "no");
    assert!(
        error.error().contains("longer than 67108864 bytes"),
        "{error:?}"
    );
    let next = gateway.ask(&call("1", "demo__echo", ECHO));
    assert_eq!(next.text(), "hello");
    assert_eq!(workspace.requests("tools/call").len(), 1);
    gateway.finish().code(0);
}

/// A long line below the limit goes through whole.
#[test]
fn a_line_of_ten_megabytes_is_forwarded() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let text = "0123456789".repeat(1 << 20);
    let answer = gateway.ask(&call("1", "demo__echo", &format!(r#"{{"text":"{text}"}}"#)));
    assert!(answer.text() == text);
    gateway.finish().code(0);
}

/// UTF-8 sequences and CRLF may straddle reads.
#[test]
fn a_message_byte_by_byte() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let message = call("1", "demo__echo", r#"{"text":"å€𝄞"}"#) + "\r\n";
    for byte in message.bytes() {
        gateway.write(vec![byte]);
    }
    assert_eq!(gateway.answer("1").text(), "å€𝄞");
    gateway.finish().code(0);
}

/// `printf … | aerostack-gateway`: everything is sent at once, stdin ends, no newline at the end.
#[test]
fn a_last_line_without_newline_counts_and_is_answered() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    gateway.write(script().trim_end().as_bytes().to_vec());
    let ended = gateway.finish().code(0);
    assert_answered(&ended.lines);
    assert_eq!(workspace.sessions(), 0, "the session was given back");
}

/// The same by a shell, as people do it.
#[test]
fn printf_in_a_shell() {
    let workspace = Workspace::http();
    let dir = common::Dir::new();
    let script = dir.file("script", script());
    let program = common::program();
    let output = std::process::Command::new("sh")
        .args(["-c", "cat \"$0\" | \"$1\" | cat", &script, &program])
        .env("AEROSTACK_WORKSPACE_URL", &workspace.url)
        .env("AEROSTACK_TOKEN", common::TOKEN)
        .env("AEROSTACK_BUILTIN_TOOLS", "off")
        .stderr(Stdio::null())
        .output()
        .expect("sh is there");
    let lines = output.stdout.split_inclusive(|byte| *byte == b'\n');
    let lines: Vec<_> = lines
        .map(|line| common::check_line(line.to_vec()))
        .collect();
    assert_answered(&lines);
}

/// EOF with answers in flight: they are delivered, then the session is given back.
#[test]
fn end_of_stdin_drains_answers_in_flight() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    for id in 0..5 {
        gateway.send(&call(&id.to_string(), "demo__wait", "{}"));
    }
    workspace.wait_requests("tools/call", 5);
    gateway.close_stdin();
    // Nothing says that EOF was read but the log; the answers come after it or before.
    workspace.wait("all five run", |state| {
        (state.traffic.executions().get("demo__wait") == Some(&5)).then_some(())
    });
    workspace.release();
    let ended = gateway.wait().code(0);
    let mut ids: Vec<_> = ended.lines.iter().filter_map(Line::id).collect();
    ids.sort();
    assert_eq!(ids, ["0", "1", "2", "3", "4"]);
    assert!(ended.lines.iter().all(|line| line.text() == "released"));
    assert_eq!(workspace.seen(|seen| seen.http == "DELETE").len(), 1);
    assert_eq!(workspace.sessions(), 0);
}

/// A server without sessions: there is nothing to give back, so nothing more to wait for.
#[test]
fn end_of_stdin_without_a_session() {
    let workspace = Workspace::http();
    workspace.set(serde_json::json!({"sessions": false, "get_stream": false}));
    converse(Setup::workspace(&workspace).spawn());
}

/// What is not answered within the drain time is answered with an error.
#[test]
fn what_is_not_answered_in_time_is_answered_with_an_error() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace)
        .args(&["--drain-timeout", "0.2"])
        .spawn();
    gateway.initialize();
    gateway.send(&call("1", "demo__wait", "{}"));
    workspace.wait_requests("tools/call", 1);
    let ended = gateway.finish().code(0);
    let [error] = &ended.lines[..] else {
        panic!("{ended:?}")
    };
    assert_eq!(error.id().as_deref(), Some("1"));
    assert_eq!(error.at("/error/data/executed"), "unknown");
    assert!(error.error().contains("told to end") && error.error().contains("demo__wait"));
    assert_eq!(workspace.sessions(), 0);
}

#[test]
fn sigterm_and_sigint_end_it_like_the_end_of_stdin() {
    for signal in [Signal::TERM, Signal::INT] {
        let workspace = Workspace::http();
        let mut gateway = Gateway::connected(&workspace);
        gateway.send(&call("1", "demo__wait", "{}"));
        workspace.wait_requests("tools/call", 1);
        gateway.signal(signal);
        let ended = gateway.wait().code(0);
        assert_eq!(ended.lines.len(), 1, "{ended:?}");
        assert!(ended.lines[0].error().contains("told to end"), "{ended:?}");
        assert_eq!(workspace.sessions(), 0, "the session was given back");
    }
}

/// A workspace that never answers does not keep the gateway: the second signal ends it at once, and
/// nothing more is said.
#[test]
fn a_second_sigterm_ends_it_at_once() {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    gateway.send(&call("1", "demo__wait", "{}"));
    workspace.wait_requests("tools/call", 1);
    workspace.set(serde_json::json!({"outage": "hang"}));
    gateway.signal(Signal::TERM);
    gateway.signal(Signal::TERM);
    gateway.wait().code(0);
}

/// SIGTERM while the workspace does not even answer the DELETE: bounded all the same.
#[test]
fn sigterm_with_a_dead_workspace() {
    let workspace = Workspace::http();
    let gateway = Gateway::connected(&workspace);
    workspace.wait_seen("the event stream", 1, |seen| seen.http == "GET");
    workspace.set(serde_json::json!({"outage": "hang"}));
    gateway.signal(Signal::TERM);
    gateway.wait().code(0);
    assert_eq!(workspace.sessions(), 1, "it could not be given back");
}

/// Nobody reads stdout any more, noticed even with nothing to write.
#[test]
fn a_closed_stdout_is_the_end() {
    for sockets in [false, true] {
        let workspace = Workspace::http();
        let (ours, theirs) = channel(sockets);
        let mut gateway = Setup::workspace(&workspace)
            .stdout(theirs, Some(ours))
            .spawn();
        let mut stdout = File::from(gateway.take_stdout());
        gateway.write(format!("{INITIALIZE}\n{INITIALIZED}\n").into_bytes());
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("the answer begins");
        workspace.wait_requests("notifications/initialized", 1);
        gateway.send(&call("1", "demo__wait", "{}"));
        workspace.wait_requests("tools/call", 1);
        drop(stdout);
        // stdin stays open.
        gateway.wait().code(0);
        assert_eq!(workspace.sessions(), 0, "the session was given back");
    }
}

/// The host dies before it ever spoke.
#[test]
fn a_host_that_dies_at_once() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace).spawn();
    drop(gateway.take_stdout());
    gateway.wait().code(0);
}

/// After the end of stdin nothing spins. A drain that waits for an answer costs no CPU.
#[test]
fn waiting_costs_no_processor_time() {
    let workspace = Workspace::http();
    let mut gateway = Setup::workspace(&workspace)
        .args(&["--drain-timeout", "1"])
        .spawn();
    gateway.initialize();
    gateway.send(&call("1", "demo__wait", "{}"));
    workspace.wait_requests("tools/call", 1);
    gateway.close_stdin();
    let pid = gateway.pid();
    let ticks = move || -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rest = stat.rsplit_once(')')?.1;
        let fields: Vec<u64> = rest.split(' ').filter_map(|f| f.parse().ok()).collect();
        // utime and stime, fields 14 and 15 of proc(5); the state's letter is left out.
        Some(fields[10] + fields[11])
    };
    let before = ticks().expect("it drains");
    // The last answer is the error of the drain's end; until DELETE is answered the process lives.
    workspace.set(serde_json::json!({"outage": "hang"}));
    gateway.answer("1");
    let after = ticks().unwrap_or(before);
    gateway.wait().code(0);
    // A spinning second would be 100 ticks.
    assert!(after - before < 20, "{} ticks", after - before);
}
