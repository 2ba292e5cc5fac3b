//! Presence on the real program: which agents the dashboard shows, and for how long.

mod common;

use aerostack_workspace::presence::Bridge;
use common::{Gateway, INITIALIZE, INITIALIZED, Setup, Workspace, call, modern, request};
use serde_json::{Value, json};

fn workspace() -> Workspace {
    Workspace::whole(Workspace::http())
}

/// A gateway whose host has this name, after its handshake.
fn connected(workspace: &Workspace, host: &str) -> Gateway {
    let mut gateway = Setup::whole(workspace).spawn();
    gateway.ask(&INITIALIZE.replace("real-tests", host));
    gateway.send(INITIALIZED);
    gateway
}

fn online(bridges: &[Bridge]) -> usize {
    bridges.iter().filter(|bridge| bridge.online).count()
}

/// The statuses of one bridge's processes, oldest first.
fn statuses(bridge: &Bridge) -> Vec<&str> {
    let instances = bridge.instances.iter();
    instances.map(|instance| instance.status.as_str()).collect()
}

/// "Restarts leave no phantom agents": one bridge, whose processes come and go.
#[test]
fn ten_restarts_show_one_bridge() {
    let workspace = workspace();
    for run in 1..=10 {
        let gateway = connected(&workspace, "host");
        workspace.wait_bridges("one online", |bridges| online(bridges) == 1);
        gateway.finish().code(0);
        let bridges = workspace.bridges();
        assert_eq!((bridges.len(), online(&bridges)), (1, 0), "{bridges:?}");
        assert_eq!(
            bridges[0].instances.len(),
            run,
            "each process is an instance of its own"
        );
    }
    let beats = workspace.requests("aerostack/heartbeat");
    assert_eq!(beats.len(), 20, "online and offline, each once");
}

