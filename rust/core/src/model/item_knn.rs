//! Item k-nearest neighbors: the sparse similarity of items, cut to the strongest targets of every source item.
//!
//! ```text
//! P_ji = Σ_u w_uj w_ui / D_u^a          D_x = Σ w²   over the entries of x (the degree, where all weights are 1)
//! c_ji = P_ji / (D_j^b · D_i^c + shrinkage)
//! ```
//!
//! Cosine is a = 0, b = c = ½; a = 1, b = c = ½ is the normalized co-occurrence of graph filters (GF-CF: Shen et al.,
//! CIKM 2021); a negative c favors popular targets.
//!
//! Row by row (Gustavson): the row of item j adds up the rows of its users into one dense accumulator per thread, so P is
//! never stored; on Gowalla it has 35.9 M entries. The targets of a row are one bit each, read back in ascending order. The
//! sum of a pair runs over users in ascending order, unfused, in f32: same bits for every number of threads. Of equal values
//! the smaller position stays. Only positive similarities are kept.

use rayon::prelude::*;

use crate::data::Csr;
use crate::runtime::Context;
use crate::{Error, Result};

/// Item k-nearest neighbors: how similarity is measured and cut.
#[derive(Clone, Copy, Debug)]
pub struct ItemKnn {
    /// Targets kept for each source item.
    pub neighbors: usize,
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
}

/// Source items handled by one task; a constant, so that nothing depends on the number of threads.
const CHUNK: usize = 32;

impl ItemKnn {
    /// The similarity rows of `interactions` (users × items): row j holds what history item j adds to others.
    pub fn fit(&self, interactions: &Csr, context: &Context) -> Result<Csr> {
        self.check()?;
        let by_item = interactions.transpose();
        let user_scale: Vec<f32> = powers(interactions, -self.user_power);
        let source_scale = powers(&by_item, self.source_power);
        let target_scale = powers(&by_item, self.target_power);
        let pairs =
            Pairs { by_user: interactions, by_item: &by_item, user_scale, source_scale, target_scale, options: self };
        let all_ones = interactions.values().iter().all(|&w| w == 1.0);
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

/// D^power of every row; 1 for rows without entries, which nothing multiplies. ½, 0 and 1 avoid `powf`, which differs
/// between platforms.
fn powers(matrix: &Csr, power: f32) -> Vec<f32> {
    (0..matrix.n_rows())
        .map(|row| {
            let size: f64 = matrix.row_values(row).iter().map(|&w| f64::from(w) * f64::from(w)).sum();
            let magnitude = match power.abs() {
                _ if size == 0.0 => 1.0,
                0.0 => 1.0,
                0.5 => size.sqrt(),
                1.0 => size,
                other => size.powf(f64::from(other)),
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

struct Pairs<'a> {
    by_user: &'a Csr,
    by_item: &'a Csr,
    user_scale: Vec<f32>,
    source_scale: Vec<f32>,
    target_scale: Vec<f32>,
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

    /// Cuts the sums to the `k` strongest, in ascending order of position, and clears them.
    fn select(&self, source: usize, scratch: &mut Scratch, rows: &mut Rows) -> Result<()> {
        let Scratch { sums, marks, found } = scratch;
        found.clear();
        let source_scale = self.source_scale[source];
        for (at, word) in marks.iter_mut().enumerate() {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                let target = at * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let sum = std::mem::take(&mut sums[target]);
                if target == source && !self.options.keep_diagonal {
                    continue;
                }
                let value = sum / (source_scale * self.target_scale[target] + self.options.shrinkage);
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
                        (i as u32, sum / (source[j] * target[i] + o.shrinkage))
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
            ] {
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
    fn what_makes_no_sense_is_refused() {
        let matrix = random(5, 5, true);
        let context = Context::new(Some(1)).unwrap();
        assert!(options(0).fit(&matrix, &context).is_err());
        assert!(ItemKnn { shrinkage: -1.0, ..options(1) }.fit(&matrix, &context).is_err());
        assert!(ItemKnn { user_power: f32::NAN, ..options(1) }.fit(&matrix, &context).is_err());
        let huge = Csr::new(vec![0, 2], vec![0, 1], vec![1e30, 1e30], 2).unwrap();
        assert!(options(1).fit(&huge, &context).is_err());
    }

    #[test]
    fn an_empty_matrix_has_empty_rows() {
        let context = Context::new(Some(1)).unwrap();
        assert_eq!(options(2).fit(&Csr::empty(3, 4), &context).unwrap(), Csr::empty(4, 4));
    }
}
