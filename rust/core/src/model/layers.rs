//! Fully connected layers between a user and an item, and the scores that come out of them (He, Liao, Zhang, Nie, Hu, Chua,
//! Neural Collaborative Filtering, WWW 2017).
//!
//! ```text
//! a vector is   [ product part: g numbers | sums of the first layer: w_1 numbers ]
//! h_1         = max(user's sums + item's sums, 0)               the first layer reads [user; item], so it is a sum of two
//! h_l         = max(h_{l−1} W_l + b_l, 0)                       l = 2 … L
//! score       = b + Σ_k p_k q_k + Σ_k h_Lk o_k                  one chain of fused multiply-adds, in this order
//! ```
//!
//! The user's half of the first layer, with its bias, and the item's half are computed once for each user and each item, not
//! for each pair. Weights over the product (the h of the paper's GMF) belong in the item's part.

use crate::runtime::simd::Level;
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::layers::{continue_sums, rectified_sum, rectify};
use crate::{Error, Result};

/// Pairs that go through the layers together: their outputs stay in the nearest cache.
const PAIRS_AT_ONCE: usize = 64;

/// More layers or wider ones are refused.
const MAX_LAYERS: usize = 64;
const MAX_WIDTH: usize = 4096;

/// The layers after the first, and the last sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Layers {
    /// g: numbers of a vector that are multiplied with those of the other.
    product: usize,
    /// w_1 … w_L.
    widths: Vec<usize>,
    /// W_2, b_2, …, W_L, b_L, o, b: matrices with a row for each input.
    numbers: Vec<f32>,
}

/// The parts of [`Layers::numbers`], as ranges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// Inputs, outputs, and where W_l and b_l begin.
    pub inner: Vec<(usize, usize, usize, usize)>,
    /// Where o begins; its length is the last width.
    pub output: usize,
    /// Where b is; also the last number.
    pub bias: usize,
}

impl Shape {
    /// For layers of these widths, at least one.
    pub fn new(widths: &[usize]) -> Self {
        let mut at = 0;
        let mut inner = Vec::new();
        for pair in widths.windows(2) {
            inner.push((pair[0], pair[1], at, at + pair[0] * pair[1]));
            at += (pair[0] + 1) * pair[1];
        }
        Self { inner, output: at, bias: at + widths[widths.len() - 1] }
    }

    /// Numbers in all.
    pub fn len(&self) -> usize {
        self.bias + 1
    }

    /// Never: there is at least b.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Checks the widths of layers.
pub fn check_widths(widths: &[usize]) -> Result<()> {
    if widths.is_empty() || widths.len() > MAX_LAYERS || widths.iter().any(|width| !(1..=MAX_WIDTH).contains(width)) {
        return Err(Error::InvalidParameter(format!(
            "layers are {widths:?}; give 1 to {MAX_LAYERS} widths from 1 to {MAX_WIDTH}."
        )));
    }
    Ok(())
}

/// Memory for the pairs that are scored together.
#[derive(Default)]
pub struct Scratch {
    hidden: Vec<f32>,
    next: Vec<f32>,
}

impl Layers {
    /// Checks widths, the number of numbers, and that all are finite.
    pub fn new(product: usize, widths: Vec<usize>, numbers: Vec<f32>) -> Result<Self> {
        check_widths(&widths)?;
        let expected = Shape::new(&widths).len();
        if numbers.len() != expected {
            return Err(Error::InvalidData(format!(
                "layers of widths {widths:?}: {} numbers; there must be {expected}.",
                numbers.len()
            )));
        }
        if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
            return Err(Error::InvalidData(format!("layers: number {at} is {}; it must be finite.", numbers[at])));
        }
        Ok(Self { product, widths, numbers })
    }

    /// g.
    pub fn product(&self) -> usize {
        self.product
    }

    /// w_1 … w_L.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// All numbers.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// Numbers in a vector of a user or an item.
    pub fn factors(&self) -> usize {
        self.product + self.widths[0]
    }

    /// Multiply-adds of one pair.
    pub fn cost(&self) -> usize {
        self.product + self.numbers.len() + self.widths.iter().sum::<usize>()
    }

