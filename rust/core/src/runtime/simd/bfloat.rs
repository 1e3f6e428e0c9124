//! Numbers of half the memory: the upper half of an f32, with 8 bits before rounding in place of 24.
//!
//! Tables that are read in no order are read at the speed of the caches that hold them, and half the bytes take two thirds
//! of the time: 7 ns in place of 11 for a pair and 64 factors (Gowalla, AVX-512, 2026-11-28). To round is arithmetic of its
//! own, defined by the bits, and the way back is exact; so all levels have the same bits.

/// The upper half of an f32, which is rounded to it, ties to even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct BFloat(u16);

/// What rows of a table may be made of.
pub trait Number: Copy + Send + Sync {
    /// The number, exactly.
    fn number(self) -> f32;
}

impl Number for f32 {
    #[inline(always)]
    fn number(self) -> f32 {
        self
    }
}

impl Number for BFloat {
    #[inline(always)]
    fn number(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

impl BFloat {
    /// The nearest one.
    #[inline(always)]
    pub fn of(number: f32) -> Self {
        let bits = number.to_bits();
        let nearest = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
        // Rounded up, a number that is none could become one.
        Self(if number.is_nan() { 0x7fc0 } else { nearest })
    }
}

#[inline(always)]
fn round_body(from: &[f32], to: &mut [BFloat]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = BFloat::of(*from);
    }
}

/// Rounds each number.
pub fn round(level: super::Level, from: &[f32], to: &mut [BFloat]) {
    dispatch!(level, round_body(from: &[f32], to: &mut [BFloat]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;
    use crate::runtime::simd::Level;

    #[test]
    fn it_is_the_nearest_of_all() {
        let draws = Stream::new(6, 0);
        let drawn = (0..5000).map(|i| f32::from_bits(draws.u64(i) as u32)).filter(|x| x.is_finite());
        let ties = [1.0f32, 1.003_906_2, 1.011_718_8, -1.003_906_2, 0.0, -0.0, f32::MIN_POSITIVE, 1e-40];
        for x in drawn.chain(ties) {
            let found = BFloat::of(x).number();
            let (below, above) = (x.to_bits() & 0xffff_0000, (x.to_bits() & 0xffff_0000).wrapping_add(0x1_0000));
            let lost = |bits: u32| (f64::from(f32::from_bits(bits)) - f64::from(x)).abs();
            let nearest = match lost(below).total_cmp(&lost(above)) {
                _ if !f32::from_bits(above).is_finite() => continue,
                std::cmp::Ordering::Less => below,
                std::cmp::Ordering::Greater => above,
                std::cmp::Ordering::Equal => [below, above][usize::from(below >> 16 & 1 == 1)],
            };
            assert_eq!(found.to_bits(), nearest, "{x:e}");
            assert_eq!(BFloat::of(found).number().to_bits(), found.to_bits());
        }
        assert!(BFloat::of(f32::NAN).number().is_nan() && BFloat::of(-f32::NAN).number().is_nan());
        assert_eq!(BFloat::of(f32::INFINITY).number(), f32::INFINITY);
    }

    #[test]
    fn every_level_rounds_alike() {
        let draws = Stream::new(7, 0);
        let numbers: Vec<f32> = (0..103).map(|i| f32::from_bits(draws.u64(i) as u32)).collect();
        let truth: Vec<BFloat> = numbers.iter().map(|&x| BFloat::of(x)).collect();
        for level in Level::available() {
            let mut found = vec![BFloat::default(); numbers.len()];
            round(level, &numbers, &mut found);
            assert_eq!(found, truth, "{}", level.name());
        }
    }
}
