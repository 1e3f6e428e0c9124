//! Delimited text to columns, block after block.
//!
//! Rows follow RFC 4180 as spreadsheets write it: fields between delimiters, a field that begins with `"` runs to the
//! closing quote and may hold delimiters, line ends and doubled quotes; elsewhere a quote is a plain character; lines
//! end with LF or CR LF. A line that begins with the comment character, if there is one, is a row without fields. Every line is one row of every column, whatever is wrong with it: short rows have empty
//! fields, rows with more fields than the header and blank lines are listed, and so are fields that cannot be parsed as what
//! their column holds. Nothing is dropped here.
//!
//! A block is cut into one piece per thread at line ends. A line end inside quotes makes such a cut wrong; so each piece
//! must end exactly where the next began, and from the first that does not, the rest is scanned again in one piece.
//! The result does not depend on the cuts: dictionaries are merged and sorted at the end.
//!
//! The values of a row go into the caller's arrays, one per column, as soon as its block is scanned; the pieces' own memory
//! is reused for the next block. Fresh memory costs more than the work done in it (a page of 4 KiB takes about as long as
//! scanning 30 rows), and the caller knows how to get it in huge pages.

use rayon::prelude::*;

use super::dictionary::{Column, Span, merge_column};
use super::interner::Interner;
use super::rows::{Piece, RowReader};
use super::schema::{Target, WantedColumn};
use crate::runtime::cancel::Cancel;
use crate::{Error, Result};

/// A row longer than this is a quote that was never closed.
const MAX_ROW_BYTES: usize = 1 << 24;

/// Pieces smaller than this are not worth another thread.
const MIN_PIECE_BYTES: usize = 1 << 18;

/// Everything about the table except the values of its rows.
#[derive(Debug, Default, PartialEq)]
pub struct Table {
    /// Number of rows.
    pub rows: usize,
    /// In the order of the wanted columns.
    pub columns: Vec<Column>,
    /// Rows with more fields than the header has (empty ones at the end do not count).
    pub long: Vec<i64>,
    /// Rows of blank lines.
    pub blank: Vec<i64>,
    /// Rows of comments.
    pub comments: Vec<i64>,
}

/// Scans the blocks of a text in turn.
#[derive(Debug, Default)]
pub struct Scanner {
    delimiter: u8,
    n_fields: usize,
    comment: Option<u8>,
    wanted: Vec<WantedColumn>,
    /// The dictionaries per worker (the piece of a block) and column.
    interners: Vec<Vec<Interner>>,
    /// Scanned, and not stored yet.
    pending: Vec<Piece>,
    /// Stored; their memory is reused.
    recycled: Vec<Piece>,
    /// Which dictionaries the stored rows refer to.
    spans: Vec<Span>,
    /// Unparsed fields of the stored rows per column: row, worker, code of the text.
    unparsed: Vec<Vec<(i64, usize, u32)>>,
    long: Vec<i64>,
    blank: Vec<i64>,
    comments: Vec<i64>,
    /// Rows that are complete, and those of them that are stored.
    rows: usize,
    stored: usize,
    /// Whether there are codes for texts that may not occur in the table.
    rescanned: bool,
    /// The bytes of a row that is not complete yet.
    tail: Vec<u8>,
}

impl Scanner {
    /// `n_fields`: as many as the header has. A field may be wanted once. `comment`: what a comment begins with.
    pub fn new(delimiter: u8, n_fields: usize, comment: Option<u8>, wanted: Vec<WantedColumn>) -> Result<Self> {
        if wanted.is_empty() || wanted.iter().any(|&(field, _)| field >= n_fields) {
            return Err(Error::InvalidParameter(format!(
                "the wanted fields must lie among the {n_fields} of the header."
            )));
        }
        if matches!(delimiter, b'"' | b'\r' | b'\n') {
            return Err(Error::InvalidParameter("the delimiter can be no quote and no line end.".into()));
        }
        let unparsed = wanted.iter().map(|_| Vec::new()).collect();
        Ok(Self { delimiter, n_fields, comment, wanted, unparsed, ..Self::default() })
    }

