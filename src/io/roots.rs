//! Which certificate authorities are trusted: Mozilla's, compiled in, plus the files that the
//! environment names.
//!
//! Owns the verification of server certificates. Files are read only when a chain ends at none of
//! Mozilla's roots, and of a file only the anchors that the presented chain names are parsed and
//! kept: a system bundle of 220 kB must cost nothing at start and no memory after. It must never
//! weaken what webpki checks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr, memmem};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Certificate authorities beside Mozilla's: one file or directory that the environment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraRoots {
    /// The variable, for messages: "SSL_CERT_FILE".
    pub variable: &'static str,
    /// A PEM file, or a directory of PEM files.
    pub path: PathBuf,
}

/// The reason, in words, why the extra roots could not be used.
#[derive(Debug)]
pub(crate) struct RootsUnusable(pub(crate) String);

impl fmt::Display for RootsUnusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for RootsUnusable {}

/// Verifies server certificates against the compiled-in and the extra roots.
#[derive(Debug)]
pub(crate) struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    extra: Vec<ExtraRoots>,
    /// Anchors from the extra files that chains have named so far.
    found: Mutex<Vec<TrustAnchor<'static>>>,
}

impl Verifier {
    /// A verifier that has read nothing yet.
    pub(crate) fn new(algorithms: WebPkiSupportedAlgorithms, extra: Vec<ExtraRoots>) -> Self {
        Self {
            algorithms,
            extra,
            found: Mutex::new(Vec::new()),
        }
    }

    /// Reads the extra files until the chain verifies. `err` is what the known roots gave.
    fn verify_with_files(&self, chain: &Chain<'_>, mut err: Error) -> Result<(), Error> {
        let mut unusable = None;
        for extra in &self.extra {
            let paths = match extra.paths() {
                Ok(paths) => paths,
                Err(why) => {
                    unusable.get_or_insert(why);
                    continue;
                }
            };
            for path in paths {
                let anchors = match anchors_in(&path, chain) {
                    Ok(anchors) if anchors.is_empty() => continue,
                    Ok(anchors) => anchors,
                    // In a directory stale links and other files are common.
                    Err(why) if path == extra.path => {
                        unusable.get_or_insert(extra.unusable(&why));
                        continue;
                    }
                    Err(_) => continue,
                };
                let roots = RootCertStore { roots: anchors };
                match chain.verify(&roots, &self.algorithms) {
                    Ok(()) => {
                        self.found().extend(roots.roots);
                        return Ok(());
                    }
                    Err(later) => err = later,
                }
            }
        }
        match unusable {
            Some(why) if is_unknown_issuer(&err) => {
                let why = OtherError(Arc::new(RootsUnusable(why)));
                Err(Error::InvalidCertificate(CertificateError::Other(why)))
            }
            Some(_) | None => Err(err),
        }
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Vec<TrustAnchor<'static>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let cert = ParsedCertificate::try_from(end_entity)?;
        let ders = || std::iter::once(end_entity).chain(intermediates);
        let issuers = ders()
            .filter_map(|der| names(der))
            .map(|names| names.issuer)
            .collect();
        let chain = Chain {
            cert: &cert,
            intermediates,
            issuers,
            now,
        };
        let mut known = RootCertStore::empty();
        let compiled_in = webpki_roots::TLS_SERVER_ROOTS.iter();
        known.extend(
            compiled_in
                .filter(|anchor| chain.names(&anchor.subject))
                .cloned(),
        );
        known.extend(
            self.found()
                .iter()
                .filter(|anchor| chain.names(&anchor.subject))
                .cloned(),
        );
        match chain.verify(&known, &self.algorithms) {
            Ok(()) => {}
            // A private authority may bear the name of a public one, too: hence BadSignature.
            Err(
                err @ Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ),
            ) => self.verify_with_files(&chain, err)?,
            Err(err) => return Err(err),
        }
        verify_server_name(&cert, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_unknown_issuer(err: &Error) -> bool {
    matches!(
        err,
        Error::InvalidCertificate(CertificateError::UnknownIssuer)
    )
}

/// What the server presented.
struct Chain<'a> {
    cert: &'a ParsedCertificate<'a>,
    intermediates: &'a [CertificateDer<'a>],
    /// Every name that an anchor of this chain can have.
    issuers: Vec<&'a [u8]>,
    now: UnixTime,
}

