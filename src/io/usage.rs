//! Whether a certificate was made for servers: the one question about a self-signed certificate that
//! webpki does not answer, since it stops before.
//!
//! Owns a walk over DER, which is total: what can not be read was not made for servers.

/// By KeyUsage and ExtendedKeyUsage (RFC 5280 sections 4.2.1.3 and 4.2.1.12), which may be absent:
/// the key signs the handshake, and nothing restricts it to other purposes.
pub(super) fn is_for_servers(certificate: &[u8]) -> bool {
    let Some(extensions) = extensions(certificate) else {
        return false;
    };
    let mut rest = extensions;
    while !rest.is_empty() {
        let Some((SEQUENCE, extension, behind)) = element(rest) else {
            return false;
        };
        rest = behind;
        let Some((oid, value)) = oid_and_value(extension) else {
            return false;
        };
        let fits = match oid {
            KEY_USAGE => may_sign(value),
            EXTENDED_KEY_USAGE => serves(value),
            _ => true,
        };
        if !fits {
            return false;
        }
    }
    true
}

/// The list of extensions; empty where there are none. RFC 5280 section 4.1: they are the last
/// field of tbsCertificate, under a tag of their own.
fn extensions(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    while !rest.is_empty() {
        let (tag, contents, behind) = element(rest)?;
        if tag == EXTENSIONS {
            return element(contents).map(|(_, list, _)| list);
        }
        rest = behind;
    }
    Some(&[])
}

/// `SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }`.
fn oid_and_value(extension: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, oid, rest) = element(extension)?;
    let (tag, value, rest) = element(rest)?;
    match tag {
        BOOLEAN => element(rest).map(|(_, value, _)| (oid, value)),
        _ => Some((oid, value)),
    }
}

/// A BIT STRING: how many bits are unused, then the bits, digitalSignature first.
fn may_sign(value: &[u8]) -> bool {
    let bits = element(value).map(|(_, bits, _)| bits);
    bits.and_then(|bits| bits.get(1))
        .is_some_and(|first| first & 0x80 != 0)
}

/// A SEQUENCE of purposes.
fn serves(value: &[u8]) -> bool {
    let Some((_, mut rest, _)) = element(value) else {
        return false;
    };
    while let Some((_, purpose, behind)) = element(rest) {
        if purpose == SERVER_AUTH || purpose == ANY_PURPOSE {
            return true;
        }
        rest = behind;
    }
    false
}

/// One DER element: tag, contents, what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest
            .split_first()
            .map(|(len, rest)| (usize::from(*len), rest))?,
        0x82 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((tag, contents, rest))
}

const BOOLEAN: u8 = 0x01;
const SEQUENCE: u8 = 0x30;
/// `[3] EXPLICIT Extensions`.
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.15
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// 1.3.6.1.5.5.7.3.1
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// 2.5.29.37.0
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rcgen::ExtendedKeyUsagePurpose::{self, Any, ClientAuth, ServerAuth};
    use rcgen::KeyUsagePurpose::{self, CrlSign, DigitalSignature, KeyCertSign, KeyEncipherment};
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn certificate(usages: &[KeyUsagePurpose], purposes: &[ExtendedKeyUsagePurpose]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages.to_vec();
        params.extended_key_usages = purposes.to_vec();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn usages() {
        let check = |usages: &[KeyUsagePurpose], purposes: &[ExtendedKeyUsagePurpose], expect| {
            let got = is_for_servers(&certificate(usages, purposes));
            assert_eq!(got, expect, "{usages:?} {purposes:?}");
        };
        check(&[], &[], true);
        check(&[DigitalSignature], &[], true);
        check(&[DigitalSignature, KeyCertSign], &[ServerAuth], true);
        check(&[], &[ClientAuth, ServerAuth], true);
        check(&[], &[Any], true);
        check(&[KeyCertSign], &[], false);
        check(&[KeyCertSign, CrlSign], &[ServerAuth], false);
        check(&[KeyEncipherment], &[], false);
        check(&[], &[ClientAuth], false);
        check(&[DigitalSignature], &[ClientAuth], false);
    }

    /// What is cut off or damaged is no permission, and no panic.
    #[test]
    fn every_prefix_and_every_byte() {
        let whole = certificate(&[DigitalSignature], &[ServerAuth]);
        assert!(is_for_servers(&whole));
        for end in 0..whole.len() {
            assert!(!is_for_servers(&whole[..end]), "{end}");
        }
        for at in 0..whole.len() {
            for byte in [0, 0x30, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = is_for_servers(&damaged);
            }
        }
    }

    #[test]
    fn elements_are_total() {
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
