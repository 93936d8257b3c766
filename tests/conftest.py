"""What all tests share: the data folder, and which tests need it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from duoseg.scans.phantoms import write_phantom_dataset

# Before torch is loaded, here and in what tests start: on phantoms a second thread waits more than it works, and beside
# other processes a test takes many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("duoseg", deadline=None)  # a machine may be busy
settings.load_profile("duoseg")

THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
BESIDE_THE_REPOSITORY = REPOSITORY.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data",
        metavar="DIR",
        type=Path,
        default=None,
        help="folder of real data sets; also selects the tests that need one (write --data=DIR)",
    )
    parser.addoption(
        "--nothing-skipped",
        action="store_true",
        help="a test that is skipped, such as for want of a browser, counts as failed: for continuous integration",
    )


@pytest.fixture(autouse=True)
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines: duoseg makes none but by `fetch`, which is tested with a local one."""
    connect = socket.socket.connect

    def refused(own: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in THIS_MACHINE:
            pytest.fail(f"a connection to {address[0]} was asked for")
        connect(own, address)

    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a test was skipped and none may be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--nothing-skipped") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--data")
    if folder is not None and not folder.is_dir():
        raise pytest.UsageError(f"--data: there is no folder {folder.resolve()}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark everything under ``tests/real``, and leave it out unless real data is asked for."""
    for item in items:
        if (TESTS / "real") in item.path.parents:
            item.add_marker("real")
    asked_for = config.getoption("--data") is not None or re.search(r"\breal\b", config.getoption("-m"))
    if asked_for:
        return
    left_out = [item for item in items if item.get_closest_marker("real")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("real")]


@pytest.fixture(scope="session")
def data_folder(pytestconfig: pytest.Config) -> Path:
    """The folder of real data sets: ``--data DIR``, else ``../shared/data`` from the repository's root."""
    folder = pytestconfig.getoption("--data")
    if folder is not None:
        return folder.resolve()
    if BESIDE_THE_REPOSITORY.is_dir():
        return BESIDE_THE_REPOSITORY
    pytest.skip("no real data: give its folder with --data=DIR, or lay it at ../shared/data")


FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Takes a line of measured figures, to be shown at the end of the test run."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, not to be changed: 3 labelled, 4 unlabelled and 2 test scans, in mixed axis orders."""
    return write_phantom_dataset(
        tmp_path_factory.mktemp("phantoms"), subjects=7, labelled=3, test=2, size=(24, 24, 16), spacing=(2.4, 2.4, 4.0)
    )


TINY_PROTOCOL = """
steps = 12

[plan]
patch = [16, 16, 8]

[plan.network]
stem = "full"
channels = [4, 8]
strides = [[2, 2, 2]]
"""


@pytest.fixture(scope="session")
def tiny_protocol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A protocol with a network so small that a training takes seconds."""
    path = tmp_path_factory.mktemp("protocol") / "tiny.toml"
    path.write_text(TINY_PROTOCOL)
    return path
