//! Two bits of every number of an item: blocks of 64 items that a user's tables look up.
//!
//! A number's code c is 0 to 3 and stands for 2 c − 3 steps of its item. A byte holds the codes of four numbers, from the lowest
//! bits on. A block has such bytes of its items side by side, a line for each place in a row. What the codes in a byte lose for
//! a user is looked up in tables, in whole steps rounded down, and taken from four counters that begin at 255 and stop at 0. The
//! mean of these four is compared with what a block's budget leaves.
//!
//! Tables hold two codes and 16 bytes, for `pshufb`; or three codes and 64 bytes, for the `vpermb` of AVX-512 VBMI, which reads
//! six bits of an index: one table for the first three codes of a byte, one for the last codes of three lines. So both find
//! nearly the same items, and all whose losses are within the budget.

use super::int8_scan::Line;
use super::level::Level;

/// Items in a block.
pub const BLOCK: usize = 64;

/// The codes of 64 numbers.
pub type Codes = [u32; 4];

/// What each code of the four numbers in a byte loses, in 256ths of a step.
pub type Losses = [[u16; 4]; 4];

/// A quarter of the steps that a block may lose at most: what the counters begin with.
const FULL: i32 = 255;

/// Tables of three codes: of the first three codes of three lines, and of the last codes of the three. A load across two cache
/// lines would take twice as long.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Threes([[u8; 64]; 4]);

/// The tables of a user.
#[derive(Default)]
pub struct Tables {
    n_lines: usize,
    /// Of both pairs of codes in a byte, for each line.
    pairs: Vec<[[u8; 16]; 2]>,
    /// Of three lines each.
    threes: Vec<Threes>,
}

/// Whether tables hold three codes.
fn has_threes(level: Level) -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(level, Level::Avx512 | Level::Amx) && is_x86_feature_detected!("avx512vbmi");
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        false
    }
}

impl Tables {
    /// Sets the losses of each line.
    pub fn set(&mut self, level: Level, losses: &[Losses]) {
        let Self { pairs, threes, .. } = self;
        self.n_lines = losses.len();
        pairs.clear();
        threes.clear();
        if has_threes(level) {
            threes.resize(losses.len().div_ceil(3), Threes([[0; 64]; 4]));
            dispatch!(level, fill_threes(losses: &[Losses], threes: &mut [Threes]));
        } else {
            pairs.resize(losses.len(), [[0; 16]; 2]);
            dispatch!(level, fill_pairs(losses: &[Losses], pairs: &mut [[[u8; 16]; 2]]));
        }
    }
}

/// The losses of two numbers, by their codes.
#[inline(always)]
fn pair(first: [u16; 4], second: [u16; 4]) -> [u16; 16] {
    let mut both = [0; 16];
    for (places, second) in both.chunks_exact_mut(4).zip(second) {
        for (place, first) in places.iter_mut().zip(first) {
            *place = first.saturating_add(second);
        }
    }
    both
}

#[inline(always)]
fn three(first: [u16; 4], second: [u16; 4], third: [u16; 4]) -> [u8; 64] {
    let (both, mut all) = (pair(first, second), [0; 64]);
    for (places, third) in all.chunks_exact_mut(16).zip(third) {
        for (place, both) in places.iter_mut().zip(both) {
            *place = (both.saturating_add(third) >> 8) as u8;
        }
    }
    all
}

#[inline(always)]
fn fill_pairs(losses: &[Losses], pairs: &mut [[[u8; 16]; 2]]) {
    for (&[a, b, c, d], [low, high]) in losses.iter().zip(pairs) {
        for (table, sums) in [(low, pair(a, b)), (high, pair(c, d))] {
            for (place, sum) in table.iter_mut().zip(sums) {
                *place = (sum >> 8) as u8;
            }
        }
    }
}

#[inline(always)]
fn fill_threes(losses: &[Losses], threes: &mut [Threes]) {
    for (losses, Threes(tables)) in losses.chunks(3).zip(threes) {
        let mut last = [[0; 4]; 3];
        for ((&[a, b, c, d], table), last) in losses.iter().zip(&mut *tables).zip(&mut last) {
            (*table, *last) = (three(a, b, c), d);
        }
        tables[3] = three(last[0], last[1], last[2]);
    }
}

