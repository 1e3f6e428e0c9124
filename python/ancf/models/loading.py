"""``ancf.load``: a model file becomes the model that was saved."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ancf import model_file, models
from ancf._native import __version__
from ancf.checkpoints import CLASS_NAME
from ancf.errors import MissingExtraError, ModelFileError
from ancf.models.base import Recommender
from ancf.params import checks_call


@checks_call
def load(file: model_file.Source) -> "Recommender":
    """Read a model file. Nothing in it is executed, and nothing is ever unpickled.

    Parameters
    ----------
    file : path, bytes, or a file opened for reading bytes
        What ``model.save(path)`` wrote, or what ``model.to_bytes()`` gave. A file object is read from where it stands
        to its end, and stays open.

    Returns
    -------
    Recommender, fitted
        Of the class that was saved. Answers with the same bits as the model that was saved.

    Raises
    ------
    ModelFileError
        If the file is damaged, foreign (a pickle, say), or from a later version of ancf.
    OSError
        If it cannot be read.
    InvalidParameterError
        If ``file`` is none of the three.

    Examples
    --------
    >>> import ancf, tempfile, pathlib
    >>> data = ancf.Interactions.from_ids(user=[1, 1, 2], item=["tea", "cup", "tea"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "shop.ancf"
    ...     ancf.Popular().fit(data).save(file)
    ...     ancf.load(file).recommend(2, N=1).ids.tolist()
    ['cup']
    >>> ancf.load(ancf.Popular().fit(data).to_bytes()).recommend(2, N=1).ids.tolist()
    ['cup']
    """
    return load_arrays(model_file.name_of(file), *model_file.read(file))


def load_arrays(path: str, arrays: dict[str, NDArray[Any]], meta: Mapping[str, Any]) -> "Recommender":
    """The model of what a file held; ``path`` is what errors call it.

    Raises
    ------
    ModelFileError
    """
    try:
        return _load(path, arrays, meta)
    except ModelFileError as error:
        written = model_file.later_version(meta)
        if written is None:
            raise
        raise ModelFileError(
            f"{path} was written by ancf {written}, and this is ancf {__version__}, which cannot take all of it. "
            f"Install ancf {written}, or a later one."
        ) from error


def _load(path: str, arrays: dict[str, NDArray[Any]], meta: Mapping[str, Any]) -> "Recommender":
    name = meta.get("class")
    if name == CLASS_NAME:
        raise ModelFileError(
            f"{path}: this is a checkpoint of a training that has not ended. Call fit with checkpoint={path!r} and "
            "resume=True on the same table, and load what it saves."
        )
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
        loaded: Recommender = model._from_arrays(arrays, meta)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Every hash was right, so somebody wrote it on purpose, or a version of ancf that had other parts.
        raise ModelFileError(f"{path}: its parts are not those of a {name} ({error}). Load another copy.") from error
    return loaded
