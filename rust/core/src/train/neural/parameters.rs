//! Embeddings and weights, with the moments of Adam.

use super::options::Options;
use super::purpose;
use crate::model::layers::Shape;
use crate::runtime::rng::Stream;

/// Standard deviation of embeddings at the start.
const START_SCALE: f32 = 0.05;

/// Where each weight begins in the one vector of all weights that are not embeddings.
#[derive(Clone, Debug, Default)]
pub struct WeightShape {
    /// The user's and the item's half of W_1 (e × w_1 each), and b_1.
    pub first_user: usize,
    pub first_item: usize,
    pub first_bias: usize,
    /// What `model::layers` has: the other layers, o and b; b alone without layers.
    pub rest: usize,
    /// Their shape; `None` without layers.
    pub inner: Option<Shape>,
    /// h (g).
    pub product: usize,
    /// Numbers in all.
    pub len: usize,
}

impl WeightShape {
    pub fn new(options: &Options) -> Self {
        let e = options.embedding;
        let (first, inner) = match options.widths.first() {
            Some(&first) => (first, Some(Shape::new(&options.widths))),
            None => (0, None),
        };
        let rest = 2 * e * first + first;
        let product = rest + inner.as_ref().map_or(1, Shape::len);
        Self {
            first_user: 0,
            first_item: e * first,
            first_bias: 2 * e * first,
            rest,
            inner,
            product,
            len: product + options.product,
        }
    }
}

/// Numbers and their moments.
#[derive(Clone, Debug, Default)]
pub struct Moving {
    pub values: Vec<f32>,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl From<Vec<f32>> for Moving {
    fn from(values: Vec<f32>) -> Self {
        Self { first: vec![0.0; values.len()], second: vec![0.0; values.len()], values }
    }
}

/// All that is learned.
pub struct Parameters {
    /// `n_users` × (g + e)
    pub users: Moving,
    /// `n_items` × (g + e)
    pub items: Moving,
    pub weights: Moving,
    pub shape: WeightShape,
    /// The matrices of the weights, turned: what the way back multiplies with.
    pub turned: Turned,
}

/// Transposed matrices.
#[derive(Clone, Debug, Default)]
pub struct Turned {
    pub first_user: Vec<f32>,
    pub first_item: Vec<f32>,
    /// Those of the layers after the first, in order.
    pub inner: Vec<Vec<f32>>,
}

/// The transpose of a row-major matrix with `columns` columns, into `out`.
pub fn transpose(matrix: &[f32], columns: usize, out: &mut Vec<f32>) {
    out.resize(matrix.len(), 0.0);
    let rows = matrix.len() / columns.max(1);
    for (row, numbers) in matrix.chunks_exact(columns.max(1)).enumerate() {
        for (column, &number) in numbers.iter().enumerate() {
            out[column * rows + row] = number;
        }
    }
}

/// The matrices of `model::layers`, turned.
pub fn transpose_inner(shape: &Shape, numbers: &[f32], out: &mut Vec<Vec<f32>>) {
    out.resize_with(shape.inner.len(), Vec::new);
    for (&(_, outputs, from, to), out) in shape.inner.iter().zip(out) {
        transpose(&numbers[from..to], outputs, out);
    }
}

impl Parameters {
    /// Small random embeddings; layers whose outputs are as large as their inputs (He, Zhang, Ren, Sun, Delving Deep into
    /// Rectifiers, ICCV 2015); a plain sum of products.
    pub fn new(n_users: usize, n_items: usize, options: &Options) -> Self {
        let shape = WeightShape::new(options);
        let random = |draws: Stream, numbers: &mut [f32], scale: f32| {
            for (at, x) in numbers.iter_mut().enumerate() {
                *x = scale * draws.normal(at as u64);
            }
        };
        let table = |n: usize, purpose: u64| {
            let mut numbers = vec![0.0; n * options.width()];
            random(Stream::new(options.seed, purpose), &mut numbers, START_SCALE);
            Moving::from(numbers)
        };
        let mut weights = vec![0.0; shape.len];
        weights[shape.product..].fill(1.0);
        let draws = Stream::new(options.seed, purpose::LAYERS);
        let scale = |inputs: usize| (2.0 / inputs.max(1) as f32).sqrt();
        random(draws.sub(0), &mut weights[..shape.first_bias], scale(2 * options.embedding));
        if let Some(inner) = &shape.inner {
            let rest = &mut weights[shape.rest..shape.product];
            for (layer, &(inputs, _, from, to)) in inner.inner.iter().enumerate() {
                random(draws.sub(1 + layer as u64), &mut rest[from..to], scale(inputs));
            }
            random(draws.sub(1000), &mut rest[inner.output..inner.bias], scale(inner.bias - inner.output));
        }
        let (users, items) = (table(n_users, purpose::USERS), table(n_items, purpose::ITEMS));
        let mut made = Self { users, items, weights: weights.into(), shape, turned: Turned::default() };
        made.turn(options);
        made
    }

    /// Makes `turned` anew.
    pub fn turn(&mut self, options: &Options) {
        let (shape, weights) = (&self.shape, &self.weights.values);
        let Some(inner) = &shape.inner else { return };
        let first = options.widths[0];
        transpose(&weights[shape.first_user..shape.first_item], first, &mut self.turned.first_user);
        transpose(&weights[shape.first_item..shape.first_bias], first, &mut self.turned.first_item);
        transpose_inner(inner, &weights[shape.rest..shape.product], &mut self.turned.inner);
    }
}
