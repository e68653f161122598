//! The Prometheus text format, read line by line.
//!
//! Decides what a sample is. Never guesses: a line that is not in the format fails the page, with
//! its number. Contract: pure; work and memory are bounded by the page, hostile pages give an
//! error and never a panic; values that are no number (`NaN`, `+Inf`) are left out as no data.

use std::collections::BTreeMap;

/// A page with more lines is not for reading in one look: the largest exporters stay below.
pub const LINES_MAX: usize = 200_000;
/// Prometheus itself warns far below this number of labels on a series.
pub const LABELS_MAX: usize = 64;
/// Longest label value; a longer one is a payload, not a label.
pub const LABEL_BYTES_MAX: usize = 4096;

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    /// The source's own time in milliseconds since 1970, where it gives one.
    pub timestamp_ms: Option<i64>,
}

impl Sample {
    /// The value of a label; the empty text when it is absent, as in Prometheus.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Every finite sample of a page, in its order.
pub fn parse(body: &[u8]) -> Result<Vec<Sample>, String> {
    let text = std::str::from_utf8(body)
        .map_err(|error| format!("byte {}: not UTF-8", error.valid_up_to()))?;
    let mut samples = Vec::new();
    for (place, line) in text.lines().enumerate() {
        if place >= LINES_MAX {
            return Err(format!("more than {LINES_MAX} lines"));
        }
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let sample = sample(line).map_err(|why| format!("line {}: {why}", place + 1))?;
        if sample.value.is_finite() {
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// The canonical text of a series: its name and sorted labels without `le`, so that all buckets of
/// one histogram share a key.
#[must_use]
pub fn series_key(name: &str, labels: &BTreeMap<String, String>) -> String {
    let mut key = String::from(name);
    key.push('{');
    let kept = labels.iter().filter(|(name, _)| *name != "le" && *name != "__name__");
    for (place, (name, value)) in kept.enumerate() {
        if place > 0 {
            key.push(',');
        }
        key.push_str(name);
        key.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => key.push_str("\\\\"),
                '"' => key.push_str("\\\""),
                '\n' => key.push_str("\\n"),
                c => key.push(c),
            }
        }
        key.push('"');
    }
    key.push('}');
    key
}

fn sample(line: &str) -> Result<Sample, String> {
    let (name, rest) = name(line, true)?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next().ok_or("no value")?;
    let value = number(value).ok_or("the value is not a number")?;
    let timestamp_ms = match words.next() {
        None => None,
        // OpenMetrics puts an exemplar here; it says nothing about the counter.
        Some("#") => return Ok(Sample { name: name.into(), labels, value, timestamp_ms: None }),
        Some(word) => Some(timestamp(word).ok_or("the timestamp is not a number")?),
    };
    match words.next() {
        None | Some("#") => Ok(Sample { name: name.into(), labels, value, timestamp_ms }),
        Some(_) => Err("text after the timestamp".into()),
    }
}

/// Splits a metric or label name off the front.
pub(super) fn name(text: &str, metric: bool) -> Result<(&str, &str), String> {
    let end = text
        .char_indices()
        .find(|(place, c)| {
            let letter = c.is_ascii_alphabetic() || *c == '_' || (metric && *c == ':');
            !(letter || (*place > 0 && c.is_ascii_digit()))
        })
        .map_or(text.len(), |(place, _)| place);
    if end == 0 {
        return Err(if metric { "no metric name".into() } else { "no label name".into() });
    }
    Ok(text.split_at(end))
}

/// Reads a quoted text with its escapes; `text` starts behind the opening quote.
pub(super) fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                // Prometheus keeps an escape that it does not know.
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
        if value.len() > LABEL_BYTES_MAX {
            return Err(format!("a label is longer than {LABEL_BYTES_MAX} bytes"));
        }
    }
    Err("a quote is not closed".into())
}

fn labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let blank = [' ', '\t'];
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(blank);
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        if labels.len() >= LABELS_MAX {
            return Err(format!("more than {LABELS_MAX} labels"));
        }
        let (label, after) = name(rest, false)?;
        let after = after.trim_start_matches(blank);
        let after = after.strip_prefix('=').ok_or("a label without `=`")?;
        let after = after.trim_start_matches(blank);
        let after = after.strip_prefix('"').ok_or("a label value without quotes")?;
        let (value, after) = quoted(after)?;
        if labels.insert(label.to_owned(), value).is_some() {
            return Err("the same label twice".into());
        }
        let after = after.trim_start_matches(blank);
        rest = match after.strip_prefix(',') {
            Some(after) => after,
            None if after.starts_with('}') => after,
            None => return Err("labels are not closed".into()),
        };
    }
}

