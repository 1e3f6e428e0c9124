//! Item-item weights of a training in which those to some targets are replaced by others, and those that these cover up:
//! what an update makes of them.

use rayon::prelude::*;

use super::ridge::strongest;
use crate::data::{Csr, split_entries};
use crate::runtime::Context;
use crate::{Error, Result};

/// Sources of one task, whose weights are joined.
const SOURCES_PER_TASK: usize = 512;

/// The item-item weights of a training, where some of them are covered up by others.
pub struct Trained<'a> {
    /// The weights that are there, one row for each source; those that point to items which `is_valid` are of the training.
    pub weights: &'a Csr,
    /// By item.
    pub is_valid: &'a [bool],
    /// Weights of the training that point to other items.
    pub covered: &'a Csr,
    /// Where each item is among the new ones; none: it is gone.
    pub places: &'a [Option<u32>],
}

/// What is solved anew, over the new items.
pub struct Solved<'a> {
    /// Ascending.
    pub targets: &'a [u32],
    /// One row for each target.
    pub weights: &'a Csr,
    /// What the weights are multiplied with.
    pub scale: f32,
    /// The least weight that an item keeps as a source; none: it keeps its `k` strongest.
    pub thresholds: &'a [Option<f32>],
    /// The number of weights that a source without a threshold keeps.
    pub k: usize,
}

impl Trained<'_> {
    /// The weights of the training with `solved` in the place of those that point to its targets, and what it covers up,
    /// both with one row for each source.
    pub fn with(&self, solved: &Solved<'_>, context: &Context) -> Result<(Csr, Csr)> {
        let n_items = solved.thresholds.len();
        let bad = |what: &str| Err(Error::InvalidData(format!("item-item weights: {what}.")));
        let n_known = self.places.len();
        if [self.weights.n_rows(), self.covered.n_rows(), self.is_valid.len()] != [n_known; 3]
            || [self.weights.n_columns(), self.covered.n_columns()] != [n_known; 2]
            || solved.weights.n_rows() != solved.targets.len()
            || solved.weights.n_columns() != n_items
        {
            return bad("one row for each source, and one for each target");
        }
        if self.places.iter().flatten().chain(solved.targets).any(|&place| place as usize >= n_items) {
            return bad("a place is none of the items'");
        }
        if !solved.targets.is_sorted() {
            return bad("targets must ascend");
        }
        let mut is_target = vec![false; n_items];
        solved.targets.iter().for_each(|&target| is_target[target as usize] = true);
        let way = |place: &Option<u32>| match place {
            None => Way::Gone,
            Some(place) if is_target[*place as usize] => Way::Covered(*place),
            Some(place) => Way::Served(*place),
        };
        let of_covered: Vec<Way> = self.places.iter().map(way).collect();
        let of_weights: Vec<Way> =
            of_covered.iter().zip(self.is_valid).map(|(&way, &valid)| if valid { way } else { Way::Gone }).collect();
        let mut sources: Vec<Option<usize>> = vec![None; n_items];
        for (source, place) in self.places.iter().enumerate() {
            if let Some(place) = place {
                sources[*place as usize] = Some(source);
            }
        }
        let by_source = solved.weights.transpose();
        let tables = [(self.weights, &of_weights), (self.covered, &of_covered)];
        let parts: Vec<[Rows; 2]> = context.install(|| {
            (0..n_items.div_ceil(SOURCES_PER_TASK))
                .into_par_iter()
                .map(|task| {
                    let items = task * SOURCES_PER_TASK..n_items.min((task + 1) * SOURCES_PER_TASK);
                    let entries = items.clone().map(|item| {
                        let of_training =
                            sources[item].map_or(0, |at| self.weights.row(at).len() + self.covered.row(at).len());
                        of_training + by_source.row(item).len()
                    });
                    let mut served = Rows::with_capacity(entries.sum());
                    let mut covered = Rows::default();
                    for item in items {
                        for (source, (table, ways)) in
                            sources[item].iter().flat_map(|&at| tables.map(|each| (at, each)))
                        {
                            for (&target, &value) in table.row(source).iter().zip(table.row_values(source)) {
                                match ways[target as usize] {
                                    Way::Gone => {}
                                    Way::Served(place) => served.push(place, value),
                                    Way::Covered(place) => covered.push(place, value),
                                }
                            }
                        }
                        solved.add(item, &by_source, &mut served);
                        served.end();
                        covered.end();
                    }
                    [served, covered]
                })
                .collect()
        });
        let join = |which: usize| {
            let parts: Vec<&Rows> = parts.iter().map(|part| &part[which]).collect();
            Rows::joined(&parts, context).csr(n_items)
        };
        Ok((join(0)?, join(1)?))
    }
}

/// Where a weight goes, by its target.
#[derive(Clone, Copy)]
enum Way {
    Gone,
    Served(u32),
    Covered(u32),
}

