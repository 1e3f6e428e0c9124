"""``ancf.load``: a model file becomes the model that was saved."""

from pathlib import Path
from typing import Any

from ancf import model_file, models
from ancf.errors import MissingExtraError, ModelFileError
from ancf.models.base import Recommender

# Options of files from before they had American spelling; such files open for ever.
_RENAMED = {
    "neighbours": "neighbors",
    "neighbour_weight": "neighbor_weight",
    "neighbour_candidates": "neighbor_candidates",
    "neighbour_shrinkage": "neighbor_shrinkage",
}


def load(path: str | Path) -> "Recommender":
    """Read a model file.

    Returns
    -------
    Recommender, fitted
        Answers with the same bits as the model that was saved.

    Raises
    ------
    ModelFileError
        If the file is damaged, foreign, or from a later version of ancf.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import ancf, tempfile, pathlib
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["tea", "cup", "tea"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "shop.ancf"
    ...     ancf.Popular().fit(data).save(file)
    ...     ancf.load(file).recommend(2, N=1).ids.tolist()
    ['cup']
    """
    path = model_file.as_path(path)
    arrays, meta = model_file.read(path)
    name = meta.get("class")
    try:
        model = models.class_of(str(name))
    except KeyError:
        raise ModelFileError(
            f"{path}: it holds a {name!r}, which this version of ancf does not know, nor any package that is installed "
            "beside it. Install the package that has this model, or a later ancf."
        ) from None
    except MissingExtraError as error:
        raise ModelFileError(f"{path}: {error}") from error
    try:
        loaded: Recommender = model._from_arrays(arrays, _with_present_names(meta))
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Every hash was right, so somebody wrote it on purpose, or a version of ancf that had other parts.
        raise ModelFileError(f"{path}: its parts are not those of a {name} ({error}). Load another copy.") from error
    return loaded


def _with_present_names(meta: dict[str, Any]) -> dict[str, Any]:
    """A description with the options' names of today, where they are its options and the settings of its history."""

    def renamed(options: Any) -> Any:
        return (
            {_RENAMED.get(name, name): value for name, value in options.items()}
            if isinstance(options, dict)
            else options
        )

    history = meta.get("history")
    if isinstance(history, dict) and "settings" in history:
        meta = {**meta, "history": {**history, "settings": renamed(history["settings"])}}
    return {**meta, "options": renamed(meta.get("options"))} if "options" in meta else meta
