//! What makes two requests the same: the identity that a consent is bound to.
//!
//! A person's "yes" is given for one method and for the exact bytes of every member of its params,
//! whatever the members are called. Only `_meta` is left out: it holds what differs from one
//! delivery to the next, such as the progress token. Members with a doubled name all count, and so
//! does their order: what a server makes of them is not known here.

use ring::digest;

use super::jsonrpc;

/// The identity of a request. A digest, so that ten thousand open consents cost little memory
/// whatever they were given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity([u8; 32]);

impl Identity {
    /// The identity of a request with this method and these raw params.
    pub(crate) fn of(method: &str, params: Option<&str>) -> Identity {
        let mut digest = digest::Context::new(&digest::SHA256);
        // Each part with its length: no two lists of parts give the same bytes.
        let mut part = |text: &str| {
            digest.update(&(text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        };
        part(method);
        let params = params.unwrap_or("{}");
        match jsonrpc::members(params) {
            Some(members) => {
                for (name, value) in members.iter().filter(|(name, _)| name != "_meta") {
                    part(name);
                    part(value);
                }
            }
            // No object: all of it counts. One part, so it is no list of members either.
            None => part(params),
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.finish().as_ref());
        Identity(bytes)
    }
}

/// The digest of these bytes, as it is written.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    let bytes = digest.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(method: &str, params: &str) -> Identity {
        let params = match params {
            "" => String::new(),
            params => format!(",\"params\":{params}"),
        };
        let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\"{params}}}");
        let message = jsonrpc::parse_one(&text).expect("a request");
        Identity::of(&message.method, message.params)
    }

    #[test]
    fn what_differs_from_one_delivery_to_the_next_does_not_count() {
        let same = |a: &str, b: &str| assert_eq!(identity("m", a), identity("m", b), "{a} {b}");
        same(
            r#"{"name":"t","arguments":{"a":1}}"#,
            r#"{ "_meta":{"progressToken":2}, "name" : "t","arguments":{"a":1} }"#,
        );
        same(
            r#"{"name":"t"}"#,
            r#"{"n\u0061me":"t","_meta":1,"_meta":2}"#,
        );
        same("", "{}");
        same("", r#"{"_meta":{}}"#);
        same("[1]", "[1]");
    }

    #[test]
    fn every_byte_of_every_other_member_counts() {
        let call = r#"{"name":"t","arguments":{"a":1}}"#;
        for other in [
            "",
            "null",
            r#"["t",{"a":1}]"#,
            r#"{"name":"t"}"#,
            r#"{"name":"u","arguments":{"a":1}}"#,
            r#"{"name":"t","arguments":{"a":1.0}}"#,
            r#"{"name":"t","arguments":{"a": 1}}"#,
            r#"{"name":"t","arguments":{"a":1},"task":{"ttl":1}}"#,
            r#"{"name":"t","arguments":{"a":1},"":{}}"#,
            r#"{"arguments":{"a":1},"name":"t"}"#,
            // A doubled name: which of them counts is the server's to say.
            r#"{"name":"t","arguments":{"a":1},"arguments":{"a":1}}"#,
            r#"{"name":"t","name":"u","arguments":{"a":1}}"#,
            r#"{"name":"u","name":"t","arguments":{"a":1}}"#,
            // The same bytes, cut into members in another way.
            r#"{"name":"t\",\"arguments\":{\"a\":1}"}"#,
        ] {
            assert_ne!(
                identity("tools/call", call),
                identity("tools/call", other),
                "{other}"
            );
        }
        assert_ne!(identity("tools/call", call), identity("tools/cal", call));
        for (one, other) in [
            (r#"{"taskId":"harmless"}"#, r#"{"taskId":"PRODUCTION"}"#),
            (r#"{"id":1}"#, r#"{"id":2}"#),
            (r#"{"a":1,"b":2}"#, r#"{"a":1,"c":2}"#),
            ("[1]", "[2]"),
        ] {
            assert_ne!(
                identity("tasks/cancel", one),
                identity("tasks/cancel", other)
            );
        }
    }
}
