//! The sparse part of a score: what the items of a history add to their neighbors.
//!
//! ```text
//! sparse(u, i) = fma chain over the history items j of u, ascending, of w_uj c_ji, started at 0
//! ```

use crate::data::{Csr, Numbers};
use crate::runtime::simd::dot::{SPARE, UNTOUCHED, scatter};
use crate::runtime::simd::select::{gather, take};
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::{Level, vector};

/// The item-item weights: row j is what a purchase of j adds to others.
pub enum Neighbors {
    /// Few items a row.
    Sparse {
        /// The rows.
        rows: Csr,
        /// Whether a source beyond the items is the repetition of one, and adds to that alone.
        repeats: bool,
    },
    /// All items a row, `n_items` × `n_items`.
    Dense {
        /// Row by row.
        weights: Numbers<f32>,
        /// Numbers of a row, and rows.
        n_items: usize,
    },
}

impl Neighbors {
    /// Those of rows with few items each.
    pub fn sparse(rows: Csr) -> Self {
        let n_items = rows.n_columns();
        let itself = |source: usize| rows.row(source).iter().all(|&item| item as usize == source - n_items);
        let repeats = (n_items..rows.n_rows()).all(itself);
        Self::Sparse { rows, repeats }
    }

    /// The sources.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Sparse { rows, .. } => rows.n_rows(),
            Self::Dense { n_items, .. } => *n_items,
        }
    }

    /// The items.
    pub fn n_columns(&self) -> usize {
        match self {
            Self::Sparse { rows, .. } => rows.n_columns(),
            Self::Dense { n_items, .. } => *n_items,
        }
    }
}

/// What the sum of an item is that is left out.
pub const LEFT_OUT: f32 = f32::INFINITY;

/// Sums over the neighbors of one history, in memory that is kept from user to user.
#[derive(Default)]
pub struct NeighborSums {
    /// Of every item; [`LEFT_OUT`], or [`UNTOUCHED`] where the history adds nothing.
    sums: Vec<f32>,
    /// The items that the history adds to, in no order, in the first places; [`SPARE`] more than there are items.
    items: Vec<u32>,
    n_neighbors: usize,
    /// Their sums, once these are collected.
    values: Vec<f32>,
    left_out: Vec<u32>,
}

/// Sources between the prefetch of a neighbor row and its use.
const ROWS_AHEAD: usize = 4;

/// The same for where it is.
const OFFSETS_AHEAD: usize = 3 * ROWS_AHEAD;

/// Prefetches the first rows of a history that comes next.
pub fn fetch_first(rows: &Csr, history: &[u32]) {
    let (offsets, columns, values) = (rows.offsets(), rows.columns(), rows.values());
    history.iter().take(OFFSETS_AHEAD).for_each(|&source| fetch(offsets, source as usize, 1));
    for &source in history.iter().take(ROWS_AHEAD) {
        let (from, to) = (offsets[source as usize], offsets[source as usize + 1]);
        fetch(columns, from, to - from);
        fetch(values, from, to - from);
    }
}

impl NeighborSums {
    /// Adds up `weights[at] · neighbors[history[at]]` for every item that a neighbor row names, but for `left_out`, items that
    /// no list is to hold. `history` rises, so the chain of an item runs over its sources in ascending order.
    pub fn sum_history(
        &mut self,
        level: Level,
        neighbors: &Neighbors,
        history: &[u32],
        weights: &[f32],
        left_out: &[u32],
    ) {
        self.clear();
        if self.sums.len() < neighbors.n_columns() {
            self.sums = vec![UNTOUCHED; neighbors.n_columns()];
            self.items = vec![0; neighbors.n_columns() + SPARE];
        }
        self.left_out.extend_from_slice(left_out);
        self.n_neighbors = match neighbors {
            Neighbors::Sparse { rows, repeats } => self.sum_sparse(level, rows, *repeats, history, weights),
            Neighbors::Dense { weights: rows, n_items } if !history.is_empty() => {
                self.sum_dense(level, rows, *n_items, history, weights)
            }
            Neighbors::Dense { .. } => {
                self.mark_left_out();
                0
            }
        };
    }

    /// Collects the sums of the neighbors, for `neighbors` to give.
    pub fn collect(&mut self) {
        self.values.clear();
        self.values.extend(self.items[..self.n_neighbors].iter().map(|&item| self.sums[item as usize]));
    }

    /// Appends the neighbors whose `bits` are set and their sums, and forgets all but what is left out.
    pub fn take(&mut self, level: Level, bits: Option<&[u64]>, items: &mut Vec<u32>, sums: &mut Vec<f32>) {
        take(level, &self.items[..self.n_neighbors], &mut self.sums, bits, items, sums);
        self.n_neighbors = 0;
        self.values.clear();
    }

