"""Integrated gradients of 512 images of 224x224x3 in a process of 4 GiB of address space.

    python -m tests.memory_limit [--images 512] [--steps 2] [--gibibytes 4]

`batch_size="auto"` asks the compiler how much memory a program takes before it runs, and the system
how much there is; it prints the chunk that it took. Memory does not grow with the steps. About a
minute on two cores.
"""

import argparse
import resource

SHAPE = (224, 224, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--gibibytes", type=float, default=4.0)
    settings = parser.parse_args()
    limit = int(settings.gibibytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))  # before anything is mapped

    import jax
    import numpy as np

    import jaxsal

    rng = np.random.default_rng(0)
    params = {
        "first": rng.normal(size=(3, 3, 3, 8)).astype(np.float32),
        "second": rng.normal(size=(3, 3, 8, 8)).astype(np.float32) / 8,
        "dense": rng.normal(size=(8, 4)).astype(np.float32),
    }

    def apply(params: dict, images: jax.Array) -> jax.Array:
        x = images
        for name in ("first", "second"):
            layout = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(
                x, params[name], (1, 1), "SAME", dimension_numbers=layout
            )
            x = jax.nn.relu(x)
        return x.mean(axis=(1, 2)) @ params["dense"]

    images = rng.random(size=(settings.images, *SHAPE), dtype=np.float32)
    explain = jaxsal.explainer(apply, jaxsal.integrated_gradients, steps=settings.steps)
    maps = explain(params, images, 0)
    total = np.asarray(maps).sum(axis=(1, 2, 3))
    plan = explain.describe(params, images, 0)
    assert np.isfinite(total).all() and np.abs(total).max() > 0
    print(
        f"explained {settings.images} images in {settings.gibibytes:g} GiB: {plan['images']} "
        f"images of {plan['chunk']} points at a time, {plan['bytes'] / 2**20:.0f} MiB a program"
    )


if __name__ == "__main__":
    main()
