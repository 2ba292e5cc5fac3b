//! A server that is a program of this machine: one JSON-RPC message a line, over its stdin and stdout.
//!
//! The program is started when it is first needed and again after it has ended. Its stderr is ours.

use std::collections::HashMap;
use std::process::{ExitStatus, Stdio as Pipe};
use std::sync::{Arc, Mutex as Plain};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Upstream;
use crate::call::Call;
use crate::raw::{RawObject, raw};
use crate::rpc::{self, Message, Outcome};
use crate::sync::Locked;

/// How long a program may take to begin; `npx` may have to fetch it first.
const BEGIN_MAX: Duration = Duration::from_secs(120);
/// How long a program has to end once its stdin is closed.
const END_MAX: Duration = Duration::from_secs(2);
/// A program that ended sooner is not started again at once.
const LIVED_MIN: Duration = Duration::from_secs(2);
/// The longest line that is read.
const LINE_MAX: u64 = 64 << 20;
/// Messages that wait to be written.
const QUEUE: usize = 256;

/// The command, and its program while it runs.
#[derive(Debug)]
pub(super) struct Stdio {
    command: Vec<String>,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    running: Option<Running>,
    started: Option<Instant>,
}

/// A program that runs.
#[derive(Clone, Debug)]
struct Running {
    lines: mpsc::Sender<String>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Plain<HashMap<u64, Waiting>>,
    /// Why nothing is answered any more, once the program has ended.
    ended: Plain<Option<String>>,
    child: Mutex<Option<Child>>,
}

/// A request that the program works on.
#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Outcome>,
    call: Option<Call>,
    progress_token: Option<Box<RawValue>>,
}

impl Stdio {
    pub(super) fn parse(command: &str) -> Result<Self, String> {
        let command = words(command)?;
        if command.is_empty() {
            return Err("a command is missing".to_owned());
        }
        Ok(Stdio {
            command,
            slot: Mutex::default(),
        })
    }

    pub(super) async fn request(
        &self,
        own: &Upstream,
        call: Option<&Call>,
        method: &str,
        params: &RawObject,
    ) -> Outcome {
        let running = self.running(own).await.map_err(|e| own.error(&e))?;
        let outcome = running.request(own, call, method, params).await;
        outcome.map_err(|e| own.error(&e))?
    }

    /// Closes the program's stdin and waits for its end, which is then no accident.
    pub(super) async fn stop(&self) {
        let Some(running) = self.slot.lock().await.running.take() else {
            return;
        };
        let shared = running.shared.clone();
        drop(running);
        let mut child = shared.child.lock().await;
        if let Some(child) = child.as_mut()
            && tokio::time::timeout(END_MAX, child.wait()).await.is_err()
        {
            child.kill().await.ok();
        }
    }

    async fn running(&self, own: &Upstream) -> Result<Running, String> {
        let mut slot = self.slot.lock().await;
        if let Some(running) = &slot.running {
            let ended = running.shared.ended.locked().clone();
            match (ended, slot.started) {
                (None, _) => return Ok(running.clone()),
                // It would end again: whoever asks is told, and nothing spins.
                (Some(why), Some(at)) if at.elapsed() < LIVED_MIN => return Err(why),
                (Some(_), _) => slot.running = None,
            }
        }
        slot.started = Some(Instant::now());
        let running = self.start(own)?;
        let begun = tokio::time::timeout(BEGIN_MAX, running.begin(own)).await;
        match begun {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(e),
            Err(_) => return Err("it did not answer initialize".to_owned()),
        }
        slot.running = Some(running.clone());
        Ok(running)
    }

    fn start(&self, own: &Upstream) -> Result<Running, String> {
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(Pipe::piped())
            .stdout(Pipe::piped())
            .stderr(Pipe::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{} cannot be started: {e}", self.command[0]))?;
        let stdin = child.stdin.take().ok_or("it has no stdin")?;
        let stdout = child.stdout.take().ok_or("it has no stdout")?;
        let (lines, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            child: Mutex::new(Some(child)),
            ..Shared::default()
        });
        tokio::spawn(write(stdin, queue));
        let reader = Reader {
            name: own.name.clone(),
            workspace: own.workspace.get().cloned().unwrap_or_default(),
            lines: lines.downgrade(),
            shared: shared.clone(),
        };
        tokio::spawn(reader.read(stdout));
        Ok(Running { lines, shared })
    }
}

