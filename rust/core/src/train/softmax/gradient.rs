//! The gradient of one batch, in numbered passes.

use std::time::Instant;

use rayon::prelude::*;

use super::panel::{self, Softmax, USERS};
use super::trainer::{Buffers, ITEMS_PER_TASK, MIN_NORM, Trainer, USERS_PER_SLICE, purpose};
use crate::Result;
use crate::model::attention::Attention;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::Level;
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::sparse::gather;
use crate::runtime::simd::vector::{axpy, dot, gather_scaled, ln, scale};
use crate::train::phase_times::Phase;

impl Trainer {
    /// The gradient of the batch's mean loss into `buffers.dx`; the batch's summed loss. Between its passes, each of some
    /// ten milliseconds on a table like Gowalla's, it checks whether the caller wants to stop.
    /// `step` is its place in the epoch.
    pub(super) fn gradient(&mut self, step: usize, batch: &[u32], context: &Context) -> Result<f64> {
        let d = self.options.factors;
        self.draw_negatives(Stream::new(self.options.seed, purpose::NEGATIVES).sub(self.steps), context);
        // 1. Item vectors and the negatives' unit vectors.
        let mut clock = Instant::now();
        let Self { attention, graph, buffers: b, x, .. } = self;
        if graph.passes(step) {
            graph.smooth(attention, d, x, &mut b.users, context);
        }
        graph.vectors(x, &mut b.v, context);
        self.phase_times.add_all(Phase::Propagation, &mut clock, context);
        self.unit_negatives(context);
        let n_pairs: usize = batch.iter().map(|&u| self.attention.users.row(u as usize).len()).sum();
        let pair_weight = 1.0 / (n_pairs as f32 * self.options.temperature);
        self.buffers.dq.fill(0.0);
        let mut loss = 0.0;
        for (slice, users) in batch.chunks(USERS_PER_SLICE).enumerate() {
            context.cancel.check()?;
            let first = slice * USERS_PER_SLICE;
            loss += self.user_gradients(users, first, pair_weight, context);
            self.negative_gradients(users.len(), context);
        }
        context.cancel.check()?;
        for (place, &user) in batch.iter().enumerate() {
            self.buffers.places[user as usize] = place as u32;
        }
        self.item_gradients(pair_weight, context);
        for &user in batch {
            self.buffers.places[user as usize] = u32::MAX;
        }
        context.cancel.check()?;
        // 5. Through the graph to the bare vectors.
        clock = Instant::now();
        let Self { attention, graph, buffers: b, .. } = self;
        graph.hold(step, &b.dv, context);
        if graph.passes(step) {
            graph.take_back(attention, d, &mut b.users, context);
        }
        graph.gradient(&b.dv, &mut b.dx, context);
        self.phase_times.add_all(Phase::Propagation, &mut clock, context);
        context.cancel.check()?;
        Ok(loss)
    }

    /// 2. Users of a slice: vectors, exponentials, gradients; their summed loss. Afterwards `p` and `dp` hold p̂ and
    ///    ∂loss/∂p from the slice's first position on, `packs` the users' c p̂ with ∂loss/∂score = c e, `exponentials` e.
    pub(super) fn user_gradients(&mut self, users: &[u32], first: usize, pair_weight: f32, context: &Context) -> f64 {
        let (d, level, tau) = (self.options.factors, context.level, self.options.temperature);
        let Self { attention, buffers: b, log_weights, phase_times, .. } = self;
        let (attention, phase_times) = (&*attention, &*phase_times);
        let n = b.negatives.len();
        let Buffers { v, inverse_norms, q, p, dp, packs, exponentials, losses, factors, shifts, .. } = b;
        let softmax = Softmax { level, d, negatives: q, log_weights, temperature: tau, phase_times };
        let places = first * d..(first + users.len()) * d;
        context.install(|| {
            p[places.clone()]
                .par_chunks_mut(USERS * d)
                .zip(dp[places].par_chunks_mut(USERS * d))
                .zip(packs.par_chunks_mut(USERS * d))
                .zip(exponentials.par_chunks_mut(USERS * n))
                .zip(losses.par_chunks_mut(USERS))
                .zip(factors.par_chunks_mut(USERS).zip(shifts.par_chunks_mut(USERS)))
                .zip(users.par_chunks(USERS))
                .for_each(|((((((p, dp), pack), exponentials), losses), (factors, shifts)), users)| {
                    let mut norms = [0.0f32; USERS];
                    let mut clock = Instant::now();
                    for ((&user, p), norm) in users.iter().zip(p.chunks_exact_mut(d)).zip(&mut norms) {
                        *norm = unit_user(level, attention, user as usize, v, p);
                    }
                    panel::pack(p, d, pack);
                    phase_times.add(Phase::Gather, &mut clock);
                    let denominators = softmax.run(pack, exponentials, dp);
                    clock = Instant::now();
                    pack.fill(0.0);
                    for (at, &user) in users.iter().enumerate() {
                        let history = attention.users.row(user as usize);
                        let (p, dp) = (&p[at * d..][..d], &mut dp[at * d..][..d]);
                        let count = history.len() as f32;
                        let factor = count * pair_weight / denominators.sums[at];
                        (factors[at], shifts[at]) = (factor, denominators.shifts[at]);
                        axpy(level, factor, p, &mut pack[at * d..][..d]);
                        scale(level, factor, dp);
                        let before = dot(level, p, dp);
                        gather_scaled(level, history, inverse_norms, -pair_weight, v, dp);
                        let after = dot(level, p, dp);
                        // The sum of the positives' scores is what they added to dp along p̂.
                        losses[at] = f64::from(count)
                            * (f64::from(denominators.shifts[at]) + ln(f64::from(denominators.sums[at])))
                            + f64::from(after - before) / f64::from(pair_weight) / f64::from(tau);
                        axpy(level, -after, p, dp);
                        scale(level, 1.0 / norms[at], dp);
                    }
                    phase_times.add(Phase::Gather, &mut clock);
                });
        });
        losses[..users.len()].iter().sum()
    }

