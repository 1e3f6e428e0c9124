//! Vectors as signed bytes, and what is lost by it.

use super::level::Level;

/// Norms of a vector v quantized to the whole numbers w = round(v / scale), |w| ≤ a limit.
pub struct Quantized {
    /// Σ w².
    pub quantized_squares: f64,
    /// Σ (v − w · scale)².
    pub quantization_error: f64,
    /// Σ v².
    pub squares: f64,
    /// Σ w.
    pub sum: i32,
}

/// Quantizes a vector into `words`, four signed bytes in a word.
pub fn quantize(level: Level, vector: &[f32], scale: f64, limit: f64, words: &mut [i32]) -> Quantized {
    let mut sums = Sums::default();
    let out = &mut sums;
    dispatch!(level, quantize_body(vector: &[f32], scale: f64, limit: f64, words: &mut [i32], out: &mut Sums));
    // Added up outside of the dispatched loop, or the compiler would move the sums to single registers.
    Quantized {
        quantized_squares: sums.quantized_squares.iter().sum(),
        quantization_error: sums.quantization_error.iter().sum(),
        squares: sums.squares.iter().sum(),
        sum: sums.whole.iter().sum::<f64>() as i32,
    }
}

/// Numbers that are rounded side by side: the steps of a single one each wait for the one before.
const WIDTH: usize = 8;

/// One number for each of them.
type Numbers = [f64; WIDTH];

#[inline(always)]
fn quantize_body(vector: &[f32], scale: f64, limit: f64, words: &mut [i32], out: &mut Sums) {
    let mut sums = Sums::default();
    let (whole, rest) = vector.as_chunks::<WIDTH>();
    let mut places = words.chunks_mut(WIDTH / 4);
    for (&values, words) in whole.iter().zip(&mut places) {
        words.copy_from_slice(&sums.add(values, scale, limit));
    }
    if let (false, Some(words)) = (rest.is_empty(), places.next()) {
        let mut values = [0.0; WIDTH];
        values[..rest.len()].copy_from_slice(rest);
        words.copy_from_slice(&sums.add(values, scale, limit)[..words.len()]);
    }
    *out = sums;
}

#[derive(Default)]
struct Sums {
    quantized_squares: Numbers,
    quantization_error: Numbers,
    squares: Numbers,
    /// Exact, for whole numbers.
    whole: Numbers,
}

#[inline(always)]
fn each(f: impl Fn(usize) -> f64) -> Numbers {
    let mut numbers = [0.0; WIDTH];
    for k in 0..WIDTH {
        numbers[k] = f(k);
    }
    numbers
}

impl Sums {
    /// The bytes of some numbers. Adding 1.5 · 2⁵² rounds, and leaves the whole number in the lowest bits; any nearby whole
    /// number would do, since the error is measured.
    #[inline(always)]
    fn add(&mut self, values: [f32; WIDTH], scale: f64, limit: f64) -> [i32; WIDTH / 4] {
        const ROUND: f64 = 6_755_399_441_055_744.0;
        let (scale, unscale, limit, least) =
            (each(|_| scale), each(|_| 1.0 / scale), each(|_| limit), each(|_| -limit));
        let value = each(|k| f64::from(values[k]));
        let near = each(|k| value[k] * unscale[k]);
        let near = each(|k| if near[k] < limit[k] { near[k] } else { limit[k] });
        let near = each(|k| if near[k] > least[k] { near[k] } else { least[k] });
        let moved = each(|k| near[k] + ROUND);
        let whole = each(|k| moved[k] - ROUND);
        let back = each(|k| whole[k] * scale[k]);
        let gap = each(|k| value[k] - back[k]);
        self.quantized_squares = each(|k| whole[k].mul_add(whole[k], self.quantized_squares[k]));
        self.quantization_error = each(|k| gap[k].mul_add(gap[k], self.quantization_error[k]));
        self.squares = each(|k| value[k].mul_add(value[k], self.squares[k]));
        self.whole = each(|k| self.whole[k] + whole[k]);
        let mut bytes = [0u8; WIDTH];
        for k in 0..WIDTH {
            bytes[k] = moved[k].to_bits() as u8;
        }
        let words = bytes.as_chunks::<4>().0;
        std::array::from_fn(|at| i32::from_le_bytes(words[at]))
    }
}
