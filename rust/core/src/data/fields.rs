//! Parsing one field of a text table: a number, or a timestamp.
//!
//! Only the plain forms are parsed here; everything else is returned as unparsed, and the caller judges each distinct text
//! once. `seconds` is the days of the proleptic Gregorian calendar times 86,400 plus the time of day, UTC.

use super::digits;

/// [`number`] of the bytes `start..end` of a text; up to eight digits are parsed at once.
#[inline]
pub fn number_within(text: &[u8], start: usize, end: usize) -> Option<f64> {
    let negative = text.get(start) == Some(&b'-');
    let first = start + usize::from(negative);
    if let 1..=8 = end.wrapping_sub(first)
        && let Some(value) = digits::parse_digits(digits::load_word(text, first, end - first), end - first)
    {
        return Some(if negative { -f64::from(value) } else { f64::from(value) });
    }
    number(&text[start..end])
}

/// A plain decimal number. `None` for anything else, an empty field and words such as `inf` and `nan` among them.
#[inline(never)]
pub fn number(text: &[u8]) -> Option<f64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    // Up to 15 digits are exact in an f64, and most quantities are such.
    if (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
        let whole = digits.iter().fold(0u64, |acc, digit| 10 * acc + u64::from(digit - b'0'));
        let value = whole as f64;
        return Some(if digits.len() < text.len() { -value } else { value });
    }
    let trimmed = text.trim_ascii();
    if !trimmed.iter().any(u8::is_ascii_digit) || trimmed.iter().any(|byte| !b"+-.eE0123456789".contains(byte)) {
        return None;
    }
    std::str::from_utf8(trimmed).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The last date that was parsed, and its midnight: rows in the order of time share it with the row before.
#[derive(Debug)]
pub struct LastDay {
    date: [u8; 10],
    midnight: i64,
}

impl Default for LastDay {
    fn default() -> Self {
        Self { date: *b"1970-01-01", midnight: 0 }
    }
}

impl LastDay {
    #[inline]
    fn midnight(&mut self, date: [u8; 10]) -> Option<i64> {
        if date != self.date {
            (self.midnight, self.date) = (midnight(&date)?, date);
        }
        Some(self.midnight)
    }
}

