//! Through the network and back, for the samples of one task.

use super::options::Options;
use super::parameters::{Parameters, Turned, WeightShape};
use crate::model::layers::Shape;
use crate::runtime::rng::Stream;
use crate::runtime::simd::Level;
use crate::runtime::simd::gemm::{View, multiply, multiply_add};
use crate::runtime::simd::layers::{continue_sums, cross_entropy, rectified_sum, rectify, rectify_backward};
use crate::runtime::simd::pairs::{product_add, weighted_dot};
use crate::runtime::simd::vector::axpy;

/// Samples: `group` items for each user, with what they should come out as and how much they count.
#[derive(Clone, Copy)]
pub struct Samples<'a> {
    /// One for each group.
    pub users: &'a [u32],
    /// Group after group.
    pub items: &'a [u32],
    /// y, one for each item.
    pub labels: &'a [f32],
    /// 1, or 0 for a sample that is left out.
    pub counts: &'a [f32],
    /// Items of a user.
    pub group: usize,
    /// One over the number of samples that count, in the whole batch.
    pub inverse: f32,
}

impl Samples<'_> {
    /// The groups of one task.
    pub fn part(self, task: usize, groups_per_task: usize) -> Self {
        let groups = task * groups_per_task..self.users.len().min((task + 1) * groups_per_task);
        let samples = groups.start * self.group..groups.end * self.group;
        Self {
            users: &self.users[groups],
            items: &self.items[samples.clone()],
            labels: &self.labels[samples.clone()],
            counts: &self.counts[samples],
            ..self
        }
    }
}

/// Which outputs of the layers a step leaves out.
#[derive(Clone, Copy)]
pub struct Dropout {
    pub draws: Stream,
    pub rate: f32,
    /// The number of the task's first sample in the batch.
    pub first: usize,
}

impl Dropout {
    /// Leaves outputs of a layer out, and divides the others by the part that is left.
    fn apply(self, layer: usize, width: usize, outputs: &mut [f32]) {
        if self.rate == 0.0 {
            return;
        }
        let draws = self.draws.sub(layer as u64);
        let (threshold, scale) = ((self.rate * 65_536.0) as u64, 1.0 / (1.0 - self.rate));
        let per_row = width.div_ceil(4);
        for (row, outputs) in outputs.chunks_exact_mut(width).enumerate() {
            for (block, four) in outputs.chunks_mut(4).enumerate() {
                let bits = draws.u64(((self.first + row) * per_row + block) as u64);
                for (at, x) in four.iter_mut().enumerate() {
                    *x = if (bits >> (16 * at)) & 0xFFFF < threshold { 0.0 } else { *x * scale };
                }
            }
        }
    }
}

/// Outputs of the layers and slopes by them, in memory that is kept.
#[derive(Default)]
pub struct Hidden {
    /// By layer, a row for each sample.
    pub outputs: Vec<Vec<f32>>,
    pub slopes: Vec<Vec<f32>>,
}

impl Hidden {
    /// Room for `n` samples.
    pub fn resize(&mut self, widths: &[usize], n: usize) {
        for lists in [&mut self.outputs, &mut self.slopes] {
            lists.resize_with(widths.len(), Vec::new);
            for (list, width) in lists.iter_mut().zip(widths) {
                list.resize(width * n, 0.0);
            }
        }
    }

    /// From the outputs of the first layer to those of the last, and on with the chains in `scores`.
    pub fn forward(
        &mut self,
        level: Level,
        shape: &Shape,
        numbers: &[f32],
        dropout: Option<Dropout>,
        scores: &mut [f32],
    ) {
        for (layer, &(inputs, width, from, biases)) in shape.inner.iter().enumerate() {
            let (before, after) = self.outputs.split_at_mut(layer + 1);
            let sums = &mut after[0];
            for sums in sums.chunks_exact_mut(width) {
                sums.copy_from_slice(&numbers[biases..biases + width]);
            }
            multiply_add(level, sums, width, View::rows(&before[layer], inputs), 0, &numbers[from..biases], inputs);
            rectify(level, sums);
            if let Some(dropout) = dropout {
                dropout.apply(layer + 1, width, sums);
            }
        }
        continue_sums(level, &self.outputs[shape.inner.len()], &numbers[shape.output..shape.bias], scores);
    }

