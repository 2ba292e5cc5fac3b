//! The whole engine where no machine alone shows it.

use super::*;

/// A built-in tool that was called before anybody knew that the workspace is away is answered under its call's
/// own id, and by the tool: what it asked the workspace is nothing to the host.
#[test]
fn a_tool_called_before_an_outage_is_known_is_answered() {
    let mut now = Now {
        mono: Instant::now(),
        wall_ms: 1_795_305_600_000,
    };
    let mut bridge = Bridge::new(testing::config(&[]), 1, now);
    let lines = r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-06-18"}}
{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"aerostack__agent_chat","arguments":{"action":"read"}}}
{"jsonrpc":"2.0","id":"g","method":"tools/call","params":{"name":"aerostack__local_guardian","arguments":{"category":"deploy","action":"x"}}}
"#;
    bridge.handle_input(Input::Stdin(lines.as_bytes()), now);
    let end = now.mono + Duration::from_secs(5);
    let mut heard = Vec::new();
    loop {
        while let Some(output) = bridge.poll_output() {
            if let Output::Stdout(line) = output {
                heard.push(line);
            }
        }
        match bridge.poll_timeout().filter(|at| *at <= end) {
            Some(at) => now.mono = at,
            None => break,
        }
        bridge.handle_input(Input::Timeout, now);
    }
    let said = |id: &str| {
        let start = format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",");
        let mut own = heard
            .iter()
            .filter(|line| line.starts_with(start.as_bytes()));
        let line = own.next().unwrap_or_else(|| panic!("{id}: no answer"));
        testing::words(line)
    };
    assert!(said("i").contains("aerostack-gateway"));
    assert!(said("c").starts_with("error: "), "{}", said("c"));
    assert!(said("g").contains("do NOT proceed"), "{}", said("g"));
    assert_eq!(heard.len(), 3);
}
