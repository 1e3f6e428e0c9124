//! How far a ranking has to go, in view of one before it of the same row.
//!
//! What rules need of a second ranking is often little: of boosted items those alone that their factor could lift into the
//! list, and of wanted ones none where the list holds enough of them. The first ranking says which scores that are, and the
//! search for the second starts from there. Its *floor* tells what is left out: items that score less may be missing. It
//! is a guess in favor of speed, and no proof: whoever makes lists of these compares with the floor (see `arrange`).

use super::key::{Best, position_of};
use super::query::EligibleItems;

/// What of a ranking is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Extent {
    /// Its first items, whatever they score.
    #[default]
    Full,
    /// Of these, the ones that a factor of at least 1 could lift to the last of ranking `of`.
    Lifted {
        /// The place of the other ranking.
        of: usize,
        /// The factor; see `arrange` for what it does to a score.
        factor: f64,
    },
    /// None, where the first `within` of ranking `of` hold `count` of the items that may be in this one.
    Missing {
        /// The place of the other ranking.
        of: usize,
        /// How many of its first items count.
        within: usize,
        /// How many of them suffice.
        count: usize,
    },
}

impl Extent {
    /// The place of the ranking that this depends on.
    pub fn of(self) -> Option<usize> {
        match self {
            Self::Full => None,
            Self::Lifted { of, .. } | Self::Missing { of, .. } => Some(of),
        }
    }

    /// The score below which items of a row are not needed; ∞: none are, −∞: all. `best_of` gives what was found so far for
    /// another ranking of the row: the floor only rises while that grows.
    pub fn floor<'b>(self, eligible: &EligibleItems, best_of: impl FnOnce(usize) -> &'b mut Best) -> f32 {
        let Some(best) = self.of().map(best_of).filter(|best| best.is_full()) else { return f32::NEG_INFINITY };
        match self {
            Self::Full => f32::NEG_INFINITY,
            Self::Lifted { factor, .. } => lowered(best.threshold(), factor),
            Self::Missing { within, count, .. } => {
                let first = best.sorted().iter().take(within);
                let held = first.filter(|&&key| eligible.contains(position_of(key))).count();
                if held >= count { f32::INFINITY } else { f32::NEG_INFINITY }
            }
        }
    }
}

/// A little below what becomes `score` by the factor, so that what is below does not become it by rounding; ∞ stays, as
/// where the other ranking is left out.
fn lowered(score: f32, factor: f64) -> f32 {
    const ROOM: f64 = 1e-6;
    if score == f32::INFINITY {
        return score;
    }
    let score = f64::from(score);
    let low = if score >= 0.0 { score / factor * (1.0 - ROOM) } else { score * factor * (1.0 + ROOM) };
    ((low - f64::from(f32::MIN_POSITIVE)) as f32).next_down()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::key::key;

    fn best(n: usize, scores: &[f32]) -> Best {
        let mut best = Best::default();
        best.reset(n);
        for (item, &score) in scores.iter().enumerate() {
            best.offer(key(score, item as u32));
        }
        best
    }

    #[test]
    fn the_floor_is_what_a_factor_lifts_to_the_last_score() {
        let eligible = EligibleItems { bits: None, count: 9 };
        for (last, low) in [(3.0, 2.0), (-3.0, -4.5), (0.0, 0.0), (f32::INFINITY, f32::INFINITY)] {
            let mut found = best(2, &[last, f32::INFINITY]);
            let floor = Extent::Lifted { of: 0, factor: 1.5 }.floor(&eligible, |_| &mut found);
            assert!(floor <= low && (low - floor <= 1e-5 || low == floor), "{last} {floor}");
        }
        // A ranking that is not full has no last item yet.
        let mut found = best(3, &[1.0; 2]);
        assert_eq!(Extent::Lifted { of: 0, factor: 1.5 }.floor(&eligible, |_| &mut found), f32::NEG_INFINITY);
    }

    #[test]
    fn nothing_is_missing_where_the_first_hold_enough() {
        let eligible = EligibleItems { bits: Some(vec![0b101]), count: 2 };
        let mut found = best(3, &[3.0, 2.0, 1.0]);
        for (within, count, floor) in
            [(3, 2, f32::INFINITY), (2, 2, f32::NEG_INFINITY), (2, 1, f32::INFINITY), (3, 3, f32::NEG_INFINITY)]
        {
            assert_eq!(Extent::Missing { of: 0, within, count }.floor(&eligible, |_| &mut found), floor);
        }
    }
}
