"""Constructor manners: options by name, stored as given, found again by name, and never misspelt silently."""

import functools
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Self

from ancf.errors import InvalidParameterError


class Params:
    """``get_params``, ``set_params`` and cloning as scikit-learn expects them; the constructor only stores."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__init__" in cls.__dict__:
            cls.__init__ = _with_keyword_checks(cls.__init__, cls)  # type: ignore[method-assign]

    @classmethod
    def _option_names(cls) -> tuple[str, ...]:
        return _keyword_names(cls.__init__)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name, as they were given."""
        return {name: getattr(self, name) for name in self._option_names()}

    def set_params(self, **options: Any) -> Self:
        """Change options by name; a fitted model keeps what it has learned until the next ``fit``."""
        refuse_unknown(type(self).__name__, options, self._option_names())
        for name, value in options.items():
            setattr(self, name, value)
        return self

    def clone(self) -> Self:
        """A new, unfitted object with the same options."""
        return type(self)(**self.get_params())

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not _equals_default(value, defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


@functools.cache
def _keyword_names(constructor: Callable[..., None]) -> tuple[str, ...]:
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return tuple(each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY)


def _equals_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))


def _with_keyword_checks(constructor: Callable[..., None], owner: type) -> Callable[..., None]:
    @functools.wraps(constructor)
    def checked(self: Any, *positional: Any, **options: Any) -> None:
        names = _keyword_names(constructor)
        if positional:
            raise InvalidParameterError(
                f"{owner.__name__} takes its options by name; {positional[0]!r} was given without one. "
                f"Write for example {names[0]}={positional[0]!r}."
                if names
                else f"{owner.__name__} takes no options; {positional[0]!r} was given."
            )
        refuse_unknown(owner.__name__, options, names)
        constructor(self, **options)

    return checked


def refuse_unknown(owner: str, options: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in options:
        if name not in names:
            near = get_close_matches(name, names, 1, 0.5)
            remedy = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names) or 'no options'}."
            raise InvalidParameterError(f"{owner} has no option {name!r}; {remedy}")
