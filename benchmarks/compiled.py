"""What XLA made of a program: the operations of its text, each as often as its loops turn."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

BITS = {"pred": 8, "token": 0, "c64": 64, "c128": 128}
"""Bits of the types whose name does not say them."""

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "collective-permute",
    "all-to-all",
    "ragged-all-to-all",
    "collective-broadcast",
)

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

LIBRARIES = ("__cudnn$", "__cublas$")
"""How custom calls of a GPU begin whose bytes and FLOPs say what they cost."""

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

    @property
    def target(self) -> str:
        """What a custom call calls; "" of another operation."""
        found = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return found[1] if found else ""

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
                turns = self.turns(name, op)
                for body in op.called("condition") + op.called("body"):
                    yield from self.executed(body, times * (1 if turns is None else turns))
            elif op.kind == "conditional":
                branches = [
                    branch
                    for word in ("branch_computations", "true_computation", "false_computation")
                    for branch in op.called(word)
                ]
                yield from self.executed(max(branches, key=self._cost), times)
            elif op.kind in ("call", "async-start"):
                for body in op.called("to_apply") + op.called("calls"):
                    yield from self.executed(body, times)

    def _cost(self, name: str) -> tuple[int, int]:
        """The cycles of a computation, and its bytes: where cycles are not estimated, they tell."""
        return self.cycles(name), self.bytes_moved(name)

    def turns(self, place: str, loop: Operation) -> int | None:
        """How often a loop of the computation `place` turns; None where the text does not say."""
        if found := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes):
            return int(found[1])
        condition, body = (
            self.computations[loop.called(each)[0]] for each in ("condition", "body")
        )
        below, first, last = _result(condition), self.computations[place], _result(body)
        if below.kind != "compare" or "direction=LT" not in below.attributes:
            return None
        index = _part(condition, below.inputs[0])
        given = first.get(loop.inputs[0])
        if index is None or given is None or {given.kind, last.kind} != {"tuple"}:
            return None
        start = _constant(first, given.inputs[index])
        bound = _constant(condition, below.inputs[1])
        step = _step(body, last.inputs[index], index)
        if start is None or bound is None or step is None or step < 1:
            return None
        return max(0, math.ceil((bound - start) / step))

    def cycles(self, name: str | None = None) -> int:
        """The estimated cycles of all operations, or of those of one computation."""
        return sum(n * self.computations[c][op].cycles for c, op, n in self.executed(name))

    def loop_cycles(self) -> int:
        """The estimated cycles of what runs more than once."""
        ran = ((self.computations[c][op], n) for c, op, n in self.executed())
        return sum(n * op.cycles for op, n in ran if n > 1)

    def collectives(self) -> dict[str, int]:
        """How often each kind of communication between devices runs."""
        count: dict[str, int] = {}
        for kind, _, times in self._communication():
            count[kind] = count.get(kind, 0) + times
        return count

    def collective_bytes(self) -> dict[str, int]:
        """The bytes that a device gives to each kind of communication: its inputs."""
        total: dict[str, int] = {}
        for kind, given, times in self._communication():
            total[kind] = total.get(kind, 0) + given * times
        return total

    def _communication(self) -> Iterator[tuple[str, int, int]]:
        """(kind, bytes of its inputs, how often it runs) of each, those in fusions too."""
        for place, name, times in self.executed():
            for inside, op in self._with_fused(place, name):
                kind = op.kind.removesuffix("-start")
                if kind in COLLECTIVES:
                    inputs = (inside[i].type for i in op.inputs if i in inside)
                    yield kind, sum(bytes_of(each, on_chip=True) for each in inputs), times

    def _with_fused(self, place: str, name: str) -> Iterator[tuple[Computation, Operation]]:
        """An operation, and if it is a fusion those in it, each with its computation."""
        op = self.computations[place][name]
        yield self.computations[place], op
        if op.kind == "fusion":
            for fused in op.called("calls"):
                for each in self.computations[fused]:
                    yield from self._with_fused(fused, each)

    def unknown_loops(self) -> list[str]:
        """The loops of unknown length, whose bodies count once."""
        ran = {(place, name): self.computations[place][name] for place, name, _ in self.executed()}
        return sorted(
            name
            for (place, name), op in ran.items()
            if op.kind == "while" and self.turns(place, op) is None
        )

    def without_cycles(self) -> list[str]:
        """What a TPU's estimate leaves out: custom calls by their targets, others by their kinds.

        Numbers alone, such as a loop's counter, are not told.
        """
        return sorted({op.target or op.kind for _, op, _ in self._without_cycles()})

    def bytes_without_cycles(self) -> int:
        """The bytes that operations move which a TPU's estimate leaves out, and which run alone.

        What only starts runs beside others; of communication and of custom calls bytes say little.
        """
        return sum(
            times * self._bytes(self.computations[place], op.name)
            for place, op, times in self._without_cycles()
            if not op.kind.endswith("-start") and op.kind not in COLLECTIVES and not op.target
        )

    def _without_cycles(self) -> Iterator[tuple[str, Operation, int]]:
        for place, op, times in self._working():
            if not op.cycles and not op.kind.endswith("-done") and not _is_number(op.type):
                yield place, op, times

    def without_rates(self) -> list[str]:
        """What a GPU's bytes and FLOPs do not tell: communication, and kernels of one's own."""
        return sorted(
            {
                op.target or op.kind
                for _, op, _ in self._working()
                if op.kind.removesuffix("-start") in COLLECTIVES
                or (op.target and not op.target.startswith(LIBRARIES))
            }
        )

    def _working(self) -> Iterator[tuple[str, Operation, int]]:
        """The operations that run and take time: computation, operation, how often."""
        for place, name, times in self.executed():
            op = self.computations[place][name]
            if op.kind not in FREE and op.target not in MARKS:
                yield place, op, times

    def operations(self) -> int:
        """How many operations that move something run."""
        ops = self.executed()
        return sum(n for c, name, n in ops if self.computations[c][name].kind not in FREE)

    def bytes_moved(self, name: str | None = None) -> int:
        """The bytes that they read and write in the device's main memory."""
        return sum(n * self._bytes(self.computations[c], op) for c, op, n in self.executed(name))

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
        result = _result(inside)
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


