//! What the scores of a list that begins empty reach at least, before a scan looks for its items.
//!
//! First in f32, the items of the largest norms. Where tiles scan, a scan before the one for items finds what bytes are sure of:
//! by the head of `index`, with the errors taken off,
//!
//! ```text
//! score ≥ σ τ ⟨a, b⟩ − ‖σ a‖ E_B − (‖ε‖ + γ ‖u‖) M_B − d 2⁻¹⁴⁹
//! ```
//!
//! Many items share a place, which holds their best. Where n + m places reach a score and m items may not be listed, n that
//! may be do. Lists of 100 by the vectors of Gowalla alone had 630 items scored in f32, and have 280 since.

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::tile_scan::has_tiles;
use crate::runtime::simd::tiles::{self, LANES};

use super::batch::{BatchSearch, Scratch};
use super::index::{Index, ThresholdSeed};
use super::key::key;
use super::row_sums::RowSums;

/// Shorter lists than this leave too little to look at: with 10, 350 items in place of 67.
const MIN_PLACES: usize = 32;

impl BatchSearch<'_> {
    /// First thresholds: what `n` of the items with the largest norms score at least, excluded ones not counted.
    pub(super) fn seed_thresholds(
        &self,
        seed: &ThresholdSeed,
        first: usize,
        users: &[u32],
        context: &Context,
        of_rows: &RowSums,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let d = self.query.d;
        for users in users.chunks(LANES) {
            context.cancel.check()?;
            tiles::pack(users.iter().map(|&at| self.query.vector(first + at as usize)), d, &mut scratch.pack);
            scratch.seed_scores.resize(seed.items().len(), [0.0; LANES]);
            tiles::products(context.level, &scratch.pack, seed.vectors(), d, &mut scratch.seed_scores);
            if !self.own_index && self.eligible.bits.is_some() {
                for (scores, &item) in scratch.seed_scores.iter_mut().zip(seed.items()) {
                    if !self.eligible.contains(item) {
                        *scores = [f32::NEG_INFINITY; LANES];
                    }
                }
            }
            let lists = &mut scratch.lists;
            for (lane, &at) in users.iter().enumerate() {
                for &item in of_rows.items(at as usize) {
                    if let Some(row) = seed.row(item) {
                        scratch.seed_scores[row][lane] = f32::NEG_INFINITY;
                    }
                }
            }
            let mut thresholds =
                tiles::reached(context.level, &scratch.seed_scores, self.n, &mut scratch.best_of_lanes);
            thresholds[users.len()..].fill(f32::INFINITY);
            for (&at, &threshold) in users.iter().zip(&thresholds) {
                lists[at as usize].seed_threshold = threshold;
            }
            tiles::collect(context.level, &scratch.seed_scores, &mut thresholds, |lane, row, score| {
                let list = &mut lists[users[lane] as usize];
                if score > f32::NEG_INFINITY {
                    list.best.offer(key(score, seed.items()[row]));
                }
                list.threshold()
            });
        }
        Ok(())
    }

    /// Whether scores that bytes are sure of give better thresholds for lists that begin empty, and pay.
    pub(super) fn bounds_sure_scores(&self, level: Level) -> bool {
        let all_eligible = self.own_index || self.eligible.bits.is_none();
        has_tiles(level) && self.n >= MIN_PLACES && all_eligible && !self.scorer.has_sums(&self.query)
    }

    /// Raises the thresholds of groups to what bytes are sure of.
    pub(super) fn raise_by_bytes(
        &self,
        index: &Index,
        n_groups: usize,
        context: &Context,
        of_rows: &RowSums,
        scratch: &mut Scratch,
    ) -> Result<()> {
        for group in &mut scratch.groups[..n_groups] {
            group.begin_sure_scores(index.n_blocks(), self.n);
        }
        let mut block = 0;
        while block < index.n_blocks() {
            context.cancel.check()?;
            let blocks = index.together(block);
            block = blocks.end;
            for group in &mut scratch.groups[..n_groups] {
                group.add_sure_scores(index, self.scorer.vectors(), context.level, blocks.clone());
            }
        }
        for group in &mut scratch.groups[..n_groups] {
            for user in 0..group.members.len() {
                let at = group.members[user] as usize;
                let n = self.n + of_rows.items(at).len();
                let list = &mut scratch.lists[at];
                list.seed_threshold = list.seed_threshold.max(group.nth_sure_score(user, n, context.level));
                group.set_threshold(user, list.dense_threshold());
            }
        }
        Ok(())
    }
}
