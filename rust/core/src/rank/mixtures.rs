//! What many mixtures of the same two parts of a score are worth to the same users, which is what a mixture is chosen by.
//!
//! ```text
//! score(u, i) = a_i ⟨p_u, q_i⟩ + b_i Σ_{j ∈ history of u, ascending} w_uj c_ji
//! ```
//!
//! A mixture is its factors a and b of all items. Both sums are made once for all mixtures: the first by tiles of users ×
//! items, the second by one pass over the histories; after that a mixture costs two products for each user and item. No list
//! is made: NDCG asks for the ranks of the items that are wanted, and a rank is the number of scores above, without those of
//! what the user has had; of equal scores that at the smaller position is above. Items are gone through from what most users
//! have on, and a user's tiles end where no wanted item can be among the first any more. Lists of 20 took two to five times
//! as long (2026-11-28).
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
use crate::runtime::simd::dot::{add_at, dots};
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::mixed::{Mixed, count_from};
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::vector::LANES;
use crate::{Error, Result};

/// Items of a tile: an odd number of cache lines, or the rows of a tile would share few sets of the first cache.
const TILE: usize = 17 * LANES;

/// Users of one task, who share the tiles: each is read once for them. A thread keeps a number of each item for each. A
/// multiple of 4, as the product is made by rows of 4 at least.
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

/// What the tasks of a call share, items in the order in which they are gone through.
struct Call<'a> {
    parts: &'a Parts<'a>,
    wanted: &'a Sets,
    order: &'a Order,
    tiles: &'a [f32],
    /// The columns of the item-item weights, as ranks of the order.
    columns: &'a [u32],
    /// a and b of each mixture.
    mixtures: &'a [[Vec<f32>; 2]],
    /// What a hit adds, by rank, and the most that so many wanted items can add up to.
    discounts: &'a [f64],
    ideal: &'a [f64],
}

/// Items by how many of the users have them: the first tile holds most of what stands above a wanted item, and after it few
/// of them are left to be counted for.
struct Order {
    items: Vec<u32>,
    ranks: Vec<u32>,
}

