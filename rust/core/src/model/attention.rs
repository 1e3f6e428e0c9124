//! History attention with fixed weights: a user is the weighted sum of the items of the history, and an item is itself
//! plus the weighted sum of its users.
//!
//! Pass 1, weights: `a_uj` = `r_j` / (Σ_k `r_k`)^β over the items k of u's history, `r_j` = `n_j^-½` (degree) or 1 (mean);
//!   the same from the item's side with its users: `b_ju`.
//! Pass 2, users from bare items: p⁰ = A x. Pass 3, items: v = x + B p⁰. Pass 4, users: p = A v.
//! Backward through passes 3 and 2, linear: dx = dv + Aᵀ Bᵀ dv; pass 4 belongs to the batch of users and its loss.

use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::sparse::{self, Accumulate, Rows};
use crate::runtime::simd::vector::{count_power, power};
use crate::{Error, Result};

/// How much each interaction of a history counts before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// All the same: `r_j` = 1.
    Mean,
    /// Popular items count less: `r_j` = `n_j^-½`.
    Degree,
}

impl Prior {
    fn of(self, count: usize) -> f32 {
        match self {
            Self::Mean => 1.0,
            Self::Degree => count_power(count, -0.5),
        }
    }

    /// `r_j` of every item.
    pub fn of_items(self, interactions: &Csr) -> Vec<f32> {
        let mut counts = vec![0; interactions.n_columns()];
        interactions.columns().iter().for_each(|&item| counts[item as usize] += 1);
        counts.into_iter().map(|count| self.of(count)).collect()
    }

    /// The same of every user.
    fn of_users(self, interactions: &Csr) -> Vec<f32> {
        (0..interactions.n_rows()).map(|user| self.of(interactions.row(user).len())).collect()
    }
}

fn check_exponent(exponent: f32) -> Result<()> {
    if (0.0..=2.0).contains(&exponent) {
        return Ok(());
    }
    Err(Error::InvalidParameter(format!("attention_exponent is {exponent}; it must be between 0 and 2.")))
}

/// The attention of both sides, for pairs that are gone through once: A in the order of `interactions`, and items × users
/// with B as values.
pub fn both_sides(interactions: &Csr, prior: Prior, exponent: f32) -> Result<(Vec<f32>, Csr)> {
    check_exponent(exponent)?;
    let a = normalized(interactions, &prior.of_items(interactions), exponent);
    let items = interactions.transpose();
    let b = normalized(&items, &prior.of_users(interactions), exponent);
    let (offsets, users, _) = items.into_parts();
    Ok((a, Csr::new(offsets, users, b, interactions.n_rows())?))
}

/// Rows of one task: few enough to balance the threads, many enough to make a hand-off cheap.
const ROWS_PER_TASK: usize = 64;

/// Who interacted with what, from both sides, with the attention's weights.
pub struct Attention {
    /// Users × items.
    pub users: Csr,
    /// Items × users.
    pub items: Csr,
    /// A in the order of `users`.
    pub a_by_user: Vec<f32>,
    /// A in the order of `items`.
    pub a_by_item: Vec<f32>,
    /// B in the order of `users`.
    pub b_by_user: Vec<f32>,
    /// B in the order of `items`.
    pub b_by_item: Vec<f32>,
    /// `r_j` of every item.
    pub item_priors: Vec<f32>,
    smooth_items: bool,
}

impl Attention {
    /// Weights for the pairs of `interactions`; `exponent` is β, `smooth_items` switches pass 3.
    pub fn new(interactions: &Csr, prior: Prior, exponent: f32, smooth_items: bool) -> Result<Self> {
        check_exponent(exponent)?;
        let users = interactions.clone();
        let (items, positions) = users.transpose_with_positions();
        let item_priors = prior.of_items(interactions);
        let user_priors = prior.of_users(interactions);
        let a_by_user = normalized(&users, &item_priors, exponent);
        let b_by_item = normalized(&items, &user_priors, exponent);
        let a_by_item = positions.iter().map(|&at| a_by_user[at as usize]).collect();
        let mut b_by_user = vec![0.0; users.len()];
        for (&at, &weight) in positions.iter().zip(&b_by_item) {
            b_by_user[at as usize] = weight;
        }
        Ok(Self { users, items, a_by_user, a_by_item, b_by_user, b_by_item, item_priors, smooth_items })
    }

