"""Packages that read some kinds of files, imported when such a file comes."""

import importlib
import logging
import warnings
from types import ModuleType

INSTALL = {
    "pydicom": "'jaxsal[medical]'",
    "nibabel": "'jaxsal[medical]'",
    "SimpleITK": "SimpleITK",
}
"""What `pip install` is given to have each."""


class Missing(ValueError):
    """A package that would read a file is not installed."""


def package(name: str) -> ModuleType:
    """The package, silent: its warnings may quote a file, and so a patient.

    Raises:
        Missing: it is not installed.
    """
    try:
        found = importlib.import_module(name)
    except ImportError as error:
        text = f"{name} reads this kind and is not installed: pip install {INSTALL[name]}"
        raise Missing(text) from error
    warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
    for logger in (name, f"{name}.global"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    return found
