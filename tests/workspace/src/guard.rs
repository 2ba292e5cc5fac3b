//! Who may come in: Host, Origin, token, rate limit, in this order, for every route of the workspace.

use axum::response::Response;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};

use crate::reply;
use crate::settings::Outage;
use crate::state::Workspace;
use crate::sync::Locked;
use crate::tokens::{Role, Token};

fn text<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// "Servers MUST validate the Origin header … to prevent DNS rebinding attacks. If the Origin header is
/// present and invalid, servers MUST respond with HTTP 403 Forbidden." (transports)
pub fn check_origin(workspace: &Workspace, headers: &HeaderMap) -> Result<(), Response> {
    let refuse = |why: &str| Err(reply::refusal(403, "FORBIDDEN_ORIGIN", why));
    let own = workspace.origin();
    let own_host = own.split_once("://").map_or(own, |(_, host)| host);
    let host = text(headers, &HOST).unwrap_or_default();
    let loopback = |h: &str| {
        let name = h
            .rsplit_once(':')
            .map_or(h, |(name, port)| if port.contains(']') { h } else { name });
        ["localhost", "127.0.0.1", "[::1]"].contains(&name)
    };
    // Bound to loopback, we are called by a loopback name; anything else is a rebound name.
    if loopback(own_host) && !loopback(host) {
        return refuse("the Host header does not name this workspace");
    }
    match headers.get(ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let same = origin.to_str().ok().and_then(|o| {
                let (scheme, origin_host) = o.split_once("://")?;
                let own_scheme = own.split_once("://")?.0;
                Some(scheme == own_scheme && origin_host.eq_ignore_ascii_case(host))
            });
            if same == Some(true) {
                Ok(())
            } else {
                refuse("requests from other origins are refused")
            }
        }
    }
}

/// The bearer token, which must be one that connects agents.
pub fn check_token(workspace: &Workspace, headers: &HeaderMap) -> Result<Token, Response> {
    let given = text(headers, &AUTHORIZATION).and_then(|v| {
        let (scheme, token) = v.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match given {
        // The conformance suite cannot send a token; the flag is for loopback only.
        None if workspace.identity.conformance && !headers.contains_key(AUTHORIZATION) => {
            Ok(Token {
                name: "conformance".to_owned(),
                role: Role::Owner,
                secret: String::new(),
            })
        }
        given => {
            match given.and_then(|secret| workspace.tokens.of(secret)) {
                Some(token) if token.role.connects() => return Ok(token),
                Some(token) => {
                    let message = format!(
                        "the role of this token ({}) connects no agents",
                        token.role.name()
                    );
                    return Err(reply::refusal(403, "FORBIDDEN", &message));
                }
                None => {}
            }
            let (message, challenge) = match given {
                Some(_) => ("the token is not valid", "Bearer error=\"invalid_token\""),
                None => ("a bearer token is needed", "Bearer"),
            };
            let refusal = reply::refusal(401, "UNAUTHORIZED", message);
            Err(reply::header(refusal, "www-authenticate", challenge))
        }
    }
}

/// What every request to `/ws/<slug>…` has to pass. Answers an outage first.
pub async fn admit(
    workspace: &Workspace,
    slug: &str,
    headers: &HeaderMap,
) -> Result<Token, Response> {
    let outage = workspace.settings.locked().outage;
    match outage {
        Outage::None | Outage::Refuse => {}
        Outage::Hang => std::future::pending().await,
        Outage::Unavailable => {
            return Err(reply::refusal(
                503,
                "UNAVAILABLE",
                "the workspace is paused",
            ));
        }
        Outage::Limited => return Err(limited(1)),
    }
    check_origin(workspace, headers)?;
    let token = check_token(workspace, headers)?;
    if slug != workspace.identity.slug {
        return Err(reply::refusal(
            404,
            "WORKSPACE_NOT_FOUND",
            "there is no such workspace",
        ));
    }
    workspace.admit(&token.secret).map_err(limited)?;
    Ok(token)
}

fn limited(wait_s: u64) -> Response {
    let response = reply::refusal(
        429,
        "RATE_LIMITED",
        "too many requests a minute for this token",
    );
    let reset = u64::try_from(crate::sync::unix_now()).unwrap_or(0) + wait_s;
    let response = reply::header(response, "retry-after", &wait_s.to_string());
    reply::header(response, "x-ratelimit-reset", &reset.to_string())
}

/// The name of the cookie of a login. Cookies know no ports, so the port is in the name.
pub fn cookie_name(workspace: &Workspace) -> String {
    let port = workspace
        .origin()
        .rsplit_once(':')
        .map_or("0", |(_, port)| port);
    format!("aerostack_session_{port}")
}

/// The token of the login whose cookie comes with a request.
pub fn logged_in(workspace: &Workspace, headers: &HeaderMap) -> Option<Token> {
    workspace.tokens.logged_in(&cookie_name(workspace), headers)
}

/// The values of the cookies of that name.
pub fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok());
    lines
        .flat_map(|c| c.split(';'))
        .filter_map(|c| c.trim().split_once('='))
        .filter(move |(n, _)| *n == name)
        .map(|(_, value)| value)
}
