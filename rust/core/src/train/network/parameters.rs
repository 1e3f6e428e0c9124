//! The parameters of the network, with the optimizer's state and the gradient of the last batch.

use std::ops::{Deref, DerefMut, Range};

use super::options::{Head, Options};
use crate::runtime::rng::Stream;
use crate::runtime::simd::huge_pages::{HUGE_PAGE, advise_whole_pages};
use crate::runtime::simd::vector::ln;
use crate::{Error, Result};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Numbers aligned to a cache line: a row of 64 is then four lines and not five, which made histories a seventh faster
/// (2026-11-25). Large tables lie on huge pages.
#[derive(Debug, Default)]
pub struct CacheAligned {
    numbers: Vec<f32>,
    range: Range<usize>,
}

impl From<&[f32]> for CacheAligned {
    fn from(values: &[f32]) -> Self {
        let large = size_of_val(values) >= HUGE_PAGE / 2;
        let unit = if large { HUGE_PAGE } else { LINE } / size_of::<f32>();
        // What lies before the start is never written to, and so takes no memory.
        let mut numbers = vec![0.0f32; values.len().next_multiple_of(unit) + unit];
        let from = numbers.as_ptr().align_offset(unit * size_of::<f32>()).min(unit);
        if large {
            advise_whole_pages(&mut numbers);
        }
        let range = from..from + values.len();
        numbers[range.clone()].copy_from_slice(values);
        Self { numbers, range }
    }
}

impl Clone for CacheAligned {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl Deref for CacheAligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[self.range.clone()]
    }
}

impl DerefMut for CacheAligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[self.range.clone()]
    }
}

/// One parameter: rows of numbers.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its name in `ancf.reference`.
    pub name: &'static str,
    /// Numbers in a row; 0 for a plain list of numbers.
    pub columns: usize,
    /// The numbers; none where the options leave this parameter out.
    pub values: CacheAligned,
    /// Updated lazily: one row for each user or item, and a step leaves rows without a gradient as they are.
    pub lazy: bool,
    /// First moments of Adam.
    pub(super) first: CacheAligned,
    /// Second moments of Adam, or Adagrad's sums of squares.
    pub(super) second: CacheAligned,
    pub(super) gradient: Gradient,
}

/// The gradient of some rows.
#[derive(Clone, Debug, Default)]
pub struct Gradient {
    /// Which, ascending; all rows of tables that are not lazy.
    pub rows: Vec<u32>,
    /// Their numbers, row after row.
    pub values: Vec<f32>,
}

impl Table {
    fn new(name: &'static str, columns: usize, lazy: bool, values: &[f32]) -> Self {
        let zeros = CacheAligned::from(&*vec![0.0; values.len()]);
        let (values, first, second) = (CacheAligned::from(values), zeros.clone(), zeros);
        Self { name, columns, values, lazy, first, second, gradient: Gradient::default() }
    }

    /// Whether the options have this parameter.
    pub fn exists(&self) -> bool {
        !self.values.is_empty()
    }

    /// Numbers in a row, at least 1.
    pub fn width(&self) -> usize {
        self.columns.max(1)
    }

    /// The gradient of the last batch in the shape of the values.
    pub fn dense_gradient(&self) -> Vec<f32> {
        if !self.lazy {
            return self.gradient.values.clone();
        }
        let width = self.width();
        let mut dense = vec![0.0; self.values.len()];
        for (at, &row) in self.gradient.rows.iter().enumerate() {
            dense[row as usize * width..][..width].copy_from_slice(&self.gradient.values[at * width..][..width]);
        }
        dense
    }

    /// A gradient of zeros for a table that is not lazy.
    pub(super) fn clear(&mut self) {
        self.gradient.values.clear();
        self.gradient.values.resize(self.values.len(), 0.0);
    }
}

/// All parameters; those that the options leave out hold no numbers.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub user_factors: Table,
    pub item_factors: Table,
    pub salience: Table,
    pub log_decay: Table,
    pub query: Table,
    pub key: Table,
    pub sharpness: Table,
    pub layer: Table,
    pub layer_bias: Table,
    pub user_bias: Table,
    pub item_bias: Table,
    pub bias: Table,
    changes: u64,
}

