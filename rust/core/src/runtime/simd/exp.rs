//! The exponential, logarithm and sigmoid that every kernel shares, the same bits on every platform.

use super::level::Level;

/// eˣ with a relative error below 2⁻²²; 0 below −87.7.
///
/// On |r| ≤ ½ ln 2 the polynomial 1 + r + c₂r² + … + c₅r⁵ whose largest relative error is least (2⁻²³, by linear
/// programming): as exact as Taylor's of degree 6. Evaluated in pairs, since each of Horner's steps would wait for the last.
#[inline(always)]
pub(super) fn exp_body(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts: the high one has few bits, so n · HIGH is exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 · 2²³ rounds to a whole number; 127 more, and its last bits are those of the exponent of 2ⁿ.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    // At −88 the exponent is 0, and so is the power.
    let clamped = x.clamp(-88.0, 88.0);
    let shifted = clamped.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LOW, n.mul_add(-HIGH, clamped));
    let square = r * r;
    let upper = r.mul_add(0.008_312_501, 0.041_890_33);
    let lower = r.mul_add(0.166_671_16, 0.499_992_3);
    let p = square.mul_add(square.mul_add(upper, lower), 1.0 + r);
    p * f32::from_bits(shifted.to_bits() << 23)
}

/// ln x for positive, normal x with an error of some 10⁻⁷ of the larger of 1 and itself: artanh series on [½√2, √2).
#[inline(always)]
pub(super) fn ln_body(x: f32) -> f32 {
    // The exponent of x / ½√2, which puts the mantissa on both sides of 1.
    let shifted = x.to_bits().wrapping_sub(0x3F35_04F3);
    let exponent = (shifted as i32) >> 23;
    let mantissa = f32::from_bits((shifted & 0x007F_FFFF).wrapping_add(0x3F35_04F3));
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let mut sum = 1.0f32 / 11.0;
    sum = sum.mul_add(square, 1.0 / 9.0);
    sum = sum.mul_add(square, 1.0 / 7.0);
    sum = sum.mul_add(square, 1.0 / 5.0);
    sum = sum.mul_add(square, 1.0 / 3.0);
    sum = sum.mul_add(square, 1.0);
    (exponent as f32).mul_add(std::f32::consts::LN_2, 2.0 * t * sum)
}

/// 1 / (1 + e⁻ˣ), without a difference of large numbers on either side.
#[inline(always)]
fn sigmoid_body(x: f32) -> f32 {
    let e = exp_body(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// 1 / (1 + e⁻ˣ), the same bits on every platform.
pub fn sigmoid(level: Level, x: f32) -> f32 {
    dispatch!(level, sigmoid_body(x: f32) -> f32)
}

/// ln x for positive, normal x, the same bits on every platform.
pub fn ln(level: Level, x: f32) -> f32 {
    dispatch!(level, ln_body(x: f32) -> f32)
}

/// eˣ, the same bits on every platform.
pub fn exp(level: Level, x: f32) -> f32 {
    dispatch!(level, exp_body(x: f32) -> f32)
}
