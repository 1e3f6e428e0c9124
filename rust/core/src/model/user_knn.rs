//! User k-nearest neighbors: those of the training table whose purchases are most like a history's.
//!
//! ```text
//! s_uv = ⟨x_u, x_v⟩ / (‖x_u‖ ‖x_v‖ + shrinkage)           or Jaccard: n_uv / (n_u + n_v − n_uv + shrinkage)
//! ```
//!
//! x are the weighed rows (see `weighting`). Resnick et al. (CSCW 1994), on the cosine. A user who has exactly the items
//! of the history is no neighbor: there is nothing to take from them. So a user of the table, whose own row that is, and
//! a visitor with the same history have the same neighbors.
//!
//! A history is compared with everybody who shares an item with it, by one dense accumulator per thread; the sum of a
//! pair runs over the history's items in ascending order, so the bits are those of any number of threads.

use crate::data::Csr;
use crate::runtime::Context;
use crate::{Error, Result};

use super::item_knn::Similarity;
use super::weighting::{Weigher, Weighting};

/// How users are compared.
#[derive(Clone, Copy, Debug)]
pub struct UserKnn {
    /// Neighbors of a user.
    pub neighbors: usize,
    /// Cosine, or Jaccard for the sets alone.
    pub similarity: Similarity,
    /// How purchases are weighed; for the inner product of BM25 nothing is divided by.
    pub weighting: Weighting,
    /// Added to the denominator.
    pub shrinkage: f32,
}

/// The users of a training table, ready to be compared with histories.
pub struct UserNeighbors {
    options: UserKnn,
    weigher: Weigher,
    users: Csr,
    by_item: Csr,
    sizes: Vec<f32>,
}

/// Histories handled by one task.
const CHUNK: usize = 16;

impl UserNeighbors {
    /// Takes the training table (users × items).
    pub fn new(options: UserKnn, users: &Csr) -> Result<Self> {
        let bad = |message: &str| Err(Error::InvalidParameter(message.into()));
        if options.neighbors == 0 {
            return bad("the number of neighbors is 0; it must be at least 1.");
        }
        if !(options.shrinkage >= 0.0 && options.shrinkage.is_finite()) {
            return bad("shrinkage must be finite and at least 0.");
        }
        if options.similarity == Similarity::Pearson {
            return bad("users are compared by cosine or Jaccard.");
        }
        if options.similarity == Similarity::Jaccard && users.values().iter().any(|&w| w != 1.0) {
            return bad("Jaccard similarity compares sets: all weights must be 1.");
        }
        let weigher = Weigher::new(options.weighting, users)?;
        let users = weigher.weigh(users)?;
        let by_item = users.transpose();
        let sizes = sizes(options, &users);
        Ok(Self { options, weigher, users, by_item, sizes })
    }

