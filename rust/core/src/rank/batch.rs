//! Lists for many users: blocks of users over the threads, each against all items.
//!
//! Two paths with the same result. *Plain*: every score in f32, 32 users × 12 items in registers. *Pruned*: first thresholds
//! from the items of the largest norms in f32 (see `ThresholdSeed`), then the compact table (see `index`), six users of like reach at
//! a time; what it cannot discard is scored in f32. The sparse part of a hybrid score is exact from the start: items that a
//! history touches are scored one by one as far as one can enter the list (see `sparse`), and the rest can only have their
//! dense part.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::bytes::{BLOCK, Group, user_limit};
use crate::runtime::simd::chains::dots;
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::tiles::{self, LANES};

use super::index::{Bounds, Index, norm};
use super::key::{Best, key};
use super::lists::write;
use super::neighbor_sums::NeighborSums;
use super::query::{EligibleItems, Query};
use super::ranker::{Head, Ranker};

/// Users that share one scan of the compact table: 24 sums in registers.
const USERS_PER_SCAN: usize = 6;

/// Survivors of the compact table that are scored together.
const RESCORE_BATCH: usize = 16;

/// Users that show whether the compact table pays.
const PROBE_USERS: usize = 2 * USERS_PER_SCAN;

/// Most users in a block.
pub const MAX_ROWS: usize = 384;

/// Items that give the first thresholds: an eighth of all, but at most these, and eight for each place of a list.
const FRONT: usize = 512;

/// Item rows of one pass: they stay in the second cache while the packs of a block go by.
const PASS_BYTES: usize = 768 << 10;

/// The items that a call may list, as rows of one table.
pub struct Rows<'a> {
    /// The item of each row, ascending; `None`: row r is item r, and those not eligible are passed over.
    positions: Option<Vec<u32>>,
    /// Row-major vectors.
    vectors: Cow<'a, [f32]>,
    /// The bias of each row, where the head has any.
    biases: Cow<'a, [f32]>,
}

