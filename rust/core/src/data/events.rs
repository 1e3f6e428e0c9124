//! Events in their canonical order: by user, item and time, equal ones as one with their weights summed.
//!
//! Rows are dealt to ranges of users with all that belongs to them, so that a range lies in the processor's own cache while
//! it is sorted: by user and item in passes of a few bits each, which keep the order of the rows, and then by time where a
//! pair was met more than once and not in the order of time. Neighbours that agree are summed in f64 in the order of their
//! rows: the result is the same for every thread count.
//!
//! All large arrays are the caller's, who knows where memory is cheap. It is not: fresh memory cost as much as the sorting
//! itself at five million rows. So a large table is sorted a quarter at a time, and all four use the same memory.

use std::ops::Range;
use std::slice::IterMut;

use rayon::prelude::*;

use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

/// Numbers that a row takes of the working memory.
const WORK_PER_ROW: usize = 4;

/// Rows that a range of users has on average: with [`WORK_PER_ROW`] numbers each they fill a quarter of a cache of 512 KiB.
const RANGE_ROWS: usize = 1 << 12;

/// Parts of a large table that are sorted one after the other, and the fewest rows that one is worth.
const STRIPS: usize = 4;
const STRIP_ROWS: usize = 1 << 17;

/// In a strip no more ranges than lines that a first-level cache can keep open for writing.
const MAX_RANGES: usize = 512 * STRIPS;

/// Rows between two looks at whether the caller wants to stop, and of which those of a strip are picked at once.
const CHUNK_ROWS: usize = 1 << 12;

/// The most bits that one pass sorts by.
const DIGIT_BITS: u32 = 11;

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

/// Rows of users and items, and how they are to be sorted.
#[derive(Debug)]
pub struct Plan<'a> {
    users: &'a [i32],
    items: &'a [i32],
    n_items: usize,
    /// Users that agree in the bits above these make one range.
    shift: u32,
    /// Neighbouring rows that one task deals.
    task_rows: usize,
    /// How many rows each task has for each range.
    counts: Vec<Vec<usize>>,
    /// Where the ranges begin, and the last one ends.
    starts: Vec<usize>,
    /// Ranges that are sorted together.
    strips: Vec<Range<usize>>,
}

impl<'a> Plan<'a> {
    /// Positions must lie below `n_users` and `n_items`.
    pub fn new(users: &'a [i32], items: &'a [i32], (n_users, n_items): (usize, usize)) -> Result<Self> {
        let n = users.len();
        if items.len() != n {
            return Err(Error::InvalidData("users, items, weights and times must be equally long.".into()));
        }
        if n > u32::MAX as usize {
            return Err(Error::InvalidData(format!("{n} rows are more than one table can hold; read it in parts.")));
        }
        let task_rows = n.div_ceil(rayon::current_num_threads()).max(1);
        // A negative position is a large one here, and the loop has no exit to stop the compiler from widening it.
        let largest = |positions: &[i32]| positions.iter().fold(0, |most, &at| (at as u32).max(most)) as usize;
        let outside = |users: &[i32], items: &[i32]| largest(users) >= n_users || largest(items) >= n_items;
        if users.par_chunks(task_rows).zip(items.par_chunks(task_rows)).any(|(users, items)| outside(users, items)) {
            return Err(Error::InvalidData("a position lies outside the ids.".into()));
        }
        let shift = range_bits(n, n_users);
        let n_ranges = n_users.div_ceil(1 << shift);
        let counts: Vec<Vec<usize>> = users
            .par_chunks(task_rows)
            .map(|users| {
                let mut counts = vec![0; n_ranges];
                for &user in users {
                    counts[(user as u64 >> shift) as usize] += 1;
                }
                counts
            })
            .collect();
        let mut starts = vec![0];
        for range in 0..n_ranges {
            starts.push(starts[range] + counts.iter().map(|counts| counts[range]).sum::<usize>());
        }
        let strips = strips(&starts);
        Ok(Self { users, items, n_items, shift, task_rows, counts, starts, strips })
    }

    /// Numbers of working memory that [`Self::events`] needs.
    pub fn work_len(&self) -> usize {
        self.strips.iter().map(|strip| self.rows_of(strip)).max().unwrap_or(0) * WORK_PER_ROW
    }

