//! A feature flag behind an HTTP endpoint or in a JSON file: how many percent it is on for.
//!
//! Decides where in the document the percent stands, and what an answer means. Never takes the
//! answer to a write for the truth. Contract: group b is *on*; `true` is 100 and `false` 0; of a
//! file nothing but the flag changes, and it is replaced whole or not at all.

use std::io::Write as _;
use std::path::Path;

use engine::reading::{Lease, SplitReading, WriteAnswer};
use engine::types::{Failure, FailureKind, Untrusted, Weights};
use rustix::fs::Access as Mode;
use serde_json::Value;

use super::access::may;
use super::{Deadline, http, rejected, unknown};
use crate::io::http::Client;
use crate::io::settings::{FlagPlace, FlagTarget};

/// A file of flags is read by every request of some application: it is small.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

pub async fn set(
    client: &Client,
    target: &FlagTarget,
    weights: Weights,
    deadline: Deadline,
) -> WriteAnswer {
    let percent = Value::from(weights.b.get());
    match &target.place {
        FlagPlace::Http { http, method } => {
            let mut body = Value::Null;
            put(&mut body, &target.key, percent);
            http::send(client, http, *method, &body, deadline.left()).await
        }
        FlagPlace::File(path) => {
            let (path, key) = (path.clone(), target.key.clone());
            let write = tokio::task::spawn_blocking(move || write(&path, &key, percent));
            match tokio::time::timeout(deadline.left(), write).await {
                Ok(Ok(Ok(()))) => WriteAnswer::Applied,
                Ok(Ok(Err(why))) => rejected(why),
                Ok(Err(why)) => unknown(why.to_string()),
                Err(_) => unknown("the disk did not answer"),
            }
        }
    }
}

pub async fn read(
    client: &Client,
    target: &FlagTarget,
    deadline: Deadline,
) -> Result<SplitReading, Failure> {
    let malformed =
        |why: String| Failure::new(FailureKind::Malformed, format!("the flag is unclear: {why}"));
    let text = match &target.place {
        FlagPlace::Http { http, .. } => http::get(client, http, deadline.left()).await?,
        FlagPlace::File(path) => {
            let path = path.clone();
            let text = tokio::task::spawn_blocking(move || load(&path));
            match tokio::time::timeout(deadline.left(), text).await {
                Ok(Ok(Ok(text))) => text,
                Ok(Ok(Err(why))) => return Err(Failure::new(FailureKind::Unreachable, why)),
                Ok(Err(why)) => return Err(malformed(why.to_string())),
                Err(_) => {
                    return Err(Failure::new(FailureKind::Timeout, "the disk did not answer"));
                }
            }
        }
    };
    let body: Value =
        serde_json::from_slice(&text).map_err(|why| malformed(format!("no JSON: {why}")))?;
    let on = percent(&body, &target.key).map_err(malformed)?;
    Ok(SplitReading {
        a: 100.0 - on,
        b: on,
        fence: None,
        note: Untrusted::default(),
        lease: Lease::default(),
    })
}

/// The file can be read and another one put in its place.
pub fn access(path: &Path) -> Result<String, String> {
    let dir = path.parent().unwrap_or(Path::new("."));
    may(dir, Mode::WRITE_OK | Mode::EXEC_OK, "write in")?;
    may(path, Mode::READ_OK, "read")?;
    Ok(format!("{} takes a new file", dir.display()))
}

fn load(path: &Path) -> Result<Vec<u8>, String> {
    let told = |why: std::io::Error| format!("{}: {why}", path.display());
    let meta = std::fs::metadata(path).map_err(told)?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(format!("{}: no file of at most 1 MiB", path.display()));
    }
    std::fs::read(path).map_err(told)
}

/// Nobody reads half a file: a temporary one in the same directory, then a rename.
fn write(path: &Path, key: &[String], percent: Value) -> Result<(), String> {
    let text = load(path)?;
    let mut body: Value = serde_json::from_slice(&text)
        .map_err(|why| format!("{}: no JSON: {why}", path.display()))?;
    put(&mut body, key, percent);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new"));
    let result = (|| {
        let mut file = std::fs::File::create(&new)?;
        file.write_all(format!("{body:#}\n").as_bytes())?;
        // Its readers are other users than ours.
        file.set_permissions(std::fs::metadata(path)?.permissions())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    result.map_err(|why: std::io::Error| {
        // Left over it would only be overwritten by the next write.
        let _ = std::fs::remove_file(&new);
        format!("{}: {why}", path.display())
    })
}

/// Sets what stands at `key`; what is in the way becomes an object.
fn put(body: &mut Value, key: &[String], value: Value) {
    let mut place = body;
    for part in key {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = &mut place[part.as_str()];
    }
    *place = value;
}

fn percent(body: &Value, key: &[String]) -> Result<f64, String> {
    let name = key.join(".");
    let found = key.iter().try_fold(body, |place, part| place.get(part));
    let number = match found {
        None => return Err(format!("{name} is missing")),
        Some(Value::Bool(on)) => Some(if *on { 100.0 } else { 0.0 }),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_f64(),
    };
    match number {
        // NaN is in no range.
        Some(number) if (0.0..=100.0).contains(&number) => Ok(number),
        Some(number) => Err(format!("{name} is {number}, not from 0 to 100")),
        None => Err(format!("{name} is no percent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_percent_is_a_number_or_a_switch() {
        let check = |body: &str, at: &str, expected: Result<f64, &str>| {
            let body: Value = serde_json::from_str(body).expect("JSON");
            let found = percent(&body, &key(at));
            match expected {
                Ok(number) => assert_eq!(found, Ok(number), "{body}"),
                Err(part) => assert!(found.is_err_and(|why| why.contains(part)), "{body}"),
            }
        };
        check(r#"{"percent":25}"#, "percent", Ok(25.0));
        check(r#"{"flags":{"new":{"on":true}}}"#, "flags.new.on", Ok(100.0));
        check(r#"{"on":false}"#, "on", Ok(0.0));
        check(r#"{"on":"7.5"}"#, "on", Ok(7.5));
        check(r#"{"on":101}"#, "on", Err("101"));
        check(r#"{"on":null}"#, "on", Err("no percent"));
        check(r"[]", "on", Err("missing"));
    }

    #[test]
    fn a_file_keeps_all_the_rest() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("flags.json");
        std::fs::write(&path, r#"{"flags":{"old":true,"new":0},"more":[1]}"#).expect("writes");
        write(&path, &key("flags.new"), Value::from(25)).expect("it is written");
        let body: Value = serde_json::from_slice(&load(&path).expect("reads")).expect("JSON");
        let expected = serde_json::json!({"flags": {"old": true, "new": 25}, "more": [1]});
        assert_eq!(body, expected);
        assert!(
            write(dir.path(), &key("on"), Value::from(1)).is_err_and(|it| it.contains("no file"))
        );
        std::fs::write(&path, "on").expect("writes");
        assert!(write(&path, &key("on"), Value::from(1)).is_err_and(|it| it.contains("no JSON")));
        assert_eq!(std::fs::read(&path).expect("reads"), b"on", "a file that is not ours stays");
    }
}
