//! One list on the calling thread: nothing is allocated but the result.
//!
//! The compact table is read from its largest norms on; the first survivors, scored in f32, set the threshold, and the scan ends
//! where no norm can reach it: 41,000 items, d = 64, take some 10 µs.

use std::cell::RefCell;

use crate::runtime::simd::bytes::{Group, scan};
use crate::runtime::simd::{Level, chains};

use super::asked::Asked;
use super::index::{Bounds, Index};
use super::key::{Best, key};
use super::ranker::Ranker;
use super::sparse::Touched;

/// Survivors that are scored together.
const TOGETHER: usize = 16;

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

/// The best `n` of row `row`; all items may be listed but those it has seen. `take` gets the keys, best first.
pub fn list<T>(
    ranker: &Ranker,
    index: Option<&Index>,
    asked: &Asked<'_>,
    row: usize,
    n: usize,
    level: Level,
    take: impl FnOnce(&[u64]) -> T,
) -> T {
    ALONE.with_borrow_mut(|alone| {
        let seen = asked.seen(row);
        alone.best.reset(n);
        ranker.touch(asked, row, level, &mut alone.touched);
        if !alone.touched.items().is_empty() {
            alone.items.clear();
            alone.items.extend(alone.touched.items().iter().filter(|item| seen.binary_search(item).is_err()));
            offer_all(ranker, asked, row, level, alone);
        }
        match index {
            Some(index) if asked.d > 0 => scanned(ranker, index, asked, row, level, alone),
            _ => {
                for item in 0..ranker.n_items() as u32 {
                    if asked.d == 0 && !alone.best.wants(key(0.0, item)) {
                        break;
                    }
                    if !alone.touched.has(item) && seen.binary_search(&item).is_err() {
                        alone.items.clear();
                        alone.items.push(item);
                        offer_all(ranker, asked, row, level, alone);
                    }
                }
            }
        }
        take(alone.best.sorted())
    })
}

/// Scores the items in `alone.items`, both parts, and offers them.
fn offer_all(ranker: &Ranker, asked: &Asked<'_>, row: usize, level: Level, alone: &mut Alone) {
    alone.scores.resize(alone.items.len(), 0.0);
    ranker.dense(level, asked, row, &alone.items, &mut alone.scores);
    for (&item, &dense) in alone.items.iter().zip(&alone.scores) {
        alone.best.offer(key(dense + alone.touched.sum(item), item));
    }
}

fn scanned(ranker: &Ranker, index: &Index, asked: &Asked<'_>, row: usize, level: Level, alone: &mut Alone) {
    let (vector, seen) = (asked.vector(row), asked.seen(row));
    let bounds = Bounds::new(index, vector, level, &mut alone.group, 0);
    let enter = |group: &mut Group<1>, threshold: f32| {
        bounds.enter(group, 0, threshold);
        group.stop = bounds.stop(threshold);
    };
    enter(&mut alone.group, alone.best.threshold());
    alone.items.clear();
    let mut block = 0;
    loop {
        let (found, masks) = scan(level, index.blocks(), &alone.group, block);
        let last = found >= index.n_blocks();
        if !last {
            index.named(found, masks[0], &mut alone.items);
        }
        if alone.items.len() >= TOGETHER || last {
            alone.scores.resize(alone.items.len(), 0.0);
            chains::dots(level, vector, ranker.vectors(), &alone.items, &mut alone.scores);
            for (&item, &score) in alone.items.iter().zip(&alone.scores) {
                let key = key(score, item);
                if alone.best.wants(key) && !alone.touched.has(item) && seen.binary_search(&item).is_err() {
                    alone.best.offer(key);
                }
            }
            alone.items.clear();
            if last {
                return;
            }
            enter(&mut alone.group, alone.best.threshold());
        }
        block = found + 1;
    }
}
