"""Tickets: the small dense network of a task's winners, cut out of a network whose units compete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.nn.layer import Layer
from bitlearn.nn.model import Model

#: Where arrays of a small network stand in those of the whole one, by ``path.name``.
Places = dict[str, tuple[np.ndarray, ...]]


@dataclass(frozen=True, eq=False)
class Ticket:
    """A network of winners, and the positions of its arrays in the whole one.

    Parameters
    ----------
    model : Model
        Small and dense.
    places : dict of str to tuple of ndarray
        For each of its arrays, an index into the array of the same name in the whole network.
    shared : frozenset of str
        The weights of units that compete, which tickets share. All other arrays (batch norms, and layers that no
        competition follows, such as the head) belong to one ticket.
    """

    model: Model
    places: Places
    shared: frozenset[str]

    def take(self, whole: Mapping[str, np.ndarray]) -> None:
        """Copy the values of all arrays from the whole network, and the inputs that won."""
        for name, target in self.model.state().items():
            if name in self.places:
                place = self.places[name]
                target[...] = whole[name][place] if name in whole else place[0]


def competitions(model: Model) -> dict[str, Any]:
    """Return the competitions of a network, by name.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of str to Competition

    Examples
    --------
    >>> import bitlearn as bl
    >>> list(competitions(bl.models.competing_mlp((4,), 2, hidden=(8, 8), units=2)))
    ['competition1', 'competition2']
    """
    return {path: layer for path, layer in model.items() if layer.competes}


def input_competition(model: Model) -> str | None:
    """Return the name of the competition before any layer with weights, if a network's inputs compete.

    Parameters
    ----------
    model : Model

    Returns
    -------
    str or None

    Examples
    --------
    >>> import bitlearn as bl
    >>> input_competition(bl.models.competing_mlp((4,), 2, hidden=(8,), units=2, inputs=4))
    'competition1'
    """
    for path, layer in model.items():
        if layer.competes:
            return path
        if layer.mixes:
            break
    return None


def narrow(model: Model, winners: Mapping[str, np.ndarray], *, trained: bool = False) -> Ticket:
    """Return the network of some winners, with its own weights.

    Parameters
    ----------
    model : Model
        A plain sequence of layers, some of which compete.
    winners : mapping of str to ndarray of int, shape (blocks,)
        Which unit of each block wins, for each competition.
    trained : bool
        Whether it is to be trained: then its competitions give the logits of the whole network a gradient; otherwise
        they are left out.

    Returns
    -------
    Ticket
        A hidden layer between competitions of J units has ``1 / J**2`` of the weights, one at the edge ``1 / J``.

    Raises
    ------
    ValueError
        If layers are not a plain sequence, nothing competes, winners do not fit, or a layer cannot be narrowed.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.models.competing_mlp((4,), 2, hidden=(8, 8), units=2)
    >>> ticket = narrow(model, {"competition1": np.zeros(4, int), "competition2": np.ones(4, int)})
    >>> model["linear2"].weight.shape, ticket.model["linear2"].weight.shape
    ((8, 8), (4, 4))
    >>> bool((ticket.model["linear2"].weight == model["linear2"].weight[1::2, ::2]).all())
    True
    """
    layers, places, shared = _cut(model, winners, trained)
    small = Model(list(layers.items()), model.root.spec, precision=model.precision, index=model.root.index)
    ticket = Ticket(small, places, shared)
    ticket.take(model.state())
    return ticket


def places_of(model: Model, winners: Mapping[str, np.ndarray]) -> Places:
    """Return where the arrays of the network of some winners stand, as `narrow` does, and make none."""
    return _cut(model, winners, False)[1]


def competing_weights(model: Model) -> dict[str, str]:
    """Return the weights whose units compete, by ``path.weight``, each with the competition of its units.

    Parameters
    ----------
    model : Model

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> import bitlearn as bl
    >>> competing_weights(bl.models.competing_mlp((4,), 2, hidden=(8,), units=2))
    {'linear1.weight': 'competition1'}
    """
    found, before = {}, ""
    for path, layer in model.items():
        if layer.competes and before:  # of inputs there are no weights
            found[before] = path
        elif layer.mixes:
            before = f"{path}.weight"
    return found


def _cut(
    model: Model, winners: Mapping[str, np.ndarray], trained: bool
) -> tuple[dict[str, Layer], Places, frozenset[str]]:
    rows: dict[str, Layer] = getattr(model.root, "layers", {})
    if list(rows) != model.names:
        raise ValueError(f"a ticket must be of layers in a row, got {', '.join(model.names)}")
    found = {name: channels_of(name, layer, winners) for name, layer in rows.items() if layer.competes}
    if not found:
        raise ValueError(f"a ticket must be of a network whose units compete, got {', '.join(model.names)}")
    # What a layer that mixes channels has to give is known from the competition behind it.
    wanted: dict[str, np.ndarray | None] = {}
    after: np.ndarray | None = None
    of_inputs = input_competition(model)
    for name, layer in reversed(rows.items()):
        if name == of_inputs:
            if after is not None:
                raise ValueError(f"a layer with weights must stand between two competitions, got none after {name!r}")
            wanted[name] = found[name]
        elif layer.competes:
            if after is not None:
                raise ValueError(f"a layer with weights must stand between two competitions, got none after {name!r}")
            after = found[name]
        elif layer.mixes:
            wanted[name], after = after, None
        elif after is not None and layer.spec.channels != layer.output.channels:
            raise ValueError(f"a competition must not follow {name!r}, which changes what channels are")
    layers: dict[str, Layer] = {}
    places: Places = {}
    flowing: np.ndarray | None = None
    for name, layer in rows.items():
        # Behind the layer that mixed them the winners alone are left.
        cut = layer.narrowed(flowing, wanted.get(name))
        if trained or not layer.competes or name == of_inputs:
            layers[name] = cut.layer
        places |= {f"{name}.{key}": place for key, place in cut.places.items()}
        flowing = cut.channels
    shared = frozenset(name for name in places if wanted.get(name.rpartition(".")[0]) is not None)
    if of_inputs is not None:
        places[f"{of_inputs}.channels"] = (found[of_inputs],)
    return layers, places, shared


def channels_of(name: str, layer: Any, winners: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the channels of the winners of a competition; ValueError where they do not fit it."""
    given = np.asarray(winners.get(name, ()))
    if given.shape != (layer.blocks,) or given.dtype.kind not in "iu":
        raise ValueError(f"winners of {name!r} must be {layer.blocks} integers, got {given.dtype} {given.shape}")
    if given.size and not 0 <= given.min() <= given.max() < layer.units:
        raise ValueError(f"winners of {name!r} must be from 0 to {layer.units - 1}, got {given.min()} to {given.max()}")
    return layer.channels(given.astype(np.int64))
