//! The best list that obeys rules, chosen from the first items of rankings.
//!
//! ```text
//! boosted(u, i) = score · f where score ≥ 0, score / f below 0;   f = f_i · g_ui, in f64, rounded once
//! ```
//!
//! The ranking by rules is in the order of (boosted score descending, position ascending). A list takes items from it:
//!
//! 1. Pins first, each at its place; they count in all quotas, and no quota keeps them out.
//! 2. Each other place gets the best item that is left and that no quota "at most" forbids.
//! 3. Where as many places are left as items are still owed to the quotas "at least", only an item that is owed may
//!    take the place; where there is none, nothing is owed any longer.
//! 4. With diversity λ, the best is chosen from the first 3 n of the ranking without pins, as far as it goes, by
//!    (1 − λ) · relevance − λ · (the largest likeness to what was chosen before, 0 at first), relevance being the boosted
//!    score scaled to 0 … 1 over these candidates; equal ones in the order of the ranking (Carbonell and Goldstein 1998,
//!    maximal marginal relevance).
//!
//! The candidates are the first items of up to five rankings by score: all items, the boosted ones (f > 1), those that a
//! quota "at least" counts, those that are both, and the pins. Whoever is not among them has a known bound, and a list is
//! `proven` where no choice could have gone to somebody below it. Lists that are not are made again from more candidates.

use std::collections::BTreeSet;

use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::{Error, Result};

use super::checks::check_n;
use super::diversity::{Diversity, POOL_PER_PLACE, Pool, Vectors};
use super::key::{key, position_of};
use super::output::Lists;

/// Lists that a thread makes before it looks for others.
const ROWS_PER_TASK: usize = 32;

/// Boosted items of more codes than this are not asked whether a quota forbids all of them.
const MAX_BOOSTED_CODES: usize = 8;

/// At most `limit` items with the same code; a negative code is not counted.
#[derive(Clone, Debug)]
pub struct AtMost {
    /// The code of each item.
    pub codes: Vec<i32>,
    /// How many of one code.
    pub limit: usize,
}

/// At least `count` of these items.
#[derive(Clone, Debug)]
pub struct AtLeast {
    /// One flag for each item.
    pub wanted: Vec<bool>,
    /// How many.
    pub count: usize,
}

/// Rules by position, checked once.
#[derive(Clone, Debug)]
pub struct ListRules {
    n_items: usize,
    factors: Vec<f64>,
    max_factor: f64,
    at_most: Vec<AtMost>,
    n_codes: Vec<usize>,
    at_least: Vec<AtLeast>,
    pins: Vec<(usize, u32)>,
    diversity: Option<Diversity>,
    /// Quotas "at most" that count every item with a factor above 1, and the few codes of these.
    quotas_of_boosted: Vec<(usize, Vec<usize>)>,
}

/// Rankings of several rows by score: row r holds `counts[r]` items, best first, from entry `r · width` on.
#[derive(Clone, Copy, Debug)]
pub struct Rankings<'a> {
    /// Positions of the items.
    pub items: &'a [i32],
    /// Their scores, without the last step.
    pub scores: &'a [f32],
    /// Length of each ranking.
    pub counts: &'a [i32],
    /// Entries of a row.
    pub width: usize,
    /// How many were asked for; a shorter ranking holds all there are.
    pub asked: usize,
    /// The score of each row from which on that holds, where rankings end early; see `extent`.
    pub floors: Option<&'a [f32]>,
}

/// All that lists are chosen from.
#[derive(Clone, Copy)]
pub struct Candidates<'a> {
    /// Of all items.
    pub all: Rankings<'a>,
    /// Of those with a factor above 1 alone.
    pub boosted: Option<Rankings<'a>>,
    /// Of those alone that a quota "at least" counts.
    pub wanted: Option<Rankings<'a>>,
    /// Of those alone that are boosted and wanted.
    pub wanted_boosted: Option<Rankings<'a>>,
    /// Of the pins alone, all of them.
    pub pins: Option<Rankings<'a>>,
    /// A factor from 0 to 1 for some items of each row.
    pub faded: Option<&'a Csr>,
    /// Unit vectors of all items, where diversity compares them (`n_items` × `d`).
    pub vectors: Option<Vectors<'a>>,
}

