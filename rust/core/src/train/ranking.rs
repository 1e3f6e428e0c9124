//! Training for rankings: one softmax row per user, with shared negatives.
//!
//! For a batch of users with history N(u), unit vectors p̂, q̂ and temperature τ the loss is the mean over all pairs of
//!
//!   −p̂_u·q̂_i / τ + ln Σ_k ω_k exp(p̂_u·q̂_k / τ),   i ∈ N(u),
//!
//! where k runs over negatives that the whole batch shares, drawn with probability ∝ n_k^α (ω = 1), or over the whole
//! catalogue with ω_k = n_k^α where it is no larger than the number of negatives. All items of a history share one row
//! of scores, so the products shrink by the mean history length (27 on Gowalla) against one row for each pair.
//!
//! The user is the history ([`Attention`]), so the only parameters are the bare item vectors; they learn by Adam with a
//! rate that falls like half a cosine.

use std::time::Instant;

use rayon::prelude::*;

use crate::data::Csr;
use crate::model::attention::{Attention, Prior};
use crate::model::spectral;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::Level;
use crate::runtime::simd::gemm::{View, multiply, multiply_add};
use crate::runtime::simd::vector::{self, axpy, count_power, dot, gather, ln, scale, softmax};
use crate::train::schedule::half_cosine;
use crate::train::spent::{Part, Spent};
use crate::{Error, Result};

/// What [`Ranking`] is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// d, numbers in a vector.
    pub factors: usize,
    /// Epochs that the learning rate's fall is laid out for.
    pub epochs: usize,
    /// Users in a step; `None`: a thirtieth of all, at least 256, so that the cost stays linear in the data.
    pub batch_size: Option<usize>,
    /// Which interactions count how much.
    pub prior: Prior,
    /// β, the exponent of the attention's denominator.
    pub attention_exponent: f32,
    /// Whether an item's vector takes in its users.
    pub item_attention: bool,
    /// τ of the softmax.
    pub temperature: f32,
    /// Negatives of a step.
    pub negatives: usize,
    /// α, popularity's power in drawing them.
    pub negative_exponent: f32,
    /// Adam's rate at the start.
    pub learning_rate: f32,
    /// L2 penalty on the item vectors.
    pub regularization: f32,
    /// Start from the spectrum of the data, or from random numbers.
    pub spectral_start: bool,
    /// Where all randomness comes from.
    pub seed: u64,
}

impl Options {
    fn check(&self) -> Result<()> {
        let bad = |name: &str, value: &dyn std::fmt::Display, must: &str| {
            Err(Error::InvalidParameter(format!("{name} is {value}; it must be {must}.")))
        };
        let positive = |x: f32| x > 0.0 && x.is_finite();
        match self {
            o if o.factors == 0 || o.factors > 4096 => bad("factors", &o.factors, "between 1 and 4096"),
            o if o.epochs == 0 => bad("epochs", &o.epochs, "at least 1"),
            o if o.batch_size == Some(0) => bad("batch_size", &0, "at least 1"),
            o if o.negatives == 0 => bad("negatives", &0, "at least 1"),
            o if !positive(o.temperature) => bad("temperature", &o.temperature, "a positive number"),
            o if !positive(o.learning_rate) => bad("learning_rate", &o.learning_rate, "a positive number"),
            o if !(0.0..=2.0).contains(&o.negative_exponent) => {
                bad("negative_exponent", &o.negative_exponent, "between 0 and 2")
            }
            o if !(o.regularization >= 0.0 && o.regularization.is_finite()) => {
                bad("regularization", &o.regularization, "at least 0")
            }
            _ => Ok(()),
        }
    }
}

/// Streams of randomness, by purpose.
mod purpose {
    pub const START: u64 = 1;
    pub const ORDER: u64 = 2;
    pub const NEGATIVES: u64 = 3;
    pub const VALIDATION: u64 = 4;
}

