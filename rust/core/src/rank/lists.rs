//! Lists of many rows: a way is chosen, the rows go over the threads, and scores come out as they are shown.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::runtime::Context;
use crate::{Error, Result};

use super::batch::{self, BatchSearch, MAX_ROWS, OutputSlices, PruningCost, ThresholdSeed};
use super::key::{key, position_of, score_of};
use super::output::Link;
use super::plan::{MIN_USERS_BATCHED, Path};
use super::query::{EligibleItems, Filters, Lists, Query};
use super::ranker::{Head, Plan, ROWS_PER_TASK, Ranker, Scratch, check_n};
use super::sets::Sets;
use super::single;
use super::target_attention::TargetSearch;

/// OutputSlices of one list: its row, items, scores and length.
type Row<'a> = (usize, ((&'a mut [i32], &'a mut [f32]), &'a mut i32));

/// OutputSlices of a block of lists.
type Block<'a> = (usize, ((&'a mut [i32], &'a mut [f32]), &'a mut [i32]));

/// Users for which a table of the eligible items alone saves what it takes to make, where half of the items are eligible. Both
/// grow with what a scan gets to see: bytes of an item take some 60 ns, an item that is scanned for nothing .6 ns a user.
const USERS_OF_AN_INDEX: usize = 100;

fn worth_an_index(eligible: &EligibleItems, n_items: usize, n_rows: usize) -> bool {
    n_rows.saturating_mul(n_items - eligible.count) >= USERS_OF_AN_INDEX.saturating_mul(eligible.count)
}

/// Puts the keys of a list, best first, into its places.
pub(super) fn write(keys: &[u64], items: &mut [i32], scores: &mut [f32], count: &mut i32) {
    for (at, &key) in keys.iter().enumerate() {
        items[at] = position_of(key) as i32;
        scores[at] = score_of(key);
    }
    *count = keys.len() as i32;
}

impl Ranker {
    /// Lists for the rows asked for, on the way that the plan chooses.
    pub(super) fn lists(
        &self,
        query: Query<'_>,
        n: usize,
        filters: &Filters,
        plan: Plan,
        context: &Context,
    ) -> Result<Lists> {
        check_n(n)?;
        let eligible = EligibleItems::new(filters, self.n_items())?;
        if let Some(each) = &filters.allow_each
            && each.n_rows() != query.n_rows
        {
            return Err(Error::InvalidData(format!(
                "{} lists of allowed items for {} users; give one for each.",
                each.n_rows(),
                query.n_rows
            )));
        }
        let width = n.min(self.n_items());
        let mut lists = Lists {
            items: vec![0; query.n_rows * width],
            scores: vec![0.0; query.n_rows * width],
            counts: vec![0; query.n_rows],
            width,
        };
        if width == 0 || query.n_rows == 0 {
            return Ok(lists);
        }
        if plan == Plan::Auto
            && query.n_rows < MIN_USERS_BATCHED
            && filters.allow_each.is_none()
            && self.prunes_one(&query, width, eligible.count)
        {
            self.top_n_few(&query, &eligible, &mut lists, context)?;
            self.apply_output(&query, &mut lists, context);
            return Ok(lists);
        }
        let own_index = worth_an_index(&eligible, self.n_items(), query.n_rows);
        let path = self.choose(plan, &query, width, eligible.count, own_index, context.level).path;
        match (self.head(), path) {
            _ if filters.allow_each.is_some() || path == Path::Pairs => {
                self.top_n_pairwise(query, &eligible, filters.allow_each.as_ref(), &mut lists, context)?;
            }
            (Head::TargetAttention(target), _) => {
                let items = eligible.positions();
                TargetSearch { ranker: self, target, query, items: &items }.lists(&mut lists, context)?;
            }
            _ => {
                let force_pruning = plan == Plan::Pruned;
                self.top_n_batched(
                    query,
                    &eligible,
                    path == Path::Pruned,
                    own_index,
                    force_pruning,
                    &mut lists,
                    context,
                )?;
            }
        }
        self.apply_output(&query, &mut lists, context);
        Ok(lists)
    }

