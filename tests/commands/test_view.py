"""`duoseg view`: a viewer on this machine, of these scans, for who knows its address."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest

import duoseg
from duoseg.errors import InputError

QUIETLY = {"device": "cpu", "threads": 1}


@pytest.fixture(autouse=True)
def with_viewer(monkeypatch):
    """Whether or not NiiVue was fetched."""
    monkeypatch.setattr("duoseg.reporting.viewing.viewer_script", lambda: "const niivue = 1;")


@pytest.fixture
def scans(phantoms, tmp_path):
    return shutil.copytree(phantoms / "imagesTs", tmp_path / "scans")


@contextmanager
def serving(folder):
    with duoseg.view(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, path: str, *, how: str = "GET", host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(how, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_volumes_are_the_scan_and_its_masks(trained, scans, tmp_path):
    out = tmp_path / "masks"
    predicted = duoseg.predict(trained, scans, out, uncertainty=True, **QUIETLY)
    ranked = sorted(predicted, key=lambda scan: scan.judgement.trust)
    with serving(out) as server:
        start = server.address.removeprefix(f"http://127.0.0.1:{server.server_port}")
        status, page = ask(server, start)
        assert status == 200 and page.index(ranked[0].case.encode()) < page.index(ranked[1].case.encode())
        assert ask(server, start + "niivue.js") == (200, b"const niivue = 1;")
        for number, scan in enumerate(ranked):
            image, mask, doubt = (
                nib.Nifti1Image.from_bytes(ask(server, f"{start}volumes/{number}/{name}.nii")[1])
                for name in ("image", "prediction", "uncertainty")
            )
            truth = nib.as_closest_canonical(nib.load(scan.mask))
            np.testing.assert_array_equal(mask.dataobj, truth.dataobj)
            np.testing.assert_allclose(image.header.get_zooms(), truth.header.get_zooms(), rtol=1e-5)
            source = nib.as_closest_canonical(nib.load(next(scans.glob(f"{scan.case}*"))))
            assert np.corrcoef(np.ravel(image.dataobj), np.ravel(source.dataobj))[0, 1] > 0.95
            assert doubt.shape == mask.shape and 0.3 < np.max(doubt.dataobj) <= 0.5


def test_nothing_else_is_given_to_anyone(trained, scans, tmp_path):
    duoseg.predict(trained, scans, tmp_path / "masks", **QUIETLY)
    with serving(tmp_path / "masks") as server:
        start = server.address.removeprefix(f"http://127.0.0.1:{server.server_port}")
        assert server.server_address[0] == "127.0.0.1"
        others = ("predictions.json", "../masks", "volumes/9/image.nii")
        for path in ("/", "/viewer.js", start[:-2] + "/", *(start + other for other in others)):
            assert ask(server, path)[0] == 404
        assert ask(server, start, host="example.org")[0] == 404
        assert ask(server, start, how="POST")[0] == 501
        with serving(tmp_path / "masks") as another:
            assert another.address.rpartition(":")[2].partition("/")[2] not in start
        min(scans.iterdir()).unlink()
        status, said = ask(server, start + "volumes/0/image.nii")
        assert status == 500 and b"there is no such file" in said
    with serving(tmp_path / "masks") as server:  # one scan is gone; the other is still shown
        start = server.address.removeprefix(f"http://127.0.0.1:{server.server_port}")
        assert [ask(server, f"{start}volumes/{number}/image.nii")[0] for number in (0, 1)] == [200, 404]
    min(scans.iterdir()).unlink()
    with pytest.raises(InputError, match="is not there, though a mask"):
        duoseg.view(tmp_path / "masks")


def test_scans_that_are_unlike_stand_first_whatever_their_trust(trained, scans, tmp_path):
    duoseg.predict(trained, scans, tmp_path / "masks", uncertainty=True, **QUIETLY)
    listed = tmp_path / "masks" / "predictions.json"
    entries = json.loads(listed.read_text())["scans"]
    for entry, trust, unlike in zip(entries, (0.5, 0.99), ([], ["its orientation"]), strict=True):
        entry |= {"trust": trust, "unlike": unlike}
    listed.write_text(json.dumps({"scans": entries}))
    with serving(tmp_path / "masks") as server:
        page = ask(server, server.address.removeprefix(f"http://127.0.0.1:{server.server_port}"))[1].decode()
    assert page.index(f"{entries[1]['case']} (trust 0.99, unlike)") < page.index(f"{entries[0]['case']} (trust 0.50)")


def test_without_predictions_or_without_a_viewer_it_is_refused(trained, scans, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="holds no predictions"):
        duoseg.view(trained)
    duoseg.predict(trained, scans, tmp_path / "masks", **QUIETLY)
    monkeypatch.setattr("duoseg.reporting.viewing.viewer_script", lambda: None)
    with pytest.raises(InputError, match="make viewer"):
        duoseg.view(tmp_path / "masks")
