"""A viewer of whole scans on this machine: a page, and a server that gives it the volumes that it asks for.

It listens on 127.0.0.1 alone, answers reading requests alone, for the scans that it was started with and no other file,
and only under a path that holds a random word: another program or web page that does not know it gets nothing.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from markupsafe import Markup

from duoseg.errors import InputError
from duoseg.reporting.templating import asset, environment
from duoseg.reporting.volumes import viewer_script

HOST = "127.0.0.1"
Volume = Callable[[], bytes]
"""Reads a volume and gives it as an uncompressed NIfTI file."""


@dataclass(frozen=True)
class ViewedScan:
    """A scan to look at.

    Attributes:
        label: what the page calls it.
        volumes: ``image`` and the layers over it, by name.
    """

    label: str
    volumes: Mapping[str, Volume]


class ViewServer(ThreadingHTTPServer):
    """Serves the viewer of some scans until it is shut down.

    Args:
        title: the page's heading.
        scans: all with the same layers.
        shades: the largest value of their masks.
        port: 0 for any that is free.

    Raises:
        InputError: this installation has no viewer, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, title: str, scans: Sequence[ViewedScan], *, shades: int, port: int = 0) -> None:
        script = viewer_script()
        if script is None:
            raise InputError("This installation has no 3-D viewer: `make viewer` fetches it, or install a wheel.")
        self.reading = threading.Lock()  # one scan at a time is enough for memory
        self._secret = secrets.token_urlsafe(24)
        page = (
            environment()
            .get_template("view.html.j2")
            .render(
                title=title,
                scans=[scan.label for scan in scans],
                shades=shades,
                layers=[name for name in scans[0].volumes if name != "image"],
                style=Markup(asset("report.css")),
            )
        )
        text = {"": ("text/html", page), "niivue.js": ("text/javascript", script)}
        text["viewer.js"] = ("text/javascript", asset("viewer.js"))
        self._files: dict[str, tuple[str, Volume]] = {
            name: (f"{kind}; charset=utf-8", content.encode) for name, (kind, content) in text.items()
        }
        for number, scan in enumerate(scans):
            for name, volume in scan.volumes.items():
                self._files[f"volumes/{number}/{name}.nii"] = ("application/octet-stream", volume)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as fault:
            raise InputError(f"port {port} cannot be used ({fault.strerror}); leave --port out.") from fault

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/{self._secret}/"

    def find(self, host: str | None, path: str) -> tuple[str, Volume] | None:
        """What lies under a path; None for any path but those that the page knows, and for a page of another host."""
        # A page elsewhere whose name leads here would ask with that name.
        start = f"/{self._secret}/"
        begins = secrets.compare_digest(path[: len(start)].encode(errors="replace"), start.encode())
        known = host == f"{HOST}:{self.server_port}" and begins
        return self._files.get(path[len(start) :]) if known else None


class _Handler(BaseHTTPRequestHandler):
    """Answers GET, and nothing else."""

    def do_GET(self) -> None:
        """Send a file of the page, or a volume."""
        assert isinstance(self.server, ViewServer)
        found = self.server.find(self.headers.get("Host"), self.path)
        if found is None:
            self.send_error(404)
            return
        kind, read = found
        try:
            with self.server.reading:
                content = read()
            status = 200
        except (InputError, OSError) as fault:
            status, kind, content = 500, "text/plain; charset=utf-8", str(fault).encode(errors="replace")
        except MemoryError:
            status, kind, content = 500, "text/plain; charset=utf-8", b"this scan needs more memory than there is"
        with suppress(ConnectionError):  # a page that was closed no longer listens
            self._send(status, kind, content)

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
