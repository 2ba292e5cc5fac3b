//! From a method to its outcome: gates first, then lists, tools, resources, prompts and extensions.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::json;

use crate::approvals::{APPROVAL_META, Claim, Subject};
use crate::call::Call;
use crate::raw::{RawObject, raw};
use crate::risk::Risk;
use crate::rpc::{self, Outcome, RpcError};
use crate::settings::ApprovalMode;
use crate::sync::Locked;
use crate::{conformance, demo, extensions, input};

/// Lists that do not change.
#[derive(Debug, Deserialize)]
pub struct Catalog {
    /// Tools, in the form of tools/list.
    pub tools: Vec<RawObject>,
    /// Resources.
    #[serde(default)]
    pub resources: Vec<RawObject>,
    /// Resource templates.
    #[serde(default)]
    pub templates: Vec<RawObject>,
    /// Prompts.
    #[serde(default)]
    pub prompts: Vec<RawObject>,
}

/// The demo servers' catalog.
pub fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        serde_json::from_str(include_str!("catalog.json")).expect("catalog.json is valid")
    })
}

/// Answers a request: asks for approval where a gate demands it, honours an approval that is named.
pub async fn answer(call: &Call) -> Outcome {
    let approval = call.meta().string(APPROVAL_META);
    if let Some(id) = approval.filter(|_| !call.method.starts_with("aerostack/")) {
        return approved(call, &id).await;
    }
    if is_gated(call) {
        let subject = subject(call).await;
        let Some(grant) = call.workspace.grants.use_for(&subject) else {
            return Err(call.workspace.ask_approval(subject));
        };
        let words = format!("{} ({})", grant.what, grant.id);
        let who = &call.client.name;
        call.workspace
            .log(who, "ran under a 15-minute approval", words);
    }
    execute(call).await
}

fn is_gated(call: &Call) -> bool {
    let settings = call.workspace.settings();
    match call.tool() {
        Some(tool) => settings.gated(&tool),
        // A glob such as `*` means tools; other methods are gated by their own name only.
        None => settings.gates.contains(&call.method),
    }
}

async fn subject(call: &Call) -> Subject {
    let mut params = call.params.clone();
    params.remove("_meta");
    let tool = call.tool();
    let what = tool.clone().unwrap_or_else(|| call.method.clone());
    let risk = match &tool {
        Some(tool) => risk(call, tool).await,
        None => Risk::Unknown,
    };
    Subject {
        method: call.method.clone(),
        tool,
        category: None,
        params,
        reason: format!("A rule of this workspace: a person decides before {what} runs."),
        client: call.client.clone(),
        agent: call.agent(),
        token: call.token.clone(),
        risk,
    }
}

/// What a tool's own server says that it may do.
async fn risk(call: &Call, tool: &str) -> Risk {
    let workspace = &call.workspace;
    if let Some((upstream, name)) = workspace.upstreams.iter().find_map(|u| u.own(tool)) {
        return upstream.risk(name).await;
    }
    let fixtures = workspace
        .identity
        .conformance
        .then(|| conformance::catalog().tools.iter());
    let mut all = catalog().tools.iter().chain(fixtures.into_iter().flatten());
    let found = all.find(|t| t.string("name").as_deref() == Some(tool));
    found.map_or(Risk::Unknown, Risk::of_tool)
}

/// The retry of an approved request: executed once, answered as often as it is asked.
async fn approved(call: &Call, id: &str) -> Outcome {
    let approvals = &call.workspace.approvals;
    if approvals.with(id, |a| a.subject.token != call.token) == Some(true) {
        return Err(RpcError::params("unknown approval_id"));
    }
    loop {
        match approvals.claim(id, &call.method, &call.params) {
            Claim::Execute => {
                // The execution outlives a lost connection: its outcome is recorded in any case.
                let (call, id) = (call.clone(), id.to_owned());
                let run = tokio::spawn(async move {
                    let outcome = execute(&call).await;
                    let executes =
                        call.workspace.settings().approval_mode == ApprovalMode::Executed;
                    call.workspace
                        .approvals
                        .executed(&id, outcome.clone(), executes);
                    call.workspace.log("workspace", "executed", id);
                    outcome
                });
                let failed = |_| {
                    Err(RpcError::new(
                        rpc::INTERNAL_ERROR,
                        "the execution broke off",
                    ))
                };
                return run.await.unwrap_or_else(failed);
            }
            Claim::Recorded(outcome) => return outcome,
            Claim::Running(mut changed) => {
                changed.changed().await.ok();
            }
            Claim::Pending => return Err(call.workspace.approval_error(id)),
            Claim::Refused(error) => return Err(error),
        }
    }
}