impl Chain<'_> {
    fn names(&self, subject: &[u8]) -> bool {
        self.issuers.contains(&subject)
    }

    fn verify(
        &self,
        roots: &RootCertStore,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        verify_server_cert_signed_by_trust_anchor(
            self.cert,
            roots,
            self.intermediates,
            self.now,
            algorithms.all,
        )
    }
}

impl ExtraRoots {
    /// The files to read.
    fn paths(&self) -> Result<Vec<PathBuf>, String> {
        if !self.path.is_dir() {
            return Ok(vec![self.path.clone()]);
        }
        let entries = std::fs::read_dir(&self.path);
        let entries = entries.map_err(|err| self.unusable(&err.to_string()))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.truncate(FILES_MAX);
        Ok(paths)
    }

    fn unusable(&self, why: &str) -> String {
        format!("{} ({}): {why}", self.variable, self.path.display())
    }
}

/// The anchors of one PEM file that the chain names.
fn anchors_in(path: &Path, chain: &Chain<'_>) -> Result<Vec<TrustAnchor<'static>>, String> {
    // A directory or device behind the name would read for ever, or not at all.
    let meta = std::fs::metadata(path).map_err(|err| err.to_string())?;
    if !meta.is_file() {
        return Err("is not a file".to_owned());
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err("is too large for a file of certificates".to_owned());
    }
    let text = std::fs::read(path).map_err(|err| err.to_string())?;
    let mut certificates = 0;
    let mut roots = RootCertStore::empty();
    let mut pem = Pem {
        rest: &text,
        base64: Vec::new(),
        der: Vec::new(),
    };
    while let Some(body) = pem.next_body() {
        // Of a bundle's 140 certificates next to none is wanted: the subject, near the beginning,
        // tells.
        let subject = match names(pem.decode(body, PREFIX_CHARS)) {
            Some(names) => names.subject,
            None => match names(pem.decode(body, usize::MAX)) {
                Some(names) => names.subject,
                None => continue,
            },
        };
        certificates += 1;
        if chain.names(subject) {
            let der = CertificateDer::from(pem.decode(body, usize::MAX));
            roots.add_parsable_certificates([der]);
        }
    }
    match certificates {
        0 => Err("holds no certificate in PEM form".to_owned()),
        _ => Ok(roots.roots),
    }
}

/// The certificates of a PEM text (RFC 7468), one pair of buffers for all.
struct Pem<'a> {
    rest: &'a [u8],
    base64: Vec<u8>,
    der: Vec<u8>,
}

impl<'a> Pem<'a> {
    /// What stands between the marks of the next certificate, line ends and all.
    fn next_body(&mut self) -> Option<&'a [u8]> {
        loop {
            let begin = memmem::find(self.rest, BEGIN)?;
            self.rest = &self.rest[begin + BEGIN.len()..];
            // Base64 has no dash: another mark than END means that the certificate was cut off.
            let body = &self.rest[..memchr(b'-', self.rest)?];
            self.rest = &self.rest[body.len()..];
            if self.rest.starts_with(END) {
                return Some(body);
            }
        }
    }

    /// Decodes the body, or little more than its first `chars`; nothing if that fails.
    fn decode(&mut self, body: &[u8], chars: usize) -> &[u8] {
        self.base64.clear();
        self.der.clear();
        for line in body.split(|byte| *byte == b'\n') {
            self.base64.extend_from_slice(line.trim_ascii());
            if self.base64.len() >= chars {
                break;
            }
        }
        // Where it was cut, the last group may be cut, too.
        let groups = self.base64.len() / 4 * 4;
        if STANDARD
            .decode_vec(&self.base64[..groups], &mut self.der)
            .is_err()
        {
            self.der.clear();
        }
        &self.der
    }
}

