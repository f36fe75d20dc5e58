"""Errors that say what was wanted, and where in a network something went wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

T = TypeVar("T")


def by_name(what: str, name: str, known: Mapping[str, T], planned: Collection[str] = ()) -> T:
    """Return what has a name.

    Parameters
    ----------
    what : str
        What is named: "model", "precision"...
    name : str
    known : mapping
        All that there is, by name.
    planned : collection of str
        Names that a later version brings.

    Returns
    -------
    object
        ``known[name]``.

    Raises
    ------
    ValueError
        Where there is none of that name, saying which there are.

    Examples
    --------
    >>> by_name("head", "complex", {"binary": 1, "real": 2}, planned=["complex"])
    Traceback (most recent call last):
    ...
    ValueError: head 'complex' is not built yet; there are binary, real
    """
    if name in planned:
        raise ValueError(f"{what} {name!r} is not built yet; there are {', '.join(known)}")
    if name not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {name!r}")
    return known[name]


class NonFiniteError(ArithmeticError):
    """A value that must be finite is NaN or infinite.

    Parameters
    ----------
    what : str
        What is not finite: "the scores", "bias", "the gradient of weight"...
    where : str, optional
        The layer, and the training step, as they become known on the way up.
    """

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{what} must be finite, got NaN or infinity{' ' if where else ''}{where}")
        self.what = what
        self.where = where

    def located(self, where: str) -> NonFiniteError:
        """Return the same error with one more place named.

        Parameters
        ----------
        where : str
            Put behind the places that are known already.

        Returns
        -------
        NonFiniteError
        """
        return NonFiniteError(self.what, f"{self.where} {where}".strip())
