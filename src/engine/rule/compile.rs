//! From CEL's tree to one of two kinds: numbers and truths.
//!
//! Decides what of CEL a rule may use, and runs it. Never evaluates both branches of a choice, nor
//! lets a result that is no number reach a comparison. Contract: what compiles always has a result,
//! `None` only where arithmetic gave none; logic is CEL's, so a side that decides is enough.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators};

use crate::expression;

#[derive(Debug)]
pub enum Number {
    Literal(f64),
    /// Place in the rule's operands.
    Operand(usize),
    Negated(Box<Number>),
    Sum(Box<[Number; 2]>),
    Difference(Box<[Number; 2]>),
    Product(Box<[Number; 2]>),
    Quotient(Box<[Number; 2]>),
    Least(Vec<Number>),
    Greatest(Vec<Number>),
    Choice(Box<(Truth, [Number; 2])>),
}

#[derive(Debug)]
pub enum Truth {
    Literal(bool),
    Compare(Comparison, Box<[Number; 2]>),
    Same(Box<[Truth; 2]>),
    Not(Box<Truth>),
    And(Box<[Truth; 2]>),
    Or(Box<[Truth; 2]>),
    Choice(Box<(Truth, [Truth; 2])>),
}

#[derive(Clone, Copy, Debug)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    Greater,
    GreaterOrEqual,
}

enum Node {
    Number(Number),
    Truth(Truth),
}

/// The tree of `source`, and the operands that it names.
pub fn compile(source: &str, known: &[&str]) -> Result<(Truth, Vec<String>), String> {
    let program = expression::parse(source)?;
    let mut compiler = Compiler { known, operands: Vec::new() };
    match compiler.node(program.expression())? {
        Node::Number(_) => Err("the result is a number, not true or false".to_owned()),
        Node::Truth(_) if compiler.operands.is_empty() => {
            Err("it names no figure: it would always say the same".to_owned())
        }
        Node::Truth(truth) => Ok((truth, compiler.operands)),
    }
}

struct Compiler<'a> {
    known: &'a [&'a str],
    operands: Vec<String>,
}