/// The two names in a certificate, as webpki compares them: the contents of the SEQUENCE.
struct Names<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
}

/// RFC 5280 section 4.1: tbsCertificate is version (absent in v1), serial number, signature
/// algorithm, issuer, validity, subject, …
fn names(certificate: &[u8]) -> Option<Names<'_>> {
    // The two outer sequences may go on behind what was decoded.
    let (_, _, tbs) = header(certificate)?;
    let (_, _, tbs) = header(tbs)?;
    let (tag, _, mut rest) = element(tbs)?;
    if tag == VERSION {
        (_, _, rest) = element(rest)?;
    }
    let (_, _, rest) = element(rest)?;
    let (_, issuer, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (_, subject, _) = element(rest)?;
    Some(Names { issuer, subject })
}

/// One DER element: tag, contents, what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, len, rest) = header(der)?;
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((tag, contents, rest))
}

/// Tag and length of a DER element, and all bytes behind them.
fn header(der: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    match first {
        0..=0x7f => Some((tag, usize::from(first), rest)),
        0x81 => rest
            .split_first()
            .map(|(len, rest)| (tag, usize::from(*len), rest)),
        0x82 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            Some((tag, usize::from(u16::from_be_bytes(*len)), rest))
        }
        _ => None,
    }
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";
/// As much base64 as holds the names of every certificate in Mozilla's list.
const PREFIX_CHARS: usize = 700;
/// `[0] EXPLICIT Version`.
const VERSION: u8 = 0xa0;
/// /etc/ssl/certs has some 300 entries.
const FILES_MAX: usize = 2048;
/// System bundles have some 200 kB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pem_with_noise_around() {
        let body = STANDARD.encode([7; 100]);
        let (first, second) = body.split_at(64);
        let text = format!(
            "# a comment - with dashes --\n-----BEGIN CERTIFICATE-----\nAAAA\n\
             -----BEGIN CERTIFICATE-----\r\n{first}\r\n{second}\r\n-----END CERTIFICATE-----\r\n\
             -----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n\
             -----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n\
             -----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
        );
        let all = |text: &str| {
            let mut pem = Pem {
                rest: text.as_bytes(),
                base64: Vec::new(),
                der: Vec::new(),
            };
            let mut found = Vec::new();
            while let Some(body) = pem.next_body() {
                found.push(pem.decode(body, usize::MAX).to_vec());
            }
            found
        };
        assert_eq!(all(&text), [vec![7; 100], vec![], vec![0; 3]]);
        for end in 0..text.len() {
            all(&text[..end]);
        }
    }

    #[test]
    fn a_prefix_holds_the_names_of_every_public_root() {
        // The anchors have no certificates here; Debian's bundle has, where it is installed.
        let Ok(text) = std::fs::read("/etc/ssl/certs/ca-certificates.crt") else {
            return;
        };
        let mut pem = Pem {
            rest: &text,
            base64: Vec::new(),
            der: Vec::new(),
        };
        let mut count = 0;
        while let Some(body) = pem.next_body() {
            let subject = names(pem.decode(body, PREFIX_CHARS))
                .unwrap()
                .subject
                .to_vec();
            let der = CertificateDer::from(pem.decode(body, usize::MAX).to_vec());
            let mut roots = RootCertStore::empty();
            roots.add(der).unwrap();
            assert_eq!(roots.roots[0].subject.as_ref(), subject);
            count += 1;
        }
        assert!(count > 0);
    }

    #[test]
    fn der_elements_are_total() {
        assert_eq!(
            element(&[0x30, 2, 1, 2, 3]),
            Some((0x30, &[1, 2][..], &[3][..]))
        );
        assert_eq!(element(&[4, 0x81, 1, 9]), Some((4, &[9][..], &[][..])));
        assert_eq!(element(&[4, 0x82, 0, 1, 9]), Some((4, &[9][..], &[][..])));
        for short in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x81],
            &[4, 0x82, 1],
            &[4, 0x84, 0, 0, 0, 0],
        ] {
            assert_eq!(element(short), None);
        }
    }
}
