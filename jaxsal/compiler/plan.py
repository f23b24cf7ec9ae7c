"""Arithmetic of batch sizes: how many images, classes and points are evaluated at a time."""

from collections.abc import Callable
from dataclasses import dataclass

CAPS = {"cpu": 32, "gpu": 512, "tpu": 512}
"""Where `"auto"` starts: evaluations in flight on one device, beyond which more mostly do not pay;
where they do, see `TEMPORARIES_TARGET`."""

ONE_IMAGE = {"cpu": 4}
"""Points of one image after another, where images need different numbers of them.

A batch goes on until its last image is done. On two CPU cores, integrated gradients with a
tolerance of 1 % take 20 ms a map so, and 47 ms in batches of 32 (28 points on average, up to 129).
"""

WINDOWS_CAPS = {"tpu": 64}
"""As `CAPS`, of windows at places that all images share.

Predicted for a v5e and a ViT, 2 images: 64 evaluations at a time take 77 ms, 128 take 104, 512 take
222, which do not fit into the memory of the chip itself.
"""

ONE_WINDOW = {"tpu": 4}
"""From how many images on, windows at places that all images share are taken one after another.

XLA cuts a window out of all images at once, but the windows of a chunk in a loop. Predicted for a
v5e and the study's CNN at 128x128: of 64 images all windows one by one take 48 ms, eight at a time
261; of 8 images 22 ms, 64 at a time 37; of one 23 and 20.
"""

TEMPORARIES_LIMIT = {"cpu": 32 * 2**20}
"""Bytes of temporaries of one program, beyond which more evaluations at a time do not pay.

The CPU's allocator (glibc) asks the kernel anew for each larger block, and the kernel clears it
page by page: up to 40 % of a gradient's time. Below, it hands out the same memory again, which
mostly still lies in the cache. Temporaries that are there for any number of evaluations (kernels in
another layout: 113 MiB of a ResNet-50) are no reason for fewer, over which they are shared.
"""

TEMPORARIES_TARGET = {"gpu": 4.0 * 2**30}
"""Bytes of temporaries of one program, up to which more evaluations at a time pay: tried once, with
one more compilation, for methods that evaluate points.

An occlusion computes what a window changes, a few per cent of an evaluation: 512 of those do not
keep a GPU busy (H200: all 14,400 of 64 images at a time are 1.5 times as fast).
"""

MOST_GROWTH = 64
"""How many times as many as `CAPS` are evaluated at a time, at most."""

COMPILATIONS = 3
"""How often `"auto"` may scale down."""


@dataclass(frozen=True)
class Plan:
    """What one program holds at a time on one device: the product of its attributes.

    Attributes:
        images: images.
        class_chunk: classes of each, more than one only where all are explained.
        chunk: points of each, of methods that evaluate as many as we say.
        maps: maps of each image that a metric is of.
    """

    images: int
    class_chunk: int
    chunk: int
    maps: int = 1

    @property
    def evaluations(self) -> int:
        return self.images * self.class_chunk * self.chunk * self.maps


def plan(
    evaluations: int,
    count: int,
    devices: int,
    *,
    classes: int = 1,
    maps: int = 1,
    points: bool,
    bound: int = 1,
) -> Plan:
    """Classes first, which share a forward pass; then images, as many as there are; then points.

    Fewer images than the size allows are padded to a power of two; more are cut into chunks of one
    size, as even as multiples of an eighth of it allow: few shapes, little padding.

    Args:
        evaluations: model evaluations in flight on one device.
        count: images in the batch.
        devices: how many the batch is spread over.
        classes: of an image that are explained.
        maps: of an image that a metric is of; all of them at a time.
        points: whether the method evaluates several points of an image, as many as we say.
        bound: the points that it evaluates at a time if we do not say.
    """
    share = -(-count // devices)
    evaluations = max(1, evaluations // maps)
    class_chunk = min(classes, max(1, evaluations // bound))
    evaluations = max(1, evaluations // class_chunk)
    most = max(1, evaluations // bound)
    if share <= most:
        images = min(most, next_power_of_two(share))
    else:
        step = -(-most // 8)
        even = -(-share // -(-share // most))
        images = min(most, -(-even // step) * step)
    return Plan(images, class_chunk, max(1, evaluations // images) if points else 1, maps)


def scale_up(evaluations: int, temporaries: float, target: float) -> int:
    """As many more evaluations, a power of two times, as their temporaries may fill.

    None where these are not known: 0.
    """
    if not temporaries:
        return evaluations
    times = min(int(target / max(temporaries, 1.0)), MOST_GROWTH)
    return evaluations << max(times.bit_length() - 1, 0)


def limit_temporaries(most: int, temporaries: Callable[[int], float], limit: float) -> int:
    """As many evaluations, up to `most`, as have temporaries that pay; `most`, if no number has.

    .. math:: t(n) = a + b n;  none of them where a + b > limit

    Args:
        most: as many as fit.
        temporaries: t, which compiles; asked three times at most.
        limit: bytes.
    """
    first = temporaries(most)
    if first <= limit or first > limit * most:
        return most
    fewer = min(_last_power_of_two(limit * most / first), most // 2)
    second = temporaries(fewer)
    if second <= limit:
        return fewer
    each = max(0.0, first - second) / (most - fewer)
    room = limit - (second - each * fewer)
    if room < each or not each:
        return most
    fewest = min(_last_power_of_two(room / each), fewer // 2)
    return fewest if fewest and temporaries(fewest) <= limit else most


def _last_power_of_two(number: float) -> int:
    """The largest power of two that is no larger, 1 at least."""
    return 1 << max(int(number).bit_length() - 1, 0)


def scale_down(evaluations: int, load: Callable[[int], float]) -> int:
    """`evaluations`, scaled down until their load is at most one, or three times.

    Args:
        evaluations: where to start.
        load: evaluations to the share of what may be taken that a program of them takes: it
            compiles.
    """
    for _ in range(COMPILATIONS):
        share = load(evaluations)
        if share <= 1 or evaluations == 1:
            break
        evaluations = max(1, min(_last_power_of_two(evaluations / share), evaluations // 2))
    return evaluations


def next_power_of_two(count: int) -> int:
    """The next power of two: what is found for one number of images serves its neighbours."""
    return 1 << (count - 1).bit_length()
