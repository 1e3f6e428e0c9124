//! From two vectors to a score, and back: features, output layer, biases.
//!
//! Forward by chunks of pairs. Backward, pass 1: to the rows p, by slots, each with its own sums for the layer and the
//! sharpness, which are added up in the order of the slots; pass 2: to the candidates q, each of which gathers from the
//! pairs that use it. Scores against shared negatives are a matrix and have their own file, `shared_negatives.rs`.

use super::batch::Layout;
use super::history::{normalize, normalize_backward, split_at_ends, task_ends};
use super::options::Head;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::pairs::{attended_backward, product_add, weighted_dot};
use crate::runtime::simd::scores::{self, Scratch};
use crate::runtime::simd::sparse::gather;
use crate::runtime::simd::vector::{axpy, softmax};

const PAIRS_PER_TASK: usize = 256;
const SLOTS_PER_TASK: usize = 64;
const CANDIDATES_PER_TASK: usize = 64;

/// The parameters of the output.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    /// How two vectors become features.
    pub head: Head,
    /// d.
    pub d: usize,
    /// g, or nothing.
    pub sharpness: &'a [f32],
    /// h, or nothing for the plain sum.
    pub layer: &'a [f32],
    /// d or 2 d ones.
    pub ones: &'a [f32],
    /// Added to every score.
    pub constant: f32,
    /// By user, or nothing.
    pub user_bias: &'a [f32],
    /// By item, or nothing.
    pub item_bias: &'a [f32],
}

/// Candidates, scores, and what the backward pass needs of them.
#[derive(Debug, Default)]
pub struct Features {
    /// Vectors of the candidates, unit with the cosine.
    pub q: Vec<f32>,
    /// Norms before normalization.
    pub norms: Vec<f32>,
    /// ∂loss/∂q.
    pub dq: Vec<f32>,
    /// Scores of the pairs; after the loss, their slopes.
    pub scores: Vec<f32>,
    /// Batch attention: α of each pair.
    alphas: Vec<f32>,
    /// Batch attention: ⟨h, x⟩ of each pair; in the backward pass ∂loss/∂⟨g, x⟩.
    inner: Vec<f32>,
    /// Factor attention: ∂loss/∂x of each pair.
    dx: Vec<f32>,
    /// Sums of each task for sharpness and layer.
    sums: Vec<f32>,
}

impl Output<'_> {
    /// h, or ones.
    pub fn weights(&self) -> &[f32] {
        if self.layer.is_empty() { self.ones } else { self.layer }
    }

    /// Sums that a task keeps: for the sharpness, then for the layer.
    pub fn n_sums(&self) -> usize {
        self.d + self.weights().len()
    }

    /// ⟨h, f⟩ of one pair; for batch attention ⟨g, x⟩.
    pub fn score(&self, level: Level, p: &[f32], q: &[f32], scratch: &mut Scratch) -> f32 {
        scores::one(level, self.features(), p, q, scratch)
    }

    /// The features whose sum is a score; for batch attention ⟨g, x⟩.
    pub fn features(&self) -> scores::Features<'_> {
        match self.head {
            Head::Product if self.layer.is_empty() => scores::Features::Inner,
            Head::Product => scores::Features::Weighted(self.layer),
            Head::Factor => scores::Features::Attended { sharpness: self.sharpness, layer: self.layer },
            Head::Batch => scores::Features::Weighted(self.sharpness),
            Head::Concat => scores::Features::Concat(self.layer),
        }
    }

    /// Adds a pair's part to ∂loss/∂p, and to the task's sums. `slope` is ∂loss/∂⟨h, f⟩ (batch attention: times α),
    /// `sharpness_slope` ∂loss/∂⟨g, x⟩; factor attention leaves ∂loss/∂x in `dx`.
    pub fn backward_row(
        &self,
        level: Level,
        slope: f32,
        sharpness_slope: f32,
        p: &[f32],
        q: &[f32],
        dp: &mut [f32],
        dx: &mut [f32],
        sums: &mut [f32],
    ) {
        let (d_sharpness, d_layer) = sums.split_at_mut(self.d);
        match self.head {
            Head::Product | Head::Batch => {
                if self.layer.is_empty() {
                    axpy(level, slope, q, dp);
                } else {
                    product_add(level, slope, self.layer, q, dp);
                    product_add(level, slope, p, q, d_layer);
                }
                if self.head == Head::Batch {
                    product_add(level, sharpness_slope, self.sharpness, q, dp);
                    product_add(level, sharpness_slope, p, q, d_sharpness);
                }
            }
            Head::Factor => {
                attended_backward(level, slope, self.sharpness, self.weights(), p, q, dx, d_sharpness, d_layer);
                product_add(level, 1.0, dx, q, dp);
            }
            Head::Concat => {
                axpy(level, slope, &self.layer[..self.d], dp);
                axpy(level, slope, p, &mut d_layer[..self.d]);
                axpy(level, slope, q, &mut d_layer[self.d..]);
            }
        }
    }
}

