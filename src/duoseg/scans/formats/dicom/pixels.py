"""The numbers of a series: stored values decoded, brought to their type, rescaled slice by slice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.formats.dicom.codestreams import JPEG_SYNTAXES, decode
from duoseg.scans.formats.dicom.frames import Frame
from duoseg.scans.formats.dicom.headers import DEFLATED, Header, damaged, one_line, read_header, read_whole
from duoseg.scans.formats.storing import smallest_type
from duoseg.scans.formats.streams import cut_short
from duoseg.scans.limits import require_memory

RLE = "1.2.840.10008.1.2.5"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", DEFLATED)

_TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64)


@dataclass(frozen=True)
class PixelFormat:
    """How a file stores one value.

    Attributes:
        allocated: bits of a value in the file, 8, 16 or 32.
        stored: bits of these that count.
        high: the highest of these.
        signed: whether the value is in two's complement.
    """

    allocated: int
    stored: int
    high: int
    signed: bool

    @classmethod
    def of(cls, header: Header) -> PixelFormat:
        """Return the format of a file of grey values, or of segment numbers, which a palette only paints.

        Raises:
            InputError: its values are colours, real numbers, or of an impossible format.
        """
        path, colours = header.path, header.text("PhotometricInterpretation")
        plain = ("MONOCHROME1", "MONOCHROME2", "", *(("PALETTE COLOR",) if header.text("SegmentationType") else ()))
        if header.whole("SamplesPerPixel", 1) != 1 or colours not in plain:
            raise InputError(
                f"{path}: its pixels are colours ({colours or 'several values each'}), not grey values; "
                "give the original series, not a picture of it."
            )
        allocated = header.whole("BitsAllocated", 0)
        stored = header.whole("BitsStored", allocated)
        high = header.whole("HighBit", stored - 1)
        signed = header.whole("PixelRepresentation", 0)
        if allocated not in (8, 16, 32) or not 1 <= stored <= high + 1 <= allocated or signed not in (0, 1):
            raise damaged(
                path, f"a pixel has {allocated} bits, {stored} of them stored, the highest is bit {high}, sign {signed}"
            )
        return cls(allocated, stored, high, bool(signed))

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the greatest value."""
        span = 1 << self.stored
        return (-span // 2, span // 2 - 1) if self.signed else (0, span - 1)

    def values(self, raw: np.ndarray) -> np.ndarray:
        """Return what stored bits mean; those that do not count (old overlays) are dropped."""
        width = self.allocated // 8
        bits = raw.astype(f"{raw.dtype.kind}{width}", copy=False).view(f"u{width}")
        if self.stored == self.allocated:
            return bits.view(f"i{width}") if self.signed else bits
        kept = (bits >> (self.high + 1 - self.stored)) & ((1 << self.stored) - 1)
        sign = 1 << (self.stored - 1)
        return (kept.view(f"i{width}") ^ sign) - sign if self.signed else kept


def read_voxels(path: Path, frames: Sequence[Frame], formats: dict[Path, PixelFormat]) -> np.ndarray:
    """Read the voxels (X, Y, Z) of frames in the order of Z, each with its own slope and intercept.

    Integers stay integers where they are only shifted by whole numbers; everything else is float32.

    Raises:
        InputError: a file is damaged, cut short, too large for memory, or compressed in a way that is not known.
    """
    columns, rows = frames[0].size
    places: dict[Path, dict[int, int]] = defaultdict(dict)
    for place, frame in enumerate(frames):
        places[frame.path][frame.index] = place
    for file, wanted in places.items():
        _require_length(file, formats[file], len(wanted) * rows * columns)
    dtype = _result_type(frames, formats)
    # An intercept makes the range that 16 bits can hold wider than 16 bits; the values themselves rarely are.
    widened = dtype.kind == "i" and dtype.itemsize > max(format_.allocated for format_ in formats.values()) // 8
    nbytes = len(frames) * rows * columns * dtype.itemsize * (2 if widened else 1)
    require_memory(path, nbytes + max(file.stat().st_size for file in places))
    planes = np.empty((len(frames), rows, columns), dtype)
    for file, wanted in places.items():
        read = 0
        for index, raw in enumerate(stored_planes(read_whole(file), columns, rows)):
            if index in wanted:
                place = wanted[index]
                _rescale(formats[file].values(raw), frames[place], planes[place])
                read += 1
        if read < len(wanted):
            raise cut_short(file, f"it holds {read} of {len(wanted)} frames")
    return (planes.astype(smallest_type(planes), copy=False) if widened else planes).T


def stored_planes(header: Header, columns: int, rows: int) -> Iterator[np.ndarray]:
    """Yield the frames (rows, columns) of a file as stored, in its order.

    Raises:
        InputError: the pixel data are missing, cut short or damaged, or compressed in a way that is not known.
    """
    path, syntax, format_ = header.path, header.syntax, PixelFormat.of(header)
    size, count = header.whole("Columns", 0) * header.whole("Rows", 0), header.whole("NumberOfFrames", 1)
    if (header.whole("Columns", 0), header.whole("Rows", 0)) != (columns, rows):
        raise damaged(path, "it changed while it was read")
    data = header.get("PixelData")
    if data is None:
        raise cut_short(path, "it ends before its pixels, or holds none")
    if syntax in NATIVE:
        expected = size * count * format_.allocated // 8
        if len(data) < expected:
            raise cut_short(path, f"{expected} bytes of pixels are announced, {len(data)} are there")
    decoded = _jpeg_planes(header, format_, columns, rows) if syntax in JPEG_SYNTAXES else _plain_planes(header)
    try:
        for plane in decoded:
            if plane.shape != (rows, columns):
                raise damaged(path, f"a frame has the shape {plane.shape}")
            yield plane
    except InputError:
        raise
    except Exception as error:  # whatever the bytes make the decoders raise
        raise damaged(path, error) from error


def value_notes(headers: Sequence[Header]) -> tuple[str, ...]:
    """Return what is to be said about the values of a series, beyond their rescaling."""
    notes = []
    if any(header.text("PhotometricInterpretation") == "MONOCHROME1" for header in headers):
        notes.append("it is to be shown with low values bright (MONOCHROME1); its values were left as they are")
    if any(header.items("ModalityLUTSequence") for header in headers):
        notes.append("it has a modality lookup table, which was not applied; its values are the stored ones")
    return tuple(notes)


def _plain_planes(header: Header) -> Iterator[np.ndarray]:
    """Let pydicom read what is not compressed, or only run-length encoded."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    if header.syntax not in (*NATIVE, RLE):
        raise InputError(
            f"{header.path}: its pixels are compressed by {one_line(UID(header.syntax).name)}, which is not supported; "
            "decompress the series, for example with gdcmconv --raw."
        )
    header.dataset.file_meta.TransferSyntaxUID = UID(header.syntax)
    plugin = "pydicom" if header.syntax == RLE else ""
    decoder = get_decoder(UID(header.syntax))
    for plane, _ in decoder.iter_array(header.dataset, raw=True, decoding_plugin=plugin, correct_unused_bits=False):
        yield plane


def _jpeg_planes(header: Header, format_: PixelFormat, columns: int, rows: int) -> Iterator[np.ndarray]:
    from pydicom.encaps import generate_frames

    tables = [header.get(keyword) for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    frames = generate_frames(
        header.get("PixelData"),
        number_of_frames=header.whole("NumberOfFrames", 1),
        extended_offsets=(tables[0], tables[1]) if all(tables) else None,
    )
    for stream in frames:
        yield decode(stream, header.syntax, rows=rows, columns=columns, bits=format_.allocated)


def _require_length(file: Path, format_: PixelFormat, count: int) -> None:
    """Refuse, before memory is reserved, uncompressed pixels that the file is too short for."""
    nbytes, there = count * format_.allocated // 8, file.stat().st_size
    if there < nbytes and read_header(file, ["Rows"]).syntax in NATIVE[:-1]:
        raise cut_short(file, f"{nbytes} bytes of pixels are announced, the file has {there}")


def _result_type(frames: Sequence[Frame], formats: dict[Path, PixelFormat]) -> np.dtype:
    if any(frame.slope != 1 or frame.intercept != round(frame.intercept) for frame in frames):
        return np.dtype(np.float32)
    shifts = [int(frame.intercept) for frame in frames]
    limits = [formats[frame.path].limits for frame in frames]
    low = min(shift + least for shift, (least, _) in zip(shifts, limits, strict=True))
    high = max(shift + most for shift, (_, most) in zip(shifts, limits, strict=True))
    fitting = [kind for kind in _TYPES if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
    return np.dtype(fitting[0] if fitting else np.float32)


def _rescale(values: np.ndarray, frame: Frame, out: np.ndarray) -> None:
    """Write the rescaled values of one slice to ``out``, with one rounding."""
    if out.dtype.kind == "f":
        out[...] = values.astype(np.float64) * frame.slope + frame.intercept
    else:
        np.add(values, int(frame.intercept), out=out, dtype=np.int64, casting="unsafe")
