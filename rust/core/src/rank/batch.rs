//! Lists for many users: blocks of users over the threads, each against all items.
//!
//! Two paths with the same result. *Plain* (see `plain`): every score in f32, 32 users × 12 items in registers. *Pruned*: first thresholds
//! from the items of the largest norms in f32 or from bytes (see `first_thresholds`), then the compact table (see `index`), six
//! or, with tiles, 32 users whose scans end near each other at a time; what it cannot discard is scored in f32. The sparse part of a score is exact from
//! the start: of the items that a history adds to, those of the highest sums are offered first, and the scan looks for all
//! others that could still enter (see `settled`); on the plain path all of them are offered first. `block` does this for
//! several searches of the same users, each of other items, which share these sums.

use std::ops::Range;
use std::sync::OnceLock;

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::dot::{UNTOUCHED, dots};
use crate::runtime::simd::int8_scan::BLOCK;
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::tile_scan::Hit;
use crate::runtime::simd::tiles::LANES;

use super::bounds::norm;
use super::candidates::Candidates;
use super::exclusions::Exclusions;
use super::group_scan::{GroupScan, PruningCost, Together, users_per_scan};
use super::index::{Index, ThresholdSeed};
use super::item_rows::ItemRows;
use super::key::{Best, key};
use super::neighbor_sums::LEFT_OUT;
use super::offers::Scan;
use super::query::{EligibleItems, Query};
use super::row_sums::RowSums;
use super::scorer::Scorer;
use super::settled::Settled;

/// Items that the compact table leaves to one user, scored together: soon where the list is open, for its threshold rises.
const RESCORE_BATCH: usize = 16;
const RESCORE_BATCH_FULL: usize = 512;

/// Blocks that are scanned by tiles before lists that began open are looked after.
const BLOCKS_OPEN: usize = 8;

/// So many neighbors of the highest sums, for each place and beside, are offered before the scan looks for the others.
const FIRST_PER_PLACE: usize = 4;
const FIRST: usize = 10;

/// So many where a floor says from the start what enters.
const FIRST_ABOVE_FLOOR: usize = 10;

/// The first users of a call, who show whether the compact table pays.
const PROBE_USERS: usize = 12;

/// At most so many users in a block: what their histories add, some kilobytes each, stays in a level-2 cache of 2 MiB.
pub const MAX_ROWS: usize = 192;

/// So few eligible items are scored one by one as each row comes.
pub const MAX_SINGLE_ITEMS: usize = 16;

/// Of no more items than this all are scored for 32 users at once, where histories add to some.
pub const MAX_SCORED_ITEMS: usize = 1024;

/// The lists of one call, made block by block.
pub struct BatchSearch<'a> {
    /// The items.
    pub scorer: &'a Scorer,
    /// Whose lists.
    pub query: Query<'a>,
    /// The items that may be listed.
    pub eligible: &'a EligibleItems,
    /// Their rows, gathered when the plain path first wants them.
    pub rows: OnceLock<ItemRows<'a>>,
    /// All eligible items, where they are at most [`MAX_SINGLE_ITEMS`].
    pub single_items: Option<Vec<u32>>,
    /// Whether every list is chosen from the scores of all eligible items; see `plain`.
    pub scores_all: bool,
    /// Where `scores_all`: some of the items, and the length of a ranking of these that is made of the same scores.
    pub part: Option<(&'a EligibleItems, usize)>,
    /// The compact table and its items that give first thresholds; none where nothing is pruned.
    pub compact: Option<(&'a Index, &'a ThresholdSeed)>,
    /// Whether the tables hold the eligible items alone.
    pub own_index: bool,
    /// Length of a full list.
    pub n: usize,
    /// Use the compact table even where it does not pay.
    pub force_pruning: bool,
    /// What that cost so far.
    pub cost: PruningCost,
}

/// Where the lists of a block go.
pub struct OutputSlices<'a> {
    /// Positions, `width` for each row.
    pub items: &'a mut [i32],
    /// Scores, `width` for each row.
    pub scores: &'a mut [f32],
    /// Lengths.
    pub counts: &'a mut [i32],
    /// Entries of a row.
    pub width: usize,
}

