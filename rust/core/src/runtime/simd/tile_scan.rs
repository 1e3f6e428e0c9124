//! The scan of `int8_scan` for up to 32 users at once, whose products AMX makes by tiles of 16 users × 16 items.
//!
//! An item's lines are what `tdpbsud` wants of its second factor already: a row for each word, with that word of 16 items. A
//! product of tiles takes 16 words of each vector at most; longer vectors take several, all of the same shape, for which
//! `vector_words` rounds up. Sums leave the tiles for a buffer of one block; while the next block is multiplied, these are compared. They
//! are whole numbers, so what is found is what `int8_scan` finds. No tile outlives a call, nor does their configuration.

use super::int8_scan::{BLOCK, Blocks, Limits, thresholds};
use super::level::Level;
use super::sure_scores::SureScores;

/// Users that are scanned together.
pub const TILE_USERS: usize = 32;

/// Up to 32 users that are scanned together.
#[derive(Default)]
pub struct TileGroup {
    /// [user][word].
    words: Vec<i32>,
    n_words: usize,
    n_users: usize,
    /// Eight users each; lanes without one have `cut` = ∞.
    pub limits: [Limits; TILE_USERS / 8],
    /// Blocks with a smaller norm hold no candidate for any of them.
    pub stop: f64,
}

/// The items of a block that reach a user's threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The user's place in the group.
    pub user: u32,
    /// The block.
    pub block: u32,
    /// A bit for each item.
    pub mask: u64,
}

/// Whether a level scans by tiles.
pub fn has_tiles(level: Level) -> bool {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Amx => true,
        _ => false,
    }
}

impl TileGroup {
    /// Makes it a group of `n_users`, vectors of `n_words` words each, all 0.
    pub fn reset(&mut self, n_users: usize, n_words: usize) {
        assert!(n_users <= TILE_USERS);
        self.words.clear();
        self.words.resize(n_users.next_multiple_of(16) * n_words, 0);
        (self.n_words, self.n_users) = (n_words, n_users);
        self.limits = Default::default();
        self.stop = f64::INFINITY;
    }

    /// The bytes of a user, four in each word.
    pub fn words_mut(&mut self, user: usize) -> &mut [i32] {
        &mut self.words[user * self.n_words..(user + 1) * self.n_words]
    }
}

/// Adds to `hits` what reaches a threshold in some blocks, numbered from `first` on; gives the block where no norm reaches any
/// more, or the number of blocks.
pub fn tile_scan(level: Level, blocks: Blocks<'_>, first: usize, group: &TileGroup, hits: &mut Vec<Hit>) -> usize {
    check(blocks, group);
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found the features and the permission; the lengths were checked above.
        Level::Amx => unsafe { amx::scan(blocks, first, group, hits) },
        _ => scan_plain(blocks, first, group, hits),
    }
}

fn check(blocks: Blocks<'_>, group: &TileGroup) {
    let n = blocks.norms.len();
    assert!(
        group.n_users > 0
            && group.n_words == blocks.words
            && group.words.len() == group.n_users.next_multiple_of(16) * blocks.words
            && blocks.lines.len() == n * blocks.words * 4
            && blocks.unscale.len() == n
            && blocks.errors.len() == n
    );
}

fn scan_plain(blocks: Blocks<'_>, first: usize, group: &TileGroup, hits: &mut Vec<Hit>) -> usize {
    for block in 0..blocks.norms.len() {
        if blocks.norms[block] < group.stop {
            return block;
        }
        for user in 0..group.n_users {
            let least = thresholds::<8>(blocks, &group.limits[user / 8], block)[user % 8];
            let sums = sums_plain(blocks, block, group, user);
            let mask = sums.iter().rev().fold(0, |mask, &sum| mask << 1 | u64::from(sum >= least));
            if mask != 0 {
                hits.push(Hit { user: user as u32, block: (first + block) as u32, mask });
            }
        }
    }
    blocks.norms.len()
}

