//! Something answers, but says no, or is no workspace.

use crate::Case;
use crate::common::{RawServer, Request, reply};
use crate::lower::setup;
use crate::report::Report;

/// Every request is answered so; the step fails with these words, and no later one is tried.
fn answers(answer: fn(&Request) -> Vec<u8>, step: &'static str, says: &str) {
    let server = RawServer::http(answer);
    let url = server.url();
    Report::of(&url)
        .reachable()
        .failed(step, says)
        .compare(|| setup(&url));
}

const JSON: &str = "Content-Type: application/json\r\n";
const HTML: &str = "Content-Type: text/html\r\n";

/// A JSON-RPC error, with this HTTP status.
fn error(request: &Request, status: &str, code: i64, message: &str) -> Vec<u8> {
    let id = request.id();
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#);
    reply(status, JSON, &body)
}

/// Without a token.
fn tokenless(answer: fn(&Request) -> Vec<u8>, step: &'static str, says: &str) {
    let server = RawServer::http(answer);
    let url = server.url();
    Report::of(&url)
        .reachable()
        .failed(step, says)
        .compare(|| setup(&url).env("AEROSTACK_TOKEN", "none"));
}

pub(crate) const STATUSES: &[Case] = &[
    Case {
        says: "Token invalid: {origin} refused AEROSTACK_TOKEN (HTTP 401) (it says: it has been revoked). Create a new token in the dashboard and update the setting",
        run: |says| {
            answers(
                |_| {
                    reply(
                        "401 Unauthorized",
                        JSON,
                        r#"{"error":"it has been revoked"}"#,
                    )
                },
                "token",
                says,
            );
        },
    },
    // The same as a JSON-RPC error.
    Case {
        says: "Token invalid: {origin} refused AEROSTACK_TOKEN (HTTP 401) (it says: no such token). Create a new token in the dashboard and update the setting",
        run: |says| {
            answers(
                |request| error(request, "401 Unauthorized", -32001, "no such token"),
                "token",
                says,
            );
        },
    },
    Case {
        says: "{origin} wants a token (HTTP 401), and AEROSTACK_TOKEN=none sends none. Set AEROSTACK_TOKEN",
        run: |says| tokenless(|_| reply("401 Unauthorized", "", ""), "token", says),
    },
    Case {
        says: "Token refused: this token is not allowed to do this (HTTP 403) (it says: another workspace's). Check the token's role in the dashboard",
        run: |says| {
            answers(
                |_| {
                    reply(
                        "403 Forbidden",
                        JSON,
                        r#"{"error":{"message":"another workspace's"}}"#,
                    )
                },
                "token",
                says,
            );
        },
    },
    Case {
        says: "Workspace not connected: {origin} does not allow this without a token (HTTP 403). Set AEROSTACK_TOKEN",
        run: |says| tokenless(|_| reply("403 Forbidden", "", ""), "workspace", says),
    },
    // A front end's page: it speaks of no token.
    Case {
        says: "Workspace not connected: {origin} answered HTTP 403 with an HTML page (it says: Just a moment...). Check AEROSTACK_WORKSPACE_URL",
        run: |says| {
            answers(
                |_| {
                    reply(
                        "403 Forbidden",
                        HTML,
                        "<html><title>Just a\n moment...</title>",
                    )
                },
                "workspace",
                says,
            );
        },
    },
    Case {
        says: "Workspace not connected: there is no workspace at this URL (HTTP 404). Check AEROSTACK_WORKSPACE_URL; the path is usually /ws/<your-workspace>",
        run: |says| {
            answers(
                |_| reply("404 Not Found", HTML, "<html>not found</html>"),
                "workspace",
                says,
            );
        },
    },
    // The same as a JSON-RPC error, which the gateway hands on as it is.
    Case {
        says: "Workspace not connected: there is no workspace at this URL (HTTP 404) (it says: No such workspace.). Check AEROSTACK_WORKSPACE_URL; the path is usually /ws/<your-workspace>",
        run: |says| {
            answers(
                |request| error(request, "404 Not Found", -32004, "No such workspace."),
                "workspace",
                says,
            );
        },
    },
    Case {
        says: "Workspace not connected: {origin} takes no MCP requests at this URL (HTTP 405). Check AEROSTACK_WORKSPACE_URL: servers that only speak the old HTTP+SSE transport are not supported; many have a second URL, often /mcp",
        run: |says| {
            answers(
                |_| reply("405 Method Not Allowed", "", ""),
                "workspace",
                says,
            )
        },
    },
    Case {
        says: "Workspace not connected: the rate limit of this token is used up (HTTP 429). Try again in 42 s",
        run: |says| {
            answers(
                |_| reply("429 Too Many Requests", "Retry-After: 42\r\n", "{}"),
                "workspace",
                says,
            );
        },
    },
    Case {
        says: "Workspace not connected: {origin} failed with HTTP 500 (it says: oops). Try again in a moment",
        run: |says| {
            answers(
                |_| {
                    reply(
                        "500 Internal Server Error",
                        "Content-Type: text/plain\r\n",
                        "oops",
                    )
                },
                "workspace",
                says,
            );
        },
    },
    Case {
        says: "Workspace not connected: {origin} failed with HTTP 503 (it says: restarting). Try again in a moment",
        run: |says| {
            answers(
                |request| error(request, "503 Service Unavailable", -32000, "restarting"),
                "workspace",
                says,
            );
        },
    },
    Case {
        says: "Workspace not connected: {origin} redirects to https://login.example.com/ (HTTP 302), which is not followed. If you trust it, set AEROSTACK_WORKSPACE_URL to it",
        run: |says| {
            answers(
                |_| reply("302 Found", "Location: https://login.example.com/\r\n", ""),
                "workspace",
                says,
            );
        },
    },
];

pub(crate) const ANSWERS: &[Case] = &[
    Case {
        says: "Workspace not connected: {origin} answered HTTP 200, but not with MCP: an HTML page (Log in). Check AEROSTACK_WORKSPACE_URL; a captive portal or proxy may have answered instead",
        run: |says| {
            answers(
                |_| reply("200 OK", HTML, "<!doctype html><title>Log in</title>"),
                "workspace",
                says,
            );
        },
    },
    Case {
        says: "Workspace not connected: {origin} ended its reply (HTTP 202) without an answer",
        run: |says| answers(|_| reply("202 Accepted", "", ""), "workspace", says),
    },
    Case {
        says: "Workspace not connected: the server answered: initialize is not for you. Is this URL an MCP endpoint?",
        run: |says| {
            answers(
                |request| error(request, "200 OK", -32600, "initialize is not for you."),
                "workspace",
                says,
            );
        },
    },
    // What else it says to the modern era's question is not the point.
    Case {
        says: "Workspace not connected: the server answered with error -32601. Is this URL an MCP endpoint?",
        run: |says| {
            let answer = |request: &Request| match request.is("initialize") {
                true => error(request, "200 OK", -32601, ""),
                false => {
                    let id = request.id();
                    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
                    reply("200 OK", JSON, &body)
                }
            };
            answers(answer, "workspace", says);
        },
    },
    Case {
        says: "Workspace not connected: it wants a person's approval for initialize, which none can give. Take initialize out of its approval rules",
        run: |says| {
            let answer = |request: &Request| {
                let id = request.id();
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32050,"message":"needs approval","data":{{"approval_id":"apr_1"}}}}}}"#
                );
                reply("200 OK", JSON, &body)
            };
            answers(answer, "workspace", says);
        },
    },
];
