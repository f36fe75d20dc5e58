"""Errors that say what was expected, and where in a network something went wrong."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T")

_LONGEST = 80
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST


def brief(value: object) -> str:
    """Return a short, one-line description of a value for an error; for an array its shape and dtype.

    Parameters
    ----------
    value : object

    Returns
    -------
    str
        At most 80 characters.

    Examples
    --------
    >>> import numpy as np
    >>> brief("values"), brief(np.zeros((3, 2))), brief(range(100)), brief(np.dtype(np.int8))
    ("'values'", 'an array of shape (3, 2) and dtype float64', 'range(0, 100)', 'int8')
    """
    np: Any = sys.modules.get("numpy")  # where it is not loaded, nothing can be its
    if np is not None and isinstance(value, np.dtype):
        text = str(value)
    elif np is not None and isinstance(value, np.ndarray) and value.ndim:
        kind = "an array" if type(value) is np.ndarray else f"a {type(value).__name__}"
        text = f"{kind} of shape {value.shape} and dtype {value.dtype}"
    else:
        try:
            text = " ".join(_SHORT.repr(value).split())
        except Exception:  # of an integer of thousands of digits, or of a class that cannot say
            text = f"an object of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def by_name(what: str, name: str, known: Mapping[str, T], planned: Collection[str] = ()) -> T:
    """Return the object of that name.

    Parameters
    ----------
    what : str
        What is named: "model", "precision"...
    name : str
    known : mapping
        All objects, by name.
    planned : collection of str
        Names planned for a later version.

    Returns
    -------
    object
        ``known[name]``.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists those that exist.

    Examples
    --------
    >>> by_name("head", "complex", {"binary": 1, "real": 2}, planned=["complex"])
    Traceback (most recent call last):
    ...
    ValueError: head 'complex' is not built yet; there are binary, real
    """
    if isinstance(name, str) and name in planned:
        raise ValueError(f"{what} {name!r} is not built yet; there are {', '.join(known)}")
    if not isinstance(name, str) or name not in known:
        raise ValueError(unknown(what, name, known))
    return known[name]


def unknown(what: str, name: object, known: Collection[str]) -> str:
    """Return the sentence that says which names there are, and which may have been meant.

    Parameters
    ----------
    what : str
        What is named.
    name : object
        What was given.
    known : collection of str

    Returns
    -------
    str

    Examples
    --------
    >>> unknown("head", "reel", ["binary", "real"])
    "head must be one of binary, real, got 'reel'; perhaps real"
    """
    near = get_close_matches(name, known, 1) if isinstance(name, str) else []
    meant = f"; perhaps {near[0]}" if near else ""
    return f"{what} must be one of {', '.join(known)}, got {brief(name)}{meant}"


class NonFiniteError(ArithmeticError):
    """A value that must be finite is NaN or infinite.

    Parameters
    ----------
    what : str
        What is not finite: "the scores", "bias", "the gradient of weight"...
    where : str, optional
        The layer and the training step, added as the error is passed up.
    """

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{what} must be finite, got NaN or infinity{' ' if where else ''}{where}")
        self.what = what
        self.where = where

    def __reduce__(self) -> tuple[type[NonFiniteError], tuple[str, str]]:
        return NonFiniteError, (self.what, self.where)

    def located(self, where: str) -> NonFiniteError:
        """Return the same error with one more place named.

        Parameters
        ----------
        where : str
            Added after the places known already.

        Returns
        -------
        NonFiniteError
        """
        return NonFiniteError(self.what, f"{self.where} {where}".strip())


def sentence(error: BaseException | str, most: int = 400) -> str:
    r"""Return an error's message as one short, printable line: a file may have put anything into it.

    Parameters
    ----------
    error : exception or str
    most : int
        The largest number of characters to keep.

    Returns
    -------
    str
        The name of its class if it has no message.

    Examples
    --------
    >>> sentence(ValueError("two\nlines"))
    'two\\nlines'
    """
    text = str(error) or type(error).__name__
    shown = text if len(text) <= most else f"{text[:most]}..."
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in shown)
