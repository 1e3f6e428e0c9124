//! Weighted sums of rows, and so a sparse matrix times a table: users from the items of their histories, items from their
//! users.
//!
//! Tables are larger than the nearest caches (10 MB for Gowalla's items at d = 64), and their rows are read in no order;
//! so the rows of the entries to come are prefetched while those before them are added.

use super::level::Level;
use super::vector::LANES;

/// What a product is added to.
#[derive(Clone, Copy)]
pub enum Accumulate<'a> {
    /// Nothing: the result is the product.
    Zero,
    /// What the result holds.
    Itself,
    /// Another table with rows like those of the result.
    Table(&'a [f32]),
}

/// Rows of a sparse matrix: row r has the entries `offsets[r]..offsets[r + 1]`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// One more than there are rows.
    pub offsets: &'a [usize],
    /// The columns of all entries of the matrix.
    pub columns: &'a [u32],
    /// Their values.
    pub values: &'a [f32],
}

/// Entries between the prefetch of a row and its use. With 12 rows of 256 bytes a pair whose history has 24 took 156 ns,
/// with 16 196, with 8 198, with 24 196 (Zen 3, medians, 2026-11-25).
pub(super) const ROWS_AHEAD: usize = 12;
/// Bytes of a cache line, which one prefetch brings.
const LINE: usize = 64;

/// Prefetches the cache lines of `width` numbers from `at`.
#[inline(always)]
pub fn fetch<T>(table: &[T], at: usize, width: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..width).step_by(LINE / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing and cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(table.as_ptr().wrapping_add(at + line).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (table, at, width, LINE);
}

/// `BLOCKS` · [`LANES`] numbers of the sum, from `from` on, stay in registers over all entries. The arrays have constant
/// lengths, or the sums would lie in memory and each row would wait for the one before it.
#[inline(always)]
fn block<const BLOCKS: usize>(
    columns: &[u32],
    weights: &[f32],
    next: &[u32],
    table: &[f32],
    out: &mut [f32],
    from: usize,
) {
    let (d, n, width) = (out.len(), columns.len(), BLOCKS * LANES);
    let out = &mut out[from..from + width];
    let mut sums = [[0f32; LANES]; BLOCKS];
    sums.as_flattened_mut().copy_from_slice(out);
    for at in 0..n {
        let ahead = at + ROWS_AHEAD;
        if let Some(&column) = if ahead < n { columns.get(ahead) } else { next.get(ahead - n) } {
            fetch(table, column as usize * d + from, width);
        }
        let row = table[columns[at] as usize * d + from..][..width].as_chunks::<LANES>().0;
        for (sums, row) in sums.iter_mut().zip(row) {
            for lane in 0..LANES {
                sums[lane] = weights[at].mul_add(row[lane], sums[lane]);
            }
        }
    }
    out.copy_from_slice(sums.as_flattened());
}

/// [`gather`]; the first rows of the columns `next`, which are gathered afterwards, are prefetched meanwhile.
#[inline(always)]
pub(super) fn gather_body(columns: &[u32], weights: &[f32], next: &[u32], table: &[f32], out: &mut [f32]) {
    let (d, weights) = (out.len(), &weights[..columns.len()]);
    let mut from = 0;
    while from + 4 * LANES <= d {
        block::<4>(columns, weights, next, table, out, from);
        from += 4 * LANES;
    }
    while from + LANES <= d {
        block::<1>(columns, weights, next, table, out, from);
        from += LANES;
    }
    if from < d {
        for (&column, &weight) in columns.iter().zip(weights) {
            for (sum, x) in out[from..].iter_mut().zip(&table[column as usize * d..][from..d]) {
                *sum = weight.mul_add(*x, *sum);
            }
        }
    }
}

/// out += Σ_e weights[e] · table[columns[e]], entries in order; rows of `table` are as long as `out`.
pub fn gather(level: Level, columns: &[u32], weights: &[f32], table: &[f32], out: &mut [f32]) {
    let next: &[u32] = &[];
    dispatch!(level, gather_body(columns: &[u32], weights: &[f32], next: &[u32], table: &[f32], out: &mut [f32]));
}

#[inline(always)]
fn multiply_body(d: usize, rows: Rows<'_>, table: &[f32], onto: Accumulate<'_>, out: &mut [f32]) {
    for (out, (row, bounds)) in out.chunks_exact_mut(d).zip(rows.offsets.windows(2).enumerate()) {
        match onto {
            Accumulate::Zero => out.fill(0.0),
            Accumulate::Itself => {}
            Accumulate::Table(base) => out.copy_from_slice(&base[row * d..][..d]),
        }
        let (columns, next) = rows.columns[bounds[0]..].split_at(bounds[1] - bounds[0]);
        gather_body(columns, &rows.values[bounds[0]..bounds[1]], next, table, out);
    }
}

/// out ← `onto` + rows · table, entries in order; rows of `table`, `out` and of the table in `onto` have `d` numbers.
pub fn multiply(level: Level, d: usize, rows: Rows<'_>, table: &[f32], onto: Accumulate<'_>, out: &mut [f32]) {
    dispatch!(level, multiply_body(d: usize, rows: Rows<'_>, table: &[f32], onto: Accumulate<'_>, out: &mut [f32]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_equals_the_sum_entry_by_entry() {
        let draws = Stream::new(4, 0);
        for d in [1, 5, 16, 33, 64, 150] {
            let (n_rows, n_columns) = (7, 9);
            let (mut offsets, mut columns) = (vec![0], Vec::new());
            for row in 0..n_rows {
                // Rows without an entry among them.
                columns.extend((0..row * 3 % 8).map(|at| ((row * 5 + at * 2) % n_columns) as u32));
                offsets.push(columns.len());
            }
            let numbers =
                |n: usize, purpose: u64| -> Vec<f32> { (0..n).map(|i| draws.sub(purpose).normal(i as u64)).collect() };
            let values = numbers(columns.len(), 1);
            let (table, base, held) = (numbers(n_columns * d, 2), numbers(n_rows * d, 3), numbers(n_rows * d, 4));
            let nothing = vec![0.0; n_rows * d];
            for (onto, start) in
                [(Accumulate::Zero, &nothing), (Accumulate::Itself, &held), (Accumulate::Table(&base), &base)]
            {
                let mut truth = start.clone();
                for row in 0..n_rows {
                    for entry in offsets[row]..offsets[row + 1] {
                        for i in 0..d {
                            let number = table[columns[entry] as usize * d + i];
                            truth[row * d + i] = values[entry].mul_add(number, truth[row * d + i]);
                        }
                    }
                }
                for level in Level::available() {
                    let mut out = held.clone();
                    let rows = Rows { offsets: &offsets, columns: &columns, values: &values };
                    multiply(level, d, rows, &table, onto, &mut out);
                    assert_eq!(out, truth, "{} {d}", level.name());
                    let mut alone = start.clone();
                    for (out, bounds) in alone.chunks_exact_mut(d).zip(offsets.windows(2)) {
                        let own = bounds[0]..bounds[1];
                        gather(level, &columns[own.clone()], &values[own], &table, out);
                    }
                    assert_eq!(alone, truth, "{} {d}", level.name());
                }
            }
        }
    }
}
