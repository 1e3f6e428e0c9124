"""The pieces of attention differ in what they are named for and in nothing else."""

import pytest

import ancf
from ancf.errors import InvalidParameterError
from ancf.models.ablation import PIECES, attention_pieces
from ancf.models.ancf import options
from ancf.testing.contract import example_table


def test_the_pieces_differ_in_their_own_options_and_in_nothing_else():
    models = attention_pieces(factors=6)
    own = {name for piece in PIECES.values() for name in piece.options}
    rest = {label: {k: v for k, v in model.get_params().items() if k not in own} for label, model in models.items()}
    assert all(each == rest["mean"] for each in rest.values())
    for label, piece in PIECES.items():
        assert {name: models[label].get_params()[name] for name in piece.options} == piece.options
    # Nor does what is left open become something else for one of them.
    settings = [options.resolve(model, 5000, timed=True) for model in models.values()]
    assert all(each.needs_network for each in settings)
    recorded = [each.record() for each in settings]
    assert all(each == recorded[0] for each in recorded)


def test_each_piece_says_what_it_adds_and_over_which_earlier_one():
    labels = list(PIECES)
    assert PIECES[labels[0]].over is None
    for at, label in enumerate(labels[1:], 1):
        assert PIECES[label].over in labels[:at]
        assert PIECES[label].adds


def test_every_piece_can_be_fitted_and_compared():
    data = example_table()
    train, test = ancf.random_split(data, (0.8, 0.2), random_state=1)
    found = ancf.compare(attention_pieces(factors=4, epochs=1), train, test, metrics=["ndcg@5"])
    assert list(found) == list(PIECES)
    assert len({found[label]["ndcg@5"] for label in PIECES}) > 1


@pytest.mark.parametrize("option", [{"attention": "mean"}, {"user_factors": True}, {"factor_attention": True}])
def test_an_option_that_makes_the_pieces_is_refused(option):
    with pytest.raises(InvalidParameterError, match="differ in"):
        attention_pieces(**option)


def test_an_option_that_does_not_go_with_one_of_them_is_refused_before_any_is_fitted():
    with pytest.raises(InvalidParameterError, match=r'piece "target".*cosine'):
        attention_pieces(similarity="cosine")