impl<'a> Rows<'a> {
    /// Where many items are out, the rest moves together. With a context, its threads share the work.
    fn new(ranker: &'a Ranker, eligible: &EligibleItems, context: Option<&Context>) -> Self {
        let (vectors, biases, d) = (ranker.vectors(), ranker.biases(), ranker.factors().max(1));
        if !eligible.few(ranker.n_items()) {
            return Self { positions: None, vectors: vectors.into(), biases: biases.into() };
        }
        let positions = eligible.positions();
        let mut rows = vec![0f32; positions.len() * ranker.factors()];
        let copy = |(items, rows): (&[u32], &mut [f32])| {
            for (&item, row) in items.iter().zip(rows.chunks_exact_mut(d)) {
                row.copy_from_slice(&vectors[item as usize * d..(item as usize + 1) * d]);
            }
        };
        let parts = positions.chunks(MAX_ROWS).zip(rows.chunks_mut(MAX_ROWS * d));
        match context {
            Some(context) => context.share(parts, || (), |(), part| copy(part)),
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

/// The first blocks of the index, which give the pruned path its first thresholds.
pub struct ThresholdSeed {
    /// Row-major vectors.
    vectors: Vec<f32>,
    /// The item of each row.
    items: Vec<u32>,
    /// The items and their rows, ascending.
    places: Vec<(u32, u32)>,
    /// A bit for each item of the catalogue that is among them.
    bits: Vec<u64>,
}

impl ThresholdSeed {
    /// Rows that lists of `n` out of `all` items want.
    fn wanted(all: usize, n: usize) -> usize {
        (all / 8).min(FRONT).max(8 * n).next_multiple_of(BLOCK).min(all)
    }

    /// That of an index over some of `vectors`, the table of all `n_items`, for lists of `n`.
    pub fn new(index: &Index, vectors: &[f32], n_items: usize, n: usize) -> Self {
        let items = index.items()[..Self::wanted(index.items().len(), n)].to_vec();
        let mut bits = vec![0; n_items.div_ceil(64)];
        for &item in &items {
            bits[item as usize / 64] |= 1 << (item % 64);
        }
        let mut places: Vec<(u32, u32)> = items.iter().copied().zip(0..).collect();
        places.sort_unstable();
        let d = index.factors();
        let vector = |&item: &u32| &vectors[item as usize * d..(item as usize + 1) * d];
        Self { vectors: items.iter().flat_map(vector).copied().collect(), items, places, bits }
    }

    /// Whether it is that for lists of `n`.
    pub fn suits(&self, index: &Index, n: usize) -> bool {
        self.items.len() == Self::wanted(index.items().len(), n)
    }

    /// The row of an item, if it has one.
    #[inline]
    fn place(&self, item: u32) -> Option<usize> {
        if self.bits[item as usize / 64] >> (item % 64) & 1 == 0 {
            return None;
        }
        self.places.binary_search_by_key(&item, |place| place.0).ok().map(|at| self.places[at].1 as usize)
    }
}

/// What the compact table was worth so far in this call, in multiplications of f32.
#[derive(Default)]
pub struct PruningCost {
    rows: AtomicU64,
    spent: AtomicU64,
}

/// One call.
pub struct BatchSearch<'a> {
    /// Who scores.
    pub ranker: &'a Ranker,
    /// Who asks.
    pub query: Query<'a>,
    /// What may be listed.
    pub eligible: &'a EligibleItems,
    /// Their rows, brought together when the plain path first wants them.
    pub rows: OnceLock<Rows<'a>>,
    /// The compact table and its items that give first thresholds.
    pub compact: Option<(&'a Index, &'a ThresholdSeed)>,
    /// Whether that table holds the eligible items alone.
    pub own_index: bool,
    /// OutputSlices in a list.
    pub n: usize,
    /// Keep to the compact table even where it does not pay.
    pub force_pruning: bool,
    /// Counters.
    pub worth: PruningCost,
}

/// Where the lists of a block go.
pub struct OutputSlices<'a> {
    /// Positions, `width` for each row.
    pub items: &'a mut [i32],
    /// Scores, `width` for each row.
    pub scores: &'a mut [f32],
    /// Lengths.
    pub counts: &'a mut [i32],
    /// OutputSlices in a row.
    pub width: usize,
}

/// One user of a block.
#[derive(Default)]
struct UserTopN {
    best: Best,
    /// What `n` items that may be listed reach.
    least: f32,
    left_out: Range<usize>,
    /// A bit for each item left out, by its last nine: most items are settled here, and a search is not needed.
    exclusion_filter: [u64; 8],
}

impl UserTopN {
    /// Whether the list leaves an item out; `left_out` is that of the whole block.
    #[inline]
    fn leaves_out(&self, left_out: &[u32], position: u32) -> bool {
        self.exclusion_filter[position as usize / 64 % 8] >> (position % 64) & 1 == 1
            && left_out[self.left_out.clone()].binary_search(&position).is_ok()
    }

