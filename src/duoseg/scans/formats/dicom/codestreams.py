"""Compressed frames, checked and decoded.

The libraries below trust what a stream says of itself: a changed size makes them reserve gigabytes, and a JPEG-LS
stream without its end keeps one busy for ever. So a stream is only decoded if it announces the size that the header
does, and ends with its end mark.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

JPEG_SYNTAXES = {
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG",
    "1.2.840.10008.1.2.4.57": "JPEG",
    "1.2.840.10008.1.2.4.70": "JPEG",
    "1.2.840.10008.1.2.4.80": "JPEG-LS",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.201": "JPEG 2000",  # high-throughput
    "1.2.840.10008.1.2.4.202": "JPEG 2000",
    "1.2.840.10008.1.2.4.203": "JPEG 2000",
}
"""The transfer syntaxes that are decoded here, and the family of each."""

_END = b"\xff\xd9"
_PADDING = 3  # bytes that may follow the end; one makes the length even, as DICOM wants it
_FRAME_MARKERS = {"JPEG": (0xC0, 0xC1, 0xC3), "JPEG-LS": (0xF7,)}
_CODESTREAM = b"\xff\x4f\xff\x51"
_MOST_BOXES = 4096  # bytes of JP2 boxes before the codestream
_SMALLEST_TILE = 256  # pixels; a damaged header announces millions of tiles


@dataclass(frozen=True)
class Announced:
    """What a compressed stream says of itself.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        components: values a pixel.
        bits: of each value.
    """

    rows: int
    columns: int
    components: int
    bits: int


def announced(stream: bytes, family: str) -> Announced:
    """Return the size that the header of a stream of a ``family`` (of `JPEG_SYNTAXES`) announces.

    Raises:
        ValueError: it has no such header.
    """
    try:
        return _jpeg_2000_size(stream) if family == "JPEG 2000" else _jpeg_size(stream, _FRAME_MARKERS[family])
    except (struct.error, IndexError) as error:
        raise ValueError(f"a {family} stream ends within its header") from error


def decode(stream: bytes, syntax: str, *, rows: int, columns: int, bits: int) -> np.ndarray:
    """Decode one grey frame to (rows, columns) integers, as wide as the stream has them.

    Args:
        stream: all fragments of the frame, joined.
        syntax: UID of the transfer syntax, one of `JPEG_SYNTAXES`.
        rows: as the header announces.
        columns: as the header announces.
        bits: of a pixel in memory; the stream must not have more.

    Raises:
        ValueError: the stream is damaged, cut short, or of another size.
    """
    family = JPEG_SYNTAXES[syntax]
    found = announced(stream, family)
    if (found.rows, found.columns, found.components) != (rows, columns, 1) or not 1 <= found.bits <= bits:
        raise ValueError(
            f"the {family} stream holds {found.columns} x {found.rows} pixels of {found.components} x {found.bits} "
            f"bits, not {columns} x {rows} of {bits}"
        )
    if _END not in stream.rstrip(b"\0")[-len(_END) - _PADDING :]:
        raise ValueError(f"the end of the {family} stream is missing")
    try:
        pixels = np.asarray(_decoder(family)(stream))
    except (RuntimeError, ValueError, MemoryError, TypeError, IndexError) as error:
        raise ValueError(f"{family}: {error}") from error
    if pixels.shape != (rows, columns) or pixels.dtype.kind not in "iu":
        raise ValueError(f"the {family} stream holds {pixels.dtype} values of the shape {pixels.shape}")
    return pixels


def _decoder(family: str) -> Callable[[bytes], np.ndarray]:
    # High-throughput JPEG 2000 goes to OpenJPEG, too: the wrapper of OpenJPH returns damaged streams without an error.
    from imagecodecs import jpeg2k_decode, jpeg8_decode, jpegls_decode

    return {"JPEG": jpeg8_decode, "JPEG-LS": jpegls_decode, "JPEG 2000": jpeg2k_decode}[family]


def _jpeg_size(stream: bytes, frame_markers: tuple[int, ...]) -> Announced:
    """Walk through the marker segments (ITU-T T.81, B.1.1) up to that of the frame."""
    if stream[:2] != b"\xff\xd8":
        raise ValueError("no JPEG stream begins there")
    at = 2
    while stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker in frame_markers:
            bits, rows, columns, components = struct.unpack_from(">BHHB", stream, at + 4)
            return Announced(rows, columns, components, bits)
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", stream, at + 2)[0]
    raise ValueError("the JPEG header is damaged")


def _jpeg_2000_size(stream: bytes) -> Announced:
    """Read the SIZ segment (ITU-T T.800, A.5.1), behind JP2 boxes if there are any."""
    start = stream.find(_CODESTREAM, 0, _MOST_BOXES)
    if start < 0:
        raise ValueError("no JPEG 2000 stream begins there")
    right, bottom, left, top, width, height, tile_left, tile_top, components = struct.unpack_from(
        ">8IH", stream, start + 8
    )
    bits, across, down = struct.unpack_from(">3B", stream, start + 42)
    if min(width, height) == 0 or (across, down) != (1, 1):
        raise ValueError("the JPEG 2000 header is damaged")
    tiles = -(-(right - tile_left) // width) * -(-(bottom - tile_top) // height)
    if tiles > max(1, right * bottom // _SMALLEST_TILE):
        raise ValueError(f"the JPEG 2000 stream announces {tiles} tiles")
    return Announced(bottom - top, right - left, components, (bits & 127) + 1)
