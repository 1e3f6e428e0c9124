//! The sparse part of a score: what the items of a history add to their neighbors.
//!
//! ```text
//! sparse(u, i) = fma chain over the history items j of u, ascending, of w_uj c_ji, started at 0
//! ```

use crate::data::{Csr, Numbers};
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::{Level, dot, vector};

use super::query::EligibleItems;
use super::sets::append_bits;

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

/// Sums over the neighbors of one history, in memory that is kept from user to user.
#[derive(Default)]
pub struct NeighborSums {
    sums: Vec<f32>,
    /// A bit for each item that a neighbor row of the history names or that is left out.
    marks: Vec<u64>,
    /// A bit for each item that is left out.
    left_out: Vec<u64>,
    /// The items with a mark, ascending.
    items: Vec<u32>,
}

/// Sources between the prefetch of a neighbor row and its use.
const ROWS_AHEAD: usize = 3;

impl NeighborSums {
    /// Adds up `weights[at] · neighbors[history[at]]` for every item that a neighbor row names; `left_out` are items that
    /// no list is to hold, and whose sums may lack what only they would get. `history` rises, so the chain of an item runs
    /// over its sources in ascending order.
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
            self.sums = vec![0.0; neighbors.n_columns()];
            self.marks = vec![0; neighbors.n_columns().div_ceil(64)];
            self.left_out = self.marks.clone();
        }
        for &item in left_out {
            self.marks[item as usize / 64] |= 1 << (item % 64);
            self.left_out[item as usize / 64] |= 1 << (item % 64);
        }
        match neighbors {
            Neighbors::Sparse { rows, repeats } => {
                let bought = history.partition_point(|&source| (source as usize) < rows.n_columns());
                let left_out = |&source: &u32| {
                    let item = source as usize - rows.n_columns();
                    self.left_out.get(item / 64).is_some_and(|marks| marks >> (item % 64) & 1 == 1)
                };
                // Half of a history are repetitions, whose rows are far from each other in memory.
                let history =
                    if *repeats && history[bought..].iter().all(left_out) { &history[..bought] } else { history };
                // Taken once: the memory of a file is asked for by a call.
                let (offsets, columns, values) = (rows.offsets(), rows.columns(), rows.values());
                let entries = |source: u32| offsets[source as usize]..offsets[source as usize + 1];
                for (at, (&source, &weight)) in history.iter().zip(weights).enumerate() {
                    if let Some(&later) = history.get(at + 3 * ROWS_AHEAD) {
                        fetch(offsets, later as usize, 1);
                    }
                    if let Some(&later) = history.get(at + ROWS_AHEAD) {
                        let own = entries(later);
                        fetch(columns, own.start, own.len());
                        fetch(values, own.start, own.len());
                    }
                    let own = entries(source);
                    dot::scatter(level, weight, &columns[own.clone()], &values[own], &mut self.sums, &mut self.marks);
                }
            }
            Neighbors::Dense { weights: rows, n_items } => {
                for (&source, &weight) in history.iter().zip(weights) {
                    let row = &rows[source as usize * n_items..][..*n_items];
                    vector::axpy(level, weight, row, &mut self.sums[..*n_items]);
                }
                if !history.is_empty() {
                    (0..*n_items).for_each(|item| self.marks[item / 64] |= 1 << (item % 64));
                }
            }
        }
        append_bits(self.marks.iter().copied(), &mut self.items);
    }

    /// Sets all sums to 0; the memory is kept.
    pub fn clear(&mut self) {
        let few = self.items.len() < self.marks.len() / 8;
        for &item in &self.items {
            self.sums[item as usize] = 0.0;
            if few {
                self.marks[item as usize / 64] = 0;
                self.left_out[item as usize / 64] = 0;
            }
        }
        if !few {
            self.marks.fill(0);
            self.left_out.fill(0);
        }
        self.items.clear();
    }

    /// The items that a neighbor row of the history names or that are left out, ascending.
    #[cfg(test)]
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Appends the items that a neighbor row of the history names or that are left out, ascending; where few items may be
    /// listed, those alone that may.
    pub fn append_excluded(&self, eligible: &EligibleItems, into: &mut Vec<u32>) {
        if 2 * eligible.count > 64 * self.marks.len() {
            into.extend_from_slice(&self.items);
        } else {
            eligible.append_eligible(&self.items, into);
        }
    }

    /// Whether going through the words of all items takes less time than through the items with a mark.
    pub fn fills_words(&self) -> bool {
        self.items.len() > 4 * self.marks.len()
    }

    /// Appends those that are not left out and that may be listed, in their order. Without a branch, which would be
    /// mispredicted time and again.
    pub fn append_candidates(&self, eligible: &EligibleItems, into: &mut Vec<u32>) {
        if self.fills_words() {
            let words = self.marks.iter().zip(&self.left_out).map(|(marks, left_out)| marks & !left_out);
            match &eligible.bits {
                Some(bits) => append_bits(words.zip(bits).map(|(word, bits)| word & bits), into),
                None => append_bits(words, into),
            }
            return;
        }
        let mut at = into.len();
        into.resize(at + self.items.len(), 0);
        for &item in &self.items {
            into[at] = item;
            let left_out = self.left_out[item as usize / 64] >> (item % 64) & 1 == 1;
            at += usize::from(eligible.contains(item) && !left_out);
        }
        into.truncate(at);
    }

    /// Takes out what is left out. Without a branch, which would be mispredicted time and again.
    pub fn remove_left_out(&self, items: &mut Vec<u32>) {
        let mut kept = 0;
        for at in 0..items.len() {
            let item = items[at];
            items[kept] = item;
            kept += usize::from(self.left_out[item as usize / 64] >> (item % 64) & 1 == 0);
        }
        items.truncate(kept);
    }

    /// Whether an item is among `items`.
    #[inline]
    pub fn contains(&self, item: u32) -> bool {
        self.marks.get(item as usize / 64).is_some_and(|marks| marks >> (item % 64) & 1 == 1)
    }

    /// The sums of all items.
    pub fn all(&self) -> &[f32] {
        &self.sums
    }

    #[cfg(test)]
    pub fn of(sums: Vec<f32>) -> Self {
        Self { sums, ..Self::default() }
    }

    /// The sum of an item; 0 where the history adds nothing.
    #[inline]
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
        let neighbors = Neighbors::sparse(neighbors);
        let mut sums = NeighborSums::default();
        sums.sum_history(Level::Scalar, &neighbors, &[0, 2], &[1.0, 0.25], &[]);
        assert_eq!(sums.items(), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|i| sums.sum(i)), [0.75, 0.5, 1.75]);
        sums.sum_history(Level::Scalar, &neighbors, &[1], &[1.0], &[]);
        assert!(sums.items().is_empty());
        assert_eq!(sums.sum(2), 0.0);
    }

    #[test]
    fn what_is_left_out_is_named_and_no_candidate() {
        let neighbors = Neighbors::sparse(Csr::new(vec![0, 2, 2], vec![0, 2], vec![0.5, 2.0], 3).unwrap());
        let (mut sums, mut candidates) = (NeighborSums::default(), vec![9]);
        let all = EligibleItems { bits: None, count: 3 };
        sums.sum_history(Level::Scalar, &neighbors, &[0], &[1.0], &[1, 2]);
        sums.append_candidates(&all, &mut candidates);
        assert_eq!((sums.items(), &candidates[..]), (&[0, 1, 2][..], &[9, 0][..]));
        sums.sum_history(Level::Scalar, &neighbors, &[0], &[1.0], &[]);
        sums.append_candidates(&all, &mut candidates);
        assert_eq!(candidates, [9, 0, 0, 2]);
    }

    #[test]
    fn what_is_marked_is_found_the_same_word_by_word_and_item_by_item() {
        let (n, draws) = (300, crate::runtime::rng::Stream::new(3, 0));
        for share in [1, 2, 30] {
            let columns: Vec<u32> =
                (0..n as u32).filter(|&i| draws.sub(share).below(u64::from(i), share) == 0).collect();
            let rows = Csr::new(vec![0, columns.len()], columns.clone(), vec![1.0; columns.len()], n).unwrap();
            let mut sums = NeighborSums::default();
            sums.sum_history(Level::Scalar, &Neighbors::sparse(rows), &[0], &[1.0], &[7, 64, 299]);
            for every in [1, 3, 200] {
                let flags: Vec<bool> = (0..n).map(|item| item % every == every / 2).collect();
                let filters = crate::rank::Filters { allow: Some(flags.clone()), ..Default::default() };
                let eligible = EligibleItems::new(&filters, n).unwrap();
                let (mut marked, mut candidates) = (Vec::new(), vec![9]);
                sums.append_excluded(&eligible, &mut marked);
                sums.append_candidates(&eligible, &mut candidates);
                let mut all = columns.clone();
                all.extend([7, 64, 299]);
                all.sort_unstable();
                all.dedup();
                all.retain(|&item| flags[item as usize]);
                assert!(marked.is_sorted() && marked.iter().all(|&item| sums.contains(item)));
                assert!(every == 1 || marked.len() == all.len());
                marked.retain(|&item| flags[item as usize]);
                assert_eq!(marked, all);
                all.retain(|item| ![7, 64, 299].contains(item));
                assert_eq!(candidates[1..], all);
            }
        }
    }

    #[test]
    fn repetitions_are_summed_unless_all_their_items_are_left_out() {
        // Items 0 and 1; sources 2 and 3 repeat them, and the third case adds to another.
        let rows =
            |column: u32| Csr::new(vec![0, 1, 2, 3, 4], vec![1, 0, 0, column], vec![0.5, 0.25, 4.0, 8.0], 2).unwrap();
        let sums_of = |column: u32, left_out: &[u32]| {
            let mut sums = NeighborSums::default();
            sums.sum_history(Level::Scalar, &Neighbors::sparse(rows(column)), &[0, 1, 2, 3], &[1.0; 4], left_out);
            assert_eq!(sums.items(), [0, 1]);
            [0, 1].map(|item| sums.sum(item))
        };
        assert_eq!(sums_of(1, &[]), [4.25, 8.5]);
        assert_eq!(sums_of(1, &[0]), [4.25, 8.5]);
        assert_eq!(sums_of(1, &[0, 1]), [0.25, 0.5]);
        assert_eq!(sums_of(0, &[0, 1]), [12.25, 0.5]);
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
                    ((0..n as u32).map(|i| (sums.contains(i), sums.sum(i))).collect::<Vec<_>>(), sums.items().to_vec())
                });
                assert_eq!(sparse, dense);
            }
        }
    }
}
