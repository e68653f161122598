//! What every CEL expression of a user must keep to, wherever it stands.
//!
//! Decides whether an expression may be used at all. Never runs one, and lets none through that
//! could cost more than its own length. Contract: what passes is at most [`SOURCE_BYTES_MAX`]
//! bytes, nested at most [`DEPTH_MAX`] deep, and free of comprehensions.

use cel::common::ast::{EntryExpr, Expr};
use cel::{IdedExpr, Program};

/// An expression longer than this belongs into the service.
pub const SOURCE_BYTES_MAX: usize = 2048;
/// Deep enough for a hundred alternatives in a row, shallow enough for any stack.
const DEPTH_MAX: usize = 128;

/// Parses `source`, or says what is wrong with it.
pub fn parse(source: &str) -> Result<Program, String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("expression is longer than {SOURCE_BYTES_MAX} bytes"));
    }
    let program = Program::compile(source).map_err(|errors| {
        let text = errors.to_string();
        text.lines().next().unwrap_or("not a CEL expression").to_owned()
    })?;
    check(program.expression(), DEPTH_MAX)?;
    Ok(program)
}

/// Refuses comprehensions and deep nesting.
fn check(node: &IdedExpr, depth_left: usize) -> Result<(), String> {
    let depth_left = depth_left.checked_sub(1).ok_or("expression is nested too deeply")?;
    match &node.expr {
        Expr::Comprehension(_) => {
            Err("all, exists, exists_one, filter and map are not allowed here".to_owned())
        }
        Expr::Call(call) => {
            let mut operands = call.target.as_deref().into_iter().chain(&call.args);
            operands.try_for_each(|node| check(node, depth_left))
        }
        Expr::List(list) => list.elements.iter().try_for_each(|node| check(node, depth_left)),
        Expr::Select(select) => check(&select.operand, depth_left),
        Expr::Map(map) => check_entries(map.entries.iter().map(|entry| &entry.expr), depth_left),
        Expr::Struct(made) => {
            check_entries(made.entries.iter().map(|entry| &entry.expr), depth_left)
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Ok(()),
    }
}

fn check_entries<'a>(
    mut entries: impl Iterator<Item = &'a EntryExpr>,
    depth_left: usize,
) -> Result<(), String> {
    entries.try_for_each(|entry| match entry {
        EntryExpr::StructField(field) => check(&field.value, depth_left),
        EntryExpr::MapEntry(entry) => {
            check(&entry.key, depth_left).and_then(|()| check(&entry.value, depth_left))
        }
    })
}
