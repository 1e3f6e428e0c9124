//! Features of single pairs and their gradients, and the optimizers beside Adam: plain loops, widened for each level.

use super::exp::exp_body;
use super::level::Level;
use super::vector::{LANES, block, halves, larger, tree};

#[inline(always)]
pub(super) fn weighted_dot_body(weights: &[f32], p: &[f32], q: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let n = p.len();
    let (weights, q) = (&weights[..n], &q[..n]);
    for at in 0..n.div_ceil(LANES) {
        let (weights, p, q) = (block(weights, at), block(p, at), block(q, at));
        for lane in 0..LANES {
            sums[lane] = (weights[lane] * p[lane]).mul_add(q[lane], sums[lane]);
        }
    }
    tree(sums)
}

/// Σ_k `weights_k` `p_k` `q_k`.
pub fn weighted_dot(level: Level, weights: &[f32], p: &[f32], q: &[f32]) -> f32 {
    dispatch!(level, weighted_dot_body(weights: &[f32], p: &[f32], q: &[f32]) -> f32)
}

#[inline(always)]
fn product_add_body(factor: f32, a: &[f32], b: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (a, b) = (&a[..n], &b[..n]);
    for k in 0..n {
        out[k] = (factor * a[k]).mul_add(b[k], out[k]);
    }
}

/// out += factor · a ⊙ b.
pub fn product_add(level: Level, factor: f32, a: &[f32], b: &[f32], out: &mut [f32]) {
    dispatch!(level, product_add_body(factor: f32, a: &[f32], b: &[f32], out: &mut [f32]));
}

/// softmax(sharpness ⊙ p ⊙ q) into `alpha`. Blocks of known length, or the exponentials would be taken one by one.
#[inline(always)]
fn alphas(sharpness: &[f32], p: &[f32], q: &[f32], alpha: &mut [f32]) {
    let n = alpha.len();
    let (sharpness, p, q) = (&sharpness[..n], &p[..n], &q[..n]);
    for k in 0..n {
        alpha[k] = sharpness[k] * (p[k] * q[k]);
    }
    let (blocks, rest) = alpha.as_chunks_mut::<LANES>();
    let mut maxima = [f32::NEG_INFINITY; LANES];
    for block in &*blocks {
        for lane in 0..LANES {
            maxima[lane] = larger(block[lane], maxima[lane]);
        }
    }
    let mut highest = halves(maxima, larger);
    for &x in &*rest {
        highest = larger(x, highest);
    }
    for x in blocks.as_flattened_mut() {
        *x = exp_body(*x - highest);
    }
    let mut sums = [0.0f32; LANES];
    for block in &*blocks {
        for lane in 0..LANES {
            sums[lane] += block[lane];
        }
    }
    for (x, sum) in rest.iter_mut().zip(&mut sums) {
        *x = exp_body(*x - highest);
        *sum += *x;
    }
    let inverse = 1.0 / tree(sums);
    for x in alpha {
        *x *= inverse;
    }
}

#[inline(always)]
fn attended_backward_body(
    slope: f32,
    sharpness: &[f32],
    weights: &[f32],
    p: &[f32],
    q: &[f32],
    dx: &mut [f32],
    d_sharpness: &mut [f32],
    d_weights: &mut [f32],
) {
    let n = dx.len();
    let (p, q, sharpness, weights) = (&p[..n], &q[..n], &sharpness[..n], &weights[..n]);
    let (d_sharpness, d_weights) = (&mut d_sharpness[..n], &mut d_weights[..n]);
    // dx holds α first.
    alphas(sharpness, p, q, dx);
    let mut sums = [0.0f32; LANES];
    for at in 0..n.div_ceil(LANES) {
        let (alpha, weights, p, q) = (block(dx, at), block(weights, at), block(p, at), block(q, at));
        for lane in 0..LANES {
            sums[lane] = (alpha[lane] * weights[lane]).mul_add(p[lane] * q[lane], sums[lane]);
        }
    }
    let mean = tree(sums);
    for k in 0..n {
        let (x, alpha) = (p[k] * q[k], dx[k]);
        let d_logit = slope * alpha * weights[k].mul_add(x, -mean);
        d_sharpness[k] = d_logit.mul_add(x, d_sharpness[k]);
        d_weights[k] = (slope * alpha).mul_add(x, d_weights[k]);
        dx[k] = d_logit.mul_add(sharpness[k], slope * weights[k] * alpha);
    }
}

