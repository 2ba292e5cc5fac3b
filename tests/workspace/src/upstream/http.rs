//! A small Streamable HTTP client of the handshake era.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::{Link, Upstream};
use crate::call::Call;
use crate::raw::{RawObject, raw};
use crate::rpc::{self, Message, Outcome};

/// The pause before a standing stream that ended is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// The connection data and the session.
#[derive(Debug)]
pub(super) struct Http {
    uri: Uri,
    session: Mutex<Option<HttpSession>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct HttpSession {
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

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Failed::Other(why)
    }
}

type Body = Response<hyper::body::Incoming>;

impl Http {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("{url}: {e}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(format!("{url} is not an http or https URL"));
        }
        Ok(Http {
            uri,
            session: Mutex::default(),
        })
    }

    pub(super) async fn request(
        &self,
        own: &Upstream,
        call: Option<&Call>,
        method: &str,
        params: &RawObject,
    ) -> Outcome {
        for _ in 0..2 {
            let session = self.session(own).await.map_err(|e| own.error(&e))?;
            let id = raw(&own.next_id());
            let body = rpc::request(&id, method, &params.to_raw());
            match self.exchange(own, Some(&session), body, call).await {
                Ok((_, Some(outcome))) => return outcome,
                Ok((_, None)) => return Err(own.error("there was no answer")),
                Err(Failed::Other(e)) => return Err(own.error(&e)),
                // "When a client receives HTTP 404 …, it MUST start a new session": it was not executed.
                Err(Failed::Session) => *self.session.lock().await = None,
            }
        }
        Err(own.error("its sessions do not last"))
    }

    async fn session(&self, own: &Upstream) -> Result<HttpSession, String> {
        let mut slot = self.session.lock().await;
        if let Some(session) = &*slot {
            return Ok(session.clone());
        }
        let body = rpc::request(&raw("init"), "initialize", &Upstream::hello());
        let failed = |f| match f {
            Failed::Other(e) => e,
            Failed::Session => "it refused initialize".to_owned(),
        };
        let (id, outcome) = self.exchange(own, None, body, None).await.map_err(failed)?;
        let result = match outcome {
            Some(Ok(result)) => RawObject::parse(result.get()).unwrap_or_default(),
            Some(Err(e)) => return Err(format!("initialize: {}", e.raw.get())),
            None => return Err("initialize was not answered".to_owned()),
        };
        let version = result
            .string("protocolVersion")
            .ok_or("no protocol version")?;
        let session = HttpSession { id, version };
        let ready = rpc::notification("notifications/initialized", None);
        self.exchange(own, Some(&session), ready, None)
            .await
            .map_err(failed)?;
        *slot = Some(session.clone());
        self.follow(own, session.clone());
        Ok(session)
    }

    /// Listens to the session's standing stream for as long as it is the session.
    fn follow(&self, own: &Upstream, session: HttpSession) {
        let (Some(workspace), name) = (own.workspace.get().cloned(), own.name.clone()) else {
            return;
        };
        tokio::spawn(async move {
            while let Some(workspace) = workspace.upgrade() {
                let mut all = workspace.upstreams.iter();
                let Some(own) = all.find(|u| u.name == name) else {
                    return;
                };
                let Link::Http(http) = &own.link else {
                    return;
                };
                // A server that offers no such stream answers 405, and is left alone.
                let opened = http.send(Method::GET, Some(&session), String::new()).await;
                match opened {
                    Ok(response) if response.status().is_success() => {
                        http.read_stream(own, response, Some(&session), None, false)
                            .await
                            .ok();
                    }
                    Ok(_) => return,
                    Err(_) => {}
                }
                if http.session.lock().await.as_ref() != Some(&session) {
                    return;
                }
                drop(workspace);
                tokio::time::sleep(REOPEN).await;
            }
        });
    }

    /// One POST. What comes in the answer's stream before the answer concerns `call`.
    async fn exchange(
        &self,
        own: &Upstream,
        session: Option<&HttpSession>,
        body: String,
        call: Option<&Call>,
    ) -> Result<(Option<String>, Option<Outcome>), Failed> {
        let response = self.send(Method::POST, session, body).await?;
        let status = response.status();
        if session.is_some_and(|s| s.id.is_some()) && matches!(status.as_u16(), 400 | 404) {
            return Err(Failed::Session);
        }
        if !status.is_success() {
            return Err(Failed::Other(format!("it answered {status}")));
        }
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(ToOwned::to_owned)
        };
        let id = header("mcp-session-id");
        if header("content-type").is_some_and(|t| t.starts_with("text/event-stream")) {
            let outcome = self.read_stream(own, response, session, call, true).await?;
            return Ok((id, outcome));
        }
        let bytes = response.into_body().collect().await;
        let bytes = bytes.map_err(|e| e.to_string())?.to_bytes();
        match Message::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(Message::Response { outcome, .. }) => Ok((id, Some(outcome))),
            _ => Ok((id, None)),
        }
    }

    /// Reads a stream: to its answer where it `answers` something, else to its end.
    async fn read_stream(
        &self,
        own: &Upstream,
        mut response: Body,
        session: Option<&HttpSession>,
        call: Option<&Call>,
        answers: bool,
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
                    Ok(Message::Response { outcome, .. }) if answers => return Ok(Some(outcome)),
                    Ok(Message::Notification { method, params }) => {
                        own.notified(&method, &params, call);
                    }
                    Ok(Message::Request { id, method, params }) => {
                        let outcome = Upstream::asked(call, &method, &params).await;
                        let answer = rpc::response(Some(&id), &outcome);
                        self.send(Method::POST, session, answer).await?;
                    }
                    Ok(Message::Response { .. }) | Err(_) => {}
                }
            }
        }
        Ok(None)
    }

    async fn send(
        &self,
        method: Method,
        session: Option<&HttpSession>,
        body: String,
    ) -> Result<Body, String> {
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
            .method(method)
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

async fn converse<T>(io: T, request: Request<Full<Bytes>>) -> Result<Body, String>
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
