//! Losses of the scores of pairs: the loss of the batch, and each score replaced by its slope.
//!
//! The formulas are those of `ancf.reference.loss_and_slope`. The softmax over shared negatives, whose scores
//! are a matrix, is in `shared_negatives.rs`; here is one row of it.

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
pub fn mse(level: Level, with_sigmoid: bool, targets: &[f32], scores: &mut [f32], inverse: f32) -> f64 {
    let mut loss = 0.0;
    for (score, target) in scores.iter_mut().zip(targets) {
        let prediction = if with_sigmoid { sigmoid(level, *score) } else { *score };
        let error = prediction - target;
        loss += f64::from(error) * f64::from(error);
        *score = 2.0 * error * inverse * if with_sigmoid { prediction * (1.0 - prediction) } else { 1.0 };
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

/// The softmax of each of a user's positives among shared negatives.
#[derive(Clone, Copy)]
pub struct Softmax<'a> {
    /// τ.
    pub temperature: f32,
    /// log ω of the negatives.
    pub weights: &'a [f32],
    /// Whether the sum includes the positive itself: unbounded scores would diverge otherwise.
    pub include_positive: bool,
    /// One over the number of positives of the batch.
    pub inverse: f32,
}

impl Softmax<'_> {
    /// One user's row: the summed loss; all scores become slopes.
    pub fn row(self, level: Level, positives: &mut [f32], negatives: &mut [f32]) -> f64 {
        let tau = self.temperature;
        let (highest, sum) = softmax(level, negatives, self.weights, 1.0 / tau);
        let weight = self.inverse / tau;
        let mut loss = 0.0;
        // The factor of the negatives' exponentials, summed over the positives.
        let mut divided = 0.0f32;
        for score in positives {
            let own = *score / tau;
            let top = if self.include_positive && own > highest { own } else { highest };
            let down = exp(level, highest - top);
            let raised = if self.include_positive { exp(level, own - top) } else { 0.0 };
            let total = sum.mul_add(down, raised);
            loss += f64::from(top) + ln(f64::from(total)) - f64::from(own);
            *score = weight * (raised / total - 1.0);
            divided += down / total;
        }
        scale(level, weight * divided, negatives);
        loss
    }
}
