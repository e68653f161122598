//! Tenants: which can be asked for, what each may, and what rules call them.

use super::*;

/// Behind a service with signals; line 10 is the first of `text`.
fn check_tenants(text: &str, expected: &[&str]) {
    check_canary(COUNTED, &format!("[service.tenants]\n{text}"), expected);
}

const ROWS: &str = "figures = { rows = 'rows{of=\"{tenant}\"}' }\n";

#[test]
fn each_tenant_has_its_queries_and_the_limits_of_its_class() {
    let text = "[[metrics]]\nname = \"prom\"\nprometheus = \"http://x/\"\n\
                [[service]]\nname = \"web\"\n[service.signals]\n\
                requests = 'r{v=\"{arm}\"}'\n[service.tenants.figures]\n\
                latency = 'l{of=\"{tenant}\"}'\nrows = 'r{of=\"{tenant}\"}'\n\
                [service.tenants.class.default]\nnames = [\"north\", \"Söder 2\"]\n\
                limits = { rows = 10000 }\n[service.tenants.class.premium]\n\
                names = [\"west\"]\nlimits = { latency = 5000.5 }\ntargets = { latency = 1000 }\n";
    let Loaded { engine, io, .. } = loaded(&format!("{HEAD}{text}"));
    let tenants = engine.services[0].signals.clone().expect("signals").tenants;
    assert_eq!(tenants.figures, ["latency", "rows"]);
    let told: Vec<_> = tenants
        .each
        .iter()
        .map(|own| (own.name.display(), own.class.as_str(), own.limits.clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("north", "default", vec![None, Some(10_000.0)]),
            ("Söder 2", "default", vec![None, Some(10_000.0)]),
            ("west", "premium", vec![Some(5000.5), None]),
        ]
    );
    assert_eq!(tenants.each[2].targets, [Some(1000.0), None]);
    let queries = &io.tenants[0].as_ref().expect("what is asked").queries;
    assert_eq!(queries[1][1], "r{of=\"Söder 2\"}");
}

#[test]
fn tenants_that_cannot_be_asked_for_are_told() {
    let class = "class.small = { names = [\"a\"] }\n";
    let both = |more: &str| format!("{ROWS}{more}");
    check_tenants(&both(class), &[]);
    check_tenants(class, &["10:1: `tenants` needs `figures`"]);
    check_tenants(ROWS, &["10:1: `tenants` needs `class`"]);
    let same = format!("figures = {{ rows = 'rows' }}\n{class}");
    check_tenants(&same, &["11:13: `rows` is the same for all: write `{tenant}`"]);
    let over = format!("figures = {{ over = 'r{{of=\"{{tenant}}\"}}' }}\n{class}");
    check_tenants(&over, &["11:13: `over` is what rules call those who are over"]);
    let odd = both("class.small = { names = [\"a\\\"} or up{\"] }\n");
    check_tenants(&odd, &["12:25: `names` holds one that cannot stand in a query"]);
    let twice = both("class.small = { names = [\"a\", \"a\"] }\n");
    check_tenants(&twice, &["12:25: the tenant `a` is named twice"]);
    let limit = both("class.small = { names = [\"a\"], limits = { row = 5 } }\n");
    check_tenants(
        &limit,
        &["12:43: `limits` names no figure of the tenants; did you mean `rows`?"],
    );
    let below = both("class.small = { names = [\"a\"], targets = { rows = -1 } }\n");
    check_tenants(&below, &["12:44: `targets` holds numbers from 0 on"]);
    let many: Vec<String> = (0..101).map(|at| format!("\"t{at}\"")).collect();
    let many = both(&format!("class.small = {{ names = [{}] }}\n", many.join(", ")));
    check_tenants(&many, &["12:1: a service has at most 100 tenants"]);
    check_service(
        &format!("[service.tenants]\n{ROWS}{class}"),
        &["5:1: `tenants` needs [service.signals]", "5:1: `tenants` needs `metrics`"],
    );
}

#[test]
fn rules_may_name_the_tenants_of_their_service() {
    let class = "class.small = { names = [\"a\"] }\n";
    let rule = |rule: &str| format!("{ROWS}{class}[[service.rollback_when]]\nwhen = \"{rule}\"\n");
    for fine in ["tenants.over > 0", "tenants.rows > 100 || tenants.over_target > 1"] {
        check_tenants(&rule(fine), &[]);
    }
    check_tenants(&rule("tenants.row > 0"), &["14:8: `when` is no rule: `tenants.row`"]);
    let none = "[[service.rollback_when]]\nwhen = \"tenants.over > 0\"\n";
    check_canary(COUNTED, none, &["11:8: `when` is no rule: `tenants.over` is not known"]);
    let incident = "[[incident]]\nname = \"i\"\nseverity = \"low\"\nwhen = \"tenants.rows > 90\"\n";
    check_tenants(&format!("{ROWS}{class}{incident}"), &[]);
}