/// Seconds since 1970 of `YYYY-MM-DD`.
fn midnight(date: &[u8; 10]) -> Option<i64> {
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = two_digits(date, 0)? * 100 + two_digits(date, 2)?;
    let (month, day) = (two_digits(date, 5)?, two_digits(date, 8)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    Some(days_since_epoch(year, month, day) * 86_400)
}

/// [`seconds`] of the bytes `start..end` of a text; the usual forms are parsed at once.
#[inline]
pub fn seconds_within(text: &[u8], start: usize, end: usize, last: &mut LastDay) -> Option<i64> {
    const NO_SECONDS: u64 = u64::from_le_bytes(*b"\0\0\0\0\0:00");
    let whole = &text[start..end];
    if let (16 | 19, Some((date, rest))) = (whole.len(), whole.split_first_chunk::<10>())
        && *date == last.date
        && matches!(rest[0], b' ' | b'T')
    {
        let word = if whole.len() == 19 {
            digits::load_word(text, start + 11, 8)
        } else {
            digits::load_word(text, start + 11, 5) | NO_SECONDS
        };
        if let Some(clock) = digits::parse_clock(word) {
            return Some(last.midnight + clock);
        }
    }
    seconds(whole, last)
}

/// Seconds since 1970 of `YYYY-MM-DD`, then optionally a space or T, `HH:MM`, `:SS`, a fraction (ignored) and Z.
#[inline(never)]
pub fn seconds(text: &[u8], last: &mut LastDay) -> Option<i64> {
    let text = text.trim_ascii();
    let (date, mut rest) = text.split_first_chunk::<10>()?;
    let midnight = last.midnight(*date)?;
    if rest.is_empty() {
        return Some(midnight);
    }
    if !matches!(rest[0], b' ' | b'T') || rest.len() < 6 || rest[3] != b':' {
        return None;
    }
    let (hour, minute) = (two_digits(rest, 1)?, two_digits(rest, 4)?);
    rest = &rest[6..];
    let mut second = 0;
    if rest.len() >= 3 && rest[0] == b':' {
        second = two_digits(rest, 1)?;
        rest = &rest[3..];
        if rest.first() == Some(&b'.') {
            let n = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if n == 0 {
                return None;
            }
            rest = &rest[1 + n..];
        }
    }
    if hour > 23 || minute > 59 || second > 59 || !matches!(rest, b"" | b"Z") {
        return None;
    }
    Some(midnight + hour * 3600 + minute * 60 + second)
}

#[inline]
fn two_digits(text: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

#[inline]
fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01; years begin in March here, so that the leap day comes last.
#[inline]
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &[u8]) -> Option<i64> {
        let fresh = super::seconds(text, &mut LastDay::default());
        let around = [b"2012-12-01 ", text, b":00 7"].concat();
        // After another day, after the same, and after one that is none.
        let mut last = LastDay::default();
        for before in ["1999-12-31", "2010-12-01 11:00", "2010-12-41"] {
            super::seconds(before.as_bytes(), &mut last);
            for _ in 0..2 {
                assert_eq!(super::seconds(text, &mut last), fresh);
                assert_eq!(seconds_within(&around, 11, 11 + text.len(), &mut last), fresh);
            }
        }
        fresh
    }

    /// Surrounded by other digits, which must not be parsed as its own.
    fn within(text: &str) -> Option<f64> {
        let around = format!("-12{text}345678901");
        number_within(around.as_bytes(), 3, 3 + text.len())
    }

    #[test]
    fn plain_numbers_are_read_as_the_standard_library_reads_them() {
        for text in
            ["0", "-0", "7", "-12", "123456789012345", "1234567890123456789", "1.5", " 2 ", "+3", "-1e3", ".5", "5."]
        {
            let expected: f64 = text.trim().parse().unwrap();
            assert_eq!(number(text.as_bytes()).map(f64::to_bits), Some(expected.to_bits()), "{text}");
            assert_eq!(within(text).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
        for text in ["", "-", "n/a", "nan", "inf", "12 pcs", "1,5", "1_0", "0x1", "1e999", "--1", "e"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
            assert_eq!(within(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let mut expected = seconds(b"1899-12-31").unwrap();
        assert_eq!(seconds(b"1970-01-01"), Some(0));
        for year in 1900..2110 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    expected += 86_400;
                    assert_eq!(seconds(format!("{year:04}-{month:02}-{day:02}").as_bytes()), Some(expected));
                }
            }
        }
    }

    #[test]
    fn times_of_day_are_added_and_other_forms_are_left_to_the_caller() {
        let noon = seconds(b"2010-12-01").unwrap() + 12 * 3600;
        for text in [
            "2010-12-01 12:00",
            "2010-12-01T12:00:00",
            "2010-12-01 12:00:00.999",
            "2010-12-01T12:00Z",
            " 2010-12-01 12:00 ",
        ] {
            assert_eq!(seconds(text.as_bytes()), Some(noon), "{text}");
        }
        assert_eq!(seconds(b"2010-12-01 23:59:59"), Some(noon + 12 * 3600 - 1));
        for text in [
            "",
            "2010",
            "2010-02-29",
            "2010-13-01",
            "2010-00-10",
            "2010-12-01 24:00",
            "2010-12-01 12",
            "2010-12-01 12:0",
            "2010-12-01 12:00:00+01:00",
            "2010-12-01 12:00:00.",
            "2010/12/01",
            "01/12/2010",
            "2010-12-0a",
            "2010-12-01x12:00",
            "2010-12-01 12:60",
            "2010-12-01 12:00:60",
            "2010-12-01 12-00-00",
            "\0\0\0\0\0\0\0\0\0\0",
            "\0\0\0\0\0\0\0\0\0\0 12:00",
        ] {
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
    }
}
