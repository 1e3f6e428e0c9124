//! One list on the calling thread; with the compact table nothing is allocated but the result.
//!
//! The compact table is read from its largest norms on, for a full list by two bits of every number, which leave few items, before
//! all of its bytes; the first items that it does not discard, scored in f32, set the threshold, and the scan ends where no norm
//! can reach it: 41,000 items, d = 64, take some 10 µs.

use std::cell::RefCell;
use std::ops::Range;

use crate::runtime::simd::Level;
use crate::runtime::simd::int8_scan::{BLOCK, Group};
use crate::runtime::simd::sparse::fetch;

use super::arrange::{self, ALL, BOOSTED, PINS, RowRankings, RulesCall};
use super::bounds::Bounds;
use super::candidates::Candidates;
use super::index::Index;
use super::key::{Best, key};
use super::neighbor_sums::NeighborSums;
use super::offers::Scan;
use super::plan;
use super::query::{EligibleItems, Query};
use super::scorer::Scorer;
use super::settled::Settled;
use super::sketches::Lookup;

/// Items that the scan leaves, scored together.
const RESCORE_BATCH: usize = 16;

/// The same for items of a narrow filter that are not scanned, of which more are scored in vain.
const RESCORE_BATCH_FILTERED: usize = 48;

/// Where fewer than one item in so many is eligible, most of what a scan of bytes reads would be for nothing: eligible items
/// are taken in their order and scored. On Zen 3, an item that is skipped takes .5 ns, one scored 20, one scanned 1.3.
const MIN_SCANNED_SHARE: usize = 16;

/// Of a list that has a threshold, so few items may be listed of those that a scan reads that each is bounded by its own bytes.
const MIN_BOUNDED_SHARE: usize = 6;

/// So many items that sketches leave are looked at together, or more.
const SKETCHED_BATCH: usize = 256;

/// So many neighbors of the highest sums, for each place and beside, are offered before the scan looks for the others: what
/// these have to reach is high then, and sketches leave little.
const FIRST_PER_PLACE: usize = 30;
const FIRST: usize = 10;

/// Memory of one thread, kept from list to list.
#[derive(Default)]
pub struct Scratch {
    best: Best,
    sums: NeighborSums,
    candidates: Candidates,
    /// Which of the items that the history adds to were offered.
    settled: Settled,
    /// The rankings of the row that are there already, of each kind and of the pins.
    done: [Done; PINS + 1],
    arranging: arrange::Scratch,
    group: Group<1>,
    lookup: Lookup,
}

impl Scratch {
    /// What a scan looks for has a dense part of at least this.
    fn dense_threshold(&self) -> f32 {
        self.settled.dense_threshold(self.best.threshold())
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Whether so few items are eligible that they are scored without a scan.
pub fn skips_scan(eligible: &EligibleItems, n_items: usize) -> bool {
    eligible.count * MIN_SCANNED_SHARE < n_items
}

/// The best `n` of row `row` that are eligible and that it has not seen. `take` receives the keys, best first.
pub fn list<T>(
    scorer: &Scorer,
    index: Option<&Index>,
    query: &Query<'_>,
    row: usize,
    n: usize,
    eligible: &EligibleItems,
    level: Level,
    take: impl FnOnce(&[u64]) -> T,
) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        scorer.sum_neighbors(query, row, level, &mut scratch.sums);
        scratch.candidates.start_row();
        scratch.best.reset(n);
        rank(scorer, index, query, row, eligible, level, scratch);
        take(scratch.best.sorted())
    })
}

/// What lists by rules of single rows are made with.
pub struct SearchesByRules<'a> {
    /// The rules.
    pub call: RulesCall<'a>,
    /// For the rankings of each kind and of the pins: the items that may be in them, and the compact table.
    pub items: [Option<(&'a EligibleItems, Option<&'a Index>)>; PINS + 1],
}

/// A ranking of a row that is there.
#[derive(Default)]
struct Done {
    best: Best,
    floor: f32,
    times: usize,
}

