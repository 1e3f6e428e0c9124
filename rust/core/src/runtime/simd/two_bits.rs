//! Two bits of every number of an item: blocks of 64 items that a user's tables look up, and rows read in no order.
//!
//! A number's code c is 0 to 3 and stands for 2 c − 3 steps of its item. A byte holds the codes of four numbers: of each 64, byte j
//! those of numbers j, j + 16, j + 32 and j + 48, from the lowest bits on. A block has such bytes of its items side by side, a
//! line for each place in a row. What the two pairs of codes in a byte are below the best ones for a user is looked up in a
//! table of 16 bytes each, in whole steps rounded down; the sum stops at 255, so that a budget of 255 lets all pass, and all
//! levels find the same items.

use super::int8_scan::Line;
use super::level::Level;
#[cfg(target_arch = "x86_64")]
use super::sparse::fetch;

/// Items in a block.
pub const BLOCK: usize = 64;

/// The codes of 64 numbers.
pub type Codes = [u32; 4];

/// What both pairs of codes in a byte are below the best, by their four bits.
pub type Tables = [[u8; 16]; 2];

/// Rows in flight at once.
const ROWS: usize = 8;

/// Rows between the prefetch of one and its use.
#[cfg(target_arch = "x86_64")]
const ROWS_AHEAD: usize = 4 * ROWS;

/// Appends the places of the items of some blocks whose sum over `tables` is within the budget of their
/// block; below 0 holds no item. `lines` are [block][table].
pub fn append_within(level: Level, lines: &[Line], tables: &[Tables], budgets: &[i32], into: &mut Vec<u32>) {
    assert_eq!(lines.len(), tables.len() * budgets.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx512 => unsafe { x86::append_avx512(lines, tables, budgets, into) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::append_avx2(lines, tables, budgets, into) },
        _ => append_plain(lines, tables, budgets, into),
    }
}

fn append_plain(lines: &[Line], tables: &[Tables], budgets: &[i32], into: &mut Vec<u32>) {
    for ((at, lines), &budget) in lines.chunks_exact(tables.len()).enumerate().zip(budgets) {
        let mut sums = [0u8; BLOCK];
        for (line, [low, high]) in lines.iter().zip(tables) {
            for (sum, byte) in sums.iter_mut().zip(line.0.iter().flat_map(|word| word.to_le_bytes())) {
                *sum = sum.saturating_add(low[usize::from(byte & 15)]).saturating_add(high[usize::from(byte >> 4)]);
            }
        }
        let places = sums.iter().enumerate().filter(|&(_, &sum)| i32::from(sum) <= budget);
        into.extend(places.map(|(item, _)| (at * BLOCK + item) as u32));
    }
}

/// Appends the places of the bits of `mask`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn append_mask(mut mask: u64, first: usize, into: &mut Vec<u32>) {
    while mask != 0 {
        into.push((first + mask.trailing_zeros() as usize) as u32);
        mask &= mask - 1;
    }
}

/// dots[at] = Σ_k user_k c_k over the codes of row `items[at]` of `rows`, `user.len()` of 64 numbers each. Bytes of
/// the user may have all values.
pub fn code_dots(level: Level, user: &[Line], rows: &[Codes], items: &[u32], dots: &mut [i32]) {
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

fn dots_plain(user: &[Line], rows: &[Codes], items: &[u32], dots: &mut [i32]) {
    let n = user.len();
    for (&item, dot) in items.iter().zip(dots) {
        *dot = 0;
        for (row, user) in rows[item as usize * n..][..n].iter().zip(user) {
            for (at, &user) in user.0.iter().enumerate() {
                let codes = (row[at % 4] >> (at / 4 * 2)).to_le_bytes().map(|byte| i32::from(byte & 3));
                let products = codes.into_iter().zip(user.to_le_bytes());
                *dot += products.map(|(code, user)| code * i32::from(user as i8)).sum::<i32>();
            }
        }
    }
}

/// What bounds of single items take of a user; see `rank::sketches`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReachTerms {
    /// For each step of the item, times the product of the codes.
    pub by_dot: f32,
    /// For each step of the item.
    pub by_step: f32,
    /// For each unit of what the codes lose.
    pub by_error: f32,
    /// What is added to each bound.
    pub least: f32,
}

