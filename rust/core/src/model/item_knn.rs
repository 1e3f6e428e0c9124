//! Item k-nearest neighbors: the sparse similarity of items, cut to the strongest targets of every source item.
//!
//! ```text
//! P_ji = Σ_u w_uj w_ui / D_u^a          D_x = Σ w²   over the entries of x (the degree, where all weights are 1)
//! c_ji = P_ji / (D_j^b · D_i^c + shrinkage)
//! ```
//!
//! Cosine is a = 0, b = c = ½; a = 1, b = c = ½ is the normalized co-occurrence of graph filters (GF-CF: Shen et al.,
//! CIKM 2021); a negative c favors popular targets. `RP3beta` (Paudel, Christoffel, Newell and Bernstein, TiiS 2016) is
//! a = b = α, c = β. Two more measures have their own denominators:
//!
//! ```text
//! Jaccard:  c_ji = P_ji / (n_j + n_i − P_ji + shrinkage)                       all weights 1, n: entries of an item
//! Pearson:  c_ji = (P_ji − S_j S_i / U) / (V_j^½ V_i^½ + shrinkage)            S = Σ w, V = D − S² / U, U users
//! ```
//!
//! The cut is by source, the k strongest targets of each source, or by target, the k strongest sources of each target,
//! as in Sarwar et al. (WWW 2001).
//!
//! Row by row (Gustavson): the row of item j adds up the rows of its users into one dense accumulator per thread, so P is
//! never stored; on Gowalla it has 35.9 M entries. The targets of a row are one bit each, read back in ascending order. The
//! sum of a pair runs over users in ascending order, unfused, in f32: same bits for every number of threads. Of equal values
//! the smaller position stays. Only positive similarities are kept.

use rayon::prelude::*;

use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::vector::power as power_of;
use crate::{Error, Result};

/// What a pair's sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// Powers of both sizes: cosine, inner product, random walks.
    Powers,
    /// The users of either item.
    Jaccard,
    /// Cosine of the weights minus their means over all users.
    Pearson,
}

/// Item k-nearest neighbors: how similarity is measured and cut.
#[derive(Clone, Copy, Debug)]
pub struct ItemKnn {
    /// Neighbors kept: targets for each source item, or sources for each target.
    pub neighbors: usize,
    /// The measure.
    pub similarity: Similarity,
    /// a: how much a user with many items counts less.
    pub user_power: f32,
    /// b: the power of the source item's size in the denominator.
    pub source_power: f32,
    /// c: the power of the target item's size in the denominator.
    pub target_power: f32,
    /// Added to the denominator.
    pub shrinkage: f32,
    /// Whether an item may be its own neighbor; of use where purchases repeat.
    pub keep_diagonal: bool,
    /// Whether each target keeps its strongest sources, instead of each source its strongest targets.
    pub cut_by_target: bool,
}

/// Source items handled by one task; a constant, so that nothing depends on the number of threads.
const CHUNK: usize = 32;

impl ItemKnn {
    /// The similarity rows of `interactions` (users × items): row j holds what history item j adds to others.
    pub fn fit(&self, interactions: &Csr, context: &Context) -> Result<Csr> {
        self.check()?;
        if self.cut_by_target {
            // Row i of the other side's cut holds what target i keeps of its sources.
            let turned = Self {
                source_power: self.target_power,
                target_power: self.source_power,
                cut_by_target: false,
                ..*self
            };
            return Ok(turned.fit(interactions, context)?.transpose());
        }
        let by_item = interactions.transpose();
        let user_scale: Vec<f32> = powers(interactions, -self.user_power);
        let source_scale = powers(&by_item, self.source_power);
        let target_scale = powers(&by_item, self.target_power);
        let all_ones = interactions.values().iter().all(|&w| w == 1.0);
        if self.similarity == Similarity::Jaccard && !all_ones {
            return Err(Error::InvalidParameter("Jaccard similarity compares sets: all weights must be 1.".into()));
        }
        let pairs = Pairs {
            by_user: interactions,
            by_item: &by_item,
            user_scale,
            source_scale,
            target_scale,
            spread: if self.similarity == Similarity::Pearson { Spread::of_rows(&by_item) } else { Vec::new() },
            options: self,
        };
        let n_items = by_item.n_rows();
        let rows: Vec<Rows> = context.install(|| {
            (0..n_items.div_ceil(CHUNK))
                .into_par_iter()
                .map_init(
                    || Scratch::new(n_items),
                    |scratch, chunk| {
                        let mut rows = Rows::default();
                        for source in chunk * CHUNK..((chunk + 1) * CHUNK).min(n_items) {
                            context.cancel.check()?;
                            if all_ones {
                                pairs.add_up::<true>(source, scratch);
                            } else {
                                pairs.add_up::<false>(source, scratch);
                            }
                            pairs.select(source, scratch, &mut rows)?;
                        }
                        Ok(rows)
                    },
                )
                .collect::<Result<_>>()
        })?;
        let mut offsets = Vec::with_capacity(n_items + 1);
        offsets.push(0);
        for length in rows.iter().flat_map(|part| &part.lengths) {
            offsets.push(offsets[offsets.len() - 1] + length);
        }
        let columns = rows.iter().flat_map(|part| part.columns.iter().copied()).collect();
        let values = rows.iter().flat_map(|part| part.values.iter().copied()).collect();
        Csr::new(offsets, columns, values, n_items)
    }

