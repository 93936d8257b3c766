"""Teachers: frozen copies of a student that follow it, or do not."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """A copy of a student that no gradient reaches.

    Its weights follow the student's by an exponential moving average (Tarvainen & Valpola, NeurIPS 2017), whose decay
    rises as 1 - 1 / (n + 1) from 0 to the asked one: the average forgets its random start. Running statistics of batch
    normalisation are the teacher's own, from the images that it sees.
    """

    updates: Tensor

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """What the network says, without a way back."""
        return self.network(image)

    @torch.no_grad()
    def follow(self, student: nn.Module, decay: float, *, rising: bool = True) -> None:
        """Move the weights towards the student's: w <- a w + (1 - a) w_student.

        Args:
            student: whom to follow.
            decay: a; where it is ``rising``, a = min(1 - 1 / (n + 1), decay) after n updates.
            rising: whether a begins at 0.
        """
        share = torch.full_like(self.updates, 1 - decay, dtype=torch.float32)
        if rising:
            share = torch.maximum(share, 1 / (self.updates + 1))
        self.updates += 1
        for own, other in zip(self.network.parameters(), student.parameters(), strict=True):
            own.lerp_(other, share.to(own.dtype))

    @torch.no_grad()
    def become(self, student: nn.Module) -> None:
        """Take over all weights and buffers, and start the average anew."""
        self.network.load_state_dict(student.state_dict())
        self.updates.zero_()
