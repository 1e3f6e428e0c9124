//! Events in their canonical order: by user, item and time, equal ones as one with their weights summed.
//!
//! Rows are dealt to ranges of users with all that belongs to them, so that a range lies in the processor's own cache while
//! it is sorted: by user and item in passes of one byte each, which keep the order of the rows, and then by time where a
//! pair was met more than once and not in the order of time. Neighbours that agree are summed in f64 in the order of their
//! rows: the result is the same for every thread count.
//!
//! All large arrays are the caller's, who knows where memory is cheap.

use rayon::prelude::*;

use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

/// Numbers of working memory per row.
pub const WORK_PER_ROW: usize = 4;

/// Rows that a range of users has on average: with [`WORK_PER_ROW`] numbers each they fill a quarter of a cache of 512 KiB.
const RANGE_ROWS: usize = 1 << 12;

/// No more ranges than lines that a first-level cache can keep open for writing.
const MAX_RANGES: usize = 512;

/// Rows between two looks at whether the caller wants to stop.
const CHUNK_ROWS: usize = 1 << 16;

/// Where the events go: as many places as there are rows.
#[derive(Debug)]
pub struct Out<'a> {
    /// Positions, rising.
    pub users: &'a mut [i32],
    /// Positions, rising within a user.
    pub items: &'a mut [i32],
    /// Sums.
    pub weights: &'a mut [f32],
    /// Rising within a pair; empty where there are none.
    pub times: &'a mut [i64],
}

/// How many events there are, and the rows that agree with an earlier one in user, item and time.
#[derive(Debug, PartialEq)]
pub struct Sorted {
    /// Places that are filled.
    pub events: usize,
    /// Rising.
    pub repeated: Vec<i64>,
}

/// A row: user and item, its number, its time and its weight as bits.
type Row = [u64; WORK_PER_ROW];

/// Sorts and sums. `times` is empty or as long as the others; positions must lie below `n_users` and `n_items`.
/// `work` has [`WORK_PER_ROW`] numbers for each row; what stands in it does not matter.
pub fn canonical(
    users: &[i32],
    items: &[i32],
    weights: &[f64],
    times: &[i64],
    (n_users, n_items): (usize, usize),
    work: &mut [u64],
    mut out: Out<'_>,
    cancel: &Cancel,
) -> Result<Sorted> {
    let n = users.len();
    if items.len() != n || weights.len() != n || !(times.is_empty() || times.len() == n) {
        return Err(Error::InvalidData("users, items, weights and times must be equally long.".into()));
    }
    if n > u32::MAX as usize {
        return Err(Error::InvalidData(format!("{n} rows are more than one table can hold; read it in parts.")));
    }
    // A negative position is a large one here, and the loop has no exit to stop the compiler from widening it.
    let largest = |positions: &[i32]| positions.iter().fold(0, |most, &at| (at as u32).max(most)) as usize;
    if n > 0 && (largest(users) >= n_users || largest(items) >= n_items) {
        return Err(Error::InvalidData("a position lies outside the ids.".into()));
    }
    let rows = work.as_chunks_mut().0;
    if [rows.len(), out.users.len(), out.items.len(), out.weights.len()] != [n; 4] || out.times.len() != times.len() {
        return Err(Error::Internal("the working memory or the places for the events do not fit the rows.".into()));
    }

    let shift = range_bits(n, n_users);
    let starts = deal(users, items, weights, times, shift, rows, cancel);
    cancel.check()?;
    let parts: Vec<Part> = cut(&starts, rows, &mut out)
        .into_par_iter()
        .map_init(Scratch::default, |scratch, (rows, out)| {
            if cancel.is_cancelled() { Part::default() } else { sort_range(rows, out, shift, n_items, scratch) }
        })
        .collect();
    cancel.check()?;

    let mut events = 0;
    let mut repeated = Vec::new();
    for (part, &start) in parts.into_iter().zip(&starts) {
        if events < start {
            let from = start..start + part.events;
            out.users.copy_within(from.clone(), events);
            out.items.copy_within(from.clone(), events);
            out.weights.copy_within(from.clone(), events);
            if !times.is_empty() {
                out.times.copy_within(from, events);
            }
        }
        events += part.events;
        repeated.extend(part.repeated);
    }
    if let Some(at) = out.weights[..events].iter().position(|weight| !weight.is_finite()) {
        return Err(Error::InvalidData(format!(
            "the weights of user {} and item {} (by position) add up to more than a float32 holds; give smaller weights.",
            out.users[at], out.items[at]
        )));
    }
    repeated.sort_unstable();
    Ok(Sorted { events, repeated })
}

/// Users that agree in the bits above these make one range.
fn range_bits(n: usize, n_users: usize) -> u32 {
    let ranges = (n / RANGE_ROWS).clamp(1, MAX_RANGES);
    (0..32).find(|&bits| n_users.div_ceil(1 << bits) <= ranges).unwrap_or(32)
}

