//! Queries of the attention: y = Bᵀ (A z) / √d of z (users, or candidates with target attention), so that a logit
//! ⟨A z, B x_j⟩ / √d is ⟨y, x_j⟩.

use crate::runtime::Context;
use crate::runtime::simd::gemm::{View, multiply};
use crate::runtime::simd::vector::scale;

/// Rows of one task; a multiple of the product's tile height.
const ROWS_PER_TASK: usize = 96;

/// Queries, what they are made of, and the gradients of both.
#[derive(Debug, Default)]
pub struct Queries {
    /// z.
    pub z: Vec<f32>,
    /// A z.
    projected: Vec<f32>,
    /// y.
    pub y: Vec<f32>,
    /// ∂loss/∂y; scaled by 1 / √d in [`Queries::backward`].
    pub dy: Vec<f32>,
    d_projected: Vec<f32>,
    /// ∂loss/∂z through the queries.
    pub dz: Vec<f32>,
    transposed: Vec<f32>,
}

impl Queries {
    /// y for every row of `z`.
    pub fn forward(&mut self, context: &Context, d: usize, query: &[f32], key: &[f32]) {
        let n = self.z.len();
        self.projected.resize(n, 0.0);
        self.y.resize(n, 0.0);
        transpose(query, d, &mut self.transposed);
        product(context, d, &self.z, &self.transposed, &mut self.projected);
        product(context, d, &self.projected, key, &mut self.y);
        scale(context.level, 1.0 / (d as f32).sqrt(), &mut self.y);
    }

    /// The gradients of A and B into `d_query` and `d_key`, and of z into `dz`.
    pub fn backward(
        &mut self,
        context: &Context,
        d: usize,
        query: &[f32],
        key: &[f32],
        d_query: &mut [f32],
        d_key: &mut [f32],
    ) {
        let n = self.z.len();
        self.d_projected.resize(n, 0.0);
        self.dz.resize(n, 0.0);
        scale(context.level, 1.0 / (d as f32).sqrt(), &mut self.dy);
        transpose(key, d, &mut self.transposed);
        product(context, d, &self.dy, &self.transposed, &mut self.d_projected);
        product(context, d, &self.d_projected, query, &mut self.dz);
        outer(context, d, &self.projected, &self.dy, d_key);
        outer(context, d, &self.d_projected, &self.z, d_query);
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
