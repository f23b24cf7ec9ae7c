"""What XLA made of a program: the operations of its text, each as often as its loops turn."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

BITS = {"pred": 8, "token": 0, "c64": 64, "c128": 128}
"""Bits of the types whose name does not say them."""

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")

FREE = frozenset(
    "parameter get-tuple-element tuple bitcast constant while call conditional after-all "
    "partition-id replica-id".split()
)
"""Operations that move no bytes of their own."""

MARKS = frozenset(
    "AllocateBuffer AssumeGatherIndicesInBound ConcatBitcast GatherScatterIndicesBitpacked "
    "Sharding SPMDFullToShardShape SPMDShardToFullShape".split()
)
"""Custom calls that tell the compiler something, and compute nothing."""

_SLICES = ("dynamic-slice", "gather", "slice")
"""Operations that read of their first input what they return."""


class Operation(NamedTuple):
    """One operation: its name, what it does, its type, its inputs' names, and what comes after."""

    name: str
    kind: str
    type: str
    inputs: tuple[str, ...]
    arguments: str
    attributes: str

    @property
    def cycles(self) -> int:
        """The compiler's own estimate for a TPU; 0 where it has none."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.attributes)
        return int(found[1]) if found else 0

    def called(self, attribute: str) -> list[str]:
        """The computations that an attribute names."""
        found = re.search(rf"\b{attribute}=(?:\{{([^}}]*)\}}|(%[\w.-]+))", self.attributes)
        return re.findall(r"%([\w.-]+)", found[0]) if found else []


Computation = dict[str, Operation]
"""Operations by name, in their order; the last is the result."""


class Program(NamedTuple):
    """A compiled program."""

    computations: dict[str, Computation]
    entry: str

    def executed(self, name: str | None = None, times: int = 1) -> Iterator[tuple[str, str, int]]:
        """(computation, operation, how often it runs) of every operation but those in fusions."""
        name = name or self.entry
        for op in self.computations[name].values():
            yield name, op.name, times
            if op.kind == "while":
                turns = self.turns(op)
                for body in op.called("condition") + op.called("body"):
                    yield from self.executed(body, times * (1 if turns is None else turns))
            elif op.kind == "conditional":
                branches = [
                    branch
                    for word in ("branch_computations", "true_computation", "false_computation")
                    for branch in op.called(word)
                ]
                yield from self.executed(max(branches, key=self._length), times)
            elif op.kind in ("call", "async-start"):
                for body in op.called("to_apply") + op.called("calls"):
                    yield from self.executed(body, times)

    def _length(self, name: str) -> int:
        return len(self.computations[name])

    def turns(self, loop: Operation) -> int | None:
        """How often a loop turns; None where the text does not say."""
        if found := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes):
            return int(found[1])
        condition = self.computations[loop.called("condition")[0]]
        compare = list(condition.values())[-1]
        if compare.kind != "compare" or "direction=LT" not in compare.attributes:
            return None
        bound = condition.get(compare.inputs[-1])
        return int(bound.arguments) if bound is not None and bound.kind == "constant" else None

    def cycles(self) -> int:
        """The estimated cycles of all operations."""
        return sum(n * self.computations[c][op].cycles for c, op, n in self.executed())

    def collectives(self) -> dict[str, int]:
        """How often each kind of communication between devices runs."""
        count: dict[str, int] = {}
        for computation, name, times in self.executed():
            kind = self.computations[computation][name].kind.removesuffix("-start")
            if kind in COLLECTIVES:
                count[kind] = count.get(kind, 0) + times
        return count

    def without_estimate(self) -> list[str]:
        """What the compiler's estimate leaves out: kernels, and loops of unknown length."""
        ops = [self.computations[c][name] for c, name, _ in self.executed()]
        targets = [
            found[1]
            for op in ops
            if op.kind == "custom-call" and not op.cycles
            if (found := re.search(r'custom_call_target="([^"]*)"', op.attributes))
            if found[1] not in MARKS
        ]
        loops = [op.name for op in ops if op.kind == "while" and self.turns(op) is None]
        return sorted(set(targets)) + loops

    def operations(self) -> int:
        """How many operations that move something run."""
        ops = self.executed()
        return sum(n for c, name, n in ops if self.computations[c][name].kind not in FREE)

    def bytes_moved(self) -> int:
        """The bytes that each operation reads and writes in the device's main memory."""
        return sum(n * self._bytes(self.computations[c], name) for c, name, n in self.executed())

    def _bytes(self, computation: Computation, name: str) -> int:
        op = computation[name]
        if op.kind in FREE:
            return 0
        shapes = [computation[i].type for i in op.inputs if i in computation]
        if op.kind.endswith("-done"):
            return bytes_of(op.type)
        if op.kind.endswith("-start"):
            return sum(map(bytes_of, shapes))
        if op.kind in _SLICES:
            return 2 * bytes_of(op.type)
        if op.kind == "dynamic-update-slice":
            return 2 * bytes_of(shapes[1])
        if op.kind == "fusion":
            return self._fused_bytes(op, shapes)
        return bytes_of(op.type) + sum(map(bytes_of, shapes))

    def _fused_bytes(self, op: Operation, shapes: list[str]) -> int:
        """A fusion reads a slice where it only takes a slice, and writes one in place."""
        inside = self.computations[op.called("calls")[0]]
        result = list(inside.values())[-1]
        written, in_place = bytes_of(op.type), ""
        if result.kind == "dynamic-update-slice":
            written = min(written, bytes_of(inside[result.inputs[1]].type))
            in_place = _source(inside, result.inputs[0])
        parameters = {
            int(each.arguments): each for each in inside.values() if each.kind == "parameter"
        }
        total = written
        for index, shape in enumerate(shapes):
            name = parameters[index].name
            users = [each for each in inside.values() if name in each.inputs]
            if name == in_place and len(users) == 1:
                total += written
            elif users and all(u.kind in _SLICES and u.inputs[0] == name for u in users):
                total += min(bytes_of(shape), sum(bytes_of(u.type) for u in users))
            else:
                total += bytes_of(shape)
        return total