    /// Turns the scores of ready lists into those that come out.
    fn apply_output(&self, query: &Query<'_>, lists: &mut Lists, context: &Context) {
        if self.link() == Link::Identity && query.shift.is_none() {
            return;
        }
        let Lists { scores, counts, width, .. } = lists;
        let stays = context.stays(counts.len().div_ceil(ROWS_PER_TASK));
        let show = |(row, (scores, count)): (usize, (&mut [f32], &mut i32))| {
            let output = self.output_transform(query, row, context.level);
            for score in &mut scores[..*count as usize] {
                *score = output.score(key(*score, 0));
            }
        };
        if stays {
            scores.chunks_mut(*width).zip(counts).enumerate().for_each(show);
        } else {
            let rows = scores.par_chunks_mut(*width).zip(counts).enumerate().with_min_len(ROWS_PER_TASK);
            context.install(|| rows.for_each(show));
        }
    }

    /// Every list by itself, each item's chain by itself: for lists of allowed items, and where a chain may overflow.
    fn top_n_pairwise(
        &self,
        query: Query<'_>,
        eligible: &EligibleItems,
        each: Option<&Sets>,
        lists: &mut Lists,
        context: &Context,
    ) -> Result<()> {
        let width = lists.width;
        let Lists { items, scores, counts, .. } = lists;
        let list = |work: &mut Scratch, (row, ((items, scores), count)): Row<'_>| {
            context.cancel.check()?;
            let only = each.map(|each| each.row(row));
            let keys = self.one(&query, row, width, eligible, only, context.level, work);
            write(keys, items, scores, count);
            Ok(())
        };
        let rows = items.chunks_mut(width).zip(scores.chunks_mut(width)).zip(counts).enumerate();
        context.try_share(rows, Scratch::default, list)
    }

    /// Blocks of users over the threads; see `engine`.
    fn top_n_batched(
        &self,
        query: Query<'_>,
        eligible: &EligibleItems,
        prunes: bool,
        own_index: bool,
        force_pruning: bool,
        lists: &mut Lists,
        context: &Context,
    ) -> Result<()> {
        let (n, n_rows) = (lists.width, query.n_rows);
        let all = prunes.then(|| self.index(Some(context)));
        let own = all.filter(|_| own_index).map(|index| index.restricted_to(eligible));
        let index = own.as_ref().or(all);
        let front = |index| ThresholdSeed::new(index, self.vectors(), self.n_items(), n);
        let own_front = index.filter(|index| own.is_some() || !self.front(index).suits(index, n)).map(front);
        let compact = index.map(|index| (index, own_front.as_ref().unwrap_or_else(|| self.front(index))));
        let job = BatchSearch {
            ranker: self,
            query,
            eligible,
            rows: OnceLock::new(),
            compact,
            own_index,
            n,
            force_pruning,
            worth: PruningCost::default(),
        };
        if !prunes {
            job.rows(Some(context));
        }
        let threads = context.threads();
        let rows = if n_rows <= 32 * threads {
            n_rows.div_ceil(threads)
        } else {
            n_rows.div_ceil(4 * threads).next_multiple_of(32)
        };
        let rows = rows.min(MAX_ROWS);
        let Lists { items, scores, counts, .. } = lists;
        let serve = |work: &mut batch::Scratch, (block, ((items, scores), counts)): Block<'_>| {
            context.cancel.check()?;
            let first = block * rows;
            let places = OutputSlices { items, scores, counts, width: n };
            job.block(first..(first + rows).min(n_rows), context, work, places)
        };
        let blocks = items.chunks_mut(rows * n).zip(scores.chunks_mut(rows * n)).zip(counts.chunks_mut(rows));
        context.try_share(blocks.enumerate(), batch::Scratch::default, serve)
    }

    /// Lists of a few users, one after the other, see `single`: on this thread, for one takes some 10 µs; but histories that
    /// speak for items take ten times as long, and others may help.
    fn top_n_few(
        &self,
        query: &Query<'_>,
        eligible: &EligibleItems,
        lists: &mut Lists,
        context: &Context,
    ) -> Result<()> {
        let (n, index) = (lists.width, self.index(Some(context)));
        // What all of them would pick is picked once.
        let own = (query.n_rows > 4 && single::picks(eligible, self.n_items())).then(|| index.restricted_to(eligible));
        let index = own.as_ref().unwrap_or(index);
        let Lists { items, scores, counts, .. } = lists;
        let mut rows = items.chunks_mut(n).zip(scores.chunks_mut(n)).zip(counts).enumerate();
        let list = |(row, ((items, scores), count)): Row<'_>| {
            context.cancel.check()?;
            single::list(self, Some(index), query, row, n, eligible, context.level, |keys| {
                write(keys, items, scores, count);
            });
            Ok(())
        };
        if query.history.is_none() {
            return rows.try_for_each(list);
        }
        context.try_share(rows, || (), |(), row| list(row))
    }
}
