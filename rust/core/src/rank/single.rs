//! One list on the calling thread: nothing is allocated but the result.
//!
//! The compact table is read from its largest norms on; the first survivors, scored in f32, set the threshold, and the scan ends
//! where no norm can reach it: 41,000 items, d = 64, take some 10 µs.

use std::cell::RefCell;

use crate::runtime::simd::int8_scan::Group;
use crate::runtime::simd::sparse::fetch;
use crate::runtime::simd::{Level, dot};

use super::asked::{Asked, Eligible};
use super::index::{Bounds, Index};
use super::key::{Best, key};
use super::ranker::Ranker;
use super::sparse::Touched;

/// Survivors that are scored together.
const TOGETHER: usize = 16;

/// The same for picked items, of which more are scored in vain.
const PICKED: usize = 48;

/// Where one item of so many is eligible, most of what a scan of bytes sees would be for nothing: eligible items are
/// picked from the order and scored. On Zen 3, an item that is passed over takes .5 ns, one scored 20, one scanned 1.3.
const LEAST_SCANNED_SHARE: usize = 16;

/// Memory of one thread, kept from call to call.
#[derive(Default)]
struct Alone {
    best: Best,
    touched: Touched,
    items: Vec<u32>,
    scores: Vec<f32>,
    group: Group<1>,
}

thread_local! {
    static ALONE: RefCell<Alone> = RefCell::default();
}

/// Whether eligible items are picked rather than found by a scan.
pub fn picks(eligible: &Eligible, n_items: usize) -> bool {
    eligible.count * LEAST_SCANNED_SHARE < n_items
}

/// The best `n` of row `row` that are eligible and that it has not seen. `take` gets the keys, best first.
pub fn list<T>(
    ranker: &Ranker,
    index: Option<&Index>,
    asked: &Asked<'_>,
    row: usize,
    n: usize,
    eligible: &Eligible,
    level: Level,
    take: impl FnOnce(&[u64]) -> T,
) -> T {
    ALONE.with_borrow_mut(|alone| {
        let seen = asked.seen(row);
        let wanted = |item: u32| eligible.has(item) && seen.binary_search(&item).is_err();
        alone.best.reset(n);
        alone.items.clear();
        ranker.touch(asked, row, level, &mut alone.touched);
        if !alone.touched.items().is_empty() {
            alone.items.extend(alone.touched.items().iter().filter(|item| wanted(**item)));
            offer(ranker, asked, row, level, alone);
        }
        match index {
            Some(index) if asked.d > 0 => {
                let bounds = Bounds::new(index, asked.vector(row), level, &mut alone.group, 0);
                let call = Call { ranker, index, vector: asked.vector(row), seen, eligible, level, bounds };
                if picks(eligible, ranker.n_items()) { call.picked(alone) } else { call.scanned(alone) }
            }
            _ => {
                for item in 0..ranker.n_items() as u32 {
                    if asked.d == 0 && !alone.best.wants(key(0.0, item)) {
                        break;
                    }
                    if !alone.touched.has(item) && wanted(item) {
                        alone.items.push(item);
                        offer(ranker, asked, row, level, alone);
                    }
                }
            }
        }
        take(alone.best.sorted())
    })
}

/// Offers the items in `alone.items`, both parts of their scores, as far as they can enter the list.
fn offer(ranker: &Ranker, asked: &Asked<'_>, row: usize, level: Level, alone: &mut Alone) {
    let Alone { best, touched, items, scores, .. } = alone;
    touched.offer(ranker, asked, row, level, items, scores, best);
}

/// What the ways through the items share.
struct Call<'a> {
    ranker: &'a Ranker,
    index: &'a Index,
    vector: &'a [f32],
    seen: &'a [u32],
    eligible: &'a Eligible,
    level: Level,
    bounds: Bounds,
}

impl Call<'_> {
    /// Bytes first, f32 for what they cannot discard.
    fn scanned(&self, alone: &mut Alone) {
        let vectors = self.ranker.vectors();
        alone.items.clear();
        self.enter(alone);
        let mut block = 0;
        loop {
            let (found, masks) = self.index.scan(vectors, self.level, &alone.group, block);
            let last = found >= self.index.n_blocks();
            if !last {
                self.index.named(found, masks[0], self.eligible, &mut alone.items);
            }
            if alone.items.len() >= TOGETHER || last {
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
    fn picked(&self, alone: &mut Alone) {
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
            if alone.items.len() >= PICKED || block == last {
                self.score(alone);
                last = end(&alone.best);
            }
        }
    }

    fn enter(&self, alone: &mut Alone) {
        let threshold = alone.best.threshold();
        self.bounds.enter(&mut alone.group, 0, threshold);
        alone.group.stop = self.bounds.stop(threshold);
    }

    /// Offers the items in `alone.items`, which have their dense part alone.
    fn score(&self, alone: &mut Alone) {
        alone.scores.resize(alone.items.len(), 0.0);
        dot::dots(self.level, self.vector, self.ranker.vectors(), &alone.items, &mut alone.scores);
        for (&item, &score) in alone.items.iter().zip(&alone.scores) {
            let key = key(score, item);
            if alone.best.wants(key) && !alone.touched.has(item) && self.seen.binary_search(&item).is_err() {
                alone.best.offer(key);
            }
        }
        alone.items.clear();
    }
}
