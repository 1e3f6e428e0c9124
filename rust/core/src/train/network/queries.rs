//! Queries of the attention: y = Bᵀ (A z) / √d for whoever asks (users, or candidates with target attention), so that a
//! logit ⟨A z, B x_j⟩ / √d is ⟨y, x_j⟩.

use crate::runtime::Context;
use crate::runtime::simd::gemm::{View, multiply};
use crate::runtime::simd::vector::scale;

/// Rows of one task; a multiple of the product's tile height.
const ROWS_PER_TASK: usize = 96;

/// Who asks, what they ask, and the gradients of both.
#[derive(Debug, Default)]
pub struct Queries {
    /// z of those who ask.
    pub asker: Vec<f32>,
    /// A z.
    asked: Vec<f32>,
    /// y.
    pub y: Vec<f32>,
    /// ∂loss/∂y; scaled by 1 / √d in [`Queries::backward`].
    pub dy: Vec<f32>,
    d_asked: Vec<f32>,
    /// ∂loss/∂z through the queries.
    pub d_asker: Vec<f32>,
    turned: Vec<f32>,
}

impl Queries {
    /// Asks for every row of `asker`.
    pub fn forward(&mut self, context: &Context, d: usize, query: &[f32], key: &[f32]) {
        let n = self.asker.len();
        self.asked.resize(n, 0.0);
        self.y.resize(n, 0.0);
        transpose(query, d, &mut self.turned);
        product(context, d, &self.asker, &self.turned, &mut self.asked);
        product(context, d, &self.asked, key, &mut self.y);
        scale(context.level, 1.0 / (d as f32).sqrt(), &mut self.y);
    }

    /// The gradients of A and B into `d_query` and `d_key`, and of the askers into `d_asker`.
    pub fn backward(
        &mut self,
        context: &Context,
        d: usize,
        query: &[f32],
        key: &[f32],
        d_query: &mut [f32],
        d_key: &mut [f32],
    ) {
        let n = self.asker.len();
        self.d_asked.resize(n, 0.0);
        self.d_asker.resize(n, 0.0);
        scale(context.level, 1.0 / (d as f32).sqrt(), &mut self.dy);
        transpose(key, d, &mut self.turned);
        product(context, d, &self.dy, &self.turned, &mut self.d_asked);
        product(context, d, &self.d_asked, query, &mut self.d_asker);
        outer(context, d, &self.asked, &self.dy, d_key);
        outer(context, d, &self.d_asked, &self.asker, d_query);
    }
}

fn transpose(matrix: &[f32], d: usize, into: &mut Vec<f32>) {
    into.clear();
    into.extend((0..d * d).map(|at| matrix[(at % d) * d + at / d]));
}

/// out = rows · matrix.
fn product(context: &Context, d: usize, rows: &[f32], matrix: &[f32], out: &mut [f32]) {
    context.for_each_task(
        out.chunks_mut(ROWS_PER_TASK * d).enumerate(),
        || (),
        |(), (task, out)| {
            multiply(context.level, out, d, View::rows(rows, d), task * ROWS_PER_TASK, matrix, d);
        },
    );
}

/// out = leftᵀ · right, the sum over rows in their order.
fn outer(context: &Context, d: usize, left: &[f32], right: &[f32], out: &mut [f32]) {
    const PER_TASK: usize = 12;
    let n = left.len() / d;
    context.for_each_task(
        out.chunks_mut(PER_TASK * d).enumerate(),
        || (),
        |(), (task, out)| {
            multiply(context.level, out, d, View::transposed(left, d), task * PER_TASK, right, n);
        },
    );
}
