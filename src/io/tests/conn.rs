//! Plain connections, proxies, failures before the first byte, fairness.

use super::{FIRST, GUARD, answer, drive, exchange, null_fds, pattern, read_request, server};
use crate::bridge::{Input, Output};
use crate::io::reactor::{READS_PER_TURN, SCRATCH_BYTES};
use crate::io::{Proxy, ShellSettings};
use crate::proto::endpoint::Endpoint;
use crate::proto::transport::{CloseCause, ConnId, Phase};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};

#[test]
fn a_reply_and_a_fin_over_plain_http() {
    let (port, thread) = server(|stream| answer(stream, b"reply"));
    // IPv6 is tried first, and nobody listens there.
    let told = exchange(
        ShellSettings::default(),
        &format!("http://localhost:{port}/"),
        b"end\n",
    );
    assert_eq!(thread.join().unwrap(), b"end\n");
    assert_eq!((&told.received[..], told.sent), (&b"reply"[..], 1));
    assert_eq!(told.close.cause, CloseCause::Eof);
    let peer = told.established.unwrap().peer.unwrap();
    assert_eq!(peer.to_string(), "127.0.0.1");
}

#[test]
fn ten_megabytes_both_ways_in_order() {
    let reply = pattern(10_000_000);
    let (port, thread) = server({
        let reply = reply.clone();
        move |stream| answer(stream, &reply)
    });
    let mut request = pattern(3_000_000);
    request.extend_from_slice(b"end\n");
    let told = exchange(
        ShellSettings::default(),
        &format!("http://127.0.0.1:{port}/"),
        &request,
    );
    assert!(thread.join().unwrap() == request, "the request was damaged");
    assert!(told.received == reply, "the reply was damaged");
}

#[test]
fn what_came_before_a_failed_write_is_handed_on() {
    let (port, thread) = server(|mut stream| {
        stream.read_exact(&mut [0; 10]).unwrap();
        stream.write_all(b"no, thanks").unwrap();
        // Unread bytes turn this into a reset.
    });
    let request = vec![b'x'; 20_000_000];
    let told = exchange(
        ShellSettings::default(),
        &format!("http://127.0.0.1:{port}/"),
        &request,
    );
    thread.join().unwrap();
    assert_eq!(told.received, b"no, thanks");
    assert_eq!((told.sent, told.close.sent), (0, true));
    assert!(
        matches!(told.close.cause, CloseCause::Io(_)),
        "{:?}",
        told.close
    );
}

#[test]
fn refused_and_unknown_hosts() {
    // Our own end of a connection: nobody listens there, and no other program is given it meanwhile.
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(far.local_addr().unwrap()).unwrap();
    let port = near.local_addr().unwrap().port();
    let check = |url: &str, phase| {
        let told = exchange(ShellSettings::default(), url, b"");
        assert!(told.established.is_none() && !told.close.sent);
        assert_eq!(told.close.phase, phase);
        told.close.cause
    };
    let refused = CloseCause::Io(ErrorKind::ConnectionRefused);
    assert_eq!(
        check(&format!("https://localhost:{port}/"), Phase::Connect),
        refused
    );
    let CloseCause::NotFound(_) = check("https://nowhere.invalid/", Phase::Resolve) else {
        panic!("found what does not exist");
    };
}

#[test]
fn plain_http_stays_on_this_machine() {
    let with_proxy = |allow_http, port| {
        let choose = move |_: &Endpoint| {
            Some(Proxy {
                host: "127.0.0.1".to_owned(),
                port,
                authorization: None,
            })
        };
        ShellSettings {
            proxy: Some(Box::new(choose)),
            allow_http,
            ..ShellSettings::default()
        }
    };
    // A proxy on this machine does not make a foreign host local.
    let (port, thread) = server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).ok();
        all
    });
    let told = exchange(
        with_proxy(false, port),
        "http://example.com/",
        b"secret end\n",
    );
    assert_eq!(thread.join().unwrap(), b"");
    assert_eq!(told.close.cause, CloseCause::NotLoopback);
    // Loopback is never proxied.
    let (port, thread) = server(|stream| answer(stream, b"direct"));
    let url = format!("http://127.0.0.1:{port}/");
    let told = exchange(with_proxy(false, 1), &url, b"end\n");
    thread.join().unwrap();
    assert_eq!(told.received, b"direct");
}

fn through_proxy(reply: &'static [u8]) -> (Vec<u8>, super::Told) {
    let (port, thread) = server(move |mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(reply).unwrap();
        if reply.starts_with(b"HTTP/1.1 200") {
            head.extend(answer(&stream, b"through"));
        }
        stream.shutdown(Shutdown::Both).ok();
        head
    });
    let choose = move |_: &Endpoint| {
        let authorization = Some("Basic dTpw".to_owned());
        Some(Proxy {
            host: "localhost".to_owned(),
            port,
            authorization,
        })
    };
    let proxy: Option<crate::io::ProxyChoice> = Some(Box::new(choose));
    let settings = ShellSettings {
        proxy,
        allow_http: true,
        ..ShellSettings::default()
    };
    let told = exchange(settings, "http://only.the.proxy.knows/", b"end\n");
    (thread.join().unwrap(), told)
}