impl<'a> Rankings<'a> {
    fn check(&self, n_rows: usize, n_items: usize) -> Result<()> {
        let fits = self.items.len() == n_rows * self.width
            && self.scores.len() == self.items.len()
            && self.counts.len() == n_rows
            && self.floors.is_none_or(|floors| floors.len() == n_rows && floors.iter().all(|floor| !floor.is_nan()))
            && self.counts.iter().all(|&count| (0..=self.width as i64).contains(&i64::from(count)))
            && self.items.iter().all(|&item| (0..n_items as i64).contains(&i64::from(item)));
        if fits { Ok(()) } else { Err(Error::InvalidData("rankings: their arrays do not fit each other.".into())) }
    }

    fn row(&self, row: usize) -> (&'a [i32], &'a [f32]) {
        let (first, count) = (row * self.width, self.counts[row] as usize);
        (&self.items[first..first + count], &self.scores[first..first + count])
    }

    /// A score and an item that no item comes before that is not in the ranking; `None`: there is no other.
    fn end(&self, row: usize) -> Option<(f32, u32)> {
        let (items, scores) = self.row(row);
        let floor = self.floors.map_or(f32::NEG_INFINITY, |floors| floors[row]);
        match (items.last(), scores.last()) {
            (Some(&item), Some(&score)) if items.len() >= self.asked && score >= floor => Some((score, item as u32)),
            _ => (floor > f32::NEG_INFINITY).then_some((floor, u32::MAX)),
        }
    }
}

/// A score after its factor: a greater factor is never worse, whatever the sign.
fn boosted(score: f32, factor: f64) -> f32 {
    if factor == 1.0 {
        score
    } else if score >= 0.0 {
        (f64::from(score) * factor) as f32
    } else {
        (f64::from(score) / factor) as f32
    }
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    /// Boosted keys and scores, best first.
    ranking: Vec<(u64, f32)>,
    open: Vec<bool>,
    counts: Vec<Vec<u32>>,
    owed: Vec<usize>,
    /// The pins of the row that may be listed, by place.
    pinned: Vec<(usize, u32, f32)>,
    /// Places in `ranking`, in the order of the choice.
    chosen: Vec<usize>,
    pool: Pool,
}

/// What stands below the candidates of a row: no item there that is wanted, or that is any, has a greater key; 0: none.
#[derive(Clone, Copy)]
struct Below {
    wanted: u64,
    any: u64,
    /// The same of items with a factor of at most 1.
    plain_wanted: u64,
    plain: u64,
}

