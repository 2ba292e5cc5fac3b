//! The gateway as a host sees it: a child process with lines going in and lines coming out.

use super::{DEADLINE, INITIALIZE, INITIALIZED, TOKEN, Workspace};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The program under test: cargo's, or the static build that CI names.
pub(crate) fn program() -> String {
    std::env::var("AEROSTACK_GATEWAY_BIN")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_aerostack-gateway").to_owned())
}

/// What a gateway is started with.
pub(crate) struct Setup {
    command: Command,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Our ends of the three, where the test chose the kind.
    ends: [Option<OwnedFd>; 3],
    unread_stderr: bool,
}

impl Setup {
    /// An empty environment: nothing of the machine's own settings reaches the gateway.
    pub(crate) fn new() -> Self {
        let mut command = Command::new(program());
        command.env_clear();
        Self {
            command,
            stdin: None,
            stdout: None,
            stderr: None,
            ends: [None, None, None],
            unread_stderr: false,
        }
    }

    /// Set to talk to this URL with the tests' token.
    pub(crate) fn url(url: &str) -> Self {
        Self::new()
            .env("AEROSTACK_WORKSPACE_URL", url)
            .env("AEROSTACK_TOKEN", TOKEN)
            .env("AEROSTACK_BUILTIN_TOOLS", "off")
            .env("AEROSTACK_LOG_LEVEL", "debug")
    }

    /// Set to talk to this workspace, whose CA it trusts.
    pub(crate) fn workspace(workspace: &Workspace) -> Self {
        let setup = Self::url(&workspace.url);
        match &workspace.ca_file {
            Some(file) => setup.env("SSL_CERT_FILE", file),
            None => setup,
        }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// stdin is this; a second value is the end that lines are written to.
    pub(crate) fn stdin(mut self, theirs: impl Into<OwnedFd>, ours: Option<OwnedFd>) -> Self {
        self.stdin = Some(theirs.into());
        self.ends[0] = ours;
        self
    }

    pub(crate) fn stdout(mut self, theirs: impl Into<OwnedFd>, ours: Option<OwnedFd>) -> Self {
        self.stdout = Some(theirs.into());
        self.ends[1] = ours;
        self
    }

    pub(crate) fn stderr(mut self, theirs: impl Into<OwnedFd>, ours: Option<OwnedFd>) -> Self {
        self.stderr = Some(theirs.into());
        self.ends[2] = ours;
        self
    }

    /// Nobody drains stderr.
    pub(crate) fn unread_stderr(mut self) -> Self {
        self.unread_stderr = true;
        self
    }

    pub(crate) fn spawn(self) -> Gateway {
        let Setup {
            mut command,
            stdin,
            stdout,
            stderr,
            ends: [in_end, out_end, err_end],
            unread_stderr,
        } = self;
        let fd = |fd: Option<OwnedFd>| fd.map_or_else(Stdio::piped, Stdio::from);
        command.stdin(fd(stdin));
        command.stdout(fd(stdout));
        command.stderr(fd(stderr));
        let mut child = command.spawn().expect("the gateway starts");
        // The command holds the child's ends: an end of file would never come.
        drop(command);
        let stdin = child.stdin.take().map(OwnedFd::from).or(in_end);
        let stdout = child.stdout.take().map(OwnedFd::from).or(out_end);
        let stderr = child.stderr.take().map(OwnedFd::from).or(err_end);
        let (stderr_fd, stderr) = match (stderr, unread_stderr) {
            (Some(fd), false) => (None, Some(read_all(File::from(fd)))),
            (fd, _) => (fd, None),
        };
        Gateway {
            child,
            stdin: stdin.map(|fd| write_lines(File::from(fd))),
            stdout,
            lines: None,
            others: VecDeque::new(),
            unread_stderr: stderr_fd,
            stderr,
        }
    }
}

/// What the workspace's answer, or any message, looks like on stdout.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line(pub(crate) String);

impl Line {
    /// The message; numbers beyond f64 can not be read this way.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_else(|err| panic!("{err}: {}", self.cut()))
    }

