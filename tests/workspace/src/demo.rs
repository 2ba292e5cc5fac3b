//! The demo servers: `demo`, `github` and `files`, with a little state of their own.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use crate::call::{Call, Era};
use crate::content;
use crate::input;
use crate::raw::{RawObject, raw};
use crate::rpc::{self, Outcome, RpcError};
use crate::sync::Locked;

/// What the demo servers remember.
#[derive(Debug)]
pub struct DemoState {
    files: Mutex<BTreeMap<String, String>>,
    repos: Mutex<BTreeMap<String, Vec<String>>>,
    /// The tool demo__extra is there.
    pub extra: AtomicBool,
    /// Counts releases of `demo__wait`.
    pub releases: watch::Sender<u64>,
}

impl Default for DemoState {
    fn default() -> Self {
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let repos = [
            ("acme/website", vec!["The logo is too small".to_owned()]),
            ("acme/old-prototype", vec![]),
        ];
        DemoState {
            files: Mutex::new(BTreeMap::from([
                file(
                    "notes/welcome.md",
                    "# Welcome\n\nThis file lives in the reference workspace.\n",
                ),
                file("config/app.toml", "name = \"demo\"\ndebug = false\n"),
            ])),
            repos: Mutex::new(repos.into_iter().map(|(n, i)| (n.to_owned(), i)).collect()),
            extra: AtomicBool::new(false),
            releases: watch::channel(0).0,
        }
    }
}

/// True for tools that say something before their answer, so that it has to travel as a stream.
pub fn streams(call: &Call, tool: &str) -> bool {
    match tool {
        "demo__slow" | "demo__wait" => call.meta().get("progressToken").is_some(),
        "demo__ask" | "demo__sample" | "demo__roots" => !call.is_modern(),
        "demo__big_sse" | "demo__log" => true,
        _ => false,
    }
}

/// Executes a tool of the demo servers; `None` when there is no such tool.
pub async fn run(call: &Call, tool: &str, arguments: &RawObject) -> Option<Outcome> {
    match tool.split_once("__")? {
        ("demo", name) => demo(call, name, arguments).await,
        ("github", name) => github(&call.workspace.demo, name, arguments),
        ("files", name) => files(call, name, arguments),
        _ => None,
    }
}

fn missing(name: &str) -> Outcome {
    content::failure(&format!(
        "invalid arguments: {name} is missing or has the wrong type"
    ))
}

async fn demo(call: &Call, name: &str, arguments: &RawObject) -> Option<Outcome> {
    Some(match name {
        "echo" => match arguments.get("text").filter(|t| t.get().starts_with('"')) {
            Some(text) => content::raw_string(text),
            None => missing("text"),
        },
        "raw" => content::structured(&arguments.to_raw()),
        "add" => add(arguments),
        "slow" => slow(call, arguments).await,
        "wait" => wait(call).await,
        "big" => content::text(&filler(arguments.read("bytes").unwrap_or(0))),
        "big_sse" => {
            log_messages(call, arguments.read("events").unwrap_or(0));
            content::text(&filler(arguments.read("bytes").unwrap_or(0)))
        }
        "fail" => {
            let message = arguments
                .string("message")
                .unwrap_or_else(|| "it failed, as asked".to_owned());
            match arguments.read::<i64>("code") {
                Some(code) => Err(RpcError::new(code, message)),
                None => content::failure(&message),
            }
        }
        "ask" => ask(call, arguments).await,
        "sample" => sample(call, arguments).await,
        "roots" => answer_text(call.ask("roots/list", &raw(&json!({}))).await),
        "notify" => {
            let list = arguments
                .string("list")
                .unwrap_or_else(|| "tools".to_owned());
            let wants = format!("{list}ListChanged");
            call.workspace
                .announce(&format!("notifications/{list}/list_changed"), &wants);
            content::text("announced")
        }
        "toggle" => {
            let on = !call.workspace.demo.extra.fetch_xor(true, Ordering::SeqCst);
            call.workspace
                .announce("notifications/tools/list_changed", "toolsListChanged");
            content::text(if on {
                "demo__extra is there"
            } else {
                "demo__extra is gone"
            })
        }
        "extra" if call.workspace.demo.extra.load(Ordering::SeqCst) => content::text("extra"),
        "log" => {
            log_messages(call, arguments.read("count").unwrap_or(3));
            content::text("logged")
        }
        "route" => content::structured(&arguments.to_raw()),
        _ => return None,
    })
}

fn add(arguments: &RawObject) -> Outcome {
    match (arguments.read::<f64>("a"), arguments.read::<f64>("b")) {
        (Some(a), Some(b)) => content::structured(&raw(&json!({ "sum": a + b }))),
        (None, _) => missing("a"),
        (_, None) => missing("b"),
    }
}

async fn slow(call: &Call, arguments: &RawObject) -> Outcome {
    let ms: u64 = arguments.read("ms").unwrap_or(1000);
    let steps: u64 = arguments.read("steps").unwrap_or(4).max(1);
    for step in 1..=steps {
        tokio::time::sleep(Duration::from_micros(ms * 1000 / steps)).await;
        call.progress(step, steps, &format!("step {step} of {steps}"));
    }
    content::text(&format!("done after {ms} ms"))
}

async fn wait(call: &Call) -> Outcome {
    let mut releases = call.workspace.demo.releases.subscribe();
    call.progress(0, 1, "waiting");
    releases.changed().await.ok();
    content::text("released")
}

fn filler(bytes: usize) -> String {
    "0123456789abcdef"
        .chars()
        .cycle()
        .take(bytes.min(256 << 20))
        .collect()
}

fn log_messages(call: &Call, count: u64) {
    for n in 1..=count {
        let data =
            json!({ "level": "info", "logger": "demo", "data": format!("message {n} of {count}") });
        call.notify("notifications/message", &raw(&data));
    }
}

