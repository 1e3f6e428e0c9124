//! Scores mixed of two parts, `b · sparse + a · dense`, and how many of them stand above another.

use super::level::Level;
use super::vector::LANES;

/// The parts of the scores of some items, and what they are multiplied with, all of one length.
#[derive(Clone, Copy)]
pub struct Mixed<'a> {
    /// The first part.
    pub dense: &'a [f32],
    /// Its factors.
    pub a: &'a [f32],
    /// The second part.
    pub sparse: &'a [f32],
    /// Its factors.
    pub b: &'a [f32],
}

impl Mixed<'_> {
    /// Writes the scores.
    pub fn write(self, level: Level, scores: &mut [f32]) {
        let n = scores.len();
        let mixed = self;
        let lengths = [mixed.dense.len(), mixed.a.len(), mixed.sparse.len(), mixed.b.len()];
        assert!(lengths == [n; 4], "parts of one length");
        dispatch!(level, write_body(mixed: Mixed<'_>, scores: &mut [f32]));
    }
}

#[inline(always)]
fn write_body(mixed: Mixed<'_>, scores: &mut [f32]) {
    let parts = mixed.dense.iter().zip(mixed.a).zip(mixed.sparse.iter().zip(mixed.b));
    for (score, ((&dense, &a), (&sparse, &b))) in scores.iter_mut().zip(parts) {
        *score = b.mul_add(sparse, a * dense);
    }
}

/// How many scores are greater than `score`, and how many are equal to it; a multiple of `LANES` of them, fewer than 65,536.
pub fn count_from(level: Level, scores: &[f32], score: f32) -> (u32, u32) {
    assert!(scores.len().is_multiple_of(LANES) && scores.len() < 1 << 16, "whole registers");
    let both = match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx512 | Level::Amx => unsafe { x86::avx512(scores, score) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::avx2(scores, score) },
        _ => dispatch!(level, count_from_body(scores: &[f32], score: f32) -> u32),
    };
    (both & 0xffff, both >> 16)
}

/// The equal ones in the upper half of the number, the greater ones in the lower.
#[inline(always)]
fn count_from_body(scores: &[f32], score: f32) -> u32 {
    scores.iter().map(|&other| u32::from(other > score) | u32::from(other == score) << 16).sum()
}

/// The same by registers, which the compiler takes apart at their end: it took three times as long (2026-11-28).
#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn avx512(scores: &[f32], score: f32) -> u32 {
        let (score, one, upper) = (_mm512_set1_ps(score), _mm512_set1_epi32(1), _mm512_set1_epi32(1 << 16));
        let mut both = _mm512_setzero_si512();
        for register in scores.as_chunks::<16>().0 {
            // SAFETY: 16 numbers.
            let others = unsafe { _mm512_loadu_ps(register.as_ptr()) };
            both = _mm512_mask_add_epi32(both, _mm512_cmp_ps_mask::<_CMP_GT_OQ>(others, score), both, one);
            both = _mm512_mask_add_epi32(both, _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(others, score), both, upper);
        }
        _mm512_reduce_add_epi32(both) as u32
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(scores: &[f32], score: f32) -> u32 {
        let (score, upper) = (_mm256_set1_ps(score), _mm256_set1_epi32(1 << 16));
        let mut both = _mm256_setzero_si256();
        for register in scores.as_chunks::<8>().0 {
            // SAFETY: 8 numbers.
            let others = unsafe { _mm256_loadu_ps(register.as_ptr()) };
            // All bits where it is true, which is -1.
            both = _mm256_sub_epi32(both, _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(others, score)));
            let equal = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_EQ_OQ>(others, score));
            both = _mm256_add_epi32(both, _mm256_and_si256(equal, upper));
        }
        let mut lanes = [0u32; 8];
        // SAFETY: 8 numbers.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), both) };
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_mixes_and_counts_alike() {
        let draws = Stream::new(3, 0);
        for n in [0, 1, LANES - 1, LANES, LANES + 1, 3 * LANES + 40] {
            // Few different numbers, so that many scores are equal.
            let numbers = |at: u64| (0..n as u64).map(|i| draws.sub(at).below(i, 5) as f32 - 1.7).collect::<Vec<f32>>();
            let (mut dense, a, sparse, b) = (numbers(0), vec![1.3f32; n], numbers(2), vec![0.7f32; n]);
            dense.iter_mut().step_by(9).for_each(|number| *number = f32::NEG_INFINITY);
            let truth: Vec<f32> = (0..n).map(|i| b[i].mul_add(sparse[i], a[i] * dense[i])).collect();
            for level in Level::available() {
                let mut scores = vec![0.0; n];
                Mixed { dense: &dense, a: &a, sparse: &sparse, b: &b }.write(level, &mut scores);
                assert!(scores.iter().map(|score| score.to_bits()).eq(truth.iter().map(|score| score.to_bits())));
                let whole = &truth[..n / LANES * LANES];
                for &score in whole {
                    let greater = whole.iter().filter(|&&other| other > score).count();
                    let equal = whole.iter().filter(|&&other| other == score).count();
                    assert_eq!(count_from(level, whole, score), (greater as u32, equal as u32), "{n} {level:?}");
                }
            }
        }
    }
}
