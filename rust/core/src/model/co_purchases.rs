//! Values of the co-purchase table G between the candidates of one regression, of which there are some hundreds, out of
//! rows with a thousand entries each.
//!
//! Every pair of items has one place where it is looked up. Pairs of the most popular items, which most candidates are,
//! stand in a dense triangle. Any other pair is an entry of the row of its less popular item, so that the long rows of
//! popular items are hardly read; only where that row was cut before it, the other one has it. Of 3.5 processor seconds
//! for Online Retail's weights 2.6 went into reading all rows in full (Zen 3, 2026-11-27).

use rayon::prelude::*;

use crate::runtime::Context;

/// One row of G without its diagonal: companions by rising position.
#[derive(Default)]
pub struct Row {
    pub diagonal: f32,
    pub items: Vec<u32>,
    pub values: Vec<f32>,
}

/// Where a value between two candidates is found.
pub struct PairLookup<'a> {
    rows: &'a [Row],
    /// Places of the items by falling popularity.
    ranks: Vec<u32>,
    n_dense: usize,
    /// Of the most popular items: row after row what lies left of the diagonal.
    triangle: Vec<f32>,
    /// The entries of each row at which a pair is looked up.
    entries: Vec<Vec<u16>>,
}

/// What looking up takes, allocated once.
pub struct Scratch {
    /// Place of an item among the candidates, plus one; 0 for all others.
    places: Vec<u16>,
    /// Places and values of a candidate's companions, one more than there may be.
    found: Vec<(u16, f32)>,
    /// Ranks and places of the candidates in the triangle.
    dense: Vec<(u32, u16)>,
}

impl Scratch {
    /// For so many items and entries of a row.
    pub fn new(n_items: usize, max_entries: usize) -> Self {
        Self { places: vec![0; n_items], found: vec![(0, 0.0); max_entries + 1], dense: Vec::new() }
    }
}

impl<'a> PairLookup<'a> {
    /// Rows that have `max_entries` may have been cut. `popularity` are the users of each item, `n_dense` the items whose
    /// pairs stand in the triangle. A row that is not there is that of an item which is no candidate.
    pub fn new(rows: &'a [Row], popularity: &[usize], n_dense: usize, max_entries: usize, context: &Context) -> Self {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_by_key(|&item| std::cmp::Reverse(popularity[item as usize]));
        let mut ranks = vec![0; rows.len()];
        for (rank, &item) in order.iter().enumerate() {
            ranks[item as usize] = rank as u32;
        }
        let n_dense = n_dense.min(rows.len());
        let is_here = |item: u32, companion: u32| {
            let other = &rows[companion as usize];
            ranks[companion as usize] < ranks[item as usize]
                || (other.items.len() >= max_entries && other.items.binary_search(&item).is_err())
        };
        let in_triangle = |a: u32, b: u32| (ranks[a as usize].max(ranks[b as usize]) as usize) < n_dense;
        let mut triangle = vec![0.0; n_dense * n_dense.saturating_sub(1) / 2];
        for &item in &order[..n_dense] {
            let row = &rows[item as usize];
            for (&companion, &value) in row.items.iter().zip(&row.values) {
                // Either row may hold it: to write it twice is less work than to look whether both do.
                if in_triangle(item, companion) {
                    triangle[place(ranks[item as usize], ranks[companion as usize])] = value;
                }
            }
        }
        let entries = context.install(|| {
            (0..rows.len() as u32)
                .into_par_iter()
                .map(|item| {
                    let companions = rows[item as usize].items.iter().enumerate();
                    let here = companions.filter(|&(_, &other)| !in_triangle(item, other) && is_here(item, other));
                    here.map(|(at, _)| at as u16).collect()
                })
                .collect()
        });
        Self { rows, ranks, n_dense, triangle, entries }
    }

