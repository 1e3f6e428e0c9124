//! Values of the co-purchase table G between the candidates of one regression, of which there are some hundreds, out of
//! rows with a thousand entries each.
//!
//! Every pair of items has one place where it is looked up. Pairs of the most popular items, which most candidates are,
//! stand in a dense triangle. Any other pair is an entry of its less popular item, so that the long rows of popular items
//! are hardly read; only where that row was cut before it, the other one has it. The partners of an item lie side by side,
//! away from their values, since of hundreds that are read only a few are candidates.

use rayon::prelude::*;

use crate::runtime::Context;
use crate::runtime::simd::sparse::fetch;

/// One row of G without its diagonal: companions by rising position.
#[derive(Default)]
pub struct Row {
    pub diagonal: f32,
    pub items: Vec<u32>,
    pub values: Vec<f32>,
    /// The key of the last companion before the row was cut ([`falling_key`] of the value times the companion's weight);
    /// `u64::MAX` where it was not.
    pub last: u64,
}

/// Orders numbers that are not negative, as their bits do: the greatest first, of equal ones that at the first place.
pub(super) fn falling_key(value: f32, place: u32) -> u64 {
    u64::from(!value.to_bits()) << 32 | u64::from(place)
}

/// Where a value between two candidates is found.
pub struct PairLookup {
    /// Places of the items by falling popularity.
    ranks: Vec<u32>,
    n_dense: usize,
    /// Of the most popular items: row after row what lies left of the diagonal.
    triangle: Vec<f32>,
    /// The pairs that are looked up at each item: partners by their ranks, and the values.
    entries: Vec<(Vec<u32>, Vec<f32>)>,
}

/// What looking up takes, allocated once.
pub struct Scratch {
    /// Place of an item among the candidates, by its rank.
    places: Vec<u16>,
    /// Which ranks are candidates, a bit each.
    marked: Vec<u64>,
    /// Entries whose partner is a candidate, one more than there may be.
    found: Vec<u16>,
    /// Ranks and places of the candidates in the triangle.
    dense: Vec<(u32, u16)>,
}

impl Scratch {
    /// For so many items and entries of a row.
    pub fn new(n_items: usize, max_entries: usize) -> Self {
        Self {
            places: vec![0; n_items],
            marked: vec![0; n_items.div_ceil(64)],
            found: vec![0; max_entries + 1],
            dense: Vec::new(),
        }
    }
}

impl PairLookup {
    /// `popularity` are the users of each item, `weights` what its values were multiplied with where rows were cut, `n_dense`
    /// the items whose pairs stand in the triangle. A row that is not there is that of an item which is no candidate.
    pub fn new(rows: &[Row], popularity: &[usize], weights: &[f32], n_dense: usize, context: &Context) -> Self {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_by_key(|&item| std::cmp::Reverse(popularity[item as usize]));
        let mut ranks = vec![0; rows.len()];
        for (rank, &item) in order.iter().enumerate() {
            ranks[item as usize] = rank as u32;
        }
        let n_dense = n_dense.min(rows.len());
        let is_here = |item: u32, companion: u32, value: f32| {
            ranks[companion as usize] < ranks[item as usize]
                || falling_key(value * weights[item as usize], item) > rows[companion as usize].last
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
                    let row = &rows[item as usize];
                    let pairs = row.items.iter().zip(&row.values);
                    let here =
                        pairs.filter(|&(&other, &value)| !in_triangle(item, other) && is_here(item, other, value));
                    here.map(|(&other, &value)| (ranks[other as usize], value)).unzip()
                })
                .collect()
        });
        Self { ranks, n_dense, triangle, entries }
    }

    /// Writes the values between `candidates`, which rise, into what lies right of the diagonal of `matrix`, whose rows are
    /// `stride` long; what is 0 is left as it is.
    pub fn fill(&self, candidates: &[u32], matrix: &mut [f32], stride: usize, scratch: &mut Scratch) {
        let Scratch { places, marked, found, dense } = scratch;
        dense.clear();
        for (place, &item) in candidates.iter().enumerate() {
            let rank = self.ranks[item as usize];
            places[rank as usize] = place as u16;
            marked[rank as usize / 64] |= 1 << (rank % 64);
            if (rank as usize) < self.n_dense {
                dense.push((rank, place as u16));
            }
        }
        // 1. Pairs in the triangle, row by row.
        dense.sort_unstable();
        for (at, &(rank, own)) in dense.iter().enumerate().skip(1) {
            let row = &self.triangle[place(rank, 0)..][..rank as usize];
            for &(lower, other) in &dense[..at] {
                matrix[usize::from(own.min(other)) * stride + usize::from(own.max(other))] = row[lower as usize];
            }
        }
        // 2. All others.
        let (marks, found) = (&marked[..], &mut found[..]);
        for (place, &item) in candidates.iter().enumerate() {
            let (partners, values) = &self.entries[item as usize];
            // The next lists are somewhere else.
            if let Some(&next) = candidates.get(place + 1) {
                let (partners, values) = &self.entries[next as usize];
                fetch(partners, 0, partners.len());
                fetch(values, 0, values.len());
            }
            // Without a branch, which would be mispredicted time and again: most partners are no candidates.
            let mut count = 0;
            for (at, &rank) in partners.iter().enumerate() {
                found[count] = at as u16;
                count += (marks[rank as usize / 64] >> (rank % 64) & 1) as usize;
            }
            for &at in &found[..count] {
                let other = usize::from(places[partners[usize::from(at)] as usize]);
                matrix[other.min(place) * stride + other.max(place)] = values[usize::from(at)];
            }
        }
        for &item in candidates {
            marked[self.ranks[item as usize] as usize / 64] = 0;
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
                let last = if items.len() > max_entries { items[max_entries - 1] } else { u32::MAX };
                items.truncate(max_entries);
                items.sort_unstable();
                let values = items.iter().map(|&other| value(item, other as usize)).collect();
                let last = if last == u32::MAX { u64::MAX } else { falling_key(value(item, last as usize), last) };
                Row { diagonal: 1.0, items, values, last }
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
                let lookup = PairLookup::new(&rows, &popularity, &[1.0; 40], n_dense, &context);
                let mut scratch = Scratch::new(40, max_entries);
                for step in 1..4 {
                    let candidates: Vec<u32> = (0..40).step_by(step).collect();
                    let size = candidates.len();
                    let mut matrix = vec![0.0; size * size];
                    lookup.fill(&candidates, &mut matrix, size, &mut scratch);
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
