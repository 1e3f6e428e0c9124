//! Plain loops over vectors, widened by the compiler for each level: exponentials, sums, optimizer steps.
//!
//! Sums use [`LANES`] running sums (element i goes to sum i mod 16) that are added up by a fixed tree, so the width of
//! the registers cannot change a bit.

use super::exp::exp_body;
use super::level::Level;

/// Running sums of a reduction, for every level.
pub const LANES: usize = 16;

/// All lanes put together by a fixed tree: halves, quarters and so on. Each step makes a new array, since writing into
/// the old one became masked stores, which took longer than the exponentials of a pair. The lanes are hidden from the
/// compiler's optimizer, which would otherwise propagate the shape of this tree into the loops before it: they then add two
/// numbers at a time where they could add eight, and a pair's factor attention took 72 ns instead of 59 (2026-11-25).
#[inline(always)]
pub(super) fn halves(lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let lanes = std::hint::black_box(lanes);
    let eight: [f32; 8] = std::array::from_fn(|i| join(lanes[i], lanes[i + 8]));
    let four: [f32; 4] = std::array::from_fn(|i| join(eight[i], eight[i + 4]));
    join(join(four[0], four[2]), join(four[1], four[3]))
}

#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
pub(super) fn tree(sums: [f32; LANES]) -> f32 {
    halves(sums, |a, b| a + b)
}

/// Block `at` of [`LANES`] numbers, padded with zeros at the end. An array of constant length by value: a sum over slices of
/// a length known only at run time was taken number by number.
#[inline(always)]
pub(super) fn block(numbers: &[f32], at: usize) -> [f32; LANES] {
    let rest = &numbers[at * LANES..];
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut filled = [0.0; LANES];
        filled[..rest.len()].copy_from_slice(rest);
        filled
    })
}

#[inline(always)]
pub(super) fn dot_body(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    for at in 0..n.div_ceil(LANES) {
        let (a, b) = (block(a, at), block(b, at));
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    tree(sums)
}

/// ⟨a, b⟩.
pub fn dot(level: Level, a: &[f32], b: &[f32]) -> f32 {
    dispatch!(level, dot_body(a: &[f32], b: &[f32]) -> f32)
}

#[inline(always)]
fn axpy_body(factor: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = factor.mul_add(*x, *y);
    }
}

/// y += factor · x.
pub fn axpy(level: Level, factor: f32, x: &[f32], y: &mut [f32]) {
    dispatch!(level, axpy_body(factor: f32, x: &[f32], y: &mut [f32]));
}

#[inline(always)]
fn gather_scaled_body(columns: &[u32], scales: &[f32], factor: f32, table: &[f32], out: &mut [f32]) {
    let d = out.len();
    for &column in columns {
        axpy_body(factor * scales[column as usize], &table[column as usize * d..][..d], out);
    }
}

/// out += factor · Σ_e scales[columns[e]] · table[columns[e]], entries in order: rows that have their own scale.
pub fn gather_scaled(level: Level, columns: &[u32], scales: &[f32], factor: f32, table: &[f32], out: &mut [f32]) {
    dispatch!(
        level,
        gather_scaled_body(columns: &[u32], scales: &[f32], factor: f32, table: &[f32], out: &mut [f32])
    );
}

/// ln x for positive, finite, normal x, in f64 by the artanh series: for options and popularity, not for hot loops.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7FF) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let (mut sum, mut term) = (0.0, t);
    for k in 0..16 {
        sum += term / f64::from(2 * k + 1);
        term *= square;
    }
    2.0 * sum + exponent as f64 * std::f64::consts::LN_2
}

/// eˣ in f64 by halving the argument ten times and squaring back: twelve terms are then exact to the last digits.
pub fn exp_f64(x: f64) -> f64 {
    let small = x / 1024.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..12 {
        term *= small / f64::from(k);
        sum += term;
    }
    for _ in 0..10 {
        sum *= sum;
    }
    sum
}

/// x to the power `power` for positive, normal x; the same bits on every platform.
pub fn power(x: f64, power: f32) -> f32 {
    exp_f64(ln(x) * f64::from(power)) as f32
}

/// n to the power `exponent`, for counts; n = 0 counts as 1.
pub fn count_power(n: usize, exponent: f32) -> f32 {
    power(n.max(1) as f64, exponent)
}

#[inline(always)]
fn softmax_body(row: &mut [f32], log_weights: &[f32], scale: f32) -> (f32, f32) {
    let log_weights = &log_weights[..row.len()];
    for (x, w) in row.iter_mut().zip(log_weights) {
        *x = scale.mul_add(*x, *w);
    }
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut maxima = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        for lane in 0..LANES {
            maxima[lane] = larger(block[lane], maxima[lane]);
        }
    }
    let highest = rest.iter().fold(halves(maxima, larger), |highest, &x| larger(x, highest));
    for x in &mut *row {
        *x = exp_body(*x - highest);
    }
    let mut sums = [0.0f32; LANES];
    for at in 0..row.len().div_ceil(LANES) {
        let e = block(row, at);
        for lane in 0..LANES {
            sums[lane] += e[lane];
        }
    }
    (highest, tree(sums))
}

