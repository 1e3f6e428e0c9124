//! Single scores: the fused chains of pairs, each a sum over factors in order.
//!
//! Several pairs are in flight at once, each in its own register, so the order within a pair never changes.

use super::Level;
use super::exp::exp_body;

/// Pairs in flight at once: enough to hide the latency of a fused multiply-add.
const ABREAST: usize = 8;

/// scores[at] = Σ_k `vector[k]` · `table[items[at] · d + k]`, a fused chain from 0 in order of k; d = `vector.len()`.
pub fn dots(level: Level, vector: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]) {
    dispatch!(level, dots_body(vector: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]));
}

#[inline(always)]
fn dots_body(vector: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]) {
    let d = vector.len();
    let row = |item: u32| &table[item as usize * d..item as usize * d + d];
    let whole = items.len() / ABREAST * ABREAST;
    for (items, scores) in items[..whole].chunks_exact(ABREAST).zip(scores.chunks_exact_mut(ABREAST)) {
        let rows: [&[f32]; ABREAST] = std::array::from_fn(|at| row(items[at]));
        let mut sums = [0f32; ABREAST];
        for k in 0..d {
            for at in 0..ABREAST {
                sums[at] = vector[k].mul_add(rows[at][k], sums[at]);
            }
        }
        scores.copy_from_slice(&sums);
    }
    for (&item, score) in items[whole..].iter().zip(&mut scores[whole..]) {
        *score = vector.iter().zip(row(item)).fold(0.0, |sum, (p, q)| p.mul_add(*q, sum));
    }
}

/// Adds `weight` · `values` to `sums` at `items`, fused, and sets their bits in `marks`.
pub fn scatter(level: Level, weight: f32, items: &[u32], values: &[f32], sums: &mut [f32], marks: &mut [u64]) {
    dispatch!(level, scatter_body(weight: f32, items: &[u32], values: &[f32], sums: &mut [f32], marks: &mut [u64]));
}

#[inline(always)]
fn scatter_body(weight: f32, items: &[u32], values: &[f32], sums: &mut [f32], marks: &mut [u64]) {
    for (&item, &value) in items.iter().zip(values) {
        let sum = &mut sums[item as usize];
        *sum = weight.mul_add(value, *sum);
        marks[item as usize / 64] |= 1 << (item % 64);
    }
}

/// The same for factor attention: x_k = p_k q_k, l_k = s_k x_k, e_k = exp(l_k − max l); score = Σ e_k x_k / Σ e_k, both
/// sums in order of k, the upper one fused.
pub fn attentions(level: Level, vector: &[f32], sharpness: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]) {
    dispatch!(level, attentions_body(
        vector: &[f32], sharpness: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]));
}

#[inline(always)]
fn attentions_body(vector: &[f32], sharpness: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]) {
    let d = vector.len();
    for (&item, score) in items.iter().zip(scores) {
        let row = &table[item as usize * d..item as usize * d + d];
        let mut highest = f32::NEG_INFINITY;
        for k in 0..d {
            let logit = sharpness[k] * (vector[k] * row[k]);
            highest = if logit > highest { logit } else { highest };
        }
        let (mut upper, mut lower) = (0f32, 0f32);
        for k in 0..d {
            let product = vector[k] * row[k];
            let e = exp_body(sharpness[k] * product - highest);
            lower += e;
            upper = e.mul_add(product, upper);
        }
        *score = if d == 0 { 0.0 } else { upper / lower };
    }
}
