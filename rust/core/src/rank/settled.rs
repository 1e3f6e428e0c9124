//! Which of the items that a history adds to are in a list already, and what the others still need.
//!
//! Once every neighbor whose sum is at least s has been offered to a list, whose threshold is t, any other item's sum is
//! below s, or 0 where the history adds nothing. So it has to have a dense part of t − max(s, 0) to enter: what no bound of a
//! dense part lets in is settled, without a look at its sum.

/// What of a list's neighbors is settled: those whose sum is at least this, and what is left out of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settled {
    from: f32,
}

impl Settled {
    /// All neighbors.
    pub const ALL: Self = Self { from: f32::NEG_INFINITY };

    /// Those whose sum is at least `from`.
    pub fn from_sum(from: f32) -> Self {
        Self { from }
    }

    /// Whether that holds for an item with this sum.
    #[inline]
    pub fn holds(self, sum: f32) -> bool {
        sum >= self.from
    }

    /// The greatest sum for which that does not hold.
    pub fn open_up_to(self) -> f32 {
        self.from.next_down()
    }

    /// An item that is not settled enters a list with this threshold only if its dense part is at least this. A little less
    /// than the difference, so that what is below does not reach the threshold by rounding either.
    #[inline]
    pub fn dense_threshold(self, threshold: f32) -> f32 {
        const ROOM: f64 = 1.0 / (1 << 22) as f64;
        if self.from <= 0.0 || threshold == f32::NEG_INFINITY {
            return threshold;
        }
        let (threshold, from) = (f64::from(threshold), f64::from(self.from));
        ((threshold - from - (threshold.abs() + from) * ROOM) as f32).next_down()
    }
}

impl Default for Settled {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_below_reaches_the_threshold() {
        let sums = [f32::MIN_POSITIVE, 1e-42, 0.1, 1.0, 3.7, 1e8, 3e38];
        for threshold in [0.0, 1e-45, -1e-45, 1.0, -1.0, 4.75, 0.1, 1e-38, -3e38, 3e38] {
            for from in sums {
                let least = Settled::from_sum(from).dense_threshold(threshold);
                let most = least.next_down() + from.next_down();
                assert!(most < threshold || least == f32::NEG_INFINITY, "{threshold} {from} {least} {most}");
                assert!(least <= threshold);
                let near = f64::from(threshold) - f64::from(from);
                assert!(
                    least == f32::NEG_INFINITY
                        || near - f64::from(least) <= 1e-6 * (f64::from(threshold).abs() + f64::from(from)) + 1e-44
                );
            }
        }
    }

    #[test]
    fn without_sums_above_zero_the_dense_part_is_all() {
        for settled in [Settled::ALL, Settled::from_sum(0.0), Settled::from_sum(-2.0)] {
            assert_eq!(settled.dense_threshold(1.5), 1.5);
        }
        assert_eq!(Settled::from_sum(3.0).dense_threshold(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(Settled::ALL.holds(-7.0) && Settled::from_sum(3.0).holds(f32::INFINITY));
        assert!(!Settled::from_sum(3.0).holds(2.9) && !Settled::from_sum(3.0).holds(f32::NAN));
    }
}
