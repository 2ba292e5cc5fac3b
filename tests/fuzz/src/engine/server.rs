//! What servers say, well or ill.

use super::judge::member;
use super::{Feed, TOKENS};
use aerostack_gateway::api::proto::accept_for;

/// A request as it was sent.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// It asks for an upgrade with this key.
    pub(super) key: Option<String>,
}

impl Request {
    /// What is sent is HTTP, whole and alone.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("requests are UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head has an end");
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (
            first.next().unwrap_or_default(),
            first.next().unwrap_or_default(),
        );
        assert_eq!(
            (first.next(), first.next()),
            (Some("HTTP/1.1"), None),
            "{head}"
        );
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header has a colon");
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let headers: Vec<(String, String)> = lines.map(header).collect();
        let find = |name: &str| headers.iter().find(|(own, _)| own == name);
        let length =
            find("content-length").map_or(0, |(_, value)| value.parse().expect("a number"));
        assert_eq!(body.len(), length, "{head}");
        let key = find("sec-websocket-key").map(|(_, value)| value.clone());
        let (method, target, body) = (method.to_owned(), target.to_owned(), body.to_owned());
        Self {
            method,
            target,
            headers,
            body,
            key,
        }
    }

    fn id(&self) -> String {
        member(&self.body, "id").unwrap_or_else(|| "null".to_owned())
    }
}

/// How a request is answered. The default is well.
#[derive(Default)]
pub(super) struct Manner {
    status: u8,
    body: u8,
    framing: u8,
    headers: u8,
    cut: u8,
}

impl Manner {
    pub(super) fn read(feed: &mut Feed<'_>) -> Self {
        let (status, body, framing) = (feed.byte(), feed.byte(), feed.byte());
        Self {
            status,
            body,
            framing,
            headers: feed.byte(),
            cut: feed.byte(),
        }
    }

    /// Where the first part ends.
    pub(super) fn cut(&self, len: usize) -> usize {
        len * usize::from(self.cut >> 1) / 128
    }

    /// The second part does not follow at once.
    pub(super) fn waits(&self) -> bool {
        self.cut % 2 == 1
    }
}

const STATUSES: [u16; 20] = [
    200, 200, 200, 200, 202, 204, 307, 308, 302, 400, 401, 403, 404, 410, 422, 429, 500, 502, 503,
    101,
];
const WORDS: [&str; 10] = [
    "pending",
    "approved",
    "executed",
    "rejected",
    "expired",
    "cancelled",
    "denied",
    "timeout",
    "APPROVED",
    "?",
];

/// The answer, and whether the server closes behind it.
pub(super) fn answer(request: &Request, manner: &Manner) -> (Vec<u8>, bool) {
    let is_notice = request.method == "POST" && member(&request.body, "id").is_none();
    let status = match (
        STATUSES[usize::from(manner.status) % STATUSES.len()],
        &request.key,
    ) {
        (200, Some(_)) => 101,
        (200, None) if is_notice => 202,
        (status, _) => status,
    };
    let mut head = format!("HTTP/1.1 {status} Words\r\n");
    if let Some(key) = request.key.as_ref().filter(|_| status == 101) {
        let accept = if manner.body % 16 == 15 {
            "wrong".to_owned()
        } else {
            accept_for(key)
        };
        head += &format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        return (head.into_bytes(), false);
    }
    head += match manner.headers % 16 {
        1 => "Retry-After: 1\r\n",
        2 => "Retry-After: 18446744073709551615\r\n",
        3 => "Location: /ws/x/b\r\n",
        4 => "Location: https://evil.example/ws/x\r\n",
        5 => "Set-Cookie: lb=c00kie-v4lue; Path=/\r\n",
        6 => "Connection: close\r\n",
        7 => "Keep-Alive: timeout=1\r\n",
        8 => "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n",
        9 => "X-RateLimit-Reset: 2\r\n",
        10 => "Content-Encoding: gzip\r\n",
        11 => "Mcp-Session-Id: s3ss10n-0ne\r\n",
        12 => "Mcp-Session-Id: s3ss10n-tw0\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\n",
        13 => "Location: //evil.example/x\r\n",
        _ => "",
    };
    if member(&request.body, "method").as_deref() == Some("\"initialize\"")
        && manner.headers & 16 == 0
    {
        head += "Mcp-Session-Id: s3ss10n-f1rst\r\n";
    }
    let body = if matches!(status, 202 | 204) {
        String::new()
    } else {
        body(request, manner, status)
    };
    frame_body(
        head,
        &body,
        manner,
        request.method == "GET" && status == 200,
    )
}

