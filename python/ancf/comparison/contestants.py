"""Who is compared: models, classes, names and groups of the registry, and lists made elsewhere, each under a name."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from ancf.errors import InvalidDataError, InvalidParameterError
from ancf.evaluation import GivenLists
from ancf.models import Group, class_names, class_of, find_class_name, names_in
from ancf.models.base import Recommender
from ancf.scoring.requests import is_one, table_columns
from ancf.scoring.results import Recommendations

OneContestant: TypeAlias = Recommender | type[Recommender] | GivenLists
"""A model, a class, or a name; or lists made elsewhere in a form of ``ancf.evaluate`` that is no plain text."""
Contestants: TypeAlias = OneContestant | Iterable[OneContestant] | Mapping[str, OneContestant]
"""What ``compare`` takes as ``models``: see its docstring."""

PIECES: Literal["attention"] = "attention"
"""The name of ``ANCF`` with its attention switched piece by piece."""


class Contestant(NamedTuple):
    """One row of a comparison before it is measured."""

    label: str
    what: Any
    """A model, or lists made elsewhere."""
    fit: bool
    """Whether it is fitted on the training table; else it is measured as it is."""
    tunable: bool = False
    """Whether its options were left to us: it came as a name or a class."""

    @property
    def is_model(self) -> bool:
        """Whether it is a model of ancf, not lists made elsewhere."""
        return isinstance(self.what, Recommender)

    @property
    def is_ours(self) -> bool:
        """Whether it is the attention model, of which nothing flattering may be said."""
        return type(self.what).__name__ == "ANCF"


def find_contestants(models: Contestants, *, refit: bool, num_threads: int | None) -> list[Contestant]:
    """Everybody by name, in the order given.

    Raises
    ------
    InvalidParameterError
        If something is no model, name or list; if the registry has no model of a name; names the nearest.
    InvalidDataError
        If there is none.
    """
    if isinstance(models, Mapping):
        entered = [each for label, value in models.items() for each in _labelled(str(label), value, refit)]
    else:
        alone = isinstance(models, (Recommender, str, type)) or _are_lists(models)
        if not alone and is_one(models):
            raise InvalidParameterError(f"compare: models is {models!r}; give models of ancf, or their names.")
        values: Any = [models] if alone else models
        entered = [each for value in values for each in _find(value, refit)]
    found = _with_names(entered)
    if not found:
        raise InvalidDataError("compare: give at least one model.")
    if num_threads is not None:
        for each in found:
            if each.is_model and each.fit:
                each.what.num_threads = num_threads
    return found


def _labelled(label: str, value: Any, refit: bool) -> list[Contestant]:
    """What stands under a label of a mapping; the models of a group, and a name under itself, are called as ever."""
    if isinstance(value, Mapping):
        return [Contestant(label, value, False)]
    found = _find(value, refit)
    own_names = isinstance(value, str) and (value == label or value in get_args(Group))
    return found if own_names else [each._replace(label=label) for each in found]


def _find(value: Any, refit: bool) -> list[Contestant]:
    """A model, a class, a name, a group or lists: one contestant, or those of the group."""
    if isinstance(value, Recommender):
        ready = value._scorer is not None and not refit
        return [Contestant("", value if ready else value.clone(), not ready)]
    if isinstance(value, str):
        if value in get_args(Group):
            return [_of_class(class_of(name)) for name in names_in(value)]  # type: ignore[arg-type]
        return [_of_class(class_of(_class_name(value)))]
    if isinstance(value, type) and issubclass(value, Recommender):
        return [_of_class(value)]
    if _are_lists(value):
        return [Contestant("", value, False)]
    raise InvalidParameterError(
        f"compare: {value!r} is no model; give models of ancf, their names, or lists made elsewhere: a table with "
        "the columns user_id, item_id and rank or score, or an object with recommend(user, N)."
    )


def _of_class(model: type[Recommender]) -> Contestant:
    return Contestant("", model(), True, tunable=True)


def _are_lists(value: Any) -> bool:
    is_table = isinstance(value, (Path, Recommendations)) or table_columns(value) is not None
    return is_table or (callable(getattr(value, "recommend", None)) and not isinstance(value, type))


def row_name(name: str, names: Sequence[str]) -> str | None:
    """The row that somebody means, by its name or by what the command line calls its class; None for no row."""
    if name in names:
        return name
    return found if (found := class_names().get(name)) in names else None


def _class_name(model: str) -> str:
    """The class of the registry with this name, as it is or as the command line has it."""
    return find_class_name("compare", model, (*get_args(Group), PIECES))


def _kind(what: Any) -> str:
    """What something is called that came without a name: its class, or the file of its lists."""
    if isinstance(what, Path):
        return what.name.split(".")[0]
    is_object = isinstance(what, Recommender) or callable(getattr(what, "recommend", None))
    return type(what).__name__ if is_object else "lists"


def _with_names(found: Iterable[Contestant]) -> list[Contestant]:
    """Names for those without: the class; for several of a class their options too, and a number where these agree.

    A model that comes from two groups, or from a group and by its name, is one row.
    """
    kept: list[Contestant] = []
    for each in found:
        twins = (other for other in kept if other.tunable and not other.label)
        if each.label or not each.tunable or not any(type(other.what) is type(each.what) for other in twins):
            kept.append(each)
    kinds = [each.label or _kind(each.what) for each in kept]
    named: dict[str, Contestant] = {}
    for kind, each in zip(kinds, kept, strict=True):
        name = repr(each.what) if kinds.count(kind) > 1 and each.is_model and not each.label else kind
        number = 2
        label = name
        while label in named:
            label, number = f"{name} #{number}", number + 1
        named[label] = each._replace(label=label)
    return list(named.values())
