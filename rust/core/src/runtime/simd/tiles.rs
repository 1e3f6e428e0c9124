//! Scores of 32 users × many items in registers, with the comparison fused in.
//!
//! Users are the lanes, packed as [factor][32]; items stay row-major and are broadcast, so each score owns a lane and its
//! chain runs in order of k. After a tile, the maximum over its rows is compared once with the users' thresholds; masks
//! are extracted only where a score reaches one. Packing items into panels gained nothing.

use super::exp::exp_body;
use super::level::Level;
pub use super::tile_kernels::LANES;
#[cfg(target_arch = "aarch64")]
use super::tile_kernels::neon;
#[cfg(target_arch = "x86_64")]
use super::tile_kernels::x86;
use super::vector::larger;

/// Packs up to 32 vectors of `d` numbers as [factor][32]; lanes without a vector hold 0.
pub fn pack<'a>(vectors: impl Iterator<Item = &'a [f32]>, d: usize, pack: &mut Vec<f32>) {
    pack.clear();
    pack.resize(d * LANES, 0.0);
    for (lane, vector) in vectors.take(LANES).enumerate() {
        for (k, &value) in vector.iter().enumerate() {
            pack[k * LANES + lane] = value;
        }
    }
}

/// Calls `reach(lane, row, score)` for every score that is at least its lane's threshold, rows in order; it returns the
/// lane's threshold from then on. `rows`: row-major, `d` numbers each. Lanes with the threshold ∞ report nothing. No score
/// may overflow.
pub fn inner(
    level: Level,
    pack: &[f32],
    rows: &[f32],
    d: usize,
    thresholds: &mut [f32; LANES],
    mut reach: impl FnMut(usize, usize, f32) -> f32,
) {
    assert!(d > 0 && pack.len() == d * LANES && rows.len().is_multiple_of(d));
    each_tile(level, pack, rows, d, thresholds, |first, scores, thresholds| {
        report_hits(first, scores, thresholds, &mut reach);
    });
}

/// Every score, the 32 lanes of one row after the other. No score may overflow.
pub fn products(level: Level, pack: &[f32], rows: &[f32], d: usize, scores: &mut [[f32; LANES]]) {
    assert!(d > 0 && pack.len() == d * LANES && rows.len() == scores.len() * d);
    each_tile(level, pack, rows, d, &mut [f32::NEG_INFINITY; LANES], |first, tile, _| {
        scores[first..first + tile.len()].copy_from_slice(tile);
    });
}

/// Calls `hit(first row, scores, thresholds)` for each tile in which a score reaches its lane's threshold.
#[inline(always)]
fn each_tile(
    level: Level,
    pack: &[f32],
    rows: &[f32],
    d: usize,
    thresholds: &mut [f32; LANES],
    hit: impl FnMut(usize, &[[f32; LANES]], &mut [f32; LANES]),
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features.
        Level::Avx512 | Level::Amx => unsafe { x86::tiles_avx512(pack, rows, d, thresholds, hit) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::tiles_avx2(pack, rows, d, thresholds, hit) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: NEON is part of every aarch64.
        Level::Neon => unsafe { neon::tiles_neon(pack, rows, d, thresholds, hit) },
        Level::Scalar => tiles_plain(level, pack, rows, d, thresholds, hit),
    }
}

/// Rows of a tile without registers of its own.
const PLAIN_ROWS: usize = 4;

fn tiles_plain(
    level: Level,
    pack: &[f32],
    rows: &[f32],
    d: usize,
    thresholds: &mut [f32; LANES],
    mut hit: impl FnMut(usize, &[[f32; LANES]], &mut [f32; LANES]),
) {
    let mut scores = [[0f32; LANES]; PLAIN_ROWS];
    for (tile, rows) in rows.chunks(d * PLAIN_ROWS).enumerate() {
        plain_products(level, pack, rows, d, &mut scores);
        hit(tile * PLAIN_ROWS, &scores[..rows.len() / d], thresholds);
    }
}

fn plain_products(level: Level, pack: &[f32], rows: &[f32], d: usize, scores: &mut [[f32; LANES]]) {
    dispatch!(level, products_body(pack: &[f32], rows: &[f32], d: usize, scores: &mut [[f32; LANES]]));
}

