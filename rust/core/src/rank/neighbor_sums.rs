//! The sparse part of a score: what the items of a history add to their neighbors.

use crate::data::Csr;
use crate::runtime::simd::{Level, chains};

use super::index::NormBound;
use super::key::{Best, key};
use super::query::Query;
use super::ranker::Ranker;

/// Items for each place of a list whose dense part is found first, those with the highest ceilings.
const FIRST: usize = 2;

/// One of so many ceilings is looked at to find what is high.
const SAMPLED: usize = 8;

/// Fewer items than this for each place are scored at once: too many of them could enter.
const MIN_ITEMS_PER_PLACE: usize = 32;

/// Sums over the neighbors of one history, in memory that is kept from user to user.
#[derive(Default)]
pub struct NeighborSums {
    sums: Vec<f32>,
    marks: Vec<u64>,
    items: Vec<u32>,
    ceilings: Vec<f32>,
    sample: Vec<f32>,
    rest: Vec<u32>,
}

impl NeighborSums {
    /// Adds up `weights[at] · neighbors[history[at]]` for every item that a neighbor row names. `history` rises, so the
    /// chain of an item runs over its sources in ascending order.
    pub fn add_up(&mut self, level: Level, neighbors: &Csr, history: &[u32], weights: &[f32]) {
        self.clear();
        if self.sums.len() < neighbors.n_columns() {
            self.sums = vec![0.0; neighbors.n_columns()];
            self.marks = vec![0; neighbors.n_columns().div_ceil(64)];
        }
        for (&source, &weight) in history.iter().zip(weights) {
            let source = source as usize;
            let (items, values) = (neighbors.row(source), neighbors.row_values(source));
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

    /// Offers touched `items` of row `row` to its list: dense part and sum of each that can enter. The list is the same as if
    /// all were offered: with D at least the dense part (see `index`), no sum of the two in f32 is above that of D and the
    /// sum, for rounding keeps the order. Most of a history's neighbors are far below the list, and their dense parts
    /// would take longer than all else. Leaves nothing in `items`.
    pub fn offer(
        &mut self,
        ranker: &Ranker,
        query: &Query<'_>,
        row: usize,
        level: Level,
        items: &mut Vec<u32>,
        scores: &mut Vec<f32>,
        best: &mut Best,
    ) {
        if items.len() >= MIN_ITEMS_PER_PLACE * best.places()
            && let Some(lengths) = ranker.lengths()
        {
            let reach = NormBound::new(query.vector(row));
            let ceiling = |&item: &u32| reach.most(lengths[item as usize]) + self.sums[item as usize];
            self.ceilings.clear();
            self.ceilings.extend(items.iter().map(ceiling));
            // Roughly the highest ones first, for a threshold; in their order, for their rows are read in it.
            self.sample.clear();
            self.sample.extend(self.ceilings.iter().step_by(SAMPLED));
            let place = (FIRST * best.places()).div_ceil(SAMPLED);
            let (_, &mut high, _) = self.sample.select_nth_unstable_by(place, |a, b| b.total_cmp(a));
            std::mem::swap(items, &mut self.rest);
            items.clear();
            pick(&self.rest, &self.ceilings, |ceiling| ceiling >= high, items);
            self.offer_all(ranker, query, row, level, items, scores, best);
            let least = best.threshold();
            pick(&self.rest, &self.ceilings, |ceiling| ceiling < high && ceiling >= least, items);
        }
        self.offer_all(ranker, query, row, level, items, scores, best);
    }

    fn offer_all(
        &self,
        ranker: &Ranker,
        query: &Query<'_>,
        row: usize,
        level: Level,
        items: &mut Vec<u32>,
        scores: &mut Vec<f32>,
        best: &mut Best,
    ) {
        scores.resize(items.len(), 0.0);
        ranker.dense(level, query, row, items, scores);
        for (&item, &dense) in items.iter().zip(&*scores) {
            best.offer(key(dense + self.sum(item), item));
        }
        items.clear();
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

/// Adds the items whose ceiling is wanted. Without a branch, which would be guessed wrongly time and again.
#[inline(always)]
fn pick(items: &[u32], ceilings: &[f32], wanted: impl Fn(f32) -> bool, into: &mut Vec<u32>) {
    into.resize(items.len(), 0);
    let mut at = 0;
    for (&item, &ceiling) in items.iter().zip(ceilings) {
        into[at] = item;
        at += usize::from(wanted(ceiling));
    }
    into.truncate(at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_run_over_the_history_and_are_forgotten() {
        let neighbors = Csr::new(vec![0, 2, 2, 4], vec![1, 2, 0, 2], vec![0.5, 2.0, 3.0, -1.0], 3).unwrap();
        let mut touched = NeighborSums::default();
        touched.add_up(Level::Scalar, &neighbors, &[0, 2], &[1.0, 0.25]);
        assert_eq!(touched.items(), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|i| touched.sum(i)), [0.75, 0.5, 1.75]);
        touched.add_up(Level::Scalar, &neighbors, &[1], &[1.0]);
        assert!(touched.items().is_empty());
        assert_eq!(touched.sum(2), 0.0);
    }
}
