//! The lists of a block of users by several searches: what their histories add to items is summed once, and each search takes
//! what concerns it. Where the list of the first, which may hold all items of the others, names as many of another's items as
//! that is to have, these are its best, and nothing is searched.

use std::ops::Range;

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::Level;

use super::batch::{BatchSearch, OutputSlices, Scratch, UserTopN};
use super::candidates::Candidates;
use super::extent::Extent;
use super::neighbor_sums::NeighborSums;
use super::query::EligibleItems;
use super::row_sums::RowSums;

/// Memory of one thread for several searches of the same users.
#[derive(Default)]
pub struct SharedScratch {
    sums: NeighborSums,
    /// What one row's history adds to all items, where no search has them all.
    of_row: RowSums,
    /// Of each search.
    of_rows: Vec<RowSums>,
    of_each: Vec<Scratch>,
    candidates: Candidates,
}

/// The lists of a block of rows by searches of the same users, of which each neighbor is summed once; an output for each.
/// `first_covers` says that the items of the first search hold those of all others.
pub fn block(
    searches: &[BatchSearch<'_>],
    first_covers: bool,
    rows: &Range<usize>,
    context: &Context,
    shared: &mut SharedScratch,
    outputs: Vec<OutputSlices<'_>>,
) -> Result<()> {
    shared.begin(searches.len(), rows.len());
    for (at, row) in rows.clone().enumerate() {
        shared.sum_row(searches, first_covers, row, context.level);
        for (place, search) in searches.iter().enumerate() {
            shared.open_list(search, first_covers, place, at, row, context);
        }
    }
    let SharedScratch { of_rows, of_each, candidates, .. } = shared;
    let first_is_full = first_covers && searches.first().is_some_and(|first| first.extent == Extent::Full);
    for (((place, search), output), of_rows) in searches.iter().enumerate().zip(outputs).zip(of_rows) {
        let (before, scratch) = of_each.split_at_mut(place);
        if place > 0 {
            for (at, row) in rows.clone().enumerate() {
                let list = &mut scratch[0].lists[at];
                list.raise(search.floor(before, at));
                if search.single_items.is_some() || list.floor == f32::INFINITY {
                    continue;
                }
                if !(first_is_full && list.take_known(&mut before[0].lists[at].best, search.eligible)) {
                    candidates.start_row();
                    search.begin_list(row, context, of_rows.neighbors(at), candidates, list);
                }
            }
        }
        search.finish_lists(rows, context, of_rows, &mut scratch[0], output)?;
    }
    Ok(())
}

impl SharedScratch {
    /// Room for the lists of so many searches and rows.
    fn begin(&mut self, n_searches: usize, n_rows: usize) {
        if self.of_each.len() < n_searches {
            self.of_each.resize_with(n_searches, Scratch::default);
            self.of_rows.resize_with(n_searches, RowSums::default);
        }
        self.of_rows.iter_mut().for_each(RowSums::clear);
        for scratch in &mut self.of_each {
            if scratch.lists.len() < n_rows {
                scratch.lists.resize_with(n_rows, UserTopN::default);
            }
        }
    }

    /// What the history of a row adds to the items of the first search, or to all.
    fn sum_row(&mut self, searches: &[BatchSearch<'_>], first_covers: bool, row: usize, level: Level) {
        let Some(BatchSearch { scorer, query, eligible, .. }) = searches.first() else { return };
        let Self { sums, of_row, of_rows, of_each, candidates } = self;
        candidates.start_row();
        of_row.clear();
        let all = EligibleItems { bits: None, count: scorer.n_items() };
        let (into, eligible) = if first_covers { (&mut of_rows[0], *eligible) } else { (of_row, &all) };
        if !scorer.has_sums(query) {
            into.push_left_out(query.seen(row), eligible);
            return;
        }
        scorer.sum_history(query, row, level, sums);
        for (search, scratch) in searches.iter().zip(of_each) {
            if let Some(items) = &search.single_items {
                scratch.single_sums.clear();
                scratch.single_sums.extend(items.iter().map(|&item| sums.sum(item)));
            }
        }
        into.take(level, sums, eligible);
        if row + 1 < query.n_rows {
            scorer.fetch_neighbors(query, row + 1);
        }
    }

    /// The list of a row, number `at` of the block, by one of the searches: the first one as far as its history goes, the
    /// others wait for the end of that.
    fn open_list(
        &mut self,
        search: &BatchSearch<'_>,
        first_covers: bool,
        place: usize,
        at: usize,
        row: usize,
        context: &Context,
    ) {
        let Self { of_row, of_rows, of_each, candidates, .. } = self;
        let (before, scratch) = of_each.split_at_mut(place);
        let Scratch { lists, single_sums, .. } = &mut scratch[0];
        let list = &mut lists[at];
        list.reset(search.n);
        list.raise(search.floor(before, at));
        let needed = list.floor < f32::INFINITY;
        if let Some(items) = &search.single_items {
            if needed {
                search.offer_single(row, context.level, (items, single_sums), candidates, &mut list.best);
            }
        } else if place > 0 || !first_covers {
            let (first, later) = of_rows.split_at_mut(place);
            if needed {
                let from = if first_covers { (&first[0], at) } else { (&*of_row, 0) };
                later[0].select(context.level, from.0, from.1, search.eligible);
            } else {
                later[0].push_left_out(&[], search.eligible);
            }
        }
        if needed && place == 0 && search.single_items.is_none() {
            search.begin_list(row, context, of_rows[0].neighbors(at), candidates, list);
        }
    }
}
