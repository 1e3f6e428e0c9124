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

/// More than a step of f32, in units of a number, and of a subnormal one.
const STEP: f64 = 2.4e-7;
const SUBNORMAL_STEP: f64 = 1e-42;

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
        (exact + exact.abs() * STEP + SUBNORMAL_STEP) as f32
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
        // Eight rows at a time, those of the next ones fetched meanwhile.
        let n = user.len();
        let rows = table.lines;
        let ones = _mm256_set1_epi16(1);
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
            // SAFETY: a line holds 64 bytes.
            let dots = unsafe {
                let mut sums = [_mm256_setzero_si256(); ROWS];
                for (line, user) in user.iter().enumerate() {
                    let user = user.0.as_ptr().cast();
                    let (low, high) = (_mm256_load_si256(user), _mm256_load_si256(user.add(1)));
                    for (sum, row) in sums.iter_mut().zip(of) {
                        let row = row[line].0.as_ptr().cast();
                        let low = _mm256_maddubs_epi16(_mm256_load_si256(row), low);
                        let high = _mm256_maddubs_epi16(_mm256_load_si256(row.add(1)), high);
                        let both = _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones));
                        *sum = _mm256_add_epi32(*sum, both);
                    }
                }
                let [a, b, c, d, e, f, g, h] = sums;
                let low = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
                let high = _mm256_hadd_epi32(_mm256_hadd_epi32(e, f), _mm256_hadd_epi32(g, h));
                let crossed = _mm256_permute2x128_si256::<0x21>(low, high);
                _mm256_add_epi32(_mm256_blend_epi32::<0xF0>(low, high), crossed)
            };
            let mut out = [0i32; ROWS];
            // SAFETY: 8 numbers.
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

    /// Rows that AVX-512 takes at once, each a lane of the result.
    const LANES: usize = 16;

    /// Products of bytes go into sums of their own, which are added up for sixteen rows at once.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn bounds_avx512(
        user: &[Line],
        table: ByteTable<'_>,
        terms: BoundTerms,
        items: &[u32],
        sums: &[f32],
        bounds: &mut [f32],
    ) {
        let n = user.len();
        assert!(table.lines.len() >= table.scales.len() * n);
        let n_rows = _mm512_set1_epi32(table.scales.len().min(i32::MAX as usize) as i32);
        for &item in items.iter().take(ROWS_AHEAD) {
            fetch(table.lines, item as usize * n, n);
        }
        for at in (0..items.len()).step_by(LANES) {
            for &item in items.iter().take(at + ROWS_AHEAD + LANES).skip(at + ROWS_AHEAD) {
                fetch(table.lines, item as usize * n, n);
            }
            let lanes = if items.len() - at >= LANES { !0 } else { (1 << (items.len() - at)) - 1 };
            let mut of = [0u32; LANES];
            // SAFETY: of the items those that are there are read, what is left over repeats the first; the table was found to
            // hold as many rows as scales, and they are within.
            let (dots, scales) = unsafe {
                let first = _mm512_set1_epi32(items[at] as i32);
                let own = _mm512_mask_loadu_epi32(first, lanes, items.as_ptr().add(at).cast());
                assert_eq!(_mm512_cmpge_epu32_mask(own, n_rows), 0);
                _mm512_storeu_epi32(of.as_mut_ptr().cast(), own);
                let mut dots = [_mm512_setzero_si512(); LANES];
                for (line, user) in user.iter().enumerate() {
                    let user = _mm512_load_si512(user.0.as_ptr().cast());
                    for at in 0..LANES {
                        let row = table.lines.as_ptr().add(of[at] as usize * n + line);
                        dots[at] = _mm512_dpbusd_epi32(dots[at], _mm512_load_si512(row.cast()), user);
                    }
                }
                (dots, _mm512_i32gather_ps::<4>(own, table.scales.as_ptr().cast()))
            };
            let dots = add_up(&dots);
            let scales = _mm512_castps_pd(scales);
            let low = bounds_of(terms, _mm512_castpd512_pd256(scales), _mm512_castsi512_si256(dots));
            let high = bounds_of(terms, _mm512_extractf64x4_pd::<1>(scales), _mm512_extracti64x4_epi64::<1>(dots));
            let dense = _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castpd256_pd512(low), high));
            // SAFETY: of sums and bounds, which are as many as the items, those that are there are read and written.
            unsafe {
                let sum = _mm512_maskz_loadu_ps(lanes, sums.as_ptr().add(at));
                _mm512_mask_storeu_ps(bounds.as_mut_ptr().add(at), lanes, _mm512_add_ps(dense, sum));
            }
        }
    }

    /// [`BoundTerms::bound`] of eight rows, rounded after each step as there.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    fn bounds_of(terms: BoundTerms, scales: __m256d, dots: __m256i) -> __m256d {
        let dots = _mm512_sub_pd(_mm512_cvtepi32_pd(dots), _mm512_set1_pd(terms.offset));
        let product = _mm512_mul_pd(_mm512_cvtps_pd(_mm256_castpd_ps(scales)), dots);
        let exact = _mm512_mul_pd(_mm512_set1_pd(terms.scale), product);
        let exact = _mm512_add_pd(exact, _mm512_set1_pd(terms.subnormal));
        let step = _mm512_mul_pd(_mm512_abs_pd(exact), _mm512_set1_pd(super::STEP));
        let above = _mm512_add_pd(_mm512_add_pd(exact, step), _mm512_set1_pd(super::SUBNORMAL_STEP));
        _mm256_castps_pd(_mm512_cvtpd_ps(above))
    }

    /// The sum of each of sixteen registers, in a lane each.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    fn add_up(of: &[__m512i; LANES]) -> __m512i {
        // Each step halves the registers: pairs of numbers, of pairs, of quarters, of halves.
        let mut fours = [_mm512_setzero_si512(); 4];
        for at in 0..4 {
            let [a, b, c, d] = [of[4 * at], of[4 * at + 1], of[4 * at + 2], of[4 * at + 3]];
            let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            fours[at] = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
        }
        let [a, b, c, d] = fours;
        let ab = _mm512_add_epi32(_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xEE>(a, b));
        let cd = _mm512_add_epi32(_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xEE>(c, d));
        _mm512_add_epi32(_mm512_shuffle_i32x4::<0x88>(ab, cd), _mm512_shuffle_i32x4::<0xDD>(ab, cd))
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
                for count in [0, 1, 7, 8, 9, 16, 31, 32, 40] {
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