    /// How many items the history adds to.
    pub fn n_neighbors(&self) -> usize {
        self.n_neighbors
    }

    /// Appends those of some items that the history adds to and their sums.
    pub fn gather(&self, level: Level, of: &[u32], items: &mut Vec<u32>, sums: &mut Vec<f32>) {
        gather(level, of, &self.sums, LEFT_OUT, items, sums);
    }

    fn mark_left_out(&mut self) {
        for &item in &self.left_out {
            self.sums[item as usize] = LEFT_OUT;
        }
    }

    /// How many items get something; what is left out stays so, whatever is added to it.
    fn sum_sparse(&mut self, level: Level, rows: &Csr, repeats: bool, history: &[u32], weights: &[f32]) -> usize {
        self.mark_left_out();
        let bought = history.partition_point(|&source| (source as usize) < rows.n_columns());
        let left_out = |&source: &u32| self.sums.get(source as usize - rows.n_columns()) == Some(&LEFT_OUT);
        // Half of a history are repetitions, whose rows are far from each other in memory.
        let history = if repeats && history[bought..].iter().all(left_out) { &history[..bought] } else { history };
        // Taken once: the memory of a file is asked for by a call.
        let (offsets, columns, values) = (rows.offsets(), rows.columns(), rows.values());
        let entries = |source: u32| offsets[source as usize]..offsets[source as usize + 1];
        fetch_first(rows, history);
        let mut n_touched = 0;
        for (at, (&source, &weight)) in history.iter().zip(weights).enumerate() {
            if let Some(&later) = history.get(at + OFFSETS_AHEAD) {
                fetch(offsets, later as usize, 1);
            }
            if let Some(&later) = history.get(at + ROWS_AHEAD) {
                let own = entries(later);
                fetch(columns, own.start, own.len());
                fetch(values, own.start, own.len());
            }
            let (columns, values) = (&columns[entries(source)], &values[entries(source)]);
            scatter(level, weight, columns, values, &mut self.sums, &mut self.items, &mut n_touched);
        }
        n_touched
    }

    /// The same where every row names every item.
    fn sum_dense(&mut self, level: Level, rows: &[f32], n_items: usize, history: &[u32], weights: &[f32]) -> usize {
        self.sums[..n_items].fill(0.0);
        self.mark_left_out();
        for (&source, &weight) in history.iter().zip(weights) {
            vector::axpy(level, weight, &rows[source as usize * n_items..][..n_items], &mut self.sums[..n_items]);
        }
        let mut at = 0;
        for (item, sum) in (0..).zip(&mut self.sums[..n_items]) {
            // None is what an untouched one is.
            *sum += 0.0;
            self.items[at] = item;
            at += usize::from(*sum != LEFT_OUT);
        }
        at
    }

    /// Forgets all sums; the memory is kept.
    pub fn clear(&mut self) {
        for &item in self.items[..self.n_neighbors].iter().chain(&self.left_out) {
            self.sums[item as usize] = UNTOUCHED;
        }
        self.n_neighbors = 0;
        self.values.clear();
        self.left_out.clear();
    }

    /// The items that the history adds to, but for those left out, and their sums, once these are collected.
    pub fn neighbors(&self) -> (&[u32], &[f32]) {
        (&self.items[..self.values.len()], &self.values)
    }

    /// The items that are left out.
    pub fn left_out(&self) -> &[u32] {
        &self.left_out
    }

    /// Whether a history adds to an item, or it is left out.
    #[inline]
    pub fn contains(&self, item: u32) -> bool {
        self.sums.get(item as usize).is_some_and(|sum| sum.to_bits() != UNTOUCHED.to_bits())
    }

