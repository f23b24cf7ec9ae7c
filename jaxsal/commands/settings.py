"""The arguments of the `jaxsal` command: its help is written here."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxsal.compiler.processes import Processes
from jaxsal.data.reading import Reading
from jaxsal.training.config import TrainOptions

FLAT = tyro.conf.arg(name="")
"""Of a record within a record: its options go without its name before theirs."""


@dataclass(frozen=True)
class Preprocessing:
    """What images go through before a model that takes others than those in [0, 1]."""

    preprocess: str | None = None
    """package.module:function of one image [H, W, C] in [0, 1], before it goes to the model. For
    maps to lie on pictures, masks and scans it must leave pixels where they are: no flip, no turn,
    no crop. Channels may come first: lambda x: x.transpose(2, 0, 1)."""
    mean: tuple[float, ...] = ()
    """Subtracted from an image in [0, 1]: one number, or one a channel."""
    std: tuple[float, ...] = ()
    """What it is divided by then."""


@dataclass(frozen=True)
class Explain:
    """Explains what a model sees in images: PNG overlays in a folder, maps in a Zarr store, or
    maps as NIfTI that lie on the scan.

    jaxsal explain --checkpoint runs/mine --images scans/ --out overlays

    jaxsal explain --checkpoint runs/mine --images 'scans/**/*.png' --out maps.zarr
      --method "integrated_gradients(steps=64)" "smoothgrad(gradient, samples=50)"

    jaxsal explain --apply mymodel:apply --params weights.npz --images images.npy --out maps.zarr

    jaxsal explain --checkpoint runs/mine --images brain.nii.gz --slices axial:40:60 --out m.nii.gz
    """

    images: str
    """A picture or a scan (DICOM, NIfTI, MetaImage, TIFF, ...), a folder of them, a pattern such as
    'scans/*.png', a .npy or .npz of [N, H, W], [N, H, W, C] or [N, C, H, W], as the model takes
    them, or tfds:NAME."""
    out: Path
    """A folder of its own for PNG overlays; a store NAME.zarr for maps, targets, logits and names;
    or NAME.nii.gz for the maps of a scan on its own voxels (of several scans, methods or classes: a
    folder NAME with a file each). NaN where nothing was explained; colours are added up."""
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
    preprocessing: Annotated[Preprocessing, FLAT] = field(default_factory=Preprocessing)
    method: tuple[str, ...] = ("integrated_gradients(steps=64)",)
    """One or more, as Python calls: gradient, "occlusion(window=8)"; an option that is an array,
    as a map of segments, is a .npy file: "lime(segments='grid.npy')"."""
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
    """A folder of masks, named as their images (x.png, x_mask.png, x_seg.nii.gz), to be outlined in
    pictures; none: those beside the images, or in a folder that mirrors theirs."""
    keep_images: bool = False
    """Keep the images in a store, as the model takes them."""
    image_size: int | None = None
    """Side in pixels that images are made square and resized to; a checkpoint knows it."""
    channels: Literal[1, 3] | None = None
    """1: images are given as grey; 3: as colour; none: as the checkpoint says, else files as grey
    and arrays as they are."""
    slices: str | None = None
    """Of scans: axis[:from:to:step], an axis of axial, coronal, sagittal, or 0, 1, 2 of the array
    as it is stored; none: all of a DICOM or TIFF's own, axial ones of a NIfTI."""
    volumes: bool = False
    """Give the model whole scans, [X, Y, Z, 1] from left to right, back to front, feet to head."""
    window: tuple[float, float] | None = None
    """CENTER WIDTH of the values shown, in place of the file's own."""
    intensity: Literal["auto", "stretch", "full", "raw"] = "auto"
    """How values become 0 to 1. auto: the file's window; else 0 to the full scale of 8 or 16 bits,
    where a value reaches a tenth of it; else as stretch: percentiles 0.5 and 99.5 of the scan (of
    one picture, least and largest). raw: as they are. Floating arrays are the model's own."""
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
    """Trains the study's CNN on a folder of your own, and tests it on a part held out.

    jaxsal train --images scans/ --out runs/mine

    jaxsal train --images scans/ --labels scans/labels.csv --dry-run

    jaxsal explain --checkpoint runs/mine --images scans/ --out overlays

    First it tells what it understands of the folder: classes, patients, the split, masks, what is
    left out and why. Images of one patient, and identical ones, stay on one side of the split. It
    keeps the network of the epoch that is most accurate on the validation images (of equally
    accurate ones, the lowest loss), and stops where none is better for --patience epochs. Writes
    the network (model.json, params.npz), metrics.json, report.html, figures/, predictions.csv and
    checkpoints/; the same command after a kill goes on where it stopped. A copy of the pictures,
    with the names of patients as they are given, is cached under $JAXSAL_CACHE, else
    ~/.cache/jaxsal.
    """

    images: Path
    """A folder with a folder of images for each class, perhaps in training and testing folders,
    with masks beside them or in folders of their own; or any folder, with --labels."""
    out: Path | None = None
    """A folder of its own to write into; needed but for --dry-run."""
    reading: Annotated[Reading, FLAT] = field(default_factory=Reading)
    training: Annotated[TrainOptions, FLAT] = field(
        default_factory=partial(TrainOptions, validation_fold=4, patience=15)
    )
    volumes: bool = False
    """Train on whole scans (NIfTI, MetaImage, DICOM series), made cubes of --image-size voxels, by
    kernels of 3x3x3; a small network suits them: --image-size 32 --widths 16 32 64 --dropout 0
    --batch-size 8. --channels auto is grey."""
    channels: Literal["auto", "1", "3"] = "auto"
    """1: images are read as grey; 3: as colour; auto: as colour where at least half of them are,
    with --init as its network takes them."""
    init: Path | None = None
    """Weights of a ResNet to go on from, in place of the study's CNN: .safetensors, .npz, .msgpack
    or an Orbax folder, in PyTorch's or Flax's layout; best with --image-size 224, as trained."""
    mean: tuple[float, ...] = ()
    """Of each channel in [0, 1], taken off images before --init's network; none: ImageNet's."""
    std: tuple[float, ...] = ()
    """Of each channel, which they are divided by then."""
    dry_run: bool = False
    """Tell what is understood, and stop."""
    force: bool = False
    """Go on where a class is missing from training or test, or a patient is on both sides; every
    output is marked."""
    strict: bool = False
    """Stop at a broken file, or a row of --labels that names none, instead of leaving it out and
    saying so."""
    json: bool = False
    """One line of JSON on the standard output, and no progress bar."""
    processes: Annotated[Processes, FLAT] = field(default_factory=Processes)


