//! The order of a plan's steps, where they name what they wait for.
//!
//! Decides it: each behind what it waits for, else the lowest priority first, else as written.
//! Never changes a plan that names nothing. Contract: a name that is not there and steps that wait
//! for each other are told with their place, and leave the plan as it was written.

use std::collections::BTreeSet;

use engine::settings::Step;
use engine::types::Untrusted;

use crate::config::reader::Table;
use crate::config::value;

/// Room on both sides of a step that says nothing.
const PRIORITY: u32 = 100;
const PRIORITY_MAX: u32 = 1000;

/// What stands beside a step, as it was written.
pub struct Wish {
    at: usize,
    after: Option<Vec<String>>,
    priority: Option<u32>,
}

pub fn wish(table: &mut Table<'_>) -> Wish {
    let after = table.strings("after");
    let priority = table.integer("priority", 0..=PRIORITY_MAX);
    let key = if table.has("after") { "after" } else { "priority" };
    Wish { at: table.place_of(key), after, priority }
}

/// The steps in their order. `table` is the plan's.
pub fn ordered(table: &Table<'_>, steps: Vec<Step>, wishes: &[Wish]) -> Vec<Step> {
    if wishes.iter().all(|wish| wish.after.is_none()) {
        for wish in wishes.iter().filter(|wish| wish.priority.is_some()) {
            let why = "`priority` is for plans whose steps have `after`: these go one by one";
            table.reader.problem(wish.at, why);
        }
        return steps;
    }
    let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    let Some(links) = links(table, &names, wishes) else { return steps };
    let mut order: Vec<usize> = Vec::new();
    let mut left: BTreeSet<usize> = (0..steps.len()).collect();
    while !left.is_empty() {
        let ready = left.iter().filter(|&&at| links[at].iter().all(|one| order.contains(one)));
        let first = ready.min_by_key(|&&at| (wishes[at].priority.unwrap_or(PRIORITY), at));
        let Some(&first) = first else {
            circle(table, &names, &links, &left, wishes);
            return steps;
        };
        left.remove(&first);
        order.push(first);
    }
    let before = |at: usize| links[at].iter().map(|&one| names[one].clone()).collect();
    order.iter().map(|&at| Step { after: Some(before(at)), ..steps[at].clone() }).collect()
}

/// What each step waits for, by place; `None` when a name is not there.
fn links(table: &Table<'_>, names: &[String], wishes: &[Wish]) -> Option<Vec<Vec<usize>>> {
    let mut whole = true;
    let mut place = |at: usize, name: &String| {
        let found = names.iter().position(|own| own == name);
        if found.is_none() {
            let all = names.iter().map(String::as_str);
            let hint = value::nearest(name, all)
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let shown = Untrusted::new(name);
            let text = format!("`after`: this plan has no step named `{shown}`{hint}");
            table.reader.problem(at, text);
            whole = false;
        }
        found
    };
    let of = |(at, wish): (usize, &Wish)| match &wish.after {
        Some(after) => after.iter().filter_map(|name| place(wish.at, name)).collect(),
        None => at.checked_sub(1).into_iter().collect(),
    };
    let links = wishes.iter().enumerate().map(of).collect();
    whole.then_some(links)
}

/// Tells of one circle: whoever follows what is left comes round.
fn circle(
    table: &Table<'_>,
    names: &[String],
    links: &[Vec<usize>],
    left: &BTreeSet<usize>,
    wishes: &[Wish],
) {
    let mut way: Vec<usize> = left.first().copied().into_iter().collect();
    while let Some(&last) = way.last() {
        let Some(&next) = links[last].iter().find(|one| left.contains(one)) else { return };
        if let Some(start) = way.iter().position(|one| *one == next) {
            way.drain(..start);
            break;
        }
        way.push(next);
    }
    // It is told where somebody wrote a name, not where a step only follows the one before it.
    let Some(said) = way.iter().position(|&at| wishes[at].after.is_some()) else { return };
    way.rotate_left(said);
    way.extend(way.first().copied());
    let told: Vec<&str> = way.iter().map(|&at| names[at].as_str()).collect();
    let text = format!("`after`: these steps wait for each other: {}", told.join(" → "));
    table.reader.problem(wishes[way[0]].at, text);
}
