//! One list on the calling thread: nothing is allocated but the result.
//!
//! The compact table is read from its largest norms on; the first survivors, scored in f32, set the threshold, and the scan ends
//! where no norm can reach it: 41,000 items, d = 64, take some 10 µs.

use std::cell::RefCell;

use crate::runtime::simd::bytes::Group;
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::{Level, chains};

use super::index::{Bounds, Index};
use super::key::{Best, key};
use super::neighbor_sums::NeighborSums;
use super::query::{EligibleItems, Query};
use super::ranker::Ranker;

/// Survivors that are scored together.
const RESCORE_BATCH: usize = 16;

/// The same for picked items, of which more are scored in vain.
const RESCORE_BATCH_FILTERED: usize = 48;

/// Where one item of so many is eligible, most of what a scan of bytes sees would be for nothing: eligible items are
/// picked from the order and scored. On Zen 3, an item that is passed over takes .5 ns, one scored 20, one scanned 1.3.
const MIN_SCANNED_SHARE: usize = 16;

/// Memory of one thread, kept from call to call.
#[derive(Default)]
struct Scratch {
    best: Best,
    touched: NeighborSums,
    items: Vec<u32>,
    scores: Vec<f32>,
    group: Group<1>,
}

thread_local! {
    static ALONE: RefCell<Scratch> = RefCell::default();
}

/// Whether eligible items are picked rather than found by a scan.
pub fn picks(eligible: &EligibleItems, n_items: usize) -> bool {
    eligible.count * MIN_SCANNED_SHARE < n_items
}

/// The best `n` of row `row` that are eligible and that it has not seen. `take` gets the keys, best first.
pub fn list<T>(
    ranker: &Ranker,
    index: Option<&Index>,
    query: &Query<'_>,
    row: usize,
    n: usize,
    eligible: &EligibleItems,
    level: Level,
    take: impl FnOnce(&[u64]) -> T,
) -> T {
    ALONE.with_borrow_mut(|alone| {
        let seen = query.seen(row);
        let wanted = |item: u32| eligible.has(item) && seen.binary_search(&item).is_err();
        alone.best.reset(n);
        alone.items.clear();
        ranker.sum_neighbors(query, row, level, &mut alone.touched);
        if !alone.touched.items().is_empty() {
            alone.items.extend(alone.touched.items().iter().filter(|item| wanted(**item)));
            offer(ranker, query, row, level, alone);
        }
        match index {
            Some(index) if query.d > 0 => {
                let bounds = Bounds::new(index, query.vector(row), level, &mut alone.group, 0);
                let call = Call { ranker, index, vector: query.vector(row), seen, eligible, level, bounds };
                if picks(eligible, ranker.n_items()) { call.picked(alone) } else { call.scanned(alone) }
            }
            _ => {
                for item in 0..ranker.n_items() as u32 {
                    if query.d == 0 && !alone.best.wants(key(0.0, item)) {
                        break;
                    }
                    if !alone.touched.has(item) && wanted(item) {
                        alone.items.push(item);
                        offer(ranker, query, row, level, alone);
                    }
                }
            }
        }
        take(alone.best.sorted())
    })
}

/// Offers the items in `alone.items`, both parts of their scores, as far as they can enter the list.
fn offer(ranker: &Ranker, query: &Query<'_>, row: usize, level: Level, alone: &mut Scratch) {
    let Scratch { best, touched, items, scores, .. } = alone;
    touched.offer(ranker, query, row, level, items, scores, best);
}

/// What the ways through the items share.
struct Call<'a> {
    ranker: &'a Ranker,
    index: &'a Index,
    vector: &'a [f32],
    seen: &'a [u32],
    eligible: &'a EligibleItems,
    level: Level,
    bounds: Bounds,
}

impl Call<'_> {
    /// Bytes first, f32 for what they cannot discard.
    fn scanned(&self, alone: &mut Scratch) {
        let vectors = self.ranker.vectors();
        alone.items.clear();
        self.enter(alone);
        let mut block = 0;
        loop {
            let (found, masks) = self.index.scan(vectors, self.level, &alone.group, block);
            let last = found >= self.index.n_blocks();
            if !last {
                self.index.eligible_hits(found, masks[0], self.eligible, &mut alone.items);
            }
            if alone.items.len() >= RESCORE_BATCH || last {
                self.score(alone);
                if last {
                    return;
                }
                self.enter(alone);
            }
            block = found + 1;
        }
    }

    /// Every eligible item in f32, from the largest norms on.
    fn picked(&self, alone: &mut Scratch) {
        let (vectors, d) = (self.ranker.vectors(), self.vector.len());
        let end = |best: &Best| self.index.norms_from(self.bounds.stop(best.threshold()));
        let (mut block, mut last) = (0, end(&alone.best));
        alone.items.clear();
        while block < last {
            let known = alone.items.len();
            self.eligible.pick(self.index.block(block), &mut alone.items);
            for &item in &alone.items[known..] {
                fetch(vectors, item as usize * d, d);
            }
            block += 1;
            if alone.items.len() >= RESCORE_BATCH_FILTERED || block == last {
                self.score(alone);
                last = end(&alone.best);
            }
        }
    }

    fn enter(&self, alone: &mut Scratch) {
        let threshold = alone.best.threshold();
        self.bounds.enter(&mut alone.group, 0, threshold);
        alone.group.stop = self.bounds.stop(threshold);
    }

    /// Offers the items in `alone.items`, which have their dense part alone.
    fn score(&self, alone: &mut Scratch) {
        alone.scores.resize(alone.items.len(), 0.0);
        chains::dots(self.level, self.vector, self.ranker.vectors(), &alone.items, &mut alone.scores);
        for (&item, &score) in alone.items.iter().zip(&alone.scores) {
            let key = key(score, item);
            if alone.best.wants(key) && !alone.touched.has(item) && self.seen.binary_search(&item).is_err() {
                alone.best.offer(key);
            }
        }
        alone.items.clear();
    }
}
