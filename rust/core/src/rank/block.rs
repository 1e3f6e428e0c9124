//! The lists of a block of users. What their histories add to items is summed once, also where lists obey rules and are chosen
//! from several rankings: of all items and the boosted ones for everybody, then of what single lists lack.

use std::ops::Range;

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::Level;

use super::arrange::{self, ALL, BOOSTED, Lacks, N_KINDS, PINS, RowRankings, RulesCall, WANTED, WANTED_BOOSTED};
use super::batch::{BatchSearch, OutputSlices, Scratch, UserTopN};
use super::candidates::Candidates;
use super::neighbor_sums::NeighborSums;
use super::output::write_list;
use super::row_sums::RowSums;

/// So many lengths a ranking has in a block; lists that need longer ones are made one by one.
pub const LENGTHS: usize = 2;

/// Lists by rules are chosen so many times at most, from ever more candidates.
const CHOICES: usize = 4;

/// What histories add to the items of these is selected for all rows, while it is near.
const SELECTED_AT_FIRST: [usize; 2] = [BOOSTED, PINS];

/// Memory of one thread for the searches of the same users, of each kind and of the pins.
#[derive(Default)]
pub struct SharedScratch {
    sums: NeighborSums,
    of_rows: [RowSums; PINS + 1],
    of_each: [Scratch; PINS + 1],
    candidates: Candidates,
    states: Vec<RowState>,
    arranging: arrange::Scratch,
}

/// How far the list by rules of a row is.
#[derive(Clone, Copy, Default)]
struct RowState {
    lacks: Lacks,
    /// How many rankings of each kind were made.
    times: [usize; PINS + 1],
}

/// The searches that lists by rules of many rows are made with.
pub struct BlockSearches<'r, 'a> {
    /// The rules.
    pub call: RulesCall<'r>,
    /// The rankings of each kind and of the pins, by length.
    pub searches: [Option<[BatchSearch<'a>; LENGTHS]>; PINS + 1],
}

impl<'a> BlockSearches<'_, 'a> {
    fn get(&self, kind: usize, times: usize) -> Option<&BatchSearch<'a>> {
        self.searches[kind].as_ref().and_then(|lengths| lengths.get(times))
    }
}

/// The lists of a block of rows.
pub fn block(
    search: &BatchSearch<'_>,
    rows: &Range<usize>,
    context: &Context,
    shared: &mut SharedScratch,
    output: OutputSlices<'_>,
) -> Result<()> {
    shared.begin(1, rows.len());
    for (at, row) in rows.clone().enumerate() {
        shared.sum_row(search, row, context.level, &[]);
        shared.open_list(search, ALL, at, row, context);
    }
    let SharedScratch { of_rows, of_each, .. } = shared;
    search.finish_lists(rows, context, &of_rows[ALL], &mut of_each[ALL])?;
    let OutputSlices { items, scores, counts, width } = output;
    let places = items.chunks_exact_mut(width).zip(scores.chunks_exact_mut(width)).zip(counts);
    for (((items, scores), count), list) in places.zip(&mut of_each[ALL].lists) {
        write_list(list.best.sorted(), items, scores, count);
    }
    Ok(())
}

