//! The fixture tools of the official conformance suite, there with `--conformance`.

use std::sync::OnceLock;

use crate::call::Call;
use crate::dispatch::Catalog;
use crate::raw::RawObject;
use crate::rpc::Outcome;

/// The fixtures' catalog.
pub fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| serde_json::from_str(r#"{"tools":[]}"#).expect("valid"))
}

/// True for tools that say something before their answer.
pub fn streams(_call: &Call, _tool: &str) -> bool {
    false
}

/// Executes a fixture tool.
pub async fn run(_call: &Call, _tool: &str, _arguments: &RawObject) -> Option<Outcome> {
    None
}

/// Reads a fixture resource.
pub fn read_resource(_uri: &str) -> Option<Outcome> {
    None
}

/// Gets a fixture prompt.
pub fn prompt(_call: &Call, _name: &str, _arguments: &RawObject) -> Option<Outcome> {
    None
}