/// What a heartbeat says.
#[test]
fn a_heartbeat_says_who_is_there() {
    let workspace = workspace();
    let mut gateway = connected(&workspace, "host");
    gateway.ask(&call("1", "demo__echo", r#"{"text":"x"}"#));
    workspace.wait_bridges("online", |bridges| online(bridges) == 1);
    gateway.finish().code(0);
    let beats = workspace.requests("aerostack/heartbeat");
    let beats: Vec<Value> = beats
        .iter()
        .map(|seen| serde_json::from_str::<Value>(&seen.body).expect("JSON")["params"].take())
        .collect();
    let [first, last] = &beats[..] else {
        panic!("{beats:?}")
    };
    let bridge = &first["bridge"];
    let id = bridge["id"].as_str().expect("an id");
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    assert_eq!(bridge["name"], "aerostack-gateway");
    assert_eq!(bridge["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(bridge["os"], std::env::consts::OS);
    assert_eq!(bridge["arch"], std::env::consts::ARCH);
    assert!(
        bridge["started_at"]
            .as_u64()
            .is_some_and(|at| at > 1_700_000_000)
    );
    assert_eq!(first["client"], json!({"name": "host", "version": "1"}));
    assert_eq!(
        (&first["status"], &last["status"]),
        (&json!("online"), &json!("offline"))
    );
    assert_eq!(last["calls_total"], 1);
    assert_eq!(last["bridge"]["instance"], bridge["instance"]);
}

/// Two programs are two bridges; two windows of one are one, and the first stays when the second goes.
#[test]
fn hosts_and_windows() {
    let workspace = workspace();
    let first = connected(&workspace, "one");
    let other = connected(&workspace, "two");
    workspace.wait_bridges("two bridges", |bridges| online(bridges) == 2);
    let second = connected(&workspace, "one");
    let windows = |bridges: &[Bridge]| {
        let of_one = bridges
            .iter()
            .find(|b| b.client.as_ref().is_some_and(|c| c.name == "one"));
        of_one.cloned()
    };
    workspace.wait_bridges("two windows", |bridges| {
        windows(bridges).is_some_and(|bridge| statuses(&bridge) == ["online", "online"])
    });
    second.finish().code(0);
    let bridges = workspace.bridges();
    assert_eq!((bridges.len(), online(&bridges)), (2, 2), "{bridges:?}");
    let left = windows(&bridges).expect("it is there");
    assert_eq!(statuses(&left), ["online", "offline"]);
    first.finish().code(0);
    assert_eq!(online(&workspace.bridges()), 1);
    other.finish().code(0);
    assert_eq!(online(&workspace.bridges()), 0);
}

/// AEROSTACK_BRIDGE_ID stands for the machine: containers are one bridge, or several.
#[test]
fn a_bridge_id_of_ones_own() {
    let workspace = workspace();
    for id in ["a", "b", "a"] {
        let mut gateway = Setup::whole(&workspace)
            .env("AEROSTACK_BRIDGE_ID", id)
            .spawn();
        gateway.initialize();
        workspace.wait_bridges("online", |bridges| online(bridges) == 1);
        gateway.finish().code(0);
    }
    let bridges = workspace.bridges();
    assert_eq!(bridges.len(), 2, "{bridges:?}");
    assert!(
        bridges.iter().all(|bridge| bridge.info.id.len() == 32),
        "hashed"
    );
}

/// A throw-away process that only probes never shows: not by `initialize`, not by `server/discover`.
#[test]
fn a_probe_never_shows() {
    let workspace = workspace();
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.ask(INITIALIZE);
    gateway.finish().code(0);
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.ask(&modern("0", "server/discover", ""));
    gateway.finish().code(0);
    assert!(workspace.bridges().is_empty());
    assert!(workspace.requests("aerostack/heartbeat").is_empty());
}

/// A modern host has no handshake: its first request that is no probe shows it.
#[test]
fn a_modern_host_shows_with_its_first_work() {
    for discover in [true, false] {
        let workspace = workspace();
        let mut gateway = Setup::whole(&workspace).spawn();
        if discover {
            gateway.ask(&modern("0", "server/discover", ""));
        }
        gateway.ask(&modern("1", "tools/list", ""));
        let bridges = workspace.wait_bridges("online", |bridges| online(bridges) == 1);
        let client = bridges[0].client.as_ref().expect("a client");
        assert_eq!(client.name, "real-tests");
        gateway.finish().code(0);
        assert_eq!(online(&workspace.bridges()), 0);
    }
}

/// Every way in which a process can end well says so; a plain server and one that does not know
/// heartbeats hear none, or no second one.
#[test]
fn offline_at_every_end() {
    let workspace = workspace();
    let gateway = connected(&workspace, "host");
    workspace.wait_bridges("online", |bridges| online(bridges) == 1);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait().code(0);
    assert_eq!(online(&workspace.bridges()), 0);
    let mut gateway = Setup::whole(&workspace).spawn();
    gateway.write(format!("{INITIALIZE}\n{INITIALIZED}\n").into_bytes());
    workspace.wait_bridges("online", |bridges| online(bridges) == 1);
    drop(gateway.take_stdout());
    gateway.send(&request("1", "tools/list"));
    gateway.wait().code(0);
    assert_eq!(online(&workspace.bridges()), 0);
}

/// -32601 turns heartbeats off quietly.
#[test]
fn a_workspace_without_heartbeats_is_left_alone() {
    let plain = Workspace::http();
    let mut gateway = connected(&plain, "host");
    gateway.ask(&request("1", "tools/list"));
    gateway.finish().code(0);
    assert!(plain.requests("aerostack/heartbeat").is_empty());
    let workspace = workspace();
    let fault =
        json!({"kind": "error", "code": -32_601, "message": "no", "method": "aerostack/heartbeat"});
    workspace.fault(fault);
    let mut gateway = connected(&workspace, "host");
    workspace.wait_requests("aerostack/heartbeat", 1);
    // What follows on the same workspace: the answer has been read when this is.
    gateway.ask(&request("1", "tools/list"));
    gateway.ask(&request("2", "tools/list"));
    let ended = gateway.finish().code(0);
    assert!(!ended.stderr.contains(" warn: "), "{}", ended.stderr);
    assert!(ended.lines.is_empty());
}
