"""Is a finished run that of these settings, of the same network and images, wherever it lies?"""

import json
from collections.abc import Mapping
from typing import Any

from experiments import brain_tumor
from experiments.settings import Settings, as_json, load, without_places
from jaxsal.training import checkpoint

Found = Mapping[str, Any]
"""What the JSON file of a finished run holds."""


def same_settings(found: Found, settings: Any) -> bool:
    """Whether a record's settings are these, wherever the files of either lie."""
    return without_places(found.get("settings", {})) == without_places(as_json(settings))


def difference(found: Found, settings: Settings) -> str:
    """What is another than in a run of these resolved settings, in words; "" where nothing is.

    Options that are newer than the run count as by default.
    """
    if not found:
        return "is not finished"
    kept = without_places({**as_json(Settings()), **found.get("settings", {})})
    asked = without_places(as_json(settings))
    for name in {**asked, **kept}:
        if kept.get(name) != asked.get(name):
            return f"has {name}={kept.get(name)!r}, not {asked.get(name)!r}"
    # The same settings made another network before its code was changed.
    network = checkpoint.model_fields(brain_tumor.network(settings, len(found["classes"])))
    if found.get("network") != json.loads(json.dumps(network)):
        return f"is of the network {found.get('network')}, not {network}"
    if found["settings"] != as_json(settings):
        tested = checkpoint.examples_fingerprint(load(settings)[1]["test"])
        if found.get("data", {}).get("tested") != tested:
            return "was tested on other images"
    return ""
