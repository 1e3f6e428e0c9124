//! One piece of text to rows: where fields begin and end, and what stands in those that are wanted.
//!
//! The ends of fields come as bits, 64 bytes of text at a time, and are taken from there one after the other; only a
//! field that begins with `"` is looked through byte by byte. What a field holds is loaded as whole words where it is
//! short, so that the work on a row hardly depends on the lengths of its fields.

use super::fields;
use super::scan::{Kind, Wanted};
use super::words::Words;
use crate::runtime::cancel::Cancel;
use crate::runtime::simd::stops::{CHUNK, stops};

/// Fields of a column as they were scanned; texts and odd fields by their code in the column's dictionary.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub codes: Vec<i32>,
    pub numbers: Vec<f64>,
    pub seconds: Vec<i64>,
    pub odd: Vec<(u32, u32)>,
}

/// One piece: what one thread scanned.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub columns: Vec<Raw>,
    pub rows: usize,
    pub long: Vec<u32>,
    pub blank: Vec<u32>,
    pub lane: usize,
    pub end: usize,
}

impl Piece {
    /// Empty, with its memory kept.
    pub fn cleared(mut self) -> Self {
        for raw in &mut self.columns {
            raw.codes.clear();
            raw.numbers.clear();
            raw.seconds.clear();
            raw.odd.clear();
        }
        self.long.clear();
        self.blank.clear();
        Self { rows: 0, ..self }
    }
}

/// A field of the row being scanned: a range of the text, or of the scratch buffer where quotes had to be resolved.
#[derive(Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    in_scratch: bool,
}

const EMPTY: Field = Field { start: 0, end: 0, in_scratch: false };

/// Delimiters and line feeds from a place on, each once, in order.
struct Stops<'a> {
    body: &'a [u8],
    delimiter: u8,
    /// Where the bits begin.
    base: usize,
    /// Those of the 64 bytes from there on that were not taken yet.
    bits: u64,
}

impl Stops<'_> {
    fn seek(&mut self, at: usize) {
        self.base = at;
        self.look();
    }

    #[inline]
    fn look(&mut self) {
        let rest = &self.body[self.base.min(self.body.len())..];
        self.bits = if let Some(chunk) = rest.first_chunk::<CHUNK>() {
            stops(chunk, self.delimiter)
        } else {
            let mut chunk = [0; CHUNK];
            chunk[..rest.len()].copy_from_slice(rest);
            // Nothing behind the end counts, whatever the delimiter.
            stops(&chunk, self.delimiter) & ((1 << rest.len()) - 1)
        };
    }

    /// The place of the next one, or the end of the text.
    #[inline]
    fn next(&mut self) -> usize {
        while self.bits == 0 {
            if self.base + CHUNK >= self.body.len() {
                return self.body.len();
            }
            self.base += CHUNK;
            self.look();
        }
        let at = self.base + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        at
    }
}

pub(super) struct Reader<'a> {
    pub body: &'a [u8],
    pub delimiter: u8,
    pub n_fields: usize,
    pub wanted: &'a [Wanted],
    pub words: &'a mut [Words],
    pub is_last: bool,
    pub cancel: &'a Cancel,
}

