//! How a call gets its lists: the path that the plan chooses, whose rows the threads of the context share.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::runtime::Context;
use crate::{Error, Result};

use super::batch::{BatchSearch, MAX_ROWS, MAX_SCORED_ITEMS, MAX_SINGLE_ITEMS, OutputSlices};
use super::block::{SharedScratch, block};
use super::checks::check_n;
use super::extent::Extent;
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

fn worth_an_index(eligible: &EligibleItems, n_items: usize, n_rows: usize) -> bool {
    n_rows.saturating_mul(n_items - eligible.count) >= USERS_OF_AN_INDEX.saturating_mul(eligible.count)
}

/// The items of one of several rankings of the same users, and how it is made.
struct Ranking<'a> {
    eligible: &'a EligibleItems,
    prunes: bool,
    own_index: bool,
    extent: Extent,
}

/// Whether so few items may be listed that all are scored, whatever a history adds to them.
fn scores_all(scorer: &Scorer, query: &Query<'_>, ranking: &Ranking<'_>) -> bool {
    let few = (MAX_SINGLE_ITEMS + 1..=MAX_SCORED_ITEMS).contains(&ranking.eligible.count);
    few && !ranking.prunes && query.d > 0 && scorer.head().is_inner() && scorer.has_sums(query)
}

/// The lists of each ranking by blocks of so many rows.
fn blocks(lists: &mut [Lists], n_rows: usize, rows: usize) -> Vec<Vec<OutputSlices<'_>>> {
    let mut blocks: Vec<Vec<_>> = (0..n_rows.div_ceil(rows)).map(|_| Vec::new()).collect();
    for Lists { items, scores, counts, width, floors } in lists {
        let width = *width;
        let mut floors = &mut floors[..];
        let parts = items.chunks_mut(rows * width).zip(scores.chunks_mut(rows * width)).zip(counts.chunks_mut(rows));
        for (block, ((items, scores), counts)) in blocks.iter_mut().zip(parts) {
            let (own, later) = floors.split_at_mut(floors.len().min(counts.len()));
            floors = later;
            block.push(OutputSlices { items, scores, counts, width, floors: own });
        }
    }
    blocks
}

