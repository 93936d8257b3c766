"""Methods are found by their file's name."""

from __future__ import annotations

import pytest

from duoseg.errors import InputError
from duoseg.methods import method_names
from duoseg.methods.base import Method
from duoseg.methods.registry import find_method


def test_every_file_is_a_method():
    assert {"supervised", "boundary", "dtml"} <= set(method_names())
    for name in method_names():
        assert issubclass(find_method(name), Method)


def test_an_unknown_method_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'dtml'"):
        find_method("dtlm")
