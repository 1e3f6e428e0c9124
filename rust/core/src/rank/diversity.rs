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
use crate::runtime::simd::dot::turn;
use crate::runtime::simd::gemm::{View, multiply};

use super::key::{position_of, score_of};

/// Candidates for each place of a list.
pub const POOL_PER_PLACE: usize = 3;

/// Vectors that are compared at once: what is left over would be multiplied one by one.
const COLUMNS_AT_ONCE: usize = 16;

/// Vectors that become columns at once.
const ROWS_TURNED: usize = 8;

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
    /// What each candidate is worth next to what was chosen; −∞ once it is chosen itself.
    values: Vec<f64>,
    /// Whether nothing was compared yet.
    is_new: bool,
    /// The code of each item, where codes are compared.
    codes: Vec<i32>,
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
        self.values.clear();
        self.values.extend_from_slice(&self.relevance);
        self.is_new = true;
        match (&diversity.codes, vectors) {
            (Some(codes), _) => {
                self.codes.clear();
                self.codes.extend(self.items.iter().map(|&item| codes[item as usize]));
            }
            (None, Some(vectors)) => self.compare_first(vectors, level),
            (None, None) => {}
        }
    }

    /// The products of the first candidates with all.
    fn compare_first(&mut self, (vectors, d): Vectors<'_>, level: Level) {
        let stride = self.items.len().next_multiple_of(COLUMNS_AT_ONCE);
        self.columns.resize(stride * d, 0.0);
        for (part, items) in self.items.chunks(ROWS_TURNED).enumerate() {
            let items = std::array::from_fn(|at| items[at.min(items.len() - 1)]);
            turn(level, vectors, d, &items, &mut self.columns[part * ROWS_TURNED..], stride);
        }
        let n = self.items.len();
        let n_rows = n.div_ceil(POOL_PER_PLACE).next_multiple_of(ROWS_AT_ONCE).min(n);
        self.first_rows.resize(n_rows * stride, 0.0);
        multiply(level, &mut self.first_rows, stride, View::transposed(&self.columns, stride), 0, &self.columns, d);
    }

    /// Takes note of how like the candidates are to an item that was chosen.
    pub fn compare(&mut self, diversity: &Diversity, vectors: Option<Vectors<'_>>, item: u32, level: Level) {
        let Self { items, relevance, likeness, values, is_new, codes, columns, first_rows, dots } = self;
        let stride = items.len().next_multiple_of(COLUMNS_AT_ONCE);
        let known = first_rows.chunks_exact(stride.max(1)).zip(&*items).find(|(_, known)| **known == item);
        match (&diversity.codes, vectors, known) {
            (Some(all), ..) => {
                let code = all[item as usize];
                if code >= 0 {
                    for (likeness, &other) in likeness.iter_mut().zip(&*codes) {
                        *likeness = if other == code { 1.0 } else { *likeness };
                    }
                }
            }
            (None, Some(_), Some((row, _))) => note(likeness, row, *is_new),
            (None, Some((vectors, d)), None) => {
                dots.resize(stride, 0.0);
                let vector = &vectors[item as usize * d..][..d];
                multiply(level, dots, stride, View::rows(vector, d), 0, columns, d);
                note(likeness, dots, *is_new);
            }
            (None, None, _) => return,
        }
        for ((value, relevance), &likeness) in values.iter_mut().zip(relevance).zip(&*likeness) {
            *value = *relevance - diversity.weight * f64::from(likeness);
        }
        *is_new = false;
    }

    /// The candidate of the largest value among those that `may` be chosen; of equal ones the first.
    pub fn best(&self, mut may: impl FnMut(usize) -> bool) -> Option<usize> {
        let greatest = greatest(&self.values);
        let first = self.values.iter().position(|&value| value == greatest)?;
        if greatest > f64::NEG_INFINITY && may(first) {
            return Some(first);
        }
        let mut best = None;
        for (at, &value) in self.values.iter().enumerate() {
            if value > f64::NEG_INFINITY && best.is_none_or(|(most, _)| value > most) && may(at) {
                best = Some((value, at));
            }
        }
        best.map(|(_, at)| at)
    }

    /// Takes a candidate out, which was chosen.
    pub fn remove(&mut self, at: usize) {
        if let (Some(value), Some(relevance)) = (self.values.get_mut(at), self.relevance.get_mut(at)) {
            (*value, *relevance) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        }
    }
}

/// The largest product so far with what was chosen.
fn note(likeness: &mut [f32], dots: &[f32], is_new: bool) {
    for (likeness, &dot) in likeness.iter_mut().zip(dots) {
        *likeness = if is_new || dot > *likeness { dot } else { *likeness };
    }
}

/// The greatest of some values, −∞ of none. Four at once, for a single one waits for itself.
fn greatest(values: &[f64]) -> f64 {
    let larger = |a: f64, b: f64| if a > b { a } else { b };
    let mut most = [f64::NEG_INFINITY; 4];
    let (whole, rest) = values.as_chunks::<4>();
    for values in whole {
        for (most, &value) in most.iter_mut().zip(values) {
            *most = larger(value, *most);
        }
    }
    rest.iter().chain(&most).fold(f64::NEG_INFINITY, |most, &value| larger(value, most))
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
            assert_eq!(pool.best(|_| true), Some(0));
            pool.compare(&diversity, Some((&vectors, 2)), 0, level);
            assert_eq!(pool.best(|at| at > 0), Some(2));
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
