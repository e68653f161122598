//! The part of JSON Schema (2020-12) that this project's schemas use, checked against a document.
//!
//! A keyword that is not known here panics: a schema must not promise what nothing checks.

use serde_json::Value;

/// Everything in `document` that breaks `schema`, with its place.
pub fn problems(schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, document, "", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else { return };
    for (keyword, rule) in rules {
        let broken = match keyword.as_str() {
            "$schema" | "$defs" | "$id" | "title" | "description" | "default" | "format" => false,
            "$ref" => {
                let path = rule.as_str().and_then(|path| path.strip_prefix('#'));
                let target = path.and_then(|path| root.pointer(path)).expect("a local $ref");
                check(root, target, value, at, found);
                false
            }
            "type" => !types(rule).iter().any(|name| is(name, value)),
            "pattern" => value.as_str().is_some_and(|text| {
                let pattern = rule.as_str().expect("a pattern");
                !regex_lite::Regex::new(pattern).expect("a pattern").is_match(text)
            }),
            "oneOf" => {
                let fits = |inner: &&Value| passes(root, inner, value);
                rule.as_array().expect("a list").iter().filter(fits).count() != 1
            }
            "maxLength" => {
                let limit = usize::try_from(rule.as_u64().expect("a count")).expect("small");
                value.as_str().is_some_and(|text| text.chars().count() > limit)
            }
            "propertyNames" => {
                for key in value.as_object().into_iter().flatten().map(|(key, _)| key) {
                    check(root, rule, &Value::from(key.as_str()), &format!("{at}/{key}"), found);
                }
                false
            }
            "enum" => !rule.as_array().expect("a list").contains(value),
            "const" => rule != value,
            "minimum" => value.as_f64().is_some_and(|n| n < rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_some_and(|n| n > rule.as_f64().expect("a number")),
            "minItems" | "maxItems" => {
                let limit = usize::try_from(rule.as_u64().expect("a count")).expect("small");
                let count = value.as_array().map_or(limit, Vec::len);
                if keyword == "minItems" { count < limit } else { count > limit }
            }
            "required" => {
                rule.as_array().expect("a list").iter().any(|key| {
                    value.is_object() && value.get(key.as_str().expect("a name")).is_none()
                })
            }
            "properties" => {
                for (key, inner) in rule.as_object().expect("a table") {
                    if let Some(own) = value.get(key) {
                        check(root, inner, own, &format!("{at}/{key}"), found);
                    }
                }
                false
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (key, own) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(key)) {
                        continue;
                    }
                    if *rule == Value::Bool(false) {
                        found.push(format!("{at}: {key} is not known"));
                    }
                    check(root, rule, own, &format!("{at}/{key}"), found);
                }
                false
            }
            "items" => {
                for (place, own) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, own, &format!("{at}/{place}"), found);
                }
                false
            }
            other => panic!("{at}: the schema uses {other}, which nothing checks"),
        };
        if broken {
            found.push(format!("{at}: {keyword} {rule}, not {value}"));
        }
    }
}

fn passes(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    check(root, schema, value, "", &mut found);
    found.is_empty()
}

fn types(rule: &Value) -> Vec<&str> {
    match rule {
        Value::String(name) => vec![name],
        other => other.as_array().expect("a list").iter().filter_map(Value::as_str).collect(),
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    }
}
