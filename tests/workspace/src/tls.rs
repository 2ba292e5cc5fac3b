//! A certificate authority of our own. Its key is forgotten at once: it signs one certificate and no more.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::store::Store;

/// Makes a CA and a certificate for loopback, `address` and `name`, and writes the CA's certificate to
/// `ca_file`.
pub fn server_config(
    address: IpAddr,
    name: Option<&str>,
    ca_file: &Path,
) -> Result<Arc<ServerConfig>, String> {
    let made = || -> Made<_> { use_identity(&make(address, name)?, ca_file) };
    made().map_err(|e| e.to_string())
}

/// The same with the certificate that was used before, if it was for the same names: a client that was given
/// our CA stays with us over restarts.
pub fn kept_config(
    address: IpAddr,
    name: Option<&str>,
    ca_file: &Path,
    store: &Store,
) -> Result<Arc<ServerConfig>, String> {
    let fact = format!("certificate of {address} {}", name.unwrap_or_default());
    let kept = store.fact(&fact)?;
    let kept = kept.and_then(|text| serde_json::from_str::<TlsIdentity>(&text).ok());
    let made = || -> Made<_> {
        let identity = match kept {
            Some(identity) => identity,
            None => {
                let identity = make(address, name)?;
                store.keep_fact(&fact, &serde_json::to_string(&identity)?)?;
                identity
            }
        };
        use_identity(&identity, ca_file)
    };
    made().map_err(|e| e.to_string())
}

type Made<T> = Result<T, Box<dyn std::error::Error>>;

/// What a server proves itself with, as text.
#[derive(Serialize, Deserialize)]
struct TlsIdentity {
    ca_pem: String,
    certificate: String,
    key: String,
}

fn make(address: IpAddr, name: Option<&str>) -> Made<TlsIdentity> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name
        .push(DnType::CommonName, "aerostack-workspace local CA");
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;

    let names = ["localhost"].into_iter().chain(name).map(str::to_owned);
    let mut leaf = CertificateParams::new(names.collect::<Vec<_>>())?;
    leaf.distinguished_name
        .push(DnType::CommonName, "aerostack-workspace");
    leaf.subject_alt_names
        .push(SanType::IpAddress("127.0.0.1".parse()?));
    leaf.subject_alt_names
        .push(SanType::IpAddress("::1".parse()?));
    if !address.is_loopback() && !address.is_unspecified() {
        leaf.subject_alt_names.push(SanType::IpAddress(address));
    }
    leaf.use_authority_key_identifier_extension = true;
    let leaf_key = KeyPair::generate()?;
    let leaf_certificate = leaf.signed_by(&leaf_key, &Issuer::new(ca, ca_key))?;
    Ok(TlsIdentity {
        ca_pem: ca_certificate.pem(),
        certificate: STANDARD.encode(leaf_certificate.der()),
        key: STANDARD.encode(leaf_key.serialize_der()),
    })
}

fn use_identity(identity: &TlsIdentity, ca_file: &Path) -> Made<Arc<ServerConfig>> {
    std::fs::write(ca_file, &identity.ca_pem)?;
    let certificate = CertificateDer::from(STANDARD.decode(&identity.certificate)?);
    let key = PrivatePkcs8KeyDer::from(STANDARD.decode(&identity.key)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Where the CA goes unless `--data` says otherwise.
pub fn default_ca_file(port: u16) -> PathBuf {
    std::env::temp_dir().join(format!("aerostack-workspace-{port}-ca.pem"))
}
