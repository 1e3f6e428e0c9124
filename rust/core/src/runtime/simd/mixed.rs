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

/// How many scores are greater than `score`, and how many are equal to it; a multiple of `LANES` of them.
pub fn count_from(level: Level, scores: &[f32], score: f32) -> (u32, u32) {
    assert!(scores.len().is_multiple_of(LANES), "whole registers");
    dispatch!(level, count_from_body(scores: &[f32], score: f32) -> (u32, u32))
}

#[inline(always)]
fn count_from_body(scores: &[f32], score: f32) -> (u32, u32) {
    let (mut greater, mut equal) = ([0u32; LANES], [0u32; LANES]);
    for register in scores.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            greater[lane] += u32::from(register[lane] > score);
            equal[lane] += u32::from(register[lane] == score);
        }
    }
    (greater.iter().sum(), equal.iter().sum())
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
