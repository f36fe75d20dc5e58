"""Which units a task should prefer once all units of a block have won before: those of an earlier ticket."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bitlearn.continual.tickets import Tickets
from bitlearn.nn.layer import chosen
from bitlearn.nn.narrow import competing_weights, competitions, input_competition


def shared_units(tickets: Tickets, held: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return which units of each competition a new task prefers, bool (blocks, units); competing inputs are left out.

    Parameters
    ----------
    tickets : Tickets
    held : mapping of str to ndarray of bool
        Which weights an earlier ticket holds, by ``path.weight``.

    Returns
    -------
    dict of str to ndarray of bool
        Units that have never won, if every block has one. Otherwise the units of one earlier ticket, the same for all
        blocks: the ticket with the smallest share of held weights from the preferred units of the layer below. Among
        equals it is the one whose units have won least, then the first.

    Notes
    -----
    If each block chose separately, they would mix units of all earlier tickets: each input of the layer would then be
    held by some of the chosen units and free for others. The units of one ticket have the same inputs free.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.competing_mlp((4,), 2, hidden=(4,), units=2)
    >>> table = Tickets(model)
    >>> for task, winner in enumerate((0, 1)):
    ...     _ = table.put(task, {"competition1": np.full(2, winner)}, model.state())
    >>> held = {"linear1.weight": np.array([[1, 1, 1, 1], [1, 1, 0, 0]] * 2, dtype=bool)}
    >>> shared_units(table, held)["competition1"].astype(int)
    array([[0, 1],
           [0, 1]])
    """
    model, weights = tickets.model, {path: name for name, path in competing_weights(tickets.model).items()}
    below: np.ndarray | None = None
    width = 0  # of the layer below; after flattened maps its channels are not the columns of weights
    found: dict[str, np.ndarray] = {}
    of_inputs = input_competition(model)
    for name, layer in competitions(model).items():
        if name == of_inputs:
            continue
        won = tickets.won(name)
        if (won == 0).any(axis=1).all():
            preferred = won == 0
            winners = preferred.argmax(axis=1)
        else:
            of_layer = held[weights[name]]
            columns = chosen(below if width == of_layer.shape[-1] else None, of_layer.shape[-1])
            winners = _of_a_ticket(tickets, name, of_layer[..., columns], won)
            preferred = np.arange(layer.units) == winners[:, None]
        found[name] = preferred
        below, width = layer.channels(winners), layer.spec.channels
    return found


def _of_a_ticket(tickets: Tickets, name: str, held: np.ndarray, won: np.ndarray) -> np.ndarray:
    """Return the winners, in a competition, of the earlier ticket that leaves the most weights free."""
    layer, scores = competitions(tickets.model)[name], []
    for task in tickets.learned:
        winners = tickets.winners_of(task)[name]
        share, times = held[layer.channels(winners)].mean(), won[np.arange(len(winners)), winners].mean()
        scores.append((float(share), float(times), task))
    return tickets.winners_of(min(scores)[2])[name]


def held_inputs(tickets: Tickets, held: Mapping[str, np.ndarray], units: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return, for each competing input, the share of its weights to preferred units that is held, (blocks, units)."""
    model = tickets.model
    cut, of_inputs = competitions(model), input_competition(model)
    assert of_inputs is not None
    name, first = next(iter(competing_weights(model).items()))
    winners = units[first].argmax(axis=1)
    share: np.ndarray = cut[of_inputs].by_block(held[name][cut[first].channels(winners)].mean(axis=0))
    return share
