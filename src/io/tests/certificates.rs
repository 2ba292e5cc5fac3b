//! A certificate authority for one test, and TLS servers under it.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use crate::io::roots::ExtraRoots;
use crate::io::{ShellSettings, TlsSettings};

/// Which certificate the server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Good,
    WrongName,
    Expired,
    NotYetValid,
}

/// A private authority.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    name: &'static str,
}

impl Authority {
    pub(super) fn new(name: &'static str) -> Self {
        Self::with(name, |params| {
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
        })
    }

    pub(super) fn with(name: &'static str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            name,
        }
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's configuration with a certificate for 127.0.0.1 and localhost.
    pub(super) fn config(&self, leaf: Leaf) -> Arc<ServerConfig> {
        let names = match leaf {
            Leaf::WrongName => vec!["other.example".to_owned()],
            _ => vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
        };
        let mut params = CertificateParams::new(names).unwrap();
        match leaf {
            Leaf::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Leaf::NotYetValid => params.not_before = date_time_ymd(2090, 1, 1),
            Leaf::Good | Leaf::WrongName => {}
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }

    /// A certificate for the key of `own`, with its names.
    pub(super) fn issue(&self, own: &SelfSigned) -> CertificateDer<'static> {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&own.key, &self.issuer).unwrap();
        certificate.der().clone()
    }

    /// Writes `text` into this authority's file; it is removed with the authority.
    pub(super) fn file(&self, text: &str) -> PathBuf {
        let path = self.path();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self) -> PathBuf {
        let name = format!("aerostack-io-{}-{}.pem", std::process::id(), self.name);
        std::env::temp_dir().join(name)
    }

    /// Settings that trust this authority by a file among many.
    pub(super) fn trusted(&self) -> ShellSettings {
        with_roots(vec![("SSL_CERT_FILE", self.file(&self.pem()))])
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        std::fs::remove_file(self.path()).ok();
    }
}

/// A certificate that a server signed itself, as `openssl req -x509` makes it: with CA:TRUE.
pub(super) struct SelfSigned {
    pub(super) certificate: rcgen::Certificate,
    key: KeyPair,
}

impl SelfSigned {
    /// For localhost and 127.0.0.1, changed at will.
    pub(super) fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    /// A server that shows this chain and signs the handshake with `key`, whosever that is.
    pub(super) fn config(
        chain: Vec<CertificateDer<'static>>,
        key: &SelfSigned,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.key.serialize_der()));
        let key = provider.key_provider.load_private_key(key).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key)))));
        Arc::new(config)
    }
}

/// Always the same, without a look whether the key fits.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

pub(super) fn with_roots(roots: Vec<(&'static str, PathBuf)>) -> ShellSettings {
    let extra = roots
        .into_iter()
        .map(|(variable, path)| ExtraRoots { variable, path });
    let tls = TlsSettings {
        extra_roots: extra.collect(),
    };
    ShellSettings {
        tls,
        ..ShellSettings::default()
    }
}

/// The server's side of TLS over a blocking stream.
pub(super) type TlsStream = StreamOwned<ServerConnection, TcpStream>;

pub(super) fn accept(config: Arc<ServerConfig>, stream: TcpStream) -> TlsStream {
    StreamOwned::new(ServerConnection::new(config).unwrap(), stream)
}
