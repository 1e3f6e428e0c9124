//! What many mixtures of the same two parts of a score are worth to the same users, which is what a mixture is chosen by.
//!
//! ```text
//! score(u, i) = a_i ⟨p_u, q_i⟩ + b_i Σ_{j ∈ history of u, ascending} w_uj c_ji
//! ```
//!
//! A mixture is its factors a and b of all items. Both sums are made once for all mixtures: the first by tiles of users ×
//! items, the second by one pass over the histories; after that a mixture costs two products for each user and item. No list
//! is made: NDCG asks for the ranks of the items that are wanted, and a rank is the number of scores above, without those of
//! what the user has had; of equal scores that at the smaller position is above. A user's tiles end where no wanted item can
//! be among the first any more. Lists of 20 took two to five times as long (2026-11-28).
//!
//! Each inner product is a chain of fused multiply-adds over k, each sum one over the history, so threads and levels have
//! the same bits.

use std::cmp::Reverse;
use std::ops::Range;

use rayon::prelude::*;

use super::key::{key, position_of, score_of};
use super::sets::Sets;
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::dot::add_at;
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::mixed::{Mixed, count_from};
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::vector::LANES;
use crate::{Error, Result};

/// Items of a tile: an odd number of cache lines, or the rows of a tile would share few sets of the first cache.
const TILE: usize = 45 * LANES;

/// Users of one task, who share the tiles: each is read once for them. A thread keeps a number of each item for each.
const USERS: usize = 36;

/// Sources between the prefetch of their weights and their use.
const ROWS_AHEAD: usize = 3;

/// What the scores are mixed of.
pub struct Parts<'a> {
    /// p (users × d).
    pub users: &'a [f32],
    /// q (items × d).
    pub items: &'a [f32],
    /// d; 0 where there are no vectors.
    pub factors: usize,
    /// w (users × items), and c, a row for each source; `None` where there are no item-item weights.
    pub neighbors: Option<(&'a Csr, &'a Csr)>,
    /// What each user has had.
    pub seen: &'a Sets,
}

/// The factors of all items.
#[derive(Clone, Copy)]
pub struct Mixture<'a> {
    /// a.
    pub vectors: &'a [f32],
    /// b.
    pub neighbors: &'a [f32],
}

/// What the tasks of a call share.
#[derive(Clone, Copy)]
struct Call<'a> {
    parts: &'a Parts<'a>,
    tiles: &'a [f32],
    mixtures: &'a [Mixture<'a>],
    wanted: &'a Sets,
    n_items: usize,
    /// What a hit adds, by rank, and the most that so many wanted items can add up to.
    discounts: &'a [f64],
    ideal: &'a [f64],
}