/// Users whose rows of scores are in memory at a time (16 MiB with 4,096 negatives).
const USERS_PER_SLICE: usize = 1024;
/// Users of one task within a slice; a multiple of the product's tile height.
const USERS_PER_TASK: usize = 24;
/// Items of one task.
const ITEMS_PER_TASK: usize = 120;
/// Lengths below this count as no direction at all.
const TINY: f32 = 1e-12;
/// Vectors whose squares still add up to a finite f32, whatever the number of factors.
const LARGEST: f32 = 1e15;

/// A model in training: bare item vectors, their optimiser state, and the buffers of a step.
pub struct Ranking {
    options: Options,
    attention: Attention,
    /// Users with a history.
    active: Vec<u32>,
    /// Cumulative n^α for drawing, or empty where the whole catalogue is the set of negatives.
    cumulative: Vec<f64>,
    log_weights: Vec<f32>,
    x: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: u64,
    buffers: Buffers,
    spent: Spent,
}

/// All memory of a step, made once.
struct Buffers {
    users: Vec<f32>,
    v: Vec<f32>,
    inverse_norms: Vec<f32>,
    /// Gradient by item vectors v.
    dv: Vec<f32>,
    /// Gradient by unit item vectors, then by bare ones.
    dx: Vec<f32>,
    negatives: Vec<u32>,
    q: Vec<f32>,
    q_columns: Vec<f32>,
    dq: Vec<f32>,
    /// Place of a user in the slice, or `u32::MAX`.
    places: Vec<u32>,
    scores: Vec<f32>,
    p: Vec<f32>,
    dp: Vec<f32>,
    losses: Vec<f64>,
}

impl Ranking {
    /// Checks the options, weighs the histories and lays the start.
    pub fn new(interactions: &Csr, options: Options, context: &Context) -> Result<Self> {
        options.check()?;
        if interactions.is_empty() {
            return Err(Error::InvalidData("there is no interaction to learn from.".into()));
        }
        let d = options.factors;
        let attention =
            Attention::new(interactions, options.prior, options.attention_exponent, options.item_attention)?;
        let (n_users, n_items) = (interactions.n_rows(), interactions.n_columns());
        let start = Stream::new(options.seed, purpose::START);
        let x = if options.spectral_start {
            spectral::item_vectors(interactions, d, start, context)?
        } else {
            let scale = 1.0 / (d as f32).sqrt();
            (0..n_items * d).map(|i| scale * start.normal(i as u64)).collect()
        };
        let popularity = (0..n_items).map(|i| attention.items.row(i).len());
        let (mut cumulative, mut log_weights) = (Vec::new(), Vec::new());
        let n_negatives = if n_items <= options.negatives {
            log_weights.extend(popularity.map(|n| (ln(n.max(1) as f64) * f64::from(options.negative_exponent)) as f32));
            n_items
        } else {
            let mut sum = 0.0;
            cumulative.extend(popularity.map(|n| {
                sum += if n == 0 { 0.0 } else { f64::from(count_power(n, options.negative_exponent)) };
                sum
            }));
            log_weights.resize(options.negatives, 0.0);
            options.negatives
        };
        let active: Vec<u32> = (0..n_users as u32).filter(|&u| !attention.users.row(u as usize).is_empty()).collect();
        let slice = USERS_PER_SLICE.min(active.len());
        let buffers = Buffers {
            users: vec![0.0; n_users * d],
            v: vec![0.0; n_items * d],
            inverse_norms: vec![0.0; n_items],
            dv: vec![0.0; n_items * d],
            dx: vec![0.0; n_items * d],
            negatives: (0..n_negatives as u32).collect(),
            q: vec![0.0; n_negatives * d],
            q_columns: vec![0.0; n_negatives * d],
            dq: vec![0.0; n_negatives * d],
            places: vec![u32::MAX; n_users],
            scores: vec![0.0; slice * n_negatives],
            p: vec![0.0; slice * d],
            dp: vec![0.0; slice * d],
            losses: vec![0.0; slice],
        };
        let (first, second) = (vec![0.0; n_items * d], vec![0.0; n_items * d]);
        let spent = Spent::default();
        Ok(Self { options, attention, active, cumulative, log_weights, x, first, second, steps: 0, buffers, spent })
    }

