"""Tumours whose classes differ in the outline alone: what a test of the shape has to find."""

from jaxsal.data.phantom.lesion import ABSENT

COMMON = ABSENT | {
    "radius": (13.0, 18.0),
    "tilt": (0.0, 3.14),
    "rim": (3.0, 5.0),
    "rim_value": (0.75, 0.95),
    "core": (1.0, 1.0),
    "texture": (0.02, 0.07),
    "fringe": (0.3, 0.8),
    "push": (0.2, 0.5),
    "inward": (0.3, 0.5),
}
"""Solid, even, enhancing, deep in the brain."""

SHAPES = {"round": COMMON, "long": COMMON | {"stretch": (1.5, 1.7)}}
"""A disc; or an ellipse of the disc's area, 2.25 to 2.9 times as long as wide."""
