//! All rows of the co-purchase table G of a small catalogue, for regressions that need some whole rows of it.
//!
//! An entry is the sum over the users who have both items, in ascending order, as wherever G is summed, so who looks it up
//! has the bits of who sums it anew. Where few items have users in common the rows are kept without their zeros: an elastic
//! net of Last.fm, whose G is zero in 19 of 20 places, then reads 300 numbers that lie together in place of 200 that each
//! lie in a cache line of their own.

use super::ridge::{CoPurchases, MAX_COMPANIONS};
use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::huge_pages::advise_whole_pages;

/// Catalogues up to this size: the table takes 100 MiB at most.
const MAX_ITEMS: usize = 5120;

/// The rows are kept without zeros where at most one in so many places can be another number.
const PLACES_FOR_NUMBER: usize = 8;

/// What an item that is no candidate has for its place.
const NO_PLACE: u16 = MAX_COMPANIONS as u16;

/// The rows, in order of the items.
pub(super) enum CoPurchaseRows {
    /// All numbers, and whether to read a row is less work than to sum it.
    Square(Vec<f32>, bool),
    Sparse(Vec<(Vec<u32>, Vec<f32>)>),
}

impl CoPurchaseRows {
    /// Whether so many regressions over so many items are worth it; a few are not.
    pub fn pay(n_items: usize, n_targets: usize) -> bool {
        n_items <= MAX_ITEMS.min(2 * n_targets)
    }

    pub fn new(table: &CoPurchases<'_>, context: &Context) -> Result<Self> {
        let (n_items, items_of) = (table.n_items(), table.items_of);
        let most: usize = (0..items_of.n_rows()).map(|user| items_of.row(user).len().pow(2)).sum();
        if most <= n_items * n_items / PLACES_FOR_NUMBER {
            return Ok(Self::Sparse(context.try_map_tasks(
                0..n_items,
                || vec![0.0; n_items],
                |sums, item| {
                    context.cancel.check()?;
                    let mut others = Vec::new();
                    sum_row(table, item, sums, &mut others);
                    let values = others.iter().map(|&other| std::mem::take(&mut sums[other as usize])).collect();
                    Ok((others, values))
                },
            )?));
        }
        let mut numbers = vec![0.0; n_items * n_items];
        advise_whole_pages(&mut numbers);
        context.try_for_each_task(
            numbers.chunks_exact_mut(n_items.max(1)).enumerate(),
            || (),
            |(), (item, row)| {
                context.cancel.check()?;
                for &user in table.users_of.row(item) {
                    let weight = table.user_weights[user as usize];
                    for &other in items_of.row(user as usize) {
                        row[other as usize] += weight;
                    }
                }
                Ok(())
            },
        )?;
        Ok(Self::Square(numbers, most > n_items * n_items))
    }

    /// Whether [`Self::copy_row`] is faster than [`sum_row`], which gives the same.
    pub fn is_faster(&self) -> bool {
        !matches!(self, Self::Square(_, false))
    }

    /// Adds the row of an item to `sums`, which are zero, and the items where it is not zero to `others`.
    pub fn copy_row(&self, item: usize, sums: &mut [f32], others: &mut Vec<u32>) {
        match self {
            Self::Square(numbers, _) => {
                sums.copy_from_slice(&numbers[item * sums.len()..][..sums.len()]);
                others.extend((0..sums.len() as u32).filter(|&other| sums[other as usize] != 0.0));
            }
            Self::Sparse(rows) => {
                let (items, values) = &rows[item];
                others.extend(items);
                items.iter().zip(values).for_each(|(&other, &value)| sums[other as usize] = value);
            }
        }
    }
}

/// Adds the row of an item to `sums`, which are zero, and the items where it is not zero to `others`.
pub(super) fn sum_row(table: &CoPurchases<'_>, item: usize, sums: &mut [f32], others: &mut Vec<u32>) {
    for &user in table.users_of.row(item) {
        let weight = table.user_weights[user as usize];
        for &other in table.items_of.row(user as usize) {
            let sum = &mut sums[other as usize];
            if *sum == 0.0 {
                others.push(other);
            }
            *sum += weight;
        }
    }
}

/// Reads the values between the candidates of one regression after the other.
pub(super) struct RowReader {
    /// By item: its place among the candidates.
    places: Vec<u16>,
    /// Numbers by place, the last one of what is no candidate.
    line: [f32; MAX_COMPANIONS + 1],
}

impl RowReader {
    pub fn new(n_items: usize) -> Self {
        Self { places: vec![NO_PLACE; n_items], line: [0.0; MAX_COMPANIONS + 1] }
    }

    /// Begins with other candidates.
    pub fn begin(&mut self, rows: &CoPurchaseRows, candidates: &[u32]) {
        if let CoPurchaseRows::Sparse(_) = rows {
            (0..).zip(candidates).for_each(|(place, &item)| self.places[item as usize] = place);
        }
    }

    /// Ends with them.
    pub fn end(&mut self, candidates: &[u32]) {
        for &item in candidates {
            self.places[item as usize] = NO_PLACE;
        }
    }

    /// Writes the values between one of the candidates and all of them.
    pub fn read(&mut self, rows: &CoPurchaseRows, candidates: &[u32], at: usize, to: &mut [f32]) {
        let (item, Self { places, line }) = (candidates[at] as usize, self);
        match rows {
            CoPurchaseRows::Square(numbers, _) => {
                let row = &numbers[item * places.len()..][..places.len()];
                to.iter_mut().zip(candidates).for_each(|(to, &other)| *to = row[other as usize]);
            }
            CoPurchaseRows::Sparse(rows) => {
                let (items, values) = &rows[item];
                line[..to.len()].fill(0.0);
                for (&other, &value) in items.iter().zip(values) {
                    line[usize::from(places[other as usize])] = value;
                }
                to.copy_from_slice(&line[..to.len()]);
            }
        }
    }
}
