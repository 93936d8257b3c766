"""Takes the 3-D viewer of the report pages, NiiVue, into the package when a wheel is built, or by `make viewer`.

It is one file of an npm package of a pinned version, whose bytes are checked, and is not part of this repository. It is
fetched by npm; where there is none, or no network, everything else works, and pages have pictures alone.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `make viewer` needs no build system
    BuildHookInterface = object

PACKAGE = "@niivue/niivue@0.69.0"
INTEGRITY = "YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA=="
"""SHA-512 of the package, as the npm registry states it."""
MEMBER = "package/dist/niivue.umd.js"
SHA512 = (
    "37dc9688207bcb81b39afe18628488970cecf5f6b3601941508a51c839aeb63e"
    "e38cc023405fd9bd2e634a01a71616eb6d50e6a73410739f6d914a978d11267f"
)
"""Of that file, which may have been fetched long ago."""
VIEWER = Path("src/duoseg/reporting/viewer/niivue.umd.js")
SECONDS = 120


class CustomBuildHook(BuildHookInterface):
    """What hatchling calls before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch the viewer for a wheel; an editable install takes what `make viewer` fetched."""
        viewer = Path(self.root) / VIEWER
        if version != "editable" and not is_right(viewer):
            fetch(viewer)
        if is_right(viewer):
            build_data["artifacts"].append(f"/{VIEWER.as_posix()}")


def is_right(viewer: Path) -> bool:
    """Whether the viewer is there, in the version that is meant."""
    return viewer.exists() and hashlib.sha512(viewer.read_bytes()).hexdigest() == SHA512


def fetch(viewer: Path) -> None:
    """Fetch and check the viewer; tell on standard error why it is not there, if it is not."""
    npm = shutil.which("npm")
    if npm is None:
        return _tell("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", PACKAGE, "--silent", "--fetch-retries=1", f"--pack-destination={folder}"]
        try:
            subprocess.run(command, check=True, timeout=SECONDS, capture_output=True, text=True)
        except (subprocess.SubprocessError, OSError) as fault:
            return _tell(f"npm could not fetch {PACKAGE} ({fault})")
        archive = next(Path(folder).glob("*.tgz"), None)
        if archive is None:
            return _tell(f"npm gave no archive of {PACKAGE}")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != INTEGRITY:
            raise SystemExit(f"{PACKAGE}: its SHA-512 is {found}, and {INTEGRITY} was expected. It is not taken.")
        with tarfile.open(archive) as files:
            member = files.extractfile(MEMBER)
            assert member is not None  # the checksum is that of a package with this file
            content = member.read()
    viewer.parent.mkdir(parents=True, exist_ok=True)
    part = viewer.with_name(f"{viewer.name}.part")
    part.write_bytes(content)
    part.replace(viewer)
    return None


def _tell(reason: str) -> None:
    sys.stderr.write(f"Report pages will have no 3-D viewer: {reason}.\n")


if __name__ == "__main__":
    there = Path(__file__).parent / VIEWER
    if not is_right(there):
        fetch(there)
