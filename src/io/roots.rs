//! Which certificate authorities are trusted: Mozilla's, compiled in, plus the files that the
//! environment names.
//!
//! Owns the verification of server certificates. Files are read only when a chain ends at none of
//! Mozilla's roots, and of a file only the anchors that the presented chain names are kept: a system
//! bundle of 220 kB must cost nothing at start and no memory after. It must never weaken what webpki
//! checks, with one exception: see [`Verifier::trusts_as_its_own`].

use super::usage::is_for_servers;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use webpki::{EndEntityCert, anchor_from_trusted_cert};

/// Certificate authorities beside Mozilla's: one file or directory that the environment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraRoots {
    /// The variable, for messages: "SSL_CERT_FILE".
    pub variable: &'static str,
    /// A PEM file, or a directory of PEM files.
    pub path: PathBuf,
}

/// Extra roots that could not be used, and why.
#[derive(Debug)]
pub(crate) struct RootsUnusable {
    roots: ExtraRoots,
    fault: FileFault,
}

/// What is wrong with a file of certificates.
#[derive(Debug)]
enum FileFault {
    Io(std::io::Error),
    NotAFile,
    TooLarge,
    NoCertificate,
}

impl fmt::Display for RootsUnusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExtraRoots { variable, path } = &self.roots;
        write!(out, "{variable} ({}): ", path.display())?;
        match &self.fault {
            FileFault::Io(err) => {
                let words = err.to_string();
                // The number says nothing that the words do not.
                out.write_str(words.split(" (os error").next().unwrap_or_default())
            }
            FileFault::NotAFile => out.write_str("is not a file"),
            FileFault::TooLarge => out.write_str("is too large for a file of certificates"),
            FileFault::NoCertificate => out.write_str("holds no certificate in PEM form"),
        }
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

    fn verify_chain(&self, chain: &Chain<'_>) -> Result<(), Error> {
        let mut known = RootCertStore::empty();
        let named = |anchor: &&TrustAnchor<'static>| chain.names(&anchor.subject);
        let compiled_in = webpki_roots::TLS_SERVER_ROOTS.iter();
        known.extend(compiled_in.filter(named).cloned());
        known.extend(self.found().iter().filter(named).cloned());
        match chain.verify(&known, &self.algorithms) {
            // A private authority may bear the name of a public one, too: hence BadSignature.
            Err(
                err @ Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ),
            ) => self.verify_with_files(chain, err),
            Err(err) if is_ca_as_server(&err) && chain.is_self_signed() => {
                self.trusts_as_its_own(chain)
            }
            result => result,
        }
    }

    /// Reads the extra files until the chain verifies. `err` is what the known roots gave.
    fn verify_with_files(&self, chain: &Chain<'_>, mut err: Error) -> Result<(), Error> {
        let unusable = self.read_files(|certificates| {
            let anchors = certificates.iter().filter_map(|der| {
                let anchor = anchor_from_trusted_cert(der).ok()?;
                chain.names(&anchor.subject).then(|| anchor.to_owned())
            });
            let roots = RootCertStore {
                roots: anchors.collect(),
            };
            if roots.is_empty() {
                return false;
            }
            err = match chain.verify(&roots, &self.algorithms) {
                Ok(()) => {
                    self.found().extend(roots.roots);
                    return true;
                }
                Err(later) => later,
            };
            false
        });
        match unusable {
            Ok(()) => Ok(()),
            Err(Some(why)) if is_unknown_issuer(&err) => Err(why.into()),
            Err(_) => Err(err),
        }
    }

    /// `openssl req -x509` makes a certificate that says that it is an authority, and people let
    /// their server show it. webpki refuses that. curl, Node and Python do not, where the person has
    /// named this very certificate; nor do we, if it is the whole chain, in a file that the person
    /// named (and none of Mozilla's roots), and made for servers. That its time has come and is not
    /// over is known: webpki looks there before it sees the authority. Name and handshake are
    /// checked as always.
    fn trusts_as_its_own(&self, chain: &Chain<'_>) -> Result<(), Error> {
        let mut mozillas = webpki_roots::TLS_SERVER_ROOTS.iter();
        if mozillas.any(|anchor| chain.names(&anchor.subject)) {
            return Err(CertificateError::UnknownIssuer.into());
        }
        if !is_for_servers(chain.leaf) {
            return Err(CertificateError::InvalidPurpose.into());
        }
        match self.read_files(|certificates| certificates.contains(chain.leaf)) {
            Ok(()) => Ok(()),
            Err(Some(why)) => Err(why.into()),
            Err(None) => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    /// Shows the certificates of each extra file until `wanted`; the error is the first file that
    /// could not be used, if there was one.
    fn read_files(
        &self,
        mut wanted: impl FnMut(&[CertificateDer<'static>]) -> bool,
    ) -> Result<(), Option<RootsUnusable>> {
        let mut unusable = None;
        for extra in &self.extra {
            let mut blame = |fault| {
                let roots = extra.clone();
                unusable.get_or_insert(RootsUnusable { roots, fault });
            };
            let paths = match extra.paths() {
                Ok(paths) => paths,
                Err(fault) => {
                    blame(fault);
                    continue;
                }
            };
            for path in paths {
                match certificates_in(&path) {
                    Ok(certificates) if wanted(&certificates) => return Ok(()),
                    Ok(_) => {}
                    Err(fault) if path == extra.path => blame(fault),
                    // In a directory stale links and other files are common.
                    Err(_) => {}
                }
            }
        }
        Err(unusable)
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Vec<TrustAnchor<'static>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<RootsUnusable> for Error {
    fn from(why: RootsUnusable) -> Self {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
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
        let chain = Chain {
            parsed: &ParsedCertificate::try_from(end_entity)?,
            leaf: end_entity,
            intermediates,
            now,
        };
        self.verify_chain(&chain)?;
        verify_server_name(chain.parsed, server_name)?;
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

fn is_ca_as_server(err: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = err else {
        return false;
    };
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// What the server presented.
struct Chain<'a> {
    parsed: &'a ParsedCertificate<'a>,
    leaf: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    now: UnixTime,
}

impl Chain<'_> {
    /// Whether an anchor of this name may be the chain's.
    fn names(&self, subject: &[u8]) -> bool {
        let mut ders = std::iter::once(self.leaf).chain(self.intermediates);
        ders.any(|der| EndEntityCert::try_from(der).is_ok_and(|cert| cert.issuer() == subject))
    }

    /// One certificate that names itself as its issuer. Whether that is true does not matter: it is
    /// trusted by its bytes or not at all.
    fn is_self_signed(&self) -> bool {
        self.intermediates.iter().all(|der| der == self.leaf)
            && EndEntityCert::try_from(self.leaf).is_ok_and(|cert| cert.issuer() == cert.subject())
    }

    fn verify(
        &self,
        roots: &RootCertStore,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        verify_server_cert_signed_by_trust_anchor(
            self.parsed,
            roots,
            self.intermediates,
            self.now,
            algorithms.all,
        )
    }
}

impl ExtraRoots {
    /// The files to read.
    fn paths(&self) -> Result<Vec<PathBuf>, FileFault> {
        if !self.path.is_dir() {
            return Ok(vec![self.path.clone()]);
        }
        let entries = std::fs::read_dir(&self.path).map_err(FileFault::Io)?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.truncate(FILES_MAX);
        Ok(paths)
    }
}

/// The certificates of one PEM file; what else is in there is passed over.
fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    // A directory or device behind the name would read for ever, or not at all.
    let meta = std::fs::metadata(path).map_err(FileFault::Io)?;
    if !meta.is_file() {
        return Err(FileFault::NotAFile);
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(FileFault::TooLarge);
    }
    let text = super::file::read_regular(path, FILE_BYTES_MAX).map_err(FileFault::Io)?;
    let certificates = certificates_of(&text);
    match certificates.len() {
        0 => Err(FileFault::NoCertificate),
        _ => Ok(certificates),
    }
}

pub(super) fn certificates_of(text: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text).flatten().collect()
}

/// /etc/ssl/certs has some 300 entries.
const FILES_MAX: usize = 2048;
/// System bundles have some 200 kB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A comment, a broken certificate, a key, a certificate that was cut off: the good ones count.
    #[test]
    fn files_with_noise() {
        let made = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.self_signed(&key).unwrap()
        };
        let (first, second) = (made("first"), made("second"));
        let text = format!(
            "# a comment - with dashes --\n{}-----BEGIN CERTIFICATE-----\n!!!!\n\
             -----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAAAA\n\
             -----END PRIVATE KEY-----\n{}\n-----BEGIN CERTIFICATE-----\nAAAA",
            first.pem(),
            second.pem().replace('\n', "\r\n"),
        );
        let path = std::env::temp_dir().join(format!("aerostack-noise-{}", std::process::id()));
        std::fs::write(&path, &text).unwrap();
        let ders = [first.der().clone(), second.der().clone()];
        assert_eq!(certificates_in(&path).unwrap(), ders);
        for end in (0..text.len()).step_by(7) {
            std::fs::write(&path, &text[..end]).unwrap();
            let found = certificates_in(&path).unwrap_or_default();
            assert!(found.iter().all(|der| ders.contains(der)), "{end}");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn faults_are_words() {
        let words = |fault| {
            let roots = ExtraRoots {
                variable: "SSL_CERT_FILE",
                path: "/a.pem".into(),
            };
            RootsUnusable { roots, fault }.to_string()
        };
        let missing = std::io::Error::from_raw_os_error(2);
        assert_eq!(
            words(FileFault::Io(missing)),
            "SSL_CERT_FILE (/a.pem): No such file or directory"
        );
        assert_eq!(
            words(FileFault::NotAFile),
            "SSL_CERT_FILE (/a.pem): is not a file"
        );
    }
}
