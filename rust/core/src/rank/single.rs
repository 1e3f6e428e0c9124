//! One list on the calling thread; with the compact table nothing is allocated but the result.
//!
//! The compact table is read from its largest norms on, for a list that a history has filled by two bits of every number before
//! all of its bytes; the first items that it does not discard, scored in f32, set the threshold, and the scan ends where no norm
//! can reach it: 41,000 items, d = 64, take some 10 µs.

use std::cell::RefCell;

use crate::runtime::simd::int8_scan::{BLOCK, Group};
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::{Level, dot};

use super::bounds::Bounds;
use super::extent::Extent;
use super::index::Index;
use super::key::{Best, key};
use super::neighbor_sums::NeighborSums;
use super::query::{EligibleItems, Query};
use super::scorer::{Candidates, Scorer};
use super::sketches::{Lookup, Sketches};

/// Items that the scan leaves, scored together.
const RESCORE_BATCH: usize = 16;

/// The same for items of a narrow filter that are not scanned, of which more are scored in vain.
const RESCORE_BATCH_FILTERED: usize = 48;

/// Where fewer than one item in so many is eligible, most of what a scan of bytes reads would be for nothing: eligible items
/// are taken in their order and scored. On Zen 3, an item that is skipped takes .5 ns, one scored 20, one scanned 1.3.
const MIN_SCANNED_SHARE: usize = 16;

/// The scan of sketches goes on as long as it leaves no more than one item in so many, each of which costs some scanned bytes.
const ITEMS_PER_LEFT: usize = 4;

/// Memory of one thread, kept from list to list.
#[derive(Default)]
pub struct Scratch {
    best: Best,
    sums: NeighborSums,
    candidates: Candidates,
    /// The items that the history adds to.
    named: Vec<u32>,
    /// The rankings of the row that are there already.
    done: Vec<Best>,
    group: Group<1>,
    lookup: Lookup,
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
        scratch.sums.append_candidates(eligible, &mut scratch.candidates.items);
        scratch.best.reset(n);
        rank(scorer, index, query, row, eligible, level, scratch);
        take(scratch.best.sorted())
    })
}

/// One of several rankings of a row.
pub struct Ranking<'a> {
    /// The items that may be in it.
    pub eligible: &'a EligibleItems,
    /// Its length.
    pub n: usize,
    /// The compact table; `None`: each of the items is scored.
    pub index: Option<&'a Index>,
    /// What of it is needed.
    pub extent: Extent,
}