/// The list of one user of a block.
#[derive(Default)]
pub struct UserTopN {
    pub(super) best: Best,
    /// What `n` items that may be listed score at least.
    pub(super) seed_threshold: f32,
    /// Items that score less are not needed.
    pub(super) floor: f32,
    /// Which of the items that the history adds to were offered.
    pub(super) settled: Settled,
    /// Whether the history filled the list.
    pub(super) begins_full: bool,
    /// Whether it is as it should be, and nothing is searched.
    pub(super) ends: bool,
}

impl UserTopN {
    /// No score below this can enter the list.
    #[inline]
    pub fn threshold(&self) -> f32 {
        self.seed_threshold.max(self.best.threshold())
    }

    /// No dense part below this can enter the list, but for what is settled.
    #[inline]
    pub(super) fn dense_threshold(&self) -> f32 {
        self.settled.dense_threshold(self.threshold())
    }

    /// Makes it an empty list of up to `n`.
    pub(super) fn reset(&mut self, n: usize) {
        self.best.reset(n);
        (self.seed_threshold, self.floor) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        (self.settled, self.begins_full, self.ends) = (Settled::ALL, false, false);
    }

    /// Whether something is still searched for.
    pub(super) fn is_open(&self) -> bool {
        !self.ends && self.floor < f32::INFINITY
    }

    pub(super) fn raise(&mut self, floor: f32) {
        self.floor = self.floor.max(floor);
        self.best.raise(floor);
    }
}

/// Memory of one thread, kept from block to block.
#[derive(Default)]
pub struct Scratch {
    pub(super) lists: Vec<UserTopN>,
    /// Those of `BatchSearch::part`; of no place where there is none.
    pub(super) lists_of_part: Vec<UserTopN>,
    /// What is added to the scores of items that the compact table leaves, and these.
    pub(super) sums: Vec<f32>,
    pub(super) scores: Vec<f32>,
    /// A bit for each item; see `RowSums::keep_open`.
    pub(super) marks: Vec<u64>,
    /// The sums of `BatchSearch::single_items` for one row.
    pub(super) single_sums: Vec<f32>,
    pub(super) candidates: Candidates,
    pub(super) exclusions: Exclusions,
    /// The rows that need a list.
    pub(super) needed: Vec<u32>,
    /// 32 users' vectors, and those of a whole block.
    pub(super) pack: Vec<f32>,
    pub(super) packs: Vec<f32>,
    pub(super) seed_scores: Vec<[f32; LANES]>,
    pub(super) best_of_lanes: Vec<[f32; 8]>,
    /// Where each user's scan ends, and the user.
    pub(super) order: Vec<(f64, u32)>,
    pub(super) groups: Vec<GroupScan>,
    pub(super) hits: Vec<Hit>,
}

