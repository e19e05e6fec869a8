"""Whether an id was seen before, in about nine bytes a row.

A set of a million ids costs some 100 MB in Python. Here each id leaves eight bytes of a keyed hash in one of 1,024 sorted
arrays: a binary search finds it, an insertion moves a few kilobytes. Two different ids share a hash with a chance of
3 in 10⁸ for a million rows, so a hit is a reason to look, and the caller compares the ids themselves.
"""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b

_SHARDS = 1024


class SeenIds:
    """Remember ids by their hashes."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self._shards: dict[int, array[int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, request_id: str) -> bool:
        """Remember an id; True if one with its hash was there before."""
        value = self._hash(request_id)
        shard = self._shards.setdefault(value % _SHARDS, array("Q"))
        at = bisect_left(shard, value)
        if at < len(shard) and shard[at] == value:
            return True
        shard.insert(at, value)
        self._count += 1
        return False

    def add_all(self, request_ids: Sequence[str]) -> bool:
        """Remember ids if none of their hashes was there before, nor is there twice among them; else False, and none is."""
        for at, request_id in enumerate(request_ids):
            if self.add(request_id):
                for added in request_ids[:at]:
                    self._forget(added)
                return False
        return True

    def _forget(self, request_id: str) -> None:
        value = self._hash(request_id)
        shard = self._shards[value % _SHARDS]
        del shard[bisect_left(shard, value)]
        self._count -= 1

    def _hash(self, request_id: str) -> int:
        digest = blake2b(request_id.encode(), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "little")

    @property
    def memory_bytes(self) -> int:
        """What the arrays hold at present, for the test that keeps the promise."""
        return sum(shard.buffer_info()[1] * shard.itemsize for shard in self._shards.values())