/// Several rankings of one row, for which its neighbors are summed once; `covering` are items that hold those of all. `take`
/// receives the place of each among them, its keys, best first, and its floor.
pub fn lists(
    scorer: &Scorer,
    rankings: &[Ranking<'_>],
    covering: &EligibleItems,
    query: &Query<'_>,
    row: usize,
    level: Level,
    mut take: impl FnMut(usize, &[u64], f32),
) {
    SCRATCH.with_borrow_mut(|scratch| {
        scorer.sum_neighbors(query, row, level, &mut scratch.sums);
        scratch.candidates.start_row();
        scratch.named.clear();
        if !scratch.sums.fills_words() {
            scratch.sums.append_candidates(covering, &mut scratch.named);
        }
        if scratch.done.len() < rankings.len() {
            scratch.done.resize_with(rankings.len(), Best::default);
        }
        for (at, &Ranking { eligible, n, index, extent }) in rankings.iter().enumerate() {
            let Scratch { best, sums, candidates, named, done, .. } = &mut *scratch;
            let floor = extent.floor(eligible, |of| &mut done[of]);
            best.reset(n);
            best.raise(floor);
            if floor < f32::INFINITY && index.is_some() {
                scorer.select_candidates(query, row, level, sums, named, eligible, candidates, best);
                rank(scorer, index, query, row, eligible, level, scratch);
            } else if floor < f32::INFINITY {
                rank_pairwise(scorer, query, row, eligible, None, false, level, scratch);
            }
            take(at, scratch.best.sorted(), floor);
            std::mem::swap(&mut scratch.best, &mut scratch.done[at]);
        }
    });
}

/// The ranking of a row whose neighbors are summed, and are candidates if they may be in it.
fn rank(
    scorer: &Scorer,
    index: Option<&Index>,
    query: &Query<'_>,
    row: usize,
    eligible: &EligibleItems,
    level: Level,
    scratch: &mut Scratch,
) {
    let seen = query.seen(row);
    let wanted = |item: u32| eligible.contains(item) && seen.binary_search(&item).is_err();
    offer(scorer, query, row, level, scratch);
    match index {
        Some(index) if query.d > 0 => {
            let bounds = Bounds::new(query.vector(row), level, &mut scratch.group, 0);
            let search = IndexSearch { scorer, index, query, row, seen, eligible, level, bounds };
            if skips_scan(eligible, scorer.n_items()) {
                search.score_eligible(scratch);
            } else {
                search.scan(scratch);
            }
        }
        _ => {
            for item in 0..scorer.n_items() as u32 {
                if query.d == 0 && !scratch.best.accepts(key(0.0, item)) {
                    break;
                }
                if !scratch.sums.contains(item) && wanted(item) {
                    scratch.candidates.items.push(item);
                    offer(scorer, query, row, level, scratch);
                }
            }
        }
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

/// Offers the candidates, both parts of their scores, as far as they can enter the list.
fn offer(scorer: &Scorer, query: &Query<'_>, row: usize, level: Level, scratch: &mut Scratch) {
    let Scratch { best, sums, candidates, .. } = scratch;
    scorer.offer(query, row, level, sums, candidates, best);
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
    /// Two bits of every number first as far as they leave few items, then bytes, and f32 for what they cannot discard.
    fn scan(&self, scratch: &mut Scratch) {
        let vectors = self.scorer.vectors();
        scratch.candidates.items.clear();
        self.set_threshold(scratch);
        // A list that is not full yet would let most sketches pass.
        let sketches = self.scorer.sketches(None).filter(|_| scratch.best.is_full());
        let mut block = sketches.map_or(0, |sketches| self.scan_sketches(sketches, scratch));
        loop {
            let blocks = block..self.index.n_blocks();
            let (found, masks) = self.index.scan(vectors, self.level, &scratch.group, blocks);
            let last = found >= self.index.n_blocks();
            if !last {
                self.index.eligible_hits(found, masks[0], self.eligible, &mut scratch.candidates.items);
            }
            if scratch.candidates.items.len() >= RESCORE_BATCH || last {
                self.score(scratch);
                if last {
                    return;
                }
                self.set_threshold(scratch);
            }
            block = found + 1;
        }
    }

    /// The block from which on the scan of bytes has to go on: where norms begin to be too low, or the sketches left too much.
    fn scan_sketches(&self, sketches: &Sketches, scratch: &mut Scratch) -> usize {
        let Self { scorer, index, query, row, level, .. } = *self;
        let (mut known, mut left) = (None, 0);
        let mut blocks = index.together(0);
        while !blocks.is_empty() && index.block_norm(blocks.end - 1) >= scratch.group.stop {
            let codes = index.sketch_blocks(sketches, blocks.start);
            let Scratch { best, candidates, lookup, sums, .. } = scratch;
            let (vector, threshold) = (query.vector(row), best.threshold());
            let limits = (threshold, known != Some(threshold));
            lookup.append_reaching(level, &self.bounds, vector, limits, codes, &mut candidates.items);
            left += candidates.items.len();
            candidates.items.retain(|&item| self.eligible.contains(item) && !sums.contains(item));
            scorer.retain_reaching(query, row, level, known.is_none(), threshold, candidates);
            known = Some(threshold);
            if !candidates.items.is_empty() {
                self.score(scratch);
                self.set_threshold(scratch);
            }
            blocks = index.together(blocks.end);
            if left > blocks.start * BLOCK / ITEMS_PER_LEFT {
                break;
            }
        }
        blocks.start
    }

    /// Every eligible item in f32, from the largest norms on.
    fn score_eligible(&self, scratch: &mut Scratch) {
        let (vectors, d) = (self.scorer.vectors(), self.query.d);
        let end = |best: &Best| self.index.n_blocks_from_norm(self.bounds.min_norm(best.threshold()));
        let (mut block, mut last) = (0, end(&scratch.best));
        scratch.candidates.items.clear();
        while block < last {
            let known = scratch.candidates.items.len();
            self.eligible.append_eligible(self.index.block(block), &mut scratch.candidates.items);
            for &item in &scratch.candidates.items[known..] {
                fetch(vectors, item as usize * d, d);
            }
            block += 1;
            if scratch.candidates.items.len() >= RESCORE_BATCH_FILTERED || block == last {
                self.score(scratch);
                last = end(&scratch.best);
            }
        }
    }

    fn set_threshold(&self, scratch: &mut Scratch) {
        let threshold = scratch.best.threshold();
        self.bounds.set_threshold(&mut scratch.group, 0, threshold);
        scratch.group.stop = self.bounds.min_norm(threshold);
    }

    /// Offers the candidates that no history adds to: the dense part is the score.
    fn score(&self, scratch: &mut Scratch) {
        let Scratch { best, sums, candidates: Candidates { items, scores, .. }, .. } = scratch;
        scores.resize(items.len(), 0.0);
        dot::dots(self.level, self.query.vector(self.row), self.scorer.vectors(), items, scores);
        for (&item, &score) in items.iter().zip(&*scores) {
            let key = key(score, item);
            if best.accepts(key) && !sums.contains(item) && self.seen.binary_search(&item).is_err() {
                best.offer(key);
            }
        }
        items.clear();
    }
}
