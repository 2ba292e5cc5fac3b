//! Which connection an exchange gets, what is sent again, which redirects are followed.

use super::*;

// Connections.

#[test]
fn a_connection_is_used_again_while_the_server_certainly_still_reads_it() {
    use Repeat::{Harmless, Never, Unwanted};
    let keeps = |header: &str| format!("HTTP/1.1 200 OK\r\n{header}Content-Length: 2\r\n\r\nhi");
    for (header, idle_ms, repeat, expected) in [
        ("", 0, Never, "1> POST /ws/x"),
        ("", 1_500, Never, "1> POST /ws/x"),
        ("", 1_501, Never, "dial 2"),
        ("", 1_501, Unwanted, "dial 2"),
        ("", 54_999, Harmless, "1> POST /ws/x"),
        ("", 55_001, Harmless, "dial 2"),
        ("Keep-Alive: timeout=20\r\n", 19_500, Never, "1> POST /ws/x"),
        ("Keep-Alive: timeout=20\r\n", 19_501, Never, "dial 2"),
        ("Keep-Alive: timeout=1\r\n", 501, Never, "dial 2"),
        ("Connection: close\r\n", 0, Harmless, "dial 2"),
    ] {
        let mut client = Client::new();
        client.call();
        client.connected(1);
        client.received(1, &keeps(header));
        client.wait(idle_ms);
        let got = client.send(request(Priority::Call, repeat), None);
        assert_eq!(got, expected, "{header:?} {idle_ms} {repeat:?}");
    }
}

#[test]
fn calls_wait_at_the_ceiling_and_nothing_else_waits_for_them() {
    let mut client = Client::with(&[], |limits| {
        (limits.connections_max, limits.connections_reserve) = (2, 1);
    });
    assert_eq!(
        (client.call(), client.call()),
        ("dial 1".into(), "dial 2".into())
    );
    assert_eq!(client.connected(1), "1> POST /ws/x");
    assert_eq!(client.connected(2), "2> POST /ws/x");
    assert_eq!(client.call(), "");
    assert!(client.http.is_waiting(ExchangeId(3)));
    let control = request(Priority::Control, Repeat::Never);
    assert_eq!(client.send(control, None), "dial 3");
    let stream = request(Priority::Stream, Repeat::Harmless);
    assert_eq!(client.send(stream, None), "dial 4");
    // Whoever came first of those that do not wait is served first, never the call.
    assert_eq!(client.connected(4), "4> POST /ws/x");
    assert_eq!(client.received(4, OK), "4> POST /ws/x; #4 200 hi");
    assert_eq!(
        client.connected(3),
        "",
        "a connection is left, but the reserve is not the call's"
    );
    assert_eq!(client.received(1, OK), "1> POST /ws/x; #1 200 hi");
}

#[test]
fn idle_connections_go_when_they_are_old_or_too_many() {
    let mut client = Client::with(&[], |limits| limits.idle_max = 1);
    for conn in 1..=3 {
        client.call();
        client.connected(conn);
    }
    for conn in 1..=3 {
        client.received(conn, OK);
    }
    assert_eq!(client.wait(999), "");
    assert_eq!(client.wait(1), "close 1; close 2");
    assert_eq!(client.wait(53_999), "");
    assert_eq!(client.wait(1), "close 3");
    // Bytes that nobody asked for: the connection is out of step.
    let mut client = Client::used();
    assert_eq!(client.received(1, "HTTP/1.1 200 OK\r\n\r\n"), "close 1");
    // A second response behind the first is no reason to keep it, nor is one while the machine slept.
    client.call();
    client.connected(2);
    assert_eq!(
        client.received(2, &format!("{OK}HTTP")),
        "close 2; #2 200 hi"
    );
    let mut client = Client::used();
    client.http.drop_idle(&mut client.ctx);
    assert_eq!(client.call(), "close 1; dial 2");
}

