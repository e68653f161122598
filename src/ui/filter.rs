//! The filter of `/`: which rows are shown.
//!
//! Decides by words. Never changes an order. Contract: a row is shown when every term holds; a
//! term is `word`, `field:word`, or either with `!` before it; letters' case does not matter.

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
