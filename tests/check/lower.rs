//! What goes wrong before anything answers: settings, names, connections, TLS, proxies.

use crate::Case;
use crate::common::tls::{Authority, Identity, TlsServer, TlsStream};
use crate::common::{Dir, Nobody, RawServer, Request, Setup, TOKEN, json_reply, reply};
use crate::report::Report;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

const URL: &str = "https://mcp.example.com/ws/demo";

/// Set as people have it.
pub(crate) fn setup(url: &str) -> Setup {
    Setup::url(url).without("AEROSTACK_BUILTIN_TOOLS")
}

pub(crate) const SETTINGS: &[Case] = &[
    Case {
        says: "AEROSTACK_WORKSPACE_URL is required: set it to your workspace's URL, such as https://mcp.aerostack.dev/ws/your-workspace, or run aerostack-gateway --setup in a terminal",
        run: |says| Report::of_settings(says).compare(Setup::new),
    },
    Case {
        says: "AEROSTACK_WORKSPACE_URL is not usable: the URL must begin with https:// (or http://) (expected something like https://mcp.aerostack.dev/ws/your-workspace)",
        run: |says| Report::of_settings(says).compare(|| setup("mcp.example.com/ws/demo")),
    },
    Case {
        says: "AEROSTACK_WORKSPACE_URL starts with http://, which would send your token unencrypted to mcp.example.com: use https://, or pass --allow-http (AEROSTACK_ALLOW_HTTP=1) if you accept that",
        run: |says| Report::of_settings(says).compare(|| setup("http://mcp.example.com/ws/demo")),
    },
    Case {
        says: "AEROSTACK_TOKEN is required: create a token in the dashboard under Workspace > Tokens and set it (or AEROSTACK_TOKEN_FILE=path; AEROSTACK_TOKEN=none for a server without authentication)",
        run: |says| {
            Report::of_settings(says).compare(|| setup(URL).without("AEROSTACK_TOKEN"));
        },
    },
    Case {
        says: "AEROSTACK_TOKEN is empty: paste the token from the dashboard (it starts with mwt_)",
        run: |says| Report::of_settings(says).compare(|| setup(URL).env("AEROSTACK_TOKEN", "")),
    },
    Case {
        says: "AEROSTACK_TOKEN holds blanks: remove them",
        run: |says| {
            Report::of_settings(says).compare(|| setup(URL).env("AEROSTACK_TOKEN", "mwt_a b"));
        },
    },
    Case {
        says: "AEROSTACK_TOKEN has quotes around it: remove them",
        run: |says| {
            let quoted = format!("\"{TOKEN}\"");
            Report::of_settings(says).compare(|| setup(URL).env("AEROSTACK_TOKEN", &quoted));
        },
    },
    // A pipe that nobody writes to would be waited for for ever.
    Case {
        says: "AEROSTACK_TOKEN_FILE names {file}, which can not be read: it is not a regular file (a pipe or device is never read)",
        run: |says| {
            let dir = Dir::new();
            let pipe = dir.path().join("token");
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("a pipe");
            let pipe = pipe.to_str().expect("ours");
            Report::of_settings(&says.replace("{file}", pipe)).compare(|| {
                let setup = setup(URL).without("AEROSTACK_TOKEN");
                setup.env("AEROSTACK_TOKEN_FILE", pipe)
            });
        },
    },
];

/// The first step fails with these words, and no other is tried.
fn unreachable(url: &str, says: &str) {
    Report::of(url)
        .failed("reachable", says)
        .compare(|| setup(url));
}

fn silent() -> RawServer {
    RawServer::start(|mut stream, _| {
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    })
}

/// Takes a request, or a ClientHello, and says this.
fn says(bytes: &'static [u8]) -> RawServer {
    RawServer::start(move |mut stream, _| {
        let mut request = [0; 4_096];
        if stream.read(&mut request).is_ok() && stream.write_all(bytes).is_ok() {
            // Until the client has had its say: a reset could overtake our bytes.
            stream.shutdown(Shutdown::Write).ok();
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        }
    })
}

