//! For the fuzz targets: what is read of certificates and proxies.

use super::proxy::{Answer, answer};
use super::roots::certificates_of;
use super::usage::is_for_servers;

/// The certificates in a text, each with whether it was made for servers.
pub fn certificates(text: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let certificates = certificates_of(text).into_iter();
    let with_use = certificates.map(|der| (der.to_vec(), is_for_servers(&der)));
    with_use.collect()
}

/// Whether DER shows a certificate that was made for servers.
pub fn serves(der: &[u8]) -> bool {
    is_for_servers(der)
}

/// What a proxy has answered to CONNECT: the length of its head, or `None` while that is not whole.
pub fn proxy_answer(bytes: &[u8]) -> Result<Option<usize>, String> {
    match answer(bytes) {
        Ok(Answer::Partial) => Ok(None),
        Ok(Answer::Open(len)) => Ok(Some(len)),
        Err(cause) => Err(format!("{cause:?}")),
    }
}
