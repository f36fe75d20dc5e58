"""Federated learning by Flower: votes on packed signs, and learners whose sums are added.

It needs the extra ``flower``. Nothing else of the library imports it.
"""

try:
    import flwr.serverapp.strategy as _strategy  # noqa: F401
except ImportError as error:
    raise ImportError(f"bitlearn.flower needs Flower, got none: {error}; pip install 'bitlearn-xnor[flower]'") from None

from bitlearn.flower.sums import MergeSums as MergeSums
from bitlearn.flower.sums import merge_app as merge_app
from bitlearn.flower.votes import SignVote as SignVote
from bitlearn.flower.votes import Training as Training
from bitlearn.flower.votes import vote_app as vote_app
