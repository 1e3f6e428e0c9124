//! The candidate that differs most from what a list holds already, relevance being weighed against likeness.
//!
//! ```text
//! value(i) = (1 − λ) · relevance(i) − λ · max over the chosen j of likeness(i, j)
//! ```
//!
//! maximal marginal relevance (Carbonell and Goldstein 1998). Relevance is the boosted score scaled to 0 … 1 over the
//! candidates; of two items, likeness is the product of their unit vectors, or 1 where they share a code and 0 elsewhere;
//! before the first is chosen it is 0.

use crate::runtime::simd::Level;
use crate::runtime::simd::gemm::{View, multiply};

use super::key::{position_of, score_of};

/// Candidates for each place of a list.
pub const POOL_PER_PLACE: usize = 3;

/// Vectors that are compared at once: what is left over would be multiplied one by one.
const COLUMNS_AT_ONCE: usize = 16;

/// The first candidates are those that are chosen most: their vectors are compared with all others together, for the sums
/// of one alone wait for each other.
const ROWS_AT_ONCE: usize = 6;

/// Unit vectors of all items, row by row, and the numbers of each.
pub type Vectors<'a> = (&'a [f32], usize);

/// How much likeness counts against relevance, and what is alike.
#[derive(Clone, Debug)]
pub struct Diversity {
    /// λ, from 0 to 1.
    pub weight: f64,
    /// Items with the same code are alike (1), others not (0), nor those with a negative one; `None`: vectors are compared.
    pub codes: Option<Vec<i32>>,
}

/// The candidates of one list, in memory that is kept from list to list.
#[derive(Default)]
pub struct Pool {
    items: Vec<u32>,
    /// (1 − λ) · relevance.
    relevance: Vec<f64>,
    likeness: Vec<f32>,
    /// Whether nothing was compared yet.
    is_new: bool,
    /// The vectors of the items, a column each, and columns that fill a register.
    columns: Vec<f32>,
    /// The products of the first candidates with all, row by row.
    first_rows: Vec<f32>,
    dots: Vec<f32>,
}