    fn check(&self) -> Result<()> {
        if self.neighbors == 0 {
            return Err(Error::InvalidParameter("the number of neighbors is 0; it must be at least 1.".into()));
        }
        for (name, value) in [
            ("user_power", self.user_power),
            ("source_power", self.source_power),
            ("target_power", self.target_power),
            ("shrinkage", self.shrinkage),
        ] {
            if !value.is_finite() || (name == "shrinkage" && value < 0.0) {
                return Err(Error::InvalidParameter(format!(
                    "{name} is {value}; it must be finite and shrinkage at least 0."
                )));
            }
        }
        Ok(())
    }
}

/// D^power of every row; 1 for rows without entries, which nothing multiplies.
fn powers(matrix: &Csr, power: f32) -> Vec<f32> {
    (0..matrix.n_rows())
        .map(|row| {
            let size: f64 = matrix.row_values(row).iter().map(|&w| f64::from(w) * f64::from(w)).sum();
            let magnitude = match power.abs() {
                _ if size == 0.0 => 1.0,
                0.0 => 1.0,
                0.5 => size.sqrt(),
                1.0 => size,
                other => f64::from(power_of(size, other)),
            };
            (if power < 0.0 { 1.0 / magnitude } else { magnitude }) as f32
        })
        .collect()
}

#[derive(Default)]
struct Rows {
    lengths: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

/// One thread's accumulator; all zero between rows.
struct Scratch {
    sums: Vec<f32>,
    marks: Vec<u64>,
    found: Vec<u64>,
}

impl Scratch {
    fn new(n_items: usize) -> Self {
        Self { sums: vec![0.0; n_items], marks: vec![0; n_items.div_ceil(64)], found: Vec::new() }
    }
}

/// The weights of an item over all users: Σ w, and the root of V.
#[derive(Clone, Copy)]
struct Spread {
    sum: f64,
    deviation: f64,
}

impl Spread {
    fn of_rows(matrix: &Csr) -> Vec<Self> {
        let count = matrix.n_columns() as f64;
        (0..matrix.n_rows())
            .map(|row| {
                let values = || matrix.row_values(row).iter().map(|&w| f64::from(w));
                let (sum, squares) = (values().sum::<f64>(), values().map(|w| w * w).sum::<f64>());
                Self { sum, deviation: (squares - sum * sum / count).max(0.0).sqrt() }
            })
            .collect()
    }
}

struct Pairs<'a> {
    by_user: &'a Csr,
    by_item: &'a Csr,
    user_scale: Vec<f32>,
    source_scale: Vec<f32>,
    target_scale: Vec<f32>,
    spread: Vec<Spread>,
    options: &'a ItemKnn,
}

