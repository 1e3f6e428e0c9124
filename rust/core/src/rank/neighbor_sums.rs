//! The sparse part of a score: what the items of a history add to their neighbors.
//!
//! ```text
//! sparse(u, i) = fma chain over the history items j of u, ascending, of w_uj c_ji, started at 0
//! ```

use crate::data::Csr;
use crate::runtime::simd::{Level, dot, vector};

/// The item-item weights: row j is what a purchase of j adds to others.
pub enum Neighbors {
    /// Few items a row.
    Sparse(Csr),
    /// All items a row, `n_items` × `n_items`.
    Dense {
        /// Row by row.
        weights: Vec<f32>,
        /// Numbers of a row, and rows.
        n_items: usize,
    },
}

impl Neighbors {
    /// The sources.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Sparse(rows) => rows.n_rows(),
            Self::Dense { n_items, .. } => *n_items,
        }
    }

    /// The items.
    pub fn n_columns(&self) -> usize {
        match self {
            Self::Sparse(rows) => rows.n_columns(),
            Self::Dense { n_items, .. } => *n_items,
        }
    }
}

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
    pub fn sum_history(&mut self, level: Level, neighbors: &Neighbors, history: &[u32], weights: &[f32]) {
        self.clear();
        if self.sums.len() < neighbors.n_columns() {
            self.sums = vec![0.0; neighbors.n_columns()];
            self.marks = vec![0; neighbors.n_columns().div_ceil(64)];
        }
        let neighbors = match neighbors {
            Neighbors::Sparse(rows) => rows,
            Neighbors::Dense { weights: rows, n_items } => {
                for (&source, &weight) in history.iter().zip(weights) {
                    let row = &rows[source as usize * n_items..][..*n_items];
                    vector::axpy(level, weight, row, &mut self.sums[..*n_items]);
                }
                if !history.is_empty() {
                    self.items.extend(0..*n_items as u32);
                    self.items.iter().for_each(|&item| self.marks[item as usize / 64] |= 1 << (item % 64));
                }
                return;
            }
        };
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
        let neighbors = Neighbors::Sparse(neighbors);
        let mut sums = NeighborSums::default();
        sums.sum_history(Level::Scalar, &neighbors, &[0, 2], &[1.0, 0.25]);
        assert_eq!(sums.items(), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|i| sums.sum(i)), [0.75, 0.5, 1.75]);
        sums.sum_history(Level::Scalar, &neighbors, &[1], &[1.0]);
        assert!(sums.items().is_empty());
        assert_eq!(sums.sum(2), 0.0);
    }
    #[test]
    fn dense_rows_give_the_bits_of_sparse_ones_that_name_every_item() {
        let (n, draws) = (70, crate::runtime::rng::Stream::new(2, 0));
        let weights: Vec<f32> = (0..n * n).map(|at| draws.normal(at as u64)).collect();
        let columns = (0..n * n).map(|at| (at % n) as u32).collect();
        let rows = Csr::new((0..=n).map(|row| row * n).collect(), columns, weights.clone(), n).unwrap();
        let both = [Neighbors::Sparse(rows), Neighbors::Dense { weights, n_items: n }];
        for level in Level::available() {
            for (history, weights) in [(&[][..], &[][..]), (&[3, 8, 69][..], &[1.0, 0.3, 2.0][..])] {
                let [sparse, dense] = both.each_ref().map(|neighbors| {
                    let mut sums = NeighborSums::default();
                    sums.sum_history(level, neighbors, history, weights);
                    ((0..n as u32).map(|i| (sums.contains(i), sums.sum(i))).collect::<Vec<_>>(), sums.items().to_vec())
                });
                assert_eq!(sparse, dense);
            }
        }
    }
}