/// The list by rules of one row, for which its neighbors are summed once: rankings are made as far as the list lacks them, from
/// the length of those on that are asked for `times` times. Its length.
pub fn list_by_rules(
    scorer: &Scorer,
    searches: &SearchesByRules<'_>,
    times: usize,
    query: &Query<'_>,
    row: usize,
    level: Level,
    (items, scores): (&mut [i32], &mut [f32]),
) -> i32 {
    SCRATCH.with_borrow_mut(|scratch| {
        scorer.sum_neighbors(query, row, level, &mut scratch.sums);
        scratch.candidates.start_row();
        for done in &mut scratch.done {
            done.best.reset(0);
            done.times = times;
        }
        for kind in [ALL, BOOSTED, PINS] {
            rank_kind(scorer, searches, kind, query, row, level, scratch);
        }
        loop {
            let Scratch { done, arranging, .. } = &mut *scratch;
            let lacks = searches.call.choose(row, &rankings(done), level, arranging);
            if !lacks.any() {
                return arranging.write(items, scores);
            }
            for (kind, _) in lacks.0.iter().enumerate().filter(|(_, lacks)| **lacks) {
                rank_kind(scorer, searches, kind, query, row, level, scratch);
            }
        }
    })
}

fn rankings(done: &mut [Done; PINS + 1]) -> RowRankings<'_> {
    RowRankings::of(done.each_mut().map(|Done { best, floor, .. }| (best, *floor)))
}

/// Makes the ranking of a kind, longer than the last one, if there is such a ranking.
fn rank_kind(
    scorer: &Scorer,
    searches: &SearchesByRules<'_>,
    kind: usize,
    query: &Query<'_>,
    row: usize,
    level: Level,
    scratch: &mut Scratch,
) {
    let Some((eligible, index)) = searches.items[kind] else { return };
    let Scratch { best, done, arranging, .. } = &mut *scratch;
    let times = done[kind].times;
    let n = searches.call.lengths.get(kind, times);
    let floor = searches.call.floor(kind, times, row, &rankings(done), arranging);
    best.reset(n);
    best.raise(floor);
    if floor < f32::INFINITY {
        let index = index.filter(|_| plan::prunes_few(scorer, query, n, eligible.count));
        if index.is_some() || (query.d == 0 && scorer.head().biases().is_empty()) {
            rank(scorer, index, query, row, eligible, level, scratch);
        } else {
            rank_pairwise(scorer, query, row, eligible, None, false, level, scratch);
        }
    }
    let done = &mut scratch.done[kind];
    std::mem::swap(&mut scratch.best, &mut done.best);
    (done.floor, done.times) = (floor, times + 1);
}

/// The ranking of a row whose neighbors are summed.
fn rank(
    scorer: &Scorer,
    index: Option<&Index>,
    query: &Query<'_>,
    row: usize,
    eligible: &EligibleItems,
    level: Level,
    scratch: &mut Scratch,
) {
    let Scratch { best, sums, candidates, settled, .. } = &mut *scratch;
    let first = FIRST_PER_PLACE * best.n() + FIRST;
    let to_scan = index.map(|index| Scan { largest_norm: index.largest_norm(), first });
    *settled =
        scorer.offer_eligible_neighbors(query, row, level, sums.neighbors(), eligible, to_scan, candidates, best);
    // The sums of a history know what its row has seen.
    let seen = if scorer.has_sums(query) { &[] } else { query.seen(row) };
    let Some(index) = index.filter(|_| query.d > 0) else {
        let wanted =
            |item: &u32| eligible.contains(*item) && seen.binary_search(item).is_err() && !sums.contains(*item);
        for item in (0..scorer.n_items() as u32).filter(wanted) {
            if query.d == 0 && !best.accepts(key(0.0, item)) {
                break;
            }
            candidates.items.push(item);
            candidates.sums.push(0.0);
            scorer.offer_all(query, row, level, candidates, best);
        }
        return;
    };
    let bounds = Bounds::new(query.vector(row), level, &mut scratch.group, 0);
    let search = IndexSearch { scorer, index, query, row, seen, eligible, level, bounds };
    if skips_scan(eligible, scorer.n_items()) {
        search.score_eligible(scratch);
    } else if search.bounds_pay(scratch) {
        search.bound_eligible(scratch);
    } else {
        search.scan(scratch);
    }
}

