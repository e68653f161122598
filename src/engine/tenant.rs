//! Tenants of a service: what each uses, against what its class allows.
//!
//! Decides who is over a limit or a target, and what rules may name. Never takes what is missing
//! for being within it. Contract: a count of those who are over is a figure as soon as one is; that
//! nobody is needs every figure of every tenant.

use std::cmp::Reverse;

use crate::reading::TenantReading;
use crate::rule::Values;
use crate::settings::Tenants;
use crate::snapshot::{TenantFigure, TenantView};

/// What rules may name of any tenants, beside `tenants.FIGURE`: the greatest of all, in percent of
/// its own limit.
pub const OVER: &str = "tenants.over";
pub const OVER_TARGET: &str = "tenants.over_target";

/// What stands before the name of a tenants' figure in a rule.
pub const PREFIX: &str = "tenants.";

impl TenantFigure {
    /// `None` without a limit or a value.
    #[must_use]
    pub fn is_over(&self) -> Option<bool> {
        Some(self.value? > self.limit?)
    }

    #[must_use]
    pub fn is_over_target(&self) -> Option<bool> {
        Some(self.value? > self.target?)
    }

    fn used_percent(&self) -> Option<f64> {
        let limit = self.limit.filter(|limit| *limit > 0.0)?;
        Some(self.value? / limit * 100.0)
    }
}

impl TenantView {
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.figures.iter().any(|own| own.is_over() == Some(true))
    }

    #[must_use]
    pub fn is_over_target(&self) -> bool {
        self.figures.iter().any(|own| own.is_over_target() == Some(true))
    }

    /// Nobody can say that it is within its limits and targets.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let asked = |own: &&TenantFigure| own.limit.is_some() || own.target.is_some();
        self.figures.iter().filter(asked).any(|own| own.value.is_none())
    }
}

/// Each tenant with its figures, in the order of the file.
#[must_use]
pub fn views(settings: &Tenants, reading: &TenantReading) -> Vec<TenantView> {
    let each = settings.each.iter().enumerate();
    each.map(|(tenant, own)| TenantView {
        name: own.name.clone(),
        class: own.class.clone(),
        figures: settings
            .figures
            .iter()
            .enumerate()
            .map(|(figure, name)| TenantFigure {
                name: name.clone(),
                value: reading.value(tenant, figure),
                limit: own.limits.get(figure).copied().flatten(),
                target: own.targets.get(figure).copied().flatten(),
            })
            .collect(),
    })
    .collect()
}

/// The figures for rules. Behind the name of a figure, after a space, stands whom it is about: no
/// rule can name that, and the sentence that explains a rule does.
#[must_use]
pub fn values(tenants: &[TenantView]) -> Values {
    let mut values = Values::new();
    count(&mut values, OVER, tenants, TenantFigure::is_over, |own| own.limit);
    count(&mut values, OVER_TARGET, tenants, TenantFigure::is_over_target, |own| own.target);
    let names = tenants.first().map(|own| own.figures.iter().map(|own| &own.name));
    for (place, name) in names.into_iter().flatten().enumerate() {
        let limited = tenants.iter().filter(|own| own.figures[place].limit.is_some());
        let used: Option<Vec<(f64, &TenantView)>> =
            limited.map(|own| Some((own.figures[place].used_percent()?, own))).collect();
        let greatest = used.into_iter().flatten().max_by(|one, other| one.0.total_cmp(&other.0));
        if let Some((percent, own)) = greatest {
            values.insert(format!("{PREFIX}{name}"), percent);
            values.insert(format!("{PREFIX}{name} {}", own.name), percent);
        }
    }
    values
}

/// How many tenants have a figure that `is_over` what it is `bound` by.
fn count(
    values: &mut Values,
    operand: &str,
    tenants: &[TenantView],
    is_over: fn(&TenantFigure) -> Option<bool>,
    bound: fn(&TenantFigure) -> Option<f64>,
) {
    let mut over = 0_u32;
    let (mut bounded, mut known) = (false, true);
    for tenant in tenants {
        let mut is_one = false;
        for own in &tenant.figures {
            bounded |= bound(own).is_some();
            known &= bound(own).is_none() || own.value.is_some();
            if let Some(value) = own.value.filter(|_| is_over(own) == Some(true)) {
                is_one = true;
                values.insert(format!("{operand} {} {}", tenant.name, own.name), value);
            }
        }
        over += u32::from(is_one);
    }
    if over > 0 || bounded && known {
        values.insert(operand.to_owned(), f64::from(over));
    }
}

