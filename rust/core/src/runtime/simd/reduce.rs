//! Horizontal sums and maxima of eight vectors of running values at once, each by the tree of [`halves`].
//!
//! A single one is mostly shuffles: 3 for 4 additions that have 8, 4, 2 and 1 number to add. Eight together fill each
//! register, and need 21 shuffles.

use super::level::Level;
use super::vector::{LANES, halves, larger, tree};

/// Reductions that are done at once.
pub(super) const GROUP: usize = 8;

/// The running values of eight reductions.
pub(super) type Lanes = [[f32; LANES]; GROUP];

/// The sum of each.
pub(super) fn sums(level: Level, lanes: &Lanes) -> [f32; GROUP] {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Level::available` found AVX2 before these levels could be made.
        Level::Avx2 | Level::Avx512 | Level::Amx => unsafe { avx2::joined::<false>(lanes) },
        _ => lanes.map(tree),
    }
}

/// The largest of each.
pub(super) fn maxima(level: Level, lanes: &Lanes) -> [f32; GROUP] {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 | Level::Avx512 | Level::Amx => unsafe { avx2::joined::<true>(lanes) },
        _ => lanes.map(|lanes| halves(lanes, larger)),
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256, _mm256_add_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps,
        _mm256_storeu_ps,
    };

    use super::{GROUP, Lanes};

    #[target_feature(enable = "avx2")]
    #[inline]
    fn join<const LARGER: bool>(a: __m256, b: __m256) -> __m256 {
        // The larger as `larger` has it: b where they are equal.
        if LARGER { _mm256_max_ps(a, b) } else { _mm256_add_ps(a, b) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn joined<const LARGER: bool>(lanes: &Lanes) -> [f32; GROUP] {
        let eight: [__m256; GROUP] = std::array::from_fn(|at| {
            // SAFETY: both halves of 16 numbers; loads need no alignment.
            let (low, high) =
                unsafe { (_mm256_loadu_ps(&raw const lanes[at][0]), _mm256_loadu_ps(&raw const lanes[at][8])) };
            join::<LARGER>(low, high)
        });
        // Registers of two reductions, one in each half: at and at + 4.
        let four: [__m256; 4] = std::array::from_fn(|at| {
            let (a, b) = (eight[at], eight[at + 4]);
            join::<LARGER>(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
        });
        let two: [__m256; 2] = std::array::from_fn(|at| {
            let (a, b) = (four[2 * at], four[2 * at + 1]);
            join::<LARGER>(_mm256_shuffle_ps::<0b01_00_01_00>(a, b), _mm256_shuffle_ps::<0b11_10_11_10>(a, b))
        });
        let (a, b) = (two[0], two[1]);
        let one = join::<LARGER>(_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b));
        let mut found = [0.0; GROUP];
        // SAFETY: room for eight numbers; stores need no alignment.
        unsafe { _mm256_storeu_ps(found.as_mut_ptr(), one) };
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn eight_together_are_each_by_itself() {
        let draws = Stream::new(7, 0);
        let lanes: Lanes =
            std::array::from_fn(|at| std::array::from_fn(|lane| draws.normal((at * LANES + lane) as u64) * 100.0));
        for level in Level::available() {
            assert_eq!(sums(level, &lanes), lanes.map(tree), "{}", level.name());
            assert_eq!(maxima(level, &lanes), lanes.map(|lanes| halves(lanes, larger)), "{}", level.name());
        }
    }
}