#[inline(always)]
fn products_body(pack: &[f32], rows: &[f32], d: usize, scores: &mut [[f32; LANES]]) {
    let pack = pack.as_chunks::<LANES>().0;
    for (row, scores) in rows.chunks_exact(d).zip(scores) {
        let mut sums = [0f32; LANES];
        for k in 0..d {
            let (q, users) = (row[k], &pack[k]);
            for lane in 0..LANES {
                sums[lane] = users[lane].mul_add(q, sums[lane]);
            }
        }
        *scores = sums;
    }
}

/// For each lane a score that at least `n` of its rows reach, near their n-th best; −∞ where it finds none.
///
/// Rows are taken in fours, of which only the best counts: where n of these reach a score, so do n rows. Of up to two the
/// greatest are known; else an interval between the least and the greatest of these is halved eight times, without a branch.
pub fn reached(level: Level, scores: &[[f32; LANES]], n: usize, best: &mut Vec<[f32; 8]>) -> [f32; LANES] {
    dispatch!(level, reached_body(scores: &[[f32; LANES]], n: usize, best: &mut Vec<[f32; 8]>) -> [f32; LANES])
}

/// Eight lanes at a time: over all 32 the loops were vectorized in odd pieces.
#[inline(always)]
fn reached_body(scores: &[[f32; LANES]], n: usize, best: &mut Vec<[f32; 8]>) -> [f32; LANES] {
    let mut found = [f32::NEG_INFINITY; LANES];
    best.resize(scores.len().div_ceil(4), [0.0; 8]);
    for (part, found) in found.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let (mut low, mut high, mut second) = ([f32::INFINITY; 8], [f32::NEG_INFINITY; 8], [f32::NEG_INFINITY; 8]);
        for (rows, best) in scores.chunks(4).zip(&mut *best) {
            let mut most = [f32::NEG_INFINITY; 8];
            for row in rows {
                let scores = &row.as_chunks::<8>().0[part];
                for lane in 0..8 {
                    most[lane] = larger(scores[lane], most[lane]);
                }
            }
            for lane in 0..8 {
                let lower = if most[lane] > high[lane] { high[lane] } else { most[lane] };
                second[lane] = larger(lower, second[lane]);
                high[lane] = larger(most[lane], high[lane]);
                // A lane that may list none of these rows does not lower the start.
                let some = if most[lane] > f32::NEG_INFINITY { most[lane] } else { f32::INFINITY };
                low[lane] = if some < low[lane] { some } else { low[lane] };
            }
            *best = most;
        }
        if n <= 2 {
            *found = if n == 2 { second } else { high };
            continue;
        }
        let mut middle = low;
        for _ in 0..9 {
            let mut counts = [0u32; 8];
            for best in &*best {
                for lane in 0..8 {
                    counts[lane] += u32::from(best[lane] >= middle[lane]);
                }
            }
            for lane in 0..8 {
                let enough = counts[lane] >= n as u32;
                found[lane] = if enough { middle[lane] } else { found[lane] };
                low[lane] = if enough { middle[lane] } else { low[lane] };
                high[lane] = if enough { high[lane] } else { middle[lane] };
                middle[lane] = low[lane] + (high[lane] - low[lane]) * 0.5;
            }
        }
    }
    found
}

/// Calls `take(lane, row, score)` for every score that is at least its lane's threshold, rows in order; it returns the
/// lane's threshold from then on.
pub fn collect(
    level: Level,
    scores: &[[f32; LANES]],
    thresholds: &mut [f32; LANES],
    mut take: impl FnMut(usize, usize, f32) -> f32,
) {
    let mut first = 0;
    while let Some(row) = next_hit(level, scores, thresholds, first) {
        report_row(row, &scores[row], thresholds, &mut take);
        first = row + 1;
    }
}

/// The first row from `first` on with a score that reaches its lane's threshold.
fn next_hit(level: Level, scores: &[[f32; LANES]], thresholds: &[f32; LANES], first: usize) -> Option<usize> {
    dispatch!(level, next_hit_body(
        scores: &[[f32; LANES]], thresholds: &[f32; LANES], first: usize) -> Option<usize>)
}

