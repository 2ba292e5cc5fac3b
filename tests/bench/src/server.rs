//! A small MCP server that costs as little as possible, so that what is measured is the bridge.
//!
//!     bench-server CA_FILE [--http] [--tools N]
//!
//! It listens on a loopback port of its own with a certificate for 127.0.0.1, writes the authority to
//! CA_FILE and `https://127.0.0.1:PORT/mcp` to stdout, and serves until stdin ends; with `--http`
//! without TLS. N tools are listed (24), others can be called: `echo` and `echo_sse` answer with their `text`, `big` and
//! `big_sse` with a text of so many `bytes`; the `_sse` ones as an event stream, chunked. One thread for each connection.

use memchr::memmem;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

/// Most requests are far shorter.
const READ_BYTES: usize = 16 * 1024;
/// How an event stream is cut: as frameworks hand it on.
const CHUNK_BYTES: usize = 16 * 1024;
/// As many tools as a workspace of some size lists.
const TOOLS: usize = 24;
/// The result of `tools/list`.
static LIST: OnceLock<String> = OnceLock::new();

fn main() -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "bench-server CA_FILE [--http] [--tools N]";
    let mut arguments = std::env::args_os().skip(1);
    let ca_file = arguments.next().ok_or(USAGE)?;
    let (mut plain, mut count) = (false, TOOLS);
    while let Some(option) = arguments.next() {
        match option.to_str() {
            Some("--http") => plain = true,
            Some("--tools") => {
                let number = arguments.next().ok_or(USAGE)?;
                count = number.to_str().ok_or(USAGE)?.parse()?;
            }
            _ => return Err(USAGE.into()),
        }
    }
    LIST.get_or_init(|| tools(count));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (config, scheme) = match plain {
        true => (None, "http"),
        false => (Some(certify(ca_file.as_ref())?), "https"),
    };
    writeln!(io::stdout(), "{scheme}://{}/mcp", listener.local_addr()?)?;
    std::thread::spawn(move || accept(&listener, config.as_ref()));
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn certify(ca_file: &std::path::Path) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.distinguished_name
        .push(DnType::CommonName, "aerostack-gateway bench CA");
    let ca_key = KeyPair::generate()?;
    std::fs::write(ca_file, ca.self_signed(&ca_key)?.pem())?;
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn accept(listener: &TcpListener, config: Option<&Arc<ServerConfig>>) {
    for mut stream in listener.incoming().flatten() {
        let config = config.cloned();
        std::thread::spawn(move || {
            stream.set_nodelay(true).ok();
            // A client that goes away is no news.
            match config.map(ServerConnection::new) {
                None => serve(&mut stream).ok(),
                Some(Ok(tls)) => serve(&mut StreamOwned::new(tls, stream)).ok(),
                Some(Err(_)) => None,
            }
        });
    }
}

fn serve(stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut request = Vec::new();
    let mut reply = Vec::new();
    while let Some((head, end)) = read_request(stream, &mut request)? {
        reply.clear();
        match request.split(|byte| *byte == b' ').next() {
            Some(b"POST") => answer(&request[head..end], &mut reply),
            Some(b"DELETE") => {
                reply.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            }
            _ => reply
                .extend_from_slice(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"),
        }
        stream.write_all(&reply)?;
        request.drain(..end);
        if reply.capacity() > READ_BYTES * 8 {
            reply = Vec::new();
        }
    }
    Ok(())
}

/// Where the head ends and where the body does; `None` when the client has gone.
fn read_request(stream: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<Option<(usize, usize)>> {
    let mut piece = [0; READ_BYTES];
    loop {
        if let Some(head) = memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) {
            let end = head + content_length(&bytes[..head]);
            if bytes.len() >= end {
                return Ok(Some((head, end)));
            }
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            len => bytes.extend_from_slice(&piece[..len]),
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME));
    line.and_then(|line| std::str::from_utf8(&line[NAME.len()..]).ok())
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<&'a str>,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    #[serde(borrow, rename = "protocolVersion")]
    version: Option<&'a str>,
}

#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    bytes: Option<usize>,
}

fn answer(body: &[u8], reply: &mut Vec<u8>) {
    let Ok(request) = serde_json::from_slice::<Request<'_>>(body) else {
        return reply.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    };
    let Some(id) = request.id.map(RawValue::get) else {
        return reply.extend_from_slice(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    };
    let arguments = &request.params.arguments;
    match (request.method, request.params.name) {
        ("initialize", _) => {
            let version = request.params.version.unwrap_or("2025-06-18");
            let result = format!(
                r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bench","version":"1"}}}}"#
            );
            json(reply, "Mcp-Session-Id: bench\r\n", id, result.as_bytes());
        }
        ("tools/list", _) => {
            json(reply, "", id, LIST.get().map_or(b"{}", String::as_bytes));
        }
        ("tools/call", Some(name)) => {
            let text = match arguments.text {
                Some(text) => text.get().as_bytes().to_vec(),
                None => filler(arguments.bytes.unwrap_or(0)),
            };
            let mut result = Vec::with_capacity(text.len() + 64);
            result.extend_from_slice(br#"{"content":[{"type":"text","text":"#);
            result.extend_from_slice(&text);
            result.extend_from_slice(b"}]}");
            if name.ends_with("_sse") {
                events(reply, id, &result);
            } else {
                json(reply, "", id, &result);
            }
        }
        _ => json(reply, "", id, b"{}"),
    }
}

fn message(id: &str, result: &[u8]) -> [Vec<u8>; 3] {
    let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#).into_bytes();
    [start, result.to_vec(), b"}".to_vec()]
}

fn json(reply: &mut Vec<u8>, header: &str, id: &str, result: &[u8]) {
    let parts = message(id, result);
    let len: usize = parts.iter().map(Vec::len).sum();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{header}Content-Length: {len}\r\n\r\n"
    );
    reply.extend_from_slice(head.as_bytes());
    parts.iter().for_each(|part| reply.extend_from_slice(part));
}

fn events(reply: &mut Vec<u8>, id: &str, result: &[u8]) {
    let event = [
        b"event: message\ndata: ",
        &message(id, result).concat()[..],
        b"\n\n",
    ]
    .concat();
    reply.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for chunk in event.chunks(CHUNK_BYTES) {
        reply.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        reply.extend_from_slice(chunk);
        reply.extend_from_slice(b"\r\n");
    }
    reply.extend_from_slice(b"0\r\n\r\n");
}

/// A JSON string of about so many bytes, with the escapes that text files have.
fn filler(bytes: usize) -> Vec<u8> {
    const LINE: &[u8] =
        br#"fn main() { let answer = \"forty-two\"; assert!(answer.len() > 2); }  // and so on\n"#;
    let mut text = Vec::with_capacity(bytes + LINE.len() + 2);
    text.push(b'"');
    while text.len() < bytes {
        text.extend_from_slice(LINE);
    }
    text.push(b'"');
    text
}

fn tools(count: usize) -> String {
    let tool = |number: usize| {
        format!(
            r#"{{"name":"tool_{number}","description":"One of several tools that look alike","inputSchema":{{"type":"object","properties":{{"text":{{"type":"string"}},"bytes":{{"type":"integer"}}}}}}}}"#
        )
    };
    let tools: Vec<_> = (0..count).map(tool).collect();
    format!(r#"{{"tools":[{}]}}"#, tools.join(","))
}
