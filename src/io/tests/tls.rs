//! TLS: what is trusted, what is refused and in which words, bytes through records.

use super::certificates::{Authority, Leaf, accept, with_roots};
use super::{FIRST, answer, drive, exchange, null_fds, pattern, read_request, server};
use crate::bridge::{Input, Output};
use crate::io::{ShellLimits, ShellSettings};
use crate::proto::endpoint::Endpoint;
use crate::proto::transport::{CloseCause, Phase, TlsFailure};
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

#[test]
fn a_private_authority_is_trusted_by_its_file() {
    let authority = Authority::new("trusted");
    let config = authority.config(Leaf::Good);
    for host in ["127.0.0.1", "localhost"] {
        let config = config.clone();
        let (port, thread) = server(|stream| {
            let mut tls = accept(config, stream);
            let request = answer(&mut tls, b"reply");
            tls.conn.send_close_notify();
            tls.flush().unwrap();
            request
        });
        let url = format!("https://{host}:{port}/");
        let told = exchange(authority.trusted(), &url, b"hello end\n");
        assert_eq!(thread.join().unwrap(), b"hello end\n");
        assert_eq!(told.received, b"reply");
        assert_eq!((told.sent, told.close.sent), (1, true));
        assert_eq!(told.close.cause, CloseCause::Eof);
        assert_eq!(told.close.phase, Phase::Open);
        assert!(told.established.unwrap().tls_us > 0);
    }
}