#[inline(always)]
fn next_hit_body(scores: &[[f32; LANES]], thresholds: &[f32; LANES], first: usize) -> Option<usize> {
    (first..scores.len()).find(|&row| hits(&scores[row], thresholds) != 0)
}

/// A bit for each lane that reaches its threshold.
#[inline(always)]
fn hits(scores: &[f32; LANES], thresholds: &[f32; LANES]) -> u32 {
    (0..LANES).fold(0, |hits, lane| hits | u32::from(scores[lane] >= thresholds[lane]) << lane)
}

/// As [`inner`], for factor attention (see `dot::attentions`): scores in memory, eight rows at a time, since the
/// exponentials cost far more than the comparison. `biases`: one for each row, added last, or none.
pub fn attention(
    level: Level,
    pack: &[f32],
    sharpness: &[f32],
    rows: &[f32],
    biases: &[f32],
    thresholds: &mut [f32; LANES],
    mut reach: impl FnMut(usize, usize, f32) -> f32,
) {
    const ROWS: usize = 8;
    let d = sharpness.len();
    assert!(d > 0 && pack.len() == d * LANES && rows.len().is_multiple_of(d));
    let mut scores = [[0f32; LANES]; ROWS];
    for (tile, rows) in rows.chunks(d * ROWS).enumerate() {
        attention_rows(level, pack, sharpness, rows, &mut scores);
        if let Some(biases) = biases.get(tile * ROWS..) {
            for (scores, bias) in scores.iter_mut().zip(biases) {
                for score in scores {
                    *score += bias;
                }
            }
        }
        report_hits(tile * ROWS, &scores[..rows.len() / d], thresholds, &mut reach);
    }
}

fn attention_rows(level: Level, pack: &[f32], sharpness: &[f32], rows: &[f32], scores: &mut [[f32; LANES]]) {
    dispatch!(level, attention_body(pack: &[f32], sharpness: &[f32], rows: &[f32], scores: &mut [[f32; LANES]]));
}

#[inline(always)]
fn attention_body(pack: &[f32], sharpness: &[f32], rows: &[f32], scores: &mut [[f32; LANES]]) {
    let d = sharpness.len();
    // Arrays of known length: with iterators over slices the loops keep a scalar tail where nothing is inlined across units.
    let pack = pack.as_chunks::<LANES>().0;
    for (row, scores) in rows.chunks_exact(d).zip(scores) {
        // 1. The highest logit of each lane, eight lanes at a time: over all 32 the loop was vectorized in odd pieces.
        let mut highest = [f32::NEG_INFINITY; LANES];
        for (part, highest) in highest.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            for k in 0..d {
                let (q, s, users) = (row[k], sharpness[k], &pack[k].as_chunks::<8>().0[part]);
                for lane in 0..8 {
                    let logit = s * (users[lane] * q);
                    highest[lane] = if logit > highest[lane] { logit } else { highest[lane] };
                }
            }
        }
        // 2. Both sums.
        let (mut upper, mut lower) = ([0f32; LANES], [0f32; LANES]);
        for k in 0..d {
            let (q, s, users) = (row[k], sharpness[k], &pack[k]);
            for lane in 0..LANES {
                let product = users[lane] * q;
                let e = exp_body(s * product - highest[lane]);
                lower[lane] += e;
                upper[lane] = e.mul_add(product, upper[lane]);
            }
        }
        for lane in 0..LANES {
            scores[lane] = upper[lane] / lower[lane];
        }
    }
}

/// Reports every score that reaches its lane's threshold, rows in order.
#[inline(always)]
fn report_hits(
    first: usize,
    scores: &[[f32; LANES]],
    thresholds: &mut [f32; LANES],
    reach: &mut impl FnMut(usize, usize, f32) -> f32,
) {
    for (row, scores) in scores.iter().enumerate() {
        report_row(first + row, scores, thresholds, reach);
    }
}

