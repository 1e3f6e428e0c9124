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

/// dots[at] = the product of `user` and row `items[at]` of `rows`, `user.len()` lines each.
pub fn byte_dots(level: Level, user: &[Line], rows: &[Line], items: &[u32], dots: &mut [i32]) {
    assert_eq!(items.len(), dots.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx512 => unsafe { x86::dots_avx512(user, rows, items, dots) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::dots_avx2(user, rows, items, dots) },
        _ => dots_plain(user, rows, items, dots),
    }
}

fn dots_plain(user: &[Line], rows: &[Line], items: &[u32], dots: &mut [i32]) {
    let n = user.len();
    for (&item, dot) in items.iter().zip(dots) {
        *dot = 0;
        for (row, user) in rows[item as usize * n..][..n].iter().zip(user) {
            for (row, user) in row.0.iter().zip(&user.0) {
                let products = row.to_le_bytes().into_iter().zip(user.to_le_bytes());
                *dot += products.map(|(row, user)| i32::from(row) * i32::from(user as i8)).sum::<i32>();
            }
        }
    }
}

/// bounds[at] = `terms.scale` · `scales[items[at]]` · (`dots[at]` − `terms.offset`) + `terms.subnormal`, rounded up, plus
/// `sums[at]`.
pub fn byte_bounds(
    level: Level,
    terms: BoundTerms,
    scales: &[f32],
    sums: &[f32],
    items: &[u32],
    dots: &[i32],
    bounds: &mut [f32],
) {
    assert!(items.len() == dots.len() && items.len() == bounds.len() && items.len() == sums.len());
    dispatch!(level, bounds_body(
        terms: BoundTerms, scales: &[f32], sums: &[f32], items: &[u32], dots: &[i32], bounds: &mut [f32]));
}

#[inline(always)]
fn bounds_body(terms: BoundTerms, scales: &[f32], sums: &[f32], items: &[u32], dots: &[i32], bounds: &mut [f32]) {
    for (((&item, &dot), &sum), bound) in items.iter().zip(dots).zip(sums).zip(bounds) {
        let product = f64::from(scales[item as usize]) * (f64::from(dot) - terms.offset);
        let exact = terms.scale * product + terms.subnormal;
        // More than a step of f32, normal or subnormal.
        *bound = (exact + exact.abs() * 2.4e-7 + 1e-42) as f32 + sum;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{Line, ROWS, ROWS_AHEAD, fetch};

    #[target_feature(enable = "avx2,fma")]
    pub fn dots_avx2(user: &[Line], rows: &[Line], items: &[u32], dots: &mut [i32]) {
        let ones = _mm256_set1_epi16(1);
        all(user, rows, items, dots, |sum, row, user| {
            _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(row, user), ones))
        });
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn dots_avx512(user: &[Line], rows: &[Line], items: &[u32], dots: &mut [i32]) {
        all(user, rows, items, dots, |sum, row, user| _mm256_dpbusd_epi32(sum, row, user));
    }

    /// Eight rows at a time, those of the next ones fetched meanwhile; `add` adds the products of 32 bytes to 8 sums.
    #[inline(always)]
    fn all(
        user: &[Line],
        rows: &[Line],
        items: &[u32],
        dots: &mut [i32],
        add: impl Fn(__m256i, __m256i, __m256i) -> __m256i,
    ) {
        let n = user.len();
        for &item in items.iter().take(ROWS_AHEAD) {
            fetch(rows, item as usize * n, n);
        }
        for (at, dots) in dots.chunks_mut(ROWS).enumerate() {
            let items = &items[at * ROWS..];
            for &item in items.iter().take(ROWS_AHEAD + ROWS).skip(ROWS_AHEAD) {
                fetch(rows, item as usize * n, n);
            }
            // What is left over in the last eight repeats the first row.
            let mut of = [&rows[..0]; ROWS];
            for at in 0..ROWS {
                let item = if at < dots.len() { items[at] } else { items[0] } as usize;
                of[at] = &rows[item * n..(item + 1) * n];
            }
            // SAFETY: the callers have AVX2; a line holds 64 bytes.
            let sums = unsafe {
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
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) };
            dots.copy_from_slice(&out[..dots.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_level_gives_the_exact_products() {
        let draws = Stream::new(21, 0);
        for n in [1, 2, 3] {
            let rows: Vec<Line> =
                (0..40 * n).map(|at| Line(std::array::from_fn(|w| draws.u64((at * 16 + w) as u64) as i32))).collect();
            for limit in [false, true] {
                // ±63, and once all at the limit, where 16 bits nearly overflow.
                let byte = |at: u64| if limit { [63, -63][at as usize % 2] } else { draws.below(at, 127) as i8 - 63 };
                let word = |at: usize| i32::from_le_bytes(std::array::from_fn(|b| byte((at * 4 + b) as u64) as u8));
                let user: Vec<Line> = (0..n).map(|l| Line(std::array::from_fn(|w| word(l * 16 + w)))).collect();
                for count in [0, 1, 7, 8, 9, 31] {
                    let items: Vec<u32> = (0..count).map(|at| at * 11 % 40).collect();
                    let mut wanted = vec![0; items.len()];
                    dots_plain(&user, &rows, &items, &mut wanted);
                    for level in Level::available() {
                        let mut dots = vec![i32::MIN; items.len()];
                        byte_dots(level, &user, &rows, &items, &mut dots);
                        assert_eq!(dots, wanted, "{} {n} {count}", level.name());
                    }
                }
            }
        }
    }
}
