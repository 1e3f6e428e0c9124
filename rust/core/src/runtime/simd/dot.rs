//! Scores of single pairs: inner products and factor attention, each a sum over factors in order (a chain of fused
//! multiply-adds).
//!
//! Several pairs are in flight at once, each in its own register, so the order within a pair never changes.

use super::exp::exp_body;
use super::level::Level;

/// Pairs in flight at once: enough to hide the latency of a fused multiply-add.
const PAIRS_AT_ONCE: usize = 8;

/// scores[at] = Σ_k `vector[k]` · `table[items[at] · d + k]`, a fused chain from 0 in order of k; d = `vector.len()`.
pub fn dots(level: Level, vector: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]) {
    assert_eq!(items.len(), scores.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx2 | Level::Avx512 | Level::Amx => unsafe { x86::dots(vector, table, items, scores) },
        _ => dispatch!(level, dots_body(vector: &[f32], table: &[f32], items: &[u32], scores: &mut [f32])),
    }
}

#[inline(always)]
fn row(table: &[f32], d: usize, item: u32) -> &[f32] {
    &table[item as usize * d..item as usize * d + d]
}

#[inline(always)]
fn dots_body(vector: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]) {
    let d = vector.len();
    let whole = items.len() / PAIRS_AT_ONCE * PAIRS_AT_ONCE;
    for (items, scores) in items[..whole].chunks_exact(PAIRS_AT_ONCE).zip(scores.chunks_exact_mut(PAIRS_AT_ONCE)) {
        let rows: [&[f32]; PAIRS_AT_ONCE] = std::array::from_fn(|at| row(table, d, items[at]));
        let mut sums = [0f32; PAIRS_AT_ONCE];
        for k in 0..d {
            for at in 0..PAIRS_AT_ONCE {
                sums[at] = vector[k].mul_add(rows[at][k], sums[at]);
            }
        }
        scores.copy_from_slice(&sums);
    }
    for (&item, score) in items[whole..].iter().zip(&mut scores[whole..]) {
        *score = vector.iter().zip(row(table, d, item)).fold(0.0, |sum, (p, q)| p.mul_add(*q, sum));
    }
}

/// Writes eight rows of `table` as the first columns of a table with rows of `stride`.
pub fn turn(level: Level, table: &[f32], d: usize, items: &[u32; PAIRS_AT_ONCE], turned: &mut [f32], stride: usize) {
    let rows = items.map(|item| row(table, d, item));
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx2 | Level::Avx512 | Level::Amx => unsafe { x86::turn(&rows, turned, stride) },
        _ => turn_body(&rows, 0, turned, stride),
    }
}