def _source(computation: Computation, name: str) -> str:
    """The operation whose value another one is, but for its shape."""
    while computation[name].kind == "bitcast":
        name = computation[name].inputs[0]
    return name


def bytes_of(type: str) -> int:
    """The bytes of a type, of a tuple's parts together, that lie in the device's main memory.

    `S(1)` in a TPU's layout is the memory on the chip.
    """
    total = 0
    for dtype, lengths, layout in re.findall(r"(\w+)\[([\d,]*)\](\{[^}]*\})?", type):
        if "S(1)" in layout:
            continue
        bits = BITS.get(dtype) if dtype in BITS else int(re.sub(r"\D", " ", dtype).split()[0])
        total += math.prod(int(n) for n in lengths.split(",") if n) * (bits or 0) // 8
    return total


def parse(text: str) -> Program:
    """The program of `jax.stages.Compiled.as_text()`."""
    computations: dict[str, Computation] = {}
    entry, current = "", {}
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if line.startswith(("%", "ENTRY ")) and line.endswith("{"):
            name = line.removeprefix("ENTRY ").lstrip("%").split(" ", 1)[0]
            current = computations[name] = {}
            entry = name if line.startswith("ENTRY ") else entry
        elif found := re.match(r"\s+(ROOT )?%([\w.-]+) = ", line):
            rest = line[found.end() :]
            end = _closing(rest) + 1 if rest.startswith("(") else rest.index(" ")
            kind, rest_ = rest[end:].lstrip().split("(", 1)
            close = _closing("(" + rest_) - 1
            arguments = rest_[:close]
            inputs = tuple(re.findall(r"%([\w.-]+)", arguments))
            op = Operation(found[2], kind, rest[:end], inputs, arguments, rest_[close + 1 :])
            current[op.name] = op
            if found[1]:
                result = op.name
        elif line.startswith("}") and current:
            current[result] = current.pop(result)
    return Program(computations, entry)


def _closing(text: str) -> int:
    """Where the parenthesis ends that a text begins with."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place
    raise ValueError(f"no end of a parenthesis: {text[:80]}")
