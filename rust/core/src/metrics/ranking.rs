//! Ranking metrics of given lists, for many cut-offs in one pass, one value for every user.
//!
//! For a user with the relevant items T, the list l₁, l₂, … and gains g (1 for every relevant item unless given):
//!
//! ```text
//! recall@k     |T ∩ l_1..k| / |T|                    precision@k   |T ∩ l_1..k| / k
//! hit@k        1 if T ∩ l_1..k is not empty          mrr@k         1 / the first rank r ≤ k with l_r ∈ T, else 0
//! map@k        Σ_{r ≤ k, l_r ∈ T} precision@r / |T|
//! ndcg@k       Σ_{r ≤ k, l_r ∈ T} g / log2(r + 1)   over the same sum of the min(k, |T|) largest gains
//! ```
//!
//! These are `trec_eval`'s `recall`, `P`, `success`, `recip_rank`, `map_cut` and `ndcg_cut`. |T| includes relevant items
//! that are unknown to the model: there are [`Relevant::totals`] less the length of the row of them, each with gain 1. A
//! user without relevant items gets 0 everywhere; leave such users out. `coverage@k` is the part of the catalogue that is
//! among the first k of at least one list.
//!
//! Users are independent, and each value is computed by one thread: the same bits for every thread count.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::runtime::Context;
use crate::{Error, Result};

/// Lists of item positions, `width` places per user, of which the first `counts[u]` are filled.
#[derive(Clone, Copy)]
pub struct Lists<'a> {
    /// Row-major, users × `width`; [`NO_ITEM`] holds a place that can be no hit.
    pub items: &'a [i32],
    /// The length of each user's list.
    pub counts: &'a [i32],
    /// Places per row.
    pub width: usize,
}

/// A place of a list whose item is unknown, or stands further up already.
pub const NO_ITEM: i32 = -1;

/// The relevant items of each user.
#[derive(Clone, Copy)]
pub struct Relevant<'a> {
    /// Where each user's items begin; one more than there are users.
    pub offsets: &'a [i64],
    /// Positions, strictly ascending within a user.
    pub items: &'a [i32],
    /// A gain for each item, or none: 1 for all.
    pub gains: Option<&'a [f32]>,
    /// Number of relevant items of each user, those unknown to the model included; none: the length of the row.
    pub totals: Option<&'a [i64]>,
}

/// The metrics with a value for each user, in the order of [`RankingMetrics::values`].
pub const NAMES: [&str; 6] = ["ndcg", "recall", "precision", "map", "mrr", "hit"];

/// The result of [`ranking_metrics`].
pub struct RankingMetrics {
    /// For each cut-off, for each of [`NAMES`], one value for each user.
    pub values: Vec<Vec<f64>>,
    /// For each cut-off the part of the catalogue that is in some list.
    pub coverage: Vec<f64>,
}

/// Users of one task.
const CHUNK: usize = 512;