    /// The value at a JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> Value {
        self.json()
            .pointer(pointer)
            .cloned()
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.cut()))
    }

    /// The text of a tool's first content item.
    pub(crate) fn text(&self) -> String {
        let text = self.at("/result/content/0/text");
        text.as_str().expect("text is a string").to_owned()
    }

    /// The message of an error.
    pub(crate) fn error(&self) -> String {
        let message = self.at("/error/message");
        message.as_str().expect("a message").to_owned()
    }

    /// The raw id, as it was written.
    pub(crate) fn id(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            method: Option<&'a RawValue>,
        }
        let message: Message<'_> = serde_json::from_str(&self.0).ok()?;
        match message.method {
            None => Some(message.id?.get().to_owned()),
            Some(_) => None,
        }
    }

    fn cut(&self) -> String {
        self.0.chars().take(2_000).collect()
    }
}

/// How a gateway ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What was not read before.
    pub(crate) lines: Vec<Line>,
    pub(crate) stderr: String,
}

/// A running gateway. It is killed if the test forgets it.
pub(crate) struct Gateway {
    child: Child,
    stdin: Option<Sender<Vec<u8>>>,
    stdout: Option<OwnedFd>,
    lines: Option<Receiver<Line>>,
    /// Lines that were read while another was looked for.
    others: VecDeque<Line>,
    unread_stderr: Option<OwnedFd>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Gateway {
    /// A gateway for this workspace, after its handshake.
    pub(crate) fn connected(workspace: &Workspace) -> Self {
        let mut gateway = Setup::workspace(workspace).spawn();
        gateway.initialize();
        gateway
    }

    /// Performs the handshake and returns the answer.
    pub(crate) fn initialize(&mut self) -> Line {
        self.send(INITIALIZE);
        let answer = self.answer("\"init\"");
        assert!(answer.0.contains("\"result\""), "{}", answer.cut());
        self.send(INITIALIZED);
        answer
    }

    /// Hands the gateway one line; never blocks.
    pub(crate) fn send(&mut self, line: &str) {
        self.write([line.as_bytes(), b"\n"].concat());
    }

    /// Hands the gateway bytes; never blocks.
    pub(crate) fn write(&mut self, bytes: Vec<u8>) {
        let stdin = self.stdin.as_ref().expect("stdin is open");
        // A gateway that has gone shows when its answer is awaited.
        stdin.send(bytes).ok();
    }

    /// A request and its answer; the id is the raw one of the text.
    pub(crate) fn ask(&mut self, request: &str) -> Line {
        self.send(request);
        let id = Line(request.replacen("\"method\"", "\"_\"", 1)).id();
        self.answer(&id.expect("a request has an id"))
    }

    /// The answer with this raw id; what comes before it is kept for later.
    pub(crate) fn answer(&mut self, id: &str) -> Line {
        self.find(&format!("the answer to {id}"), |line| {
            line.id().as_deref() == Some(id)
        })
    }

    /// The first notification or request of this method.
    pub(crate) fn message(&mut self, method: &str) -> Line {
        let wanted = Value::from(method);
        self.find(method, |line| line.json().get("method") == Some(&wanted))
    }

    /// The first line that fits, wherever it stands.
    pub(crate) fn find(&mut self, what: &str, fits: impl Fn(&Line) -> bool) -> Line {
        if let Some(index) = self.others.iter().position(&fits) {
            return self.others.remove(index).expect("it was found there");
        }
        let end = Instant::now() + DEADLINE;
        loop {
            match self.receive(end) {
                Some(line) if fits(&line) => return line,
                Some(line) => self.others.push_back(line),
                None => self.give_up(what),
            }
        }
    }

    /// The next line.
    pub(crate) fn next(&mut self) -> Line {
        if let Some(line) = self.others.pop_front() {
            return line;
        }
        match self.receive(Instant::now() + DEADLINE) {
            Some(line) => line,
            None => self.give_up("a line"),
        }
    }

    /// Lines from now on are read as they come.
    pub(crate) fn start_reading(&mut self) {
        if let Some(stdout) = self.stdout.take() {
            self.lines = Some(read_lines(File::from(stdout)));
        }
    }

    /// Our end of stdout, as long as nothing was read.
    pub(crate) fn take_stdout(&mut self) -> OwnedFd {
        self.stdout.take().expect("stdout was not read yet")
    }

    /// Gives back what `take_stdout` took.
    pub(crate) fn put_stdout(&mut self, fd: OwnedFd) {
        self.stdout = Some(fd);
    }

    fn receive(&mut self, end: Instant) -> Option<Line> {
        self.start_reading();
        let left = end.saturating_duration_since(Instant::now());
        let lines = self.lines.as_ref()?;
        lines.recv_timeout(left).ok()
    }

    fn give_up(&mut self, what: &str) -> ! {
        self.child.kill().ok();
        let status = self.child.wait();
        let stderr = self.stderr.take().map(text_of).unwrap_or_default();
        let seen: Vec<String> = self.others.iter().map(Line::cut).collect();
        panic!("{what} did not come\nother lines: {seen:#?}\nended: {status:?}\nstderr:\n{stderr}");
    }

    /// Closes stdin once everything sent so far is written.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the gateway runs");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A line of /proc/PID/status, in KiB where it is a size.
    pub(crate) fn status_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the gateway runs");
        let line = status.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        value.expect("the line is there")
    }

