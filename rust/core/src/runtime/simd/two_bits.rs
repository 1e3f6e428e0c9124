//! Two bits of every number of an item: blocks of 64 items that a user's tables look up.
//!
//! A number's code c is 0 to 3 and stands for 2 c − 3 steps of its item. A byte holds the codes of four numbers: of each 64, byte j
//! those of numbers j, j + 16, j + 32 and j + 48, from the lowest bits on. A block has such bytes of its items side by side, a
//! line for each place in a row. What the two pairs of codes in a byte are below the best ones for a user is looked up in a
//! table of 16 bytes each, in whole steps rounded down; the sum stops at 255, so that a budget of 255 lets all pass, and all
//! levels find the same items.

use super::int8_scan::Line;
use super::level::Level;

/// Items in a block.
pub const BLOCK: usize = 64;

/// The codes of 64 numbers.
pub type Codes = [u32; 4];

/// What both pairs of codes in a byte are below the best, by their four bits.
pub type Tables = [[u8; 16]; 2];

/// Appends the places of the items of some blocks whose sum over `tables` is within the budget of their
/// block; below 0 holds no item. `lines` are [block][table].
pub fn append_within(level: Level, lines: &[Line], tables: &[Tables], budgets: &[i32], into: &mut Vec<u32>) {
    assert_eq!(lines.len(), tables.len() * budgets.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx512 | Level::Amx => unsafe { x86::append_avx512(lines, tables, budgets, into) },
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{BLOCK, Line, Tables, append_mask};

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
}
