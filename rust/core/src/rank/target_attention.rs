//! Lists where each candidate weighs the history its own way.
//!
//! ```text
//! score(u, i) = ⟨z_u, q_i⟩ + Σ_{j ∈ N(u)} a_uj(i) ⟨q_j, q_i⟩  [+ bias_i]
//! a_uj(i)     = exp(l_j + h_uj + ⟨k_j, c_i⟩) / (Σ_{j ∈ N(u)} exp(l_j + h_uj + ⟨k_j, c_i⟩))^β
//! ```
//!
//! The exponential falls own_index: exp(h_uj) belongs to the user, e_ji = exp(l_j + ⟨k_j, c_i⟩) to the pair of items, and so does
//! p_ji = e_ji ⟨q_j, q_i⟩. A tile of 32 candidates against all items of all histories is two small matrix products and
//! one exponential for each pair, *once for all users*; a user then adds up rows of e and p. On Gowalla (29,858 users, 27 items
//! in a history, 40,981 items) that is 1.7 thousand million exponentials in place of 33.
//!
//! h is taken relative to the highest of the user, with exp((1 − β) highest) put back at the end, so no user's weights vanish; l_j +
//! ⟨k_j, c_i⟩ is cut off at ±60, beyond which nothing else could be seen beside it. `attend::one` is the same for one pair.

use rayon::prelude::*;

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::attend::{self, LANES, Tables};
use crate::runtime::simd::gemm::{View, multiply_add};
use crate::runtime::simd::{Level, attend::across};

use super::key::{Best, key, position_of, score_of};
use super::query::{Lists, Query};
use super::ranker::{Ranker, check_finite};

/// Rows of history items that one task fills in.
const SOURCES_PER_TASK: usize = 512;

/// Users that one task visits.
const USERS_PER_TASK: usize = 32;

/// Memory for the places of one sweep over the catalogue.
const LISTS_BYTES: usize = 256 << 20;

/// What target attention knows of items beside their vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// k, already divided by √d: `n_items` × `d_keys`.
    pub keys: Vec<f32>,
    /// c: `n_items` × `d_keys`.
    pub queries: Vec<f32>,
    /// Numbers in a key.
    pub d_keys: usize,
    /// l: one for each item.
    pub logits: Vec<f32>,
    /// β, between 0 and 2.
    pub exponent: f32,
    /// One for each item, or none at all.
    pub bias: Vec<f32>,
}

impl Target {
    /// Checks shapes and numbers.
    pub fn check(&self, n_items: usize) -> Result<()> {
        let bad = |message: String| Err(crate::Error::InvalidData(message));
        for (table, name) in [(&self.keys, "keys"), (&self.queries, "queries")] {
            if table.len() != n_items * self.d_keys {
                return bad(format!("{name}: {} numbers for {n_items} rows of {}.", table.len(), self.d_keys));
            }
            check_finite(table, self.d_keys, name)?;
        }
        if self.logits.len() != n_items {
            return bad(format!("item logits: {} numbers for {n_items} items.", self.logits.len()));
        }
        check_finite(&self.logits, 1, "item logits")?;
        if !self.bias.is_empty() && self.bias.len() != n_items {
            return bad(format!("item biases: {} numbers for {n_items} items.", self.bias.len()));
        }
        check_finite(&self.bias, 1, "item biases")?;
        if !(0.0..=2.0).contains(&self.exponent) {
            return Err(crate::Error::InvalidParameter(format!(
                "attention_exponent is {}; it must be between 0 and 2.",
                self.exponent
            )));
        }
        Ok(())
    }

    /// A bound of |l_j + ⟨k_j, c_i⟩|.
    pub fn max_abs_logit(&self) -> f64 {
        let norm = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let most = |table: &[f32]| table.chunks_exact(self.d_keys.max(1)).map(norm).fold(0.0, f64::max);
        let logit = self.logits.iter().fold(0f64, |most, &l| most.max(f64::from(l).abs()));
        logit + most(&self.keys) * most(&self.queries)
    }

    /// The tables as the kernels take them.
    pub fn tables<'a>(&'a self, vectors: &'a [f32], d: usize) -> Tables<'a> {
        Tables {
            vectors,
            d,
            keys: &self.keys,
            queries: &self.queries,
            d_keys: self.d_keys,
            logits: &self.logits,
            exponent: self.exponent,
        }
    }
}

