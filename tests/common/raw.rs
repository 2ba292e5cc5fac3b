//! A TCP server whose every byte the test decides.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A port on which nobody listens while this lives. It is our own end of a connection: no other program is
/// given it meanwhile.
pub(crate) struct Nobody {
    near: TcpStream,
    _far: TcpListener,
}

impl Nobody {
    pub(crate) fn new() -> Self {
        let far = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = far.local_addr().expect("it is bound");
        let near = TcpStream::connect(address).expect("it listens");
        Self { near, _far: far }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.near.local_addr().expect("it is connected")
    }
}

/// Serves each connection in a thread of its own, until the test's process ends.
pub(crate) struct RawServer {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl RawServer {
    /// `serve` gets each connection with its number, from 1. What it returns ends the connection.
    pub(crate) fn start(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::on(listener, serve)
    }

    /// The same on a listener of the test's own.
    pub(crate) fn on(
        listener: TcpListener,
        serve: impl Fn(TcpStream, usize) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (connections.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let serve = serve.clone();
                thread::spawn(move || serve(stream, number));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Answers each request with what `answer` makes of it, over keep-alive connections.
    pub(crate) fn http(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |mut stream, _| {
            while let Some(request) = Request::read(&mut stream) {
                if stream.write_all(&answer(&request)).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One HTTP request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The first line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    /// Reads one request; `None` at the end of the connection.
    pub(crate) fn read(stream: &mut impl Read) -> Option<Self> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        let head = String::from_utf8(head).expect("heads are ASCII");
        let mut request = Self {
            head,
            body: String::new(),
        };
        let length = request.header("content-length").map_or(0, |value| {
            value.parse().expect("the gateway writes a number")
        });
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        request.body = String::from_utf8(body).expect("bodies are UTF-8");
        Some(request)
    }

    /// `POST /path`.
    pub(crate) fn target(&self) -> &str {
        self.head.split(" HTTP/").next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The JSON-RPC id, raw.
    pub(crate) fn id(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            id: Option<&'a serde_json::value::RawValue>,
        }
        let message: Option<Message<'_>> = serde_json::from_str(&self.body).ok();
        let id = message.and_then(|message| message.id);
        id.map_or("null", |id| id.get()).to_owned()
    }

    pub(crate) fn is(&self, method: &str) -> bool {
        self.body.contains(&format!("\"method\":\"{method}\""))
    }
}

/// A response with a body.
pub(crate) fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A JSON-RPC answer with this result; 202 for what is no request; 405 for all but POST.
pub(crate) fn json_reply(request: &Request, result: &str) -> Vec<u8> {
    if !request.head.starts_with("POST") {
        return reply("405 Method Not Allowed", "", "");
    }
    let id = request.id();
    if id == "null" {
        return reply("202 Accepted", "", "");
    }
    let result = match request.is("initialize") {
        true => {
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"raw","version":"1"}}"#
        }
        false => result,
    };
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    reply("200 OK", "Content-Type: application/json\r\n", &body)
}

/// One chunk of a chunked body.
pub(crate) fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}
