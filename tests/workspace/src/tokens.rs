//! Tokens and their roles: who may connect an agent, see the dashboard, decide. And logins, which are a
//! token's in a browser.

use std::sync::{Arc, Mutex};

use hyper::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::guard;
use crate::store::Store;
use crate::sync::{Locked, random_id, same_secret};

/// The name of the token that is always there.
pub const MAIN: &str = "local";
/// The name of the token that is printed for AI tools.
pub const AGENTS: &str = "agents";
/// Logins kept; the oldest is forgotten.
const LOGINS_MAX: usize = 64;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// All of it.
    Owner,
    /// Connects agents; it opens no dashboard, so that no agent decides for itself.
    Agent,
    /// Sees the dashboard and decides; it connects no agent.
    Reviewer,
    /// Sees the dashboard and changes nothing.
    Viewer,
}

impl Role {
    /// Reads a role's name.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "owner" => Ok(Role::Owner),
            "agent" => Ok(Role::Agent),
            "reviewer" => Ok(Role::Reviewer),
            "viewer" => Ok(Role::Viewer),
            other => Err(format!(
                "there is no role {other}: owner, agent, reviewer or viewer"
            )),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Agent => "agent",
            Role::Reviewer => "reviewer",
            Role::Viewer => "viewer",
        }
    }

    /// It may connect agents.
    pub fn connects(self) -> bool {
        matches!(self, Role::Owner | Role::Agent)
    }

    /// It may see the dashboard.
    pub fn sees(self) -> bool {
        matches!(self, Role::Owner | Role::Reviewer | Role::Viewer)
    }

    /// It may decide, revoke and speak to agents.
    pub fn decides(self) -> bool {
        matches!(self, Role::Owner | Role::Reviewer)
    }
}

/// One token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its name, for people.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The secret itself.
    pub secret: String,
}

/// A login of the dashboard.
#[derive(Clone, Debug)]
struct Login {
    /// Of the cookie: the file of a workspace holds no cookie that works.
    digest: String,
    token: String,
}

/// All tokens and logins.
#[derive(Debug)]
pub struct Tokens {
    store: Option<Arc<Store>>,
    all: Mutex<Vec<Token>>,
    logins: Mutex<Vec<Login>>,
}

impl Tokens {
    /// The main token, and what the store has kept.
    pub fn restored(main: &str, store: Option<Arc<Store>>) -> Result<Self, String> {
        let mut all = vec![Token {
            name: MAIN.to_owned(),
            role: Role::Owner,
            secret: main.to_owned(),
        }];
        let mut logins = Vec::new();
        if let Some(store) = &store {
            for (name, role, secret) in store.tokens()? {
                let role = Role::parse(&role)?;
                if name == MAIN {
                    continue;
                }
                all.push(Token { name, role, secret });
            }
            store.keep_token(MAIN, Role::Owner.name(), main)?;
            let kept = store.logins()?;
            logins.extend(
                kept.into_iter()
                    .map(|(digest, token)| Login { digest, token }),
            );
        }
        Ok(Tokens {
            store,
            all: Mutex::new(all),
            logins: Mutex::new(logins),
        })
    }

    /// Adds a token, or changes its role: `NAME=ROLE`, and a new secret unless it has one.
    pub fn add(&self, text: &str) -> Result<(), String> {
        let (name, role) = text
            .split_once('=')
            .ok_or_else(|| format!("{text}: expected NAME=ROLE"))?;
        let role = Role::parse(role)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name == MAIN || !name.chars().all(plain) {
            return Err(format!(
                "{name:?} cannot name a token: letters, digits, - _ . and not {MAIN}"
            ));
        }
        let mut all = self.all.locked();
        let secret = match all.iter().find(|t| t.name == name) {
            Some(token) => token.secret.clone(),
            None => random_id("mwt_", 20),
        };
        if let Some(store) = &self.store {
            store.keep_token(name, role.name(), &secret)?;
        }
        all.retain(|t| t.name != name);
        all.push(Token {
            name: name.to_owned(),
            role,
            secret,
        });
        Ok(())
    }

    /// The tokens, in their order.
    pub fn list(&self) -> Vec<Token> {
        self.all.locked().clone()
    }

    /// The token with this secret; every one is compared, and each in constant time.
    pub fn of(&self, secret: &str) -> Option<Token> {
        let all = self.all.locked();
        let fits: Vec<&Token> = all
            .iter()
            .filter(|t| same_secret(&t.secret, secret))
            .collect();
        fits.first().copied().cloned()
    }

    /// Opens a login and returns its cookie.
    pub fn log_in(&self, token: &Token) -> String {
        let cookie = random_id("", 24);
        let login = Login {
            digest: digest(&cookie),
            token: token.name.clone(),
        };
        if let Some(store) = &self.store {
            store.keep_login(&login.digest, &login.token);
        }
        let mut logins = self.logins.locked();
        logins.push(login);
        if logins.len() > LOGINS_MAX {
            let old = logins.remove(0);
            if let Some(store) = &self.store {
                store.forget_login(&old.digest).ok();
            }
        }
        cookie
    }

    /// Ends the logins whose cookies are among these.
    pub fn log_out(&self, name: &str, headers: &HeaderMap) {
        for cookie in guard::cookies(headers, name) {
            let digest = digest(cookie);
            self.logins.locked().retain(|l| l.digest != digest);
            if let Some(store) = &self.store {
                store.forget_login(&digest).ok();
            }
        }
    }

    /// The token of the login whose cookie is among these.
    pub fn logged_in(&self, name: &str, headers: &HeaderMap) -> Option<Token> {
        let logins = self.logins.locked().clone();
        let token = guard::cookies(headers, name).find_map(|cookie| {
            let digest = digest(cookie);
            let login = logins.iter().find(|l| l.digest == digest)?;
            Some(login.token.clone())
        })?;
        let all = self.all.locked();
        all.iter()
            .find(|t| t.name == token && t.role.sees())
            .cloned()
    }
}

fn digest(cookie: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, cookie.as_bytes());
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |text, b| text + &format!("{b:02x}"))
}