impl BatchSearch<'_> {
    /// Offers all items of a search for few of them, with the sum of each.
    pub(super) fn offer_single(
        &self,
        row: usize,
        level: Level,
        (items, sums): (&[u32], &[f32]),
        candidates: &mut Candidates,
        best: &mut Best,
    ) {
        candidates.clear();
        let has_sums = self.scorer.has_sums(&self.query);
        for (at, &item) in items.iter().enumerate() {
            // The sums of a history know what its row has seen.
            let sum = if has_sums { sums[at] } else { UNTOUCHED };
            if sum != LEFT_OUT && (has_sums || self.query.seen(row).binary_search(&item).is_err()) {
                candidates.items.push(item);
                candidates.sums.push(sum);
            }
        }
        self.scorer.offer_all(&self.query, row, level, candidates, best);
    }

    /// The list of a row with the items that its history adds to, as far as these are offered before the others.
    pub(super) fn begin_list(
        &self,
        row: usize,
        context: &Context,
        neighbors: (&[u32], &[f32]),
        candidates: &mut Candidates,
        list: &mut UserTopN,
    ) {
        if !self.scores_all && self.scorer.has_sums(&self.query) {
            let best = &mut list.best;
            let first = if best.is_full() { FIRST_ABOVE_FLOOR } else { FIRST_PER_PLACE * best.n() + FIRST };
            let to_scan = self.compact.map(|(index, _)| Scan { largest_norm: index.largest_norm(), first });
            list.settled =
                self.scorer.offer_neighbors(&self.query, row, context.level, neighbors, to_scan, candidates, best);
        }
        list.begins_full = list.best.is_full();
    }

    /// The lists of a block with everything else.
    pub(super) fn finish_lists(
        &self,
        rows: &Range<usize>,
        context: &Context,
        of_rows: &RowSums,
        scratch: &mut Scratch,
    ) -> Result<()> {
        if self.scores_all {
            self.score_all(rows.start, rows.len(), context, of_rows, scratch)?;
        }
        // A list that its history has filled has a threshold, and a better one than first items would give.
        let open_rows = if self.single_items.is_some() || self.scores_all { 0 } else { rows.len() as u32 };
        let needed = (0..open_rows).filter(|&at| scratch.lists[at as usize].is_open());
        let (full, open): (Vec<u32>, Vec<u32>) = needed.partition(|&at| scratch.lists[at as usize].best.is_full());
        for (users, seeded) in [(open, true), (full, false)] {
            let mut users = &users[..];
            if let Some((index, seed)) = self.compact {
                // The first users of a call show whether the table pays; for the others it is known.
                while !users.is_empty() && (self.force_pruning || self.pruning_pays_off(users.len())) {
                    let known = self.force_pruning || self.cost.users() >= PROBE_USERS as u64;
                    let (next, later) = users.split_at(if known { users.len() } else { users.len().min(PROBE_USERS) });
                    if seeded {
                        self.seed_thresholds(seed, rows.start, next, context, of_rows, scratch)?;
                    }
                    let from = if seeded { seed.n_blocks() } else { 0 };
                    self.pruned(index, from, rows.start, next, context, of_rows, scratch)?;
                    users = later;
                }
            }
            self.plain(rows.start, users, context, of_rows, scratch)?;
        }
        Ok(())
    }

    /// The compact table, and f32 for what it cannot discard. Groups of users take turns with each part of the table, which
    /// stays in the level-2 cache meanwhile.
    fn pruned(
        &self,
        index: &Index,
        from: usize,
        first: usize,
        users: &[u32],
        context: &Context,
        of_rows: &RowSums,
        scratch: &mut Scratch,
    ) -> Result<()> {
        // Users whose scans end near each other go together.
        scratch.order.clear();
        for &at in users {
            let list = &scratch.lists[at as usize];
            let (threshold, vector) = (list.dense_threshold(), self.query.vector(first + at as usize));
            scratch.order.push((f64::from(threshold) / norm(vector).max(f64::MIN_POSITIVE), at));
        }
        scratch.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // As many groups as have to be, of like numbers of users.
        let n_groups = users.len().div_ceil(users_per_scan(context.level));
        let per_group = users.len().div_ceil(n_groups);
        let n_groups = users.len().div_ceil(per_group);
        if scratch.groups.len() < n_groups {
            scratch.groups.resize_with(n_groups, GroupScan::default);
        }
        for (group, members) in scratch.groups.iter_mut().zip(scratch.order.chunks(per_group)) {
            let vector = |at: u32| self.query.vector(first + at as usize);
            let threshold = |at: u32| scratch.lists[at as usize].dense_threshold();
            group.begin(members, self.query.d, vector, threshold, context.level);
        }
        // Thresholds that rise on the way want hits to be scored soon.
        let mut soon = !scratch.lists[users[0] as usize].begins_full;
        if soon && self.bounds_sure_scores(context.level) {
            soon = false;
            self.raise_by_bytes(index, n_groups, context, of_rows, scratch)?;
        }
        let (mut block, mut open) = (from, n_groups);
        while block < index.n_blocks() && open > 0 {
            context.cancel.check()?;
            let blocks = index.together(block);
            open = 0;
            for group in 0..n_groups {
                let ends = self.scan_part(index, blocks.clone(), first, group, soon, context.level, of_rows, scratch);
                open += usize::from(!ends);
            }
            block = blocks.end;
        }
        for group in 0..n_groups {
            for user in 0..scratch.groups[group].members.len() {
                self.rescore(first, group, user, context.level, of_rows, scratch);
            }
            let GroupScan { together, members, rescored, .. } = &mut scratch.groups[group];
            let scanned = (index.n_blocks_from_norm(*together.stop()).max(from) - from) * BLOCK * members.len();
            self.cost.add(context.level, self.query.d, members.len(), scanned, *rescored);
        }
        Ok(())
    }

    /// The scan of some blocks by one group, whose hits are scored `soon` or many together; whether it ends there, since no norm
    /// reaches any more.
    fn scan_part(
        &self,
        index: &Index,
        blocks: Range<usize>,
        first: usize,
        group: usize,
        soon: bool,
        level: Level,
        of_rows: &RowSums,
        scratch: &mut Scratch,
    ) -> bool {
        let (d, vectors) = (self.query.d, self.scorer.vectors());
        let mut block = blocks.start;
        loop {
            let Scratch { groups, hits, .. } = &mut *scratch;
            hits.clear();
            let ends = match &groups[group].together {
                Together::Few(few) => {
                    let (found, masks) = index.scan(vectors, level, few, block..blocks.end);
                    let reached = (0..).zip(masks).filter(|&(_, mask)| mask != 0);
                    hits.extend(reached.map(|(user, mask)| Hit { user, block: found as u32, mask }));
                    block = found + 1;
                    found > blocks.end
                }
                Together::Tiles(tiles) => {
                    let part = block..if soon { blocks.end.min(block + BLOCKS_OPEN) } else { blocks.end };
                    block = part.end;
                    index.scan_by_tiles(vectors, level, tiles, part, hits)
                }
            };
            let own = &mut groups[group];
            for &Hit { user, block, mask } in &*hits {
                let pending = &mut own.pending[user as usize];
                let known = pending.len();
                index.eligible_hits(block as usize, mask, self.eligible, pending);
                if soon {
                    pending[known..].iter().for_each(|&item| fetch(vectors, item as usize * d, d));
                }
            }
            for user in 0..own.members.len() {
                let own = &scratch.groups[group];
                if own.pending[user].len() >= if soon { RESCORE_BATCH } else { RESCORE_BATCH_FULL } {
                    self.rescore(first, group, user, level, of_rows, scratch);
                }
            }
            if ends || block >= blocks.end {
                return ends;
            }
        }
    }

    /// Offers in f32 what the scan left to a user of a group.
    fn rescore(&self, first: usize, group: usize, user: usize, level: Level, of_rows: &RowSums, scratch: &mut Scratch) {
        let Scratch { lists, sums, scores, marks, groups, .. } = scratch;
        let own = &mut groups[group];
        let (pending, at) = (&mut own.pending[user], own.members[user] as usize);
        if pending.is_empty() {
            return;
        }
        own.rescored += pending.len() as u64;
        let list = &mut lists[at];
        let vector = self.query.vector(first + at);
        if list.begins_full {
            marks.resize(self.scorer.n_items().div_ceil(64), 0);
            of_rows.keep_open(at, list.settled, level, marks, pending, sums);
            scores.resize(pending.len(), 0.0);
            dots(level, vector, self.scorer.vectors(), pending, scores);
            for ((&item, &score), &sum) in pending.iter().zip(scores.iter()).zip(sums.iter()) {
                list.best.offer(key(score + sum, item));
            }
        } else {
            // All that a history adds to was offered; few of the others enter.
            scores.resize(pending.len(), 0.0);
            dots(level, vector, self.scorer.vectors(), pending, scores);
            for (&item, &score) in pending.iter().zip(scores.iter()) {
                let key = key(score, item);
                if list.best.accepts(key) && !of_rows.contain(at, item) {
                    list.best.offer(key);
                }
            }
        }
        pending.clear();
        own.set_threshold(user, list.dense_threshold());
    }

    /// Whether the compact table has paid in the blocks done so far, for so many users: without it, a few cost as much as 32.
    fn pruning_pays_off(&self, n_users: usize) -> bool {
        let n_items = if self.gathers() { self.eligible.count } else { self.scorer.n_items() };
        let n_scored = n_items * n_users.next_multiple_of(LANES) / n_users;
        self.cost.pays_off(n_scored, self.query.d, self.n)
    }
}
