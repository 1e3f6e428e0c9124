//! Events in their canonical order: by user, item and time, equal ones as one with their weights summed.
//!
//! Rows are dealt to their users by counting, with all that belongs to them (one scattered write per row costs less than
//! three scattered reads later); each user's rows are sorted by (item, time, row), and neighbours that agree are summed in
//! f64 in the order of their rows: the result is the same for every thread count. In a table that is in the order of
//! time, as most are, (item, row) says the same and is one number.

use rayon::prelude::*;

use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

/// Rows per task: large enough to pay for the hand-off, a constant so that nothing depends on the threads.
const CHUNK_ROWS: usize = 1 << 15;

/// Canonical events, and which rows were summed into an earlier one.
#[derive(Debug, Default, PartialEq)]
pub struct Events {
    /// Positions, rising.
    pub users: Vec<i32>,
    /// Positions, rising within a user.
    pub items: Vec<i32>,
    /// Sums.
    pub weights: Vec<f32>,
    /// Rising within a pair; empty where there are none.
    pub times: Vec<i64>,
    /// Rows that agree with an earlier one in user, item and time.
    pub repeated: Vec<i64>,
}

/// Sorts and sums. `times` is empty or as long as the others; positions must lie below `n_users` and `n_items`.
pub fn canonical(
    users: &[i32],
    items: &[i32],
    weights: &[f64],
    times: &[i64],
    (n_users, n_items): (usize, usize),
    cancel: &Cancel,
) -> Result<Events> {
    let n = users.len();
    if items.len() != n || weights.len() != n || !(times.is_empty() || times.len() == n) {
        return Err(Error::InvalidData("users, items, weights and times must be equally long.".into()));
    }
    if n > u32::MAX as usize {
        return Err(Error::InvalidData(format!("{n} rows are more than one table can hold; read it in parts.")));
    }
    let outside = |positions: &[i32], limit: usize| positions.iter().any(|&at| at < 0 || at as usize >= limit);
    if outside(users, n_users) || outside(items, n_items) {
        return Err(Error::InvalidData("a position lies outside the ids.".into()));
    }

    let mut starts = vec![0usize; n_users + 1];
    for &user in users {
        starts[user as usize + 1] += 1;
    }
    for user in 0..n_users {
        starts[user + 1] += starts[user];
    }
    let mut rows = vec![Row::default(); n];
    // Each task looks at all rows and takes those of its own users: reading is cheap beside the scattered writes.
    let mut dealt = Vec::new();
    let (mut first_user, mut rest) = (0, rows.as_mut_slice());
    for task in 1..=rayon::current_num_threads() {
        let target = n / rayon::current_num_threads() * task;
        let last_user = if task == rayon::current_num_threads() {
            n_users
        } else {
            starts.partition_point(|&start| start < target).clamp(first_user, n_users)
        };
        let (own, others) = rest.split_at_mut(starts[last_user] - starts[first_user]);
        dealt.push((first_user..last_user, own));
        (first_user, rest) = (last_user, others);
    }
    dealt.into_par_iter().for_each(|(range, own)| {
        let base = starts[range.start];
        let mut next: Vec<usize> = starts[range.clone()].iter().map(|&start| start - base).collect();
        for row in 0..n {
            if row.is_multiple_of(CHUNK_ROWS) && cancel.is_cancelled() {
                break;
            }
            let user = users[row] as usize;
            if range.contains(&user) {
                let place = &mut next[user - range.start];
                let key = (items[row] as u64) << 32 | row as u64;
                own[*place] = Row { key, time: times.get(row).copied().unwrap_or(0), weight: weights[row] };
                *place += 1;
            }
        }
    });
    cancel.check()?;
    let in_order = times.is_sorted();

    let mut tasks = Vec::new();
    let (mut first_user, mut rest) = (0, rows.as_mut_slice());
    while first_user < n_users {
        let mut last_user = first_user + 1;
        while last_user < n_users && starts[last_user + 1] - starts[first_user] <= CHUNK_ROWS {
            last_user += 1;
        }
        let (own, others) = rest.split_at_mut(starts[last_user] - starts[first_user]);
        tasks.push((first_user..last_user, own));
        (first_user, rest) = (last_user, others);
    }
    let parts: Vec<Events> = tasks
        .into_par_iter()
        .map(|(range, own)| {
            let mut part = Events::with_capacity(own.len(), !times.is_empty());
            let mut own = own;
            for user in range {
                if cancel.is_cancelled() {
                    break;
                }
                let (mine, others) = own.split_at_mut(starts[user + 1] - starts[user]);
                own = others;
                if in_order {
                    mine.sort_unstable_by_key(|row| row.key);
                } else {
                    mine.sort_unstable_by_key(|row| (row.key >> 32, row.time, row.key));
                }
                part.append(user as i32, mine, !times.is_empty());
            }
            part
        })
        .collect();
    cancel.check()?;

    joined(parts, !times.is_empty())
}

