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

mod panel;
mod step;
mod validation;

use std::time::Instant;

use rayon::prelude::*;

use crate::data::Csr;
use crate::model::attention::{Attention, Prior};
use crate::model::spectral;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::vector::{self, count_power, dot, ln, scale};
use crate::train::phase_times::{Part, Spent};
use crate::train::schedule::half_cosine;
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

/// Users whose exponentials are in memory at a time (16 MiB with 4,096 negatives); whole panels.
const USERS_PER_SLICE: usize = 21 * panel::USERS;
/// Items of one task.
const ITEMS_PER_TASK: usize = 120;
/// Lengths below this count as no direction at all.
const TINY: f32 = 1e-12;
/// Vectors whose squares still add up to a finite f32, whatever the number of factors.
const LARGEST: f32 = 1e15;

/// Users of one step, of `n_active` that have a history.
fn batch_size(options: &Options, n_active: usize) -> usize {
    options.batch_size.unwrap_or_else(|| n_active.div_ceil(30).max(256)).min(n_active)
}

/// A model in training: bare item vectors, their optimizer state, and the buffers of a step.
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
    /// Items, rising; those of the whole catalogue or drawn for the step.
    negatives: Vec<u32>,
    /// Their unit vectors, and the gradient by these.
    q: Vec<f32>,
    dq: Vec<f32>,
    /// Place of a user in the batch, or `u32::MAX`.
    places: Vec<u32>,
    /// Users of the batch: unit vectors, and the gradient by the vectors.
    p: Vec<f32>,
    dp: Vec<f32>,
    /// Users of the slice by panels: vectors, exponentials of the scores, losses.
    packs: Vec<f32>,
    exponentials: Vec<f32>,
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
        let batch = batch_size(&options, active.len());
        let slice = USERS_PER_SLICE.min(active.len().next_multiple_of(panel::USERS));
        let buffers = Buffers {
            users: vec![0.0; n_users * d],
            v: vec![0.0; n_items * d],
            inverse_norms: vec![0.0; n_items],
            dv: vec![0.0; n_items * d],
            dx: vec![0.0; n_items * d],
            negatives: (0..n_negatives as u32).collect(),
            q: vec![0.0; n_negatives * d],
            dq: vec![0.0; n_negatives * d],
            places: vec![u32::MAX; n_users],
            p: vec![0.0; batch * d],
            dp: vec![0.0; batch * d],
            packs: vec![0.0; slice * d],
            exponentials: vec![0.0; slice * n_negatives],
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
        batch_size(&self.options, self.active.len())
    }

    /// One pass over all users in a random order; the mean loss per interaction.
    pub fn epoch(&mut self, epoch: usize, context: &Context) -> Result<f64> {
        let mut users = Stream::new(self.options.seed, purpose::ORDER).sub(epoch as u64).permutation(self.active.len());
        for at in &mut users {
            *at = self.active[*at as usize];
        }
        let batch_size = self.batch_size();
        let total_steps = (self.options.epochs * self.active.len().div_ceil(batch_size)) as f64;
        let mut loss = 0.0;
        for batch in users.chunks(batch_size) {
            let batch_loss = self.gradient(batch, context)?;
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

    /// Item vectors, and the negatives' unit vectors.
    fn negative_vectors(&mut self, context: &Context) {
        let Self { attention, buffers: b, x, options, spent, .. } = self;
        let (d, level) = (options.factors, context.level);
        let mut clock = Instant::now();
        attention.items_from(context, d, x, &mut b.users, &mut b.v);
        spent.add_all(Part::Propagation, &mut clock, context);
        let Buffers { v, inverse_norms, negatives, q, .. } = b;
        context.install(|| {
            inverse_norms.par_iter_mut().zip(v.par_chunks(d)).with_min_len(ITEMS_PER_TASK).for_each(|(inverse, v)| {
                let length = dot(level, v, v).sqrt();
                *inverse = if length > TINY { 1.0 / length } else { 0.0 };
            });
            q.par_chunks_mut(d).zip(&*negatives).with_min_len(ITEMS_PER_TASK).for_each(|(q, &item)| {
                q.copy_from_slice(&v[item as usize * d..][..d]);
                scale(level, inverse_norms[item as usize], q);
            });
        });
        spent.add_all(Part::Gather, &mut clock, context);
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

#[cfg(test)]
mod tests;
