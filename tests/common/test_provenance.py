"""What a figure was measured on, told apart where it decides the figure."""

import json

import pytest

from benchmarks.__main__ import slug
from jaxsal.common import provenance

CPUINFO = """processor	: 0
model name	: AMD EPYC
flags		: fpu sse2 {}

processor	: 1
model name	: AMD EPYC
flags		: fpu sse2 {}
"""


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("avx avx2", "AMD EPYC, AVX2"),
        ("avx avx2 avx512f", "AMD EPYC, AVX-512"),
        ("avx avx2 avx512f avx512_bf16", "AMD EPYC, AVX-512 and bfloat16"),
        ("", "AMD EPYC"),
    ],
)
def test_processors_of_one_name_are_told_apart_by_their_vectors(flags: str, name: str) -> None:
    assert provenance.named(CPUINFO.format(flags, flags)) == name


def test_a_processor_that_says_nothing_has_the_name_that_python_knows() -> None:
    assert provenance.named("") == provenance.platform.processor()


def test_records_of_two_processors_have_two_names() -> None:
    about = provenance.describe()
    names = set()
    for flags in ("avx2", "avx2 avx512f"):
        about["device"] |= {"processor": provenance.named(CPUINFO.format(flags, flags)), "cores": 2}
        about["versions"]["jax"] = "0.12.0.1"
        names.add(slug(about))
    assert names == {"amd-epyc-avx2-2-cores-jax0.12", "amd-epyc-avx-512-2-cores-jax0.12"}


def test_a_description_is_ready_for_json() -> None:
    about = provenance.describe()
    assert json.loads(json.dumps(about)) == about
    assert set(about) == {"versions", "device", "commit", "command", "date"}
    assert about["versions"]["jax"] and about["device"]["count"] >= 1
