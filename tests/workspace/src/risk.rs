//! What a request may do, as far as its server, its agent or its category says.

use serde::{Deserialize, Serialize};

use crate::raw::RawObject;

/// What a request may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// It only reads.
    Reads,
    /// It changes something, and destroys nothing.
    Changes,
    /// Nobody has said what it does.
    #[default]
    Unknown,
    /// It can destroy what is there, or reach what is shared.
    Destructive,
}

impl Risk {
    /// A tool's, by the annotations in its own server's list: "destructiveHint … is meaningful only when
    /// readOnlyHint == false". (MCP, schema)
    pub fn of_tool(tool: &RawObject) -> Risk {
        let annotations = tool.object("annotations").unwrap_or_default();
        let says = |name: &str| annotations.read::<bool>(name);
        match (says("readOnlyHint"), says("destructiveHint")) {
            (Some(true), _) => Risk::Reads,
            (_, Some(true)) => Risk::Destructive,
            (_, Some(false)) => Risk::Changes,
            (Some(false) | None, None) => Risk::Unknown,
        }
    }

    /// A guardian request's, by its category and by what the agent calls its risk.
    pub fn of_guardian(category: &str, said: &str) -> Risk {
        let category_destroys = matches!(
            category,
            "file_delete" | "shell_destructive" | "config_modify" | "deploy" | "database"
        );
        if category_destroys || matches!(said, "high" | "critical") {
            return Risk::Destructive;
        }
        if category == "git_push" || said == "low" {
            return Risk::Changes;
        }
        Risk::Unknown
    }

    /// A consent to many calls may be given for it.
    pub fn may_be_granted(self) -> bool {
        match self {
            Risk::Reads | Risk::Changes | Risk::Unknown => true,
            Risk::Destructive => false,
        }
    }
}