impl Parts<'_> {
    fn check(&self, mixtures: &[Mixture<'_>], wanted: &Sets) -> Result<(usize, usize)> {
        let bad = |message: String| Err(Error::InvalidData(message));
        let (d, n_users) = (self.factors, self.seen.n_rows());
        let n_items = mixtures.first().map_or(0, |mixture| mixture.vectors.len());
        if self.users.len() != n_users * d || self.items.len() != n_items * d {
            return bad(format!("vectors of {d} factors have {} and {} numbers.", self.users.len(), self.items.len()));
        }
        let lengths = |mixture: &Mixture<'_>| [mixture.vectors.len(), mixture.neighbors.len()];
        if mixtures.iter().flat_map(lengths).any(|length| length != n_items) {
            return bad(format!("a mixture has factors of other than {n_items} items."));
        }
        if wanted.n_rows() != n_users {
            return bad(format!("{n_users} users want {} sets of items.", wanted.n_rows()));
        }
        if let Some((history, neighbors)) = self.neighbors
            && (history.n_rows() != n_users
                || neighbors.n_columns() != n_items
                || neighbors.n_rows() < history.n_columns())
        {
            return bad("histories and item-item weights are of other users or items.".into());
        }
        Ok((n_users, n_items))
    }

    /// NDCG@n of what each user wants, by each mixture; 0 for who wants nothing.
    pub fn ndcg(&self, mixtures: &[Mixture<'_>], wanted: &Sets, n: usize, context: &Context) -> Result<Vec<Vec<f64>>> {
        let (n_users, n_items) = self.check(mixtures, wanted)?;
        let discounts: Vec<f64> = (0..n.min(n_items)).map(|rank| 1.0 / ((rank + 2) as f64).log2()).collect();
        let mut ideal = vec![0.0];
        ideal.extend(discounts.iter().scan(0.0, |sum, discount| {
            *sum += discount;
            Some(*sum)
        }));
        let tiles = &self.tiles(context);
        let call = Call { parts: self, tiles, mixtures, wanted, n_items, discounts: &discounts, ideal: &ideal };
        let found = context.install(|| {
            (0..n_users.div_ceil(USERS))
                .into_par_iter()
                .map_init(
                    || Scratch::new(n_items),
                    |scratch, task| {
                        context.cancel.check()?;
                        let users = task * USERS..n_users.min((task + 1) * USERS);
                        Ok(scratch.run(&call, users, context.level))
                    },
                )
                .collect::<Result<Vec<_>>>()
        })?;
        let by_user = |place| found.iter().flatten().skip(place).step_by(mixtures.len()).copied();
        Ok((0..mixtures.len()).map(|place| by_user(place).collect()).collect())
    }

    /// Items by tiles of [factor][item], the last one filled up with zeros.
    fn tiles(&self, context: &Context) -> Vec<f32> {
        let d = self.factors;
        if d == 0 {
            return Vec::new();
        }
        let mut tiles = vec![0.0; (self.items.len() / d).div_ceil(TILE) * TILE * d];
        context.install(|| {
            tiles.par_chunks_mut(TILE * d).zip(self.items.par_chunks(TILE * d)).for_each(|(tile, items)| {
                for (at, item) in items.chunks_exact(d).enumerate() {
                    for (k, &number) in item.iter().enumerate() {
                        tile[k * TILE + at] = number;
                    }
                }
            });
        });
        tiles
    }

    /// The inner product of a user and an item.
    fn inner_product(&self, user: usize, item: usize) -> f32 {
        let d = self.factors;
        let pairs = self.users[user * d..][..d].iter().zip(&self.items[item * d..][..d]);
        pairs.fold(0.0, |sum, (p, q)| p.mul_add(*q, sum))
    }
}

/// A wanted item, as one mixture ranks it.
#[derive(Clone, Copy)]
struct Wanted {
    key: u64,
    /// Items that stand above it so far.
    above: u32,
}

/// What a task takes, allocated once.
struct Scratch {
    /// Inner products of the users with a tile.
    dense: Vec<f32>,
    /// Sums over the histories, a row of all items for each user.
    sparse: Vec<f32>,
    /// The scores of a tile by one mixture.
    scores: Vec<f32>,
    /// User after user, mixture after mixture, the best first.
    wanted: Vec<Wanted>,
    /// How many of these may still be among the first n.
    left: Vec<usize>,
}

impl Scratch {
    fn new(n_items: usize) -> Self {
        Self {
            dense: vec![0.0; USERS * TILE],
            sparse: vec![0.0; USERS * n_items],
            scores: vec![0.0; TILE],
            wanted: Vec::new(),
            left: Vec::new(),
        }
    }

    /// NDCG, user after user, mixture after mixture.
    fn run(&mut self, call: &Call<'_>, users: Range<usize>, level: Level) -> Vec<f64> {
        let Call { parts, mixtures, wanted, n_items, .. } = *call;
        // 1. What the histories add.
        self.sum_histories(parts, users.clone(), n_items, level);
        // 2. The scores of what is wanted.
        self.score_wanted(call, users.clone());
        // 3. Tile by tile what the vectors add, and all mixtures of both.
        let mut seen_until = [0; USERS];
        for (tile, first) in (0..n_items).step_by(TILE).enumerate() {
            if self.left.iter().all(|&left| left == 0) {
                break;
            }
            let n_here = TILE.min(n_items - first);
            self.multiply(call, users.clone(), tile, level);
            let mut begin = 0;
            for (at, user) in users.clone().enumerate() {
                let dense = &mut self.dense[at * TILE..][..n_here];
                let later = &parts.seen.row(user)[seen_until[at]..];
                for &item in later.iter().take_while(|&&item| (item as usize) < first + n_here) {
                    dense[item as usize - first] = f32::NEG_INFINITY;
                    seen_until[at] += 1;
                }
                let sparse = &self.sparse[at * n_items + first..][..n_here];
                let n_wanted = wanted.row(user).len();
                for (place, mixture) in mixtures.iter().enumerate() {
                    let left = &mut self.left[at * mixtures.len() + place];
                    let own = &mut self.wanted[begin..][..*left];
                    begin += n_wanted;
                    if own.is_empty() {
                        continue;
                    }
                    let (a, b) = (&mixture.vectors[first..][..n_here], &mixture.neighbors[first..][..n_here]);
                    // Whole registers, the last one filled up with what is above nothing.
                    let scores = &mut self.scores[..n_here.next_multiple_of(LANES)];
                    scores[n_here..].fill(f32::NEG_INFINITY);
                    Mixed { dense, a, sparse, b }.write(level, &mut scores[..n_here]);
                    *left = count_all(level, scores, first, own, call.discounts.len());
                }
            }
        }
        self.sum_hits(call, users)
    }

    /// The sums over the histories of some users.
    fn sum_histories(&mut self, parts: &Parts<'_>, users: Range<usize>, n_items: usize, level: Level) {
        let Some((history, neighbors)) = parts.neighbors else { return };
        for (user, sums) in users.zip(self.sparse.chunks_exact_mut(n_items)) {
            sums.fill(0.0);
            let sources = history.row(user);
            for (at, (&source, &weight)) in sources.iter().zip(history.row_values(user)).enumerate() {
                if let Some(&later) = sources.get(at + ROWS_AHEAD) {
                    let (items, values) = (neighbors.row(later as usize), neighbors.row_values(later as usize));
                    fetch(items, 0, items.len());
                    fetch(values, 0, values.len());
                }
                let (items, values) = (neighbors.row(source as usize), neighbors.row_values(source as usize));
                add_at(level, weight, items, values, sums);
            }
        }
    }

    /// What is wanted by its keys, nothing above it yet.
    fn score_wanted(&mut self, call: &Call<'_>, users: Range<usize>) {
        let Call { parts, mixtures, n_items, .. } = *call;
        self.wanted.clear();
        self.left.clear();
        for (at, user) in users.enumerate() {
            let items = call.wanted.row(user);
            let sparse = &self.sparse[at * n_items..][..n_items];
            let dense: Vec<f32> = items.iter().map(|&item| parts.inner_product(user, item as usize)).collect();
            for mixture in mixtures {
                let begin = self.wanted.len();
                self.wanted.extend(items.iter().zip(&dense).map(|(&item, &dense)| {
                    let place = item as usize;
                    let score = mixture.neighbors[place].mul_add(sparse[place], mixture.vectors[place] * dense);
                    Wanted { key: key(score, item), above: 0 }
                }));
                self.wanted[begin..].sort_unstable_by_key(|wanted| Reverse(wanted.key));
                self.left.push(items.len());
            }
        }
    }

    /// The inner products of some users with a tile.
    fn multiply(&mut self, call: &Call<'_>, users: Range<usize>, tile: usize, level: Level) {
        let d = call.parts.factors;
        let dense = &mut self.dense[..users.len() * TILE];
        dense.fill(0.0);
        if d > 0 {
            let tile = &call.tiles[tile * TILE * d..][..TILE * d];
            multiply_add(level, dense, TILE, View::rows(call.parts.users, d), users.start, tile, d);
        }
    }

    /// What the ranks are worth.
    fn sum_hits(&self, call: &Call<'_>, users: Range<usize>) -> Vec<f64> {
        let Call { mixtures, discounts, ideal, .. } = *call;
        let mut rest = &self.wanted[..];
        let mut found = Vec::with_capacity(users.len() * mixtures.len());
        for user in users {
            let n_wanted = call.wanted.row(user).len();
            for _ in mixtures {
                let (own, others) = rest.split_at(n_wanted);
                rest = others;
                let hits = own.iter().map_while(|wanted| discounts.get(wanted.above as usize));
                let best = ideal[n_wanted.min(discounts.len())];
                found.push(if best > 0.0 { hits.fold(0.0, |sum, discount| sum + discount) / best } else { 0.0 });
            }
        }
        found
    }
}

/// Counts what stands above each of the wanted items among the scores of a tile whose first item is `first`; how many of them
/// may still be among the `n` best.
fn count_all(level: Level, scores: &[f32], first: usize, wanted: &mut [Wanted], n: usize) -> usize {
    for (at, Wanted { key, above }) in wanted.iter_mut().enumerate() {
        let (item, score) = (position_of(*key) as usize, score_of(*key));
        let (greater, equal) = count_from(level, scores, score);
        *above += greater;
        // Most often it equals itself alone.
        if equal > u32::from((first..first + scores.len()).contains(&item)) {
            let before = item.clamp(first, first + scores.len()) - first;
            *above += scores[..before].iter().map(|&other| u32::from(other == score)).sum::<u32>();
        }
        // Those after it have a lower rank still.
        if *above as usize >= n {
            return at;
        }
    }
    wanted.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    const D: usize = 5;

    /// Every score by itself, a full sort, and what stands where in it.
    fn naive(parts: &Parts<'_>, mixture: Mixture<'_>, wanted: &Sets, n: usize) -> Vec<f64> {
        let (n_users, n_items) = (parts.seen.n_rows(), mixture.vectors.len());
        let ndcg = |user: usize| {
            let score = |item: usize| {
                let mut sparse = 0f32;
                if let Some((history, rows)) = parts.neighbors {
                    for (&source, &weight) in history.row(user).iter().zip(history.row_values(user)) {
                        let row = rows.row(source as usize);
                        if let Ok(at) = row.binary_search(&(item as u32)) {
                            sparse = weight.mul_add(rows.row_values(source as usize)[at], sparse);
                        }
                    }
                }
                mixture.neighbors[item].mul_add(sparse, mixture.vectors[item] * parts.inner_product(user, item))
            };
            let left = (0..n_items).filter(|&item| parts.seen.row(user).binary_search(&(item as u32)).is_err());
            let mut keys: Vec<u64> = left.map(|item| key(score(item), item as u32)).collect();
            keys.sort_unstable_by(|a, b| b.cmp(a));
            let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
            let is_hit = |&(_, key): &(usize, &u64)| wanted.row(user).binary_search(&position_of(*key)).is_ok();
            let hits = keys.iter().enumerate().take(n).filter(is_hit);
            let best: f64 = (0..n.min(wanted.row(user).len())).map(discount).sum();
            if best > 0.0 { hits.fold(0.0, |sum, (rank, _)| sum + discount(rank)) / best } else { 0.0 }
        };
        (0..n_users).map(ndcg).collect()
    }

    /// About every `every`-th column of each row.
    fn some_of(n_rows: usize, n_columns: usize, every: u64, draws: Stream) -> Csr {
        let (mut offsets, mut columns) = (vec![0], Vec::new());
        for row in 0..n_rows {
            let at = |column: usize| (row * n_columns + column) as u64;
            columns
                .extend((0..n_columns).filter(|&column| draws.below(at(column), every) == 0).map(|each| each as u32));
            offsets.push(columns.len());
        }
        let values = (0..columns.len()).map(|at| draws.sub(1).f32(at as u64)).collect();
        Csr::new(offsets, columns, values, n_columns).unwrap()
    }

    /// Two sets for each row that have nothing in common.
    fn apart(all: &Csr) -> (Sets, Sets) {
        let part = |which: usize| {
            let rows = (0..all.n_rows()).map(|row| all.row(row).iter().copied().skip(which).step_by(2).collect());
            let rows: Vec<Vec<u32>> = rows.collect();
            let offsets = std::iter::once(0).chain(rows.iter().scan(0, |end, row| {
                *end += row.len();
                Some(*end)
            }));
            Sets::new(offsets.collect(), rows.concat(), all.n_columns()).unwrap()
        };
        (part(0), part(1))
    }

    #[test]
    fn ranks_are_those_of_every_score_by_itself() {
        let draws = Stream::new(2, 0);
        for (n_users, n_items, n) in [(1, 1, 3), (50, 1500, 200), (97, 723, 20), (3, 30, 40)] {
            let numbers = |at: u64, n: usize| (0..n as u64).map(|i| draws.sub(at).normal(i)).collect::<Vec<f32>>();
            // Equal scores, too.
            let mut items = numbers(1, n_items * D);
            let half = n_items / 2 * D;
            items.copy_within(..half, n_items * D - half);
            let users = numbers(0, n_users * D);
            let history = some_of(n_users, n_items, 9, draws.sub(2));
            let rows = some_of(n_items, n_items, 20, draws.sub(3));
            let (seen, wanted) = apart(&some_of(n_users, n_items, 7, draws.sub(6)));
            let positive = |at: u64| (0..n_items as u64).map(|i| draws.sub(at).f32(i) + 0.1).collect::<Vec<f32>>();
            let (ones, zeros, a, b) = (vec![1.0; n_items], vec![0.0; n_items], positive(4), positive(5));
            let mixtures = [(&ones, &zeros), (&ones, &ones), (&a, &b), (&a, &zeros)]
                .map(|(vectors, neighbors)| Mixture { vectors, neighbors });
            let none = Parts { users: &[], items: &[], factors: 0, neighbors: None, seen: &seen };
            for parts in [
                Parts { users: &users, items: &items, factors: D, ..none },
                Parts { users: &users, items: &items, factors: D, neighbors: Some((&history, &rows)), ..none },
                Parts { neighbors: Some((&history, &rows)), ..none },
            ] {
                let truth: Vec<Vec<f64>> = mixtures.iter().map(|&each| naive(&parts, each, &wanted, n)).collect();
                assert!(n_users < 50 || truth.iter().flatten().any(|&found| found > 0.0));
                for threads in [1, 3] {
                    for level in Level::available() {
                        let context = Context::new(Some(threads)).unwrap().with_level(level);
                        let found = parts.ndcg(&mixtures, &wanted, n, &context).unwrap();
                        assert_eq!(found, truth, "{n_users} {level:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let none = Sets::new(vec![0, 0], vec![], 3).unwrap();
        let parts = Parts { users: &[1.0; 2], items: &[1.0; 6], factors: 2, neighbors: None, seen: &none };
        let context = Context::new(Some(1)).unwrap();
        let (three, two) = ([1.0; 3], [1.0; 2]);
        let both = Mixture { vectors: &three, neighbors: &three };
        assert_eq!(parts.ndcg(&[both], &none, 2, &context).unwrap(), [[0.0]]);
        assert!(parts.ndcg(&[Mixture { neighbors: &two, ..both }], &none, 2, &context).is_err());
        assert!(Parts { users: &[1.0; 4], ..parts }.ndcg(&[both], &none, 2, &context).is_err());
        let nobody = Sets::new(vec![0], vec![], 3).unwrap();
        assert!(parts.ndcg(&[both], &nobody, 2, &context).is_err());
    }
}