    fn rows_of(&self, strip: &Range<usize>) -> usize {
        self.starts[strip.end] - self.starts[strip.start]
    }

    /// Sorts and sums. `times` is empty or as long as the others. What stands in `work` does not matter.
    pub fn events(
        &self,
        weights: &[f64],
        times: &[i64],
        work: &mut [u64],
        mut out: Out<'_>,
        cancel: &Cancel,
    ) -> Result<Sorted> {
        let n = self.users.len();
        if weights.len() != n || !(times.is_empty() || times.len() == n) {
            return Err(Error::InvalidData("users, items, weights and times must be equally long.".into()));
        }
        if work.len() < self.work_len()
            || [out.users.len(), out.items.len(), out.weights.len()] != [n; 3]
            || out.times.len() != times.len()
        {
            return Err(Error::Internal("the working memory or the places for the events do not fit the rows.".into()));
        }
        let mut parts: Vec<Part> = Vec::with_capacity(self.starts.len());
        let mut places = out.reborrowed();
        for strip in &self.strips {
            let n_rows = self.rows_of(strip);
            let rows = &mut work.as_chunks_mut().0[..n_rows];
            self.deal(strip, weights, times, rows, cancel);
            cancel.check()?;
            let (own, others) = places.split_at(n_rows);
            parts.par_extend(self.cut(strip, rows, own).into_par_iter().map_init(
                Scratch::default,
                |scratch, (rows, out)| {
                    if cancel.is_cancelled() { Part::default() } else { self.sort_range(rows, out, scratch) }
                },
            ));
            cancel.check()?;
            places = others;
        }
        self.joined(parts, &mut out)
    }

    /// Moves the events of the ranges together.
    fn joined(&self, parts: Vec<Part>, out: &mut Out<'_>) -> Result<Sorted> {
        let mut events = 0;
        let mut repeated = Vec::new();
        for (part, &start) in parts.into_iter().zip(&self.starts) {
            if events < start {
                let from = start..start + part.events;
                out.users.copy_within(from.clone(), events);
                out.items.copy_within(from.clone(), events);
                out.weights.copy_within(from.clone(), events);
                if !out.times.is_empty() {
                    out.times.copy_within(from, events);
                }
            }
            if let Some(at) = part.beyond {
                return Err(Error::InvalidData(format!(
                    "the weights of user {} and item {} (by position) add up to more than a float32 holds; give smaller \
                     weights.",
                    out.users[events + at],
                    out.items[events + at]
                )));
            }
            events += part.events;
            repeated.extend(part.repeated);
        }
        repeated.sort_unstable();
        Ok(Sorted { events, repeated })
    }

    /// Puts each row of a strip into its range, in the order of the rows.
    fn deal(&self, strip: &Range<usize>, weights: &[f64], times: &[i64], rows: &mut [Row], cancel: &Cancel) {
        let mut slots: Vec<Vec<IterMut<'_, Row>>> =
            self.counts.iter().map(|_| Vec::with_capacity(strip.len())).collect();
        let mut rest = rows;
        for range in strip.clone() {
            for (slots, counts) in slots.iter_mut().zip(&self.counts) {
                let (own, others) = rest.split_at_mut(counts[range]);
                slots.push(own.iter_mut());
                rest = others;
            }
        }
        slots.into_par_iter().enumerate().for_each(|(task, mut slots)| {
            let mut picked = [0u32; CHUNK_ROWS];
            let end = ((task + 1) * self.task_rows).min(self.users.len());
            for from in (task * self.task_rows..end).step_by(CHUNK_ROWS) {
                if cancel.is_cancelled() {
                    break;
                }
                let users = &self.users[from..end.min(from + CHUNK_ROWS)];
                let range_of = |user: i32| (user as u64 >> self.shift) as usize;
                let (first, n_users) = ((strip.start as u64) << self.shift, (strip.len() as u64) << self.shift);
                // Without a branch, which would be guessed wrong for most rows that are in.
                let mut n_picked = 0;
                for (row, &user) in users.iter().enumerate() {
                    picked[n_picked % CHUNK_ROWS] = row as u32;
                    n_picked += usize::from((user as u64).wrapping_sub(first) < n_users);
                }
                for &row in &picked[..n_picked] {
                    let at = from + row as usize;
                    let user = self.users[at];
                    let pair = u64::from(user as u32) << 32 | u64::from(self.items[at] as u32);
                    let time = times.get(at).copied().unwrap_or(0) as u64;
                    if let Some(slot) = slots[range_of(user) - strip.start].next() {
                        *slot = [pair, at as u64, time, weights[at].to_bits()];
                    }
                }
            }
        });
    }

