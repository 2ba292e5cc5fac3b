//! A person at the dashboard, without a browser.

use serde_json::json;

use super::{Reply, Workspace, http};

/// A login of the dashboard.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) address: String,
    pub(crate) status: u16,
    pub(crate) cookie: String,
}

impl Login {
    /// Logs in; the role must allow it.
    pub(crate) fn new(workspace: &Workspace, token: &str) -> Self {
        let login = Login::attempt(workspace, token);
        assert_eq!(login.status, 200, "the login");
        login
    }

    /// Tries to log in.
    pub(crate) fn attempt(workspace: &Workspace, token: &str) -> Self {
        let mut login = Login::of(workspace);
        let reply = login.post("/api/login", &json!({ "token": token }).to_string());
        login.status = reply.status;
        let cookie = reply.header("set-cookie").and_then(|c| c.split(';').next());
        login.cookie = cookie.unwrap_or_default().to_owned();
        login
    }

    /// Nobody.
    pub(crate) fn of(workspace: &Workspace) -> Self {
        Login {
            address: workspace.address(),
            ..Login::default()
        }
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        let origin = format!("http://{}", self.address);
        let headers = [
            ("origin", origin.as_str()),
            ("cookie", &self.cookie),
            ("content-type", "application/json"),
        ];
        http(&self.address, "POST", path, &headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        http(&self.address, "GET", path, &[("cookie", &self.cookie)], "")
    }
}
