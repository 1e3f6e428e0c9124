//! The dictionaries of all threads to one: distinct texts ascending, and the rows' codes among them.

use super::scan::Target;
use super::words::Words;
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
    code: u32,
}

/// One column: texts that occur sorted, codes renumbered. `may_be_absent`: whether some may not occur.
pub(super) fn column(
    lanes: &[&Words],
    spans: &[Span],
    odd: &[(i64, usize, u32)],
    target: &mut Target<'_>,
    may_be_absent: bool,
    cancel: &Cancel,
) -> Column {
    let mut occurs: Vec<Vec<bool>> = lanes.iter().map(|words| vec![!may_be_absent; words.len()]).collect();
    if may_be_absent {
        each_span(spans, target, |lane, codes| {
            for &mut code in codes {
                occurs[lane][code as usize] = true;
            }
        });
        for &(_, lane, code) in odd {
            occurs[lane][code as usize] = true;
        }
    }
    let text = |entry: &Entry| lanes[entry.lane as usize].get(entry.code).unwrap_or_default();
    let mut sorted = Vec::with_capacity(lanes.iter().map(|words| words.len()).sum());
    for (lane, words) in lanes.iter().enumerate() {
        for code in (0..words.len() as u32).filter(|&code| occurs[lane][code as usize]) {
            let entry = Entry { prefix: 0, lane: lane as u32, code };
            sorted.push(Entry { prefix: prefix(text(&entry)), ..entry });
        }
    }
    if cancel.is_cancelled() {
        return Column::default();
    }
    sorted.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| text(a).cmp(text(b))));
    let mut renumbered: Vec<Vec<i32>> = lanes.iter().map(|words| vec![-1; words.len()]).collect();
    let mut result = Column { offsets: vec![0], ..Column::default() };
    let mut previous: Option<&[u8]> = None;
    for entry in &sorted {
        let own = text(entry);
        if previous != Some(own) {
            result.texts.extend_from_slice(own);
            result.texts.push(b'\n');
            result.offsets.push(result.texts.len() as i64);
            previous = Some(own);
        }
        renumbered[entry.lane as usize][entry.code as usize] = result.offsets.len() as i32 - 2;
    }
    each_span(spans, target, |lane, codes| {
        let table = &renumbered[lane];
        if !cancel.is_cancelled() {
            for code in codes {
                *code = table[*code as usize];
            }
        }
    });
    result.odd_rows = odd.iter().map(|&(row, _, _)| row).collect();
    result.odd_codes = odd.iter().map(|&(_, lane, code)| renumbered[lane][code as usize]).collect();
    result
}

/// The codes of each span, where the column has codes.
fn each_span(spans: &[Span], target: &mut Target<'_>, mut work: impl FnMut(usize, &mut [i32])) {
    let Target::Codes(codes) = target else { return };
    let mut rest = &mut **codes;
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