impl Running {
    /// The handshake. The ping at its end comes back after whatever the server asks on `initialized`: what it
    /// asks later belongs to a call.
    async fn begin(&self, own: &Upstream) -> Result<(), String> {
        let hello = RawObject::parse(Upstream::hello().get()).unwrap_or_default();
        let result = self.request(own, None, "initialize", &hello).await?;
        result.map_err(|e| format!("initialize: {}", e.raw.get()))?;
        let ready = rpc::notification("notifications/initialized", None);
        self.send(ready).await?;
        // Any answer will do, also that there is no ping.
        self.request(own, None, "ping", &RawObject::default())
            .await
            .map(drop)
    }

    async fn send(&self, line: String) -> Result<(), String> {
        let sent = self.lines.send(line).await;
        sent.map_err(|_| self.why())
    }

    fn why(&self) -> String {
        let ended = self.shared.ended.locked().clone();
        ended.unwrap_or_else(|| "it reads no more".to_owned())
    }

    async fn request(
        &self,
        own: &Upstream,
        call: Option<&Call>,
        method: &str,
        params: &RawObject,
    ) -> Result<Outcome, String> {
        let id = own.next_id();
        let mut params = params.clone();
        let mut progress_token = None;
        if let Some(mut meta) = params.object("_meta")
            && let Some(token) = meta.get("progressToken").map(ToOwned::to_owned)
        {
            // Tokens are unique for one client, and several share this program.
            meta.set("progressToken", raw(&id));
            params.set("_meta", meta.to_raw());
            progress_token = Some(token);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            answer,
            call: call.cloned(),
            progress_token,
        };
        self.shared.waiting.locked().insert(id, waiting);
        let mut cancel = CancelOnDrop {
            running: Some(self.clone()),
            id,
        };
        if self.shared.ended.locked().is_some() {
            cancel.running = None;
            self.shared.waiting.locked().remove(&id);
            return Err(self.why());
        }
        self.send(rpc::request(&raw(&id), method, &params.to_raw()))
            .await?;
        let outcome = answered.await;
        cancel.running = None;
        outcome.map_err(|_| {
            format!(
                "{}; the request was with it, and may have been executed",
                self.why()
            )
        })
    }
}

/// Tells the program that nobody waits for an answer any more.
struct CancelOnDrop {
    running: Option<Running>,
    id: u64,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.shared.waiting.locked().remove(&self.id);
        let params = raw(&serde_json::json!({ "requestId": self.id, "reason": "cancelled" }));
        let line = rpc::notification("notifications/cancelled", Some(&params));
        // A program that reads nothing hears of nothing.
        running.lines.try_send(line).ok();
    }
}

