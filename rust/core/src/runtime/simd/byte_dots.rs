//! One vector of bytes against rows of bytes that are read in no order, and the bounds that their products give.
//!
//! Rows hold unsigned bytes (value + 128), the vector signed ones, as in `int8_scan`: with AVX2 within ±63, so that two
//! products fit 16 bits. The products are exact at every level.

use super::int8_scan::Line;
use super::level::Level;
#[cfg(target_arch = "x86_64")]
use super::sparse::fetch;

/// Rows in flight at once.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 8;

/// Rows between the prefetch of one and its use.
#[cfg(target_arch = "x86_64")]
const ROWS_AHEAD: usize = 4 * ROWS;

/// What a bound takes of the vector.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoundTerms {
    /// 128 times the sum of its bytes, less all that a bound allows for in steps of both grids.
    pub offset: f64,
    /// The scale of its bytes.
    pub scale: f64,
    /// What subnormal steps may add.
    pub subnormal: f64,
}

/// Rows of bytes, one for each item.
#[derive(Clone, Copy)]
pub struct ByteTable<'a> {
    /// Row by row.
    pub lines: &'a [Line],
    /// The scale of each row.
    pub scales: &'a [f32],
}

/// bounds[at] = `terms.scale` · scale · (product − `terms.offset`) + `terms.subnormal`, rounded up, plus `sums[at]`, with the
/// scale of row `items[at]` and its product with `user`, whose lines are as many as those of a row.
pub fn byte_bounds(
    level: Level,
    user: &[Line],
    table: ByteTable<'_>,
    terms: BoundTerms,
    items: &[u32],
    sums: &[f32],
    bounds: &mut [f32],
) {
    assert!(items.len() == bounds.len() && items.len() == sums.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx512 | Level::Amx => unsafe { x86::bounds_avx512(user, table, terms, items, sums, bounds) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::bounds_avx2(user, table, terms, items, sums, bounds) },
        _ => bounds_plain(user, table, terms, items, sums, bounds),
    }
}

fn bounds_plain(
    user: &[Line],
    table: ByteTable<'_>,
    terms: BoundTerms,
    items: &[u32],
    sums: &[f32],
    bounds: &mut [f32],
) {
    let n = user.len();
    for ((&item, &sum), bound) in items.iter().zip(sums).zip(bounds) {
        let mut dot = 0;
        for (row, user) in table.lines[item as usize * n..][..n].iter().zip(user) {
            for (row, user) in row.0.iter().zip(&user.0) {
                let products = row.to_le_bytes().into_iter().zip(user.to_le_bytes());
                dot += products.map(|(row, user)| i32::from(row) * i32::from(user as i8)).sum::<i32>();
            }
        }
        *bound = terms.bound(table.scales[item as usize], dot) + sum;
    }
}

impl BoundTerms {
    #[inline(always)]
    fn bound(&self, scale: f32, dot: i32) -> f32 {
        let product = f64::from(scale) * (f64::from(dot) - self.offset);
        let exact = self.scale * product + self.subnormal;
        // More than a step of f32, normal or subnormal.
        (exact + exact.abs() * 2.4e-7 + 1e-42) as f32
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{BoundTerms, ByteTable, Line, ROWS, ROWS_AHEAD, fetch};

    #[target_feature(enable = "avx2,fma")]
    pub fn bounds_avx2(
        user: &[Line],
        table: ByteTable<'_>,
        terms: BoundTerms,
        items: &[u32],
        sums: &[f32],
        bounds: &mut [f32],
    ) {
        let ones = _mm256_set1_epi16(1);
        all(user, table, terms, items, sums, bounds, |sum, row, user| {
            _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(row, user), ones))
        });
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn bounds_avx512(
        user: &[Line],
        table: ByteTable<'_>,
        terms: BoundTerms,
        items: &[u32],
        sums: &[f32],
        bounds: &mut [f32],
    ) {
        all(user, table, terms, items, sums, bounds, |sum, row, user| _mm256_dpbusd_epi32(sum, row, user));
    }

