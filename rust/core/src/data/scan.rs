//! Delimited text to columns, block after block.
//!
//! Rows follow RFC 4180 as spreadsheets write it: fields between delimiters, a field that begins with `"` runs to the
//! closing quote and may hold delimiters, line ends and doubled quotes; elsewhere a quote is a plain character; lines
//! end with LF or CR LF. Every line is one row of every column, whatever is wrong with it: short rows have empty
//! fields, rows with more fields than the header and blank lines are listed, fields that are not what their column
//! holds are odd. Nothing is dropped here.
//!
//! A block is cut into one piece per thread at line ends. A line end inside quotes makes such a cut wrong; so each piece
//! must end exactly where the next began, and from the first that does not, the rest is scanned again in one piece.
//! The result does not depend on the cuts: dictionaries are merged and sorted at the end.

use rayon::prelude::*;

use super::fields;
use super::words::Words;
use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ids and names: codes into the distinct texts.
    Text,
    /// Quantities: f64.
    Number,
    /// ISO 8601 moments: seconds since 1970.
    Moment,
}

/// A column of the table that is wanted: its field in a row, and what it holds.
pub type Wanted = (usize, Kind);

/// A row longer than this is a quote that was never closed.
const MAX_ROW_BYTES: usize = 1 << 24;

/// Pieces smaller than this are not worth another thread.
const MIN_PIECE_BYTES: usize = 1 << 18;

/// Fields of a column as they were scanned, and the dictionary of its texts (or of its odd fields).
#[derive(Debug, Default)]
struct Raw {
    codes: Vec<u32>,
    numbers: Vec<f64>,
    seconds: Vec<i64>,
    odd: Vec<(u32, u32)>,
}

/// One piece: what one thread scanned.
#[derive(Debug, Default)]
struct Piece {
    columns: Vec<Raw>,
    rows: usize,
    long: Vec<u32>,
    blank: Vec<u32>,
    lane: usize,
    end: usize,
}

/// A finished column.
#[derive(Debug, Default, PartialEq)]
pub struct Column {
    /// For texts: the place of each row's text in `texts`.
    pub codes: Vec<i32>,
    /// For numbers: NaN where odd.
    pub numbers: Vec<f64>,
    /// For moments: `i64::MIN` where odd.
    pub seconds: Vec<i64>,
    /// Rows whose field is no plain number or moment.
    pub odd_rows: Vec<i64>,
    /// The place of each odd field in `texts`.
    pub odd_codes: Vec<i32>,
    /// The distinct texts, ascending by bytes, a line feed after each.
    pub texts: Vec<u8>,
    /// Where each text begins in `texts`; one more than there are texts.
    pub offsets: Vec<i64>,
}

/// The whole table.
#[derive(Debug, Default, PartialEq)]
pub struct Table {
    /// Number of rows.
    pub rows: usize,
    /// In the order in which they were wanted.
    pub columns: Vec<Column>,
    /// Rows with more fields than the header has (empty ones at the end do not count).
    pub long: Vec<i64>,
    /// Rows of blank lines.
    pub blank: Vec<i64>,
}

/// Takes the blocks of a text in turn.
#[derive(Debug, Default)]
pub struct Scanner {
    delimiter: u8,
    n_fields: usize,
    wanted: Vec<Wanted>,
    /// Per thread and column.
    lanes: Vec<Vec<Words>>,
    pieces: Vec<Piece>,
    rows: usize,
    /// The bytes of a row that is not complete yet.
    tail: Vec<u8>,
}

impl Scanner {
    /// `n_fields`: as many as the header has. A field may be wanted once.
    pub fn new(delimiter: u8, n_fields: usize, wanted: Vec<Wanted>) -> Result<Self> {
        if wanted.is_empty() || wanted.iter().any(|&(field, _)| field >= n_fields) {
            return Err(Error::InvalidParameter(format!(
                "the wanted fields must lie among the {n_fields} of the header."
            )));
        }
        if matches!(delimiter, b'"' | b'\r' | b'\n') {
            return Err(Error::InvalidParameter("the delimiter can be no quote and no line end.".into()));
        }
        Ok(Self { delimiter, n_fields, wanted, ..Self::default() })
    }

