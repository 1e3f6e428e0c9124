//! The one total order of a list, as one integer: a greater key is a better rank.

/// A score and a position as one key: score descending, then position ascending. −0 becomes 0, NaN becomes −∞.
#[inline]
pub fn key(score: f32, position: u32) -> u64 {
    let cleaned = if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
    let bits = cleaned.to_bits();
    // Negative numbers: all bits inverted; others: above all negative ones.
    let ordered = bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000);
    (u64::from(ordered) << 32) | u64::from(!position)
}

/// The score inside a key.
#[inline]
pub fn score_of(key: u64) -> f32 {
    let ordered = (key >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered ^ 0x8000_0000 } else { !ordered })
}

/// The position inside a key.
#[inline]
pub fn position_of(key: u64) -> u32 {
    !(key as u32)
}

/// Up to this length a list is kept sorted; a longer one collects keys and is cut down when its memory is full.
const MAX_SORTED: usize = 64;

/// The best `n` of what was offered so far.
#[derive(Clone, Debug, Default)]
pub struct Best {
    n: usize,
    capacity: usize,
    keys: Vec<u64>,
    /// The n-th best key; 0 while there are fewer.
    cutoff: u64,
}

impl Best {
    /// Empties the list; its memory is kept.
    pub fn reset(&mut self, n: usize) {
        self.n = n;
        self.capacity = if n <= MAX_SORTED { n } else { n + (n / 2).max(32) };
        self.keys.clear();
        self.cutoff = 0;
    }

    /// From now on no score below `floor` enters.
    pub fn raise(&mut self, floor: f32) {
        if floor > f32::NEG_INFINITY {
            self.cutoff = self.cutoff.max(key(floor, u32::MAX));
        }
    }

    /// Length of a full list.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Whether a key must reach something: there are `n` of them, or a floor was set.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.cutoff > 0
    }

    /// Takes a key if it can be among the best `n`.
    #[inline]
    pub fn offer(&mut self, key: u64) {
        if key > self.cutoff {
            self.insert(key);
        }
    }

    /// Whether a key could be among the best `n`.
    #[inline]
    pub fn accepts(&self, key: u64) -> bool {
        key > self.cutoff
    }

    #[inline(never)]
    fn insert(&mut self, key: u64) {
        if self.n <= MAX_SORTED {
            if self.keys.len() == self.n {
                self.keys.pop();
            }
            let mut at = self.keys.len();
            self.keys.push(key);
            while at > 0 && self.keys[at - 1] < key {
                self.keys[at] = self.keys[at - 1];
                at -= 1;
            }
            self.keys[at] = key;
            if self.keys.len() == self.n {
                self.cutoff = self.cutoff.max(self.keys[self.n - 1]);
            }
            return;
        }
        self.keys.push(key);
        if self.keys.len() >= self.capacity || self.keys.len() == self.n {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.keys.len() >= self.n {
            let (_, &mut cutoff, _) = self.keys.select_nth_unstable_by(self.n - 1, |a, b| b.cmp(a));
            self.keys.truncate(self.n);
            self.cutoff = self.cutoff.max(cutoff);
        }
    }

    /// Raises the threshold to what the n-th best reaches: a long list may lag behind.
    pub fn tighten(&mut self) {
        if self.keys.len() > self.n {
            self.shrink();
        }
    }

    /// No score below this can enter; −∞ while there is room.
    #[inline]
    pub fn threshold(&self) -> f32 {
        if self.cutoff == 0 { f32::NEG_INFINITY } else { score_of(self.cutoff) }
    }

    /// The keys, best first.
    pub fn sorted(&mut self) -> &[u64] {
        if self.n > MAX_SORTED {
            self.shrink();
            self.keys.sort_unstable_by(|a, b| b.cmp(a));
        }
        &self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn keys_order_scores_down_and_positions_up() {
        let scores =
            [f32::INFINITY, f32::MAX, 1.5, f32::MIN_POSITIVE, 1e-45, 0.0, -1e-45, -2.0, f32::MIN, f32::NEG_INFINITY];
        for (place, &score) in scores.iter().enumerate() {
            assert_eq!((score_of(key(score, 7)), position_of(key(score, 7))), (score, 7));
            assert!(key(score, 3) > key(score, 4));
            assert!(key(score, u32::MAX) > 0);
            if let Some(&next) = scores.get(place + 1) {
                assert!(key(score, u32::MAX - 1) > key(next, 0), "{score} {next}");
            }
        }
        assert_eq!(key(-0.0, 1), key(0.0, 1));
        assert_eq!(key(f32::NAN, 1), key(f32::NEG_INFINITY, 1));
    }

    #[test]
    fn the_best_are_those_of_a_full_sort() {
        for (n, m) in [(1, 1), (1, 50), (10, 5), (10, 500), (64, 1000), (65, 1000), (100, 99), (100, 5000)] {
            let draws = Stream::new(n as u64, m);
            let offered: Vec<u64> = (0..m).map(|i| key(draws.below(i, 40) as f32 - 20.0, i as u32)).collect();
            let mut best = Best::default();
            best.reset(n);
            for &k in &offered {
                best.offer(k);
            }
            let mut all = offered;
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.truncate(n);
            assert_eq!(best.sorted(), all, "{n} {m}");
        }
    }
}
