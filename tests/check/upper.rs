//! The workspace answers: what it is, what it offers, and which of its parts do not work.

use crate::Case;
use crate::common::{Gateway, RawServer, Request, TOKEN, Workspace, reply, request};
use crate::lower::setup;
use crate::report::Report;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const JSON: &str = "Content-Type: application/json\r\n";
const BUILTINS_WORK: &str =
    "Built-in tools (aerostack__local_guardian and aerostack__agent_chat work)";
const NO_HEARTBEAT: &str = "Dashboard registration: this server does not know aerostack/heartbeat, so the bridge is not shown there";
const REGISTERED: &str = "Dashboard registration (bridge visible in admin)";

/// An answer: a result, or an error with code and message.
type Answer = Result<Value, (i64, &'static str)>;

fn answered(request: &Request, headers: &str, answer: Answer) -> Vec<u8> {
    let id: Value = serde_json::from_str(&request.id()).expect("JSON");
    let body = match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    };
    reply("200 OK", &format!("{JSON}{headers}"), &body.to_string())
}

/// A workspace that says this of itself, knows two tools, and answers some methods otherwise.
struct Peer {
    offer: Value,
    headers: String,
    other: fn(&Request) -> Option<Vec<u8>>,
}

impl Peer {
    fn new(offer: Value, other: fn(&Request) -> Option<Vec<u8>>) -> Self {
        Self {
            offer,
            headers: String::new(),
            other,
        }
    }

    fn start(self) -> RawServer {
        RawServer::http(move |request| {
            if let Some(answer) = (self.other)(request) {
                return answer;
            }
            if !request.head.starts_with("POST") {
                return reply("405 Method Not Allowed", "", "");
            }
            if request.id() == "null" {
                return reply("202 Accepted", "", "");
            }
            let capabilities = match &self.offer {
                Value::Null => json!({ "tools": {} }),
                offer => json!({ "tools": {}, "experimental": { "aerostack": offer } }),
            };
            let answer = if request.is("initialize") {
                Ok(json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": capabilities,
                    "serverInfo": { "name": "peer", "version": "1" },
                }))
            } else if request.is("tools/list") {
                Ok(json!({ "tools": [{ "name": "a" }, { "name": "b" }] }))
            } else if request.is("aerostack/heartbeat") {
                Ok(json!({}))
            } else {
                Err((-32601, "no such method"))
            };
            answered(request, &self.headers, answer)
        })
    }
}

/// A report up to the step "workspace", of a peer that offers something.
fn connected(url: &str) -> Report {
    Report::of(url)
        .reachable()
        .step(
            "skipped",
            "token",
            "Token: this server does not say whose it is",
        )
        .ok("workspace", "Workspace connected (\"peer\")")
        .workspace(None, "https://app.aerostack.dev")
}

fn two_tools(report: Report) -> Report {
    report.ok("tools", "Tools available (2 tools)").tools(2)
}

/// All of it, from this peer: with the built-in tools that it offers, and a heartbeat.
fn builtins(offer: Value, says: &str) {
    let server = Peer::new(offer, |_| None).start();
    let url = server.url();
    two_tools(connected(&url))
        .step("warning", "builtins", says)
        .ok("dashboard", REGISTERED)
        .compare(|| setup(&url));
}

/// Everything passes up to the heartbeat, which ends so.
fn heartbeat(other: fn(&Request) -> Option<Vec<u8>>, status: &'static str, says: &str) {
    let server = Peer::new(json!({ "guardian": {}, "heartbeat": {} }), other).start();
    let url = server.url();
    two_tools(connected(&url))
        .step("warning", "builtins", NO_CHAT)
        .step(status, "dashboard", says)
        .compare(|| setup(&url));
}

/// The list of tools fails so. `goes_on`: the other steps are tried all the same.
fn tools(other: fn(&Request) -> Option<Vec<u8>>, goes_on: bool, says: &str) {
    let server = Peer::new(json!({ "heartbeat": {} }), other).start();
    let url = server.url();
    let report = connected(&url).failed("tools", says);
    let report = match goes_on {
        true => report.ok("dashboard", REGISTERED),
        false => report,
    };
    report.compare(|| setup(&url));
}

