//! TLS of the real program: whom it trusts, whom it does not, and what it says then.

mod common;

use common::tls::{Authority, Identity, TlsServer, TlsStream};
use common::{
    Dir, Gateway, INITIALIZE, Line, RawServer, Request, Setup, call, json_reply, request,
};
use rcgen::date_time_ymd;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use std::io::{Read, Write};

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const NAMES: &[&str] = &["localhost", "127.0.0.1"];

/// Answers everything.
fn friendly(request: &Request, stream: &mut TlsStream) -> bool {
    let answer = json_reply(request, "{}");
    stream
        .write_all(&answer)
        .and_then(|()| stream.flush())
        .is_ok()
}

fn server(identity: Identity) -> TlsServer {
    TlsServer::start(identity.config(BOTH), friendly)
}

/// The handshake works and a request comes back.
fn works(setup: Setup) {
    let mut gateway = setup.spawn();
    gateway.initialize();
    gateway.ask(&request("1", "ping"));
    gateway.finish().code(0);
}

/// `initialize` is answered with an error that names the fix; nothing was sent.
fn refuses(setup: Setup, words: &[&str]) -> Line {
    let mut gateway = setup.spawn();
    gateway.send(INITIALIZE);
    let error = gateway.answer("\"init\"");
    let message = error.error();
    for word in words {
        assert!(message.contains(word), "{message}\nlacks {word}");
    }
    assert!(message.contains("not executed"), "{message}");
    assert_eq!(error.at("/error/data/executed"), "no");
    assert_eq!(error.at("/error/code"), -32_603);
    gateway.finish().code(0);
    error
}

/// Each of the three variables, by name and by address, TLS 1.2 and 1.3.
#[test]
fn a_private_authority_is_trusted_where_a_variable_names_it() {
    let authority = Authority::new("Example Corp CA");
    let dir = Dir::new();
    let file = dir.file("ca.pem", &authority.pem);
    let certs = Dir::new();
    certs.file("a-readme.txt", "not a certificate");
    certs.file("5ed36f99.0", &authority.pem);
    let certs = certs.path().to_str().expect("ours").to_owned();
    let several = format!("/nowhere:{certs}");
    for versions in [&[&TLS12][..], &[&TLS13], BOTH] {
        let config = authority.issue(NAMES, |_| {}).config(versions);
        let server = TlsServer::start(config, friendly);
        works(Setup::url(&server.url("localhost")).env("SSL_CERT_FILE", &file));
        works(Setup::url(&server.url("127.0.0.1")).env("NODE_EXTRA_CA_CERTS", &file));
        works(Setup::url(&server.url("localhost")).env("SSL_CERT_DIR", &several));
    }
}

/// A bundle with other authorities, comments and CRLF; the wanted one is the last.
#[test]
fn a_bundle_is_searched_to_its_end() {
    let authority = Authority::new("Wanted CA");
    let mut bundle = "# a bundle\r\n".to_owned();
    for n in 0..20 {
        bundle += &Authority::new(&format!("Other CA {n}"))
            .pem
            .replace('\n', "\r\n");
    }
    bundle += &authority.pem;
    let dir = Dir::new();
    let server = server(authority.issue(NAMES, |_| {}));
    let setup = Setup::url(&server.url("localhost"));
    works(setup.env("SSL_CERT_FILE", &dir.file("bundle.pem", bundle)));
}

/// People put the server's own certificate there, too.
#[test]
fn a_self_signed_certificate_that_is_named_is_trusted() {
    let identity = Identity::self_signed(NAMES);
    let dir = Dir::new();
    let file = dir.file("server.pem", &identity.pem);
    let server = server(identity);
    works(Setup::url(&server.url("localhost")).env("NODE_EXTRA_CA_CERTS", &file));
}

#[test]
fn an_unknown_issuer_is_refused_with_the_variables_that_help() {
    let words = ["unknown issuer", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];
    let authority = Authority::new("Example Corp CA");
    let signed = server(authority.issue(NAMES, |_| {}));
    refuses(Setup::url(&signed.url("localhost")), &words);
    let alone = server(Identity::self_signed(NAMES));
    refuses(Setup::url(&alone.url("localhost")), &words);
    // One of the same name, but not the same.
    let dir = Dir::new();
    let other = dir.file("ca.pem", &Authority::new("Example Corp CA").pem);
    let error = refuses(
        Setup::url(&signed.url("localhost")).env("SSL_CERT_FILE", &other),
        &[],
    );
    assert!(!error.error().is_empty());
    assert_eq!(
        signed.requests() + alone.requests(),
        0,
        "the token was not sent"
    );
}

