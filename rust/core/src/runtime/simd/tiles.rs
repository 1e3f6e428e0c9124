//! Scores of 32 users × many items in registers, with the comparison fused in.
//!
//! Users are the lanes, packed as [factor][32]; items stay row-major and are broadcast, so each score owns a lane and its
//! chain runs in order of k. After a tile, the maximum over its rows is compared once with the users' thresholds; masks
//! are taken out only where something reaches one. Packing items into panels gained nothing.

use super::Level;
use super::exp::exp_body;

/// Users in one pack.
pub const LANES: usize = 32;

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

/// Calls `reach(lane, row, score)` for every score that is at least its lane's threshold, rows in order; it returns the lane's
/// threshold from then on. `rows`: row-major, `d` numbers each. Lanes with the threshold ∞ stay silent. No score may overflow.
pub fn inner(
    level: Level,
    pack: &[f32],
    rows: &[f32],
    d: usize,
    thresholds: &mut [f32; LANES],
    reach: impl FnMut(usize, usize, f32) -> f32,
) {
    assert!(d > 0 && pack.len() == d * LANES && rows.len().is_multiple_of(d));
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features; the lengths were checked above.
        Level::Avx512 => unsafe { x86::inner_avx512(pack, rows, d, thresholds, reach) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::inner_avx2(pack, rows, d, thresholds, reach) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => neon::inner_neon(pack, rows, d, thresholds, reach),
        Level::Scalar => inner_plain(level, pack, rows, d, thresholds, reach),
    }
}

/// Rows whose scores the plain kernels hold at once.
const PLAIN_ROWS: usize = 4;

fn inner_plain(
    level: Level,
    pack: &[f32],
    rows: &[f32],
    d: usize,
    thresholds: &mut [f32; LANES],
    mut reach: impl FnMut(usize, usize, f32) -> f32,
) {
    let mut scores = [0f32; PLAIN_ROWS * LANES];
    for (tile, rows) in rows.chunks(d * PLAIN_ROWS).enumerate() {
        products(level, pack, rows, d, &mut scores);
        compare(tile * PLAIN_ROWS, rows.len() / d, &scores, thresholds, &mut reach);
    }
}

fn products(level: Level, pack: &[f32], rows: &[f32], d: usize, scores: &mut [f32]) {
    dispatch!(level, products_body(pack: &[f32], rows: &[f32], d: usize, scores: &mut [f32]));
}

#[inline(always)]
fn products_body(pack: &[f32], rows: &[f32], d: usize, scores: &mut [f32]) {
    let (pack, scores) = (pack.as_chunks::<LANES>().0, scores.as_chunks_mut::<LANES>().0);
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

/// As [`inner`], for factor attention (see `chains::attentions`): scores in memory, eight rows at a time, since the
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
    let mut scores = [0f32; ROWS * LANES];
    for (tile, rows) in rows.chunks(d * ROWS).enumerate() {
        attention_rows(level, pack, sharpness, rows, &mut scores);
        if let Some(biases) = biases.get(tile * ROWS..) {
            for (scores, bias) in scores.chunks_exact_mut(LANES).zip(biases) {
                for score in scores {
                    *score += bias;
                }
            }
        }
        compare(tile * ROWS, rows.len() / d, &scores, thresholds, &mut reach);
    }
}

fn attention_rows(level: Level, pack: &[f32], sharpness: &[f32], rows: &[f32], scores: &mut [f32]) {
    dispatch!(level, attention_body(pack: &[f32], sharpness: &[f32], rows: &[f32], scores: &mut [f32]));
}