    /// Seconds of all threads in each part of the steps so far.
    pub fn spent(&self) -> [(&'static str, f64); 5] {
        self.spent.seconds()
    }

    /// Users of one step.
    pub fn batch_size(&self) -> usize {
        self.options.batch_size.unwrap_or_else(|| self.active.len().div_ceil(30).max(256)).min(self.active.len())
    }

    /// One pass over all users in a random order; the mean loss per interaction.
    pub fn epoch(&mut self, epoch: usize, context: &Context) -> Result<f64> {
        let order = Stream::new(self.options.seed, purpose::ORDER).sub(epoch as u64).permutation(self.active.len());
        let batch_size = self.batch_size();
        let total_steps = (self.options.epochs * self.active.len().div_ceil(batch_size)) as f64;
        let mut loss = 0.0;
        for batch in order.chunks(batch_size) {
            context.cancel.check()?;
            let users: Vec<u32> = batch.iter().map(|&at| self.active[at as usize]).collect();
            let batch_loss = self.gradient(&users, context);
            if !batch_loss.is_finite() {
                return Err(Error::Diverged(format!(
                    "the training loss became {batch_loss} in epoch {} at learning rate {}; try a smaller learning_rate.",
                    epoch + 1,
                    self.options.learning_rate
                )));
            }
            self.update(half_cosine(self.steps as f64 / total_steps), context);
            loss += batch_loss;
        }
        if !self.x.iter().all(|x| x.abs() < LARGEST) {
            return Err(Error::Diverged(format!(
                "the item vectors grew beyond {LARGEST:e} in epoch {} at learning rate {}; try a smaller learning_rate.",
                epoch + 1,
                self.options.learning_rate
            )));
        }
        Ok(loss / self.attention.users.len() as f64)
    }

    /// Item vectors v of the bare ones as they stand, `n_items` × d.
    pub fn item_vectors(&mut self, context: &Context) -> Vec<f32> {
        let b = &mut self.buffers;
        self.attention.items_from(context, self.options.factors, &self.x, &mut b.users, &mut b.v);
        b.v.clone()
    }

    /// The bare item vectors, the only parameters.
    pub fn parameters(&self) -> &[f32] {
        &self.x
    }

    /// The gradient of the batch's mean loss into `buffers.dx`; the batch's summed loss.
    fn gradient(&mut self, batch: &[u32], context: &Context) -> f64 {
        let d = self.options.factors;
        let tau = self.options.temperature;
        self.draw_negatives(Stream::new(self.options.seed, purpose::NEGATIVES).sub(self.steps));
        // 1. Item vectors and the negatives' unit vectors.
        self.negative_vectors(context);
        let Self { attention, buffers: b, log_weights, spent, .. } = self;
        let spent = &*spent;
        let (level, n) = (context.level, b.negatives.len());
        let n_pairs: usize = batch.iter().map(|&u| attention.users.row(u as usize).len()).sum();
        let pair_weight = 1.0 / (n_pairs as f32 * tau);
        b.dv.fill(0.0);
        b.dx.fill(0.0);
        b.dq.fill(0.0);
        let mut loss = 0.0;
        for slice in batch.chunks(USERS_PER_SLICE) {
            for (place, &user) in slice.iter().enumerate() {
                b.places[user as usize] = place as u32;
            }
            let (v, q, q_columns, inverse_norms) = (&b.v, &b.q, &b.q_columns, &b.inverse_norms);
            let attention = &*attention;
            let log_weights = &*log_weights;
            // 2. Users: vectors, scores, probabilities, gradients. Afterwards `p` is unit and `scores` holds ∂loss/∂score.
            context.install(|| {
                b.p.par_chunks_mut(USERS_PER_TASK * d)
                    .zip(b.dp.par_chunks_mut(USERS_PER_TASK * d))
                    .zip(b.scores.par_chunks_mut(USERS_PER_TASK * n))
                    .zip(b.losses.par_chunks_mut(USERS_PER_TASK))
                    .zip(slice.par_chunks(USERS_PER_TASK))
                    .for_each_init(Vec::new, |weights, ((((p, dp), scores), losses), users)| {
                        let rows = users.len();
                        let (p, dp, scores) = (&mut p[..rows * d], &mut dp[..rows * d], &mut scores[..rows * n]);
                        let mut norms = [0.0f32; USERS_PER_TASK];
                        let mut clock = Instant::now();
                        for (at, &user) in users.iter().enumerate() {
                            norms[at] = unit_user(level, attention, user as usize, v, &mut p[at * d..][..d]);
                        }
                        spent.add(Part::Gather, &mut clock);
                        multiply(level, scores, n, View::rows(p, d), 0, q_columns, d);
                        spent.add(Part::Product, &mut clock);
                        for (at, &user) in users.iter().enumerate() {
                            let count = attention.users.row(user as usize).len() as f32;
                            let row = &mut scores[at * n..][..n];
                            let (highest, sum) = softmax(level, row, log_weights, 1.0 / tau);
                            scale(level, count * pair_weight / sum, row);
                            losses[at] = f64::from(count) * (f64::from(highest) + ln(f64::from(sum)));
                        }
                        spent.add(Part::Softmax, &mut clock);
                        multiply(level, dp, d, View::rows(scores, n), 0, q, n);
                        spent.add(Part::Product, &mut clock);
                        for (at, &user) in users.iter().enumerate() {
                            let history = attention.users.row(user as usize);
                            let (p, dp) = (&p[at * d..][..d], &mut dp[at * d..][..d]);
                            weights.clear();
                            weights.extend(history.iter().map(|&i| inverse_norms[i as usize] * -pair_weight));
                            let before = dot(level, p, dp);
                            gather(level, history, weights, v, dp);
                            let after = dot(level, p, dp);
                            // The positives' scores are what they added along p̂.
                            losses[at] += f64::from(after - before) / f64::from(pair_weight) / f64::from(tau);
                            axpy(level, -after, p, dp);
                            scale(level, 1.0 / norms[at], dp);
                        }
                        spent.add(Part::Gather, &mut clock);
                    });
            });
            loss += b.losses[..slice.len()].iter().sum::<f64>();
            // 3. Negatives: dq += Gᵀ p̂.
            let (scores, p, dp, places) = (&b.scores[..slice.len() * n], &b.p, &b.dp, &b.places);
            context.install(|| {
                b.dq.par_chunks_mut(ITEMS_PER_TASK * d).enumerate().for_each(|(task, dq)| {
                    let mut clock = Instant::now();
                    multiply_add(level, dq, d, View::transposed(scores, n), task * ITEMS_PER_TASK, p, slice.len());
                    spent.add(Part::Product, &mut clock);
                });
            });
            let mut clock = Instant::now();
            // 4. Items of the slice's histories: as positives (by unit vector) and as parts of the users.
            items_of(attention, places, (p, dp), pair_weight, (&mut b.dv, &mut b.dx), d, context);
            spent.add_all(Part::Gather, &mut clock, context);
            for &user in slice {
                b.places[user as usize] = u32::MAX;
            }
        }
        for (at, &item) in b.negatives.iter().enumerate() {
            axpy(level, 1.0, &b.dq[at * d..][..d], &mut b.dx[item as usize * d..][..d]);
        }
        self.bare_gradient(context);
        loss
    }

    /// 5. From unit vectors (∂loss/∂q̂ in `dx`) to vectors, and through the graph to the bare ones (into `dx`).
    fn bare_gradient(&mut self, context: &Context) {
        let (d, level) = (self.options.factors, context.level);
        let b = &mut self.buffers;
        let (v, inverse_norms) = (&b.v, &b.inverse_norms);
        context.install(|| {
            b.dv.par_chunks_mut(d).zip(b.dx.par_chunks(d)).enumerate().with_min_len(ITEMS_PER_TASK).for_each(
                |(item, (dv, dq))| {
                    let inverse = inverse_norms[item];
                    let v = &v[item * d..][..d];
                    let along = dot(level, v, dq) * inverse * inverse;
                    axpy(level, inverse, dq, dv);
                    axpy(level, -along * inverse, v, dv);
                },
            );
        });
        let mut clock = Instant::now();
        self.attention.items_backward(context, d, &mut b.users, &b.dv, &mut b.dx);
        self.spent.add_all(Part::Propagation, &mut clock, context);
    }

    /// The mean loss of held-out pairs (users × items), each user's history being that of training. Users without a
    /// history do not count. Negatives are those of one fixed draw, so that epochs can be compared.
    pub fn validation_loss(&mut self, targets: &Csr, context: &Context) -> Result<f64> {
        let (n_users, n_items) = (self.attention.users.n_rows(), self.attention.users.n_columns());
        if targets.n_rows() != n_users || targets.n_columns() != n_items {
            return Err(Error::InvalidData(format!(
                "validation pairs are {} × {}; training had {n_users} users × {n_items} items.",
                targets.n_rows(),
                targets.n_columns()
            )));
        }
        let draws = Stream::new(self.options.seed, purpose::VALIDATION);
        self.draw_negatives(draws);
        self.negative_vectors(context);
        let d = self.options.factors;
        let tau = self.options.temperature;
        let Self { attention, buffers: b, log_weights, active, .. } = self;
        let (level, n) = (context.level, b.negatives.len());
        let users: Vec<u32> = active.iter().copied().filter(|&u| !targets.row(u as usize).is_empty()).collect();
        let (v, q_columns, inverse_norms) = (&b.v, &b.q_columns, &b.inverse_norms);
        let losses: Vec<Result<f64>> = context.install(|| {
            users
                .par_chunks(USERS_PER_TASK)
                .map_init(
                    || (vec![0.0; USERS_PER_TASK * d], vec![0.0; USERS_PER_TASK * n], Vec::new()),
                    |(p, scores, weights), users| {
                        context.cancel.check()?;
                        let (p, scores) = (&mut p[..users.len() * d], &mut scores[..users.len() * n]);
                        for (at, &user) in users.iter().enumerate() {
                            unit_user(level, attention, user as usize, v, &mut p[at * d..][..d]);
                        }
                        multiply(level, scores, n, View::rows(p, d), 0, q_columns, d);
                        let mut loss = 0.0;
                        for (at, &user) in users.iter().enumerate() {
                            let wanted = targets.row(user as usize);
                            let (highest, sum) = softmax(level, &mut scores[at * n..][..n], log_weights, 1.0 / tau);
                            weights.clear();
                            weights.extend(wanted.iter().map(|&i| inverse_norms[i as usize]));
                            let mut together = vec![0.0; d];
                            gather(level, wanted, weights, v, &mut together);
                            let row = f64::from(highest) + ln(f64::from(sum));
                            loss +=
                                wanted.len() as f64 * row - f64::from(dot(level, &p[at * d..][..d], &together) / tau);
                        }
                        Ok(loss)
                    },
                )
                .collect()
        });
        let mut sum = 0.0;
        for loss in losses {
            sum += loss?;
        }
        let n_pairs: usize = users.iter().map(|&u| targets.row(u as usize).len()).sum();
        Ok(sum / n_pairs.max(1) as f64)
    }

    /// Item vectors, and the negatives' unit vectors by rows and by columns.
    fn negative_vectors(&mut self, context: &Context) {
        let Self { attention, buffers: b, x, options, spent, .. } = self;
        let (d, level) = (options.factors, context.level);
        let mut clock = Instant::now();
        attention.items_from(context, d, x, &mut b.users, &mut b.v);
        spent.add_all(Part::Propagation, &mut clock, context);
        context.install(|| {
            b.inverse_norms.par_iter_mut().zip(b.v.par_chunks(d)).with_min_len(ITEMS_PER_TASK).for_each(
                |(inverse, v)| {
                    let length = dot(level, v, v).sqrt();
                    *inverse = if length > TINY { 1.0 / length } else { 0.0 };
                },
            );
        });
        let n = b.negatives.len();
        for (at, &item) in b.negatives.iter().enumerate() {
            let (item, q) = (item as usize, &mut b.q[at * d..][..d]);
            q.copy_from_slice(&b.v[item * d..][..d]);
            scale(level, b.inverse_norms[item], q);
            for k in 0..d {
                b.q_columns[k * n + at] = q[k];
            }
        }
    }

    /// One step of Adam; `fall` is what is left of the learning rate.
    fn update(&mut self, fall: f64, context: &Context) {
        const NUMBERS_PER_TASK: usize = 8192;
        let mut clock = Instant::now();
        self.steps += 1;
        let correction = |beta: f32| 1.0 - vector::power(f64::from(beta), self.steps as f32);
        let step = vector::Adam {
            rate: self.options.learning_rate * fall as f32 / correction(vector::BETA1),
            second: 1.0 / correction(vector::BETA2),
            regularization: self.options.regularization,
        };
        context.install(|| {
            self.x
                .par_chunks_mut(NUMBERS_PER_TASK)
                .zip(self.first.par_chunks_mut(NUMBERS_PER_TASK))
                .zip(self.second.par_chunks_mut(NUMBERS_PER_TASK))
                .zip(self.buffers.dx.par_chunks(NUMBERS_PER_TASK))
                .for_each(|(((x, first), second), gradient)| {
                    vector::adam(context.level, step, gradient, x, first, second);
                });
        });
        self.spent.add_all(Part::Adam, &mut clock, context);
    }

    /// Fresh negatives for this step, by rising position; repeats are allowed.
    fn draw_negatives(&mut self, draws: Stream) {
        let Some(&total) = self.cumulative.last() else { return };
        for (at, item) in self.buffers.negatives.iter_mut().enumerate() {
            // 53 random bits, exact in f64.
            let target = (draws.u64(at as u64) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0) * total;
            *item = self.cumulative.partition_point(|&sum| sum <= target) as u32;
        }
        self.buffers.negatives.sort_unstable();
    }
}

/// Adds to each item what its users in the slice say: a_uj ∂loss/∂p_u to `dv`, and −`pair_weight` p̂_u to `dx`.
fn items_of(
    attention: &Attention,
    places: &[u32],
    (p, dp): (&[f32], &[f32]),
    pair_weight: f32,
    (dv, dx): (&mut [f32], &mut [f32]),
    d: usize,
    context: &Context,
) {
    let level = context.level;
    let one = |(rows, by_attention, by_score): &mut (Vec<u32>, Vec<f32>, Vec<f32>),
               item: usize,
               dv: &mut [f32],
               dx: &mut [f32]| {
        rows.clear();
        by_attention.clear();
        let from = attention.items.offsets()[item];
        for (at, &user) in attention.items.row(item).iter().enumerate() {
            let place = places[user as usize];
            if place != u32::MAX {
                rows.push(place);
                by_attention.push(attention.a_by_item[from + at]);
            }
        }
        if !rows.is_empty() {
            by_score.clear();
            by_score.resize(rows.len(), -pair_weight);
            gather(level, rows, by_attention, dp, dv);
            gather(level, rows, by_score, p, dx);
        }
    };
    context.install(|| {
        dv.par_chunks_mut(d)
            .zip(dx.par_chunks_mut(d))
            .enumerate()
            .with_min_len(ITEMS_PER_TASK)
            .for_each_init(Default::default, |scratch, (item, (dv, dx))| one(scratch, item, dv, dx));
    });
}

/// The unit vector of a user's history into `p`; its length before.
fn unit_user(level: Level, attention: &Attention, user: usize, v: &[f32], p: &mut [f32]) -> f32 {
    let (from, to) = (attention.users.offsets()[user], attention.users.offsets()[user + 1]);
    p.fill(0.0);
    gather(level, attention.users.row(user), &attention.a_by_user[from..to], v, p);
    let length = dot(level, p, p).sqrt().max(TINY);
    scale(level, 1.0 / length, p);
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interactions() -> Csr {
        let draws = Stream::new(1, 0);
        let (n_users, n_items) = (90, 40);
        let mut offsets = vec![0];
        let mut columns = Vec::new();
        for user in 0..n_users {
            for item in 0..n_items {
                let chance = if item % 4 == user % 4 { 0.5 } else { 0.04 };
                if draws.f32((user * n_items + item) as u64) < chance {
                    columns.push(item as u32);
                }
            }
            offsets.push(columns.len());
        }
        let values = vec![1.0; columns.len()];
        Csr::new(offsets, columns, values, n_items).unwrap()
    }

    fn options() -> Options {
        Options {
            factors: 6,
            epochs: 4,
            batch_size: Some(32),
            prior: Prior::Degree,
            attention_exponent: 0.5,
            item_attention: true,
            temperature: 0.2,
            negatives: 4096,
            negative_exponent: 0.5,
            learning_rate: 0.02,
            regularization: 0.0,
            spectral_start: true,
            seed: 0,
        }
    }

    /// The loss by its formula, in f64, one pair at a time.
    fn naive_loss(
        data: &Csr,
        options: &Options,
        x: &[f64],
        batch: &[u32],
        negatives: &[u32],
        log_weights: &[f32],
    ) -> f64 {
        let d = options.factors;
        let attention =
            Attention::new(data, options.prior, options.attention_exponent, options.item_attention).unwrap();
        let (n_users, n_items) = (data.n_rows(), data.n_columns());
        let r = |n: usize| 1.0 / (n.max(1) as f64).sqrt();
        let a = |u: usize, j: usize| {
            let sum: f64 = data.row(u).iter().map(|&k| r(attention.items.row(k as usize).len())).sum();
            r(attention.items.row(j).len()) / sum.sqrt()
        };
        let b = |j: usize, u: usize| {
            let sum: f64 = attention.items.row(j).iter().map(|&k| r(data.row(k as usize).len())).sum();
            r(data.row(u).len()) / sum.sqrt()
        };
        let users = |table: &[f64]| {
            let mut p = vec![0.0; n_users * d];
            for u in 0..n_users {
                for &j in data.row(u) {
                    for k in 0..d {
                        p[u * d + k] += a(u, j as usize) * table[j as usize * d + k];
                    }
                }
            }
            p
        };
        let p0 = users(x);
        let mut v = x.to_vec();
        for j in 0..n_items {
            for &u in attention.items.row(j) {
                for k in 0..d {
                    v[j * d + k] += b(j, u as usize) * p0[u as usize * d + k];
                }
            }
        }
        let p = users(&v);
        let cosine = |u: usize, i: usize| {
            let (p, q) = (&p[u * d..][..d], &v[i * d..][..d]);
            let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            p.iter().zip(q).map(|(x, y)| x * y).sum::<f64>() / length(p) / length(q)
        };
        let tau = f64::from(options.temperature);
        let mut loss = 0.0;
        for &u in batch {
            let row: f64 = negatives
                .iter()
                .zip(log_weights)
                .map(|(&k, &w)| (cosine(u as usize, k as usize) / tau + f64::from(w)).exp())
                .sum();
            for &i in data.row(u as usize) {
                loss += row.ln() - cosine(u as usize, i as usize) / tau;
            }
        }
        loss
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let data = interactions();
        let context = Context::new(Some(2)).unwrap();
        for negatives in [4096, 16] {
            let mut model = Ranking::new(&data, Options { negatives, ..options() }, &context).unwrap();
            let batch: Vec<u32> = (0..40).collect();
            let loss = model.gradient(&batch, &context);
            let n_pairs: usize = batch.iter().map(|&u| data.row(u as usize).len()).sum();
            let x: Vec<f64> = model.x.iter().map(|&x| f64::from(x)).collect();
            let at =
                |x: &[f64]| naive_loss(&data, &model.options, x, &batch, &model.buffers.negatives, &model.log_weights);
            assert!((loss - at(&x)).abs() < 1e-4 * loss.abs(), "{loss} {}", at(&x));
            for i in (0..x.len()).step_by(7) {
                let (mut high, mut low) = (x.clone(), x.clone());
                high[i] += 1e-5;
                low[i] -= 1e-5;
                let slope = (at(&high) - at(&low)) / 2e-5 / n_pairs as f64;
                assert!((slope - f64::from(model.buffers.dx[i])).abs() < 2e-5, "{i}: {slope} {}", model.buffers.dx[i]);
            }
        }
    }

    #[test]
    fn the_validation_loss_of_the_training_pairs_is_their_loss() {
        let data = interactions();
        let context = Context::new(Some(2)).unwrap();
        let mut model = Ranking::new(&data, options(), &context).unwrap();
        let x: Vec<f64> = model.x.iter().map(|&x| f64::from(x)).collect();
        let everyone = model.active.clone();
        let loss = model.validation_loss(&data, &context).unwrap();
        let truth = naive_loss(&data, &model.options, &x, &everyone, &model.buffers.negatives, &model.log_weights);
        assert!((loss - truth / data.len() as f64).abs() < 1e-4 * loss.abs());
        assert!(model.validation_loss(&Csr::empty(3, 3), &context).is_err());
    }

    #[test]
    fn threads_and_levels_give_the_same_bits_and_the_loss_falls() {
        let data = interactions();
        let run = |threads, level| {
            let context = Context::new(Some(threads)).unwrap().with_level(level);
            let mut model = Ranking::new(&data, Options { negatives: 20, ..options() }, &context).unwrap();
            let losses: Vec<f64> = (0..4).map(|epoch| model.epoch(epoch, &context).unwrap()).collect();
            (losses, model.item_vectors(&context))
        };
        let truth = run(1, Level::Scalar);
        assert!(truth.0[3] < truth.0[0], "{:?}", truth.0);
        for threads in [2, 3, 8] {
            for level in Level::available() {
                assert_eq!(run(threads, level), truth, "{threads} {}", level.name());
            }
        }
    }

    #[test]
    fn a_rate_that_breaks_everything_is_reported() {
        let context = Context::new(Some(1)).unwrap();
        let mut model =
            Ranking::new(&interactions(), Options { learning_rate: 1e38, epochs: 50, ..options() }, &context).unwrap();
        let outcome: Result<Vec<f64>> = (0..50).map(|epoch| model.epoch(epoch, &context)).collect();
        assert!(matches!(outcome, Err(Error::Diverged(_))), "{outcome:?}");
        // A loss that stays finite while the vectors leave the numbers that can be squared.
        let mut model =
            Ranking::new(&interactions(), Options { learning_rate: 1e30, epochs: 1, ..options() }, &context).unwrap();
        assert!(matches!(model.epoch(0, &context), Err(Error::Diverged(_))));
    }
}