#[test]
fn a_file_of_authorities_that_can_not_be_used_is_named() {
    let authority = Authority::new("Example Corp CA");
    let server = server(authority.issue(NAMES, |_| {}));
    let dir = Dir::new();
    let setup = || Setup::url(&server.url("localhost"));
    refuses(
        setup().env("NODE_EXTRA_CA_CERTS", "/nowhere/ca.pem"),
        &["NODE_EXTRA_CA_CERTS", "/nowhere/ca.pem", "can not be used"],
    );
    let rubbish = dir.file("rubbish.pem", "this is no PEM");
    refuses(
        setup().env("SSL_CERT_FILE", &rubbish),
        &["SSL_CERT_FILE", "rubbish.pem"],
    );
    // One bad file does not spoil the good one.
    let good = dir.file("ca.pem", &authority.pem);
    works(
        setup()
            .env("SSL_CERT_FILE", "/nowhere/ca.pem")
            .env("NODE_EXTRA_CA_CERTS", &good),
    );
}

/// Whatever is wrong with a certificate whose authority is trusted.
fn refuses_certificate(
    names: &[&str],
    change: impl FnOnce(&mut rcgen::CertificateParams),
    words: &[&str],
) {
    let authority = Authority::new("Example Corp CA");
    let dir = Dir::new();
    let file = dir.file("ca.pem", &authority.pem);
    let server = server(authority.issue(names, change));
    let setup = Setup::url(&server.url("localhost")).env("SSL_CERT_FILE", &file);
    refuses(setup, words);
    assert_eq!(server.requests(), 0, "the token was not sent");
}

#[test]
fn a_certificate_for_another_name() {
    let words = ["another name", "mcp.example.com", "AEROSTACK_WORKSPACE_URL"];
    refuses_certificate(&["mcp.example.com"], |_| {}, &words);
    refuses_certificate(&["127.0.0.1"], |_| {}, &["another name", "127.0.0.1"]);
}

#[test]
fn certificates_out_of_their_time() {
    let expired = |params: &mut rcgen::CertificateParams| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    };
    refuses_certificate(NAMES, expired, &["expired", "clock"]);
    let future = |params: &mut rcgen::CertificateParams| {
        params.not_before = date_time_ymd(2900, 1, 1);
        params.not_after = date_time_ymd(2901, 1, 1);
    };
    refuses_certificate(NAMES, future, &["not valid yet", "clock"]);
}

/// A server whose first bytes, after the ClientHello, are these.
fn says(bytes: &'static [u8]) -> RawServer {
    RawServer::start(move |mut stream, _| {
        let mut hello = [0; 1024];
        if stream.read(&mut hello).is_ok() && stream.write_all(bytes).is_ok() {
            // Until the client has had its say: a reset could overtake our bytes.
            stream.shutdown(std::net::Shutdown::Write).ok();
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        }
    })
}

fn refuses_bytes(bytes: &'static [u8], words: &[&str]) {
    let server = says(bytes);
    let url = format!("https://localhost:{}/mcp", server.address.port());
    refuses(Setup::url(&url), words);
}

/// A server that knows TLS 1.1 at most: by its alert, or by a ServerHello of that version.
#[test]
fn old_versions_of_tls_are_refused() {
    let words = ["no TLS version from 1.2 on", "updated"];
    refuses_bytes(b"\x15\x03\x02\x00\x02\x02\x46", &words);
    const HELLO: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
        0123456789abcdef0123456789abcdef\x00\xc0\x13\x00";
    refuses_bytes(HELLO, &words);
}

#[test]
fn ports_that_do_not_speak_tls() {
    let words = ["does not speak TLS", "http://"];
    refuses_bytes(
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        &words,
    );
    refuses_bytes(b"SSH-2.0-OpenSSH_9.6\r\n", &words);
    refuses_bytes(b"", &["closed the connection", "TLS"]);
}

/// The other way round: http:// to a port that speaks TLS.
#[test]
fn plain_http_to_a_port_that_speaks_tls() {
    let server = server(Identity::self_signed(NAMES));
    let url = server.url("localhost").replace("https:", "http:");
    let mut gateway = Setup::url(&url).spawn();
    let error = gateway.ask(&call("1", "any", "{}"));
    assert_eq!(error.at("/error/code"), -32_603);
    gateway.finish().code(0);
}