def _result(computation: Computation) -> Operation:
    return list(computation.values())[-1]


def _part(computation: Computation, name: str) -> int | None:
    """Which part of the computation's parameter an operation is, perhaps a copy of it."""
    op = _uncopied(computation, name)
    if op is None or op.kind != "get-tuple-element":
        return None
    found = re.search(r"\bindex=(\d+)", op.attributes)
    return int(found[1]) if found and computation[op.inputs[0]].kind == "parameter" else None


def _constant(computation: Computation, name: str) -> int | None:
    """The whole number that an operation is, perhaps a copy of it."""
    op = _uncopied(computation, name)
    known = op is not None and op.kind == "constant" and re.fullmatch(r"-?\d+", op.arguments)
    return int(known[0]) if known else None


def _uncopied(computation: Computation, name: str) -> Operation | None:
    op = computation.get(name)
    while op is not None and op.kind in ("copy", "bitcast"):
        op = computation.get(op.inputs[0])
    return op


def _step(body: Computation, name: str, index: int) -> int | None:
    """What a turn adds to that part of the parameter; None where it is something else."""
    change = body.get(name)
    if change is None or change.kind != "add":
        return None
    for counter, step in (change.inputs, change.inputs[::-1]):
        if _part(body, counter) == index:
            return _constant(body, step)
    return None


def _is_number(type: str) -> bool:
    return re.fullmatch(r"\w+\[\](\{[^}]*\})?", type) is not None


def _source(computation: Computation, name: str) -> str:
    """The operation whose value another one is, but for its shape."""
    while computation[name].kind == "bitcast":
        name = computation[name].inputs[0]
    return name


def bytes_of(type: str, on_chip: bool = False) -> int:
    """The bytes of a type, of a tuple's parts together, that lie in the device's main memory.

    Args:
        on_chip: whether the memory on the chip counts too, `S(1)` in a TPU's layout.
    """
    total = 0
    for dtype, lengths, layout in re.findall(r"(\w+)\[([\d,]*)\](\{[^}]*\})?", type):
        if "S(1)" in layout and not on_chip:
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
