//! Weights of single servers from the shares of their groups.
//!
//! Decides the arithmetic that routers with weights share. Never gives a share above zero the
//! weight 0, or the other way round. Contract: whole numbers from 0 to 256, the nearest there are.

use engine::types::{Percent, Weights};

/// The highest weight that HAProxy takes; nginx takes more.
const WEIGHT_MAX: u16 = 256;

/// Absolute weights for each server of both groups: shares follow the groups, not their sizes.
///
/// A percent above zero never becomes 0, zero stays 0. The share is exact where 0–256 allows it,
/// else the nearest there is.
#[must_use]
pub fn server_weights(a: Percent, b: Percent, n_a: usize, n_b: usize) -> (u16, u16) {
    let (a, b) = (u16::from(a.get()), u16::from(b.get()));
    if a == 0 || b == 0 {
        return (a.min(1) * 100, b.min(1) * 100);
    }
    if n_a == n_b {
        return (a, b);
    }
    let size = |n: usize| f64::from(u32::try_from(n.max(1)).unwrap_or(u32::MAX));
    let (size_a, size_b) = (size(n_a), size(n_b));
    let wanted = f64::from(a) / f64::from(a + b);
    let mut best = (1, 1, f64::INFINITY);
    for per_a in 1..=WEIGHT_MAX {
        let of_a = f64::from(per_a) * size_a;
        let ideal = of_a * (1.0 - wanted) / (wanted * size_b);
        // The error only grows with the distance from the ideal: its two neighbours are enough.
        let first = (1..=WEIGHT_MAX).rev().find(|n| f64::from(*n) <= ideal).unwrap_or(1);
        for per_b in [first, (first + 1).min(WEIGHT_MAX)] {
            let error = (of_a / (of_a + f64::from(per_b) * size_b) - wanted).abs();
            if error + f64::EPSILON < best.2 {
                best = (per_a, per_b, error);
            }
        }
    }
    (best.0, best.1)
}

/// Half a point and more would round to another percent: reading it back would prove nothing.
const SHARE_ERROR: f64 = 0.5;

/// Refuses a share that these weights, each with the number of its servers, miss by so much that
/// the nearest whole percent is another one.
pub fn check_share(weights: Weights, a: (u16, usize), b: (u16, usize)) -> Result<(), String> {
    let total = |(weight, count): (u16, usize)| {
        f64::from(weight) * f64::from(u32::try_from(count).unwrap_or(u32::MAX))
    };
    let got = 100.0 * total(b) / (total(a) + total(b)).max(1.0);
    if (got - f64::from(weights.b.get())).abs() < SHARE_ERROR {
        return Ok(());
    }
    Err(format!(
        "groups of {} and {} servers are too unequal for {}: the nearest is {got:.1} %",
        a.1, b.1, weights.b
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(value: u8) -> Percent {
        Percent::new(value).expect("a percent")
    }

    #[test]
    fn shares_are_right_for_groups_of_any_size() {
        for b in 0..=100 {
            for n_a in 1..=6_u8 {
                for n_b in 1..=6_u8 {
                    if n_a.max(n_b) / n_a.min(n_b) > 5 {
                        continue;
                    }
                    let (a, b) = (percent(b).rest(), percent(b));
                    let (of_a, of_b) = server_weights(a, b, n_a.into(), n_b.into());
                    assert!(of_a <= WEIGHT_MAX && of_b <= WEIGHT_MAX);
                    assert_eq!((of_a == 0, of_b == 0), (a.get() == 0, b.get() == 0));
                    let total_b = f64::from(of_b) * f64::from(n_b);
                    let share = 100.0 * total_b / (total_b + f64::from(of_a) * f64::from(n_a));
                    let error = (share - f64::from(b.get())).abs();
                    let (total_a, total_b) = ((of_a, n_a.into()), (of_b, n_b.into()));
                    let taken = check_share(Weights { a, b }, total_a, total_b).is_ok();
                    // One server of weight 256 beside four of weight 1 gets no more than 98.5 %.
                    let edge = n_a.max(n_b) / n_a.min(n_b) > 3 && matches!(b.get(), 1 | 99);
                    assert!(taken || edge, "{b} of {n_a}/{n_b}: {of_a}/{of_b} gives {share}");
                    assert_eq!(taken, error < SHARE_ERROR);
                }
            }
        }
    }
}