/// A gateway that trusts the server, after its handshake.
fn connected(server: &TlsServer, authority: &Authority, dir: &Dir) -> Gateway {
    let file = dir.file("ca.pem", &authority.pem);
    let mut gateway = Setup::url(&server.url("localhost"))
        .env("SSL_CERT_FILE", &file)
        .spawn();
    gateway.initialize();
    gateway
}

const FINE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"fine"}]}}"#;

/// An end without close_notify is harmless only where the framing had already ended.
#[test]
fn an_end_without_close_notify_in_a_body_is_a_truncation() {
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let length = FINE.len();
    for (bytes, close_notify, whole) in [
        (
            format!("{json}Content-Length: {length}\r\n\r\n{FINE}"),
            false,
            true,
        ),
        (
            format!("{json}Content-Length: {}\r\n\r\n{FINE}", length + 1),
            false,
            false,
        ),
        (
            format!("{json}Content-Length: {}\r\n\r\n{FINE}", length + 1),
            true,
            false,
        ),
        (
            format!("{json}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{FINE}\r\n"),
            false,
            false,
        ),
        (
            format!("{json}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{FINE}\r\n"),
            true,
            false,
        ),
        // Delimited by the end: only a close_notify says that it is the end.
        (format!("{json}\r\n{FINE}"), true, true),
        (format!("{json}\r\n{FINE}"), false, false),
    ] {
        let authority = Authority::new("Example Corp CA");
        let dir = Dir::new();
        let config = authority.issue(NAMES, |_| {}).config(BOTH);
        let shown = bytes.clone();
        let server = TlsServer::start(config, move |request, stream| {
            if !request.is("tools/call") {
                return friendly(request, stream);
            }
            stream.write_all(bytes.as_bytes()).expect("it reads");
            if close_notify {
                stream.conn.send_close_notify();
            }
            stream.flush().expect("it reads");
            // A FIN, never a reset: nothing unread is left.
            stream
                .sock
                .shutdown(std::net::Shutdown::Write)
                .expect("it is open");
            let mut rest = [0; 64];
            while stream.sock.read(&mut rest).is_ok_and(|count| count > 0) {}
            false
        });
        let mut gateway = connected(&server, &authority, &dir);
        let answer = gateway.ask(&call("1", "any", "{}"));
        if whole {
            assert_eq!(answer.text(), "fine", "{shown}");
        } else {
            let message = answer.error();
            assert!(
                message.contains("answer was complete"),
                "{shown}: {message}"
            );
            assert!(message.contains("may have been executed"), "{message}");
        }
        gateway.ask(&request("2", "ping"));
        gateway.finish().code(0);
    }
}

/// The second connection resumes the first one's session, in both versions.
#[test]
fn sessions_are_resumed() {
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let authority = Authority::new("Example Corp CA");
        let dir = Dir::new();
        let mut config = authority.issue(NAMES, |_| {}).config(versions);
        config.send_tls13_tickets = 2;
        let server = TlsServer::start(config, |request, stream| {
            let answer = String::from_utf8(json_reply(request, "{}")).expect("ours");
            let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            stream.write_all(answer.as_bytes()).expect("it reads");
            stream.conn.send_close_notify();
            stream.flush().expect("it reads");
            false
        });
        let mut gateway = connected(&server, &authority, &dir);
        for id in ["1", "2", "3"] {
            gateway.ask(&request(id, "ping"));
        }
        gateway.finish().code(0);
        let handshakes = server.handshakes();
        assert_eq!(handshakes[0], HandshakeKind::Full);
        let resumed = handshakes
            .iter()
            .filter(|kind| **kind == HandshakeKind::Resumed);
        // A connection that was dialled before the first ticket came can have none.
        assert!(resumed.count() >= 3, "{handshakes:?}");
    }
}

/// Names are SNI: an address is none, a name is.
#[test]
fn a_server_that_dies_in_the_handshake() {
    let server = RawServer::start(|mut stream, _| {
        let mut hello = [0; 8192];
        let count = stream.read(&mut hello).unwrap_or(0);
        let sni = hello[..count].windows(9).any(|bytes| bytes == b"localhost");
        assert!(sni, "the ClientHello names the host");
    });
    let url = format!("https://localhost:{}/mcp", server.address.port());
    refuses(Setup::url(&url), &["localhost"]);
}
