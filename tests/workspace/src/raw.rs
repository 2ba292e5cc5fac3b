//! JSON objects whose member values keep every byte as it came.
//!
//! `serde_json::Value` would turn `1E400` into an error and `1.0` into something else; what an AI tool
//! or a server wrote is passed on as it was written.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON object: members in their order, values as raw text.
#[derive(Clone, Debug, Default)]
pub struct RawObject {
    members: Vec<(String, Box<RawValue>)>,
}

impl RawObject {
    /// Reads an object; `None` when the text is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The raw value of a member.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.members
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, v)| &**v)
    }

    /// A member that is a string.
    pub fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// A member that is an object.
    pub fn object(&self, name: &str) -> Option<RawObject> {
        RawObject::parse(self.get(name)?.get())
    }

    /// A member read as any type; `None` when it is absent or does not fit.
    pub fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Replaces a member in its place, or adds it at the end.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.members.iter_mut().find(|(n, _)| n == name) {
            Some(member) => member.1 = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, name: &str) {
        self.members.retain(|(n, _)| n != name);
    }

    /// The members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.members.iter().map(|(n, v)| (n.as_str(), &**v))
    }

    /// True without members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The object as one raw value.
    pub fn to_raw(&self) -> Box<RawValue> {
        raw(self)
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push(member);
                }
                Ok(RawObject { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Any serializable value as raw JSON.
pub fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("our own types have string keys only")
}

/// Raw JSON from text that is known to be JSON; anything else becomes a JSON string.
pub fn raw_text(text: String) -> Box<RawValue> {
    RawValue::from_string(text.clone()).unwrap_or_else(|_| raw(&text))
}

/// JSON text without insignificant white space; the other bytes stay.
pub fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            (in_string, escaped) = (c != '"' || escaped, c == '\\' && !escaped);
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

/// JSON text spread over lines, for the fault that pretty-prints; the other bytes stay.
pub fn spread(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut in_string, mut escaped) = (false, false);
    for c in compact(text).chars() {
        out.push(c);
        if in_string {
            (in_string, escaped) = (c != '"' || escaped, c == '\\' && !escaped);
            continue;
        }
        in_string = c == '"';
        match c {
            '{' | '[' | ',' => out.push_str("\n  "),
            ':' => out.push(' '),
            _ => {}
        }
    }
    out
}

/// JSON text indented for people; numbers and strings keep their bytes.
pub fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut in_string, mut escaped, mut depth) = (false, false, 0_usize);
    let compact = compact(text);
    let mut chars = compact.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        if in_string {
            (in_string, escaped) = (c != '"' || escaped, c == '\\' && !escaped);
            out.push(c);
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                if let Some(end @ ('}' | ']')) = chars.peek().copied() {
                    chars.next();
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_order_survive() {
        let text = r#"{"b":12345678901234567890,"a":1.0,"c":1E400,"b2":[1, 2]}"#;
        let object = RawObject::parse(text).expect("an object");
        assert_eq!(object.to_raw().get(), text);
        assert_eq!(object.get("c").expect("c").get(), "1E400");
    }

    #[test]
    fn pretty_is_for_people() {
        let text = r#"{"a":[],"b":{"c":1.0,"d":[1E400,"x,{"]}}"#;
        let expect = "{\n  \"a\": [],\n  \"b\": {\n    \"c\": 1.0,\n    \"d\": [\n      1E400,\n      \"x,{\"\n    ]\n  }\n}";
        assert_eq!(pretty(text), expect);
    }

    #[test]
    fn compact_and_spread_leave_strings_alone() {
        let text = "{ \"a\" : \"x \\\" , y\\\\\" , \"b\":[ 1 ,2 ] }";
        assert_eq!(compact(text), "{\"a\":\"x \\\" , y\\\\\",\"b\":[1,2]}");
        assert_eq!(compact(&spread(text)), compact(text));
        assert!(spread(text).contains('\n'));
    }
}
