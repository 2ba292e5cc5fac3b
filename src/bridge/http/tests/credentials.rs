//! Which request carries token, cookies and headers.

use super::*;

#[test]
fn token_cookies_and_headers_go_where_they_belong() {
    let mut client = Client::with(&[("AEROSTACK_HEADER_1", "X-Team: a")], |_| {});
    let sets = "HTTP/1.1 200 OK\r\nSet-Cookie: s=1; Path=/\r\nContent-Length: 2\r\n\r\nhi";
    let carries = |client: &Client, words: [&str; 4]| words.map(|word| client.sent.contains(word));
    let words = [
        "Cookie: s=1",
        "Bearer mwt_T0P-S3CRET",
        "X-Team: a",
        "Bearer mwt_new",
    ];
    client.call();
    client.connected(1);
    assert_eq!(carries(&client, words), [false, true, true, false]);
    client.received(1, sets);
    client.call();
    assert_eq!(carries(&client, words), [true, true, true, false]);
    assert_eq!(
        client.ctx.masked("s=1").len(),
        3,
        "too short a secret to hide"
    );
    // The token alone goes to an origin that the caller trusts; its cookies are not taken.
    assert_eq!(
        client.send(to("http://other.test/y"), None),
        "dial 2 to http://other.test"
    );
    assert_eq!(client.connected(2), "2> POST /y");
    assert_eq!(carries(&client, words), [false, true, false, false]);
    let other = sets.replace("s=1", "t=2");
    assert_eq!(client.received(2, &other), "close 2; #3 200 hi");
    // A new token: cookies were set for somebody else, and an answer to the old one can be told.
    let token = Token::parse("mwt_new").expect("a token");
    client.http.renew_token(token);
    assert_eq!(client.received(1, OK), "#2 200 hi (old token)");
    client.call();
    assert_eq!(carries(&client, words), [false, false, true, true]);
    assert!(!client.sent.contains("t=2"));
    assert_eq!(client.received(1, OK), "#4 200 hi");
}

/// A balancer that sets another cookie with every response (AWSALB does) washes no token out of what
/// may not be shown.
#[test]
fn no_number_of_cookies_makes_a_new_token_shown() {
    let mut client = Client::with(&[], |_| {});
    client.ctx.keep_secret("mwt_renewed-in-its-file");
    client.call();
    client.connected(1);
    for n in 0..200 {
        let sets = format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: AWSALB=cookie-number-{n}\r\nContent-Length: 2\r\n\r\nhi"
        );
        client.received(1, &sets);
        client.call();
    }
    assert_eq!(client.ctx.masked("cookie-number-199"), "***");
    assert_eq!(client.ctx.masked("mwt_renewed-in-its-file"), "***");
}