/// The same with every item scored, one chain after the other; `restricted_to` are the only items of this row, where it has
/// its own, and of them those need no score that bounds keep out of the list, where the query is `bounded`. The keys come best first.
pub fn list_pairwise<'s>(
    scorer: &Scorer,
    query: &Query<'_>,
    row: usize,
    n: usize,
    eligible: &EligibleItems,
    restricted_to: Option<&[u32]>,
    bounded: bool,
    level: Level,
    scratch: &'s mut Scratch,
) -> &'s [u64] {
    scorer.sum_neighbors(query, row, level, &mut scratch.sums);
    scratch.candidates.start_row();
    scratch.best.reset(n);
    rank_pairwise(scorer, query, row, eligible, restricted_to, bounded, level, scratch);
    scratch.best.sorted()
}

/// The same for a row whose neighbors are summed.
fn rank_pairwise(
    scorer: &Scorer,
    query: &Query<'_>,
    row: usize,
    eligible: &EligibleItems,
    restricted_to: Option<&[u32]>,
    bounded: bool,
    level: Level,
    scratch: &mut Scratch,
) {
    let Scratch { best, sums, candidates, .. } = scratch;
    candidates.items.clear();
    match restricted_to {
        Some(only) => eligible.append_eligible(only, &mut candidates.items),
        None => eligible.append_positions(&mut candidates.items),
    }
    scorer.offer_unseen(query, row, level, sums, candidates, bounded, best);
}

/// One user's search of the compact table.
struct IndexSearch<'a> {
    scorer: &'a Scorer,
    index: &'a Index,
    query: &'a Query<'a>,
    row: usize,
    seen: &'a [u32],
    eligible: &'a EligibleItems,
    level: Level,
    bounds: Bounds,
}

