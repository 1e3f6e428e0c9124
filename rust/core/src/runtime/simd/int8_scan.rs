//! The scan of int8 vectors: blocks of 64 items against a few users, to find the items whose score may reach a threshold.
//!
//! Items are unsigned bytes (value + 128, values within ±127) laid out as [block][factor / 4][64 items][4]; users are signed
//! bytes, four to a word, as [factor / 4][user]. The integer dot product is exact at every level. AVX2 adds eight products in
//! 16 bits, so its items are within ±31 (value + 32) and its users within ±63: 8 · 63 · 63 < 2¹⁵; every other of its
//! multiplications would go into wider sums if it added two, as bytes of all values allow. `rank::index` derives what a dot
//! product means; here a user's threshold in block b is the whole number ⌈(`cut` − `by_error` · `errors[b]` − `by_norm` · `norms[b]`) · `unscale[b]`⌉ + `offset`.

use super::level::Level;

/// Items in a block.
pub const BLOCK: usize = 64;

/// The largest magnitude of an item's value at a level.
pub fn item_limit(level: Level) -> u8 {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 31,
        _ => 127,
    }
}

/// What an item's byte is above its value.
pub fn item_offset(level: Level) -> u8 {
    item_limit(level) + 1
}

/// Words of four bytes on a cache line of their own, so that a register's load never splits.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Line(pub [i32; 16]);

/// Thresholds are clamped to ± this. Sums of at most 2¹⁵ products, none above 255 · 127, lie within, with their offset, and
/// adding the offset, at most 2¹⁵ · 128 · 127, does not overflow.
const MAX_THRESHOLD: f64 = 1.5e9;

/// The largest number of factors.
pub const MAX_FACTORS: usize = 1 << 15;

/// Blocks of items, falling by norm.
#[derive(Clone, Copy)]
pub struct Blocks<'a> {
    /// [block][word][4] lines.
    pub lines: &'a [Line],
    /// Four-byte words in a vector.
    pub words: usize,
    /// One over the scale of each block.
    pub unscale: &'a [f64],
    /// The largest error norm of each block.
    pub errors: &'a [f64],
    /// The largest norm of each block.
    pub norms: &'a [f64],
}

/// The words of `d` bytes, as many for each product of tiles: at most 16 (see `tile_scan`). What is beyond `d` is 0 in users.
pub fn vector_words(d: usize) -> usize {
    d.div_ceil(4).next_multiple_of(d.div_ceil(64).max(1))
}

/// What eight users look for; see the module head.
#[derive(Clone, Copy)]
pub struct Limits {
    /// ∞ in lanes without a user.
    pub cut: [f64; 8],
    /// For each unit of a block's error.
    pub by_error: [f64; 8],
    /// For each unit of its norm.
    pub by_norm: [f64; 8],
    /// What is added to a threshold.
    pub offset: [i32; 8],
}

impl Default for Limits {
    fn default() -> Self {
        Self { cut: [f64::INFINITY; 8], by_error: [0.0; 8], by_norm: [0.0; 8], offset: [0; 8] }
    }
}

/// `U` ≤ 8 users that are scanned together. Lanes without a user have `cut` = ∞.
pub struct Group<const U: usize> {
    /// [word][user].
    pub words: Vec<[i32; U]>,
    /// Scratch memory for the words of one user.
    pub own: Vec<i32>,
    /// What they look for.
    pub limits: Limits,
    /// Blocks with a smaller norm hold no candidate for any of them.
    pub stop: f64,
}

impl<const U: usize> Default for Group<U> {
    fn default() -> Self {
        Self { words: Vec::new(), own: Vec::new(), limits: Limits::default(), stop: f64::INFINITY }
    }
}

/// Whether a level has a kernel of its own here. Without one the scan took 13 to 22 times as long as the plain path.
pub fn has_kernel(level: Level) -> bool {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 | Level::Amx => true,
        _ => false,
    }
}

