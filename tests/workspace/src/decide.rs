//! Decisions as they come from the dashboard and from the admin API.

use crate::approvals::Decision;
use crate::raw::RawObject;
use crate::state::Workspace;

/// Reads a decision: `{"note"?, "params"?, "arguments"?, "by"?}`. `arguments` edits only those of a tool.
pub fn read(
    workspace: &Workspace,
    id: &str,
    approve: bool,
    body: &str,
    by: &str,
) -> Result<Decision, String> {
    let body = if body.trim().is_empty() { "{}" } else { body };
    let body = RawObject::parse(body).ok_or("the body is not a JSON object")?;
    let mut params = match body.get("params") {
        None => None,
        Some(p) if p.get() == "null" => None,
        Some(p) => Some(RawObject::parse(p.get()).ok_or("params must be an object")?),
    };
    if let Some(arguments) = body.get("arguments").filter(|a| a.get() != "null") {
        RawObject::parse(arguments.get()).ok_or("arguments must be an object")?;
        let own = workspace
            .approvals
            .with(id, |a| a.subject.params.clone())
            .ok_or("no such approval")?;
        let mut edited = params.unwrap_or(own);
        edited.set("arguments", arguments.to_owned());
        params = Some(edited);
    }
    if let Some(params) = &mut params {
        params.remove("_meta");
    }
    let note = body.string("note").filter(|n| !n.is_empty());
    let by = body.string("by").unwrap_or_else(|| by.to_owned());
    Ok(Decision {
        approve,
        note,
        by,
        params,
    })
}
