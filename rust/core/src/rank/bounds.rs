//! What the proof in `index` needs to know about vectors and users.

use crate::runtime::simd::Level;
use crate::runtime::simd::byte_dots::BoundTerms;
use crate::runtime::simd::int8_scan::{Group, Limits, item_offset, user_limit, vector_words};
use crate::runtime::simd::quantize::quantize;

/// Relative room for the rounding of f64; see `index`.
pub const SLACK: f64 = 1e-9;

/// The norm of a vector, rounded up.
pub fn norm_up(vector: &[f32]) -> f32 {
    (norm(vector) as f32).next_up()
}

fn gamma(d: usize) -> f64 {
    let d = d as f64;
    d * 2f64.powi(-24) / (1.0 - d * 2f64.powi(-24))
}

/// Up to four numbers of a vector, filled up with zeros.
#[inline(always)]
fn four(values: &[f32]) -> [f64; 4] {
    std::array::from_fn(|k| values.get(k).map_or(0.0, |&value| f64::from(value)))
}

/// The norm of a vector. Four sums at once here and below: a single sum waits for itself at every step.
pub fn norm(vector: &[f32]) -> f64 {
    let mut squares = [0f64; 4];
    for values in vector.chunks(4) {
        for (sum, value) in squares.iter_mut().zip(four(values)) {
            *sum += value * value;
        }
    }
    squares.iter().sum::<f64>().sqrt()
}

/// The largest magnitude in a vector of finite numbers.
pub fn max_abs(vector: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut largest = [0f32; 8];
    let (whole, rest) = vector.as_chunks::<8>();
    for values in whole {
        for (largest, value) in largest.iter_mut().zip(values) {
            *largest = larger(value.abs(), *largest);
        }
    }
    rest.iter().map(|value| value.abs()).chain(largest).fold(0.0, larger)
}

/// What the proof needs to know about a user.
#[derive(Clone, Copy, Default)]
pub struct Bounds {
    /// σ.
    pub(super) scale: f64,
    /// ‖a‖, rounded up as all that follows.
    pub(super) by_error: f64,
    /// (‖ε‖ + γ ‖u‖) / σ.
    pub(super) by_norm: f64,
    /// (1 + γ) ‖u‖.
    pub(super) per_norm: f64,
    subnormal: f64,
    /// γ.
    pub(super) gamma: f64,
    /// The sum of the user's bytes.
    pub(super) sum: i32,
    /// What the offset of items' bytes adds to a product.
    offset: i32,
}

impl Bounds {
    /// Writes the bytes of a user, and finds the user's bounds.
    pub fn of(vector: &[f32], level: Level, words: &mut [i32]) -> Self {
        let (d, limit) = (vector.len(), user_limit(level));
        let max_abs = max_abs(vector);
        let scale = if max_abs > 0.0 { f64::from(max_abs) / limit } else { 1.0 };
        let quantized = quantize(level, vector, scale, limit, words);
        let norm = quantized.squares.sqrt();
        Self {
            scale,
            by_error: quantized.quantized_squares.sqrt() * (1.0 + 2.0 * SLACK),
            by_norm: (quantized.quantization_error.sqrt() + (gamma(d) + SLACK) * norm) / scale * (1.0 + 2.0 * SLACK),
            per_norm: norm * (1.0 + gamma(d) + 2.0 * SLACK),
            subnormal: d as f64 * 2f64.powi(-149),
            gamma: gamma(d),
            sum: quantized.sum,
            offset: i32::from(item_offset(level)) * quantized.sum,
        }
    }

    /// The same for one user of a group.
    pub fn new<const U: usize>(vector: &[f32], level: Level, group: &mut Group<U>, user: usize) -> Self {
        let words = vector_words(vector.len());
        group.words.resize(words, [0; U]);
        // What is beyond the user's numbers has to be 0, also after a longer one.
        group.own.clear();
        group.own.resize(words, 0);
        let bounds = Self::of(vector, level, &mut group.own);
        for (words, own) in group.words.iter_mut().zip(&group.own) {
            words[user] = *own;
        }
        bounds
    }

    /// What bounds of single items take of them; `error` and `norm` are E and M in units of an item's scale.
    pub fn terms(&self, error: f64, norm: f64) -> BoundTerms {
        let offset = 128.0 * f64::from(self.sum) - self.by_error * error - self.by_norm * norm;
        BoundTerms { offset, scale: self.scale, subnormal: self.subnormal }
    }

    /// Sets what the user's scan looks for: items that could reach the n-th best score found so far.
    pub fn set_threshold(&self, limits: &mut Limits, user: usize, threshold: f32) {
        limits.by_error[user] = self.by_error;
        limits.by_norm[user] = self.by_norm;
        limits.offset[user] = self.offset;
        limits.cut[user] = self.threshold_down(threshold) / self.scale;
    }

    /// What an item scores at least whose bytes are sure of so much, in units of the user's scale.
    pub fn sure_score(&self, score: f32) -> f32 {
        let score = f64::from(score) * self.scale;
        ((score - score.abs() * SLACK - self.subnormal) as f32).next_down()
    }

    /// The norm below which no item reaches the threshold.
    pub fn min_norm(&self, threshold: f32) -> f64 {
        let low = self.threshold_down(threshold);
        if low <= 0.0 { f64::NEG_INFINITY } else { low / self.per_norm }
    }

    /// The threshold, less what f64 may lose on the way and the subnormal part of the bound.
    pub(super) fn threshold_down(&self, threshold: f32) -> f64 {
        let threshold = f64::from(threshold);
        threshold - threshold.abs() * SLACK - self.subnormal
    }
}