/// Puts each row into its range, in the order of the rows, and tells where the ranges begin (and the last one ends).
fn deal(
    users: &[i32],
    items: &[i32],
    weights: &[f64],
    times: &[i64],
    shift: u32,
    mut rows: &mut [Row],
    cancel: &Cancel,
) -> Vec<usize> {
    let n = users.len();
    let range_of = |user: i32| (user as u64 >> shift) as usize;
    let mut starts = vec![0usize];
    for &user in users {
        let range = range_of(user);
        if range + 2 > starts.len() {
            starts.resize(range + 2, 0);
        }
        starts[range + 1] += 1;
    }
    for range in 1..starts.len() {
        starts[range] += starts[range - 1];
    }
    // Each task looks at all users and takes the rows of its own ranges: reading is cheap beside the writes all over.
    let tasks = rayon::current_num_threads();
    let mut dealt = Vec::new();
    let mut first = 0;
    for task in 1..=tasks {
        let last = if task == tasks {
            starts.len() - 1
        } else {
            starts.partition_point(|&start| start < n / tasks * task).clamp(first, starts.len() - 1)
        };
        let (own, others) = rows.split_at_mut(starts[last] - starts[first]);
        dealt.push((first, last, own));
        (first, rows) = (last, others);
    }
    dealt.into_par_iter().for_each(|(first, last, own)| {
        let mut next: Vec<usize> = starts[first..last].iter().map(|&start| start - starts[first]).collect();
        for row in 0..n {
            if row.is_multiple_of(CHUNK_ROWS) && cancel.is_cancelled() {
                break;
            }
            if let Some(place) = next.get_mut(range_of(users[row]).wrapping_sub(first)) {
                let pair = u64::from(users[row] as u32) << 32 | u64::from(items[row] as u32);
                let time = times.get(row).copied().unwrap_or(0) as u64;
                own[*place] = [pair, row as u64, time, weights[row].to_bits()];
                *place += 1;
            }
        }
    });
    starts
}

/// The rows of each range and the places for its events.
fn cut<'a>(starts: &[usize], mut rows: &'a mut [Row], out: &'a mut Out<'_>) -> Vec<(&'a mut [Row], Out<'a>)> {
    let Out { users, items, weights, times } = out;
    let (mut users, mut items, mut weights, mut times) = (&mut **users, &mut **items, &mut **weights, &mut **times);
    let mut parts = Vec::new();
    for bounds in starts.windows(2) {
        let n = bounds[1] - bounds[0];
        let n_times = n.min(times.len());
        let (own, own_users, own_items, own_weights, own_times);
        (own, rows) = rows.split_at_mut(n);
        (own_users, users) = users.split_at_mut(n);
        (own_items, items) = items.split_at_mut(n);
        (own_weights, weights) = weights.split_at_mut(n);
        (own_times, times) = times.split_at_mut(n_times);
        parts.push((own, Out { users: own_users, items: own_items, weights: own_weights, times: own_times }));
    }
    parts
}

/// What became of one range.
#[derive(Default)]
struct Part {
    events: usize,
    repeated: Vec<i64>,
}

/// Memory that one task uses for range after range.
#[derive(Default)]
struct Scratch {
    order: Vec<u64>,
    spare: Vec<u64>,
    same: Vec<Row>,
}

/// Sorts the rows of a range, which stand in the order of the table, and writes its events from the first place on.
fn sort_range(rows: &mut [Row], mut out: Out<'_>, shift: u32, n_items: usize, scratch: &mut Scratch) -> Part {
    let Scratch { order, spare, same } = scratch;
    let bits = |n: usize| usize::BITS - n.saturating_sub(1).leading_zeros();
    let (item_bits, place_bits) = (bits(n_items), bits(rows.len()));
    order.clear();
    if shift + item_bits + place_bits <= u64::BITS {
        let user_mask = (1u64 << shift) - 1;
        order.extend(rows.iter().enumerate().map(|(place, row)| {
            let pair = (row[0] >> 32 & user_mask) << item_bits | (row[0] & 0xFFFF_FFFF);
            pair << place_bits | place as u64
        }));
        sort_from_bit(order, spare, place_bits, shift + item_bits);
    } else {
        rows.sort_unstable_by_key(|row| (row[0], row[1]));
        order.extend(0..rows.len() as u64);
    }
    let place = |at: u64| (at & ((1 << place_bits) - 1)) as usize;

    let mut part = Part::default();
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let row = rows[place(first)];
        let length = rest.iter().take_while(|&&at| rows[place(at)][0] == row[0]).count();
        if length == 1 {
            part.write(&mut out, &row, f64::from_bits(row[3]));
        } else {
            same.clear();
            same.extend(rest[..length].iter().map(|&at| rows[place(at)]));
            if !same.is_sorted_by_key(|row| row[2] as i64) {
                same.sort_by_key(|row| row[2] as i64);
            }
            for event in same.chunk_by(|a, b| a[2] == b[2]) {
                let sum =
                    event.iter().skip(1).fold(f64::from_bits(event[0][3]), |sum, row| sum + f64::from_bits(row[3]));
                part.repeated.extend(event[1..].iter().map(|row| row[1] as i64));
                part.write(&mut out, &event[0], sum);
            }
        }
        rest = &rest[length..];
    }
    part
}

