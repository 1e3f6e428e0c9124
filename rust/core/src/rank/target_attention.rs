//! Lists where each candidate weighs the history its own way.
//!
//! ```text
//! score(u, i) = ⟨z_u, q_i⟩ + Σ_{j ∈ N(u)} a_uj(i) ⟨q_j, q_i⟩  [+ bias_i]
//! a_uj(i)     = exp(l_j + h_uj + ⟨k_j, c_i⟩) / (Σ_{j ∈ N(u)} exp(l_j + h_uj + ⟨k_j, c_i⟩))^β
//! ```
//!
//! The exponential factors: exp(h_uj) belongs to the user, e_ji = exp(l_j + ⟨k_j, c_i⟩) to the pair of items, and so does
//! p_ji = e_ji ⟨q_j, q_i⟩. A tile of 32 candidates against all items of all histories is two small matrix products and one
//! exponential for each pair, *once for all users*; a user then adds up rows of e and p. On Gowalla (29,858 users, 27 items
//! in a history, 40,981 items) that is 1.7 · 10⁹ exponentials in place of 33 · 10⁹.
//!
//! h is taken relative to the highest of the user, with exp((1 − β) highest) put back at the end, so no user's weights
//! vanish; l_j + ⟨k_j, c_i⟩ is cut off at ±60, beyond which no other item's weight would count. `attend::score_one` is the
//! same for one pair.

use rayon::prelude::*;

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::attend::{self, LANES, dot_lanes};
use crate::runtime::simd::gemm::{View, multiply_add};

use super::head::TargetAttention;
use super::key::{Best, key};
use super::output::{Lists, write_list};
use super::query::Query;
use super::scorer::Scorer;

/// History items whose rows of a tile one task fills.
const HISTORY_ITEMS_PER_TASK: usize = 512;

/// Users that one task scores a tile for.
const USERS_PER_TASK: usize = 32;

/// Memory for the lists that grow during one pass over the catalogue.
const LISTS_BYTES: usize = 256 << 20;

/// The users of one pass, their histories as rows of [`HistoryItems`].
#[derive(Default)]
struct QueryUsers {
    offsets: Vec<usize>,
    rows: Vec<u32>,
    weights: Vec<f32>,
    /// exp((1 − β) highest) of each user.
    factors: Vec<f32>,
}

/// The items of all histories of one pass, their tables row by row.
struct HistoryItems {
    n: usize,
    keys: Vec<f32>,
    vectors: Vec<f32>,
    logits: Vec<f32>,
}

/// 32 candidates, packed as [factor][32], with e and p of every history item.
#[derive(Default)]
struct Tile {
    queries: Vec<f32>,
    vectors: Vec<f32>,
    items: Vec<u32>,
    e: Vec<f32>,
    p: Vec<f32>,
}

/// The lists of one call, made tile by tile.
pub struct TargetSearch<'a> {
    /// The items.
    pub scorer: &'a Scorer,
    /// Their tables for target attention.
    pub target: &'a TargetAttention,
    /// Whose lists.
    pub query: Query<'a>,
    /// The items that may be listed, ascending.
    pub items: &'a [u32],
}

