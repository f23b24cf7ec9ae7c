"""Programs compiled ahead of time, called with the explainer's own arguments."""

from collections.abc import Callable
from typing import Any


class Lowered:
    """A lowered program, as `jax.stages.Lowered`; array options are arguments, never constants.

    Whatever else `jax.stages.Lowered` has (`as_text`, `cost_analysis`, ...) it has too.
    """

    def __init__(
        self,
        lowered: Any,
        arguments: Callable[..., tuple[Any, Any]],
        ordered: Callable[[Any], Any],
    ) -> None:
        self._lowered = lowered
        self._given = arguments, ordered

    def compile(self, *args: Any, **options: Any) -> "Compiled":
        return Compiled(self._lowered.compile(*args, **options), *self._given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lowered, name)


class Compiled:
    """A compiled program, as `jax.stages.Compiled`, called as the explainer it comes from."""

    def __init__(
        self,
        compiled: Any,
        arguments: Callable[..., tuple[Any, Any]],
        ordered: Callable[[Any], Any],
    ) -> None:
        self._compiled = compiled
        self._arguments, self._ordered = arguments, ordered

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._ordered(self._compiled(*self._arguments(*args, **keywords)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)