impl Reader<'_> {
    /// Scans rows from `start` on until one ends at `limit` or beyond, or is not complete; `piece` is empty.
    pub fn rows(&mut self, start: usize, limit: usize, mut piece: Piece) -> Piece {
        piece.end = start;
        piece.columns.resize_with(self.wanted.len(), Raw::default);
        // Which wanted column a field is, if any.
        let mut column_of = vec![usize::MAX; self.n_fields];
        for (column, &(field, _)) in self.wanted.iter().enumerate() {
            column_of[field] = column;
        }
        let mut found = vec![EMPTY; self.wanted.len()];
        let mut scratch = Vec::new();
        let mut day = fields::Day::default();
        let mut stops = Stops { body: self.body, delimiter: self.delimiter, base: 0, bits: 0 };
        stops.seek(start);
        // 16,384 rows take some 1 ms.
        while piece.end < limit && (!piece.rows.is_multiple_of(16_384) || !self.cancel.is_cancelled()) {
            scratch.clear();
            found.fill(EMPTY);
            let Some((end, n_fields, blank)) = self.row(piece.end, &mut stops, &column_of, &mut found, &mut scratch)
            else {
                break;
            };
            let row = piece.rows as u32;
            if blank {
                piece.blank.push(row);
            } else if n_fields > self.n_fields {
                piece.long.push(row);
            }
            for (((raw, &field), words), &(_, kind)) in
                piece.columns.iter_mut().zip(&found).zip(self.words.iter_mut()).zip(self.wanted)
            {
                let Field { start, end, in_scratch } = field;
                let text = if in_scratch { &scratch } else { self.body };
                match kind {
                    Kind::Text => raw.codes.push(words.code_within(text, start, end) as i32),
                    Kind::Number => raw.numbers.push(fields::number_within(text, start, end).unwrap_or_else(|| {
                        raw.odd.push((row, words.code(&text[start..end])));
                        f64::NAN
                    })),
                    Kind::Moment => {
                        raw.seconds.push(fields::seconds_within(text, start, end, &mut day).unwrap_or_else(|| {
                            raw.odd.push((row, words.code(&text[start..end])));
                            i64::MIN
                        }));
                    }
                }
            }
            piece.rows += 1;
            piece.end = end;
        }
        piece
    }

    /// One row from `at` on: where the next begins, how many fields it has up to the last that is not empty, and
    /// whether it is a blank line. `None` if it is not complete.
    #[inline]
    fn row(
        &self,
        mut at: usize,
        stops: &mut Stops<'_>,
        column_of: &[usize],
        found: &mut [Field],
        scratch: &mut Vec<u8>,
    ) -> Option<(usize, usize, bool)> {
        let body = self.body;
        let (mut number, mut filled) = (0, 0);
        loop {
            let column = column_of.get(number).copied().unwrap_or(usize::MAX);
            let (mut field, stop) = if body.get(at) == Some(&b'"') {
                self.quoted(at, stops, scratch)?
            } else {
                let stop = stops.next();
                (Field { start: at, end: stop, in_scratch: false }, stop)
            };
            number += 1;
            let ends = body.get(stop) != Some(&self.delimiter);
            if ends && stop == body.len() && !self.is_last {
                return None;
            }
            if ends && !field.in_scratch && field.end > field.start && body[field.end - 1] == b'\r' && stop == field.end
            {
                field.end -= 1;
            }
            if field.end > field.start {
                filled = number;
            }
            if column != usize::MAX {
                found[column] = field;
            }
            if ends {
                return Some(((stop + 1).min(body.len()), filled, number == 1 && filled == 0));
            }
            at = stop + 1;
        }
    }

    /// A field that begins with a quote, and where the delimiter or line end after it stands.
    fn quoted(&self, at: usize, stops: &mut Stops<'_>, scratch: &mut Vec<u8>) -> Option<(Field, usize)> {
        let body = self.body;
        let close = |from: usize| body[from..].iter().position(|&byte| byte == b'"').map(|n| from + n);
        let first = close(at + 1)?;
        let after = first + 1;
        if after == body.len() || matches!(body[after], b'\n' | b'\r') || body[after] == self.delimiter {
            stops.seek(after);
            let stop = stops.next();
            if stop == after || body[after..stop] == *b"\r" {
                return Some((Field { start: at + 1, end: first, in_scratch: false }, stop));
            }
        }
        // Doubled quotes become one; what follows the closing quote belongs to the field as it stands.
        let from = scratch.len();
        let (mut start, mut end) = (at + 1, first);
        loop {
            scratch.extend_from_slice(&body[start..end]);
            if body.get(end + 1) != Some(&b'"') {
                break;
            }
            scratch.push(b'"');
            start = end + 2;
            end = close(start)?;
        }
        stops.seek(end + 1);
        let stop = stops.next();
        let rest = &body[end + 1..stop];
        scratch.extend_from_slice(rest.strip_suffix(b"\r").unwrap_or(rest));
        Some((Field { start: from, end: scratch.len(), in_scratch: true }, stop))
    }
}