#[test]
fn a_failed_dial_is_told_to_who_has_waited_longest_and_to_nobody_else() {
    let mut client = Client::new();
    client.http.dial_ahead(&mut client.ctx);
    assert_eq!(client.outcome(), "dial 1");
    // Made before anybody waited: it fails alone, as does one beside another that is still made.
    assert_eq!(client.closed(1, false), "");
    assert_eq!(
        (client.call(), client.call()),
        ("dial 2".into(), "dial 3".into())
    );
    assert_eq!(client.closed(3, false), "#1 failed Connect");
    assert_eq!(client.connected(2), "2> POST /ws/x");
    assert_eq!(client.received(2, OK), "#2 200 hi");
    // Slow answers: a spare connection is made meanwhile, never more than two.
    let mut client = Client::new();
    client.http.dial_ahead(&mut client.ctx);
    assert_eq!(client.outcome(), "dial 1");
    assert_eq!(client.wait(4), "");
    assert_eq!(client.wait(1), "dial 2");
    client.http.warm_later(&mut client.ctx);
    assert_eq!(client.wait(5), "");
}

#[test]
fn a_spare_connection_is_made_for_slow_answers_only_and_its_failure_is_nobodys() {
    // The answer came in time: no spare connection, though the next answer is slow.
    let mut client = Client::new();
    client.http.dial_ahead(&mut client.ctx);
    assert_eq!(client.call(), "dial 1");
    client.connected(1);
    assert_eq!(client.wait(4), "");
    assert_eq!(client.received(1, OK), "#1 200 hi");
    client.call();
    assert_eq!(client.wait(60), "");
    // It was made before the second call came, whose own is made when it fails.
    let mut client = Client::new();
    client.http.dial_ahead(&mut client.ctx);
    client.call();
    client.connected(1);
    assert_eq!(client.wait(5), "dial 2");
    assert_eq!(client.call(), "");
    assert_eq!(client.closed(2, false), "dial 3");
    assert_eq!(client.closed(3, false), "#2 failed Connect");
}

// Replays.

#[test]
fn what_a_stale_connection_swallowed_is_sent_again_where_that_does_no_harm() {
    use Repeat::{Harmless, Never, Unwanted};
    let again = "dial 2";
    let told = "dial 2; #2 repeated";
    for (repeat, handed, expected) in [
        (Harmless, false, again),
        (Unwanted, false, again),
        (Never, false, again),
        (Harmless, true, told),
        (Unwanted, true, told),
        (Never, true, "#2 failed Lost"),
    ] {
        let mut client = Client::used();
        let sent = client.send(request(Priority::Call, repeat), None);
        assert_eq!(sent, "1> POST /ws/x");
        assert_eq!(client.closed(1, handed), expected, "{repeat:?} {handed}");
        if expected != "#2 failed Lost" {
            // Once: the second loss is told.
            assert_eq!(client.connected(2), "2> POST /ws/x");
            assert_eq!(client.closed(2, handed), "#2 failed Lost");
        }
    }
}

#[test]
fn nothing_else_is_sent_again() {
    // A fresh connection that is lost says something about the server, but for one that was dead
    // before the first byte could leave: once.
    let mut client = Client::new();
    client.call();
    client.connected(1);
    assert_eq!(client.closed(1, false), "dial 2");
    client.connected(2);
    assert_eq!(client.closed(2, false), "#1 failed Lost");
    let mut client = Client::new();
    client.harmless();
    client.connected(1);
    assert_eq!(client.closed(1, true), "#1 failed Lost");
    // A byte of the response came.
    let mut client = Client::used();
    client.harmless();
    client.received(1, "H");
    assert_eq!(client.closed(1, true), "#2 failed Lost");
    // Nobody wants it any more.
    let mut client = Client::used();
    client.harmless();
    assert!(client.http.give_up(&mut client.ctx, ExchangeId(2)));
    assert_eq!(client.closed(1, false), "#2 failed Lost");
    // The process ends.
    let mut client = Client::used();
    client.harmless();
    client.ctx.enter(crate::bridge::shutdown::Phase::Farewell);
    assert_eq!(client.closed(1, false), "#2 failed Lost");
    // Once, though its next connection had served another before, too.
    let mut client = Client::used();
    assert_eq!(client.harmless(), "1> POST /ws/x");
    assert_eq!(client.call(), "dial 2");
    client.connected(2);
    assert_eq!(client.closed(1, true), "dial 3; #2 repeated");
    assert_eq!(client.received(2, OK), "2> POST /ws/x; #3 200 hi");
    assert_eq!(client.closed(2, true), "#2 failed Lost");
    // Its idle siblings are as stale: they go, and it gets a fresh connection.
    let mut client = Client::new();
    for conn in 1..=2 {
        client.call();
        client.connected(conn);
    }
    client.received(1, OK);
    client.received(2, OK);
    assert_eq!(client.harmless(), "2> POST /ws/x");
    assert_eq!(client.closed(2, true), "close 1; dial 3; #3 repeated");
}

