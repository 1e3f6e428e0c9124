//! What the columns of a text table hold, and the caller's arrays that take their values.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ids and names: codes into the distinct texts.
    Text,
    /// Quantities: f64.
    Number,
    /// ISO 8601 dates with or without a time of day: seconds since 1970.
    Timestamp,
}

/// A column to read: the position of its field in a row, and what it holds.
pub type WantedColumn = (usize, Kind);

/// The caller's array for a column, with room for all rows there are so far.
#[derive(Debug)]
pub enum Target<'a> {
    /// For texts: once finished, the position of each row's text in [`super::Column::texts`].
    Codes(&'a mut [i32]),
    /// For numbers: NaN where the field is none.
    Numbers(&'a mut [f64]),
    /// For timestamps: `i64::MIN` where the field is none.
    Seconds(&'a mut [i64]),
}
