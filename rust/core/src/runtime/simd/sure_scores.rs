//! Scores that many items are sure to reach, and the n-th best of them.

use super::level::Level;

/// What items are sure to score at least, in units of a user's scale: many items share a place, which holds their best.
#[derive(Debug, Default, PartialEq)]
pub struct SureScores {
    /// [user][place].
    scores: Vec<f32>,
    per_user: usize,
    blocks_per_place: usize,
}

/// Places of some blocks.
const LANES: usize = 16;

/// Most blocks that share places.
const MAX_SHARED: usize = 16;

impl SureScores {
    /// Makes room for `n_users` and `n_blocks`, with at least `n` places as far as there are so many.
    pub fn reset(&mut self, n_users: usize, n_blocks: usize, n: usize) {
        self.blocks_per_place = MAX_SHARED;
        while self.blocks_per_place > 1 && n_blocks / self.blocks_per_place * LANES < n {
            self.blocks_per_place /= 2;
        }
        self.per_user = n_blocks.div_ceil(self.blocks_per_place) * LANES;
        self.scores.clear();
        self.scores.resize(n_users * self.per_user, f32::NEG_INFINITY);
    }

    /// Those of a user that the items of a block share.
    #[inline(always)]
    pub fn places(&mut self, user: usize, block: usize) -> &mut [f32; LANES] {
        let from = user * self.per_user + block / self.blocks_per_place * LANES;
        self.scores[from..].first_chunk_mut().expect("`reset` made room")
    }

    /// What `n` places of a user reach at least, near the most of which that is true; −∞ where there are fewer.
    pub fn nth(&self, level: Level, user: usize, n: usize) -> f32 {
        let scores = &self.scores[user * self.per_user..(user + 1) * self.per_user];
        dispatch!(level, nth_largest(scores: &[f32], n: usize) -> f32)
    }
}

/// Halves the interval between the least and the greatest.
#[inline(always)]
fn nth_largest(scores: &[f32], n: usize) -> f32 {
    const STEPS: usize = 12;
    let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for scores in scores.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let score = scores[lane];
            high[lane] = if score > high[lane] { score } else { high[lane] };
            let some = if score > f32::NEG_INFINITY { score } else { f32::INFINITY };
            low[lane] = if some < low[lane] { some } else { low[lane] };
        }
    }
    let (mut low, mut high) =
        (low.into_iter().fold(f32::INFINITY, f32::min), high.into_iter().fold(f32::NEG_INFINITY, f32::max));
    let (mut found, mut middle) = (f32::NEG_INFINITY, low);
    for _ in 0..STEPS {
        let mut counts = [0u32; LANES];
        for scores in scores.as_chunks::<LANES>().0 {
            for lane in 0..LANES {
                counts[lane] += u32::from(scores[lane] >= middle);
            }
        }
        if counts.iter().sum::<u32>() as usize >= n {
            (found, low) = (middle, middle);
        } else {
            high = middle;
        }
        middle = low + (high - low) * 0.5;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn n_places_reach_the_nth_and_not_many_more() {
        let draws = Stream::new(3, 1);
        for (n_blocks, n) in [(1, 4), (40, 100), (640, 130)] {
            let mut sure = SureScores::default();
            sure.reset(2, n_blocks, n);
            let mut all = Vec::new();
            for (at, block) in (0..n_blocks).enumerate() {
                for (lane, place) in sure.places(1, block).iter_mut().enumerate() {
                    let score = draws.normal((at * 16 + lane) as u64);
                    *place = place.max(score);
                }
            }
            all.extend_from_slice(&sure.scores[sure.per_user..]);
            assert!(all.len() >= n.min(16 * n_blocks) && sure.nth(Level::Scalar, 0, 1) == f32::NEG_INFINITY);
            for level in Level::available() {
                let found = sure.nth(level, 1, n);
                assert_eq!(found, sure.nth(Level::Scalar, 1, n), "{}", level.name());
                let reached = all.iter().filter(|&&score| score >= found).count();
                assert!((n..=n + n / 4).contains(&reached), "{} {n_blocks} {n}: {reached}", level.name());
                assert_eq!(sure.nth(level, 1, all.len() + 1), f32::NEG_INFINITY);
            }
        }
    }
}
