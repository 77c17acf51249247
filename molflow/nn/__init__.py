"""Equivariant networks behind one interface, `molflow.nn.network.EquivariantNetwork`.

- `dense_attention`: all pairs of a small molecule, matrix products over heads; the default.
- `sparse_attention`: neighbours only, for batches of different molecules and thousands of atoms.
- `tensor_product`: neighbours only, irreps up to degree 3 (e3nn).

The last two share entrance, exit and edges (`graph_network`, `edges`). A configuration chooses by
``network.kind``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
