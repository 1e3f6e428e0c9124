//! Lists of the same users by many mixtures of the same two parts of a score, which is what a mixture is chosen by.
//!
//! ```text
//! score(u, i) = a_i ⟨p_u, q_i⟩ + b_i Σ_{j ∈ history of u, ascending} w_uj c_ji
//! ```
//!
//! A mixture is its factors a and b of all items. Both sums are made once for all mixtures: the first by tiles of users ×
//! items, the second by one pass over the histories; after that a mixture costs two products for each user and item. A list
//! holds the highest scores, ties to the smaller position, without what the user has had.
//!
//! Each inner product is a chain of fused multiply-adds over k, each sum one over the history, so threads and levels have
//! the same bits.

use std::ops::Range;

use rayon::prelude::*;

use super::key::{Best, key, position_of, score_of};
use super::output::Lists;
use super::sets::Sets;
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::dot::add_at;
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::mixed::{BLOCK, Mixed, find_above};
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::vector::LANES;
use crate::{Error, Result};

/// Items of a tile; a catalogue up to the second number is one, so that lists by one mixture tell what those by the next have
/// at least.
const TILE: usize = 720;
const MAX_WHOLE: usize = 5280;

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
    /// d.
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
    /// Items of a tile.
    width: usize,
    mixtures: &'a [Mixture<'a>],
    n_items: usize,
}

