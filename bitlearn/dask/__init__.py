"""Past one machine, on Dask: products and counts of arrays larger than memory, and training over several workers.

It needs the extra ``dask``. Nothing else of the library imports it.
"""

try:
    import dask.array as _array  # noqa: F401
    import distributed as _distributed  # noqa: F401
except ImportError as error:
    raise ImportError(f"bitlearn.dask needs Dask, got none: {error}; pip install 'bitlearn-xnor[dask]'") from None

from bitlearn.dask.arrays import class_counts as class_counts
from bitlearn.dask.arrays import gram as gram
from bitlearn.dask.arrays import hamming as hamming
from bitlearn.dask.arrays import pack as pack
from bitlearn.dask.arrays import unpack as unpack
from bitlearn.dask.arrays import xnor_matmul as xnor_matmul
from bitlearn.dask.neighbours import nearest as nearest
from bitlearn.dask.workers import Workers as Workers