    /// The scores of some items for one user; `vectors` are those of all items.
    pub fn scores(
        &self,
        level: Level,
        user: &[f32],
        vectors: &[f32],
        items: &[u32],
        scores: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (g, d, shape) = (self.product, self.factors(), Shape::new(&self.widths));
        let width = self.widths.iter().copied().max().unwrap_or(0).max(g);
        let at_once = PAIRS_AT_ONCE.min(items.len());
        scratch.hidden.resize(at_once * width, 0.0);
        scratch.next.resize(at_once * width, 0.0);
        let Scratch { hidden, next } = scratch;
        for (items, scores) in items.chunks(PAIRS_AT_ONCE).zip(scores.chunks_mut(PAIRS_AT_ONCE)) {
            let n = items.len();
            let first = self.widths[0];
            scores.fill(self.numbers[shape.bias]);
            if g > 0 {
                // Side by side, so that the chains of several items run at once.
                for (&item, product) in items.iter().zip(next.chunks_exact_mut(g)) {
                    product.copy_from_slice(&vectors[item as usize * d..][..g]);
                }
                continue_sums(level, &next[..n * g], &user[..g], scores);
            }
            for (&item, hidden) in items.iter().zip(hidden.chunks_exact_mut(first)) {
                rectified_sum(level, &user[g..], &vectors[item as usize * d + g..][..first], hidden);
            }
            for &(inputs, outputs, weights, biases) in &shape.inner {
                let sums = &mut next[..n * outputs];
                for sums in sums.chunks_exact_mut(outputs) {
                    sums.copy_from_slice(&self.numbers[biases..biases + outputs]);
                }
                multiply_add(
                    level,
                    sums,
                    outputs,
                    View::rows(hidden, inputs),
                    0,
                    &self.numbers[weights..biases],
                    inputs,
                );
                rectify(level, sums);
                std::mem::swap(hidden, next);
            }
            let last = self.widths[self.widths.len() - 1];
            continue_sums(level, &hidden[..n * last], &self.numbers[shape.output..shape.bias], scores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn numbers(purpose: u64, n: usize) -> Vec<f32> {
        (0..n).map(|at| Stream::new(4, purpose).normal(at as u64)).collect()
    }

    #[test]
    fn scores_are_the_formula_in_its_order_on_every_level() {
        for (product, widths) in [(0, vec![5]), (3, vec![16, 8]), (8, vec![33, 17, 4]), (1, vec![1, 1])] {
            let n = Shape::new(&widths).len();
            let layers = Layers::new(product, widths.clone(), numbers(1, n)).unwrap();
            let d = layers.factors();
            let (user, vectors) = (numbers(2, d), numbers(3, 150 * d));
            let items: Vec<u32> = (0..150).rev().collect();
            let truth: Vec<f32> = items
                .iter()
                .map(|&item| {
                    let vector = &vectors[item as usize * d..][..d];
                    let mut h: Vec<f32> = (product..d).map(|k| (user[k] + vector[k]).max(0.0)).collect();
                    let mut at = 0;
                    for pair in widths.windows(2) {
                        let bias = &layers.numbers[at + pair[0] * pair[1]..][..pair[1]];
                        h = (0..pair[1])
                            .map(|out| {
                                let weight = |k: usize| layers.numbers[at + k * pair[1] + out];
                                (0..pair[0]).fold(bias[out], |sum, k| h[k].mul_add(weight(k), sum)).max(0.0)
                            })
                            .collect();
                        at += (pair[0] + 1) * pair[1];
                    }
                    let sum = (0..product).fold(layers.numbers[n - 1], |sum, k| user[k].mul_add(vector[k], sum));
                    (0..h.len()).fold(sum, |sum, k| h[k].mul_add(layers.numbers[at + k], sum))
                })
                .collect();
            for level in Level::available() {
                let mut found = vec![0.0; items.len()];
                layers.scores(level, &user, &vectors, &items, &mut found, &mut Scratch::default());
                assert_eq!(found, truth, "{} {widths:?}", level.name());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Layers::new(0, vec![], vec![]).is_err());
        assert!(Layers::new(0, vec![2, 0], vec![0.0; 3]).is_err());
        assert!(Layers::new(0, vec![2], vec![0.0; 2]).is_err());
        assert!(Layers::new(0, vec![2], vec![0.0, f32::NAN, 0.0]).is_err());
        assert!(Layers::new(0, vec![2], vec![0.0; 3]).is_ok());
    }
}
