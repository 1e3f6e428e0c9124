//! A few steps of conjugate gradients for a row of alternating least squares, from where it stands.
//!
//! Takács, Pilászy, Tikk, Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering,
//! RecSys 2011. In the basis of a sweep (`als.rs`) the weight of all pairs and the regularization are a diagonal D: it is
//! the preconditioner, and what is not observed costs d operations a step where its Gramian would cost d². No step raises
//! the loss.

use crate::Result;
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::runtime::simd::normal_equations::{Pass, residual};
use crate::runtime::simd::vector::{LANES, axpy, dot, scale};

/// Entries of a long row that are gathered at a time; a stop is looked for between them.
pub(super) const ENTRIES_PER_SLICE: usize = 128;

/// The side that is held fixed, in the basis in which its Gramian is diagonal.
pub struct Fixed<'a> {
    pub(super) vectors: &'a [f32],
    pub(super) gramian: &'a [f32],
}

impl<'a> Fixed<'a> {
    /// Vectors (n × d) whose Gramian has this diagonal (d numbers) and nothing beside it.
    pub fn diagonal(vectors: &'a [f32], gramian: &'a [f32]) -> Self {
        Self { vectors, gramian }
    }
}

/// The entries of a row, and the first of the row after it, whose vectors are fetched meanwhile.
pub(super) struct Row<'a> {
    pub columns: &'a [u32],
    pub weights: &'a [f32],
    pub next: &'a [u32],
}

/// The buffers of one thread, padded with zeros to whole lanes.
#[derive(Default)]
pub(super) struct Steps {
    /// Where the row stands.
    x: Vec<f32>,
    /// r = Yᵀ C (1 − Y x) − D x.
    rest: Vec<f32>,
    /// p.
    direction: Vec<f32>,
    /// −(YᵀCY + D) p, then z = D⁻¹ r.
    product: Vec<f32>,
}

impl Steps {
    /// `steps` steps from `out` on; the loss where they end. A step α = ⟨r, z⟩ / ⟨p, (YᵀCY + D) p⟩ lowers it by α ⟨r, z⟩.
    pub fn take(
        &mut self,
        steps: usize,
        row: &Row<'_>,
        fixed: &Fixed<'_>,
        diagonal: &[f32],
        out: &mut [f32],
        context: &Context,
    ) -> Result<f64> {
        let (d, level) = (out.len(), context.level);
        // Each pass prefetches a part of the next row.
        let mut ahead = row.next.chunks(row.next.len().div_ceil(steps + 1).max(1));
        let Self { x, rest, direction, product } = self;
        for buffer in [&mut *x, &mut *rest, &mut *direction, &mut *product] {
            buffer.resize(d.next_multiple_of(LANES), 0.0);
        }
        // 1. r and z, which is the first direction.
        x[..d].copy_from_slice(out);
        negative(rest, x, diagonal);
        let mut loss = -inner(level, rest, x);
        loss += pass(row, ahead.next(), fixed, 1.0, x, rest, context)?;
        quotients(direction, rest, diagonal);
        let mut slope = inner(level, rest, direction);
        for left in (0..steps).rev() {
            // 2. The step.
            negative(product, direction, diagonal);
            pass(row, ahead.next(), fixed, 0.0, direction, product, context)?;
            let curvature = -inner(level, product, direction);
            if curvature <= 0.0 || slope <= 0.0 {
                break;
            }
            let length = slope / curvature;
            axpy(level, length as f32, direction, x);
            loss -= length * slope;
            if left == 0 {
                break;
            }
            // 3. The next direction.
            axpy(level, length as f32, product, rest);
            quotients(product, rest, diagonal);
            let next = inner(level, rest, product);
            scale(level, (next / slope) as f32, direction);
            axpy(level, 1.0, product, direction);
            slope = next;
        }
        out.copy_from_slice(&x[..d]);
        Ok(loss)
    }
}

/// out += Yᵀ C (t − Y x) over the entries of the row; returns Σ c (t − ⟨y, x⟩)².
fn pass(
    row: &Row<'_>,
    next: Option<&[u32]>,
    fixed: &Fixed<'_>,
    target: f32,
    x: &[f32],
    out: &mut [f32],
    context: &Context,
) -> Result<f64> {
    let mut next = next.unwrap_or_default();
    let mut squares = 0.0;
    for (columns, weights) in row.columns.chunks(ENTRIES_PER_SLICE).zip(row.weights.chunks(ENTRIES_PER_SLICE)) {
        context.cancel.check()?;
        let slice = Pass { columns, weights, next };
        squares += residual(context.level, slice, fixed.vectors, fixed.gramian.len(), target, x, out);
        next = &[];
    }
    Ok(squares)
}

fn inner(level: Level, a: &[f32], b: &[f32]) -> f64 {
    f64::from(dot(level, a, b))
}

/// out ← −D x; what pads `out` stays.
fn negative(out: &mut [f32], x: &[f32], diagonal: &[f32]) {
    for ((out, x), value) in out.iter_mut().zip(x).zip(diagonal) {
        *out = -value * x;
    }
}

/// out ← D⁻¹ r; what pads `out` stays.
fn quotients(out: &mut [f32], rest: &[f32], diagonal: &[f32]) {
    for ((out, r), value) in out.iter_mut().zip(rest).zip(diagonal) {
        *out = r / value;
    }
}
