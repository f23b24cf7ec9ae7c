"""LRP: parity with zennit and captum on two networks, conservation, and what peers get wrong."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsal
from jaxsal.commands.method_syntax import method
from jaxsal.rewrite.relevance.composites import COMPOSITES
from jaxsal.rewrite.relevance.layer_rules import RULES, epsilon, stabilized
from tests import golden2 as golden
from tests import toy

LAYERS = ("convolution", "dense")
LOW, HIGH = (golden.channels_last(golden.ROWS[name])[0] for name in ("low", "high"))


def on_convolutions(rule, first=None):
    """A composite: a rule for convolutions, perhaps another for the first, epsilon elsewhere."""

    def composite(operation):
        chosen = first if first and operation.first else rule
        return chosen if operation.kind == "convolution" else None

    return composite


def epsilon_quarter(layer, relevance, options):
    return epsilon(layer, relevance, options._replace(epsilon=0.25))


def of_kernel(change):
    """captum's rules: another kernel, input and bias as they are."""

    def rule(layer, relevance, options):
        kernel = change(layer.kernel)
        z = layer.bind(layer.x, kernel) + layer.bias
        return layer.x * layer.pull(kernel, relevance / stabilized(z, options.stabilizer))

    return rule


small = {"epsilon": 1e-9, "stabilizer": 1e-9}
positive = partial(jnp.maximum, 0)
ZENNIT = {
    "lrp_epsilon": {"composite": "epsilon"},
    "lrp_epsilon_0.25": {"composite": on_convolutions(epsilon_quarter)},
    "lrp_zplus": {"composite": on_convolutions("zplus")},
    "lrp_alpha2beta1": {"composite": on_convolutions("alphabeta")},
    "lrp_gamma": {"composite": on_convolutions("gamma")},
    "lrp_gamma_1": {"composite": on_convolutions("gamma"), "gamma": 1.0},
    "lrp_flat": {"composite": on_convolutions("flat")},
    "lrp_wsquare": {"composite": on_convolutions("wsquare")},
    "lrp_zbox_zplus": {"composite": on_convolutions("zplus", "zbox"), "low": LOW, "high": HIGH},
    "lrp_wsquare_zplus": {"composite": on_convolutions("zplus", "wsquare")},
    "EpsilonPlus": {},
    "EpsilonPlusFlat": {"composite": "epsilon_plus_flat"},
    "EpsilonAlpha2Beta1": {"composite": "epsilon_alpha2_beta1"},
    "EpsilonAlpha2Beta1Flat": {"composite": "epsilon_alpha2_beta1_flat"},
    "EpsilonGammaBox": {"composite": "epsilon_gamma_box", "low": LOW, "high": HIGH},
    "ExcitationBackprop": {"composite": "excitation_backprop"},
}
CAPTUM = {
    "lrp_epsilon": {"composite": "epsilon", **small},
    "lrp_gamma": {"composite": on_convolutions(of_kernel(lambda w: w + positive(w) / 4)), **small},
    "lrp_alpha1beta0": {"composite": on_convolutions(of_kernel(positive)), **small},
}
ROWS = (
    [f"zennit/{name}" for name in ZENNIT]
    + [f"b/zennit/{name}" for name in ZENNIT]
    + ["captum/lrp_epsilon", "captum/lrp_gamma", "captum/lrp_alpha1beta0", "b/captum/lrp_epsilon"]
)


@cache
def maps(network):
    """Every row's map of a network, and its scores."""
    zennit = {f"zennit/{name}": each for name, each in ZENNIT.items()}
    captum = {f"captum/{name}": each for name, each in CAPTUM.items()}
    captum = {name: each for name, each in captum.items() if f"{network}{name}" in golden.ROWS}
    # captum's sums of one sign stand over a sum of both: of the smallest, float32 keeps 3 digits.
    with jax.enable_x64(True):
        return explained(network, zennit, np.float32) | explained(network, captum, np.float64)