    /// Scans all rows that are complete with this block, on the threads of the current pool.
    pub fn feed(&mut self, block: &[u8], cancel: &Cancel) -> Result<()> {
        if self.tail.is_empty() {
            let used = self.scan(block, false, cancel)?;
            self.tail.extend_from_slice(&block[used..]);
        } else {
            // The row that the last block left open is finished by itself, so that this block need not be moved.
            let mut text = std::mem::take(&mut self.tail);
            let mut rest = block;
            while !text.is_empty() && !rest.is_empty() {
                let line = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
                // Within quotes there may be many line ends; take more each time.
                let taken = line.max(text.len() / 2).min(rest.len());
                text.extend_from_slice(&rest[..taken]);
                rest = &rest[taken..];
                let used = self.scan(&text, false, cancel)?;
                text.drain(..used);
            }
            let used = if text.is_empty() { self.scan(rest, false, cancel)? } else { 0 };
            text.extend_from_slice(&rest[used..]);
            self.tail = text;
        }
        if self.tail.len() > MAX_ROW_BYTES {
            return Err(unclosed());
        }
        Ok(())
    }

    /// Complete rows so far; the one after them is where an error stands.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Scans the complete rows of `text` and tells how many bytes they took.
    fn scan(&mut self, text: &[u8], is_last: bool, cancel: &Cancel) -> Result<usize> {
        let complete =
            if is_last { text.len() } else { text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1) };
        let body = &text[..complete];
        let n_pieces = (body.len() / MIN_PIECE_BYTES).clamp(1, rayon::current_num_threads());
        while self.lanes.len() < n_pieces {
            self.lanes.push(self.wanted.iter().map(|_| Words::default()).collect());
        }
        let mut starts = vec![0];
        for piece in 1..n_pieces {
            let from = (body.len() / n_pieces * piece).max(starts[piece - 1]);
            starts.push(body[from..].iter().position(|&byte| byte == b'\n').map_or(body.len(), |at| from + at + 1));
        }
        let bounds: Vec<(usize, usize)> =
            (0..n_pieces).map(|piece| (starts[piece], starts.get(piece + 1).copied().unwrap_or(body.len()))).collect();
        let (delimiter, n_fields, wanted) = (self.delimiter, self.n_fields, &self.wanted);
        let mut pieces: Vec<Piece> = self
            .lanes
            .par_iter_mut()
            .zip(bounds)
            .enumerate()
            .map(|(lane, (words, (start, limit)))| {
                let mut reader = Reader { body, delimiter, n_fields, wanted, words, is_last, lane, cancel };
                reader.rows(start, limit)
            })
            .collect();
        if let Some(wrong) = (1..n_pieces).find(|&piece| pieces[piece - 1].end != starts[piece]) {
            pieces.truncate(wrong);
            let start = pieces[wrong - 1].end;
            let mut reader =
                Reader { body, delimiter, n_fields, wanted, words: &mut self.lanes[0], is_last, lane: 0, cancel };
            pieces.push(reader.rows(start, body.len()));
        }
        cancel.check()?;
        let used = pieces.last().map_or(0, |piece| piece.end);
        self.rows += pieces.iter().map(|piece| piece.rows).sum::<usize>();
        if self.rows > i32::MAX as usize {
            return Err(Error::InvalidData(format!("more than {} rows; read the table in parts.", i32::MAX)));
        }
        self.pieces.extend(pieces);
        Ok(used)
    }

    /// The table, once all blocks were fed.
    pub fn finish(mut self, cancel: &Cancel) -> Result<Table> {
        let text = std::mem::take(&mut self.tail);
        if self.scan(&text, true, cancel)? < text.len() {
            return Err(unclosed());
        }
        cancel.check()?;
        let mut table = Table { rows: self.rows, ..Table::default() };
        let mut first = 0;
        for piece in &self.pieces {
            table.long.extend(piece.long.iter().map(|&row| first + i64::from(row)));
            table.blank.extend(piece.blank.iter().map(|&row| first + i64::from(row)));
            first += piece.rows as i64;
        }
        let (lanes, pieces, wanted) = (&self.lanes, &mut self.pieces, &self.wanted);
        let mut by_column: Vec<Vec<(usize, usize, Raw)>> = wanted.iter().map(|_| Vec::new()).collect();
        for piece in pieces {
            for (column, raw) in std::mem::take(&mut piece.columns).into_iter().enumerate() {
                by_column[column].push((piece.lane, piece.rows, raw));
            }
        }
        table.columns = by_column
            .into_par_iter()
            .enumerate()
            .map(|(at, parts)| {
                let words: Vec<&Words> = lanes.iter().map(|lane| &lane[at]).collect();
                column(wanted[at].1, &words, parts, cancel)
            })
            .collect();
        // A column that was left off in the middle is not handed out.
        cancel.check()?;
        Ok(table)
    }
}

