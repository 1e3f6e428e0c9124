use super::trainer::purpose;
use super::*;
use crate::data::Csr;
use crate::model::attention::{Attention, Prior};
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::Level;
use crate::train::fixtures;
use crate::{Error, Result};

fn interactions() -> Csr {
    fixtures::interactions(|_| 1.0)
}

fn options() -> Options {
    Options {
        factors: 6,
        epochs: 4,
        batch_size: Some(32),
        prior: Prior::Degree,
        attention_exponent: 0.5,
        item_attention: true,
        temperature: 0.2,
        negatives: 4096,
        negative_exponent: 0.5,
        learning_rate: 0.02,
        regularization: 0.0,
        spectral_start: true,
        seed: 0,
    }
}

/// The loss of a batch and its gradient by bare vectors, without a step of the optimizer; ∂loss/∂v stays in `dv`.
fn gradient(model: &mut Trainer, step: usize, batch: &[u32], context: &Context) -> (f64, Vec<f32>) {
    model.begin_step(step, context);
    model.vectors(context);
    let (loss, pair_weight) = model.batch(batch, context).unwrap();
    model.with_places(batch, |model| model.item_gradients(step, pair_weight, context));
    if model.graph.passes(step) {
        model.take_back(context);
    }
    let dx = model.buffers.dv.iter().zip(&model.graph.returned).map(|(dv, r)| dv + r).collect();
    (loss, dx)
}

/// The loss by its formula, in f64, one pair at a time.
fn naive_loss(data: &Csr, options: &Options, x: &[f64], batch: &[u32], negatives: &[u32], log_weights: &[f32]) -> f64 {
    let d = options.factors;
    let attention = Attention::new(data, options.prior, options.attention_exponent, options.item_attention).unwrap();
    let (n_users, n_items) = (data.n_rows(), data.n_columns());
    let r = |n: usize| 1.0 / (n.max(1) as f64).sqrt();
    let a = |u: usize, j: usize| {
        let sum: f64 = data.row(u).iter().map(|&k| r(attention.items.row(k as usize).len())).sum();
        r(attention.items.row(j).len()) / sum.sqrt()
    };
    let b = |j: usize, u: usize| {
        let sum: f64 = attention.items.row(j).iter().map(|&k| r(data.row(k as usize).len())).sum();
        r(data.row(u).len()) / sum.sqrt()
    };
    let users = |table: &[f64]| {
        let mut p = vec![0.0; n_users * d];
        for u in 0..n_users {
            for &j in data.row(u) {
                for k in 0..d {
                    p[u * d + k] += a(u, j as usize) * table[j as usize * d + k];
                }
            }
        }
        p
    };
    let p0 = users(x);
    let mut v = x.to_vec();
    for j in 0..n_items {
        for &u in attention.items.row(j) {
            for k in 0..d {
                v[j * d + k] += b(j, u as usize) * p0[u as usize * d + k];
            }
        }
    }
    let p = users(&v);
    let cosine = |u: usize, i: usize| {
        let (p, q) = (&p[u * d..][..d], &v[i * d..][..d]);
        let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        p.iter().zip(q).map(|(x, y)| x * y).sum::<f64>() / length(p) / length(q)
    };
    let tau = f64::from(options.temperature);
    let mut loss = 0.0;
    for &u in batch {
        let row: f64 = negatives
            .iter()
            .zip(log_weights)
            .map(|(&k, &w)| (cosine(u as usize, k as usize) / tau + f64::from(w)).exp())
            .sum();
        for &i in data.row(u as usize) {
            loss += row.ln() - cosine(u as usize, i as usize) / tau;
        }
    }
    loss
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    let data = interactions();
    let context = Context::new(Some(2)).unwrap();
    // The sharp softmax needs the highest logit of each user.
    for (negatives, temperature) in [(4096, 0.2), (16, 0.2), (4096, 0.02)] {
        let options = Options { negatives, temperature, batch_size: Some(40), ..options() };
        let mut model = Trainer::new(&data, options, &context).unwrap();
        let batch: Vec<u32> = (0..40).collect();
        let (loss, dx) = gradient(&mut model, 0, &batch, &context);
        let n_pairs: usize = batch.iter().map(|&u| data.row(u as usize).len()).sum();
        let x: Vec<f64> = model.x.iter().map(|&x| f64::from(x)).collect();
        let at = |x: &[f64]| naive_loss(&data, &model.options, x, &batch, &model.buffers.negatives, &model.log_weights);
        assert!((loss - at(&x)).abs() < 1e-4 * loss.abs(), "{loss} {}", at(&x));
        for i in (0..x.len()).step_by(7) {
            let (mut high, mut low) = (x.clone(), x.clone());
            high[i] += 1e-5;
            low[i] -= 1e-5;
            let slope = (at(&high) - at(&low)) / 2e-5 / n_pairs as f64;
            let error = (slope - f64::from(dx[i])).abs();
            assert!(error < 4e-6 / f64::from(temperature), "{i}: {slope} {}", dx[i]);
        }
    }
}

