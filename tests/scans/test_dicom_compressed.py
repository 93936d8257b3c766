"""Compressed DICOM against SimpleITK and pydicom, and streams that are damaged."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_cases import at, compress, noise, plane, series, store
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import pixel_array
from pydicom.uid import RLELossless

from duoseg.errors import InputError
from duoseg.scans.formats import dicom
from duoseg.scans.formats.dicom.codestreams import announced, decode
from duoseg.scans.formats.dicom.headers import quiet, read_whole
from duoseg.scans.formats.dicom.pixels import PixelFormat, stored_planes

PREFIX = "1.2.840.10008.1.2.4."
Encode = Callable[[np.ndarray], bytes]

# By name: transfer syntax, encoder of (rows, columns) uint16 below 4096, and the error that it may make.
CODECS: dict[str, tuple[str, Encode, int]] = {
    "JPEG extended, 12 bits": ("51", lambda p: imagecodecs.jpeg8_encode(p, 100, bitspersample=12), 8),
    "JPEG lossless, predictor 6": (
        "57",
        lambda p: imagecodecs.jpeg8_encode(p, lossless=True, predictor=6, bitspersample=16),
        0,
    ),
    "JPEG lossless SV1": (
        "70",
        lambda p: imagecodecs.jpeg8_encode(p, lossless=True, predictor=1, bitspersample=12),
        0,
    ),
    "JPEG-LS lossless": ("80", imagecodecs.jpegls_encode, 0),
    "JPEG-LS near-lossless": ("81", lambda p: imagecodecs.jpegls_encode(p, 2), 2),
    "JPEG 2000 lossless": ("90", lambda p: imagecodecs.jpeg2k_encode(p, 0, codecformat="j2k", bitspersample=12), 0),
    "JPEG 2000 in a JP2 file": ("90", lambda p: imagecodecs.jpeg2k_encode(p, 0, codecformat="jp2"), 0),
    "JPEG 2000 lossy": (
        "91",
        lambda p: imagecodecs.jpeg2k_encode(p, 60, codecformat="j2k", reversible=False, bitspersample=12),
        40,
    ),
    "HTJ2K": ("201", imagecodecs.htj2k_encode, 0),
}
GREY_FILES = [
    "693_J2KI.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG-lossy.dcm",
    "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "image_dfl.dcm",
    "rtdose_rle.dcm",
]


def smooth() -> np.ndarray:
    """A picture below 4096, which lossy codecs change by little."""
    x, y, z = np.meshgrid(*(np.linspace(0, 3, size) for size in (16, 12, 8)), indexing="ij")
    return (2000 + 1500 * np.sin(x + z) * np.cos(y) + noise(low=-20, high=20)).astype(np.uint16)


def compressed(folder, name):
    number, encode, _ = CODECS[name]
    voxels = smooth()

    def change(dataset, index):
        store(dataset, voxels[:, :, index].T, BitsStored=12, HighBit=11)
        compress(dataset, PREFIX + number, encode(np.ascontiguousarray(voxels[:, :, index].T)))

    return series(folder, change), voxels


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_gives_the_voxels_that_simpleitk_gives(tmp_path, name):
    folder, voxels = compressed(tmp_path / "s", name)
    scan = dicom.read_scan(folder)
    assert scan.voxels.dtype == np.uint16
    assert np.abs(scan.voxels.astype(int) - voxels.astype(int)).max() <= CODECS[name][2]
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    theirs = [sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0].T for file in sorted(folder.iterdir())]
    # The inverse of a lossy transform may be rounded either way.
    np.testing.assert_allclose(scan.voxels, np.stack(theirs, axis=2), atol=1 if "lossy" in name else 0)


def test_jpeg_baseline_and_run_lengths(tmp_path):
    voxels = (smooth() >> 4).astype(np.uint8)

    def baseline(dataset, index):
        store(dataset, voxels[:, :, index].T)
        stream = imagecodecs.jpeg8_encode(np.ascontiguousarray(voxels[:, :, index].T), 95)
        compress(dataset, PREFIX + "50", stream)

    scan = dicom.read_scan(series(tmp_path / "jpeg", baseline))
    assert np.abs(scan.voxels.astype(int) - voxels).max() <= 6
    scan = dicom.read_scan(series(tmp_path / "rle", lambda dataset, _: dataset.compress(RLELossless)))
    np.testing.assert_array_equal(scan.voxels, noise())


@pytest.mark.parametrize("codec", [imagecodecs.jpegls_encode, lambda p: imagecodecs.jpeg8_encode(p, lossless=True)])
def test_negative_values_survive_codecs_that_know_no_sign(tmp_path, codec):
    number = "80" if codec is imagecodecs.jpegls_encode else "70"

    def change(dataset, _):
        compress(dataset, PREFIX + number, codec(plane(dataset).view(np.uint16)))

    scan = dicom.read_scan(series(tmp_path / "s", change))
    assert scan.voxels.min() < 0
    np.testing.assert_array_equal(scan.voxels, noise())


def test_frames_in_several_fragments_and_with_extended_offsets(tmp_path):
    def change(dataset, index):
        stream = imagecodecs.jpegls_encode(plane(dataset).view(np.uint16))
        compress(dataset, PREFIX + "80", stream)
        if index % 2:
            dataset.PixelData = encapsulate([stream], fragments_per_frame=3)
        else:
            dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
                [stream]
            )

    np.testing.assert_array_equal(dicom.read_scan(series(tmp_path / "s", change)).voxels, noise())


@pytest.mark.parametrize("name", GREY_FILES)
def test_the_files_of_pydicom_hold_what_another_decoder_finds(name):
    path = get_testdata_file(name, download=False)
    with quiet, warnings.catch_warnings():
        header = read_whole(Path(path))
        format_ = PixelFormat.of(header)
        size = header.whole("Columns", 0), header.whole("Rows", 0)
        found = np.squeeze([format_.values(stored) for stored in stored_planes(header, *size)])
        if name in ("JPEG-lossy.dcm", "JPGExtended.dcm"):  # 12 bits, for which pydicom brings no decoder
            expected = sitk.GetArrayFromImage(sitk.ReadImage(path)).squeeze()
        else:
            expected = pixel_array(dcmread(path), raw=True)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", CODECS)
def test_a_stream_without_its_end_is_refused_at_once(tmp_path, name):
    number, encode, _ = CODECS[name]
    voxels = smooth()

    def cut(dataset):
        store(dataset, voxels[:, :, 2].T, BitsStored=12, HighBit=11)
        stream = encode(np.ascontiguousarray(voxels[:, :, 2].T))
        compress(dataset, PREFIX + number, stream[: len(stream) * 2 // 3])

    folder = compressed(tmp_path / "s", name)[0]
    dataset = dcmread(folder / "0003.dcm")
    cut(dataset)
    dataset.save_as(folder / "0003.dcm")
    started = time.monotonic()
    with pytest.raises(InputError, match=r"^[^;\n]*0003\.dcm: [^;\n]*the end of the [^;\n]*; copy or download"):
        dicom.read_scan(folder)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", CODECS)
def test_damaged_streams_never_crash_hang_or_change_the_size(name):
    number, encode, _ = CODECS[name]
    stream = encode(np.ascontiguousarray(smooth()[:, :, 0].T))
    rng = np.random.default_rng(0)
    refused = 0
    started = time.monotonic()
    for _ in range(300):
        damaged = bytearray(stream)
        near = int(rng.choice([min(80, len(stream)), len(stream)]))
        for at_byte in rng.integers(0, near, rng.integers(1, 6)):
            damaged[at_byte] ^= 1 << rng.integers(8)
        try:
            assert decode(bytes(damaged), PREFIX + number, rows=12, columns=16, bits=16).shape == (12, 16)
        except ValueError:
            refused += 1
    assert refused > 0 and time.monotonic() - started < 20


@pytest.mark.parametrize("name", CODECS)
def test_a_stream_of_another_size_than_announced_is_not_decoded(name):
    number, encode, _ = CODECS[name]
    stream = encode(np.ascontiguousarray(smooth()[:, :, 0].T))
    with pytest.raises(ValueError, match="16 x 12 pixels"):
        decode(stream, PREFIX + number, rows=16, columns=12, bits=16)
    with pytest.raises(ValueError, match="not 16 x 12 of 8"):
        decode(stream, PREFIX + number, rows=12, columns=16, bits=8)


def test_a_stream_that_announces_gigabytes_is_refused_before_they_are_reserved():
    stream = bytearray(imagecodecs.jpeg2k_encode(smooth()[:, :, 0], 0, codecformat="j2k"))
    start = stream.index(b"\xff\x51")
    assert announced(bytes(stream), "JPEG 2000").rows == 16
    stream[start + 22 : start + 30] = b"\0\0\0\1\0\0\0\1"  # tiles of a single pixel
    with pytest.raises(ValueError, match="tiles"):
        decode(bytes(stream), PREFIX + "90", rows=16, columns=12, bits=16)


def test_damaged_run_lengths_and_unknown_compressions_are_refused(tmp_path):
    folder = series(tmp_path / "s", lambda dataset, _: dataset.compress(RLELossless))
    dataset = dcmread(folder / "0002.dcm")
    dataset.PixelData = encapsulate([b"\2" + bytes(80)])
    dataset.save_as(folder / "0002.dcm")
    with pytest.raises(InputError, match=r"0002\.dcm: the file is damaged"):
        dicom.read_scan(folder)
    folder = series(tmp_path / "t", at(4, lambda dataset: compress(dataset, PREFIX + "100", b"\0" * 64)))
    with pytest.raises(InputError, match=r"0005\.dcm: its pixels are compressed by MPEG2.*; decompress"):
        dicom.read_scan(folder)
