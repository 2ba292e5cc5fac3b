//! The token is in no report, wherever the network echoes it and however it spells it.

use crate::common::{RawServer, Request, TOKEN, json_reply, reply};
use crate::lower::setup;
use crate::report::ended;

const JSON: &str = "Content-Type: application/json\r\n";

/// How servers spell what they were sent.
fn spellings() -> [String; 4] {
    let percent = TOKEN.bytes().map(|byte| format!("%{byte:02X}")).collect();
    // The message of an error is quoted up to its 300th byte: in the middle of the token.
    let cut = format!("{}{TOKEN}", "x".repeat(288));
    [TOKEN.to_owned(), percent, cut, TOKEN.to_uppercase()]
}

/// Every answer of the server may hold the token; the report has what is left of it, masked.
fn hides(answer: impl Fn(&Request, &str) -> Vec<u8> + Clone + Send + Sync + 'static) {
    for spelt in spellings() {
        let (answer, echoed) = (answer.clone(), spelt.clone());
        let server = RawServer::http(move |request| answer(request, &echoed));
        let forms: [&[&str]; 2] = [&["--check"], &["--check", "--json"]];
        for form in forms {
            let (_, report) = ended(setup(&server.url()).args(form).spawn());
            let lower = report.to_lowercase();
            assert!(!lower.contains(&TOKEN[..8]), "{spelt}: {report}");
            let percent = &spellings()[1].to_lowercase()[..24];
            assert!(!lower.contains(percent), "{spelt}: {report}");
            let quoted = report.contains("***") || report.contains("xxxx");
            assert!(quoted, "nothing was quoted at all: {report}");
            if form.len() == 2 {
                serde_json::from_str::<serde_json::Value>(&report).expect("still JSON");
            }
        }
    }
}

fn error(request: &Request, words: &str) -> Vec<u8> {
    let id = request.id();
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"{words}"}}}}"#);
    reply("200 OK", JSON, &body)
}

#[test]
fn refusals_that_quote_the_token() {
    hides(|_, token| {
        let body = format!(r#"{{"error":{{"message":"{token} is not valid"}}}}"#);
        reply("401 Unauthorized", JSON, &body)
    });
    hides(|_, token| {
        reply(
            "500 Internal Server Error",
            "",
            &format!("{token} broke it"),
        )
    });
    hides(|_, token| {
        let page = format!("<html><title>{token}</title>");
        reply("404 Not Found", "Content-Type: text/html\r\n", &page)
    });
    hides(|_, token| {
        let location = format!("Location: https://login.example.com/?token={token}\r\n");
        reply("302 Found", &location, "")
    });
}

#[test]
fn answers_that_quote_the_token() {
    hides(|_, token| {
        reply(
            "200 OK",
            "Content-Type: text/html\r\n",
            &format!("<title>{token}</title>"),
        )
    });
    hides(error);
    hides(|request, token| match request.is("tools/list") {
        true => error(request, token),
        false => json_reply(request, "{}"),
    });
}

/// Names that are shown although nothing went wrong.
#[test]
fn names_that_hold_the_token() {
    hides(|request, token| {
        if !request.is("initialize") {
            return json_reply(request, r#"{"tools":[]}"#);
        }
        let id = request.id();
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"experimental":{{"aerostack":{{}}}}}},"serverInfo":{{"name":"{token}","version":"1"}},"_meta":{{"dev.aerostack/workspace":{{"name":"{token}","dashboard_url":"https://w.example/{token}"}},"dev.aerostack/token":{{"name":"{token}","role":"{token}"}}}}}}}}"#
        );
        reply("200 OK", JSON, &body)
    });
}
