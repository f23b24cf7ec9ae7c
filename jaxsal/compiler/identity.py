"""Fingerprints of what decides the maps: parameters, model, method and key, one each."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from jaxsal.compiler.callables import assemble
from jaxsal.compiler.parameters import assemble_params
from jaxsal.compiler.prepare import Call
from jaxsal.compiler.program import Schedule, example
from jaxsal.types import ArrayOrShape, Tree

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Addresses in the `repr` of functions, which differ from process to process."""


def identity(call: Call) -> dict[str, str]:
    """A fingerprint of the parameters, the model, the method with its options, and the key.

    And what the model's outputs are, by its name.

    The model and the method are fingerprinted as the programs that they are, so that no name is
    believed: an edited function is another one. A method's fingerprint holds its model.
    """
    apply = assemble(call.spec.parts, call.shared["arrays"])[0]
    image, params = _abstract(call.rows["image"], rows=True), _abstract(call.shared["params"])
    one = jax.ShapeDtypeStruct((1, *image.shape), image.dtype)
    model = jax.make_jaxpr(lambda params, x: apply(assemble_params(call.spec.params, params), x))(
        params, one
    )
    plain = dataclasses.replace(
        call.spec,
        rewrite=False,
        bounds=tuple((name, 1) for name, _ in call.spec.bounds),  # the images', as the rows are
        record=False,
    )
    row = {name: _abstract(column, rows=True) for name, column in call.rows.items()}
    method = jax.make_jaxpr(functools.partial(example, plain, Schedule(plain.classes)))(
        _abstract(call.shared), row
    )
    keys = [tree["key"] for tree in (call.shared, call.rows) if "key" in tree]
    return {
        "params": _hash(_contents(call.shared["params"].tree)),
        "model": _hash(_program(model)),
        "method": _hash([*_program(method), *_contents(call.shared["arrays"])]),
        "output": call.spec.output.name,
        "key": _hash(_contents(keys)) if keys else "",
    }


def _abstract(tree: Tree, *, rows: bool = False) -> Tree:
    def one(leaf: ArrayOrShape) -> jax.ShapeDtypeStruct:
        shape, dtype = np.shape(leaf), jnp.result_type(leaf)
        return jax.ShapeDtypeStruct(shape[1:] if rows else shape, dtype)

    return jax.tree.map(one, tree)


def _program(closed: ClosedJaxpr) -> Iterator[bytes]:
    """A program's text and the contents of its constants, those of inner programs too."""
    yield ADDRESS.sub("", str(closed.jaxpr)).encode()
    yield from _constants(closed)


def _constants(program: Any) -> Iterator[bytes]:
    """Of a closed program or of an open one, which may hold closed ones."""
    yield from _contents(getattr(program, "consts", ()))
    for equation in getattr(program, "jaxpr", program).eqns:
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(value):
                yield from _constants(value)


def _is_program(value: object) -> bool:
    return hasattr(value, "eqns") or (hasattr(value, "jaxpr") and hasattr(value, "consts"))


def _contents(tree: Tree) -> Iterator[bytes]:
    """The leaves' paths, dtypes, shapes and values."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            yield str(leaf.dtype).encode()
            leaf = jax.random.key_data(leaf)
        array = np.ascontiguousarray(leaf)
        yield f"{jax.tree_util.keystr(path)} {array.dtype.name} {np.shape(leaf)}".encode()
        yield array.tobytes()


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:20]
