//! A certificate authority of our own, made at the start and forgotten at the end.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Makes a CA and a certificate for loopback, `address` and `name`, and writes the CA's certificate to
/// `ca_file`.
pub fn server_config(
    address: IpAddr,
    name: Option<&str>,
    ca_file: &Path,
) -> Result<Arc<ServerConfig>, String> {
    make(address, name, ca_file).map_err(|e| e.to_string())
}

fn make(
    address: IpAddr,
    name: Option<&str>,
    ca_file: &Path,
) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name
        .push(DnType::CommonName, "aerostack-workspace local CA");
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    std::fs::write(ca_file, ca_certificate.pem())?;

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
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf_certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Where the CA goes unless `--data` says otherwise.
pub fn default_ca_file(port: u16) -> PathBuf {
    std::env::temp_dir().join(format!("aerostack-workspace-{port}-ca.pem"))
}