impl IndexSearch<'_> {
    /// Two bits of every number where they leave few items, else bytes, and f32 for what these cannot discard.
    fn scan(&self, scratch: &mut Scratch) {
        let Self { scorer, index, query, row, level, .. } = *self;
        scratch.candidates.clear();
        self.set_threshold(scratch);
        let (mut block, mut has_tables) = (0, false);
        loop {
            let end = index.n_blocks_from_norm(scratch.group.stop);
            let part = block..index.together(block).end.min(end);
            // A list that is not full yet would let most sketches pass.
            if scratch.best.is_full() && scorer.has_sketches() && !part.is_empty() {
                let threshold = scratch.dense_threshold();
                let codes = index.sketch_blocks(scorer.vectors(), block);
                let lookup = &mut scratch.lookup;
                if !has_tables {
                    lookup.set_user(level, &self.bounds, query.vector(row), threshold, codes);
                    has_tables = true;
                }
                if lookup.set_budgets(&self.bounds, threshold, codes, part.len()) {
                    lookup.append_reaching(level, codes, &mut scratch.candidates.items);
                    if scratch.candidates.items.len() >= SKETCHED_BATCH {
                        self.score_sketched(scratch);
                    }
                    block = part.end;
                    continue;
                }
            }
            self.score_sketched(scratch);
            if block >= index.n_blocks_from_norm(scratch.group.stop) {
                return;
            }
            block = part.end;
            self.scan_bytes(scratch, part);
        }
    }

    /// Offers what sketches left, as far as bytes let it.
    fn score_sketched(&self, scratch: &mut Scratch) {
        let Self { scorer, query, row, level, .. } = *self;
        if scratch.candidates.items.is_empty() {
            return;
        }
        self.eligible.keep_eligible(&mut scratch.candidates.items);
        Self::keep_open(scratch);
        let Scratch { best, candidates, .. } = &mut *scratch;
        scorer.retain_reaching(query, row, level, best.threshold(), candidates);
        if !candidates.items.is_empty() {
            self.score(scratch);
            self.set_threshold(scratch);
        }
    }

    /// Looks at the bytes of some blocks.
    fn scan_bytes(&self, scratch: &mut Scratch, blocks: Range<usize>) {
        let Range { start: mut block, end } = blocks;
        loop {
            let (found, masks) = self.index.scan(self.scorer.vectors(), self.level, &scratch.group, block..end);
            if found < end {
                self.index.eligible_hits(found, masks[0], self.eligible, &mut scratch.candidates.items);
            }
            if scratch.candidates.items.len() >= RESCORE_BATCH || found >= end {
                Self::keep_open(scratch);
                self.score(scratch);
                self.set_threshold(scratch);
                if found >= end {
                    return;
                }
            }
            block = found + 1;
        }
    }

    /// Whether fewer items are eligible than a scan would read for nothing.
    fn bounds_pay(&self, scratch: &Scratch) -> bool {
        let reached = BLOCK * self.index.n_blocks_from_norm(self.bounds.min_norm(scratch.dense_threshold()));
        scratch.best.is_full()
            && self.eligible.bits.is_some()
            && self.eligible.count * MIN_BOUNDED_SHARE < reached
            && self.scorer.byte_rows(self.level, None).is_some()
    }

    /// Every eligible item by its own bytes, and what these let pass in f32.
    fn bound_eligible(&self, scratch: &mut Scratch) {
        let threshold = scratch.dense_threshold();
        let candidates = &mut scratch.candidates;
        candidates.clear();
        self.eligible.append_positions(&mut candidates.items);
        candidates.sums.resize(candidates.items.len(), 0.0);
        self.scorer.retain_reaching(self.query, self.row, self.level, threshold, candidates);
        Self::keep_open(scratch);
        let Scratch { best, candidates, .. } = &mut *scratch;
        self.scorer.retain_reaching(self.query, self.row, self.level, best.threshold(), candidates);
        self.score(scratch);
    }

    /// Every eligible item in f32, from the largest norms on.
    fn score_eligible(&self, scratch: &mut Scratch) {
        let (vectors, d) = (self.scorer.vectors(), self.query.d);
        let end = |scratch: &Scratch| self.index.n_blocks_from_norm(self.bounds.min_norm(scratch.dense_threshold()));
        let (mut block, mut last) = (0, end(scratch));
        scratch.candidates.clear();
        while block < last {
            let known = scratch.candidates.items.len();
            self.eligible.append_eligible(self.index.block(block), &mut scratch.candidates.items);
            for &item in &scratch.candidates.items[known..] {
                fetch(vectors, item as usize * d, d);
            }
            block += 1;
            if scratch.candidates.items.len() >= RESCORE_BATCH_FILTERED || block == last {
                Self::keep_open(scratch);
                self.score(scratch);
                last = end(scratch);
            }
        }
    }

    fn set_threshold(&self, scratch: &mut Scratch) {
        let threshold = scratch.dense_threshold();
        self.bounds.set_threshold(&mut scratch.group.limits, 0, threshold);
        scratch.group.stop = self.bounds.min_norm(threshold);
    }

    /// Leaves those of the candidates, which are eligible, that are not settled, with their sums.
    fn keep_open(scratch: &mut Scratch) {
        let Scratch { sums, candidates, settled, .. } = scratch;
        let Candidates { items, sums: own, .. } = candidates;
        let mut kept = 0;
        own.resize(items.len(), 0.0);
        for at in 0..items.len() {
            let item = items[at];
            let sum = sums.sum(item);
            (items[kept], own[kept]) = (item, sum);
            let open = !(settled.holds(sum) & sums.contains(item));
            kept += usize::from(open);
        }
        items.truncate(kept);
        own.truncate(kept);
    }

    /// Offers the candidates, both parts of their scores, unless they were seen: of the few that enter alone it is asked.
    fn score(&self, scratch: &mut Scratch) {
        let Scratch { best, candidates, .. } = scratch;
        if self.seen.is_empty() {
            self.scorer.offer_all(self.query, self.row, self.level, candidates, best);
            return;
        }
        let Candidates { items, sums, scores, .. } = &mut *candidates;
        scores.resize(items.len(), 0.0);
        self.scorer.dense(self.level, self.query, self.row, items, scores);
        for ((&item, &dense), &sum) in items.iter().zip(&*scores).zip(&*sums) {
            let key = key(dense + sum, item);
            if best.accepts(key) && self.seen.binary_search(&item).is_err() {
                best.offer(key);
            }
        }
        candidates.clear();
    }
}
