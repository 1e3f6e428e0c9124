//! The sparse part of a score: what the items of a history add to their neighbors.
//!
//! ```text
//! sparse(u, i) = fma chain over the history items j of u, ascending, of w_uj c_ji, started at 0
//! ```

use crate::data::Csr;
use crate::runtime::simd::{Level, dot};

/// Sums over the neighbors of one history, in memory that is kept from user to user.
#[derive(Default)]
pub struct NeighborSums {
    sums: Vec<f32>,
    /// A bit for each item that a neighbor row of the history names.
    marks: Vec<u64>,
    /// The same items, ascending.
    items: Vec<u32>,
}

impl NeighborSums {
    /// Adds up `weights[at] · neighbors[history[at]]` for every item that a neighbor row names. `history` rises, so the
    /// chain of an item runs over its sources in ascending order.
    pub fn sum_history(&mut self, level: Level, neighbors: &Csr, history: &[u32], weights: &[f32]) {
        self.clear();
        if self.sums.len() < neighbors.n_columns() {
            self.sums = vec![0.0; neighbors.n_columns()];
            self.marks = vec![0; neighbors.n_columns().div_ceil(64)];
        }
        for (&source, &weight) in history.iter().zip(weights) {
            let source = source as usize;
            let (items, values) = (neighbors.row(source), neighbors.row_values(source));
            dot::scatter(level, weight, items, values, &mut self.sums, &mut self.marks);
        }
        for (word, &marks) in self.marks.iter().enumerate() {
            let mut left = marks;
            while left != 0 {
                self.items.push(word as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }

    /// Sets all sums to 0; the memory is kept.
    pub fn clear(&mut self) {
        for &item in &self.items {
            self.sums[item as usize] = 0.0;
            self.marks[item as usize / 64] = 0;
        }
        self.items.clear();
    }

    /// The items that a neighbor row of the history names, ascending.
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Whether an item is among them.
    pub fn contains(&self, item: u32) -> bool {
        self.marks.get(item as usize / 64).is_some_and(|marks| marks >> (item % 64) & 1 == 1)
    }

    /// The sum of an item; 0 where the history adds nothing.
    pub fn sum(&self, item: u32) -> f32 {
        self.sums.get(item as usize).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_run_over_the_history_and_are_forgotten() {
        let neighbors = Csr::new(vec![0, 2, 2, 4], vec![1, 2, 0, 2], vec![0.5, 2.0, 3.0, -1.0], 3).unwrap();
        let mut sums = NeighborSums::default();
        sums.sum_history(Level::Scalar, &neighbors, &[0, 2], &[1.0, 0.25]);
        assert_eq!(sums.items(), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|i| sums.sum(i)), [0.75, 0.5, 1.75]);
        sums.sum_history(Level::Scalar, &neighbors, &[1], &[1.0]);
        assert!(sums.items().is_empty());
        assert_eq!(sums.sum(2), 0.0);
    }
}
