"""The short form of `python -m tests.memory_limit`."""

import os
import re
import subprocess
import sys


def test_images_are_explained_in_four_gibibytes_of_address_space() -> None:
    command = [sys.executable, "-m", "tests.memory_limit", "--images", "33", "--steps", "1"]
    flags = {"XLA_FLAGS": ""}  # one device, as on a user's machine
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **flags})
    assert done.returncode == 0, done.stderr
    told = re.search(r"explained 33 images in 4 GiB: (\d+) images of (\d+) points", done.stdout)
    assert told and int(told[1]) >= 1 and int(told[2]) >= 1
