//! Whether a text is YAML, and which keys it has.
//!
//! Decides by the parser's events, so that aliases are never spread out: a small file cannot grow
//! in memory. Never shows what the text holds. Contract: a key counts where mappings alone lead to
//! it, in any of the documents; what stands behind an alias is not looked into.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser};

/// Where the parser is: in a list, or in a mapping behind this key, or before its next one.
enum Level {
    List,
    Mapping(Option<String>),
}

/// Those of `wanted` (dotted paths) that the text has, or where it is no YAML.
pub fn keys<'w>(text: &str, wanted: &'w [String]) -> Result<BTreeSet<&'w str>, String> {
    let deepest = wanted.iter().map(|path| path.split('.').count()).max().unwrap_or(0);
    let mut found = BTreeSet::new();
    let mut levels: Vec<Level> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|why| {
            let at = why.marker();
            format!("no YAML: {} at line {} column {}", why.info(), at.line(), at.col() + 1)
        })?;
        match event {
            Event::Scalar(text, ..) => {
                if let Some(Level::Mapping(key @ None)) = levels.last_mut() {
                    *key = Some(text.into_owned());
                    if levels.len() <= deepest {
                        let path = path(&levels);
                        let own = wanted.iter().find(|own| path.as_ref() == Some(own));
                        found.extend(own.map(String::as_str));
                    }
                } else {
                    value_ended(&mut levels);
                }
            }
            Event::Alias(_) => value_ended(&mut levels),
            Event::SequenceStart(..) => levels.push(Level::List),
            Event::MappingStart(..) => levels.push(Level::Mapping(None)),
            Event::SequenceEnd | Event::MappingEnd => {
                levels.pop();
                value_ended(&mut levels);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }
    Ok(found)
}

/// A value is over; in a mapping the next thing is a key. A key that is no word has no name.
fn value_ended(levels: &mut [Level]) {
    if let Some(Level::Mapping(key)) = levels.last_mut() {
        *key = if key.is_some() { None } else { Some(String::new()) };
    }
}

fn path(levels: &[Level]) -> Option<String> {
    let keys = levels.iter().map(|level| match level {
        Level::List => None,
        Level::Mapping(key) => key.as_deref(),
    });
    Some(keys.collect::<Option<Vec<&str>>>()?.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&str], &str>) {
        let wanted = ["db", "db.host", "db.port", "list.x"].map(str::to_owned);
        let found = keys(text, &wanted);
        match expected {
            Ok(expected) => {
                let found = found.expect(text);
                assert!(found.iter().eq(expected.iter()), "{text}: {found:?}");
            }
            Err(part) => {
                let why = found.expect_err(text);
                assert!(why.contains(part) && !why.contains("s3cret"), "{why}");
            }
        }
    }

    #[test]
    fn keys_are_found_where_mappings_lead_to_them() {
        check("db:\n  host: x\n  port: 1\n", Ok(&["db", "db.host", "db.port"]));
        check("db: {host: [1, 2], other: {port: 1}}", Ok(&["db", "db.host"]));
        check("list:\n  - x: 1\n", Ok(&[]));
        check("[db]: 1\n? {a: b}\n: 2\ndb: 3\n", Ok(&["db"]));
        check("a: &a {host: x}\ndb: *a\n---\ndb: {port: 1}\n", Ok(&["db", "db.port"]));
        check("# nothing\n", Ok(&[]));
    }

    #[test]
    fn what_is_no_yaml_names_its_place() {
        check("a: 1\nb: [s3cret\nc: 2\n", Err("no YAML: "));
        check("a: 1\n b: 2\n", Err("at line 2 column"));
        check("a: *s3cret\n", Err("at line 1 column 4"));
        check(&"[".repeat(300_000), Err("no YAML: "));
    }

    #[test]
    fn aliases_are_not_spread_out() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..40 {
            let before = n - 1;
            text += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 10].join(", "));
        }
        check(&text, Ok(&[]));
    }
}