/// The gradient of `scores::Features::Attended` times `slope`: by x = p ⊙ q into `dx`; by sharpness and weights it is added
/// to theirs.
pub fn attended_backward(
    level: Level,
    slope: f32,
    sharpness: &[f32],
    weights: &[f32],
    p: &[f32],
    q: &[f32],
    dx: &mut [f32],
    d_sharpness: &mut [f32],
    d_weights: &mut [f32],
) {
    dispatch!(level, attended_backward_body(
        slope: f32, sharpness: &[f32], weights: &[f32], p: &[f32], q: &[f32],
        dx: &mut [f32], d_sharpness: &mut [f32], d_weights: &mut [f32]));
}

#[inline(always)]
fn sgd_body(rate: f32, regularization: f32, gradient: &[f32], x: &mut [f32]) {
    for (x, g) in x.iter_mut().zip(gradient) {
        *x -= rate * regularization.mul_add(*x, *g);
    }
}

/// One step of gradient descent on a slice.
pub fn sgd(level: Level, rate: f32, regularization: f32, gradient: &[f32], x: &mut [f32]) {
    dispatch!(level, sgd_body(rate: f32, regularization: f32, gradient: &[f32], x: &mut [f32]));
}

#[inline(always)]
fn adagrad_body(rate: f32, regularization: f32, gradient: &[f32], x: &mut [f32], squares: &mut [f32]) {
    let n = x.len();
    let (gradient, squares) = (&gradient[..n], &mut squares[..n]);
    for k in 0..n {
        let g = regularization.mul_add(x[k], gradient[k]);
        squares[k] = g.mul_add(g, squares[k]);
        x[k] -= rate * g / (squares[k].sqrt() + 1e-8);
    }
}

/// One step of Adagrad (Duchi, Hazan, Singer: Adaptive Subgradient Methods, JMLR 2011) on a slice.
pub fn adagrad(level: Level, rate: f32, regularization: f32, gradient: &[f32], x: &mut [f32], squares: &mut [f32]) {
    dispatch!(level, adagrad_body(
        rate: f32, regularization: f32, gradient: &[f32], x: &mut [f32], squares: &mut [f32]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn numbers(n: usize, purpose: u64) -> Vec<f32> {
        (0..n).map(|i| Stream::new(4, purpose).normal(i as u64)).collect()
    }

    #[test]
    fn every_level_has_the_same_bits() {
        for n in [1, 5, 15, 16, 17, 50, 64, 100] {
            let (p, q, g, w) = (numbers(n, 1), numbers(n, 2), numbers(n, 3), numbers(n, 4));
            let run = |level: Level| {
                let (mut out, mut dx) = (p.clone(), vec![0.0; n]);
                let (mut dg, mut dw) = (q.clone(), p.clone());
                product_add(level, 0.7, &g, &w, &mut out);
                attended_backward(level, 0.3, &g, &w, &p, &q, &mut dx, &mut dg, &mut dw);
                let (mut x, mut y, mut squares) = (p.clone(), q.clone(), vec![0.1; n]);
                sgd(level, 0.1, 0.01, &g, &mut x);
                adagrad(level, 0.1, 0.01, &g, &mut y, &mut squares);
                let sum = weighted_dot(level, &w, &p, &q);
                (sum.to_bits(), vec![out, dx, dg, dw, x, y, squares])
            };
            let truth = run(Level::Scalar);
            for level in Level::available() {
                assert_eq!(run(level), truth, "{} {n}", level.name());
            }
            let plain: f64 = (0..n).map(|k| f64::from(w[k]) * f64::from(p[k]) * f64::from(q[k])).sum();
            assert!((f64::from(f32::from_bits(truth.0)) - plain).abs() < 1e-4);
        }
    }
}