async fn write(mut stdin: ChildStdin, mut queue: mpsc::Receiver<String>) {
    while let Some(mut line) = queue.recv().await {
        // Raw values may hold line ends between their tokens; a message is one line.
        line.retain(|c| c != '\n' && c != '\r');
        line.push('\n');
        if stdin.write_all(line.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// What reads a program's stdout.
struct Reader {
    name: String,
    workspace: std::sync::Weak<crate::state::Workspace>,
    /// Weak: that nobody sends any more closes the program's stdin.
    lines: mpsc::WeakSender<String>,
    shared: Arc<Shared>,
}

impl Reader {
    async fn read(self, stdout: ChildStdout) {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        let why = loop {
            line.clear();
            let mut limited = (&mut stdout).take(LINE_MAX);
            match limited.read_until(b'\n', &mut line).await {
                Ok(0) => break None,
                Ok(_) if line.last() != Some(&b'\n') && line.len() as u64 == LINE_MAX => {
                    break Some(format!("a line was longer than {LINE_MAX} bytes"));
                }
                Ok(_) => self.heard(&String::from_utf8_lossy(&line)),
                Err(e) => break Some(e.to_string()),
            }
        };
        let status = self.end().await;
        let why = why.unwrap_or_else(|| match status {
            Some(status) => format!("its program has ended ({status})"),
            None => "its program has closed its stdout".to_owned(),
        });
        *self.shared.ended.locked() = Some(why);
        // Whoever waits learns it now.
        self.shared.waiting.locked().clear();
    }

    async fn end(&self) -> Option<ExitStatus> {
        let mut child = self.shared.child.lock().await;
        let child = child.as_mut()?;
        match tokio::time::timeout(END_MAX, child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                child.kill().await.ok();
                None
            }
        }
    }

    fn heard(&self, line: &str) {
        let Some(workspace) = self.workspace.upgrade() else {
            return;
        };
        let mut all = workspace.upstreams.iter();
        let Some(own) = all.find(|u| u.name == self.name) else {
            return;
        };
        match Message::parse(line) {
            Ok(Message::Response { id, outcome }) => {
                let id: Option<u64> = id.get().parse().ok();
                let waiting = id.and_then(|id| self.shared.waiting.locked().remove(&id));
                if let Some(waiting) = waiting {
                    waiting.answer.send(outcome).ok();
                }
            }
            Ok(Message::Notification { method, params }) if method == "notifications/progress" => {
                self.progress(params);
            }
            Ok(Message::Notification { method, params }) => {
                own.notified(&method, &params, self.only_call().as_ref());
            }
            Ok(Message::Request { id, method, params }) => {
                let (call, lines) = (self.only_call(), self.lines.clone());
                tokio::spawn(async move {
                    let outcome = Upstream::asked(call.as_ref(), &method, &params).await;
                    if let Some(lines) = lines.upgrade() {
                        lines.send(rpc::response(Some(&id), &outcome)).await.ok();
                    }
                });
            }
            // Some programs write more than messages to their stdout.
            Err(_) => {}
        }
    }

    fn progress(&self, mut params: RawObject) {
        let waiting = self.shared.waiting.locked();
        let found = params
            .read::<u64>("progressToken")
            .and_then(|id| waiting.get(&id));
        if let Some(Waiting {
            call: Some(call),
            progress_token: Some(token),
            ..
        }) = found
        {
            params.set("progressToken", token.clone());
            call.notify("notifications/progress", &params.to_raw());
        }
    }

    /// The call that the program works on, if it cannot be another client's: several share this program, and
    /// what it says does not name the call.
    fn only_call(&self) -> Option<Call> {
        let waiting = self.shared.waiting.locked();
        let mut calls: Vec<(&u64, &Call)> = waiting
            .iter()
            .filter_map(|(id, w)| Some((id, w.call.as_ref()?)))
            .collect();
        calls.sort_by_key(|(id, _)| **id);
        let (_, last) = calls.last()?;
        let same = |call: &Call| call.agent().session == last.agent().session;
        (calls.len() == 1 || (last.session().is_some() && calls.iter().all(|(_, c)| same(c))))
            .then(|| (*last).clone())
    }
}

/// Splits a command as a shell does, without expanding anything: blanks, quotes, backslashes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("{text}: a quote is not closed")),
                        Some(q) if q == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_a_shell_does() {
        for (text, expect) in [
            ("", vec![]),
            (
                "npx -y server /home/me",
                vec!["npx", "-y", "server", "/home/me"],
            ),
            ("a 'b  c' \"d \\\" e\"", vec!["a", "b  c", "d \" e"]),
            ("a\\ b ''  x'y'\"z\"", vec!["a b", "", "xyz"]),
            ("$HOME ; rm *", vec!["$HOME", ";", "rm", "*"]),
        ] {
            assert_eq!(words(text).expect(text), expect, "{text}");
        }
        assert!(words("a 'b").is_err());
    }
}
