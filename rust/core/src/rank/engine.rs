//! Lists for many users: blocks of users over the threads, each against all items.
//!
//! Two paths with the same result. *Plain*: every score in f32, 32 users × 12 items in registers. *Pruned*: first thresholds from the items
//! of the largest norms in f32, then the compact table (see `index`), six users of like reach at a time; what it cannot
//! discard is scored in f32. The sparse part of a hybrid score is exact from the start: items that a history touches are
//! scored one by one, and the rest can only have their dense part.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::bytes::{BLOCK, Group, scan, user_limit};
use crate::runtime::simd::tiles::{self, LANES};

use super::asked::{Asked, Eligible};
use super::index::{Bounds, Index, norm};
use super::key::{Best, key, position_of, score_of};
use super::ranker::{Head, Ranker};
use super::sparse::Touched;

/// Users that share one scan of the compact table: 24 sums in registers.
const ABREAST: usize = 6;

/// Survivors of the compact table that are scored together.
const TOGETHER: usize = 16;

/// Users that show whether the compact table pays.
const PROBED: usize = 2 * ABREAST;

/// Most users in a block.
pub const MOST_ROWS: usize = 384;

/// Item rows of one pass: they stay in the second cache while the packs of a block go by.
const PASS_BYTES: usize = 768 << 10;

/// The items that a call may list, as rows of one table.
pub struct Catalogue<'a> {
    /// Row-major vectors.
    pub rows: &'a [f32],
    /// The bias of each row, where the head has any.
    pub biases: &'a [f32],
    /// The position of each row; `None`: row r is item r.
    pub positions: Option<&'a [u32]>,
    /// The compact table over the same rows.
    pub index: Option<&'a Index>,
}

impl Catalogue<'_> {
    fn position(&self, row: u32) -> u32 {
        self.positions.map_or(row, |positions| positions[row as usize])
    }
}

/// What the compact table was worth so far in this call, in multiplications of f32.
#[derive(Default)]
pub struct Worth {
    rows: AtomicU64,
    spent: AtomicU64,
}

/// One call.
pub struct Job<'a> {
    /// Who scores.
    pub ranker: &'a Ranker,
    /// Who asks.
    pub asked: Asked<'a>,
    /// What may be listed.
    pub catalogue: Catalogue<'a>,
    /// Items to be left out by flag; `None` where the catalogue holds only what may be listed.
    pub eligible: Option<&'a Eligible>,
    /// Places in a list.
    pub n: usize,
    /// Keep to the compact table even where it does not pay.
    pub stubborn: bool,
    /// Counters.
    pub worth: Worth,
}

/// Where the lists of a block go.
pub struct Places<'a> {
    /// Positions, `width` for each row.
    pub items: &'a mut [i32],
    /// Scores, `width` for each row.
    pub scores: &'a mut [f32],
    /// Lengths.
    pub counts: &'a mut [i32],
    /// Places in a row.
    pub width: usize,
}

/// One user of a block.
#[derive(Default)]
struct Slot {
    best: Best,
    left_out: Range<usize>,
    /// A bit for each item left out, by its last nine: most items are settled here, and a search is not needed.
    sieve: [u64; 8],
}

impl Slot {
    /// Whether the list leaves an item out; `left_out` is that of the whole block.
    #[inline]
    fn leaves_out(&self, left_out: &[u32], position: u32) -> bool {
        self.sieve[position as usize / 64 % 8] >> (position % 64) & 1 == 1
            && left_out[self.left_out.clone()].binary_search(&position).is_ok()
    }
}

/// Memory of one thread, kept from block to block.
#[derive(Default)]
pub struct Work {
    slots: Vec<Slot>,
    left_out: Vec<u32>,
    touched: Touched,
    items: Vec<u32>,
    scores: Vec<f32>,
    pack: Vec<f32>,
    packs: Vec<f32>,
    order: Vec<(f64, u32)>,
    group: Group<ABREAST>,
    pending: [Vec<u32>; ABREAST],
}

