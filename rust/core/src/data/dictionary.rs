//! The dictionaries of all threads to one: distinct texts ascending, and the rows' codes among them.
//!
//! Plain numbers need no sorting by comparison: those of equally many digits stand in order already, and at most seven
//! such runs are merged. The other texts are sorted, and both go into one list.

use rayon::prelude::*;

use super::interner::{Interner, PLAIN};
use super::schema::Target;
use crate::runtime::cancel::Cancel;

/// What is known of a column beside the values of its rows.
#[derive(Debug, Default, PartialEq)]
pub struct Column {
    /// Rows whose field is no plain number or moment.
    pub odd_rows: Vec<i64>,
    /// The place of each odd field in `texts`.
    pub odd_codes: Vec<i32>,
    /// The distinct texts, ascending by bytes, a line feed after each.
    pub texts: Vec<u8>,
    /// Where each text begins in `texts`; one more than there are texts.
    pub offsets: Vec<i64>,
}

/// Neighbouring rows that were scanned into one thread's dictionaries.
#[derive(Debug)]
pub(super) struct Span {
    pub lane: usize,
    pub rows: usize,
}

/// A text of some thread's dictionary.
#[derive(Clone, Copy)]
struct Entry {
    /// Its first eight bytes, zeros behind: ordered as the texts are, as far as they reach.
    prefix: u64,
    lane: u32,
    /// Above the plain ones.
    number: u32,
}

/// One column: texts that occur sorted, codes renumbered. `may_be_absent`: whether some may not occur.
pub(super) fn column(
    lanes: &[&Interner],
    spans: &[Span],
    odd: &[(i64, usize, u32)],
    target: &mut Target<'_>,
    may_be_absent: bool,
    cancel: &Cancel,
) -> Column {
    let occurring = Occurring::new(lanes, spans, odd, target, may_be_absent);
    let text = |entry: &Entry| lanes[entry.lane as usize].get(entry.number).unwrap_or_default();
    let mut sorted = Vec::with_capacity(lanes.iter().map(|words| words.len()).sum());
    for (lane, words) in lanes.iter().enumerate() {
        for number in (0..words.len() as u32).filter(|&number| occurring.others[lane][number as usize]) {
            let entry = Entry { prefix: 0, lane: lane as u32, number };
            sorted.push(Entry { prefix: prefix(text(&entry)), ..entry });
        }
    }
    if cancel.is_cancelled() {
        return Column::default();
    }
    sorted.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| text(a).cmp(text(b))));

    let mut result = Column { offsets: vec![0], ..Column::default() };
    let mut places = Places {
        plain: vec![-1; 64 * occurring.plain.len()],
        others: lanes.iter().map(|words| vec![-1; words.len()]).collect(),
    };
    let mut plain = in_text_order(&occurring.plain).into_iter().peekable();
    let mut previous: Option<&[u8]> = None;
    for entry in &sorted {
        let own = text(entry);
        while let Some(number) = plain.next_if(|&number| Digits::of(number).text() < own) {
            places.plain[number as usize] = result.push(Digits::of(number).text());
        }
        let place = if previous == Some(own) { result.offsets.len() as i32 - 2 } else { result.push(own) };
        previous = Some(own);
        places.others[entry.lane as usize][entry.number as usize] = place;
    }
    for number in plain {
        places.plain[number as usize] = result.push(Digits::of(number).text());
    }

    if let Target::Codes(codes) = target {
        let mut parts = Vec::new();
        each_span(spans, codes, |lane, own| parts.extend(own.chunks_mut(SPAN_ROWS).map(|own| (lane, own))));
        parts.into_par_iter().for_each(|(lane, codes)| {
            if !cancel.is_cancelled() {
                for code in codes {
                    *code = places.of(lane, *code as u32);
                }
            }
        });
    }
    result.odd_rows = odd.iter().map(|&(row, _, _)| row).collect();
    result.odd_codes = odd.iter().map(|&(_, lane, code)| places.of(lane, code)).collect();
    result
}

/// Codes that one task renumbers between two looks at whether the caller wants to stop.
const SPAN_ROWS: usize = 1 << 16;

impl Column {
    fn push(&mut self, text: &[u8]) -> i32 {
        self.texts.extend_from_slice(text);
        self.texts.push(b'\n');
        self.offsets.push(self.texts.len() as i64);
        self.offsets.len() as i32 - 2
    }
}

