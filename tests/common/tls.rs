//! A certificate authority of the test's own, and a TLS server that answers as [`super::json_reply`].

use super::{RawServer, Request};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// A TLS connection from the server's side.
pub(crate) type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, for SSL_CERT_FILE and the like.
    pub(crate) pem: String,
}

/// A chain and its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// The end entity's own certificate.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A certificate for these names (IP addresses, too), changed at will.
    pub(crate) fn issue(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let (params, key) = leaf(names, change);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity::new(certificate.der().clone(), certificate.pem(), &key)
    }
}

impl Identity {
    fn new(der: CertificateDer<'static>, pem: String, key: &KeyPair) -> Self {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![der];
        Self { chain, key, pem }
    }

    /// Signed by nobody else.
    pub(crate) fn self_signed(names: &[&str]) -> Self {
        let (params, key) = leaf(names, |_| {});
        let certificate = params.self_signed(&key).expect("a certificate");
        Self::new(certificate.der().clone(), certificate.pem(), &key)
    }

    pub(crate) fn config(self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions of rustls")
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .expect("the key fits")
    }
}

fn leaf(
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (CertificateParams, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, "tests");
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    (params, KeyPair::generate().expect("a key"))
}

/// A TLS server, and what it saw.
pub(crate) struct TlsServer {
    pub(crate) raw: RawServer,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    handshakes: Mutex<Vec<HandshakeKind>>,
    requests: Mutex<Vec<Request>>,
}

impl TlsServer {
    /// `serve` gets each request; false ends the connection by dropping it, without a close_notify.
    pub(crate) fn start(
        config: ServerConfig,
        serve: impl Fn(&Request, &mut TlsStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let config = Arc::new(config);
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        let raw = RawServer::start(move |tcp, _| {
            let tls = ServerConnection::new(config.clone()).expect("a valid configuration");
            let mut stream = StreamOwned::new(tls, tcp);
            let mut known = false;
            while let Some(request) = Request::read(&mut stream) {
                if !std::mem::replace(&mut known, true) {
                    let kind = stream.conn.handshake_kind().expect("it is over");
                    shared.handshakes.lock().expect("not poisoned").push(kind);
                }
                shared
                    .requests
                    .lock()
                    .expect("not poisoned")
                    .push(request.clone());
                if !serve(&request, &mut stream) {
                    return;
                }
            }
        });
        Self { raw, seen }
    }

    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/mcp", self.raw.address.port())
    }

    /// The handshakes of connections that brought a request.
    pub(crate) fn handshakes(&self) -> Vec<HandshakeKind> {
        self.seen.handshakes.lock().expect("not poisoned").clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.lock().expect("not poisoned").len()
    }
}