impl Pool {
    /// Takes the keys of these entries, best first, as the candidates.
    pub fn start(&mut self, diversity: &Diversity, entries: &[(u64, f32)], vectors: Option<Vectors<'_>>, level: Level) {
        let score = |entry: &(u64, f32)| f64::from(score_of(entry.0));
        self.items.clear();
        self.items.extend(entries.iter().map(|&(key, _)| position_of(key)));
        self.relevance.clear();
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let (least, range) = (score(last), score(first) - score(last));
            let scaled = range > 0.0 && range.is_finite();
            let relevant = |entry| if scaled { (score(entry) - least) / range } else { 0.0 };
            self.relevance.extend(entries.iter().map(|entry| (1.0 - diversity.weight) * relevant(entry)));
        }
        self.likeness.clear();
        self.likeness.resize(entries.len(), 0.0);
        self.is_new = true;
        if let (None, Some((vectors, d))) = (&diversity.codes, vectors) {
            let stride = entries.len().next_multiple_of(COLUMNS_AT_ONCE);
            self.columns.resize(stride * d, 0.0);
            for (part, items) in self.items.chunks(COLUMNS_AT_ONCE).enumerate() {
                let row = |at: usize| &vectors[items[at.min(items.len() - 1)] as usize * d..][..d];
                let rows: [&[f32]; COLUMNS_AT_ONCE] = std::array::from_fn(row);
                for (k, out) in self.columns.chunks_exact_mut(stride).enumerate() {
                    let out = &mut out[part * COLUMNS_AT_ONCE..][..COLUMNS_AT_ONCE];
                    for (out, row) in out.iter_mut().zip(&rows) {
                        *out = row[k];
                    }
                }
            }
            let n_rows = entries.len().div_ceil(POOL_PER_PLACE).next_multiple_of(ROWS_AT_ONCE).min(entries.len());
            self.first_rows.resize(n_rows * stride, 0.0);
            multiply(level, &mut self.first_rows, stride, View::transposed(&self.columns, stride), 0, &self.columns, d);
        }
    }

    /// Takes note of how like the candidates are to an item that was chosen.
    pub fn compare(&mut self, diversity: &Diversity, vectors: Option<Vectors<'_>>, item: u32, level: Level) {
        let Self { items, likeness, is_new, columns, first_rows, dots, .. } = self;
        let stride = items.len().next_multiple_of(COLUMNS_AT_ONCE);
        let known = first_rows.chunks_exact(stride.max(1)).zip(&*items).find(|(_, known)| **known == item);
        let dots = match (&diversity.codes, vectors, known) {
            (Some(codes), ..) => {
                let code = codes[item as usize];
                let alike = |&other: &u32| f32::from(u8::from(code >= 0 && codes[other as usize] == code));
                dots.clear();
                dots.extend(items.iter().map(alike));
                &*dots
            }
            (None, Some(_), Some((row, _))) => row,
            (None, Some((vectors, d)), None) => {
                dots.resize(stride, 0.0);
                let vector = &vectors[item as usize * d..][..d];
                multiply(level, dots, stride, View::rows(vector, d), 0, columns, d);
                &*dots
            }
            (None, None, _) => return,
        };
        for (likeness, &dot) in likeness.iter_mut().zip(dots) {
            *likeness = if *is_new { dot } else { likeness.max(dot) };
        }
        *is_new = false;
    }

    /// The candidate of the largest value among those that `may` be chosen; of equal ones the first.
    pub fn best(&self, diversity: &Diversity, mut may: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut best = None;
        for (at, (relevance, &likeness)) in self.relevance.iter().zip(&self.likeness).enumerate() {
            let value = relevance - diversity.weight * f64::from(likeness);
            if best.is_none_or(|(most, _)| value > most) && may(at) {
                best = Some((value, at));
            }
        }
        best.map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::key::key;

    #[test]
    fn what_is_like_the_chosen_gives_way_to_what_is_not() {
        let diversity = Diversity { weight: 0.5, codes: None };
        let vectors = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        let entries: Vec<_> = [(0, 3.0), (1, 2.9), (2, 1.0)].map(|(item, score)| (key(score, item), score)).into();
        for level in Level::available() {
            let mut pool = Pool::default();
            pool.start(&diversity, &entries, Some((&vectors, 2)), level);
            assert_eq!(pool.best(&diversity, |_| true), Some(0));
            pool.compare(&diversity, Some((&vectors, 2)), 0, level);
            assert_eq!(pool.best(&diversity, |at| at > 0), Some(2));
        }
    }

    #[test]
    fn likeness_is_the_largest_product_with_the_chosen_wherever_they_stand() {
        let (d, n, draws) = (9, 40, crate::runtime::rng::Stream::new(5, 0));
        let diversity = Diversity { weight: 0.5, codes: None };
        let vectors: Vec<f32> = (0..n * d).map(|at| draws.normal(at as u64)).collect();
        let product =
            |i: usize, j: usize| (0..d).fold(0.0, |sum, k| vectors[i * d + k].mul_add(vectors[j * d + k], sum));
        for level in Level::available() {
            let mut pool = Pool::default();
            // Fewer, more and fewer again in the same memory; item 39 is no candidate.
            for count in [1, 7, 30, 17] {
                let entries: Vec<_> = (0..count).map(|item| (key(-(item as f32), item), 0.0)).collect();
                pool.start(&diversity, &entries, Some((&vectors, d)), level);
                for chosen in [39, 0, count - 1, count / 3] {
                    pool.compare(&diversity, Some((&vectors, d)), chosen, level);
                }
                for item in 0..count as usize {
                    let to = [39, 0, count as usize - 1, count as usize / 3].map(|chosen| product(item, chosen));
                    assert_eq!(pool.likeness[item], to.into_iter().fold(f32::NEG_INFINITY, f32::max));
                }
            }
        }
    }
}
