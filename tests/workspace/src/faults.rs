//! Faults on purpose: what the admin API asks to go wrong, and when.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::sync::Locked;

/// One thing that goes wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Answer with a status. `body`: `json` (default), `jsonrpc`, `html`, `text`, `empty`, or literal text.
    Status {
        /// The HTTP status.
        status: u16,
        /// Which body.
        body: Option<String>,
        /// More headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// Execute the request all the same, and drop its answer.
        #[serde(default)]
        execute: bool,
    },
    /// Answer 200 with this body and content type.
    Body {
        /// The body.
        text: String,
        /// The content type; `application/json` unless given.
        content_type: Option<String>,
    },
    /// Answer with this JSON-RPC error.
    Error {
        /// The code.
        code: i64,
        /// The message.
        message: String,
        /// The data.
        data: Option<serde_json::Value>,
    },
    /// Answer later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Never answer.
    Never {
        /// Execute the request all the same.
        #[serde(default)]
        execute: bool,
    },
    /// Reset the connection without an answer.
    Reset {
        /// Execute the request all the same.
        #[serde(default)]
        execute: bool,
    },
    /// The answer drips.
    Slow {
        /// Bytes at a time.
        #[serde(default = "one")]
        bytes: usize,
        /// Milliseconds between.
        #[serde(default = "ten")]
        every_ms: u64,
    },
    /// A chunked body that is reset in the middle of a chunk.
    HalfChunk {
        /// Body bytes that still go out, chunk head included.
        #[serde(default = "twenty")]
        bytes: usize,
    },
    /// A body with Content-Length that is reset before its end.
    Truncate {
        /// Body bytes that still go out.
        #[serde(default = "twenty")]
        bytes: usize,
    },
    /// After this answer the idle connection is closed, unannounced.
    CloseIdle,
    /// After this answer the connection is reset when the next request arrives on it.
    CloseOnNext,
    /// Informational responses (103 unless given) come before the answer.
    Informational {
        /// The status.
        #[serde(default = "early_hints")]
        status: u16,
        /// How many.
        #[serde(default = "one_u32")]
        times: u32,
    },
    /// The answer carries another id.
    WrongId,
    /// The answer carries id null.
    NullId,
    /// The answer is pretty-printed over many lines.
    Pretty,
    /// The answer comes as an event stream, and its event twice.
    Duplicate,
    /// The answer comes as an event stream.
    ForceSse,
    /// The answer comes as JSON.
    ForceJson,
    /// The event stream ends without the answer.
    SseCut,
    /// The event stream stays open after the answer.
    SseOpen,
    /// The answer has another content type.
    ContentType {
        /// The value.
        value: String,
    },
}

fn one() -> usize {
    1
}
fn one_u32() -> u32 {
    1
}
fn ten() -> u64 {
    10
}
fn twenty() -> usize {
    20
}
fn early_hints() -> u16 {
    103
}

/// A fault and the requests it applies to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How often.
    #[serde(default = "one_u32")]
    pub count: u32,
    /// How many matching requests pass before.
    #[serde(default)]
    pub skip: u32,
    /// Only this JSON-RPC method.
    pub method: Option<String>,
    /// Only this tool.
    pub tool: Option<String>,
    /// Only this kind of HTTP request: POST, GET, DELETE or WS.
    pub http: Option<String>,
}

/// What a fault is matched against.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// POST, GET, DELETE or WS.
    pub http: &'a str,
    /// The JSON-RPC method, if any.
    pub method: Option<&'a str>,
    /// The tool, if any.
    pub tool: Option<&'a str>,
}

/// The faults that wait for their request.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Mutex<Vec<Fault>>,
}

impl Faults {
    /// Adds one.
    pub fn add(&self, fault: Fault) {
        self.waiting.locked().push(fault);
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.waiting.locked().clear();
    }

    /// Those that still wait.
    pub fn list(&self) -> Vec<Fault> {
        self.waiting.locked().clone()
    }

    /// Takes the faults that apply to a request: of each kind at most one.
    pub fn take(&self, target: Target<'_>) -> Vec<FaultKind> {
        let mut waiting = self.waiting.locked();
        let mut taken: Vec<FaultKind> = Vec::new();
        for fault in waiting.iter_mut() {
            let fits = fault
                .http
                .as_deref()
                .map_or(target.http != "WS", |h| h.eq_ignore_ascii_case(target.http))
                && fault
                    .method
                    .as_deref()
                    .is_none_or(|m| target.method == Some(m))
                && fault.tool.as_deref().is_none_or(|t| target.tool == Some(t));
            let same =
                |k: &FaultKind| std::mem::discriminant(k) == std::mem::discriminant(&fault.kind);
            if !fits || fault.count == 0 || taken.iter().any(same) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.count -= 1;
            taken.push(fault.kind.clone());
        }
        waiting.retain(|f| f.count > 0);
        taken
    }
}
