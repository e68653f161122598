//! A plan whose steps name what they wait for.
//!
//! Decides which steps may begin. Never orders them: the configuration did, so that each stands
//! behind what it waits for. Contract: a plan without such names is a list, and has no links.

use crate::settings::Step;

/// For each step the places of those that must be done before it; empty for a plain list.
#[must_use]
pub fn links(steps: &[Step]) -> Vec<Vec<u32>> {
    if steps.iter().all(|step| step.after.is_none()) {
        return Vec::new();
    }
    let place = |name: &String| {
        let found = steps.iter().position(|step| step.name == *name);
        found.and_then(|place| u32::try_from(place).ok())
    };
    let of = |(at, step): (u32, &Step)| match &step.after {
        Some(names) => names.iter().filter_map(place).collect(),
        None => at.checked_sub(1).into_iter().collect(),
    };
    (0..).zip(steps).map(of).collect()
}

/// A step before all others: what waited for nothing waits for it.
pub fn put_first(steps: &mut Vec<Step>, first: Step) {
    for step in steps.iter_mut() {
        if let Some(names) = &mut step.after
            && names.is_empty()
        {
            names.push(first.name.clone());
        }
    }
    steps.insert(0, first);
}

/// A step behind all others.
pub fn put_last(steps: &mut Vec<Step>, mut last: Step) {
    if steps.iter().any(|step| step.after.is_some()) {
        last.after = Some(steps.iter().map(|step| step.name.clone()).collect());
    }
    steps.push(last);
}

/// All that this step waits for, directly or not.
#[must_use]
pub fn behind(links: &[Vec<u32>], step: u32) -> Vec<usize> {
    let mut found = Vec::new();
    let mut open = vec![step];
    while let Some(next) = open.pop() {
        for &before in links.get(next as usize).into_iter().flatten() {
            if !found.contains(&(before as usize)) {
                found.push(before as usize);
                open.push(before);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::Action;

    fn step(name: &str, after: Option<&[&str]>) -> Step {
        let after = after.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Step { after, ..Step::new(name, Action::Note(String::new()), Duration::ZERO) }
    }

    #[test]
    fn names_become_places() {
        let none: Vec<Vec<u32>> = Vec::new();
        assert_eq!(links(&[step("a", None), step("b", None)]), none);
        let mut steps =
            vec![step("a", Some(&[])), step("b", Some(&[])), step("c", Some(&["a", "b"]))];
        assert_eq!(links(&steps), [vec![], vec![], vec![0, 1]]);
        put_first(&mut steps, step("first", None));
        put_last(&mut steps, step("last", None));
        assert_eq!(links(&steps), [vec![], vec![0], vec![0], vec![1, 2], vec![0, 1, 2, 3]]);
        let mut all = behind(&links(&steps), 3);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }
}
