//! The cryptography that a TLS client without certificates needs, and nothing that it does not.
//!
//! rustls' own provider for ring also signs with RSA, ECDSA and Ed25519, which costs 40 kB of the
//! binary, and its list of suites can only be had whole. Algorithms are rustls', and their order but for AES.

use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::crypto::ring::{ALL_KX_GROUPS, cipher_suite};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use rustls::{Error, SignatureScheme, SupportedCipherSuite};
use std::sync::Arc;
use webpki::ring as verify;

/// The provider of every connection.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        kx_groups: ALL_KX_GROUPS.to_vec(),
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Ring,
        key_provider: &Ring,
    }
}

/// AES is what every server has to offer (RFC 8446 section 9.1, RFC 9325 section 4.2). ChaCha20 is
/// there where processors may lack AES instructions; elsewhere its 50 kB would never run.
///
/// AES-128 comes first, as in browsers: it is the suite that RFC 8446 demands, needs ten rounds and not
/// fourteen, and processors have instructions for its SHA-256 but hardly any for SHA-384, which a handshake
/// hashes with some dozens of times.
static CIPHER_SUITES: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    #[cfg(not(target_arch = "x86_64"))]
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    #[cfg(not(target_arch = "x86_64"))]
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    #[cfg(not(target_arch = "x86_64"))]
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// For TLS 1.2 the scheme does not fix the curve, hence two algorithms each for ECDSA.
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        verify::ECDSA_P256_SHA256,
        verify::ECDSA_P256_SHA384,
        verify::ECDSA_P384_SHA256,
        verify::ECDSA_P384_SHA384,
        verify::ED25519,
        verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        verify::RSA_PKCS1_2048_8192_SHA256,
        verify::RSA_PKCS1_2048_8192_SHA384,
        verify::RSA_PKCS1_2048_8192_SHA512,
        verify::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        verify::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        verify::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[verify::ECDSA_P384_SHA384, verify::ECDSA_P256_SHA384],
        ),
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[verify::ECDSA_P256_SHA256, verify::ECDSA_P384_SHA256],
        ),
        (SignatureScheme::ED25519, &[verify::ED25519]),
        (
            SignatureScheme::RSA_PSS_SHA512,
            &[verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA384,
            &[verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PSS_SHA256,
            &[verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA512,
            &[verify::RSA_PKCS1_2048_8192_SHA512],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA384,
            &[verify::RSA_PKCS1_2048_8192_SHA384],
        ),
        (
            SignatureScheme::RSA_PKCS1_SHA256,
            &[verify::RSA_PKCS1_2048_8192_SHA256],
        ),
    ],
};

#[derive(Debug)]
struct Ring;

impl SecureRandom for Ring {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        SystemRandom::new().fill(bytes).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for Ring {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General(
            "there are no client certificates".to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new version of rustls may know better.
    #[test]
    fn algorithms_are_those_of_rustls() {
        let (ours, theirs) = (provider(), rustls::crypto::ring::default_provider());
        let kept = |suite: &&SupportedCipherSuite| {
            cfg!(not(target_arch = "x86_64")) || !format!("{suite:?}").contains("CHACHA20")
        };
        // But AES-256 stands before its smaller sister there.
        let mut suites: Vec<_> = theirs.cipher_suites.iter().filter(kept).collect();
        let aes_256 = |at: &usize| format!("{:?}", suites[*at]).contains("AES_256");
        let larger: Vec<usize> = (0..suites.len()).filter(aes_256).collect();
        for at in larger {
            suites.swap(at, at + 1);
        }
        assert_eq!(ours.cipher_suites.iter().collect::<Vec<_>>(), suites);
        let schemes = |provider: &CryptoProvider| {
            provider
                .signature_verification_algorithms
                .supported_schemes()
        };
        assert_eq!(schemes(&ours), schemes(&theirs));
        let all = |provider: &CryptoProvider| {
            format!("{:?}", provider.signature_verification_algorithms.all)
        };
        assert_eq!(all(&ours), all(&theirs));
    }
}
