"""The errors of ancf: each names the value, the place and the remedy, and leaves the object as it was."""


class AncfError(Exception):
    """The base of all errors that ancf raises on purpose."""


class _TextKeyError(AncfError, KeyError):
    """A ``KeyError`` whose text is its message, not the message in quotes."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UnknownUserError(_TextKeyError):
    """A user that was not in training."""


class UnknownItemError(_TextKeyError):
    """An item that was not in training."""


class NotFittedError(AncfError, ValueError, AttributeError):
    """A model that was not fitted yet was asked for something only a fitted one has."""


class InvalidDataError(AncfError, ValueError):
    """Data that cannot be used as it stands; the message has row numbers where there are rows."""


class InvalidParameterError(AncfError, ValueError):
    """An option that is unknown, or has a value that makes no sense."""


class _PositionError(InvalidParameterError, IndexError):
    """A position outside a sequence: an ``IndexError`` as Python's sequences raise it."""


class _NoSuchPartError(InvalidParameterError, AttributeError):
    """A part that a model does not have: an ``AttributeError``, so that ``hasattr`` says no."""


class InvalidCallError(InvalidParameterError, TypeError):
    """A call with an option that does not exist, with one too many, or without one that is needed."""


class DivergedError(AncfError, ArithmeticError):
    """Training left the finite numbers; the last good state is kept."""


class ModelFileError(AncfError, OSError, ValueError):
    """A model file that is damaged, foreign or from a later version."""


class MissingExtraError(AncfError, ImportError):
    """A function needs an optional package that is not installed; the message names the extra."""


class ServerError(AncfError, OSError):
    """A server that cannot be reached, or refuses a request.

    Attributes
    ----------
    status : int or None, the status of HTTP; None where there was no answer
    place : str or None, what of the request is wrong
    """

    def __init__(self, message: str, status: int | None = None, place: str | None = None) -> None:
        super().__init__(message)
        self.status, self.place = status, place


class InternalError(AncfError, RuntimeError):
    """A defect of ancf itself."""


class TrainingWarning(UserWarning):
    """Training goes on, but something about it deserves a look."""
