//! What the histories of a block of users add to the items of one ranking, and what their lists leave out, kept until a scan
//! has come to an end.

use std::ops::Range;

use crate::runtime::simd::Level;
use crate::runtime::simd::marked::{SPARE, marked};
use crate::runtime::simd::select::{Wanted, select};

use super::neighbor_sums::{LEFT_OUT, NeighborSums};
use super::query::EligibleItems;
use super::settled::Settled;

/// Of so many items all are compared, without a branch; of more, some are looked at one after the other.
const MAX_COMPARED: usize = 256;

/// The items that a row's history adds to, then those that its list leaves out.
struct Row {
    items: Range<usize>,
    n_neighbors: usize,
}

/// Those of a block of rows.
#[derive(Default)]
pub struct RowSums {
    items: Vec<u32>,
    /// For each of the items; `LEFT_OUT` of what is left out.
    sums: Vec<f32>,
    rows: Vec<Row>,
}

impl RowSums {
    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.items.clear();
        self.sums.clear();
        self.rows.clear();
    }

    /// Takes what a history adds to `eligible` items as the next row; its sums are forgotten, but for what is left out.
    pub fn take(&mut self, level: Level, sums: &mut NeighborSums, eligible: &EligibleItems) {
        let from = self.items.len();
        sums.take(level, eligible.bits.as_deref(), &mut self.items, &mut self.sums);
        self.end_row(from, self.items.len() - from, sums.left_out(), eligible);
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Takes what a history adds to some `items`, all that are `eligible`, as the next row; its sums stay.
    pub fn gather(&mut self, level: Level, sums: &NeighborSums, items: &[u32], eligible: &EligibleItems) {
        let from = self.items.len();
        sums.gather(level, items, &mut self.items, &mut self.sums);
        self.end_row(from, self.items.len() - from, sums.left_out(), eligible);
    }

    /// Takes the eligible items of a row of `others` as the next row.
    pub fn select(&mut self, level: Level, others: &Self, at: usize, eligible: &EligibleItems) {
        let from = self.items.len();
        let (items, sums) = others.neighbors(at);
        let wanted = Wanted::with_bits(eligible.bits.as_deref());
        select(level, items, sums, sums, wanted, &mut self.items, &mut self.sums);
        self.end_row(from, self.items.len() - from, others.left_out(at), eligible);
    }

    /// Takes a row without a history.
    pub fn push_left_out(&mut self, left_out: &[u32], eligible: &EligibleItems) {
        self.end_row(self.items.len(), 0, left_out, eligible);
    }

    fn end_row(&mut self, from: usize, n_neighbors: usize, left_out: &[u32], eligible: &EligibleItems) {
        eligible.append_eligible(left_out, &mut self.items);
        self.sums.resize(self.items.len(), LEFT_OUT);
        self.rows.push(Row { items: from..self.items.len(), n_neighbors });
    }

    /// The items that a row's history adds to, but for those left out, and their sums.
    pub fn neighbors(&self, at: usize) -> (&[u32], &[f32]) {
        let Row { items, n_neighbors } = &self.rows[at];
        let own = items.start..items.start + n_neighbors;
        (&self.items[own.clone()], &self.sums[own])
    }

    /// The items that are left out of a row, ascending.
    pub fn left_out(&self, at: usize) -> &[u32] {
        &self.items(at)[self.rows[at].n_neighbors..]
    }

    /// These and the items that are left out.
    pub fn items(&self, at: usize) -> &[u32] {
        &self.items[self.rows[at].items.clone()]
    }

    /// Whether an item is among them.
    pub fn contain(&self, at: usize, item: u32) -> bool {
        let (neighbors, left_out) = self.items(at).split_at(self.rows[at].n_neighbors);
        let is_left_out = if left_out.len() > MAX_COMPARED {
            left_out.binary_search(&item).is_ok()
        } else {
            left_out.iter().map(|&other| u32::from(other == item)).sum::<u32>() > 0
        };
        is_left_out || neighbors.contains(&item)
    }

    /// Of some different items, leaves those that are not settled for a row, with the sum of each. `marks` are a bit for
    /// each item of the catalog, all 0 before and after.
    pub fn keep_open(
        &self,
        at: usize,
        settled: Settled,
        level: Level,
        marks: &mut [u64],
        items: &mut Vec<u32>,
        sums: &mut Vec<f32>,
    ) {
        let bit = |item: u32| (item as usize / 64, 1u64 << (item % 64));
        for &item in &*items {
            marks[bit(item).0] |= bit(item).1;
        }
        sums.clear();
        let own = self.rows[at].items.clone();
        let n_items = items.len();
        // Behind the items, where they stay.
        items.resize(2 * n_items + SPARE, 0);
        let found = marked(level, marks, &self.items[own.clone()], &mut items[n_items..]);
        let mut kept = 0;
        for place in 0..found {
            let place = own.start + items[n_items + place] as usize;
            let (item, sum) = (self.items[place], self.sums[place]);
            marks[bit(item).0] &= !bit(item).1;
            if !settled.holds(sum) {
                items[n_items + kept] = item;
                sums.push(sum);
                kept += 1;
            }
        }
        items.truncate(n_items + kept);
        let mut others = 0;
        for at in 0..n_items {
            let (word, bit) = bit(items[at]);
            if marks[word] & bit != 0 {
                marks[word] &= !bit;
                items[others] = items[at];
                others += 1;
            }
        }
        items.copy_within(n_items.., others);
        items.truncate(others + kept);
        sums.resize(others + kept, 0.0);
        sums.rotate_right(others);
    }
}

