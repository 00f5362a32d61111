"""Shapes of small models, one for every wiring."""

from mechbench.graphs.topology import Shape

SHAPES = {
    "plain": Shape(n_layers=3, n_heads=2, n_kv_heads=2),
    "parallel": Shape(n_layers=3, n_heads=2, n_kv_heads=2, parallel=True),
    "attention only": Shape(n_layers=3, n_heads=2, n_kv_heads=2, mlps=False),
    "shared keys": Shape(n_layers=3, n_heads=4, n_kv_heads=2),
}
GPT2_SMALL = Shape(n_layers=12, n_heads=12, n_kv_heads=12)