pub(crate) const NETWORK: &[Case] = &[
    Case {
        says: "Workspace unreachable: {origin} refused the connection. Check that it is running and that the port is right",
        run: |says| unreachable(&format!("http://{}/ws/x", Nobody::new().address()), says),
    },
    Case {
        says: "Workspace unreachable: the name of {origin} was not found ({resolver}). Check the spelling of AEROSTACK_WORKSPACE_URL and this machine's DNS",
        run: |says| unreachable("https://workspace.invalid/ws/x", says),
    },
    Case {
        says: "Workspace unreachable: {origin} closed the connection before its answer was complete",
        run: |words| unreachable(&says(b"").url(), words),
    },
    Case {
        says: "Workspace unreachable: {origin} does not speak HTTP/1.1. Check the port, or whether the URL should start with https://",
        run: |words| unreachable(&says(b"SSH-2.0-OpenSSH_9.6\r\n").url(), words),
    },
];

/// A listener whose queue is full: what else knocks gets no answer.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    rustix::net::listen(&listener, 0).expect("it listens already");
    let address = listener.local_addr().expect("it is bound");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    (listener, waiting)
}

pub(crate) const SILENCE: &[Case] = &[
    Case {
        says: "Workspace unreachable: {origin} timed out during TCP connect. Check the network, a firewall, or whether a proxy (HTTPS_PROXY) is needed",
        run: |says| {
            let (listener, _waiting) = full();
            let port = listener.local_addr().expect("it is bound").port();
            unreachable(&format!("http://127.0.0.1:{port}/ws/x"), says);
        },
    },
    Case {
        says: "Workspace unreachable: {origin} timed out during TLS handshake. Check the network, a firewall, or whether a proxy (HTTPS_PROXY) is needed",
        run: |says| unreachable(&silent().url().replace("http:", "https:"), says),
    },
    Case {
        says: "Workspace unreachable: the proxy did not answer in time. Check HTTPS_PROXY (or ALL_PROXY), and NO_PROXY if no proxy is needed",
        run: |says| behind(&format!("http://{}", silent().address), says),
    },
    Case {
        says: "Workspace unreachable: timed out after 9 s waiting for its answer to initialize ({origin})",
        run: |says| unreachable(&silent().url(), says),
    },
];

const NAMES: &[&str] = &["localhost", "127.0.0.1"];

fn friendly(request: &Request, stream: &mut TlsStream) -> bool {
    let answer = json_reply(request, "{}");
    stream
        .write_all(&answer)
        .and_then(|()| stream.flush())
        .is_ok()
}

fn server(identity: Identity) -> TlsServer {
    TlsServer::start(identity.config(&[&TLS13, &TLS12]), friendly)
}

/// Whatever is wrong with a certificate whose authority is trusted.
fn certificate(names: &[&str], change: impl FnOnce(&mut CertificateParams), says: &str) {
    let authority = Authority::new("Example Corp CA");
    let dir = Dir::new();
    let file = dir.file("ca.pem", &authority.pem);
    let server = server(authority.issue(names, change));
    let url = server.url("localhost");
    Report::of(&url)
        .failed("reachable", says)
        .compare(|| setup(&url).env("SSL_CERT_FILE", &file));
    assert_eq!(server.requests(), 0, "the token was not sent");
}

const UNKNOWN_ISSUER: &str = "Workspace unreachable: the certificate of {origin} is signed by an unknown issuer. Behind a corporate proxy, or with a private CA, set SSL_CERT_FILE or NODE_EXTRA_CA_CERTS to the CA's PEM file; if it is self-signed and you trust it, to the certificate's own";

