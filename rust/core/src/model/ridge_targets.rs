//! Item-item weights of some targets, which is what an update solves anew, or of all.
//!
//! What G has between two candidates is looked up where both are among the items that most targets have
//! (`shared_pairs.rs`), or in the rows of all items (`co_purchase_rows.rs`). All else a target sums itself: every user who has some of its candidates S adds to their pairs.
//! Both sum over the users in ascending order, so all have the same bits, and which targets are solved together changes
//! none. To make all of G first, rows cut to their strongest 512 entries, and look pairs up there took 1.3 to 2 times as
//! long for all targets of a table (2026-11-28).

use super::co_purchase_rows::{CoPurchaseRows, RowReader, sum_row};
use super::ridge::{CoPurchases, MAX_COMPANIONS, Penalties, Ridge};
use super::shared_pairs::SharedPairs;
use crate::data::Csr;
use crate::runtime::Context;
use crate::runtime::simd::vector::LANES;
use crate::runtime::simd::{Level, cholesky, elastic_net};
use crate::{Error, Result};

impl Ridge {
    /// The weights that point to some targets, one row for each of them (targets × `n_items`), before sources are cut to
    /// their strongest.
    pub fn solve_targets(&self, interactions: &Csr, targets: &[u32], context: &Context) -> Result<Csr> {
        Ok(self.solve_path(interactions, targets, &[self.shrinkage], context)?.remove(0))
    }

    /// The same by each of some λ, in place of the own one; with an l1 each goes on from the weights of the last one.
    pub fn solve_path(
        &self,
        interactions: &Csr,
        targets: &[u32],
        shrinkages: &[f32],
        context: &Context,
    ) -> Result<Vec<Csr>> {
        let has_rows = self.l1 > 0.0 && CoPurchaseRows::pay(interactions.n_columns(), targets.len());
        self.solve_sharing(interactions, targets, shrinkages, has_rows, SharedPairs::new, context)
    }

    fn solve_sharing(
        &self,
        interactions: &Csr,
        targets: &[u32],
        shrinkages: &[f32],
        has_rows: bool,
        share: impl FnOnce(&CoPurchases<'_>, &[&[u32]], &Context) -> Result<SharedPairs>,
        context: &Context,
    ) -> Result<Vec<Csr>> {
        for &shrinkage in shrinkages {
            Self { shrinkage, ..self.clone() }.check()?;
        }
        let table = CoPurchases::new(self, interactions, context);
        let n_items = table.n_items();
        if let Some(target) = targets.iter().find(|&&target| target as usize >= n_items) {
            return Err(Error::InvalidData(format!("target {target} is none of {n_items} items.")));
        }
        let limit = self.candidates(n_items);
        let diagonal = table.diagonal();
        let penalties = &self.penalties(shrinkages, &diagonal);
        let rows = if has_rows { Some(CoPurchaseRows::new(&table, context)?) } else { None };
        // 1. The candidates of each target.
        let chosen = context.try_map_tasks(
            targets.iter(),
            || TargetRow::new(n_items),
            |scratch, &target| {
                context.cancel.check()?;
                Ok(scratch.choose(target as usize, &table, rows.as_ref(), limit, penalties.l1))
            },
        )?;
        // 2. What they share.
        let candidates: Vec<&[u32]> = chosen.iter().map(|each| &each.candidates[..]).collect();
        let pairs = match rows {
            Some(rows) => Pairs::Rows(rows),
            None => Pairs::Shared(share(&table, &candidates, context)?),
        };
        // 3. One regression for each.
        let columns = context.try_map_tasks(
            chosen.iter(),
            || Regression::new(&table, limit, penalties.l1),
            |scratch, Chosen { candidates, right }| {
                context.cancel.check()?;
                let target = Target { candidates, table: &table, pairs: &pairs, diagonal: &diagonal };
                Ok(scratch.solve(&target, right.clone(), penalties, context.level))
            },
        )?;
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        let mut by = |_| -> Vec<_> { columns.iter_mut().map(|each| each.next().unwrap_or_default()).collect() };
        shrinkages.iter().map(|shrinkage| Csr::from_rows(&by(shrinkage), n_items, context)).collect()
    }
}

/// Orders numbers that are not negative, as their bits do: the greatest first, of equal ones that at the first place.
fn falling_key(value: f32, place: u32) -> u64 {
    u64::from(!value.to_bits()) << 32 | u64::from(place)
}

/// What a target's regression is over.
struct Chosen {
    /// S, by rising position.
    candidates: Vec<u32>,
    /// `G_Si`.
    right: Vec<f32>,
}

/// A target's row of G while it is summed; all zero between targets.
struct TargetRow {
    sums: Vec<f32>,
    companions: Vec<u32>,
    keys: Vec<u64>,
}

impl TargetRow {
    fn new(n_items: usize) -> Self {
        Self { sums: vec![0.0; n_items], companions: Vec::new(), keys: Vec::new() }
    }