impl Pairs<'_> {
    /// `sums[i]` becomes `P_ji` for the source j.
    fn add_up<const ONES: bool>(&self, source: usize, scratch: &mut Scratch) {
        for (&user, &weight) in self.by_item.row(source).iter().zip(self.by_item.row_values(source)) {
            let user = user as usize;
            let scale = weight * self.user_scale[user];
            let targets = self.by_user.row(user);
            if ONES {
                for &target in targets {
                    scratch.sums[target as usize] += scale;
                    scratch.marks[target as usize / 64] |= 1 << (target % 64);
                }
            } else {
                for (&target, &other) in targets.iter().zip(self.by_user.row_values(user)) {
                    scratch.sums[target as usize] += scale * other;
                    scratch.marks[target as usize / 64] |= 1 << (target % 64);
                }
            }
        }
    }

    /// The similarity of a pair whose sum is `sum`.
    fn similarity(&self, source: usize, target: usize, sum: f32) -> f32 {
        let shrinkage = self.options.shrinkage;
        match self.options.similarity {
            Similarity::Powers => sum / (self.source_scale[source] * self.target_scale[target] + shrinkage),
            Similarity::Jaccard => {
                let either = (self.by_item.row(source).len() + self.by_item.row(target).len()) as f32 - sum;
                sum / (either + shrinkage)
            }
            Similarity::Pearson => {
                let (one, other) = (self.spread[source], self.spread[target]);
                let by_chance = one.sum * other.sum / self.by_user.n_rows() as f64;
                let scale = one.deviation * other.deviation + f64::from(shrinkage);
                // An item that everybody has varies with nothing.
                if scale > 0.0 { ((f64::from(sum) - by_chance) / scale) as f32 } else { 0.0 }
            }
        }
    }

    /// Cuts the sums to the `k` strongest, in ascending order of position, and clears them.
    fn select(&self, source: usize, scratch: &mut Scratch, rows: &mut Rows) -> Result<()> {
        let Scratch { sums, marks, found } = scratch;
        found.clear();
        for (at, word) in marks.iter_mut().enumerate() {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                let target = at * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let sum = std::mem::take(&mut sums[target]);
                if target == source && !self.options.keep_diagonal {
                    continue;
                }
                let value = self.similarity(source, target, sum);
                if !value.is_finite() {
                    return Err(Error::InvalidData(format!(
                        "the similarity of items {source} and {target} is {value}: the weights are too large or too small \
                         for f32. Scale them."
                    )));
                }
                if value > 0.0 {
                    // Positive floats order like their bits; below them the position, smaller first.
                    found.push(u64::from(value.to_bits()) << 32 | u64::from(!(target as u32)));
                }
            }
        }
        let k = self.options.neighbors;
        if found.len() > k {
            found.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
            found.truncate(k);
        }
        found.sort_unstable_by_key(|&key| !(key as u32));
        rows.lengths.push(found.len());
        rows.columns.extend(found.iter().map(|&key| !(key as u32)));
        rows.values.extend(found.iter().map(|&key| f32::from_bits((key >> 32) as u32)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn options(neighbors: usize) -> ItemKnn {
        ItemKnn {
            neighbors,
            user_power: 0.0,
            source_power: 0.5,
            target_power: 0.5,
            shrinkage: 0.0,
            keep_diagonal: false,
            similarity: Similarity::Powers,
            cut_by_target: false,
        }
    }

    fn random(n_users: usize, n_items: usize, ones: bool) -> Csr {
        let draws = Stream::new(3, 1);
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for user in 0..n_users {
            for item in 0..n_items {
                let draw = draws.f32((user * n_items + item) as u64);
                if draw < 0.2 {
                    columns.push(item as u32);
                    values.push(if ones { 1.0 } else { 0.5 + draw * 10.0 });
                }
            }
            offsets.push(columns.len());
        }
        Csr::new(offsets, columns, values, n_items).unwrap()
    }

    /// The specification: every pair by itself, a full sort.
    fn naive(matrix: &Csr, o: &ItemKnn) -> Vec<Vec<(u32, f32)>> {
        let by_item = matrix.transpose();
        let (user, source, target) =
            (powers(matrix, -o.user_power), powers(&by_item, o.source_power), powers(&by_item, o.target_power));
        let weight = |u: usize, i: usize| {
            matrix.row(u).iter().position(|&x| x as usize == i).map_or(0.0, |at| matrix.row_values(u)[at])
        };
        (0..by_item.n_rows())
            .map(|j| {
                let mut row: Vec<(u32, f32)> = (0..by_item.n_rows())
                    .filter(|&i| i != j || o.keep_diagonal)
                    .map(|i| {
                        let mut sum = 0.0f32;
                        for u in 0..matrix.n_rows() {
                            if weight(u, j) != 0.0 && weight(u, i) != 0.0 {
                                sum += weight(u, j) * user[u] * weight(u, i);
                            }
                        }
                        let n = |x: usize| by_item.row(x).len() as f32;
                        let total = |x: usize| by_item.row_values(x).iter().map(|&w| f64::from(w)).sum::<f64>();
                        let users = matrix.n_rows() as f64;
                        let deviation = |x: usize| {
                            let squares = by_item.row_values(x).iter().map(|&w| f64::from(w) * f64::from(w));
                            (squares.sum::<f64>() - total(x) * total(x) / users).max(0.0).sqrt()
                        };
                        let value = match o.similarity {
                            // Items without a common user are not looked at.
                            _ if sum == 0.0 => 0.0,
                            Similarity::Powers => sum / (source[j] * target[i] + o.shrinkage),
                            Similarity::Jaccard => sum / (n(j) + n(i) - sum + o.shrinkage),
                            Similarity::Pearson => {
                                let scale = deviation(j) * deviation(i) + f64::from(o.shrinkage);
                                ((f64::from(sum) - total(j) * total(i) / users) / scale) as f32
                            }
                        };
                        (i as u32, value)
                    })
                    .filter(|pair| pair.1 > 0.0)
                    .collect();
                row.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                row.truncate(o.neighbors);
                row.sort_by_key(|pair| pair.0);
                row
            })
            .collect()
    }

    #[test]
    fn rows_equal_the_full_sort_for_every_number_of_threads() {
        for ones in [true, false] {
            let matrix = random(50, 90, ones);
            for o in [
                options(5),
                options(1000),
                ItemKnn { user_power: 1.0, shrinkage: 3.0, keep_diagonal: true, ..options(7) },
                ItemKnn { user_power: 0.3, target_power: -0.2, ..options(4) },
                ItemKnn { similarity: Similarity::Pearson, shrinkage: 0.5, ..options(6) },
                ItemKnn { similarity: Similarity::Jaccard, shrinkage: 2.0, ..options(6) },
            ] {
                if o.similarity == Similarity::Jaccard && !ones {
                    continue;
                }
                let expected = naive(&matrix, &o);
                for threads in [1, 2, 3, 8] {
                    let got = o.fit(&matrix, &Context::new(Some(threads)).unwrap()).unwrap();
                    for (j, row) in expected.iter().enumerate() {
                        let pairs: Vec<(u32, f32)> =
                            got.row(j).iter().copied().zip(got.row_values(j).iter().copied()).collect();
                        assert_eq!(&pairs, row, "item {j}, {threads} threads, {o:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn cut_by_target_each_item_keeps_its_strongest_sources() {
        let matrix = random(50, 90, false);
        let context = Context::new(Some(2)).unwrap();
        let whole = ItemKnn { source_power: 0.3, target_power: 0.8, ..options(90) };
        let every = whole.fit(&matrix, &context).unwrap().transpose();
        let cut = ItemKnn { neighbors: 7, cut_by_target: true, ..whole }.fit(&matrix, &context).unwrap().transpose();
        for target in 0..90 {
            let mut sources: Vec<(u32, f32)> =
                every.row(target).iter().copied().zip(every.row_values(target).iter().copied()).collect();
            sources.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            sources.truncate(7);
            let kept = cut.row_values(target);
            assert_eq!(kept.len(), sources.len());
            for (_, value) in sources {
                assert!(kept.iter().any(|k| (k - value).abs() < 1e-6 * value), "{target}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let matrix = random(5, 5, true);
        let context = Context::new(Some(1)).unwrap();
        assert!(options(0).fit(&matrix, &context).is_err());
        assert!(ItemKnn { shrinkage: -1.0, ..options(1) }.fit(&matrix, &context).is_err());
        assert!(ItemKnn { user_power: f32::NAN, ..options(1) }.fit(&matrix, &context).is_err());
        assert!(ItemKnn { similarity: Similarity::Jaccard, ..options(1) }.fit(&random(9, 9, false), &context).is_err());
        let huge = Csr::new(vec![0, 2], vec![0, 1], vec![1e30, 1e30], 2).unwrap();
        assert!(options(1).fit(&huge, &context).is_err());
    }

    #[test]
    fn an_empty_matrix_has_empty_rows() {
        let context = Context::new(Some(1)).unwrap();
        assert_eq!(options(2).fit(&Csr::empty(3, 4), &context).unwrap(), Csr::empty(4, 4));
    }
}
