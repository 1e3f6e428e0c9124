//! Every question about a model: its scorer, the users of the training table, and the calls.
//!
//! A call is checked and becomes a [`Query`]; `plan` chooses its path, the threads of the context share its rows, and its
//! scores come out through the link.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::data::{Csr, Numbers};
use crate::model::fold_in::{self, Attention, History};
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::{Error, Result};

use super::batch::{self, BatchSearch, MAX_ROWS, MAX_SINGLE_ITEMS, OutputSlices, SharedScratch};
use super::checks::{check_n, check_table, check_users};
use super::extent::Extent;
use super::group_scan::PruningCost;
use super::head::Head;
use super::index::{Index, ThresholdSeed};
use super::key::{Best, key};
use super::output::{Link, Lists, OutputTransform, write_list};
use super::plan::{self, Choice, MIN_USERS_BATCHED, Path, Plan};
use super::query::{EligibleItems, Filters, Query, Users};
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

/// Items that hold those of all rankings, if the first of these does not.
fn covering(rankings: &[&EligibleItems], n_items: usize) -> Option<EligibleItems> {
    let (first, others) = rankings.split_first()?;
    let covers = others.iter().all(|other| first.includes(other));
    (!covers).then_some(EligibleItems { bits: None, count: n_items })
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

/// Scores and exact lists for users of the training table and for others.
pub struct Ranker {
    scorer: Scorer,
    users: Users,
}

impl Ranker {
    /// Checks item `vectors` (`n_items` × `d`), `neighbors` (row j: what history item j adds to others) and the head.
    pub fn new(
        vectors: impl Into<Numbers<f32>>,
        n_items: usize,
        d: usize,
        neighbors: Option<Csr>,
        head: Head,
    ) -> Result<Self> {
        Ok(Self { scorer: Scorer::new(vectors.into(), n_items, d, neighbors, head)?, users: Users::no_users(d) })
    }

    /// The same with item-item weights of all items with all (`n_items` × `n_items`), for users that are set later.
    pub fn with_dense_neighbors(mut self, weights: Numbers<f32>) -> Result<Self> {
        self.scorer.set_dense_neighbors(weights)?;
        Ok(self)
    }

    /// The same with this last step of every score that comes out.
    #[must_use]
    pub fn with_link(mut self, link: Link) -> Self {
        self.scorer.set_link(link);
        self
    }

    /// Checks users that fit these items: `vectors` (n × d), and rows of `history` and `seen` for each.
    pub fn new_users(
        &self,
        vectors: impl Into<Numbers<f32>>,
        n: usize,
        history: Option<Csr>,
        seen: Option<Sets>,
    ) -> Result<Users> {
        self.scorer.new_users(vectors.into(), n, history, seen)
    }

    /// Takes these as the users of the training table.
    pub fn set_users(&mut self, users: Users) {
        self.users = users;
    }

    /// Number of users.
    pub fn n_users(&self) -> usize {
        self.users.n
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.scorer.n_items()
    }

    /// What a history may name: the rows of the neighbors, of which there may be more than items.
    pub fn n_sources(&self) -> usize {
        self.scorer.n_sources()
    }

    /// Numbers in a vector.
    pub fn factors(&self) -> usize {
        self.scorer.factors()
    }

    /// Multiply-adds of one score.
    pub fn cost(&self) -> usize {
        self.scorer.head().cost(self.scorer.factors())
    }

    /// What scores.
    #[cfg(test)]
    pub(super) fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// A query for everyone in the training table.
    pub(super) fn everyone(&self) -> Query<'_> {
        self.users.query(None, true)
    }

    /// Lists for users of the training table (`None`: everyone, in order).
    pub fn top_n(
        &self,
        users: Option<&[u32]>,
        n: usize,
        filter_seen: bool,
        filters: &Filters,
        plan: Plan,
        context: &Context,
    ) -> Result<Lists> {
        check_users(users.unwrap_or_default(), self.users.n)?;
        self.lists(self.users.query(users, filter_seen), n, filters, plan, true, context)
    }

    /// The same without the last step of the scores, for `arrange`; `finish` takes it.
    pub fn rank(
        &self,
        users: Option<&[u32]>,
        n: usize,
        filter_seen: bool,
        filters: &Filters,
        context: &Context,
    ) -> Result<Lists> {
        check_users(users.unwrap_or_default(), self.users.n)?;
        self.lists(self.users.query(users, filter_seen), n, filters, Plan::Auto, false, context)
    }

    /// The same for users that the training table does not hold.
    pub fn rank_for(&self, users: &Users, n: usize, filters: &Filters, context: &Context) -> Result<Lists> {
        self.lists(users.query(None, true), n, filters, Plan::Auto, false, context)
    }

    /// Several rankings of the same users, each as `rank` gives it for its length and filters, or as much of that as its extent
    /// says: the neighbors of a history are summed once for all of them.
    pub fn rank_several(
        &self,
        users: Option<&[u32]>,
        wanted: &[(usize, Filters, Extent)],
        filter_seen: bool,
        context: &Context,
    ) -> Result<Vec<Lists>> {
        check_users(users.unwrap_or_default(), self.users.n)?;
        self.several(self.users.query(users, filter_seen), wanted, context)
    }

    /// The same for users that the training table does not hold.
    pub fn rank_several_for(
        &self,
        users: &Users,
        wanted: &[(usize, Filters, Extent)],
        context: &Context,
    ) -> Result<Vec<Lists>> {
        self.several(users.query(None, true), wanted, context)
    }

    /// The last step of the scores of ready lists, with a shift for each list where users have some.
    pub fn finish(&self, shifts: Option<&[f32]>, lists: &mut Lists, context: &Context) -> Result<()> {
        let (rows, n) = (lists.counts.len(), lists.counts.len() * lists.width);
        let fits = lists.scores.len() == n && shifts.is_none_or(|shifts| shifts.len() == rows);
        if !fits || lists.counts.iter().any(|&count| count < 0 || count as usize > lists.width) {
            return Err(Error::InvalidData("lists: their arrays do not fit each other.".into()));
        }
        if shifts.is_some() || self.scorer.link() != Link::Identity {
            self.apply_output(|row| shifts.map_or(0.0, |shifts| shifts[row]), lists, context);
        }
        Ok(())
    }

    /// Lists for users that the training table does not hold; what they have `seen` is left out.
    pub fn top_n_for(
        &self,
        users: &Users,
        n: usize,
        filters: &Filters,
        plan: Plan,
        context: &Context,
    ) -> Result<Lists> {
        self.lists(users.query(None, true), n, filters, plan, true, context)
    }

    /// The list of one user on this thread; `take` receives its keys, best first, and how their scores come out.
    pub fn top_n_one<T>(
        &self,
        user: usize,
        n: usize,
        filter_seen: bool,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> Result<T> {
        check_n(n)?;
        if user >= self.users.n {
            return Err(Error::InvalidData(format!("user {user} is requested; there are {} users.", self.users.n)));
        }
        let users = [user as u32];
        Ok(self.top_n_inline(&self.users.query(Some(&users), filter_seen), n, level, take))
    }

    /// The list of one user outside the training table of whom only the history is known, without what they `had`, on this
    /// thread. With `attention` the history is folded in as `model::fold_in` does it; without, each item weighs its weight.
    pub fn top_n_for_items<T>(
        &self,
        history: &History<'_>,
        attention: Option<&Attention<'_>>,
        had: &[u32],
        n: usize,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> Result<T> {
        check_n(n)?;
        let n_items = self.scorer.n_items();
        let &History { items, weights, times } = history;
        // Checks the positions, too, before anything is looked up by them.
        Sets::new(vec![0, items.len()], items.to_vec(), n_items)?;
        let had = Sets::new(vec![0, had.len()], had.to_vec(), n_items)?;
        let weights = weights.map_or_else(|| vec![1.0; items.len()], <[f32]>::to_vec);
        check_table(&weights, items.len(), 1, "weights of the history")?;
        if times.is_some_and(|times| times.len() != items.len()) {
            return Err(Error::InvalidData("the history has another number of times than of items.".into()));
        }
        let mut vector = vec![0.0; self.scorer.factors()];
        let mut recency = Vec::new();
        if let Some(attention) = attention {
            // A prior of the history that is not finite shows in the vector, which is checked with the user; to look at all of
            // them for each list takes as long as to look at the history.
            if attention.priors.len() != n_items {
                return Err(Error::InvalidData(format!(
                    "attention priors: {} numbers for {n_items} items.",
                    attention.priors.len()
                )));
            }
            recency = fold_in::recency(items.len(), times, attention.half_life);
            fold_in::user_vector(level, items, &recency, attention.priors, self.scorer.vectors(), &mut vector);
        }
        let weighed = self.scorer.neighbors().map(|neighbors| {
            let (mut columns, mut values) = (Vec::new(), Vec::new());
            if let Some(attention) = attention {
                let repeats = (neighbors.n_rows() > n_items).then(|| {
                    let recency = fold_in::recency(items.len(), times, attention.repeat_half_life);
                    recency.iter().zip(&weights).map(|(recency, weight)| recency * weight).collect::<Vec<_>>()
                });
                fold_in::weigh_history(items, &recency, repeats.as_deref(), n_items, &mut columns, &mut values);
            } else {
                (columns, values) = (items.to_vec(), weights);
            }
            Csr::new(vec![0, columns.len()], columns, values, neighbors.n_rows())
        });
        let user = self.scorer.new_users(vector.into(), 1, weighed.transpose()?, Some(had))?;
        Ok(self.top_n_inline(&user.query(None, true), n, level, take))
    }

    /// What the lists of a user of the training table leave out where they leave out what was seen.
    pub fn seen(&self, user: usize) -> &[u32] {
        self.users.seen.as_ref().map_or(&[], |seen| seen.row(user))
    }

    /// The scores of pairs of a user and an item.
    pub fn scores(&self, users: &[u32], items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if users.len() != items.len() {
            return Err(Error::InvalidData(format!(
                "got {} users and {} items; give one item for each user.",
                users.len(),
                items.len()
            )));
        }
        check_users(users, self.users.n)?;
        self.scorer.scores(&self.users.query(Some(users), false), items, context)
    }

    /// The scores of some items for one user outside the training table.
    pub fn scores_for(&self, user: &Users, items: &[u32], context: &Context) -> Result<Vec<f32>> {
        if user.n != 1 {
            return Err(Error::InvalidData(format!("got {} users; give one vector.", user.n)));
        }
        let users = vec![0; items.len()];
        self.scorer.scores(&user.query(Some(&users), false), items, context)
    }

    /// Whether the lists of a few users take microseconds each: nothing has to be made for them first.
    pub fn serves_few_fast(&self) -> bool {
        self.scorer.head().is_inner() && self.scorer.has_index()
    }

    /// The path that lists of `n` for everybody in the training table take.
    pub fn plan(&self, n: usize, level: Level) -> Choice {
        let n_items = self.scorer.n_items();
        plan::choose(&self.scorer, Plan::Auto, &self.everyone(), n.min(n_items), n_items, false, level)
    }

    /// The list of the first row, on this thread.
    fn top_n_inline<T>(
        &self,
        query: &Query<'_>,
        n: usize,
        level: Level,
        take: impl FnOnce(&[u64], OutputTransform) -> T,
    ) -> T {
        let scorer = &self.scorer;
        let output = scorer.output_transform(query, 0, level);
        let take = |keys: &[u64]| take(keys, output);
        let n = n.min(scorer.n_items());
        if n == 0 {
            return take(&[]);
        }
        let eligible = EligibleItems { bits: None, count: scorer.n_items() };
        let prunes = plan::prunes_few(scorer, query, n, scorer.n_items());
        if prunes || (scorer.factors() == 0 && scorer.head().biases().is_empty()) {
            let index = prunes.then(|| scorer.index(None));
            return single::list(scorer, index, query, 0, n, &eligible, level, take);
        }
        if let Some(target) = scorer.head().target()
            && !scorer.may_overflow(query)
            && (scorer.factors() > 0 || target.bias.is_empty())
        {
            let mut best = Best::default();
            best.reset(n);
            let items = eligible.positions();
            TargetSearch { scorer, target, query: *query, items: &items }.top_n_one(0, level, &mut best);
            return take(best.sorted());
        }
        let mut scratch = single::Scratch::default();
        take(single::list_pairwise(scorer, query, 0, n, &eligible, None, false, level, &mut scratch))
    }

    /// Lists for the requested rows, on the path that the plan chooses.
    fn lists(
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
    fn several(&self, query: Query<'_>, wanted: &[(usize, Filters, Extent)], context: &Context) -> Result<Vec<Lists>> {
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
    fn output(&self, query: &Query<'_>, lists: &mut Lists, context: &Context) {
        if self.scorer.link() != Link::Identity || query.shift.is_some() {
            self.apply_output(|row| query.shift(row), lists, context);
        }
    }

    fn apply_output(&self, shift: impl Fn(usize) -> f32 + Sync, lists: &mut Lists, context: &Context) {
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
        if query.history.is_some() {
            scorer.byte_rows(context.level, Some(context));
            scorer.sketches(Some(context));
        }
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
                single_items: (each.eligible.count <= MAX_SINGLE_ITEMS).then(|| each.eligible.positions()),
                compact: index.map(|index| (index, seed.as_ref().unwrap_or_else(|| scorer.threshold_seed(index)))),
                own_index: each.own_index,
                n: lists.width,
                extent: each.extent,
                force_pruning,
                cost: PruningCost::default(),
            })
            .collect();
        for (search, each) in searches.iter().zip(rankings) {
            if !each.prunes && search.single_items.is_none() {
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
        let eligible: Vec<_> = rankings.iter().map(|each| each.eligible).collect();
        let covering = covering(&eligible, scorer.n_items());
        let covering = covering.as_ref().unwrap_or(eligible[0]);
        let block = |shared: &mut SharedScratch, (at, outputs): (usize, Vec<OutputSlices<'_>>)| {
            context.cancel.check()?;
            let first = at * rows;
            batch::block(&searches, covering, &(first..(first + rows).min(n_rows)), context, shared, outputs)
        };
        context.try_for_each_task(blocks.into_iter().enumerate(), SharedScratch::default, block)
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
        let covering = covering(&eligible, n_items);
        let covering = covering.as_ref().unwrap_or(eligible[0]);
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
            single::lists(scorer, &rankings, covering, query, row, context.level, |at, keys, floor| {
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