impl ListRules {
    /// Checks rules for `n_items` items: boosts (one positive factor for each item, or none), quotas, and pins as (place from
    /// 1, item), by rising place.
    pub fn new(
        n_items: usize,
        factors: Vec<f64>,
        at_most: Vec<AtMost>,
        at_least: Vec<AtLeast>,
        pins: Vec<(usize, u32)>,
        diversity: Option<Diversity>,
    ) -> Result<Self> {
        let bad = |message: &str| Err(Error::InvalidData(format!("rules: {message}.")));
        let codes = at_most.iter().map(|quota| &quota.codes).chain(diversity.iter().filter_map(|d| d.codes.as_ref()));
        let lengths = codes.map(Vec::len).chain(at_least.iter().map(|quota| quota.wanted.len()));
        if lengths.into_iter().any(|n| n != n_items) || (!factors.is_empty() && factors.len() != n_items) {
            return bad("there is not one entry for each item");
        }
        if factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0)) {
            return bad("a factor is not a positive number");
        }
        if pins.iter().any(|&(place, item)| place == 0 || item as usize >= n_items)
            || pins.windows(2).any(|pair| pair[0].0 >= pair[1].0)
        {
            return bad("a pin has no place or no item of its own");
        }
        if diversity.as_ref().is_some_and(|diversity| !(0.0..=1.0).contains(&diversity.weight)) {
            return bad("diversity is not from 0 to 1");
        }
        let n_codes =
            at_most.iter().map(|quota| quota.codes.iter().map(|&code| code + 1).max().unwrap_or(0).max(0) as usize);
        let boosted: Vec<_> = (0..factors.len()).filter(|&item| factors[item] > 1.0).collect();
        let quotas_of_boosted = at_most.iter().enumerate().filter_map(|(at, quota)| {
            let codes: BTreeSet<_> = boosted.iter().map(|&item| quota.codes[item]).collect();
            let few = (1..=MAX_BOOSTED_CODES).contains(&codes.len()) && codes.iter().all(|&code| code >= 0);
            few.then(|| (at, codes.into_iter().map(|code| code as usize).collect()))
        });
        Ok(Self {
            n_items,
            quotas_of_boosted: quotas_of_boosted.collect(),
            max_factor: factors.iter().fold(1.0, |most, &factor| f64::max(most, factor)),
            factors,
            n_codes: n_codes.collect(),
            at_most,
            at_least,
            pins,
            diversity,
        })
    }

    /// The lists of `n` items, and whether each is proven to be the best that obeys. Scores are those of the candidates.
    pub fn arrange(&self, from: &Candidates<'_>, n: usize, context: &Context) -> Result<(Lists, Vec<bool>)> {
        check_n(n)?;
        let n_rows = from.all.counts.len();
        for rankings in
            [Some(from.all), from.boosted, from.wanted, from.wanted_boosted, from.pins].into_iter().flatten()
        {
            rankings.check(n_rows, self.n_items)?;
        }
        if let Some(faded) = from.faded
            && (faded.n_rows() != n_rows
                || faded.n_columns() != self.n_items
                || faded.values().iter().any(|factor| !(*factor > 0.0 && *factor <= 1.0)))
        {
            return Err(Error::InvalidData("rules: factors of single users must be in (0, 1].".into()));
        }
        if let Some((vectors, d)) = from.vectors
            && self.n_items.checked_mul(d) != Some(vectors.len())
        {
            return Err(Error::InvalidData("rules: there is not one vector for each item.".into()));
        }
        let width = n.min(self.n_items);
        let mut lists = Lists::empty(n_rows, width);
        let mut proven = vec![true; n_rows];
        if width == 0 {
            return Ok((lists, proven));
        }
        let Lists { items, scores, counts, .. } = &mut lists;
        let parts = items
            .chunks_mut(width * ROWS_PER_TASK)
            .zip(scores.chunks_mut(width * ROWS_PER_TASK))
            .zip(counts.chunks_mut(ROWS_PER_TASK).zip(proven.chunks_mut(ROWS_PER_TASK)));
        let arrange = |scratch: &mut Scratch, (part, ((items, scores), (counts, proven))): (usize, Part<'_>)| {
            context.cancel.check()?;
            let lists = items.chunks_mut(width).zip(scores.chunks_mut(width)).zip(counts).zip(proven);
            for (at, (((items, scores), count), proven)) in lists.enumerate() {
                *proven = self.choose(from, part * ROWS_PER_TASK + at, width, context.level, scratch);
                *count = write(scratch, items, scores) as i32;
            }
            Ok(())
        };
        context.try_for_each_task(parts.enumerate(), Scratch::default, arrange)?;
        Ok((lists, proven))
    }

    /// Fills `pinned` and `chosen`; whether no other list would have been better.
    fn choose(&self, from: &Candidates<'_>, row: usize, n: usize, level: Level, scratch: &mut Scratch) -> bool {
        let below = self.rank(from, row, scratch);
        let Scratch { ranking, open, counts, owed, pinned, chosen, .. } = &mut *scratch;
        open.clear();
        open.resize(ranking.len(), true);
        counts.resize(self.at_most.len(), Vec::new());
        for (counts, &n_codes) in counts.iter_mut().zip(&self.n_codes) {
            counts.resize(n_codes, 0);
        }
        owed.clear();
        owed.extend(self.at_least.iter().map(|quota| quota.count));
        chosen.clear();
        pinned.retain(|&(place, ..)| place <= n);
        for &(_, item, _) in &*pinned {
            self.count(item, counts, owed);
            if let Some(at) = ranking.iter().position(|&(key, _)| position_of(key) == item) {
                ranking.remove(at);
                open.pop();
            }
        }
        let left = n - scratch.pinned.len();
        let proven = self.fill(from, below, n, left, level, scratch);
        let Scratch { ranking, counts, pinned, chosen, .. } = scratch;
        for item in chosen.iter().map(|&at| position_of(ranking[at].0)).chain(pinned.iter().map(|&(_, item, _)| item)) {
            for (counts, quota) in counts.iter_mut().zip(&self.at_most) {
                if let Some(count) = counts.get_mut(quota.codes[item as usize] as usize) {
                    *count = 0;
                }
            }
        }
        proven
    }

    /// The candidates of a row in the order of their boosted scores, its pins, and what is below them.
    fn rank(&self, from: &Candidates<'_>, row: usize, scratch: &mut Scratch) -> Below {
        let Scratch { ranking, pinned, .. } = scratch;
        ranking.clear();
        let (faded_items, faded) =
            from.faded.map_or((&[][..], &[][..]), |faded| (faded.row(row), faded.row_values(row)));
        for rankings in [Some(from.all), from.boosted, from.wanted, from.wanted_boosted].into_iter().flatten() {
            let (items, scores) = rankings.row(row);
            ranking.extend(items.iter().zip(scores).map(|(&item, &score)| {
                let item = item as u32;
                let mut factor = self.factors.get(item as usize).copied().unwrap_or(1.0);
                if let Ok(at) = faded_items.binary_search(&item) {
                    factor *= f64::from(faded[at]);
                }
                (key(boosted(score, factor), item), score)
            }));
        }
        if from.boosted.is_some()
            || from.wanted.is_some()
            || from.wanted_boosted.is_some()
            || !self.factors.is_empty()
            || !faded_items.is_empty()
        {
            // Rankings are in order but for what factors move: a stable sort makes use of that.
            ranking.sort_by_key(|ranked| std::cmp::Reverse(ranked.0));
            ranking.dedup_by_key(|entry| entry.0);
        }
        pinned.clear();
        if let Some(pins) = from.pins {
            let (items, scores) = pins.row(row);
            for &(place, item) in &self.pins {
                if let Some(at) = items.iter().position(|&each| each as u32 == item) {
                    pinned.push((place, item, scores[at]));
                }
            }
        }
        // A boosted item may come before one of an equal boosted score and a lower position.
        let bound = |rankings: Rankings<'_>| match rankings.end(row) {
            Some((score, item)) if self.max_factor == 1.0 => (key(score, item), key(score, item)),
            Some((score, item)) => (key(score, item), key(boosted(score, self.max_factor), 0)),
            None => (0, 0),
        };
        let (rest, most) = bound(from.all);
        let boosted = from.boosted.map_or(most, |rankings| most.min(bound(rankings).1));
        let (plain, raised) = from.wanted.map_or((rest, boosted), bound);
        let raised = from.wanted_boosted.map_or(raised, |rankings| raised.min(bound(rankings).1));
        let plain_wanted = rest.min(plain);
        Below { wanted: plain_wanted.max(boosted.min(raised)), any: rest.max(boosted), plain_wanted, plain: rest }
    }

    /// Chooses for the places that are `left`; whether nobody below the candidates had to be asked.
    fn fill(
        &self,
        from: &Candidates<'_>,
        below: Below,
        n: usize,
        mut left: usize,
        level: Level,
        scratch: &mut Scratch,
    ) -> bool {
        let in_pool = match &self.diversity {
            Some(diversity) => {
                let wanted = n.saturating_mul(POOL_PER_PLACE);
                let Some(end) = pool_end(&scratch.ranking, wanted, below) else { return false };
                let Scratch { ranking, pinned, pool, .. } = &mut *scratch;
                pool.start(diversity, &ranking[..end], from.vectors, level);
                for &(_, item, _) in &*pinned {
                    pool.compare(diversity, from.vectors, item, level);
                }
                end
            }
            None => 0,
        };
        let mut first = 0;
        while left > 0 {
            let Scratch { ranking, open, counts, owed, chosen, pool, .. } = &mut *scratch;
            let owed_now: usize = owed.iter().sum();
            let reserved = owed_now > 0 && owed_now >= left;
            let mut may = |at: usize| {
                if !open[at] {
                    return false;
                }
                let item = position_of(ranking[at].0) as usize;
                // Counts only grow, so what is forbidden stays so.
                open[at] = self.at_most.iter().zip(&*counts).all(|(quota, counts)| {
                    counts.get(quota.codes[item] as usize).is_none_or(|&count| (count as usize) < quota.limit)
                });
                open[at] && (!reserved || self.at_least.iter().zip(&*owed).any(|(q, &owed)| owed > 0 && q.wanted[item]))
            };
            let best = self.diversity.as_ref().and_then(|_| pool.best(&mut may));
            let found = best.or_else(|| (first.max(in_pool)..ranking.len()).find(|&at| may(at)));
            let bound = match (reserved, self.forbids_boosted(counts)) {
                (false, false) => below.any,
                (true, false) => below.wanted,
                (false, true) => below.plain,
                (true, true) => below.plain_wanted,
            };
            let Some(at) = found else {
                if bound != 0 {
                    return false;
                }
                if reserved {
                    owed.fill(0);
                    continue;
                }
                return true;
            };
            if at >= in_pool && ranking[at].0 < bound {
                return false;
            }
            open[at] = false;
            pool.remove(at);
            chosen.push(at);
            left -= 1;
            let item = position_of(ranking[at].0);
            self.count(item, counts, owed);
            while first < open.len() && !open[first] {
                first += 1;
            }
            if let Some(diversity) = &self.diversity
                && left > 0
            {
                pool.compare(diversity, from.vectors, item, level);
            }
        }
        true
    }

    /// Whether quotas leave no room for any item with a factor above 1.
    fn forbids_boosted(&self, counts: &[Vec<u32>]) -> bool {
        self.quotas_of_boosted
            .iter()
            .any(|(at, codes)| codes.iter().all(|&code| counts[*at][code] as usize >= self.at_most[*at].limit))
    }

    fn count(&self, item: u32, counts: &mut [Vec<u32>], owed: &mut [usize]) {
        for (counts, quota) in counts.iter_mut().zip(&self.at_most) {
            if let Some(count) = counts.get_mut(quota.codes[item as usize] as usize) {
                *count += 1;
            }
        }
        for (owed, quota) in owed.iter_mut().zip(&self.at_least) {
            if quota.wanted[item as usize] {
                *owed = owed.saturating_sub(1);
            }
        }
    }
}

