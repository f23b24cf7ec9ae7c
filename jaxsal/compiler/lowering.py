"""Programs compiled ahead of time, called with the explainer's own arguments."""

from collections.abc import Callable
from typing import Any

import jax

from jaxsal.types import Tree


class Lowered:
    """A lowered program, as `jax.stages.Lowered`; array options are arguments, never constants.

    Whatever else `jax.stages.Lowered` has (`as_text`, `cost_analysis`, ...) it has too.
    """

    def __init__(
        self,
        lowered: jax.stages.Lowered,
        arguments: Callable[..., tuple[Tree, Tree]],
        ordered: Callable[[Tree], Tree],
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
        compiled: jax.stages.Compiled,
        arguments: Callable[..., tuple[Tree, Tree]],
        ordered: Callable[[Tree], Tree],
    ) -> None:
        self._compiled = compiled
        self._arguments, self._ordered = arguments, ordered

    def __call__(self, *args: Tree, **keywords: Tree) -> Tree:
        return self._ordered(self._compiled(*self._arguments(*args, **keywords)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)