impl Parts<'_> {
    fn check(&self, mixtures: &[Mixture<'_>]) -> Result<(usize, usize)> {
        let bad = |message: String| Err(Error::InvalidData(message));
        let d = self.factors;
        if d == 0 || !self.users.len().is_multiple_of(d) || !self.items.len().is_multiple_of(d) {
            return bad(format!("vectors of {d} factors have {} and {} numbers.", self.users.len(), self.items.len()));
        }
        let (n_users, n_items) = (self.users.len() / d, self.items.len() / d);
        let lengths = |mixture: &Mixture<'_>| [mixture.vectors.len(), mixture.neighbors.len()];
        if mixtures.iter().flat_map(lengths).any(|length| length != n_items) {
            return bad(format!("a mixture has factors of other than {n_items} items."));
        }
        if self.seen.n_rows() != n_users {
            return bad(format!("{} users have {} sets of items.", n_users, self.seen.n_rows()));
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

    /// The `n` best of each user by each mixture.
    pub fn top_n(&self, mixtures: &[Mixture<'_>], n: usize, context: &Context) -> Result<Vec<Lists>> {
        let (n_users, n_items) = self.check(mixtures)?;
        // A row is an odd number of cache lines, or the rows of a tile would share few sets of the first cache.
        let width = LANES * (if n_items > MAX_WHOLE { TILE } else { n_items }.div_ceil(LANES) | 1);
        let call = Call { parts: self, tiles: &self.tiles(width, context), width, mixtures, n_items };
        let found = context.install(|| {
            (0..n_users.div_ceil(USERS))
                .into_par_iter()
                .map_init(
                    || Scratch::new(&call),
                    |scratch, task| {
                        context.cancel.check()?;
                        let users = task * USERS..n_users.min((task + 1) * USERS);
                        Ok(scratch.run(&call, users, n, context.level))
                    },
                )
                .collect::<Result<Vec<_>>>()
        })?;
        let mut lists = vec![Lists::empty(n_users, n); mixtures.len()];
        for (at, keys) in found.iter().flatten().enumerate() {
            let (lists, user) = (&mut lists[at % mixtures.len()], at / mixtures.len());
            lists.counts[user] = keys.len() as i32;
            for (place, &key) in keys.iter().enumerate() {
                lists.items[user * n + place] = position_of(key) as i32;
                lists.scores[user * n + place] = score_of(key);
            }
        }
        Ok(lists)
    }

    /// Items by tiles of [factor][item], the last one filled up with zeros.
    fn tiles(&self, width: usize, context: &Context) -> Vec<f32> {
        let d = self.factors;
        let mut tiles = vec![0.0; (self.items.len() / d).div_ceil(width) * width * d];
        context.install(|| {
            tiles.par_chunks_mut(width * d).zip(self.items.par_chunks(width * d)).for_each(|(tile, items)| {
                for (at, item) in items.chunks_exact(d).enumerate() {
                    for (k, &number) in item.iter().enumerate() {
                        tile[k * width + at] = number;
                    }
                }
            });
        });
        tiles
    }
}

/// What a task takes, allocated once.
struct Scratch {
    /// Inner products of the users with a tile.
    dense: Vec<f32>,
    /// Sums over the histories, a row of all items for each user.
    sparse: Vec<f32>,
    /// The lists so far, user after user, mixture after mixture.
    best: Vec<Best>,
}

impl Scratch {
    fn new(call: &Call<'_>) -> Self {
        Self {
            dense: vec![0.0; USERS * call.width],
            sparse: vec![0.0; USERS * call.n_items],
            best: vec![Best::default(); USERS * call.mixtures.len()],
        }
    }

    /// The keys of each list, user after user, mixture after mixture.
    fn run(&mut self, call: &Call<'_>, users: Range<usize>, n: usize, level: Level) -> Vec<Vec<u64>> {
        let Call { parts, tiles, width, mixtures, n_items } = *call;
        let d = parts.factors;
        // 1. What the histories add.
        self.sum_histories(parts, users.clone(), n_items, level);
        let best = &mut self.best[..users.len() * mixtures.len()];
        for best in best.iter_mut() {
            best.reset(n);
        }
        // 2. Tile by tile what the vectors add, and all mixtures of both.
        let dense = &mut self.dense[..users.len() * width];
        let mut seen_until = [0; USERS];
        for (tile, first) in tiles.chunks_exact(width * d).zip((0..n_items).step_by(width)) {
            let n_here = width.min(n_items - first);
            dense.fill(0.0);
            multiply_add(level, dense, width, View::rows(parts.users, d), users.start, tile, d);
            for (at, user) in users.clone().enumerate() {
                let dense = &mut dense[at * width..][..n_here];
                let later = &parts.seen.row(user)[seen_until[at]..];
                for &item in later.iter().take_while(|&&item| (item as usize) < first + n_here) {
                    dense[item as usize - first] = f32::NEG_INFINITY;
                    seen_until[at] += 1;
                }
                let sparse = &self.sparse[at * n_items + first..][..n_here];
                let best = &mut best[at * mixtures.len()..][..mixtures.len()];
                for (place, mixture) in mixtures.iter().enumerate() {
                    let (a, b) = (&mixture.vectors[first..][..n_here], &mixture.neighbors[first..][..n_here]);
                    let mixed = Mixed { dense, a, sparse, b };
                    let (before, own) = best.split_at_mut(place);
                    if let (0, Some(before)) = (first, before.last_mut()) {
                        own[0].raise(floor(mixed, before));
                    }
                    offer_all(level, mixed, first, &mut own[0]);
                }
            }
        }
        best.iter_mut().map(|best| best.sorted().to_vec()).collect()
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
}

/// A score that the last place of a list is above: what the first tile's list of another mixture has at least, by this one.
fn floor(mixed: Mixed<'_>, other: &mut Best) -> f32 {
    if other.sorted().len() < other.n() {
        return f32::NEG_INFINITY;
    }
    let scores = other.sorted().iter().map(|&key| mixed.score(position_of(key) as usize));
    // Of equal scores the first is wanted, which may be another.
    scores.fold(f32::INFINITY, f32::min).next_down()
}

/// Offers the scores of a tile whose first item is `first` to a list.
fn offer_all(level: Level, mixed: Mixed<'_>, first: usize, best: &mut Best) {
    let (mut scores, mut threshold) = ([0.0; BLOCK], best.threshold());
    let mut at = find_above(level, mixed, 0, threshold, &mut scores);
    while at < mixed.dense.len() {
        for (item, &score) in (first + at..).zip(&scores) {
            if score > threshold {
                best.offer(key(score, item as u32));
                threshold = best.threshold();
            }
        }
        at = find_above(level, mixed, mixed.dense.len().min(at + BLOCK), threshold, &mut scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    const D: usize = 5;

    /// Every score by itself, then a full sort.
    fn naive(parts: &Parts<'_>, mixture: Mixture<'_>, n: usize) -> Lists {
        let (n_users, n_items) = (parts.users.len() / D, parts.items.len() / D);
        let mut lists = Lists::empty(n_users, n);
        for user in 0..n_users {
            let score = |item: usize| {
                let pairs = parts.users[user * D..][..D].iter().zip(&parts.items[item * D..][..D]);
                let dense = pairs.fold(0f32, |sum, (p, q)| p.mul_add(*q, sum));
                let mut sparse = 0f32;
                if let Some((history, rows)) = parts.neighbors {
                    for (&source, &weight) in history.row(user).iter().zip(history.row_values(user)) {
                        let row = rows.row(source as usize);
                        if let Ok(at) = row.binary_search(&(item as u32)) {
                            sparse = weight.mul_add(rows.row_values(source as usize)[at], sparse);
                        }
                    }
                }
                mixture.neighbors[item].mul_add(sparse, mixture.vectors[item] * dense)
            };
            let left = (0..n_items).filter(|&item| parts.seen.row(user).binary_search(&(item as u32)).is_err());
            let mut keys: Vec<u64> = left.map(|item| key(score(item), item as u32)).collect();
            keys.sort_unstable_by(|a, b| b.cmp(a));
            keys.truncate(n);
            lists.counts[user] = keys.len() as i32;
            for (place, &key) in keys.iter().enumerate() {
                lists.items[user * n + place] = position_of(key) as i32;
                lists.scores[user * n + place] = score_of(key);
            }
        }
        lists
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

    #[test]
    fn lists_are_those_of_every_score_by_itself() {
        let draws = Stream::new(2, 0);
        for (n_users, n_items, n) in [(1, 1, 3), (50, 700, 4), (97, 513, 20), (3, 30, 40)] {
            let numbers = |at: u64, n: usize| (0..n as u64).map(|i| draws.sub(at).normal(i)).collect::<Vec<f32>>();
            // Equal scores, too.
            let mut items = numbers(1, n_items * D);
            let half = n_items / 2 * D;
            items.copy_within(..half, n_items * D - half);
            let users = numbers(0, n_users * D);
            let history = some_of(n_users, n_items, 9, draws.sub(2));
            let rows = some_of(n_items, n_items, 20, draws.sub(3));
            let seen = Sets::new(history.offsets().to_vec(), history.columns().to_vec(), n_items).unwrap();
            let positive = |at: u64| (0..n_items as u64).map(|i| draws.sub(at).f32(i) + 0.1).collect::<Vec<f32>>();
            let (ones, zeros, a, b) = (vec![1.0; n_items], vec![0.0; n_items], positive(4), positive(5));
            let mixtures = [(&ones, &zeros), (&ones, &ones), (&a, &b), (&a, &zeros)]
                .map(|(vectors, neighbors)| Mixture { vectors, neighbors });
            for neighbors in [None, Some((&history, &rows))] {
                let parts = Parts { users: &users, items: &items, factors: D, neighbors, seen: &seen };
                let truth: Vec<Lists> = mixtures.iter().map(|&each| naive(&parts, each, n)).collect();
                for threads in [1, 3] {
                    for level in Level::available() {
                        let context = Context::new(Some(threads)).unwrap().with_level(level);
                        assert_eq!(parts.top_n(&mixtures, n, &context).unwrap(), truth, "{n_users} {level:?}");
                        assert_eq!(parts.top_n(&mixtures[2..3], n, &context).unwrap(), truth[2..3]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let seen = Sets::new(vec![0, 0], vec![], 3).unwrap();
        let parts = Parts { users: &[1.0; 2], items: &[1.0; 6], factors: 2, neighbors: None, seen: &seen };
        let context = Context::new(Some(1)).unwrap();
        let (three, two) = ([1.0; 3], [1.0; 2]);
        assert!(parts.top_n(&[Mixture { vectors: &three, neighbors: &three }], 2, &context).is_ok());
        assert!(parts.top_n(&[Mixture { vectors: &three, neighbors: &two }], 2, &context).is_err());
        assert!(Parts { users: &[1.0; 4], ..parts }.top_n(&[], 2, &context).is_err());
    }
}
