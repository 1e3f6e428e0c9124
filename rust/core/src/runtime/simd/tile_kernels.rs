//! The tiles of `tiles` in the registers of each instruction set: scores of some rows and 32 users, and whether one of them
//! reaches its user's threshold.

/// Users in one pack.
pub const LANES: usize = 32;

/// Where the halves of a pack begin, for registers that hold no whole one.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const HALVES: [usize; 2] = [0, 16];

/// Rows in tiles of `R`, and one by one what is left; `whole` and `single` give their scores and tell whether one of them
/// reaches its lane's threshold.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
fn in_tiles<const R: usize>(
    rows: &[f32],
    d: usize,
    thresholds: &mut [f32; LANES],
    whole: impl Fn(&[f32], &[f32; LANES], &mut [[f32; LANES]; R]) -> bool,
    single: impl Fn(&[f32], &[f32; LANES], &mut [[f32; LANES]; R]) -> bool,
    mut hit: impl FnMut(usize, &[[f32; LANES]], &mut [f32; LANES]),
) {
    let mut scores = [[0f32; LANES]; R];
    let mut tiles = rows.chunks_exact(d * R);
    let mut first = 0;
    for rows in &mut tiles {
        if whole(rows, thresholds, &mut scores) {
            hit(first, &scores, thresholds);
        }
        first += R;
    }
    for row in tiles.remainder().chunks_exact(d) {
        if single(row, thresholds, &mut scores) {
            hit(first, &scores[..1], thresholds);
        }
        first += 1;
    }
}

