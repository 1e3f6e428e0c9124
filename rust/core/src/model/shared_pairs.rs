//! Values of the co-purchase table G between the items that many regressions have as candidates, each summed once.
//!
//! A dense triangle over a few thousand items. An entry is the sum over the users who have both, in ascending order, as
//! wherever G is summed, so who looks it up has the bits of who sums it anew. With it, 1,774 of the 3,651 targets of Online
//! Retail take .5 seconds of the processor instead of 2.3 (2026-11-28).

use std::cmp::Reverse;

use super::ridge::CoPurchases;
use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::huge_pages::advise_whole_pages;

/// Items that may be shared: their triangle takes 32 MiB.
const MAX_SHARED: usize = 4096;

/// The place of an item that is not shared.
const NONE: u32 = u32::MAX;

/// The triangle, and where each item is in it.
pub(super) struct SharedPairs {
    /// By item: its place among the shared ones, by rising position.
    places: Vec<u32>,
    n_shared: usize,
    /// Row after row what lies right of the diagonal.
    numbers: Vec<f32>,
}

impl SharedPairs {
    /// For regressions with these candidates: over the items that most users would be listed for, or over none where the
    /// triangle is more work than it saves.
    pub fn new(table: &CoPurchases<'_>, candidates: &[&[u32]], context: &Context) -> Result<Self> {
        let shared = Shared::choose(table, candidates, MAX_SHARED);
        let pays = shared.saved(table, candidates) >= shared.additions();
        Self::over(table, if pays { shared } else { Shared::choose(table, &[], 0) }, context)
    }

    /// Over so many items at most, whatever it saves.
    #[cfg(test)]
    pub fn of_most(table: &CoPurchases<'_>, candidates: &[&[u32]], limit: usize, context: &Context) -> Result<Self> {
        Self::over(table, Shared::choose(table, candidates, limit), context)
    }

    fn over(table: &CoPurchases<'_>, shared: Shared, context: &Context) -> Result<Self> {
        let Shared { items, places, offsets, of_users } = shared;
        let n_shared = items.len();
        let mut numbers = vec![0.0; n_shared * n_shared.saturating_sub(1) / 2];
        // Its rows are read in no order: on huge pages regressions take a fifth less time (Zen 3, 2026-11-28).
        advise_whole_pages(&mut numbers);
        let mut rows = Vec::with_capacity(n_shared);
        let mut rest = &mut numbers[..];
        for place in 0..n_shared {
            let (row, others) = rest.split_at_mut(n_shared - place - 1);
            rows.push(row);
            rest = others;
        }
        context.try_for_each_task(
            rows.into_iter().zip(&items).enumerate(),
            || (),
            |(), (place, (row, &item))| {
                context.cancel.check()?;
                let first = place + 1;
                for &user in table.users_of.row(item as usize) {
                    let weight = table.user_weights[user as usize];
                    let had = &of_users[offsets[user as usize]..offsets[user as usize + 1]];
                    let begin = had.partition_point(|&other| (other as usize) < first);
                    for &other in &had[begin..] {
                        row[other as usize - first] += weight;
                    }
                }
                Ok(())
            },
        )?;
        Ok(Self { places, n_shared, numbers })
    }

    /// The places of those of `candidates`, which rise, that are shared, and where they are among the candidates; where all
    /// others are is left in `rare`.
    pub fn find(&self, candidates: &[u32], shared: &mut Vec<(u32, u32)>, rare: &mut Vec<u16>) {
        shared.clear();
        rare.clear();
        for (own, &item) in candidates.iter().enumerate() {
            match self.places[item as usize] {
                NONE => rare.push(own as u16),
                place => shared.push((place, own as u32)),
            }
        }
    }

    /// Writes the values between shared candidates into what lies right of the diagonal of `matrix`, whose rows are
    /// `stride` long.
    pub fn fill(&self, shared: &[(u32, u32)], matrix: &mut [f32], stride: usize) {
        for (at, &(place, own)) in shared.iter().enumerate() {
            let (row, to) = (self.later(place as usize), &mut matrix[own as usize * stride..][..stride]);
            for &(other, column) in &shared[at + 1..] {
                to[column as usize] = row[(other - place) as usize - 1];
            }
        }
    }

    /// What lies right of the diagonal.
    fn later(&self, place: usize) -> &[f32] {
        let (n, length) = (self.n_shared, self.n_shared - place - 1);
        &self.numbers[place * (2 * n - place - 1) / 2..][..length]
    }
}

/// Which items are shared, and who has them.
struct Shared {
    /// Ascending.
    items: Vec<u32>,
    places: Vec<u32>,
    /// Where the shared items of each user begin.
    offsets: Vec<usize>,
    /// By place, ascending for each user.
    of_users: Vec<u32>,
}

impl Shared {
    fn choose(table: &CoPurchases<'_>, candidates: &[&[u32]], limit: usize) -> Self {
        // 1. The items that most users would be listed for.
        let mut listed = vec![0; table.n_items()];
        for &item in candidates.iter().copied().flatten() {
            listed[item as usize] += table.users_of.row(item as usize).len();
        }
        let mut items: Vec<u32> = (0..listed.len() as u32).filter(|&item| listed[item as usize] > 0).collect();
        if items.len() > limit {
            items.select_nth_unstable_by_key(limit, |&item| (Reverse(listed[item as usize]), item));
            items.truncate(limit);
            items.sort_unstable();
        }
        let mut places = vec![NONE; listed.len()];
        for (place, &item) in items.iter().enumerate() {
            places[item as usize] = place as u32;
        }
        // 2. Who has them.
        let mut offsets = vec![0];
        let mut of_users = Vec::new();
        for user in 0..table.items_of.n_rows() {
            if !items.is_empty() {
                let had = table.items_of.row(user).iter().map(|&item| places[item as usize]);
                of_users.extend(had.filter(|&place| place != NONE));
            }
            offsets.push(of_users.len());
        }
        Self { items, places, offsets, of_users }
    }

    /// Additions that the triangle takes.
    fn additions(&self) -> usize {
        self.offsets.windows(2).map(|pair| (pair[1] - pair[0]).pow(2) / 2).sum()
    }

    /// Additions that the regressions would do without it, at least. Where the users of the shared candidates are listed
    /// L times, and there are n users, these add Σ c_u² / 2 ≥ L² / 2n, c_u being how often user u is listed.
    fn saved(&self, table: &CoPurchases<'_>, candidates: &[&[u32]]) -> usize {
        let listed = |&item: &u32| match self.places[item as usize] {
            NONE => 0,
            _ => table.users_of.row(item as usize).len(),
        };
        let n_users = table.items_of.n_rows().max(1);
        candidates.iter().map(|each| each.iter().map(listed).sum::<usize>().pow(2) / (2 * n_users)).sum()
    }
}