    /// Writes the values between `candidates`, which rise, into what lies right of the diagonal of `matrix`, whose rows are
    /// as long as there are candidates; what is 0 is left as it is.
    pub fn fill(&self, candidates: &[u32], matrix: &mut [f32], scratch: &mut Scratch) {
        let size = candidates.len();
        let Scratch { places, found, dense } = scratch;
        dense.clear();
        for (place, &item) in candidates.iter().enumerate() {
            places[item as usize] = place as u16 + 1;
            let rank = self.ranks[item as usize];
            if (rank as usize) < self.n_dense {
                dense.push((rank, place as u16));
            }
        }
        // 1. Pairs in the triangle, row by row.
        dense.sort_unstable();
        for (at, &(rank, own)) in dense.iter().enumerate().skip(1) {
            let row = &self.triangle[place(rank, 0)..][..rank as usize];
            for &(lower, other) in &dense[..at] {
                matrix[usize::from(own.min(other)) * size + usize::from(own.max(other))] = row[lower as usize];
            }
        }
        // 2. All others.
        for (place, &item) in candidates.iter().enumerate() {
            let (row, entries) = (&self.rows[item as usize], &self.entries[item as usize]);
            // Without a branch, which would be mispredicted time and again: most companions are no candidates.
            let mut count = 0;
            for &at in entries {
                let other = places[row.items[usize::from(at)] as usize];
                found[count] = (other, row.values[usize::from(at)]);
                count += usize::from(other > 0);
            }
            for &(other, value) in &found[..count] {
                let other = usize::from(other) - 1;
                matrix[other.min(place) * size + other.max(place)] = value;
            }
        }
        for &item in candidates {
            places[item as usize] = 0;
        }
    }
}

/// Where the triangle has the pair of two ranks.
fn place(a: u32, b: u32) -> usize {
    let (high, low) = (a.max(b) as usize, a.min(b) as usize);
    high * high.saturating_sub(1) / 2 + low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    /// Rows of a symmetric table, each cut to its largest values.
    fn rows(n_items: usize, max_entries: usize) -> Vec<Row> {
        let draws = Stream::new(3, 0);
        let value = |a: usize, b: usize| draws.f32((a.min(b) * n_items + a.max(b)) as u64);
        (0..n_items)
            .map(|item| {
                let mut items: Vec<u32> = (0..n_items as u32)
                    .filter(|&other| other as usize != item && value(item, other as usize) > 0.4)
                    .collect();
                items.sort_by(|&a, &b| value(item, b as usize).total_cmp(&value(item, a as usize)));
                items.truncate(max_entries);
                items.sort_unstable();
                let values = items.iter().map(|&other| value(item, other as usize)).collect();
                Row { diagonal: 1.0, items, values }
            })
            .collect()
    }

    #[test]
    fn a_pair_that_either_row_holds_is_found() {
        let context = Context::new(Some(2)).unwrap();
        let popularity: Vec<usize> = (0..40).map(|item| (item * 7) % 13).collect();
        for max_entries in [5, 12, 64] {
            let rows = rows(40, max_entries);
            for n_dense in [0, 1, 9, 40, 100] {
                let lookup = PairLookup::new(&rows, &popularity, n_dense, max_entries, &context);
                let mut scratch = Scratch::new(40, max_entries);
                for step in 1..4 {
                    let candidates: Vec<u32> = (0..40).step_by(step).collect();
                    let size = candidates.len();
                    let mut matrix = vec![0.0; size * size];
                    lookup.fill(&candidates, &mut matrix, &mut scratch);
                    for (a, &first) in candidates.iter().enumerate() {
                        for (b, &second) in candidates.iter().enumerate().skip(a + 1) {
                            let of = |item: u32, other: u32| {
                                let row = &rows[item as usize];
                                row.items.binary_search(&other).ok().map(|at| row.values[at])
                            };
                            let truth = of(first, second).or(of(second, first)).unwrap_or(0.0);
                            assert_eq!(matrix[a * size + b], truth, "{first} {second} {n_dense} {max_entries}");
                        }
                    }
                }
            }
        }
    }
}
