//! The reference workspace, served by threads of the test's own process on a port of its own.

use super::{DEADLINE, Dir, TOKEN};
use aerostack_workspace::audit::Audit;
use aerostack_workspace::faults::Fault;
use aerostack_workspace::settings::Settings;
use aerostack_workspace::state::{Identity, Workspace as State};
use aerostack_workspace::traffic::Seen;
use aerostack_workspace::{listen, routes, tls};
use serde_json::Value;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A workspace that serves until it is dropped.
pub(crate) struct Workspace {
    pub(crate) state: Arc<State>,
    pub(crate) url: String,
    pub(crate) ca_file: Option<String>,
    runtime: Option<Runtime>,
    _dir: Dir,
}

impl Workspace {
    pub(crate) fn http() -> Self {
        Self::start(false, None)
    }

    pub(crate) fn https() -> Self {
        Self::start(true, None)
    }

    /// Over TLS under this name, which no resolver of this machine knows.
    pub(crate) fn named(name: &str) -> Self {
        Self::start(true, Some(name))
    }

    fn start(secure: bool, name: Option<&str>) -> Self {
        let dir = Dir::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let identity = Identity {
            slug: "demo".to_owned(),
            name: "Tests".to_owned(),
            token: TOKEN.to_owned(),
            conformance: false,
        };
        let settings = Settings {
            rate_limit: 0,
            // A plain MCP server: no heartbeats among what is counted.
            extensions: false,
            // A stream that is taken up again need not be waited for.
            retry_ms: 10,
            ..Settings::default()
        };
        let audit = Audit::open(None).expect("nothing to open");
        let state = State::new(identity, settings, Vec::new(), audit);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let scheme = if secure { "https" } else { "http" };
        let origin = match name {
            Some(name) => format!("{scheme}://{name}:{}", address.port()),
            None => format!("{scheme}://{address}"),
        };
        state.origin.set(origin.clone()).expect("set once");
        let ca = dir.path().join("ca.pem");
        let config = || tls::server_config(address.ip(), name, &ca).expect("a certificate");
        let config = secure.then(config);
        let router = routes::workspace(&state);
        runtime.spawn(listen::serve(listener, config, router, state.clone()));
        Self {
            url: format!("{origin}/ws/demo"),
            ca_file: secure.then(|| ca.to_str().expect("the path is ours").to_owned()),
            state,
            runtime: Some(runtime),
            _dir: dir,
        }
    }

    /// Does something that needs the workspace's runtime.
    pub(crate) fn inside<T>(&self, act: impl FnOnce() -> T) -> T {
        let runtime = self.runtime.as_ref().expect("it serves");
        let _entered = runtime.enter();
        act()
    }

    /// Changes settings, by their names in the admin API.
    pub(crate) fn set(&self, change: Value) {
        let Value::Object(change) = change else {
            panic!("settings are an object")
        };
        let mut settings = self.state.settings.lock().expect("not poisoned");
        *settings = settings.patch(change).expect("known settings");
    }

    /// Adds a fault, in the words of the admin API.
    pub(crate) fn fault(&self, fault: Value) {
        let fault: Fault = serde_json::from_value(fault).expect("a known fault");
        self.state.faults.add(fault);
    }

    /// What was seen so far and fits.
    pub(crate) fn seen(&self, fits: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        self.state.traffic.seen(0, fits)
    }

    /// Requests with this JSON-RPC method.
    pub(crate) fn requests(&self, method: &str) -> Vec<Seen> {
        self.seen(|seen| seen.method.as_deref() == Some(method))
    }

    /// Waits until `look` finds something.
    pub(crate) fn wait<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let mut changes = self.state.changes.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(&self.state) {
                    return found;
                }
                // Not every change is announced: look again now and then.
                let _ = tokio::time::timeout(DEADLINE / 400, changes.changed()).await;
            }
        };
        let runtime = self.runtime.as_ref().expect("it serves");
        runtime
            .block_on(async { tokio::time::timeout(DEADLINE, found).await })
            .unwrap_or_else(|_| panic!("{what} was not seen"))
    }

    /// Waits for so many requests that fit.
    pub(crate) fn wait_seen(
        &self,
        what: &str,
        min: usize,
        fits: impl Fn(&Seen) -> bool,
    ) -> Vec<Seen> {
        self.wait(what, |state| {
            let seen = state.traffic.seen(0, &fits);
            (seen.len() >= min).then_some(seen)
        })
    }

    /// Waits for so many requests of this method.
    pub(crate) fn wait_requests(&self, method: &str, min: usize) -> Vec<Seen> {
        self.wait_seen(method, min, |seen| seen.method.as_deref() == Some(method))
    }

    /// How often a tool has run.
    pub(crate) fn executions(&self, tool: &str) -> u64 {
        let all = self.state.traffic.executions();
        all.get(tool).copied().unwrap_or(0)
    }

    /// Lets every `demo__wait` return.
    pub(crate) fn release(&self) {
        self.state.demo.releases.send_modify(|count| *count += 1);
    }

    /// Open sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.state.sessions.lock().expect("not poisoned").len()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Requests that are never answered do not hold up the end.
            runtime.shutdown_background();
        }
    }
}

/// A header of a request that was seen.
pub(crate) fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    let found = seen.headers.iter().find(|(own, _)| own == name);
    found.map(|(_, value)| value.as_str())
}
