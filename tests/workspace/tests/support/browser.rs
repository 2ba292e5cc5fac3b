//! A WebDriver client as small as it can be: chromedriver speaks JSON over HTTP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use serde_json::{Value, json};

use crate::support::http;

pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
    profile: std::path::PathBuf,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let missing = "chromedriver is missing: install the packages chromium and chromium-driver";
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect(missing);
        let lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
        let said = |line: String| {
            line.split_once("successfully on port ")
                .map(|(_, p)| p.trim_matches('.').to_owned())
        };
        let port = lines
            .map_while(Result::ok)
            .find_map(said)
            .expect("chromedriver says its port");
        let profile =
            std::env::temp_dir().join(format!("aerostack-browser-{}", std::process::id()));
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let options = json!({ "args": args });
        let capabilities = json!({ "browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": options });
        let mut browser = Browser {
            driver,
            address: format!("127.0.0.1:{port}"),
            session: String::new(),
            profile,
        };
        let value = browser.ask(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": capabilities } }),
        );
        browser.session = value["sessionId"]
            .as_str()
            .expect("a session id")
            .to_owned();
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let headers = [("content-type", "application/json"), ("host", "localhost")];
        let reply = http(&self.address, method, path, &headers, &body);
        assert_eq!(reply.status, 200, "WebDriver {path}: {}", reply.body);
        reply.json()["value"].clone()
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{path}", self.session), body)
    }

    pub(crate) fn go(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits, frame by frame, until a JavaScript expression is true.
    pub(crate) fn until(&self, expression: &str) {
        let script = format!(
            "const done = arguments[0], end = Date.now() + 15000;
             (function look() {{
               let yes = false; try {{ yes = Boolean({expression}); }} catch {{}}
               if (yes || Date.now() > end) done(yes); else setTimeout(look, 15);
             }})();"
        );
        let value = self.command("execute/async", &json!({ "script": script, "args": [] }));
        let page = || self.run("return document.body.innerText");
        assert_eq!(
            value,
            true,
            "never became true: {expression}\nthe page: {}",
            page()
        );
    }

    fn element(&self, selector: &str) -> String {
        self.until(&format!("document.querySelector({})", json!(selector)));
        let found = self.command(
            "element",
            &json!({ "using": "css selector", "value": selector }),
        );
        let id = found
            .as_object()
            .and_then(|o| o.values().next())
            .and_then(Value::as_str);
        id.expect("an element").to_owned()
    }

    pub(crate) fn click(&self, selector: &str) {
        self.command(
            &format!("element/{}/click", self.element(selector)),
            &json!({}),
        );
    }

    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command(&format!("element/{element}/clear"), &json!({}));
        self.command(
            &format!("element/{element}/value"),
            &json!({ "text": text }),
        );
    }

    /// Saves the whole page as it looks at that width, light or dark.
    pub(crate) fn picture(&self, file: &std::path::Path, width: u32, scheme: &str) {
        let cdp = |cmd: &str, params: Value| {
            self.command("goog/cdp/execute", &json!({ "cmd": cmd, "params": params }))
        };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        cdp(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        cdp("Emulation.setDeviceMetricsOverride", size);
        let shot = cdp(
            "Page.captureScreenshot",
            json!({ "captureBeyondViewport": true }),
        );
        let data = shot["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .expect("Base64");
        std::fs::write(file, bytes).expect("the picture is written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask(
                "DELETE",
                &format!("/session/{}", self.session),
                &Value::Null,
            );
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
        std::fs::remove_dir_all(&self.profile).ok();
    }
}
