# What the folder offers; loaded when it is first asked for.
from .dense_attention import DenseAttention as DenseAttention
from .graph import MolecularGraph as MolecularGraph
from .network import EquivariantNetwork as EquivariantNetwork
from .shared_attention import SharedAttention as SharedAttention
from .sparse_attention import SparseAttention as SparseAttention
from .tensor_product import TensorProductNetwork as TensorProductNetwork
