//! A step from the side of the items: the gradient by their vectors, the optimizer, and the vectors of the next step.
//!
//! Between two passes through the graph an item needs nothing of the others for all of that. So it is done for
//! [`ITEMS_PER_TASK`] items at a time, whose rows stay in the caches meanwhile: tables of all items are larger than these,
//! and are gone through once in place of six times.

use std::mem::take;
use std::time::Instant;

use super::trainer::{Buffers, ITEMS_PER_TASK, MIN_NORM, Trainer};
use crate::Result;
use crate::model::attention::Attention;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::vector::{self, Adam, adam, axpy, dot};
use crate::train::phase_times::Phase;

/// What a batch says of items.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    level: Level,
    d: usize,
    attention: &'a Attention,
    buffers: &'a Buffers,
    pair_weight: f32,
}

impl Said<'_> {
    /// Adds to ∂loss/∂v and ∂loss/∂q̂ of an item what its users in the batch say, one after the other.
    pub(super) fn item_sums(&self, item: usize, dv: &mut [f32], unit: &mut [f32]) {
        let (d, Buffers { places, p, dp, .. }) = (self.d, self.buffers);
        let from = self.attention.items.offsets()[item];
        for (at, &user) in self.attention.items.row(item).iter().enumerate() {
            let place = places[user as usize] as usize;
            if place != u32::MAX as usize {
                axpy(self.level, self.attention.a_by_item[from + at], &dp[place * d..][..d], dv);
                axpy(self.level, -self.pair_weight, &p[place * d..][..d], unit);
            }
        }
    }

    /// ∂loss/∂v of the `first`-th item and those after it, whose vectors are `v`.
    fn gradients(&self, first: usize, v: &[f32], inverse_norms: &[f32], dv: &mut [f32]) {
        let (d, Buffers { negatives, dq, .. }) = (self.d, self.buffers);
        let mut next = negatives.partition_point(|&negative| (negative as usize) < first);
        let mut unit = vec![0.0; d];
        dv.fill(0.0);
        for (at, (dv, v)) in dv.chunks_exact_mut(d).zip(v.chunks_exact(d)).enumerate() {
            let from = next;
            while negatives.get(next) == Some(&((first + at) as u32)) {
                next += 1;
            }
            unit.fill(0.0);
            self.item_sums(first + at, dv, &mut unit);
            through_unit_vector(self.level, v, inverse_norms[at], &dq[from * d..next * d], dv, &mut unit);
        }
    }
}

/// Adds to ∂loss/∂v of an item ∂loss/∂q̂, `unit` with what the item says as a negative (`drawn`, a row each time).
pub(super) fn through_unit_vector(
    level: Level,
    v: &[f32],
    inverse_norm: f32,
    drawn: &[f32],
    dv: &mut [f32],
    unit: &mut [f32],
) {
    for drawn in drawn.chunks_exact(unit.len()) {
        axpy(level, 1.0, drawn, unit);
    }
    let along = dot(level, v, unit) * inverse_norm * inverse_norm;
    axpy(level, inverse_norm, unit, dv);
    axpy(level, -along * inverse_norm, v, dv);
}

/// v = x + s of some rows, and one over their lengths.
fn vectors(level: Level, d: usize, x: &[f32], s: &[f32], v: &mut [f32], inverse_norms: &mut [f32]) {
    v.copy_from_slice(x);
    axpy(level, 1.0, s, v);
    invert_norms(level, d, v, inverse_norms);
}

fn invert_norms(level: Level, d: usize, v: &[f32], inverse_norms: &mut [f32]) {
    for (inverse, v) in inverse_norms.iter_mut().zip(v.chunks_exact(d)) {
        let norm = dot(level, v, v).sqrt();
        *inverse = if norm > MIN_NORM { 1.0 / norm } else { 0.0 };
    }
}

/// Rows of some items that a step changes.
struct Rows<'a> {
    x: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    v: &'a mut [f32],
    inverse_norms: &'a mut [f32],
}

/// A step of the optimizer, by ∂loss/∂x = ∂loss/∂v + r.
#[derive(Clone, Copy)]
struct Update<'a> {
    level: Level,
    d: usize,
    adam: Adam,
    returned: &'a [f32],
    smoothed: &'a [f32],
    /// Whether v of the next step is made, of the same s.
    goes_on: bool,
}

