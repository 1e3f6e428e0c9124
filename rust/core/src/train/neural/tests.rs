//! Gradients are tested against `ancf.reference_neural` (`tests/models/test_neural.py`); here is what concerns epochs.

use super::*;
use crate::Error;
use crate::model::layers::{self, Layers};
use crate::runtime::Context;
use crate::runtime::simd::Level;
use crate::train::fixtures::interactions;

fn several() -> [Options; 4] {
    let o = Options {
        product: 6,
        embedding: 5,
        widths: vec![8, 4],
        epochs: 12,
        batch_size: 100,
        negatives: 3,
        learning_rate: 0.02,
        regularization: 1e-4,
        dropout: 0.0,
        seed: 1,
    };
    [
        Options { embedding: 0, widths: vec![], ..o.clone() },
        Options { product: 0, ..o.clone() },
        Options { dropout: 0.3, widths: vec![17, 9, 3], ..o.clone() },
        o,
    ]
}

#[test]
fn threads_and_levels_give_the_same_bits_and_the_loss_falls() {
    let data = interactions(|_| 1.0);
    for options in several() {
        let run = |context: &Context| {
            let mut trainer = Trainer::new(&data, options.clone()).unwrap();
            let losses: Vec<f64> = (0..12).map(|epoch| trainer.epoch(epoch, context).unwrap()).collect();
            let state = trainer.state(context);
            let layers = (!options.widths.is_empty())
                .then(|| Layers::new(options.product, options.widths.clone(), state.layers.clone()).unwrap());
            let (mean, deviation) = (vec![0.1; state.factors], vec![0.5; state.factors]);
            let prior = Prior { mean: &mean, deviation: &deviation };
            let fold_in = FoldIn::new(&state.items, layers.as_ref(), prior, 4, 7);
            let mut folded = vec![0.0; state.factors];
            fold_in.user(context.level, data.row(3), &mut fold_in::Scratch::default(), &mut folded);
            (losses, state.users, state.items, state.layers, folded)
        };
        let truth = run(&Context::new(Some(1)).unwrap().with_level(Level::Scalar));
        assert!(truth.0[11] < 0.85 * truth.0[0], "{options:?} {:?}", truth.0);
        for threads in [2, 3, 8] {
            for level in Level::available() {
                assert_eq!(run(&Context::new(Some(threads)).unwrap().with_level(level)), truth);
            }
        }
    }
}

#[test]
fn what_is_served_scores_as_training_does_and_folded_users_prefer_their_taste() {
    let data = interactions(|_| 1.0);
    let context = Context::new(Some(1)).unwrap();
    for options in several() {
        let options = Options { epochs: 40, learning_rate: 0.03, ..options };
        let mut trainer = Trainer::new(&data, options.clone()).unwrap();
        for epoch in 0..40 {
            trainer.epoch(epoch, &context).unwrap();
        }
        let state = trainer.state(&context);
        let d = state.factors;
        let items: Vec<u32> = (0..40).collect();
        let layers = (!options.widths.is_empty())
            .then(|| Layers::new(options.product, options.widths.clone(), state.layers.clone()).unwrap());
        let scores = |user: &[f32]| {
            let mut scores = vec![0.0; 40];
            match &layers {
                Some(layers) => {
                    let scratch = &mut layers::Scratch::default();
                    layers.scores(context.level, user, &state.items, &items, &mut scores, scratch);
                }
                None => crate::runtime::simd::dot::dots(context.level, user, &state.items, &items, &mut scores),
            }
            scores
        };
        // The loss of a pair is that of its served score.
        let served = scores(&state.users[5 * d..][..d]);
        for item in [0, 7, 39] {
            let (_, loss) = trainer.sample_gradients(&[5], &[item], &[1.0], &context).unwrap();
            let expected = (1.0 + (-f64::from(served[item as usize])).exp()).ln();
            assert!((loss - expected).abs() < 1e-4, "{loss} {expected}");
        }
        let mean: Vec<f32> = (0..d).map(|k| state.users.iter().skip(k).step_by(d).sum::<f32>() / 90.0).collect();
        let deviation: Vec<f32> = (0..d)
            .map(|k| (state.users.iter().skip(k).step_by(d).map(|x| (x - mean[k]).powi(2)).sum::<f32>() / 90.0).sqrt())
            .collect();
        let prior = Prior { mean: &mean, deviation: &deviation };
        let fold_in = FoldIn::new(&state.items, layers.as_ref(), prior, 4, 7);
        let mut margin = 0.0;
        for user in 0..20 {
            let mut folded = vec![0.0; d];
            fold_in.user(context.level, data.row(user), &mut fold_in::Scratch::default(), &mut folded);
            let scores = scores(&folded);
            let mean = |own: bool| -> f32 {
                (0..40).filter(|item| (item % 4 == user % 4) == own).map(|item| scores[item]).sum::<f32>()
                    / if own { 10.0 } else { 30.0 }
            };
            margin += (mean(true) - mean(false)) / 20.0;
        }
        assert!(margin > 1.0, "{options:?} {margin}");
    }
}

#[test]
fn a_rate_that_breaks_everything_is_reported_with_epoch_and_rate() {
    let context = Context::new(Some(1)).unwrap();
    for options in several() {
        let mut trainer = Trainer::new(&interactions(|_| 1.0), Options { learning_rate: 1e30, ..options }).unwrap();
        let failed = (0..5).find_map(|epoch| trainer.epoch(epoch, &context).err());
        assert!(matches!(&failed, Some(Error::Diverged(message)) if message.contains("learning rate")), "{failed:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let data = interactions(|_| 1.0);
    let [gmf, mlp, ..] = several();
    for options in [
        Options { product: 0, ..gmf.clone() },
        Options { widths: vec![4], ..gmf.clone() },
        Options { widths: vec![], ..mlp.clone() },
        Options { widths: vec![4, 0], ..mlp.clone() },
        Options { negatives: 0, ..mlp.clone() },
        Options { dropout: 1.0, ..mlp.clone() },
        Options { learning_rate: f32::NAN, ..mlp.clone() },
        Options { batch_size: 0, ..mlp },
    ] {
        assert!(Trainer::new(&data, options).is_err());
    }
}