/// Room for the floors of rankings that may end early.
fn with_floors(lists: &mut [Lists], extents: impl Iterator<Item = Extent>) {
    for (lists, extent) in lists.iter_mut().zip(extents) {
        if extent != Extent::Full {
            lists.floors = vec![f32::NEG_INFINITY; lists.counts.len()];
        }
    }
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
            self.top_n_few(&query, &[(&eligible, Extent::Full)], std::slice::from_mut(&mut lists), context)?;
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
                let ranking = Ranking { eligible: &eligible, prunes, own_index, extent: Extent::Full };
                let force_pruning = plan == Plan::Pruned;
                self.top_n_batched(query, &[ranking], force_pruning, std::slice::from_mut(&mut lists), context)?;
            }
        }
        if finish {
            self.output(&query, &mut lists, context);
        }
        Ok(lists)
    }

    /// Several rankings of the same rows without the last step of their scores.
    pub(super) fn several(
        &self,
        query: Query<'_>,
        wanted: &[(usize, Filters, Extent)],
        context: &Context,
    ) -> Result<Vec<Lists>> {
        let (scorer, n_items) = (&self.scorer, self.scorer.n_items());
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut eligible = Vec::new();
        for (at, (n, filters, extent)) in wanted.iter().enumerate() {
            check_n(*n)?;
            if extent.of().is_some_and(|of| of >= at) {
                return Err(Error::InvalidParameter("a ranking depends on one that does not come before it.".into()));
            }
            eligible.push(EligibleItems::new(filters, n_items)?);
        }
        let each_alike = wanted.iter().all(|(_, filters, _)| filters.allow_each.is_none());
        let mut lists: Vec<_> = wanted.iter().map(|(n, ..)| Lists::empty(query.n_rows, (*n).min(n_items))).collect();
        if query.n_rows < MIN_USERS_BATCHED && each_alike && scorer.can_prune(&query) {
            let rankings = eligible.iter().zip(wanted).map(|(eligible, (.., extent))| (eligible, *extent));
            self.top_n_few(&query, &rankings.collect::<Vec<_>>(), &mut lists, context)?;
            return Ok(lists);
        }
        let rankings: Vec<_> = wanted
            .iter()
            .zip(&eligible)
            .map(|((n, _, extent), eligible)| {
                let own_index = worth_an_index(eligible, n_items, query.n_rows);
                let width = (*n).min(n_items);
                let path =
                    plan::choose(scorer, Plan::Auto, &query, width, eligible.count, own_index, context.level).path;
                (path, Ranking { eligible, prunes: path == Path::Pruned, own_index, extent: *extent })
            })
            .collect();
        let depends = wanted.iter().any(|(.., extent)| *extent != Extent::Full);
        let shares = (query.history.is_some() || depends)
            && query.n_rows >= MIN_USERS_BATCHED
            && n_items > 0
            && scorer.head().target().is_none()
            && each_alike
            && rankings.iter().all(|(path, _)| *path != Path::Pairs);
        if !shares {
            return wanted
                .iter()
                .map(|(n, filters, _)| self.lists(query, *n, filters, Plan::Auto, false, context))
                .collect();
        }
        let rankings: Vec<_> = rankings.into_iter().map(|(_, ranking)| ranking).collect();
        self.top_n_batched(query, &rankings, false, &mut lists, context)?;
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

    /// Blocks of users over the threads; see `batch`. One list of each ranking for each user.
    fn top_n_batched(
        &self,
        query: Query<'_>,
        rankings: &[Ranking<'_>],
        force_pruning: bool,
        lists: &mut [Lists],
        context: &Context,
    ) -> Result<()> {
        let (scorer, n_rows) = (&self.scorer, query.n_rows);
        let all = rankings.iter().any(|each| each.prunes).then(|| scorer.index(Some(context)));
        let own: Vec<_> = rankings
            .iter()
            .map(|each| all.filter(|_| each.prunes && each.own_index).map(|index| index.restricted_to(each.eligible)))
            .collect();
        let mut indexes = Vec::new();
        for ((each, own), lists) in rankings.iter().zip(&own).zip(&*lists) {
            let index = own.as_ref().or(all.filter(|_| each.prunes));
            let seed = |index| ThresholdSeed::new(index, scorer.vectors(), scorer.n_items(), lists.width);
            let fits = |index: &&Index| own.is_none() && scorer.threshold_seed(index).fits(index, lists.width);
            indexes.push((index, index.filter(|index| !fits(index)).map(seed)));
        }
        let searches: Vec<_> = rankings
            .iter()
            .zip(&indexes)
            .zip(&*lists)
            .map(|((each, (index, seed)), lists)| BatchSearch {
                scorer,
                query,
                eligible: each.eligible,
                rows: OnceLock::new(),
                scores_all: scores_all(scorer, &query, each),
                single_items: (each.eligible.count <= MAX_SINGLE_ITEMS).then(|| each.eligible.positions()),
                compact: index.map(|index| (index, seed.as_ref().unwrap_or_else(|| scorer.threshold_seed(index)))),
                own_index: each.own_index,
                n: lists.width,
                extent: each.extent,
                force_pruning,
                cost: PruningCost::default(),
            })
            .collect();
        for search in &searches {
            if search.compact.is_none() && search.single_items.is_none() {
                search.rows(Some(context));
            }
        }
        let threads = context.threads();
        let rows = if n_rows <= 32 * threads {
            n_rows.div_ceil(threads)
        } else {
            n_rows.div_ceil(4 * threads).next_multiple_of(32)
        };
        let rows = rows.min(MAX_ROWS);
        with_floors(lists, rankings.iter().map(|each| each.extent));
        let blocks = blocks(lists, n_rows, rows);
        let first_covers = rankings.iter().all(|each| rankings[0].eligible.includes(each.eligible));
        let of_block = |shared: &mut SharedScratch, (at, outputs): (usize, Vec<OutputSlices<'_>>)| {
            context.cancel.check()?;
            let first = at * rows;
            block(&searches, first_covers, &(first..(first + rows).min(n_rows)), context, shared, outputs)
        };
        context.try_for_each_task(blocks.into_iter().enumerate(), SharedScratch::default, of_block)
    }

    /// Lists of a few users, one after the other, see `single`: on this thread, for one takes some 10 µs; but histories that
    /// contribute to items take ten times as long, and other threads may help. One list of each kind for each user.
    fn top_n_few(
        &self,
        query: &Query<'_>,
        wanted: &[(&EligibleItems, Extent)],
        lists: &mut [Lists],
        context: &Context,
    ) -> Result<()> {
        let (scorer, n_items, index) = (&self.scorer, self.scorer.n_items(), self.scorer.index(Some(context)));
        // What all of them would skip is skipped once.
        let own = |eligible: &&EligibleItems| {
            (query.n_rows > 4 && single::skips_scan(eligible, n_items)).then(|| index.restricted_to(eligible))
        };
        let eligible: Vec<_> = wanted.iter().map(|(eligible, _)| *eligible).collect();
        let own: Vec<_> = eligible.iter().map(own).collect();
        with_floors(lists, wanted.iter().map(|(_, extent)| *extent));
        let mut rankings = Vec::new();
        for ((&(eligible, extent), own), lists) in wanted.iter().zip(&own).zip(&*lists) {
            let prunes = plan::prunes_few(scorer, query, lists.width, eligible.count);
            let index = prunes.then(|| own.as_ref().unwrap_or(index));
            rankings.push(single::Ranking { eligible, n: lists.width, index, extent });
        }
        let mut rows = blocks(lists, query.n_rows, 1).into_iter().enumerate();
        let list = |(row, mut outputs): (usize, Vec<OutputSlices<'_>>)| {
            context.cancel.check()?;
            single::lists(scorer, &rankings, query, row, context.level, |at, keys, floor| {
                let OutputSlices { items, scores, counts, floors, .. } = &mut outputs[at];
                write_list(keys, items, scores, &mut counts[0]);
                floors.fill(floor);
            });
            Ok(())
        };
        if query.history.is_none() {
            return rows.try_for_each(list);
        }
        context.try_for_each_task(rows, || (), |(), row| list(row))
    }
}