/// Executes a request, whatever the gates say.
pub async fn execute(call: &Call) -> Outcome {
    let no_tools = call.workspace.settings().no_tools;
    match call.method.as_str() {
        "ping" if !call.is_modern() => Ok(raw(&json!({}))),
        "tools/list" if !no_tools => page(call, "tools", tools(call).await),
        "tools/call" if !no_tools => call_tool(call).await,
        "resources/list" => page(call, "resources", resources(call).await),
        "resources/templates/list" => page(call, "resourceTemplates", templates(call).await),
        "resources/read" => read_resource(call).await,
        "prompts/list" => page(call, "prompts", prompts(call).await),
        "prompts/get" => get_prompt(call).await,
        "completion/complete" => complete(call),
        "logging/setLevel" if !call.is_modern() => set_level(call),
        "resources/subscribe" | "resources/unsubscribe" if !call.is_modern() => subscribe(call),
        method if method.starts_with("aerostack/") => extensions::answer(call),
        method => Err(RpcError::new(
            rpc::METHOD_NOT_FOUND,
            format!("method not found: {method}"),
        )),
    }
}

/// One page of a list. Cursors are opaque to clients; one that we did not give out is refused.
fn page(call: &Call, name: &str, mut all: Vec<RawObject>) -> Outcome {
    let size = call.workspace.settings().page_size;
    let from = match call.params.get("cursor") {
        None => 0,
        Some(cursor) => serde_json::from_str::<String>(cursor.get())
            .ok()
            .and_then(|c| c.strip_prefix("page:")?.parse::<usize>().ok())
            .filter(|at| *at < all.len() && size > 0)
            .ok_or_else(|| RpcError::params("invalid cursor"))?,
    };
    let mut result = RawObject::default();
    let rest = all.split_off(from);
    let end = if size == 0 {
        rest.len()
    } else {
        size.min(rest.len())
    };
    result.set(name, raw(&rest[..end]));
    if end < rest.len() {
        result.set("nextCursor", raw(&format!("page:{}", from + end)));
    }
    Ok(result.to_raw())
}

async fn tools(call: &Call) -> Vec<RawObject> {
    let workspace = &call.workspace;
    let mut all = Vec::new();
    if workspace.settings.locked().demo {
        all.extend(catalog().tools.clone());
    }
    if workspace.demo.extra.load(Ordering::SeqCst) {
        let extra = r#"{"name":"demo__extra","inputSchema":{"type":"object"}}"#;
        all.extend(RawObject::parse(extra));
    }
    if workspace.identity.conformance {
        all.extend(conformance::catalog().tools.clone());
    }
    for upstream in &workspace.upstreams {
        all.extend(
            upstream
                .list("tools/list", "tools")
                .await
                .into_iter()
                .map(|t| upstream.renamed(t)),
        );
    }
    all
}

async fn resources(call: &Call) -> Vec<RawObject> {
    let workspace = &call.workspace;
    let mut all = Vec::new();
    if workspace.settings.locked().demo {
        all.extend(demo::resources(&workspace.demo));
    }
    if workspace.identity.conformance {
        all.extend(conformance::catalog().resources.clone());
    }
    for upstream in &workspace.upstreams {
        all.extend(upstream.list("resources/list", "resources").await);
    }
    all
}

async fn templates(call: &Call) -> Vec<RawObject> {
    let workspace = &call.workspace;
    let mut all = Vec::new();
    if workspace.settings.locked().demo {
        all.extend(catalog().templates.clone());
    }
    if workspace.identity.conformance {
        all.extend(conformance::catalog().templates.clone());
    }
    for upstream in &workspace.upstreams {
        all.extend(
            upstream
                .list("resources/templates/list", "resourceTemplates")
                .await,
        );
    }
    all
}

async fn prompts(call: &Call) -> Vec<RawObject> {
    let workspace = &call.workspace;
    let mut all = Vec::new();
    if workspace.settings.locked().demo {
        all.extend(catalog().prompts.clone());
    }
    if workspace.identity.conformance {
        all.extend(conformance::catalog().prompts.clone());
    }
    for upstream in &workspace.upstreams {
        all.extend(
            upstream
                .list("prompts/list", "prompts")
                .await
                .into_iter()
                .map(|p| upstream.renamed(p)),
        );
    }
    all
}

