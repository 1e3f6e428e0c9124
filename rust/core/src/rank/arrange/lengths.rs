//! How long the rankings are that lists by rules are chosen from, and from which score on their items matter.
//!
//! What no factor moves down and no quota keeps out is in the first n of all, or boosted, wanted or a pin. Of boosted items
//! those alone are needed that their factor could lift into the list, and of wanted ones as many as quotas want: most lists
//! are proven by that, and the others ask for longer rankings of what they lack.

use crate::data::Csr;
use crate::runtime::simd::Level;
use crate::{Error, Result};

use super::super::diversity::Vectors;
use super::super::key::{Best, position_of, score_of};
use super::{
    ALL, BOOSTED, Candidates, Lacks, ListRules, N_KINDS, PINS, POOL_PER_PLACE, Ranking, Scratch, WANTED, WANTED_BOOSTED,
};

/// Rankings are that much longer than lists, so that there is somebody for the place of who may not have it.
const MORE: usize = 3;

/// Among so few items the best wanted one is searched alone, and another in the few lists where a quota forbids it.
const MAX_SEARCHED_TWICE: usize = 8192;

/// A ranking that was too short is asked for again so many times as long.
const GROWTH: usize = 4;

/// The lengths of rankings at first, by kind, and of the pins; 0 where there is no such ranking.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    first: [usize; N_KINDS + 1],
    n_items: usize,
}

impl Lengths {
    /// Those for lists of `n`; `fades`: factors of single users move items down.
    pub fn new(rules: &ListRules, n: usize, fades: bool) -> Self {
        let more = n.saturating_add(MORE.max(n / 3));
        let limits = !rules.at_most.is_empty();
        let moves_down = fades || rules.factors.iter().any(|&factor| factor < 1.0);
        let all = if limits || moves_down { more } else { n };
        let pool = rules.diversity.as_ref().map_or(0, |_| n.saturating_mul(POOL_PER_PLACE) + rules.pins.len());
        let owed: usize = rules.at_least.iter().map(|quota| quota.count).sum();
        let boosts = rules.max_factor > 1.0;
        let spare = usize::from((limits || moves_down) && rules.n_items > MAX_SEARCHED_TWICE);
        let mut first = [0; N_KINDS + 1];
        first[ALL] = all.max(pool);
        first[BOOSTED] = if boosts { n.saturating_add(MORE) } else { 0 };
        first[WANTED] = if owed > 0 { owed + spare } else { 0 };
        // The last of a ranking of boosted items proves nothing by itself: another may come to the same score.
        first[WANTED_BOOSTED] = if boosts && owed > 0 { owed + 1 } else { 0 };
        first[PINS] = if rules.pins.is_empty() { 0 } else { rules.pins.len() + 1 };
        Self { first, n_items: rules.n_items }
    }

    /// The shortest that make sense, so that tests see longer ones asked for.
    #[cfg(test)]
    pub fn shortest(mut self) -> Self {
        self.first = self.first.map(|n| n.min(1));
        self
    }

    /// The length of a ranking that is asked for again so many times.
    pub fn get(&self, kind: usize, times: usize) -> usize {
        let n = GROWTH.saturating_pow(times as u32).saturating_mul(self.first[kind]);
        n.min(self.n_items + 1)
    }

    /// Whether there is such a ranking.
    pub fn has(&self, kind: usize) -> bool {
        self.first[kind] > 0
    }
}

/// A little below what becomes `score` by the factor, so that what is below does not become it by rounding.
fn lowered(score: f32, factor: f64) -> f32 {
    const ROOM: f64 = 1e-6;
    let score = f64::from(score);
    let low = if score >= 0.0 { score / factor * (1.0 - ROOM) } else { score * factor * (1.0 + ROOM) };
    ((low - f64::from(f32::MIN_POSITIVE)) as f32).next_down()
}

impl ListRules {
    /// The items of a kind or, at `PINS`, of the pins, a bit for each item; none where these are all, or there are none.
    pub fn bits(&self, kind: usize) -> Option<&[u64]> {
        self.bits[kind].as_deref()
    }

    /// The same rules for lists that hold nothing but these items, a flag for each.
    pub fn with_allowed(mut self, allowed: &[bool]) -> Result<Self> {
        if allowed.len() != self.n_items {
            return Err(Error::InvalidData("rules: there is not one flag for each item.".into()));
        }
        self.pack(allowed);
        Ok(self)
    }

