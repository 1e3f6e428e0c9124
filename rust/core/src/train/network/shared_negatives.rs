//! The softmax over negatives that a batch shares: its scores are a matrix of users × negatives.
//!
//! All pairs of a user have the same row of scores, so it is computed once for all of them. For the plain and the
//! weighted inner product the matrix is a product of matrices; factor attention goes through it element by element,
//! once for the users' gradients and once for the negatives'. (Other heads do not go with the softmax.)

use super::batch::Layout;
use super::head::{Features, Output};
use super::history::{split_at_ends, task_ends};
use super::loss;
use super::options::Head;
use crate::runtime::Context;
use crate::runtime::simd::gemm::{View, multiply, multiply_add};
use crate::runtime::simd::pairs::product_add;
use crate::runtime::simd::scores::Scratch;
use crate::runtime::simd::vector::axpy;

/// Users whose rows of scores are in memory at a time (16 MiB with 4,096 negatives).
const USERS_PER_SLICE: usize = 1024;
/// Users of one task within a slice; a multiple of the product's tile height.
const USERS_PER_TASK: usize = 24;
/// Negatives of one task.
const NEGATIVES_PER_TASK: usize = 96;

/// Buffers of the matrix of scores.
#[derive(Debug, Default)]
pub struct SharedNegatives {
    q: Vec<f32>,
    columns: Vec<f32>,
    dq: Vec<f32>,
    matrix: Vec<f32>,
    weights: Vec<f32>,
    losses: Vec<f64>,
    sums: Vec<f32>,
    bias: Vec<f32>,
}

/// One slice of users.
#[derive(Clone, Copy)]
struct Slice<'a> {
    context: &'a Context,
    output: Output<'a>,
    /// Number of its first slot.
    first: usize,
    /// Slots in it.
    count: usize,
    /// Negatives.
    n: usize,
    /// p of its slots.
    p: &'a [f32],
}

impl Slice<'_> {
    fn is_inner_product(&self) -> bool {
        self.output.head == Head::Product
    }
}

impl SharedNegatives {
    /// The summed loss of the batch. Scores of the positives become slopes. With `back` = (∂loss/∂p, sums for sharpness
    /// and layer), the gradients are added to these and to `features.dq` (by unit vector), and ∂loss/∂score of each
    /// negative is summed into what is returned.
    pub fn softmax(
        &mut self,
        context: &Context,
        layout: &Layout,
        output: Output<'_>,
        temperature: f32,
        log_weights: &[f32],
        include_positive: bool,
        features: &mut Features,
        p: &[f32],
        mut back: Option<(&mut [f32], &mut [f32])>,
    ) -> (f64, &[f32]) {
        let (d, n, n_slots) = (output.d, layout.negatives.len(), layout.slots.len());
        self.prepare(layout, output, temperature, log_weights, &features.q);
        self.matrix.resize(USERS_PER_SLICE.min(n_slots) * n, 0.0);
        for (buffer, length) in [(&mut self.dq, n * d), (&mut self.bias, n)] {
            buffer.clear();
            buffer.resize(length, 0.0);
        }
        self.losses.clear();
        self.losses.resize(n_slots, 0.0);
        for first in (0..n_slots).step_by(USERS_PER_SLICE) {
            let count = USERS_PER_SLICE.min(n_slots - first);
            let slice = Slice { context, output, first, count, n, p: &p[first * d..][..count * d] };
            self.slopes(slice, layout, temperature, include_positive, &mut features.scores);
            if let Some((dp, totals)) = &mut back {
                for row in self.matrix[..count * n].chunks_exact(n) {
                    axpy(context.level, 1.0, row, &mut self.bias);
                }
                self.user_gradients(slice, &mut dp[first * d..][..count * d], totals);
                self.negative_gradients(slice);
            }
        }
        if let Some((_, totals)) = back {
            self.candidate_gradients(context, layout, output, &mut features.dq, totals);
        }
        (self.losses.iter().sum(), &self.bias)
    }

    /// 1. Scores, losses, slopes.
    fn slopes(
        &mut self,
        slice: Slice<'_>,
        layout: &Layout,
        temperature: f32,
        include_positive: bool,
        scores: &mut [f32],
    ) {
        let Slice { context, output, first, count, n, p } = slice;
        let (level, d) = (context.level, output.d);
        let inverse = 1.0 / layout.source.len() as f32;
        let from_pair = layout.pair_from[first];
        let positives = split_at_ends(
            &mut scores[from_pair..layout.pair_from[first + count]],
            task_ends(count, USERS_PER_TASK, |slot| layout.pair_from[first + slot] - from_pair),
        );
        let Self { q, columns, matrix, weights, losses, .. } = self;
        let softmax = loss::Softmax { temperature, weights, include_positive, inverse };
        let tasks = matrix[..count * n]
            .chunks_mut(USERS_PER_TASK * n)
            .zip(losses[first..first + count].chunks_mut(USERS_PER_TASK))
            .zip(positives)
            .enumerate();
        context.for_each_task(
            tasks,
            || Scratch::new(output.features(), d),
            |scratch, (task, ((matrix, losses), positives))| {
                let from = task * USERS_PER_TASK;
                if slice.is_inner_product() {
                    multiply(level, matrix, n, View::rows(p, d), from, columns, d);
                } else {
                    for (at, score) in matrix.iter_mut().enumerate() {
                        let p = &p[(from + at / n) * d..][..d];
                        *score = output.score(level, p, &q[at % n * d..][..d], scratch);
                    }
                }
                let first_pair = layout.pair_from[first + from];
                for (at, loss) in losses.iter_mut().enumerate() {
                    let slot = first + from + at;
                    let pairs = layout.pair_from[slot] - first_pair..layout.pair_from[slot + 1] - first_pair;
                    let row = &mut matrix[at * n..][..n];
                    *loss = softmax.row(level, &mut positives[pairs], row);
                }
            },
        );
    }