/// row ← exp(scale · row + log_weights − highest); returns `highest` and the sum of the new row.
pub fn softmax(level: Level, row: &mut [f32], log_weights: &[f32], scale: f32) -> (f32, f32) {
    dispatch!(level, softmax_body(row: &mut [f32], log_weights: &[f32], scale: f32) -> (f32, f32))
}

#[inline(always)]
fn scale_body(factor: f32, row: &mut [f32]) {
    for x in row {
        *x *= factor;
    }
}

/// row ← factor · row.
pub fn scale(level: Level, factor: f32, row: &mut [f32]) {
    dispatch!(level, scale_body(factor: f32, row: &mut [f32]));
}

/// The constants of an Adam step: rate and bias corrections, computed once per step.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Learning rate over the first moment's bias correction.
    pub rate: f32,
    /// One over the second moment's bias correction.
    pub second: f32,
    /// L2 penalty, added to the gradient.
    pub regularization: f32,
}

/// Adam's decay of the first moment.
pub const BETA1: f32 = 0.9;
/// Adam's decay of the second moment.
pub const BETA2: f32 = 0.999;

#[inline(always)]
fn adam_body(step: Adam, gradient: &[f32], x: &mut [f32], first: &mut [f32], second: &mut [f32]) {
    let n = x.len();
    let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
    for i in 0..n {
        let g = step.regularization.mul_add(x[i], gradient[i]);
        first[i] = BETA1.mul_add(first[i], (1.0 - BETA1) * g);
        second[i] = BETA2.mul_add(second[i], (1.0 - BETA2) * g * g);
        x[i] -= step.rate * first[i] / ((second[i] * step.second).sqrt() + 1e-8);
    }
}

/// One step of Adam (Kingma, Ba: Adam, ICLR 2015) on a slice.
pub fn adam(level: Level, step: Adam, gradient: &[f32], x: &mut [f32], first: &mut [f32], second: &mut [f32]) {
    dispatch!(level, adam_body(step: Adam, gradient: &[f32], x: &mut [f32], first: &mut [f32], second: &mut [f32]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;
    use crate::runtime::simd::exp;

    fn numbers(n: usize, purpose: u64) -> Vec<f32> {
        (0..n).map(|i| Stream::new(9, purpose).normal(i as u64)).collect()
    }

    #[test]
    fn the_exponential_is_within_a_few_last_places() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let truth = f64::from(x).exp();
            assert!(((f64::from(exp(Level::Scalar, x)) - truth) / truth).abs() < 2.4e-7, "{x}");
        }
        assert_eq!(exp(Level::Scalar, -100.0), 0.0);
        assert_eq!(exp(Level::Scalar, 0.0), 1.0);
    }

    #[test]
    fn logarithms_and_powers_are_right() {
        for n in [1usize, 2, 3, 10, 1000, 123_456_789] {
            assert!((ln(n as f64) - (n as f64).ln()).abs() < 1e-13 * (1.0 + (n as f64).ln()));
            for power in [-1.5f32, -0.5, -0.3, 0.0, 0.2, 1.0] {
                let truth = (n as f64).powf(f64::from(power));
                assert!((f64::from(count_power(n, power)) - truth).abs() <= 1.2e-7 * truth, "{n} {power}");
            }
        }
        assert_eq!(count_power(0, -0.5), 1.0);
    }

    #[test]
    fn every_level_has_the_same_bits() {
        for n in [0, 1, 5, 15, 16, 17, 64, 100, 131] {
            let (a, b) = (numbers(n, 1), numbers(n, 2));
            let table = numbers(3 * n, 3);
            let run = |level: Level| {
                let mut axpied = b.clone();
                axpy(level, 0.3, &a, &mut axpied);
                let mut gathered = b.clone();
                gather_scaled(level, &[2, 0, 1, 2], &[0.5, -2.0, 0.1], 0.7, &table, &mut gathered);
                let mut soft = a.clone();
                let (highest, sum) = softmax(level, &mut soft, &b, 3.0);
                let (mut x, mut first, mut second) =
                    (a.clone(), b.clone(), a.iter().map(|x| x * x).collect::<Vec<_>>());
                adam(level, Adam { rate: 0.1, second: 1.5, regularization: 0.01 }, &b, &mut x, &mut first, &mut second);
                (
                    dot(level, &a, &b).to_bits(),
                    axpied,
                    gathered,
                    soft,
                    highest.to_bits(),
                    sum.to_bits(),
                    x,
                    first,
                    second,
                )
            };
            let truth = run(Level::Scalar);
            for level in Level::available() {
                assert_eq!(run(level), truth, "{} {n}", level.name());
            }
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(x * y)).sum();
            assert!((f64::from(f32::from_bits(truth.0)) - plain).abs() < 1e-4);
        }
    }
}