/// Those of one row.
#[inline(always)]
fn report_row(
    row: usize,
    scores: &[f32; LANES],
    thresholds: &mut [f32; LANES],
    reach: &mut impl FnMut(usize, usize, f32) -> f32,
) {
    let mut hits = hits(scores, thresholds);
    while hits != 0 {
        let lane = hits.trailing_zeros() as usize;
        thresholds[lane] = reach(lane, row, scores[lane]);
        hits &= hits - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn products_are_the_chains_and_hits_are_those_of_the_thresholds() {
        let draws = Stream::new(7, 1);
        for (d, n_rows) in [(1, 1), (3, 5), (16, 6), (17, 25), (64, 13)] {
            let users: Vec<Vec<f32>> =
                (0..29).map(|u| (0..d).map(|k| draws.normal((u * d + k) as u64)).collect()).collect();
            let rows: Vec<f32> = (0..n_rows * d).map(|at| draws.normal(100_000 + at as u64)).collect();
            let mut packed = Vec::new();
            pack(users.iter().map(Vec::as_slice), d, &mut packed);
            let chain = |lane: usize, row: usize| {
                users
                    .get(lane)
                    .map_or(0.0, |user| user.iter().zip(&rows[row * d..]).fold(0f32, |sum, (p, q)| p.mul_add(*q, sum)))
            };
            for level in Level::available() {
                let mut scores = vec![[f32::NAN; LANES]; n_rows];
                products(level, &packed, &rows, d, &mut scores);
                for (row, scores) in scores.iter().enumerate() {
                    for (lane, score) in scores.iter().enumerate() {
                        assert_eq!(*score, chain(lane, row), "{} {d} {row} {lane}", level.name());
                    }
                }
                let least: [f32; LANES] =
                    std::array::from_fn(|lane| if lane < 29 { lane as f32 / 9.0 } else { f32::INFINITY });
                let wanted: Vec<_> = (0..n_rows)
                    .flat_map(|row| (0..LANES).map(move |lane| (lane, row)))
                    .filter(|&(lane, row)| chain(lane, row) >= least[lane])
                    .collect();
                let (mut found, mut collected) = (Vec::new(), Vec::new());
                inner(level, &packed, &rows, d, &mut least.clone(), |lane, row, _| {
                    found.push((lane, row));
                    least[lane]
                });
                collect(level, &scores, &mut least.clone(), |lane, row, _| {
                    collected.push((lane, row));
                    least[lane]
                });
                found.sort_by_key(|&(lane, row)| (row, lane));
                assert_eq!((&found, &collected), (&wanted, &wanted), "{} {d} {n_rows}", level.name());
            }
        }
    }

    #[test]
    fn n_rows_reach_what_is_reached_and_not_many_more_do() {
        let draws = Stream::new(7, 2);
        for (n_rows, n) in [(1, 1), (5, 1), (5, 2), (100, 2), (64, 10), (256, 10), (832, 100), (256, 60)] {
            // Some rows may not be listed; in the last lane none may.
            let barred = |lane: usize, row: usize| lane == 31 || draws.below((row * 32 + lane) as u64, 9) == 0;
            let scores: Vec<[f32; LANES]> = (0..n_rows)
                .map(|row| {
                    std::array::from_fn(|lane| {
                        if barred(lane, row) { f32::NEG_INFINITY } else { draws.normal((row * 32 + lane) as u64) }
                    })
                })
                .collect();
            let truth = reached(Level::Scalar, &scores, n, &mut Vec::new());
            for level in Level::available() {
                assert_eq!(reached(level, &scores, n, &mut vec![[9.0; 8]; 3]), truth, "{}", level.name());
            }
            for (lane, &least) in truth.iter().enumerate() {
                let reach = scores.iter().filter(|row| row[lane] >= least).count();
                assert!(least == f32::NEG_INFINITY || reach >= n, "{n_rows} {n} {lane}: {least} by {reach}");
                let fours =
                    scores.chunks(4).filter(|rows| rows.iter().any(|row| row[lane] > f32::NEG_INFINITY)).count();
                assert_eq!(least > f32::NEG_INFINITY, fours >= n, "{n_rows} {n} {lane}");
                assert!(fours < 4 * n || reach <= 2 * n + 2, "{n_rows} {n} {lane}: {reach}");
            }
        }
    }
}