impl Features {
    /// Vectors of the candidates from those of the items.
    pub fn candidates(&mut self, context: &Context, d: usize, layout: &Layout, v: &[f32], cosine: bool) {
        let n = layout.candidates.len();
        self.q.resize(n * d, 0.0);
        self.norms.resize(n, 1.0);
        let tasks = self
            .q
            .chunks_mut(CANDIDATES_PER_TASK * d)
            .zip(self.norms.chunks_mut(CANDIDATES_PER_TASK))
            .zip(layout.candidates.chunks(CANDIDATES_PER_TASK));
        context.for_each_task(
            tasks,
            || (),
            |(), ((q, norms), items)| {
                for ((q, norm), &item) in q.chunks_exact_mut(d).zip(norms).zip(items) {
                    q.copy_from_slice(&v[item as usize * d..][..d]);
                    if cosine {
                        *norm = normalize(context, q);
                    }
                }
            },
        );
    }

    /// Scores of all pairs.
    pub fn forward(&mut self, context: &Context, layout: &Layout, output: Output<'_>, p: &[f32]) {
        let (level, d, q) = (context.level, output.d, &self.q);
        self.scores.resize(layout.pairs.len(), 0.0);
        let vectors = |pair: usize| (&p[layout.row_of(pair) * d..][..d], &q[layout.pairs[pair] as usize * d..][..d]);
        context.for_each_task(
            self.scores.chunks_mut(PAIRS_PER_TASK).enumerate(),
            || Scratch::new(output.features(), d),
            |scratch, (task, scores)| {
                for (at, score) in scores.iter_mut().enumerate() {
                    let (p, q) = vectors(task * PAIRS_PER_TASK + at);
                    *score = output.score(level, p, q, scratch);
                }
            },
        );
        if output.head == Head::Batch {
            self.alphas.clear();
            self.alphas.extend_from_slice(&self.scores);
            self.inner.clear();
            self.inner.resize(self.scores.len(), 0.0);
            let (_, sum) = softmax(level, &mut self.alphas, &self.inner, 1.0);
            for (pair, score) in self.scores.iter_mut().enumerate() {
                let (p, q) = vectors(pair);
                self.alphas[pair] /= sum;
                self.inner[pair] = weighted_dot(level, output.weights(), p, q);
                *score = self.alphas[pair] * self.inner[pair];
            }
        }
        for (pair, score) in self.scores.iter_mut().enumerate() {
            *score += output.constant;
            if !output.item_bias.is_empty() {
                *score += output.item_bias[layout.candidates[layout.pairs[pair] as usize] as usize];
            }
            if !output.user_bias.is_empty() {
                *score += output.user_bias[layout.slots[layout.pair_slots[pair] as usize] as usize];
            }
        }
    }