    /// Closes stdin and waits for the end.
    pub(crate) fn finish(mut self) -> Ended {
        self.close_stdin();
        self.wait()
    }

    /// Waits for the end. Whatever the test was about, stdout was JSON lines only and nothing that
    /// came out holds the token.
    pub(crate) fn wait(mut self) -> Ended {
        let end = Instant::now() + DEADLINE;
        self.start_reading();
        let mut lines: Vec<Line> = self.others.drain(..).collect();
        while let Some(receiver) = &self.lines {
            let left = end.saturating_duration_since(Instant::now());
            match receiver.recv_timeout(left) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => self.lines = None,
                Err(RecvTimeoutError::Timeout) => self.give_up("the end of stdout"),
            }
        }
        let status = loop {
            match self.child.try_wait().expect("our own child") {
                Some(status) => break status,
                None if Instant::now() > end => self.give_up("the exit"),
                // There is no wait with a deadline in std; this is its loop, not a pause of a test.
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        let stderr = self.stderr.take().map(text_of).unwrap_or_default();
        assert!(!stderr.contains(TOKEN), "the token is on stderr:\n{stderr}");
        Ended {
            status,
            lines,
            stderr,
        }
    }
}

impl Ended {
    /// Asserts the exit code.
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{:?}", self);
        self
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        // A test that failed shows what the gateway said.
        if thread::panicking()
            && let Some(stderr) = self.stderr.take()
        {
            let stderr = text_of(stderr);
            writeln!(std::io::stderr(), "the gateway's stderr:\n{stderr}").ok();
        }
    }
}

fn text_of(reader: JoinHandle<Vec<u8>>) -> String {
    let bytes = reader.join().expect("the reader does not panic");
    String::from_utf8(bytes).expect("logs are UTF-8")
}

fn read_all(mut file: File) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A terminal's end answers EIO once the other side has gone.
        file.read_to_end(&mut bytes).ok();
        bytes
    })
}

fn write_lines(mut file: File) -> Sender<Vec<u8>> {
    let (sender, receiver) = mpsc::channel::<Vec<u8>>();
    thread::spawn(move || {
        while let Ok(bytes) = receiver.recv() {
            if file.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    sender
}

/// Reads lines, each checked: whole, JSON, without the token.
fn read_lines(file: File) -> Receiver<Line> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut file = BufReader::with_capacity(1 << 16, file);
        loop {
            let mut bytes = Vec::new();
            match file.read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let line = check_line(bytes);
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// One line of stdout as it has to be; a test that reads it otherwise sees why it is wrong.
pub(crate) fn check_line(mut bytes: Vec<u8>) -> Line {
    let whole = bytes.pop() == Some(b'\n');
    let text = String::from_utf8(bytes).expect("stdout is UTF-8");
    let json = serde_json::from_str::<&RawValue>(&text).is_ok();
    let message = text.starts_with(['{', '[']);
    let line = Line(text);
    if !(whole && json && message) {
        return Line(format!("NOT A MESSAGE: {}", line.cut()));
    }
    assert!(!line.0.contains(TOKEN), "the token is on stdout");
    line
}
