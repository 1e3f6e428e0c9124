//! The gradient of one batch from the side of its users and of the negatives, in numbered passes; `items` goes on.

use std::time::Instant;

use rayon::prelude::*;

use super::panel::{self, Softmax, USERS};
use super::trainer::{Buffers, MIN_NORM, Trainer, USERS_PER_SLICE, purpose};
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
    /// What the users of a batch and the negatives say: the batch's summed loss, and what a pair weighs in its mean. Between
    /// its passes, each of some ten milliseconds on a table like Gowalla's, it checks whether the caller wants to stop.
    pub(super) fn batch(&mut self, batch: &[u32], context: &Context) -> Result<(f64, f32)> {
        self.draw_negatives(Stream::new(self.options.seed, purpose::NEGATIVES).sub(self.steps), context);
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
        Ok((loss, pair_weight))
    }

    /// 1. Users of a slice: vectors, exponentials, gradients; their summed loss. Afterwards `p` and `dp` hold p̂ and
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

    /// 2. Negatives: dq += Eᵀ c p̂, panel after panel.
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