#[inline(always)]
fn attention_body(pack: &[f32], sharpness: &[f32], rows: &[f32], scores: &mut [f32]) {
    let d = sharpness.len();
    // Arrays of known length: with iterators over slices the loops keep a scalar tail where nothing is inlined across units.
    let (pack, scores) = (pack.as_chunks::<LANES>().0, scores.as_chunks_mut::<LANES>().0);
    for (row, scores) in rows.chunks_exact(d).zip(scores) {
        // 1. The highest logit of each lane, eight lanes at a time: over all 32 the loop was vectorised in odd pieces.
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

/// The comparison of scores that lie in memory.
fn compare(
    first: usize,
    n_rows: usize,
    scores: &[f32],
    thresholds: &mut [f32; LANES],
    reach: &mut impl FnMut(usize, usize, f32) -> f32,
) {
    for (row, scores) in scores.chunks_exact(LANES).take(n_rows).enumerate() {
        let hit =
            scores.iter().zip(thresholds.iter()).fold(0, |hits, (score, least)| hits + u32::from(score >= least)) > 0;
        if hit {
            for lane in 0..LANES {
                if scores[lane] >= thresholds[lane] {
                    thresholds[lane] = reach(lane, first + row, scores[lane]);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::LANES;

    /// 12 rows × 32 users: 24 sums, two registers of users, one broadcast.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn inner_avx512(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        thresholds: &mut [f32; LANES],
        mut reach: impl FnMut(usize, usize, f32) -> f32,
    ) {
        let n = rows.len() / d;
        let mut row = 0;
        while row + 12 <= n {
            tile512::<12>(pack, &rows[row * d..(row + 12) * d], d, row, thresholds, &mut reach);
            row += 12;
        }
        while row < n {
            tile512::<1>(pack, &rows[row * d..(row + 1) * d], d, row, thresholds, &mut reach);
            row += 1;
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    fn tile512<const R: usize>(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        first: usize,
        thresholds: &mut [f32; LANES],
        reach: &mut impl FnMut(usize, usize, f32) -> f32,
    ) {
        debug_assert!(rows.len() == R * d && pack.len() == d * LANES);
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for k in 0..d {
            // SAFETY: the callers pass `R` rows of `d` numbers and a pack of `d` × 32.
            let (low, high, start) = unsafe {
                let users = pack.as_ptr().add(k * LANES);
                (_mm512_loadu_ps(users), _mm512_loadu_ps(users.add(16)), rows.as_ptr().add(k))
            };
            for r in 0..R {
                // SAFETY: as above.
                let q = _mm512_set1_ps(unsafe { *start.add(r * d) });
                sums[r][0] = _mm512_fmadd_ps(low, q, sums[r][0]);
                sums[r][1] = _mm512_fmadd_ps(high, q, sums[r][1]);
            }
        }
        for half in 0..2 {
            // SAFETY: 32 thresholds.
            let mut least = unsafe { _mm512_loadu_ps(thresholds.as_ptr().add(half * 16)) };
            let mut most = sums[0][half];
            for r in 1..R {
                most = _mm512_max_ps(most, sums[r][half]);
            }
            if _mm512_cmp_ps_mask::<_CMP_GE_OQ>(most, least) == 0 {
                continue;
            }
            for r in 0..R {
                let mut hits = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(sums[r][half], least);
                if hits == 0 {
                    continue;
                }
                let mut scores = [0f32; 16];
                // SAFETY: 16 scores.
                unsafe { _mm512_storeu_ps(scores.as_mut_ptr(), sums[r][half]) };
                while hits != 0 {
                    let lane = hits.trailing_zeros() as usize;
                    thresholds[half * 16 + lane] = reach(half * 16 + lane, first + r, scores[lane]);
                    hits &= hits - 1;
                }
                // SAFETY: 32 thresholds.
                least = unsafe { _mm512_loadu_ps(thresholds.as_ptr().add(half * 16)) };
            }
        }
    }

    /// Rows of a tile.
    const ROWS256: usize = 6;

    /// 6 rows × 16 users, both halves of the pack in turn: 12 sums, two registers of users, one broadcast.
    #[target_feature(enable = "avx2,fma")]
    pub fn inner_avx2(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        thresholds: &mut [f32; LANES],
        mut reach: impl FnMut(usize, usize, f32) -> f32,
    ) {
        let mut scores = [[0f32; 16]; ROWS256];
        for (tile, rows) in rows.chunks(d * ROWS256).enumerate() {
            for offset in [0, 16] {
                let (least, _) = thresholds[offset..].split_first_chunk::<16>().expect("half a pack has 16 lanes");
                if rows.len() == d * ROWS256 {
                    if tile256::<ROWS256>(pack, rows, d, offset, least, &mut scores) {
                        hits256(&scores, tile * ROWS256, offset, thresholds, &mut reach);
                    }
                } else {
                    for (r, row) in rows.chunks_exact(d).enumerate() {
                        let (least, _) = thresholds[offset..].split_first_chunk::<16>().expect("as above");
                        if tile256::<1>(pack, row, d, offset, least, &mut scores) {
                            hits256(&scores[..1], tile * ROWS256 + r, offset, thresholds, &mut reach);
                        }
                    }
                }
            }
        }
    }

    /// Whether a score of the tile reaches its lane's threshold; the first `R` rows of `scores` hold all of them then.
    ///
    /// A function of its own, never inlined: beside the code that takes hits in, the register allocator kept one of the
    /// sums on the stack, and each step waited for it (24 GFLOP/s in place of 80, Zen 3).
    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    fn tile256<const R: usize>(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        offset: usize,
        least: &[f32; 16],
        scores: &mut [[f32; 16]; ROWS256],
    ) -> bool {
        assert!(R <= ROWS256 && rows.len() == R * d && pack.len() == d * LANES && offset + 16 <= LANES);
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for k in 0..d {
            // SAFETY: checked above: `R` rows of `d` numbers, a pack of `d` × 32, and an offset of at most 16.
            let (low, high, start) = unsafe {
                let users = pack.as_ptr().add(k * LANES + offset);
                (_mm256_loadu_ps(users), _mm256_loadu_ps(users.add(8)), rows.as_ptr().add(k))
            };
            for r in 0..R {
                // SAFETY: as above.
                let q = _mm256_set1_ps(unsafe { *start.add(r * d) });
                sums[r][0] = _mm256_fmadd_ps(low, q, sums[r][0]);
                sums[r][1] = _mm256_fmadd_ps(high, q, sums[r][1]);
            }
        }
        let mut hits = 0;
        for half in 0..2 {
            let mut most = sums[0][half];
            for r in 1..R {
                most = _mm256_max_ps(most, sums[r][half]);
            }
            // SAFETY: 16 thresholds.
            let least = unsafe { _mm256_loadu_ps(least.as_ptr().add(half * 8)) };
            hits |= _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(most, least));
        }
        if hits != 0 {
            for r in 0..R {
                for half in 0..2 {
                    // SAFETY: 16 scores in a row, `R` rows.
                    unsafe { _mm256_storeu_ps(scores[r].as_mut_ptr().add(half * 8), sums[r][half]) };
                }
            }
        }
        hits != 0
    }

    /// Takes in what reaches its lane's threshold, rows in order.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn hits256(
        scores: &[[f32; 16]],
        first: usize,
        offset: usize,
        thresholds: &mut [f32; LANES],
        reach: &mut impl FnMut(usize, usize, f32) -> f32,
    ) {
        assert!(offset + 16 <= LANES);
        for (r, scores) in scores.iter().enumerate() {
            let mut hits = 0;
            for half in 0..2 {
                // SAFETY: 16 scores, and `offset` + 16 ≤ 32 thresholds.
                let reached = unsafe {
                    let least = _mm256_loadu_ps(thresholds.as_ptr().add(offset + half * 8));
                    _mm256_cmp_ps::<_CMP_GE_OQ>(_mm256_loadu_ps(scores.as_ptr().add(half * 8)), least)
                };
                hits |= (_mm256_movemask_ps(reached) as u32) << (half * 8);
            }
            while hits != 0 {
                let lane = hits.trailing_zeros() as usize;
                thresholds[offset + lane] = reach(offset + lane, first + r, scores[lane]);
                hits &= hits - 1;
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    #[allow(clippy::wildcard_imports)]
    use std::arch::aarch64::*;

    use super::LANES;

    /// 6 rows × 16 users, both halves of the pack in turn: 24 sums in 32 registers.
    pub fn inner_neon(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        thresholds: &mut [f32; LANES],
        mut reach: impl FnMut(usize, usize, f32) -> f32,
    ) {
        for (tile, rows) in rows.chunks(d * 6).enumerate() {
            for offset in [0, 16] {
                // SAFETY: NEON is part of every aarch64.
                unsafe {
                    if rows.len() == 6 * d {
                        tile128::<6>(pack, rows, d, tile * 6, offset, thresholds, &mut reach);
                    } else {
                        for (r, row) in rows.chunks_exact(d).enumerate() {
                            tile128::<1>(pack, row, d, tile * 6 + r, offset, thresholds, &mut reach);
                        }
                    }
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn tile128<const R: usize>(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        first: usize,
        offset: usize,
        thresholds: &mut [f32; LANES],
        reach: &mut impl FnMut(usize, usize, f32) -> f32,
    ) {
        debug_assert!(rows.len() == R * d && pack.len() == d * LANES && offset + 16 <= LANES);
        let mut sums = [[vdupq_n_f32(0.0); 4]; R];
        for k in 0..d {
            // SAFETY: the caller passes `R` rows of `d` numbers, a pack of `d` × 32, and 0 or 16 as offset.
            let (users, start) = unsafe {
                let users = pack.as_ptr().add(k * LANES + offset);
                (std::array::from_fn::<_, 4, _>(|part| vld1q_f32(users.add(part * 4))), rows.as_ptr().add(k))
            };
            for r in 0..R {
                // SAFETY: as above.
                let q = vdupq_n_f32(unsafe { *start.add(r * d) });
                for part in 0..4 {
                    sums[r][part] = vfmaq_f32(sums[r][part], users[part], q);
                }
            }
        }
        for r in 0..R {
            for part in 0..4 {
                let lanes = offset + part * 4;
                // SAFETY: `lanes` + 4 ≤ 32 thresholds.
                let least = unsafe { vld1q_f32(thresholds.as_ptr().add(lanes)) };
                if vmaxvq_u32(vcgeq_f32(sums[r][part], least)) == 0 {
                    continue;
                }
                let mut scores = [0f32; 4];
                // SAFETY: 4 scores.
                unsafe { vst1q_f32(scores.as_mut_ptr(), sums[r][part]) };
                for lane in 0..4 {
                    if scores[lane] >= thresholds[lanes + lane] {
                        thresholds[lanes + lane] = reach(lanes + lane, first + r, scores[lane]);
                    }
                }
            }
        }
    }
}
