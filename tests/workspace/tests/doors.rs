//! Nobody gets in without a token or a login, and no other origin does anything.

mod support;

use serde_json::{Value, json};
use support::{Reply, Workspace, http};

const MCP: [(&str, &str); 5] = [
    ("POST", "/ws/demo"),
    ("GET", "/ws/demo"),
    ("DELETE", "/ws/demo"),
    ("GET", "/ws/demo/approvals/apr_x"),
    ("POST", "/api/gateway/ws/demo"),
];
const SOCKETS: [&str; 2] = ["/ws/demo/approvals/apr_x/ws", "/ws/demo/chat/ws"];
const DASHBOARD: [(&str, &str); 6] = [
    ("GET", "/api/session"),
    ("GET", "/api/events"),
    ("POST", "/api/approvals/apr_x/approve"),
    ("POST", "/api/approvals/apr_x/reject"),
    ("POST", "/api/chat"),
    ("POST", "/api/logout"),
];
const UPGRADE: [(&str, &str); 3] = [
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[test]
fn every_route_of_the_workspace_needs_the_token() {
    let workspace = Workspace::start(&[]);
    let right = format!("Bearer {}", workspace.token());
    for (method, path) in MCP.into_iter().chain(SOCKETS.map(|p| ("GET", p))) {
        let ask = |headers: &[(&str, &str)]| {
            let mut all = headers.to_vec();
            all.extend(UPGRADE.iter().filter(|_| path.ends_with("/ws")));
            workspace.http(method, path, &all, "{}").status
        };
        assert_eq!(ask(&[]), 401, "{method} {path}");
        assert_eq!(
            ask(&[("authorization", "Bearer mwt_wrong")]),
            401,
            "{method} {path}"
        );
        assert_eq!(
            ask(&[("authorization", "Basic bXd0Og==")]),
            401,
            "{method} {path}"
        );
        for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
            assert_eq!(
                ask(&[("authorization", &right), ("origin", origin)]),
                403,
                "{method} {path} {origin}"
            );
        }
        assert_eq!(
            ask(&[("authorization", &right), ("host", "evil.example")]),
            403,
            "{method} {path}"
        );
        let other = path.replace("/ws/demo", "/ws/other");
        let reply = workspace.http(method, &other, &[("authorization", &right)], "{}");
        assert!(
            [400, 404, 426].contains(&reply.status),
            "{method} {other}: {}",
            reply.status
        );
    }
    // A token in the URL is no token.
    let path = format!("/ws/demo?token={}", workspace.token());
    assert_eq!(workspace.http("POST", &path, &[], "{}").status, 401);
}

fn log_in(workspace: &Workspace, token: &str, origin: &str) -> Reply {
    let body = json!({ "token": token }).to_string();
    workspace.http(
        "POST",
        "/api/login",
        &[("origin", origin), ("content-type", "application/json")],
        &body,
    )
}

#[test]
fn every_route_of_the_dashboard_needs_a_login_and_our_origin() {
    let workspace = Workspace::start(&[]);
    let origin = format!("http://{}", workspace.address());
    assert_eq!(log_in(&workspace, "mwt_wrong", &origin).status, 401);
    assert_eq!(
        log_in(&workspace, workspace.token(), "https://evil.example").status,
        403
    );
    assert_eq!(
        workspace.http("POST", "/api/login", &[], "{}").status,
        403,
        "a POST has an Origin"
    );
    let reply = log_in(&workspace, workspace.token(), &origin);
    let cookie = reply.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a value").to_owned();
    let bearer = format!("Bearer {}", workspace.token());
    for (method, path) in DASHBOARD {
        let ask = |headers: &[(&str, &str)]| workspace.http(method, path, headers, "{}").status;
        let own = ("origin", origin.as_str());
        assert_eq!(ask(&[own]), 401, "{method} {path}");
        assert_eq!(
            ask(&[own, ("cookie", "aerostack_session_1=guess")]),
            401,
            "{method} {path}"
        );
        assert_eq!(
            ask(&[own, ("authorization", &bearer)]),
            401,
            "{path}: the token is no login"
        );
        assert_eq!(
            ask(&[("cookie", &cookie), ("origin", "https://evil.example")]),
            403,
            "{method} {path}"
        );
        assert_eq!(
            ask(&[("cookie", &cookie), ("sec-fetch-site", "cross-site")]),
            403,
            "{method} {path}"
        );
        if method == "POST" {
            assert_eq!(ask(&[("cookie", &cookie)]), 403, "{path} without Origin");
            assert!(
                [404, 405].contains(
                    &workspace
                        .http("GET", path, &[("cookie", &cookie), own], "")
                        .status
                )
            );
        }
    }
    let session = || {
        workspace
            .http("GET", "/api/session", &[("cookie", &cookie)], "")
            .status
    };
    assert_eq!(session(), 200);
    let headers = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
    assert_eq!(
        workspace.http("POST", "/api/logout", &headers, "{}").status,
        200
    );
    assert_eq!(session(), 401, "logged out");
}

#[test]
fn the_cookie_decides_nothing_at_the_mcp_endpoint_and_the_page_loads_only_itself() {
    let workspace = Workspace::start(&[]);
    let origin = format!("http://{}", workspace.address());
    let reply = log_in(&workspace, workspace.token(), &origin);
    let cookie = reply
        .header("set-cookie")
        .and_then(|c| c.split(';').next())
        .expect("a cookie")
        .to_owned();
    assert_eq!(
        workspace
            .http("POST", "/ws/demo", &[("cookie", &cookie)], "{}")
            .status,
        401
    );
    let page = workspace.http("GET", "/", &[], "");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!page.body.contains(workspace.token()));
}

#[test]
fn the_admin_api_is_off_unless_asked_and_has_its_own_token() {
    let plain = Workspace::start_with(&["--http"]);
    assert_eq!(plain.ready["admin_url"], Value::Null);
    assert_eq!(plain.http("GET", "/admin/settings", &[], "").status, 404);
    let workspace = Workspace::start(&[]);
    let address = workspace
        .text("admin_url")
        .trim_start_matches("http://")
        .trim_end_matches("/admin");
    let ask =
        |headers: &[(&str, &str)]| http(address, "GET", "/admin/settings", headers, "").status;
    let (wrong, right) = (
        format!("Bearer {}", workspace.token()),
        format!("Bearer {}", workspace.text("admin_token")),
    );
    assert_eq!(ask(&[]), 401);
    assert_eq!(ask(&[("authorization", &wrong)]), 401);
    assert_eq!(
        ask(&[("authorization", &right), ("origin", "http://127.0.0.1")]),
        403
    );
    assert_eq!(ask(&[("authorization", &right)]), 200);
}
