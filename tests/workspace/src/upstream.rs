//! Servers behind the workspace: tools of real MCP servers, over Streamable HTTP or over the stdio of a program.
//!
//! What a server asks of its client (sampling, elicitation, roots) goes to the client whose call it is working on;
//! outside of a call there is nobody to ask. That its lists have changed is announced to everybody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use serde_json::json;

use crate::call::Call;
use crate::raw::{RawObject, raw};
use crate::risk::Risk;
use crate::rpc::{self, Outcome, RpcError};
use crate::state::Workspace;
use crate::sync::Locked;

mod http;
mod stdio;

/// A server behind the workspace.
#[derive(Debug)]
pub struct Upstream {
    /// Its tools appear as `<name>__<tool>`.
    pub name: String,
    link: Link,
    ids: AtomicU64,
    /// Whom changes are announced to.
    workspace: OnceLock<Weak<Workspace>>,
    /// What its tools may do, from its last list.
    risks: Mutex<HashMap<String, Risk>>,
}

/// How it is reached.
#[derive(Debug)]
enum Link {
    Http(Box<http::Http>),
    Stdio(stdio::Stdio),
}

/// Splits `NAME=…`.
fn named(text: &str) -> Result<(&str, &str), String> {
    let (name, rest) = text
        .split_once('=')
        .ok_or_else(|| format!("{text}: expected NAME=…"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.contains("__") || !name.chars().all(plain) {
        return Err(format!(
            "{name:?} cannot name a server: letters, digits, - _ . and no __"
        ));
    }
    Ok((name, rest))
}

impl Upstream {
    fn new(name: &str, link: Link) -> Self {
        Upstream {
            name: name.to_owned(),
            link,
            ids: AtomicU64::new(0),
            workspace: OnceLock::new(),
            risks: Mutex::default(),
        }
    }

    /// Reads `NAME=URL`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, url) = named(text)?;
        Ok(Upstream::new(
            name,
            Link::Http(Box::new(http::Http::parse(url)?)),
        ))
    }

    /// Reads `NAME=command with arguments`; the program is started when it is needed.
    pub fn parse_stdio(text: &str) -> Result<Self, String> {
        let (name, command) = named(text)?;
        Ok(Upstream::new(
            name,
            Link::Stdio(stdio::Stdio::parse(command)?),
        ))
    }

    /// Says whom changes are announced to.
    pub(crate) fn attach(&self, workspace: Weak<Workspace>) {
        self.workspace.set(workspace).ok();
    }

    fn workspace(&self) -> Option<Arc<Workspace>> {
        self.workspace.get()?.upgrade()
    }

    /// The upstream's own name of `<name>__<tool>`.
    pub fn own<'a>(&'a self, name: &'a str) -> Option<(&'a Upstream, &'a str)> {
        let own = name.strip_prefix(self.name.as_str())?.strip_prefix("__")?;
        Some((self, own))
    }

    /// A tool or prompt under its name here; the other members stay as they are.
    pub fn renamed(&self, mut object: RawObject) -> RawObject {
        if let Some(name) = object.string("name") {
            object.set("name", raw(&format!("{}__{name}", self.name)));
        }
        object
    }

    /// Connects and reads the list of tools: how many there are, or why there are none.
    pub async fn connect(&self) -> Result<usize, String> {
        let tools = self.try_list("tools/list", "tools").await;
        tools
            .map(|tools| tools.len())
            .map_err(|e| e.raw.get().to_owned())
    }

    /// All pages of a list; an upstream that cannot be asked has nothing to list.
    pub async fn list(&self, method: &str, member: &str) -> Vec<RawObject> {
        self.try_list(method, member).await.unwrap_or_default()
    }

    async fn try_list(&self, method: &str, member: &str) -> Result<Vec<RawObject>, RpcError> {
        let mut all = Vec::new();
        let mut params = RawObject::default();
        for _ in 0..100 {
            let result = self.request(None, method, &params).await?;
            let Some(result) = RawObject::parse(result.get()) else {
                break;
            };
            all.extend(result.read::<Vec<RawObject>>(member).unwrap_or_default());
            match result.get("nextCursor") {
                Some(cursor) if cursor.get() != "null" => params.set("cursor", cursor.to_owned()),
                _ => break,
            }
        }
        if method == "tools/list" {
            let risk = |tool: &RawObject| Some((tool.string("name")?, Risk::of_tool(tool)));
            *self.risks.locked() = all.iter().filter_map(risk).collect();
        }
        Ok(all)
    }

    /// What a tool may do, by its server's own list.
    pub async fn risk(&self, tool: &str) -> Risk {
        let known = self.risks.locked().get(tool).copied();
        if let Some(risk) = known {
            return risk;
        }
        self.list("tools/list", "tools").await;
        self.risks.locked().get(tool).copied().unwrap_or_default()
    }

    /// Passes a request on, under the upstream's own name of the tool or prompt.
    pub async fn forward(&self, call: &Call, name: Option<&str>) -> Outcome {
        let mut params = call.params.clone();
        if let Some(name) = name {
            params.set("name", raw(name));
        }
        if let Some(mut meta) = params.object("_meta") {
            for own in [
                "protocolVersion",
                "clientInfo",
                "clientCapabilities",
                "logLevel",
            ] {
                meta.remove(&format!("io.modelcontextprotocol/{own}"));
            }
            meta.remove(crate::approvals::APPROVAL_META);
            params.set("_meta", meta.to_raw());
            if meta.is_empty() {
                params.remove("_meta");
            }
        }
        self.request(Some(call), &call.method, &params).await
    }

    async fn request(&self, call: Option<&Call>, method: &str, params: &RawObject) -> Outcome {
        match &self.link {
            Link::Http(http) => http.request(self, call, method, params).await,
            Link::Stdio(stdio) => stdio.request(self, call, method, params).await,
        }
    }

    /// Ends its program, where it has one.
    pub async fn stop(&self) {
        match &self.link {
            Link::Http(_) => {}
            Link::Stdio(stdio) => stdio.stop().await,
        }
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn error(&self, why: &str) -> RpcError {
        RpcError::new(
            rpc::INTERNAL_ERROR,
            format!("upstream {}: {why}", self.name),
        )
    }

    /// What we say of ourselves. Requests of the server pass to clients that can answer them.
    fn hello() -> Box<serde_json::value::RawValue> {
        raw(&json!({
            "protocolVersion": crate::session::LEGACY_VERSIONS[0],
            "capabilities": { "sampling": {}, "elicitation": {}, "roots": {} },
            "clientInfo": { "name": "aerostack-workspace", "version": env!("CARGO_PKG_VERSION") },
        }))
    }

    /// The server notifies: of its lists to everybody, of a call's progress to the call.
    fn notified(&self, method: &str, params: &RawObject, call: Option<&Call>) {
        let list = method
            .strip_prefix("notifications/")
            .and_then(|m| m.strip_suffix("/list_changed"));
        match (list, call, self.workspace()) {
            (Some("tools" | "resources" | "prompts"), _, Some(workspace)) => {
                self.risks.locked().clear();
                let wants = format!("{}ListChanged", list.unwrap_or_default());
                workspace.announce(method, &wants);
            }
            (None, _, Some(workspace)) if method == "notifications/resources/updated" => {
                if let Some(uri) = params.string("uri") {
                    workspace.announce_resource(&uri);
                }
            }
            (None, Some(call), _) => call.notify(method, &params.to_raw()),
            _ => {}
        }
    }

    /// The server asks: the client whose call it works on answers.
    async fn asked(call: Option<&Call>, method: &str, params: &RawObject) -> Outcome {
        let capability = match method {
            "ping" => return Ok(raw(&json!({}))),
            "sampling/createMessage" => "sampling",
            "elicitation/create" => "elicitation",
            "roots/list" => "roots",
            _ => {
                let message = format!("method not found: {method}");
                return Err(RpcError::new(rpc::METHOD_NOT_FOUND, message));
            }
        };
        match call {
            Some(call) if call.client_can(capability) => call.ask(method, &params.to_raw()).await,
            Some(_) => Err(RpcError::new(
                rpc::METHOD_NOT_FOUND,
                format!("the client whose call this is does not offer {capability}"),
            )),
            None => Err(RpcError::new(
                rpc::METHOD_NOT_FOUND,
                format!("{method} outside of a call: there is nobody to ask"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let upstream = Upstream::parse("every=http://127.0.0.1:1/mcp").expect("valid");
        assert_eq!(upstream.own("every__echo").map(|(_, n)| n), Some("echo"));
        assert!(upstream.own("everything__echo").is_none());
        for bad in [
            "x",
            "=http://a",
            "a__b=http://a",
            "a=ftp://b",
            "a=/path",
            "a b=http://c",
        ] {
            assert!(Upstream::parse(bad).is_err(), "{bad}");
        }
        for bad in ["x", "=cat", "a=", "a=  ", "a='open"] {
            assert!(Upstream::parse_stdio(bad).is_err(), "{bad}");
        }
    }
}