    /// The nearest users of each history (histories × users), by rising position; only positive similarities.
    pub fn of(&self, histories: &Csr, context: &Context) -> Result<Csr> {
        if histories.n_columns() != self.users.n_columns() {
            let (found, expected) = (histories.n_columns(), self.users.n_columns());
            return Err(Error::InvalidData(format!("histories over {found} items; there are {expected}.")));
        }
        let histories = self.weigher.weigh(histories)?;
        let sizes = sizes(self.options, &histories);
        let n = histories.n_rows();
        let mut rows: Vec<Vec<(u32, f32)>> = vec![Vec::new(); n];
        context.try_for_each_task(
            rows.chunks_mut(CHUNK).enumerate(),
            || Scratch { sums: vec![0.0; self.users.n_rows()], touched: Vec::new(), found: Vec::new() },
            |scratch, (chunk, rows)| {
                for (at, out) in rows.iter_mut().enumerate() {
                    context.cancel.check()?;
                    let row = chunk * CHUNK + at;
                    *out = self.nearest(histories.row(row), histories.row_values(row), sizes[row], scratch)?;
                }
                Ok(())
            },
        )?;
        let mut offsets = vec![0];
        offsets.extend(rows.iter().scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        }));
        let columns = rows.iter().flatten().map(|entry| entry.0).collect();
        let values = rows.iter().flatten().map(|entry| entry.1).collect();
        Csr::new(offsets, columns, values, self.users.n_rows())
    }

    /// What each item of a history (one row) adds to Σ `scores[v]`, where v are neighbors in `users`: the part of
    /// ⟨x_u, x_v⟩ that is the item's.
    pub fn contributions(&self, history: &Csr, users: &[u32], scores: &[f64]) -> Result<Vec<f64>> {
        let fits =
            history.n_rows() == 1 && history.n_columns() == self.users.n_columns() && users.len() == scores.len();
        if !fits || users.iter().any(|&user| user as usize >= self.users.n_rows()) {
            return Err(Error::InvalidData("one history, and one score for each of its neighbors.".into()));
        }
        let history = self.weigher.weigh(history)?;
        let mut added = vec![0.0; history.len()];
        for (&user, &score) in users.iter().zip(scores) {
            let (items, weights) = (self.users.row(user as usize), self.users.row_values(user as usize));
            let parts: Vec<f64> = (history.row(0).iter().zip(history.row_values(0)))
                .map(|(item, &weight)| {
                    items.binary_search(item).map_or(0.0, |at| f64::from(weight) * f64::from(weights[at]))
                })
                .collect();
            let whole: f64 = parts.iter().sum();
            if whole > 0.0 {
                added.iter_mut().zip(parts).for_each(|(added, part)| *added += score * part / whole);
            }
        }
        Ok(added)
    }

    fn nearest(&self, items: &[u32], weights: &[f32], size: f32, scratch: &mut Scratch) -> Result<Vec<(u32, f32)>> {
        let Scratch { sums, touched, found } = scratch;
        touched.clear();
        found.clear();
        for (&item, &weight) in items.iter().zip(weights) {
            let others = self.by_item.row(item as usize).iter().zip(self.by_item.row_values(item as usize));
            for (&user, &other) in others {
                let sum = &mut sums[user as usize];
                if *sum == 0.0 {
                    touched.push(user);
                }
                *sum += weight * other;
            }
        }
        for &user in &*touched {
            // A user whose sum came back to 0 on the way stands here twice; the second time it is 0.
            let sum = std::mem::take(&mut sums[user as usize]);
            let value = match self.options.similarity {
                Similarity::Jaccard => sum / (size + self.sizes[user as usize] - sum + self.options.shrinkage),
                _ if self.options.weighting == Weighting::Bm25 => sum,
                _ => sum / (size * self.sizes[user as usize] + self.options.shrinkage),
            };
            if sum > 0.0 && !value.is_finite() {
                return Err(Error::InvalidData(format!(
                    "the similarity to user {user} is {value}: the weights are too large or too small for f32. Scale them."
                )));
            }
            if value > 0.0 && self.users.row(user as usize) != items {
                found.push(u64::from(value.to_bits()) << 32 | u64::from(!user));
            }
        }
        let k = self.options.neighbors;
        if found.len() > k {
            found.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
            found.truncate(k);
        }
        found.sort_unstable_by_key(|&key| !(key as u32));
        Ok(found.iter().map(|&key| (!(key as u32), f32::from_bits((key >> 32) as u32))).collect())
    }
}

/// One thread's accumulator; all zero between histories.
struct Scratch {
    sums: Vec<f32>,
    touched: Vec<u32>,
    found: Vec<u64>,
}