    /// The target's strongest companions, of equal ones the first, without those that an l1 leaves out.
    fn choose(
        &mut self,
        target: usize,
        table: &CoPurchases<'_>,
        rows: Option<&CoPurchaseRows>,
        limit: usize,
        l1: f32,
    ) -> Chosen {
        let Self { sums, companions, keys } = self;
        match rows {
            Some(rows) if rows.is_faster() => rows.copy_row(target, sums, companions),
            _ => sum_row(table, target, sums, companions),
        }
        companions.retain(|&other| other as usize != target);
        keys.clear();
        keys.extend(
            companions
                .iter()
                .map(|&other| falling_key(sums[other as usize] * table.candidate_weights[other as usize], other)),
        );
        if keys.len() > limit {
            keys.select_nth_unstable(limit);
            keys.truncate(limit);
        }
        let mut candidates: Vec<u32> = keys.iter().map(|&key| key as u32).collect();
        candidates.retain(|&other| sums[other as usize] > l1);
        candidates.sort_unstable();
        let right = candidates.iter().map(|&other| sums[other as usize]).collect();
        sums[target] = 0.0;
        companions.drain(..).for_each(|other| sums[other as usize] = 0.0);
        Chosen { candidates, right }
    }
}

/// Where values of G are looked up.
enum Pairs {
    Shared(SharedPairs),
    Rows(CoPurchaseRows),
}

/// What the regression of a target is made of.
struct Target<'a> {
    /// S, by rising position.
    candidates: &'a [u32],
    table: &'a CoPurchases<'a>,
    pairs: &'a Pairs,
    /// G's diagonal.
    diagonal: &'a [f32],
}

/// One target's regression; `ends` and `users` are all zero between targets.
struct Regression {
    /// Where the candidates of each user end among `had`, and which users have some that are not shared, a bit each.
    ends: Vec<u32>,
    users: Vec<u64>,
    /// Users of this kind and their candidates, by place.
    entries: Vec<(u32, u16)>,
    /// The candidates of each user, by place: first those that are not shared.
    had: Vec<u16>,
    shared: Vec<(u32, u32)>,
    rare: Vec<u16>,
    matrix: Vec<f32>,
    /// What an elastic net is solved with.
    reader: RowReader,
    rows: Vec<f32>,
    own_diagonal: Vec<f32>,
}

impl Regression {
    fn new(table: &CoPurchases<'_>, limit: usize, l1: f32) -> Self {
        let n_users = table.items_of.n_rows();
        Self {
            ends: vec![0; n_users],
            users: vec![0; n_users.div_ceil(64)],
            entries: Vec::new(),
            had: Vec::new(),
            shared: Vec::new(),
            rare: Vec::new(),
            matrix: vec![0.0; limit * limit.next_multiple_of(LANES)],
            reader: RowReader::new(table.n_items()),
            rows: vec![0.0; if l1 > 0.0 { limit * limit } else { 0 }],
            own_diagonal: Vec::new(),
        }
    }

    /// The positive weights of the target's companions, by rising position, for each λ.
    fn solve(
        &mut self,
        target: &Target<'_>,
        right: Vec<f32>,
        penalties: &Penalties,
        level: Level,
    ) -> Vec<Vec<(u32, f32)>> {
        let mut found = Vec::with_capacity(penalties.lambdas.len());
        if right.is_empty() {
            return found;
        }
        let keep = |weights: &[f32]| {
            let weights = target.candidates.iter().copied().zip(weights.iter().copied());
            let positive = weights.filter(|&(_, weight)| weight > 0.0 && weight.is_finite());
            let powers = &target.table.source_weights;
            found.push(positive.map(|(source, weight)| (source, weight * powers[source as usize])).collect());
        };
        if penalties.l1 > 0.0 {
            self.solve_elastic_net(target, penalties, right, level, keep);
        } else {
            self.solve_ridges(target, &penalties.lambdas, &right, level, keep);
        }
        found
    }

    /// Solves by `G_SS` + λ I; no weights where rounding left the matrix indefinite.
    fn solve_ridges(
        &mut self,
        target: &Target<'_>,
        lambdas: &[f32],
        right: &[f32],
        level: Level,
        mut solved: impl FnMut(&[f32]),
    ) {
        let (size, stride) = (right.len(), right.len().next_multiple_of(LANES));
        for &lambda in lambdas {
            self.fill(target, stride);
            let matrix = &mut self.matrix[..size * stride];
            for (place, &item) in target.candidates.iter().enumerate() {
                matrix[place * stride + place] = target.diagonal[item as usize] + lambda;
            }
            let mut weights = right.to_vec();
            let is_definite = cholesky::solve(level, matrix, stride, &mut weights);
            solved(if is_definite { &weights } else { &[] });
        }
    }

