"""What is told of a combination that failed."""

from __future__ import annotations

from duoseg.commands.comparing.children import _last_lines

TRACEBACK = """loading
Traceback (most recent call last):
  File "/env/lib/duoseg/training/loop.py", line 90, in run
    terms = method(batch)
  File "/env/lib/duoseg/methods/mine.py", line 12, in forward
    return self.region(batch.image)
  File "/env/lib/torch/nn/modules/module.py", line 1511, in _call_impl
    raise RuntimeError(text)
"""
CUDA = """RuntimeError: CUDA error: device-side assert triggered
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""


def test_an_error_of_several_lines_in_a_method_is_told_whole_and_with_the_methods_line(tmp_path):
    (tmp_path / "log").write_text(TRACEBACK + CUDA)
    assert _last_lines(tmp_path / "log") == f"{CUDA.strip()} (/env/lib/duoseg/methods/mine.py, line 12)"