/// The lists by rules of a block of rows, and of each whether it is proven.
pub fn block_by_rules(
    searches: &BlockSearches<'_, '_>,
    rows: &Range<usize>,
    context: &Context,
    shared: &mut SharedScratch,
    output: OutputSlices<'_>,
    proven: &mut [bool],
) -> Result<()> {
    let Some(all) = searches.get(ALL, 0) else { return Ok(()) };
    shared.begin(PINS + 1, rows.len());
    let others: Vec<_> = (BOOSTED..=PINS).filter_map(|kind| Some((kind, searches.get(kind, 0)?))).collect();
    for (at, row) in rows.clone().enumerate() {
        shared.sum_row(all, row, context.level, &others);
        shared.open_list(all, ALL, at, row, context);
        for &(kind, search) in &others {
            if search.single_items.is_some() {
                shared.open_list(search, kind, at, row, context);
            } else if SELECTED_AT_FIRST.contains(&kind) && shared.of_rows[kind].n_rows() == at {
                let [first, later @ ..] = &mut shared.of_rows;
                later[kind - 1].select(context.level, first, at, search.eligible);
            }
        }
    }
    all.finish_lists(rows, context, &shared.of_rows[ALL], &mut shared.of_each[ALL])?;
    shared.expect_lacks(searches, false);
    for &(kind, search) in &others {
        if SELECTED_AT_FIRST.contains(&kind) && search.single_items.is_none() {
            shared.run(searches, (kind, 0), |_| true, rows, context)?;
        }
    }
    shared.expect_lacks(searches, true);
    let OutputSlices { items, scores, counts, width } = output;
    for choice in 0..CHOICES {
        let places = items.chunks_exact_mut(width).zip(scores.chunks_exact_mut(width)).zip(&mut *counts);
        let SharedScratch { of_each, states, arranging, .. } = &mut *shared;
        let mut proves_all = true;
        for (at, ((items, scores), count)) in places.enumerate() {
            let state = &mut states[at];
            // What is sure to lack something is chosen when that is there.
            if state.lacks.any() == (choice > 0) {
                state.lacks = searches.call.choose(rows.start + at, &rankings(of_each, at), context.level, arranging);
                *count = arranging.write(items, scores);
            }
            proves_all &= !state.lacks.any();
        }
        if proves_all || choice + 1 == CHOICES {
            break;
        }
        for kind in 0..N_KINDS {
            // The longer ones first, or a row would get both at once.
            for times in (0..LENGTHS).rev() {
                let lacks = |state: &RowState| state.lacks.0[kind] && state.times[kind] == times;
                if shared.states.iter().any(lacks) && searches.get(kind, times).is_some() {
                    shared.run(searches, (kind, times), lacks, rows, context)?;
                }
            }
        }
    }
    proven.iter_mut().zip(&shared.states).for_each(|(proven, state)| *proven = !state.lacks.any());
    Ok(())
}

/// The rankings of a row that are there.
fn rankings(of_each: &mut [Scratch; PINS + 1], at: usize) -> RowRankings<'_> {
    RowRankings::of(of_each.each_mut().map(|scratch| {
        let UserTopN { best, floor, .. } = &mut scratch.lists[at];
        (best, *floor)
    }))
}

impl SharedScratch {
    /// Room for so many rows; no ranking is there.
    fn begin(&mut self, n_kinds: usize, n_rows: usize) {
        self.of_rows.iter_mut().for_each(RowSums::clear);
        self.states.clear();
        self.states.resize(n_rows, RowState::default());
        for scratch in &mut self.of_each[..n_kinds] {
            if scratch.lists.len() < n_rows {
                scratch.lists.resize_with(n_rows, UserTopN::default);
            }
            scratch.lists[..n_rows].iter_mut().for_each(|list| list.reset(0));
        }
    }

