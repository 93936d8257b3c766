"""A sample's draws depend on seed, step and its index alone, and have the distributions that they claim."""

from __future__ import annotations

import pytest
import torch

from duoseg.model.draws import SampleGenerator


def everything(generator: SampleGenerator) -> list[torch.Tensor]:
    return [
        generator.uniform(-2, 3, 4),
        generator.normal(3, 7),
        generator.chance(0.5),
        generator.integers(0, 9, 5),
        generator.host.normal(20),
        generator.uniform(0, 1),
    ]


def test_draws_do_not_depend_on_the_other_samples_or_their_order():
    whole = everything(SampleGenerator(7, 12, range(4)))
    shuffled = everything(SampleGenerator(7, 12, [3, 1, 9, 0]))
    for row in range(4):
        alone = everything(SampleGenerator(7, 12, [row]))
        for together, single in zip(whole, alone, strict=True):
            assert torch.equal(together[row], single[0])
    for a, b in zip(whole, shuffled, strict=True):
        assert torch.equal(a[3], b[0]) and torch.equal(a[1], b[1]) and torch.equal(a[0], b[3])


@pytest.mark.parametrize("other", [(8, 12, 0), (7, 13, 0), (7, 12, 1), (12, 7, 0)])
def test_seed_step_and_index_each_change_the_draws(other):
    seed, step, index = other
    first = SampleGenerator(7, 12, [0]).normal(50)
    assert not torch.isclose(first, SampleGenerator(seed, step, [index]).normal(50)).any()


def test_host_and_device_streams_are_independent():
    generator = SampleGenerator(0, 0, range(3))
    undisturbed = SampleGenerator(0, 0, range(3))
    generator.host.normal(11)
    assert torch.equal(generator.normal(5), undisturbed.normal(5))
    assert not torch.isclose(SampleGenerator(0, 0, [0]).host.normal(50), SampleGenerator(0, 0, [0]).normal(50)).any()


def test_a_selection_continues_its_samples_streams_and_leaves_the_others():
    generator = SampleGenerator(1, 2, range(3))
    chosen = generator.select([2, 0]).normal(4)
    after = generator.normal(4)
    fresh = SampleGenerator(1, 2, range(3))
    first, second = fresh.normal(4), fresh.normal(4)
    assert torch.equal(chosen, first[[2, 0]])
    assert torch.equal(after[1], first[1]) and torch.equal(after[[0, 2]], second[[0, 2]])
    assert len(generator.select([])) == 0 and generator.select([]).normal(4).shape == (0, 4)


def test_distributions_and_types():
    generator = SampleGenerator(0, 0, range(2))
    uniform = generator.uniform(-2.0, 6.0, 20000)
    assert uniform.dtype == torch.float32 and uniform.min() >= -2 and uniform.max() < 6
    assert abs(uniform.mean() - 2.0) < 0.05
    normal = generator.normal(20000)
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02
    integers = generator.integers(-1, 3, 20000)
    assert integers.dtype == torch.int64
    counts = torch.bincount((integers + 1).flatten()) / integers.numel()
    assert len(counts) == 4 and (counts - 0.25).abs().max() < 0.02


def test_chance_is_certain_at_its_ends_and_fair_between():
    generator = SampleGenerator(0, 0, range(3000))
    assert generator.chance(1.0).all() and not generator.chance(0.0).any()
    share = generator.chance(0.3).float().mean()
    assert abs(share - 0.3) < 0.04