/// ‖x‖ of each row, or the number of its items.
fn sizes(options: UserKnn, rows: &Csr) -> Vec<f32> {
    (0..rows.n_rows())
        .map(|row| {
            if options.similarity == Similarity::Jaccard {
                return rows.row(row).len() as f32;
            }
            rows.row_values(row).iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt() as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn table(n_users: usize, n_items: usize, ones: bool) -> Csr {
        let draws = Stream::new(9, 4);
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for user in 0..n_users {
            for item in 0..n_items {
                let draw = draws.f32((user * n_items + item) as u64);
                if draw < 0.15 {
                    columns.push(item as u32);
                    values.push(if ones { 1.0 } else { 0.5 + 20.0 * draw });
                }
            }
            offsets.push(columns.len());
        }
        Csr::new(offsets, columns, values, n_items).unwrap()
    }

    /// The specification: every two users by themselves, a full sort.
    fn naive(table: &Csr, o: UserKnn) -> Vec<Vec<(u32, f32)>> {
        let x = Weigher::new(o.weighting, table).unwrap().weigh(table).unwrap();
        let norm = |u: usize| x.row_values(u).iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt() as f32;
        (0..x.n_rows())
            .map(|u| {
                let mut row: Vec<(u32, f32)> = (0..x.n_rows())
                    .filter(|&v| x.row(v) != x.row(u))
                    .map(|v| {
                        let mut sum = 0.0f32;
                        for (item, weight) in x.row(u).iter().zip(x.row_values(u)) {
                            if let Ok(at) = x.row(v).binary_search(item) {
                                sum += weight * x.row_values(v)[at];
                            }
                        }
                        let (one, other) = (x.row(u).len() as f32, x.row(v).len() as f32);
                        let value = match (o.similarity, o.weighting) {
                            (Similarity::Jaccard, _) => sum / (one + other - sum + o.shrinkage),
                            (_, Weighting::Bm25) => sum,
                            _ => sum / (norm(u) * norm(v) + o.shrinkage),
                        };
                        (v as u32, value)
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
    fn neighbors_equal_the_full_sort_for_every_number_of_threads() {
        let cosine =
            UserKnn { neighbors: 6, similarity: Similarity::Powers, weighting: Weighting::None, shrinkage: 0.5 };
        for ones in [true, false] {
            let table = table(70, 40, ones);
            for options in [
                cosine,
                UserKnn { weighting: Weighting::TfIdf, neighbors: 100, ..cosine },
                UserKnn { weighting: Weighting::Bm25, shrinkage: 0.0, ..cosine },
                UserKnn { similarity: Similarity::Jaccard, ..cosine },
            ] {
                if options.similarity == Similarity::Jaccard && !ones {
                    assert!(UserNeighbors::new(options, &table).is_err());
                    continue;
                }
                let expected = naive(&table, options);
                let users = UserNeighbors::new(options, &table).unwrap();
                for threads in [1, 2, 3, 8] {
                    let found = users.of(&table, &Context::new(Some(threads)).unwrap()).unwrap();
                    for (row, expected) in expected.iter().enumerate() {
                        let pairs: Vec<(u32, f32)> =
                            found.row(row).iter().copied().zip(found.row_values(row).iter().copied()).collect();
                        assert_eq!(&pairs, expected, "{row} {options:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn contributions_share_a_score_out_by_the_items_in_common() {
        let users = Csr::new(vec![0, 2, 4, 5], vec![0, 1, 1, 2, 3], vec![1.0, 3.0, 1.0, 1.0, 1.0], 4).unwrap();
        let options =
            UserKnn { neighbors: 3, similarity: Similarity::Powers, weighting: Weighting::None, shrinkage: 0.0 };
        let users = UserNeighbors::new(options, &users).unwrap();
        let history = Csr::new(vec![0, 2], vec![0, 1], vec![1.0, 1.0], 4).unwrap();
        assert_eq!(users.contributions(&history, &[0, 1], &[8.0, 0.5]).unwrap(), [2.0, 6.5]);
        assert!(users.contributions(&history, &[3], &[1.0]).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = UserKnn { neighbors: 1, similarity: Similarity::Powers, weighting: Weighting::None, shrinkage: 0.0 };
        let small = || table(5, 5, true);
        assert!(UserNeighbors::new(UserKnn { neighbors: 0, ..good }, &small()).is_err());
        assert!(UserNeighbors::new(UserKnn { shrinkage: f32::NAN, ..good }, &small()).is_err());
        assert!(UserNeighbors::new(UserKnn { similarity: Similarity::Pearson, ..good }, &small()).is_err());
        let users = UserNeighbors::new(good, &small()).unwrap();
        assert!(users.of(&Csr::empty(2, 9), &Context::new(Some(1)).unwrap()).is_err());
        assert_eq!(users.of(&Csr::empty(2, 5), &Context::new(Some(1)).unwrap()).unwrap(), Csr::empty(2, 5));
    }
}