async fn ask(call: &Call, arguments: &RawObject) -> Outcome {
    let question = arguments
        .string("question")
        .unwrap_or_else(|| "What is your name?".to_owned());
    let schema = json!({ "type": "object", "properties": { "answer": { "type": "string" } }, "required": ["answer"] });
    let params = json!({ "message": question, "requestedSchema": schema });
    if let Era::Modern { .. } = call.era {
        return match input::response(call, "answer") {
            Some(answer) => content::text(&format!("answered: {}", answer.get())),
            None => input::required(
                call,
                &[("answer", "elicitation/create", params)],
                Some("demo__ask"),
            ),
        };
    }
    if !call.client_can("elicitation") {
        return content::failure("the client did not declare the capability elicitation");
    }
    answer_text(call.ask("elicitation/create", &raw(&params)).await)
}

async fn sample(call: &Call, arguments: &RawObject) -> Outcome {
    let Some(prompt) = arguments.string("prompt") else {
        return missing("prompt");
    };
    let message = json!({ "role": "user", "content": { "type": "text", "text": prompt } });
    let params = json!({ "messages": [message], "maxTokens": 100 });
    if let Era::Modern { .. } = call.era {
        return match input::response(call, "sample") {
            Some(answer) => content::text(&format!("answered: {}", answer.get())),
            None => input::required(call, &[("sample", "sampling/createMessage", params)], None),
        };
    }
    if !call.client_can("sampling") {
        return content::failure("the client did not declare the capability sampling");
    }
    answer_text(call.ask("sampling/createMessage", &raw(&params)).await)
}

fn answer_text(answer: Outcome) -> Outcome {
    match answer {
        Ok(answer) => content::text(&format!("answered: {}", answer.get())),
        Err(e) => content::failure(&format!(
            "the client answered with an error: {}",
            e.raw.get()
        )),
    }
}

fn github(state: &DemoState, name: &str, arguments: &RawObject) -> Option<Outcome> {
    let mut repos = state.repos.locked();
    if name == "list_repos" {
        return Some(content::structured(&raw(
            &json!({ "repos": repos.keys().collect::<Vec<_>>() }),
        )));
    }
    if !["create_issue", "list_issues", "delete_repo"].contains(&name) {
        return None;
    }
    let Some(repo) = arguments.string("repo") else {
        return Some(missing("repo"));
    };
    Some(match name {
        "create_issue" => {
            let Some(title) = arguments.string("title") else {
                return Some(missing("title"));
            };
            let issues = repos.entry(repo.clone()).or_default();
            issues.push(title.clone());
            content::structured(&raw(
                &json!({ "repo": repo, "number": issues.len(), "title": title }),
            ))
        }
        "list_issues" => match repos.get(&repo) {
            Some(issues) => content::structured(&raw(&json!({ "repo": repo, "issues": issues }))),
            None => content::failure(&format!("no repository {repo}")),
        },
        // A repository that is not there is deleted all the same: tests may delete what they like.
        _ => {
            repos.remove(&repo);
            content::structured(&raw(&json!({ "deleted": repo })))
        }
    })
}

fn files(call: &Call, name: &str, arguments: &RawObject) -> Option<Outcome> {
    let mut files = call.workspace.demo.files.locked();
    if name == "list" {
        return Some(content::structured(&raw(
            &json!({ "files": files.keys().collect::<Vec<_>>() }),
        )));
    }
    if !["read", "write", "delete"].contains(&name) {
        return None;
    }
    let Some(path) = arguments.string("path") else {
        return Some(missing("path"));
    };
    Some(match name {
        "read" => match files.get(&path) {
            Some(text) => content::text(text),
            None => content::failure(&format!("no file {path}")),
        },
        "write" => {
            let Some(text) = arguments.string("text") else {
                return Some(missing("text"));
            };
            let new = files.insert(path.clone(), text).is_none();
            drop(files);
            if new {
                call.workspace.announce(
                    "notifications/resources/list_changed",
                    "resourcesListChanged",
                );
            }
            call.workspace.announce_resource(&format!("files://{path}"));
            content::text(&format!("wrote {path}"))
        }
        _ => {
            let was = files.remove(&path).is_some();
            drop(files);
            if was {
                call.workspace.announce(
                    "notifications/resources/list_changed",
                    "resourcesListChanged",
                );
            }
            content::text(&format!("deleted {path}"))
        }
    })
}

/// The files as resources.
pub fn resources(state: &DemoState) -> Vec<RawObject> {
    let files = state.files.locked();
    let resource = |path: &String| {
        let object =
            json!({ "uri": format!("files://{path}"), "name": path, "mimeType": "text/plain" });
        RawObject::parse(&object.to_string()).expect("an object")
    };
    files.keys().map(resource).collect()
}

/// Reads a file as a resource.
pub fn read_resource(state: &DemoState, uri: &str) -> Option<Outcome> {
    let files = state.files.locked();
    let text = files.get(uri.strip_prefix("files://")?)?;
    Some(content::resource(uri, "text/plain", text))
}

/// A prompt of the demo servers.
pub fn prompt(name: &str, arguments: &RawObject) -> Option<Outcome> {
    let need = |argument: &str| {
        arguments
            .string(argument)
            .ok_or_else(|| RpcError::new(rpc::INVALID_PARAMS, format!("{argument} is missing")))
    };
    let text = match name {
        "demo__greet" => need("name").map(|n| format!("Please greet {n} warmly.")),
        "github__triage" => {
            need("repo").map(|r| format!("List the issues of {r} and sort them by urgency."))
        }
        _ => return None,
    };
    Some(text.and_then(|t| content::prompt(&json!({ "type": "text", "text": t }))))
}