fn failure(settings: ShellSettings, config: std::sync::Arc<rustls::ServerConfig>) -> TlsFailure {
    let (port, thread) = server(|stream| {
        // The client's alert comes as an error, and the handshake never ends.
        accept(config, stream).read(&mut [0; 16]).unwrap_err()
    });
    let told = exchange(settings, &format!("https://127.0.0.1:{port}/"), b"");
    // The alert says why.
    let alert = thread.join().unwrap().to_string();
    assert!(alert.contains("alert"), "{alert}");
    assert_eq!(told.close.phase, Phase::Tls);
    assert!(!told.close.sent);
    assert!(told.established.is_none());
    match told.close.cause {
        CloseCause::Tls(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn refused_certificates_say_what_to_fix() {
    let authority = Authority::new("refused");
    let check = |leaf, want| {
        assert_eq!(failure(authority.trusted(), authority.config(leaf)), want);
    };
    let names = "other.example".to_owned();
    check(Leaf::WrongName, TlsFailure::WrongName(names));
    check(Leaf::Expired, TlsFailure::Expired);
    check(Leaf::NotYetValid, TlsFailure::NotYetValid);
}

#[test]
fn an_unknown_issuer_blames_the_files_only_where_they_are_at_fault() {
    let ours = Authority::new("ours");
    let config = ours.config(Leaf::Good);
    let none = failure(ShellSettings::default(), config.clone());
    assert_eq!(none, TlsFailure::UnknownIssuer);
    // Another authority of the same name has another key.
    let other = Authority::new("ours");
    let path = other.file(&other.pem());
    let wrong_key = failure(
        with_roots(vec![("SSL_CERT_FILE", path.clone())]),
        config.clone(),
    );
    assert_eq!(wrong_key, TlsFailure::BadSignature);
    let missing = with_roots(vec![("NODE_EXTRA_CA_CERTS", "/nowhere/ca.pem".into())]);
    let TlsFailure::Roots(why) = failure(missing, config.clone()) else {
        panic!("not Roots")
    };
    assert!(
        why.starts_with("NODE_EXTRA_CA_CERTS (/nowhere/ca.pem): No such file"),
        "{why}"
    );
    std::fs::write(&path, "no certificate").unwrap();
    let empty = with_roots(vec![("SSL_CERT_FILE", path.clone())]);
    let TlsFailure::Roots(why) = failure(empty, config.clone()) else {
        panic!("not Roots")
    };
    assert!(why.ends_with("holds no certificate in PEM form"), "{why}");
    // What is not needed is not blamed.
    std::fs::write(&path, ours.pem()).unwrap();
    let both = with_roots(vec![
        ("SSL_CERT_FILE", "/nowhere".into()),
        ("NODE_EXTRA_CA_CERTS", path.clone()),
    ]);
    let (port, thread) = server(|stream| answer(accept(config, stream), b"x"));
    let told = exchange(both, &format!("https://127.0.0.1:{port}/"), b"end\n");
    thread.join().unwrap();
    assert_eq!(told.received, b"x");
}

#[test]
fn a_directory_of_roots() {
    let authority = Authority::new("directory");
    let directory = std::env::temp_dir().join(format!("aerostack-io-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("a.txt"), "no certificate").unwrap();
    std::fs::write(directory.join("b.pem"), Authority::new("stranger").pem()).unwrap();
    std::fs::write(directory.join("c.0"), authority.pem()).unwrap();
    let config = authority.config(Leaf::Good);
    let (port, thread) = server(|stream| answer(accept(config, stream), b"x"));
    let settings = with_roots(vec![("SSL_CERT_DIR", directory.clone())]);
    let told = exchange(settings, &format!("https://127.0.0.1:{port}/"), b"end\n");
    thread.join().unwrap();
    assert_eq!(told.received, b"x");
    std::fs::remove_dir_all(directory).unwrap();
}

/// What the client says to a server that answers the ClientHello with these bytes.
fn answered_with(reply: &'static [u8]) -> CloseCause {
    let (port, thread) = server(|mut stream| {
        // What stays unread would turn our FIN into a reset.
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let len = u16::from_be_bytes([head[3], head[4]]);
        stream.read_exact(&mut vec![0; len.into()]).unwrap();
        stream.write_all(reply).unwrap();
    });
    let told = exchange(
        ShellSettings::default(),
        &format!("https://127.0.0.1:{port}/"),
        b"",
    );
    thread.join().unwrap();
    assert_eq!(told.close.phase, Phase::Tls);
    told.close.cause
}

#[test]
fn servers_that_speak_no_tls_or_an_old_one() {
    let check = |reply, want| assert_eq!(answered_with(reply), want);
    let not_tls = CloseCause::Tls(TlsFailure::NotTls);
    check(b"HTTP/1.1 400 Bad Request\r\n\r\n", not_tls.clone());
    check(b"SSH-2.0-OpenSSH_9.2\r\n", not_tls);
    let version = CloseCause::Tls(TlsFailure::Version);
    // Alert: fatal, protocol_version.
    check(&[0x15, 3, 1, 0, 2, 2, 70], version.clone());
    // ServerHello of TLS 1.1, TLS_RSA_WITH_AES_128_CBC_SHA.
    let mut hello = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 0x2f, 0]);
    check(hello.leak(), version);
    check(b"", CloseCause::Eof);
}

#[test]
fn a_silent_server_times_out_in_its_phase() {
    let (port, thread) = server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).ok();
    });
    let limits = ShellLimits {
        tls: Duration::from_millis(30),
        ..ShellLimits::default()
    };
    let settings = ShellSettings {
        limits,
        ..ShellSettings::default()
    };
    let told = exchange(settings, &format!("https://127.0.0.1:{port}/"), b"");
    thread.join().unwrap();
    assert_eq!(told.close.cause, CloseCause::TimedOut);
    assert_eq!(told.close.phase, Phase::Tls);
}

#[test]
fn ten_megabytes_both_ways_and_a_bare_fin() {
    let authority = Authority::new("large");
    let config = authority.config(Leaf::Good);
    let reply = pattern(10_000_000);
    let (port, thread) = server({
        let reply = reply.clone();
        // The socket is dropped without close_notify.
        move |stream| answer(accept(config, stream), &reply)
    });
    let mut request = pattern(3_000_000);
    request.extend_from_slice(b"end\n");
    let told = exchange(
        authority.trusted(),
        &format!("https://127.0.0.1:{port}/"),
        &request,
    );
    assert!(thread.join().unwrap() == request, "the request was damaged");
    // All that came before the FIN was handed on.
    assert!(told.received == reply, "the reply was damaged");
    let cause = CloseCause::Io(ErrorKind::UnexpectedEof);
    assert_eq!((told.sent, told.close.cause), (1, cause));
}

