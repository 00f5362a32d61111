"""Timing and memory of pieces of work, always compared within one run."""

import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

_SAMPLE_SECONDS = 0.005


@dataclass
class Measured:
    """Wall and processor seconds, and bytes of resident memory above where the work began."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measured() -> Iterator[Measured]:
    """Measure a block; memory is sampled every few milliseconds."""
    process = psutil.Process()
    start_bytes = process.memory_info().rss
    result, stop = Measured(), threading.Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            result.peak_bytes = max(result.peak_bytes, process.memory_info().rss - start_bytes)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    start, cpu_start = time.perf_counter(), time.process_time()
    try:
        yield result
    finally:
        result.seconds = time.perf_counter() - start
        result.cpu_seconds = time.process_time() - cpu_start
        stop.set()
        thread.join()


def measured_apart(function: Callable[..., int], *args: object) -> int:
    """What ``function`` returns in a fresh process; it is found by its module and name."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def alternating(a: Callable[[], object], b: Callable[[], object], rounds: int) -> list[float]:
    """Ratios of ``a``'s time to ``b``'s, taken in turn so that drift of the machine cancels."""
    a()
    b()
    ratios = []
    for _ in range(rounds):
        with measured() as time_a:
            a()
        with measured() as time_b:
            b()
        ratios.append(time_a.seconds / time_b.seconds)
    return ratios


def spread(ratios: list[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