fn sums_plain(blocks: Blocks<'_>, block: usize, group: &TileGroup, user: usize) -> [i32; BLOCK] {
    let lines = &blocks.lines[block * blocks.words * 4..(block + 1) * blocks.words * 4];
    let mut sums = [0i32; BLOCK];
    for (lines, word) in lines.chunks_exact(4).zip(&group.words[user * group.n_words..]) {
        for (sum, item) in sums.iter_mut().zip(lines.iter().flat_map(|line| line.0)) {
            let products = item.to_le_bytes().into_iter().zip(word.to_le_bytes());
            *sum += products.map(|(item, user)| i32::from(item) * i32::from(user as i8)).sum::<i32>();
        }
    }
    sums
}

/// Raises the places of some blocks, numbered from `first` on, to what their items are sure to score, as far as norms reach a
/// threshold. No block is one that ends early.
pub fn sure_scores(level: Level, blocks: Blocks<'_>, first: usize, group: &TileGroup, into: &mut SureScores) {
    check(blocks, group);
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Amx => unsafe { amx::sure_scores(blocks, first, group, into) },
        _ => sure_scores_plain(blocks, first, group, into),
    }
}

/// What a sum is multiplied by in a block, and what is taken off for each user: all that the bound allows for, and 2⁻²⁰ of the
/// magnitudes for the roundings of f32. Nothing where these could leave its normal numbers.
#[inline(always)]
fn sure_terms(blocks: Blocks<'_>, group: &TileGroup, block: usize) -> Option<(f32, [f32; TILE_USERS])> {
    const ROOM: f64 = 1.0 / (1 << 20) as f64;
    let (error, norm, scale) = (blocks.errors[block], blocks.norms[block], 1.0 / blocks.unscale[block]);
    if !(1e-25..1e25).contains(&scale) {
        return None;
    }
    let mut less = [0.0; TILE_USERS];
    for (less, limits) in less.as_chunks_mut::<8>().0.iter_mut().zip(&group.limits) {
        for lane in 0..8 {
            let lost = limits.by_error[lane] * error + limits.by_norm[lane] * norm;
            less[lane] = (lost + ROOM * (lost + limits.by_error[lane] * (norm + error))) as f32;
        }
    }
    Some((scale as f32, less))
}

