//! A WebDriver client as small as it can be: chromedriver speaks JSON over HTTP.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use serde_json::{Value, json};

use crate::support::http;

pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
    profile: std::path::PathBuf,
}

/// A clock that stands still until it is turned; what is due then is done.
const CLOCK: &str = "
    globalThis.aerostackClock = {
      at: 0, due: [],
      now() { return this.at; },
      after(ms, act) { this.due.push({ at: this.at + ms, act }); },
      turn(ms) {
        const end = this.at + ms;
        for (;;) {
          this.due.sort((a, b) => a.at - b.at);
          if (!this.due.length || this.due[0].at > end) break;
          const next = this.due.shift();
          this.at = Math.max(this.at, next.at);
          next.act();
        }
        this.at = end;
      },
    };";

impl Browser {
    /// A browser where one is demanded (AEROSTACK_BROWSER_TEST=1), and then its absence is a failure.
    pub(crate) fn demanded() -> Option<Self> {
        let demanded = std::env::var("AEROSTACK_BROWSER_TEST").as_deref() == Ok("1");
        demanded.then(Self::start)
    }

    /// The same with a clock in its pages that only the test turns, and with notifications that are noted.
    pub(crate) fn with_clock() -> Option<Self> {
        let browser = Self::demanded()?;
        let noted = "
            globalThis.noted = [];
            globalThis.Notification = class {
              static permission = 'granted';
              static requestPermission() { return Promise.resolve('granted'); }
              constructor(title, options) { noted.push([title, options.body]); }
            };";
        browser.cdp(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": format!("{CLOCK}{noted}") }),
        );
        Some(browser)
    }

    /// Turns the page's clock.
    pub(crate) fn turn(&self, ms: u32) {
        self.run(&format!("aerostackClock.turn({ms})"));
    }

    pub(crate) fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let profile =
            std::env::temp_dir().join(format!("aerostack-browser-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&profile).expect("a temporary directory");
        // It takes one port for both families, and another that begins at the same time may have half of it.
        let (driver, port) = (0..5)
            .find_map(|_| start_driver(&profile))
            .expect("chromedriver says its port");
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

    /// Clicks as soon as the element lies under its own middle: cards come and go above it.
    pub(crate) fn click(&self, selector: &str) {
        self.until(&format!(
            "(element => {{
               element.scrollIntoView({{ block: 'center' }});
               const box = element.getBoundingClientRect();
               return element.contains(document.elementFromPoint(
                 box.x + box.width / 2, box.y + box.height / 2));
             }})(document.querySelector({}))",
            json!(selector)
        ));
        self.command(
            &format!("element/{}/click", self.element(selector)),
            &json!({}),
        );
    }

    /// Commands of Chromium's own protocol.
    pub(crate) fn cdp(&self, cmd: &str, params: Value) -> Value {
        self.command("goog/cdp/execute", &json!({ "cmd": cmd, "params": params }))
    }

    /// The middle of an element, where it is on the screen; it is not scrolled.
    pub(crate) fn middle(&self, selector: &str) -> (i64, i64) {
        self.element(selector);
        let script = format!(
            "const b = document.querySelector({}).getBoundingClientRect();
             return [Math.round(b.left + b.width / 2), Math.round(b.top + b.height / 2)];",
            json!(selector)
        );
        let at = self.run(&script);
        (
            at[0].as_i64().expect("a number"),
            at[1].as_i64().expect("a number"),
        )
    }

    fn mouse(&self, actions: Value) {
        let mouse = json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" },
            "actions": actions });
        self.command("actions", &json!({ "actions": [mouse] }));
    }

    /// Moves the pointer, and does nothing.
    pub(crate) fn point(&self, (x, y): (i64, i64)) {
        self.mouse(json!([{ "type": "pointerMove", "duration": 0, "x": x, "y": y }]));
    }

    /// Clicks where the pointer is.
    pub(crate) fn click_there(&self) {
        self.mouse(
            json!([{ "type": "pointerDown", "button": 0 }, { "type": "pointerUp", "button": 0 }]),
        );
    }

    /// Presses the button where the pointer is, or lets it go.
    pub(crate) fn button(&self, down: bool) {
        let kind = if down { "pointerDown" } else { "pointerUp" };
        self.mouse(json!([{ "type": kind, "button": 0 }]));
    }

    /// Presses and releases keys, one after the other. Enter and Escape by their WebDriver code points.
    pub(crate) fn keys(&self, keys: &str) {
        let each = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let keyboard =
            json!({ "type": "key", "id": "keyboard", "actions": each.collect::<Vec<_>>() });
        self.command("actions", &json!({ "actions": [keyboard] }));
    }

    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command(&format!("element/{element}/clear"), &json!({}));
        self.command(
            &format!("element/{element}/value"),
            &json!({ "text": text }),
        );
    }

    /// Makes the window that wide, and light or dark.
    pub(crate) fn look(&self, width: u32, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.cdp(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.cdp("Emulation.setDeviceMetricsOverride", size);
    }

    /// Saves the whole page as it looks at that width, light or dark.
    pub(crate) fn picture(&self, file: &std::path::Path, width: u32, scheme: &str) {
        self.look(width, scheme);
        let shot = self.cdp(
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

/// Starts chromedriver on a port of its own choice; `None` if it ended instead. What Chromium keeps in the
/// home and in the temporary directory goes with the profile.
fn start_driver(profile: &Path) -> Option<(Child, String)> {
    let missing = "chromedriver is missing: install the packages chromium and chromium-driver";
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .env("HOME", profile)
        .env("TMPDIR", profile)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_CACHE_HOME")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect(missing);
    let lines = BufReader::new(driver.stdout.take().expect("piped")).lines();
    let said = |line: String| {
        let (_, port) = line.split_once("successfully on port ")?;
        Some(port.trim_matches('.').to_owned())
    };
    match lines.map_while(Result::ok).find_map(said) {
        Some(port) => Some((driver, port)),
        None => {
            driver.wait().ok();
            None
        }
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
