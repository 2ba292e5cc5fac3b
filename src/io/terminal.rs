//! Questions to a person at a terminal.
//!
//! Owns the terminal's echo while a secret is typed. It must never leave a terminal without echo,
//! whatever signal comes, and never wait where there is no person.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGXCPU,
};
use signal_hook::{flag, low_level};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals that end or stop a program which does not catch them.
const SIGNALS: [i32; 9] = [
    SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGXCPU,
];
/// A terminal hands over no longer lines.
const LINE_MAX_BYTES: usize = 4096;

/// A person's terminal: stdin and stdout are one.
pub(crate) struct Terminal {
    signals: Signals,
}

impl Terminal {
    /// `None` where a program or file is at either end. The error is the system's.
    pub(crate) fn open() -> io::Result<Option<Terminal>> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(None);
        }
        let signals = Signals::install()?;
        Ok(Some(Terminal { signals }))
    }

    /// Shows text.
    pub(crate) fn show(&self, text: &str) {
        show(text);
    }

    /// Asks, and reads one line without blanks at its ends; `None` at the end of the input.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        self.show(question);
        read_line(|| Ok(()))
    }

    /// Asks for yes or no; anything but yes is a no.
    pub(crate) fn agrees(&self, question: &str) -> bool {
        let answer = self.ask(&format!("{question} [y/N] "));
        answer.is_some_and(|answer| {
            answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
        })
    }

    /// As `ask`, with nothing shown of what is typed. The error is the system's: then nothing was
    /// read.
    pub(crate) fn ask_secret(&mut self, question: &str) -> io::Result<Option<String>> {
        self.signals.hold(true);
        let line = self.read_secret(question);
        self.signals.hold(false);
        // One that came after the last look.
        if let Some(signal) = self.signals.take() {
            low_level::emulate_default_handler(signal)?;
        }
        line
    }

    fn read_secret(&mut self, question: &str) -> io::Result<Option<String>> {
        let mut echo = Echo::off()?;
        self.show(question);
        let line = read_line(|| {
            while let Some(signal) = self.signals.wait()? {
                echo.restore();
                low_level::emulate_default_handler(signal)?;
                // Only a stop comes back, once the person continues.
                echo = Echo::off()?;
                show(question);
            }
            Ok(())
        });
        Ok(line)
    }
}

fn show(text: &str) {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// `wait` returns when there is something to read.
fn read_line(mut wait: impl FnMut() -> io::Result<()>) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    let stdin = io::stdin();
    loop {
        wait().ok()?;
        match rustix::io::retry_on_intr(|| rustix::io::read(stdin.as_fd(), &mut byte)) {
            Ok(0) | Err(_) => return None,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() < LINE_MAX_BYTES => line.push(byte[0]),
            Ok(_) => {}
        }
    }
    let line = String::from_utf8(line).ok()?;
    Some(line.trim().to_owned())
}

/// The terminal's mode as it was, to be put back.
struct Echo(Termios);

impl Echo {
    fn off() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut mode = before.clone();
        mode.local_modes.remove(LocalModes::ECHO);
        // The line end is no secret: without it the next line begins behind the question.
        mode.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &mode)?;
        Ok(Self(before))
    }

    fn restore(&self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Handlers for the rest of the process's life: what a signal does by default they do, too, but for
/// the time in which signals are held.
struct Signals {
    at_once: Arc<AtomicBool>,
    pipes: Vec<(i32, UnixStream)>,
}

impl Signals {
    fn install() -> io::Result<Self> {
        let mut signals = Self {
            at_once: Arc::new(AtomicBool::new(true)),
            pipes: Vec::new(),
        };
        for signal in SIGNALS {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            low_level::pipe::register(signal, writer)?;
            flag::register_conditional_default(signal, signals.at_once.clone())?;
            signals.pipes.push((signal, reader));
        }
        Ok(signals)
    }

    /// From now on signals only tell, or no longer.
    fn hold(&mut self, held: bool) {
        self.at_once.store(!held, Ordering::SeqCst);
    }

    /// A signal that came.
    fn take(&mut self) -> Option<i32> {
        let mut told = self.pipes.iter_mut();
        let came = |pipe: &mut UnixStream| pipe.read(&mut [0; 16]).is_ok_and(|count| count > 0);
        told.find_map(|(signal, pipe)| came(pipe).then_some(*signal))
    }

    /// Waits for a signal, or for something to read on stdin (`None`).
    fn wait(&mut self) -> io::Result<Option<i32>> {
        let stdin = io::stdin();
        loop {
            let mut fds = vec![PollFd::new(&stdin, PollFlags::IN)];
            let pipes = self.pipes.iter();
            fds.extend(pipes.map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)));
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            return Ok(self.take());
        }
    }
}
