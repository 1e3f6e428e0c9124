//! Merges the dictionaries of all workers into one per column: distinct texts ascending, and the final code of each row.
//!
//! Plain numbers need no sorting by comparison: those with equally many digits are in order already, and at most seven such
//! runs are merged. The other texts are sorted, and both lists are merged.

use rayon::prelude::*;

use super::interner::{Interner, N_PLAIN};
use super::schema::Target;
use crate::runtime::cancel::Cancel;

/// The dictionary of a column, and its unparsed fields.
#[derive(Debug, Default, PartialEq)]
pub struct Column {
    /// Rows whose field could not be parsed as a number or a timestamp.
    pub unparsed_rows: Vec<i64>,
    /// The code of each of these fields: its position in `texts`.
    pub unparsed_codes: Vec<i32>,
    /// The distinct texts, ascending by bytes, a line feed after each.
    pub texts: Vec<u8>,
    /// Where each text begins in `texts`; one more than there are texts.
    pub offsets: Vec<i64>,
}

/// Consecutive rows that one worker scanned, with the codes of its dictionaries.
#[derive(Debug)]
pub(super) struct Span {
    pub worker: usize,
    pub rows: usize,
}

/// A text of a worker's dictionary.
#[derive(Clone, Copy)]
struct Entry {
    /// Its first eight bytes, padded with zeros: ordered as the texts are, as far as they reach.
    prefix: u64,
    worker: u32,
    /// Its code less [`N_PLAIN`].
    number: u32,
}

/// Merges one column: texts that occur are sorted, codes renumbered. `may_be_absent`: whether some texts may not occur.
pub(super) fn merge_column(
    interners: &[&Interner],
    spans: &[Span],
    unparsed: &[(i64, usize, u32)],
    target: &mut Target<'_>,
    may_be_absent: bool,
    cancel: &Cancel,
) -> Column {
    let occurrences = Occurrences::new(interners, spans, unparsed, target, may_be_absent);
    let text = |entry: &Entry| interners[entry.worker as usize].get(entry.number).unwrap_or_default();
    let mut sorted = Vec::with_capacity(interners.iter().map(|interner| interner.len()).sum());
    for (worker, interner) in interners.iter().enumerate() {
        for number in (0..interner.len() as u32).filter(|&number| occurrences.others[worker][number as usize]) {
            let entry = Entry { prefix: 0, worker: worker as u32, number };
            sorted.push(Entry { prefix: prefix(text(&entry)), ..entry });
        }
    }
    if cancel.is_cancelled() {
        return Column::default();
    }
    sorted.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| text(a).cmp(text(b))));

    let mut result = Column { offsets: vec![0], ..Column::default() };
    let mut final_codes = FinalCodes {
        plain: vec![-1; 64 * occurrences.plain.len()],
        others: interners.iter().map(|interner| vec![-1; interner.len()]).collect(),
    };
    let mut plain = in_text_order(&occurrences.plain).into_iter().peekable();
    let mut previous: Option<&[u8]> = None;
    for entry in &sorted {
        let own = text(entry);
        while let Some(number) = plain.next_if(|&number| DecimalText::of(number).text() < own) {
            final_codes.plain[number as usize] = result.push(DecimalText::of(number).text());
        }
        let code = if previous == Some(own) { result.offsets.len() as i32 - 2 } else { result.push(own) };
        previous = Some(own);
        final_codes.others[entry.worker as usize][entry.number as usize] = code;
    }
    for number in plain {
        final_codes.plain[number as usize] = result.push(DecimalText::of(number).text());
    }

    if let Target::Codes(codes) = target {
        let mut parts = Vec::new();
        for_each_span(spans, codes, |worker, own| parts.extend(own.chunks_mut(SPAN_ROWS).map(|own| (worker, own))));
        parts.into_par_iter().for_each(|(worker, codes)| {
            if !cancel.is_cancelled() {
                for code in codes {
                    *code = final_codes.of(worker, *code as u32);
                }
            }
        });
    }
    result.unparsed_rows = unparsed.iter().map(|&(row, _, _)| row).collect();
    result.unparsed_codes = unparsed.iter().map(|&(_, worker, code)| final_codes.of(worker, code)).collect();
    result
}

