//! Events in their canonical order: by user, item and time, equal ones as one with their weights summed.
//!
//! Rows are partitioned into ranges of users, so that a range fits a core's own cache while it is sorted: by user and item
//! in stable radix passes of a few bits each, and then by time where a pair occurs more than once and not in the order of
//! time. Equal events are summed in f64 in the order of their rows: the result is the same for every thread count.
//!
//! All large arrays are the caller's, who knows where memory is cheap: fresh memory costs as much as the sorting itself at
//! five million rows. For the same reason a large table is sorted in four parts, which use the same working memory.

use std::ops::Range;
use std::slice::IterMut;

use rayon::prelude::*;

use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

/// Numbers of working memory per row.
const WORK_PER_ROW: usize = 4;

/// Rows of a range of users on average: with [`WORK_PER_ROW`] numbers each they fill a quarter of a cache of 512 KiB.
const RANGE_ROWS: usize = 1 << 12;

/// Parts of a large table, which are sorted one after the other, and the fewest rows of a part.
const MAX_PARTS: usize = 4;
const MIN_PART_ROWS: usize = 1 << 17;

/// A part has no more ranges than there are lines of a first-level cache, which are all written to in turn.
const MAX_RANGES: usize = 512 * MAX_PARTS;

/// Rows between two checks whether the caller wants to stop; those of a part are selected among so many at once.
const CHUNK_ROWS: usize = 1 << 12;

/// The most bits that one pass sorts by.
const DIGIT_BITS: u32 = 11;

/// The arrays that the events are written to, each as long as there are rows.
#[derive(Debug)]
pub struct EventColumns<'a> {
    /// Positions, ascending.
    pub users: &'a mut [i32],
    /// Positions, ascending within a user.
    pub items: &'a mut [i32],
    /// Summed weights.
    pub weights: &'a mut [f32],
    /// Ascending within a pair; empty for tables without times.
    pub times: &'a mut [i64],
}

/// The number of events, and the rows that were added to an earlier one with the same user, item and time.
#[derive(Debug, PartialEq)]
pub struct Sorted {
    /// Number of events.
    pub events: usize,
    /// Ascending.
    pub repeated: Vec<i64>,
}

/// A row: user and item, its number, its time and its weight as bits.
type Row = [u64; WORK_PER_ROW];

/// Rows of users and items, and how they are partitioned for sorting.
#[derive(Debug)]
pub struct Plan<'a> {
    users: &'a [i32],
    items: &'a [i32],
    n_items: usize,
    /// Users that agree in the bits above these make one range.
    shift: u32,
    /// Consecutive rows that one task partitions.
    task_rows: usize,
    /// Number of rows per task and range.
    counts: Vec<Vec<usize>>,
    /// Where each range begins; one more than there are ranges.
    starts: Vec<usize>,
    /// Parts: ranges that are sorted at the same time.
    parts: Vec<Range<usize>>,
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
        let max_position = |positions: &[i32]| positions.iter().fold(0, |max, &at| (at as u32).max(max)) as usize;
        let outside = |users: &[i32], items: &[i32]| max_position(users) >= n_users || max_position(items) >= n_items;
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
        let parts = parts(&starts);
        Ok(Self { users, items, n_items, shift, task_rows, counts, starts, parts })
    }

    /// Numbers of working memory that [`Self::events`] needs.
    pub fn work_len(&self) -> usize {
        self.parts.iter().map(|part| self.rows_of(part)).max().unwrap_or(0) * WORK_PER_ROW
    }

    fn rows_of(&self, part: &Range<usize>) -> usize {
        self.starts[part.end] - self.starts[part.start]
    }

    /// Sorts and sums. `times` is empty or as long as the others. What `work` holds before does not matter.
    pub fn events(
        &self,
        weights: &[f64],
        times: &[i64],
        work: &mut [u64],
        mut out: EventColumns<'_>,
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
        let mut results: Vec<RangeResult> = Vec::with_capacity(self.starts.len());
        let mut places = out.reborrowed();
        for part in &self.parts {
            let n_rows = self.rows_of(part);
            let rows = &mut work.as_chunks_mut().0[..n_rows];
            self.partition(part, weights, times, rows, cancel);
            cancel.check()?;
            let (own, others) = places.split_at(n_rows);
            results.par_extend(self.split_ranges(part, rows, own).into_par_iter().map_init(
                Scratch::default,
                |scratch, (rows, out)| {
                    if cancel.is_cancelled() { RangeResult::default() } else { self.sort_range(rows, out, scratch) }
                },
            ));
            cancel.check()?;
            places = others;
        }
        self.compact(results, &mut out)
    }

    /// Closes the gaps between the events of the ranges.
    fn compact(&self, results: Vec<RangeResult>, out: &mut EventColumns<'_>) -> Result<Sorted> {
        let mut events = 0;
        let mut repeated = Vec::new();
        for (result, &start) in results.into_iter().zip(&self.starts) {
            if events < start {
                let from = start..start + result.events;
                out.users.copy_within(from.clone(), events);
                out.items.copy_within(from.clone(), events);
                out.weights.copy_within(from.clone(), events);
                if !out.times.is_empty() {
                    out.times.copy_within(from, events);
                }
            }
            if let Some(at) = result.overflow {
                return Err(Error::InvalidData(format!(
                    "the weights of user {} and item {} (by position) add up to more than a float32 holds; give smaller \
                     weights.",
                    out.users[events + at],
                    out.items[events + at]
                )));
            }
            events += result.events;
            repeated.extend(result.repeated);
        }
        repeated.sort_unstable();
        Ok(Sorted { events, repeated })
    }

    /// Puts each row of a part into its range, in the order of the rows.
    fn partition(&self, part: &Range<usize>, weights: &[f64], times: &[i64], rows: &mut [Row], cancel: &Cancel) {
        let mut slots: Vec<Vec<IterMut<'_, Row>>> =
            self.counts.iter().map(|_| Vec::with_capacity(part.len())).collect();
        let mut rest = rows;
        for range in part.clone() {
            for (slots, counts) in slots.iter_mut().zip(&self.counts) {
                let (own, others) = rest.split_at_mut(counts[range]);
                slots.push(own.iter_mut());
                rest = others;
            }
        }
        slots.into_par_iter().enumerate().for_each(|(task, mut slots)| {
            let mut selected = [0u32; CHUNK_ROWS];
            let end = ((task + 1) * self.task_rows).min(self.users.len());
            for from in (task * self.task_rows..end).step_by(CHUNK_ROWS) {
                if cancel.is_cancelled() {
                    break;
                }
                let users = &self.users[from..end.min(from + CHUNK_ROWS)];
                let range_of = |user: i32| (user as u64 >> self.shift) as usize;
                let (first, n_users) = ((part.start as u64) << self.shift, (part.len() as u64) << self.shift);
                // Without a branch, which would be mispredicted for most of the selected rows.
                let mut n_selected = 0;
                for (row, &user) in users.iter().enumerate() {
                    selected[n_selected % CHUNK_ROWS] = row as u32;
                    n_selected += usize::from((user as u64).wrapping_sub(first) < n_users);
                }
                for &row in &selected[..n_selected] {
                    let at = from + row as usize;
                    let user = self.users[at];
                    let pair = u64::from(user as u32) << 32 | u64::from(self.items[at] as u32);
                    let time = times.get(at).copied().unwrap_or(0) as u64;
                    if let Some(slot) = slots[range_of(user) - part.start].next() {
                        *slot = [pair, at as u64, time, weights[at].to_bits()];
                    }
                }
            }
        });
    }

    /// The rows of each range of a part, and the places for their events.
    fn split_ranges<'b>(
        &self,
        part: &Range<usize>,
        mut rows: &'b mut [Row],
        mut out: EventColumns<'b>,
    ) -> Vec<(&'b mut [Row], EventColumns<'b>)> {
        let mut ranges = Vec::with_capacity(part.len());
        for range in part.clone() {
            let n = self.rows_of(&(range..range + 1));
            let (own_rows, other_rows) = rows.split_at_mut(n);
            let (own, others) = out.split_at(n);
            ranges.push((own_rows, own));
            (rows, out) = (other_rows, others);
        }
        ranges
    }
}