    /// The same with an l1; of G the rows are gathered that the solution needs.
    fn solve_elastic_net(
        &mut self,
        target: &Target<'_>,
        penalties: &Penalties,
        mut right: Vec<f32>,
        level: Level,
        solved: impl FnMut(&[f32]),
    ) {
        let (size, stride) = (right.len(), right.len().next_multiple_of(LANES));
        if let Pairs::Shared(_) = target.pairs {
            self.fill(target, stride);
        }
        let Self { reader, matrix, rows, own_diagonal, .. } = self;
        own_diagonal.clear();
        own_diagonal.extend(target.candidates.iter().map(|&item| target.diagonal[item as usize]));
        let kept = &mut rows[..size * size];
        let solve = |fill: &mut dyn FnMut(usize, &mut [f32])| {
            let a = elastic_net::Rows { diagonal: own_diagonal, fill, kept };
            elastic_net::solve(level, a, &mut right, penalties.l1, &penalties.lambdas, solved);
        };
        match target.pairs {
            Pairs::Rows(rows) => {
                reader.begin(rows, target.candidates);
                solve(&mut |at, row| reader.read(rows, target.candidates, at, row));
                reader.end(target.candidates);
            }
            Pairs::Shared(_) => solve(&mut |at, row| {
                for (above, number) in row[..at].iter_mut().enumerate() {
                    *number = matrix[above * stride + at];
                }
                row[at..].copy_from_slice(&matrix[at * stride + at..][..size - at]);
            }),
        }
    }

    /// `G_SS` right of the diagonal, in rows of `stride`.
    fn fill(&mut self, target: &Target<'_>, stride: usize) {
        let Pairs::Shared(pairs) = target.pairs else { return };
        pairs.find(target.candidates, &mut self.shared, &mut self.rare);
        self.matrix[..target.candidates.len() * stride].fill(0.0);
        pairs.fill(&self.shared, &mut self.matrix, stride);
        if !self.rare.is_empty() {
            self.add_rare(target.candidates, target.table, stride);
        }
    }

    /// Adds the pairs of which one at least is not shared.
    fn add_rare(&mut self, candidates: &[u32], table: &CoPurchases<'_>, stride: usize) {
        let Self { ends, users, entries, had, shared, rare, matrix, .. } = self;
        let users_of = |place: usize| table.users_of.row(candidates[place] as usize);
        // 1. The users of what is not shared, and what else they have. No branch tells whether a user is one of them: there
        //    is no telling from one user to the next.
        entries.clear();
        for &place in rare.iter() {
            for &user in users_of(usize::from(place)) {
                users[user as usize / 64] |= 1 << (user % 64);
                entries.push((user, place));
            }
        }
        let mut n_entries = entries.len();
        for &(_, place) in shared.iter() {
            let all = users_of(place as usize);
            entries.resize(n_entries + all.len(), (0, 0));
            for &user in all {
                entries[n_entries] = (user, place as u16);
                n_entries += (users[user as usize / 64] >> (user % 64) & 1) as usize;
            }
        }
        entries.truncate(n_entries);
        // 2. By user.
        for &(user, _) in entries.iter() {
            ends[user as usize] += 1;
        }
        let mut begin = 0;
        each_user(users, |user| begin += std::mem::replace(&mut ends[user], begin));
        had.resize(begin as usize, 0);
        for &(user, place) in entries.iter() {
            let end = &mut ends[user as usize];
            had[*end as usize] = place;
            *end += 1;
        }
        // 3. Each user adds to their pairs, in ascending order of the users.
        let mut is_rare = [0u64; MAX_COMPANIONS / 64];
        for &place in rare.iter() {
            is_rare[usize::from(place) / 64] |= 1 << (place % 64);
        }
        let mut begin = 0;
        each_user(users, |user| {
            let end = std::mem::take(&mut ends[user]) as usize;
            let places = &had[begin..end];
            let weight = table.user_weights[user];
            for (at, &place) in places.iter().enumerate() {
                if is_rare[usize::from(place) / 64] >> (place % 64) & 1 == 0 {
                    break;
                }
                for &other in &places[at + 1..] {
                    matrix[usize::from(place.min(other)) * stride + usize::from(place.max(other))] += weight;
                }
            }
            begin = end;
        });
        users.fill(0);
    }
}

