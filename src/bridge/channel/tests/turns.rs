//! Who gets a socket and whose turn it is: places, polls, sleep, status URLs.

use super::*;

#[test]
fn polls_come_every_half_minute_beside_a_living_socket() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), None);
    for _ in 0..12 {
        desk.pass(10);
        desk.receive("/w/1", &from_server(PONG, b""));
    }
    assert_eq!(desk.times("poll 1"), [30_000, 60_000, 90_000, 120_000]);
    // Asked for ahead of time, the next comes half a minute later.
    desk.seen.clear();
    desk.channels.poll_now(&mut desk.ctx, approval(1));
    desk.channels.poll_now(&mut desk.ctx, approval(1));
    desk.settle();
    desk.pass(10);
    desk.receive("/w/1", &from_server(PONG, b""));
    desk.pass(20);
    assert_eq!(desk.times("poll 1"), [120_000, 150_000]);
}

#[test]
fn turns_stay_under_thirty_a_minute_and_the_urgent_go_first() {
    let mut desk = Desk::new(Server::Opens);
    // Six with a socket: each is polled after half a minute, and there are five turns at once.
    (1..=6).for_each(|n| desk.open(approval(n), None));
    desk.server = Server::Refuses(503);
    desk.pass(29);
    for n in 1..=6 {
        desk.receive(&format!("/w/{n}"), &from_server(PONG, b""));
    }
    desk.channels.want(Job::Heartbeat);
    desk.seen.clear();
    desk.settle();
    assert_eq!(desk.looked(), ["heartbeat"]);
    // All five are taken, then the calm wait while the urgent pass.
    desk.pass(1);
    let polls = desk.looked();
    assert_eq!(
        polls.iter().filter(|seen| seen.starts_with("poll")).count(),
        4,
        "{polls:?}"
    );
    desk.lose("/w/1");
    desk.pass(3);
    assert_eq!(
        desk.looked()
            .iter()
            .find(|seen| seen.starts_with("poll"))
            .map(String::as_str),
        Some("poll 1")
    );
    // Forty without a socket, and whoever else: never thirty in a minute.
    (10..50).for_each(|n| desk.open(approval(n), None));
    desk.open(Subject::Chat, None);
    desk.seen.clear();
    desk.pass(1_200);
    let polls: Vec<u64> = desk
        .seen
        .iter()
        .filter(|(_, seen)| seen.starts_with("poll"))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(polls.len(), 400, "one each three seconds");
    for (at, from) in polls.iter().enumerate() {
        let minute = polls[at..].iter().take_while(|time| **time < from + 60_000);
        assert!(minute.count() < 30, "from {from}");
    }
    // Everybody had one.
    for n in 10..50 {
        assert!(!desk.times(&format!("poll {n}")).is_empty(), "{n}");
    }
}

#[test]
fn a_socket_that_is_free_goes_to_the_one_that_waited_longest() {
    let mut desk = Desk::new(Server::Opens);
    (1..=67).for_each(|n| desk.open(approval(n), None));
    let opened = |desk: &mut Desk| {
        let seen = desk.looked().into_iter();
        seen.filter(|seen| seen.starts_with("GET"))
            .collect::<Vec<_>>()
    };
    assert_eq!(opened(&mut desk).len(), 64);
    assert_eq!(desk.channels.socket(approval(65)), Socket::Refused(None));
    // The chat's is not counted.
    desk.open(Subject::Chat, None);
    assert_eq!(opened(&mut desk), ["GET /w/chat"]);
    desk.close(approval(3));
    assert_eq!(opened(&mut desk), ["GET /w/65"]);
    // Who is gone waits no more.
    desk.close(approval(66));
    assert_eq!(opened(&mut desk), [""; 0]);
    // A lost one's place is taken meanwhile: it waits behind.
    desk.lose("/w/9");
    assert_eq!(opened(&mut desk), ["GET /w/67"]);
    desk.pass(10);
    assert_eq!(opened(&mut desk), [""; 0]);
    desk.close(Subject::Chat);
    assert_eq!(opened(&mut desk), [""; 0]);
    desk.close(approval(10));
    assert_eq!(opened(&mut desk), ["GET /w/9"]);
}

#[test]
fn after_sleep_everything_is_opened_anew_and_asked_for_at_once() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), None);
    desk.server = Server::Refuses(503);
    desk.open(approval(2), None);
    desk.pass(20);
    desk.server = Server::Silent;
    desk.open(approval(3), None);
    desk.seen.clear();
    desk.server = Server::Opens;
    desk.channels.wake(&mut desk.ctx, &mut desk.http);
    desk.settle();
    let seen = desk.looked();
    for n in 1..=3 {
        let (get, poll) = (format!("GET /w/{n}"), format!("poll {n}"));
        let count = |what: &String| seen.iter().filter(|seen| *seen == what).count();
        assert_eq!((count(&get), count(&poll)), (1, 1), "{n}: {seen:?}");
        assert_eq!(desk.channels.socket(approval(n)), Socket::Open);
    }
    assert!(
        seen.contains(&"/w/1 is told goodbye".to_owned()),
        "{seen:?}"
    );
    assert!(seen.contains(&"/w/3 is hung up".to_owned()), "{seen:?}");
    // The pauses of before are forgotten, and no second socket is opened when they end.
    desk.pass(15);
    assert_eq!(desk.times("GET /w/2"), [0; 0]);
    desk.lose("/w/2");
    desk.seen.clear();
    let lost = (desk.ctx.now() - desk.began).as_millis() as u64;
    desk.pass(2);
    around(desk.times("GET /w/2")[0] - lost, 1);
}

#[test]
fn at_the_end_the_chat_is_not_opened_again() {
    let mut desk = Desk::new(Server::Opens);
    desk.open(Subject::Chat, None);
    desk.ctx.enter(crate::bridge::shutdown::Phase::Farewell);
    desk.seen.clear();
    desk.lose("/w/chat");
    desk.open(approval(1), None);
    desk.pass(3);
    assert_eq!(desk.looked(), ["poll chat", "GET /w/1"]);
}

#[test]
fn a_status_url_is_read_instead_of_asking() {
    let table: [(Option<(u16, &'static str)>, &str); 4] = [
        (
            Some((200, "{\"s\":1}")),
            "1 is read: Some(\"{\\\"s\\\":1}\")",
        ),
        (Some((404, "{\"s\":1}")), "1 is read: None"),
        (Some((302, "")), "1 is read: None"),
        (None, "1 is read: None"),
    ];
    for (status, expected) in table {
        let mut desk = Desk::new(Server::Refuses(503));
        desk.status = status;
        desk.open(approval(1), Some("s/1"));
        // An answer that does not come is given up after half a minute.
        desk.pass(if status.is_none() { 30 } else { 0 });
        let seen = desk.looked();
        assert!(seen.contains(&"GET /ws/x/s/1".to_owned()), "{seen:?}");
        assert!(seen.contains(&expected.to_owned()), "{status:?}: {seen:?}");
        assert!(!seen.iter().any(|seen| seen == "poll 1"), "{seen:?}");
        // The next comes by itself.
        desk.pass(60);
        let again = desk.times("GET /ws/x/s/1");
        assert!(!again.is_empty(), "{status:?}");
    }
    // Whose approval is gone by then is told nothing more of.
    let mut desk = Desk::new(Server::Opens);
    desk.open(approval(1), Some("s/1"));
    desk.pass(30);
    desk.close(approval(1));
    assert!(desk.channels.is_busy());
    desk.pass(31);
    assert!(!desk.channels.is_busy());
}