async fn call_tool(call: &Call) -> Outcome {
    let Some(name) = call.params.string("name") else {
        return Err(RpcError::params("tools/call needs a name"));
    };
    if let Some((upstream, name)) = call.workspace.upstreams.iter().find_map(|u| u.own(&name)) {
        call.workspace
            .traffic
            .executed(&format!("{}__{name}", upstream.name));
        return upstream.forward(call, Some(name)).await;
    }
    let arguments = input::arguments(call)?;
    input::state(call)?;
    call.workspace.traffic.executed(&name);
    let demo = call.workspace.settings.locked().demo;
    let outcome = match demo {
        true => demo::run(call, &name, &arguments).await,
        false => None,
    };
    let outcome = match outcome {
        Some(outcome) => Some(outcome),
        None if call.workspace.identity.conformance => {
            conformance::run(call, &name, &arguments).await
        }
        None => None,
    };
    // "Unknown tools" are protocol errors: -32602. (tools, error handling)
    outcome.unwrap_or_else(|| Err(RpcError::params(format!("unknown tool: {name}"))))
}

async fn read_resource(call: &Call) -> Outcome {
    let Some(uri) = call.params.string("uri") else {
        return Err(RpcError::params("resources/read needs a uri"));
    };
    if call.workspace.settings.locked().demo
        && let Some(outcome) = demo::read_resource(&call.workspace.demo, &uri)
    {
        return outcome;
    }
    if call.workspace.identity.conformance
        && let Some(outcome) = conformance::read_resource(&uri)
    {
        return outcome;
    }
    for upstream in &call.workspace.upstreams {
        if let Ok(result) = upstream.forward(call, None).await {
            return Ok(result);
        }
    }
    // -32002 before 2026-07-28, -32602 from then on.
    let code = if call.is_modern() {
        rpc::INVALID_PARAMS
    } else {
        -32002
    };
    let data = raw(&json!({ "uri": uri }));
    Err(RpcError::with_data(
        code,
        format!("resource not found: {uri}"),
        &data,
    ))
}

async fn get_prompt(call: &Call) -> Outcome {
    let Some(name) = call.params.string("name") else {
        return Err(RpcError::params("prompts/get needs a name"));
    };
    if let Some((upstream, name)) = call.workspace.upstreams.iter().find_map(|u| u.own(&name)) {
        return upstream.forward(call, Some(name)).await;
    }
    let arguments = input::arguments(call)?;
    if call.workspace.settings.locked().demo
        && let Some(outcome) = demo::prompt(&name, &arguments)
    {
        return outcome;
    }
    if call.workspace.identity.conformance
        && let Some(outcome) = conformance::prompt(call, &name, &arguments)
    {
        return outcome;
    }
    Err(RpcError::params(format!("unknown prompt: {name}")))
}

fn complete(call: &Call) -> Outcome {
    let (Some(_), Some(argument)) = (call.params.object("ref"), call.params.object("argument"))
    else {
        return Err(RpcError::params(
            "completion/complete needs ref and argument",
        ));
    };
    let begun = argument.string("value").unwrap_or_default();
    let known = ["acme/website", "acme/old-prototype"];
    let values: Vec<_> = known.iter().filter(|v| v.starts_with(&begun)).collect();
    Ok(raw(
        &json!({ "completion": { "values": values, "total": values.len(), "hasMore": false } }),
    ))
}

fn set_level(call: &Call) -> Outcome {
    const LEVELS: [&str; 8] = [
        "debug",
        "info",
        "notice",
        "warning",
        "error",
        "critical",
        "alert",
        "emergency",
    ];
    match call.params.string("level") {
        Some(level) if LEVELS.contains(&level.as_str()) => Ok(raw(&json!({}))),
        _ => Err(RpcError::params("unknown log level")),
    }
}

fn subscribe(call: &Call) -> Outcome {
    let (Some(uri), Some(session)) = (call.params.string("uri"), call.session()) else {
        return Err(RpcError::params("the request needs a uri"));
    };
    let mut subscriptions = session.subscriptions.locked();
    if call.method == "resources/subscribe" {
        subscriptions.insert(uri);
    } else {
        subscriptions.remove(&uri);
    }
    Ok(raw(&json!({})))
}

/// True if the answer has to travel as an event stream, because something comes before it.
pub fn streams(call: &Call) -> bool {
    let Some(tool) = call.tool() else {
        return false;
    };
    let upstream = call
        .workspace
        .upstreams
        .iter()
        .any(|u| u.own(&tool).is_some());
    // A server behind us may ask something of a client that can answer, before it answers itself.
    let asks = ["sampling", "elicitation", "roots"];
    let asks = call.session().is_some() && asks.iter().any(|c| call.client_can(c));
    (upstream && (asks || call.meta().get("progressToken").is_some()))
        || demo::streams(call, &tool)
        || (call.workspace.identity.conformance && conformance::streams(call, &tool))
}
