//! Users of whom only the history is known, for items and layers that stay as they are.
//!
//! ```text
//! p = μ + s ⊙ z,    z minimizes ½ ‖z‖² + Σ cross-entropies of the history and of the items drawn against it
//! ```
//!
//! μ and s are mean and standard deviation of each number over the users of training: without purchases a user is the mean one,
//! and each purchase moves them. 40 steps of Adam from z = 0, with new items drawn for each and a rate that falls to zero. The
//! draws follow from the seed alone, so a history has one vector.

use super::parameters::transpose_inner;
use super::passes::Hidden;
use super::purpose;
use crate::model::layers::{Layers, Shape};
use crate::runtime::rng::Stream;
use crate::runtime::simd::Level;
use crate::runtime::simd::dot::dots;
use crate::runtime::simd::layers::{continue_sums, cross_entropy, rectified_sum};
use crate::runtime::simd::vector::{self, Adam, axpy};
use crate::train::samples::draw_negative;
use crate::train::schedule::half_cosine;

const STEPS: usize = 40;
/// Of z, which has a standard deviation of 1 over the users of training.
const RATE: f32 = 0.2;
/// Samples that go through the layers together.
const SAMPLES_AT_ONCE: usize = 256;

/// What is known of users before their history.
#[derive(Clone, Copy)]
pub struct Prior<'a> {
    /// μ
    pub mean: &'a [f32],
    /// s
    pub deviation: &'a [f32],
}

/// Items and layers that users are folded into.
pub struct FoldIn<'a> {
    items: &'a [f32],
    layers: Option<(&'a Layers, Shape, Vec<Vec<f32>>)>,
    prior: Prior<'a>,
    negatives: usize,
    seed: u64,
}

/// Memory of one thread.
#[derive(Default)]
pub struct Scratch {
    hidden: Hidden,
    items: Vec<u32>,
    labels: Vec<f32>,
    counts: Vec<f32>,
    scores: Vec<f32>,
    losses: Vec<f32>,
    slope: Vec<f32>,
    z: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl<'a> FoldIn<'a> {
    /// `items` are served vectors; without `layers` their inner product is the score. `negatives` are drawn against each
    /// purchase.
    pub fn new(items: &'a [f32], layers: Option<&'a Layers>, prior: Prior<'a>, negatives: usize, seed: u64) -> Self {
        let layers = layers.map(|layers| {
            let (shape, mut turned) = (Shape::new(layers.widths()), Vec::new());
            transpose_inner(&shape, layers.numbers(), &mut turned);
            (layers, shape, turned)
        });
        Self { items, layers, prior, negatives, seed }
    }

    /// Numbers in a vector.
    pub fn factors(&self) -> usize {
        self.prior.mean.len()
    }

    /// The vector of a history (rising positions) into `out`.
    pub fn user(&self, level: Level, history: &[u32], scratch: &mut Scratch, out: &mut [f32]) {
        let d = self.factors();
        let n_items = self.items.len() / d.max(1);
        for list in [&mut scratch.z, &mut scratch.first, &mut scratch.second] {
            list.clear();
            list.resize(d, 0.0);
        }
        out.copy_from_slice(self.prior.mean);
        for number in 0..STEPS {
            let draws = Stream::new(self.seed, purpose::FOLD_IN).sub(number as u64);
            scratch.items.clear();
            scratch.labels.clear();
            for (at, &item) in history.iter().enumerate() {
                scratch.items.push(item);
                scratch.labels.push(1.0);
                let draws = draws.sub(at as u64);
                let found = (0..self.negatives as u64).filter_map(|k| draw_negative(draws, k, n_items, history));
                scratch.items.extend(found);
                scratch.labels.resize(scratch.items.len(), 0.0);
            }
            scratch.counts.resize(scratch.items.len(), 1.0);
            self.slope(level, scratch, out);
            for (slope, deviation) in scratch.slope.iter_mut().zip(self.prior.deviation) {
                *slope *= deviation;
            }
            let correction = |beta: f32| 1.0 - vector::power(f64::from(beta), (number + 1) as f32);
            let step = Adam {
                rate: RATE * half_cosine(number as f64 / STEPS as f64) as f32 / correction(vector::BETA1),
                second: 1.0 / correction(vector::BETA2),
                regularization: 1.0,
            };
            let Scratch { slope, z, first, second, .. } = scratch;
            vector::adam(level, step, slope, z, first, second);
            for (((out, mean), deviation), z) in out.iter_mut().zip(self.prior.mean).zip(self.prior.deviation).zip(&*z)
            {
                *out = mean + deviation * z;
            }
        }
    }

    /// The slope of the summed cross-entropies by the user's vector.
    fn slope(&self, level: Level, scratch: &mut Scratch, user: &[f32]) {
        let d = self.factors();
        let Scratch { hidden, items, labels, counts, scores, losses, slope, .. } = scratch;
        slope.clear();
        slope.resize(d, 0.0);
        let vector = |item: u32| &self.items[item as usize * d..][..d];
        for (items, labels) in items.chunks(SAMPLES_AT_ONCE).zip(labels.chunks(SAMPLES_AT_ONCE)) {
            let n = items.len();
            scores.resize(n, 0.0);
            losses.resize(n, 0.0);
            let g = self.layers.as_ref().map_or(d, |(layers, ..)| layers.product());
            match &self.layers {
                None => dots(level, user, self.items, items, scores),
                Some((layers, shape, _)) => {
                    let first = layers.widths()[0];
                    scores.fill(layers.numbers()[shape.bias]);
                    hidden.resize(layers.widths(), n);
                    let outputs = hidden.outputs[0].chunks_exact_mut(first);
                    for ((&item, score), outputs) in items.iter().zip(&mut *scores).zip(outputs) {
                        if g > 0 {
                            continue_sums(level, &user[..g], &vector(item)[..g], std::slice::from_mut(score));
                        }
                        rectified_sum(level, &user[g..], &vector(item)[g..], outputs);
                    }
                    hidden.forward(level, shape, layers.numbers(), None, scores);
                }
            }
            cross_entropy(level, labels, &counts[..n], 1.0, scores, losses);
            for (&item, &by_score) in items.iter().zip(&*scores) {
                axpy(level, by_score, &vector(item)[..g], &mut slope[..g]);
            }
            if let Some((layers, shape, turned)) = &self.layers {
                hidden.backward(level, shape, layers.numbers(), turned, 1.0, scores, None);
                for by_sums in hidden.slopes[0].chunks_exact(layers.widths()[0]) {
                    axpy(level, 1.0, by_sums, &mut slope[g..]);
                }
            }
        }
    }
}