    /// 2. From slopes to the gradients of users, and to the sums for sharpness and layer.
    fn user_gradients(&mut self, slice: Slice<'_>, dp: &mut [f32], totals: &mut [f32]) {
        let Slice { context, output, count, n, p, .. } = slice;
        let (level, d, width) = (context.level, output.d, output.n_sums());
        self.sums.clear();
        self.sums.resize(count.div_ceil(USERS_PER_TASK) * width, 0.0);
        let (q, matrix) = (&self.q, &self.matrix[..count * n]);
        let tasks = dp.chunks_mut(USERS_PER_TASK * d).zip(self.sums.chunks_mut(width)).enumerate();
        context.for_each_task(
            tasks,
            || vec![0.0; d],
            |dx, (task, (dp, sums))| {
                let from = task * USERS_PER_TASK;
                if slice.is_inner_product() {
                    // h ⊙ q by rows follows the negatives' vectors.
                    multiply_add(level, dp, d, View::rows(matrix, n), from, &q[n * d..], n);
                    return;
                }
                for (at, dp) in dp.chunks_exact_mut(d).enumerate() {
                    let (p, slopes) = (&p[(from + at) * d..][..d], &matrix[(from + at) * n..][..n]);
                    for (q, slope) in q.chunks_exact(d).zip(slopes) {
                        output.backward_row(level, *slope, 0.0, p, q, dp, dx, sums);
                    }
                }
            },
        );
        for sums in self.sums.chunks_exact(width) {
            axpy(level, 1.0, sums, totals);
        }
    }

    /// 3. From slopes to the gradients of negatives.
    fn negative_gradients(&mut self, slice: Slice<'_>) {
        let Slice { context, output, count, n, p, .. } = slice;
        let (level, d) = (context.level, output.d);
        let (q, matrix) = (&self.q, &self.matrix[..count * n]);
        context.for_each_task(
            self.dq.chunks_mut(NEGATIVES_PER_TASK * d).enumerate(),
            || (vec![0.0; d], vec![0.0; output.n_sums()], vec![0.0; d]),
            |(dx, unused, dp), (task, dq)| {
                let from = task * NEGATIVES_PER_TASK;
                if slice.is_inner_product() {
                    multiply_add(level, dq, d, View::transposed(matrix, n), from, p, count);
                    return;
                }
                for (at, dq) in dq.chunks_exact_mut(d).enumerate() {
                    let q = &q[(from + at) * d..][..d];
                    for (row, p) in p.chunks_exact(d).enumerate() {
                        output.backward_row(level, matrix[row * n + from + at], 0.0, p, q, dp, dx, unused);
                        product_add(level, 1.0, dx, p, dq);
                    }
                }
            },
        );
    }

    /// 4. From negatives to candidates. For inner products also the gradient of the layer, Σ q ⊙ Gᵀ p.
    fn candidate_gradients(
        &self,
        context: &Context,
        layout: &Layout,
        output: Output<'_>,
        dq: &mut [f32],
        totals: &mut [f32],
    ) {
        let (level, d) = (context.level, output.d);
        for (at, &candidate) in layout.negatives.iter().enumerate() {
            let (q, from) = (&self.q[at * d..][..d], &self.dq[at * d..][..d]);
            let to = &mut dq[candidate as usize * d..][..d];
            if output.head == Head::Product {
                product_add(level, 1.0, output.weights(), from, to);
                if !output.layer.is_empty() {
                    product_add(level, 1.0, q, from, &mut totals[d..]);
                }
            } else {
                axpy(level, 1.0, from, to);
            }
        }
    }

    /// The negatives' vectors by rows, and for inner products h ⊙ q by rows and by columns.
    fn prepare(&mut self, layout: &Layout, output: Output<'_>, temperature: f32, log_weights: &[f32], vectors: &[f32]) {
        let (d, n) = (output.d, layout.negatives.len());
        self.q.clear();
        for &candidate in &layout.negatives {
            self.q.extend_from_slice(&vectors[candidate as usize * d..][..d]);
        }
        if output.head == Head::Product {
            let weights = output.weights();
            self.q.extend_from_within(..);
            for row in self.q[n * d..].chunks_exact_mut(d) {
                for (q, weight) in row.iter_mut().zip(weights) {
                    *q *= weight;
                }
            }
            self.columns.resize(n * d, 0.0);
            for (at, row) in self.q[n * d..].chunks_exact(d).enumerate() {
                for (k, q) in row.iter().enumerate() {
                    self.columns[k * n + at] = *q;
                }
            }
        }
        self.weights.clear();
        self.weights.extend(layout.negatives.iter().enumerate().map(|(at, &candidate)| {
            let bias =
                output.item_bias.get(layout.candidates[candidate as usize] as usize).copied().unwrap_or_default();
            log_weights.get(at).copied().unwrap_or_default() + bias / temperature
        }));
    }
}
