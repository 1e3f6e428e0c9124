//! From gradients to steps. In lazy tables only rows with a gradient change, and their moments with them.

use super::options::{Optimizer, Options};
use super::parameters::{Parameters, Table};
use crate::runtime::Context;
use crate::runtime::simd::pairs::{adagrad, sgd};
use crate::runtime::simd::vector::{self, Adam, adam, exp_f64, ln};

/// Rows of one task.
const ROWS_PER_TASK: usize = 512;

/// One step with the gradients that the tables hold; `step` counts from 1, and the learning rate is multiplied by
/// `decay`.
pub fn update(context: &Context, options: &Options, parameters: &mut Parameters, step: u64, decay: f32) {
    let correction = |beta: f32| 1.0 - exp_f64((ln(f64::from(beta)) * step as f64).max(-700.0));
    let rate = options.learning_rate * decay;
    let moments = Adam {
        rate: (f64::from(rate) / correction(vector::BETA1)) as f32,
        second: (1.0 / correction(vector::BETA2)) as f32,
        regularization: options.regularization,
    };
    let level = context.level;
    let one = |gradient: &[f32], x: &mut [f32], first: &mut [f32], second: &mut [f32]| match options.optimizer {
        Optimizer::Sgd => sgd(level, rate, options.regularization, gradient, x),
        Optimizer::Adagrad => adagrad(level, rate, options.regularization, gradient, x, second),
        Optimizer::Adam => adam(level, moments, gradient, x, first, second),
    };
    for table in parameters.tables_mut() {
        let width = table.width();
        let Table { values, first, second, gradient, lazy, .. } = table;
        if !*lazy {
            one(&gradient.values, values, first, second);
            continue;
        }
        let gradient = &*gradient;
        let size = ROWS_PER_TASK * width;
        let tasks = values.chunks_mut(size).zip(first.chunks_mut(size)).zip(second.chunks_mut(size)).enumerate();
        context.for_each_task(
            tasks,
            || (),
            |(), (task, ((values, first), second))| {
                let from = task * ROWS_PER_TASK;
                let begin = gradient.rows.partition_point(|&row| (row as usize) < from);
                let rows = gradient.rows[begin..].iter().take_while(|&&row| (row as usize) < from + ROWS_PER_TASK);
                for (&row, g) in rows.zip(gradient.values[begin * width..].chunks_exact(width)) {
                    if g.iter().any(|&g| g != 0.0) {
                        let at = (row as usize - from) * width;
                        let part = at..at + width;
                        one(g, &mut values[part.clone()], &mut first[part.clone()], &mut second[part]);
                    }
                }
            },
        );
    }
}

/// The numbers that a step is about to change, to restore them.
#[derive(Debug, Default)]
pub struct Snapshot {
    numbers: Vec<f32>,
}

impl Snapshot {
    /// Saves the rows that have a gradient.
    pub fn save(&mut self, parameters: &Parameters) {
        self.numbers.clear();
        for table in parameters.tables() {
            for part in changed(table) {
                for numbers in [&table.values, &table.first, &table.second] {
                    self.numbers.extend_from_slice(&numbers[part.clone()]);
                }
            }
        }
    }

    /// If a parameter is no longer finite: restores everything and returns its name.
    pub fn restore_if_not_finite(&self, parameters: &mut Parameters) -> Option<&'static str> {
        let finite = |table: &Table| changed(table).all(|part| table.values[part].iter().all(|x| x.is_finite()));
        let name = parameters.tables().find(|table| !finite(table))?.name;
        let mut rest = self.numbers.as_slice();
        for table in parameters.tables_mut() {
            let parts: Vec<_> = changed(table).collect();
            for part in parts {
                for numbers in [&mut table.values, &mut table.first, &mut table.second] {
                    let (saved, others) = rest.split_at(part.len());
                    numbers[part.clone()].copy_from_slice(saved);
                    rest = others;
                }
            }
        }
        Some(name)
    }
}

/// The ranges of numbers that a gradient changes.
fn changed(table: &Table) -> impl Iterator<Item = std::ops::Range<usize>> {
    let width = if table.lazy { table.width() } else { table.values.len() };
    let rows = if table.lazy { table.gradient.rows.as_slice() } else { &[0] };
    rows.iter().map(move |&row| row as usize * width..(row as usize + 1) * width)
}
