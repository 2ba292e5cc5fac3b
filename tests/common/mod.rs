//! What the tests of the real program share: the gateway as a child process, the reference workspace,
//! and servers that misbehave in ways the workspace can not.
//!
//! No test sleeps and none takes a fixed port; [`DEADLINE`] only keeps a hang from lasting for ever.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(unused_imports, reason = "as above")]

mod gateway;
mod people;
mod raw;
mod terminal;
pub(crate) mod tls;
mod workspace;

pub(crate) use gateway::{Ended, Gateway, Line, Setup, check_line, program};
pub(crate) use raw::{Nobody, RawServer, Request, chunk, json_reply, reply};
pub(crate) use terminal::Terminal;
pub(crate) use workspace::{Workspace, header};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A test that waits longer for anything has failed. Twice the longest pause that any of them sits
/// out, and no more: a broken condition is to be seen soon.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The token of every test; no output of the gateway may ever hold it.
pub(crate) const TOKEN: &str = "mwt_tests_only_5f1d2c9a7e";

/// The handshake that most tests open with.
pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{},"sampling":{},"roots":{}},"clientInfo":{"name":"real-tests","version":"1"}}}"#;
/// Its second half.
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A directory that is removed with the value.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "aerostack-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path as text.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file in our own directory");
        path.to_str().expect("the path is ours").to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// `tools/call` with these arguments, raw JSON.
pub(crate) fn call(id: &str, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

/// A request without parameters.
pub(crate) fn request(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#)
}

/// A modern (2026-07-28) request: `params` are the members beside `_meta`, raw, with their comma.
pub(crate) fn modern(id: &str, method: &str, params: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"real-tests","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{}}}}}}}}}}"#
    )
}
