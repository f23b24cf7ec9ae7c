"""Every kind of model, unmodified, through the front door: one row each."""

import functools

import jax
import numpy as np
import pytest

import jaxsal
from jaxsal.rewrite.notes import collect_notes
from tests.zoo import ZOO


@pytest.mark.parametrize("name", ZOO)
def test_models_nobody_prepared(name):
    """Gradients and CAMs from one program equal those of one image at a time, by hand.

    Every operation has a rule: DeepLIFT's maps sum to the difference, loops and norms included.
    """
    animal = ZOO[name]()
    images, target = animal.images(2), 2
    cam = functools.partial(
        jaxsal.grad_cam, layer=animal.layer, spatial=animal.spatial, relu=False, resize=False
    )
    methods = {"gradient": jaxsal.gradient, "cam": cam}
    methods |= {"deep_lift": jaxsal.deep_lift, "lrp": jaxsal.lrp}
    if animal.relus:
        methods["guided"] = jaxsal.guided_backprop
    maps = jaxsal.explainer(animal.apply, methods)(animal.params, images, target)
    assert maps["gradient"].shape == images.shape and maps["cam"].shape == (2, *animal.grid)

    score = animal.score(target)
    alone = jax.jit(lambda x: {"gradient": jax.grad(score)(x), "cam": cam(score, x)})(images[1])
    for kind, expected in alone.items():
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(maps[kind][1], expected, atol=1e-4 * scale)
    difference = score(images[1]) - score(0 * images[1])
    rounding = 1e-5 * np.abs(maps["deep_lift"][1]).sum()
    np.testing.assert_allclose(maps["deep_lift"][1].sum(), difference, atol=rounding)
    assert np.isfinite(maps["lrp"]).all() and np.abs(maps["lrp"]).max() > 0
    if animal.relus:
        assert np.abs(maps["guided"]).max() > 0
        with collect_notes() as notes:
            jax.eval_shape(functools.partial(jaxsal.guided_backprop, score), images[0])
        assert sum(note.done for note in notes) == animal.relus


def test_attention_alone_has_no_relu_to_guide():
    animal = ZOO["vit"]()
    with pytest.raises(ValueError, match="ReLU"):
        jaxsal.explainer(animal.apply, jaxsal.guided_backprop)(animal.params, animal.images(1), 0)