/// Some lists on their way out: items, scores, lengths, and whether they are proven.
type Part<'a> = ((&'a mut [i32], &'a mut [f32]), (&'a mut [i32], &'a mut [bool]));

/// Where the first `wanted` of the ranking end, which nobody below the candidates belongs to; `None`: that is not known.
fn pool_end(ranking: &[(u64, f32)], wanted: usize, below: Below) -> Option<usize> {
    match ranking.get(wanted - 1) {
        Some(&(last, _)) => (last >= below.any).then_some(wanted),
        None => (below.any == 0).then_some(ranking.len()),
    }
}

/// Writes the pins at their places and the chosen between them, and behind the last what is left of the pins; how many.
fn write(scratch: &Scratch, items: &mut [i32], scores: &mut [f32]) -> usize {
    let Scratch { ranking, pinned, chosen, .. } = scratch;
    let mut pins = pinned.iter().peekable();
    let mut chosen = chosen.iter().map(|&at| (position_of(ranking[at].0), ranking[at].1));
    let total = pinned.len() + chosen.len();
    for place in 0..total {
        let pin = pins.next_if(|&&(wanted, ..)| wanted == place + 1).map(|&(_, item, score)| (item, score));
        let next = pin.or_else(|| chosen.next()).or_else(|| pins.next().map(|&(_, item, score)| (item, score)));
        if let Some((item, score)) = next {
            (items[place], scores[place]) = (item as i32, score);
        }
    }
    total
}

#[cfg(test)]
mod tests;