/// The users of a sweep, their histories as places among the sources.
#[derive(Default)]
struct QueryUsers {
    offsets: Vec<usize>,
    places: Vec<u32>,
    weights: Vec<f32>,
    factors: Vec<f32>,
}

/// The items of all histories of a sweep, their tables row by row.
struct HistoryItems {
    n: usize,
    keys: Vec<f32>,
    vectors: Vec<f32>,
    logits: Vec<f32>,
}

/// 32 candidates, packed as [factor][32], and what they think of every source.
#[derive(Default)]
struct Tile {
    queries: Vec<f32>,
    vectors: Vec<f32>,
    items: Vec<u32>,
    e: Vec<f32>,
    p: Vec<f32>,
}

/// One call.
pub struct TargetSearch<'a> {
    /// Who scores.
    pub ranker: &'a Ranker,
    /// With what.
    pub target: &'a Target,
    /// Who asks.
    pub query: Query<'a>,
    /// What may be listed, ascending.
    pub items: &'a [u32],
}

impl TargetSearch<'_> {
    /// The lists of everybody who asks.
    pub fn lists(&self, lists: &mut Lists, context: &Context) -> Result<()> {
        let width = lists.width;
        let step = (LISTS_BYTES / (12 * width)).max(1024);
        let mut slots: Vec<Best> = Vec::new();
        for first in (0..self.query.n_rows).step_by(step) {
            let rows = first..self.query.n_rows.min(first + step);
            let (visitors, sources) = self.gather(rows.clone(), context.level);
            slots.resize_with(rows.len(), Best::default);
            for best in &mut slots {
                best.reset(width);
            }
            let mut tile = Tile::default();
            for items in self.items.chunks(LANES) {
                self.pack(items, &sources, &mut tile);
                context.install(|| {
                    let Tile { e, p, queries, vectors, .. } = &mut tile;
                    let parts =
                        e.par_chunks_mut(SOURCES_PER_TASK * LANES).zip(p.par_chunks_mut(SOURCES_PER_TASK * LANES));
                    parts.enumerate().for_each(|(task, (e, p))| {
                        self.fill(&sources, task * SOURCES_PER_TASK, queries, vectors, context.level, e, p);
                    });
                    slots.par_chunks_mut(USERS_PER_TASK).enumerate().try_for_each(|(task, slots)| {
                        context.cancel.check()?;
                        for (at, best) in slots.iter_mut().enumerate() {
                            let user = task * USERS_PER_TASK + at;
                            self.score_tile(first + user, &visitors, user, &tile, context.level, best);
                        }
                        Ok(())
                    })
                })?;
            }
            for (at, best) in slots.iter_mut().enumerate() {
                let row = first + at;
                let keys = best.sorted();
                for (place, &key) in keys.iter().enumerate() {
                    lists.items[row * width + place] = position_of(key) as i32;
                    lists.scores[row * width + place] = score_of(key);
                }
                lists.counts[row] = keys.len() as i32;
            }
        }
        Ok(())
    }

    /// The list of one row, on this thread.
    pub fn one(&self, row: usize, level: Level, best: &mut Best) {
        let (visitors, sources) = self.gather(row..row + 1, level);
        let mut tile = Tile::default();
        for items in self.items.chunks(LANES) {
            self.pack(items, &sources, &mut tile);
            let Tile { e, p, queries, vectors, .. } = &mut tile;
            self.fill(&sources, 0, queries, vectors, level, e, p);
            self.score_tile(row, &visitors, 0, &tile, level, best);
        }
    }

    /// The histories of some rows, and the items that occur in them.
    fn gather(&self, rows: std::ops::Range<usize>, level: Level) -> (QueryUsers, HistoryItems) {
        let mut place_of = vec![u32::MAX; self.ranker.n_items()];
        for row in rows.clone() {
            for &item in self.query.history(row).0 {
                place_of[item as usize] = 0;
            }
        }
        let sources: Vec<u32> = (0..place_of.len() as u32).filter(|&item| place_of[item as usize] == 0).collect();
        for (place, &item) in sources.iter().enumerate() {
            place_of[item as usize] = place as u32;
        }
        let mut visitors = QueryUsers { offsets: vec![0], ..QueryUsers::default() };
        let mut weights = Vec::new();
        for row in rows {
            let (items, logits) = self.query.history(row);
            visitors.factors.push(attend::weights(level, logits, self.target.exponent, &mut weights));
            visitors.places.extend(items.iter().map(|&item| place_of[item as usize]));
            visitors.weights.extend_from_slice(&weights);
            visitors.offsets.push(visitors.places.len());
        }
        let take = |table: &[f32], d: usize| {
            sources.iter().flat_map(|&item| &table[item as usize * d..(item as usize + 1) * d]).copied().collect()
        };
        let sources = HistoryItems {
            n: sources.len(),
            keys: take(&self.target.keys, self.target.d_keys),
            vectors: take(self.ranker.vectors(), self.ranker.factors()),
            logits: take(&self.target.logits, 1),
        };
        (visitors, sources)
    }

    /// Up to 32 candidates as lanes; what is left of the lanes holds 0.
    fn pack(&self, items: &[u32], sources: &HistoryItems, tile: &mut Tile) {
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
        pack(self.ranker.vectors(), self.ranker.factors(), &mut tile.vectors);
        tile.items.clear();
        tile.items.extend_from_slice(items);
        tile.e.resize(sources.n * LANES, 0.0);
        tile.p.resize(sources.n * LANES, 0.0);
    }

    /// e and p of the sources from `first` on.
    fn fill(
        &self,
        sources: &HistoryItems,
        first: usize,
        queries: &[f32],
        vectors: &[f32],
        level: Level,
        e: &mut [f32],
        p: &mut [f32],
    ) {
        for (row, &logit) in e.chunks_exact_mut(LANES).zip(&sources.logits[first..]) {
            row.fill(logit);
        }
        p.fill(0.0);
        let (d, d_keys) = (self.ranker.factors(), self.target.d_keys);
        multiply_add(level, e, LANES, View::rows(&sources.keys, d_keys), first, queries, d_keys);
        multiply_add(level, p, LANES, View::rows(&sources.vectors, d), first, vectors, d);
        attend::weigh(level, e, p);
    }

    /// The candidates of a tile for one user.
    fn score_tile(&self, row: usize, visitors: &QueryUsers, user: usize, tile: &Tile, level: Level, best: &mut Best) {
        let mut scores = [0f32; LANES];
        if self.query.largest.iter().any(|&most| most > 0.0) {
            across(level, self.query.vector(row), &tile.vectors, &mut scores);
        }
        let history = visitors.offsets[user]..visitors.offsets[user + 1];
        if !history.is_empty() {
            let (places, weights) = (&visitors.places[history.clone()], &visitors.weights[history]);
            let (exponent, factor) = (self.target.exponent, visitors.factors[user]);
            attend::attend(level, places, weights, &tile.e, &tile.p, exponent, factor, &mut scores);
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
            if best.wants(key) && seen.binary_search(&item).is_err() {
                best.offer(key);
            }
        }
    }
}

