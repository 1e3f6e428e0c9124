//! Up to eight characters of a text at once: loaded into one u64 and parsed as a whole number or a time of day.

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Marks every byte that is more than nine, given bytes below 128.
const BEYOND_NINE: u64 = 0x7676_7676_7676_7676;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The bytes `start..start + len` of `text`, `len` of at most eight, the first in the lowest byte; zeros above.
#[inline]
pub fn load_word(text: &[u8], start: usize, len: usize) -> u64 {
    debug_assert!(len <= 8);
    if let Some(eight) = text.get(start..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        return if len < 8 { word & ((1 << (8 * len)) - 1) } else { word };
    }
    // Fewer than eight bytes are left of the text.
    text[start..start + len].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// The value of `len` digits as [`load_word`] gives them, 1 to 8; `None` if one of them is no digit.
#[inline]
pub fn parse_digits(word: u64, len: usize) -> Option<u32> {
    debug_assert!((1..=8).contains(&len));
    // The last digit goes to the highest byte, zeros in front; then pairs, fours and all eight are combined.
    let up = 8 * (8 - len);
    let digits = (word << up) ^ (ZEROS << up);
    if (digits.wrapping_add(BEYOND_NINE) | digits) & HIGHS != 0 {
        return None;
    }
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) as u32)
}

/// Seconds since midnight of `HH:MM:SS`, loaded as a word; `None` for anything else.
#[inline]
pub fn parse_clock(word: u64) -> Option<i64> {
    const COLONS: u64 = 0x0000_FF00_00FF_0000;
    let digits = word ^ 0x3030_3A30_303A_3030;
    if (digits.wrapping_add(BEYOND_NINE) | digits) & HIGHS != 0 || digits & COLONS != 0 {
        return None;
    }
    let two = |at: u32| (digits >> (8 * at) & 0xFF) * 10 + (digits >> (8 * at + 8) & 0xFF);
    let (hour, minute, second) = (two(0), two(3), two(6));
    (hour < 24 && minute < 60 && second < 60).then_some((hour * 3600 + minute * 60 + second) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_the_standard_library_reads_them() {
        for value in (0..200_000u32).chain(99_999_000..=99_999_999) {
            let text = value.to_string();
            assert_eq!(parse_digits(load_word(text.as_bytes(), 0, text.len()), text.len()), Some(value));
        }
        for byte in 0..=255u8 {
            for at in 0..3 {
                let mut text = *b"709";
                text[at] = byte;
                let naive =
                    std::str::from_utf8(&text).ok().filter(|_| byte.is_ascii_digit()).map(|t| t.parse().unwrap());
                assert_eq!(parse_digits(load_word(&text, 0, 3), 3), naive, "{text:?}");
            }
        }
    }

    #[test]
    fn what_follows_a_text_does_not_matter() {
        let text = b"12345678901234567890";
        for start in 0..=text.len() {
            for len in 0..=8.min(text.len() - start) {
                assert_eq!(load_word(text, start, len), load_word(&text[..start + len], start, len));
            }
        }
    }

    #[test]
    fn every_second_of_a_day_is_read_and_nothing_else() {
        for second in 0..86_400 {
            let text = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
            assert_eq!(parse_clock(load_word(text.as_bytes(), 0, 8)), Some(second));
        }
        for text in
            ["24:00:00", "23:60:00", "23:59:60", "23-59:00", "23:59 00", "2a:00:00", "1:00:000", "00:00:0\u{7F}"]
        {
            assert_eq!(parse_clock(load_word(text.as_bytes(), 0, 8)), None, "{text}");
        }
        for at in 0..8 {
            for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit() && *byte != b':') {
                let mut text = *b"11:11:11";
                text[at] = byte;
                assert_eq!(parse_clock(u64::from_le_bytes(text)), None, "{text:?}");
            }
        }
    }
}
