//! Back-pressure: what is read while much waits already.

use super::*;

/// Two large replies, each a MiB of four, on 1 and 2; a small one has begun on 3.
fn large_replies(held: usize) -> Client {
    let mut client = Client::new();
    for conn in 1..=3 {
        client.call();
        client.connected(conn);
    }
    client.held = (held, 0);
    client
}

fn part(client: &mut Client, conn: u64, first: bool) -> String {
    let head = ["", "HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n"][usize::from(first)];
    client.received(conn, &format!("{head}{}", "x".repeat(MIB)))
}

#[test]
fn while_the_budget_is_used_up_small_replies_go_on_and_large_ones_one_by_one() {
    let mut client = large_replies(32 * MIB);
    assert_eq!(part(&mut client, 1, true), "", "its turn");
    assert_eq!(part(&mut client, 2, true), "pause 2");
    assert_eq!(client.received(3, OK), "#3 200 hi");
    assert_eq!(part(&mut client, 1, false), "");
    assert_eq!(client.wait(2_000), "", "it moves");
    // It has stopped: the other's turn, until that one stops.
    assert_eq!(client.wait(2_000), "resume 2");
    assert_eq!(part(&mut client, 1, false), "pause 1");
    assert_eq!(client.wait(4_000), "resume 1");
    let end = "x".repeat(MIB);
    assert!(client.received(1, &end).starts_with("#1 200 x"));
    // There is room again.
    client.held = (0, 0);
    assert_eq!(client.outcome(), "");
    client.received(2, &"x".repeat(2 * MIB));
    assert!(client.received(2, &end).starts_with("#2 200 x"));
    assert_eq!(client.http.waiting_bytes() + client.http.reply_bytes(), 0);
}

#[test]
fn where_there_is_no_room_for_any_the_largest_fails_and_the_rest_goes_on() {
    let mut client = large_replies(32 * MIB);
    part(&mut client, 1, true);
    part(&mut client, 1, false);
    part(&mut client, 2, true);
    client.held.0 = (32 + 64) * MIB;
    client.outcome();
    assert_eq!(client.wait(2_000), "", "it moved before");
    assert_eq!(client.wait(2_000), "close 1; #1 failed NoMemory(2097152)");
    assert_eq!(client.received(3, OK), "#3 200 hi");
    client.held.0 = 0;
    assert_eq!(client.outcome(), "resume 2");
}

#[test]
fn while_stdout_takes_nothing_the_network_is_not_read() {
    let mut client = large_replies(0);
    client.held = (0, MIB);
    assert_eq!(client.received(3, OK), "pause 3; #3 200 hi");
    assert_eq!(client.received(1, &OK[..20]), "pause 1");
    assert_eq!(client.wait(10_000), "");
    client.held = (0, MIB - 1);
    assert_eq!(client.outcome(), "resume 1; resume 3");
    // A reply that is too large for any budget fails at its head.
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        (64 * MIB) + 1
    );
    assert_eq!(
        client.received(2, &head),
        "close 2; #2 failed TooLarge(67108864)"
    );
}