    /// Makes the bits.
    fn pack(&mut self, allowed: &[bool]) {
        let boosted = |item: usize| self.factors.get(item).is_some_and(|&factor| factor > 1.0);
        let wanted = |item: usize| self.at_least.iter().any(|quota| quota.wanted[item]);
        let mut pinned = vec![false; self.n_items];
        self.pins.iter().for_each(|&(_, pin)| pinned[pin as usize] = true);
        let pack = |exists: bool, holds: &dyn Fn(usize) -> bool| {
            let bit = |bits: &mut [u64], item: usize| bits[item / 64] |= 1 << (item % 64);
            let mut bits = vec![0; self.n_items.div_ceil(64)];
            let items = (0..self.n_items).filter(|&item| exists && allowed[item] && holds(item));
            items.for_each(|item| bit(&mut bits, item));
            exists.then_some(bits)
        };
        let (boosts, wants) = (self.max_factor > 1.0, !self.at_least.is_empty());
        self.bits = [
            pack(!allowed.iter().all(|&allowed| allowed), &|_| true),
            pack(boosts, &boosted),
            pack(wants, &wanted),
            pack(boosts && wants, &|item| boosted(item) && wanted(item)),
            pack(!self.pins.is_empty(), &|item| pinned[item]),
        ];
    }

    /// The score from which on boosted items of another ranking can come before the last of this one; ∞ where it holds all
    /// items.
    pub fn lifted_to_last(&self, ranking: Ranking<'_>) -> f32 {
        match ranking.keys.last() {
            Some(&last) if ranking.is_full() => lowered(score_of(last), self.max_factor),
            _ if ranking.floor > f32::NEG_INFINITY => lowered(ranking.floor, self.max_factor),
            _ => f32::INFINITY,
        }
    }

    /// The same for the last of `all` that a list of `n` would take, had quotas and factors nothing but it to choose from: a
    /// guess, which the choice looks at once more.
    pub fn lifted_into_list(&self, all: Ranking<'_>, n: usize, faded: &[u32], scratch: &mut Scratch) -> f32 {
        if !all.is_full() || self.diversity.is_some() {
            return self.lifted_to_last(all);
        }
        let Scratch { counts, .. } = scratch;
        self.size_counts(counts);
        let (mut left, mut end) = (n, 0);
        for &key in all.keys {
            let item = position_of(key);
            let moved_down = self.factors.get(item as usize).is_some_and(|&factor| factor < 1.0);
            if left > 0 && !moved_down && self.permits(item, counts) && faded.binary_search(&item).is_err() {
                self.count_limited(item, counts);
                left -= 1;
            }
            end += usize::from(left > 0);
        }
        self.forget(all.keys.iter().map(|&key| position_of(key)), counts);
        self.lifted_to_last(Ranking { keys: &all.keys[..(end + 1).min(all.keys.len())], asked: 0, ..all })
    }
}

/// What lists by rules are made with, the same for every row.
#[derive(Clone, Copy)]
pub struct RulesCall<'a> {
    /// The rules.
    pub rules: &'a ListRules,
    /// A factor from 0 to 1 for some items of each row.
    pub faded: Option<&'a Csr>,
    /// Unit vectors of all items, where diversity compares them (`n_items` × `d`).
    pub vectors: Option<Vectors<'a>>,
    /// How long rankings are.
    pub lengths: Lengths,
    /// Length of a list.
    pub n: usize,
}

impl<'a> RulesCall<'a> {
    fn faded(&self, row: usize) -> (&'a [u32], &'a [f32]) {
        self.faded.map_or((&[], &[]), |faded| (faded.row(row), faded.row_values(row)))
    }

    /// Chooses the list of a row.
    pub fn choose(&self, row: usize, from: &RowRankings<'_>, level: Level, scratch: &mut Scratch) -> Lacks {
        let &RowRankings { rankings, pins } = from;
        let from = Candidates { rankings, pins, faded: self.faded(row), vectors: self.vectors };
        self.rules.choose(&from, self.n, level, scratch)
    }

