//! Scans a piece of text: where fields begin and end, and the values of the wanted ones.
//!
//! The ends of fields come as bits, 64 bytes of text at a time. Plain rows, with all their fields and no quote around any,
//! are read a few hundred at a time: first all ends, then one column after the other, each in a loop of its own (half the
//! time of row after row). Any other row is read by itself, and only a field that begins with `"` is scanned byte by byte. A
//! short field is loaded as a whole word, so that the work on a row hardly depends on the lengths of its fields.

use super::fields;
use super::interner::Interner;
use super::schema::{Kind, WantedColumn};
use crate::runtime::cancel::Cancel;
use crate::runtime::simd::delimiters::{CHUNK, delimiters};

/// The scanned fields of a column; texts and unparsed fields by their code in the worker's dictionary.
#[derive(Debug, Default)]
pub(super) struct RawColumn {
    pub codes: Vec<i32>,
    pub numbers: Vec<f64>,
    pub seconds: Vec<i64>,
    pub unparsed: Vec<(u32, u32)>,
}

/// The rows of one piece, which one thread scanned.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub columns: Vec<RawColumn>,
    pub rows: usize,
    pub long: Vec<u32>,
    pub blank: Vec<u32>,
    pub comments: Vec<u32>,
    pub worker: usize,
    pub end: usize,
}

impl Piece {
    /// The same piece emptied, with its memory.
    pub fn cleared(mut self) -> Self {
        for raw in &mut self.columns {
            raw.codes.clear();
            raw.numbers.clear();
            raw.seconds.clear();
            raw.unparsed.clear();
        }
        self.long.clear();
        self.blank.clear();
        self.comments.clear();
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

/// [`delimiters`] of the first 64 bytes, or of fewer at the end.
#[inline(always)]
fn first_delimiters(text: &[u8], delimiter: u8) -> (u64, u64) {
    if let Some(chunk) = text.first_chunk::<CHUNK>() {
        return delimiters(chunk, delimiter);
    }
    let mut chunk = [0; CHUNK];
    chunk[..text.len()].copy_from_slice(text);
    let (found, quotes) = delimiters(&chunk, delimiter);
    // Bits beyond the end do not count, whatever the delimiter.
    (found & ((1 << text.len()) - 1), quotes)
}

/// A number, or NaN and the field listed as unparsed.
#[inline(always)]
fn number(
    text: &[u8],
    (start, end): (usize, usize),
    row: u32,
    interner: &mut Interner,
    unparsed: &mut Vec<(u32, u32)>,
) -> f64 {
    fields::number_within(text, start, end).unwrap_or_else(|| {
        unparsed.push((row, interner.code(&text[start..end])));
        f64::NAN
    })
}

/// Seconds since 1970, or `i64::MIN` and the field listed as unparsed.
#[inline(always)]
fn timestamp(
    text: &[u8],
    (start, end): (usize, usize),
    row: u32,
    interner: &mut Interner,
    unparsed: &mut Vec<(u32, u32)>,
    day: &mut fields::LastDay,
) -> i64 {
    fields::seconds_within(text, start, end, day).unwrap_or_else(|| {
        unparsed.push((row, interner.code(&text[start..end])));
        i64::MIN
    })
}

/// Delimiters and line feeds from a position on, each once, in order.
struct Delimiters<'a> {
    body: &'a [u8],
    delimiter: u8,
    /// Where the bits begin.
    base: usize,
    /// Those of the 64 bytes from there on that were not returned yet.
    bits: u64,
}

impl Delimiters<'_> {
    fn seek(&mut self, at: usize) {
        self.base = at;
        self.load();
    }

    #[inline]
    fn load(&mut self) {
        self.bits = first_delimiters(&self.body[self.base.min(self.body.len())..], self.delimiter).0;
    }

    /// The position of the next one, or the end of the text.
    #[inline]
    fn next(&mut self) -> usize {
        while self.bits == 0 {
            if self.base + CHUNK >= self.body.len() {
                return self.body.len();
            }
            self.base += CHUNK;
            self.load();
        }
        let at = self.base + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        at
    }
}

/// What is needed to read rows one by one.
struct SingleRows<'a> {
    delimiters: Delimiters<'a>,
    /// Which wanted column a field is, if any.
    column_of: Vec<usize>,
    found: Vec<Field>,
    scratch: Vec<u8>,
}

impl<'a> SingleRows<'a> {
    fn new(reader: &RowReader<'a>) -> Self {
        let mut column_of = vec![usize::MAX; reader.n_fields];
        for (column, &(field, _)) in reader.wanted.iter().enumerate() {
            column_of[field] = column;
        }
        Self {
            delimiters: Delimiters { body: reader.body, delimiter: reader.delimiter, base: 0, bits: 0 },
            column_of,
            found: vec![EMPTY; reader.wanted.len()],
            scratch: Vec::new(),
        }
    }
}

