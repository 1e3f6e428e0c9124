//! What steps over sampled purchases have in common: items drawn against them, and which rows of a table a batch uses.

use crate::runtime::rng::Stream;

/// Draws for one negative: who has nearly everything gets fewer.
const MAX_DRAWS: u64 = 16;

/// An item that is not in `history`, the one with this number among these draws; `None` where none was found.
pub fn draw_negative(draws: Stream, number: u64, n_items: usize, history: &[u32]) -> Option<u32> {
    (0..MAX_DRAWS)
        .map(|attempt| draws.below(number * MAX_DRAWS + attempt, n_items as u64) as u32)
        .find(|item| history.binary_search(item).is_err())
}

/// The rows that a batch uses, ascending, each with the places of its gradients, ascending: each row's are then added up by
/// themselves, in order.
#[derive(Default)]
pub struct Places {
    keys: Vec<u64>,
    /// The distinct rows.
    pub rows: Vec<u32>,
    offsets: Vec<usize>,
    of_rows: Vec<u32>,
}

impl Places {
    /// From the row of each place.
    pub fn fill(&mut self, rows: &[u32]) {
        self.keys.clear();
        self.keys.extend(rows.iter().enumerate().map(|(place, &row)| u64::from(row) << 32 | place as u64));
        self.keys.sort_unstable();
        self.rows.clear();
        self.offsets.clear();
        self.of_rows.clear();
        for (at, &key) in self.keys.iter().enumerate() {
            let row = (key >> 32) as u32;
            if self.rows.last() != Some(&row) {
                self.rows.push(row);
                self.offsets.push(at);
            }
            self.of_rows.push(key as u32);
        }
        self.offsets.push(self.keys.len());
    }

    /// The places of the row at `at` in `rows`.
    pub fn of(&self, at: usize) -> &[u32] {
        &self.of_rows[self.offsets[at]..self.offsets[at + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_not_in_the_history_and_all_else_is_drawn_alike() {
        let (draws, history) = (Stream::new(1, 1), [0, 3]);
        let mut counts = [0usize; 5];
        for number in 0..3000 {
            counts[draw_negative(draws, number, 5, &history).unwrap() as usize] += 1;
        }
        assert_eq!((counts[0], counts[3]), (0, 0));
        assert!([1, 2, 4].into_iter().all(|item| counts[item].abs_diff(1000) < 120), "{counts:?}");
        assert_eq!(draw_negative(draws, 0, 2, &[0, 1]), None);
    }

    #[test]
    fn every_place_stands_with_its_row_in_order() {
        let mut places = Places::default();
        for rows in [vec![5, 2, 5, 0, 2, 5], vec![], vec![3]] {
            places.fill(&rows);
            assert!(places.rows.is_sorted() && places.rows.windows(2).all(|pair| pair[0] != pair[1]));
            let mut found = vec![u32::MAX; rows.len()];
            for (at, &row) in places.rows.iter().enumerate() {
                assert!(places.of(at).is_sorted());
                for &place in places.of(at) {
                    found[place as usize] = row;
                }
            }
            assert_eq!(found, rows);
        }
    }
}