#[cfg(test)]
mod tests {
    use super::super::neighbor_sums::Neighbors;
    use super::*;
    use crate::data::Csr;

    #[test]
    fn what_is_settled_is_taken_out_and_the_rest_gets_its_sums() {
        let n = 200;
        let columns: Vec<u32> = (0..n).step_by(3).collect();
        let values = columns.iter().map(|&item| item as f32).collect();
        let rows = Csr::new(vec![0, columns.len()], columns, values, n as usize).unwrap();
        let (mut sums, mut rows_of, all) =
            (NeighborSums::default(), RowSums::default(), EligibleItems { bits: None, count: n as usize });
        rows_of.push_left_out(&[4, 70], &all);
        sums.sum_history(Level::Scalar, &Neighbors::sparse(rows), &[0], &[1.0], &[5, 6]);
        rows_of.take(Level::Scalar, &mut sums, &all);
        assert_eq!((rows_of.items(0), rows_of.neighbors(0).0.len()), (&[4, 70][..], 0));
        assert_eq!([3, 4, 5, 6, 7].map(|item| rows_of.contain(0, item)), [false, true, false, false, false]);
        assert_eq!([3, 4, 5, 6, 7].map(|item| rows_of.contain(1, item)), [true, false, true, true, false]);
        let mut marks = vec![0; n as usize / 64 + 1];
        for (at, settled, wanted) in [
            (0, Settled::ALL, vec![(150, 0.0), (5, 0.0), (6, 0.0), (3, 0.0)]),
            (1, Settled::ALL, vec![(70, 0.0), (4, 0.0)]),
            (1, Settled::from_sum(9.0), vec![(70, 0.0), (4, 0.0), (3, 3.0)]),
            (1, Settled::from_sum(150.5), vec![(70, 0.0), (4, 0.0), (3, 3.0), (150, 150.0)]),
        ] {
            let (mut items, mut open) = (vec![150, 70, 5, 6, 4, 3], vec![9.0]);
            rows_of.keep_open(at, settled, Level::Scalar, &mut marks, &mut items, &mut open);
            assert_eq!(items.into_iter().zip(open).collect::<Vec<_>>(), wanted, "{at} {settled:?}");
            assert!(marks.iter().all(|&word| word == 0));
        }
    }

    #[test]
    fn where_some_may_be_listed_those_alone_are_kept() {
        let rows = Csr::new(vec![0, 4], vec![0, 1, 2, 3], vec![1.0; 4], 4).unwrap();
        let (mut sums, mut rows_of) = (NeighborSums::default(), RowSums::default());
        let (some, fewer) = (
            EligibleItems { bits: Some(vec![0b1011]), count: 3 },
            EligibleItems { bits: Some(vec![0b1010]), count: 2 },
        );
        for level in Level::available() {
            rows_of.clear();
            let mut gathered = RowSums::default();
            for left_out in [3, 0] {
                sums.sum_history(level, &Neighbors::sparse(rows.clone()), &[0], &[1.0], &[left_out]);
                gathered.gather(level, &sums, &fewer.positions(), &fewer);
                rows_of.take(level, &mut sums, &some);
            }
            assert_eq!((rows_of.items(0), rows_of.neighbors(0)), (&[0, 1, 3][..], (&[0, 1][..], &[1.0; 2][..])));
            assert_eq!((rows_of.items(1), rows_of.left_out(1)), (&[1, 3, 0][..], &[0][..]));
            let mut selected = RowSums::default();
            for at in [0, 1] {
                selected.select(level, &rows_of, at, &fewer);
            }
            for some in [&selected, &gathered] {
                assert_eq!((some.items(0), some.neighbors(0)), (&[1, 3][..], (&[1][..], &[1.0][..])));
                assert_eq!((some.items(1), some.left_out(1)), (&[1, 3][..], &[][..]));
            }
        }
    }
}