/// How many tools the reference workspace has.
fn demo_tools() -> u64 {
    let workspace = Workspace::http();
    let mut gateway = Gateway::connected(&workspace);
    let listed = gateway.ask(&request("1", "tools/list")).at("/result/tools");
    gateway.finish().code(0);
    listed.as_array().expect("a list").len() as u64
}

/// The reference workspace with all it has, up to the heartbeat.
fn whole(workspace: &Workspace) -> Report {
    let count = demo_tools();
    Report::of(&workspace.url)
        .reachable()
        .ok("token", "Token valid (local, role: owner)")
        .token(Some("local"), Some("owner"))
        .ok("workspace", "Workspace connected (\"Tests\")")
        .workspace(Some("Tests"), &workspace.state.dashboard_url())
        .ok("tools", &format!("Tools available ({count} tools)"))
        .tools(count)
        .silent("ok", "builtins", BUILTINS_WORK)
        .ok("dashboard", REGISTERED)
}

/// The WebSocket is refused in this way; all else works.
fn socket(upgrades: &str, says: &str) {
    let workspace = Workspace::whole(Workspace::http());
    workspace.set(json!({ "upgrades": upgrades }));
    whole(&workspace)
        .failed("websocket", says)
        .compare(|| setup(&workspace.url));
}

const NO_CHAT: &str = "Built-in tools: aerostack__local_guardian works; aerostack__agent_chat does not: this workspace does not know aerostack/chat";

pub(crate) const STEPS: &[Case] = &[
    Case {
        says: "Tools available (0 workspace tools: add servers in the dashboard)",
        run: |says| {
            let workspace = Workspace::whole(Workspace::http());
            workspace.set(json!({ "no_tools": true }));
            Report::of(&workspace.url)
                .reachable()
                .ok("token", "Token valid (local, role: owner)")
                .token(Some("local"), Some("owner"))
                .ok("workspace", "Workspace connected (\"Tests\")")
                .workspace(Some("Tests"), &workspace.state.dashboard_url())
                .ok("tools", says)
                .tools(0)
                .ok("builtins", BUILTINS_WORK)
                .ok("dashboard", REGISTERED)
                .silent("ok", "websocket", "WebSocket opened")
                .compare(|| setup(&workspace.url));
        },
    },
    Case {
        says: NO_CHAT,
        run: |says| builtins(json!({ "guardian": {}, "heartbeat": {} }), says),
    },
    Case {
        says: "Built-in tools: neither aerostack__local_guardian nor aerostack__agent_chat works: this workspace knows neither aerostack/guardian nor aerostack/chat. AEROSTACK_BUILTIN_TOOLS=off hides them",
        run: |says| builtins(json!({ "approvals": {}, "heartbeat": {} }), says),
    },
    // Its WebSocket is none of this peer's: the last step fails, too.
    Case {
        says: "Built-in tools: aerostack__agent_chat works; aerostack__local_guardian does not: this workspace does not know aerostack/guardian, so it answers \"do not proceed\"",
        run: |says| {
            let server = Peer::new(json!({ "chat": { "ws_url": "/chat" } }), |_| None).start();
            let url = server.url();
            two_tools(connected(&url))
                .step("warning", "builtins", says)
                .step("skipped", "dashboard", NO_HEARTBEAT)
                .failed("websocket", "WebSocket refused: {origin} answered the upgrade with HTTP 405. Decisions and messages are only noticed by the 30 s poll: let your proxy or firewall pass WebSockets")
                .compare(|| setup(&url));
        },
    },
    // It says that it takes heartbeats, and does not.
    Case {
        says: NO_HEARTBEAT,
        run: |says| {
            let other = |request: &Request| {
                let beats = request.is("aerostack/heartbeat");
                beats.then(|| answered(request, "", Err((-32601, "what?"))))
            };
            heartbeat(other, "skipped", says);
        },
    },
    Case {
        says: "Dashboard registration failed: the server answered: out of order",
        run: |says| {
            let other = |request: &Request| {
                let beats = request.is("aerostack/heartbeat");
                beats.then(|| answered(request, "", Err((-32000, "out of order"))))
            };
            heartbeat(other, "failed", says);
        },
    },
    Case {
        says: "Tools not available: the server answered: out of order",
        run: |says| {
            let other = |request: &Request| {
                let lists = request.is("tools/list");
                lists.then(|| answered(request, "", Err((-32000, "out of order"))))
            };
            tools(other, true, says);
        },
    },
    Case {
        says: "Tools not available: the answer to tools/list holds no list of tools",
        run: |says| {
            let other = |request: &Request| {
                let lists = request.is("tools/list");
                lists.then(|| answered(request, "", Ok(json!({}))))
            };
            tools(other, true, says);
        },
    },
    // The exchange itself fails: the next one would, too.
    Case {
        says: "Tools not available: {origin} failed with HTTP 502. Try again in a moment",
        run: |says| {
            let other = |request: &Request| {
                let lists = request.is("tools/list");
                lists.then(|| reply("502 Bad Gateway", "", ""))
            };
            tools(other, false, says);
        },
    },
    Case {
        says: "WebSocket refused: {origin} answered the upgrade with HTTP 403. Decisions and messages are only noticed by the 30 s poll: let your proxy or firewall pass WebSockets",
        run: |says| socket("forbidden", says),
    },
    Case {
        says: "WebSocket refused: {origin} answered the upgrade with HTTP 200. Decisions and messages are only noticed by the 30 s poll: let your proxy or firewall pass WebSockets",
        run: |says| socket("plain", says),
    },
    Case {
        says: "WebSocket refused: timed out after 2 s waiting for its handshake. Decisions and messages are only noticed by the 30 s poll: let your proxy or firewall pass WebSockets",
        run: |says| socket("hang", says),
    },
    Case {
        says: "This machine's clock and the workspace's differ by 60 minutes: set the clock",
        run: |says| {
            let mut peer = Peer::new(json!({ "guardian": {}, "heartbeat": {} }), |_| None);
            peer.headers = format!("Date: {}\r\n", http_date(3_630));
            let server = peer.start();
            let url = server.url();
            two_tools(connected(&url))
                .step("warning", "builtins", NO_CHAT)
                .ok("dashboard", REGISTERED)
                .step("warning", "clock", says)
                .compare(|| setup(&url));
        },
    },
];

