"""Circuits on disk."""

from pathlib import Path

from mechbench.graphs.circuit import Circuit, circuit_from_json
from mechbench.results.files import read_text, write_atomically


def save_circuit(circuit: Circuit, path: Path | str) -> Path:
    """The path, after the circuit was written to it as JSON.

    Raises:
        StoreError: the file cannot be written.
    """
    return write_atomically(Path(path), circuit.to_json())


def load_circuit(path: Path | str) -> Circuit:
    """The circuit of a JSON file.

    Raises:
        StoreError: the file cannot be read.
        CircuitError: it holds no circuit.
    """
    path = Path(path)
    return circuit_from_json(read_text(path, "circuit"), path.name)