fn frame_body(mut head: String, body: &str, manner: &Manner, stream: bool) -> (Vec<u8>, bool) {
    let framing = manner.framing % 16;
    if stream || framing >= 8 {
        let mut events = String::new();
        if framing & 1 == 1 {
            events += "id: 7\r\nretry: 5\r\ndata:\r\n\r\n";
        }
        if framing & 2 == 2 {
            events += "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\"}}\n\n";
            events += "data: {\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"method\":\"roots/list\"}\n\n";
        }
        if manner.framing & 16 == 0 && !stream {
            events += &format!(
                "event: message\ndata: {}\n\n",
                body.replace(['\r', '\n'], " ")
            );
        }
        let open = stream || framing & 4 == 4;
        head += "Content-Type: text/event-stream\r\n";
        if open {
            // A comment, so that the first chunk is not the end.
            events += ":\n";
            head += "Transfer-Encoding: chunked\r\n\r\n";
            return (
                format!("{head}{:x}\r\n{events}\r\n", events.len()).into_bytes(),
                false,
            );
        }
        return (
            format!("{head}Content-Length: {}\r\n\r\n{events}", events.len()).into_bytes(),
            false,
        );
    }
    head += match framing {
        5 => "Content-Type: text/html\r\n",
        6 => "",
        _ => "Content-Type: application/json; charset=utf-8\r\n",
    };
    match framing {
        1 if !body.is_empty() => {
            let at = (0..=body.len() / 2)
                .rev()
                .find(|at| body.is_char_boundary(*at))
                .unwrap_or(0);
            let (first, second) = body.split_at(at);
            head += "Transfer-Encoding: chunked\r\n\r\n";
            for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
                head += &format!("{:X};x=y\r\n{part}\r\n", part.len());
            }
            ((head + "0\r\nTrailer: x\r\n\r\n").into_bytes(), false)
        }
        2 => ((head + "\r\n" + body).into_bytes(), true),
        3 => (
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len() + 1).into_bytes(),
            true,
        ),
        4 => (
            format!(
                "HTTP/1.1 103 Early\r\n\r\n{head}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
            false,
        ),
        _ => (
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes(),
            false,
        ),
    }
}

fn body(request: &Request, manner: &Manner, status: u16) -> String {
    let id = request.id();
    let method = member(&request.body, "method").unwrap_or_default();
    let which = manner.body / 16;
    let error = |code: i32, words: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":\"{words}\"}}}}"
        )
    };
    let echo = if (200..300).contains(&status) {
        "nothing"
    } else {
        TOKENS[0]
    };
    match manner.body % 16 {
        1 => approval_needed(&id, which),
        2 => error(-32601, "Method not found"),
        3 => error(-32000, &format!("the token {echo} is wrong")),
        4 => "{\"jsonrpc\":\"2.0\",\"id\":\"other\",\"result\":{}}".to_owned(),
        5 => format!("<html><title>Down: {echo}</title>"),
        6 => "Session not found".to_owned(),
        7 => String::new(),
        8 => "{\"jsonrpc\":\"2.0\",\"id\":".to_owned(),
        9 => result(
            &id,
            &format!("{{\"text\":\"{}\"}}", "x".repeat(150 * usize::from(which))),
        ),
        10 => format!("[{},{}]", result(&id, "{}"), result(&id, "{}")),
        11 => result(&id, &state(which)),
        12 => error(-32602, "Unknown tool"),
        13 => result("null", "{\r\n }"),
        _ => result(&id, &right(&method, which)),
    }
}