/// Appends those of `items` whose losses are within the budget of their block, in steps; a block below 0 holds none. `lines` are
/// [block][line].
pub fn append_within(
    level: Level,
    lines: &[Line],
    tables: &Tables,
    budgets: &[i32],
    items: &[u32],
    into: &mut Vec<u32>,
) {
    assert_eq!(lines.len(), tables.n_lines * budgets.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `has_threes` found the features before these tables could be made.
        Level::Avx512 | Level::Amx if !tables.threes.is_empty() => unsafe {
            x86::append_threes(lines, tables, budgets, items, into);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features before these levels could be made.
        Level::Avx2 | Level::Avx512 | Level::Amx => unsafe { x86::append_pairs(lines, tables, budgets, items, into) },
        _ => append_plain(lines, tables, budgets, items, into),
    }
}

/// What has to be left of [`FULL`].
#[inline(always)]
fn least(budget: i32) -> u8 {
    (FULL - (budget / 4).min(FULL)) as u8
}

fn append_plain(lines: &[Line], tables: &Tables, budgets: &[i32], items: &[u32], into: &mut Vec<u32>) {
    for ((at, lines), &budget) in lines.chunks_exact(tables.n_lines).enumerate().zip(budgets) {
        if budget < 0 {
            continue;
        }
        let mut left = [[FULL as u8; BLOCK]; 4];
        for ((at, line), [low, high]) in lines.iter().enumerate().zip(&tables.pairs) {
            for (item, byte) in line.0.iter().flat_map(|word| word.to_le_bytes()).enumerate() {
                for (of, loss) in [(at % 2, low[usize::from(byte & 15)]), (2 + at % 2, high[usize::from(byte >> 4)])] {
                    left[of][item] = left[of][item].saturating_sub(loss);
                }
            }
        }
        let [a, b, c, d] = left;
        let passes = (0..BLOCK).filter(|&at| mean([a[at], b[at], c[at], d[at]]) >= least(budget));
        into.extend(passes.filter_map(|place| items.get(at * BLOCK + place)));
    }
}

/// The mean of four counters; halves are rounded up, as `pavgb` does it.
fn mean([a, b, c, d]: [u8; 4]) -> u8 {
    let of_two = |a: u8, b: u8| (u16::from(a) + u16::from(b)).div_ceil(2) as u8;
    of_two(of_two(a, b), of_two(c, d))
}

/// Items that are written at once. Most blocks have fewer, and how many they have no branch can guess.
#[cfg(target_arch = "x86_64")]
const AT_ONCE: usize = 2;

/// Items that some blocks leave. Their places are written first: most blocks leave none, whose items need not be read.
#[cfg(target_arch = "x86_64")]
struct Hits<'a> {
    into: &'a mut Vec<u32>,
    first: usize,
    found: usize,
}

#[cfg(target_arch = "x86_64")]
impl<'a> Hits<'a> {
    fn new(n_blocks: usize, into: &'a mut Vec<u32>) -> Self {
        let first = into.len();
        into.resize(first + n_blocks * BLOCK + 1, 0);
        Self { into, first, found: first }
    }

    /// Adds what the bits of `mask` name in block `block` of `n_items` items.
    #[inline(always)]
    fn add(&mut self, mut mask: u64, block: usize, n_items: usize) {
        // The last block may end early; what follows its end is no item.
        let own = n_items - block * BLOCK;
        if own < BLOCK {
            mask &= (1 << own) - 1;
        }
        loop {
            for _ in 0..AT_ONCE {
                self.into[self.found] = (block * BLOCK) as u32 + mask.trailing_zeros();
                self.found += usize::from(mask != 0);
                mask &= mask.wrapping_sub(1);
            }
            if mask == 0 {
                return;
            }
        }
    }