    /// The sum of an item: 0 where the history adds nothing, [`LEFT_OUT`] where it is left out.
    #[inline]
    pub fn sum(&self, item: u32) -> f32 {
        self.sums.get(item as usize).copied().unwrap_or(UNTOUCHED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(sums: &mut NeighborSums) -> Vec<(u32, f32)> {
        sums.collect();
        let (items, values) = sums.neighbors();
        let mut pairs: Vec<_> = items.iter().copied().zip(values.iter().copied()).collect();
        pairs.sort_by_key(|pair| pair.0);
        pairs
    }

    #[test]
    fn sums_run_over_the_history_and_are_forgotten() {
        let neighbors = Csr::new(vec![0, 2, 2, 4], vec![1, 2, 0, 2], vec![0.5, 2.0, 3.0, -1.0], 3).unwrap();
        let neighbors = Neighbors::sparse(neighbors);
        let mut sums = NeighborSums::default();
        sums.sum_history(Level::Scalar, &neighbors, &[0, 2], &[1.0, 0.25], &[]);
        assert_eq!(sorted(&mut sums), [(0, 0.75), (1, 0.5), (2, 1.75)]);
        assert_eq!([0, 1, 2].map(|i| sums.sum(i)), [0.75, 0.5, 1.75]);
        sums.sum_history(Level::Scalar, &neighbors, &[1], &[1.0], &[]);
        assert!(sorted(&mut sums).is_empty() && !sums.contains(2));
        assert_eq!(sums.sum(2), 0.0);
    }

    #[test]
    fn an_item_is_named_once_whatever_its_sum_is_on_the_way() {
        // Items 0 and 1 come to 0 and −0 and from there to something else.
        let values = vec![1.0, -0.0, -1.0, -0.0, 2.0, 3.0];
        let rows = Csr::new(vec![0, 2, 4, 6], vec![0, 1, 0, 1, 0, 1], values, 3).unwrap();
        for level in Level::available() {
            let mut sums = NeighborSums::default();
            sums.sum_history(level, &Neighbors::sparse(rows.clone()), &[0, 1, 2], &[1.0; 3], &[]);
            assert_eq!(sorted(&mut sums), [(0, 2.0), (1, 3.0)], "{}", level.name());
        }
    }

    #[test]
    fn what_is_left_out_is_named_and_no_neighbor() {
        let neighbors = Neighbors::sparse(Csr::new(vec![0, 2, 2], vec![0, 2], vec![0.5, 2.0], 3).unwrap());
        let mut sums = NeighborSums::default();
        sums.sum_history(Level::Scalar, &neighbors, &[0], &[1.0], &[1, 2]);
        assert_eq!((sorted(&mut sums), sums.left_out()), (vec![(0, 0.5)], &[1, 2][..]));
        assert_eq!([0, 1, 2].map(|item| sums.sum(item)), [0.5, LEFT_OUT, LEFT_OUT]);
        sums.sum_history(Level::Scalar, &neighbors, &[0], &[1.0], &[]);
        assert_eq!(sorted(&mut sums), [(0, 0.5), (2, 2.0)]);
        assert!(!sums.contains(1));
    }

    #[test]
    fn repetitions_are_summed_unless_all_their_items_are_left_out() {
        // Items 0 and 1; sources 2 and 3 repeat them, and the third case adds to another.
        let rows =
            |column: u32| Csr::new(vec![0, 1, 2, 3, 4], vec![1, 0, 0, column], vec![0.5, 0.25, 4.0, 8.0], 2).unwrap();
        let sums_of = |column: u32, left_out: &[u32]| {
            let mut sums = NeighborSums::default();
            sums.sum_history(Level::Scalar, &Neighbors::sparse(rows(column)), &[0, 1, 2, 3], &[1.0; 4], left_out);
            [0, 1].map(|item| sums.sum(item))
        };
        assert_eq!(sums_of(1, &[]), [4.25, 8.5]);
        assert_eq!(sums_of(1, &[0]), [LEFT_OUT, 8.5]);
        assert_eq!(sums_of(0, &[0]), [LEFT_OUT, 0.5]);
        assert_eq!(sums_of(1, &[1]), [4.25, LEFT_OUT]);
        assert_eq!(sums_of(1, &[0, 1]), [LEFT_OUT; 2]);
        assert_eq!(sums_of(0, &[1]), [12.25, LEFT_OUT]);
    }

    #[test]
    fn dense_rows_give_the_bits_of_sparse_ones_that_name_every_item() {
        let (n, draws) = (70, crate::runtime::rng::Stream::new(2, 0));
        let weights: Vec<f32> = (0..n * n).map(|at| draws.normal(at as u64)).collect();
        let columns = (0..n * n).map(|at| (at % n) as u32).collect();
        let rows = Csr::new((0..=n).map(|row| row * n).collect(), columns, weights.clone(), n).unwrap();
        let both = [Neighbors::sparse(rows), Neighbors::Dense { weights: weights.into(), n_items: n }];
        for level in Level::available() {
            for (history, weights) in [(&[][..], &[][..]), (&[3, 8, 69][..], &[1.0, 0.3, 2.0][..])] {
                let [sparse, dense] = both.each_ref().map(|neighbors| {
                    let mut sums = NeighborSums::default();
                    sums.sum_history(level, neighbors, history, weights, &[4]);
                    let all = (0..n as u32).map(|item| (sums.contains(item), sums.sum(item))).collect::<Vec<_>>();
                    let found = (all, sorted(&mut sums));
                    sums.clear();
                    assert!((0..n as u32).all(|item| !sums.contains(item)));
                    found
                });
                assert_eq!(sparse, dense);
                assert_eq!(dense.1.len(), if history.is_empty() { 0 } else { n - 1 });
            }
        }
    }
}
