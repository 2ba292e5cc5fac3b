//! A certificate authority for one test, and TLS servers under it.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use crate::io::{ExtraRoots, ShellSettings, TlsSettings};

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
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
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

    /// Writes `text` into a file of this test; it is removed with the settings' user.
    pub(super) fn file(&self, text: &str) -> PathBuf {
        let name = format!("aerostack-io-{}-{}.pem", std::process::id(), self.name);
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Settings that trust this authority by a file among many.
    pub(super) fn trusted(&self) -> ShellSettings {
        with_roots(vec![("SSL_CERT_FILE", self.file(&self.pem()))])
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