    /// Puts the items in their places.
    fn end(self, items: &[u32]) {
        self.into.truncate(self.found);
        self.into[self.first..].iter_mut().for_each(|place| *place = items[*place as usize]);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{BLOCK, Hits, Line, Tables, Threes, least};

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,avx2,fma")]
    pub fn append_threes(lines: &[Line], tables: &Tables, budgets: &[i32], items: &[u32], into: &mut Vec<u32>) {
        let n_blocks = budgets.len().min(items.len().div_ceil(BLOCK));
        let mut hits = Hits::new(n_blocks, into);
        for (block, lines) in lines.chunks_exact(tables.n_lines).take(n_blocks).enumerate() {
            let budget = budgets[block];
            if budget < 0 {
                continue;
            }
            let mut left = [_mm512_set1_epi8(-1); 4];
            let (threes, rest) = lines.as_chunks::<3>();
            for (lines, tables) in threes.iter().zip(&tables.threes) {
                lose_three(&mut left, [&lines[0], &lines[1], &lines[2]], tables);
            }
            if let Some(tables) = tables.threes.get(threes.len()) {
                let none = Line([0; 16]);
                lose_three(&mut left, [&rest[0], rest.get(1).unwrap_or(&none), &none], tables);
            }
            let mean = _mm512_avg_epu8(_mm512_avg_epu8(left[0], left[1]), _mm512_avg_epu8(left[2], left[3]));
            let mask = _mm512_cmpge_epu8_mask(mean, _mm512_set1_epi8(least(budget) as i8));
            hits.add(mask, block, items.len());
        }
        hits.end(items);
    }

    /// Takes what the codes of three lines lose.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,avx2,fma")]
    fn lose_three(left: &mut [__m512i; 4], lines: [&Line; 3], Threes(tables): &Threes) {
        // SAFETY: lines and tables hold 64 bytes and begin at multiples of 64.
        let ([x, y, z], [a, b, c, d]) = unsafe {
            let tables = tables.each_ref().map(|table| _mm512_load_si512(table.as_ptr().cast()));
            (lines.map(|line| _mm512_load_si512(line.0.as_ptr().cast())), tables)
        };
        left[0] = _mm512_subs_epu8(left[0], _mm512_permutexvar_epi8(x, a));
        left[1] = _mm512_subs_epu8(left[1], _mm512_permutexvar_epi8(y, b));
        left[2] = _mm512_subs_epu8(left[2], _mm512_permutexvar_epi8(z, c));
        // The last codes of the three as one index, whose two highest bits are not read; `0xCA`: by the first, the second or third.
        let (first, two) = (_mm512_srli_epi16::<6>(x), _mm512_srli_epi16::<4>(y));
        let both = _mm512_ternarylogic_epi64::<0xCA>(_mm512_set1_epi8(3), first, two);
        let all = _mm512_ternarylogic_epi64::<0xCA>(_mm512_set1_epi8(15), both, _mm512_srli_epi16::<2>(z));
        left[3] = _mm512_subs_epu8(left[3], _mm512_permutexvar_epi8(all, d));
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn append_pairs(lines: &[Line], tables: &Tables, budgets: &[i32], items: &[u32], into: &mut Vec<u32>) {
        let n_blocks = budgets.len().min(items.len().div_ceil(BLOCK));
        let mut hits = Hits::new(n_blocks, into);
        for (block, lines) in lines.chunks_exact(tables.n_lines).take(n_blocks).enumerate() {
            let budget = budgets[block];
            if budget < 0 {
                continue;
            }
            // Of lines in even and in odd places: [half of the items][low and high codes].
            let (mut even, mut odd) = ([[_mm256_set1_epi8(-1); 2]; 2], [[_mm256_set1_epi8(-1); 2]; 2]);
            let ((lines, last), (tables, last_tables)) = (lines.as_chunks::<2>(), tables.pairs.as_chunks::<2>());
            for (lines, tables) in lines.iter().zip(tables) {
                lose_pairs(&mut even, &lines[0], &tables[0]);
                lose_pairs(&mut odd, &lines[1], &tables[1]);
            }
            if let (Some(line), Some(tables)) = (last.first(), last_tables.first()) {
                lose_pairs(&mut even, line, tables);
            }
            let (least, mut mask) = (_mm256_set1_epi8(least(budget) as i8), 0);
            for half in 0..2 {
                let low = _mm256_avg_epu8(even[half][0], odd[half][0]);
                let mean = _mm256_avg_epu8(low, _mm256_avg_epu8(even[half][1], odd[half][1]));
                let within = _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(mean, least), mean));
                mask |= u64::from(within as u32) << (32 * half);
            }
            hits.add(mask, block, items.len());
        }
        hits.end(items);
    }