    /// The rows of each range of a strip, and the places for their events.
    fn cut<'b>(
        &self,
        strip: &Range<usize>,
        mut rows: &'b mut [Row],
        mut out: Out<'b>,
    ) -> Vec<(&'b mut [Row], Out<'b>)> {
        let mut parts = Vec::with_capacity(strip.len());
        for range in strip.clone() {
            let n = self.rows_of(&(range..range + 1));
            let (own_rows, other_rows) = rows.split_at_mut(n);
            let (own, others) = out.split_at(n);
            parts.push((own_rows, own));
            (rows, out) = (other_rows, others);
        }
        parts
    }
}

/// Users that agree in the bits above these make one range.
fn range_bits(n: usize, n_users: usize) -> u32 {
    let ranges = (n / RANGE_ROWS).clamp(1, MAX_RANGES);
    (0..32).find(|&bits| n_users.div_ceil(1 << bits) <= ranges).unwrap_or(32)
}

/// Neighbouring ranges that have about a quarter of the rows; or all of them where these are few.
fn strips(starts: &[usize]) -> Vec<Range<usize>> {
    let (n, n_ranges) = (starts[starts.len() - 1], starts.len() - 1);
    let most = n.div_ceil((n / STRIP_ROWS).clamp(1, STRIPS));
    let mut strips: Vec<Range<usize>> = Vec::new();
    for range in 0..n_ranges {
        match strips.last_mut() {
            Some(strip) if starts[range + 1] - starts[strip.start] <= most => strip.end = range + 1,
            _ => strips.push(range..range + 1),
        }
    }
    strips
}

impl Out<'_> {
    fn reborrowed(&mut self) -> Out<'_> {
        Out { users: self.users, items: self.items, weights: self.weights, times: self.times }
    }

    /// The first `n` places, and the others.
    fn split_at(self, n: usize) -> (Self, Self) {
        let (users, other_users) = self.users.split_at_mut(n);
        let (items, other_items) = self.items.split_at_mut(n);
        let (weights, other_weights) = self.weights.split_at_mut(n);
        let (times, other_times) = self.times.split_at_mut(n.min(self.times.len()));
        let others = Self { users: other_users, items: other_items, weights: other_weights, times: other_times };
        (Self { users, items, weights, times }, others)
    }
}

/// What became of one range.
#[derive(Default)]
struct Part {
    events: usize,
    repeated: Vec<i64>,
    /// The first event whose weight no float32 holds.
    beyond: Option<usize>,
}

/// Memory that one task uses for range after range.
#[derive(Default)]
struct Scratch {
    order: Vec<u64>,
    spare: Vec<u64>,
    same: Vec<Row>,
}