    /// What the history of a row adds to the items of the first search, and to those of others that score each of few.
    fn sum_row<'a>(&mut self, first: &BatchSearch<'a>, row: usize, level: Level, others: &[(usize, &BatchSearch<'a>)]) {
        let Self { sums, of_rows, of_each, candidates, .. } = self;
        let BatchSearch { scorer, query, eligible, .. } = first;
        candidates.start_row();
        if !scorer.has_sums(query) {
            of_rows[ALL].push_left_out(query.seen(row), eligible);
            return;
        }
        scorer.sum_history(query, row, level, sums);
        for &(kind, search) in others.iter().chain([&(ALL, first)]) {
            if let Some(items) = &search.single_items {
                let single_sums = &mut of_each[kind].single_sums;
                single_sums.clear();
                single_sums.extend(items.iter().map(|&item| sums.sum(item)));
            } else if SELECTED_AT_FIRST.contains(&kind)
                && search.eligible.count < sums.n_neighbors()
                && let Some(items) = search.scores_all.then(|| search.rows(None).positions()).flatten()
            {
                of_rows[kind].gather(level, sums, items, search.eligible);
            }
        }
        of_rows[ALL].take(level, sums, eligible);
        if row + 1 < query.n_rows {
            scorer.fetch_neighbors(query, row + 1);
        }
    }

    /// The list of a row, number `at` of the block, as far as its history goes, or of few items wholly.
    fn open_list(&mut self, search: &BatchSearch<'_>, kind: usize, at: usize, row: usize, context: &Context) {
        let Self { of_rows, of_each, candidates, states, .. } = self;
        let Scratch { lists, single_sums, .. } = &mut of_each[kind];
        let list = &mut lists[at];
        list.reset(search.n);
        states[at].times[kind] = 1;
        match &search.single_items {
            Some(items) => search.offer_single(row, context.level, (items, single_sums), candidates, &mut list.best),
            None => search.begin_list(row, context, of_rows[kind].neighbors(at), candidates, list),
        }
    }

    /// Which rows will lack wanted items, as far as rankings tell; where boosted items are not ranked yet, which may. Where
    /// what is both has a search of its own, quotas may save it: the first choice tells.
    fn expect_lacks(&mut self, searches: &BlockSearches<'_, '_>, boosted_are_ranked: bool) {
        let Self { of_each, states, .. } = self;
        let of_boosted = searches.get(BOOSTED, 0).is_some_and(|search| search.part.is_some());
        if searches.get(WANTED_BOOSTED, 0).is_some() && !of_boosted {
            return;
        }
        for (at, state) in states.iter_mut().enumerate() {
            if !boosted_are_ranked || state.lacks.any() {
                let lacks = searches.call.holds_nothing_wanted(&rankings(of_each, at));
                let misses = |kind| lacks && state.times[kind] == 0 && searches.get(kind, 0).is_some();
                state.lacks = Lacks([false, false, misses(WANTED), misses(WANTED_BOOSTED)]);
            }
        }
    }

    /// Makes the ranking of a kind for the rows that need it.
    fn run(
        &mut self,
        searches: &BlockSearches<'_, '_>,
        (kind, times): (usize, usize),
        needs: impl Fn(&RowState) -> bool,
        rows: &Range<usize>,
        context: &Context,
    ) -> Result<()> {
        let Some(search) = searches.get(kind, times) else { return Ok(()) };
        let Self { of_rows, of_each, candidates, states, arranging, .. } = self;
        let (others, own) = of_rows.split_at_mut(kind);
        let own = &mut own[0];
        let selected = kind == ALL || (SELECTED_AT_FIRST.contains(&kind) && own.n_rows() == rows.len());
        // What is both is selected from the fewer.
        let from = if kind == WANTED_BOOSTED && others[BOOSTED].n_rows() == rows.len() { BOOSTED } else { ALL };
        if !selected {
            own.clear();
        }
        for (at, row) in rows.clone().enumerate() {
            let needed = needs(&states[at]);
            if !selected {
                if needed {
                    own.select(context.level, &others[from], at, search.eligible);
                } else {
                    own.push_left_out(&[], search.eligible);
                }
            }
            if !needed {
                of_each[kind].lists[at].ends = true;
                continue;
            }
            states[at].times[kind] += 1;
            let floor = searches.call.floor(kind, times, row, &rankings(of_each, at), arranging);
            let list = &mut of_each[kind].lists[at];
            list.reset(search.n);
            list.raise(floor);
            if floor < f32::INFINITY {
                candidates.start_row();
                search.begin_list(row, context, own.neighbors(at), candidates, list);
                if let Some((_, n)) = search.part.filter(|_| states[at].lacks.0[WANTED_BOOSTED]) {
                    of_each[WANTED_BOOSTED].lists[at].reset(n);
                    states[at].times[WANTED_BOOSTED] = 1;
                }
            }
        }
        if search.part.is_none() {
            return search.finish_lists(rows, context, own, &mut of_each[kind]);
        }
        // The same scores make both.
        of_each[kind].lists_of_part = std::mem::take(&mut of_each[WANTED_BOOSTED].lists);
        let ends = search.finish_lists(rows, context, own, &mut of_each[kind]);
        of_each[WANTED_BOOSTED].lists = std::mem::take(&mut of_each[kind].lists_of_part);
        ends
    }
}
