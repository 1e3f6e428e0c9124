//! What fully connected layers need beside matrix products (`gemm`): rectified sums, their slopes, the last sums.
//!
//! Plain loops over lanes, widened by the compiler. Each number is computed by itself, or by a chain in order, so that no
//! width changes a bit.

use super::exp::{exp_body, ln_body};
use super::level::Level;

/// Rows whose last sums run at once: enough to hide the latency of a fused multiply-add.
const ROWS_AT_ONCE: usize = 8;

#[inline(always)]
fn positive(x: f32) -> f32 {
    if x > 0.0 { x } else { 0.0 }
}

#[inline(always)]
fn rectified_sum_body(a: &[f32], b: &[f32], out: &mut [f32]) {
    for ((a, b), out) in a.iter().zip(b).zip(out) {
        *out = positive(a + b);
    }
}

/// out = max(a + b, 0).
pub fn rectified_sum(level: Level, a: &[f32], b: &[f32], out: &mut [f32]) {
    dispatch!(level, rectified_sum_body(a: &[f32], b: &[f32], out: &mut [f32]));
}

#[inline(always)]
fn rectify_body(x: &mut [f32]) {
    for x in x {
        *x = positive(*x);
    }
}

/// x ← max(x, 0).
pub fn rectify(level: Level, x: &mut [f32]) {
    dispatch!(level, rectify_body(x: &mut [f32]));
}

#[inline(always)]
fn rectify_backward_body(outputs: &[f32], scale: f32, slopes: &mut [f32]) {
    for (output, slope) in outputs.iter().zip(slopes) {
        *slope = if *output > 0.0 { *slope * scale } else { 0.0 };
    }
}

/// From slopes by the outputs of a layer to those by its sums: `scale` where the output is above 0, else 0.
pub fn rectify_backward(level: Level, outputs: &[f32], scale: f32, slopes: &mut [f32]) {
    dispatch!(level, rectify_backward_body(outputs: &[f32], scale: f32, slopes: &mut [f32]));
}

#[inline(always)]
fn continue_sums_body(rows: &[f32], weights: &[f32], sums: &mut [f32]) {
    let n = weights.len();
    let (blocks, rest) = sums.as_chunks_mut::<ROWS_AT_ONCE>();
    let whole = blocks.len() * ROWS_AT_ONCE;
    for (block, rows) in blocks.iter_mut().zip(rows.chunks_exact(ROWS_AT_ONCE * n)) {
        let rows: [&[f32]; ROWS_AT_ONCE] = std::array::from_fn(|at| &rows[at * n..(at + 1) * n]);
        for k in 0..n {
            for at in 0..ROWS_AT_ONCE {
                block[at] = rows[at][k].mul_add(weights[k], block[at]);
            }
        }
    }
    for (sum, row) in rest.iter_mut().zip(rows[whole * n..].chunks_exact(n)) {
        for (x, weight) in row.iter().zip(weights) {
            *sum = x.mul_add(*weight, *sum);
        }
    }
}

/// `sums[r]` goes on as a chain over k with the numbers of row r times the weights; one row of `weights.len()` numbers for
/// each sum.
pub fn continue_sums(level: Level, rows: &[f32], weights: &[f32], sums: &mut [f32]) {
    assert!(rows.len() >= sums.len() * weights.len() && !weights.is_empty(), "shapes of sums over rows");
    dispatch!(level, continue_sums_body(rows: &[f32], weights: &[f32], sums: &mut [f32]));
}

#[inline(always)]
fn cross_entropy_body(labels: &[f32], counts: &[f32], inverse: f32, scores: &mut [f32], losses: &mut [f32]) {
    let n = scores.len();
    let (labels, counts, losses) = (&labels[..n], &counts[..n], &mut losses[..n]);
    for i in 0..n {
        let x = scores[i];
        let e = exp_body(-x.abs());
        let sigmoid = (if x < 0.0 { e } else { 1.0 }) / (1.0 + e);
        losses[i] = counts[i] * (positive(x) - labels[i] * x + ln_body(1.0 + e));
        scores[i] = counts[i] * inverse * (sigmoid - labels[i]);
    }
}

/// −y log σ(x) − (1 − y) log(1 − σ(x)) of scores x and labels y into `losses`, each times its count; the scores become their
/// slopes, (σ(x) − y) · count · `inverse`.
pub fn cross_entropy(
    level: Level,
    labels: &[f32],
    counts: &[f32],
    inverse: f32,
    scores: &mut [f32],
    losses: &mut [f32],
) {
    dispatch!(
        level,
        cross_entropy_body(labels: &[f32], counts: &[f32], inverse: f32, scores: &mut [f32], losses: &mut [f32])
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn cross_entropy_and_its_slope_are_right_and_the_same_on_every_level() {
        let scores: Vec<f32> = (-40..40).map(|x| x as f32 * 0.9).collect();
        let labels: Vec<f32> = (0..80).map(|at| (at % 2) as f32).collect();
        let counts: Vec<f32> = (0..80).map(|at| f32::from(at % 7 != 0)).collect();
        let run = |level| {
            let (mut slopes, mut losses) = (scores.clone(), vec![0.0; 80]);
            cross_entropy(level, &labels, &counts, 0.5, &mut slopes, &mut losses);
            (slopes, losses)
        };
        let truth = run(Level::Scalar);
        for at in 0..80 {
            let (x, y, count) = (f64::from(scores[at]), f64::from(labels[at]), f64::from(counts[at]));
            let loss = count * ((1.0 + (-x.abs()).exp()).ln() + x.max(0.0) - y * x);
            let slope = count * 0.5 * (1.0 / (1.0 + (-x).exp()) - y);
            assert!((f64::from(truth.1[at]) - loss).abs() < 1e-5 && (f64::from(truth.0[at]) - slope).abs() < 1e-6);
        }
        for level in Level::available() {
            assert_eq!(run(level), truth, "{}", level.name());
        }
    }

    #[test]
    fn every_level_equals_the_plain_loop() {
        for (rows, n) in [(1, 1), (7, 3), (8, 16), (19, 33)] {
            let numbers = |purpose: u64, n: usize| -> Vec<f32> {
                (0..n).map(|at| Stream::new(2, purpose).normal(at as u64)).collect()
            };
            let (a, b, weights) = (numbers(1, rows * n), numbers(2, rows * n), numbers(3, n));
            let start = numbers(4, rows);
            let mut sums = start.clone();
            for (sum, row) in sums.iter_mut().zip(a.chunks_exact(n)) {
                *sum = row.iter().zip(&weights).fold(*sum, |sum, (x, w)| x.mul_add(*w, sum));
            }
            let rectified: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a + b).max(0.0)).collect();
            let slopes: Vec<f32> =
                rectified.iter().zip(&b).map(|(x, b)| if *x > 0.0 { b * 1.25 } else { 0.0 }).collect();
            for level in Level::available() {
                let mut found = start.clone();
                continue_sums(level, &a, &weights, &mut found);
                assert_eq!(found, sums, "{}", level.name());
                let mut found = vec![7.0; rows * n];
                rectified_sum(level, &a, &b, &mut found);
                assert_eq!(found, rectified);
                let mut x: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
                rectify(level, &mut x);
                assert_eq!(x, rectified);
                let mut found = b.clone();
                rectify_backward(level, &rectified, 1.25, &mut found);
                assert_eq!(found, slopes);
            }
        }
    }
}