def explained(network, options, dtype):
    """The maps by `lrp` with options by name, and the scores, from one program."""
    apply, params = golden.NETWORKS[network]
    params, images = jax.tree.map(lambda x: np.asarray(x, dtype), (params, golden.IMAGES))

    def explain(image, target):
        score = lambda x: apply(params, x[None])[0, target]  # noqa: E731
        found = {name: jaxsal.lrp(score, image, **each) for name, each in options.items()}
        return found | {"score": score(image)}

    return jax.device_get(jax.jit(jax.vmap(explain))(images, golden.TARGETS))


def row(name):
    return golden.channels_last(golden.ROWS[name])


@pytest.mark.parametrize("name", ROWS)
def test_peers(name):
    network = "b/" if name.startswith("b/") else ""
    toy.close(maps(network)[name.removeprefix(network)], row(name))


@pytest.mark.parametrize("network", ["", "b/"])
def test_relevance_starts_as_the_score(network):
    """zennit's examples start with 1: their maps sum to about 1, not to the logit."""
    found = maps(network)
    scaled = found["zennit/EpsilonPlus"] / found["score"][:, None, None, None]
    toy.close(scaled, row(f"{network}zennit/EpsilonPlus_onehot"))


@pytest.mark.parametrize("network", ["", "b/"])
def test_by_epsilon_it_is_input_times_gradient(network):
    """Of a piecewise linear network, whatever its norms and pools."""
    apply, params = golden.NETWORKS[network]
    tiny = partial(jaxsal.lrp, composite="epsilon", epsilon=1e-12, stabilizer=1e-12)
    methods = {"lrp": tiny, "gradient": jaxsal.input_x_gradient}
    found = jaxsal.explainer(apply, methods)(params, golden.IMAGES, golden.TARGETS)
    toy.close(found["lrp"], found["gradient"])


TRAPS = {
    "zennit/trap_EpsilonPlus_functional_mean": 0.9,
    "b/zennit/trap_EpsilonPlus_plain_add": 0.1,
    "b/zennit/trap_EpsilonPlus_not_merged": 0.01,
}


@pytest.mark.parametrize("name", TRAPS)
def test_what_hooks_do_not_see(name):
    """Functional means, plain additions and norms defined elsewhere have their rules."""
    network = "b/" if name.startswith("b/") else ""
    found, wrong = maps(network)["zennit/EpsilonPlus"], row(name)
    assert np.abs(found - wrong).max() > TRAPS[name] * np.abs(found).max()


def test_a_residual_does_not_double_relevance():
    """Handed to both sides of a sum in full, it would be twice the score, and four times."""
    image = jnp.asarray(toy.images(1)[0])

    def score(x):
        inner = jax.nn.relu(x) * 2 + x
        return jnp.sum(jax.nn.relu(inner * 3) + inner)

    toy.close(jaxsal.lrp(score, image).sum(), score(image), 1e-4)


def test_alphabeta_doubles_where_nothing_is_negative():
    """alpha R goes up and no beta R comes back: 2 R of one positive weight, by definition."""
    score = lambda x: (x @ jnp.ones((2, 1)))[0]  # noqa: E731
    found = jaxsal.lrp(score, jnp.ones(2), composite=lambda operation: "alphabeta")
    toy.close(found, 2 * np.ones(2))


def test_calls_do_not_change_each_other():
    """captum's second call of the same explainer silently uses another rule."""
    explain = jaxsal.explainer(toy.apply, jaxsal.lrp, composite="epsilon_alpha2_beta1")
    given = toy.params(), toy.images(2), toy.targets(2)
    np.testing.assert_array_equal(explain(*given), explain(*given))


def test_bounds_are_those_of_the_image_wherever_the_first_layer_is():
    """z-box of a layer that reads `2 x - 1` is that of the layer that reads x, with 2 W."""
    weights, image = jnp.asarray(toy.images(1, shape=(3, 2))[0]), jnp.array([0.2, 0.5, 0.9])
    box = partial(jaxsal.lrp, composite=lambda op: "zbox" if op.kind == "dense" else None)
    box = partial(box, low=0.0, high=1.0)
    found = box(lambda x: (jax.nn.relu((2 * x - 1) @ weights)).sum(), image)
    expected = box(lambda x: (jax.nn.relu(x @ (2 * weights) - weights.sum(0))).sum(), image)
    toy.close(found, expected)