    /// From slopes by the scores to those by the sums of the first layer, which `slopes[0]` then holds. With `gradient`, adds
    /// those by the numbers of the layers to it. `scale`: one over the part of the outputs that dropout left.
    pub fn backward(
        &mut self,
        level: Level,
        shape: &Shape,
        numbers: &[f32],
        turned: &[Vec<f32>],
        scale: f32,
        by_score: &[f32],
        mut gradient: Option<&mut [f32]>,
    ) {
        let last = shape.inner.len();
        let width = shape.bias - shape.output;
        self.slopes[last].fill(0.0);
        for (slopes, &slope) in self.slopes[last].chunks_exact_mut(width).zip(by_score) {
            axpy(level, slope, &numbers[shape.output..shape.bias], slopes);
        }
        if let Some(gradient) = gradient.as_deref_mut() {
            for (outputs, &slope) in self.outputs[last].chunks_exact(width).zip(by_score) {
                axpy(level, slope, outputs, &mut gradient[shape.output..shape.bias]);
                gradient[shape.bias] += slope;
            }
        }
        rectify_backward(level, &self.outputs[last], scale, &mut self.slopes[last]);
        for (layer, &(inputs, width, from, biases)) in shape.inner.iter().enumerate().rev() {
            let (before, after) = self.slopes.split_at_mut(layer + 1);
            let (to, by_sums) = (&mut before[layer], &after[0]);
            if let Some(gradient) = gradient.as_deref_mut() {
                let (outputs, n) = (&self.outputs[layer], by_score.len());
                multiply_add(
                    level,
                    &mut gradient[from..biases],
                    width,
                    View::transposed(outputs, inputs),
                    0,
                    by_sums,
                    n,
                );
                for slopes in by_sums.chunks_exact(width) {
                    axpy(level, 1.0, slopes, &mut gradient[biases..biases + width]);
                }
            }
            multiply(level, to, inputs, View::rows(by_sums, width), 0, &turned[layer], width);
            rectify_backward(level, &self.outputs[layer], scale, to);
        }
    }
}

/// Memory of one thread, kept from task to task.
#[derive(Default)]
pub struct Scratch {
    hidden: Hidden,
    /// Embeddings that the layers read.
    users: Vec<f32>,
    items: Vec<f32>,
    /// Sums of the first layer: the users' and the items' halves, and slopes of the users'.
    user_sums: Vec<f32>,
    item_sums: Vec<f32>,
    user_slopes: Vec<f32>,
    by_embedding: Vec<f32>,
    scores: Vec<f32>,
    losses: Vec<f32>,
}

/// What a task finds: gradients by the embeddings that its samples use, and by all weights.
pub struct Found<'a> {
    /// (g + e) numbers for each group.
    pub users: &'a mut [f32],
    /// (g + e) numbers for each sample.
    pub items: &'a mut [f32],
    /// Like the weights.
    pub weights: &'a mut [f32],
}

/// The embeddings and weights of one step.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    pub options: &'a Options,
    pub users: &'a [f32],
    pub items: &'a [f32],
    pub weights: &'a [f32],
    pub shape: &'a WeightShape,
    pub turned: &'a Turned,
}

impl<'a> Network<'a> {
    pub fn new(options: &'a Options, parameters: &'a Parameters) -> Self {
        Self {
            options,
            users: &parameters.users.values,
            items: &parameters.items.values,
            weights: &parameters.weights.values,
            shape: &parameters.shape,
            turned: &parameters.turned,
        }
    }

