//! Lists of many rows: a way is chosen, the rows go over the threads, and scores come out as they are shown.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::runtime::Context;
use crate::{Error, Result};

use super::asked::{Asked, Eligible, Filters, Lists};
use super::engine::{self, Front, Job, MOST_ROWS, Places, Worth};
use super::key::{key, position_of, score_of};
use super::plan::{LEAST_TOGETHER, Path};
use super::ranker::{Head, Plan, ROWS_PER_TASK, Ranker, Work, check_n};
use super::sets::Sets;
use super::shown::Link;
use super::single;
use super::target::Sweep;

/// Places of one list: its row, items, scores and length.
type Row<'a> = (usize, ((&'a mut [i32], &'a mut [f32]), &'a mut i32));

/// Places of a block of lists.
type Block<'a> = (usize, ((&'a mut [i32], &'a mut [f32]), &'a mut [i32]));

/// Users for which a table of the eligible items alone saves what it takes to make, where half of the items are eligible. Both
/// grow with what a scan gets to see: bytes of an item take some 60 ns, an item that is scanned for nothing .6 ns a user.
const USERS_OF_AN_INDEX: usize = 100;

fn worth_an_index(eligible: &Eligible, n_items: usize, n_rows: usize) -> bool {
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
        asked: Asked<'_>,
        n: usize,
        filters: &Filters,
        plan: Plan,
        context: &Context,
    ) -> Result<Lists> {
        check_n(n)?;
        let eligible = Eligible::new(filters, self.n_items())?;
        if let Some(each) = &filters.allow_each
            && each.n_rows() != asked.n_rows
        {
            return Err(Error::InvalidData(format!(
                "{} lists of allowed items for {} users; give one for each.",
                each.n_rows(),
                asked.n_rows
            )));
        }
        let width = n.min(self.n_items());
        let mut lists = Lists {
            items: vec![0; asked.n_rows * width],
            scores: vec![0.0; asked.n_rows * width],
            counts: vec![0; asked.n_rows],
            width,
        };
        if width == 0 || asked.n_rows == 0 {
            return Ok(lists);
        }
        if plan == Plan::Auto
            && asked.n_rows < LEAST_TOGETHER
            && filters.allow_each.is_none()
            && self.prunes_one(&asked, width, eligible.count)
        {
            self.few(&asked, &eligible, &mut lists, context)?;
            self.show(&asked, &mut lists, context);
            return Ok(lists);
        }
        let apart = worth_an_index(&eligible, self.n_items(), asked.n_rows);
        let path = self.choose(plan, &asked, width, eligible.count, apart, context.level).path;
        match (self.head(), path) {
            _ if filters.allow_each.is_some() || path == Path::Pairs => {
                self.one_by_one(asked, &eligible, filters.allow_each.as_ref(), &mut lists, context)?;
            }
            (Head::TargetAttention(target), _) => {
                let items = eligible.positions();
                Sweep { ranker: self, target, asked, items: &items }.lists(&mut lists, context)?;
            }
            _ => {
                let stubborn = plan == Plan::Pruned;
                self.together(asked, &eligible, path == Path::Pruned, apart, stubborn, &mut lists, context)?;
            }
        }
        self.show(&asked, &mut lists, context);
        Ok(lists)
    }

    /// Turns the scores of ready lists into those that come out.
    fn show(&self, asked: &Asked<'_>, lists: &mut Lists, context: &Context) {
        if self.link() == Link::Identity && asked.shift.is_none() {
            return;
        }
        let Lists { scores, counts, width, .. } = lists;
        let stays = context.runs_inline(counts.len().div_ceil(ROWS_PER_TASK));
        let show = |(row, (scores, count)): (usize, (&mut [f32], &mut i32))| {
            let shown = self.shown(asked, row, context.level);
            for score in &mut scores[..*count as usize] {
                *score = shown.score(key(*score, 0));
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
    fn one_by_one(
        &self,
        asked: Asked<'_>,
        eligible: &Eligible,
        each: Option<&Sets>,
        lists: &mut Lists,
        context: &Context,
    ) -> Result<()> {
        let width = lists.width;
        let Lists { items, scores, counts, .. } = lists;
        let list = |work: &mut Work, (row, ((items, scores), count)): Row<'_>| {
            context.cancel.check()?;
            let only = each.map(|each| each.row(row));
            let keys = self.one(&asked, row, width, eligible, only, context.level, work);
            write(keys, items, scores, count);
            Ok(())
        };
        let rows = items.chunks_mut(width).zip(scores.chunks_mut(width)).zip(counts).enumerate();
        context.try_for_each_task(rows, Work::default, list)
    }

    /// Blocks of users over the threads; see `engine`.
    fn together(
        &self,
        asked: Asked<'_>,
        eligible: &Eligible,
        prunes: bool,
        apart: bool,
        stubborn: bool,
        lists: &mut Lists,
        context: &Context,
    ) -> Result<()> {
        let (n, n_rows) = (lists.width, asked.n_rows);
        let all = prunes.then(|| self.index(Some(context)));
        let own = all.filter(|_| apart).map(|index| index.only(eligible));
        let index = own.as_ref().or(all);
        let front = |index| Front::new(index, self.vectors(), self.n_items(), n);
        let own_front = index.filter(|index| own.is_some() || !self.front(index).suits(index, n)).map(front);
        let compact = index.map(|index| (index, own_front.as_ref().unwrap_or_else(|| self.front(index))));
        let job = Job {
            ranker: self,
            asked,
            eligible,
            rows: OnceLock::new(),
            compact,
            apart,
            n,
            stubborn,
            worth: Worth::default(),
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
        let rows = rows.min(MOST_ROWS);
        let Lists { items, scores, counts, .. } = lists;
        let serve = |work: &mut engine::Work, (block, ((items, scores), counts)): Block<'_>| {
            context.cancel.check()?;
            let first = block * rows;
            let places = Places { items, scores, counts, width: n };
            job.block(first..(first + rows).min(n_rows), context, work, places)
        };
        let blocks = items.chunks_mut(rows * n).zip(scores.chunks_mut(rows * n)).zip(counts.chunks_mut(rows));
        context.try_for_each_task(blocks.enumerate(), engine::Work::default, serve)
    }

    /// Lists of a few users, one after the other, see `single`: on this thread, for one takes some 10 µs; but histories that
    /// speak for items take ten times as long, and others may help.
    fn few(&self, asked: &Asked<'_>, eligible: &Eligible, lists: &mut Lists, context: &Context) -> Result<()> {
        let (n, index) = (lists.width, self.index(Some(context)));
        // What all of them would pick is picked once.
        let own = (asked.n_rows > 4 && single::picks(eligible, self.n_items())).then(|| index.only(eligible));
        let index = own.as_ref().unwrap_or(index);
        let Lists { items, scores, counts, .. } = lists;
        let mut rows = items.chunks_mut(n).zip(scores.chunks_mut(n)).zip(counts).enumerate();
        let list = |(row, ((items, scores), count)): Row<'_>| {
            context.cancel.check()?;
            single::list(self, Some(index), asked, row, n, eligible, context.level, |keys| {
                write(keys, items, scores, count);
            });
            Ok(())
        };
        if asked.history.is_none() {
            return rows.try_for_each(list);
        }
        context.try_for_each_task(rows, || (), |(), row| list(row))
    }
}