    /// Scans all rows that are complete with this block, on the threads of the current pool. The rows are pending until they
    /// are stored.
    pub fn feed(&mut self, block: &[u8], cancel: &Cancel) -> Result<()> {
        if self.tail.is_empty() {
            let used = self.scan(block, false, cancel)?;
            self.tail.extend_from_slice(&block[used..]);
        } else {
            // The row that the last block left incomplete is completed first, so that this block need not be copied.
            let mut text = std::mem::take(&mut self.tail);
            let mut rest = block;
            while !text.is_empty() && !rest.is_empty() {
                let line = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
                // Within quotes there may be many line ends; append more each time.
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

    /// Scans what is left once all blocks were fed.
    pub fn end(&mut self, cancel: &Cancel) -> Result<()> {
        let text = std::mem::take(&mut self.tail);
        if self.scan(&text, true, cancel)? < text.len() {
            return Err(unclosed());
        }
        Ok(())
    }

    /// The complete rows as a scanner of their own, to be finished; what follows them goes on here, from row 0.
    #[must_use]
    pub fn take_rows(&mut self) -> Self {
        let rest = Self {
            delimiter: self.delimiter,
            n_fields: self.n_fields,
            comment: self.comment,
            wanted: self.wanted.clone(),
            unparsed: self.wanted.iter().map(|_| Vec::new()).collect(),
            tail: std::mem::take(&mut self.tail),
            ..Self::default()
        };
        std::mem::replace(self, rest)
    }

    /// Complete rows so far; an error is in the one after them.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that are in the caller's arrays.
    pub fn stored(&self) -> usize {
        self.stored
    }

    /// Scans the complete rows of `text` and returns their number of bytes.
    fn scan(&mut self, text: &[u8], is_last: bool, cancel: &Cancel) -> Result<usize> {
        let complete =
            if is_last { text.len() } else { text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1) };
        let body = &text[..complete];
        let n_pieces = (body.len() / MIN_PIECE_BYTES).clamp(1, rayon::current_num_threads());
        while self.interners.len() < n_pieces {
            self.interners.push(self.wanted.iter().map(|_| Interner::default()).collect());
        }
        let mut starts = vec![0];
        for piece in 1..n_pieces {
            let from = (body.len() / n_pieces * piece).max(starts[piece - 1]);
            starts.push(body[from..].iter().position(|&byte| byte == b'\n').map_or(body.len(), |at| from + at + 1));
        }
        let ends = starts[1..].iter().copied().chain([body.len()]);
        let tasks: Vec<(usize, usize, Piece)> = starts
            .iter()
            .zip(ends)
            .enumerate()
            .map(|(worker, (&start, limit))| {
                (start, limit, Piece { worker, ..self.recycled.pop().unwrap_or_default() })
            })
            .collect();
        let (delimiter, n_fields, comment, wanted) = (self.delimiter, self.n_fields, self.comment, &self.wanted);
        let mut pieces: Vec<Piece> = self
            .interners
            .par_iter_mut()
            .zip(tasks)
            .map(|(interners, (start, limit, piece))| {
                RowReader { body, delimiter, n_fields, comment, wanted, interners, is_last, cancel }
                    .rows(start, limit, piece)
            })
            .collect();
        if let Some(wrong) = (1..n_pieces).find(|&piece| pieces[piece - 1].end != starts[piece]) {
            self.rescanned = true;
            let again = pieces.drain(wrong..).next().unwrap_or_default().cleared();
            let start = pieces[wrong - 1].end;
            let interners = &mut self.interners[0];
            let mut reader = RowReader { body, delimiter, n_fields, comment, wanted, interners, is_last, cancel };
            pieces.push(reader.rows(start, body.len(), Piece { worker: 0, ..again }));
        }
        cancel.check()?;
        let used = pieces.last().map_or(0, |piece| piece.end);
        self.rows += pieces.iter().map(|piece| piece.rows).sum::<usize>();
        if self.rows > i32::MAX as usize {
            return Err(Error::InvalidData(format!("more than {} rows; read the table in parts.", i32::MAX)));
        }
        self.pending.extend(pieces);
        Ok(used)
    }

    /// Copies the pending rows into the targets. Each target is of its column's kind and has room for [`Self::rows`].
    pub fn store(&mut self, targets: &mut [Target<'_>]) {
        let (pending, first) = (&self.pending, self.stored);
        targets.par_iter_mut().zip(&mut self.unparsed).enumerate().for_each(|(column, (target, unparsed))| {
            let mut row = first;
            for piece in pending {
                let raw = &piece.columns[column];
                match target {
                    Target::Codes(codes) => codes[row..row + piece.rows].copy_from_slice(&raw.codes),
                    Target::Numbers(numbers) => numbers[row..row + piece.rows].copy_from_slice(&raw.numbers),
                    Target::Seconds(seconds) => seconds[row..row + piece.rows].copy_from_slice(&raw.seconds),
                }
                unparsed
                    .extend(raw.unparsed.iter().map(|&(at, code)| (row as i64 + i64::from(at), piece.worker, code)));
                row += piece.rows;
            }
        });
        for piece in std::mem::take(&mut self.pending) {
            let first = self.stored as i64;
            self.long.extend(piece.long.iter().map(|&row| first + i64::from(row)));
            self.blank.extend(piece.blank.iter().map(|&row| first + i64::from(row)));
            self.comments.extend(piece.comments.iter().map(|&row| first + i64::from(row)));
            match self.spans.last_mut() {
                Some(span) if span.worker == piece.worker => span.rows += piece.rows,
                _ => self.spans.push(Span { worker: piece.worker, rows: piece.rows }),
            }
            self.stored += piece.rows;
            self.recycled.push(piece.cleared());
        }
    }

    /// Everything except the values, once all rows are stored. The codes of texts become final.
    pub fn finish(self, targets: &mut [Target<'_>], cancel: &Cancel) -> Result<Table> {
        let (interners, spans, rescanned) = (&self.interners, &self.spans, self.rescanned);
        let columns = targets
            .par_iter_mut()
            .zip(self.unparsed)
            .enumerate()
            .map(|(at, (target, unparsed))| {
                let interners: Vec<&Interner> = interners.iter().map(|worker| &worker[at]).collect();
                merge_column(&interners, spans, &unparsed, target, rescanned, cancel)
            })
            .collect();
        // A column that was abandoned halfway is not returned.
        cancel.check()?;
        Ok(Table { rows: self.stored, columns, long: self.long, blank: self.blank, comments: self.comments })
    }
}

fn unclosed() -> Error {
    Error::InvalidData("a field begins with a quote that is never closed.".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fields;
    use super::super::schema::Kind;
    use super::*;

    const KINDS: [WantedColumn; 3] = [(0, Kind::Text), (1, Kind::Number), (2, Kind::Timestamp)];

    /// A table with the values of its rows.
    #[derive(Debug, Default, PartialEq)]
    struct Whole {
        table: Table,
        codes: Vec<i32>,
        /// As bits, so that NaN equals itself.
        numbers: Vec<u64>,
        seconds: Vec<i64>,
    }

    fn scan(text: &[u8], block: usize, threads: usize) -> Result<Whole> {
        let pool = crate::runtime::pool::get(Some(threads)).unwrap();
        pool.install(|| {
            let cancel = Cancel::default();
            let mut scanner = Scanner::new(b',', 3, Some(b'#'), KINDS.to_vec())?;
            let n = text.len() + 1;
            let (mut codes, mut numbers, mut seconds) = (vec![-9; n], vec![-9.0; n], vec![-9; n]);
            let mut targets = [Target::Codes(&mut codes), Target::Numbers(&mut numbers), Target::Seconds(&mut seconds)];
            for (at, part) in text.chunks(block.max(1)).enumerate() {
                scanner.feed(part, &cancel)?;
                // Rows may be pending for more than one block.
                if at % 3 != 1 {
                    scanner.store(&mut targets);
                }
            }
            scanner.end(&cancel)?;
            scanner.store(&mut targets);
            assert_eq!(scanner.stored(), scanner.rows());
            let table = scanner.finish(&mut targets, &cancel)?;
            codes.truncate(table.rows);
            seconds.truncate(table.rows);
            let numbers = numbers[..table.rows].iter().map(|number| number.to_bits()).collect();
            Ok(Whole { table, codes, numbers, seconds })
        })
    }

    /// The specification: one character at a time, rows of owned fields; a comment has none.
    fn naive(text: &[u8]) -> Option<Vec<Vec<Vec<u8>>>> {
        let (mut rows, mut row, mut at) = (Vec::new(), Vec::new(), 0);
        while at < text.len() || !row.is_empty() {
            if row.is_empty() && text[at] == b'#' {
                rows.push(Vec::new());
                at += text[at..].iter().position(|&byte| byte == b'\n').unwrap_or(text.len() - at) + 1;
                continue;
            }
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

    fn agrees_with_naive(text: &[u8], whole: &Whole, rows: &[Vec<Vec<u8>>]) {
        let table = &whole.table;
        let ids: std::collections::BTreeSet<&[u8]> =
            rows.iter().map(|row| row.first().map_or(&b""[..], Vec::as_slice)).collect();
        let ids: Vec<u8> = ids.into_iter().flat_map(|id| [id, b"\n"].concat()).collect();
        assert_eq!(table.columns[0].texts, ids, "each id once, ascending");
        assert_eq!(table.rows, rows.len(), "{:?}", String::from_utf8_lossy(text));
        let unparsed = |column: &Column, row: usize| column.unparsed_rows.iter().position(|&r| r == row as i64);
        for (at, row) in rows.iter().enumerate() {
            let field = |n: usize| row.get(n).map_or(&b""[..], Vec::as_slice);
            assert_eq!(text_of(&table.columns[0], whole.codes[at]), field(0));
            let numbers = &table.columns[1];
            match fields::number(field(1)) {
                Some(value) => assert_eq!(value.to_bits(), whole.numbers[at]),
                None => assert_eq!(text_of(numbers, numbers.unparsed_codes[unparsed(numbers, at).unwrap()]), field(1)),
            }
            let timestamps = &table.columns[2];
            match fields::seconds(field(2), &mut fields::LastDay::default()) {
                Some(value) => assert_eq!(value, whole.seconds[at]),
                None => assert_eq!(
                    text_of(timestamps, timestamps.unparsed_codes[unparsed(timestamps, at).unwrap()]),
                    field(2)
                ),
            }
            let filled = row.iter().rposition(|field| !field.is_empty()).map_or(0, |n| n + 1);
            assert_eq!(table.long.contains(&(at as i64)), filled > 3);
            assert_eq!(table.blank.contains(&(at as i64)), row.len() == 1 && filled == 0);
            assert_eq!(table.comments.contains(&(at as i64)), row.is_empty());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn any_text_is_scanned_as_the_specification_does(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "bc", "12", "-3", "1.5", "2020-01-02", "2020-01-02 03:04:05", ",", ",", ",", "\n", "\n", "\r\n", "\"", "\"\"", "é", " ", "\r", "#",
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

    /// Plain rows, and every other kind of row that may occur between them.
    const ROWS: [&str; 14] = [
        "17,3,2020-01-02 03:04:05\n",
        "1048575,-12,2020-01-02 03:04\r\n",
        "1048576,,2020-01-03\n",
        "u007,1.5,\r\n",
        "\"a,\nb\",4,2020-01-02\n",
        "a\"b,4,\"2020-01-02\"\n",
        "9,8,2020-01-02,,\n",
        "9,8,2020-01-02,x\n",
        "9,8\n",
        "\n",
        "\r\n",
        "10,\r,\"\"\n",
        "#1,2,2020-01-02\n",
        "# \",\"\n",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn runs_of_plain_rows_end_where_another_begins(
            runs in prop::collection::vec((0usize..ROWS.len(), prop::sample::select(vec![1usize, 2, 30, 341, 342, 700])), 1..12),
            block in prop::sample::select(vec![61usize, 1000, 9999, 1 << 20]),
        ) {
            let text: String = runs.iter().map(|&(row, times)| ROWS[row].repeat(times)).collect();
            let rows = naive(text.as_bytes()).unwrap();
            agrees_with_naive(text.as_bytes(), &scan(text.as_bytes(), block, 2).unwrap(), &rows);
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
    fn a_table_that_is_taken_in_parts_has_the_rows_of_the_whole() {
        let text = large();
        let rows = naive(&text).unwrap();
        let pool = crate::runtime::pool::get(Some(2)).unwrap();
        pool.install(|| {
            let cancel = Cancel::default();
            let mut scanner = Scanner::new(b',', 3, Some(b'#'), KINDS.to_vec()).unwrap();
            let mut taken = 0;
            let mut take = |mut part: Scanner| {
                let n = part.rows();
                let (mut codes, mut numbers, mut seconds) = (vec![-9; n], vec![-9.0; n], vec![-9; n]);
                let mut targets =
                    [Target::Codes(&mut codes), Target::Numbers(&mut numbers), Target::Seconds(&mut seconds)];
                part.store(&mut targets);
                let table = part.finish(&mut targets, &cancel).unwrap();
                let numbers = numbers.iter().map(|number| number.to_bits()).collect();
                agrees_with_naive(&text, &Whole { table, codes, numbers, seconds }, &rows[taken..taken + n]);
                taken += n;
            };
            for part in text.chunks(300_001) {
                scanner.feed(part, &cancel).unwrap();
                take(scanner.take_rows());
            }
            scanner.end(&cancel).unwrap();
            take(scanner);
            assert_eq!(taken, rows.len());
        });
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error() {
        assert!(scan(b"a,1,\n\"b,2,\nc,3,\n", 5, 1).is_err());
    }
}
