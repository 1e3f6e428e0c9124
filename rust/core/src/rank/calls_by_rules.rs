//! How a call gets lists that obey rules: the rankings that they are chosen from, and the rows in blocks or one by one.

use std::sync::OnceLock;

use crate::Result;
use crate::data::Csr;
use crate::runtime::Context;

use super::arrange::{ALL, BOOSTED, Lengths, ListRules, PINS, RulesCall, WANTED_BOOSTED};
use super::batch::{MAX_SINGLE_ITEMS, OutputSlices};
use super::block::{BlockSearches, SharedScratch, block_by_rules};
use super::calls::{Ranking, blocks, rows_of_a_block, worth_an_index};
use super::checks::{check_n, check_users};
use super::diversity::Vectors;
use super::index::Index;
use super::output::Lists;
use super::plan::{self, MIN_USERS_BATCHED, Path, Plan};
use super::query::{EligibleItems, Filters, Query, Users};
use super::ranker::Ranker;
use super::scorer::Scorer;
use super::single::{self, SearchesByRules};

/// Items that are one in so many or fewer have a table of their own for single lists.
const MIN_SHARE: usize = 3;

/// The rules of a call, and what they know of single rows.
#[derive(Clone, Copy)]
pub struct ByRules<'a> {
    /// The rules.
    pub rules: &'a ListRules,
    /// What was made of them for single lists.
    pub tables: &'a RuleTables,
    /// A factor from 0 to 1 for some items of each row.
    pub faded: Option<&'a Csr>,
    /// Unit vectors of all items, where diversity compares them (`n_items` × `d`).
    pub vectors: Option<Vectors<'a>>,
}

/// Compact tables of the items of each kind and of the pins where they are few, for single lists; made at the first.
#[derive(Default)]
pub struct RuleTables {
    /// Those of the scorer with this number.
    made: OnceLock<(u64, [Option<Index>; PINS + 1])>,
}

impl RuleTables {
    fn get(&self, scorer: &Scorer, rules: &ListRules, index: &Index) -> Option<&[Option<Index>; PINS + 1]> {
        let all = EligibleItems { bits: None, count: scorer.n_items() };
        let table = |kind: usize| {
            let items = all.within(rules.bits(kind)?);
            (kind != ALL && MIN_SHARE * items.count <= scorer.n_items()).then(|| index.restricted_to(&items))
        };
        let (of, tables) = self.made.get_or_init(|| (scorer.id(), std::array::from_fn(table)));
        (*of == scorer.id()).then_some(tables)
    }
}

/// The items of each kind and of the pins that may be listed.
type Items = [Option<EligibleItems>; PINS + 1];

/// A list on its way out: its row, items, scores and length.
type Row<'a> = (usize, OutputSlices<'a>);

impl Ranker {
    /// Lists that obey rules for users of the training table, without the last step of their scores: the neighbors of a history
    /// are summed once for all rankings that a list is chosen from. `None` where these have to be asked for one by one, for
    /// `ListRules::arrange`: candidates weigh histories themselves, each pair goes through layers, or each row has items of
    /// its own.
    pub fn top_n_by_rules(
        &self,
        users: Option<&[u32]>,
        n: usize,
        filter_seen: bool,
        filters: &Filters,
        by: ByRules<'_>,
        context: &Context,
    ) -> Result<Option<Lists>> {
        check_users(users.unwrap_or_default(), self.users.n)?;
        self.lists_by_rules(self.users.query(users, filter_seen), n, filters, by, context)
    }

    /// The same for users that the training table does not hold.
    pub fn top_n_by_rules_for(
        &self,
        users: &Users,
        n: usize,
        filters: &Filters,
        by: ByRules<'_>,
        context: &Context,
    ) -> Result<Option<Lists>> {
        self.lists_by_rules(users.query(None, true), n, filters, by, context)
    }

    fn lists_by_rules(
        &self,
        query: Query<'_>,
        n: usize,
        filters: &Filters,
        by: ByRules<'_>,
        context: &Context,
    ) -> Result<Option<Lists>> {
        let lengths = Lengths::new(by.rules, n.min(self.scorer.n_items()), by.faded.is_some());
        self.lists_of_lengths(query, n, filters, by, lengths, context)
    }

    /// The same with rankings of these lengths at first.
    pub(super) fn lists_of_lengths(
        &self,
        query: Query<'_>,
        n: usize,
        filters: &Filters,
        by: ByRules<'_>,
        lengths: Lengths,
        context: &Context,
    ) -> Result<Option<Lists>> {
        check_n(n)?;
        let (scorer, n_items) = (&self.scorer, self.scorer.n_items());
        by.rules.check(query.n_rows, n_items, by.faded, by.vectors)?;
        let all = EligibleItems::new(filters, n_items)?;
        let path = plan::choose(scorer, Plan::Auto, &query, 1, all.count, false, context.level).path;
        if filters.allow_each.is_some() || [Path::Pairs, Path::TargetSearch].contains(&path) {
            return Ok(None);
        }
        let n = n.min(n_items);
        let mut lists = Lists::empty(query.n_rows, n);
        if n == 0 || query.n_rows == 0 {
            return Ok(Some(lists));
        }
        let call = RulesCall { rules: by.rules, faded: by.faded, vectors: by.vectors, lengths, n };
        let mut items: Items = Default::default();
        for (kind, items) in items.iter_mut().enumerate().filter(|(kind, _)| lengths.has(*kind)) {
            *items = by.rules.bits(kind).map(|bits| all.within(bits));
        }
        items[ALL].get_or_insert(all);
        let mut proven = vec![false; query.n_rows];
        let batched = query.n_rows >= MIN_USERS_BATCHED;
        if batched {
            self.blocks_by_rules(query, call, &items, &mut lists, &mut proven, context)?;
        }
        let open = blocks(&mut lists, 1).enumerate().filter(|(row, _)| !proven[*row]).collect();
        self.rows_by_rules(&query, call, by.tables, &items, usize::from(batched), open, context)?;
        Ok(Some(lists))
    }

