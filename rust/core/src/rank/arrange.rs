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
//! proven where no choice could have gone to somebody below it. Of a list that is not it is known which rankings it `Lacks`.

use std::collections::BTreeSet;

use crate::runtime::simd::Level;
use crate::{Error, Result};

use super::diversity::{Diversity, POOL_PER_PLACE, Pool, Vectors};
use super::key::{key, position_of, score_of};

mod lengths;
mod ready;

pub use lengths::{Lengths, RowRankings, RulesCall};
pub use ready::{RankingArrays, ReadyRankings};

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
    /// The items of each kind and of the pins, a bit for each item.
    bits: [Option<Vec<u64>>; PINS + 1],
}

/// The rankings that a list is chosen from, by what they hold: all items, the boosted ones, the wanted ones (that a quota "at
/// least" counts), and those that are both.
pub const N_KINDS: usize = 4;
/// All items.
pub const ALL: usize = 0;
/// Those with a factor above 1.
pub const BOOSTED: usize = 1;
/// Those that a quota "at least" counts.
pub const WANTED: usize = 2;
/// Those that are both.
pub const WANTED_BOOSTED: usize = 3;
/// The place of the ranking of the pins, behind those of each kind.
pub const PINS: usize = N_KINDS;

/// Of which kinds more would have to be known for a list to be proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks(pub [bool; N_KINDS]);

impl Lacks {
    /// Whether there are any.
    pub fn any(self) -> bool {
        self.0.contains(&true)
    }
}

/// The first items of a ranking of one row by score.
#[derive(Clone, Copy, Debug)]
pub struct Ranking<'a> {
    /// Scores, without the last step, and items, best first.
    pub keys: &'a [u64],
    /// How many were asked for; a shorter ranking holds all there are.
    pub asked: usize,
    /// The score from which on that holds, where the ranking ends early; −∞ elsewhere.
    pub floor: f32,
}

/// All that a list is chosen from.
#[derive(Clone, Copy)]
pub struct Candidates<'a> {
    /// A ranking of each kind, of all items at least.
    pub rankings: [Option<Ranking<'a>>; N_KINDS],
    /// The pins that may be listed.
    pub pins: &'a [u64],
    /// Some items, ascending, and a factor from 0 to 1 for each.
    pub faded: (&'a [u32], &'a [f32]),
    /// Unit vectors of all items, where diversity compares them (`n_items` × `d`).
    pub vectors: Option<Vectors<'a>>,
}