@dataclass(frozen=True)
class Evaluate:
    """Tests a network on labelled images: how often it is right, how sure, and where it looks.

    jaxsal evaluate --checkpoint runs/mine --images other/ --out runs/mine-on-other

    jaxsal evaluate --apply mymodel:apply --params weights.npz --classes no,yes --image-size 64
      --images other/ --labels other/labels.csv --out runs/other

    Writes metrics.json, report.html, figures/ and predictions.csv. Images that a checkpoint's
    network was trained on are left out and counted; of a model of --apply nobody knows them. Where
    images have masks, the maps of every method are held against them. A copy of the pictures, with
    the names of patients as they are given, is cached under $JAXSAL_CACHE, else ~/.cache/jaxsal.
    """

    images: Path
    """A folder of labelled images, as of `jaxsal train`; all of them are tested."""
    out: Path
    """A folder of its own to write into."""
    checkpoint: Path | None = None
    """The --out folder of `jaxsal train` or of the study."""
    apply: str | None = None
    """package.module:name, a model as of `jaxsal explain`; with --params, --classes and
    --image-size."""
    params: Path | None = None
    """Its parameters, as of `jaxsal explain`."""
    classes: str | None = None
    """Names of the classes, in the order of the model's outputs, as no,yes; a checkpoint has its
    own."""
    reading: Annotated[Reading, FLAT] = field(default_factory=Reading)
    output: Literal["logits", "probability"] = "logits"
    """What the model returns; one logit or probability tells two classes apart."""
    image_size: int | None = None
    """Side in pixels that files are resized to; a checkpoint knows it."""
    channels: Literal[1, 3] | None = None
    """1: files are read as grey; 3: as colour; none: as the checkpoint says, else as grey."""
    volumes: bool = False
    """The model of --apply takes whole scans, as of `jaxsal explain`; a checkpoint knows it."""
    preprocessing: Annotated[Preprocessing, FLAT] = field(default_factory=Preprocessing)
    method: tuple[str, ...] = ("integrated_gradients(steps=64)",)
    """Methods whose maps are held against masks, as Python calls, as of `jaxsal explain`."""
    explain: int = 64
    """How many images with a mask are explained, at most; 0 = none."""
    seen: bool = False
    """Test on images that the network was trained or validated on, too; every output is marked."""
    seed: int = 0
    """Of methods that draw random numbers, and of the choice of images."""
    strict: bool = False
    """Stop at a broken file, or a row of --labels that names none, instead of leaving it out and
    saying so."""
    json: bool = False
    """One line of JSON on the standard output, and no progress bar."""


@dataclass(frozen=True)
class Methods:
    """Lists the methods, each with a line about it and its options."""

    json: bool = False
    """One line of JSON."""


Command = (
    Annotated[Explain, tyro.conf.subcommand("explain")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Methods, tyro.conf.subcommand("methods")]
)