fn unclosed() -> Error {
    Error::InvalidData("a field begins with a quote that is never closed.".into())
}

/// One column of all pieces: dictionaries merged, texts that occur sorted, codes renumbered.
fn column(kind: Kind, lanes: &[&Words], parts: Vec<(usize, usize, Raw)>, cancel: &Cancel) -> Column {
    // Texts of rows that were scanned a second time may stand in a dictionary without standing in the table.
    let mut occurs: Vec<Vec<bool>> = lanes.iter().map(|words| vec![false; words.len()]).collect();
    for (lane, _, raw) in &parts {
        if cancel.is_cancelled() {
            return Column::default();
        }
        for &code in raw.codes.iter().chain(raw.odd.iter().map(|(_, code)| code)) {
            occurs[*lane][code as usize] = true;
        }
    }
    let mut sorted: Vec<(&[u8], usize, u32)> = Vec::new();
    for (lane, words) in lanes.iter().enumerate() {
        let used = (0..words.len() as u32).filter(|&code| occurs[lane][code as usize]);
        sorted.extend(used.map(|code| (words.get(code).unwrap_or_default(), lane, code)));
    }
    sorted.sort_unstable();
    let mut renumbered: Vec<Vec<i32>> = lanes.iter().map(|words| vec![-1; words.len()]).collect();
    let mut result = Column { offsets: vec![0], ..Column::default() };
    let mut previous: Option<&[u8]> = None;
    for (text, lane, code) in sorted {
        if previous != Some(text) {
            result.texts.extend_from_slice(text);
            result.texts.push(b'\n');
            result.offsets.push(result.texts.len() as i64);
            previous = Some(text);
        }
        renumbered[lane][code as usize] = result.offsets.len() as i32 - 2;
    }
    let rows = parts.iter().map(|(_, rows, _)| rows).sum();
    match kind {
        Kind::Text => result.codes.reserve_exact(rows),
        Kind::Number => result.numbers.reserve_exact(rows),
        Kind::Moment => result.seconds.reserve_exact(rows),
    }
    let mut first = 0;
    for (lane, rows, raw) in parts {
        if cancel.is_cancelled() {
            return Column::default();
        }
        let table = &renumbered[lane];
        result.codes.extend(raw.codes.iter().map(|&code| table[code as usize]));
        result.numbers.extend_from_slice(&raw.numbers);
        result.seconds.extend_from_slice(&raw.seconds);
        result.odd_rows.extend(raw.odd.iter().map(|&(row, _)| first + i64::from(row)));
        result.odd_codes.extend(raw.odd.iter().map(|&(_, code)| table[code as usize]));
        first += rows as i64;
    }
    result
}

/// A field of the row being scanned: a range of the text, or of the scratch buffer where quotes had to be resolved.
#[derive(Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    in_scratch: bool,
}

const EMPTY: Field = Field { start: 0, end: 0, in_scratch: false };

struct Reader<'a> {
    body: &'a [u8],
    delimiter: u8,
    n_fields: usize,
    wanted: &'a [Wanted],
    words: &'a mut [Words],
    is_last: bool,
    lane: usize,
    cancel: &'a Cancel,
}

