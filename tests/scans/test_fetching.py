"""Public sets: downloads that are cut, changed or wrong, archives that try to harm, and the way into the layout."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import resource
import shutil
import ssl
import struct
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.apps.datasets import DecathlonDataset

import duoseg
from duoseg.commands.fetch import fetch_set
from duoseg.errors import InputError
from duoseg.files import write_text
from duoseg.scans.dataset import load_dataset
from duoseg.scans.fetching.catalogue import CATALOGUE, Checksum, Layout, PublicSet, find_set
from duoseg.scans.fetching.download import ATTEMPTS, download
from duoseg.scans.fetching.unpack import unpack

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8))


def md5(content: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(content, usedforsecurity=False).hexdigest(), "the tests")


class Server:
    """Answers with ``content``, in ways that can be changed between requests."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.tag = '"one"'
        self.ranges = True
        self.statuses: list[int] = []
        self.cuts: list[int] = []
        self.requests: list[dict[str, str]] = []
        self.headers: dict[str, str] = {}
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = dict(handler.headers.items())
        self.requests.append(asked)
        status = self.statuses.pop(0) if self.statuses else 200
        first = 0
        if status == 200 and self.ranges and "Range" in asked and asked.get("If-Range") == self.tag:
            first, status = int(asked["Range"].removeprefix("bytes=").removesuffix("-")), 206
            if first >= len(self.content):
                status = 416
        handler.send_response(status)
        rest = self.content[first:] if status in (200, 206) else b""
        sent = {"Content-Length": str(len(rest)), "ETag": self.tag, **self.headers}
        if status == 206:
            sent["Content-Range"] = f"bytes {first}-{len(self.content) - 1}/{len(self.content)}"
        if status == 416:
            sent["Content-Range"] = f"bytes */{len(self.content)}"
        for name, value in sent.items():
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(rest[: self.cuts.pop(0)] if self.cuts else rest)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{running.server_address[1]}/set.tar"
        yield state
        running.shutdown()
        thread.join()