/// The scores of some items for one row, pair by pair.
pub fn pairs(
    ranker: &Ranker,
    target: &Target,
    query: &Query<'_>,
    row: usize,
    level: Level,
    items: &[u32],
    scores: &mut [f32],
) {
    crate::runtime::simd::chains::dots(level, query.vector(row), ranker.vectors(), items, scores);
    let (history, logits) = query.history(row);
    let mut weights = Vec::new();
    let factor = attend::weights(level, logits, target.exponent, &mut weights);
    let tables = target.tables(ranker.vectors(), ranker.factors());
    for (score, &item) in scores.iter_mut().zip(items) {
        if !history.is_empty() {
            *score = attend::one(level, tables, history, &weights, factor, item, *score);
        }
        if let Some(bias) = target.bias.get(item as usize) {
            *score += bias;
        }
    }
}

/// A bound of every intermediate number, to find out whether one could leave the range of f32.
pub fn score_bound(target: &Target, logit: f64, query: &Query<'_>, largest: &[f32]) -> f64 {
    let squares: f64 = largest.iter().map(|&most| f64::from(most).powi(2)).sum();
    let exponent = f64::from(target.exponent);
    let n = query.longest as f64;
    // Σ w p ≤ n e^60 ‖q‖², (Σ w e)^β ≤ (n e^60)^β, and the factor.
    let spread = logit.min(60.0) * exponent.max(1.0) + query.max_abs_logit.min(1e9) * (1.0 - exponent).abs();
    let bias = target.bias.iter().fold(0f64, |most, &bias| most.max(f64::from(bias).abs()));
    let dense: f64 = query.largest.iter().zip(largest).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum();
    // A logit is cut off only where it is finite.
    let cut = if logit > f64::from(f32::MAX) / 4.0 { f64::INFINITY } else { 0.0 };
    n.max(1.0).powi(2) * squares.max(1.0) * spread.exp() + dense + bias + cut
}