    /// No score below this belongs into the list.
    #[inline]
    fn threshold(&self) -> f32 {
        self.least.max(self.best.threshold())
    }
}

/// Memory of one thread, kept from block to block.
#[derive(Default)]
pub struct Scratch {
    slots: Vec<UserTopN>,
    left_out: Vec<u32>,
    touched: NeighborSums,
    items: Vec<u32>,
    scores: Vec<f32>,
    pack: Vec<f32>,
    packs: Vec<f32>,
    front: Vec<[f32; LANES]>,
    reached: Vec<[f32; 8]>,
    order: Vec<(f64, u32)>,
    group: Group<USERS_PER_SCAN>,
    pending: [Vec<u32>; USERS_PER_SCAN],
}

impl BatchSearch<'_> {
    /// The lists of the rows asked for.
    pub fn block(
        &self,
        rows: Range<usize>,
        context: &Context,
        work: &mut Scratch,
        places: OutputSlices<'_>,
    ) -> Result<()> {
        let count = rows.len();
        if work.slots.len() < count {
            work.slots.resize_with(count, UserTopN::default);
        }
        work.left_out.clear();
        for (at, row) in rows.clone().enumerate() {
            work.slots[at].best.reset(self.n);
            work.slots[at].least = f32::NEG_INFINITY;
            let from = work.left_out.len();
            self.touched(row, at, context, work);
            let slot = &mut work.slots[at];
            slot.left_out = from..work.left_out.len();
            slot.exclusion_filter = [0; 8];
            for &item in &work.left_out[from..] {
                slot.exclusion_filter[item as usize / 64 % 8] |= 1 << (item % 64);
            }
        }
        let mut done = 0;
        if let Some((index, front)) = self.compact {
            // The first users of a call show whether the table pays; for the others it is known.
            while done < count && (self.force_pruning || self.pays()) {
                let known = self.force_pruning || self.worth.rows.load(Ordering::Relaxed) >= PROBE_USERS as u64;
                let next = if known { count } else { count.min(done + PROBE_USERS) };
                self.thresholds(front, rows.start, done..next, context, work)?;
                self.pruned(index, front.items.len().div_ceil(BLOCK), rows.start, done..next, context, work)?;
                done = next;
            }
        }
        self.plain(rows.start, done..count, context, work)?;
        let lists = places
            .items
            .chunks_exact_mut(places.width)
            .zip(places.scores.chunks_exact_mut(places.width))
            .zip(places.counts)
            .zip(&mut work.slots);
        for (((items, scores), count), slot) in lists {
            write(slot.best.sorted(), items, scores, count);
        }
        Ok(())
    }

    /// The items that a history touches, exactly; leaves in `left_out` what the dense pass must skip, ascending.
    fn touched(&self, row: usize, slot: usize, context: &Context, work: &mut Scratch) {
        let seen = self.query.seen(row);
        self.ranker.sum_neighbors(&self.query, row, context.level, &mut work.touched);
        // What cannot be listed anyway need not be left out.
        let listed = |item: &u32| self.eligible.has(*item);
        if work.touched.items().is_empty() {
            work.left_out.extend(seen.iter().copied().filter(listed));
            return;
        }
        work.items.clear();
        let mut rest = seen;
        for &item in work.touched.items() {
            while let Some((&first, later)) = rest.split_first()
                && first < item
            {
                work.left_out.extend(Some(first).filter(listed));
                rest = later;
            }
            let seen = rest.first() == Some(&item);
            rest = &rest[usize::from(seen)..];
            if listed(&item) {
                work.left_out.push(item);
                if !seen {
                    work.items.push(item);
                }
            }
        }
        work.left_out.extend(rest.iter().copied().filter(listed));
        let Scratch { touched, items, scores, slots, .. } = work;
        touched.offer(self.ranker, &self.query, row, context.level, items, scores, &mut slots[slot].best);
    }

    /// Takes an item into a list if it belongs there; the list's threshold from then on.
    #[inline]
    fn offer(&self, slot: &mut UserTopN, left_out: &[u32], position: u32, score: f32) -> f32 {
        let key = key(score, position);
        if slot.best.wants(key) && self.eligible.has(position) && !slot.leaves_out(left_out, position) {
            slot.best.offer(key);
        }
        slot.threshold()
    }

