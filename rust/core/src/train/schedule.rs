//! The decay of the learning rate.

/// ½ (1 + cos π t) for t in [0, 1]: from one to zero, slow at both ends. A polynomial, so the same bits on every platform.
pub fn half_cosine(t: f64) -> f64 {
    let x = std::f64::consts::PI * (t.clamp(0.0, 1.0) - 0.5);
    // cos(πt) = −sin(π(t − ½)), and sin by its Taylor series on |x| ≤ π/2.
    let square = x * x;
    let (mut sine, mut term) = (x, x);
    for k in 1..14 {
        term *= -square / f64::from(2 * k * (2 * k + 1));
        sine += term;
    }
    0.5 * (1.0 - sine)
}

#[cfg(test)]
mod tests {
    use super::half_cosine;

    #[test]
    fn it_is_half_a_cosine() {
        for i in 0..=100 {
            let t = f64::from(i) / 100.0;
            assert!((half_cosine(t) - 0.5 * (1.0 + (std::f64::consts::PI * t).cos())).abs() < 1e-14);
        }
    }
}