impl TargetSearch<'_> {
    /// The lists of all requested rows.
    pub fn lists(&self, lists: &mut Lists, context: &Context) -> Result<()> {
        let width = lists.width;
        let step = (LISTS_BYTES / (12 * width)).max(1024);
        let mut best_of: Vec<Best> = Vec::new();
        for first in (0..self.query.n_rows).step_by(step) {
            let rows = first..self.query.n_rows.min(first + step);
            let (users, history_items) = self.gather(rows.clone(), context.level);
            best_of.resize_with(rows.len(), Best::default);
            for best in &mut best_of {
                best.reset(width);
            }
            let mut tile = Tile::default();
            for items in self.items.chunks(LANES) {
                self.pack(items, &history_items, &mut tile);
                context.install(|| {
                    let Tile { e, p, queries, vectors, .. } = &mut tile;
                    let parts = e
                        .par_chunks_mut(HISTORY_ITEMS_PER_TASK * LANES)
                        .zip(p.par_chunks_mut(HISTORY_ITEMS_PER_TASK * LANES));
                    parts.enumerate().for_each(|(task, (e, p))| {
                        self.fill_tile(
                            &history_items,
                            task * HISTORY_ITEMS_PER_TASK,
                            queries,
                            vectors,
                            context.level,
                            e,
                            p,
                        );
                    });
                    best_of.par_chunks_mut(USERS_PER_TASK).enumerate().try_for_each(|(task, best_of)| {
                        context.cancel.check()?;
                        for (at, best) in best_of.iter_mut().enumerate() {
                            let user = task * USERS_PER_TASK + at;
                            self.score_tile(first + user, &users, user, &tile, context.level, best);
                        }
                        Ok(())
                    })
                })?;
            }
            for (at, best) in best_of.iter_mut().enumerate() {
                let row = first + at;
                let own = row * width..(row + 1) * width;
                let (items, scores) = (&mut lists.items[own.clone()], &mut lists.scores[own]);
                write_list(best.sorted(), items, scores, &mut lists.counts[row]);
            }
        }
        Ok(())
    }

    /// The list of one row, on this thread.
    pub fn top_n_one(&self, row: usize, level: Level, best: &mut Best) {
        let (users, history_items) = self.gather(row..row + 1, level);
        let mut tile = Tile::default();
        for items in self.items.chunks(LANES) {
            self.pack(items, &history_items, &mut tile);
            let Tile { e, p, queries, vectors, .. } = &mut tile;
            self.fill_tile(&history_items, 0, queries, vectors, level, e, p);
            self.score_tile(row, &users, 0, &tile, level, best);
        }
    }

    /// The histories of some rows, and the items that occur in them.
    fn gather(&self, rows: std::ops::Range<usize>, level: Level) -> (QueryUsers, HistoryItems) {
        let mut row_of = vec![u32::MAX; self.scorer.n_items()];
        for row in rows.clone() {
            for &item in self.query.history(row).0 {
                row_of[item as usize] = 0;
            }
        }
        let positions: Vec<u32> = (0..row_of.len() as u32).filter(|&item| row_of[item as usize] == 0).collect();
        for (at, &item) in positions.iter().enumerate() {
            row_of[item as usize] = at as u32;
        }
        let mut users = QueryUsers { offsets: vec![0], ..QueryUsers::default() };
        let mut weights = Vec::new();
        for row in rows {
            let (items, logits) = self.query.history(row);
            users.factors.push(attend::weights(level, logits, self.target.exponent, &mut weights));
            users.rows.extend(items.iter().map(|&item| row_of[item as usize]));
            users.weights.extend_from_slice(&weights);
            users.offsets.push(users.rows.len());
        }
        let take = |table: &[f32], d: usize| {
            positions.iter().flat_map(|&item| &table[item as usize * d..(item as usize + 1) * d]).copied().collect()
        };
        let history_items = HistoryItems {
            n: positions.len(),
            keys: take(&self.target.keys, self.target.d_keys),
            vectors: take(self.scorer.vectors(), self.scorer.factors()),
            logits: take(&self.target.logits, 1),
        };
        (users, history_items)
    }

    /// Up to 32 candidates as lanes; what is left of the lanes holds 0.
    fn pack(&self, items: &[u32], history_items: &HistoryItems, tile: &mut Tile) {
        let pack = |table: &[f32], d: usize, out: &mut Vec<f32>| {
            out.clear();
            out.resize(d * LANES, 0.0);
            for (lane, &item) in items.iter().enumerate() {
                for (k, &value) in table[item as usize * d..(item as usize + 1) * d].iter().enumerate() {
                    out[k * LANES + lane] = value;
                }
            }
        };
        pack(&self.target.queries, self.target.d_keys, &mut tile.queries);
        pack(self.scorer.vectors(), self.scorer.factors(), &mut tile.vectors);
        tile.items.clear();
        tile.items.extend_from_slice(items);
        tile.e.resize(history_items.n * LANES, 0.0);
        tile.p.resize(history_items.n * LANES, 0.0);
    }

    /// e and p of the history items from `first` on.
    fn fill_tile(
        &self,
        history_items: &HistoryItems,
        first: usize,
        queries: &[f32],
        vectors: &[f32],
        level: Level,
        e: &mut [f32],
        p: &mut [f32],
    ) {
        for (row, &logit) in e.chunks_exact_mut(LANES).zip(&history_items.logits[first..]) {
            row.fill(logit);
        }
        p.fill(0.0);
        let (d, d_keys) = (self.scorer.factors(), self.target.d_keys);
        multiply_add(level, e, LANES, View::rows(&history_items.keys, d_keys), first, queries, d_keys);
        multiply_add(level, p, LANES, View::rows(&history_items.vectors, d), first, vectors, d);
        attend::exp_weighted(level, e, p);
    }

    /// The candidates of a tile for one user.
    fn score_tile(&self, row: usize, users: &QueryUsers, user: usize, tile: &Tile, level: Level, best: &mut Best) {
        let mut scores = [0f32; LANES];
        if self.query.max_abs.iter().any(|&largest| largest > 0.0) {
            dot_lanes(level, self.query.vector(row), &tile.vectors, &mut scores);
        }
        let history = users.offsets[user]..users.offsets[user + 1];
        if !history.is_empty() {
            let (rows, weights) = (&users.rows[history.clone()], &users.weights[history]);
            let (exponent, factor) = (self.target.exponent, users.factors[user]);
            attend::attend(level, rows, weights, &tile.e, &tile.p, exponent, factor, &mut scores);
        }
        if !self.target.bias.is_empty() {
            for (score, &item) in scores.iter_mut().zip(&tile.items) {
                *score += self.target.bias[item as usize];
            }
        }
        let threshold = best.threshold();
        if scores.iter().fold(0, |hits, &score| hits + u32::from(score >= threshold)) == 0 {
            return;
        }
        let seen = self.query.seen(row);
        for (&item, &score) in tile.items.iter().zip(&scores) {
            let key = key(score, item);
            if best.accepts(key) && seen.binary_search(&item).is_err() {
                best.offer(key);
            }
        }
    }
}
