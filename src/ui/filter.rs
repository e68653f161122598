//! The filter of `/`: which rows are shown.
//!
//! Decides by words, for each list by its own fields. Never hides without saying so. Contract: a
//! row is shown when every term holds; a term is `word`, `field:word`, or either with `!` before
//! it; letters' case does not matter.

use engine::snapshot::{HostView, JournalLine, Snapshot, SourceView};
use engine::types::Now;

use super::Ui;

/// Longer filters are not typed by people.
pub const FILTER_CHARS_MAX: usize = 120;

/// One row as the filter sees it: field names and what stands in them.
pub type Fields<'a> = [(&'static str, &'a str)];

#[must_use]
pub fn matches(filter: &str, fields: &Fields<'_>) -> bool {
    filter.split_whitespace().all(|term| {
        let (wanted, term) = match term.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, term),
        };
        term.is_empty() || holds(term, fields) == wanted
    })
}

fn holds(term: &str, fields: &Fields<'_>) -> bool {
    if let Some((name, word)) = term.split_once(':')
        && fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name))
    {
        return fields
            .iter()
            .any(|(field, text)| field.eq_ignore_ascii_case(name) && contains(text, word));
    }
    fields.iter().any(|(_, text)| contains(text, term))
}

fn contains(text: &str, word: &str) -> bool {
    text.to_lowercase().contains(&word.to_lowercase())
}

impl Ui {
    #[must_use]
    pub fn hosts<'a>(&self, picture: &'a Snapshot) -> Vec<&'a HostView> {
        let shown = picture.hosts.iter().filter(|host| {
            let group = host.advice.as_ref().map_or("", |advice| advice.group.as_str());
            let fields =
                [("name", host.name.as_str()), ("group", group), ("error", host.error.display())];
            matches(&self.filter, &fields)
        });
        shown.collect()
    }

    /// Newest first.
    #[must_use]
    pub fn journal<'a>(&self, picture: &'a Snapshot) -> Vec<&'a JournalLine> {
        let shown = picture.journal.iter().filter(|line| {
            let (user, text) = (line.user.display(), line.text.display());
            matches(&self.filter, &[("user", user), ("kind", &line.kind), ("text", text)])
        });
        let mut shown: Vec<&JournalLine> = shown.collect();
        shown.sort_by_key(|line| std::cmp::Reverse(line.at));
        shown
    }

    #[must_use]
    pub fn sources<'a>(&self, picture: &'a Snapshot, now: Now) -> Vec<&'a SourceView> {
        let shown = picture.sources().filter(|source| {
            let fields = [
                ("name", source.name.as_str()),
                ("kind", source.kind.as_str()),
                ("state", source.state_at(now).word()),
                ("error", source.error.display()),
            ];
            matches(&self.filter, &fields)
        });
        shown.collect()
    }

    /// How much of a list shows; nothing without a filter.
    #[must_use]
    pub fn part(&self, shown: usize, total: usize) -> String {
        if self.filter.is_empty() {
            return String::new();
        }
        format!("{shown} of {total} match /{}", self.filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_all_of_them() {
        let row: &Fields<'_> = &[("name", "payments"), ("status", "DOWN")];
        let check = |filter, expected| assert_eq!(matches(filter, row), expected, "{filter}");
        check("", true);
        check("pay", true);
        check("status:down", true);
        check("!status:up", true);
        check("!pay", false);
        check("pay status:up", false);
        check("other:thing", false);
        check("!", true);
    }
}