impl Compiler<'_> {
    fn node(&mut self, node: &IdedExpr) -> Result<Node, String> {
        match &node.expr {
            Expr::Literal(literal) => literal_node(literal),
            Expr::Select(select) => self.operand(select).map(Node::Number),
            Expr::Ident(name) => Err(format!("`{name}` is no figure: write `{name}.FIELD`")),
            Expr::Call(call) => self.call(call),
            Expr::List(_)
            | Expr::Map(_)
            | Expr::Struct(_)
            | Expr::Comprehension(_)
            | Expr::Unspecified => Err("only numbers, true and false are allowed here".to_owned()),
        }
    }

    fn operand(&mut self, select: &SelectExpr) -> Result<Number, String> {
        if select.test {
            return Err("has() is not allowed: a figure without data makes the rule no data, \
                        whatever the rest says"
                .to_owned());
        }
        let name = path(&select.operand.expr, &select.field)
            .ok_or("a figure is written `name.field`, as in `canary.error_rate`")?;
        if !self.known.contains(&name.as_str()) {
            return Err(unknown(&name, self.known));
        }
        let place = self.operands.iter().position(|operand| *operand == name);
        Ok(Number::Operand(place.unwrap_or_else(|| {
            self.operands.push(name);
            self.operands.len() - 1
        })))
    }

    fn number(&mut self, node: &IdedExpr, what: &str) -> Result<Number, String> {
        match self.node(node)? {
            Node::Number(number) => Ok(number),
            Node::Truth(_) => Err(format!("`{what}` needs numbers, not true or false")),
        }
    }

    fn truth(&mut self, node: &IdedExpr, what: &str) -> Result<Truth, String> {
        match self.node(node)? {
            Node::Truth(truth) => Ok(truth),
            Node::Number(_) => Err(format!("`{what}` needs true or false, not a number")),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Result<Node, String> {
        let name = call.func_name.as_str();
        let args = call.args.as_slice();
        if call.target.is_some() {
            return Err(not_allowed(name));
        }
        match (name, args) {
            (operators::LOGICAL_NOT, [of]) => {
                Ok(Node::Truth(Truth::Not(Box::new(self.truth(of, "!")?))))
            }
            (operators::NEGATE, [of]) => {
                Ok(Node::Number(Number::Negated(Box::new(self.number(of, "-")?))))
            }
            (operators::CONDITIONAL, [test, yes, no]) => self.choice(test, yes, no),
            ("double", [of]) => self.number(of, name).map(Node::Number),
            ("double", _) => Err("`double` needs one number".to_owned()),
            ("min" | "max", []) => Err(format!("`{name}` needs numbers")),
            ("min" | "max", all) => {
                let all = all.iter().map(|node| self.number(node, name)).collect::<Result<_, _>>();
                let made = if name == "min" { Number::Least } else { Number::Greatest };
                Ok(Node::Number(made(all?)))
            }
            (_, [left, right]) => self.binary(name, left, right),
            (_, _) => Err(not_allowed(name)),
        }
    }

    fn choice(&mut self, test: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Result<Node, String> {
        let test = self.truth(test, "?")?;
        match (self.node(yes)?, self.node(no)?) {
            (Node::Number(yes), Node::Number(no)) => {
                Ok(Node::Number(Number::Choice(Box::new((test, [yes, no])))))
            }
            (Node::Truth(yes), Node::Truth(no)) => {
                Ok(Node::Truth(Truth::Choice(Box::new((test, [yes, no])))))
            }
            (Node::Number(_), Node::Truth(_)) | (Node::Truth(_), Node::Number(_)) => {
                Err("both sides of `:` must be numbers, or both true or false".to_owned())
            }
        }
    }

    fn binary(&mut self, name: &str, left: &IdedExpr, right: &IdedExpr) -> Result<Node, String> {
        let arithmetic = |made: fn(Box<[Number; 2]>) -> Number, this: &mut Self, sign: &str| {
            let both = [this.number(left, sign)?, this.number(right, sign)?];
            Ok(Node::Number(made(Box::new(both))))
        };
        let logic = |made: fn(Box<[Truth; 2]>) -> Truth, this: &mut Self, sign: &str| {
            let both = [this.truth(left, sign)?, this.truth(right, sign)?];
            Ok(Node::Truth(made(Box::new(both))))
        };
        let compare = |comparison: Comparison, this: &mut Self, sign: &str| {
            let both = [this.number(left, sign)?, this.number(right, sign)?];
            Ok(Node::Truth(Truth::Compare(comparison, Box::new(both))))
        };
        match name {
            operators::ADD => arithmetic(Number::Sum, self, "+"),
            operators::SUBSTRACT => arithmetic(Number::Difference, self, "-"),
            operators::MULTIPLY => arithmetic(Number::Product, self, "*"),
            operators::DIVIDE => arithmetic(Number::Quotient, self, "/"),
            operators::LOGICAL_AND => logic(Truth::And, self, "&&"),
            operators::LOGICAL_OR => logic(Truth::Or, self, "||"),
            operators::LESS => compare(Comparison::Less, self, "<"),
            operators::LESS_EQUALS => compare(Comparison::LessOrEqual, self, "<="),
            operators::GREATER => compare(Comparison::Greater, self, ">"),
            operators::GREATER_EQUALS => compare(Comparison::GreaterOrEqual, self, ">="),
            operators::EQUALS => self.equal(left, right).map(Node::Truth),
            operators::NOT_EQUALS => {
                Ok(Node::Truth(Truth::Not(Box::new(self.equal(left, right)?))))
            }
            _ => Err(not_allowed(name)),
        }
    }

    fn equal(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Truth, String> {
        match (self.node(left)?, self.node(right)?) {
            (Node::Number(left), Node::Number(right)) => {
                Ok(Truth::Compare(Comparison::Equal, Box::new([left, right])))
            }
            (Node::Truth(left), Node::Truth(right)) => Ok(Truth::Same(Box::new([left, right]))),
            (Node::Number(_), Node::Truth(_)) | (Node::Truth(_), Node::Number(_)) => {
                Err("a number is never equal to true or false".to_owned())
            }
        }
    }
}

fn literal_node(literal: &LiteralValue) -> Result<Node, String> {
    let number = match literal {
        LiteralValue::Boolean(truth) => return Ok(Node::Truth(Truth::Literal(*truth.inner()))),
        LiteralValue::Double(number) => Some(*number.inner()),
        LiteralValue::Int(number) => exact(i128::from(*number.inner())),
        LiteralValue::UInt(number) => exact(i128::from(*number.inner())),
        LiteralValue::Bytes(_) | LiteralValue::Null | LiteralValue::String(_) => {
            return Err("only numbers, true and false are allowed here".to_owned());
        }
    };
    match number.filter(|number| number.is_finite()) {
        Some(number) => Ok(Node::Number(Number::Literal(number))),
        None => Err("a number is too large".to_owned()),
    }
}

/// Whole numbers that a float holds exactly; no figure is ever compared with more.
fn exact(number: i128) -> Option<f64> {
    let high = i32::try_from(number >> 32).ok()?;
    let low = u32::try_from(number & 0xffff_ffff).ok()?;
    let whole = f64::from(high) * 4_294_967_296.0 + f64::from(low);
    (number.unsigned_abs() <= 1 << 53).then_some(whole)
}

/// `a.b` of nested selections on a name; `None` when something else is selected from.
fn path(operand: &Expr, field: &str) -> Option<String> {
    match operand {
        Expr::Ident(name) => Some(format!("{name}.{field}")),
        Expr::Select(select) if !select.test => {
            path(&select.operand.expr, &select.field).map(|front| format!("{front}.{field}"))
        }
        Expr::Select(_)
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Unspecified => None,
    }
}

fn not_allowed(name: &str) -> String {
    let shown = match name {
        operators::MODULO => "%",
        operators::IN => "in",
        operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT => {
            return "a figure is written `name.field`, as in `canary.error_rate`".to_owned();
        }
        other => other,
    };
    format!("`{shown}` is not allowed in a rule: it has arithmetic, comparisons, logic, min, max")
}

fn unknown(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|word| (distance(name, word), *word)).min();
    // At most a third of it is wrong, as a typing error is.
    if let Some((distance, word)) = near
        && distance <= name.chars().count() / 3
        && name.split_once('.').is_some_and(|(_, field)| !field.contains('.'))
        && (same_field(name, word) || same_name(name, word))
    {
        return format!("`{name}` is not known; did you mean `{word}`?");
    }
    let mut names: Vec<&str> = Vec::new();
    let mut fields: Vec<&str> = Vec::new();
    for (front, field) in known.iter().filter_map(|word| word.split_once('.')) {
        if !names.contains(&front) {
            names.push(front);
        }
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    let (names, fields) = (names.join(", "), fields.join(", "));
    format!("`{name}` is not known; known are {names} with {fields}")
}

/// One of the two levels is right: `baseline.requests` is no slip of the hand for
/// `service.requests`, but `canry.requests` is one for `canary.requests`.
fn same_field(name: &str, word: &str) -> bool {
    let (front, field) = name.split_once('.').unwrap_or_default();
    let (known_front, known_field) = word.split_once('.').unwrap_or_default();
    field == known_field && distance(front, known_front) <= 2
}

fn same_name(name: &str, word: &str) -> bool {
    name.split_once('.').map(|(front, _)| front) == word.split_once('.').map(|(front, _)| front)
}

/// Edits from `a` to `b`: insert, delete, replace. Costs the product of both lengths, which the
/// length of a rule bounds.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let replaced = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl Number {
    fn run(&self, operands: &[f64]) -> Option<f64> {
        let both = |of: &[Number; 2]| Some((of[0].run(operands)?, of[1].run(operands)?));
        let all = |of: &[Number], pick: fn(f64, f64) -> f64| {
            let mut numbers = of.iter().map(|number| number.run(operands));
            let first = numbers.next()??;
            numbers.try_fold(first, |best, number| Some(pick(best, number?)))
        };
        let result = match self {
            Number::Literal(number) => Some(*number),
            Number::Operand(place) => operands.get(*place).copied(),
            Number::Negated(of) => of.run(operands).map(|number| -number),
            Number::Sum(of) => both(of).map(|(left, right)| left + right),
            Number::Difference(of) => both(of).map(|(left, right)| left - right),
            Number::Product(of) => both(of).map(|(left, right)| left * right),
            Number::Quotient(of) => both(of).map(|(left, right)| left / right),
            Number::Least(of) => all(of, f64::min),
            Number::Greatest(of) => all(of, f64::max),
            Number::Choice(of) => {
                let (test, [yes, no]) = &**of;
                if test.run(operands)? { yes.run(operands) } else { no.run(operands) }
            }
        };
        result.filter(|number| number.is_finite())
    }
}

impl Truth {
    /// `None` where arithmetic has no result and nothing else decides.
    pub fn run(&self, operands: &[f64]) -> Option<bool> {
        match self {
            Truth::Literal(truth) => Some(*truth),
            Truth::Compare(comparison, of) => {
                let order = of[0].run(operands)?.partial_cmp(&of[1].run(operands)?)?;
                Some(match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Equal => order.is_eq(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                })
            }
            Truth::Same(of) => Some(of[0].run(operands)? == of[1].run(operands)?),
            Truth::Not(of) => of.run(operands).map(|truth| !truth),
            Truth::And(of) => decided(of, false, operands),
            Truth::Or(of) => decided(of, true, operands),
            Truth::Choice(of) => {
                let (test, [yes, no]) = &**of;
                if test.run(operands)? { yes.run(operands) } else { no.run(operands) }
            }
        }
    }
}

/// `verdict` as soon as one side says it; its opposite only when both do.
fn decided(of: &[Truth; 2], verdict: bool, operands: &[f64]) -> Option<bool> {
    match of.each_ref().map(|side| side.run(operands)) {
        [Some(side), _] | [_, Some(side)] if side == verdict => Some(verdict),
        [Some(_), Some(_)] => Some(!verdict),
        [None, _] | [_, None] => None,
    }
}
