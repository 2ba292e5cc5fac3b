//! Who is at both ends: the program that started the gateway, and the workspace.

use super::ids::Era;
use crate::config::Config;
use crate::log::printable;
use crate::proto::aerostack::Offer;
use crate::proto::identity::sha256;
use crate::proto::jsonrpc;

/// The program at the other end of stdio.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    offer: Offer,
    /// The workspace has said what it offers.
    was_asked: bool,
    client: Option<Client>,
    /// A modern host's metadata, raw JSON, for requests of our own.
    modern_meta: Option<String>,
    bridge_id: String,
    /// The host has begun a legacy session.
    has_session: bool,
}

impl Peers {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            offer: Offer::default(),
            was_asked: false,
            client: None,
            modern_meta: None,
            bridge_id: bridge_id(config, ""),
            has_session: false,
        }
    }

    /// What the workspace offers beyond MCP; nothing before it was asked.
    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// True once the workspace has said what it offers.
    pub(crate) fn was_asked(&self) -> bool {
        self.was_asked
    }

    /// The workspace said what it offers.
    pub(crate) fn learn(&mut self, offer: Offer) {
        (self.offer, self.was_asked) = (offer, true);
    }

    /// An extension turned out not to be known: it is turned off quietly.
    pub(crate) fn correct(&mut self, correct: impl FnOnce(&mut Offer)) {
        correct(&mut self.offer);
    }

    /// The host's name and version.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// The host says who it is: by `initialize`, or by a modern request's metadata.
    pub(crate) fn meet(&mut self, config: &Config, client_info: Option<&str>) {
        let Some(raw) = client_info else { return };
        let text = |name: &str| {
            let text = jsonrpc::member(raw, name).and_then(jsonrpc::string);
            text.map(|text| printable(&text, 200)).unwrap_or_default()
        };
        let (name, version) = (text("name"), text("version"));
        self.bridge_id = bridge_id(config, &name);
        self.client = Some(Client { name, version });
    }

    /// A modern host's metadata; the first that came stays.
    pub(crate) fn keep_meta(&mut self, meta: String) {
        self.modern_meta.get_or_insert(meta);
    }

    /// The metadata and generation for requests of our own, where the host has no legacy session.
    pub(crate) fn era(&self) -> (Era, Option<&str>) {
        match self.modern_meta.as_deref().filter(|_| !self.has_session) {
            Some(meta) => (Era::Modern, Some(meta)),
            None => (Era::Legacy, None),
        }
    }

    /// The host has begun a legacy session, or has none.
    pub(crate) fn note_session(&mut self, has_session: bool) {
        self.has_session = has_session;
    }

    /// True for Claude Code in a legacy session.
    pub(crate) fn is_claude_code(&self) -> bool {
        let client = self.client.as_ref();
        self.has_session && client.is_some_and(|client| client.name.contains("claude-code"))
    }

    /// True for a host that asks before its own tools run by a hook of `--guard`.
    pub(crate) fn is_guarded(&self, config: &Config) -> bool {
        let name = self
            .client
            .as_ref()
            .map(|client| client.name.to_ascii_lowercase());
        let name = name.unwrap_or_default();
        config.guarded.iter().any(|host| name.starts_with(host))
    }

    /// True once a modern host has said who it is.
    pub(crate) fn is_modern(&self) -> bool {
        self.modern_meta.is_some()
    }

    /// Names this bridge in the dashboard: the same for the same machine, user, workspace and client
    /// program, so that restarts leave no phantom agents.
    pub(crate) fn bridge_id(&self) -> &str {
        &self.bridge_id
    }
}

fn bridge_id(config: &Config, client: &str) -> String {
    let identity = &config.identity;
    let (machine, user) = (&identity.machine, &identity.user);
    let url = config.endpoint.url();
    let all = format!("{machine}\n{user}\n{url}\n{client}\n");
    let mut id = sha256(all.as_bytes());
    id.truncate(32);
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::testing::config;

    /// Machine, user, workspace and client program each make another bridge; nothing else does.
    #[test]
    fn each_part_of_the_identity_counts() {
        let base = config(&[]);
        let id = |config: &Config, client: &str| bridge_id(config, client);
        let first = id(&base, "a");
        assert_eq!((first.len(), &first), (32, &id(&base, "a")));
        let mut machine = base.clone();
        machine.identity.machine.push('x');
        let mut user = base.clone();
        user.identity.user.push('x');
        let workspace = config(&[("AEROSTACK_WORKSPACE_URL", "http://127.0.0.1/ws/other")]);
        let mut process = base.clone();
        process.identity.pid += 1;
        for other in [&machine, &user, &workspace] {
            assert_ne!(id(other, "a"), first);
        }
        assert_ne!(id(&base, "b"), first);
        assert_eq!(id(&process, "a"), first);
    }
}
