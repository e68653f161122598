//! What the tenants of a service use: one query for each figure, asked for all tenants together.
//!
//! Decides how the queries of many tenants become few requests. Never judges a figure. Contract:
//! of several values of one tenant the greatest counts; one that is no number is not there.

use engine::reading::{TenantReading, TenantValue};
use engine::types::Failure;

use super::prometheus;
use crate::io::http::Client;
use crate::io::settings::TenantsTarget;

/// Whose value it is, by the tenant's place.
const LABEL: &str = "quarterdeck_tenant";

/// Text of one request's query: an address of three times that is still taken everywhere.
const QUERY_BYTES_MAX: usize = 2_000;

/// Every figure of every tenant; what cannot be read leaves out its figure.
pub(super) async fn look(client: &Client, target: &TenantsTarget) -> TenantReading {
    let mut reading = TenantReading::default();
    for (figure, queries) in target.queries.iter().enumerate() {
        for query in together(queries) {
            let found = prometheus::labelled(client, &target.http, &query, LABEL).await;
            let values = found.unwrap_or_else(|Failure { text, .. }| {
                reading.error = text;
                Vec::new()
            });
            let own = |(of, value): (String, f64)| {
                Some(TenantValue { tenant: of.parse().ok()?, figure, value })
            };
            reading.values.extend(values.into_iter().filter_map(own));
        }
    }
    reading
}

/// The queries of all tenants as few, each value labelled with its tenant's place.
fn together(queries: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (tenant, query) in queries.iter().enumerate() {
        // The line ends what may be a comment.
        let own = format!("label_replace(max({query}\n),\"{LABEL}\",\"{tenant}\",\"\",\"\")");
        match all.last_mut() {
            Some(last) if last.len() + own.len() <= QUERY_BYTES_MAX => {
                last.push_str(" or ");
                last.push_str(&own);
            }
            Some(_) | None => all.push(own),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tenants_are_few_requests() {
        let two = together(&["rows{t=\"a\"}".to_owned(), "rows{t=\"b\"} # all".to_owned()]);
        let expected = "label_replace(max(rows{t=\"a\"}\n),\"quarterdeck_tenant\",\"0\",\"\",\"\") \
                        or label_replace(max(rows{t=\"b\"} # all\n),\"quarterdeck_tenant\",\"1\",\
                        \"\",\"\")";
        assert_eq!(two, [expected]);
        let hundred: Vec<String> = (0..100).map(|at| format!("rows{{t=\"{at}\"}}")).collect();
        let all = together(&hundred);
        assert_eq!(all.iter().map(|own| own.matches("max(").count()).sum::<usize>(), 100);
        assert!(all.len() < 8 && all.iter().all(|own| own.len() <= QUERY_BYTES_MAX), "{all:?}");
        let long = "x".repeat(QUERY_BYTES_MAX);
        assert_eq!(together(&[long.clone(), long]).len(), 2);
    }
}