pub(crate) const TLS: &[Case] = &[
    Case {
        says: UNKNOWN_ISSUER,
        run: |says| {
            let identity = Authority::new("Example Corp CA").issue(NAMES, |_| {});
            unreachable(&server(identity).url("localhost"), says);
        },
    },
    // Signed by itself: nobody known signed it either.
    Case {
        says: UNKNOWN_ISSUER,
        run: |says| unreachable(&server(Identity::self_signed(NAMES)).url("localhost"), says),
    },
    Case {
        says: "Workspace unreachable: the certificate of {origin} is that of a certificate authority, which no server may show as its own. Have one issued for the server (with basicConstraints CA:FALSE)",
        run: |says| {
            let authority = |params: &mut CertificateParams| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            };
            certificate(NAMES, authority, says);
        },
    },
    Case {
        says: "Workspace unreachable: the certificate of {origin} is not meant for servers: its key usage leaves out digital signatures or server authentication. Have one issued for the server",
        run: |says| {
            let of_client = |params: &mut CertificateParams| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            };
            certificate(NAMES, of_client, says);
        },
    },
    Case {
        says: "Workspace unreachable: the certificate of {origin} is for another name (mcp.example.com). Check AEROSTACK_WORKSPACE_URL",
        run: |says| certificate(&["mcp.example.com"], |_| {}, says),
    },
    Case {
        says: "Workspace unreachable: the certificate of {origin} has expired. Check this machine's clock, else tell the server's owner",
        run: |says| {
            let expired = |params: &mut CertificateParams| {
                params.not_before = date_time_ymd(2001, 1, 1);
                params.not_after = date_time_ymd(2002, 1, 1);
            };
            certificate(NAMES, expired, says);
        },
    },
    Case {
        says: "Workspace unreachable: the certificate of {origin} is not valid yet. Check this machine's clock",
        run: |says| {
            let future = |params: &mut CertificateParams| {
                params.not_before = date_time_ymd(2900, 1, 1);
                params.not_after = date_time_ymd(2901, 1, 1);
            };
            certificate(NAMES, future, says);
        },
    },
    Case {
        says: "Workspace unreachable: {origin} does not speak TLS. Check the port, or whether the URL should start with http://",
        run: |words| {
            let server = says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            unreachable(&server.url().replace("http:", "https:"), words);
        },
    },
    Case {
        says: "Workspace unreachable: {origin} offers no TLS version from 1.2 on: it must be updated",
        run: |words| {
            let server = says(b"\x15\x03\x02\x00\x02\x02\x46");
            unreachable(&server.url().replace("http:", "https:"), words);
        },
    },
    Case {
        says: "Workspace unreachable: the CA file can not be used: SSL_CERT_FILE (/nowhere/ca.pem): No such file or directory. Correct the setting",
        run: |says| {
            let identity = Authority::new("Example Corp CA").issue(NAMES, |_| {});
            let url = server(identity).url("localhost");
            Report::of(&url)
                .failed("reachable", says)
                .compare(|| setup(&url).env("SSL_CERT_FILE", "/nowhere/ca.pem"));
        },
    },
];

/// Behind this proxy, which does not let it through. Never with the proxy's password.
fn behind(proxy: &str, says: &str) {
    let url = "https://workspace.example/ws/x";
    let (scheme, shown) = proxy.split_once("://").expect("a URL");
    let shown = shown.split_once('@').map_or(shown, |(_, host)| host);
    Report::of(url)
        .via(&format!("{scheme}://{shown} (HTTPS_PROXY)"))
        .failed("reachable", says)
        .compare(|| setup(url).env("HTTPS_PROXY", proxy));
}

fn answering(status: &'static str) -> RawServer {
    RawServer::http(move |_| reply(status, "", ""))
}

pub(crate) const PROXY: &[Case] = &[
    Case {
        says: "Workspace unreachable: the proxy wants credentials, or refuses those it was given (HTTP 407). Put them into HTTPS_PROXY: http://user:password@host:port",
        run: |says| {
            let server = answering("407 Proxy Authentication Required");
            behind(&format!("http://me:p%40ss-word@{}", server.address), says);
        },
    },
    Case {
        says: "Workspace unreachable: the proxy refused to connect to {origin} (HTTP 403). Check HTTPS_PROXY (or ALL_PROXY), and NO_PROXY if no proxy is needed",
        run: |says| {
            behind(
                &format!("http://{}", answering("403 Forbidden").address),
                says,
            )
        },
    },
    Case {
        says: "Workspace unreachable: the proxy refused the connection. Check HTTPS_PROXY (or ALL_PROXY), and NO_PROXY if no proxy is needed",
        run: |says| behind(&format!("http://{}", Nobody::new().address()), says),
    },
    Case {
        says: "Workspace unreachable: what should be the proxy does not answer like an HTTP proxy. Check HTTPS_PROXY (or ALL_PROXY), and NO_PROXY if no proxy is needed",
        run: |words| {
            let server = says(b"220 mail.example.com ESMTP\r\n");
            behind(&format!("http://{}", server.address), words);
        },
    },
    Case {
        says: "Workspace unreachable: the proxy's name was not found ({resolver}). Check HTTPS_PROXY (or ALL_PROXY), and NO_PROXY if no proxy is needed",
        run: |says| behind("http://proxy.invalid:3128", says),
    },
];