impl Update<'_> {
    /// Of the item `from` and those after it; `dv` becomes ∂loss/∂x.
    fn run(&self, from: usize, dv: &mut [f32], rows: Rows<'_>) {
        let Rows { x, first, second, v, inverse_norms } = rows;
        let numbers = from * self.d..from * self.d + dv.len();
        axpy(self.level, 1.0, &self.returned[numbers.clone()], dv);
        adam(self.level, self.adam, dv, x, first, second);
        if self.goes_on {
            vectors(self.level, self.d, x, &self.smoothed[numbers], v, inverse_norms);
        }
    }
}

impl Trainer {
    /// Makes v at the beginning of an epoch and where a step passes through the graph; else the step before has made it.
    pub(super) fn begin_step(&mut self, step: usize, context: &Context) {
        let mut clock = Instant::now();
        let Self { attention, graph, buffers: b, x, options, .. } = self;
        if graph.passes(step) {
            graph.smooth(attention, options.factors, x, &mut b.users, context);
        }
        if step == 0 || graph.passes(step) {
            self.vectors(context);
        }
        self.phase_times.add_all(Phase::Propagation, &mut clock, context);
    }

    /// v = x + s.
    pub(super) fn vectors(&mut self, context: &Context) {
        let Self { graph, buffers: b, x, options, .. } = self;
        let (d, level) = (options.factors, context.level);
        let width = d * ITEMS_PER_TASK;
        let rows = b.v.chunks_mut(width).zip(b.inverse_norms.chunks_mut(ITEMS_PER_TASK));
        let tasks = rows.zip(x.chunks(width).zip(graph.smoothed.chunks(width)));
        context.for_each_task(
            tasks,
            || (),
            |(), ((v, inverse_norms), (x, s))| {
                vectors(level, d, x, s, v, inverse_norms);
            },
        );
    }

    /// One over the lengths of the item vectors.
    pub(super) fn invert_norms(&mut self, context: &Context) {
        let (d, level, b) = (self.options.factors, context.level, &mut self.buffers);
        let tasks = b.inverse_norms.chunks_mut(ITEMS_PER_TASK).zip(b.v.chunks(d * ITEMS_PER_TASK));
        context.for_each_task(tasks, || (), |(), (inverse_norms, v)| invert_norms(level, d, v, inverse_norms));
    }

