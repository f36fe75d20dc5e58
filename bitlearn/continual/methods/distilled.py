"""Distillation: on replayed examples, the network is kept close to softened probabilities of an earlier one."""

from __future__ import annotations

import numpy as np

from bitlearn.continual.methods.der import TargetLoss

#: The temperature that scores are divided by, as in Hinton et al. (arXiv 1503.02531) and LLT (ICLR 2021).
TEMPERATURE = 2.0


class DistilledLoss(TargetLoss):
    """Cross-entropy plus the divergence of softened probabilities from those of targets, with a weight for each.

    Notes
    -----
    ``sum_i u_i CE(s_i, label) + sum_i v_i T^2 sum_k q_ik log(q_ik / p_ik)`` with ``q = softmax(t / T)``,
    ``p = softmax(s / T)`` and T = 2, over the outputs whose targets t are not NaN; an example without any has a
    divergence of 0. The factor ``T^2`` keeps gradients as large as those of labels.
    """

    def distances(
        self, scores: np.ndarray, weight: np.ndarray, targets: np.ndarray, known: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient of each example's weighted divergence, and the divergence."""
        q, p = _softened(targets, known), _softened(scores, known)
        part = weight.astype(np.float64)
        found, least = np.zeros(len(part)), np.finfo(np.float64).tiny
        for one, other in zip(q.T, p.T, strict=True):  # in the same order on every processor
            found += part * TEMPERATURE**2 * one * (np.log(one + least) - np.log(other + least))
        return part[:, None] * TEMPERATURE * (p - q), found


def _softened(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return ``softmax(scores / T)`` over the known outputs, 0 for others.

    Examples
    --------
    >>> _softened(np.array([[1.0, 1.0, np.nan]]), np.array([[True, True, False]]))
    array([[0.5, 0.5, 0. ]])
    """
    values = np.where(known, scores.astype(np.float64) / TEMPERATURE, -np.inf)
    largest = np.where(known.any(axis=1), values.max(axis=1), 0.0)
    powers = np.where(known, np.exp(np.where(known, values - largest[:, None], 0.0)), 0.0)
    total = np.zeros(len(powers))
    for column in powers.T:
        total += column
    found: np.ndarray = powers / np.where(total > 0, total, 1.0)[:, None]
    return found
