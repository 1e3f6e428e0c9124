//! How a call gets its lists: the path that the plan chooses, whose rows the threads of the context share.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::runtime::Context;
use crate::{Error, Result};

use super::batch::{BatchSearch, MAX_ROWS, MAX_SCORED_ITEMS, MAX_SINGLE_ITEMS, OutputSlices};
use super::block::{SharedScratch, block};
use super::checks::check_n;
use super::group_scan::PruningCost;
use super::index::{Index, ThresholdSeed};
use super::key::key;
use super::output::{Link, Lists, OutputTransform, write_list};
use super::plan::{self, MIN_USERS_BATCHED, Path, Plan};
use super::query::{EligibleItems, Filters, Query};
use super::ranker::Ranker;
use super::scorer::{ROWS_PER_TASK, Scorer};
use super::sets::Sets;
use super::single;
use super::target_attention::TargetSearch;

/// One list on its way out: its row, items, scores and length.
type Row<'a> = (usize, ((&'a mut [i32], &'a mut [f32]), &'a mut i32));

/// Users for which a table of the eligible items alone saves the time that making it takes, where half of the items are
/// eligible. Both grow with what a scan reads: making the bytes of an item takes some 60 ns, scanning one for nothing .6 ns
/// a user.
const USERS_OF_AN_INDEX: usize = 100;

pub(super) fn worth_an_index(eligible: &EligibleItems, n_items: usize, n_rows: usize) -> bool {
    n_rows.saturating_mul(n_items - eligible.count) >= USERS_OF_AN_INDEX.saturating_mul(eligible.count)
}

/// The items of a ranking of many users, and how it is made.
pub(super) struct Ranking<'a> {
    pub eligible: &'a EligibleItems,
    pub n: usize,
    pub prunes: bool,
    pub own_index: bool,
    /// Some of the items, and the length of another ranking of these.
    pub part: Option<(&'a EligibleItems, usize)>,
}

/// Whether so few items may be listed that all are scored, whatever a history adds to them.
fn scores_all(scorer: &Scorer, query: &Query<'_>, ranking: &Ranking<'_>) -> bool {
    let few = (MAX_SINGLE_ITEMS + 1..=MAX_SCORED_ITEMS).contains(&ranking.eligible.count);
    few && !ranking.prunes && query.d > 0 && scorer.head().is_inner() && scorer.has_sums(query)
}

/// How many rows are in a block.
pub(super) fn rows_of_a_block(n_rows: usize, context: &Context) -> usize {
    let threads = context.threads();
    let rows = if n_rows <= 32 * threads {
        n_rows.div_ceil(threads)
    } else {
        n_rows.div_ceil(4 * threads).next_multiple_of(32)
    };
    rows.min(MAX_ROWS)
}

/// Lists by blocks of so many rows.
pub(super) fn blocks(lists: &mut Lists, rows: usize) -> impl ExactSizeIterator<Item = OutputSlices<'_>> {
    let Lists { items, scores, counts, width } = lists;
    let width = *width;
    let parts = items.chunks_mut(rows * width).zip(scores.chunks_mut(rows * width)).zip(counts.chunks_mut(rows));
    parts.map(move |((items, scores), counts)| OutputSlices { items, scores, counts, width })
}

