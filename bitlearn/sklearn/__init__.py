"""Estimators for scikit-learn (``pip install 'bitlearn-xnor[sklearn]'``): a classifier, a continual one, a packer."""

try:
    from sklearn.utils.validation import validate_data as _wanted  # noqa: F401
except ImportError as error:
    raise ImportError(
        "bitlearn.sklearn needs scikit-learn 1.6 or newer: pip install 'bitlearn-xnor[sklearn]'"
    ) from error

from bitlearn.sklearn.classifier import BitClassifier as BitClassifier
from bitlearn.sklearn.continual import ContinualBitClassifier as ContinualBitClassifier
from bitlearn.sklearn.packer import BitPacker as BitPacker
