//! JSON from outside, read strictly.
//!
//! Decides what is too deep and refuses a key given twice, because two readers could then see two
//! different answers. Never recurses deeper than [`DEPTH_MAX`]. Contract: the memory used is a
//! small multiple of the bytes given, which the caller bounds.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Real health bodies nest 4 to 6 deep.
pub const DEPTH_MAX: u8 = 32;

/// The value, or why the bytes are not one.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    // Some servers put a byte order mark before it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { depth_left: DEPTH_MAX }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| error.to_string())
}

#[derive(Clone, Copy)]
struct Node {
    depth_left: u8,
}

impl Node {
    fn below<E: Error>(self) -> Result<Node, E> {
        let depth_left = self.depth_left.checked_sub(1);
        let depth_left =
            depth_left.ok_or_else(|| E::custom(format!("nested deeper than {DEPTH_MAX}")))?;
        Ok(Node { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if map.contains_key(&key) {
                let key: String = key.chars().take(40).collect();
                return Err(A::Error::custom(format!("key {key:?} is given twice")));
            }
            let value = fields.next_value_seed(below)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, problem: &str) {
        match parse(text.as_bytes()) {
            Ok(value) => assert!(problem.is_empty(), "{text} was read as {value}"),
            Err(error) => {
                assert!(!problem.is_empty() && error.contains(problem), "{text}: {error}");
            }
        }
    }

    #[test]
    fn only_one_reading_is_possible() {
        check(r#"{"a":[1,-2,3.5,"x",null,true],"b":{"a":1}}"#, "");
        check("\u{feff}{}", "");
        check(r#"{"status":"UP","status":"DOWN"}"#, "given twice");
        check(r#"{"a":{"b":1,"b":2}}"#, "given twice");
        check(r#"{"a":1} x"#, "trailing");
        check(r#"{"a":NaN}"#, "expected");
        check(r#"{"a":1e400}"#, "out of range");
        check("", "EOF");
    }

    #[test]
    fn depth_has_a_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        check(&nested(32), "");
        check(&nested(33), "deeper");
        check(&"[".repeat(1_000_000), "deeper");
        check(&r#"{"a":"#.repeat(100_000), "deeper");
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        assert_eq!(parse(b"{\"a\":\"\xff\"}"), Err("it is not UTF-8".to_owned()));
    }
}