/// What of the dictionaries stands in the table.
struct Occurring {
    /// A bit for each plain number, of any lane.
    plain: Vec<u64>,
    /// Per lane and number.
    others: Vec<Vec<bool>>,
}

impl Occurring {
    fn new(
        lanes: &[&Interner],
        spans: &[Span],
        odd: &[(i64, usize, u32)],
        target: &mut Target<'_>,
        may_be_absent: bool,
    ) -> Self {
        let mut plain = vec![0; lanes.iter().map(|words| words.seen().len()).max().unwrap_or(0)];
        let others = lanes.iter().map(|words| vec![!may_be_absent; words.len()]).collect();
        if !may_be_absent {
            for words in lanes {
                for (bits, own) in plain.iter_mut().zip(words.seen()) {
                    *bits |= own;
                }
            }
            return Self { plain, others };
        }
        let mut found = Self { plain, others };
        if let Target::Codes(codes) = target {
            each_span(spans, codes, |lane, own| own.iter().for_each(|&code| found.mark(lane, code as u32)));
        }
        for &(_, lane, code) in odd {
            found.mark(lane, code);
        }
        found
    }

    fn mark(&mut self, lane: usize, code: u32) {
        if code < PLAIN {
            self.plain[code as usize / 64] |= 1 << (code % 64);
        } else {
            self.others[lane][(code - PLAIN) as usize] = true;
        }
    }
}

/// Where the text of each code stands among those of the column.
struct Places {
    plain: Vec<i32>,
    /// Per lane and number.
    others: Vec<Vec<i32>>,
}

impl Places {
    #[inline]
    fn of(&self, lane: usize, code: u32) -> i32 {
        if code < PLAIN { self.plain[code as usize] } else { self.others[lane][(code - PLAIN) as usize] }
    }
}

/// The numbers of these bits in the order of their texts: "1", "10", "11", "2".
fn in_text_order(bits: &[u64]) -> Vec<u32> {
    let mut keys = Vec::with_capacity(bits.iter().map(|bits| bits.count_ones() as usize).sum());
    let mut weight = 10_000_000u64;
    for (at, &bits) in bits.iter().enumerate() {
        let mut rest = bits;
        while rest != 0 {
            let number = 64 * at as u64 + u64::from(rest.trailing_zeros());
            rest &= rest - 1;
            while number * weight >= 10_000_000 && weight > 1 {
                weight /= 10;
            }
            // Digits from the left, as of a decimal fraction; of those that agree the shorter first.
            keys.push((number * weight) << 32 | number);
        }
    }
    #[allow(clippy::stable_sort_primitive, reason = "it finds the runs of equally many digits and merges them")]
    keys.sort();
    keys.into_iter().map(|key| key as u32).collect()
}

/// The digits of a plain number.
struct Digits {
    bytes: [u8; 8],
    start: usize,
}

impl Digits {
    #[inline]
    fn of(mut number: u32) -> Self {
        let mut digits = Self { bytes: [0; 8], start: 8 };
        loop {
            digits.start -= 1;
            digits.bytes[digits.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    #[inline]
    fn text(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// The codes of each span.
fn each_span<'a>(spans: &[Span], codes: &'a mut [i32], mut work: impl FnMut(usize, &'a mut [i32])) {
    let mut rest = codes;
    for span in spans {
        let (own, others) = rest.split_at_mut(span.rows);
        work(span.lane, own);
        rest = others;
    }
}

fn prefix(text: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = text.len().min(8);
    first[..len].copy_from_slice(&text[..len]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_stand_in_the_order_of_their_texts() {
        let draws = crate::runtime::rng::Stream::new(5, 1);
        for (round, one_in) in [1u64, 2, 40, 3000].into_iter().enumerate() {
            let chosen = |&number: &u32| draws.below((round as u64) << 32 | u64::from(number), one_in) == 0;
            let mut numbers: Vec<u32> = (0..PLAIN).filter(chosen).collect();
            let mut bits = vec![0u64; PLAIN as usize / 64];
            for &number in &numbers {
                bits[number as usize / 64] |= 1 << (number % 64);
            }
            numbers.sort_by_key(ToString::to_string);
            assert_eq!(in_text_order(&bits), numbers);
            let digits = |&number: &u32| Digits::of(number).text() == number.to_string().as_bytes();
            assert!(numbers.iter().all(digits));
        }
    }
}