/// How many products of bytes a scan takes in the time of one product of f32 on the plain path, roughly.
pub fn scan_speed(level: Level) -> u64 {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 8,
        #[cfg(target_arch = "x86_64")]
        Level::Amx => 16,
        _ => 3,
    }
}

/// The largest magnitude of a user's byte at a level.
pub fn user_limit(level: Level) -> f64 {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 63.0,
        _ => 127.0,
    }
}

/// The first block from `from` on where a user's threshold is reached, and one bit for each such item and user; or the
/// number of blocks and no bits.
pub fn scan<const U: usize>(level: Level, blocks: Blocks<'_>, group: &Group<U>, from: usize) -> (usize, [u64; U]) {
    let n = blocks.norms.len();
    assert!(
        U <= 8
            && group.words.len() == blocks.words
            && blocks.lines.len() == n * blocks.words * 4
            && blocks.unscale.len() == n
            && blocks.errors.len() == n
            && blocks.words * 4 <= MAX_FACTORS
    );
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features; the lengths were checked above.
        Level::Avx512 | Level::Amx => unsafe { x86::scan_avx512(blocks, group, from) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::scan_avx2(blocks, group, from) },
        _ => scan_plain(blocks, group, from),
    }
}

/// The thresholds of some users in one block.
#[inline(always)]
pub(super) fn thresholds<const U: usize>(blocks: Blocks<'_>, limits: &Limits, block: usize) -> [i32; U] {
    let (error, norm, unscale) = (blocks.errors[block], blocks.norms[block], blocks.unscale[block]);
    // No closures here and below: those given to `from_fn` are called, and without the caller's instruction set.
    let mut thresholds = [0; U];
    for user in 0..U {
        let least = (limits.cut[user] - limits.by_error[user] * error - limits.by_norm[user] * norm) * unscale;
        // NaN cannot occur: `cut` is ∞ or −∞ or finite, all else is finite.
        thresholds[user] = least.clamp(-MAX_THRESHOLD, MAX_THRESHOLD).ceil() as i32 + limits.offset[user];
    }
    thresholds
}

