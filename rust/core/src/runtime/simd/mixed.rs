//! Scores mixed of two parts, `b · sparse + a · dense`, of which those above a threshold are wanted.

use super::level::Level;
use super::vector::LANES;

/// Scores that are looked through together.
pub const BLOCK: usize = 6 * LANES;

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
    /// The score at a place.
    #[inline(always)]
    pub fn score(&self, at: usize) -> f32 {
        self.b[at].mul_add(self.sparse[at], self.a[at] * self.dense[at])
    }
}

/// Where the first block from `from` on begins that has a score above the threshold, or the end; `from` is the beginning
/// of a block. The scores of that block are written; what lies beyond the end is −∞.
pub fn find_above(level: Level, mixed: Mixed<'_>, from: usize, threshold: f32, scores: &mut [f32; BLOCK]) -> usize {
    let Mixed { dense, a, sparse, b } = mixed;
    let n = dense.len();
    assert!(a.len() == n && sparse.len() == n && b.len() == n, "parts of one length");
    dispatch!(level, find_above_body(
        mixed: Mixed<'_>, from: usize, threshold: f32, scores: &mut [f32; BLOCK]) -> usize)
}

#[inline(always)]
fn find_above_body(mixed: Mixed<'_>, from: usize, threshold: f32, scores: &mut [f32; BLOCK]) -> usize {
    let n = mixed.dense.len();
    let mut first = from;
    while first + BLOCK <= n {
        let mut highest = [f32::NEG_INFINITY; LANES];
        for at in (first..first + BLOCK).step_by(LANES) {
            for (highest, score) in highest.iter_mut().zip(lanes(mixed, at)) {
                *highest = if score > *highest { score } else { *highest };
            }
        }
        let above = highest.map(|highest| u32::from(highest > threshold));
        if above.iter().fold(0, |any, above| any | above) != 0 {
            for (to, at) in scores.chunks_exact_mut(LANES).zip((first..).step_by(LANES)) {
                to.copy_from_slice(&lanes(mixed, at));
            }
            return first;
        }
        first += BLOCK;
    }
    if first < n {
        scores.fill(f32::NEG_INFINITY);
        for (score, at) in scores.iter_mut().zip(first..n) {
            *score = mixed.score(at);
        }
        if scores.iter().any(|&score| score > threshold) {
            return first;
        }
    }
    n
}

/// The scores of a register.
#[inline(always)]
fn lanes(mixed: Mixed<'_>, at: usize) -> [f32; LANES] {
    let part = |numbers: &[f32]| -> [f32; LANES] { std::array::from_fn(|lane| numbers[at..at + LANES][lane]) };
    let (dense, a, sparse, b) = (part(mixed.dense), part(mixed.a), part(mixed.sparse), part(mixed.b));
    std::array::from_fn(|lane| b[lane].mul_add(sparse[lane], a[lane] * dense[lane]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_finds_the_blocks_with_a_score_above_the_threshold() {
        let draws = Stream::new(3, 0);
        for n in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 40] {
            let numbers = |at: u64| (0..n as u64).map(|i| draws.sub(at).normal(i)).collect::<Vec<f32>>();
            let (mut dense, a, sparse, b) = (numbers(0), numbers(1), numbers(2), numbers(3));
            dense.iter_mut().step_by(9).for_each(|number| *number = f32::NEG_INFINITY);
            let mixed = Mixed { dense: &dense, a: &a, sparse: &sparse, b: &b };
            for threshold in [f32::NEG_INFINITY, 1.0, 4.0, f32::INFINITY] {
                let truth: Vec<f32> = (0..n).map(|i| b[i].mul_add(sparse[i], a[i] * dense[i])).collect();
                for level in Level::available() {
                    let (mut from, mut scores) = (0, [0.0; BLOCK]);
                    for (first, block) in (0..).step_by(BLOCK).zip(truth.chunks(BLOCK)) {
                        if block.iter().any(|&score| score > threshold) {
                            assert_eq!(find_above(level, mixed, from, threshold, &mut scores), first, "{n}");
                            let found = scores[..block.len()].iter().map(|score| score.to_bits());
                            assert!(found.eq(block.iter().map(|score| score.to_bits())), "{n} {level:?}");
                            assert!(scores[block.len()..].iter().all(|&score| score == f32::NEG_INFINITY));
                            from = first + BLOCK;
                        }
                    }
                    assert_eq!(find_above(level, mixed, from.min(n), threshold, &mut scores), n);
                }
            }
        }
    }
}