def composite_of_another_rule(operation):
    return "delta"


def test_one_rule_for_all_layers():
    """A layer's rule for an activation is none of its business."""
    score = partial(toy.score, toy.params(), target=1)
    image = jnp.asarray(toy.images(1)[0])
    found = jaxsal.lrp(score, image, composite=lambda operation: "epsilon")
    toy.close(found, jaxsal.lrp(score, image, composite="epsilon"))


WRONG = {
    "a name": ({"composite": "epsilon_minus"}, "epsilon_plus"),
    "a rule": ({"composite": composite_of_another_rule}, "'delta'"),
    "weights": ({"alpha": 2.0, "beta": 2.0}, "alpha - beta"),
    "weights of jax": ({"alpha": jnp.float32(2), "beta": jnp.float32(0.5)}, "alpha - beta"),
    "no bounds": ({"composite": "epsilon_gamma_box"}, "low, high"),
    "a bound": ({"low": np.zeros(5), "high": 1.0}, "broadcasts"),
    "a number": ({"epsilon": -1.0}, "epsilon"),
    "no epsilon": ({"epsilon": 0.0}, "epsilon.*above 0"),
    "no stabilizer": ({"stabilizer": 0}, "stabilizer.*above 0"),
    "one bound": ({"low": 0.0}, "both or neither"),
    "bounds exchanged": ({"low": 1.0, "high": 0.0}, "low <= high"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options(name):
    options, message = WRONG[name]
    image = jnp.asarray(toy.images(1)[0])
    with pytest.raises((ValueError, TypeError), match=message):
        jaxsal.lrp(partial(toy.score, toy.params(), target=0), image, **options)


@pytest.mark.parametrize("explain", [jaxsal.lrp, jaxsal.deep_lift, jaxsal.attn_lrp])
def test_an_operation_without_a_rule_is_named(explain):
    """Never a silent gradient."""

    def score(x):
        with jax.named_scope("Head"):
            return jnp.sum(jnp.cumprod(jax.nn.relu(x), axis=0))

    with pytest.raises(ValueError, match=r"cumprod f32\[8,8,1\] in Head"):
        explain(score, jnp.asarray(toy.images(1)[0]))


@pytest.mark.parametrize("explain", [jaxsal.lrp, jaxsal.deep_lift, jaxsal.attn_lrp])
def test_a_score_of_nothing_is_an_error(explain):
    with pytest.raises(ValueError, match="depends on the image"):
        explain(lambda x: jnp.float32(3), jnp.asarray(toy.images(1)[0]))


def test_describe_lists_which_rule_each_operation_got():
    explain = jaxsal.explainer(toy.apply, jaxsal.lrp)
    found = explain.describe(toy.params(), toy.images(2))["rewritten"]
    listed = "\n".join(found)
    for words in ("conv_general_dilated f32[1,8,8,4]: zplus", "f32[1,3]: epsilon", "winner takes"):
        assert words in listed


def test_every_rule_and_composite_is_tried():
    used = {each.get("composite", "epsilon_plus") for each in ZENNIT.values()}
    assert used >= set(COMPOSITES)
    chosen = [rule for row in ZENNIT for rule in RULES if rule in row.lower()]
    assert {*chosen, "alphabeta"} >= set(RULES) - {"zbox"}


def test_the_command_s_spelling():
    chosen = method("lrp(composite='epsilon_plus_flat', low=0.0, high=1.0)")
    image = jnp.asarray(toy.images(1)[0])
    score = partial(toy.score, toy.params(), target=1)
    toy.close(chosen(score, image), jaxsal.lrp(score, image, composite="epsilon_plus_flat"))