/// The set bits, ascending.
fn each_user(words: &[u64], mut visit: impl FnMut(usize)) {
    for (at, &word) in words.iter().enumerate() {
        let mut left = word;
        while left != 0 {
            visit(at * 64 + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    fn interactions(n_users: usize, n_items: usize) -> Csr {
        let draws = Stream::new(7, 0);
        let (mut offsets, mut columns) = (vec![0], Vec::new());
        for user in 0..n_users {
            let alike = |item: usize| if item % 4 == user % 4 { 0.5 } else { 0.1 };
            let chosen = (0..n_items).filter(|&item| draws.f32((user * n_items + item) as u64) < alike(item));
            columns.extend(chosen.map(|item| item as u32));
            offsets.push(columns.len());
        }
        let values = vec![1.0; columns.len()];
        Csr::new(offsets, columns, values, n_items).unwrap()
    }

    #[test]
    fn a_target_alone_has_the_bits_of_all_of_them_together() {
        let data = interactions(150, 50);
        let targets = [40, 3, 17];
        for (threads, l1) in [(1, 0.0), (2, 0.0), (3, 0.0), (1, 0.1), (3, 0.1)] {
            let options = Ridge { candidates: 12, neighbors: 50, l1, ..Ridge::default() };
            let all = options.fit(&data, &Context::new(Some(2)).unwrap()).unwrap().transpose();
            for level in Level::available() {
                let context = Context::new(Some(threads)).unwrap().with_level(level);
                let found = options.solve_targets(&data, &targets, &context).unwrap();
                for (row, &target) in targets.iter().enumerate() {
                    assert!(!found.row(row).is_empty());
                    assert_eq!(found.row(row), all.row(target as usize));
                    assert_eq!(found.row_values(row), all.row_values(target as usize));
                }
            }
        }
        assert!(Ridge::default().solve_targets(&data, &[50], &Context::new(Some(1)).unwrap()).is_err());
    }

    #[test]
    fn targets_have_the_same_bits_however_many_candidates_they_share() {
        let data = interactions(150, 50);
        for l1 in [0.0, 0.1] {
            let options = Ridge { candidates: 20, neighbors: 50, l1, ..Ridge::default() };
            same_however_many_are_shared(&data, &options, &(0..50).step_by(3).collect::<Vec<u32>>());
            same_however_many_are_shared(&data, &options, &(0..50).collect::<Vec<u32>>());
        }
    }

    fn same_however_many_are_shared(data: &Csr, options: &Ridge, targets: &[u32]) {
        let context = Context::new(Some(2)).unwrap();
        let sharing = |limit: usize, context: &Context| {
            let share = |table: &CoPurchases<'_>, candidates: &[&[u32]], context: &Context| {
                SharedPairs::of_most(table, candidates, limit, context)
            };
            options.solve_sharing(data, targets, &[options.shrinkage], false, share, context).unwrap().remove(0)
        };
        let none = sharing(0, &context);
        assert!((0..targets.len()).all(|at| !none.row(at).is_empty()));
        for limit in [1, 2, 7, 25, 49, 50, 60] {
            for level in Level::available() {
                assert_eq!(sharing(limit, &context.clone().with_level(level)), none, "{limit}");
            }
        }
        assert_eq!(options.solve_targets(data, targets, &context).unwrap(), none);
    }

    #[test]
    fn a_path_begins_as_each_lambda_does_alone_and_ends_near_it() {
        let data = interactions(150, 50);
        let (targets, context) = ([40, 3, 17], Context::new(Some(2)).unwrap());
        for l1 in [0.0, 0.1] {
            let options = Ridge { candidates: 30, l1, ..Ridge::default() };
            let path = options.solve_path(&data, &targets, &[5.0, 1.0, 0.3], &context).unwrap();
            for (number, (found, shrinkage)) in path.iter().zip([5.0, 1.0, 0.3]).enumerate() {
                let alone = Ridge { shrinkage, ..options.clone() }.solve_targets(&data, &targets, &context).unwrap();
                assert!(number > 0 && l1 > 0.0 || *found == alone, "{l1} {shrinkage}");
                for target in 0..targets.len() {
                    let dense = |weights: &Csr| {
                        let mut all = [0.0f32; 50];
                        for (&item, &weight) in weights.row(target).iter().zip(weights.row_values(target)) {
                            all[item as usize] = weight;
                        }
                        all
                    };
                    let (found, alone) = (dense(found), dense(&alone));
                    let largest = alone.iter().fold(0.0f32, |largest, &weight| largest.max(weight));
                    assert!(found.iter().zip(alone).all(|(one, other)| (one - other).abs() < 1e-2 * largest));
                }
            }
        }
        assert!(Ridge::default().solve_path(&data, &targets, &[1.0, 0.0], &context).is_err());
    }

    #[test]
    fn a_target_without_companions_has_no_weights() {
        let data = Csr::new(vec![0, 1, 2], vec![0, 1], vec![1.0, 1.0], 3).unwrap();
        let context = Context::new(Some(1)).unwrap();
        let found = Ridge::default().solve_targets(&data, &[0, 2], &context).unwrap();
        assert_eq!((found.n_rows(), found.len()), (2, 0));
    }
}