    fn user(&self, user: u32) -> &'a [f32] {
        let width = self.options.width();
        &self.users[user as usize * width..][..width]
    }

    fn item(&self, item: u32) -> &'a [f32] {
        let width = self.options.width();
        &self.items[item as usize * width..][..width]
    }

    /// The summed loss of the samples, and gradients of the mean loss of the batch.
    pub fn task(
        &self,
        level: Level,
        samples: Samples<'_>,
        dropout: Option<Dropout>,
        scratch: &mut Scratch,
        found: Found<'_>,
    ) -> f64 {
        let (g, n) = (self.options.product, samples.items.len());
        let h = &self.weights[self.shape.product..];
        let bias = self.shape.product - 1;
        // 1. Forward.
        scratch.scores.clear();
        scratch.scores.resize(n, self.weights[bias]);
        if g > 0 {
            for ((&item, score), at) in samples.items.iter().zip(&mut scratch.scores).zip(0..) {
                let user = self.user(samples.users[at / samples.group]);
                *score += weighted_dot(level, h, &user[..g], &self.item(item)[..g]);
            }
        }
        if let Some(inner) = &self.shape.inner {
            self.layers_forward(level, inner, samples, dropout, scratch);
        }
        // 2. Losses and slopes.
        scratch.losses.resize(n, 0.0);
        cross_entropy(level, samples.labels, samples.counts, samples.inverse, &mut scratch.scores, &mut scratch.losses);
        let loss = scratch.losses.iter().map(|&loss| f64::from(loss)).sum();
        // 3. Back.
        found.users.fill(0.0);
        found.items.fill(0.0);
        found.weights.fill(0.0);
        if g > 0 {
            let (width, by_product) = (self.options.width(), self.shape.product);
            for (at, (&item, &slope)) in samples.items.iter().zip(&scratch.scores).enumerate() {
                let group = at / samples.group;
                let (user, item) = (&self.user(samples.users[group])[..g], &self.item(item)[..g]);
                product_add(level, slope, h, item, &mut found.users[group * width..][..g]);
                product_add(level, slope, h, user, &mut found.items[at * width..][..g]);
                product_add(level, slope, user, item, &mut found.weights[by_product..]);
            }
        }
        if let Some(inner) = &self.shape.inner {
            let scale = dropout.map_or(1.0, |dropout| 1.0 / (1.0 - dropout.rate));
            self.layers_backward(level, inner, samples, scale, scratch, found);
        } else {
            for &slope in &scratch.scores {
                found.weights[bias] += slope;
            }
        }
        loss
    }

    fn layers_forward(
        &self,
        level: Level,
        inner: &Shape,
        samples: Samples<'_>,
        dropout: Option<Dropout>,
        scratch: &mut Scratch,
    ) {
        let Options { product: g, embedding: e, widths, .. } = self.options;
        let (g, e, first) = (*g, *e, widths[0]);
        let (shape, weights) = (self.shape, self.weights);
        let Scratch { hidden, users, items, user_sums, item_sums, scores, .. } = scratch;
        hidden.resize(widths, samples.items.len());
        users.clear();
        for &user in samples.users {
            users.extend_from_slice(&self.user(user)[g..]);
        }
        items.clear();
        for &item in samples.items {
            items.extend_from_slice(&self.item(item)[g..]);
        }
        user_sums.clear();
        for _ in samples.users {
            user_sums.extend_from_slice(&weights[shape.first_bias..shape.rest]);
        }
        item_sums.resize(samples.items.len() * first, 0.0);
        let by_user = &weights[shape.first_user..shape.first_item];
        let by_item = &weights[shape.first_item..shape.first_bias];
        multiply_add(level, user_sums, first, View::rows(users, e), 0, by_user, e);
        multiply(level, item_sums, first, View::rows(items, e), 0, by_item, e);
        let outputs = &mut hidden.outputs[0];
        for (at, (sums, outputs)) in item_sums.chunks_exact(first).zip(outputs.chunks_exact_mut(first)).enumerate() {
            rectified_sum(level, &user_sums[at / samples.group * first..][..first], sums, outputs);
        }
        if let Some(dropout) = dropout {
            dropout.apply(0, first, outputs);
        }
        hidden.forward(level, inner, &weights[shape.rest..shape.product], dropout, scores);
    }

    fn layers_backward(
        &self,
        level: Level,
        inner: &Shape,
        samples: Samples<'_>,
        scale: f32,
        scratch: &mut Scratch,
        found: Found<'_>,
    ) {
        let Options { product: g, embedding: e, widths, .. } = self.options;
        let (g, e, first, width) = (*g, *e, widths[0], self.options.width());
        let (shape, weights, turned) = (self.shape, self.weights, self.turned);
        let Scratch { hidden, users, items, user_slopes, by_embedding, scores, .. } = scratch;
        let (rest, gradient) = (&weights[shape.rest..shape.product], found.weights);
        let inner_gradient = Some(&mut gradient[shape.rest..shape.product]);
        hidden.backward(level, inner, rest, &turned.inner, scale, scores, inner_gradient);
        let slopes = &hidden.slopes[0];
        user_slopes.clear();
        user_slopes.resize(samples.users.len() * first, 0.0);
        for (at, slopes) in slopes.chunks_exact(first).enumerate() {
            axpy(level, 1.0, slopes, &mut user_slopes[at / samples.group * first..][..first]);
        }
        for slopes in user_slopes.chunks_exact(first) {
            axpy(level, 1.0, slopes, &mut gradient[shape.first_bias..shape.rest]);
        }
        let by_user = &mut gradient[shape.first_user..shape.first_item];
        multiply_add(level, by_user, first, View::transposed(users, e), 0, user_slopes, samples.users.len());
        let by_item = &mut gradient[shape.first_item..shape.first_bias];
        multiply_add(level, by_item, first, View::transposed(items, e), 0, slopes, samples.items.len());
        for (slopes, turned, found) in
            [(&*user_slopes, &turned.first_user, found.users), (slopes, &turned.first_item, found.items)]
        {
            by_embedding.resize(slopes.len() / first * e, 0.0);
            multiply(level, by_embedding, e, View::rows(slopes, first), 0, turned, first);
            for (found, by_embedding) in found.chunks_exact_mut(width).zip(by_embedding.chunks_exact(e)) {
                found[g..].copy_from_slice(by_embedding);
            }
        }
    }
}
