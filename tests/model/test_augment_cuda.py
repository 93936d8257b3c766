"""The same augmentation on an accelerator."""

from __future__ import annotations

import pytest
import torch

from duoseg.model.augment import SampleGenerator, augment, strong_view
from duoseg.planning.plan import AugmentationPlan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_cuda_gives_the_cpus_patches_where_no_noise_is_drawn():
    plan = AugmentationPlan(mirror_axes=(0, 1), spatial_probability=1.0, noise_probability=0.0)
    image, label = torch.randn(4, 2, 19, 19, 15), torch.randint(-1, 3, (2, 19, 19, 15))
    results = [
        augment(
            image.to(device),
            label.to(device),
            size=(16, 16, 12),
            plan=plan,
            generator=SampleGenerator(0, 0, range(4), device),
        )
        for device in ("cpu", "cuda")
    ]
    (on_cpu, label_on_cpu), (on_cuda, label_on_cuda) = results
    assert label_on_cpu is not None and label_on_cuda is not None
    assert on_cuda.is_cuda and label_on_cuda.is_cuda
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=2e-3, rtol=0)
    assert (label_on_cuda.cpu() == label_on_cpu).float().mean() > 0.999


def test_strong_view_on_cuda_inverts_exactly():
    image = torch.randn(4, 1, 12, 12, 12, device="cuda")
    plan = AugmentationPlan(mirror_axes=(0, 1, 2), quarter_turns=True, noise_probability=0.5)
    view = strong_view(image, plan=plan, generator=SampleGenerator(0, 0, range(4), "cuda"))
    assert view.image.is_cuda and torch.equal(view.invert(view.apply(image)), image)