impl Ranker {
    /// Lists for the requested rows, on the path that the plan chooses.
    pub(super) fn lists(
        &self,
        query: Query<'_>,
        n: usize,
        filters: &Filters,
        plan: Plan,
        finish: bool,
        context: &Context,
    ) -> Result<Lists> {
        check_n(n)?;
        let scorer = &self.scorer;
        let eligible = EligibleItems::new(filters, scorer.n_items())?;
        if let Some(each) = &filters.allow_each
            && each.n_rows() != query.n_rows
        {
            return Err(Error::InvalidData(format!(
                "{} lists of allowed items for {} users; give one for each.",
                each.n_rows(),
                query.n_rows
            )));
        }
        let width = n.min(scorer.n_items());
        let mut lists = Lists::empty(query.n_rows, width);
        if width == 0 || query.n_rows == 0 {
            return Ok(lists);
        }
        if plan == Plan::Auto
            && query.n_rows < MIN_USERS_BATCHED
            && filters.allow_each.is_none()
            && plan::prunes_few(scorer, &query, width, eligible.count)
        {
            self.top_n_few(&query, &eligible, &mut lists, context)?;
            if finish {
                self.output(&query, &mut lists, context);
            }
            return Ok(lists);
        }
        let own_index = worth_an_index(&eligible, scorer.n_items(), query.n_rows);
        let path = plan::choose(scorer, plan, &query, width, eligible.count, own_index, context.level).path;
        match scorer.head().target() {
            _ if filters.allow_each.is_some() || path == Path::Pairs => {
                self.top_n_pairwise(query, &eligible, filters.allow_each.as_ref(), &mut lists, context)?;
            }
            Some(target) => {
                let items = eligible.positions();
                TargetSearch { scorer, target, query, items: &items }.lists(&mut lists, context)?;
            }
            None => {
                let prunes = path == Path::Pruned;
                let ranking = Ranking { eligible: &eligible, n: width, prunes, own_index, part: None };
                self.top_n_batched(query, &ranking, plan == Plan::Pruned, &mut lists, context)?;
            }
        }
        if finish {
            self.output(&query, &mut lists, context);
        }
        Ok(lists)
    }

    /// Turns the scores of ready lists into those that come out.
    pub(super) fn output(&self, query: &Query<'_>, lists: &mut Lists, context: &Context) {
        if self.scorer.link() != Link::Identity || query.shift.is_some() {
            self.apply_output(|row| query.shift(row), lists, context);
        }
    }

    pub(super) fn apply_output(&self, shift: impl Fn(usize) -> f32 + Sync, lists: &mut Lists, context: &Context) {
        let Lists { scores, counts, width, .. } = lists;
        let link = self.scorer.link();
        let apply = |(row, (scores, count)): (usize, (&mut [f32], &mut i32))| {
            let output = OutputTransform { shift: shift(row), link, level: context.level };
            for score in &mut scores[..*count as usize] {
                *score = output.score(key(*score, 0));
            }
        };
        if context.runs_inline(counts.len().div_ceil(ROWS_PER_TASK)) {
            scores.chunks_mut(*width).zip(counts).enumerate().for_each(apply);
        } else {
            let rows = scores.par_chunks_mut(*width).zip(counts).enumerate().with_min_len(ROWS_PER_TASK);
            context.install(|| rows.for_each(apply));
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
        let bounded = each.is_some() && self.scorer.can_prune(&query);
        let list = |scratch: &mut single::Scratch, (row, ((items, scores), count)): Row<'_>| {
            context.cancel.check()?;
            let restricted_to = each.map(|each| each.row(row));
            let (scorer, level) = (&self.scorer, context.level);
            let keys =
                single::list_pairwise(scorer, &query, row, width, eligible, restricted_to, bounded, level, scratch);
            write_list(keys, items, scores, count);
            Ok(())
        };
        let rows = items.chunks_mut(width).zip(scores.chunks_mut(width)).zip(counts).enumerate();
        context.try_for_each_task(rows, single::Scratch::default, list)
    }

    /// Blocks of users over the threads; see `batch`.
    fn top_n_batched(
        &self,
        query: Query<'_>,
        ranking: &Ranking<'_>,
        force_pruning: bool,
        lists: &mut Lists,
        context: &Context,
    ) -> Result<()> {
        let rows = rows_of_a_block(query.n_rows, context);
        self.with_searches(query, std::slice::from_ref(ranking), force_pruning, context, |searches| {
            let of_block = |shared: &mut SharedScratch, (at, output): (usize, OutputSlices<'_>)| {
                context.cancel.check()?;
                let first = at * rows;
                block(&searches[0], &(first..first + output.counts.len()), context, shared, output)
            };
            context.try_for_each_task(blocks(lists, rows).enumerate(), SharedScratch::default, of_block)
        })
    }