fn scan_plain<const U: usize>(blocks: Blocks<'_>, group: &Group<U>, from: usize) -> (usize, [u64; U]) {
    for block in from..blocks.norms.len() {
        if blocks.norms[block] < group.stop {
            return (blocks.norms.len(), [0; U]);
        }
        let least: [i32; U] = thresholds(blocks, &group.limits, block);
        let lines = &blocks.lines[block * blocks.words * 4..(block + 1) * blocks.words * 4];
        let mut masks = [0u64; U];
        for user in 0..U {
            let mut sums = [0i32; BLOCK];
            for (lines, words) in lines.chunks_exact(4).zip(&group.words) {
                let bytes = words[user].to_le_bytes().map(|b| i32::from(b as i8));
                for (sums, line) in sums.chunks_exact_mut(16).zip(lines) {
                    for (sum, item) in sums.iter_mut().zip(line.0.map(i32::to_le_bytes)) {
                        *sum += i32::from(item[0]) * bytes[0]
                            + i32::from(item[1]) * bytes[1]
                            + i32::from(item[2]) * bytes[2]
                            + i32::from(item[3]) * bytes[3];
                    }
                }
            }
            for (item, &sum) in sums.iter().enumerate() {
                masks[user] |= u64::from(sum >= least[user]) << item;
            }
        }
        if masks.iter().any(|&mask| mask != 0) {
            return (block, masks);
        }
    }
    (blocks.norms.len(), [0; U])
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::thresholds as thresholds_avx512;

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{Blocks, Group, Limits, MAX_THRESHOLD};

    /// The thresholds of eight users in one block, rounded after each step as [`super::thresholds`] does.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn thresholds(blocks: Blocks<'_>, limits: &Limits, block: usize) -> [i32; 8] {
        // SAFETY: the arrays hold 8 numbers.
        let (cut, by_error, by_norm, offset) = unsafe {
            (
                _mm512_loadu_pd(limits.cut.as_ptr()),
                _mm512_loadu_pd(limits.by_error.as_ptr()),
                _mm512_loadu_pd(limits.by_norm.as_ptr()),
                _mm256_loadu_si256(limits.offset.as_ptr().cast()),
            )
        };
        let y = _mm512_sub_pd(cut, _mm512_mul_pd(by_error, _mm512_set1_pd(blocks.errors[block])));
        let y = _mm512_sub_pd(y, _mm512_mul_pd(by_norm, _mm512_set1_pd(blocks.norms[block])));
        let y = _mm512_mul_pd(y, _mm512_set1_pd(blocks.unscale[block]));
        let y = _mm512_max_pd(_mm512_min_pd(y, _mm512_set1_pd(MAX_THRESHOLD)), _mm512_set1_pd(-MAX_THRESHOLD));
        let whole = _mm512_cvt_roundpd_epi32::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(y);
        let mut least = [0i32; 8];
        // SAFETY: 8 numbers.
        unsafe { _mm256_storeu_si256(least.as_mut_ptr().cast(), _mm256_add_epi32(whole, offset)) };
        least
    }

    /// 64 items × `U` users: 4 `U` sums, 4 registers of items, users broadcast from memory.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn scan_avx512<const U: usize>(blocks: Blocks<'_>, group: &Group<U>, from: usize) -> (usize, [u64; U]) {
        for block in from..blocks.norms.len() {
            if blocks.norms[block] < group.stop {
                break;
            }
            let least = thresholds(blocks, &group.limits, block);
            let mut sums = [[_mm512_setzero_si512(); 4]; U];
            // SAFETY: `scan` checked that every block holds `words` × 4 lines and every user `words` words.
            unsafe {
                let mut line = blocks.lines.as_ptr().add(block * blocks.words * 4);
                for words in &group.words {
                    let mut items = [_mm512_setzero_si512(); 4];
                    for part in 0..4 {
                        items[part] = _mm512_load_si512(line.add(part).cast());
                    }
                    for user in 0..U {
                        let word = _mm512_set1_epi32(words[user]);
                        for part in 0..4 {
                            sums[user][part] = _mm512_dpbusd_epi32(sums[user][part], items[part], word);
                        }
                    }
                    line = line.add(4);
                }
            }
            let mut hit = 0;
            for user in 0..U {
                let most = _mm512_max_epi32(
                    _mm512_max_epi32(sums[user][0], sums[user][1]),
                    _mm512_max_epi32(sums[user][2], sums[user][3]),
                );
                hit |= _mm512_cmpge_epi32_mask(most, _mm512_set1_epi32(least[user]));
            }
            if hit != 0 {
                let masks = std::array::from_fn(|user| {
                    let least = _mm512_set1_epi32(least[user]);
                    (0..4).fold(0u64, |mask, part| {
                        mask | u64::from(_mm512_cmpge_epi32_mask(sums[user][part], least)) << (16 * part)
                    })
                });
                return (block, masks);
            }
        }
        (blocks.norms.len(), [0; U])
    }

    /// 8 items × `U` users at a time, 64 × 1 for a single user, which is bound by memory and reads it in order.
    #[target_feature(enable = "avx2,fma")]
    pub fn scan_avx2<const U: usize>(blocks: Blocks<'_>, group: &Group<U>, from: usize) -> (usize, [u64; U]) {
        for block in from..blocks.norms.len() {
            if blocks.norms[block] < group.stop {
                break;
            }
            let least: [i32; U] = super::thresholds(blocks, &group.limits, block);
            let mut masks = [0u64; U];
            if U == 1 {
                parts256::<U, 8>(blocks, &group.words, block, 0, &least, &mut masks);
            } else {
                for part in 0..8 {
                    parts256::<U, 1>(blocks, &group.words, block, part, &least, &mut masks);
                }
            }
            if masks.iter().any(|&mask| mask != 0) {
                return (block, masks);
            }
        }
        (blocks.norms.len(), [0; U])
    }

    /// Words whose products are added up in 16 bits.
    const WORDS_NARROW: usize = 4;

    /// `P` parts of 8 items from `first` on: the products of four words in 16 bits, then in 32. The sums of both widths stay
    /// in registers with six users and one part.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn parts256<const U: usize, const P: usize>(
        blocks: Blocks<'_>,
        words: &[[i32; U]],
        block: usize,
        first: usize,
        least: &[i32; U],
        masks: &mut [u64; U],
    ) {
        debug_assert!(first + P <= 8);
        let ones = _mm256_set1_epi16(1);
        let mut sums = [[_mm256_setzero_si256(); P]; U];
        let lines = blocks.lines.as_ptr().wrapping_add(block * blocks.words * 4);
        let mut line = lines.cast::<__m256i>().wrapping_add(first);
        // The products of some words.
        macro_rules! add_words {
            ($words:expr) => {
                let mut narrow = [[_mm256_setzero_si256(); P]; U];
                for words in $words {
                    let mut items = [_mm256_setzero_si256(); P];
                    for part in 0..P {
                        // SAFETY: `scan` checked that every block holds `words` × 4 lines, as many words as a user; `first` + `P` ≤ 8.
                        items[part] = unsafe { _mm256_load_si256(line.add(part)) };
                    }
                    for user in 0..U {
                        let word = _mm256_set1_epi32(words[user]);
                        for part in 0..P {
                            narrow[user][part] =
                                _mm256_add_epi16(narrow[user][part], _mm256_maddubs_epi16(items[part], word));
                        }
                    }
                    line = line.wrapping_add(8);
                }
                for user in 0..U {
                    for part in 0..P {
                        let wide = _mm256_madd_epi16(narrow[user][part], ones);
                        sums[user][part] = _mm256_add_epi32(sums[user][part], wide);
                    }
                }
            };
        }
        let (whole, rest) = words.as_chunks::<WORDS_NARROW>();
        for words in whole {
            add_words!(words);
        }
        if !rest.is_empty() {
            add_words!(rest);
        }
        // One test for all users first; bits are extracted only where a user's threshold is reached.
        let mut below = [_mm256_setzero_si256(); U];
        let mut any = _mm256_setzero_si256();
        for user in 0..U {
            below[user] = _mm256_set1_epi32(least[user].wrapping_sub(1));
            for part in 0..P {
                any = _mm256_or_si256(any, _mm256_cmpgt_epi32(sums[user][part], below[user]));
            }
        }
        if _mm256_testz_si256(any, any) == 0 {
            for user in 0..U {
                for part in 0..P {
                    let reached = _mm256_cmpgt_epi32(sums[user][part], below[user]);
                    let bits = _mm256_movemask_ps(_mm256_castsi256_ps(reached)) as u32;
                    masks[user] |= u64::from(bits) << (8 * (first + part));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    /// Bytes that items can have within `bits`, once all the largest.
    fn item(bits: i32, limit: bool, draw: i32) -> i32 {
        if limit { bits } else { draw & bits }
    }

    /// What the bytes of items and users fill at AVX2, and at all other levels.
    const ALL_BITS: [(i32, i8); 2] = [(0x3F3F_3F3F, 63), (-1, 127)];

    fn levels(limit: i8) -> impl Iterator<Item = Level> {
        Level::available().into_iter().filter(move |&level| limit == 63 || user_limit(level) > 63.0)
    }

    #[test]
    fn every_level_finds_the_same_bits() {
        let draws = Stream::new(1, 2);
        for (words, (bits, limit)) in [1, 2, 16].into_iter().flat_map(|words| ALL_BITS.map(|bits| (words, bits))) {
            let n = 5;
            let lines: Vec<Line> = (0..n * words * 4)
                .map(|line| {
                    Line(std::array::from_fn(|at| item(bits, words == 1, draws.u64((line * 16 + at) as u64) as i32)))
                })
                .collect();
            let (unscale, errors, norms) = (vec![0.5, 1.0, 2.0, 1.0, 1.0], vec![1.0; n], vec![5.0, 4.0, 3.0, 2.0, 1.0]);
            let blocks = Blocks { lines: &lines, words, unscale: &unscale, errors: &errors, norms: &norms };
            let mut group = Group::<6>::default();
            // Once all at the limit, where the 16 bits of AVX2 nearly overflow.
            let any = |at: u64| (draws.below(at, 2 * limit as u64 + 1) as i32 - i32::from(limit)) as i8;
            let byte = |at: u64| if words == 1 { [limit, -limit][at as usize % 2] } else { any(at) };
            group.words = (0..words)
                .map(|w| {
                    std::array::from_fn(|u| {
                        i32::from_le_bytes(std::array::from_fn(|b| byte((w * 24 + u * 4 + b) as u64) as u8))
                    })
                })
                .collect();
            for (user, cut) in [-1e30, 3000.0, 9000.0, f64::INFINITY, f64::NEG_INFINITY].into_iter().enumerate() {
                let limits = &mut group.limits;
                (limits.cut[user], limits.by_error[user], limits.by_norm[user]) = (cut, 3.0, 2.0);
                limits.offset[user] = 7 - user as i32;
            }
            group.stop = 1.5;
            for from in 0..=n {
                let wanted = scan_plain(blocks, &group, from);
                assert_eq!(wanted.1.iter().all(|&mask| mask == 0), from >= 4);
                for level in levels(limit) {
                    assert_eq!(scan(level, blocks, &group, from), wanted, "{} {words} {from}", level.name());
                }
                // Each user alone.
                for user in 0..5 {
                    let mut alone = Group::<1> { stop: group.stop, ..Group::default() };
                    alone.words = group.words.iter().map(|word| [word[user]]).collect();
                    let (limits, all) = (&mut alone.limits, &group.limits);
                    (limits.cut[0], limits.by_error[0], limits.by_norm[0]) = (all.cut[user], 3.0, 2.0);
                    limits.offset[0] = all.offset[user];
                    let wanted = scan_plain(blocks, &alone, from);
                    for level in levels(limit) {
                        let found = scan(level, blocks, &alone, from);
                        assert_eq!(found, wanted, "{} {words} {from}, user {user} alone", level.name());
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_has_the_same_thresholds_to_the_last_place() {
        let draws = Stream::new(1, 3);
        let lines: Vec<Line> = (0..8)
            .map(|line| {
                Line(std::array::from_fn(|at| item(0x3F3F_3F3F, false, draws.u64((line * 16 + at) as u64) as i32)))
            })
            .collect();
        let blocks = Blocks { lines: &lines, words: 2, unscale: &[1.0], errors: &[3.0], norms: &[1.0] };
        let words: Vec<[i32; 1]> = vec![[0x3F01_C241], [0x0510_F0C3_u32 as i32]];
        let dot = |item: usize| -> i32 {
            (0..2)
                .flat_map(|word| {
                    let of_item = lines[word * 4 + item / 16].0[item % 16].to_le_bytes();
                    let of_user = words[word][0].to_le_bytes();
                    of_item.into_iter().zip(of_user).map(|(a, b)| i32::from(a) * i32::from(b as i8))
                })
                .sum()
        };
        for item in 0..BLOCK {
            // 3 · ⅓ is a little less than 1 before it is rounded: then the last but one would be rounded up to one more.
            for (cut, by_error, reached) in
                [(0.5, 0.0, false), (-0.5, 0.0, true), (0.0, 0.0, true), (1.0, 1.0 / 3.0, true)]
            {
                let mut group = Group::<1> { words: words.clone(), stop: 0.0, ..Group::default() };
                let limits = &mut group.limits;
                (limits.cut[0], limits.by_error[0], limits.offset[0]) = (cut, by_error, dot(item));
                for level in Level::available() {
                    let (_, [mask]) = scan(level, blocks, &group, 0);
                    assert_eq!(mask >> item & 1 == 1, reached, "{} {item} {cut}", level.name());
                }
            }
        }
    }
}
