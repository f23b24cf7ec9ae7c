"""Maps that cannot depend on their images or parameters are said to, once."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from tests import toy

P = toy.params()
X = toy.images(2)
TOKENS = np.array([[0, 3, 1, 2], [2, 2, 4, 0]], np.float32)[..., None]
EMBEDDING = {
    "table": jnp.asarray(toy.images(5, shape=(6,))),
    "dense": jnp.asarray(toy.images(6, shape=(3,))),
}


def of_embeddings(params, embedded):
    return jnp.tanh(embedded).mean(1) @ params["dense"]


def of_tokens(params, tokens):
    return of_embeddings(params, params["table"][tokens[..., 0].astype(jnp.int32)])


def rounded(params, images):
    return toy.apply(params, jnp.round(images))


def said(apply, params=P, images=X, method=jaxsal.gradient, **options):
    """What an explainer of these says, of two calls; nothing is compiled where all is proved."""
    explain = jaxsal.explainer(apply, method, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for target in (0, 1):
            explain._prepare.check_model(explain._prepare(params, {"image": images}, target, None))
    assert all(each.category is RuntimeWarning for each in caught)
    return [str(each.message) for each in caught]


NO_PATH = "apply: no path leads from the images to the score"
NO_DERIVATIVE = "apply: no derivative passes from the images to the score"
MEANINGLESS = {
    "a constant": (lambda p, x: toy.apply(p, jnp.zeros_like(x)), {}, NO_PATH),
    "a shape": (lambda p, x: toy.apply(p, jnp.full(x.shape, x.ndim * 1.0)), {}, NO_PATH),
    "an objective of the target alone": (
        toy.apply,
        {"objective": lambda logits, target: target.astype(jnp.float32)},
        NO_PATH,
    ),
    "a perturbation of a constant": (
        lambda p, x: toy.apply(p, jnp.zeros_like(x)),
        {"method": jaxsal.occlusion, "window": 4},
        NO_PATH,
    ),
    "token ids": (of_tokens, {"params": EMBEDDING, "images": TOKENS}, NO_DERIVATIVE),
    "pixels that are rounded": (rounded, {}, f"{NO_DERIVATIVE} .round"),
    "a comparison": (
        lambda p, x: toy.apply(p, (x > 0).astype(jnp.float32)),
        {},
        f"{NO_DERIVATIVE} .gt",
    ),
    "stop_gradient": (
        lambda p, x: toy.apply(p, jax.lax.stop_gradient(x)),
        {"method": {"a": jaxsal.input_x_gradient, "b": jaxsal.guided_grad_cam}},
        rf"{NO_DERIVATIVE} \(stop_gradient in the way\), so that input_x_gradient, guided_grad_cam",
    ),
    "an objective of a rank": (
        toy.apply,
        {"objective": lambda logits, target: jnp.argmax(logits).astype(jnp.float32)},
        f"{NO_DERIVATIVE} .argmax",
    ),
}


@pytest.mark.parametrize("name", MEANINGLESS)
def test_a_map_that_cannot_depend_on_its_image_is_said_to_once(name) -> None:
    apply, options, told = MEANINGLESS[name]
    (text,) = said(apply, **options)
    assert re.match(told, text)


@pytest.mark.parametrize("name", ["a constant", "token ids"])
def test_it_is_all_zero(name) -> None:
    apply, options, told = MEANINGLESS[name]
    params, images = options.get("params", P), options.get("images", X)
    with pytest.warns(RuntimeWarning, match=told):
        assert not np.any(jaxsal.explainer(apply, jaxsal.gradient)(params, images, 0))


def test_what_only_evaluates_needs_no_derivative() -> None:
    assert said(rounded, method=jaxsal.occlusion, window=4) == []
    assert said(rounded, method=jaxsal.grad_cam) == []  # its derivative is of a layer
    assert np.any(jaxsal.explainer(rounded, jaxsal.grad_cam)(P, X, 0))


def test_of_embeddings_there_is_an_explanation() -> None:
    """What the messages say to do."""
    embedded = EMBEDDING["table"][TOKENS[..., 0].astype(int)]
    dense = {"dense": EMBEDDING["dense"]}
    assert np.any(jaxsal.explainer(of_embeddings, jaxsal.gradient)(dense, embedded, 0))
    with pytest.raises(TypeError, match=r"images: .*int32.*embeddings as images"):
        jaxsal.explainer(of_tokens, jaxsal.gradient)(EMBEDDING, TOKENS.astype(np.int32))


FROZEN = "and the model holds 2"  # 228 or 232 numbers
PARAMS = {
    "no params": (lambda _, x: toy.apply(P, x), (), f"params: holds no arrays, {FROZEN}"),
    "None": (lambda _, x: toy.apply(P, x), None, f"params: holds no arrays, {FROZEN}"),
    "others": (
        lambda _, x: toy.apply(P, x),
        toy.params(1),
        f"params: none of its 3 arrays reaches the logits, {FROZEN}",
    ),
    "weights of NumPy": (
        lambda _, x: toy.apply(jax.tree.map(np.asarray, P), x),
        {},
        f"params: holds no arrays, {FROZEN}",
    ),
    "params that nothing reads": (
        lambda p, x: x[:, :3, 0, 0],
        P,
        "params: none of its 3 arrays reaches the logits: other parameters give the same maps",
    ),
}


@pytest.mark.parametrize("name", PARAMS)
def test_weights_that_are_not_seen_are_said_to_be_frozen(name) -> None:
    apply, params, told = PARAMS[name]
    (text,) = said(apply, params)
    assert text.startswith(told)


def test_what_depends_on_both_is_not_spoken_of() -> None:
    """And a model without weights, or with some of its own beside params, is as good as any."""
    for apply, params in {
        toy.apply: P,
        (lambda _, x: jnp.sin(x).sum((1, 2)) * jnp.ones((1, 3))): (),
        (lambda p, x: toy.apply({**P, "dense": p}, x)): P["dense"],
    }.items():
        assert said(apply, params) == []


def test_nothing_is_said_unchecked_or_in_a_trace() -> None:
    frozen = lambda _, x: toy.apply(P, x)  # noqa: E731
    assert said(frozen, (), check=False) == []
    jax.jit(lambda x: jaxsal.explainer(frozen, jaxsal.gradient)((), x, 0))(X)