    /// The rows of the plain path. In a block of users they are brought together without the other threads, which may be
    /// waiting here.
    pub fn rows(&self, context: Option<&Context>) -> &Rows<'_> {
        self.rows.get_or_init(|| Rows::new(self.ranker, self.eligible, context))
    }

    /// Every score in f32.
    fn plain(&self, first: usize, users: Range<usize>, context: &Context, work: &mut Scratch) -> Result<()> {
        let d = self.query.d;
        if users.is_empty() {
            return Ok(());
        }
        if d == 0 {
            self.fill(users, work);
            return Ok(());
        }
        work.packs.clear();
        for start in users.clone().step_by(LANES) {
            let vectors = (start..users.end).map(|at| self.query.vector(first + at));
            tiles::pack(vectors, d, &mut work.pack);
            work.packs.extend_from_slice(&work.pack);
        }
        // A multiple of the tiles' 12 and 6 rows.
        let pass = (PASS_BYTES / (4 * d)).next_multiple_of(12);
        let (left_out, all) = (&work.left_out, self.rows(None));
        for (part, rows) in all.vectors.chunks(pass * d).enumerate() {
            let biases = all.biases.get(part * pass..).unwrap_or_default();
            for (pack, slots) in work.packs.chunks_exact(d * LANES).zip(work.slots[users.clone()].chunks_mut(LANES)) {
                context.cancel.check()?;
                let mut thresholds = [f32::INFINITY; LANES];
                for (threshold, slot) in thresholds.iter_mut().zip(&*slots) {
                    *threshold = slot.threshold();
                }
                let reach = |lane: usize, row: usize, score: f32| {
                    self.offer(&mut slots[lane], left_out, all.position((part * pass + row) as u32), score)
                };
                match self.ranker.head() {
                    // Target attention has a sweep of its own; it never comes here.
                    Head::Inner | Head::TargetAttention(_) => {
                        tiles::inner(context.level, pack, rows, d, &mut thresholds, reach);
                    }
                    Head::FactorAttention { sharpness, .. } => {
                        tiles::attention(context.level, pack, sharpness, rows, biases, &mut thresholds, reach);
                    }
                }
            }
        }
        Ok(())
    }

    /// Without factors every item that nothing touches scores 0: the first places not left out are the best.
    fn fill(&self, users: Range<usize>, work: &mut Scratch) {
        for slot in &mut work.slots[users] {
            for position in 0..self.ranker.n_items() as u32 {
                if !slot.best.wants(key(0.0, position)) {
                    break;
                }
                self.offer(slot, &work.left_out, position, 0.0);
            }
        }
    }

    /// First thresholds: what `n` of the items with the largest norms reach, those left out not counted.
    fn thresholds(
        &self,
        front: &ThresholdSeed,
        first: usize,
        users: Range<usize>,
        context: &Context,
        work: &mut Scratch,
    ) -> Result<()> {
        let d = self.query.d;
        for start in users.clone().step_by(LANES) {
            context.cancel.check()?;
            let vectors = (start..users.end).map(|at| self.query.vector(first + at));
            tiles::pack(vectors, d, &mut work.pack);
            work.front.resize(front.places.len(), [0.0; LANES]);
            tiles::products(context.level, &work.pack, &front.vectors, d, &mut work.front);
            if !self.own_index && self.eligible.bits.is_some() {
                for (scores, &item) in work.front.iter_mut().zip(&front.items) {
                    if !self.eligible.has(item) {
                        *scores = [f32::NEG_INFINITY; LANES];
                    }
                }
            }
            let slots = &mut work.slots[start..users.end.min(start + LANES)];
            for (lane, slot) in slots.iter().enumerate() {
                for &item in &work.left_out[slot.left_out.clone()] {
                    if let Some(place) = front.place(item) {
                        work.front[place][lane] = f32::NEG_INFINITY;
                    }
                }
            }
            let mut thresholds = tiles::reached(context.level, &work.front, self.n, &mut work.reached);
            thresholds[slots.len()..].fill(f32::INFINITY);
            for (slot, &least) in slots.iter_mut().zip(&thresholds) {
                slot.least = least;
            }
            tiles::collect(context.level, &work.front, &mut thresholds, |lane, row, score| {
                if score > f32::NEG_INFINITY {
                    slots[lane].best.offer(key(score, front.items[row]));
                }
                slots[lane].threshold()
            });
        }
        Ok(())
    }

    /// The compact table, and f32 for what it cannot discard.
    fn pruned(
        &self,
        index: &Index,
        from: usize,
        first: usize,
        users: Range<usize>,
        context: &Context,
        work: &mut Scratch,
    ) -> Result<()> {
        let (d, vectors) = (self.query.d, self.ranker.vectors());
        // Users who stop at the same block go together.
        work.order.clear();
        let count = users.len();
        for at in users {
            let vector = self.query.vector(first + at);
            work.order.push((f64::from(work.slots[at].threshold()) / norm(vector).max(f64::MIN_POSITIVE), at as u32));
        }
        work.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut spent = 0u64;
        for start in (0..count).step_by(USERS_PER_SCAN) {
            context.cancel.check()?;
            let members = start..count.min(start + USERS_PER_SCAN);
            work.group.cut = [f64::INFINITY; 8];
            let mut bounds = [Bounds::default(); USERS_PER_SCAN];
            let mut stops = [f64::INFINITY; USERS_PER_SCAN];
            for (user, member) in members.clone().enumerate() {
                let at = work.order[member].1 as usize;
                bounds[user] = Bounds::new(index, self.query.vector(first + at), context.level, &mut work.group, user);
                let threshold = work.slots[at].threshold();
                bounds[user].enter(&mut work.group, user, threshold);
                stops[user] = bounds[user].stop(threshold);
            }
            work.group.stop = stops.iter().copied().fold(f64::INFINITY, f64::min);
            let (mut block, mut rescored) = (from, 0);
            loop {
                let (found, masks) = index.scan(vectors, context.level, &work.group, block);
                let last = found >= index.n_blocks();
                for (user, member) in members.clone().enumerate() {
                    let pending = &mut work.pending[user];
                    if !last {
                        let known = pending.len();
                        index.eligible_hits(found, masks[user], self.eligible, pending);
                        for &item in &pending[known..] {
                            fetch(vectors, item as usize * d, d);
                        }
                    }
                    if pending.len() >= RESCORE_BATCH || (last && !pending.is_empty()) {
                        let at = work.order[member].1 as usize;
                        let vector = self.query.vector(first + at);
                        work.scores.resize(pending.len(), 0.0);
                        dots(context.level, vector, vectors, pending, &mut work.scores);
                        let slot = &mut work.slots[at];
                        for (&item, &score) in pending.iter().zip(&work.scores) {
                            self.offer(slot, &work.left_out, item, score);
                        }
                        rescored += pending.len() as u64;
                        pending.clear();
                        let threshold = slot.threshold();
                        bounds[user].enter(&mut work.group, user, threshold);
                        stops[user] = bounds[user].stop(threshold);
                        work.group.stop = stops.iter().copied().fold(f64::INFINITY, f64::min);
                    }
                }
                if last {
                    break;
                }
                block = found + 1;
            }
            let scanned = (index.norms_from(work.group.stop).max(from) - from) * BLOCK * members.len();
            spent += self.cost(context, members.len() as u64, scanned as u64, rescored);
        }
        self.worth.rows.fetch_add(count as u64, Ordering::Relaxed);
        self.worth.spent.fetch_add(spent, Ordering::Relaxed);
        Ok(())
    }

    /// What the table cost, in f32 multiplications of the plain path. Fitted on Zen 3 to 23 cases: d = 16 to 256, 1,100 to
    /// 40,000 items, trained-like and Gaussian vectors, N = 10 to 100. With AVX-512 the scan is faster in relation.
    fn cost(&self, context: &Context, users: u64, scanned: u64, rescored: u64) -> u64 {
        let d = self.query.d as u64;
        let scan = if user_limit(context.level) < 100.0 { scanned * d * 4 / 7 } else { scanned * d / 3 };
        scan + rescored * (2300 + 15 * d) + users * (27_000 + 900 * d)
    }

    /// What lists of the plain path cost in the same unit: every product, and what enters a list on the way, which is
    /// N (1 + ln(n / N)) items of n in random order.
    fn plain_cost(&self, users: u64) -> u64 {
        let n_items = self.ranker.n_items();
        let items = if self.eligible.few(n_items) { self.eligible.count } else { n_items };
        let (all, n) = (items as f64, self.n as f64);
        let taken = n * (1.0 + (all / n).max(1.0).ln());
        users * ((items * self.query.d) as u64 + 1000 * taken as u64)
    }

    /// Whether the compact table has paid in the blocks done so far.
    fn pays(&self) -> bool {
        let rows = self.worth.rows.load(Ordering::Relaxed);
        rows == 0 || self.worth.spent.load(Ordering::Relaxed) < self.plain_cost(rows)
    }
}