    /// Pass 1: `scores` hold slopes; adds to `dp`, and to `totals` the sums for sharpness and layer.
    pub fn backward_rows(
        &mut self,
        context: &Context,
        layout: &Layout,
        output: Output<'_>,
        p: &[f32],
        dp: &mut [f32],
        totals: &mut [f32],
    ) {
        let (level, d, n_slots) = (context.level, output.d, layout.slots.len());
        if output.head == Head::Batch {
            let by_alpha = |(slope, inner): (&f32, &f32)| f64::from(*slope) * f64::from(*inner);
            let each = self.scores.iter().zip(&self.inner).map(by_alpha);
            let mean: f64 = each.zip(&self.alphas).map(|(by, alpha)| by * f64::from(*alpha)).sum();
            for ((slope, inner), alpha) in self.scores.iter_mut().zip(&mut self.inner).zip(&self.alphas) {
                *inner = alpha * (*slope * *inner - mean as f32);
                *slope *= alpha;
            }
        }
        let width = output.n_sums();
        self.sums.clear();
        self.sums.resize(n_slots.div_ceil(SLOTS_PER_TASK) * width, 0.0);
        let dx_width = if output.head == Head::Factor { d } else { 0 };
        self.dx.resize(layout.pairs.len() * dx_width, 0.0);
        let (q, scores, inner) = (&self.q, &self.scores, &self.inner);
        let dp = split_at_ends(dp, task_ends(n_slots, SLOTS_PER_TASK, |slot| layout.row_from(slot) * d));
        let dx =
            split_at_ends(&mut self.dx, task_ends(n_slots, SLOTS_PER_TASK, |slot| layout.pair_from[slot] * dx_width));
        let tasks = dp.into_iter().zip(dx).zip(self.sums.chunks_mut(width)).enumerate();
        context.for_each_task(
            tasks,
            || (),
            |(), (task, ((dp, dx), sums))| {
                let first = task * SLOTS_PER_TASK;
                let last = (first + SLOTS_PER_TASK).min(n_slots);
                let (first_pair, first_row) = (layout.pair_from[first], layout.row_from(first));
                for pair in first_pair..layout.pair_from[last] {
                    let row = layout.row_of(pair);
                    output.backward_row(
                        level,
                        scores[pair],
                        inner.get(pair).copied().unwrap_or_default(),
                        &p[row * d..][..d],
                        &q[layout.pairs[pair] as usize * d..][..d],
                        &mut dp[(row - first_row) * d..][..d],
                        &mut dx[(pair - first_pair) * dx_width..][..dx_width],
                        sums,
                    );
                }
            },
        );
        for sums in self.sums.chunks_exact(width) {
            axpy(level, 1.0, sums, totals);
        }
    }

    /// Pass 2: adds ∂loss/∂q of every candidate to `dq`.
    pub fn backward_candidates(&mut self, context: &Context, layout: &Layout, output: Output<'_>, p: &[f32]) {
        let (level, d) = (context.level, output.d);
        let (scores, inner, dx) = (&self.scores, &self.inner, &self.dx);
        context.for_each_task(
            self.dq.chunks_mut(CANDIDATES_PER_TASK * d).enumerate(),
            || (Vec::new(), Vec::new(), vec![0.0; d]),
            |(using_rows, slopes, sum), (task, dq)| {
                for (at, dq) in dq.chunks_exact_mut(d).enumerate() {
                    let pairs = layout.by_candidate.row(task * CANDIDATES_PER_TASK + at);
                    if output.head == Head::Factor {
                        for &pair in pairs {
                            let row = layout.row_of(pair as usize);
                            product_add(level, 1.0, &dx[pair as usize * d..][..d], &p[row * d..][..d], dq);
                        }
                        continue;
                    }
                    slopes.clear();
                    slopes.extend(pairs.iter().map(|&pair| scores[pair as usize]));
                    if output.head == Head::Concat {
                        axpy(level, slopes.iter().sum(), &output.layer[d..], dq);
                        continue;
                    }
                    using_rows.clear();
                    using_rows.extend(pairs.iter().map(|&pair| layout.row_of(pair as usize) as u32));
                    sum.fill(0.0);
                    gather(level, using_rows, slopes, p, sum);
                    product_add(level, 1.0, output.weights(), sum, dq);
                    if output.head == Head::Batch {
                        slopes.clear();
                        slopes.extend(pairs.iter().map(|&pair| inner[pair as usize]));
                        sum.fill(0.0);
                        gather(level, using_rows, slopes, p, sum);
                        product_add(level, 1.0, output.sharpness, sum, dq);
                    }
                }
            },
        );
    }

    /// From the gradients by unit candidates to those by the vectors before normalization.
    pub fn normalize_backward(&mut self, context: &Context, d: usize) {
        for ((q, dq), norm) in self.q.chunks_exact(d).zip(self.dq.chunks_exact_mut(d)).zip(&self.norms) {
            normalize_backward(context, q, *norm, dq);
        }
    }
}
