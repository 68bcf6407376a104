//! JSON as RFC 8725 wants it read: one meaning for every reader. No duplicate names at any level, bounded depth, no NUL (which
//! PostgreSQL's text cannot hold), no number that becomes infinite.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Levels of nesting, the outermost object included.
const MAX_DEPTH: usize = 32;

/// Reads one object and nothing after it but white space. `None` for everything else.
pub(crate) fn parse_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = StrictValue { levels_left: MAX_DEPTH }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct StrictValue {
    levels_left: usize,
}

impl StrictValue {
    fn one_level_down<E: Error>(self) -> Result<StrictValue, E> {
        let levels_left = self.levels_left.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(StrictValue { levels_left })
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        if value.contains('\0') {
            return Err(E::custom("NUL in a string"));
        }
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let seed = self.one_level_down()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(seed)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let seed = self.one_level_down()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name.contains('\0') {
                return Err(A::Error::custom("NUL in a name"));
            }
            let value = members.next_value_seed(seed)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            "null",
            "\"a\"",
            "{",
            "{}x",
            "{} {}",
            "{\"a\":1,}",
            "{'a':1}",
            "\u{feff}{}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"a":1e400}"#,
            r#"{"a":-1e400}"#,
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            r#"{"a":"\u0000"}"#,
            r#"{"\u0000":1}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"line\nbreak\"}",
            "{\"a\":1 /* comment */}",
        ] {
            assert_eq!(parse_object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(parse_object(b"{\"a\":\"\xed\xa0\x80\"}"), None);
    }

    #[test]
    fn what_has_one_meaning_is_read_as_serde_json_reads_it() {
        for text in [
            "{}",
            " { } \n",
            r#"{"a":{"a":{"a":[1,2.5,-3,true,false,null,"é\n😀"]}},"b":18446744073709551615,"c":1e300}"#,
        ] {
            let expected: Value = serde_json::from_str(text).expect("the text is JSON");
            assert_eq!(parse_object(text.as_bytes()).map(Value::Object), Some(expected), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse_object(nested(MAX_DEPTH).as_bytes()).is_some());
        assert!(parse_object(nested(MAX_DEPTH + 1).as_bytes()).is_none());
        assert!(parse_object(nested(100_000).as_bytes()).is_none());
        assert!(parse_object(format!("{{\"a\":{}", "[".repeat(100_000)).as_bytes()).is_none());
    }
}