impl Job<'_> {
    /// The lists of the rows asked for.
    pub fn block(&self, rows: Range<usize>, context: &Context, work: &mut Work, places: Places<'_>) -> Result<()> {
        let count = rows.len();
        if work.slots.len() < count {
            work.slots.resize_with(count, Slot::default);
        }
        work.left_out.clear();
        for (at, row) in rows.clone().enumerate() {
            work.slots[at].best.reset(self.n);
            let from = work.left_out.len();
            self.touched(row, at, context, work);
            let slot = &mut work.slots[at];
            slot.left_out = from..work.left_out.len();
            slot.sieve = [0; 8];
            for &item in &work.left_out[from..] {
                slot.sieve[item as usize / 64 % 8] |= 1 << (item % 64);
            }
        }
        let mut done = 0;
        if let Some(index) = self.catalogue.index {
            // The first users of a call show whether the table pays; for the others it is known.
            while done < count && (self.stubborn || self.pays()) {
                let known = self.stubborn || self.worth.rows.load(Ordering::Relaxed) >= PROBED as u64;
                let next = if known { count } else { count.min(done + PROBED) };
                self.pruned(index, rows.start, done..next, context, work)?;
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
            let keys = slot.best.sorted();
            for (at, &key) in keys.iter().enumerate() {
                items[at] = position_of(key) as i32;
                scores[at] = score_of(key);
            }
            *count = keys.len() as i32;
        }
        Ok(())
    }

    /// The items that a history touches, exactly; leaves in `left_out` what the dense pass must skip, ascending.
    fn touched(&self, row: usize, slot: usize, context: &Context, work: &mut Work) {
        let seen = self.asked.seen(row);
        self.ranker.touch(&self.asked, row, context.level, &mut work.touched);
        if work.touched.items().is_empty() {
            work.left_out.extend_from_slice(seen);
            return;
        }
        work.items.clear();
        let mut rest = seen;
        for &item in work.touched.items() {
            while let Some((&first, later)) = rest.split_first()
                && first < item
            {
                work.left_out.push(first);
                rest = later;
            }
            work.left_out.push(item);
            if rest.first() == Some(&item) {
                rest = &rest[1..];
            } else if Ranker::listed(item, self.eligible, self.catalogue.positions) {
                work.items.push(item);
            }
        }
        work.left_out.extend_from_slice(rest);
        work.scores.resize(work.items.len(), 0.0);
        self.ranker.dense(context.level, &self.asked, row, &work.items, &mut work.scores);
        let best = &mut work.slots[slot].best;
        for (&item, &dense) in work.items.iter().zip(&work.scores) {
            best.offer(key(dense + work.touched.sum(item), item));
        }
    }

    /// Takes an item into a list if it belongs there; the list's threshold from then on.
    #[inline]
    fn offer(&self, slot: &mut Slot, left_out: &[u32], row: u32, score: f32) -> f32 {
        let position = self.catalogue.position(row);
        let key = key(score, position);
        if slot.best.wants(key)
            && self.eligible.is_none_or(|eligible| eligible.has(position))
            && !slot.leaves_out(left_out, position)
        {
            slot.best.offer(key);
        }
        slot.best.threshold()
    }

    /// Every score in f32.
    fn plain(&self, first: usize, users: Range<usize>, context: &Context, work: &mut Work) -> Result<()> {
        let d = self.asked.d;
        if d == 0 {
            self.fill(users, work);
            return Ok(());
        }
        work.packs.clear();
        for start in users.clone().step_by(LANES) {
            let vectors = (start..users.end).map(|at| self.asked.vector(first + at));
            tiles::pack(vectors, d, &mut work.pack);
            work.packs.extend_from_slice(&work.pack);
        }
        // A multiple of the tiles' 12 and 6 rows.
        let pass = (PASS_BYTES / (4 * d)).next_multiple_of(12);
        let left_out = &work.left_out;
        for (part, rows) in self.catalogue.rows.chunks(pass * d).enumerate() {
            let biases = self.catalogue.biases.get(part * pass..).unwrap_or_default();
            for (pack, slots) in work.packs.chunks_exact(d * LANES).zip(work.slots[users.clone()].chunks_mut(LANES)) {
                context.cancel.check()?;
                let mut thresholds = [f32::INFINITY; LANES];
                for (threshold, slot) in thresholds.iter_mut().zip(&*slots) {
                    *threshold = slot.best.threshold();
                }
                let reach = |lane: usize, row: usize, score: f32| {
                    self.offer(&mut slots[lane], left_out, (part * pass + row) as u32, score)
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
    fn fill(&self, users: Range<usize>, work: &mut Work) {
        let n_rows = self.catalogue.positions.map_or(self.ranker.n_items(), <[u32]>::len);
        for slot in &mut work.slots[users] {
            for row in 0..n_rows as u32 {
                if !slot.best.wants(key(0.0, self.catalogue.position(row))) {
                    break;
                }
                self.offer(slot, &work.left_out, row, 0.0);
            }
        }
    }

    /// Thresholds from the items of the largest norms, then the compact table.
    fn pruned(
        &self,
        index: &Index,
        first: usize,
        users: Range<usize>,
        context: &Context,
        work: &mut Work,
    ) -> Result<()> {
        let d = self.asked.d;
        let head_rows = index.head().len() / d;
        for start in users.clone().step_by(LANES) {
            context.cancel.check()?;
            let vectors = (start..users.end).map(|at| self.asked.vector(first + at));
            tiles::pack(vectors, d, &mut work.pack);
            let slots = &mut work.slots[start..users.end.min(start + LANES)];
            let mut thresholds = [f32::INFINITY; LANES];
            for (threshold, slot) in thresholds.iter_mut().zip(&*slots) {
                *threshold = slot.best.threshold();
            }
            tiles::inner(context.level, &work.pack, index.head(), d, &mut thresholds, |lane, place, score| {
                self.offer(&mut slots[lane], &work.left_out, index.row_at(place), score)
            });
        }
        // Users who stop at the same block go together.
        let limit = user_limit(context.level);
        work.group.words.clear();
        work.group.words.resize(d.div_ceil(4), [0; ABREAST]);
        work.order.clear();
        let count = users.len();
        for at in users {
            let vector = self.asked.vector(first + at);
            work.order
                .push((f64::from(work.slots[at].best.threshold()) / norm(vector).max(f64::MIN_POSITIVE), at as u32));
        }
        work.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut spent = 0u64;
        for start in (0..count).step_by(ABREAST) {
            context.cancel.check()?;
            let members = start..count.min(start + ABREAST);
            work.group.cut = [f64::INFINITY; 8];
            let mut bounds = [Bounds::default(); ABREAST];
            let mut stops = [f64::INFINITY; ABREAST];
            for (user, member) in members.clone().enumerate() {
                let at = work.order[member].1 as usize;
                bounds[user] = Bounds::new(index, self.asked.vector(first + at), limit, &mut work.group.words, user);
                let threshold = work.slots[at].best.threshold();
                bounds[user].enter(&mut work.group, user, threshold);
                stops[user] = bounds[user].stop(threshold);
            }
            work.group.stop = stops.iter().copied().fold(f64::INFINITY, f64::min);
            // The head is a whole number of blocks, or all there is.
            let mut block = head_rows.div_ceil(BLOCK);
            let from = block;
            let mut rescored = 0;
            loop {
                let (found, masks) = scan(context.level, index.blocks(), &work.group, block);
                let last = found >= index.n_blocks();
                for (user, member) in members.clone().enumerate() {
                    if !last {
                        index.named(found, masks[user], &mut work.pending[user]);
                    }
                    let pending = &mut work.pending[user];
                    if pending.len() >= TOGETHER || (last && !pending.is_empty()) {
                        let at = work.order[member].1 as usize;
                        let vector = self.asked.vector(first + at);
                        work.scores.resize(pending.len(), 0.0);
                        crate::runtime::simd::chains::dots(
                            context.level,
                            vector,
                            self.catalogue.rows,
                            pending,
                            &mut work.scores,
                        );
                        let slot = &mut work.slots[at];
                        for (&row, &score) in pending.iter().zip(&work.scores) {
                            self.offer(slot, &work.left_out, row, score);
                        }
                        rescored += pending.len() as u64;
                        pending.clear();
                        let threshold = slot.best.threshold();
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
        let d = self.asked.d as u64;
        let scan = if user_limit(context.level) < 100.0 { scanned * d * 4 / 7 } else { scanned * d / 3 };
        scan + rescored * (2300 + 15 * d) + users * (27_000 + 900 * d)
    }

    /// What lists of the plain path cost in the same unit: every product, and what enters a list on the way, which is
    /// N (1 + ln(n / N)) items of n in random order.
    fn plain_cost(&self, users: u64) -> u64 {
        let (items, n) = ((self.catalogue.rows.len() / self.asked.d.max(1)) as f64, self.n as f64);
        let taken = n * (1.0 + (items / n).max(1.0).ln());
        users * (self.catalogue.rows.len() as u64 + 1000 * taken as u64)
    }

    /// Whether the compact table has paid in the blocks done so far.
    fn pays(&self) -> bool {
        let rows = self.worth.rows.load(Ordering::Relaxed);
        rows == 0 || self.worth.spent.load(Ordering::Relaxed) < self.plain_cost(rows)
    }
}