/// The same for the columns from `from` on.
fn turn_body(rows: &[&[f32]; PAIRS_AT_ONCE], from: usize, turned: &mut [f32], stride: usize) {
    for k in from..rows[0].len() {
        for (out, row) in turned[k * stride..][..PAIRS_AT_ONCE].iter_mut().zip(rows) {
            *out = row[k];
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::super::sparse::fetch;
    use super::{PAIRS_AT_ONCE, SPARE, UNTOUCHED, row};

    /// Registers of pairs in flight: while one chain waits for its last step, the others go on.
    const GROUPS: usize = 3;

    /// [`super::dots`] with a pair to a lane. Rows are read in no order, so those of the next pairs are prefetched
    /// meanwhile.
    #[target_feature(enable = "avx2,fma")]
    pub fn dots(vector: &[f32], table: &[f32], mut items: &[u32], mut scores: &mut [f32]) {
        while !items.is_empty() {
            let count = items.len().min(GROUPS * PAIRS_AT_ONCE);
            let (now, later) = items.split_at(count);
            let (out, rest) = std::mem::take(&mut scores).split_at_mut(count);
            for &item in later.iter().take(GROUPS * PAIRS_AT_ONCE) {
                fetch(table, item as usize * vector.len(), vector.len());
            }
            match count.div_ceil(PAIRS_AT_ONCE) {
                1 => groups::<1>(vector, table, now, out),
                2 => groups::<2>(vector, table, now, out),
                _ => groups::<GROUPS>(vector, table, now, out),
            }
            (items, scores) = (later, rest);
        }
    }

    /// Up to 8 `G` pairs; lanes that are left over in the last register repeat the first pair.
    #[target_feature(enable = "avx2,fma")]
    fn groups<const G: usize>(vector: &[f32], table: &[f32], items: &[u32], scores: &mut [f32]) {
        let d = vector.len();
        let mut rows = [[&table[..0]; PAIRS_AT_ONCE]; G];
        for (at, place) in rows.as_flattened_mut().iter_mut().enumerate() {
            *place = row(table, d, *items.get(at).unwrap_or(&items[0]));
        }
        let mut sums = [_mm256_setzero_ps(); G];
        let whole = d / PAIRS_AT_ONCE * PAIRS_AT_ONCE;
        for k in (0..whole).step_by(PAIRS_AT_ONCE) {
            for (sums, rows) in sums.iter_mut().zip(&rows) {
                for (column, &value) in columns(rows, k).iter().zip(&vector[k..k + PAIRS_AT_ONCE]) {
                    *sums = _mm256_fmadd_ps(_mm256_set1_ps(value), *column, *sums);
                }
            }
        }
        for ((sums, rows), scores) in sums.into_iter().zip(&rows).zip(scores.chunks_mut(PAIRS_AT_ONCE)) {
            let mut lanes = [0f32; PAIRS_AT_ONCE];
            // SAFETY: 8 numbers.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sums) };
            for (lane, row) in lanes.iter_mut().zip(rows) {
                *lane = vector[whole..].iter().zip(&row[whole..]).fold(*lane, |sum, (p, q)| p.mul_add(*q, sum));
            }
            scores.copy_from_slice(&lanes[..scores.len()]);
        }
    }

    /// [`super::scatter`] of sixteen items at a time.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn scatter(
        weight: f32,
        items: &[u32],
        values: &[f32],
        sums: &mut [f32],
        touched: &mut [u32],
        n_touched: &mut usize,
    ) {
        const LANES: usize = 16;
        assert_eq!(items.len(), values.len());
        let length = _mm512_set1_epi32(sums.len().min(i32::MAX as usize) as i32);
        let untouched = _mm512_set1_epi32(UNTOUCHED.to_bits() as i32);
        let (weight, mut at) = (_mm512_set1_ps(weight), *n_touched);
        for from in (0..items.len()).step_by(LANES) {
            let lanes = if items.len() - from >= LANES { !0 } else { (1 << (items.len() - from)) - 1 };
            // SAFETY: of items and values those that are there are read, and of the sums none beyond their end.
            let (item, new) = unsafe {
                let item = _mm512_maskz_loadu_epi32(lanes, items.as_ptr().add(from).cast());
                let value = _mm512_maskz_loadu_ps(lanes, values.as_ptr().add(from));
                assert_eq!(_mm512_mask_cmplt_epu32_mask(lanes, item, length), lanes);
                let sum = _mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), lanes, item, sums.as_ptr().cast());
                let new = _mm512_cmpeq_epi32_mask(_mm512_castps_si512(sum), untouched);
                // −0 becomes 0, and nothing else changes.
                let sum = _mm512_add_ps(_mm512_fmadd_ps(weight, value, sum), _mm512_setzero_ps());
                _mm512_mask_i32scatter_ps::<4>(sums.as_mut_ptr().cast(), lanes, item, sum);
                (item, new)
            };
            let places = &mut touched[at..at + SPARE];
            // SAFETY: 16 numbers.
            unsafe { _mm512_storeu_epi32(places.as_mut_ptr().cast(), _mm512_maskz_compress_epi32(new, item)) };
            at += new.count_ones() as usize;
        }
        *n_touched = at;
    }

    /// [`super::turn`] by squares of eight.
    #[target_feature(enable = "avx2,fma")]
    pub fn turn(rows: &[&[f32]; PAIRS_AT_ONCE], turned: &mut [f32], stride: usize) {
        let whole = rows[0].len() / PAIRS_AT_ONCE * PAIRS_AT_ONCE;
        for k in (0..whole).step_by(PAIRS_AT_ONCE) {
            for (at, column) in columns(rows, k).into_iter().enumerate() {
                let out = &mut turned[(k + at) * stride..][..PAIRS_AT_ONCE];
                // SAFETY: 8 numbers.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr(), column) };
            }
        }
        super::turn_body(rows, whole, turned, stride);
    }

    /// Eight numbers of eight rows from `k` on, transposed: register j holds number k + j of each row.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn columns(rows: &[&[f32]; PAIRS_AT_ONCE], k: usize) -> [__m256; PAIRS_AT_ONCE] {
        let mut columns = [_mm256_setzero_ps(); PAIRS_AT_ONCE];
        for (columns, from) in columns.chunks_exact_mut(4).zip([k, k + 4]) {
            // Rows r and r + 4 side by side, four numbers of each. No closure, which would be called for each of them.
            let mut halves = [_mm256_setzero_ps(); 4];
            for r in 0..4 {
                let (low, high) = (&rows[r][from..from + 4], &rows[r + 4][from..from + 4]);
                // SAFETY: four numbers each.
                halves[r] = unsafe { _mm256_loadu2_m128(high.as_ptr(), low.as_ptr()) };
            }
            let [a, b, c, d] = halves;
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            columns[0] = _mm256_shuffle_ps::<0b0100_0100>(ab, cd);
            columns[1] = _mm256_shuffle_ps::<0b1110_1110>(ab, cd);
            let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            columns[2] = _mm256_shuffle_ps::<0b0100_0100>(ab, cd);
            columns[3] = _mm256_shuffle_ps::<0b1110_1110>(ab, cd);
        }
        columns
    }
}

/// What a sum is before anything was added to it; no sum is after.
pub const UNTOUCHED: f32 = -0.0;

/// Places beyond what is touched that [`scatter`] may write.
pub const SPARE: usize = 16;