impl Part {
    #[inline]
    fn write(&mut self, out: &mut Out<'_>, row: &Row, weight: f64) {
        let at = self.events;
        out.users[at] = (row[0] >> 32) as i32;
        out.items[at] = row[0] as i32;
        out.weights[at] = weight as f32;
        if let Some(time) = out.times.get_mut(at) {
            *time = row[2] as i64;
        }
        self.events += 1;
    }
}

/// Sorts by the `count` bits from bit `first` on; numbers that agree there stay in their order.
fn sort_from_bit(numbers: &mut Vec<u64>, spare: &mut Vec<u64>, first: u32, count: u32) {
    spare.resize(numbers.len(), 0);
    for low in (first..first + count).step_by(8) {
        let mask = (1 << (first + count - low).min(8)) - 1;
        let digit = |number: u64| (number >> low & mask) as usize;
        let mut next = [0u32; 256];
        for &number in numbers.iter() {
            next[digit(number)] += 1;
        }
        if next.iter().any(|&count| count as usize == numbers.len()) {
            continue;
        }
        let mut before = 0;
        for count in &mut next {
            (*count, before) = (before, before + *count);
        }
        for &number in numbers.iter() {
            let place = &mut next[digit(number)];
            spare[*place as usize] = number;
            *place += 1;
        }
        std::mem::swap(numbers, spare);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Events {
        users: Vec<i32>,
        items: Vec<i32>,
        weights: Vec<f32>,
        times: Vec<i64>,
        repeated: Vec<i64>,
    }

    fn canonical(
        users: &[i32],
        items: &[i32],
        weights: &[f64],
        times: &[i64],
        sizes: (usize, usize),
        cancel: &Cancel,
    ) -> Result<Events> {
        let n = users.len();
        let mut events = Events {
            users: vec![-9; n],
            items: vec![-9; n],
            weights: vec![-9.0; n],
            times: vec![-9; times.len()],
            repeated: Vec::new(),
        };
        let mut work = vec![77; WORK_PER_ROW * n];
        let Events { users: own_users, items: own_items, weights: own_weights, times: own_times, .. } = &mut events;
        let out = Out { users: own_users, items: own_items, weights: own_weights, times: own_times };
        let sorted = super::canonical(users, items, weights, times, sizes, &mut work, out, cancel)?;
        events.users.truncate(sorted.events);
        events.items.truncate(sorted.events);
        events.weights.truncate(sorted.events);
        events.times.truncate(sorted.events);
        Ok(Events { repeated: sorted.repeated, ..events })
    }

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
    fn large_tables_in_any_order_are_those_of_a_sorted_map() {
        let draws = crate::runtime::rng::Stream::new(7, 1);
        let n = 60_000u64;
        // Ids that nearly fill 31 bits leave no room to sort by bits.
        for (n_users, n_items) in [(900, 70), (70_000, 3), (1, 1), (1 << 30, 1 << 31)] {
            let rows: Vec<(i32, i32, f64, i64)> = (0..n)
                .map(|row| {
                    let spread = |at: u64, n: u64| (n - 1) / 300 * draws.below(4 * row + at, 300);
                    let (user, item) = if n_users > 1 << 20 {
                        (spread(0, n_users), spread(1, n_items))
                    } else {
                        (draws.below(4 * row, n_users), draws.below(4 * row + 1, n_items))
                    };
                    (
                        user as i32,
                        item as i32,
                        draws.below(4 * row + 2, 9) as f64 + 0.25,
                        draws.below(4 * row + 3, 5) as i64 - 2,
                    )
                })
                .collect();
            let users: Vec<i32> = rows.iter().map(|row| row.0).collect();
            let items: Vec<i32> = rows.iter().map(|row| row.1).collect();
            let weights: Vec<f64> = rows.iter().map(|row| row.2).collect();
            let times: Vec<i64> = rows.iter().map(|row| row.3).collect();
            let mut seen = std::collections::HashSet::new();
            let repeated: Vec<i64> = (0..rows.len())
                .filter(|&at| !seen.insert((rows[at].0, rows[at].1, rows[at].3)))
                .map(|at| at as i64)
                .collect();
            for threads in [1, 3] {
                let pool = crate::runtime::pool::get(Some(threads)).unwrap();
                let sizes = (n_users as usize, n_items as usize);
                let got =
                    pool.install(|| canonical(&users, &items, &weights, &times, sizes, &Cancel::default())).unwrap();
                let flat: Vec<_> = (0..got.users.len())
                    .map(|at| (got.users[at], got.items[at], got.times[at], got.weights[at].to_bits()))
                    .collect();
                assert_eq!(flat, naive(&rows));
                assert_eq!(got.repeated, repeated);
            }
        }
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
