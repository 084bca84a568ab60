"""Adversarial alignment (MILA): a discriminator learns to tell slow features from fast ones, the fast network learns to deceive it.

It judges every place of the map. Hinge losses; spectral normalisation, a low rate and a late start keep it weak enough to learn from.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from .config import Adversary
from .team import Team


class Discriminator(nn.Module):
    """Features [B, C, H, W] to a score a place: high for slow."""

    def __init__(self, inputs: int, settings: Adversary):
        super().__init__()
        wrap = spectral_norm if settings.spectral else (lambda layer: layer)
        width = settings.channels
        self.layers = nn.Sequential(
            wrap(nn.Conv2d(inputs, width, 1)),
            nn.LeakyReLU(0.2),
            wrap(nn.Conv2d(width, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            wrap(nn.Conv2d(width, 1, 1)),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features.float())


class Game:
    """Both sides' steps. The discriminator trains itself whenever the fast network's loss is asked for."""

    def __init__(self, inputs: int, settings: Adversary, team: Team, device: torch.device):
        self.settings, self.team = settings, team
        self.discriminator = Discriminator(inputs, settings).to(device)
        team.same(list(self.discriminator.parameters()) + list(self.discriminator.buffers()))
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), settings.rate, betas=(0.5, 0.99))

    def companions(self) -> dict:
        """What a checkpoint keeps."""
        return {"discriminator": self.discriminator, "discriminator_optimizer": self.optimizer}

    def loss(self, slow: Tensor, fast: Tensor, share: float) -> Tensor:
        """The fast network's loss, weighted; 0 before the start. `share` of the schedule lies behind."""
        if share < self.settings.start:
            return fast.new_zeros((), dtype=torch.float32)
        with torch.autocast(fast.device.type, enabled=False):
            found = F.relu(1 - self.discriminator(slow.detach())).mean() + F.relu(1 + self.discriminator(fast.detach())).mean()
            self.optimizer.zero_grad(set_to_none=True)
            found.backward()
            self.team.average(list(self.discriminator.parameters()), torch.zeros(1))
            if all(torch.isfinite(p.grad).all() for p in self.discriminator.parameters()):
                self.optimizer.step()
            self.discriminator.requires_grad_(False)
            loss = -self.discriminator(fast).mean()
            self.discriminator.requires_grad_(True)
        return self.settings.weight * loss
