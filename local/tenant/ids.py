"""Object ids: GUIDs computed from (seed, kind, index), and turned back into the index without any table."""

import hashlib

_BITS = 122
_MASK = (1 << _BITS) - 1
_HALF = _BITS // 2
_LOW = (1 << 62) - 1
_MODULUS = 1 << _BITS

# A GUID that was not made here decodes to a random 122-bit number; a real index is far below this.
_LARGEST_INDEX = 1 << 40


class Identifiers:
    """A keyed permutation of 122-bit numbers, written as version 4 GUIDs.

    Every step (odd multiplication, addition, xor with the upper half) can be undone, so that a
    million untouched objects need no dictionary from id to object.
    """

    def __init__(self, seed: int, kind: str) -> None:
        digest = hashlib.sha512(f"{seed}/{kind}".encode()).digest()
        self._first = (int.from_bytes(digest[:16], "big") & _MASK) | 1
        self._second = (int.from_bytes(digest[16:32], "big") & _MASK) | 1
        self._offset = int.from_bytes(digest[32:48], "big") & _MASK
        self._first_inverse = pow(self._first, -1, _MODULUS)
        self._second_inverse = pow(self._second, -1, _MODULUS)

    def value(self, index: int) -> int:
        """The 122 mixed bits of an index; also the source of everything random about that object."""
        value = (index * self._first + self._offset) & _MASK
        value ^= value >> _HALF
        value = (value * self._second) & _MASK
        return value ^ (value >> _HALF)

    def guid(self, index: int) -> str:
        return format_guid(self.value(index))

    def index(self, object_id: str) -> int | None:
        """The index behind an id, or None when no object of this kind can have it."""
        digits = object_id.replace("-", "")
        if len(object_id) != 36 or len(digits) != 32:
            return None
        try:
            number = int(digits, 16)
        except ValueError:
            return None
        value = ((number >> 80) << 74) | (((number >> 64) & 0xFFF) << 62) | (number & _LOW)
        if format_guid(value) != object_id.lower():
            return None
        value ^= value >> _HALF
        value = (value * self._second_inverse) & _MASK
        value ^= value >> _HALF
        index = ((value - self._offset) * self._first_inverse) & _MASK
        return index if index < _LARGEST_INDEX else None


def format_guid(value: int) -> str:
    """122 bits as a GUID with the version and variant bits of a random one."""
    digits = "%032x" % (
        ((value >> 74) << 80) | (((value >> 62) & 0xFFF) << 64) | (value & _LOW) | 0x4000_8000_0000_0000_0000
    )
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