/// The metrics of `lists` against `relevant` at every cut-off of `ks`. There are `n_items`, of which the first `catalogue`
/// count for the coverage.
pub fn ranking_metrics(
    lists: Lists,
    relevant: Relevant,
    ks: &[usize],
    n_items: usize,
    catalogue: usize,
    context: &Context,
) -> Result<RankingMetrics> {
    check(lists, relevant, ks)?;
    let catalogue = catalogue.min(n_items);
    let n_users = lists.counts.len();
    let deepest = ks.iter().copied().max().unwrap_or(0).min(lists.width);
    let longest = relevant.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
    let max_relevant = relevant.totals.map_or(longest, |totals| totals.iter().map(|&t| t as usize).max().unwrap_or(0));
    let depth = ks.iter().copied().max().unwrap_or(0).min(max_relevant.max(deepest));
    let discounts: Vec<f64> = (0..depth.max(deepest)).map(|rank| 1.0 / ((rank + 2) as f64).log2()).collect();
    let mut ideal = vec![0.0; discounts.len() + 1];
    for (rank, discount) in discounts.iter().enumerate() {
        ideal[rank + 1] = ideal[rank] + discount;
    }
    let first_seen: Vec<AtomicU32> = (0..n_items).map(|_| AtomicU32::new(u32::MAX)).collect();
    let n_columns = ks.len() * NAMES.len();
    let task = Task { lists, relevant, ks, deepest, discounts: &discounts, ideal: &ideal, first_seen: &first_seen };
    let measure = |chunk: usize| -> Result<Vec<f64>> {
        context.cancel.check()?;
        let users = chunk * CHUNK..((chunk + 1) * CHUNK).min(n_users);
        let mut part = vec![0.0; n_columns * users.len()];
        let mut hits = vec![0.0; deepest];
        for (at, user) in users.clone().enumerate() {
            task.measure(user, &mut hits, &mut part, at, users.len())?;
        }
        Ok(part)
    };
    let n_chunks = n_users.div_ceil(CHUNK);
    // A single chunk stays on the calling thread: the hand-off would take longer than the work.
    let parts = if n_chunks <= 1 {
        (0..n_chunks).map(measure).collect::<Result<Vec<_>>>()?
    } else {
        context.install(|| (0..n_chunks).into_par_iter().map(measure).collect::<Result<Vec<_>>>())?
    };
    let mut values = vec![Vec::with_capacity(n_users); n_columns];
    for part in &parts {
        let length = part.len() / n_columns.max(1);
        for (column, all) in values.iter_mut().enumerate() {
            all.extend_from_slice(&part[column * length..(column + 1) * length]);
        }
    }
    let coverage = ks
        .iter()
        .map(|&k| {
            let listed =
                first_seen[..catalogue].iter().filter(|rank| (rank.load(Ordering::Relaxed) as usize) < k).count();
            if catalogue == 0 { 0.0 } else { listed as f64 / catalogue as f64 }
        })
        .collect();
    Ok(RankingMetrics { values, coverage })
}

fn check(lists: Lists, relevant: Relevant, ks: &[usize]) -> Result<()> {
    let bad = |message: String| Err(Error::InvalidData(message));
    let n_users = lists.counts.len();
    if lists.items.len() != n_users * lists.width {
        return bad(format!("got {} places for {n_users} lists of {}.", lists.items.len(), lists.width));
    }
    if let Some(user) = lists.counts.iter().position(|&c| c < 0 || c as usize > lists.width) {
        return bad(format!("list {user} has a count of {}; there are {} places.", lists.counts[user], lists.width));
    }
    if relevant.offsets.len() != n_users + 1
        || relevant.offsets.first() != Some(&0)
        || relevant.offsets.last() != Some(&(relevant.items.len() as i64))
        || relevant.offsets.windows(2).any(|pair| pair[0] > pair[1])
    {
        return bad(format!("the offsets of the relevant items do not describe {n_users} users."));
    }
    if relevant.gains.is_some_and(|gains| gains.len() != relevant.items.len()) {
        return bad("gains and relevant items differ in number.".into());
    }
    if let Some(at) = relevant.gains.and_then(|gains| gains.iter().position(|g| !g.is_finite() || *g < 0.0)) {
        return bad(format!("the gain of relevant item {at} is not a finite number of at least 0."));
    }
    if let Some(totals) = relevant.totals
        && (totals.len() != n_users
            || totals.iter().zip(relevant.offsets.windows(2)).any(|(&t, pair)| t < pair[1] - pair[0]))
    {
        return bad("a user has a smaller number of relevant items than are given.".into());
    }
    if ks.is_empty() || ks.contains(&0) {
        return Err(Error::InvalidParameter("cut-offs must be whole numbers of at least 1.".into()));
    }
    for user in 0..n_users {
        let row = &relevant.items[relevant.offsets[user] as usize..relevant.offsets[user + 1] as usize];
        if row.windows(2).any(|pair| pair[0] >= pair[1]) {
            return bad(format!("the relevant items of user {user} are not strictly ascending."));
        }
    }
    Ok(())
}

