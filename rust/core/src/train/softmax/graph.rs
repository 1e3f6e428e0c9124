//! What item vectors have from the graph, made anew every few steps only.
//!
//! With v = x + s, s = B A x, two passes over all pairs make s, and two more take ∂loss/∂v back to the bare vectors:
//! ∂loss/∂x = ∂loss/∂v + r, r = Aᵀ Bᵀ ∂loss/∂v. They cost more than half of a step, and from one step to the next s and r
//! change little. So both are made in every [`interval`]-th step, r of the mean ∂loss/∂v of the steps since, and stay as
//! they are in between.

use crate::model::attention::{Attention, propagate_onto};
use crate::runtime::Context;
use crate::runtime::simd::sparse::Accumulate;

/// The graph is gone through so many times in an epoch at least, where it has as many steps.
const MIN_PASSES: usize = 6;
/// Steps from one pass to the next at most.
const MAX_INTERVAL: usize = 3;

/// s and r, and the ∂loss/∂v since r was made (`n_items` × d each).
pub(super) struct Graph {
    /// Steps from one pass to the next; None where there is nothing to pass through.
    interval: Option<usize>,
    pub(super) smoothed: Vec<f32>,
    pub(super) returned: Vec<f32>,
    pub(super) pending: Vec<f32>,
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
    /// For tables of so many numbers and epochs of `n_steps`; without `item_attention` s and r are 0.
    pub(super) fn new(n_numbers: usize, n_steps: usize, item_attention: bool) -> Self {
        let zeros = || vec![0.0; n_numbers];
        let interval = item_attention.then(|| interval(n_steps));
        Self { interval, smoothed: zeros(), returned: zeros(), pending: zeros() }
    }

    /// Whether s and r are made in this step of an epoch.
    pub(super) fn passes(&self, step: usize) -> bool {
        self.interval.is_some_and(|interval| step.is_multiple_of(interval))
    }

    /// Makes s of the bare vectors `x`; `users` is scratch (users × d).
    pub(super) fn smooth(&mut self, attention: &Attention, d: usize, x: &[f32], users: &mut [f32], context: &Context) {
        propagate_onto(context, d, &attention.users, &attention.a_by_user, x, Accumulate::Zero, users);
        let (items, values, out) = (&attention.items, &attention.b_by_item, &mut self.smoothed);
        propagate_onto(context, d, items, values, users, Accumulate::Zero, out);
    }

    /// How a step's ∂loss/∂v are held; where r is made in this step, they become what they are in the mean.
    pub(super) fn hold(&self, step: usize) -> Hold {
        let interval = self.interval.unwrap_or(1);
        let first = step == 0 || step % interval == 1 % interval;
        let last = step > 0 && step.is_multiple_of(interval);
        Hold { first, factor: if last { 1.0 / interval as f32 } else { 1.0 } }
    }

    /// Makes r of the gradients that are held; `users` is scratch.
    pub(super) fn take_back(&mut self, attention: &Attention, d: usize, users: &mut [f32], context: &Context) {
        let (pattern, values) = (&attention.users, &attention.b_by_user);
        propagate_onto(context, d, pattern, values, &self.pending, Accumulate::Zero, users);
        let (items, values, out) = (&attention.items, &attention.a_by_item, &mut self.returned);
        propagate_onto(context, d, items, values, users, Accumulate::Zero, out);
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