    /// Whether the rankings of all items and of the boosted ones hold nothing that a quota "at least" wants, so that the list
    /// of their row will lack it.
    pub fn holds_nothing_wanted(&self, from: &RowRankings<'_>) -> bool {
        let Some(wanted) = self.rules.bits(WANTED).filter(|_| self.lengths.has(WANTED)) else { return false };
        let is_wanted = |&key: &u64| wanted[position_of(key) as usize / 64] >> (position_of(key) % 64) & 1 == 1;
        let is_cut = from.rankings[ALL].is_none_or(Ranking::is_full);
        let [all, boosted, ..] = from.rankings;
        let keys = [all, boosted].into_iter().flatten().flat_map(|ranking| ranking.keys);
        is_cut && !keys.chain(from.pins).any(is_wanted)
    }

    /// The score below which a ranking of some kind, asked for so many times before, holds nothing that is needed, in view of
    /// the others of its row; ∞: nothing at all.
    pub fn floor(&self, kind: usize, times: usize, row: usize, from: &RowRankings<'_>, scratch: &mut Scratch) -> f32 {
        match (kind, times, from.rankings) {
            (BOOSTED, 0, [Some(all), ..]) => self.rules.lifted_into_list(all, self.n, self.faded(row).0, scratch),
            (BOOSTED, 1, [Some(all), ..]) => self.rules.lifted_to_last(all),
            // The wanted ones that are boosted are wanted.
            (WANTED, 0, [.., Some(both)]) => {
                let last = self.lengths.get(WANTED, 0).checked_sub(1).and_then(|at| both.keys.get(at));
                last.map_or(f32::NEG_INFINITY, |&last| score_of(last))
            }
            (WANTED_BOOSTED, 0, [_, _, Some(wanted), _]) => self.rules.lifted_to_last(wanted),
            _ => f32::NEG_INFINITY,
        }
    }
}

/// The rankings of one row that are there.
pub struct RowRankings<'a> {
    /// Of each kind.
    pub rankings: [Option<Ranking<'a>>; N_KINDS],
    /// The pins that may be listed.
    pub pins: &'a [u64],
}

impl<'a> RowRankings<'a> {
    /// The lists of each kind and of the pins with their floors; one of no place was not asked for.
    pub fn of(lists: [(&'a mut Best, f32); PINS + 1]) -> Self {
        let [kinds @ .., pins] = lists.map(|(best, floor)| {
            let asked = best.n();
            Ranking { keys: best.sorted(), asked, floor }
        });
        Self { rankings: kinds.map(|ranking| Some(ranking).filter(|ranking| ranking.asked > 0)), pins: pins.keys }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::key::key;
    use super::super::AtMost;
    use super::*;

    fn rules(max_factor: f64, kinds: &[i32]) -> ListRules {
        let mut factors = vec![1.0; kinds.len()];
        factors[0] = max_factor;
        let quota = AtMost { codes: kinds.to_vec(), limit: 1 };
        ListRules::new(kinds.len(), factors, vec![quota], vec![], vec![], None).unwrap()
    }

    #[test]
    fn the_floor_is_what_a_factor_lifts_to_the_last_score() {
        let rules = rules(1.5, &[0; 4]);
        for (last, low) in [(3.0, 2.0), (-3.0, -4.5), (0.0, 0.0)] {
            let keys = [key(9.0, 1), key(last, 2)];
            let floor = rules.lifted_to_last(Ranking { keys: &keys, asked: 2, floor: f32::NEG_INFINITY });
            assert!(floor <= low && low - floor <= 1e-5, "{last} {floor}");
        }
        // A ranking that is not full holds all that there are.
        assert_eq!(rules.lifted_to_last(Ranking { keys: &[], asked: 2, floor: f32::NEG_INFINITY }), f32::INFINITY);
    }

    #[test]
    fn boosted_items_have_to_come_before_the_last_that_quotas_leave_room_for() {
        let rules = rules(1.5, &[0, 0, 0, 1, 2]);
        let mut scratch = Scratch::default();
        let keys = [key(9.0, 1), key(6.0, 2), key(3.0, 3), key(1.5, 4)];
        let all = Ranking { keys: &keys, asked: 4, floor: f32::NEG_INFINITY };
        for (n, faded, low) in
            [(1, &[][..], 6.0), (2, &[][..], 2.0), (3, &[][..], 1.0), (4, &[][..], 1.0), (2, &[3][..], 1.0)]
        {
            let floor = rules.lifted_into_list(all, n, faded, &mut scratch);
            assert!(floor <= low && low - floor <= 1e-5, "{n} {floor}");
        }
    }
}