/// Users that agree in the bits above these make one range.
fn range_bits(n: usize, n_users: usize) -> u32 {
    let ranges = (n / RANGE_ROWS).clamp(1, MAX_RANGES);
    (0..32).find(|&bits| n_users.div_ceil(1 << bits) <= ranges).unwrap_or(32)
}

/// Consecutive ranges with about a quarter of the rows each; a single part where rows are few.
fn parts(starts: &[usize]) -> Vec<Range<usize>> {
    let (n, n_ranges) = (starts[starts.len() - 1], starts.len() - 1);
    let max_rows = n.div_ceil((n / MIN_PART_ROWS).clamp(1, MAX_PARTS));
    let mut parts: Vec<Range<usize>> = Vec::new();
    for range in 0..n_ranges {
        match parts.last_mut() {
            Some(part) if starts[range + 1] - starts[part.start] <= max_rows => part.end = range + 1,
            _ => parts.push(range..range + 1),
        }
    }
    parts
}

impl EventColumns<'_> {
    fn reborrowed(&mut self) -> EventColumns<'_> {
        EventColumns { users: self.users, items: self.items, weights: self.weights, times: self.times }
    }

    /// The first `n` places, and the rest.
    fn split_at(self, n: usize) -> (Self, Self) {
        let (users, other_users) = self.users.split_at_mut(n);
        let (items, other_items) = self.items.split_at_mut(n);
        let (weights, other_weights) = self.weights.split_at_mut(n);
        let (times, other_times) = self.times.split_at_mut(n.min(self.times.len()));
        let others = Self { users: other_users, items: other_items, weights: other_weights, times: other_times };
        (Self { users, items, weights, times }, others)
    }
}

/// The result of sorting one range.
#[derive(Default)]
struct RangeResult {
    events: usize,
    repeated: Vec<i64>,
    /// The first event whose weight no float32 holds.
    overflow: Option<usize>,
}

/// Memory that one task uses for range after range.
#[derive(Default)]
struct Scratch {
    order: Vec<u64>,
    spare: Vec<u64>,
    same: Vec<Row>,
}

impl Plan<'_> {
    /// Sorts the rows of a range, which come in the order of the table, and writes its events from the first place on.
    fn sort_range(&self, rows: &mut [Row], mut out: EventColumns<'_>, scratch: &mut Scratch) -> RangeResult {
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

        let mut result = RangeResult::default();
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
                result.write(&mut out, row, f64::from_bits(row[3]));
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
                result.repeated.extend(event[1..].iter().map(|row| row[1] as i64));
                result.write(&mut out, &event[0], sum);
            }
        }
        result
    }
}

impl RangeResult {
    #[inline]
    fn write(&mut self, out: &mut EventColumns<'_>, row: &Row, weight: f64) {
        let at = self.events;
        out.users[at] = (row[0] >> 32) as i32;
        out.items[at] = row[0] as i32;
        out.weights[at] = weight as f32;
        if let Some(time) = out.times.get_mut(at) {
            *time = row[2] as i64;
        }
        if !(weight as f32).is_finite() && self.overflow.is_none() {
            self.overflow = Some(at);
        }
        self.events += 1;
    }
}

/// Stable sort by the `count` bits from bit `first` on.
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
mod tests;
