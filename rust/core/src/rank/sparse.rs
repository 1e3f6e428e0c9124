//! The sparse part of a score: what the items of a history add to their neighbours.

use crate::data::Csr;
use crate::runtime::simd::{Level, chains};

/// Sums over the neighbours of one history, in memory that is kept from user to user.
#[derive(Default)]
pub struct Touched {
    sums: Vec<f32>,
    marks: Vec<u64>,
    items: Vec<u32>,
}

impl Touched {
    /// Adds up `weights[at] · neighbours[history[at]]` for every item that a neighbour row names. `history` rises, so the
    /// chain of an item runs over its sources in ascending order.
    pub fn add_up(&mut self, level: Level, neighbours: &Csr, history: &[u32], weights: &[f32]) {
        self.clear();
        if self.sums.len() < neighbours.n_columns() {
            self.sums = vec![0.0; neighbours.n_columns()];
            self.marks = vec![0; neighbours.n_columns().div_ceil(64)];
        }
        for (&source, &weight) in history.iter().zip(weights) {
            let source = source as usize;
            let (items, values) = (neighbours.row(source), neighbours.row_values(source));
            chains::scatter(level, weight, items, values, &mut self.sums, &mut self.marks);
        }
        for (word, &marks) in self.marks.iter().enumerate() {
            let mut left = marks;
            while left != 0 {
                self.items.push(word as u32 * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for &item in &self.items {
            self.sums[item as usize] = 0.0;
            self.marks[item as usize / 64] = 0;
        }
        self.items.clear();
    }

    /// The touched items, ascending.
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Whether an item is touched.
    pub fn has(&self, item: u32) -> bool {
        self.marks.get(item as usize / 64).is_some_and(|marks| marks >> (item % 64) & 1 == 1)
    }

    /// The sum of an item; 0 where nothing touched it.
    pub fn sum(&self, item: u32) -> f32 {
        self.sums.get(item as usize).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_run_over_the_history_and_are_forgotten() {
        let neighbours = Csr::new(vec![0, 2, 2, 4], vec![1, 2, 0, 2], vec![0.5, 2.0, 3.0, -1.0], 3).unwrap();
        let mut touched = Touched::default();
        touched.add_up(Level::Scalar, &neighbours, &[0, 2], &[1.0, 0.25]);
        assert_eq!(touched.items(), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|i| touched.sum(i)), [0.75, 0.5, 1.75]);
        touched.add_up(Level::Scalar, &neighbours, &[1], &[1.0]);
        assert!(touched.items().is_empty());
        assert_eq!(touched.sum(2), 0.0);
    }
}