    /// 3. Negatives: dq += Eᵀ c p̂, panel after panel.
    fn negative_gradients(&mut self, n_users: usize, context: &Context) {
        let (d, level) = (self.options.factors, context.level);
        let Self { buffers: b, phase_times, .. } = self;
        let n = b.negatives.len();
        let panels = n_users.div_ceil(USERS);
        let (packs, exponentials) = (&b.packs[..panels * USERS * d], &b.exponentials[..panels * USERS * n]);
        context.install(|| {
            b.dq.par_chunks_mut(panel::NEGATIVES * d).enumerate().for_each(|(task, dq)| {
                let mut clock = Instant::now();
                for (pack, exponentials) in packs.chunks(USERS * d).zip(exponentials.chunks(USERS * n)) {
                    let e = View::rows(exponentials, USERS);
                    multiply_add(level, dq, d, e, task * panel::NEGATIVES, pack, USERS);
                }
                phase_times.add(Phase::Product, &mut clock);
            });
        });
    }

    /// 4. Items: ∂loss/∂v into `dv`, from the users whose histories hold them (Σ_u a_uj ∂loss/∂p_u), and through their
    ///    unit vectors, as positives (−`pair_weight` Σ_u p̂_u) and as negatives; `dx` holds ∂loss/∂q̂ on the way.
    fn item_gradients(&mut self, pair_weight: f32, context: &Context) {
        let (d, level) = (self.options.factors, context.level);
        let mut clock = Instant::now();
        let (mut all_dv, mut all_dx) = (std::mem::take(&mut self.buffers.dv), std::mem::take(&mut self.buffers.dx));
        let (dv, dx, only) = (&mut all_dv, &mut all_dx, &*self);
        let Buffers { negatives, dq, .. } = &only.buffers;
        let one = |item: usize, drawn: std::ops::Range<usize>, dv: &mut [f32], unit: &mut [f32]| {
            dv.fill(0.0);
            unit.fill(0.0);
            only.item_sums(item, pair_weight, level, dv, unit);
            only.through_unit_vector(item, &dq[drawn.start * d..drawn.end * d], level, dv, unit);
        };
        context.install(|| {
            dv.par_chunks_mut(d * ITEMS_PER_TASK).zip(dx.par_chunks_mut(d * ITEMS_PER_TASK)).enumerate().for_each(
                |(task, (dv, dx))| {
                    let first = task * ITEMS_PER_TASK;
                    let mut next = negatives.partition_point(|&negative| (negative as usize) < first);
                    for (at, (dv, dx)) in dv.chunks_exact_mut(d).zip(dx.chunks_exact_mut(d)).enumerate() {
                        let item = first + at;
                        let from = next;
                        while negatives.get(next) == Some(&(item as u32)) {
                            next += 1;
                        }
                        one(item, from..next, dv, dx);
                    }
                },
            );
        });
        (self.buffers.dv, self.buffers.dx) = (all_dv, all_dx);
        self.phase_times.add_all(Phase::Gather, &mut clock, context);
    }

    /// Adds to ∂loss/∂v and ∂loss/∂q̂ of an item what its users in the batch say, one after the other.
    pub(super) fn item_sums(&self, item: usize, pair_weight: f32, level: Level, dv: &mut [f32], unit: &mut [f32]) {
        let (d, Buffers { places, p, dp, .. }) = (self.options.factors, &self.buffers);
        let from = self.attention.items.offsets()[item];
        for (at, &user) in self.attention.items.row(item).iter().enumerate() {
            let place = places[user as usize] as usize;
            if place != u32::MAX as usize {
                axpy(level, self.attention.a_by_item[from + at], &dp[place * d..][..d], dv);
                axpy(level, -pair_weight, &p[place * d..][..d], unit);
            }
        }
    }

    /// Adds to ∂loss/∂v of an item ∂loss/∂q̂, `unit` with what the item says as a negative (`drawn`, a row each time).
    pub(super) fn through_unit_vector(
        &self,
        item: usize,
        drawn: &[f32],
        level: Level,
        dv: &mut [f32],
        unit: &mut [f32],
    ) {
        let (d, Buffers { v, inverse_norms, .. }) = (self.options.factors, &self.buffers);
        for drawn in drawn.chunks_exact(d) {
            axpy(level, 1.0, drawn, unit);
        }
        let (inverse, v) = (inverse_norms[item], &v[item * d..][..d]);
        let along = dot(level, v, unit) * inverse * inverse;
        axpy(level, inverse, unit, dv);
        axpy(level, -along * inverse, v, dv);
    }
}

/// The unit vector of a user's history into `p`; returns its norm before.
pub(super) fn unit_user(level: Level, attention: &Attention, user: usize, v: &[f32], p: &mut [f32]) -> f32 {
    let (from, to) = (attention.users.offsets()[user], attention.users.offsets()[user + 1]);
    p.fill(0.0);
    gather(level, attention.users.row(user), &attention.a_by_user[from..to], v, p);
    let norm = dot(level, p, p).sqrt().max(MIN_NORM);
    scale(level, 1.0 / norm, p);
    norm
}
