//! Counter-based randomness: a draw is a pure function of (seed, stream, counter), so threads and chunks cannot
//! change it.
//!
//! The mixing function is the finalizer of `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
//! Generators, OOPSLA 2014), applied once to (seed, stream) and once to the result plus counter · golden ratio.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The draws of one purpose: `Stream::new(seed, purpose).u64(counter)`.
#[derive(Clone, Copy, Debug)]
pub struct Stream(u64);

impl Stream {
    /// A stream for one purpose under one seed; different `purpose` values are independent.
    pub const fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(GOLDEN)) ^ purpose.wrapping_mul(GOLDEN)))
    }

    /// A stream within this one, for an epoch or a row.
    #[must_use]
    pub const fn sub(self, index: u64) -> Self {
        Self(mix(self.0 ^ mix(index.wrapping_add(1).wrapping_mul(GOLDEN))))
    }

    /// 64 random bits for this counter.
    pub const fn u64(self, counter: u64) -> u64 {
        mix(self.0.wrapping_add(counter.wrapping_add(1).wrapping_mul(GOLDEN)))
    }

    /// Uniform in [0, 1) with 24 bits, exact in f32.
    pub fn f32(self, counter: u64) -> f32 {
        (self.u64(counter) >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in 0..n by multiply-shift; the bias is below n / 2⁶⁴.
    pub fn below(self, counter: u64, n: u64) -> u64 {
        ((u128::from(self.u64(counter)) * u128::from(n)) >> 64) as u64
    }

    /// About standard normal: the sum of twelve uniforms minus six (Irwin-Hall), free of transcendental functions and
    /// so of the platform. The tails end at ±6, which is all that starting values need.
    pub fn normal(self, counter: u64) -> f32 {
        let mut sum = 0.0f64;
        for part in 0..6 {
            let bits = self.u64(counter.wrapping_mul(6).wrapping_add(part));
            sum += (bits >> 32) as f64 + (bits & 0xFFFF_FFFF) as f64;
        }
        (sum * (1.0 / 4_294_967_296.0) - 6.0) as f32
    }

    /// The numbers 0..n in a random order (Fisher-Yates).
    pub fn permutation(self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64, i as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_stream_and_counter() {
        let a = Stream::new(1, 2);
        assert_eq!(a.u64(3), Stream::new(1, 2).u64(3));
        for other in [Stream::new(2, 2), Stream::new(1, 3), a.sub(0)] {
            assert_ne!(a.u64(3), other.u64(3));
        }
        assert_ne!(a.u64(3), a.u64(4));
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let stream = Stream::new(7, 0);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|i| f64::from(stream.normal(i))).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut order = Stream::new(0, 0).permutation(1000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(i, &x)| i as u32 == x));
    }
}
