"""A chart as a picture, as Omni would draw one: bars on a white ground, as a PNG. Pure."""

import struct
import zlib
from collections.abc import Sequence

WIDTH, HEIGHT = 720, 360
_MARGIN = 32
_LINES = 4
_WHITE, _GRID, _BAR = b"\xff\xff\xff", b"\xe6\xe6\xe2", b"\x0b\x6b\x5d"


def bars(values: Sequence[float]) -> bytes:
    """A PNG with a bar for each value, all above zero, over a grid."""
    ground = HEIGHT - _MARGIN
    full = ground - _MARGIN
    step = (WIDTH - 2 * _MARGIN) / len(values)
    tops = [ground - round(full * value / max(values)) for value in values]
    grid = {ground - full * line // _LINES for line in range(_LINES + 1)}
    rows = bytearray()
    for y in range(HEIGHT):
        row = bytearray((_GRID if y in grid else _WHITE) * WIDTH)
        for index, top in enumerate(tops):
            if top <= y <= ground:
                left = round(_MARGIN + step * (index + 0.2))
                right = round(_MARGIN + step * (index + 0.8))
                row[3 * left : 3 * right] = _BAR * (right - left)
        rows += b"\x00" + row
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Length, kind, data, checksum. Source: www.w3.org/TR/png, 5.3."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