impl Order {
    fn new(seen: &Sets, n_items: usize) -> Self {
        let mut counts = vec![0u32; n_items];
        (0..seen.n_rows()).flat_map(|user| seen.row(user)).for_each(|&item| counts[item as usize] += 1);
        let mut items: Vec<u32> = (0..n_items as u32).collect();
        items.sort_by_key(|&item| Reverse(counts[item as usize]));
        let mut ranks = vec![0; n_items];
        (0..).zip(&items).for_each(|(rank, &item)| ranks[item as usize] = rank);
        Self { items, ranks }
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn arrange(&self, numbers: &[f32]) -> Vec<f32> {
        self.items.iter().map(|&item| numbers[item as usize]).collect()
    }
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
        let order = &Order::new(self.seen, n_items);
        let factors = |mixture: &Mixture<'_>| [order.arrange(mixture.vectors), order.arrange(mixture.neighbors)];
        let call = Call {
            parts: self,
            wanted,
            order,
            tiles: &self.tiles(order, context),
            columns: &self.columns(order, context),
            mixtures: &mixtures.iter().map(factors).collect::<Vec<_>>(),
            discounts: &discounts,
            ideal: &ideal,
        };
        let found = context.install(|| {
            (0..n_users.div_ceil(USERS))
                .into_par_iter()
                .map_init(
                    || Scratch::new(n_items, self.factors),
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
    fn tiles(&self, order: &Order, context: &Context) -> Vec<f32> {
        let d = self.factors;
        if d == 0 {
            return Vec::new();
        }
        let mut tiles = vec![0.0; order.len().div_ceil(TILE) * TILE * d];
        context.install(|| {
            tiles.par_chunks_mut(TILE * d).zip(order.items.par_chunks(TILE)).for_each(|(tile, items)| {
                for (at, &item) in items.iter().enumerate() {
                    for (k, &number) in self.items[item as usize * d..][..d].iter().enumerate() {
                        tile[k * TILE + at] = number;
                    }
                }
            });
        });
        tiles
    }

    fn columns(&self, order: &Order, context: &Context) -> Vec<u32> {
        const AT_ONCE: usize = 1 << 14;
        let Some((_, neighbors)) = self.neighbors else { return Vec::new() };
        let mut columns = vec![0; neighbors.len()];
        context.install(|| {
            columns.par_chunks_mut(AT_ONCE).zip(neighbors.columns().par_chunks(AT_ONCE)).for_each(|(ranks, items)| {
                ranks.iter_mut().zip(items).for_each(|(rank, &item)| *rank = order.ranks[item as usize]);
            });
        });
        columns
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
    /// The users who have a wanted item that may still be among the first n, by place, and their vectors.
    live: Vec<usize>,
    vectors: Vec<f32>,
    /// Inner products of these with a tile.
    dense: Vec<f32>,
    /// Sums over the histories, a row of all items for each user.
    sparse: Vec<f32>,
    /// What each user has had, by rank, and how much of it earlier tiles held.
    seen: Vec<Vec<u32>>,
    seen_until: Vec<usize>,
    /// The scores of a tile by one mixture.
    scores: Vec<f32>,
    /// User after user, mixture after mixture, the best first; where each user's begin.
    wanted: Vec<Wanted>,
    begins: Vec<usize>,
    /// How many of these may still be among the first n.
    left: Vec<usize>,
    /// What one user wants: both parts of the scores, their factors, and the scores.
    of_wanted: [Vec<f32>; 5],
}

impl Scratch {
    fn new(n_items: usize, factors: usize) -> Self {
        Self {
            live: Vec::new(),
            vectors: vec![0.0; USERS * factors],
            dense: vec![0.0; USERS * TILE],
            sparse: vec![0.0; USERS * n_items],
            seen: vec![Vec::new(); USERS],
            seen_until: Vec::new(),
            scores: vec![0.0; TILE],
            wanted: Vec::new(),
            begins: Vec::new(),
            left: Vec::new(),
            of_wanted: Default::default(),
        }
    }

    /// NDCG, user after user, mixture after mixture.
    fn run(&mut self, call: &Call<'_>, users: Range<usize>, level: Level) -> Vec<f64> {
        // 1. What the histories add, and what they leave out.
        self.sum_histories(call, users.clone(), level);
        self.find_seen(call, users.clone());
        // 2. The scores of what is wanted.
        self.score_wanted(call, users.clone(), level);
        // 3. Tile by tile what the vectors add, and all mixtures of both.
        let n_mixtures = call.mixtures.len();
        self.live.clear();
        self.live.extend(0..users.len());
        for tile in 0..call.order.len().div_ceil(TILE) {
            let left = &self.left;
            self.live.retain(|&at| left[at * n_mixtures..][..n_mixtures].iter().any(|&left| left > 0));
            if self.live.is_empty() {
                break;
            }
            self.multiply(call, users.start, tile, level);
            for row in 0..self.live.len() {
                self.count_tile(call, tile, row, level);
            }
        }
        self.sum_hits(call, users)
    }

    /// The sums over the histories of some users.
    fn sum_histories(&mut self, call: &Call<'_>, users: Range<usize>, level: Level) {
        let Some((history, neighbors)) = call.parts.neighbors else { return };
        let row = |source: u32| neighbors.offsets()[source as usize]..neighbors.offsets()[source as usize + 1];
        for (user, sums) in users.zip(self.sparse.chunks_exact_mut(call.order.len())) {
            sums.fill(0.0);
            let sources = history.row(user);
            for (at, (&source, &weight)) in sources.iter().zip(history.row_values(user)).enumerate() {
                if let Some(&later) = sources.get(at + ROWS_AHEAD) {
                    let later = row(later);
                    fetch(call.columns, later.start, later.len());
                    fetch(neighbors.values(), later.start, later.len());
                }
                add_at(level, weight, &call.columns[row(source)], neighbors.row_values(source as usize), sums);
            }
        }
    }

    /// What the users have had, in the order of the items.
    fn find_seen(&mut self, call: &Call<'_>, users: Range<usize>) {
        self.seen_until.clear();
        self.seen_until.resize(users.len(), 0);
        for (user, seen) in users.zip(&mut self.seen) {
            seen.clear();
            seen.extend(call.parts.seen.row(user).iter().map(|&item| call.order.ranks[item as usize]));
            seen.sort_unstable();
        }
    }

    /// What is wanted by its keys, nothing above it yet.
    fn score_wanted(&mut self, call: &Call<'_>, users: Range<usize>, level: Level) {
        let Call { parts, order, .. } = *call;
        self.wanted.clear();
        self.begins.clear();
        self.left.clear();
        for (at, user) in users.enumerate() {
            let items = call.wanted.row(user);
            let ranks = || items.iter().map(|&item| order.ranks[item as usize] as usize);
            let sums = &self.sparse[at * order.len()..][..order.len()];
            let [dense, sparse, own_a, own_b, scores] = &mut self.of_wanted;
            for numbers in [&mut *dense, &mut *scores] {
                numbers.clear();
                numbers.resize(items.len(), 0.0);
            }
            dots(level, &parts.users[user * parts.factors..][..parts.factors], parts.items, items, dense);
            sparse.clear();
            sparse.extend(ranks().map(|rank| sums[rank]));
            self.begins.push(self.wanted.len());
            for [a, b] in call.mixtures {
                own_a.clear();
                own_a.extend(ranks().map(|rank| a[rank]));
                own_b.clear();
                own_b.extend(ranks().map(|rank| b[rank]));
                Mixed { dense, a: own_a, sparse, b: own_b }.write(level, scores);
                let begin = self.wanted.len();
                let keys = scores.iter().zip(items).map(|(&score, &item)| key(score, item));
                self.wanted.extend(keys.map(|key| Wanted { key, above: 0 }));
                self.wanted[begin..].sort_unstable_by_key(|wanted| Reverse(wanted.key));
                self.left.push(items.len());
            }
        }
    }

    /// The inner products of the live users with a tile; rows up to a multiple of 4, which is what the product likes.
    fn multiply(&mut self, call: &Call<'_>, first: usize, tile: usize, level: Level) {
        let d = call.parts.factors;
        let dense = &mut self.dense[..self.live.len().next_multiple_of(4) * TILE];
        dense.fill(0.0);
        if d > 0 {
            for (vector, &at) in self.vectors.chunks_exact_mut(d).zip(&self.live) {
                vector.copy_from_slice(&call.parts.users[(first + at) * d..][..d]);
            }
            let tile = &call.tiles[tile * TILE * d..][..TILE * d];
            multiply_add(level, dense, TILE, View::rows(&self.vectors, d), 0, tile, d);
        }
    }

    /// Counts for all mixtures what of a tile stands above what a live user wants.
    fn count_tile(&mut self, call: &Call<'_>, tile: usize, row: usize, level: Level) {
        let Self { live, dense, sparse, seen, seen_until, scores, wanted, begins, left, .. } = self;
        let (at, first) = (live[row], tile * TILE);
        let n_here = TILE.min(call.order.len() - first);
        let dense = &mut dense[row * TILE..][..n_here];
        let later = seen[at][seen_until[at]..].iter().take_while(|&&rank| (rank as usize) < first + n_here);
        for &rank in later {
            dense[rank as usize - first] = f32::NEG_INFINITY;
            seen_until[at] += 1;
        }
        let sparse = &sparse[at * call.order.len() + first..][..n_here];
        let left = &mut left[at * call.mixtures.len()..][..call.mixtures.len()];
        let end = begins.get(at + 1).copied().unwrap_or(wanted.len());
        let wanted = &mut wanted[begins[at]..end];
        let n_wanted = wanted.len() / left.len();
        // Whole registers, the last one filled up with what is above nothing.
        let scores = &mut scores[..n_here.next_multiple_of(LANES)];
        scores[n_here..].fill(f32::NEG_INFINITY);
        for ((left, wanted), [a, b]) in left.iter_mut().zip(wanted.chunks_exact_mut(n_wanted)).zip(call.mixtures) {
            if *left > 0 {
                let (a, b) = (&a[first..][..n_here], &b[first..][..n_here]);
                Mixed { dense, a, sparse, b }.write(level, &mut scores[..n_here]);
                *left = count_all(level, scores, first, call.order, &mut wanted[..*left], call.discounts.len());
            }
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

/// Counts what stands above each of the wanted items among the scores of a tile that begins at the rank `first`; how many of
/// them may still be among the `n` best.
fn count_all(level: Level, scores: &[f32], first: usize, order: &Order, wanted: &mut [Wanted], n: usize) -> usize {
    for (at, Wanted { key, above }) in wanted.iter_mut().enumerate() {
        let (item, score) = (position_of(*key), score_of(*key));
        let (greater, equal) = count_from(level, scores, score);
        *above += greater;
        // Most often it equals itself alone.
        let rank = order.ranks[item as usize] as usize;
        if equal > u32::from((first..first + scores.len()).contains(&rank)) {
            let is_above = |&(&other, &position): &(&f32, &u32)| other == score && position < item;
            *above += scores.iter().zip(&order.items[first..]).filter(is_above).count() as u32;
        }
        // Those after it have a lower rank still.
        if *above as usize >= n {
            return at;
        }
    }
    wanted.len()
}

#[cfg(test)]
mod tests;
