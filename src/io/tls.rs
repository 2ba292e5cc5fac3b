//! The TLS client configuration, and rustls' errors in words that a person can act on.
//!
//! Owns the one [`ClientConfig`]: provider, verifier, session store. It is made with the first
//! https connection. It must never offer early data: a request that an attacker can replay is no
//! request that leaves once.

use super::provider::provider;
use super::roots::{ExtraRoots, RootsUnusable, Verifier};
use crate::proto::endpoint::Endpoint;
use crate::proto::transport::TlsFailure;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, OtherError,
    PeerIncompatible,
};
use std::path::PathBuf;
use std::sync::Arc;

/// Sessions kept for resumption: the workspace, its WebSocket and a redirect or two.
const SESSIONS_MAX: usize = 8;

/// What the person can set about TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Certificate authorities beside Mozilla's, in the order in which they are tried.
    pub extra_roots: Vec<ExtraRoots>,
}

impl TlsSettings {
    /// Reads NODE_EXTRA_CA_CERTS, SSL_CERT_FILE and SSL_CERT_DIR (directories joined by colons). The
    /// first has a person's own authorities alone; the second is often a whole system's, which take
    /// a millisecond to read.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let mut extra_roots = Vec::new();
        for variable in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            let Some(value) = get(variable).filter(|value| !value.is_empty()) else {
                continue;
            };
            let paths: Vec<PathBuf> = match variable {
                "SSL_CERT_DIR" => std::env::split_paths(&value).collect(),
                _ => vec![PathBuf::from(value)],
            };
            let named = paths
                .into_iter()
                .filter(|path| !path.as_os_str().is_empty());
            extra_roots.extend(named.map(|path| ExtraRoots { variable, path }));
        }
        Self { extra_roots }
    }
}

/// Makes TLS clients; nothing is built before the first.
pub(crate) struct Tls {
    settings: TlsSettings,
    config: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// Keeps the settings.
    pub(crate) fn new(settings: TlsSettings) -> Self {
        Self {
            settings,
            config: None,
        }
    }

    /// A client for this endpoint; its ClientHello waits to be written.
    pub(crate) fn client(&mut self, endpoint: &Endpoint) -> Result<ClientConnection, TlsFailure> {
        let name = match endpoint.ip() {
            Some(ip) => ServerName::IpAddress(ip.into()),
            None => {
                // RFC 6066 section 3: the name goes "without a trailing dot".
                let host = endpoint.host().trim_end_matches('.').to_owned();
                ServerName::try_from(host).map_err(|_| TlsFailure::HostName)?
            }
        };
        let config = self.config()?;
        ClientConnection::new(config, name).map_err(|err| failure(&err))
    }

    fn config(&mut self) -> Result<Arc<ClientConfig>, TlsFailure> {
        if let Some(config) = &self.config {
            return Ok(config.clone());
        }
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let verifier = Verifier::new(algorithms, self.settings.extra_roots.clone());
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(|err| failure(&err))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        config.enable_early_data = false;
        Ok(self.config.insert(Arc::new(config)).clone())
    }
}

/// Sorts an error of rustls by what the person has to fix. Its own words are for programmers.
pub(crate) fn failure(err: &Error) -> TlsFailure {
    match err {
        Error::InvalidCertificate(err) => certificate_failure(err),
        Error::InvalidMessage(_) => TlsFailure::NotTls,
        Error::AlertReceived(alert) => alert_failure(*alert),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => TlsFailure::Version,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => TlsFailure::NothingInCommon,
        Error::NoCertificatesPresented => TlsFailure::UnreadableCertificate,
        Error::UnsupportedNameType => TlsFailure::HostName,
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => TlsFailure::Machine,
        // The list of rustls is open. What is left breaks the protocol.
        _ => TlsFailure::Damaged,
    }
}

fn alert_failure(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::ProtocolVersion => TlsFailure::Version,
        AlertDescription::HandshakeFailure
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => TlsFailure::NothingInCommon,
        AlertDescription::CertificateRequired => TlsFailure::ClientCertificate,
        AlertDescription::UnrecognisedName => TlsFailure::HostName,
        AlertDescription::BadRecordMac | AlertDescription::DecryptError => TlsFailure::Damaged,
        other => TlsFailure::Alert(other.into()),
    }
}

