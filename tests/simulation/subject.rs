//! What a request asks for, as a consent sees it: read with serde_json alone, so that the engine's own
//! comparison is checked and not trusted.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Method and members of `params`, each as it was written; without `_meta`, which names the approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    method: String,
    members: BTreeMap<String, String>,
}

impl Subject {
    /// `None`: this is no request.
    pub(crate) fn of(body: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Outer<'a> {
            method: String,
            #[serde(borrow)]
            params: Option<BTreeMap<String, &'a RawValue>>,
        }
        let outer: Outer<'_> = serde_json::from_str(body).ok()?;
        let members = outer.params.unwrap_or_default().into_iter();
        let members = members.filter(|(name, _)| name != "_meta");
        Some(Self {
            method: outer.method,
            members: members
                .map(|(name, raw)| (name, raw.get().to_owned()))
                .collect(),
        })
    }

    /// The same with arguments that the person wrote.
    pub(crate) fn edit(&mut self, arguments: &str) {
        self.members
            .insert("arguments".to_owned(), arguments.to_owned());
    }
}

#[test]
fn another_spelling_is_another_request() {
    let of = |arguments: &str| {
        let text = format!(
            "{{\"method\":\"tools/call\",\"params\":{{\"_meta\":{{\"x\":1}},\"name\":\"t\",\"arguments\":{arguments}}}}}"
        );
        Subject::of(&text).expect("a request")
    };
    let given = of("{\"n\":1E2}");
    assert_eq!(of("{\"n\":1E2}"), given);
    for other in ["{\"n\":1e2}", "{\"n\":100}", "{\"n\":1E2 }", "{}"] {
        let mut edited = given.clone();
        assert_ne!(of(other), given, "{other}");
        edited.edit(other);
        assert_eq!(of(other), edited, "{other}");
    }
}
