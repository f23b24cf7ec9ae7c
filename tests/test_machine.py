"""What a figure was measured on, told apart where it decides the figure."""

import json

import pytest

from jaxsal import machine

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
    assert machine.named(CPUINFO.format(flags, flags)) == name


def test_a_processor_that_says_nothing_has_the_name_that_python_knows() -> None:
    assert machine.named("") == machine.platform.processor()


def test_a_description_is_ready_for_json() -> None:
    about = machine.describe()
    assert json.loads(json.dumps(about)) == about
    assert set(about) == {"versions", "device", "commit", "command", "date"}
    assert about["versions"]["jax"] and about["device"]["count"] >= 1
