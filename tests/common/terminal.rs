//! A pseudo-terminal: what a person types, and what they see.

use super::DEADLINE;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

pub(crate) struct Terminal {
    /// The end that a program gets.
    pub(crate) theirs: File,
    ours: File,
    read: Receiver<Vec<u8>>,
    /// All that was shown and not looked for yet.
    seen: String,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).expect("it is ours");
        unlockpt(&ours).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let name = name.to_str().expect("names of terminals are ASCII");
        let theirs = File::options().read(true).write(true).open(name);
        let ours = File::from(ours);
        let mut reader = ours.try_clone().expect("a duplicate");
        let (send, read) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            theirs: theirs.expect("it is ours"),
            ours,
            read,
            seen: String::new(),
        }
    }

    /// What the person types.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).expect("it is open");
    }

    /// Waits until this was shown; returns what came before, and it.
    pub(crate) fn wait(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.read.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} was not shown, but {:?}", self.seen),
            }
        }
    }

    /// Whether what is typed is shown.
    pub(crate) fn echoes(&self) -> bool {
        let mode = tcgetattr(&self.theirs).expect("it is a terminal");
        mode.local_modes.contains(LocalModes::ECHO)
    }
}