impl Plan<'_> {
    /// Sorts the rows of a range, which stand in the order of the table, and writes its events from the first place on.
    fn sort_range(&self, rows: &mut [Row], mut out: Out<'_>, scratch: &mut Scratch) -> Part {
        let Scratch { order, spare, same } = scratch;
        let bits = |n: usize| usize::BITS - n.saturating_sub(1).leading_zeros();
        let (item_bits, place_bits) = (bits(self.n_items), bits(rows.len()));
        let is_packed = self.shift + item_bits + place_bits <= u64::BITS;
        order.clear();
        if is_packed {
            let user_mask = (1u64 << self.shift) - 1;
            order.extend(rows.iter().enumerate().map(|(place, row)| {
                let pair = (row[0] >> 32 & user_mask) << item_bits | (row[0] & 0xFFFF_FFFF);
                pair << place_bits | place as u64
            }));
            sort_from_bit(order, spare, place_bits, self.shift + item_bits);
        } else {
            rows.sort_unstable_by_key(|row| (row[0], row[1]));
            order.extend(0..rows.len() as u64);
        }
        let place = |at: u64| (at & ((1 << place_bits) - 1)) as usize;
        let pair = |at: u64| if is_packed { at >> place_bits } else { rows[place(at)][0] };

        let mut part = Part::default();
        let mut at = 0;
        while at < order.len() {
            let row = &rows[place(order[at])];
            let own = pair(order[at]);
            let first = at;
            at += 1;
            while at < order.len() && pair(order[at]) == own {
                at += 1;
            }
            if at == first + 1 {
                part.write(&mut out, row, f64::from_bits(row[3]));
                continue;
            }
            same.clear();
            same.extend(order[first..at].iter().map(|&at| rows[place(at)]));
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
        part
    }
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
        if !(weight as f32).is_finite() && self.beyond.is_none() {
            self.beyond = Some(at);
        }
        self.events += 1;
    }
}

/// Sorts by the `count` bits from bit `first` on; numbers that agree there stay in their order.
fn sort_from_bit(numbers: &mut Vec<u64>, spare: &mut Vec<u64>, first: u32, count: u32) {
    spare.resize(numbers.len(), 0);
    let passes = count.div_ceil(DIGIT_BITS);
    let width = count.div_ceil(passes.max(1));
    let mut next = [0u32; 1 << DIGIT_BITS];
    for low in (0..passes).map(|pass| first + pass * width) {
        let mask = (1 << (first + count - low).min(width)) - 1;
        let digit = |number: u64| (number >> low & mask) as usize;
        let next = &mut next[..=digit(u64::MAX)];
        next.fill(0);
        for &number in numbers.iter() {
            next[digit(number)] += 1;
        }
        if next.iter().any(|&count| count as usize == numbers.len()) {
            continue;
        }
        let mut before = 0;
        for count in &mut *next {
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
        let plan = Plan::new(users, items, sizes)?;
        let mut work = vec![77; plan.work_len()];
        let Events { users: own_users, items: own_items, weights: own_weights, times: own_times, .. } = &mut events;
        let out = Out { users: own_users, items: own_items, weights: own_weights, times: own_times };
        let sorted = plan.events(weights, times, &mut work, out, cancel)?;
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
    fn a_table_that_is_sorted_in_parts_is_sorted_as_a_whole() {
        let draws = crate::runtime::rng::Stream::new(9, 1);
        let n = 2 * STRIP_ROWS as u64 + 777;
        // Spread evenly; one with two thirds of all rows; one with all.
        for (favourite, share) in [(0, 0), (40_001, 2), (17, 3)] {
            let user = |row| if draws.below(row, 3) < share { favourite } else { draws.below(row + n, 60_000) };
            let users: Vec<i32> = (0..n).map(|row| user(row) as i32).collect();
            let items: Vec<i32> = (0..n).map(|row| draws.below(row + 2 * n, 5000) as i32).collect();
            let weights: Vec<f64> = (0..n).map(|row| 1.0 + draws.below(row + 3 * n, 8) as f64).collect();
            let times: Vec<i64> = (0..n).map(|row| draws.below(row + 4 * n, 3) as i64).collect();
            let rows: Vec<_> = (0..n as usize).map(|row| (users[row], items[row], weights[row], times[row])).collect();
            let expected = naive(&rows);
            for threads in [1, 3] {
                let pool = crate::runtime::pool::get(Some(threads)).unwrap();
                let strips = pool.install(|| Plan::new(&users, &items, (60_000, 5000)).unwrap().strips.len());
                assert!(strips > 1, "{strips} parts");
                let sorted =
                    pool.install(|| canonical(&users, &items, &weights, &times, (60_000, 5000), &Cancel::default()));
                let got = sorted.unwrap();
                let flat: Vec<_> = (0..got.users.len())
                    .map(|at| (got.users[at], got.items[at], got.times[at], got.weights[at].to_bits()))
                    .collect();
                assert!(flat == expected, "{threads} threads, favourite {favourite}");
                assert_eq!(got.repeated.len() + flat.len(), rows.len());
                assert!(got.repeated.is_sorted());
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