/// An IMF-fixdate so many seconds from now.
fn http_date(ahead_s: u64) -> String {
    let at = SystemTime::now() + Duration::from_secs(ahead_s);
    let seconds = at.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let date = aerostack_gateway::api::proto::to_rfc3339(seconds * 1_000);
    let (day, clock) = (
        date.get(..10).expect("a date"),
        date.get(11..19).expect("a time"),
    );
    let mut parts = day
        .split('-')
        .map(|part| part.parse::<usize>().expect("a number"));
    let mut part = || parts.next().expect("three of them");
    let (year, month, day) = (part(), part(), part());
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    // 1 January 1970 was a Thursday.
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let weekday = DAYS[(seconds / 86_400 % 7) as usize];
    format!(
        "{weekday}, {day:02} {} {year} {clock} GMT",
        MONTHS[month - 1]
    )
}

/// What README shows: five lines, and nothing that a person need not know.
#[test]
fn all_is_well() {
    let workspace = Workspace::whole(Workspace::https());
    let ca = workspace.ca_file.clone().expect("it has one");
    whole(&workspace)
        .silent("ok", "websocket", "WebSocket opened")
        .compare(|| setup(&workspace.url).env("SSL_CERT_FILE", &ca));
    // "Recorded, never listed as an agent."
    let beats = workspace.requests("aerostack/heartbeat");
    assert_eq!(beats.len(), 2, "one for each form");
    for beat in beats {
        let message: Value = serde_json::from_str(&beat.body).expect("JSON");
        assert_eq!(message["params"]["status"], "check");
    }
    assert!(workspace.bridges().is_empty(), "{:?}", workspace.bridges());
    assert_eq!(workspace.sessions(), 0, "it has left");
}