// Redirects.

#[test]
fn redirects_within_the_origin_are_followed_and_no_others() {
    let moved = "1> POST /new?a=1";
    for (status, location, expected) in [
        (307, "/new?a=1", moved),
        (308, "http://127.0.0.1/new?a=1", moved),
        (308, "http://127.0.0.1:81/new", "#1 308 "),
        (308, "http://127.0.0.2/new", "#1 308 "),
        (308, "https://127.0.0.1/new", "#1 308 "),
        (308, "file:///etc/passwd", "#1 308 "),
        (301, "/new", "#1 301 "),
        (303, "/new", "#1 303 "),
    ] {
        let mut client = Client::new();
        client.call();
        client.connected(1);
        let got = client.received(1, &redirect(status, location));
        assert_eq!(got, expected, "{status} {location}");
        if got == moved {
            assert!(
                client.sent.ends_with("\r\n\r\n{}"),
                "method and body are kept"
            );
            assert_eq!(client.received(1, OK), "#1 200 hi");
        }
    }
    // Never back from https to http, though the host is the same.
    let https = [("AEROSTACK_WORKSPACE_URL", "https://w.test/ws/x")];
    let mut client = Client::with(&https, |_| {});
    client.call();
    client.connected(1);
    assert_eq!(
        client.received(1, &redirect(307, "http://w.test/ws/x")),
        "#1 307 "
    );
}

#[test]
fn whoever_comes_while_it_is_dialled_ahead_hears_of_the_last_failure() {
    let mut client = Client::new();
    client.http.dial_ahead(&mut client.ctx);
    assert_eq!(client.outcome(), "dial 1");
    assert_eq!(client.wait(5), "dial 2");
    assert_eq!(client.call(), "");
    // The spare may still serve the call; then nothing does.
    assert_eq!(client.closed(1, false), "");
    assert_eq!(client.closed(2, false), "#1 failed Connect");
}

#[test]
fn only_the_own_origin_tells_whether_it_can_be_reached() {
    const OTHER: &str = "http://other.test/y";
    let mut client = Client::new();
    client.send(to(OTHER), None);
    assert_eq!(client.closed(1, false), "#1 failed Connect");
    client.call();
    assert_eq!(client.connected(2), "2> POST /ws/x");
    assert!(!client.http.take_back(), "it was never away");
    client.call();
    assert_eq!(client.closed(3, false), "#3 failed Connect");
    client.send(to(OTHER), None);
    assert_eq!(client.connected(4), "4> POST /y");
    assert!(!client.http.take_back(), "another origin is no way back");
    client.call();
    assert_eq!(client.connected(5), "5> POST /ws/x");
    let twice = (client.http.take_back(), client.http.take_back());
    assert_eq!(twice, (true, false));
}

#[test]
fn a_redirect_costs_no_deadline_and_leads_nowhere_for_ever() {
    let mut client = Client::new();
    client.send(request(Priority::Control, Repeat::Never), Some(10));
    client.connected(1);
    client.wait(1_000);
    for at in 1..=3 {
        let again = format!("1> POST /{at}");
        assert_eq!(client.received(1, &redirect(307, &format!("/{at}"))), again);
        client.wait(1_000);
    }
    assert_eq!(client.received(1, &redirect(307, "/4")), "#1 307 ");
    client.send(request(Priority::Control, Repeat::Never), Some(10));
    client.received(1, &redirect(307, "/1"));
    assert_eq!(client.wait(9_999), "");
    assert_eq!(client.wait(1), "close 1; #2 failed TimedOut(10)");
    // One that was given up, or lingers, is not redirected.
    let mut client = Client::used();
    client.harmless();
    client.http.linger(&mut client.ctx, ExchangeId(2));
    assert_eq!(client.received(1, &redirect(307, "/1")), "#2 307 ");
}
