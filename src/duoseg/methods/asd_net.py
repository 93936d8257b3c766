"""Attention-based semi-supervised deep networks (ASDNet): Nie, Gao, Wang & Shen, MICCAI 2018.

A segmentation network S gives class probabilities p; a fully convolutional confidence network D says of each voxel of
such maps how much they look like a true mask. S learns to pass for true, and on unlabelled patches learns its own hard
labels y^ where D trusts them:

    L_seg  = 1 - mean_c 2 sum_i w_i |p y| / sum_i w_i (|p^2| + |y^2|)    labelled patches i, w_i ~ (1 - Dice_i)^beta
    L_adv  = - 0.01 mean_labelled log D(p) - 0.001 mean_unlabelled log D(p)                  D held fixed
    L_semi = sum 1[D(p) > gamma] CE(p, y^) / sum 1[D(p) > gamma]   unlabelled patches, y^ = argmax p
    L_D    = - mean log D(y) - mean log(1 - D(p))                  labelled patches, p held fixed, y one-hot
    L      = L_seg + L_adv + 0.1 L_semi + L_D

What D sees (maps without the image, of labelled patches) and its rate are those of the first author's released code.
gamma is what that code offers beside a fixed 0.5: 1 - the last Dice of a validation scan there, 1 - the Dice of the
step's labelled patches here, where nothing is validated on. The weights are those of Hung et al. (BMVC 2018), whence
L_adv and L_semi come: the code's defaults (0.05 on both kinds of patches, 0.5) stand beside an adversary that is
switched off by default, and with them the network, tried on phantoms, painted likely shapes whatever the image showed.
Hung's code begins with L_semi after a quarter of the steps; here gamma, high at first, holds it back. The code reads w
off D, by a mean over both of D's outputs that is always 1/2; the form here is the paper's as remembered, its text was
not at hand, and the exponent is that of focal loss. It weighs the patches of a batch against each other: a factor on
all w cancels. Dice_i is that of the classes in the patch; one without any has the mean miss of the others, since an
absent class has no Dice. Deep supervision and class weights are left out, as no other method here has them.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.adversaries import ConfidenceNetwork, judge
from duoseg.model.everywhere import everywhere
from duoseg.model.losses import class_probabilities, masked_mean, one_hot, patch_volumes
from duoseg.model.networks import NetworkFactory

LEAST = 1e-4
"""What a patch misses at least, so that powers of it can be told from 0."""


class AsdNetSettings(Settings):
    """The constants of ASDNet.

    Attributes:
        attention: beta, how much more a labelled patch with a low Dice counts; 0 makes all count the same.
        adversarial: weight of L_adv on labelled patches.
        adversarial_unlabelled: weight of L_adv on unlabelled patches.
        semi: weight of L_semi.
        threshold: gamma (0.2 in Hung et al.); where None, 1 - the mean Dice of the step's labelled patches.
        adversary_width: first channels of D over the network's (64 beside 16 where the network is the published V-Net).
        adversary_rate: learning rate of D, by Adam, constant.
    """

    attention: Annotated[float, Field(ge=0)] = 2.0
    adversarial: Annotated[float, Field(ge=0)] = 0.01
    adversarial_unlabelled: Annotated[float, Field(ge=0)] = 0.001
    semi: Annotated[float, Field(ge=0)] = 0.1
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    adversary_width: Annotated[int, Field(ge=1)] = 4
    adversary_rate: Annotated[float, Field(gt=0)] = 1e-4


class AsdNet(Method):
    """A network, and an adversary that says where to trust it."""

    Settings = AsdNetSettings
    memory_factor = 2.4
    apart_terms = ("adversary",)
    revision = 2  # in 1 the adversary learned by the plan's optimiser

    def __init__(self, networks: NetworkFactory, settings: AsdNetSettings) -> None:
        super().__init__(networks, settings)
        self.student = networks.region()
        width = settings.adversary_width * networks.plan.channels[0]
        self.adversary = ConfidenceNetwork(networks.classes + 1, width=width, patch=networks.patch)
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Weighted Dice, the adversarial term, the network's own trusted labels, and what D learns."""
        n = batch.labelled
        logits = self.student(batch.image)
        p = class_probabilities(logits)
        overlaps, volumes, present = patch_volumes(p[:n, 1:], batch.label)
        missed = misses((overlaps / volumes).detach(), present)
        # Not over their sum, which cancels.
        weights = missed.clamp(min=LEAST).pow(self.settings.attention).unsqueeze(1)

        verdict = judge(self.adversary, p)
        gamma = masked_mean(missed, torch.ones_like(missed))
        gamma = gamma if self.settings.threshold is None else self.settings.threshold
        trusted = (torch.sigmoid(verdict[n:]) > gamma).to(p.dtype)
        own = F.cross_entropy(logits[n:], p[n:].argmax(dim=1), reduction="none").unsqueeze(1)
        return {
            "region": 1 - (everywhere((weights * overlaps).sum(0)) / everywhere((weights * volumes).sum(0))).mean(),
            "adversarial": self.settings.adversarial * masked_mean(-F.logsigmoid(verdict[:n]))
            + self.settings.adversarial_unlabelled * masked_mean(-F.logsigmoid(verdict[n:])),
            "semi": self.settings.semi * masked_mean(own, trusted),
            "adversary": self.learnt(p[:n].detach(), batch.label),
        }

    def learnt(self, p: Tensor, label: Tensor) -> Tensor:
        """L_D; where there is no annotation, the prediction stands in for the truth and no voxel counts."""
        truth, annotated = one_hot(label, p.shape[1])
        true, made = self.adversary(torch.cat([truth + (1 - annotated) * p, p])).chunk(2)
        return masked_mean(-F.logsigmoid(true), annotated) + masked_mean(-F.logsigmoid(-made), annotated)

    def members(self, image: Tensor) -> list[Tensor]:
        """The segmentation network's probabilities."""
        return [class_probabilities(self.student(image))]

    def parameter_groups(self) -> list[dict]:
        """The adversary learns at a rate of its own."""
        adversary = {"params": list(self.adversary.parameters()), "adam_rate": self.settings.adversary_rate}
        return [{"params": list(self.student.parameters())}, adversary]

    def inference_modules(self) -> dict[str, nn.Module]:
        """The network without its adversary."""
        return {"student": self.student}


def misses(dice: Tensor, present: Tensor) -> Tensor:
    """1 - Dice of each patch, (B,), the mean over the classes in it; the mean of the others where it has none."""
    counts = present.sum(dim=1)
    missed = ((1 - dice) * present).sum(dim=1) / counts.clamp(min=1)
    some = (counts > 0).to(missed.dtype)
    others = torch.where(everywhere(some.sum()) > 0, masked_mean(missed, some), 1.0)
    return torch.where(some > 0, missed, others)