/// One bit for each relevant item's last eight bits: a single test rules out most items of a list.
struct Filter([u64; 4]);

impl Filter {
    fn of(row: &[i32]) -> Self {
        let mut bits = [0; 4];
        for &item in row {
            bits[(item as usize >> 6) & 3] |= 1 << (item & 63);
        }
        Self(bits)
    }

    fn may_hold(&self, item: i32) -> bool {
        self.0[(item as usize >> 6) & 3] >> (item & 63) & 1 == 1
    }
}

struct Task<'a> {
    lists: Lists<'a>,
    relevant: Relevant<'a>,
    ks: &'a [usize],
    deepest: usize,
    discounts: &'a [f64],
    ideal: &'a [f64],
    first_seen: &'a [AtomicU32],
}

impl Task<'_> {
    /// All metrics of one user, written to row `at` of each column of `part` (columns of `length`).
    fn measure(&self, user: usize, hits: &mut [f64], part: &mut [f64], at: usize, length: usize) -> Result<()> {
        let start = user * self.lists.width;
        let list = &self.lists.items[start..start + (self.lists.counts[user] as usize).min(self.deepest)];
        let (from, to) = (self.relevant.offsets[user] as usize, self.relevant.offsets[user + 1] as usize);
        let row = &self.relevant.items[from..to];
        let total = self.relevant.totals.map_or(row.len(), |totals| totals[user] as usize);
        let filter = Filter::of(row);
        for (rank, &item) in list.iter().enumerate() {
            if item == NO_ITEM {
                hits[rank] = -1.0;
                continue;
            }
            let Some(first) = usize::try_from(item).ok().and_then(|item| self.first_seen.get(item)) else {
                return Err(Error::InvalidData(format!(
                    "list {user} names item {item}; there are {}.",
                    self.first_seen.len()
                )));
            };
            if first.load(Ordering::Relaxed) > rank as u32 {
                first.fetch_min(rank as u32, Ordering::Relaxed);
            }
            hits[rank] = if filter.may_hold(item) { self.gain(row, from, item) } else { -1.0 };
        }
        // With gains the ideal order is the user's own; without, the first min(k, total) discounts.
        let best: Option<Vec<f64>> = self.relevant.gains.map(|gains| {
            let mut best: Vec<f64> = gains[from..to].iter().map(|&g| f64::from(g)).collect();
            best.resize(total, 1.0);
            best.sort_unstable_by(|a, b| b.total_cmp(a));
            best
        });
        for (which, &k) in self.ks.iter().enumerate() {
            let (mut found, mut dcg, mut precisions, mut reciprocal) = (0.0, 0.0, 0.0, 0.0);
            for (rank, &gain) in hits[..list.len().min(k)].iter().enumerate() {
                if gain >= 0.0 {
                    found += 1.0;
                    dcg += gain * self.discounts[rank];
                    precisions += found / (rank + 1) as f64;
                    if reciprocal == 0.0 {
                        reciprocal = 1.0 / (rank + 1) as f64;
                    }
                }
            }
            let ideal = best.as_ref().map_or_else(
                || self.ideal[k.min(total)],
                |best| best.iter().zip(self.discounts).take(k).map(|(gain, discount)| gain * discount).sum(),
            );
            let over = |value: f64, whole: f64| if whole > 0.0 { value / whole } else { 0.0 };
            let n_relevant = total as f64;
            let values = [
                over(dcg, ideal),
                over(found, n_relevant),
                found / k as f64,
                over(precisions, n_relevant),
                reciprocal,
                if found > 0.0 { 1.0 } else { 0.0 },
            ];
            for (name, value) in values.into_iter().enumerate() {
                part[(which * NAMES.len() + name) * length + at] = value;
            }
        }
        Ok(())
    }

    /// The gain of an item of the list, or -1 where it is not relevant.
    fn gain(&self, row: &[i32], from: usize, item: i32) -> f64 {
        match row.binary_search(&item) {
            Ok(at) => self.relevant.gains.map_or(1.0, |gains| f64::from(gains[from + at])),
            Err(_) => -1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(ranking: &RankingMetrics, which: usize, name: &str, user: usize) -> f64 {
        let at = NAMES.iter().position(|each| *each == name).unwrap();
        ranking.values[which * NAMES.len() + at][user]
    }

    #[test]
    fn values_are_those_computed_by_hand() {
        // Relevant to user 0 are 2, 5 and one unknown item, and the list is 5, 1, 2; to user 1 it is 0, and the list is
        // empty.
        let lists = Lists { items: &[5, 1, 2, 0, 0, 0], counts: &[3, 0], width: 3 };
        let relevant = Relevant { offsets: &[0, 2, 3], items: &[2, 5, 0], gains: None, totals: Some(&[3, 1]) };
        let context = Context::new(Some(2)).unwrap();
        let got = ranking_metrics(lists, relevant, &[1, 3, 10], 10, 10, &context).unwrap();
        let third = 1.0 / 3.0;
        assert_eq!(value(&got, 0, "recall", 0), third);
        assert_eq!(value(&got, 1, "recall", 0), 2.0 / 3.0);
        assert_eq!(value(&got, 2, "precision", 0), 0.2);
        assert_eq!(value(&got, 1, "map", 0), (1.0 + 2.0 / 3.0) / 3.0);
        assert_eq!(value(&got, 1, "mrr", 0), 1.0);
        let ideal = 1.0 + 1.0 / 3f64.log2() + 0.5;
        assert!((value(&got, 2, "ndcg", 0) - 1.5 / ideal).abs() < 1e-15);
        for name in NAMES {
            assert_eq!(value(&got, 1, name, 1), 0.0);
        }
        assert_eq!(got.coverage, [0.1, 0.3, 0.3]);
    }

    #[test]
    fn gains_weigh_the_ranks() {
        let lists = Lists { items: &[3, 1], counts: &[2], width: 2 };
        let relevant = Relevant { offsets: &[0, 2], items: &[1, 3], gains: Some(&[4.0, 1.0]), totals: None };
        let got = ranking_metrics(lists, relevant, &[2], 4, 4, &Context::new(Some(1)).unwrap()).unwrap();
        let discount = 1.0 / 3f64.log2();
        assert!((value(&got, 0, "ndcg", 0) - (1.0 + 4.0 * discount) / (4.0 + discount)).abs() < 1e-15);
    }

    #[test]
    fn a_place_without_an_item_is_no_hit_and_what_is_outside_the_catalogue_is_not_covered() {
        let lists = Lists { items: &[NO_ITEM, 2, 0], counts: &[3], width: 3 };
        let relevant = Relevant { offsets: &[0, 1], items: &[2], gains: None, totals: None };
        let got = ranking_metrics(lists, relevant, &[1, 3], 3, 2, &Context::new(Some(1)).unwrap()).unwrap();
        assert_eq!(value(&got, 0, "hit", 0), 0.0);
        assert_eq!(value(&got, 1, "mrr", 0), 0.5);
        assert_eq!(got.coverage, [0.0, 0.5]);
    }

    #[test]
    fn inconsistent_arrays_are_refused() {
        let context = Context::new(Some(1)).unwrap();
        let lists = Lists { items: &[7], counts: &[1], width: 1 };
        let relevant = Relevant { offsets: &[0, 1], items: &[0], gains: None, totals: None };
        assert!(ranking_metrics(lists, relevant, &[1], 7, 7, &context).is_err());
        assert!(ranking_metrics(lists, relevant, &[0], 8, 8, &context).is_err());
        assert!(ranking_metrics(Lists { counts: &[2], ..lists }, relevant, &[1], 8, 8, &context).is_err());
        assert!(ranking_metrics(lists, Relevant { totals: Some(&[0]), ..relevant }, &[1], 8, 8, &context).is_err());
        let falling = Relevant { offsets: &[0, 2], items: &[1, 1], ..relevant };
        assert!(ranking_metrics(lists, falling, &[1], 8, 8, &context).is_err());
    }
}
