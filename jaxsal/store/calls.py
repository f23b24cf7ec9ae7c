"""Which chunks of a stream are explained in one call, so that all devices have work.

A chunk is sized for the disk, and is a part of what a store is, which may be taken up on other
devices. So the devices decide how many chunks make a call, not how large a chunk is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxsal.store.layout import LARGEST_CHUNK, Layout

CALL_BYTES = 2**26
"""Of maps, that one accelerator makes in one call."""


@dataclass(frozen=True)
class Calls:
    """The chunks of one process, every `size` of them a call: the same ones after a kill.

    Attributes:
        index, processes: this process, of how many; the chunks are dealt to them in turn.
    """

    layout: Layout
    size: int
    index: int
    processes: int

    def of(self, chunk: int) -> int:
        """The number of the call that a chunk is in."""
        return chunk // self.processes // self.size

    def chunks(self, call: int) -> Iterator[int]:
        """The chunks of a call, in order; without an end where the examples are not counted."""
        for place in range(call * self.size, (call + 1) * self.size):
            number = place * self.processes + self.index
            if self.layout.chunks is None or number < self.layout.chunks:
                yield number


def chunks_a_call(chunk: int, example_bytes: int, devices: int, platform: str) -> int:
    """How many chunks make a call: one on CPUs; on accelerators as many as `CALL_BYTES` hold.

    That is at least one for each device, and no more than `LARGEST_CHUNK` examples of each where a
    chunk has fewer. On CPUs maps are the same to the last bit however many processes share a store.

    Args:
        chunk: examples of one.
        example_bytes: what the maps of an example take.
        devices: how many a batch is spread over. platform: theirs, such as "cpu".
    """
    if platform == "cpu":
        return 1
    fitting = min(LARGEST_CHUNK, CALL_BYTES // max(1, example_bytes))
    return devices * max(1, fitting // chunk)