/// The parts one after the other.
fn joined(parts: Vec<Events>, timed: bool) -> Result<Events> {
    let total = parts.iter().map(|part| part.users.len()).sum();
    let mut events = Events::default();
    events.users.reserve_exact(total);
    events.items.reserve_exact(total);
    events.weights.reserve_exact(total);
    events.times.reserve_exact(if timed { total } else { 0 });
    for part in parts {
        events.users.extend(part.users);
        events.items.extend(part.items);
        events.weights.extend(part.weights);
        events.times.extend(part.times);
        events.repeated.extend(part.repeated);
    }
    if let Some(at) = events.weights.iter().position(|weight| !weight.is_finite()) {
        return Err(Error::InvalidData(format!(
            "the weights of user {} and item {} (by position) add up to more than a float32 holds; give smaller weights.",
            events.users[at], events.items[at]
        )));
    }
    events.repeated.sort_unstable();
    Ok(events)
}

/// A row of one user.
#[derive(Clone, Copy, Default)]
struct Row {
    /// Item in the upper, row in the lower half.
    key: u64,
    time: i64,
    weight: f64,
}

impl Events {
    fn with_capacity(n: usize, timed: bool) -> Self {
        Self {
            users: Vec::with_capacity(n),
            items: Vec::with_capacity(n),
            weights: Vec::with_capacity(n),
            times: Vec::with_capacity(if timed { n } else { 0 }),
            repeated: Vec::new(),
        }
    }

    /// One user's rows, sorted.
    fn append(&mut self, user: i32, rows: &[Row], timed: bool) {
        for event in rows.chunk_by(|a, b| a.key >> 32 == b.key >> 32 && a.time == b.time) {
            let sum = event[1..].iter().fold(event[0].weight, |sum, row| sum + row.weight);
            self.repeated.extend(event[1..].iter().map(|row| i64::from(row.key as u32)));
            self.users.push(user);
            self.items.push((event[0].key >> 32) as i32);
            self.weights.push(sum as f32);
            if timed {
                self.times.push(event[0].time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn naive(rows: &[(i32, i32, f64, i64)]) -> Vec<(i32, i32, i64, u32)> {
        let mut sums = BTreeMap::new();
        for &(user, item, weight, time) in rows {
            *sums.entry((user, item, time)).or_insert(-0.0) += weight;
        }
        sums.into_iter().map(|((user, item, time), weight)| (user, item, time, (weight as f32).to_bits())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn events_are_those_of_a_sorted_map_for_every_thread_count(
            rows in prop::collection::vec((0i32..6, 0i32..5, -3.0f64..3.0, -2i64..3), 0..300),
        ) {
            let mut by_time = rows.clone();
            by_time.sort_by_key(|row| row.3);
            for (rows, threads) in [(&rows, 1), (&rows, 3), (&by_time, 2)] {
                let users: Vec<i32> = rows.iter().map(|row| row.0).collect();
                let items: Vec<i32> = rows.iter().map(|row| row.1).collect();
                let weights: Vec<f64> = rows.iter().map(|row| row.2).collect();
                let times: Vec<i64> = rows.iter().map(|row| row.3).collect();
                let pool = crate::runtime::pool::get(Some(threads)).unwrap();
                let got = pool.install(|| canonical(&users, &items, &weights, &times, (6, 5), &Cancel::default())).unwrap();
                let flat: Vec<_> = (0..got.users.len())
                    .map(|at| (got.users[at], got.items[at], got.times[at], got.weights[at].to_bits()))
                    .collect();
                prop_assert_eq!(&flat, &naive(rows));
                prop_assert_eq!(got.repeated.len() + flat.len(), rows.len());
            }
        }
    }

    #[test]
    fn many_users_in_several_tasks_stay_in_order() {
        let n = 200_000;
        let users: Vec<i32> = (0..n).map(|row| (row * 7919) % 5000).collect();
        let items: Vec<i32> = (0..n).map(|row| (row * 31) % 97).collect();
        let events = canonical(&users, &items, &vec![1.0; n as usize], &[], (5000, 97), &Cancel::default()).unwrap();
        assert!(events.times.is_empty());
        let keys: Vec<_> = events.users.iter().zip(&events.items).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(events.weights.iter().map(|&weight| f64::from(weight)).sum::<f64>(), f64::from(n));
        assert_eq!(events.users.len() + events.repeated.len(), n as usize);
    }

    #[test]
    fn weights_that_add_up_to_more_than_a_float_holds_are_refused() {
        let sum = |weights: &[f64; 2]| canonical(&[0, 0], &[0, 0], weights, &[], (1, 1), &Cancel::default());
        assert!(matches!(sum(&[3e38, 3e38]), Err(Error::InvalidData(_))));
        assert_eq!(sum(&[3e38, -3e38]).unwrap().weights, [0.0]);
    }

    #[test]
    fn positions_outside_the_ids_are_refused() {
        assert!(canonical(&[0], &[5], &[1.0], &[], (1, 5), &Cancel::default()).is_err());
        assert!(canonical(&[-1], &[0], &[1.0], &[], (1, 5), &Cancel::default()).is_err());
        assert!(canonical(&[0], &[0, 0], &[1.0], &[], (1, 5), &Cancel::default()).is_err());
    }
}