    /// Takes what the codes of a line lose.
    #[target_feature(enable = "avx2,fma")]
    fn lose_pairs(left: &mut [[__m256i; 2]; 2], line: &Line, tables: &[[u8; 16]; 2]) {
        let nibble = _mm256_set1_epi8(15);
        for (half, left) in left.iter_mut().enumerate() {
            // SAFETY: a line holds 64 bytes, a table 16.
            let (bytes, tables) = unsafe {
                let tables = tables.each_ref().map(|table| _mm_loadu_si128(table.as_ptr().cast()));
                (_mm256_load_si256(line.0[8 * half..].as_ptr().cast()), tables)
            };
            let low = _mm256_and_si256(bytes, nibble);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
            left[0] = _mm256_subs_epu8(left[0], _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(tables[0]), low));
            left[1] = _mm256_subs_epu8(left[1], _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(tables[1]), high));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    /// The same by tables of threes, one item after the other.
    fn append_threes_plain(lines: &[Line], tables: &Tables, budgets: &[i32], items: &[u32], into: &mut Vec<u32>) {
        for ((at, &item), &budget) in items.iter().enumerate().zip(budgets.iter().flat_map(|budget| [budget; BLOCK])) {
            let bytes = lines.chunks_exact(tables.n_lines).nth(at / BLOCK).unwrap();
            let byte = |line: &Line| line.0[at % BLOCK / 4].to_le_bytes()[at % 4];
            let bytes: Vec<u8> = bytes.iter().map(byte).collect();
            let mut left = [FULL as u8; 4];
            for (bytes, Threes(tables)) in bytes.chunks(3).zip(&tables.threes) {
                let last = (0..).zip(bytes).fold(0, |last, (place, byte)| last | (byte >> 6) << (2 * place));
                let codes = bytes.iter().map(|byte| byte & 63);
                for (of, code) in codes.enumerate().chain([(3, last)]) {
                    left[of] = left[of].saturating_sub(tables[of][usize::from(code)]);
                }
            }
            if budget >= 0 && mean(left) >= least(budget) {
                into.push(item);
            }
        }
    }

    fn lines(n: usize, draws: Stream) -> Vec<Line> {
        (0..n).map(|at| Line(std::array::from_fn(|w| draws.u64((at * 16 + w) as u64) as i32))).collect()
    }

    #[test]
    fn every_level_finds_the_items_within_their_budgets() {
        let draws = Stream::new(31, 0);
        for n in [1, 2, 17, 33, 49] {
            let lines = lines(5 * n, draws.sub(1));
            // The last block ends early.
            let items: Vec<u32> = (0..5 * BLOCK as u32 - 3).map(|at| 7 * at + 2).collect();
            // Up to where counters stop.
            let most = 65_536 * 2 / n as u64;
            let loss = |at: usize| draws.sub(2).below(at as u64, most).min(65_535) as u16;
            let losses: Vec<Losses> = (0..n)
                .map(|at| std::array::from_fn(|of| std::array::from_fn(|c| loss((at * 4 + of) * 4 + c))))
                .collect();
            let (mut found, mut within) = (0, 0);
            for budgets in [[-1, 0, 500, 700, 1_015], [1_020, 2_000, 600, -7, 800]] {
                // What is within the budget without rounding passes everywhere.
                let sure = |at: usize| {
                    let byte = |line: &Line| line.0[at % BLOCK / 4].to_le_bytes()[at % 4];
                    let bytes = lines[at / BLOCK * n..][..n].iter().map(byte).zip(&losses);
                    let of = |(byte, losses): (u8, &Losses)| {
                        (0..4).map(|of| u64::from(losses[of][usize::from(byte >> (2 * of) & 3)])).sum::<u64>()
                    };
                    bytes.map(of).sum::<u64>() as i64 <= 256 * i64::from(budgets[at / BLOCK])
                };
                let sure: Vec<u32> = (0..items.len()).filter(|&at| sure(at)).map(|at| items[at]).collect();
                within += sure.len();
                for level in Level::available() {
                    let (mut tables, mut into, mut wanted) = (Tables::default(), vec![7], vec![7]);
                    tables.set(level, &losses);
                    append_within(level, &lines, &tables, &budgets, &items, &mut into);
                    if tables.threes.is_empty() {
                        append_plain(&lines, &tables, &budgets, &items, &mut wanted);
                    } else {
                        append_threes_plain(&lines, &tables, &budgets, &items, &mut wanted);
                    }
                    assert_eq!(into, wanted, "{} {n}", level.name());
                    assert!(sure.iter().all(|item| into.contains(item)), "{} {n}", level.name());
                    found += into.len();
                }
            }
            let n_levels = Level::available().len();
            assert!(
                within > 100 && found < 10 * BLOCK * n_levels * 9 / 10,
                "{n} {found} {within}: budgets say nothing"
            );
        }
    }
}