impl Reader<'_> {
    /// Scans rows from `start` on until one ends at `limit` or beyond, or is not complete.
    fn rows(&mut self, start: usize, limit: usize) -> Piece {
        let mut piece = Piece { lane: self.lane, end: start, ..Piece::default() };
        piece.columns.resize_with(self.wanted.len(), Raw::default);
        // Which wanted column a field is, if any.
        let mut column_of = vec![usize::MAX; self.n_fields];
        for (column, &(field, _)) in self.wanted.iter().enumerate() {
            column_of[field] = column;
        }
        let mut fields = vec![EMPTY; self.wanted.len()];
        let mut scratch = Vec::new();
        let mut day = fields::Day::default();
        // 16,384 rows take some 2 ms.
        while piece.end < limit && (!piece.rows.is_multiple_of(16_384) || !self.cancel.is_cancelled()) {
            scratch.clear();
            fields.fill(EMPTY);
            let Some((end, n_fields, blank)) = self.row(piece.end, &column_of, &mut fields, &mut scratch) else {
                break;
            };
            let row = piece.rows as u32;
            if blank {
                piece.blank.push(row);
            } else if n_fields > self.n_fields {
                piece.long.push(row);
            }
            for (column, raw) in piece.columns.iter_mut().enumerate() {
                let Field { start, end, in_scratch } = fields[column];
                let text = if in_scratch { &scratch[start..end] } else { &self.body[start..end] };
                let words = &mut self.words[column];
                match self.wanted[column].1 {
                    Kind::Text => raw.codes.push(words.number(text)),
                    Kind::Number => raw.numbers.push(fields::number(text).unwrap_or_else(|| {
                        raw.odd.push((row, words.number(text)));
                        f64::NAN
                    })),
                    Kind::Moment => raw.seconds.push(fields::seconds(text, &mut day).unwrap_or_else(|| {
                        raw.odd.push((row, words.number(text)));
                        i64::MIN
                    })),
                }
            }
            piece.rows += 1;
            piece.end = end;
        }
        piece
    }

    /// One row from `at` on: where the next begins, how many fields it has up to the last that is not empty, and
    /// whether it is a blank line. `None` if it is not complete.
    fn row(
        &self,
        mut at: usize,
        column_of: &[usize],
        fields: &mut [Field],
        scratch: &mut Vec<u8>,
    ) -> Option<(usize, usize, bool)> {
        let body = self.body;
        let (mut number, mut filled) = (0, 0);
        loop {
            let column = column_of.get(number).copied().unwrap_or(usize::MAX);
            let (field, stop) = if body.get(at) == Some(&b'"') {
                self.quoted(at, scratch)?
            } else {
                let stop = next_stop(body, at, self.delimiter);
                (Field { start: at, end: stop, in_scratch: false }, stop)
            };
            number += 1;
            let ends = body.get(stop) != Some(&self.delimiter);
            if ends && stop == body.len() && !self.is_last {
                return None;
            }
            let mut field = field;
            if ends && !field.in_scratch && field.end > field.start && body[field.end - 1] == b'\r' && stop == field.end
            {
                field.end -= 1;
            }
            if field.end > field.start {
                filled = number;
            }
            if column != usize::MAX {
                fields[column] = field;
            }
            if ends {
                return Some(((stop + 1).min(body.len()), filled, number == 1 && filled == 0));
            }
            at = stop + 1;
        }
    }

    /// A field that begins with a quote, and where the delimiter or line end after it stands.
    fn quoted(&self, at: usize, scratch: &mut Vec<u8>) -> Option<(Field, usize)> {
        let body = self.body;
        let close = |from: usize| body[from..].iter().position(|&byte| byte == b'"').map(|n| from + n);
        let first = close(at + 1)?;
        let after = first + 1;
        if after == body.len() || matches!(body[after], b'\n' | b'\r') || body[after] == self.delimiter {
            let stop = next_stop(body, after, self.delimiter);
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
        let stop = next_stop(body, end + 1, self.delimiter);
        let rest = &body[end + 1..stop];
        scratch.extend_from_slice(rest.strip_suffix(b"\r").unwrap_or(rest));
        Some((Field { start: from, end: scratch.len(), in_scratch: true }, stop))
    }
}