impl Ranking<'_> {
    /// A score and an item that no item comes before that is not in the ranking; `None`: there is no other.
    fn end(&self) -> Option<(f32, u32)> {
        match self.keys.last() {
            Some(&last) if self.is_full() && score_of(last) >= self.floor => Some((score_of(last), position_of(last))),
            _ => (self.floor > f32::NEG_INFINITY).then_some((self.floor, u32::MAX)),
        }
    }

    /// Whether it holds as many as were asked for.
    fn is_full(self) -> bool {
        self.keys.len() >= self.asked
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
pub struct Scratch {
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
    /// Of items with a factor of at most 1.
    plain: u64,
    plain_wanted: u64,
    boosted: u64,
    boosted_wanted: u64,
}

impl Below {
    /// The rankings at whose ends something could have a greater key.
    fn above(self, key: u64, wanted: bool, forbids_boosted: bool) -> Lacks {
        let (plain, boosted) =
            if wanted { (self.plain_wanted, self.boosted_wanted) } else { (self.plain, self.boosted) };
        let (plain, boosted) = (plain > key, boosted > key && !forbids_boosted);
        Lacks(if wanted { [false, false, plain, boosted] } else { [plain, boosted, false, false] })
    }
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
        let rules = Self {
            n_items,
            quotas_of_boosted: quotas_of_boosted.collect(),
            max_factor: factors.iter().fold(1.0, |most, &factor| f64::max(most, factor)),
            factors,
            n_codes: n_codes.collect(),
            at_most,
            at_least,
            pins,
            diversity,
            bits: Default::default(),
        };
        rules.with_allowed(&vec![true; n_items])
    }

    /// Chooses the list of a row; what is not known of it, if another could have been better.
    pub fn choose(&self, from: &Candidates<'_>, n: usize, level: Level, scratch: &mut Scratch) -> Lacks {
        let below = self.rank(from, scratch);
        let Scratch { ranking, open, counts, owed, pinned, chosen, .. } = &mut *scratch;
        open.clear();
        open.resize(ranking.len(), true);
        self.size_counts(counts);
        owed.clear();
        owed.extend(self.at_least.iter().map(|quota| quota.count));
        chosen.clear();
        pinned.retain(|&(place, ..)| place <= n);
        for &(_, item, _) in &*pinned {
            self.count_limited(item, counts);
            self.count_wanted(item, owed);
            if let Some(at) = ranking.iter().position(|&(key, _)| position_of(key) == item) {
                ranking.remove(at);
                open.pop();
            }
        }
        let left = n - scratch.pinned.len();
        let lacks = self.fill(from, below, n, left, level, scratch);
        let Scratch { ranking, counts, pinned, chosen, .. } = scratch;
        let listed = chosen.iter().map(|&at| position_of(ranking[at].0)).chain(pinned.iter().map(|&(_, item, _)| item));
        self.forget(listed, counts);
        lacks
    }

    fn size_counts(&self, counts: &mut Vec<Vec<u32>>) {
        counts.resize(self.at_most.len(), Vec::new());
        for (counts, &n_codes) in counts.iter_mut().zip(&self.n_codes) {
            counts.resize(n_codes, 0);
        }
    }

    /// Sets the counts of these items back.
    fn forget(&self, items: impl Iterator<Item = u32>, counts: &mut [Vec<u32>]) {
        for item in items {
            for (counts, quota) in counts.iter_mut().zip(&self.at_most) {
                if let Some(count) = counts.get_mut(quota.codes[item as usize] as usize) {
                    *count = 0;
                }
            }
        }
    }

    /// The candidates of a row in the order of their boosted scores, its pins, and what is below them.
    fn rank(&self, from: &Candidates<'_>, scratch: &mut Scratch) -> Below {
        let Scratch { ranking, pinned, .. } = scratch;
        ranking.clear();
        let (faded_items, faded) = from.faded;
        let keeps_order = self.factors.is_empty() && faded_items.is_empty();
        for &each in from.rankings.iter().flatten().flat_map(|ranking| ranking.keys) {
            let (score, item) = (score_of(each), position_of(each));
            if keeps_order {
                ranking.push((each, score));
                continue;
            }
            let mut factor = self.factors.get(item as usize).copied().unwrap_or(1.0);
            if let Ok(at) = faded_items.binary_search(&item) {
                factor *= f64::from(faded[at]);
            }
            ranking.push((if factor == 1.0 { each } else { key(boosted(score, factor), item) }, score));
        }
        if !keeps_order || from.rankings[1..].iter().flatten().any(|ranking| !ranking.keys.is_empty()) {
            // Rankings are in order but for what factors move: a stable sort makes use of that.
            ranking.sort_by_key(|ranked| std::cmp::Reverse(ranked.0));
            ranking.dedup_by_key(|entry| entry.0);
        }
        pinned.clear();
        for &(place, item) in self.pins.iter().filter(|_| !from.pins.is_empty()) {
            if let Some(&key) = from.pins.iter().find(|&&key| position_of(key) == item) {
                pinned.push((place, item, score_of(key)));
            }
        }
        // A boosted item may come before one of an equal boosted score and a lower position.
        let end = |ranking: Ranking<'_>| match ranking.end() {
            Some((score, item)) if self.max_factor == 1.0 => (key(score, item), key(score, item)),
            Some((score, item)) => (key(score, item), key(boosted(score, self.max_factor), 0)),
            None => (0, 0),
        };
        let [all, boosted, wanted, wanted_boosted] = from.rankings;
        let (plain, most) = all.map_or((u64::MAX, u64::MAX), end);
        let boosted = boosted.map_or(most, |ranking| most.min(end(ranking).1));
        let (plain_wanted, raised) = wanted.map_or((plain, boosted), end);
        let raised = wanted_boosted.map_or(raised, |ranking| raised.min(end(ranking).1));
        Below { plain, plain_wanted: plain.min(plain_wanted), boosted, boosted_wanted: boosted.min(raised) }
    }

    /// Chooses for the places that are `left`; where somebody below the candidates could have had one, ends there.
    fn fill(
        &self,
        from: &Candidates<'_>,
        below: Below,
        n: usize,
        mut left: usize,
        level: Level,
        scratch: &mut Scratch,
    ) -> Lacks {
        let in_pool = match &self.diversity {
            Some(diversity) => {
                let wanted = n.saturating_mul(POOL_PER_PLACE);
                let last = scratch.ranking.get(wanted - 1).map_or(0, |ranked| ranked.0);
                let lacks = below.above(last, false, false);
                if lacks.any() {
                    return lacks;
                }
                let end = wanted.min(scratch.ranking.len());
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
                let item = position_of(ranking[at].0);
                // Counts only grow, so what is forbidden stays so.
                open[at] = self.permits(item, counts);
                let wants = || self.at_least.iter().zip(&*owed).any(|(q, &owed)| owed > 0 && q.wanted[item as usize]);
                open[at] && (!reserved || wants())
            };
            let best = self.diversity.as_ref().and_then(|_| pool.best(&mut may));
            let found = best.or_else(|| (first.max(in_pool)..ranking.len()).find(|&at| may(at)));
            let reached = found.map_or(0, |at| if at < in_pool { u64::MAX } else { ranking[at].0 });
            let lacks = below.above(reached, reserved, self.forbids_boosted(counts));
            if lacks.any() {
                return lacks;
            }
            let Some(at) = found else {
                if reserved {
                    owed.fill(0);
                    continue;
                }
                return Lacks::default();
            };
            open[at] = false;
            pool.remove(at);
            chosen.push(at);
            left -= 1;
            let item = position_of(ranking[at].0);
            self.count_limited(item, counts);
            self.count_wanted(item, owed);
            while first < open.len() && !open[first] {
                first += 1;
            }
            if let Some(diversity) = &self.diversity
                && left > 0
            {
                pool.compare(diversity, from.vectors, item, level);
            }
        }
        Lacks::default()
    }

    /// Whether quotas leave no room for any item with a factor above 1.
    fn forbids_boosted(&self, counts: &[Vec<u32>]) -> bool {
        self.quotas_of_boosted
            .iter()
            .any(|(at, codes)| codes.iter().all(|&code| counts[*at][code] as usize >= self.at_most[*at].limit))
    }

    /// Whether no quota "at most" keeps an item out.
    fn permits(&self, item: u32, counts: &[Vec<u32>]) -> bool {
        self.at_most.iter().zip(counts).all(|(quota, counts)| {
            counts.get(quota.codes[item as usize] as usize).is_none_or(|&count| (count as usize) < quota.limit)
        })
    }

    fn count_limited(&self, item: u32, counts: &mut [Vec<u32>]) {
        for (counts, quota) in counts.iter_mut().zip(&self.at_most) {
            if let Some(count) = counts.get_mut(quota.codes[item as usize] as usize) {
                *count += 1;
            }
        }
    }

    fn count_wanted(&self, item: u32, owed: &mut [usize]) {
        for (owed, quota) in owed.iter_mut().zip(&self.at_least) {
            if quota.wanted[item as usize] {
                *owed = owed.saturating_sub(1);
            }
        }
    }
}

impl Scratch {
    /// Writes the chosen list: the pins at their places and the others between them, and behind the last what is left of the
    /// pins; how many.
    pub fn write(&self, items: &mut [i32], scores: &mut [f32]) -> i32 {
        let Self { ranking, pinned, chosen, .. } = self;
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
        total as i32
    }
}

#[cfg(test)]
mod tests;
