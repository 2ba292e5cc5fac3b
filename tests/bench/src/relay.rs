//! What a bridge costs at the least: lines of stdin become POSTs on one kept TLS connection, and what comes back becomes
//! lines of stdout. No session is lost, nothing is checked, waited for, or done at the same time.
//!
//!     AEROSTACK_WORKSPACE_URL=https://… AEROSTACK_TOKEN=… NODE_EXTRA_CA_CERTS=CA_FILE bench-relay

use memchr::memmem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::env;
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("AEROSTACK_WORKSPACE_URL")?;
    let (authority, path) = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or("not an https:// URL with a path")?;
    let fixed = format!(
        "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nAuthorization: Bearer {}\r\n",
        env::var("AEROSTACK_TOKEN")?
    );
    let mut stream = connect(authority)?;
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let (mut session, mut line, mut request, mut reply) =
        (String::new(), Vec::new(), Vec::new(), Vec::new());
    while stdin.read_until(b'\n', &mut line)? > 0 {
        request.clear();
        write!(
            request,
            "{fixed}{session}Content-Length: {}\r\n\r\n",
            line.len()
        )?;
        request.extend_from_slice(&line);
        stream.write_all(&request)?;
        let body = receive(&mut stream, &mut reply, &mut session)?;
        if !reply[body..].is_empty() {
            reply.push(b'\n');
            stdout.write_all(&reply[body..])?;
            stdout.flush()?;
        }
        line.clear();
    }
    Ok(())
}

fn connect(authority: &str) -> Result<Stream, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(env::var("NODE_EXTRA_CA_CERTS")?)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (host, _) = authority.rsplit_once(':').ok_or("no port")?;
    let name = ServerName::try_from(host.to_owned())?;
    let tcp = TcpStream::connect(authority)?;
    tcp.set_nodelay(true)?;
    Ok(StreamOwned::new(
        ClientConnection::new(Arc::new(config), name)?,
        tcp,
    ))
}

/// Fills `reply` with one response. Returns where the message in it begins.
fn receive(stream: &mut Stream, reply: &mut Vec<u8>, session: &mut String) -> io::Result<usize> {
    reply.clear();
    let head = loop {
        if let Some(at) = memmem::find(reply, b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, reply, 16 << 10)?;
    };
    let text = String::from_utf8_lossy(&reply[..head]);
    let header = |name: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    };
    if let Some(id) = header("mcp-session-id").filter(|_| session.is_empty()) {
        *session = format!("Mcp-Session-Id: {id}\r\n");
    }
    let length = header("content-length").map(str::parse::<usize>);
    let Some(length) = length else {
        while !reply.ends_with(b"0\r\n\r\n") {
            more(stream, reply, 256 << 10)?;
        }
        *reply = event(&reply[head..]);
        return Ok(0);
    };
    let end = head + length.map_err(io::Error::other)?;
    reply.reserve(end - reply.len() + 1);
    while reply.len() < end {
        more(stream, reply, end - reply.len())?;
    }
    Ok(head)
}

fn more(stream: &mut Stream, reply: &mut Vec<u8>, room: usize) -> io::Result<()> {
    let len = reply.len();
    reply.resize(len + room.min(256 << 10), 0);
    let got = stream.read(&mut reply[len..])?;
    reply.truncate(len + got);
    match got {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The data of the one event in a chunked body.
fn event(mut chunked: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(chunked.len());
    while let Some(line) = memmem::find(chunked, b"\r\n") {
        let size = std::str::from_utf8(&chunked[..line]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size @ 1..) = size else { break };
        body.extend_from_slice(&chunked[line + 2..line + 2 + size]);
        chunked = &chunked[line + 4 + size..];
    }
    let begins = memmem::find(&body, b"data: ").map_or(0, |at| at + 6);
    let ends = memmem::find(&body[begins..], b"\n").map_or(body.len(), |len| begins + len);
    body[begins..ends].to_vec()
}