impl Solved<'_> {
    /// Adds what an item keeps as a source.
    fn add(&self, item: usize, by_source: &Csr, served: &mut Rows) {
        let added = by_source.row(item).iter().map(|&at| self.targets[at as usize]);
        let added = added.zip(by_source.row_values(item).iter().map(|value| value * self.scale));
        if let Some(least) = self.thresholds[item] {
            for (at, value) in added.filter(|&(_, value)| value >= least) {
                served.push(at, value);
            }
        } else {
            let (places, numbers): (Vec<u32>, Vec<f32>) = added.unzip();
            for (at, value) in strongest(&places, &numbers, self.k) {
                served.push(at, value);
            }
        }
    }
}

/// Rows that are made one after the other, each sorted when it ends.
#[derive(Default)]
struct Rows {
    /// Where each row ends.
    ends: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
    row: Vec<(u32, f32)>,
}

impl Rows {
    /// One part after the other.
    fn joined(parts: &[&Self], context: &Context) -> Self {
        let entries = parts.iter().map(|part| part.columns.len()).sum();
        let mut joined = Self { columns: vec![0; entries], values: vec![0.0; entries], ..Self::default() };
        let mut ends = Vec::with_capacity(parts.len());
        for part in parts {
            let begin = ends.last().copied().unwrap_or(0);
            joined.ends.extend(part.ends.iter().map(|end| begin + end));
            ends.push(begin + part.columns.len());
        }
        let slices = split_entries(ends.into_iter(), &mut joined.columns, &mut joined.values);
        context.for_each_task(
            slices.into_iter().zip(parts),
            || (),
            |(), ((columns, values), part)| {
                columns.copy_from_slice(&part.columns);
                values.copy_from_slice(&part.values);
            },
        );
        joined
    }

    fn with_capacity(entries: usize) -> Self {
        Self { columns: Vec::with_capacity(entries), values: Vec::with_capacity(entries), ..Self::default() }
    }

    fn push(&mut self, column: u32, value: f32) {
        self.columns.push(column);
        self.values.push(value);
    }

    fn end(&mut self) {
        let begin = self.ends.last().copied().unwrap_or(0);
        let (columns, values) = (&mut self.columns[begin..], &mut self.values[begin..]);
        if !columns.is_sorted() {
            self.row.clear();
            self.row.extend(columns.iter().copied().zip(values.iter().copied()));
            self.row.sort_by_key(|entry| entry.0);
            for ((column, value), entry) in columns.iter_mut().zip(values).zip(&self.row) {
                (*column, *value) = *entry;
            }
        }
        self.ends.push(self.columns.len());
    }

    fn csr(self, n_columns: usize) -> Result<Csr> {
        let mut offsets = vec![0];
        offsets.extend(self.ends);
        Csr::new(offsets, self.columns, self.values, n_columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(matrix: &Csr) -> Vec<Vec<(u32, f32)>> {
        let row = |row| matrix.row(row).iter().copied().zip(matrix.row_values(row).iter().copied()).collect();
        (0..matrix.n_rows()).map(row).collect()
    }

    #[test]
    fn solved_weights_take_the_place_of_those_of_their_targets_and_give_it_back() {
        // Items 0, 1, 2 are 0, 3, gone among four; 1 and 2 are new.
        let there = Csr::new(vec![0, 2, 4, 5], vec![1, 2, 0, 2, 0], vec![5.0, 9.0, 6.0, 8.0, 7.0], 3).unwrap();
        let nothing = Csr::empty(3, 3);
        let context = Context::new(Some(2)).unwrap();
        let (places, is_valid) = ([Some(0), Some(3), None], [true; 3]);
        let trained = Trained { weights: &there, is_valid: &is_valid, covered: &nothing, places: &places };
        let weights = Csr::new(vec![0, 2, 5], vec![0, 2, 0, 1, 3], vec![1.0, 2.0, 0.5, 3.0, 4.0], 4).unwrap();
        let thresholds = [Some(1.5), None, None, Some(9.0)];
        let solved = |targets| Solved { targets, weights: &weights, scale: 2.0, thresholds: &thresholds, k: 1 };
        let (served, covered) = trained.with(&solved(&[1, 2]), &context).unwrap();
        assert_eq!(rows(&served), [vec![(1, 2.0), (3, 5.0)], vec![(2, 6.0)], vec![(1, 4.0)], vec![(0, 6.0)]]);
        assert!(covered.is_empty());
        let (served, covered) = trained.with(&solved(&[0, 1]), &context).unwrap();
        assert_eq!(rows(&served)[3], []);
        assert_eq!(rows(&covered), [vec![], vec![], vec![], vec![(0, 6.0)]]);
        // Once the target is none any more, what the training left stands there again.
        let is_valid = [false, false, true, true];
        let places = [Some(0), Some(1), Some(2), Some(3)];
        let updated = Trained { weights: &served, is_valid: &is_valid, covered: &covered, places: &places };
        let nothing = Csr::empty(0, 4);
        let none = Solved { targets: &[], weights: &nothing, scale: 2.0, thresholds: &thresholds, k: 1 };
        let (served, covered) = updated.with(&none, &context).unwrap();
        assert_eq!(rows(&served), [vec![(3, 5.0)], vec![], vec![], vec![(0, 6.0)]]);
        assert!(covered.is_empty());
        for targets in [&[4, 5][..], &[1], &[2, 1]] {
            assert!(trained.with(&solved(targets), &context).is_err());
        }
    }
}