impl Parameters {
    /// Initial parameters: small random vectors, everything else neutral.
    pub fn new(n_users: usize, n_items: usize, options: &Options) -> Self {
        let d = options.factors;
        let random = |purpose: u64, n: usize, scale: f32| -> Vec<f32> {
            let draws = Stream::new(options.seed, purpose);
            (0..n).map(|at| scale * draws.normal(at as u64)).collect()
        };
        let when = |exists: bool, values: Vec<f32>| if exists { values } else { Vec::new() };
        let is_learned = options.attention_kind.is_learned();
        let is_ranking_loss = options.loss.is_ranking_loss();
        let identity = (0..d * d).map(|at| f32::from(u8::from(at % (d + 1) == 0))).collect();
        let decay: Vec<f32> =
            options.half_life.map(|days| ln(std::f64::consts::LN_2 / f64::from(days)) as f32).into_iter().collect();
        let layer = match options.head {
            Head::Concat => random(purpose::LAYER, 2 * d, 1.0 / ((2 * d) as f32).sqrt()),
            _ => vec![1.0; d],
        };
        let has_sharpness = matches!(options.head, Head::Factor | Head::Batch);
        let users = when(options.user_factors, random(purpose::USERS, n_users * d, options.init_scale));
        let biased = options.biases;
        Self {
            user_factors: Table::new("user_factors", d, true, &users),
            item_factors: Table::new("item_factors", d, true, &random(purpose::ITEMS, n_items * d, options.init_scale)),
            salience: Table::new("salience", 0, true, &when(is_learned, vec![0.0; n_items])),
            log_decay: Table::new("log_decay", 0, false, &when(is_learned, decay)),
            query: Table::new("query", d, false, &when(options.has_queries(), vec![0.0; d * d])),
            key: Table::new("key", d, false, &when(options.has_queries(), identity)),
            sharpness: Table::new("sharpness", 0, false, &when(has_sharpness, vec![1.0; d])),
            layer: Table::new("layer", 0, false, &when(options.sigmoid, layer)),
            layer_bias: Table::new("layer_bias", 0, false, &when(options.sigmoid && !is_ranking_loss, vec![0.0])),
            user_bias: Table::new("user_bias", 0, true, &when(biased && !is_ranking_loss, vec![0.0; n_users])),
            item_bias: Table::new("item_bias", 0, true, &when(biased, vec![0.0; n_items])),
            bias: Table::new("bias", 0, false, &when(biased && !is_ranking_loss, vec![0.0])),
            changes: 0,
        }
    }

    /// How often the numbers may have changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn all(&self) -> [&Table; 12] {
        let p = self;
        [
            &p.user_factors,
            &p.item_factors,
            &p.salience,
            &p.log_decay,
            &p.query,
            &p.key,
            &p.sharpness,
            &p.layer,
            &p.layer_bias,
            &p.user_bias,
            &p.item_bias,
            &p.bias,
        ]
    }

    fn all_mut(&mut self) -> [&mut Table; 12] {
        let p = self;
        [
            &mut p.user_factors,
            &mut p.item_factors,
            &mut p.salience,
            &mut p.log_decay,
            &mut p.query,
            &mut p.key,
            &mut p.sharpness,
            &mut p.layer,
            &mut p.layer_bias,
            &mut p.user_bias,
            &mut p.item_bias,
            &mut p.bias,
        ]
    }

    /// Those that the options have.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.all().into_iter().filter(|table| table.exists())
    }

    /// The same, mutably.
    pub fn tables_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.changes += 1;
        self.all_mut().into_iter().filter(|table| table.exists())
    }

    /// Replaces the numbers of a parameter.
    pub fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let names: Vec<_> = self.tables().map(|table| table.name).collect();
        let Some(table) = self.tables_mut().find(|table| table.name == name) else {
            let names = names.join(", ");
            return Err(Error::InvalidParameter(format!("there is no parameter {name:?}; this model has {names}.")));
        };
        if values.len() != table.values.len() {
            let (got, expected) = (values.len(), table.values.len());
            return Err(Error::InvalidData(format!("{name}: {got} numbers were given; it has {expected}.")));
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::InvalidData(format!("{name}: number {at} is {}; all must be finite.", values[at])));
        }
        table.values.copy_from_slice(values);
        Ok(())
    }

    /// The name of the first parameter with a number that is not finite.
    pub fn first_not_finite(&self) -> Option<&'static str> {
        // A sum is not finite as soon as one of its terms is not, unless it overflows, which is as bad.
        self.tables()
            .find(|table| !table.values.iter().map(|x| x * 0.0).sum::<f32>().is_finite())
            .map(|table| table.name)
    }
}

/// Streams of random numbers, by purpose.
pub(super) mod purpose {
    pub const USERS: u64 = 11;
    pub const ITEMS: u64 = 12;
    pub const LAYER: u64 = 13;
    pub const ORDER: u64 = 14;
    pub const NEGATIVES: u64 = 15;
    pub const VALIDATION: u64 = 16;
    pub const DROPOUT: u64 = 17;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_to_a_cache_line_and_many_to_a_huge_page() {
        for n in [0, 1, 7, 16, 1000, HUGE_PAGE / 8 - 1, HUGE_PAGE / 8, HUGE_PAGE / 4 + 1, 1_000_003] {
            let values: Vec<f32> = (0..n).map(|at| at as f32).collect();
            let mut aligned = CacheAligned::from(&*values);
            let unit = if n < HUGE_PAGE / 8 { LINE } else { HUGE_PAGE };
            assert!(aligned.as_ptr().addr().is_multiple_of(unit), "{n}");
            assert_eq!(&*aligned, &*values);
            assert_eq!(&*aligned.clone(), &*values);
            aligned.fill(2.0);
            assert!(aligned.iter().all(|&x| x == 2.0) && aligned.len() == n);
        }
    }
}