#[test]
fn a_tunnel_through_a_proxy() {
    let (seen, told) = through_proxy(b"HTTP/1.1 200 Connection established\r\n\r\nearly ");
    let want = "CONNECT only.the.proxy.knows:80 HTTP/1.1\r\nHost: only.the.proxy.knows:80\r\n\
                Proxy-Authorization: Basic dTpw\r\n\r\nend\n";
    assert_eq!(String::from_utf8(seen).unwrap(), want);
    assert_eq!(told.received, b"early through");
}

#[test]
fn proxies_that_refuse() {
    let check = |reply, want| {
        let (_, told) = through_proxy(reply);
        assert_eq!((told.close.cause, told.close.phase), (want, Phase::Proxy));
        assert!(told.established.is_none() && !told.close.sent);
    };
    check(
        b"HTTP/1.1 407 Authenticate\r\n\r\n",
        CloseCause::ProxyStatus(407),
    );
    check(b"220 smtp.example.com\r\n", CloseCause::ProxyProtocol);
    check(b"", CloseCause::Eof);
}

/// A connection may be read so often in a turn, and the reads before the other's turn are at most those
/// of the turn that is under way and of the next. What counts is what was handed on, never how long it
/// took: each round waits until the fat stream has filled its buffers and the other's answer is there.
#[test]
fn a_fat_stream_does_not_starve_the_others() {
    const ROUNDS: usize = 20;
    const SHARE: usize = READS_PER_TURN * SCRATCH_BYTES;
    let (fill, orders) = mpsc::channel();
    let (full, is_full) = mpsc::channel();
    let (fat, fat_thread) = server(move |stream| fill_on_demand(stream, &orders, &full));
    let (answered, has_answered) = mpsc::channel();
    let (thin, thin_thread) = server(move |mut stream| {
        for _ in 0..ROUNDS {
            read_request(&mut stream);
            stream.write_all(b"!").unwrap();
            answered.send(()).unwrap();
        }
    });
    let url = |port| Endpoint::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let thin_id = ConnId(2);
    let connect = |id, port| Output::Connect(id, url(port));
    let start = vec![connect(FIRST, fat), connect(thin_id, thin)];
    let (mut rounds, mut ahead, mut most) = (0, 0, 0);
    let mut asked = false;
    let settings = ShellSettings::default();
    drive(settings, null_fds(), start, |input, _, out| match input {
        Input::Connected(FIRST, _) => {
            // The first bytes, so that there is a turn in which the question goes out.
            fill.send(()).unwrap();
            is_full.recv_timeout(GUARD).unwrap();
        }
        Input::Connected(..) => out.push(Output::Transmit(thin_id, b"end\n".to_vec())),
        Input::Sent(_) => {
            // Both have their bytes ready before the next turn begins.
            has_answered.recv_timeout(GUARD).unwrap();
            fill.send(()).unwrap();
            let queued: usize = is_full.recv_timeout(GUARD).unwrap();
            assert!(queued > 4 * SHARE || rounds > 0, "{queued} prove nothing");
            (asked, ahead) = (true, 0);
        }
        Input::Received(FIRST, piece) => ahead += piece.len(),
        Input::Received(_, piece) => {
            assert!(asked && piece == b"!", "{piece:?}");
            (rounds, most, asked) = (rounds + 1, most.max(ahead), false);
            out.push(match rounds {
                ROUNDS => Output::Exit(0),
                _ => Output::Transmit(thin_id, b"end\n".to_vec()),
            });
        }
        Input::Closed(id, close) => panic!("{id:?} {close:?}"),
        _ => {}
    });
    drop(fill);
    thin_thread.join().unwrap();
    fat_thread.join().unwrap();
    assert!(
        0 < most && most <= SHARE,
        "{most} bytes were read meanwhile"
    );
}

/// For each order writes until the buffers are full and says how much it has written in all.
fn fill_on_demand(mut stream: TcpStream, orders: &Receiver<()>, full: &Sender<usize>) {
    stream.set_nonblocking(true).unwrap();
    let block = vec![0; 1 << 20];
    let mut written = 0;
    while orders.recv().is_ok() {
        loop {
            match stream.write(&block) {
                Ok(len) => written += len,
                Err(err) if err.kind() == ErrorKind::WouldBlock => break,
                Err(err) => panic!("{err}"),
            }
        }
        full.send(written).unwrap();
    }
}

#[test]
fn an_idle_connection_costs_no_turn_and_its_end_is_noticed() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (port, thread) = server(move |stream| {
        wait.recv().unwrap();
        drop(stream);
    });
    let endpoint = Endpoint::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let start = vec![Output::Connect(FIRST, endpoint)];
    let mut release = Some(release);
    let settings = ShellSettings::default();
    let (_, turns) = drive(settings, null_fds(), start, |input, now, out| match input {
        Input::Connected(..) => {
            out.deadline = Some(now.mono + std::time::Duration::from_millis(50));
        }
        Input::Timeout => release.take().unwrap().send(()).unwrap(),
        Input::Closed(_, close) => {
            assert_eq!(close.cause, CloseCause::Eof);
            out.push(Output::Exit(0));
        }
        other => panic!("unexpected {other:?}"),
    });
    thread.join().unwrap();
    assert!(turns <= 6, "{turns} turns");
}