#[test]
fn between_two_passes_through_the_graph_its_parts_stay_and_gradients_wait() {
    let data = interactions();
    let context = Context::new(Some(2)).unwrap();
    let mut model = Trainer::new(&data, Options { batch_size: Some(2), ..options() }, &context).unwrap();
    let (d, n_users, n_items) = (6, data.n_rows(), data.n_columns());
    let gradient = |model: &mut Trainer, step: usize| {
        let batch: Vec<u32> = model.active[2 * step..][..2].to_vec();
        gradient(model, step, &batch, &context);
        model.buffers.dv.clone()
    };
    gradient(&mut model, 0);
    let (smoothed, returned) = (model.graph.smoothed.clone(), model.graph.returned.clone());
    assert!(smoothed.iter().chain(&returned).any(|&number| number != 0.0));
    model.x[0] += 1.0;
    let mut held = vec![0.0f64; n_items * d];
    for step in [1, 2] {
        assert!(!model.graph.passes(step));
        let dv = gradient(&mut model, step);
        assert_eq!((&model.graph.smoothed, &model.graph.returned), (&smoothed, &returned));
        for at in 0..n_items * d {
            assert_eq!(model.buffers.v[at], model.x[at] + smoothed[at]);
            held[at] += f64::from(dv[at]) / 3.0;
        }
    }
    assert!(model.graph.passes(3));
    for (held, dv) in held.iter_mut().zip(gradient(&mut model, 3)) {
        *held += f64::from(dv) / 3.0;
    }
    assert_ne!(model.graph.smoothed, smoothed);
    let attention = &model.attention;
    let (mut by_user, mut truth) = (vec![0.0; n_users * d], vec![0.0; n_items * d]);
    for user in 0..n_users {
        for at in attention.users.offsets()[user]..attention.users.offsets()[user + 1] {
            let item = attention.users.columns()[at] as usize;
            for k in 0..d {
                by_user[user * d + k] += f64::from(attention.b_by_user[at]) * held[item * d + k];
            }
        }
        for at in attention.users.offsets()[user]..attention.users.offsets()[user + 1] {
            let item = attention.users.columns()[at] as usize;
            for k in 0..d {
                truth[item * d + k] += f64::from(attention.a_by_user[at]) * by_user[user * d + k];
            }
        }
    }
    let largest = truth.iter().fold(0.0, |largest: f64, number| largest.max(number.abs()));
    for (found, truth) in model.graph.returned.iter().zip(truth) {
        assert!((f64::from(*found) - truth).abs() < 1e-5 * largest, "{found} {truth}");
    }
    // A new epoch begins with a pass, whatever is held.
    let dv = gradient(&mut model, 0);
    let fresh = model.graph.returned.clone();
    let mut other = Trainer::new(&data, Options { batch_size: Some(2), ..options() }, &context).unwrap();
    other.x.copy_from_slice(&model.x);
    other.steps = model.steps;
    assert_eq!(gradient(&mut other, 0), dv);
    assert_eq!(other.graph.returned, fresh);
}