/// Those over a limit first, then over a target, then without data.
#[must_use]
pub fn by_trouble(tenants: &[TenantView]) -> Vec<&TenantView> {
    let mut sorted: Vec<&TenantView> = tenants.iter().collect();
    sorted.sort_by_key(|own| Reverse((own.is_over(), own.is_over_target(), own.is_unknown())));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::TenantValue;
    use crate::rule::{Answer, Rule};
    use crate::settings::Tenant;
    use crate::types::Untrusted;

    /// Two of the default class, one premium: latency, rows.
    fn settings() -> Tenants {
        let tenant = |name, class: &str, latency, rows| Tenant {
            name: Untrusted::new(name),
            class: class.to_owned(),
            limits: vec![Some(latency), Some(rows)],
            targets: vec![Some(1000.0), None],
        };
        Tenants {
            figures: vec!["latency".to_owned(), "rows".to_owned()],
            each: vec![
                tenant("north", "default", 3000.0, 10_000.0),
                tenant("south", "default", 3000.0, 10_000.0),
                tenant("west", "premium", 5000.0, 50_000.0),
            ],
        }
    }

    fn read(values: &[[Option<f64>; 2]]) -> Vec<TenantView> {
        let mut reading = TenantReading::default();
        for (tenant, figures) in (0..).zip(values) {
            let known = (0..).zip(figures).filter_map(|(at, value)| Some((at, (*value)?)));
            let values = known.map(|(figure, value)| TenantValue { tenant, figure, value });
            reading.values.extend(values);
        }
        views(&settings(), &reading)
    }

    fn check(tenants: &[[Option<f64>; 2]], rule: &str, expected: &Answer, told: &str) {
        let known = [OVER, OVER_TARGET, "tenants.latency", "tenants.rows"];
        let rule = Rule::compile(rule, &known).expect("the rule compiles");
        let values = values(&read(tenants));
        assert_eq!(rule.judge(&values), *expected, "{rule:?} {values:?}");
        assert_eq!(rule.figures(&values), told);
    }

    #[test]
    fn the_same_latency_is_over_one_class_and_not_the_other() {
        let slow = [Some(4000.0), Some(10.0)];
        let fine = [Some(200.0), Some(10.0)];
        let none = "tenants.over 0";
        check(&[fine, fine, fine], "tenants.over > 0", &Answer::False, none);
        check(&[fine, fine, slow], "tenants.over > 0", &Answer::False, none);
        let one = "tenants.over 1 (south latency 4000)";
        check(&[fine, slow, slow], "tenants.over > 0", &Answer::True, one);
        let both = "tenants.over_target 2 (south latency 4000, west latency 4000)";
        check(&[fine, slow, slow], "tenants.over_target > 1", &Answer::True, both);
        let most = "tenants.latency 133.3 (south 133.3)";
        check(&[fine, slow, slow], "tenants.latency > 100", &Answer::True, most);
        let full = [Some(3000.0), Some(10_000.0)];
        check(&[full, fine, fine], "tenants.over > 0", &Answer::False, none);
    }

    #[test]
    fn nobody_is_within_limits_without_data() {
        let slow = [Some(4000.0), Some(10.0)];
        let fine = [Some(200.0), Some(10.0)];
        let blind = [Some(200.0), None];
        let no = |name: &str| Answer::NoData(name.to_owned());
        let told = "tenants.over without data";
        check(&[fine, blind, fine], "tenants.over == 0.0", &no(OVER), told);
        check(&[], "tenants.over == 0.0", &no(OVER), told);
        let one = "tenants.over 1 (north latency 4000)";
        check(&[slow, blind, fine], "tenants.over > 0", &Answer::True, one);
        let rows = "tenants.rows without data";
        check(&[fine, blind, fine], "tenants.rows > 90", &no("tenants.rows"), rows);
        assert!(read(&[fine, blind, fine])[1].is_unknown());
    }

    #[test]
    fn who_is_over_comes_first() {
        let values =
            [[Some(200.0), Some(10.0)], [Some(200.0), None], [Some(9000.0), Some(90_000.0)]];
        let tenants = read(&values);
        let names: Vec<&str> = by_trouble(&tenants).iter().map(|own| own.name.display()).collect();
        assert_eq!(names, ["west", "south", "north"]);
    }
}
