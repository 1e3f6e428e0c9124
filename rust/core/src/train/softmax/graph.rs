//! What item vectors have from the graph, made anew every few steps only.
//!
//! With v = x + s, s = B A x, two passes over all pairs make s, and two more take ∂loss/∂v back to the bare vectors:
//! ∂loss/∂x = ∂loss/∂v + r, r = Aᵀ Bᵀ ∂loss/∂v. They cost more than half of a step, and from one step to the next s and r
//! change little. So both are made in every [`interval`]-th step, r of the mean ∂loss/∂v of the steps since, and stay as
//! they are in between. What they are summed of, x or ∂loss/∂v and the sums of the users, is rounded to half the bits: both
//! are sums over many, and they are of a step or two ago anyway.

use crate::data::Csr;
use crate::model::attention::Attention;
use crate::runtime::Context;
use crate::runtime::simd::bfloat::{BFloat, round};
use crate::runtime::simd::sparse::{Rows, multiply_rounded, multiply_short};

/// The graph is gone through so many times in an epoch at least, where it has as many steps.
const MIN_PASSES: usize = 6;
/// Steps from one pass to the next at most.
const MAX_INTERVAL: usize = 3;

/// Rows of one task.
const ROWS_PER_TASK: usize = 64;
/// Numbers that one task rounds.
const NUMBERS_PER_TASK: usize = 8192;

/// s and r, and the ∂loss/∂v since r was made (`n_items` × d each).
pub(super) struct Graph {
    /// Steps from one pass to the next; None where there is nothing to pass through.
    interval: Option<usize>,
    pub(super) smoothed: Vec<f32>,
    pub(super) returned: Vec<f32>,
    pub(super) pending: Vec<f32>,
    /// What a pass is made of, rounded: numbers of the items, and of the users.
    short: Short,
}

/// Numbers that were rounded.
struct Short {
    d: usize,
    items: Vec<BFloat>,
    users: Vec<BFloat>,
}

impl Short {
    /// To the users with some weights, and back with others.
    fn pass(
        &mut self,
        attention: &Attention,
        there: &[f32],
        back: &[f32],
        numbers: &[f32],
        out: &mut [f32],
        context: &Context,
    ) {
        let (d, level, width) = (self.d, context.level, self.d * ROWS_PER_TASK);
        let Self { items, users, .. } = self;
        round_all(context, numbers, items);
        context.for_each_task(
            users.chunks_mut(width).enumerate(),
            || (),
            |(), (task, users)| {
                multiply_rounded(level, d, rows(&attention.users, there, task, users.len() / d), items, users);
            },
        );
        context.for_each_task(
            out.chunks_mut(width).enumerate(),
            || (),
            |(), (task, out)| {
                multiply_short(level, d, rows(&attention.items, back, task, out.len() / d), users, out);
            },
        );
    }
}

/// The rows of a task.
fn rows<'a>(pattern: &'a Csr, values: &'a [f32], task: usize, n_rows: usize) -> Rows<'a> {
    Rows { offsets: &pattern.offsets()[task * ROWS_PER_TASK..][..=n_rows], columns: pattern.columns(), values }
}

/// Rounds a table.
pub(super) fn round_all(context: &Context, from: &[f32], to: &mut [BFloat]) {
    let tasks = to.chunks_mut(NUMBERS_PER_TASK).zip(from.chunks(NUMBERS_PER_TASK));
    context.for_each_task(tasks, || (), |(), (to, from)| round(context.level, from, to));
}

/// Steps from one pass through the graph to the next, in an epoch of `n_steps`.
pub fn interval(n_steps: usize) -> usize {
    (n_steps / MIN_PASSES).clamp(1, MAX_INTERVAL)
}

/// Whether the graph is gone through in a step of an epoch of `n_steps`.
pub fn passes_in(step: usize, n_steps: usize) -> bool {
    step.is_multiple_of(interval(n_steps))
}

/// How a step's ∂loss/∂v goes to those since r was made.
#[derive(Clone, Copy)]
pub(super) struct Hold {
    first: bool,
    factor: f32,
}

impl Hold {
    /// Takes some rows.
    pub(super) fn rows(self, dv: &[f32], pending: &mut [f32]) {
        for (pending, dv) in pending.iter_mut().zip(dv) {
            *pending = (if self.first { *dv } else { *pending + dv }) * self.factor;
        }
    }
}

impl Graph {
    /// For so many users and items with `d` numbers and epochs of `n_steps`; without `item_attention` s and r are 0.
    pub(super) fn new(n_users: usize, n_items: usize, d: usize, n_steps: usize, item_attention: bool) -> Self {
        let zeros = || vec![0.0; n_items * d];
        let interval = item_attention.then(|| interval(n_steps));
        let shorts = |n: usize| vec![BFloat::default(); if item_attention { n * d } else { 0 }];
        let short = Short { d, items: shorts(n_items), users: shorts(n_users) };
        Self { interval, smoothed: zeros(), returned: zeros(), pending: zeros(), short }
    }

    /// Whether s and r are made in this step of an epoch.
    pub(super) fn passes(&self, step: usize) -> bool {
        self.interval.is_some_and(|interval| step.is_multiple_of(interval))
    }

    /// Makes s of the bare vectors `x`.
    pub(super) fn smooth(&mut self, attention: &Attention, x: &[f32], context: &Context) {
        let Self { short, smoothed, .. } = self;
        short.pass(attention, &attention.a_by_user, &attention.b_by_item, x, smoothed, context);
    }

    /// How a step's ∂loss/∂v are held; where r is made in this step, they become what they are in the mean.
    pub(super) fn hold(&self, step: usize) -> Hold {
        let interval = self.interval.unwrap_or(1);
        let first = step == 0 || step % interval == 1 % interval;
        let last = step > 0 && step.is_multiple_of(interval);
        Hold { first, factor: if last { 1.0 / interval as f32 } else { 1.0 } }
    }

    /// Makes r of the gradients that are held.
    pub(super) fn take_back(&mut self, attention: &Attention, context: &Context) {
        let Self { short, pending, returned, .. } = self;
        short.pass(attention, &attention.b_by_user, &attention.a_by_item, pending, returned, context);
    }
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn an_epoch_goes_through_the_graph_six_times_where_it_has_the_steps() {
        assert_eq!([1, 6, 11, 12, 17, 18, 30, 1000].map(interval), [1, 1, 1, 2, 2, 3, 3, 3]);
    }
}
