"""The memory of a training step, standard and low-memory side by side, variable by variable."""

from __future__ import annotations

from bitlearn import optim
from bitlearn.errors import by_name
from bitlearn.memory import paper, recorded
from bitlearn.memory.rows import Account
from bitlearn.nn.layer import whole

#: The ways of accounting: the two published models of arXiv 2102.04270, and this library's own step.
ACCOUNTINGS = ("paper-v1", "paper-final", "honest")


def account(
    model_name: str, batch_size: int = 100, optimizer: str = "adam", accounting: str = "paper-final"
) -> Account:
    """Account for a training step of a published network.

    Parameters
    ----------
    model_name : {"mlp", "cnv", "binarynet", "resnete18", "birealnet18"}
        On images of 28x28 (mlp) or 32x32x3 and 10 classes, with a binary head; the last two on images of 224x224x3 and
        1000 classes.
    batch_size : int
        At least 1; at least 2 for "honest".
    optimizer : {"adam", "sgd", "bop"}
    accounting : {"paper-v1", "paper-final", "honest"}
        The model in the first or the final version of arXiv 2102.04270 (`bitlearn.memory.paper`), or what this
        library's own step needs under the policies ``standard`` and ``low-memory`` (`bitlearn.memory.recorded`).

    Returns
    -------
    Account

    Raises
    ------
    TypeError, ValueError
        If a name is unknown, or `batch_size` is no integer or too small.

    Examples
    --------
    >>> found = account("mlp", 100, "adam", "paper-final")
    >>> round(found.standard_bytes / 2**20, 2), round(found.low_memory_bytes / 2**20, 2), round(found.ratio, 2)
    (7.4, 2.66, 2.78)
    """
    if accounting not in ACCOUNTINGS:
        raise ValueError(f"accounting must be one of {', '.join(ACCOUNTINGS)}, got {accounting!r}")
    rule: optim.Optimizer = by_name("optimizer", optimizer, optim.OPTIMIZERS)()
    batch_size = whole(f"batch_size for {accounting}", batch_size, least=2 if accounting == "honest" else 1)
    if accounting == "honest":
        return Account(recorded.rows(model_name, batch_size, rule))
    rows = paper.rows(model_name, batch_size, rule, accounting)
    return Account(rows, paper.consistent_ratio(model_name, batch_size, rows))