fn sure_scores_plain(blocks: Blocks<'_>, first: usize, group: &TileGroup, into: &mut SureScores) {
    for block in (0..blocks.norms.len()).take_while(|&block| blocks.norms[block] >= group.stop) {
        let Some((scale, less)) = sure_terms(blocks, group, block) else { continue };
        for user in 0..group.n_users {
            let sums = sums_plain(blocks, block, group, user);
            for (place, known) in into.places(user, first + block).iter_mut().enumerate() {
                let most = (0..4).map(|part| sums[part * 16 + place]).max().unwrap_or(0);
                let sure = ((most - group.limits[user / 8].offset[user % 8]) as f32).mul_add(scale, -less[user]);
                *known = if *known > sure { *known } else { sure };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use std::arch::asm;
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::super::int8_scan::{BLOCK, Blocks, Line, thresholds_avx512};
    use super::super::sparse::fetch;
    use super::{Hit, SureScores, TILE_USERS, TileGroup, sure_terms};

    /// The lines of the next block are fetched ahead where they are at most so many.
    const MAX_FETCHED: usize = 128;

    /// The sums of a block, on lines of their own.
    #[repr(align(64))]
    struct Sums([[i32; BLOCK]; TILE_USERS]);

    /// What `ldtilecfg` reads: sums in tiles 0 to 3, items in 4 and 5, users in 6 and 7.
    #[repr(C, align(64))]
    struct Shapes {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    impl Shapes {
        /// Those of products of `words` words.
        fn new(words: usize) -> Self {
            let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
            row_bytes[..6].fill(64);
            row_bytes[6..8].fill(4 * words as u16);
            rows[..8].fill(16);
            rows[4..6].fill(words as u8);
            Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
        }
    }

    /// See [`super::tile_scan`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn scan(blocks: Blocks<'_>, first: usize, group: &TileGroup, hits: &mut Vec<Hit>) -> usize {
        each_block(blocks, group, |block, sums| compare(blocks, block, first, group, sums, hits))
    }

    /// See [`super::sure_scores`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn sure_scores(blocks: Blocks<'_>, first: usize, group: &TileGroup, into: &mut SureScores) {
        each_block(blocks, group, |block, sums| add_sure_scores(blocks, block, first, group, sums, into));
    }

    /// Gives the sums of each block whose norm reaches a threshold, and how many these are.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    fn each_block(blocks: Blocks<'_>, group: &TileGroup, mut each: impl FnMut(usize, &Sums)) -> usize {
        let n_tiles = blocks.words.div_ceil(16);
        assert!(n_tiles > 0 && blocks.words.is_multiple_of(n_tiles));
        let shapes = Shapes::new(blocks.words / n_tiles);
        // SAFETY: the 64 bytes of a configuration that the processor allows: at most 16 rows of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly)) };
        let n = blocks.norms.iter().take_while(|&&norm| norm >= group.stop).count();
        let mut sums = [const { Sums([[0; BLOCK]; TILE_USERS]) }; 2];
        for block in 0..=n {
            if block < n {
                let lines = &blocks.lines[block * blocks.words * 4..(block + 1) * blocks.words * 4];
                multiply(lines, group, n_tiles, &mut sums[block % 2]);
                if block + 1 < n && lines.len() <= MAX_FETCHED {
                    fetch(blocks.lines, (block + 1) * lines.len(), lines.len());
                }
            }
            if block > 0 {
                each(block - 1, &sums[(block - 1) % 2]);
            }
        }
        // SAFETY: leaves the tiles as they were before.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
        n
    }

    /// The products of a block's `lines` with all users, 32 items at a time.
    #[inline]
    fn multiply(lines: &[Line], group: &TileGroup, n_tiles: usize, sums: &mut Sums) {
        let words = group.n_words / n_tiles;
        debug_assert!(lines.len() == group.n_words * 4 && words <= 16);
        let (items, users, sums) = (lines.as_ptr(), group.words.as_ptr(), sums.0.as_mut_ptr().cast::<i32>());
        let user_bytes = group.n_words * 4;
        for part in [0, 2] {
            let (items, sums) = (items.wrapping_add(part), sums.wrapping_add(part * 16));
            if group.n_users > 16 {
                // SAFETY: `scan` set the shapes; lines and users hold `n_tiles` × `words` words, `sums` 32 rows of 256 bytes.
                unsafe {
                    asm!(
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        "2:",
                        "tileloadd tmm4, [{items} + {row}*1]",
                        "tileloadd tmm5, [{items} + {row}*1 + 64]",
                        "tileloadd tmm6, [{users} + {user_bytes}*1]",
                        "tileloadd tmm7, [{others} + {user_bytes}*1]",
                        "tdpbsud tmm0, tmm6, tmm4",
                        "tdpbsud tmm1, tmm6, tmm5",
                        "tdpbsud tmm2, tmm7, tmm4",
                        "tdpbsud tmm3, tmm7, tmm5",
                        "add {items}, {item_step}",
                        "add {users}, {user_step}",
                        "add {others}, {user_step}",
                        "dec {left}",
                        "jnz 2b",
                        "tilestored [{sums} + {row}*1], tmm0",
                        "tilestored [{sums} + {row}*1 + 64], tmm1",
                        "tilestored [{sums} + {row}*1 + 4096], tmm2",
                        "tilestored [{sums} + {row}*1 + 4160], tmm3",
                        items = inout(reg) items => _, users = inout(reg) users => _,
                        others = inout(reg) users.wrapping_add(16 * group.n_words) => _,
                        left = inout(reg) n_tiles => _, sums = in(reg) sums, row = in(reg) 256usize,
                        user_bytes = in(reg) user_bytes, item_step = in(reg) words * 256, user_step = in(reg) words * 4,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack)
                    );
                }
            } else {
                // SAFETY: the same with 16 users.
                unsafe {
                    asm!(
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "2:",
                        "tileloadd tmm4, [{items} + {row}*1]",
                        "tileloadd tmm5, [{items} + {row}*1 + 64]",
                        "tileloadd tmm6, [{users} + {user_bytes}*1]",
                        "tdpbsud tmm0, tmm6, tmm4",
                        "tdpbsud tmm1, tmm6, tmm5",
                        "add {items}, {item_step}",
                        "add {users}, {user_step}",
                        "dec {left}",
                        "jnz 2b",
                        "tilestored [{sums} + {row}*1], tmm0",
                        "tilestored [{sums} + {row}*1 + 64], tmm1",
                        items = inout(reg) items => _, users = inout(reg) users => _,
                        left = inout(reg) n_tiles => _, sums = in(reg) sums, row = in(reg) 256usize,
                        user_bytes = in(reg) user_bytes, item_step = in(reg) words * 256, user_step = in(reg) words * 4,
                        out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm5") _, out("tmm6") _,
                        options(nostack)
                    );
                }
            }
        }
    }

    /// Raises the places of a block to what its items are sure of, the best of four in each lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    fn add_sure_scores(
        blocks: Blocks<'_>,
        block: usize,
        first: usize,
        group: &TileGroup,
        sums: &Sums,
        into: &mut SureScores,
    ) {
        let Some((scale, less)) = sure_terms(blocks, group, block) else { return };
        for user in 0..group.n_users {
            let places = into.places(user, first + block);
            let (limits, row) = (&group.limits[user / 8], sums.0[user].as_ptr());
            // SAFETY: 64 sums on lines of their own, 16 places.
            unsafe {
                let sums: [_; 4] = std::array::from_fn(|part| _mm512_load_si512(row.add(16 * part).cast()));
                let most = _mm512_max_epi32(_mm512_max_epi32(sums[0], sums[1]), _mm512_max_epi32(sums[2], sums[3]));
                let whole = _mm512_cvtepi32_ps(_mm512_sub_epi32(most, _mm512_set1_epi32(limits.offset[user % 8])));
                let sure = _mm512_fmsub_ps(whole, _mm512_set1_ps(scale), _mm512_set1_ps(less[user]));
                let known = _mm512_loadu_ps(places.as_ptr());
                _mm512_storeu_ps(places.as_mut_ptr(), _mm512_max_ps(known, sure));
            }
        }
    }

    /// Adds what reaches a threshold in a block.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    fn compare(blocks: Blocks<'_>, block: usize, first: usize, group: &TileGroup, sums: &Sums, hits: &mut Vec<Hit>) {
        let mut least = [[0; 8]; TILE_USERS / 8];
        for (least, limits) in least.iter_mut().zip(&group.limits) {
            *least = thresholds_avx512(blocks, limits, block);
        }
        let least = least.as_flattened();
        let load = |user: usize| {
            let mut sums_of_user = [_mm512_setzero_si512(); 4];
            for (part, sums_of_part) in sums_of_user.iter_mut().enumerate() {
                // SAFETY: 64 sums on lines of their own.
                *sums_of_part = unsafe { _mm512_load_si512(sums.0[user].as_ptr().add(16 * part).cast()) };
            }
            (sums_of_user, _mm512_set1_epi32(least[user]))
        };
        // Whoever has a hit, without a branch, which would be mispredicted time and again.
        let (mut reached, mut n_reached) = ([0u8; TILE_USERS], 0);
        for user in 0..group.n_users {
            let ([a, b, c, d], least) = load(user);
            let most = _mm512_max_epi32(_mm512_max_epi32(a, b), _mm512_max_epi32(c, d));
            reached[n_reached % TILE_USERS] = user as u8;
            n_reached += usize::from(_mm512_cmpge_epi32_mask(most, least) != 0);
        }
        for &user in &reached[..n_reached] {
            let (sums, least) = load(usize::from(user) % TILE_USERS);
            let mut mask = 0;
            for part in 0..4 {
                mask |= u64::from(_mm512_cmpge_epi32_mask(sums[part], least)) << (16 * part);
            }
            hits.push(Hit { user: u32::from(user), block: (first + block) as u32, mask });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::int8_scan::{Group, Line, scan, vector_words};
    use super::*;
    use crate::runtime::rng::Stream;

    const N: usize = 5;

    /// Items, once all the largest, and as many users.
    fn case(d: usize, n_users: usize, largest: bool) -> (Vec<Line>, TileGroup) {
        let draws = Stream::new(d as u64, n_users as u64);
        let words = vector_words(d);
        let item = |at: u64| if largest { -1 } else { draws.u64(at) as i32 };
        let lines =
            (0..N * words * 4).map(|line| Line(std::array::from_fn(|at| item((line * 16 + at) as u64)))).collect();
        let mut group = TileGroup::default();
        group.reset(n_users, words);
        let byte = |at: usize| if largest { 127 } else { draws.sub(1).below(at as u64, 255) as u8 ^ 0x80 };
        for user in 0..n_users {
            for (at, word) in group.words_mut(user).iter_mut().enumerate() {
                let from = (user * words + at) * 4;
                *word = i32::from_le_bytes(std::array::from_fn(|k| if at * 4 + k < d { byte(from + k) } else { 0 }));
            }
            let (limits, lane) = (&mut group.limits[user / 8], user % 8);
            limits.cut[lane] = [-1e30, 3000.0, 9000.0, f64::INFINITY, 4e4, f64::NEG_INFINITY][user % 6];
            (limits.by_error[lane], limits.by_norm[lane], limits.offset[lane]) = (3.0, 2.0, 7 - user as i32);
        }
        group.stop = 1.5;
        (lines, group)
    }

    #[test]
    fn every_level_is_sure_of_the_same_scores() {
        for (d, n_users) in [(64, 32), (64, 7), (50, 17), (128, 3)] {
            for largest in [false, true] {
                let (lines, group) = case(d, n_users, largest);
                let (unscale, errors, norms) = ([0.5, 1.0, 2.0, 1e-30, 1.0], [1.0; N], [5.0, 4.0, 3.0, 2.0, 1.0]);
                let words = vector_words(d);
                let blocks = Blocks { lines: &lines, words, unscale: &unscale, errors: &errors, norms: &norms };
                let of_level = |level| {
                    let mut sure = SureScores::default();
                    sure.reset(n_users, 2 + N, 64);
                    sure_scores(level, blocks, 2, &group, &mut sure);
                    sure
                };
                let wanted = of_level(Level::Scalar);
                // Three blocks of five: one is beyond the normal numbers of f32, one has no norm that reaches.
                assert_eq!(
                    (wanted.nth(Level::Scalar, 0, 49), wanted.nth(Level::Scalar, 0, 48).is_finite()),
                    (f32::NEG_INFINITY, true)
                );
                for level in Level::available() {
                    assert_eq!(of_level(level), wanted, "{} {d} {n_users}", level.name());
                }
            }
        }
    }

    #[test]
    fn every_level_finds_what_a_scan_for_each_user_finds() {
        for (d, n_users) in [(64, 32), (64, 16), (64, 17), (64, 1), (1, 20), (50, 32), (65, 5), (128, 32), (200, 31)] {
            for largest in [false, true] {
                let (lines, group) = case(d, n_users, largest);
                let (unscale, errors, norms) = ([0.5, 1.0, 2.0, 1.0, 1.0], [1.0; N], [5.0, 4.0, 3.0, 2.0, 1.0]);
                let words = vector_words(d);
                let blocks = Blocks { lines: &lines, words, unscale: &unscale, errors: &errors, norms: &norms };
                let mut wanted = Vec::new();
                for user in 0..n_users {
                    let mut alone = Group::<1> { stop: group.stop, ..Group::default() };
                    alone.words = group.words[user * words..(user + 1) * words].iter().map(|&word| [word]).collect();
                    let (from, lane) = (&group.limits[user / 8], user % 8);
                    (alone.limits.cut[0], alone.limits.offset[0]) = (from.cut[lane], from.offset[lane]);
                    (alone.limits.by_error[0], alone.limits.by_norm[0]) = (from.by_error[lane], from.by_norm[lane]);
                    let mut at = 0;
                    while let (block, [mask]) = scan(Level::Scalar, blocks, &alone, at)
                        && block < N
                    {
                        wanted.push(Hit { user: user as u32, block: 40 + block as u32, mask });
                        at = block + 1;
                    }
                }
                wanted.sort_by_key(|hit| (hit.block, hit.user));
                assert!(n_users < 4 || !wanted.is_empty());
                for level in Level::available() {
                    let mut hits = vec![Hit { user: 9, block: 9, mask: 9 }];
                    assert_eq!(tile_scan(level, blocks, 40, &group, &mut hits), 4);
                    assert_eq!(hits[1..], wanted, "{} {d} {n_users}", level.name());
                }
            }
        }
    }
}
