"""The arguments of the `jaxsal` command: its help is written here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxsal.compiler.processes import Processes
from jaxsal.training.config import TrainOptions

FLAT = tyro.conf.arg(name="")
"""Of a record within a record: its options go without its name before theirs."""


@dataclass(frozen=True)
class Explain:
    """Explains what a model sees in images: PNG overlays in a folder, or maps in a Zarr store.

    jaxsal explain --checkpoint runs/mine --images scans/ --out overlays

    jaxsal explain --checkpoint runs/mine --images 'scans/**/*.png' --out maps.zarr
      --method "integrated_gradients(steps=64)" "smoothgrad(gradient, samples=50)"

    jaxsal explain --apply mymodel:apply --params weights.npz --images images.npy --out maps.zarr
    """

    images: str
    """An image file, a folder, a pattern such as 'scans/*.png', a .npy or .npz of [N, H, W],
    [N, H, W, C] or [N, C, H, W], as the model takes them, or tfds:NAME."""
    out: Path
    """A folder for PNG overlays, or a store NAME.zarr for maps, targets, logits and names."""
    checkpoint: Path | None = None
    """The --out folder of `jaxsal train` or of the study."""
    apply: str | None = None
    """package.module:name of a function (params, images) -> logits, or of a model of Linen, NNX,
    Equinox or Keras on JAX; with --params."""
    params: Path | None = None
    """Its parameters: .npz, .safetensors (names with slashes or dots become nested dicts), .npy,
    .msgpack, Keras's .weights.h5 or .keras, or an Orbax folder."""
    classes: str | None = None
    """Names of the classes, in the order of the model's outputs, as no,yes; a checkpoint has its
    own."""
    preprocess: str | None = None
    """package.module:function of one image [H, W, C] in [0, 1], before it goes to the model."""
    mean: tuple[float, ...] = ()
    """Subtracted from an image in [0, 1]: one number, or one a channel."""
    std: tuple[float, ...] = ()
    """What it is divided by then."""
    method: tuple[str, ...] = ("integrated_gradients(steps=64)",)
    """One or more, as Python calls: gradient, "occlusion(window=8)"."""
    targets: str = "predicted"
    """The class to explain: predicted, all, label (the image's own, by its folder's name), a number
    or a name."""
    output: Literal["logits", "probability", "value"] = "logits"
    """What the model returns; one logit or probability tells two classes apart, a value is one
    number of a regression."""
    style: Literal["overlay", "side-by-side", "contour"] = "overlay"
    """How pictures show a map: over the image, alone beside it, or as lines."""
    opacity: float = 1.0
    """Of an overlay where the map is strongest, up to 1."""
    colormap: str = "RdBu_r"
    """Of matplotlib; one without a middle shows |map|."""
    masks: Path | None = None
    """A folder with masks of the images' own paths, to be outlined in pictures."""
    keep_images: bool = False
    """Keep the images in a store, as the model takes them."""
    image_size: int | None = None
    """Side in pixels that files are resized to for the model; a checkpoint knows it."""
    channels: Literal[1, 3] = 1
    """1: files are read as grey; 3: as colour."""
    spatial_axes: tuple[int, ...] | None = None
    """Which axes of one image are spatial, as 1 2 where channels come first; none: those that the
    model's convolutions slide along."""
    split: str = "test"
    """Of a TFDS set."""
    dtype: Literal["float32", "float16"] = "float32"
    """Of the maps in a store."""
    chunk: int | None = None
    """Images a chunk of a store; none: about 16 MiB of maps."""
    batch_size: int | None = None
    """Model evaluations in flight on a device; none: as many as pay and fit."""
    seed: int = 0
    """Of methods that draw random numbers."""
    strict: bool = False
    """Stop at an image that cannot be read, instead of listing and skipping it."""
    json: bool = False
    """One line of JSON on the standard output, and no progress bar."""
    processes: Annotated[Processes, FLAT] = field(default_factory=Processes)


@dataclass(frozen=True)
class Train:
    """Trains the study's CNN on a folder of your own, and tests it on a fifth held out.

    jaxsal train --images scans/ --out runs/mine

    jaxsal explain --checkpoint runs/mine --images scans/ --out overlays

    Images of one patient stay on one side of the split where their names or folders tell. Writes
    the network (model.json, params.npz), metrics.json and checkpoints/; the same command after a
    kill goes on where it stopped.
    """

    images: Path
    """A folder with a folder of PNG or JPEG images for each class."""
    out: Path
    """The folder to write into."""
    training: Annotated[TrainOptions, FLAT] = field(default_factory=TrainOptions)
    strict: bool = False
    """Stop at a broken file, instead of leaving it out and saying so."""
    json: bool = False
    """One line of JSON on the standard output, and no progress bar."""
    processes: Annotated[Processes, FLAT] = field(default_factory=Processes)


@dataclass(frozen=True)
class Methods:
    """Lists the methods, each with a line about it and its options."""

    json: bool = False
    """One line of JSON."""


Command = (
    Annotated[Explain, tyro.conf.subcommand("explain")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Methods, tyro.conf.subcommand("methods")]
)