#[test]
fn rows_at_a_time_have_the_bits_of_whole_tables() {
    let data = interactions();
    let context = Context::new(Some(2)).unwrap();
    for item_attention in [true, false] {
        let options = Options { batch_size: Some(2), negatives: 20, item_attention, ..options() };
        let mut model = Trainer::new(&data, options.clone(), &context).unwrap();
        model.epoch(0, &context).unwrap();
        let mut other = Trainer::new(&data, options, &context).unwrap();
        let order = Stream::new(other.options.seed, purpose::ORDER).sub(0).permutation(other.active.len());
        let users: Vec<u32> = order.iter().map(|&at| other.active[at as usize]).collect();
        for (step, batch) in users.chunks(2).enumerate() {
            gradient(&mut other, step, batch, &context);
            other.update(other.decay(users.len(), 2), false, &context);
        }
        assert_eq!((model.x, model.first, model.second), (other.x, other.first, other.second));
        assert_eq!(model.graph.pending, other.graph.pending);
    }
}

#[test]
fn a_stopped_epoch_takes_no_step_and_leaves_no_trace() {
    let data = interactions();
    let run = |stopped: bool| {
        let context = Context::new(Some(2)).unwrap();
        let mut model = Trainer::new(&data, options(), &context).unwrap();
        if stopped {
            let other = Context::new(Some(2)).unwrap();
            other.cancel.cancel();
            assert_eq!(model.epoch(0, &other), Err(Error::Cancelled));
            assert_eq!(model.steps, 0);
        }
        model.epoch(0, &context).unwrap().to_bits()
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn the_validation_loss_of_the_training_pairs_is_their_loss() {
    let data = interactions();
    let context = Context::new(Some(2)).unwrap();
    let mut model = Trainer::new(&data, options(), &context).unwrap();
    let x: Vec<f64> = model.x.iter().map(|&x| f64::from(x)).collect();
    let everyone = model.active.clone();
    let loss = model.validation_loss(&data, &context).unwrap();
    let truth = naive_loss(&data, &model.options, &x, &everyone, &model.buffers.negatives, &model.log_weights);
    assert!((loss - truth / data.len() as f64).abs() < 1e-4 * loss.abs());
    assert!(model.validation_loss(&Csr::empty(3, 3), &context).is_err());
}

#[test]
fn threads_and_levels_give_the_same_bits_and_the_loss_falls() {
    let data = interactions();
    let run = |threads, level| {
        let context = Context::new(Some(threads)).unwrap().with_level(level);
        let mut model = Trainer::new(&data, Options { negatives: 20, ..options() }, &context).unwrap();
        let losses: Vec<f64> = (0..4).map(|epoch| model.epoch(epoch, &context).unwrap()).collect();
        (losses, model.item_vectors(&context))
    };
    let truth = run(1, Level::Scalar);
    assert!(truth.0[3] < truth.0[0], "{:?}", truth.0);
    for threads in [2, 3, 8] {
        for level in Level::available() {
            assert_eq!(run(threads, level), truth, "{threads} {}", level.name());
        }
    }
}

#[test]
fn a_rate_that_breaks_everything_is_reported() {
    let context = Context::new(Some(1)).unwrap();
    let mut model =
        Trainer::new(&interactions(), Options { learning_rate: 1e38, epochs: 50, ..options() }, &context).unwrap();
    let outcome: Result<Vec<f64>> = (0..50).map(|epoch| model.epoch(epoch, &context)).collect();
    assert!(matches!(outcome, Err(Error::Diverged(_))), "{outcome:?}");
    // A loss that stays finite while the vectors leave the numbers that can be squared.
    let mut model =
        Trainer::new(&interactions(), Options { learning_rate: 1e30, epochs: 1, ..options() }, &context).unwrap();
    assert!(matches!(model.epoch(0, &context), Err(Error::Diverged(_))));
}