/// Where the next delimiter or line feed stands, or the end: eight bytes at a time.
#[inline]
fn next_stop(body: &[u8], mut at: usize, delimiter: u8) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let (delimiters, feeds) = (ONES * u64::from(delimiter), ONES * u64::from(b'\n'));
    while let Some(chunk) = body[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        // A byte of x is zero where the text has the byte sought; the lowest such byte is marked exactly.
        let marked = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
        let found = marked(word ^ delimiters) | marked(word ^ feeds);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    body[at..].iter().position(|&byte| byte == delimiter || byte == b'\n').map_or(body.len(), |n| at + n)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Wanted; 3] = [(0, Kind::Text), (1, Kind::Number), (2, Kind::Moment)];

    fn scan(text: &[u8], block: usize, threads: usize) -> Result<Table> {
        let pool = crate::runtime::pool::get(Some(threads)).unwrap();
        pool.install(|| {
            let mut scanner = Scanner::new(b',', 3, KINDS.to_vec())?;
            for part in text.chunks(block.max(1)) {
                scanner.feed(part, &Cancel::default())?;
            }
            scanner.finish(&Cancel::default())
        })
    }

    /// The specification: one character at a time, rows of owned fields.
    fn naive(text: &[u8]) -> Option<Vec<Vec<Vec<u8>>>> {
        let (mut rows, mut row, mut at) = (Vec::new(), Vec::new(), 0);
        while at < text.len() || !row.is_empty() {
            let mut field = Vec::new();
            let mut quoted = false;
            if text.get(at) == Some(&b'"') {
                quoted = true;
                at += 1;
                loop {
                    match text.get(at)? {
                        b'"' if text.get(at + 1) == Some(&b'"') => {
                            field.push(b'"');
                            at += 2;
                        }
                        b'"' => break at += 1,
                        &byte => {
                            field.push(byte);
                            at += 1;
                        }
                    }
                }
            }
            let from = field.len();
            while at < text.len() && text[at] != b',' && text[at] != b'\n' {
                field.push(text[at]);
                at += 1;
            }
            let ends = text.get(at) != Some(&b',');
            if field.len() > from && field.last() == Some(&b'\r') && (ends || quoted) {
                field.pop();
            }
            row.push(field);
            at += 1;
            if ends {
                rows.push(std::mem::take(&mut row));
            }
        }
        Some(rows)
    }

    fn text_of(column: &Column, code: i32) -> &[u8] {
        &column.texts[column.offsets[code as usize] as usize..column.offsets[code as usize + 1] as usize - 1]
    }

    fn agrees_with_naive(text: &[u8], table: &Table, rows: &[Vec<Vec<u8>>]) {
        assert_eq!(table.rows, rows.len(), "{:?}", String::from_utf8_lossy(text));
        let odd = |column: &Column, row: usize| column.odd_rows.iter().position(|&r| r == row as i64);
        for (at, row) in rows.iter().enumerate() {
            let field = |n: usize| row.get(n).map_or(&b""[..], Vec::as_slice);
            assert_eq!(text_of(&table.columns[0], table.columns[0].codes[at]), field(0));
            let numbers = &table.columns[1];
            match fields::number(field(1)) {
                Some(value) => assert_eq!(value.to_bits(), numbers.numbers[at].to_bits()),
                None => assert_eq!(text_of(numbers, numbers.odd_codes[odd(numbers, at).unwrap()]), field(1)),
            }
            let moments = &table.columns[2];
            match fields::seconds(field(2), &mut fields::Day::default()) {
                Some(value) => assert_eq!(value, moments.seconds[at]),
                None => assert_eq!(text_of(moments, moments.odd_codes[odd(moments, at).unwrap()]), field(2)),
            }
            let filled = row.iter().rposition(|field| !field.is_empty()).map_or(0, |n| n + 1);
            assert_eq!(table.long.contains(&(at as i64)), filled > 3);
            assert_eq!(table.blank.contains(&(at as i64)), row.len() == 1 && filled == 0);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn any_text_is_scanned_as_the_specification_does(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "bc", "12", "-3", "1.5", "2020-01-02", "2020-01-02 03:04:05", ",", ",", ",", "\n", "\n", "\r\n", "\"", "\"\"", "é", " ", "\r",
            ]), 0..60),
            block in 1usize..40,
        ) {
            let text = parts.concat().into_bytes();
            match (naive(&text), scan(&text, block, 2)) {
                (Some(rows), Ok(table)) => agrees_with_naive(&text, &table, &rows),
                (None, Err(_)) => {}
                (rows, table) => prop_assert!(false, "{rows:?} {table:?}"),
            }
        }
    }

    /// Several pieces per block, line ends within quotes among them.
    fn large() -> Vec<u8> {
        let mut text = Vec::new();
        for row in 0..60_000u64 {
            let id = row.wrapping_mul(2_654_435_761) % 5000;
            let name = if row % 7 == 0 { format!("\"u{id}\nline, {row}\"") } else { format!("u{id}") };
            text.extend_from_slice(format!("{name},{},2020-01-0{} 10:00:00\r\n", row % 90, 1 + row % 9).as_bytes());
        }
        text
    }

    #[test]
    fn threads_and_blocks_do_not_change_the_table() {
        let text = large();
        let one = scan(&text, text.len(), 1).unwrap();
        agrees_with_naive(&text, &one, &naive(&text).unwrap());
        for threads in [2, 3, 8] {
            for block in [text.len(), 700_001, 1 << 20] {
                assert_eq!(scan(&text, block, threads).unwrap(), one, "{threads} threads, blocks of {block}");
            }
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error() {
        assert!(scan(b"a,1,\n\"b,2,\nc,3,\n", 5, 1).is_err());
    }
}
