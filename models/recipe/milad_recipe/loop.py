"""The training loop of every network: schedule, averaged weights, checkpoints every two minutes and at SIGTERM, log and curves."""

import copy
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from . import checkpoint
from .config import RecipeError, Training
from .progress import Bar, Log, curves
from .team import STOPPED, Team

CHECKPOINT_SECONDS = 120
LOG_STEPS = 20
MOST_BAD = 50
"""Steps without finite gradients, one after the other: training has come to nothing."""


class Loop:
    """Trains `network` in `folder`; goes on where it was interrupted.

    `groups`: parameters and the factor of their rate; `unit`: items that come together, a batch holds a multiple of them; `facts`: what
    a checkpoint says beside, of the last step. What it leaves in `checkpoint.pt` under `average` are the averaged weights.
    """

    def __init__(self, stage: str, folder: Path, digest: str, training: Training, network: nn.Module, team: Team, groups=None, companions=None, unit: int = 1, facts=None):
        self.stage, self.folder, self.digest, self.training, self.network, self.team = stage, folder, digest, training, network, team
        groups = groups or [(list(network.parameters()), 1.0)]
        self.factors = [factor for _, factor in groups]
        self.parameters = [p for group, _ in groups for p in group]
        self.optimizer = torch.optim.AdamW(
            [{"params": group} for group, _ in groups], training.rate, betas=(0.9, 0.99), weight_decay=training.weight_decay, fused=True
        )
        self.companions = companions or {}
        self.facts = facts or {}
        self.said = dict(self.facts)
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.step, self.samples, self.elapsed, self.asked, self.stopping, self.bad = 0, 0, 0.0, False, False, 0
        self.log = Log(folder / "log.jsonl")
        self.before = 0
        self._resume()
        self.agreed = self.share
        """Of the schedule that lies behind, the same number for the whole team."""
        self.items = max(training.batch // team.size // unit, 1) * unit
        """Of one worker's batch."""
        team.same(list(network.parameters()) + list(network.buffers()))

    @property
    def path(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def seen(self) -> int:
        """Samples, with those that the weights it started from had seen."""
        return self.before + self.samples

    def _resume(self) -> None:
        state = checkpoint.load(self.path, self.digest, self.stage)
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["average"])
            if "optimizer" in state:  # what was adopted has none
                self.optimizer.load_state_dict(state["optimizer"])
            for name, companion in self.companions.items():
                companion.load_state_dict(state[name])
            self.step, self.elapsed, self.before = state["step"], state["elapsed"], state.get("before", 0)
            self.samples = state["samples"] - self.before
            self.said = {name: state[name] for name in ("adopted", *self.facts) if name in state}
        elif self.training.start:
            self._start(Path(self.training.start))

    def _start(self, path: Path) -> None:
        """Takes from another training's averaged weights what has the same name and shape; what is fixed here stays."""
        found = checkpoint.start(path)
        fixed = {name for name, parameter in self.network.named_parameters() if not parameter.requires_grad}
        ours = {name: value for name, value in self.network.state_dict().items() if name not in fixed}
        if self.training.cut:
            found["average"] = {name: _leading(value, ours[name].shape) if name in ours else value for name, value in found["average"].items()}
        fitting = {name: value for name, value in found["average"].items() if name in ours and value.shape == ours[name].shape}
        if not fitting:
            raise RecipeError(f"{path}: expected weights of the {self.stage} network, found none whose name and shape fit; choose a checkpoint of stage {self.stage}")
        for network in (self.network, self.averaged):
            network.load_state_dict(fitting, strict=False)
        self.before = found["samples"]
        if self.team.rank == 0:
            self.log.write(start=str(path), samples=self.before, taken=len(fitting), new=sorted(ours.keys() - fitting.keys()))

    def save(self) -> None:
        """Rank 0 writes where training stands."""
        if self.team.rank == 0:
            state = {"stage": self.stage, "step": self.step, "samples": self.seen, "before": self.before, "elapsed": self.elapsed, "done": self.done}
            state |= {"network": self.network.state_dict(), "average": self.averaged.state_dict(), "optimizer": self.optimizer.state_dict()}
            state |= self.said
            state |= {name: companion.state_dict() for name, companion in self.companions.items()}
            checkpoint.save(self.path, self.digest, state)
            curves(self.log, self.folder / "curves.png")

    @property
    def share(self) -> float:
        """Of the schedule that lies behind: by samples or by time, whichever is further."""
        by_time = self.elapsed / (60 * self.training.minutes) if self.training.minutes else 0.0
        return min(max(self.samples / self.training.samples, by_time), 1.0)

    @property
    def done(self) -> bool:
        return self.share >= 1.0

    def run(self, losses: Callable[[int], dict[str, Tensor]], validate: Callable[[nn.Module], dict]) -> None:
        """`losses(items)` draws a batch of so many items and gives its weighted losses; `validate(network)` gives figures for the log."""
        previous = signal.signal(signal.SIGTERM, self._stop)
        bar, saved, smooth = Bar(self.stage), time.monotonic(), None
        try:
            while self.agreed < 1.0 and not self.stopping:
                started = time.monotonic()
                rate = self._rate(self.agreed)
                for group, factor in zip(self.optimizer.param_groups, self.factors):
                    group["lr"] = rate * factor
                self.network.train()
                found = losses(self.items)
                total = sum(found.values())
                self.optimizer.zero_grad(set_to_none=True)
                total.backward()
                numbers = torch.stack([value.detach().float().cpu() for value in found.values()])
                extra = self.team.average(self.parameters, torch.cat([numbers, torch.tensor([float(self.asked), self.share])]))
                norm = nn.utils.clip_grad_norm_(self.parameters, self.training.clip)
                self._learn(math.isfinite(float(norm)))
                self.said |= self.facts
                self.step += 1
                self.samples += self.items * self.team.size
                # Everyone must agree on when to end: on what anyone was told, and on the mean of the clocks.
                self.stopping = bool(extra[-2] > 0)
                self.elapsed += time.monotonic() - started
                self.agreed = max(float(extra[-1]), self.samples / self.training.samples)
                now = float(total.detach())
                if math.isfinite(now):
                    smooth = now if smooth is None else smooth + 0.05 * (now - smooth)
                if self.team.rank == 0:
                    self._report(bar, found, extra, rate, smooth)
                    if self.step % self.training.validate_every == 0:
                        self.log.write(step=self.step, samples=self.seen, validation=validate(self.averaged.eval()))
                    if time.monotonic() - saved > CHECKPOINT_SECONDS:
                        self.save()
                        saved = time.monotonic()
            if self.team.rank == 0 and not self.stopping:
                self.log.write(step=self.step, samples=self.seen, elapsed=self.elapsed, validation=validate(self.averaged.eval()))
            self.save()
            if self.team.rank == 0:
                bar.show(self.agreed, "stopped, saved" if self.stopping else "done", last=True)
        finally:
            signal.signal(signal.SIGTERM, previous)
        if self.stopping or self.asked and self.team.size == 1:  # also when told so while the last figures were taken
            raise SystemExit(STOPPED)

    def _learn(self, finite: bool) -> None:
        """A step along the gradients. Where they are not finite nothing is learned, and what batch normalisation saw of that batch is forgotten."""
        if finite:
            self.optimizer.step()
            self._average()
            self.bad = 0
            return
        self.bad += 1
        for ours, kept in zip(self.network.buffers(), self.averaged.buffers()):
            ours.copy_(kept)
        if self.bad == MOST_BAD:
            raise RecipeError(f"stage {self.stage}: expected finite gradients, found none in {self.bad} steps running; look for broken truth, or lower training.rate")

    def _stop(self, *_) -> None:
        self.asked = True

    def _rate(self, share: float) -> float:
        rising = share / self.training.warm_up if self.training.warm_up else 1.0
        if rising < 1.0:
            return self.training.rate * max(rising, 0.01)
        return self.training.rate * 0.5 * (1 + math.cos(math.pi * (share - self.training.warm_up) / (1 - self.training.warm_up)))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.training.average, (1 + self.step) / (10 + self.step))
        pairs = list(zip(self.averaged.parameters(), self.network.parameters())) + list(zip(self.averaged.buffers(), self.network.buffers()))
        floats = [(a, b) for a, b in pairs if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - decay)

    def _report(self, bar, found, extra, rate, smooth) -> None:
        speed = self.samples / max(self.elapsed, 1e-9)
        bar.show(self.agreed, f"step {self.step}, loss {math.nan if smooth is None else smooth:.4f}, {speed:.0f} samples/s")
        if self.step % LOG_STEPS == 0:
            numbers = {name: round(float(value), 5) for name, value in zip(found, extra)}
            self.log.write(step=self.step, samples=self.seen, elapsed=round(self.elapsed, 1), rate=rate, losses=numbers)


def _leading(value: Tensor, shape: torch.Size) -> Tensor:
    """The leading part of `value` of that shape; `value` itself where it is no larger in every axis."""
    fits = value.dim() == len(shape) and all(ours <= theirs for ours, theirs in zip(shape, value.shape))
    return value[tuple(map(slice, shape))].clone() if fits else value