// A tile is a function of its own, never inlined: next to the code that reports hits, the register allocator kept one of
// the sums on the stack, and each step waited for it (24 GFLOP/s in place of 80 with AVX2, Zen 3).

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::{HALVES, LANES, in_tiles};

    /// Rows of a tile.
    const ROWS512: usize = 12;

    /// 12 rows × 32 users: 24 sums, two registers of users, one broadcast.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    pub fn tiles_avx512(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        thresholds: &mut [f32; LANES],
        hit: impl FnMut(usize, &[[f32; LANES]], &mut [f32; LANES]),
    ) {
        in_tiles(
            rows,
            d,
            thresholds,
            |rows, least, scores| tile512::<ROWS512>(pack, rows, d, least, scores),
            |row, least, scores| tile512::<1>(pack, row, d, least, scores),
            hit,
        );
    }

    /// The scores of `R` rows, and whether one of them reaches its lane's threshold.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma")]
    fn tile512<const R: usize>(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        thresholds: &[f32; LANES],
        scores: &mut [[f32; LANES]; ROWS512],
    ) -> bool {
        assert!(R <= ROWS512 && rows.len() == R * d && pack.len() == d * LANES);
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for k in 0..d {
            // SAFETY: checked above: `R` rows of `d` numbers and a pack of `d` × 32.
            let (low, high, start) = unsafe {
                let users = pack.as_ptr().add(k * LANES);
                (_mm512_loadu_ps(users), _mm512_loadu_ps(users.add(16)), rows.as_ptr().add(k))
            };
            for r in 0..R {
                // SAFETY: as above.
                let q = _mm512_set1_ps(unsafe { *start.add(r * d) });
                sums[r][0] = _mm512_fmadd_ps(low, q, sums[r][0]);
                sums[r][1] = _mm512_fmadd_ps(high, q, sums[r][1]);
            }
        }
        let mut hits = 0;
        for half in 0..2 {
            // SAFETY: 32 thresholds, and 32 places in each of at least `R` rows.
            let least = unsafe {
                for r in 0..R {
                    _mm512_storeu_ps(scores[r].as_mut_ptr().add(half * 16), sums[r][half]);
                }
                _mm512_loadu_ps(thresholds.as_ptr().add(half * 16))
            };
            let most = (1..R).fold(sums[0][half], |most, r| _mm512_max_ps(most, sums[r][half]));
            hits |= _mm512_cmp_ps_mask::<_CMP_GE_OQ>(most, least);
        }
        hits != 0
    }

    /// Rows of a tile.
    const ROWS256: usize = 6;

    /// 6 rows × 16 users, both halves of the pack in turn: 12 sums, two registers of users, one broadcast.
    #[target_feature(enable = "avx2,fma")]
    pub fn tiles_avx2(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        thresholds: &mut [f32; LANES],
        hit: impl FnMut(usize, &[[f32; LANES]], &mut [f32; LANES]),
    ) {
        in_tiles(
            rows,
            d,
            thresholds,
            |rows, least, scores| {
                HALVES.map(|half| tile256::<ROWS256>(pack, rows, d, half, least, scores)).contains(&true)
            },
            |row, least, scores| HALVES.map(|half| tile256::<1>(pack, row, d, half, least, scores)).contains(&true),
            hit,
        );
    }

    /// The scores of `R` rows in 16 lanes, and whether one of them reaches its lane's threshold.
    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    fn tile256<const R: usize>(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        offset: usize,
        thresholds: &[f32; LANES],
        scores: &mut [[f32; LANES]; ROWS256],
    ) -> bool {
        assert!(R <= ROWS256 && rows.len() == R * d && pack.len() == d * LANES && offset + 16 <= LANES);
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for k in 0..d {
            // SAFETY: checked above: `R` rows of `d` numbers, a pack of `d` × 32, and an offset of at most 16.
            let (low, high, start) = unsafe {
                let users = pack.as_ptr().add(k * LANES + offset);
                (_mm256_loadu_ps(users), _mm256_loadu_ps(users.add(8)), rows.as_ptr().add(k))
            };
            for r in 0..R {
                // SAFETY: as above.
                let q = _mm256_set1_ps(unsafe { *start.add(r * d) });
                sums[r][0] = _mm256_fmadd_ps(low, q, sums[r][0]);
                sums[r][1] = _mm256_fmadd_ps(high, q, sums[r][1]);
            }
        }
        let mut hits = 0;
        for half in 0..2 {
            let lanes = offset + half * 8;
            // SAFETY: `lanes` + 8 ≤ 32 thresholds, and as many places in each of at least `R` rows.
            let least = unsafe {
                for r in 0..R {
                    _mm256_storeu_ps(scores[r].as_mut_ptr().add(lanes), sums[r][half]);
                }
                _mm256_loadu_ps(thresholds.as_ptr().add(lanes))
            };
            let most = (1..R).fold(sums[0][half], |most, r| _mm256_max_ps(most, sums[r][half]));
            hits |= _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(most, least));
        }
        hits != 0
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) mod neon {
    #[allow(clippy::wildcard_imports)]
    use std::arch::aarch64::*;

    use super::{HALVES, LANES, in_tiles};

    /// Rows of a tile.
    const ROWS128: usize = 6;

    /// 6 rows × 16 users, both halves of the pack in turn: 24 sums in 32 registers.
    #[target_feature(enable = "neon")]
    pub fn tiles_neon(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        thresholds: &mut [f32; LANES],
        hit: impl FnMut(usize, &[[f32; LANES]], &mut [f32; LANES]),
    ) {
        in_tiles(
            rows,
            d,
            thresholds,
            |rows, least, scores| {
                HALVES.map(|half| tile128::<ROWS128>(pack, rows, d, half, least, scores)).contains(&true)
            },
            |row, least, scores| HALVES.map(|half| tile128::<1>(pack, row, d, half, least, scores)).contains(&true),
            hit,
        );
    }

    /// The scores of `R` rows in 16 lanes, and whether one of them reaches its lane's threshold.
    #[inline(never)]
    #[target_feature(enable = "neon")]
    fn tile128<const R: usize>(
        pack: &[f32],
        rows: &[f32],
        d: usize,
        offset: usize,
        thresholds: &[f32; LANES],
        scores: &mut [[f32; LANES]; ROWS128],
    ) -> bool {
        assert!(R <= ROWS128 && rows.len() == R * d && pack.len() == d * LANES && offset + 16 <= LANES);
        let mut sums = [[vdupq_n_f32(0.0); 4]; R];
        for k in 0..d {
            // SAFETY: checked above: `R` rows of `d` numbers, a pack of `d` × 32, and an offset of at most 16.
            let (users, start) = unsafe {
                let users = pack.as_ptr().add(k * LANES + offset);
                (std::array::from_fn::<_, 4, _>(|part| vld1q_f32(users.add(part * 4))), rows.as_ptr().add(k))
            };
            for r in 0..R {
                // SAFETY: as above.
                let q = vdupq_n_f32(unsafe { *start.add(r * d) });
                for part in 0..4 {
                    sums[r][part] = vfmaq_f32(sums[r][part], users[part], q);
                }
            }
        }
        let mut hits = vdupq_n_u32(0);
        for part in 0..4 {
            let lanes = offset + part * 4;
            // SAFETY: `lanes` + 4 ≤ 32 thresholds, and as many places in each of at least `R` rows.
            let least = unsafe {
                for r in 0..R {
                    vst1q_f32(scores[r].as_mut_ptr().add(lanes), sums[r][part]);
                }
                vld1q_f32(thresholds.as_ptr().add(lanes))
            };
            let most = (1..R).fold(sums[0][part], |most, r| vmaxq_f32(most, sums[r][part]));
            hits = vorrq_u32(hits, vcgeq_f32(most, least));
        }
        vmaxvq_u32(hits) != 0
    }
}
