"""Several machines, with Dask: arrays larger than memory, sweeps, and training on several workers.

It needs the extra ``dask``. No other part of the library imports it.
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
from bitlearn.dask.clusters import SchedulerError as SchedulerError
from bitlearn.dask.clusters import VersionError as VersionError
from bitlearn.dask.clusters import connect as connect
from bitlearn.dask.clusters import connected as connected
from bitlearn.dask.clusters import local as local
from bitlearn.dask.files import from_npy as from_npy
from bitlearn.dask.files import from_parquet as from_parquet
from bitlearn.dask.files import to_parquet as to_parquet
from bitlearn.dask.files import words_from_parquet as words_from_parquet
from bitlearn.dask.neighbours import nearest as nearest
from bitlearn.dask.sweeps import sweep as sweep
from bitlearn.dask.workers import Workers as Workers
