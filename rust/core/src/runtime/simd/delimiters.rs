//! The delimiters, line feeds and quotes of a text: one bit per byte, 64 bytes at a time.

/// Bytes that one call reads.
pub const CHUNK: usize = 64;

/// The bytes of `text` that are the delimiter or a line feed, lowest bit first; and those that are a quote.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::cast_ptr_alignment, reason = "the load asks for no alignment")]
#[inline(always)]
pub fn delimiters(text: &[u8; CHUNK], delimiter: u8) -> (u64, u64) {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    let (mut found, mut quotes) = (0, 0);
    for part in 0..4 {
        // SAFETY: SSE2 is part of every x86-64 processor, and four times 16 bytes lie within the 64.
        let (ends, quoted) = unsafe {
            let bytes = _mm_loadu_si128(text.as_ptr().add(16 * part).cast::<__m128i>());
            let ends = _mm_or_si128(
                _mm_cmpeq_epi8(bytes, _mm_set1_epi8(delimiter as i8)),
                _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\n' as i8)),
            );
            (_mm_movemask_epi8(ends), _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8))))
        };
        found |= u64::from(ends as u32) << (16 * part);
        quotes |= u64::from(quoted as u32) << (16 * part);
    }
    (found, quotes)
}

/// The bytes of `text` that are the delimiter or a line feed, lowest bit first; and those that are a quote.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn delimiters(text: &[u8; CHUNK], delimiter: u8) -> (u64, u64) {
    delimiters_plain(text, delimiter)
}

/// Eight bytes at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn delimiters_plain(text: &[u8; CHUNK], delimiter: u8) -> (u64, u64) {
    const LOWS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The high bit of each byte that is zero; no carry leaves its byte.
    let equal = |word: u64, byte: u8| {
        let x = word ^ (ONES * u64::from(byte));
        !(((x & LOWS) + LOWS) | x | LOWS)
    };
    // The product gathers the eight bits in the highest byte.
    let gathered = |high: u64| (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    let (mut found, mut quotes) = (0, 0);
    for (at, eight) in text.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        found |= gathered(equal(word, delimiter) | equal(word, b'\n')) << (8 * at);
        quotes |= gathered(equal(word, b'"')) << (8 * at);
    }
    (found, quotes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::rng::Stream;

    #[test]
    fn every_byte_has_its_bit() {
        let draws = Stream::new(3, 5);
        for round in 0..2000u64 {
            let bytes = [b',', b'\n', b'\r', b'"', 0, 1, 0x7F, 0x80, 0xAC, 0xFF, b'-', b'+', 0x8A];
            let text: [u8; CHUNK] =
                std::array::from_fn(|at| bytes[draws.below(round * 64 + at as u64, bytes.len() as u64) as usize]);
            for delimiter in [b',', b'\t', b';', 0] {
                let bits = |wanted: &dyn Fn(u8) -> bool| {
                    (0..CHUNK).fold(0u64, |bits, at| bits | u64::from(wanted(text[at])) << at)
                };
                let naive = (bits(&|byte| byte == delimiter || byte == b'\n'), bits(&|byte| byte == b'"'));
                assert_eq!(delimiters(&text, delimiter), naive);
                assert_eq!(delimiters_plain(&text, delimiter), naive);
            }
        }
    }
}
