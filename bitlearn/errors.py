"""Errors that name where in a network something went wrong."""

from __future__ import annotations


class NonFiniteError(ArithmeticError):
    """A value that must be finite is NaN or infinite.

    Parameters
    ----------
    what : str
        What is not finite: "the loss", "shift", "the gradient of weight"...
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