#[test]
fn a_paused_connection_hands_nothing_on_and_loses_nothing() {
    let authority = Authority::new("paused");
    let config = authority.config(Leaf::Good);
    let reply = pattern(2_000_000);
    let (port, thread) = server({
        let reply = reply.clone();
        move |stream| answer(accept(config, stream), &reply)
    });
    let endpoint = Endpoint::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
    let (mut received, mut paused, mut pauses) = (Vec::new(), false, 0);
    let start = vec![Output::Connect(FIRST, endpoint)];
    drive(
        authority.trusted(),
        null_fds(),
        start,
        |input, now, out| match input {
            Input::Connected(..) => out.push(Output::Transmit(FIRST, b"end\n".to_vec())),
            Input::Received(_, bytes) => {
                assert!(!paused, "bytes while paused");
                received.extend_from_slice(bytes);
                if pauses < 20 {
                    pauses += 1;
                    paused = true;
                    out.push(Output::Pause(FIRST));
                    out.deadline = Some(now.mono + Duration::from_millis(2));
                }
            }
            Input::Timeout => {
                paused = false;
                out.push(Output::Resume(FIRST));
            }
            Input::Closed(..) => {
                assert!(!paused, "closed while paused");
                out.push(Output::Exit(0));
            }
            _ => {}
        },
    );
    thread.join().unwrap();
    assert!(received == reply && pauses == 20);
}

#[test]
fn close_sends_what_was_queued_and_close_notify() {
    let authority = Authority::new("closing");
    let config = authority.config(Leaf::Good);
    let (port, thread) = server(move |stream| {
        let mut tls = accept(config, stream);
        let mut all = Vec::new();
        // Not UnexpectedEof: close_notify came.
        tls.read_to_end(&mut all).unwrap();
        all
    });
    let endpoint = Endpoint::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
    let body = pattern(5_000_000);
    let start = vec![Output::Connect(FIRST, endpoint)];
    drive(
        authority.trusted(),
        null_fds(),
        start,
        |input, now, out| match input {
            Input::Connected(..) => {
                out.push(Output::Transmit(FIRST, body.clone()));
                out.push(Output::Close(FIRST));
                out.deadline = Some(now.mono + Duration::from_millis(5));
            }
            Input::Timeout if thread.is_finished() => out.push(Output::Exit(0)),
            Input::Timeout => out.deadline = Some(now.mono + Duration::from_millis(5)),
            other => panic!("unexpected {other:?}"),
        },
    );
    assert!(thread.join().unwrap() == body);
}

#[test]
fn a_second_connection_resumes_the_session() {
    let authority = Authority::new("resumed");
    let config = authority.config(Leaf::Good);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        [(); 2].map(|()| {
            let mut tls = accept(config.clone(), listener.accept().unwrap().0);
            read_request(&mut tls);
            tls.write_all(b"reply").unwrap();
            tls.conn.handshake_kind()
        })
    });
    let endpoint = Endpoint::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
    let start = vec![Output::Connect(FIRST, endpoint.clone())];
    drive(
        authority.trusted(),
        null_fds(),
        start,
        |input, _, out| match input {
            Input::Connected(id, _) => out.push(Output::Transmit(id, b"end\n".to_vec())),
            Input::Closed(id, _) if id == FIRST => {
                out.push(Output::Connect(
                    crate::proto::transport::ConnId(2),
                    endpoint.clone(),
                ));
            }
            Input::Closed(..) => out.push(Output::Exit(0)),
            _ => {}
        },
    );
    let kinds = thread.join().unwrap();
    assert_eq!(
        kinds,
        [
            Some(rustls::HandshakeKind::Full),
            Some(rustls::HandshakeKind::Resumed)
        ]
    );
}
