"""The planted circuits by name: one line each."""

from collections.abc import Callable

from mechbench.planted.even_gate import even_gate
from mechbench.planted.induction import induction
from mechbench.planted.letter_mover import letter_mover
from mechbench.planted.memory import memory
from mechbench.planted.planted import Planted
from mechbench.planted.two_hop import two_hop

PLANTED: dict[str, Callable[..., Planted]] = {
    "planted-even-gate": even_gate,
    "planted-induction": induction,
    "planted-letter-mover": letter_mover,
    "planted-memory": memory,
    "planted-two-hop": two_hop,
}
"""Each takes ``n`` prompts and a ``seed`` of the prompts; the weights are always the same."""
