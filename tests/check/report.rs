//! A report as it has to be: the same steps, to the letter, as text and as JSON, and the exit code.

use crate::common::{Gateway, Setup, TOKEN};
use serde_json::{Value, json};

/// A step, in the order of the report.
struct Step {
    status: &'static str,
    name: &'static str,
    text: String,
    /// Only the document has it.
    silent: bool,
}

/// What both forms of a report have to say.
pub(crate) struct Report {
    url: String,
    origin: String,
    steps: Vec<Step>,
    proxy: Value,
    workspace: Value,
    token: Value,
    tools: Value,
    dashboard: Option<String>,
    code: i32,
}

impl Report {
    /// Of a diagnosis of this URL. `{url}` and `{origin}` in later texts stand for its parts.
    pub(crate) fn of(url: &str) -> Self {
        let path = url.find("://").map_or(0, |at| at + 3);
        let end = url[path..].find('/').map_or(url.len(), |at| path + at);
        Self {
            url: url.to_owned(),
            origin: url[..end].to_owned(),
            steps: Vec::new(),
            proxy: Value::Null,
            workspace: Value::Null,
            token: Value::Null,
            tools: Value::Null,
            dashboard: None,
            code: 0,
        }
    }

    /// Of settings that can not be used.
    pub(crate) fn of_settings(text: &str) -> Self {
        let report = Self::of("").step("failed", "settings", text);
        Self { code: 2, ..report }
    }

    pub(crate) fn step(mut self, status: &'static str, name: &'static str, text: &str) -> Self {
        let text = text
            .replace("{url}", &self.url)
            .replace("{origin}", &self.origin);
        let silent = false;
        self.steps.push(Step {
            status,
            name,
            text,
            silent,
        });
        if status == "failed" {
            self.code = 1;
        }
        self
    }

    pub(crate) fn ok(self, name: &'static str, text: &str) -> Self {
        self.step("ok", name, text)
    }

    pub(crate) fn failed(self, name: &'static str, text: &str) -> Self {
        self.step("failed", name, text)
    }

    /// The first step, passed.
    pub(crate) fn reachable(self) -> Self {
        self.ok("reachable", "Workspace URL reachable ({url})")
    }

    /// A step that only the document has.
    pub(crate) fn silent(self, status: &'static str, name: &'static str, text: &str) -> Self {
        let mut report = self.step(status, name, text);
        report.steps.last_mut().expect("just added").silent = true;
        report
    }

    pub(crate) fn via(mut self, proxy: &str) -> Self {
        self.proxy = Value::from(proxy);
        self.step("note", "proxy", &format!("Via proxy {proxy}"))
    }

    pub(crate) fn workspace(mut self, name: Option<&str>, dashboard: &str) -> Self {
        self.workspace = json!({ "name": name, "dashboard_url": dashboard });
        self.dashboard = Some(dashboard.to_owned());
        self
    }

    pub(crate) fn token(mut self, name: Option<&str>, role: Option<&str>) -> Self {
        self.token = json!({ "name": name, "role": role });
        self
    }

    pub(crate) fn tools(mut self, count: u64) -> Self {
        self.tools = Value::from(count);
        self
    }

    /// Runs the diagnosis in both forms and compares all of it.
    pub(crate) fn compare(self, setup: impl Fn() -> Setup) {
        let [text, document] =
            [&["--check"][..], &["--check", "--json"]].map(|args| setup().args(args).spawn());
        let (code, text) = ended(text);
        assert_eq!(text, self.text());
        assert_eq!(code, Some(self.code), "{text}");
        let (code, document) = ended(document);
        assert_eq!(document.lines().count(), 1, "{document}");
        let seen: Value = serde_json::from_str(&document).expect("one JSON document");
        assert_eq!(without_times(seen), self.document());
        assert_eq!(code, Some(self.code), "{document}");
    }

    fn text(&self) -> String {
        let mut text = "Aerostack Connection Check\n".to_owned();
        for step in self.steps.iter().filter(|step| !step.silent) {
            let mark = match step.status {
                "skipped" | "note" => "-",
                status => status,
            };
            text += &format!("[{mark}] {}\n", step.text);
        }
        text += match self.code {
            0 => "All checks passed. Your agent is connected.\n",
            _ => "Not all checks passed: see above for what to fix.\n",
        };
        if let Some(url) = &self.dashboard {
            text += &format!("Dashboard: {url}\n");
        }
        text
    }

    fn document(&self) -> Value {
        let steps = self
            .steps
            .iter()
            .map(|step| json!({ "name": step.name, "status": step.status, "text": step.text }));
        json!({
            "schema": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "url": self.url,
            "ok": self.code == 0,
            "proxy": self.proxy,
            "workspace": self.workspace,
            "token": self.token,
            "tools": self.tools,
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

/// Exit code and stdout. stderr stays empty, and the token is nowhere.
pub(crate) fn ended(mut gateway: Gateway) -> (Option<i32>, String) {
    let stdout = std::fs::File::from(gateway.take_stdout());
    let text = std::io::read_to_string(stdout).expect("UTF-8");
    let ended = gateway.wait();
    assert_eq!(ended.stderr, "");
    assert!(!text.contains(TOKEN), "{text}");
    (ended.status.code(), of_any_resolver(&text))
}

/// What a resolver says of a name that it does not know differs between systems.
fn of_any_resolver(text: &str) -> String {
    let begin = "was not found (";
    let Some((before, after)) = text.split_once(begin) else {
        return text.to_owned();
    };
    let (words, after) = after.split_once(')').expect("the words end");
    assert!(!words.is_empty());
    format!("{before}{begin}{{resolver}}){after}")
}

/// The document without its measurements, which have to be there where a step took its time.
fn without_times(mut document: Value) -> Value {
    for step in document["steps"].as_array_mut().expect("steps") {
        let step = step.as_object_mut().expect("an object");
        let took = step.remove("took_us");
        if step["status"] == "failed" || step["name"] == "reachable" {
            assert!(took.expect("it was measured").is_u64());
        }
        let timings = step.remove("timings");
        assert_eq!(
            timings.is_some(),
            step["name"] == "reachable" && step["status"] == "ok"
        );
        let Some(Value::Object(timings)) = timings else {
            continue;
        };
        let names: Vec<&str> = timings.keys().map(String::as_str).collect();
        let all = [
            "connect_us",
            "dns_us",
            "first_byte_us",
            "proxy_us",
            "tls_us",
        ];
        assert_eq!(names, all);
        assert!(timings.values().all(Value::is_u64), "{timings:?}");
        assert_ne!(timings["first_byte_us"], 0);
    }
    document
}