    /// The same of some users of a table, whose items have `counts` users in all. What an item's users weigh is not known
    /// before `set_item_sums`.
    pub fn of_shard(
        interactions: &Csr,
        counts: &[usize],
        prior: Prior,
        exponent: f32,
        smooth_items: bool,
    ) -> Result<Self> {
        let mut made = Self::new(interactions, prior, exponent, smooth_items)?;
        made.item_priors = counts.iter().map(|&n| prior.of(n)).collect();
        made.a_by_user = normalized(&made.users, &made.item_priors, exponent);
        let (_, positions) = made.users.transpose_with_positions();
        made.a_by_item = positions.iter().map(|&at| made.a_by_user[at as usize]).collect();
        Ok(made)
    }

    /// Adds to each item the priors of its users, one after the other.
    pub fn carry_item_sums(&self, prior: Prior, sums: &mut [f64]) {
        for (item, sum) in sums.iter_mut().enumerate() {
            for &user in self.items.row(item) {
                *sum += f64::from(prior.of(self.users.row(user as usize).len()));
            }
        }
    }

    /// Weighs the users of each item by these sums of priors over all of them.
    pub fn set_item_sums(&mut self, prior: Prior, exponent: f32, sums: &[f64]) {
        let (_, positions) = self.users.transpose_with_positions();
        for (item, &sum) in sums.iter().enumerate() {
            let factor = if sum > 0.0 { power(sum, -exponent) } else { 1.0 };
            for at in self.items.offsets()[item]..self.items.offsets()[item + 1] {
                let user = self.items.columns()[at] as usize;
                self.b_by_item[at] = prior.of(self.users.row(user).len()) * factor;
                self.b_by_user[positions[at] as usize] = self.b_by_item[at];
            }
        }
    }

    /// Passes 2 and 3: item vectors from bare ones. `p` (users × d) is scratch, `v` (items × d) the result.
    pub fn items_from(&self, context: &Context, d: usize, x: &[f32], p: &mut [f32], v: &mut [f32]) {
        if self.smooth_items {
            propagate_onto(context, d, &self.users, &self.a_by_user, x, Accumulate::Zero, p);
            propagate_onto(context, d, &self.items, &self.b_by_item, p, Accumulate::Table(x), v);
        } else {
            v.copy_from_slice(x);
        }
    }
}

/// `r_j` / (Σ `r_k`)^β for each entry of each row.
fn normalized(rows: &Csr, priors: &[f32], exponent: f32) -> Vec<f32> {
    let mut weights: Vec<f32> = rows.columns().iter().map(|&column| priors[column as usize]).collect();
    for row in 0..rows.n_rows() {
        normalize(&mut weights[rows.offsets()[row]..rows.offsets()[row + 1]], exponent);
    }
    weights
}

fn normalize(weights: &mut [f32], exponent: f32) {
    let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    if sum > 0.0 {
        let factor = power(sum, -exponent);
        for weight in weights {
            *weight *= factor;
        }
    }
}

/// out += M · table for a sparse M given by pattern and values; rows of `table` and `out` have `d` numbers.
pub fn propagate(context: &Context, d: usize, pattern: &Csr, values: &[f32], table: &[f32], out: &mut [f32]) {
    propagate_onto(context, d, pattern, values, table, Accumulate::Itself, out);
}

/// The same, added to `onto` instead of what `out` holds.
pub fn propagate_onto(
    context: &Context,
    d: usize,
    pattern: &Csr,
    values: &[f32],
    table: &[f32],
    onto: Accumulate<'_>,
    out: &mut [f32],
) {
    let (level, columns) = (context.level, pattern.columns());
    context.for_each_task(
        out.chunks_mut(d * ROWS_PER_TASK).enumerate(),
        || (),
        |(), (task, out)| {
            let first = task * ROWS_PER_TASK;
            let offsets = &pattern.offsets()[first..=first + out.len() / d];
            let onto = match onto {
                Accumulate::Table(base) => Accumulate::Table(&base[first * d..]),
                other => other,
            };
            sparse::multiply(level, d, Rows { offsets, columns, values }, table, onto, out);
        },
    );
}