class Pauses(list):
    """Notes waits instead of waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def got(server: Server, target: Path, content: bytes = CONTENT, pause: Callable[[float], None] | None = None) -> None:
    download(server.url, target, md5(content), pause=Pauses() if pause is None else pause)
    assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


def test_a_file_comes_whole_and_leaves_nothing_beside_it(server: Server, tmp_path: Path) -> None:
    told: list[tuple] = []
    download(server.url, tmp_path / "set.tar", md5(CONTENT), progress=lambda *state: told.append(state))
    assert (tmp_path / "set.tar").read_bytes() == CONTENT
    assert told[-1] == ("download", 3, 3, "MB")
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar"]


def test_a_cut_download_goes_on_with_the_rest(server: Server, tmp_path: Path) -> None:
    server.cuts = [1_000_000, 500_000]
    pauses = Pauses()
    got(server, tmp_path / "set.tar", pause=pauses)
    assert [request.get("Range") for request in server.requests] == [None, "bytes=1000000-", "bytes=1500000-"]
    assert pauses == [1.0, 1.0]  # each attempt brought something


def test_another_call_goes_on_where_an_earlier_one_gave_up(server: Server, tmp_path: Path) -> None:
    server.cuts = [1_000_000] + [0] * ATTEMPTS
    with pytest.raises(InputError, match=r"cannot be downloaded .*1\.0 MB.* is kept"):
        download(server.url, tmp_path / "set.tar", md5(CONTENT), pause=Pauses())
    assert not (tmp_path / "set.tar").exists()
    server.cuts, server.requests = [], []
    got(server, tmp_path / "set.tar")
    assert [request.get("Range") for request in server.requests] == ["bytes=1000000-"]


def test_a_server_that_sends_no_rest_is_asked_for_all(server: Server, tmp_path: Path) -> None:
    server.cuts, server.ranges = [1_000_000], False
    got(server, tmp_path / "set.tar")
    assert len(server.requests) == 2


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_mark_of_its_version_a_file_is_begun_anew(server: Server, tmp_path: Path, tag: str) -> None:
    server.cuts, server.tag = [1_000_000], tag
    got(server, tmp_path / "set.tar")
    assert "Range" not in server.requests[1]


def test_a_file_that_changed_meanwhile_is_begun_anew(server: Server, tmp_path: Path) -> None:
    server.cuts = [1_000_000] + [0] * ATTEMPTS
    with pytest.raises(InputError, match="is kept"):
        download(server.url, tmp_path / "set.tar", md5(CONTENT), pause=Pauses())
    server.cuts, server.tag, server.content = [], '"two"', CONTENT[::-1]
    got(server, tmp_path / "set.tar", CONTENT[::-1])


def test_a_part_that_lacks_nothing_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.tar.part").write_bytes(CONTENT)
    (tmp_path / "set.tar.part.json").write_text(json.dumps({"url": server.url, "tag": server.tag}))
    got(server, tmp_path / "set.tar")
    assert len(server.requests) == 1


def test_a_part_longer_than_the_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.tar.part").write_bytes(CONTENT + b"more")
    (tmp_path / "set.tar.part.json").write_text(json.dumps({"url": server.url, "tag": server.tag}))
    got(server, tmp_path / "set.tar")


@pytest.mark.parametrize("note", ["", "[]", '{"url": 1}', "[" * 100_000, '{"url": "http://elsewhere/x", "tag": "t"}'])
def test_a_part_with_an_odd_note_is_begun_anew(server: Server, tmp_path: Path, note: str) -> None:
    (tmp_path / "set.tar.part").write_bytes(CONTENT[:1000])
    (tmp_path / "set.tar.part.json").write_text(note)
    got(server, tmp_path / "set.tar")


def test_a_wrong_checksum_is_told_with_its_source_and_the_file_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"set\.tar: has the MD5 \w{32}, but \w{32} was published \(the tests\)"):
        download(server.url, tmp_path / "set.tar", md5(b"else"))
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again_as_late_as_it_says(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429, 200]
    server.headers = {"Retry-After": "7"}
    pauses = Pauses()
    got(server, tmp_path / "set.tar", pause=pauses)
    assert pauses == [7.0, 7.0]


def test_a_file_that_is_not_there_is_told_at_once(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(InputError, match=r"set\.tar: the server answers 404"):
        download(server.url, tmp_path / "set.tar", md5(CONTENT), pause=Pauses())
    assert len(server.requests) == 1


def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    pauses = Pauses()
    with pytest.raises(InputError, match="cannot be downloaded"):
        download("http://127.0.0.1:1/set.tar", tmp_path / "set.tar", md5(CONTENT), pause=pauses)
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_a_disk_too_small_is_told_before_anything_comes(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Length": str(10**17)}
    with pytest.raises(InputError, match=r"needs 100000000\.00 GB more"):
        download(server.url, tmp_path / "set.tar", md5(CONTENT), pause=Pauses())


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can become larger, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_meanwhile_is_told_with_the_file(server: Server, tmp_path: Path) -> None:
    with room_for(1_000_000), pytest.raises(OSError, match="File too large") as raised:
        download(server.url, tmp_path / "set.tar", md5(CONTENT), pause=Pauses())
    assert raised.value.filename == str(tmp_path / "set.tar.part")
    got(server, tmp_path / "set.tar")
    archive = write_tar(tmp_path / "a.tar", member("top/imagesTr/a.nii.gz", bytes(100_000)))
    with room_for(10_000), pytest.raises(OSError, match="File too large") as raised:
        unpack(archive, tmp_path / "out", ["imagesTr"])
    assert str(raised.value.filename).endswith("imagesTr/a.nii.gz")
    with room_for(10_000), pytest.raises(OSError, match="File too large") as raised:
        write_text(tmp_path / "some.json", "x" * 100_000)
    assert raised.value.filename == str(tmp_path / "some.json")
    assert not (tmp_path / "some.json").exists()


@pytest.mark.parametrize(
    "fault",
    [
        ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC]"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        OSError(errno.ENETDOWN, "Network is down"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError("timed out"),
    ],
    ids=["ssl", "host", "network", "reset", "time"],
)
@pytest.mark.parametrize("when", ["answering", "sending"])
def test_a_network_that_fails_is_asked_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError, when: str
) -> None:
    open_url, faults = urllib.request.urlopen, [fault, fault]

    def opened(*args: object, **options: object) -> object:
        if when == "answering" and faults:
            raise faults.pop()
        answer = open_url(*args, **options)
        if faults:
            answer.read = reading(answer.read(1000))
        return answer

    def reading(block: bytes) -> Callable[[int], bytes]:
        blocks = [block]

        def read(_: int) -> bytes:
            if blocks:
                return blocks.pop()
            raise faults.pop()

        return read

    monkeypatch.setattr(urllib.request, "urlopen", opened)
    got(server, tmp_path / "set.tar")
    assert not faults


def test_only_the_web_is_asked(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    with pytest.raises(InputError, match="no address on the web"):
        download((tmp_path / "secret").as_uri(), tmp_path / "set.tar", md5(CONTENT))


def member(name: str, content: bytes = b"x", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


GOOD = member("Task/imagesTr/a.nii.gz", b"image")


def unpacked(archive: Path) -> dict[str, bytes]:
    folder = archive.parent / "out"
    unpack(archive, folder, ("imagesTr", "labelsTr"), files=("dataset.json",))
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_only_what_is_wanted_is_unpacked(tmp_path: Path) -> None:
    archive = write_tar(
        tmp_path / "a.tar",
        member("./Task", b"", type=tarfile.DIRTYPE),
        GOOD,
        member("./Task/labelsTr/a.nii.gz", b"label"),
        member("Task/imagesTr/._a.nii.gz", b"mac"),
        member("Task/._dataset.json", b"mac"),
        member("Task/dataset.json", b"{}"),
        member("Task/imagesTr/deeper/b.nii.gz"),
        member("Task/run.sh"),
        member("imagesTr/c.nii.gz"),
    )
    assert unpacked(archive) == {
        "dataset.json": b"{}",
        "imagesTr/a.nii.gz": b"image",
        "labelsTr/a.nii.gz": b"label",
    }


HOSTILE = {
    "climbing": member("Task/imagesTr/../../../escaped"),
    "climbing at first": member("../escaped"),
    "absolute": member("/tmp/escaped"),
    "drive": member("C:/escaped"),
    "backslashes": member("Task\\..\\..\\escaped"),
    "link out": member("Task/imagesTr/b.nii.gz", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "link in": member("Task/imagesTr/b.nii.gz", b"", type=tarfile.SYMTYPE, linkname="a.nii.gz"),
    "hard link": member("Task/imagesTr/b.nii.gz", b"", type=tarfile.LNKTYPE, linkname="Task/imagesTr/a.nii.gz"),
    "device": member("Task/imagesTr/b.nii.gz", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "pipe": member("Task/imagesTr/b.nii.gz", b"", type=tarfile.FIFOTYPE),
    "unwanted device": member("Task/dev", b"", type=tarfile.BLKTYPE),
}


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_archive_with_a_member_that_leads_elsewhere_is_refused_whole(tmp_path: Path, bad: tuple) -> None:
    inner = tmp_path / "deep" / "er"
    inner.mkdir(parents=True)
    archive = write_tar(inner / "a.tar", GOOD, bad)
    with pytest.raises(InputError, match=r"a\.tar: its member .* (leads out|is a link)"):
        unpacked(archive)
    assert [path.name for path in inner.iterdir()] == ["a.tar"]
    assert not list(tmp_path.rglob("escaped"))


def test_files_with_holes_are_refused(tmp_path: Path) -> None:
    archive = write_tar(
        tmp_path / "a.tar",
        GOOD,
        member(
            "Task/imagesTr/b.nii.gz",
            b"x",
            pax_headers={"GNU.sparse.major": "0", "GNU.sparse.size": str(2**50), "GNU.sparse.map": f"{2**49},1"},
        ),
    )
    with pytest.raises(InputError, match="file with holes"):
        unpacked(archive)


def test_a_tar_header_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", GOOD, member("././@LongLink", bytes(2**24), type=tarfile.GNUTYPE_LONGNAME))
    with pytest.raises(InputError, match="no archive that can be read"):
        unpacked(archive)


def test_a_zip_bomb_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Task/imagesTr/a.nii.gz", bytes(10_000_000))
    with pytest.raises(InputError, match=r"would grow from .* to 10 MB"):
        unpacked(tmp_path / "a.zip")


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Task/imagesTr/a.nii.gz", bytes(1_000_000))
    content = path.read_bytes().replace(struct.pack("<I", 1_000_000), struct.pack("<I", 1000))
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        unpacked(path)


@pytest.mark.parametrize("kind", [0o120777, 0o020666])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("Task/imagesTr/a.nii.gz")
    info.create_system, info.external_attr = 3, kind << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="is a link or a device"):
        unpacked(tmp_path / "a.zip")


def test_names_that_climb_out_of_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../imagesTr/a.nii.gz", "x")
    with pytest.raises(InputError, match="leads out"):
        unpacked(tmp_path / "a.zip")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", GOOD, member("Other/imagesTr/A.nii.gz"))
    with pytest.raises(InputError, match="two files of one name"):
        unpacked(archive)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duoseg.scans.fetching.unpack.MOST_MEMBERS", 3)
    archive = write_tar(tmp_path / "a.tar", *[member(f"Task/imagesTr/{i}.nii.gz") for i in range(4)])
    with pytest.raises(InputError, match="more than 3 members"):
        unpacked(archive)


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100, gzip.compress(b"x" * 2000, mtime=0)])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tar: (is no archive|holds no folder imagesTr)"):
        unpacked(tmp_path / "a.tar")


def test_a_tar_cut_short_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", GOOD, member("Task/imagesTr/b.nii.gz", bytes(5000)))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"damaged|cut short"):
        unpacked(path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


AFFINE = np.array([[-1.1, 0.05, 0, 30], [0, 1.0, 0.1, -20], [0.02, 0, 2.5, 7], [0, 0, 0, 1]])


def nifti(voxels: np.ndarray, slope: float | None = None) -> bytes:
    image = nib.Nifti1Image(voxels, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    if slope is not None:
        image.header.set_slope_inter(slope, 3.0)
    return gzip.compress(image.to_bytes(), mtime=0)


def write_task(folder: Path, channels: tuple[str, ...], slope: float | None = None) -> Path:
    """A miniature of a Decathlon archive, with all that comes with the real ones."""
    draw = np.random.default_rng(5)
    members, shape = [], (6, 7, 5, len(channels)) if len(channels) > 1 else (6, 7, 5)
    for name in ("mini_002", "mini_001", "mini_003"):
        voxels = draw.integers(-900, 900, shape).astype(np.int16)
        where = "imagesTs" if name == "mini_003" else "imagesTr"
        members += [member(f"Task99_Mini/{where}/{name}.nii.gz", nifti(voxels, slope))]
        members += [member(f"Task99_Mini/{where}/._{name}.nii.gz", b"\0\5\x16\7")]
        if where == "imagesTr":
            label = (draw.random((6, 7, 5)) * 3).astype(np.uint8)
            members += [member(f"Task99_Mini/labelsTr/{name}.nii.gz", nifti(label))]
    description = {
        "name": "MINI",
        "description": "x",
        "licence": "CC-BY-SA 4.0",
        "release": "1.0",
        "tensorImageSize": "4D",
        "modality": {str(number): name for number, name in enumerate(channels)},
        "labels": {"0": "background", "1": "Front part", "2": "Back part"},
        "numTraining": 2,
        "training": [],
        "test": [],
    }
    members += [member("Task99_Mini/dataset.json", json.dumps(description).encode())]
    return write_tar(folder / "Task99_Mini.tar", *members)


def mini(server: Server, archive: Path, **changes: object) -> PublicSet:
    server.content = archive.read_bytes()
    found = PublicSet(
        "mini", "a miniature", "MRI", 2, 1, None, server.url, md5(server.content), "CC BY-SA 4.0", "Nobody et al."
    )
    return replace(found, **changes)


@pytest.mark.parametrize("slope", [None, 0.5])
@pytest.mark.parametrize("channels", [("MRI",), ("T2", "ADC")])
def test_a_decathlon_archive_becomes_a_data_set_that_check_accepts(
    server: Server, tmp_path: Path, channels: tuple[str, ...], slope: float | None
) -> None:
    archive = write_task(tmp_path, channels, slope)
    root = fetch_set(mini(server, archive), tmp_path / "data")
    report = duoseg.check(root)
    assert report.ok and [(row.case, row.role, row.channels) for row in report.rows] == [
        ("mini_001", "labelled", len(channels)),
        ("mini_002", "labelled", len(channels)),
        ("mini_003", "unlabelled", len(channels)),
    ]
    assert sorted(path.name for path in root.iterdir()) == sorted(
        ["SOURCE.txt", "dataset.json", "imagesTr", "imagesUn", "labelsTr"]
    )
    described = json.loads((root / "dataset.json").read_text())
    assert described["channel_names"] == {str(number): name for number, name in enumerate(channels)}
    assert described["labels"] == {"background": 0, "Front part": 1, "Back part": 2}
    source = (root / "SOURCE.txt").read_text()
    assert all(text in source for text in ("CC BY-SA 4.0", "Nobody et al.", md5(server.content).value, "the tests"))

    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "original", filter="data")
    for original in sorted((tmp_path / "original/Task99_Mini").glob("*s*/mini_*.nii.gz")):
        folder = {"imagesTr": "imagesTr", "imagesTs": "imagesUn", "labelsTr": "labelsTr"}[original.parent.name]
        expected, name = nib.load(original), original.name.removesuffix(".nii.gz")
        values = expected.get_fdata().reshape(6, 7, 5, -1)
        names = [f"{name}.nii.gz"] if folder == "labelsTr" else [f"{name}_{i:04d}.nii.gz" for i in range(len(channels))]
        for index, file in enumerate(names):
            image = nib.load(root / folder / file)
            np.testing.assert_array_equal(image.get_fdata(), values[..., index])
            np.testing.assert_allclose(image.affine, expected.affine, atol=1e-6)
            assert image.shape == (6, 7, 5)
            for code in ("sform_code", "qform_code"):
                assert image.header[code] == expected.header[code]
            if slope is None:
                assert image.get_data_dtype() == expected.get_data_dtype()


def test_a_set_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    public = mini(server, write_task(tmp_path, ("MRI",)))
    fetch_set(public, tmp_path / "data")
    asked = len(server.requests)
    assert fetch_set(public, tmp_path / "data") == tmp_path / "data"
    assert len(server.requests) == asked


def test_two_fetches_do_not_write_into_one_folder(server: Server, tmp_path: Path) -> None:
    public = mini(server, write_task(tmp_path, ("MRI",)))
    refusals = []

    def meanwhile(*_: object) -> None:
        with pytest.raises(InputError, match="another `duoseg fetch` is at work") as refusal:
            fetch_set(public, tmp_path / "data")
        refusals.append(refusal)

    fetch_set(public, tmp_path / "data", progress=meanwhile)
    assert refusals and load_dataset(tmp_path / "data").train


def test_a_set_is_told_by_name_and_checksum_and_not_by_its_description(server: Server, tmp_path: Path) -> None:
    public = mini(server, write_task(tmp_path, ("MRI",)))
    root = fetch_set(public, tmp_path / "data")
    asked = len(server.requests)
    assert fetch_set(replace(public, title="anew", citation="Somebody", licence="CC0"), root) == root
    for other in (replace(public, name="mini2"), replace(public, checksum=md5(b"another"))):
        with pytest.raises(InputError, match="holds other files"):
            fetch_set(other, root)
    shutil.rmtree(root / "labelsTr")
    with pytest.raises(InputError, match="holds other files"):
        fetch_set(public, root)
    assert len(server.requests) == asked


@pytest.mark.parametrize("renames", range(6))
def test_a_fetch_killed_in_its_last_steps_is_no_data_set_until_it_has_gone_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    public, root = mini(server, write_task(tmp_path, ("MRI",))), tmp_path / "data"
    moved: list[Path] = []
    replace_path, rmtree = Path.replace, shutil.rmtree

    def killed(path: Path, target: Path) -> Path:
        if Path(target).parent == root:
            if len(moved) == renames:
                raise KeyboardInterrupt
            moved.append(Path(target))
        return replace_path(path, target)

    def killed_at_last(path: Path, *args: object, **options: object) -> None:
        if path == root / ".fetch":
            raise KeyboardInterrupt
        rmtree(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(shutil, "rmtree", killed_at_last)
        with pytest.raises(KeyboardInterrupt):
            fetch_set(public, root)
    assert len(moved) == min(renames, 5)
    with pytest.raises(InputError, match=r"data: is a public set that is unfinished; run `duoseg fetch` again"):
        duoseg.check(root)
    asked = len(server.requests)
    assert duoseg.check(fetch_set(public, root)).ok and len(server.requests) == asked
    assert not (root / ".fetch").exists() and len(list(root.glob("*/*.nii.gz"))) == 5


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_conversion_goes_on_without_another_download(server: Server, tmp_path: Path, after: int) -> None:
    public = mini(server, write_task(tmp_path, ("T2", "ADC")))

    def interrupt(what: str, done: int, total: int, detail: str = "") -> None:
        if what == "convert" and done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_set(public, tmp_path / "data", progress=interrupt)
    assert not (tmp_path / "data/dataset.json").exists() and not (tmp_path / "data/imagesTr").exists()
    asked = len(server.requests)
    assert duoseg.check(fetch_set(public, tmp_path / "data")).ok
    assert len(server.requests) == asked
    assert len(list((tmp_path / "data/imagesTr").iterdir())) == 4


def test_a_folder_with_other_files_is_left_alone(server: Server, tmp_path: Path) -> None:
    public = mini(server, write_task(tmp_path, ("MRI",)))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="data: holds other files; choose a new or empty folder"):
        fetch_set(public, tmp_path / "data")
    assert not server.requests


def test_an_archive_with_other_channels_than_named_is_told(server: Server, tmp_path: Path) -> None:
    public = mini(server, write_task(tmp_path, ("T2", "ADC")), layout=Layout(channels=("MRI",)))
    with pytest.raises(InputError, match=r"mini_001\.nii\.gz: holds 2 volumes, but 1 channels"):
        fetch_set(public, tmp_path / "data")


def test_a_zip_of_pairs_becomes_a_data_set(server: Server, tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as archive:
        for name in ("IXI002-Guys-0828", "IXI012-HH-1211"):
            archive.writestr(f"tiny/image/{name}_image.nii.gz", nifti(draw.random((6, 7, 5)).astype(np.float32)))
            archive.writestr(f"tiny/label/{name}_label.nii.gz", nifti((draw.random((6, 7, 5)) > 0.5).astype(np.uint8)))
    public = mini(server, tmp_path / "tiny.zip", layout=CATALOGUE["ixi_tiny"].layout)
    report = duoseg.check(fetch_set(public, tmp_path / "data"))
    assert report.ok and [row.case for row in report.rows] == ["IXI002-Guys-0828", "IXI012-HH-1211"]


def test_the_catalogue_has_the_decathlon_as_monai_publishes_it() -> None:
    ours = {
        one.url.rpartition("/")[2].removesuffix(".tar"): one for one in CATALOGUE.values() if "msd-for-monai" in one.url
    }
    assert {task: one.url for task, one in ours.items()} == DecathlonDataset.resource
    assert {task: one.checksum.value for task, one in ours.items()} == DecathlonDataset.md5
    assert all(one.checksum.algorithm == "md5" and "monai" in one.checksum.source for one in ours.values())


def test_every_set_says_where_its_checksum_was_published() -> None:
    digits = {"md5": 32, "sha256": 64}
    for name, one in CATALOGUE.items():
        assert one.name == name and one.checksum.source and one.licence and one.citation
        assert len(one.checksum.value) == digits[one.checksum.algorithm]
        assert one.url.startswith("https://")


def test_an_unknown_name_is_told_with_the_nearest_and_all_others() -> None:
    with pytest.raises(InputError, match=r"hipocampus: no public data set.*did you mean hippocampus\?.*ixi_tiny"):
        find_set("hipocampus")
    with pytest.raises(InputError, match="known are: brain_tumour, heart"):
        duoseg.fetch("x" * 1000, "nowhere")