    /// Eight rows at a time, those of the next ones fetched meanwhile; `add` adds the products of 32 bytes to 8 sums.
    #[inline(always)]
    fn all(
        user: &[Line],
        table: ByteTable<'_>,
        terms: BoundTerms,
        items: &[u32],
        sums: &[f32],
        bounds: &mut [f32],
        add: impl Fn(__m256i, __m256i, __m256i) -> __m256i,
    ) {
        let n = user.len();
        let rows = table.lines;
        for &item in items.iter().take(ROWS_AHEAD) {
            fetch(rows, item as usize * n, n);
        }
        for (at, (bounds, own_sums)) in bounds.chunks_mut(ROWS).zip(sums.chunks(ROWS)).enumerate() {
            let items = &items[at * ROWS..];
            for &item in items.iter().take(ROWS_AHEAD + ROWS).skip(ROWS_AHEAD) {
                fetch(rows, item as usize * n, n);
            }
            // What is left over in the last eight repeats the first row.
            let (mut of, mut scales) = ([&rows[..0]; ROWS], [0f32; ROWS]);
            for at in 0..ROWS {
                let item = if at < bounds.len() { items[at] } else { items[0] } as usize;
                of[at] = &rows[item * n..(item + 1) * n];
                scales[at] = table.scales[item];
            }
            // SAFETY: the callers have AVX2; a line holds 64 bytes.
            let dots = unsafe {
                let mut sums = [_mm256_setzero_si256(); ROWS];
                for (line, user) in user.iter().enumerate() {
                    let user = user.0.as_ptr().cast();
                    let (low, high) = (_mm256_load_si256(user), _mm256_load_si256(user.add(1)));
                    for (sum, row) in sums.iter_mut().zip(of) {
                        let row = row[line].0.as_ptr().cast();
                        *sum = add(add(*sum, _mm256_load_si256(row), low), _mm256_load_si256(row.add(1)), high);
                    }
                }
                let [a, b, c, d, e, f, g, h] = sums;
                let low = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
                let high = _mm256_hadd_epi32(_mm256_hadd_epi32(e, f), _mm256_hadd_epi32(g, h));
                let crossed = _mm256_permute2x128_si256::<0x21>(low, high);
                _mm256_add_epi32(_mm256_blend_epi32::<0xF0>(low, high), crossed)
            };
            let mut out = [0i32; ROWS];
            // SAFETY: the callers have AVX2; 8 numbers.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), dots) };
            let mut dense = [0f32; ROWS];
            for at in 0..ROWS {
                dense[at] = terms.bound(scales[at], out[at]);
            }
            for ((bound, dense), sum) in bounds.iter_mut().zip(dense).zip(own_sums) {
                *bound = dense + sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_gives_the_bounds_of_the_exact_products() {
        let draws = Stream::new(21, 0);
        for n in [1, 2, 3] {
            let rows: Vec<Line> =
                (0..40 * n).map(|at| Line(std::array::from_fn(|w| draws.u64((at * 16 + w) as u64) as i32))).collect();
            for limit in [false, true] {
                // ±63, and once all at the limit, where 16 bits nearly overflow.
                let byte = |at: u64| if limit { [63, -63][at as usize % 2] } else { draws.below(at, 127) as i8 - 63 };
                let word = |at: usize| i32::from_le_bytes(std::array::from_fn(|b| byte((at * 4 + b) as u64) as u8));
                let user: Vec<Line> = (0..n).map(|l| Line(std::array::from_fn(|w| word(l * 16 + w)))).collect();
                let scales: Vec<f32> = (0..40).map(|at| 1.0 + at as f32 / 64.0).collect();
                let table = ByteTable { lines: &rows, scales: &scales };
                let terms = BoundTerms { offset: 300.5, scale: 0.37, subnormal: 1e-40 };
                for count in [0, 1, 7, 8, 9, 31] {
                    let items: Vec<u32> = (0..count).map(|at| at * 11 % 40).collect();
                    let sums: Vec<f32> = (0..count).map(|at| at as f32 * 0.3).collect();
                    let mut wanted = vec![0.0; items.len()];
                    bounds_plain(&user, table, terms, &items, &sums, &mut wanted);
                    for level in Level::available() {
                        let mut bounds = vec![f32::NAN; items.len()];
                        byte_bounds(level, &user, table, terms, &items, &sums, &mut bounds);
                        assert_eq!(bounds, wanted, "{} {n} {count}", level.name());
                    }
                }
            }
        }
    }
}