fn result(id: &str, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\n\"result\":{result}}}")
}

fn right(method: &str, which: u8) -> String {
    match method {
        "\"initialize\"" | "\"server/discover\"" => {
            let offer = "{\"approvals\":{\"at_most_once\":true},\"guardian\":{},\"heartbeat\":{\"interval_s\":5},\
                         \"chat\":{\"ws_url\":\"/ws/x/chat/ws\"}}";
            let offer = if which % 4 == 3 { "{}" } else { offer };
            format!(
                "{{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{{\"tools\":{{}},\"experimental\":{{\"aerostack\":{offer}}},\
                 \"extensions\":{{\"dev.aerostack/workspace\":{offer}}}}},\"serverInfo\":{{\"name\":\"s\",\"version\":\"1\"}}}}"
            )
        }
        "\"tools/list\"" => "{\"tools\":[{\"name\":\"srv__write\",\"inputSchema\":{\"type\":\"object\",\"properties\":\
                             {\"a\":{\"type\":\"number\",\"x-mcp-header\":\"A\"}}}}],\"nextCursor\":\"2\"}"
            .to_owned(),
        "\"aerostack/approvals/get\"" | "\"aerostack/approvals/cancel\"" => state(which),
        "\"aerostack/chat/messages\"" => {
            "{\"messages\":[{\"id\":\"m1\",\"from\":\"user\",\"text\":\"hi\",\"at\":1795305600}]}".to_owned()
        }
        "\"aerostack/guardian/request\"" => "{\"decision\":\"approved\"}".to_owned(),
        "\"aerostack/heartbeat\"" => "{\"interval_s\":5,\"unread_chat\":1}".to_owned(),
        _ => "{\"content\":[{\"type\":\"text\",\"text\":\"done\"}]}".to_owned(),
    }
}

fn approval_needed(id: &str, which: u8) -> String {
    let more = match which / 4 {
        0 => "",
        1 => ",\"ws_url\":\"https://evil.example/ws\",\"status_url\":\"/ws/x/status\"",
        2 => ",\"ws_url\":\"approvals/1/ws\",\"expires_at\":1795305605",
        _ => ",\"ws_url\":7,\"expires_at\":\"2026-11-22T00:01:00Z\",\"reason\":\"why\\n\"",
    };
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32050,\"message\":\"needs approval\",\"data\":{{\"approval_id\":\"apr_{}\"{more}}}}}}}",
        which % 4
    )
}

/// An approval as it is now.
fn state(which: u8) -> String {
    let word = WORDS[usize::from(which) % WORDS.len()];
    let more = match which % 3 {
        0 => "",
        1 => ",\"params\":{\"name\":\"srv__write\",\"arguments\":{\"a\":2}}",
        _ => ",\"result\":{\"content\":[]},\"note\":\"a note\"",
    };
    format!(
        "{{\"approval_id\":\"apr_{}\",\"status\":\"{word}\"{more}}}",
        which % 4
    )
}

/// A frame of a WebSocket's server.
pub(super) fn frame(what: u8) -> Vec<u8> {
    let which = what / 8;
    let text = match what % 8 {
        0 | 1 => format!("{{\"type\":\"approval\",{}", &state(which)[1..]),
        2 => "{\"type\":\"chat\",\"message\":{\"id\":\"m2\",\"from\":\"user\",\"text\":\"hi\",\"at\":1795305600}}".to_owned(),
        3 => return vec![0x89, 1, which],
        4 => return vec![0x8a, 0],
        5 => return vec![0x88, 2, 3, 0xe8],
        6 => return vec![0x01, 2, b'{', b'}'],
        _ => return vec![0x82, 3, 0xff, which, 0],
    };
    let len = u16::try_from(text.len())
        .expect("texts are short")
        .to_be_bytes();
    [&[0x81, 126, len[0], len[1]], text.as_bytes()].concat()
}
