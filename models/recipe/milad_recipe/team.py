"""Training on several cores: a process with one thread on each, gradients averaged. Two threads in one process are a third slower.

On a GPU, or with one worker, everything runs in the calling process.
"""

import functools
import math
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from .config import RecipeError


STOPPED = 128 + signal.SIGTERM
"""Exit status of a stage that was told to end and has saved: what comes after it must not run."""

_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
"""Large tensors come from the heap and go back to it: a step does not pay for fresh pages. 4 to 9 % of a fast step."""


@dataclass
class Team:
    """Who takes part. Rank 0 writes files."""

    rank: int = 0
    size: int = 1

    def average(self, parameters: list[torch.nn.Parameter], extra: Tensor) -> Tensor:
        """Replaces gradients by their mean over the team; `extra` (numbers on the CPU) is averaged with them and returned."""
        if self.size == 1:
            return extra
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients] + [extra])
        distributed.all_reduce(flat)
        flat /= self.size
        *parts, extra = flat.split([g.numel() for g in gradients] + [len(extra)])
        for gradient, part in zip(gradients, parts):
            gradient.copy_(part.view(gradient.shape))
        return extra

    def same(self, tensors: list[Tensor]) -> None:
        """Gives everyone rank 0's numbers."""
        if self.size > 1:
            for tensor in tensors:
                contiguous = tensor.detach().contiguous()
                distributed.broadcast(contiguous, 0)
                tensor.detach().copy_(contiguous)


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.cache
def bfloat16() -> bool:
    """Whether convolutions are faster in bfloat16 here. On a CPU that is tried: some multiply in it by themselves and still take longer
    (Intel's without AMX 1.6 times as long)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    if not (torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()):
        return False
    picture = torch.randn(4, 64, 16, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3).contiguous(memory_format=torch.channels_last)
    best = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(8):  # in turn, the quickest counts: other work must not decide
        for kind in best:
            x, w = picture.to(kind).requires_grad_(), weight.to(kind).requires_grad_()
            started = time.perf_counter()
            F.conv2d(x, w, padding=1).sum().backward()
            best[kind] = min(best[kind], time.perf_counter() - started)
    return best[torch.bfloat16] < best[torch.float32]


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(function: Callable, arguments: tuple, workers: int) -> None:
    """Calls `function(team, *arguments)` in as many processes as wanted (0: as cores); ends when all have ended."""
    count = 1 if torch.cuda.is_available() else workers or cores()
    if count == 1:
        if not torch.cuda.is_available():
            torch.set_num_threads(1 if workers == 1 else cores())
        function(Team(), *arguments)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    for name, value in _KEEP_MEMORY.items():  # glibc reads them when a worker starts
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        processes = [context.Process(target=_worker, args=(rank, count, meeting, function, arguments)) for rank in range(count)]
        stopping = []

        def stop(number, _):
            stopping.append(number)
            for process in processes:
                if process.is_alive():
                    os.kill(process.pid, signal.SIGTERM)

        previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for process in processes:
                process.start()
            _wait(processes)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    codes = {process.exitcode for process in processes}
    if codes - {0, STOPPED, *([-signal.SIGTERM] if stopping else [])}:  # one that was told so before it could listen
        raise RecipeError("expected every worker to finish, found one that failed (its message is above); run the same command again to go on")
    if stopping or STOPPED in codes:
        raise SystemExit(STOPPED)


def _wait(processes) -> None:
    """Until all have ended; when one fails, the others are ended, since they would wait for it for ever."""
    while any(process.is_alive() for process in processes):
        for process in processes:
            process.join(0.2)
        if any(process.exitcode not in (None, 0, STOPPED) for process in processes):
            for process in processes:
                process.kill()


def _end_with_parent() -> None:
    """A parent that was killed tells nobody: its workers would go on, and write beside the next run's."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _worker(rank: int, size: int, meeting: Path, function: Callable, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent passes it on as SIGTERM
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        function(Team(rank, size), *arguments)
    except RecipeError as error:
        raise SystemExit(f"milad_recipe: {error}") from None
    finally:
        distributed.destroy_process_group()
