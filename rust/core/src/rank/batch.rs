//! Lists for many users: blocks of users over the threads, each against all items.
//!
//! Two paths with the same result. *Plain*: every score in f32, 32 users × 12 items in registers. *Pruned*: first thresholds
//! from the items of the largest norms in f32 (see `ThresholdSeed`), then the compact table (see `index`), six users whose
//! scans end near each other at a time; what it cannot discard is scored in f32. The sparse part of a score is exact from
//! the start: items that a history adds to are scored one by one as far as one can enter the list (see `Scorer::offer`), and
//! the rest can only have their dense part. Several searches of the same users, each of other items, share these sums, the
//! items that they name and what the dense passes skip.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::dot::dots;
use crate::runtime::simd::int8_scan::BLOCK;
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::tiles::{self, LANES};

use super::bounds::norm;
use super::exclusions::Exclusions;
use super::extent::Extent;
use super::group_scan::{GroupScan, PruningCost, USERS_PER_SCAN};
use super::index::{Index, ThresholdSeed};
use super::key::{Best, key};
use super::neighbor_sums::NeighborSums;
use super::output::write_list;
use super::query::{EligibleItems, Query};
use super::scorer::{Candidates, Scorer};

/// Items that the compact table leaves to one user, scored together.
const RESCORE_BATCH: usize = 16;

/// The first users of a call, who show whether the compact table pays.
const PROBE_USERS: usize = 2 * USERS_PER_SCAN;

/// At most so many users in a block.
pub const MAX_ROWS: usize = 384;

/// So few eligible items are scored one by one as each row comes.
pub const MAX_SINGLE_ITEMS: usize = 16;

/// Item rows of one pass: they stay in the level-2 cache while the packs of a block are scored.
const PASS_BYTES: usize = 768 << 10;

/// The items that a call may list, as rows of one table.
pub struct ItemRows<'a> {
    /// The item of each row, ascending; `None`: row r is item r, and those not eligible are skipped.
    positions: Option<Vec<u32>>,
    /// Row-major vectors.
    vectors: Cow<'a, [f32]>,
    /// The bias of each row, where the head has any.
    biases: Cow<'a, [f32]>,
}

impl<'a> ItemRows<'a> {
    /// Where items that are not eligible would be skipped time and again, the rows of the others are copied together. With a
    /// context, its threads share the work.
    fn new(scorer: &'a Scorer, eligible: &EligibleItems, gather: bool, context: Option<&Context>) -> Self {
        let (vectors, biases, d) = (scorer.vectors(), scorer.head().biases(), scorer.factors().max(1));
        if !gather {
            return Self { positions: None, vectors: vectors.into(), biases: biases.into() };
        }
        let positions = eligible.positions();
        let mut rows = vec![0f32; positions.len() * scorer.factors()];
        let copy = |(items, rows): (&[u32], &mut [f32])| {
            for (&item, row) in items.iter().zip(rows.chunks_exact_mut(d)) {
                row.copy_from_slice(&vectors[item as usize * d..(item as usize + 1) * d]);
            }
        };
        let parts = positions.chunks(MAX_ROWS).zip(rows.chunks_mut(MAX_ROWS * d));
        match context {
            Some(context) => context.for_each_task(parts, || (), |(), part| copy(part)),
            None => parts.for_each(copy),
        }
        let bias = |&item: &u32| biases[item as usize];
        let biases = if biases.is_empty() { Vec::new() } else { positions.iter().map(bias).collect() };
        Self { positions: Some(positions), vectors: rows.into(), biases: biases.into() }
    }

    fn position(&self, row: u32) -> u32 {
        self.positions.as_ref().map_or(row, |positions| positions[row as usize])
    }
}

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
    /// The compact table and its items that give first thresholds; none where nothing is pruned.
    pub compact: Option<(&'a Index, &'a ThresholdSeed)>,
    /// Whether the tables hold the eligible items alone.
    pub own_index: bool,
    /// Length of a full list.
    pub n: usize,
    /// What is needed of the lists.
    pub extent: Extent,
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
    /// Floors, or nothing.
    pub floors: &'a mut [f32],
}

/// The list of one user of a block.
#[derive(Default)]
struct UserTopN {
    best: Best,
    /// What `n` items that may be listed score at least.
    seed_threshold: f32,
    /// Items that score less are not needed.
    floor: f32,
}

impl UserTopN {
    /// No score below this can enter the list.
    #[inline]
    fn threshold(&self) -> f32 {
        self.seed_threshold.max(self.best.threshold())
    }

    fn raise(&mut self, floor: f32) {
        self.floor = self.floor.max(floor);
        self.best.raise(floor);
    }
}