    /// Blocks of users over the threads; says which lists are proven.
    fn blocks_by_rules(
        &self,
        query: Query<'_>,
        call: RulesCall<'_>,
        items: &Items,
        lists: &mut Lists,
        proven: &mut [bool],
        context: &Context,
    ) -> Result<()> {
        let kinds = items.iter().enumerate().filter_map(|(kind, items)| Some((kind, items.as_ref()?)));
        // Others have a table of their own where that is worth it beside the one of all that may be listed.
        let n_items = self.scorer.n_items();
        let own = |all: &EligibleItems| worth_an_index(all, n_items, query.n_rows);
        let n_of_all = items[ALL].as_ref().filter(|all| own(all)).map_or(n_items, |all| all.count);
        let both = items[WANTED_BOOSTED].as_ref().filter(|items| items.count > MAX_SINGLE_ITEMS);
        let part = both.map(|items| (items, call.lengths.get(WANTED_BOOSTED, 0)));
        let lengths = |(kind, items)| {
            let table = if kind == ALL { n_items } else { n_of_all };
            [0, 1].map(|times| Ranking {
                part: part.filter(|_| (kind, times) == (BOOSTED, 0)),
                ..self.ranking(&query, call.lengths.get(kind, times), items, table, context)
            })
        };
        let rankings: Vec<_> = kinds.flat_map(lengths).collect();
        let rows = rows_of_a_block(query.n_rows, context);
        self.with_searches(query, &rankings, false, context, |searches| {
            let mut searches = searches.into_iter();
            let searches = items.each_ref().map(|items| {
                items.as_ref()?;
                Some([searches.next()?, searches.next()?])
            });
            let searches = BlockSearches { call, searches };
            let of_block =
                |shared: &mut SharedScratch, (at, (output, proven)): (usize, (OutputSlices<'_>, &mut [bool]))| {
                    context.cancel.check()?;
                    let first = at * rows;
                    block_by_rules(&searches, &(first..first + proven.len()), context, shared, output, proven)
                };
            let blocks = blocks(lists, rows).zip(proven.chunks_mut(rows)).enumerate();
            context.try_for_each_task(blocks, SharedScratch::default, of_block)
        })
    }

    /// A ranking of `n` of these items, which are in a table of `n_items`; of so few that each is scored, all.
    fn ranking<'a>(
        &self,
        query: &Query<'_>,
        n: usize,
        eligible: &'a EligibleItems,
        n_items: usize,
        context: &Context,
    ) -> Ranking<'a> {
        let count = eligible.count;
        let own_index = worth_an_index(eligible, n_items, query.n_rows);
        let n = if count <= MAX_SINGLE_ITEMS { count + 1 } else { n };
        let path = plan::choose(&self.scorer, Plan::Auto, query, n, count, own_index, context.level).path;
        Ranking { eligible, n, prunes: path == Path::Pruned, own_index, part: None }
    }

    /// Lists of some rows, one after the other, from rankings as long as those asked for so many times.
    fn rows_by_rules(
        &self,
        query: &Query<'_>,
        call: RulesCall<'_>,
        tables: &RuleTables,
        items: &Items,
        times: usize,
        rows: Vec<Row<'_>>,
        context: &Context,
    ) -> Result<()> {
        let scorer = &self.scorer;
        if rows.is_empty() {
            return Ok(());
        }
        let index = scorer.can_prune(query).then(|| scorer.index(Some(context)));
        let tables = index.and_then(|index| tables.get(scorer, call.rules, index));
        let of_kind = |kind: usize| {
            let own = tables.and_then(|tables| tables[kind].as_ref());
            Some((items[kind].as_ref()?, own.or(index)))
        };
        let items = std::array::from_fn(of_kind);
        let searches = SearchesByRules { call, items };
        let mut rows = rows.into_iter();
        let list = |(row, output): Row<'_>| {
            context.cancel.check()?;
            let OutputSlices { items, scores, counts, .. } = output;
            counts[0] = single::list_by_rules(scorer, &searches, times, query, row, context.level, (items, scores));
            Ok(())
        };
        // What a block has not proven may be many rows, or whole rankings.
        if query.history.is_none() && times == 0 {
            return rows.try_for_each(list);
        }
        context.try_for_each_task(rows, || (), |(), row| list(row))
    }
}