/// Adds `weight` · `values` to `sums` at `items`, fused; no item is named twice. An item whose sum is [`UNTOUCHED`] is written
/// to `touched` at place `n_touched`, which grows; it has room for all items and [`SPARE`] more. Without a branch, which would
/// be mispredicted time and again.
pub fn scatter(
    level: Level,
    weight: f32,
    items: &[u32],
    values: &[f32],
    sums: &mut [f32],
    touched: &mut [u32],
    n_touched: &mut usize,
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx512 | Level::Amx => unsafe { x86::scatter(weight, items, values, sums, touched, n_touched) },
        _ => dispatch!(level, scatter_body(
            weight: f32, items: &[u32], values: &[f32], sums: &mut [f32], touched: &mut [u32], n_touched: &mut usize)),
    }
}

#[inline(always)]
fn scatter_body(
    weight: f32,
    items: &[u32],
    values: &[f32],
    sums: &mut [f32],
    touched: &mut [u32],
    n_touched: &mut usize,
) {
    let mut at = *n_touched;
    for (&item, &value) in items.iter().zip(values) {
        let sum = &mut sums[item as usize];
        touched[at] = item;
        at += usize::from(sum.to_bits() == UNTOUCHED.to_bits());
        // −0 becomes 0, and nothing else changes.
        *sum = weight.mul_add(value, *sum) + 0.0;
    }
    *n_touched = at;
}

/// Adds `weight` · `values` to `sums` at `items`, fused.
pub fn add_at(level: Level, weight: f32, items: &[u32], values: &[f32], sums: &mut [f32]) {
    dispatch!(level, add_at_body(weight: f32, items: &[u32], values: &[f32], sums: &mut [f32]));
}

#[inline(always)]
fn add_at_body(weight: f32, items: &[u32], values: &[f32], sums: &mut [f32]) {
    for (&item, &value) in items.iter().zip(values) {
        let sum = &mut sums[item as usize];
        *sum = weight.mul_add(value, *sum);
    }
}

/// [`dots`] for factor attention: x_k = p_k q_k, l_k = s_k x_k, e_k = exp(l_k − max l); score = Σ e_k x_k / Σ e_k, both
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_equals_the_chain_pair_by_pair() {
        let draws = Stream::new(17, 0);
        for d in [0, 1, 7, 8, 9, 16, 64, 67] {
            let numbers = |purpose: u64, n: usize| -> Vec<f32> {
                (0..n).map(|at| draws.sub(purpose).normal(at as u64)).collect()
            };
            let (vector, table) = (numbers(1, d), numbers(2, 50 * d));
            for n in [0, 1, 7, 8, 9, 16, 17, 24, 25, 61] {
                let items: Vec<u32> = (0..n).map(|at| (at * 7 % 50) as u32).collect();
                let chain =
                    |&item: &u32| vector.iter().zip(row(&table, d, item)).fold(0f32, |sum, (p, q)| p.mul_add(*q, sum));
                let wanted: Vec<f32> = items.iter().map(chain).collect();
                for level in Level::available() {
                    let mut scores = vec![f32::NAN; n];
                    dots(level, &vector, &table, &items, &mut scores);
                    assert_eq!(scores, wanted, "{} {d} {n}", level.name());
                }
            }
        }
    }

    #[test]
    fn every_level_adds_the_same_and_names_what_was_untouched() {
        let draws = Stream::new(17, 1);
        for n in [0, 1, 15, 16, 17, 40] {
            let items: Vec<u32> = (0..n).map(|at| (at * 7 + 3) % 41).collect();
            let values: Vec<f32> = (0..u64::from(n)).map(|at| draws.normal(at)).collect();
            let run = |level| {
                let mut sums = [UNTOUCHED; 41];
                // 0 was touched, ∞ is left out, and one comes to 0 on the way.
                (sums[3], sums[10], sums[17]) = (0.0, f32::INFINITY, -0.25 * values.get(2).unwrap_or(&0.0));
                let (mut touched, mut n_touched) = (vec![99; 41 + SPARE], 1);
                scatter(level, 0.25, &items, &values, &mut sums, &mut touched, &mut n_touched);
                (sums.map(f32::to_bits), touched[..n_touched].to_vec())
            };
            let wanted = run(Level::Scalar);
            assert_eq!(wanted.1.len(), 1 + n.saturating_sub(3.min(n)) as usize);
            for level in Level::available() {
                assert_eq!(run(level), wanted, "{} {n}", level.name());
            }
        }
    }

    #[test]
    fn rows_become_columns() {
        let (n, stride) = (9usize, 19);
        for d in [0, 1, 7, 8, 20] {
            let table: Vec<f32> = (0..n * d).map(|at| at as f32).collect();
            let items = [3, 0, 8, 8, 1, 2, 5, 7];
            for level in Level::available() {
                let mut turned = vec![-1.0; d * stride];
                turn(level, &table, d, &items, &mut turned, stride);
                for (at, &value) in turned.iter().enumerate() {
                    let item = items.get(at % stride).copied();
                    let wanted = item.map_or(-1.0, |item| table[item as usize * d + at / stride]);
                    assert_eq!(value, wanted, "{} {d}", level.name());
                }
            }
        }
    }
}