    /// Runs `work` with what searches for these rankings, of items that are all among those of the first; those without a table
    /// of their own use its.
    pub(super) fn with_searches<T>(
        &self,
        query: Query<'_>,
        rankings: &[Ranking<'_>],
        force_pruning: bool,
        context: &Context,
        work: impl FnOnce(Vec<BatchSearch<'_>>) -> T,
    ) -> T {
        let scorer = &self.scorer;
        let all = rankings.iter().any(|each| each.prunes).then(|| scorer.index(Some(context)));
        let mut own: Vec<(&EligibleItems, Index)> = Vec::new();
        for each in rankings.iter().filter(|each| each.prunes && each.own_index) {
            if !own.iter().any(|(eligible, _)| std::ptr::eq(*eligible, each.eligible)) {
                own.extend(all.map(|index| (each.eligible, index.restricted_to(each.eligible))));
            }
        }
        let of_first = own.first().filter(|(eligible, _)| std::ptr::eq(*eligible, rankings[0].eligible));
        let mut indexes = Vec::new();
        for each in rankings {
            let own = own.iter().find(|(eligible, _)| each.own_index && std::ptr::eq(*eligible, each.eligible));
            let index = all.filter(|_| each.prunes).map(|index| own.or(of_first).map_or(index, |(_, own)| own));
            let seed = |index| ThresholdSeed::new(index, scorer.vectors(), scorer.n_items(), each.n);
            let fits = |index: &&Index| own.or(of_first).is_none() && scorer.threshold_seed(index).fits(index, each.n);
            indexes.push((index, index.filter(|index| !fits(index)).map(seed)));
        }
        let searches = rankings.iter().zip(&indexes).map(|(each, (index, seed))| BatchSearch {
            scorer,
            query,
            eligible: each.eligible,
            rows: OnceLock::new(),
            scores_all: scores_all(scorer, &query, each),
            part: each.part.filter(|_| scores_all(scorer, &query, each)),
            single_items: (each.eligible.count <= MAX_SINGLE_ITEMS).then(|| each.eligible.positions()),
            compact: index.map(|index| (index, seed.as_ref().unwrap_or_else(|| scorer.threshold_seed(index)))),
            own_index: each.own_index,
            n: each.n,
            force_pruning,
            cost: PruningCost::default(),
        });
        let searches: Vec<_> = searches.collect();
        for (at, search) in searches.iter().enumerate() {
            // Longer rankings of the same items are needed now and then.
            let is_first = !rankings[..at].iter().any(|other| std::ptr::eq(other.eligible, search.eligible));
            if is_first && search.compact.is_none() && search.single_items.is_none() {
                search.rows(Some(context));
            }
        }
        work(searches)
    }

    /// Lists of a few users, one after the other, see `single`: on this thread, for one takes some 10 µs; but histories that
    /// contribute to items take ten times as long, and other threads may help.
    fn top_n_few(
        &self,
        query: &Query<'_>,
        eligible: &EligibleItems,
        lists: &mut Lists,
        context: &Context,
    ) -> Result<()> {
        let (scorer, index) = (&self.scorer, self.scorer.index(Some(context)));
        // What all of them would skip is skipped once.
        let skips = query.n_rows > 4 && single::skips_scan(eligible, scorer.n_items());
        let own = skips.then(|| index.restricted_to(eligible));
        let index = own.as_ref().unwrap_or(index);
        let n = lists.width;
        let mut rows = blocks(lists, 1).enumerate();
        let list = |(row, output): (usize, OutputSlices<'_>)| {
            context.cancel.check()?;
            let OutputSlices { items, scores, counts, .. } = output;
            single::list(scorer, Some(index), query, row, n, eligible, context.level, |keys| {
                write_list(keys, items, scores, &mut counts[0]);
            });
            Ok(())
        };
        if query.history.is_none() {
            return rows.try_for_each(list);
        }
        context.try_for_each_task(rows, || (), |(), row| list(row))
    }
}
