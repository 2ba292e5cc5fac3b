//! The bytes of a request: which headers each kind of exchange carries.

use super::Bridge;
use super::ids::Era;
use super::task::{Notice, Purpose, Task};
use crate::config::{Config, Header};
use crate::proto::http::request::{Method, RequestHead, is_header_value};
use crate::proto::ws;

const ACCEPT_BOTH: &str = "application/json, text/event-stream";

/// The header lines that every request carries; the person's own only where it goes to the
/// workspace's origin.
pub(super) fn common_headers(config: &Config, own_origin: bool) -> Vec<u8> {
    let mut lines = String::new();
    let own = config.headers.iter().filter(|_| own_origin);
    let is_agent = |header: &&Header| header.name().eq_ignore_ascii_case("user-agent");
    if !own.clone().any(|header| is_agent(&header)) {
        lines.push_str(concat!(
            "User-Agent: aerostack-gateway/",
            env!("CARGO_PKG_VERSION"),
            "\r\n"
        ));
    }
    for header in own {
        lines.extend([header.name(), ": ", header.expose(), "\r\n"]);
    }
    if let Some(token) = &config.token {
        lines.push_str("Authorization: Bearer ");
        lines.push_str(token.expose());
        lines.push_str("\r\n");
    }
    lines.into_bytes()
}

impl Bridge {
    /// The headers of every request; to another origin without the person's own.
    fn write_common(&self, head: &mut RequestHead, task: &Task) {
        let own = &self.config.endpoint;
        let target = task.target.as_ref();
        match target.is_none_or(|target| target.same_origin(own)) {
            true => head.raw(&self.common_headers),
            false => head.raw(&common_headers(&self.config, false)),
        };
    }

    /// The request as it leaves: one buffer, head and body, so that it is one write.
    pub(super) fn write_request(&self, task: &mut Task) -> Vec<u8> {
        let endpoint = task.target.as_ref().unwrap_or(&self.config.endpoint);
        let method = match task.purpose {
            Purpose::Request(_) | Purpose::Notice(_) => Method::Post,
            Purpose::EventStream
            | Purpose::Resume(_)
            | Purpose::Upgrade(_)
            | Purpose::Status(_) => Method::Get,
            Purpose::Delete(_) => Method::Delete,
        };
        let mut head = RequestHead::new(method, endpoint.target(), &endpoint.host_header());
        self.write_common(&mut head, task);
        task.session = 0;
        task.token = self.token_generation;
        match &task.purpose {
            Purpose::Request(call) => {
                let call = self
                    .calls
                    .get(*call)
                    .expect("an exchange outlives no request unsent");
                write_content_types(&mut head);
                match call.era {
                    Era::Modern => self.headers.write(&mut head, &call.message),
                    Era::Legacy if &*call.method == "initialize" => {}
                    Era::Legacy => task.session = self.write_session(&mut head),
                }
                head.finish(Some(&call.message))
            }
            Purpose::Notice(Notice { era, message, .. }) => {
                write_content_types(&mut head);
                match era {
                    Era::Modern => self.headers.write(&mut head, message),
                    Era::Legacy => task.session = self.write_session(&mut head),
                }
                head.finish(Some(message))
            }
            Purpose::EventStream => {
                head.header("Accept", "text/event-stream");
                task.session = self.write_session(&mut head);
                write_last_event_id(&mut head, self.session.stream.last_event_id.as_deref());
                head.finish(None)
            }
            Purpose::Resume(call) => {
                head.header("Accept", "text/event-stream");
                task.session = self.write_session(&mut head);
                let last = self
                    .calls
                    .get(*call)
                    .and_then(|call| call.last_event_id.as_deref());
                write_last_event_id(&mut head, last);
                head.finish(None)
            }
            Purpose::Upgrade(_) => {
                ws::write_upgrade(&mut head, &task.upgrade_key);
                // Messages for one bridge find it by this.
                head.header("X-Aerostack-Bridge-Id", &self.bridge_id());
                head.finish(None)
            }
            Purpose::Status(_) => {
                head.header("Accept", "application/json");
                head.finish(None)
            }
            Purpose::Delete(session) => {
                head.header("Mcp-Session-Id", &session.id);
                if let Some(version) = &session.version {
                    head.header("MCP-Protocol-Version", version);
                }
                head.finish(None)
            }
        }
    }

    /// The session's headers; returns its generation.
    fn write_session(&self, head: &mut RequestHead) -> u32 {
        if let Some(id) = &self.session.id {
            head.header("Mcp-Session-Id", id);
        }
        if let Some(version) = &self.session.version {
            head.header("MCP-Protocol-Version", version);
        }
        self.session.generation
    }
}

fn write_content_types(head: &mut RequestHead) {
    head.header("Accept", ACCEPT_BOTH)
        .header("Content-Type", "application/json");
}

fn write_last_event_id(head: &mut RequestHead, id: Option<&str>) {
    if let Some(id) = id.filter(|id| is_header_value(id.as_bytes())) {
        head.header("Last-Event-ID", id);
    }
}
