//! Losses of scores that are given one by one: the loss of the batch, and each score replaced by its slope.
//!
//! The formulas are those of `ancf.reference.loss_and_slope`. The softmax over shared negatives is in `head.rs` where its
//! scores come as a matrix; here are its parts for one user.

use crate::runtime::simd::vector::{exp_f64, ln, scale, softmax};
use crate::runtime::simd::{Level, exp};

/// 1 / (1 + e^−x).
pub fn sigmoid(level: Level, x: f32) -> f32 {
    let e = exp(level, -x.abs());
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// log(1 + eˣ).
fn softplus(x: f32) -> f64 {
    f64::from(x).max(0.0) + ln(1.0 + exp_f64(-f64::from(x.abs()).min(700.0)))
}

/// Squared errors; `inverse` is one over the number of pairs. Returns the sum, not the mean.
pub fn mse(level: Level, squashed: bool, targets: &[f32], scores: &mut [f32], inverse: f32) -> f64 {
    let mut loss = 0.0;
    for (score, target) in scores.iter_mut().zip(targets) {
        let guess = if squashed { sigmoid(level, *score) } else { *score };
        let error = guess - target;
        loss += f64::from(error) * f64::from(error);
        *score = 2.0 * error * inverse * if squashed { guess * (1.0 - guess) } else { 1.0 };
    }
    loss
}

/// Cross-entropy.
pub fn bce(level: Level, targets: &[f32], scores: &mut [f32], inverse: f32) -> f64 {
    let mut loss = 0.0;
    for (score, target) in scores.iter_mut().zip(targets) {
        loss += softplus(*score) - f64::from(*target) * f64::from(*score);
        *score = (sigmoid(level, *score) - target) * inverse;
    }
    loss
}

/// A positive and its negatives, group after group; `inverse` is one over the number of positives.
pub fn bpr(level: Level, group: usize, scores: &mut [f32], inverse: f32) -> f64 {
    let mut loss = 0.0;
    for scores in scores.chunks_exact_mut(group) {
        let (positive, negatives) = scores.split_at_mut(1);
        let share = 1.0 / negatives.len() as f32;
        let (mut mean, mut slope) = (0.0, 0.0f32);
        for negative in negatives.iter_mut() {
            let difference = positive[0] - *negative;
            mean += softplus(-difference);
            *negative = sigmoid(level, -difference) * inverse * share;
            slope -= *negative;
        }
        loss += mean * f64::from(share);
        positive[0] = slope;
    }
    loss
}

/// One user's positives against shared negatives: their summed loss; `weights` are log ω.
pub fn softmax_row(
    level: Level,
    temperature: f32,
    positives: &mut [f32],
    negatives: &mut [f32],
    weights: &[f32],
    inverse: f32,
) -> f64 {
    let count = positives.len() as f32;
    let (highest, sum) = softmax(level, negatives, weights, 1.0 / temperature);
    let mut loss = f64::from(count) * (f64::from(highest) + ln(f64::from(sum)));
    for score in positives {
        loss -= f64::from(*score) / f64::from(temperature);
        *score = -inverse / temperature;
    }
    scale(level, count * inverse / temperature / sum, negatives);
    loss
}