/// Appends those of `items` whose bound by the codes' products `dots`, with one of `sums` for each, reaches the threshold; `steps` hold the step and the loss of each item of the catalog. What is no number reaches it.
pub fn append_reaching(
    level: Level,
    terms: ReachTerms,
    steps: &[[f32; 2]],
    items: &[u32],
    dots: &[i32],
    sums: &[f32],
    threshold: f32,
    into: &mut Vec<u32>,
) {
    let at = into.len();
    into.resize(at + items.len(), 0);
    let mut kept = 0;
    let (out, count) = (&mut into[at..], &mut kept);
    dispatch!(level, reaching_body(
        terms: ReachTerms, steps: &[[f32; 2]], items: &[u32], dots: &[i32], sums: &[f32], threshold: f32,
        out: &mut [u32], count: &mut usize));
    into.truncate(at + kept);
}

#[inline(always)]
fn reaching_body(
    terms: ReachTerms,
    steps: &[[f32; 2]],
    items: &[u32],
    dots: &[i32],
    sums: &[f32],
    threshold: f32,
    out: &mut [u32],
    count: &mut usize,
) {
    let mut at = 0;
    for ((items, dots), sums) in items.chunks(ROWS).zip(dots.chunks(ROWS)).zip(sums.chunks(ROWS)) {
        let (mut step, mut error, mut dot, mut sum) = ([0f32; ROWS], [0f32; ROWS], [0f32; ROWS], [0f32; ROWS]);
        for lane in 0..items.len() {
            [step[lane], error[lane]] = steps[items[lane] as usize];
            (dot[lane], sum[lane]) = (dots[lane] as f32, sums[lane]);
        }
        let mut reaches = [false; ROWS];
        for lane in 0..ROWS {
            let dense = step[lane] * (terms.by_dot * dot[lane] + terms.by_step) + terms.by_error * error[lane];
            let out_of_reach = dense + terms.least + sum[lane] < threshold;
            reaches[lane] = !out_of_reach;
        }
        for (&item, reaches) in items.iter().zip(reaches) {
            out[at] = item;
            at += usize::from(reaches);
        }
    }
    *count = at;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{BLOCK, Codes, Line, ROWS, ROWS_AHEAD, Tables, append_mask, fetch};

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn append_avx512(lines: &[Line], tables: &[Tables], budgets: &[i32], into: &mut Vec<u32>) {
        let nibble = _mm512_set1_epi8(15);
        for ((at, lines), &budget) in lines.chunks_exact(tables.len()).enumerate().zip(budgets) {
            if budget < 0 {
                continue;
            }
            let mut sums = [_mm512_setzero_si512(); 2];
            for (line, tables) in lines.iter().zip(tables) {
                // SAFETY: a line holds 64 bytes, a table 16.
                let (bytes, tables) = unsafe {
                    let low = _mm_loadu_si128(tables[0].as_ptr().cast());
                    let high = _mm_loadu_si128(tables[1].as_ptr().cast());
                    let tables = [_mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high)];
                    (_mm512_load_si512(line.0.as_ptr().cast()), tables)
                };
                let (low, high) =
                    (_mm512_and_si512(bytes, nibble), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble));
                sums[0] = _mm512_adds_epu8(sums[0], _mm512_shuffle_epi8(tables[0], low));
                sums[1] = _mm512_adds_epu8(sums[1], _mm512_shuffle_epi8(tables[1], high));
            }
            let budget = _mm512_set1_epi8(budget.min(255) as u8 as i8);
            let mask = _mm512_cmple_epu8_mask(_mm512_adds_epu8(sums[0], sums[1]), budget);
            append_mask(mask, at * BLOCK, into);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn append_avx2(lines: &[Line], tables: &[Tables], budgets: &[i32], into: &mut Vec<u32>) {
        let nibble = _mm256_set1_epi8(15);
        for ((at, lines), &budget) in lines.chunks_exact(tables.len()).enumerate().zip(budgets) {
            if budget < 0 {
                continue;
            }
            let mut sums = [[_mm256_setzero_si256(); 2]; 2];
            for (line, tables) in lines.iter().zip(tables) {
                // SAFETY: a line holds 64 bytes, a table 16.
                let (bytes, tables) = unsafe {
                    let low = _mm_loadu_si128(tables[0].as_ptr().cast());
                    let high = _mm_loadu_si128(tables[1].as_ptr().cast());
                    let line = line.0.as_ptr().cast();
                    let tables = [_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high)];
                    ([_mm256_load_si256(line), _mm256_load_si256(line.add(1))], tables)
                };
                for half in 0..2 {
                    let low = _mm256_and_si256(bytes[half], nibble);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes[half]), nibble);
                    sums[half][0] = _mm256_adds_epu8(sums[half][0], _mm256_shuffle_epi8(tables[0], low));
                    sums[half][1] = _mm256_adds_epu8(sums[half][1], _mm256_shuffle_epi8(tables[1], high));
                }
            }
            let budget = _mm256_set1_epi8(budget.min(255) as u8 as i8);
            let mut mask = 0;
            for half in 0..2 {
                let sum = _mm256_adds_epu8(sums[half][0], sums[half][1]);
                let within = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(sum, budget), sum));
                mask |= u64::from(within as u32) << (32 * half);
            }
            append_mask(mask, at * BLOCK, into);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn dots_avx2(user: &[Line], rows: &[Codes], items: &[u32], dots: &mut [i32]) {
        let ones = _mm256_set1_epi16(1);
        all(user, rows, items, dots, |sum, codes, user| {
            _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, user), ones))
        });
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn dots_avx512(user: &[Line], rows: &[Codes], items: &[u32], dots: &mut [i32]) {
        all(user, rows, items, dots, |sum, codes, user| _mm256_dpbusd_epi32(sum, codes, user));
    }

    /// Eight rows at a time, those of the next ones fetched meanwhile; `add` adds the products of 32 codes to 8 sums.
    #[inline(always)]
    fn all(
        user: &[Line],
        rows: &[Codes],
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
            // SAFETY: the callers have AVX2; a line holds 64 bytes, codes 16.
            let sums = unsafe {
                let code = _mm256_set1_epi8(3);
                let first = _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2);
                let later = _mm256_setr_epi32(4, 4, 4, 4, 6, 6, 6, 6);
                let mut sums = [_mm256_setzero_si256(); ROWS];
                for (line, user) in user.iter().enumerate() {
                    let user = user.0.as_ptr().cast();
                    let (low, high) = (_mm256_load_si256(user), _mm256_load_si256(user.add(1)));
                    for (sum, row) in sums.iter_mut().zip(of) {
                        let codes = _mm256_broadcastsi128_si256(_mm_loadu_si128(row[line].as_ptr().cast()));
                        let of_low = _mm256_and_si256(_mm256_srlv_epi32(codes, first), code);
                        let of_high = _mm256_and_si256(_mm256_srlv_epi32(codes, later), code);
                        *sum = add(add(*sum, of_low, low), of_high, high);
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

    fn lines(n: usize, draws: Stream) -> Vec<Line> {
        (0..n).map(|at| Line(std::array::from_fn(|w| draws.u64((at * 16 + w) as u64) as i32))).collect()
    }

    #[test]
    fn every_level_finds_the_items_within_their_budgets() {
        let draws = Stream::new(31, 0);
        for n in [1, 16, 32] {
            let lines = lines(5 * n, draws.sub(1));
            // Up to 255, so that sums stop there.
            let most = if n == 1 { 256 } else { 200 / n as u64 };
            let byte = |at: usize| draws.sub(2).below(at as u64, most) as u8;
            let tables: Vec<Tables> = (0..n)
                .map(|at| std::array::from_fn(|half| std::array::from_fn(|code| byte((at * 2 + half) * 16 + code))))
                .collect();
            let mut found = 0;
            for budgets in [[-1, 0, 60, 120, 254], [255, 256, 90, -7, 180]] {
                let mut wanted = vec![7];
                append_plain(&lines, &tables, &budgets, &mut wanted);
                found += wanted.len();
                for level in Level::available() {
                    let mut into = vec![7];
                    append_within(level, &lines, &tables, &budgets, &mut into);
                    assert_eq!(into, wanted, "{} {n}", level.name());
                }
            }
            assert!(found > 130 && found < 10 * BLOCK, "{n} {found}: budgets say nothing");
        }
    }

    #[test]
    fn every_level_gives_the_exact_products_of_codes() {
        let draws = Stream::new(32, 0);
        for n in [1, 2, 3] {
            let rows: Vec<Codes> =
                (0..40 * n).map(|at| std::array::from_fn(|w| draws.u64((at * 4 + w) as u64) as u32)).collect();
            for limit in [false, true] {
                let byte = |at: u64| if limit { [127, -127][at as usize % 2] } else { draws.u64(at) as i8 };
                let word = |at: usize| i32::from_le_bytes(std::array::from_fn(|b| byte((at * 4 + b) as u64) as u8));
                let user: Vec<Line> = (0..n).map(|l| Line(std::array::from_fn(|w| word(l * 16 + w)))).collect();
                for count in [0, 1, 7, 8, 9, 31] {
                    let items: Vec<u32> = (0..count).map(|at| at * 11 % 40).collect();
                    let code = |row: usize, k: usize| rows[row][k % 16 / 4] >> (k % 4 * 8 + k / 16 * 2) & 3;
                    let number = |line: usize, k: usize| i32::from(user[line].0[k / 4].to_le_bytes()[k % 4] as i8);
                    let dot = |&item: &u32| -> i32 {
                        let of = |line: usize| {
                            (0..64)
                                .map(move |k| code(item as usize * n + line, k) as i32 * number(line, k))
                                .sum::<i32>()
                        };
                        (0..n).map(of).sum()
                    };
                    let wanted: Vec<i32> = items.iter().map(dot).collect();
                    for level in Level::available() {
                        let mut dots = vec![i32::MIN; items.len()];
                        code_dots(level, &user, &rows, &items, &mut dots);
                        assert_eq!(dots, wanted, "{} {n} {count}", level.name());
                    }
                }
            }
        }
    }

    #[test]
    fn what_reaches_is_kept_in_order_and_so_is_what_is_no_number() {
        let terms = ReachTerms { by_dot: 2.0, by_step: 1.0, by_error: 3.0, least: 0.0 };
        // Bounds 1.0 · (2 · dot + 1) + 3 · 0.5 + sum.
        let mut steps = vec![[1.0, 0.5]; 20];
        steps[4] = [f32::INFINITY, f32::NEG_INFINITY];
        let items: Vec<u32> = (0..19).rev().collect();
        let dots: Vec<i32> = items.iter().map(|&item| item as i32).collect();
        let sums: Vec<f32> = items.iter().map(|&item| if item == 15 { -9.0 } else { 0.25 }).collect();
        for level in Level::available() {
            let mut into = vec![99];
            append_reaching(level, terms, &steps, &items, &dots, &sums, 24.75, &mut into);
            assert_eq!(into, [99, 18, 17, 16, 14, 13, 12, 11, 4], "{}", level.name());
        }
    }
}