/// Memory of one thread, kept from block to block.
#[derive(Default)]
pub struct Scratch {
    lists: Vec<UserTopN>,
    /// Scores of items that the compact table leaves.
    scores: Vec<f32>,
    /// 32 users' vectors, and those of a whole block.
    pack: Vec<f32>,
    packs: Vec<f32>,
    seed_scores: Vec<[f32; LANES]>,
    best_of_lanes: Vec<[f32; 8]>,
    /// Where each user's scan ends, and the user.
    order: Vec<(f64, u32)>,
    groups: Vec<GroupScan>,
}

/// Memory of one thread for several searches of the same users.
#[derive(Default)]
pub struct SharedScratch {
    sums: NeighborSums,
    candidates: Candidates,
    /// The items that the history of a row adds to and that may be in one of its lists.
    named: Vec<u32>,
    exclusions: Exclusions,
    of_each: Vec<Scratch>,
}

/// The lists of a block of rows by searches of the same users, of which each neighbor is summed once; an output for each.
/// `covering` are items that hold those of all searches.
pub fn block(
    searches: &[BatchSearch<'_>],
    covering: &EligibleItems,
    rows: &Range<usize>,
    context: &Context,
    shared: &mut SharedScratch,
    outputs: Vec<OutputSlices<'_>>,
) -> Result<()> {
    let SharedScratch { sums, candidates, named, exclusions, of_each } = shared;
    if of_each.len() < searches.len() {
        of_each.resize_with(searches.len(), Scratch::default);
    }
    exclusions.clear();
    for scratch in &mut *of_each {
        if scratch.lists.len() < rows.len() {
            scratch.lists.resize_with(rows.len(), UserTopN::default);
        }
    }
    for (at, row) in rows.clone().enumerate() {
        let from = exclusions.n_items();
        named.clear();
        candidates.start_row();
        match searches.first() {
            Some(BatchSearch { scorer, query, .. }) if query.history.is_some() => {
                scorer.sum_neighbors(query, row, context.level, sums);
                sums.append_excluded(covering, exclusions.items());
                if !sums.fills_words() {
                    sums.append_candidates(covering, named);
                }
            }
            Some(BatchSearch { query, .. }) => covering.append_eligible(query.seen(row), exclusions.items()),
            None => {}
        }
        exclusions.push(from);
        for (place, search) in searches.iter().enumerate() {
            let (before, scratch) = of_each.split_at_mut(place);
            let list = &mut scratch[0].lists[at];
            list.best.reset(search.n);
            list.seed_threshold = f32::NEG_INFINITY;
            list.floor = f32::NEG_INFINITY;
            list.raise(search.floor(before, at));
            search.begin_list(row, context, sums, named, candidates, &mut list.best);
        }
    }
    for ((place, search), output) in searches.iter().enumerate().zip(outputs) {
        let (before, scratch) = of_each.split_at_mut(place);
        if search.extent != Extent::Full {
            for (at, list) in scratch[0].lists[..rows.len()].iter_mut().enumerate() {
                list.raise(search.floor(before, at));
            }
        }
        search.finish_lists(rows, context, exclusions, &mut scratch[0], output)?;
    }
    Ok(())
}

impl BatchSearch<'_> {
    /// The score from which on a user's list is needed; `before` are the searches before this one.
    fn floor(&self, before: &mut [Scratch], at: usize) -> f32 {
        self.extent.floor(self.eligible, |of| &mut before[of].lists[at].best)
    }

    /// The list of a row with what its history adds to, some of the items that are `named`.
    fn begin_list(
        &self,
        row: usize,
        context: &Context,
        sums: &NeighborSums,
        named: &[u32],
        candidates: &mut Candidates,
        best: &mut Best,
    ) {
        let level = context.level;
        if best.threshold() == f32::INFINITY {
            return;
        }
        if let Some(items) = &self.single_items {
            candidates.items.clear();
            candidates.items.extend_from_slice(items);
            self.scorer.offer_unseen(&self.query, row, level, sums, candidates, false, best);
        } else if self.query.history.is_some() {
            self.scorer.select_candidates(&self.query, row, level, sums, named, self.eligible, candidates, best);
            self.scorer.offer(&self.query, row, level, sums, candidates, best);
        }
    }

    /// The lists of a block with everything else.
    fn finish_lists(
        &self,
        rows: &Range<usize>,
        context: &Context,
        exclusions: &Exclusions,
        scratch: &mut Scratch,
        output: OutputSlices<'_>,
    ) -> Result<()> {
        // A list that its history has filled has a threshold, and a better one than first items would give.
        let open_rows = if self.single_items.is_some() { 0 } else { rows.len() as u32 };
        let needed = (0..open_rows).filter(|&at| scratch.lists[at as usize].floor < f32::INFINITY);
        let (full, open): (Vec<u32>, Vec<u32>) = needed.partition(|&at| scratch.lists[at as usize].best.is_full());
        for (users, seeded) in [(open, true), (full, false)] {
            let mut users = &users[..];
            if let Some((index, seed)) = self.compact {
                // The first users of a call show whether the table pays; for the others it is known.
                while !users.is_empty() && (self.force_pruning || self.pruning_pays_off()) {
                    let known = self.force_pruning || self.cost.users() >= PROBE_USERS as u64;
                    let (next, later) = users.split_at(if known { users.len() } else { users.len().min(PROBE_USERS) });
                    if seeded {
                        self.seed_thresholds(seed, rows.start, next, context, exclusions, scratch)?;
                    }
                    let from = if seeded { seed.n_blocks() } else { 0 };
                    self.pruned(index, from, rows.start, next, context, exclusions, scratch)?;
                    users = later;
                }
            }
            self.plain(rows.start, users, context, exclusions, scratch)?;
        }
        output.floors.iter_mut().zip(&scratch.lists).for_each(|(floor, list)| *floor = list.floor);
        let rows = output
            .items
            .chunks_exact_mut(output.width)
            .zip(output.scores.chunks_exact_mut(output.width))
            .zip(output.counts)
            .zip(&mut scratch.lists);
        for (((items, scores), count), list) in rows {
            write_list(list.best.sorted(), items, scores, count);
        }
        Ok(())
    }

    /// Offers an item to a list unless it may not be listed; gives the list's threshold from then on.
    #[inline]
    fn offer(&self, list: &mut UserTopN, exclusions: &Exclusions, at: usize, position: u32, score: f32) -> f32 {
        let key = key(score, position);
        if list.best.accepts(key) && self.eligible.contains(position) && !exclusions.contain(at, position) {
            list.best.offer(key);
        }
        list.threshold()
    }

    /// The rows of the plain path. In a block of users they are gathered without the other threads, which may be waiting
    /// here.
    pub fn rows(&self, context: Option<&Context>) -> &ItemRows<'_> {
        self.rows.get_or_init(|| ItemRows::new(self.scorer, self.eligible, self.gathers(), context))
    }

    /// Whether the plain path gets a table of the eligible rows alone. Items of low scores would be found behind all that
    /// are not eligible and score higher.
    fn gathers(&self) -> bool {
        self.own_index || self.eligible.worth_gathering(self.scorer.n_items())
    }

    /// Every score in f32.
    fn plain(
        &self,
        first: usize,
        users: &[u32],
        context: &Context,
        exclusions: &Exclusions,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let d = self.query.d;
        if users.is_empty() {
            return Ok(());
        }
        if d == 0 {
            self.fill_without_factors(users, exclusions, scratch);
            return Ok(());
        }
        scratch.packs.clear();
        for users in users.chunks(LANES) {
            tiles::pack(users.iter().map(|&at| self.query.vector(first + at as usize)), d, &mut scratch.pack);
            scratch.packs.extend_from_slice(&scratch.pack);
        }
        // A multiple of the tiles' 12 and 6 rows.
        let pass = (PASS_BYTES / (4 * d)).next_multiple_of(12);
        let all = self.rows(None);
        for (part, rows) in all.vectors.chunks(pass * d).enumerate() {
            let biases = all.biases.get(part * pass..).unwrap_or_default();
            for (pack, users) in scratch.packs.chunks_exact(d * LANES).zip(users.chunks(LANES)) {
                context.cancel.check()?;
                let lists = &mut scratch.lists;
                let mut thresholds = [f32::INFINITY; LANES];
                for (threshold, &at) in thresholds.iter_mut().zip(users) {
                    *threshold = lists[at as usize].threshold();
                }
                let offer = |lane: usize, row: usize, score: f32| {
                    self.offer(
                        &mut lists[users[lane] as usize],
                        exclusions,
                        users[lane] as usize,
                        all.position((part * pass + row) as u32),
                        score,
                    )
                };
                self.scorer.head().score_tiles(context.level, pack, rows, d, biases, &mut thresholds, offer);
            }
        }
        Ok(())
    }

    /// Without factors every item that no history adds to scores 0: the first ones not excluded are the best.
    fn fill_without_factors(&self, users: &[u32], exclusions: &Exclusions, scratch: &mut Scratch) {
        for &at in users {
            let list = &mut scratch.lists[at as usize];
            for position in 0..self.scorer.n_items() as u32 {
                if !list.best.accepts(key(0.0, position)) {
                    break;
                }
                self.offer(list, exclusions, at as usize, position, 0.0);
            }
        }
    }

    /// First thresholds: what `n` of the items with the largest norms score at least, excluded ones not counted.
    fn seed_thresholds(
        &self,
        seed: &ThresholdSeed,
        first: usize,
        users: &[u32],
        context: &Context,
        exclusions: &Exclusions,
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
                for &item in exclusions.of(at as usize) {
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

    /// The compact table, and f32 for what it cannot discard. Groups of users take turns with each part of the table, which
    /// stays in the level-2 cache meanwhile.
    fn pruned(
        &self,
        index: &Index,
        from: usize,
        first: usize,
        users: &[u32],
        context: &Context,
        exclusions: &Exclusions,
        scratch: &mut Scratch,
    ) -> Result<()> {
        // Users whose scans end near each other go together.
        scratch.order.clear();
        for &at in users {
            let (threshold, vector) = (scratch.lists[at as usize].threshold(), self.query.vector(first + at as usize));
            scratch.order.push((f64::from(threshold) / norm(vector).max(f64::MIN_POSITIVE), at));
        }
        scratch.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let n_groups = users.len().div_ceil(USERS_PER_SCAN);
        if scratch.groups.len() < n_groups {
            scratch.groups.resize_with(n_groups, GroupScan::default);
        }
        for (group, members) in scratch.groups.iter_mut().zip(scratch.order.chunks(USERS_PER_SCAN)) {
            let vector = |at: u32| self.query.vector(first + at as usize);
            let threshold = |at: u32| scratch.lists[at as usize].threshold();
            group.begin(members, vector, threshold, context.level);
        }
        let (mut block, mut open) = (from, n_groups);
        while block < index.n_blocks() && open > 0 {
            context.cancel.check()?;
            let blocks = index.together(block);
            open = 0;
            for group in 0..n_groups {
                let ends = self.scan_part(index, blocks.clone(), first, group, context.level, exclusions, scratch);
                open += usize::from(!ends);
            }
            block = blocks.end;
        }
        for group in 0..n_groups {
            for user in 0..scratch.groups[group].members.len() {
                self.rescore(first, group, user, context.level, exclusions, scratch);
            }
            let GroupScan { group, members, rescored, .. } = &scratch.groups[group];
            let scanned = (index.n_blocks_from_norm(group.stop).max(from) - from) * BLOCK * members.len();
            self.cost.add(context.level, self.query.d, members.len(), scanned, *rescored);
        }
        Ok(())
    }

    /// The scan of some blocks by one group; whether it ends there, since no norm reaches any more.
    fn scan_part(
        &self,
        index: &Index,
        blocks: Range<usize>,
        first: usize,
        group: usize,
        level: Level,
        exclusions: &Exclusions,
        scratch: &mut Scratch,
    ) -> bool {
        let (d, vectors) = (self.query.d, self.scorer.vectors());
        let mut block = blocks.start;
        loop {
            let own = &mut scratch.groups[group];
            let (found, masks) = index.scan(vectors, level, &own.group, block..blocks.end);
            if found >= blocks.end {
                return found > blocks.end;
            }
            for user in 0..own.members.len() {
                let own = &mut scratch.groups[group];
                let known = own.pending[user].len();
                index.eligible_hits(found, masks[user], self.eligible, &mut own.pending[user]);
                for &item in &own.pending[user][known..] {
                    fetch(vectors, item as usize * d, d);
                }
                if own.pending[user].len() >= RESCORE_BATCH {
                    self.rescore(first, group, user, level, exclusions, scratch);
                }
            }
            block = found + 1;
        }
    }

    /// Offers in f32 what the scan left to a user of a group.
    fn rescore(
        &self,
        first: usize,
        group: usize,
        user: usize,
        level: Level,
        exclusions: &Exclusions,
        scratch: &mut Scratch,
    ) {
        let Scratch { lists, scores, groups, .. } = scratch;
        let own = &mut groups[group];
        let (pending, at) = (&mut own.pending[user], own.members[user] as usize);
        if pending.is_empty() {
            return;
        }
        scores.resize(pending.len(), 0.0);
        dots(level, self.query.vector(first + at), self.scorer.vectors(), pending, scores);
        for (&item, &score) in pending.iter().zip(scores.iter()) {
            self.offer(&mut lists[at], exclusions, at, item, score);
        }
        own.rescored += pending.len() as u64;
        pending.clear();
        own.set_threshold(user, lists[at].threshold());
    }

    /// Whether the compact table has paid in the blocks done so far.
    fn pruning_pays_off(&self) -> bool {
        let n_items = if self.gathers() { self.eligible.count } else { self.scorer.n_items() };
        self.cost.pays_off(n_items, self.query.d, self.n)
    }
}