fn certificate_failure(err: &CertificateError) -> TlsFailure {
    match err {
        CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
        CertificateError::BadSignature => TlsFailure::BadSignature,
        CertificateError::NotValidForName => TlsFailure::WrongName(String::new()),
        CertificateError::NotValidForNameContext { presented, .. } => {
            TlsFailure::WrongName(plain_names(presented))
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFailure::NotYetValid
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsFailure::NotForServers
        }
        CertificateError::Other(other) => other_failure(other),
        // The list of rustls is open. What is left is a kind that is not supported.
        _ => TlsFailure::UnreadableCertificate,
    }
}

/// What rustls has no name for: our own reasons, and webpki's.
fn other_failure(OtherError(cause): &OtherError) -> TlsFailure {
    if let Some(why) = cause.downcast_ref::<RootsUnusable>() {
        return TlsFailure::Roots(why.to_string());
    }
    match cause.downcast_ref() {
        Some(webpki::Error::CaUsedAsEndEntity) => TlsFailure::CaAsServer,
        Some(_) | None => TlsFailure::UnreadableCertificate,
    }
}

/// rustls lists names as `DnsName("a")` and `IpAddress(127.0.0.1)`: only what is inside is said.
fn plain_names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let inside = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        inside.trim_end_matches(')').trim_matches('"').to_owned()
    };
    presented.iter().map(plain).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustls::InvalidMessage;

    #[test]
    fn environment() {
        let settings = TlsSettings::from_env(|name| match name {
            "SSL_CERT_FILE" => Some("/a.pem".into()),
            "SSL_CERT_DIR" => Some("/b::/c".into()),
            "NODE_EXTRA_CA_CERTS" => Some("/n.pem".into()),
            other => panic!("{other} is not ours"),
        });
        let paths: Vec<_> = settings
            .extra_roots
            .iter()
            .map(|extra| extra.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, ["/n.pem", "/a.pem", "/b", "/c"]);
        let empty = TlsSettings::from_env(|_| Some("".into()));
        assert!(empty.extra_roots.is_empty());
    }

    #[test]
    fn failures() {
        let check = |err: Error, want| assert_eq!(failure(&err), want);
        check(
            CertificateError::BadSignature.into(),
            TlsFailure::BadSignature,
        );
        check(
            CertificateError::InvalidPurpose.into(),
            TlsFailure::NotForServers,
        );
        check(
            CertificateError::BadEncoding.into(),
            TlsFailure::UnreadableCertificate,
        );
        let alert = Error::AlertReceived;
        check(
            alert(AlertDescription::HandshakeFailure),
            TlsFailure::NothingInCommon,
        );
        check(
            alert(AlertDescription::CertificateRequired),
            TlsFailure::ClientCertificate,
        );
        check(
            alert(AlertDescription::UnrecognisedName),
            TlsFailure::HostName,
        );
        check(
            alert(AlertDescription::InternalError),
            TlsFailure::Alert(80),
        );
        check(alert(AlertDescription::BadRecordMac), TlsFailure::Damaged);
        check(Error::DecryptError, TlsFailure::Damaged);
        check(Error::FailedToGetCurrentTime, TlsFailure::Machine);
        check(
            PeerIncompatible::NoCipherSuitesInCommon.into(),
            TlsFailure::NothingInCommon,
        );
        check(
            CertificateError::UnknownIssuer.into(),
            TlsFailure::UnknownIssuer,
        );
        check(
            InvalidMessage::InvalidContentType.into(),
            TlsFailure::NotTls,
        );
        check(
            Error::AlertReceived(AlertDescription::ProtocolVersion),
            TlsFailure::Version,
        );
        let name = ServerName::try_from("x").unwrap();
        let presented = vec![
            "DnsName(\"a.b\")".to_owned(),
            "IpAddress(127.0.0.1)".to_owned(),
        ];
        let wrong = CertificateError::NotValidForNameContext {
            expected: name,
            presented,
        };
        check(
            wrong.into(),
            TlsFailure::WrongName("a.b, 127.0.0.1".to_owned()),
        );
    }
}
