//! Every exchange ends exactly once, and how.

use super::*;

#[test]
fn every_exchange_ends_once_wherever_its_deadline_meets_it() {
    let control = || request(Priority::Control, Repeat::Harmless);
    for (place, expected) in [
        ("waiting", "#1 failed TimedOut(5)"),
        ("dialing", "close 1; #1 failed TimedOut(5)"),
        ("sent", "close 1; #1 failed TimedOut(5)"),
        ("body", "close 1; #1 failed TimedOut(5)"),
        ("stream", "close 1; #1 failed TimedOut(5) in its stream"),
        ("answered", ""),
        ("lost", ""),
        ("aborted", ""),
        ("upgraded", ""),
    ] {
        let mut client = Client::new();
        let upgrade = place == "upgraded";
        let own = Request {
            upgrade,
            ..control()
        };
        let asked = [own, to("http://other.test/y")];
        let [own, foreign] = asked;
        client.send(if place == "dialing" { foreign } else { own }, Some(5));
        if !matches!(place, "waiting" | "dialing") {
            client.connected(1);
        }
        match place {
            "body" => drop(client.received(1, &OK[..OK.len() - 1])),
            "stream" => assert_eq!(client.received(1, EVENTS), "#1 head"),
            "answered" => assert_eq!(client.received(1, OK), "#1 200 hi"),
            "lost" => assert_eq!(client.closed(1, true), "#1 failed Lost"),
            "aborted" => client.http.abort(&mut client.ctx, ExchangeId(1)),
            "upgraded" => drop(client.received(1, UPGRADED)),
            _ => {}
        }
        client.outcome();
        assert_eq!(client.wait(4_999), "", "{place}");
        assert_eq!(client.wait(1), expected, "{place}");
        assert_eq!(client.http.is_gone(ExchangeId(1)), !upgrade, "{place}");
        // Whatever comes now is nobody's.
        if !upgrade {
            let late = client.closed(1, true);
            assert!(!late.contains('#'), "{place}: {late}");
            assert_eq!(
                client.http.waiting_bytes() + client.http.reply_bytes(),
                0,
                "{place}"
            );
        }
    }
}

#[test]
fn a_response_ends_as_its_framing_says() {
    let close = "HTTP/1.1 200 OK\r\n\r\nhi";
    for (text, expected) in [
        (close, "#1 200 hi"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
            "#1 failed Lost",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
            "#1 failed Lost",
        ),
        ("", "#1 failed Lost"),
    ] {
        let mut client = Client::new();
        client.call();
        client.connected(1);
        assert_eq!(client.received(1, text), "", "{text:?}");
        assert_eq!(client.closed(1, true), expected, "{text:?}");
    }
    // A reset is no end, and a head that is none is told at once.
    let mut client = Client::new();
    client.call();
    client.connected(1);
    client.received(1, close);
    let reset = CloseCause::Io(std::io::ErrorKind::ConnectionReset);
    assert_eq!(client.closes(1, reset, true), "#1 failed Lost");
    assert_eq!(client.call(), "dial 2");
    client.connected(2);
    assert_eq!(
        client.received(2, "SSH-2.0-x\r\n\r\n"),
        "close 2; #2 failed Protocol(NotHttp)"
    );
}

#[test]
fn events_are_told_as_they_end_and_their_end_with_its_place() {
    let stream = "id: 7\ndata: a\n\ndata: b\n\n: c\n\ndata: rest";
    let text = format!("{EVENTS}{stream}");
    for cut in EVENTS.len()..text.len() {
        let mut client = Client::new();
        client.call();
        client.connected(1);
        let begun = client.received(1, &text[..cut]);
        let told = join(&begun, &client.received(1, &text[cut..]));
        assert_eq!(told, "#1 head; #1 event a; #1 event b", "{cut}");
        assert_eq!(client.closed(1, true), "#1 ended Some(\"7\") true");
    }
}

#[test]
fn an_upgraded_connection_is_its_owners() {
    let mut client = Client::new();
    let upgrade = true;
    let asks = Request {
        upgrade,
        ..request(Priority::Stream, Repeat::Harmless)
    };
    client.send(asks, Some(20));
    client.connected(1);
    let first = format!("{UPGRADED}ab");
    assert_eq!(client.received(1, &first), "#1 upgraded; #1 bytes ab");
    assert_eq!(client.http.streams(), 1);
    client
        .http
        .write(&mut client.ctx, ExchangeId(1), b"GET x HTTP/1.1".to_vec());
    assert_eq!(client.outcome(), "1> GET x");
    client.http.handle_sent(ConnId(1));
    assert_eq!(client.outcome(), "#1 sent");
    assert_eq!(client.closed(1, true), "#1 failed Lost");
    // A plain request is not upgraded, whatever the server says.
    client.call();
    client.connected(2);
    assert!(
        client
            .received(2, UPGRADED)
            .starts_with("close 2; #2 failed Protocol")
    );
}

#[test]
fn one_that_lingers_has_a_little_time_to_end_well() {
    for (text, expected) in [("i", "#2 200 hi"), ("", "close 1; #2 failed TimedOut(5)")] {
        let mut client = Client::used();
        client.call();
        client.received(1, &OK[..OK.len() - 1]);
        client.http.linger(&mut client.ctx, ExchangeId(2));
        client.wait(4_999);
        let told = join(&client.received(1, text), &client.wait(1));
        assert_eq!(told, expected);
        let again = ["1> POST /ws/x", "dial 2"][usize::from(text.is_empty())];
        assert_eq!(
            client.harmless(),
            again,
            "a connection that ended well is kept"
        );
    }
    // What has not left never does; what has left tells when, once it is given up.
    let mut client = Client::new();
    client.call();
    assert!(!client.http.give_up(&mut client.ctx, ExchangeId(1)));
    assert_eq!(client.connected(1), "");
    assert_eq!(client.call(), "1> POST /ws/x");
    client.http.handle_sent(ConnId(1));
    assert_eq!(client.outcome(), "");
    assert!(client.http.give_up(&mut client.ctx, ExchangeId(2)));
    assert_eq!(client.outcome(), "#2 sent");
}
