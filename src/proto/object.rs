//! Only objects count.
//!
//! Derived readers fill a struct from a JSON array, too, member by member in the order of their
//! declaration: `["apr_1","approved"]` would be a decision and `["2.0",1,"tools/call"]` a request.
//! Every shape that comes from the host or the network is therefore read through this module.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A value that is read from a JSON object and from nothing else. For shapes within shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// Reads a whole text that has to be one JSON object.
///
/// # Errors
/// Those of the JSON, and a data error for any other kind of value.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str::<Object<T>>(text).map(|object| object.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[derive(Debug, serde::Deserialize)]
    struct Inner {
        b: u8,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        a: &'a RawValue,
        #[serde(default)]
        inner: Option<Object<Inner>>,
    }

    #[test]
    fn objects_are_read_and_borrow_their_values() {
        let outer: Outer<'_> = read(r#" {"x":[],"a":1.50,"inner":{"b":2}} "#).expect("an object");
        assert_eq!(outer.a.get(), "1.50");
        assert_eq!(outer.inner.map(|inner| inner.0.b), Some(2));
        let outer: Outer<'_> = read(r#"{"a":{},"inner":null}"#).expect("an object");
        assert!(outer.inner.is_none());
    }

    #[test]
    fn no_other_value_is_one() {
        for text in [
            r#"[1,{"b":2}]"#,
            "[1]",
            "[]",
            "1",
            "\"a\"",
            "null",
            r#"{"a":1,"inner":[2]}"#,
            r#"{"a":1,"inner":2}"#,
        ] {
            let error = read::<Outer<'_>>(text).expect_err(text);
            assert!(error.is_data(), "{text}: {error}");
        }
        assert!(read::<Outer<'_>>(r#"{"a":1"#).expect_err("cut").is_eof());
        assert!(
            read::<Outer<'_>>(r#"{"a":1}x"#)
                .expect_err("more")
                .is_syntax()
        );
    }
}