/// Any MCP server: what it does not know is no fault of it.
#[test]
fn a_plain_server() {
    let server = Peer::new(Value::Null, |_| None).start();
    let url = server.url();
    let report = |token: &str| {
        two_tools(
            Report::of(&url)
                .reachable()
                .step("skipped", "token", token)
                .ok("workspace", "Workspace connected (\"peer\")"),
        )
    };
    report("Token: none is sent (AEROSTACK_TOKEN=none)")
        .silent(
            "skipped",
            "builtins",
            "Built-in tools: not listed, this is a plain MCP server",
        )
        .step("skipped", "dashboard", NO_HEARTBEAT)
        .compare(|| setup(&url).env("AEROSTACK_TOKEN", "none"));
    report("Token: this server does not say whose it is")
        .silent(
            "skipped",
            "builtins",
            "Built-in tools: switched off (AEROSTACK_BUILTIN_TOOLS=off)",
        )
        .step("skipped", "dashboard", NO_HEARTBEAT)
        .compare(|| setup(&url).env("AEROSTACK_BUILTIN_TOOLS", "off"));
}

/// All pages of the list are counted, and one tool is not "tools".
#[test]
fn tools_are_counted_over_all_pages() {
    let other = |request: &Request| {
        let page = |tools: Value, next: Value| {
            Some(answered(
                request,
                "",
                Ok(json!({ "tools": tools, "nextCursor": next })),
            ))
        };
        match () {
            () if !request.is("tools/list") => None,
            () if request.body.contains("\"cursor\":\"two\"") => {
                page(json!([{ "name": "c" }]), json!("three"))
            }
            () if request.body.contains("\"cursor\":\"three\"") => page(json!([]), Value::Null),
            () => page(json!([{ "name": "a" }, { "name": "b" }]), json!("two")),
        }
    };
    let count = |other, text: &str, count| {
        let offer = json!({ "guardian": {}, "heartbeat": {} });
        let server = Peer::new(offer, other).start();
        let url = server.url();
        connected(&url)
            .ok("tools", text)
            .tools(count)
            .step("warning", "builtins", NO_CHAT)
            .ok("dashboard", REGISTERED)
            .compare(|| setup(&url));
    };
    count(other, "Tools available (3 tools)", 3);
    let one = |request: &Request| {
        let lists = request.is("tools/list");
        lists.then(|| answered(request, "", Ok(json!({ "tools": [{ "name": "a" }] }))))
    };
    count(one, "Tools available (1 tool)", 1);
    // A list without end.
    let endless = |request: &Request| {
        let lists = request.is("tools/list");
        let page = json!({ "tools": [{ "name": "a" }], "nextCursor": "more" });
        lists.then(|| answered(request, "", Ok(page)))
    };
    count(endless, "Tools available (at least 100 tools)", 100);
}

/// A server of the modern era alone: it refuses the handshake.
#[test]
fn a_server_without_a_handshake() {
    let other = |request: &Request| {
        if request.is("initialize") {
            let id = request.id();
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32022,"message":"unsupported"}}}}"#
            );
            return Some(reply("400 Bad Request", JSON, &body));
        }
        let discovers = request.is("server/discover");
        discovers.then(|| {
            let result = json!({
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "peer", "version": "1" },
            });
            answered(request, "", Ok(result))
        })
    };
    let server = Peer::new(Value::Null, other).start();
    let url = server.url();
    two_tools(
        Report::of(&url)
            .reachable()
            .step(
                "skipped",
                "token",
                "Token: none is sent (AEROSTACK_TOKEN=none)",
            )
            .ok("workspace", "Workspace connected (\"peer\")"),
    )
    .silent(
        "skipped",
        "builtins",
        "Built-in tools: not listed, this is a plain MCP server",
    )
    .step("skipped", "dashboard", NO_HEARTBEAT)
    .compare(|| setup(&url).env("AEROSTACK_TOKEN", "none"));
}

/// A token that is none of Aerostack's is worth a word, and no failure.
#[test]
fn another_servers_token() {
    let server = Peer::new(Value::Null, |_| None).start();
    let url = server.url();
    two_tools(
        Report::of(&url)
            .step("warning", "settings", "AEROSTACK_TOKEN does not start with mwt_: it is sent as it is, but it is no Aerostack workspace token")
            .reachable()
            .step("skipped", "token", "Token: this server does not say whose it is")
            .ok("workspace", "Workspace connected (\"peer\")"),
    )
    .silent(
        "skipped",
        "builtins",
        "Built-in tools: not listed, this is a plain MCP server",
    )
    .step("skipped", "dashboard", NO_HEARTBEAT)
    .compare(|| setup(&url).env("AEROSTACK_TOKEN", &TOKEN.replace("mwt_", "ghp_")));
}
