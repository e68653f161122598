//! A secret as it is right now.
//!
//! Decides what text is a secret, and when a file that holds one is read: each time that it is
//! used, so that a token which is renewed there needs no restart. Never shows or keeps a value of a
//! file. Contract: at most [`BYTES_MAX`] bytes, over within a second; a file that is away,
//! empty or not one line is an error that names it, not an old value.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use crate::io::settings::{HttpTarget, Secret};

/// A key or token; anything longer is the wrong file.
pub const BYTES_MAX: u64 = 64 * 1024;

/// A file in reach takes microseconds; one on a mount that hangs must not take its user's time.
const FILE_LIMIT: Duration = Duration::from_secs(1);

/// Opening a pipe must not wait for its writer.
const OPEN_AT_ONCE: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

impl Secret {
    /// Its value, or why there is none.
    pub async fn value(&self) -> Result<Cow<'_, str>, String> {
        let path = match self {
            Secret::Known(value) => return Ok(Cow::Borrowed(value)),
            Secret::Missing(why) => return Err(why.clone()),
            Secret::File(path) => path.clone(),
        };
        let shown = path.display().to_string();
        let reading = tokio::task::spawn_blocking(move || of_file(&path).0);
        match tokio::time::timeout(FILE_LIMIT, reading).await {
            Ok(Ok(value)) => value.map(Cow::Owned),
            Ok(Err(why)) => Err(format!("file {shown}: {why}")),
            Err(_) => Err(format!("file {shown} cannot be read within {FILE_LIMIT:?}")),
        }
    }
}

impl HttpTarget {
    /// The same with what its secrets are right now, for who has to know what was sent.
    pub async fn resolved(&self) -> Result<HttpTarget, String> {
        let mut target = self.clone();
        for secret in target.headers.values_mut().chain(&mut target.token) {
            *secret = Secret::Known(secret.value().await?.into_owned());
        }
        Ok(target)
    }

    /// The secrets of a target that was resolved.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.token.iter().chain(self.headers.values()).filter_map(|secret| match secret {
            Secret::Known(value) => Some(value.as_str()),
            Secret::File(_) | Secret::Missing(_) => None,
        })
    }
}

/// The secret in a file, and whether every user may open it.
pub fn of_file(path: &Path) -> (Result<String, String>, bool) {
    let shown = path.display();
    let open = || -> io::Result<(File, bool)> {
        let file = OpenOptions::new().read(true).custom_flags(OPEN_AT_ONCE).open(path)?;
        let mode = file.metadata()?.mode();
        Ok((file, mode & 0o007 != 0))
    };
    let (file, is_open) = match open() {
        Ok(found) => found,
        Err(error) => return (Err(format!("file {shown}: {error}")), false),
    };
    let mut text = String::new();
    let value = match file.take(BYTES_MAX + 1).read_to_string(&mut text) {
        Ok(_) => checked(&text, &format!("file {shown}")),
        Err(error) => Err(format!("file {shown}: {error}")),
    };
    (value, is_open)
}

/// A secret is one line; the newline that files and programs end with is not part of it.
pub fn checked(text: &str, origin: &str) -> Result<String, String> {
    let value = text.strip_suffix('\n').unwrap_or(text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        Err(format!("{origin} is empty"))
    } else if value.len() as u64 > BYTES_MAX {
        Err(format!("{origin} is too large for a secret"))
    } else if value.chars().any(char::is_control) {
        Err(format!("{origin} is not a single line of text"))
    } else {
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line() {
        assert_eq!(checked("abc\r\n", "x").as_deref(), Ok("abc"));
        for bad in ["", "\n", "a\nb", "a\u{1b}b"] {
            assert!(checked(bad, "x").is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_file_is_read_each_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("token");
        let secret = Secret::File(path.clone());
        let check = async |text: Option<&str>, expected: Result<&str, &str>| {
            match text {
                Some(text) => std::fs::write(&path, text).expect("it can be written"),
                None => drop(std::fs::remove_file(&path)),
            }
            let found = secret.value().await;
            match expected {
                Ok(value) => assert_eq!(found.as_deref(), Ok(value)),
                Err(word) => {
                    let why = found.expect_err("it is no secret");
                    assert!(why.contains(word) && why.contains("token"), "{why}");
                    assert!(!why.contains("s3cret"), "{why}");
                }
            }
        };
        check(None, Err("No such file")).await;
        check(Some("s3cret-1\n"), Ok("s3cret-1")).await;
        check(Some("s3cret-2\n"), Ok("s3cret-2")).await;
        check(Some("s3cret-3\ns3cret-4\n"), Err("single line")).await;
        check(Some(""), Err("is empty")).await;
        check(Some(&"s3cret".repeat(20_000)), Err("too large")).await;
        check(None, Err("No such file")).await;
        assert_eq!(format!("{secret:?}"), format!("Secret(file {})", path.display()));
    }
}