/// Codes that one task renumbers between two checks whether the caller wants to stop.
const SPAN_ROWS: usize = 1 << 16;

impl Column {
    fn push(&mut self, text: &[u8]) -> i32 {
        self.texts.extend_from_slice(text);
        self.texts.push(b'\n');
        self.offsets.push(self.texts.len() as i64);
        self.offsets.len() as i32 - 2
    }
}

/// The texts of the dictionaries that occur in the table.
struct Occurrences {
    /// A bit for each plain number of any worker.
    plain: Vec<u64>,
    /// Per worker and number.
    others: Vec<Vec<bool>>,
}

impl Occurrences {
    fn new(
        interners: &[&Interner],
        spans: &[Span],
        unparsed: &[(i64, usize, u32)],
        target: &mut Target<'_>,
        may_be_absent: bool,
    ) -> Self {
        let mut plain = vec![0; interners.iter().map(|interner| interner.seen().len()).max().unwrap_or(0)];
        let others = interners.iter().map(|interner| vec![!may_be_absent; interner.len()]).collect();
        if !may_be_absent {
            for interner in interners {
                for (bits, own) in plain.iter_mut().zip(interner.seen()) {
                    *bits |= own;
                }
            }
            return Self { plain, others };
        }
        let mut found = Self { plain, others };
        if let Target::Codes(codes) = target {
            for_each_span(spans, codes, |worker, own| own.iter().for_each(|&code| found.mark(worker, code as u32)));
        }
        for &(_, worker, code) in unparsed {
            found.mark(worker, code);
        }
        found
    }

    fn mark(&mut self, worker: usize, code: u32) {
        if code < N_PLAIN {
            self.plain[code as usize / 64] |= 1 << (code % 64);
        } else {
            self.others[worker][(code - N_PLAIN) as usize] = true;
        }
    }
}

/// From the codes of the workers to those of the column.
struct FinalCodes {
    plain: Vec<i32>,
    /// Per worker and number.
    others: Vec<Vec<i32>>,
}

impl FinalCodes {
    #[inline]
    fn of(&self, worker: usize, code: u32) -> i32 {
        if code < N_PLAIN { self.plain[code as usize] } else { self.others[worker][(code - N_PLAIN) as usize] }
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
            // Ordered by the digits from the left, like a decimal fraction; of equal ones the shorter first.
            keys.push((number * weight) << 32 | number);
        }
    }
    #[allow(clippy::stable_sort_primitive, reason = "it finds the runs of equally many digits and merges them")]
    keys.sort();
    keys.into_iter().map(|key| key as u32).collect()
}

/// The digits of a plain number.
struct DecimalText {
    bytes: [u8; 8],
    start: usize,
}

impl DecimalText {
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

/// Calls `work` with the worker and the codes of each span.
fn for_each_span<'a>(spans: &[Span], codes: &'a mut [i32], mut work: impl FnMut(usize, &'a mut [i32])) {
    let mut rest = codes;
    for span in spans {
        let (own, others) = rest.split_at_mut(span.rows);
        work(span.worker, own);
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
    fn plain_numbers_are_in_the_order_of_their_texts() {
        let draws = crate::runtime::rng::Stream::new(5, 1);
        for (round, one_in) in [1u64, 2, 40, 3000].into_iter().enumerate() {
            let chosen = |&number: &u32| draws.below((round as u64) << 32 | u64::from(number), one_in) == 0;
            let mut numbers: Vec<u32> = (0..N_PLAIN).filter(chosen).collect();
            let mut bits = vec![0u64; N_PLAIN as usize / 64];
            for &number in &numbers {
                bits[number as usize / 64] |= 1 << (number % 64);
            }
            numbers.sort_by_key(ToString::to_string);
            assert_eq!(in_text_order(&bits), numbers);
            let digits = |&number: &u32| DecimalText::of(number).text() == number.to_string().as_bytes();
            assert!(numbers.iter().all(digits));
        }
    }
}
