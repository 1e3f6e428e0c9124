//! The formulas are tested against `ancf.reference` (`tests/models/test_network.py`); here is what concerns epochs.

use super::*;
use crate::data::Csr;
use crate::model::attention::Prior;
use crate::runtime::Context;
use crate::runtime::rng::Stream;
use crate::runtime::simd::Level;
use crate::train::fixtures;
use crate::{Error, Result};

fn interactions() -> Csr {
    let draws = Stream::new(1, 0).sub(1);
    fixtures::interactions(|at| 0.5 + draws.f32(at as u64))
}

fn options() -> Options {
    Options {
        factors: 6,
        attention_kind: AttentionKind::None,
        attention_exponent: 0.5,
        item_attention: false,
        user_factors: true,
        head: Head::Product,
        cosine: false,
        sigmoid: false,
        biases: false,
        loss: Loss::Mse,
        temperature: 0.2,
        optimizer: Optimizer::Adam,
        learning_rate: 0.02,
        regularization: 0.001,
        half_life: None,
        init_scale: 0.1,
        seed: 0,
    }
}

fn training_options() -> TrainingOptions {
    TrainingOptions { decay_epochs: Some(4), batch_size: 50, negatives: 3, negative_exponent: 0.5, user_dropout: 0.2 }
}

/// Every loss, attention, head and optimizer at least once.
fn several() -> Vec<Options> {
    let o = options();
    vec![
        Options { head: Head::Factor, biases: true, ..o.clone() },
        Options { attention_kind: AttentionKind::Learned, item_attention: true, loss: Loss::Bpr, ..o.clone() },
        Options { attention_kind: AttentionKind::Target, loss: Loss::Softmax, user_factors: false, ..o.clone() },
        Options { attention_kind: AttentionKind::Fixed(Prior::Degree), loss: Loss::Softmax, cosine: true, ..o.clone() },
        Options { loss: Loss::Bce, sigmoid: true, head: Head::Concat, optimizer: Optimizer::Adagrad, ..o.clone() },
        Options { loss: Loss::Softmax, head: Head::Factor, sigmoid: true, biases: true, ..o.clone() },
        Options { head: Head::Batch, optimizer: Optimizer::Sgd, learning_rate: 0.5, ..o },
    ]
}

fn training(options: &Options, options_of_epochs: TrainingOptions) -> Trainer {
    let data = interactions();
    let ages = options.attention_kind.is_learned().then(|| (0..data.len()).map(|at| (at % 30) as f32).collect());
    let half_life = options.attention_kind.is_learned().then_some(10.0);
    let network = Network::new(&data, half_life.is_some(), ages, Options { half_life, ..options.clone() }).unwrap();
    Trainer::new(network, data, options_of_epochs).unwrap()
}

#[test]
fn threads_and_levels_give_the_same_bits_and_the_loss_falls() {
    for options in several() {
        let run = |threads, level| {
            let context = Context::new(Some(threads)).unwrap().with_level(level);
            let mut training = training(&options, training_options());
            let losses: Vec<f64> = (0..4).map(|epoch| training.epoch(epoch, &context).unwrap()).collect();
            let held = training.validation_loss(&interactions(), &context).unwrap();
            let parameters: Vec<_> =
                training.network.parameters.tables().map(|table| (table.name, table.values.to_vec())).collect();
            (losses, held, parameters, training.network.item_vectors(&context))
        };
        let truth = run(1, Level::Scalar);
        assert!(truth.0[3] < truth.0[0], "{options:?} {:?}", truth.0);
        for threads in [2, 3, 8] {
            for level in Level::available() {
                assert_eq!(run(threads, level), truth, "{threads} {}", level.name());
            }
        }
    }
}

#[test]
fn a_rate_that_breaks_everything_is_reported_with_epoch_and_rate() {
    let context = Context::new(Some(1)).unwrap();
    for options in several() {
        let mut training = training(&Options { learning_rate: 1e38, ..options }, training_options());
        let outcome: Result<Vec<f64>> = (0..4).map(|epoch| training.epoch(epoch, &context)).collect();
        let Err(Error::Diverged(message)) = outcome else { panic!("{outcome:?}") };
        assert!(message.contains("epoch") && message.contains("learning rate 1"), "{message}");
    }
}

#[test]
fn an_epoch_sees_every_pair_once_and_negatives_are_new_to_their_user() {
    let data = interactions();
    for loss in [Loss::Mse, Loss::Bce, Loss::Bpr] {
        let training = training(&Options { loss, ..options() }, training_options());
        let samples: Vec<u32> = (0..data.len() as u32).rev().collect();
        let mut input = Batch::default();
        training.fill_batch(&mut input, &samples, 0, Stream::new(3, 3));
        let group = if loss == Loss::Mse { 1 } else { 4 };
        assert_eq!(input.users.len(), data.len() * group);
        let mut seen = Vec::new();
        for (at, (&user, &item)) in input.users.iter().zip(&input.items).enumerate() {
            let has = data.row(user as usize).contains(&item);
            assert_eq!(has, at % group == 0);
            if has {
                seen.push((user, item));
            }
        }
        seen.sort_unstable();
        let all: Vec<_> = (0..data.n_rows() as u32)
            .flat_map(|user| data.row(user as usize).iter().map(move |&item| (user, item)))
            .collect();
        assert_eq!(seen, all);
    }
}

#[test]
fn the_validation_loss_of_the_training_pairs_is_their_mean_error() {
    let context = Context::new(Some(2)).unwrap();
    let data = interactions();
    let mut training = training(&Options { biases: true, ..options() }, training_options());
    training.epoch(0, &context).unwrap();
    let users: Vec<u32> =
        (0..data.n_rows() as u32).flat_map(|u| std::iter::repeat_n(u, data.row(u as usize).len())).collect();
    let predictions = training.network.predictions(&users, data.columns(), &context).unwrap();
    let errors = predictions
        .iter()
        .zip(data.values())
        .map(|(prediction, y)| f64::from(prediction - y) * f64::from(prediction - y));
    let mean = errors.sum::<f64>() / data.len() as f64;
    assert!((training.validation_loss(&data, &context).unwrap() - mean).abs() < 1e-6);
    assert!(training.validation_loss(&Csr::empty(3, 3), &context).is_err());
}

#[test]
fn users_with_everything_and_with_nothing_are_no_trouble() {
    let (n_users, n_items) = (3, 5);
    let data = Csr::new(vec![0, 5, 5, 6], vec![0, 1, 2, 3, 4, 2], vec![1.0; 6], n_items).unwrap();
    let context = Context::new(Some(2)).unwrap();
    for options in several() {
        let options = Options { half_life: None, user_factors: true, ..options };
        let network = Network::new(&data, false, None, options).unwrap();
        let mut training = Trainer::new(network, data.clone(), training_options()).unwrap();
        for epoch in 0..3 {
            assert!(training.epoch(epoch, &context).unwrap().is_finite());
        }
        let users: Vec<u32> = (0..n_users).flat_map(|u| std::iter::repeat_n(u, n_items)).collect();
        let items: Vec<u32> = (0..n_users).flat_map(|_| 0..n_items as u32).collect();
        let found = training.network.predictions(&users, &items, &context).unwrap();
        assert!(found.iter().all(|score| score.is_finite()));
    }
}
