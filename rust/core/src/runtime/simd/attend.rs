//! Target attention: 32 candidates attend to histories, each with weights of its own.
//!
//! Lanes are candidates, so each score owns a lane and its sums run over the history in order. A candidate's logit for a
//! history item does not depend on the user: exponentials and products are computed once for all users (`exp_weighted`),
//! and a user costs two fused multiply-adds for each item of the history and each lane (`attend`).

use super::exp::{exp_body, ln_body};
use super::level::Level;

/// Items in a tile.
pub const LANES: usize = 32;

/// Logits are clamped to ± this: e^60 and its sums still fit f32 with room for the products.
const MAX_ABS_LOGIT: f32 = 60.0;

/// logits ← e = exp(logit), products ← e · product.
pub fn exp_weighted(level: Level, logits: &mut [f32], products: &mut [f32]) {
    dispatch!(level, exp_weighted_body(logits: &mut [f32], products: &mut [f32]));
}

#[inline(always)]
fn exp_weighted_body(logits: &mut [f32], products: &mut [f32]) {
    for (logit, product) in logits.iter_mut().zip(products) {
        let e = exp_body(logit.clamp(-MAX_ABS_LOGIT, MAX_ABS_LOGIT));
        *logit = e;
        *product *= e;
    }
}

/// What a history adds to the scores of 32 items: `factor` · Σ w p / (Σ w e)^`exponent`, added to `scores`. `rows` are
/// the positions of the history's items in `e` and `p` ([position][32]); at least one.
pub fn attend(
    level: Level,
    rows: &[u32],
    weights: &[f32],
    e: &[f32],
    p: &[f32],
    exponent: f32,
    factor: f32,
    scores: &mut [f32; LANES],
) {
    dispatch!(level, attend_body(
        rows: &[u32], weights: &[f32], e: &[f32], p: &[f32], exponent: f32, factor: f32, scores: &mut [f32; LANES]));
}

#[inline(always)]
fn attend_body(
    rows: &[u32],
    weights: &[f32],
    e: &[f32],
    p: &[f32],
    exponent: f32,
    factor: f32,
    scores: &mut [f32; LANES],
) {
    let (e, p) = (e.as_chunks::<LANES>().0, p.as_chunks::<LANES>().0);
    let (mut upper, mut lower) = ([0f32; LANES], [0f32; LANES]);
    for (&row, &weight) in rows.iter().zip(weights) {
        let (e, p) = (&e[row as usize], &p[row as usize]);
        for lane in 0..LANES {
            lower[lane] = weight.mul_add(e[lane], lower[lane]);
            upper[lane] = weight.mul_add(p[lane], upper[lane]);
        }
    }
    for lane in 0..LANES {
        scores[lane] = factor.mul_add(upper[lane] / power_body(lower[lane], exponent), scores[lane]);
    }
}

/// x to the power `exponent` for positive, normal x.
#[inline(always)]
fn power_body(x: f32, exponent: f32) -> f32 {
    if exponent == 1.0 {
        x
    } else if exponent == 0.5 {
        x.sqrt()
    } else {
        exp_body(exponent * ln_body(x))
    }
}

/// scores ← Σ_k `vector[k]` · `pack[k][lane]`, a fused chain from 0.
pub fn dot_lanes(level: Level, vector: &[f32], pack: &[f32], scores: &mut [f32; LANES]) {
    dispatch!(level, dot_lanes_body(vector: &[f32], pack: &[f32], scores: &mut [f32; LANES]));
}

#[inline(always)]
fn dot_lanes_body(vector: &[f32], pack: &[f32], scores: &mut [f32; LANES]) {
    let mut sums = [0f32; LANES];
    let pack = pack.as_chunks::<LANES>().0;
    for k in 0..vector.len() {
        let (value, lanes) = (vector[k], &pack[k]);
        for lane in 0..LANES {
            sums[lane] = value.mul_add(lanes[lane], sums[lane]);
        }
    }
    *scores = sums;
}

/// weights ← exp(logit − highest); returns the factor exp((1 − `exponent`) · highest) that the weights lack.
pub fn weights(level: Level, logits: &[f32], exponent: f32, weights: &mut Vec<f32>) -> f32 {
    let highest = logits.iter().fold(f32::NEG_INFINITY, |highest, &logit| highest.max(logit));
    weights.clear();
    weights.extend_from_slice(logits);
    exponentials(level, weights, highest);
    super::exp(level, (1.0 - exponent) * highest)
}

fn exponentials(level: Level, values: &mut [f32], highest: f32) {
    dispatch!(level, exponentials_body(values: &mut [f32], highest: f32));
}

#[inline(always)]
fn exponentials_body(values: &mut [f32], highest: f32) {
    for value in values {
        *value = exp_body(*value - highest);
    }
}

/// The tables of a target attention, row-major.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    /// Item vectors, d numbers each.
    pub vectors: &'a [f32],
    /// Numbers in an item vector.
    pub d: usize,
    /// Keys, of the history items.
    pub keys: &'a [f32],
    /// Queries, of the candidates.
    pub queries: &'a [f32],
    /// Numbers in a key and a query.
    pub d_keys: usize,
    /// The logit of each history item.
    pub logits: &'a [f32],
    /// β.
    pub exponent: f32,
}

/// [`attend`] for a single pair, in the same order of operations: `score` plus what its history adds.
pub fn score_one(
    level: Level,
    tables: Tables<'_>,
    history: &[u32],
    weights: &[f32],
    factor: f32,
    item: u32,
    score: f32,
) -> f32 {
    dispatch!(level, score_one_body(
        tables: Tables<'_>, history: &[u32], weights: &[f32], factor: f32, item: u32, score: f32) -> f32)
}

#[inline(always)]
fn row(table: &[f32], d: usize, at: u32) -> &[f32] {
    &table[at as usize * d..at as usize * d + d]
}

#[inline(always)]
fn chain(a: &[f32], b: &[f32], start: f32) -> f32 {
    a.iter().zip(b).fold(start, |sum, (a, b)| a.mul_add(*b, sum))
}

#[inline(always)]
fn score_one_body(tables: Tables<'_>, history: &[u32], weights: &[f32], factor: f32, item: u32, score: f32) -> f32 {
    let (query, vector) = (row(tables.queries, tables.d_keys, item), row(tables.vectors, tables.d, item));
    let (mut upper, mut lower) = (0f32, 0f32);
    for (&source, &weight) in history.iter().zip(weights) {
        let logit = chain(row(tables.keys, tables.d_keys, source), query, tables.logits[source as usize]);
        let e = exp_body(logit.clamp(-MAX_ABS_LOGIT, MAX_ABS_LOGIT));
        let product = chain(row(tables.vectors, tables.d, source), vector, 0.0) * e;
        lower = weight.mul_add(e, lower);
        upper = weight.mul_add(product, upper);
    }
    factor.mul_add(upper / power_body(lower, tables.exponent), score)
}