    /// What a batch says, whose users have their places.
    pub(super) fn said(&self, pair_weight: f32, level: Level) -> Said<'_> {
        Said { level, d: self.options.factors, attention: &self.attention, buffers: &self.buffers, pair_weight }
    }

    /// 3. Items: ∂loss/∂v, from the users whose histories hold them (Σ_u a_uj ∂loss/∂p_u), and through their unit vectors, as
    ///    positives (−`pair_weight` Σ_u p̂_u) and as negatives; and a step of the optimizer, before which r is made of
    ///    ∂loss/∂v where the step passes through the graph.
    pub(super) fn learn(&mut self, step: usize, pair_weight: f32, decay: f64, context: &Context) -> Result<()> {
        if !self.graph.passes(step) {
            self.learn_by_rows(step, pair_weight, decay, context);
            return Ok(());
        }
        self.item_gradients(step, pair_weight, context);
        context.cancel.check()?;
        self.take_back(context);
        context.cancel.check()?;
        self.update(decay, !self.graph.passes(step + 1), context);
        Ok(())
    }

    /// ∂loss/∂v of all items into `dv`, and to those that are held.
    pub(super) fn item_gradients(&mut self, step: usize, pair_weight: f32, context: &Context) {
        let mut clock = Instant::now();
        let (mut dv, mut pending) = (take(&mut self.buffers.dv), take(&mut self.graph.pending));
        let (said, hold) = (self.said(pair_weight, context.level), self.graph.hold(step));
        let (width, Buffers { v, inverse_norms, .. }) = (self.options.factors * ITEMS_PER_TASK, &self.buffers);
        let vectors = v.chunks(width).zip(inverse_norms.chunks(ITEMS_PER_TASK));
        let tasks = dv.chunks_mut(width).zip(pending.chunks_mut(width)).zip(vectors).enumerate();
        context.for_each_task(
            tasks,
            || (),
            |(), (task, ((dv, pending), (v, inverse_norms)))| {
                said.gradients(task * ITEMS_PER_TASK, v, inverse_norms, dv);
                hold.rows(dv, pending);
            },
        );
        (self.buffers.dv, self.graph.pending) = (dv, pending);
        self.phase_times.add_all(Phase::Gather, &mut clock, context);
    }

    /// r of the gradients that are held.
    pub(super) fn take_back(&mut self, context: &Context) {
        let mut clock = Instant::now();
        let Self { attention, graph, buffers: b, options, .. } = self;
        graph.take_back(attention, options.factors, &mut b.users, context);
        self.phase_times.add_all(Phase::Propagation, &mut clock, context);
    }

    /// A step of Adam by `dv` and r, which leaves ∂loss/∂x in `dv`; the learning rate is multiplied by `decay`. `goes_on`:
    /// the next step has the same s.
    pub(super) fn update(&mut self, decay: f64, goes_on: bool, context: &Context) {
        let mut clock = Instant::now();
        let (adam, d) = (self.next_step(decay), self.options.factors);
        let Self { graph, buffers: b, x, first, second, .. } = self;
        let update =
            Update { level: context.level, d, adam, returned: &graph.returned, smoothed: &graph.smoothed, goes_on };
        let Buffers { dv, v, inverse_norms, .. } = b;
        let tasks = chunks(d, x, first, second, v, inverse_norms).zip(dv.chunks_mut(d * ITEMS_PER_TASK)).enumerate();
        context.for_each_task(tasks, || (), |(), (task, (rows, dv))| update.run(task * ITEMS_PER_TASK, dv, rows));
        self.phase_times.add_all(Phase::Adam, &mut clock, context);
    }

    /// All of a step that does not pass through the graph.
    fn learn_by_rows(&mut self, step: usize, pair_weight: f32, decay: f64, context: &Context) {
        let mut clock = Instant::now();
        let (adam, d, level) = (self.next_step(decay), self.options.factors, context.level);
        let (mut x, mut first, mut second) = (take(&mut self.x), take(&mut self.first), take(&mut self.second));
        let (mut v, mut inverse_norms) = (take(&mut self.buffers.v), take(&mut self.buffers.inverse_norms));
        let mut pending = take(&mut self.graph.pending);
        let (said, hold, graph) = (self.said(pair_weight, level), self.graph.hold(step), &self.graph);
        let update = Update { level, d, adam, returned: &graph.returned, smoothed: &graph.smoothed, goes_on: true };
        let width = d * ITEMS_PER_TASK;
        let rows = chunks(d, &mut x, &mut first, &mut second, &mut v, &mut inverse_norms);
        let tasks = rows.zip(pending.chunks_mut(width)).enumerate();
        context.for_each_task(
            tasks,
            || vec![0.0; width],
            |dv, (task, (rows, pending))| {
                let dv = &mut dv[..pending.len()];
                said.gradients(task * ITEMS_PER_TASK, rows.v, rows.inverse_norms, dv);
                hold.rows(dv, pending);
                update.run(task * ITEMS_PER_TASK, dv, rows);
            },
        );
        (self.x, self.first, self.second) = (x, first, second);
        (self.buffers.v, self.buffers.inverse_norms) = (v, inverse_norms);
        self.graph.pending = pending;
        self.phase_times.add_all(Phase::Adam, &mut clock, context);
    }

    /// The constants of the next step of the optimizer.
    fn next_step(&mut self, decay: f64) -> Adam {
        self.steps += 1;
        let correction = |beta: f32| 1.0 - vector::power(f64::from(beta), self.steps as f32);
        Adam {
            rate: self.options.learning_rate * decay as f32 / correction(vector::BETA1),
            second: 1.0 / correction(vector::BETA2),
            regularization: self.options.regularization,
        }
    }
}

/// The tables of all items by tasks.
fn chunks<'a>(
    d: usize,
    x: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    v: &'a mut [f32],
    inverse_norms: &'a mut [f32],
) -> impl ExactSizeIterator<Item = Rows<'a>> + Send {
    let width = d * ITEMS_PER_TASK;
    let moments = first.chunks_mut(width).zip(second.chunks_mut(width));
    let vectors = v.chunks_mut(width).zip(inverse_norms.chunks_mut(ITEMS_PER_TASK));
    x.chunks_mut(width).zip(moments).zip(vectors).map(|((x, (first, second)), (v, inverse_norms))| Rows {
        x,
        first,
        second,
        v,
        inverse_norms,
    })
}