pub(super) struct RowReader<'a> {
    pub body: &'a [u8],
    pub delimiter: u8,
    pub n_fields: usize,
    /// A line that begins with it is a comment.
    pub comment: Option<u8>,
    pub wanted: &'a [WantedColumn],
    pub interners: &'a mut [Interner],
    pub is_last: bool,
    pub cancel: &'a Cancel,
}

/// Fields of a batch of plain rows: they and their text stay in the nearest cache.
const BATCH_FIELDS: usize = 1024;

/// No batch is longer, whatever its fields.
const BATCH_BYTES: usize = 1 << 16;

/// Where the fields of consecutive plain rows begin, from the first on; a field ends one byte before the next begins.
struct Batch {
    begins: Box<[u32]>,
    rows: usize,
    /// Whether it ends for lack of room only, and plain rows may follow.
    is_full: bool,
}

/// At most so many rows are read one by one before the next attempt to find plain ones.
const MAX_SINGLE_ROWS: usize = 64;

impl RowReader<'_> {
    /// Scans rows from `start` on until one ends at `limit` or beyond, or is not complete; `piece` is empty.
    pub fn rows(&mut self, start: usize, limit: usize, mut piece: Piece) -> Piece {
        piece.end = start;
        piece.columns.resize_with(self.wanted.len(), RawColumn::default);
        let mut days: Vec<fields::LastDay> = self.wanted.iter().map(|_| fields::LastDay::default()).collect();
        let mut batch = Batch { begins: vec![0; BATCH_FIELDS + CHUNK + 1].into(), rows: 0, is_full: false };
        let mut single_rows = SingleRows::new(self);
        let mut n_single = 1;
        while piece.end < limit && !self.cancel.is_cancelled() {
            self.find_plain_rows(piece.end, limit, &mut batch);
            if batch.rows > 0 {
                self.read_batch(&batch, &mut days, &mut piece);
            }
            if batch.is_full {
                continue;
            }
            // What follows is the end, a quote, or a row with another number of fields.
            n_single = if batch.rows > 0 { 1 } else { (2 * n_single).min(MAX_SINGLE_ROWS) };
            single_rows.delimiters.seek(piece.end);
            for _ in 0..n_single {
                if piece.end >= limit {
                    break;
                }
                if !self.read_row(&mut single_rows, &mut days, &mut piece) {
                    return piece;
                }
            }
        }
        piece
    }

    /// Finds plain rows from `start` to at most `limit`, which is the end of a row or of the text.
    fn find_plain_rows(&self, start: usize, limit: usize, batch: &mut Batch) {
        let n_fields = self.n_fields;
        (batch.rows, batch.is_full) = (0, false);
        // A row of one field may be a blank line.
        if n_fields < 2 {
            return;
        }
        let text = &self.body[start..limit.min(start + BATCH_BYTES)];
        let mut filled = 1;
        let mut begins_here = 1;
        for (at, chunk) in text.chunks(CHUNK).enumerate() {
            let (mut found, quotes) = first_delimiters(chunk, self.delimiter);
            let quoted = quotes & (found << 1 | begins_here);
            begins_here = found >> 63;
            if quoted != 0 {
                found &= (quoted & quoted.wrapping_neg()) - 1;
            }
            while found != 0 {
                batch.begins[filled] = (CHUNK * at) as u32 + found.trailing_zeros() + 1;
                filled += 1;
                found &= found - 1;
            }
            if quoted != 0 || filled > BATCH_FIELDS {
                break;
            }
        }
        let ends_line = |&begin: &u32| text[begin as usize - 1] == b'\n';
        let rows = batch.begins[1..filled].chunks_exact(n_fields);
        let n_rows = rows.len();
        let is_comment = |start: u32| self.comment.is_some() && self.comment == text.get(start as usize).copied();
        let plain = |start: u32, row: &[u32]| {
            ends_line(&row[n_fields - 1]) && !row[..n_fields - 1].iter().any(ends_line) && !is_comment(start)
        };
        let mut starts = batch.begins.iter().step_by(n_fields).zip(rows);
        batch.rows = starts.position(|(&start, row)| !plain(start, row)).unwrap_or(n_rows);
        batch.is_full = filled > BATCH_FIELDS && 0 < n_rows && batch.rows == n_rows;
    }

    /// Reads the rows of a batch, which begins where the piece ends.
    fn read_batch(&mut self, batch: &Batch, days: &mut [fields::LastDay], piece: &mut Piece) {
        let (n_fields, n_rows, first) = (self.n_fields, batch.rows, piece.rows as u32);
        let text = &self.body[piece.end..];
        let columns = piece.columns.iter_mut().zip(self.interners.iter_mut()).zip(days).zip(self.wanted);
        for (((raw, interner), day), &(field, kind)) in columns {
            let ends_line = field + 1 == n_fields;
            let ranges = batch.begins[field..].chunks(n_fields).take(n_rows).map(|begins| {
                let (start, end) = (begins[0] as usize, begins[1] as usize - 1);
                let has_return = ends_line && end > start && text[end - 1] == b'\r';
                (start, end - usize::from(has_return))
            });
            let RawColumn { codes, numbers, seconds, unparsed } = raw;
            match kind {
                Kind::Text => codes.extend(ranges.map(|(start, end)| interner.code_within(text, start, end) as i32)),
                Kind::Number => {
                    numbers
                        .extend((first..).zip(ranges).map(|(row, range)| number(text, range, row, interner, unparsed)));
                }
                Kind::Timestamp => {
                    seconds.extend(
                        (first..).zip(ranges).map(|(row, range)| timestamp(text, range, row, interner, unparsed, day)),
                    );
                }
            }
        }
        piece.rows += n_rows;
        piece.end += batch.begins[n_rows * n_fields] as usize;
    }

    /// Reads one row of any kind, which begins where the piece ends. False if it is not complete.
    fn read_row(&mut self, single_rows: &mut SingleRows<'_>, days: &mut [fields::LastDay], piece: &mut Piece) -> bool {
        let SingleRows { delimiters, column_of, found, scratch } = single_rows;
        scratch.clear();
        found.fill(EMPTY);
        let row = piece.rows as u32;
        let is_comment = self.comment.is_some() && self.comment == self.body.get(piece.end).copied();
        let line = if is_comment {
            self.comment_line(piece.end, delimiters)
        } else {
            self.row(piece.end, delimiters, column_of, found, scratch)
        };
        let Some((end, n_fields, blank)) = line else {
            return false;
        };
        if is_comment {
            piece.comments.push(row);
        } else if blank {
            piece.blank.push(row);
        } else if n_fields > self.n_fields {
            piece.long.push(row);
        }
        let columns = piece.columns.iter_mut().zip(self.interners.iter_mut()).zip(days).zip(self.wanted);
        for ((((raw, interner), day), &(_, kind)), &field) in columns.zip(found.iter()) {
            let Field { start, end, in_scratch } = field;
            let text = if in_scratch { scratch.as_slice() } else { self.body };
            match kind {
                Kind::Text => raw.codes.push(interner.code_within(text, start, end) as i32),
                Kind::Number => raw.numbers.push(number(text, (start, end), row, interner, &mut raw.unparsed)),
                Kind::Timestamp => {
                    raw.seconds.push(timestamp(text, (start, end), row, interner, &mut raw.unparsed, day));
                }
            }
        }
        piece.rows += 1;
        piece.end = end;
        true
    }

    /// A comment, as [`Self::row`] returns a row without fields; quotes mean nothing in it.
    fn comment_line(&self, at: usize, delimiters: &mut Delimiters<'_>) -> Option<(usize, usize, bool)> {
        let line_end = self.body[at..].iter().position(|&byte| byte == b'\n');
        let end = match line_end {
            Some(length) => at + length + 1,
            None if self.is_last => self.body.len(),
            None => return None,
        };
        delimiters.seek(end);
        Some((end, 0, false))
    }

    /// One row from `at` on: where the next begins, how many fields it has up to the last that is not empty, and
    /// whether it is a blank line. `None` if it is not complete.
    #[inline]
    fn row(
        &self,
        mut at: usize,
        delimiters: &mut Delimiters<'_>,
        column_of: &[usize],
        found: &mut [Field],
        scratch: &mut Vec<u8>,
    ) -> Option<(usize, usize, bool)> {
        let body = self.body;
        let (mut number, mut filled) = (0, 0);
        loop {
            let column = column_of.get(number).copied().unwrap_or(usize::MAX);
            let (mut field, stop) = if body.get(at) == Some(&b'"') {
                self.quoted(at, delimiters, scratch)?
            } else {
                let stop = delimiters.next();
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

    /// A field that begins with a quote, and the position of the delimiter or line end after it.
    fn quoted(&self, at: usize, delimiters: &mut Delimiters<'_>, scratch: &mut Vec<u8>) -> Option<(Field, usize)> {
        let body = self.body;
        let close = |from: usize| body[from..].iter().position(|&byte| byte == b'"').map(|n| from + n);
        let first = close(at + 1)?;
        let after = first + 1;
        if after == body.len() || matches!(body[after], b'\n' | b'\r') || body[after] == self.delimiter {
            delimiters.seek(after);
            let stop = delimiters.next();
            if stop == after || body[after..stop] == *b"\r" {
                return Some((Field { start: at + 1, end: first, in_scratch: false }, stop));
            }
        }
        // Doubled quotes become one; what follows the closing quote belongs to the field literally.
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
        delimiters.seek(end + 1);
        let stop = delimiters.next();
        let rest = &body[end + 1..stop];
        scratch.extend_from_slice(rest.strip_suffix(b"\r").unwrap_or(rest));
        Some((Field { start: from, end: scratch.len(), in_scratch: true }, stop))
    }
}
