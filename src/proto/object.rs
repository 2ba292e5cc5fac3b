//! Only objects count, and a member counts once.
//!
//! Derived readers fill a struct from a JSON array, too, member by member in the order of their
//! declaration: `["apr_1","approved"]` would be a decision and `["2.0",1,"tools/call"]` a request.
//! And where a name stands twice, two readers may each take another of the two values. Every shape
//! that comes from the host or the network is therefore read through this module.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The raw values of these members of a JSON object; `None` for one that is absent, `null` as it is
/// written. A name may have spellings: `"ws_url|wsUrl"`. Other members are not looked at.
///
/// # Errors
/// Those of the JSON; a data error for a text that is no object, and for a member that is there twice.
pub(crate) fn fields<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], serde_json::Error> {
    let mut values = [None; N];
    read(text, &names, &mut values)?;
    Ok(values)
}

/// The same without the number of names: one piece of machine code for all shapes.
fn read<'a>(
    text: &'a str,
    names: &[&str],
    values: &mut [Option<&'a str>],
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Wanted { names, values })?;
    deserializer.end()
}

struct Wanted<'n, 'v, 'a> {
    names: &'n [&'n str],
    values: &'v mut [Option<&'a str>],
}

impl<'a> Visitor<'a> for Wanted<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(at) = members.next_key_seed(Name(self.names))? {
            let Some(value) = at.and_then(|at| self.values.get_mut(at)) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if value.is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
            *value = Some(members.next_value::<&RawValue>()?.get());
        }
        Ok(())
    }
}

/// Which of the wanted names a member has.
struct Name<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let is_it = |wanted: &&str| *wanted == name || wanted.split('|').any(|way| way == name);
        Ok(self.0.iter().position(is_it))
    }
}

/// A member that is a string, `None` where it is absent or `null`.
///
/// # Errors
/// It is something else.
pub(crate) fn text(raw: Option<&str>) -> Result<Option<String>, Mistyped> {
    match raw {
        None | Some("null") => Ok(None),
        Some(raw) => super::jsonrpc::string(raw)
            .map(|text| Some(text.into_owned()))
            .ok_or(Mistyped("a string")),
    }
}

/// A member that is a whole number from 0 on, `None` where it is absent or `null`.
///
/// # Errors
/// It is something else.
pub(crate) fn count(raw: Option<&str>) -> Result<Option<u64>, Mistyped> {
    match raw {
        None | Some("null") => Ok(None),
        Some(raw) => raw.parse().map(Some).map_err(|_| Mistyped("a number")),
    }
}

/// A member that is `true` or `false`; `false` where it is absent.
///
/// # Errors
/// It is something else.
pub(crate) fn flag(raw: Option<&str>) -> Result<bool, Mistyped> {
    match raw {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Mistyped("true or false")),
    }
}

/// A member has another type than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mistyped(pub &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_as_they_are_written() {
        let check = |text: &str, expect: [Option<&str>; 3]| {
            let found = fields(text, ["a", "ws_url|wsUrl", "c"]).expect("an object");
            assert_eq!(found, expect, "{text}");
        };
        check("{}", [None; 3]);
        check(
            r#" {"x":[{"a":1}], "a" : 1.50 ,"wsUrl":{"a":[]},"c":null} "#,
            [Some("1.50"), Some(r#"{"a":[]}"#), Some("null")],
        );
        check(r#"{"\u0061":"\u0062"}"#, [Some(r#""\u0062""#), None, None]);
        // Of members that nobody asks for, two may have one name.
        check(r#"{"x":1,"x":2,"ws_url":3}"#, [None, Some("3"), None]);
        // Spellings together are not a name.
        check(r#"{"a|b":1,"url":2}"#, [None; 3]);
    }

    #[test]
    fn no_other_value_is_an_object() {
        for text in [
            "[1]",
            "[]",
            "1",
            "\"a\"",
            "null",
            "true",
            r#"{"a":1,"a":1}"#,
            r#"{"a":null,"\u0061":1}"#,
            r#"{"b":1,"B":1}"#,
        ] {
            let error = fields(text, ["a", "b|B"]).expect_err(text);
            assert!(error.is_data(), "{text}: {error}");
        }
        for text in ["", "{", r#"{"a":1"#, r#"{"a""#] {
            assert!(fields(text, ["a"]).expect_err(text).is_eof(), "{text}");
        }
        for text in [r#"{"a":1}x"#, r#"{"a":1,}"#, r#"{"x":01}"#, "{a:1}"] {
            assert!(fields(text, ["a"]).expect_err(text).is_syntax(), "{text}");
        }
    }

    #[test]
    fn members_have_types() {
        assert_eq!(text(Some(r#""a\n""#)), Ok(Some("a\n".to_owned())));
        assert_eq!(count(Some("18446744073709551615")), Ok(Some(u64::MAX)));
        assert_eq!(
            (flag(Some("true")), flag(Some("false"))),
            (Ok(true), Ok(false))
        );
        assert_eq!(
            (text(None), count(None), flag(None)),
            (Ok(None), Ok(None), Ok(false))
        );
        assert_eq!(
            (text(Some("null")), count(Some("null"))),
            (Ok(None), Ok(None))
        );
        for raw in ["1", "[\"a\"]", "{}", "true"] {
            assert_eq!(text(Some(raw)), Err(Mistyped("a string")), "{raw}");
        }
        for raw in ["-1", "1.5", "1e3", "\"1\"", "18446744073709551616"] {
            assert_eq!(count(Some(raw)), Err(Mistyped("a number")), "{raw}");
        }
        for raw in ["null", "1", "\"true\""] {
            assert_eq!(flag(Some(raw)), Err(Mistyped("true or false")), "{raw}");
        }
    }
}
