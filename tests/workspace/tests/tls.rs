//! https with the CA that the program made.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use support::Workspace;

fn get(workspace: &Workspace, roots: RootCertStore, name: &str) -> std::io::Result<String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut tcp = TcpStream::connect(workspace.address())?;
    let mut stream = Stream::new(&mut tls, &mut tcp);
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        workspace.address()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; 15];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8(answer).expect("UTF-8"))
}

#[test]
fn the_ca_file_is_what_a_client_needs() {
    let workspace = Workspace::start_with(&[]);
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(workspace.text("ca_file")).expect("a certificate");
    roots.add(ca).expect("a CA");
    for name in ["127.0.0.1", "localhost"] {
        assert_eq!(
            get(&workspace, roots.clone(), name).expect("an answer"),
            "HTTP/1.1 200 OK"
        );
    }
    assert!(
        get(&workspace, roots, "example.com").is_err(),
        "another name is refused"
    );
    assert!(
        get(&workspace, RootCertStore::empty(), "localhost").is_err(),
        "an unknown CA is refused"
    );
}
