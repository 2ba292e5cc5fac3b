//! Servers behind the workspace: a small Streamable HTTP client of the handshake era.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::json;

use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::call::Call;
use crate::raw::{RawObject, raw};
use crate::risk::Risk;
use crate::rpc::{self, Message, Outcome, RpcError};

/// A server behind the workspace.
#[derive(Debug)]
pub struct Upstream {
    /// Its tools appear as `<name>__<tool>`.
    pub name: String,
    uri: Uri,
    session: Mutex<Option<UpstreamSession>>,
    ids: AtomicU64,
}

#[derive(Clone, Debug)]
struct UpstreamSession {
    id: Option<String>,
    version: String,
}

/// Why an exchange failed.
enum Failed {
    /// The session is gone: a new one may help.
    Session,
    /// Anything else.
    Other(String),
}

impl Upstream {
    /// Reads `NAME=URL`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("expected NAME=URL")?;
        if name.is_empty() || name.contains("__") {
            return Err("the name may not be empty or contain __".to_owned());
        }
        let uri: Uri = url.parse().map_err(|e| format!("{url}: {e}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(format!("{url} is not an http or https URL"));
        }
        Ok(Upstream {
            name: name.to_owned(),
            uri,
            session: Mutex::default(),
            ids: AtomicU64::new(0),
        })
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

    /// All pages of a list; an upstream that cannot be asked has nothing to list.
    pub async fn list(&self, method: &str, member: &str) -> Vec<RawObject> {
        let mut all = Vec::new();
        let mut params = RawObject::default();
        for _ in 0..100 {
            let Ok(result) = self.request(None, method, &params).await else {
                break;
            };
            let Some(result) = RawObject::parse(result.get()) else {
                break;
            };
            all.extend(result.read::<Vec<RawObject>>(member).unwrap_or_default());
            match result.get("nextCursor") {
                Some(cursor) if cursor.get() != "null" => params.set("cursor", cursor.to_owned()),
                _ => break,
            }
        }
        all
    }

    /// What a tool may do, by its server's own list.
    pub async fn risk(&self, tool: &str) -> Risk {
        let tools = self.list("tools/list", "tools").await;
        let found = tools
            .iter()
            .find(|t| t.string("name").as_deref() == Some(tool));
        found.map_or(Risk::Unknown, Risk::of_tool)
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
        for _ in 0..2 {
            let session = self.session().await.map_err(|e| self.error(&e))?;
            let id = raw(&self.ids.fetch_add(1, Ordering::Relaxed));
            let body = rpc::request(&id, method, &params.to_raw());
            match self.exchange(Some(&session), body, call).await {
                Ok((_, Some(outcome))) => return outcome,
                Ok((_, None)) => return Err(self.error("there was no answer")),
                Err(Failed::Other(e)) => return Err(self.error(&e)),
                // "When a client receives HTTP 404 …, it MUST start a new session": it was not executed.
                Err(Failed::Session) => *self.session.lock().await = None,
            }
        }
        Err(self.error("its sessions do not last"))
    }

    fn error(&self, why: &str) -> RpcError {
        RpcError::new(
            rpc::INTERNAL_ERROR,
            format!("upstream {}: {why}", self.name),
        )
    }

    async fn session(&self) -> Result<UpstreamSession, String> {
        let mut slot = self.session.lock().await;
        if let Some(session) = &*slot {
            return Ok(session.clone());
        }
        let params = json!({
            "protocolVersion": crate::session::LEGACY_VERSIONS[0],
            "capabilities": {},
            "clientInfo": { "name": "aerostack-workspace", "version": env!("CARGO_PKG_VERSION") },
        });
        let body = rpc::request(&raw("init"), "initialize", &raw(&params));
        let failed = |f| {
            if let Failed::Other(e) = f {
                e
            } else {
                "it refused initialize".to_owned()
            }
        };
        let (id, outcome) = self.exchange(None, body, None).await.map_err(failed)?;
        let result = match outcome {
            Some(Ok(result)) => RawObject::parse(result.get()).unwrap_or_default(),
            Some(Err(e)) => return Err(format!("initialize: {}", e.raw.get())),
            None => return Err("initialize was not answered".to_owned()),
        };
        let version = result
            .string("protocolVersion")
            .ok_or("no protocol version")?;
        let session = UpstreamSession { id, version };
        let ready = rpc::notification("notifications/initialized", None);
        self.exchange(Some(&session), ready, None)
            .await
            .map_err(failed)?;
        *slot = Some(session.clone());
        Ok(session)
    }

    /// One POST. Notifications of the answer's stream go to `call`.
    async fn exchange(
        &self,
        session: Option<&UpstreamSession>,
        body: String,
        call: Option<&Call>,
    ) -> Result<(Option<String>, Option<Outcome>), Failed> {
        let response = self.send(session, body).await.map_err(Failed::Other)?;
        let status = response.status();
        if session.is_some_and(|s| s.id.is_some()) && matches!(status.as_u16(), 400 | 404) {
            return Err(Failed::Session);
        }
        if !status.is_success() {
            return Err(Failed::Other(format!("it answered {status}")));
        }
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(ToOwned::to_owned)
        };
        let id = header("mcp-session-id");
        if header("content-type").is_some_and(|t| t.starts_with("text/event-stream")) {
            let outcome = self
                .read_stream(response, call)
                .await
                .map_err(Failed::Other)?;
            return Ok((id, outcome));
        }
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|e| Failed::Other(e.to_string()))?
            .to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        match Message::parse(&text) {
            Ok(Message::Response { outcome, .. }) => Ok((id, Some(outcome))),
            _ => Ok((id, None)),
        }
    }

    async fn read_stream(
        &self,
        mut response: Response<hyper::body::Incoming>,
        call: Option<&Call>,
    ) -> Result<Option<Outcome>, String> {
        let mut buffer = Vec::new();
        while let Some(frame) = response.frame().await {
            let Ok(data) = frame.map_err(|e| e.to_string())?.into_data() else {
                continue;
            };
            buffer.extend(data.iter().filter(|b| **b != b'\r'));
            while let Some(end) = buffer.windows(2).position(|w| w == b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                let data: Vec<_> = event
                    .lines()
                    .filter_map(|l| l.strip_prefix("data:"))
                    .collect();
                match Message::parse(&data.join("\n")) {
                    Ok(Message::Response { outcome, .. }) => return Ok(Some(outcome)),
                    Ok(Message::Notification { method, params }) => {
                        if let Some(call) = call {
                            call.notify(&method, &params.to_raw());
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    async fn send(
        &self,
        session: Option<&UpstreamSession>,
        body: String,
    ) -> Result<Response<hyper::body::Incoming>, String> {
        let host = self
            .uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let secure = self.uri.scheme_str() == Some("https");
        let port = self.uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|e| e.to_string())?;
        let authority = self.uri.authority().map_or("", |a| a.as_str());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.path_and_query().map_or("/", |p| p.as_str()))
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-protocol-version", &session.version);
            if let Some(id) = &session.id {
                request = request.header("mcp-session-id", id);
            }
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        if !secure {
            return converse(TokioIo::new(tcp), request).await;
        }
        let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
        let roots = rustls::RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tls = connector
            .connect(name, tcp)
            .await
            .map_err(|e| e.to_string())?;
        converse(TokioIo::new(tls), request).await
    }
}

async fn converse<T>(
    io: T,
    request: Request<Full<Bytes>>,
) -> Result<Response<hyper::body::Incoming>, String>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let upstream = Upstream::parse("every=http://127.0.0.1:1/mcp").expect("valid");
        assert_eq!(upstream.own("every__echo").map(|(_, n)| n), Some("echo"));
        assert!(upstream.own("everything__echo").is_none());
        for bad in ["x", "=http://a", "a__b=http://a", "a=ftp://b", "a=/path"] {
            assert!(Upstream::parse(bad).is_err(), "{bad}");
        }
    }
}