/// A value as both Prometheus formats write it; infinities and NaN are numbers here.
pub(super) fn number(word: &str) -> Option<f64> {
    match word {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" | "Nan" => Some(f64::NAN),
        word => word.parse().ok(),
    }
}

/// Whole milliseconds; OpenMetrics writes seconds with a fraction.
fn timestamp(word: &str) -> Option<i64> {
    if let Ok(millis) = word.parse::<i64>() {
        return Some(millis);
    }
    let seconds = word.parse::<f64>().ok().filter(|seconds| seconds.abs() < 1e12)?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    Some((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Shown<'a> = (&'a str, f64, Option<i64>);

    fn check(page: &str, expected: Result<&[Shown<'_>], &str>) {
        let parsed = parse(page.as_bytes());
        match (parsed, expected) {
            (Ok(samples), Ok(expected)) => {
                let shown: Vec<(String, f64, Option<i64>)> = samples
                    .iter()
                    .map(|s| (series_key(&s.name, &s.labels), s.value, s.timestamp_ms))
                    .collect();
                let expected: Vec<(String, f64, Option<i64>)> =
                    expected.iter().map(|(key, value, at)| ((*key).into(), *value, *at)).collect();
                assert_eq!(shown, expected, "{page}");
            }
            (Err(why), Err(expected)) => assert_eq!(why, expected, "{page}"),
            (parsed, expected) => panic!("{page}: {parsed:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn comments_labels_and_timestamps() {
        check("# HELP a b\n# TYPE a counter\na 1\n", Ok(&[("a{}", 1.0, None)]));
        check(
            "a{z=\"1\",b=\"x\\\"\\\\\\n\",} 2e3 1700\r\n",
            Ok(&[("a{b=\"x\\\"\\\\\\n\",z=\"1\"}", 2000.0, Some(1700))]),
        );
        check("a { b = \"c\" }\t3 # {id=\"x\"} 1\n# EOF", Ok(&[("a{b=\"c\"}", 3.0, None)]));
        check("", Ok(&[]));
    }

    #[test]
    fn what_is_not_a_number_is_no_data() {
        check("a NaN\nb +Inf\nc -Inf\nd 0\n", Ok(&[("d{}", 0.0, None)]));
    }

    #[test]
    fn errors_name_the_line() {
        check("a 1\n{} 2\n", Err("line 2: no metric name"));
        check("a{b=\"c\" 1\n", Err("line 1: labels are not closed"));
        check("a{b=\"c", Err("line 1: a quote is not closed"));
        check("a{b=\"c\\", Err("line 1: a quote is not closed"));
        check("a{b} 1", Err("line 1: a label without `=`"));
        check("a{b=\"1\",b=\"2\"} 1", Err("line 1: the same label twice"));
        check("a", Err("line 1: no value"));
        check("a x", Err("line 1: the value is not a number"));
        check("a 1 2 3", Err("line 1: text after the timestamp"));
        check("<html>", Err("line 1: no metric name"));
    }

    #[test]
    fn every_cut_of_a_page_ends_well() {
        let page = "a_b:c{le=\"0.1\",x=\"ä\\n\\\"\"} 1.5e3 17 # {t=\"1\"} 2\nnan NaN\n";
        for cut in 0..page.len() {
            // Only that it returns counts here; a cut may be a page of its own.
            let _ = parse(&page.as_bytes()[..cut]);
            let mut broken = page.as_bytes().to_vec();
            broken[cut] = 0xff;
            assert!(parse(&broken).is_err());
        }
        assert!(parse(&b"x 1\n".repeat(LINES_MAX + 1)).is_err());
    }

    #[test]
    fn a_recorded_page_of_haproxy_is_read() {
        let page = include_bytes!("../../../fixtures/metrics/haproxy-exporter.txt");
        let samples = parse(page).expect("recorded from a real server");
        let wanted = samples.iter().any(|sample| {
            sample.name == "haproxy_server_http_responses_total" && sample.label("code") == "5xx"
        });
        assert!(wanted);
    }
}
