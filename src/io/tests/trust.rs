//! Which servers are trusted: certificates that sign themselves, the handshake's signature, Mozilla.

use super::certificates::{Authority, SelfSigned, accept, with_roots};
use super::{answer, exchange, server};
use crate::io::ShellSettings;
use crate::proto::transport::{CloseCause, Phase, TlsFailure};
use rcgen::{CertificateParams, DnType, DnValue, KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use std::path::PathBuf;
use std::sync::Arc;

/// A file of its own for one test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("aerostack-trust-{name}-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn settings(&self, variable: &'static str) -> ShellSettings {
        with_roots(vec![(variable, self.0.clone())])
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// What becomes of a handshake with this server: a reply, or the failure.
fn handshake(settings: ShellSettings, config: Arc<ServerConfig>) -> Result<(), TlsFailure> {
    let (port, thread) = server(|stream| {
        let mut tls = accept(config, stream);
        match tls.conn.complete_io(&mut tls.sock) {
            Ok(_) => drop(answer(&mut tls, b"reply")),
            Err(alert) => assert!(alert.to_string().contains("alert"), "{alert}"),
        }
    });
    let told = exchange(settings, &format!("https://127.0.0.1:{port}/"), b"end\n");
    thread.join().unwrap();
    match told.close.cause {
        CloseCause::Tls(failure) => {
            assert_eq!((told.close.phase, told.close.sent), (Phase::Tls, false));
            Err(failure)
        }
        _ => {
            assert_eq!(told.received, b"reply");
            Ok(())
        }
    }
}

/// A server that shows its own certificate alone, in both versions, to somebody who named `given`.
fn check(name: &str, shown: &SelfSigned, given: &str, expect: Result<(), TlsFailure>) {
    let file = File::new(name, given);
    for version in [&TLS12, &TLS13] {
        let chain = vec![shown.certificate.der().clone()];
        let config = SelfSigned::config(chain, shown, version);
        let got = handshake(file.settings("SSL_CERT_FILE"), config);
        assert_eq!(got, expect, "{name}, {version:?}");
    }
}

#[test]
fn a_certificate_that_signs_itself_is_trusted_by_its_bytes() {
    let own = SelfSigned::new(|_| {});
    let other = SelfSigned::new(|_| {});
    let both = [other.certificate.pem(), own.certificate.pem()].concat();
    check("own", &own, &own.certificate.pem(), Ok(()));
    check("own-among-others", &own, &both, Ok(()));
    // The same names, and another key.
    let unknown = Err(TlsFailure::UnknownIssuer);
    check("other", &own, &other.certificate.pem(), unknown.clone());
    let config = || SelfSigned::config(vec![own.certificate.der().clone()], &own, &TLS13);
    assert_eq!(handshake(ShellSettings::default(), config()), unknown);
    for variable in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_DIR"] {
        let file = File::new(variable, &own.certificate.pem());
        assert_eq!(handshake(file.settings(variable), config()), Ok(()));
    }
    let missing = with_roots(vec![("SSL_CERT_FILE", "/nowhere/ca.pem".into())]);
    let words = "SSL_CERT_FILE (/nowhere/ca.pem): No such file or directory".to_owned();
    assert_eq!(handshake(missing, config()), Err(TlsFailure::Roots(words)));
}

#[test]
fn its_name_dates_and_usage_have_to_fit_all_the_same() {
    fn refused(name: &str, change: impl FnOnce(&mut CertificateParams), why: TlsFailure) {
        let own = SelfSigned::new(change);
        check(name, &own, &own.certificate.pem(), Err(why));
    }
    let other_name = |params: &mut CertificateParams| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    };
    let names = "other.example".to_owned();
    refused("name", other_name, TlsFailure::WrongName(names));
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    refused("expired", expired, TlsFailure::Expired);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2090, 1, 1);
    refused("early", early, TlsFailure::NotYetValid);
    let authority = |params: &mut CertificateParams| {
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    };
    refused("usage", authority, TlsFailure::NotForServers);
}

/// It is the whole chain, or it is no certificate of one's own.
#[test]
fn an_authority_is_not_trusted_as_a_server_where_more_is_shown() {
    let (own, other) = (SelfSigned::new(|_| {}), SelfSigned::new(|_| {}));
    let file = File::new("chain", &own.certificate.pem());
    for (more, expect) in [(&own, Ok(())), (&other, Err(TlsFailure::CaAsServer))] {
        let chain = [&own, more].map(|shown| shown.certificate.der().clone());
        let config = SelfSigned::config(chain.to_vec(), &own, &TLS13);
        assert_eq!(handshake(file.settings("SSL_CERT_FILE"), config), expect);
    }
}

/// Who shows a certificate must have its key: in both versions, whoever vouches for it.
#[test]
fn the_signature_of_the_handshake_is_checked() {
    let (own, thief) = (SelfSigned::new(|_| {}), SelfSigned::new(|_| {}));
    let file = File::new("thief", &own.certificate.pem());
    let authority = Authority::new("signature");
    let vouches = File::new("vouches", &authority.pem());
    let issued = authority.issue(&own);
    for version in [&TLS12, &TLS13] {
        for (chain, given) in [
            (own.certificate.der().clone(), &file),
            (issued.clone(), &vouches),
        ] {
            let settings = || given.settings("SSL_CERT_FILE");
            let honest = SelfSigned::config(vec![chain.clone()], &own, version);
            assert_eq!(handshake(settings(), honest), Ok(()), "{version:?}");
            let stolen = SelfSigned::config(vec![chain], &thief, version);
            let got = handshake(settings(), stolen);
            assert_eq!(got, Err(TlsFailure::BadSignature), "{version:?}");
        }
    }
}

/// No private authority has a key of Mozilla's. One that bears the name of theirs is measured by
/// their key: so they are there.
#[test]
fn mozillas_roots_are_used_and_no_file_makes_a_server_one_of_them() {
    let borrowed = |params: &mut CertificateParams| {
        let name = &mut params.distinguished_name;
        *name = rcgen::DistinguishedName::new();
        for (kind, text) in [
            (DnType::CountryName, "US"),
            (DnType::OrganizationName, "Internet Security Research Group"),
            (DnType::CommonName, "ISRG Root X2"),
        ] {
            name.push(kind, DnValue::PrintableString(text.try_into().unwrap()));
        }
    };
    let authority = Authority::with("mozilla", borrowed);
    let config = authority.config(super::certificates::Leaf::Good);
    let got = handshake(ShellSettings::default(), config);
    assert_eq!(got, Err(TlsFailure::BadSignature));
    let own = SelfSigned::new(borrowed);
    check(
        "mozilla",
        &own,
        &own.certificate.pem(),
        Err(TlsFailure::UnknownIssuer),
    );
}
