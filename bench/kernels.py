"""Every kernel that a public function runs, and the shapes it is timed at: an index of the families in `cases`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np

from .cases import Case, Shape, conv_gradients, convolutions, formats, gradients, products, quantization, search

SEED = 20260801

#: The families, each a module, in the order of the tables.
FAMILIES = {
    "format": formats,
    "products": products,
    "convolutions": convolutions,
    "gradients": gradients,
    "convolution gradients": conv_gradients,
    "quantization": quantization,
    "search": search,
}
GRIDS = ("small", "full")

_FAMILY = {kernel: name for name, family in FAMILIES.items() for kernel in family.FORMS}

#: The kernels that can be timed. A kernel on panels is run by its namesake with a prepared operand.
TIMED = tuple(_FAMILY)


class Place(NamedTuple):
    """Which case: cheap to list, where its operands would be large."""

    kernel: str
    form: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.kernel} {self.form} {'x'.join(map(str, self.shape))}"


def family(kernel: str) -> str:
    """Return the name of a kernel's family."""
    return _FAMILY[kernel]


def _module(kernel: str) -> ModuleType:
    return FAMILIES[_FAMILY[kernel]]


def _sizes(kernel: str) -> int:
    return len(_module(kernel).MEANING.split("×"))


def parse_shapes(text: str) -> str | tuple[Shape, ...]:
    """Return the name of a grid as it is, and a list such as ``256x256x256,1000x64`` as shapes.

    Raises
    ------
    ValueError
        If the number of sizes in a shape fits no kernel, or a size is not positive.
    """
    if text in GRIDS:
        return text
    meanings = list(dict.fromkeys(module.MEANING for module in FAMILIES.values()))
    lengths = {len(meaning.split("×")) for meaning in meanings}
    shapes = []
    for part in text.split(","):
        sizes = part.strip().split("x")
        if len(sizes) not in lengths or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            wanted = " or ".join(meaning.replace(" × ", "x") for meaning in meanings)
            raise ValueError(f"a shape must be {' or '.join(GRIDS)}, or positive sizes {wanted}, got {part!r}")
        shapes.append(tuple(int(size) for size in sizes))
    return tuple(shapes)


def case(kernel: str, form: str, shape: Shape) -> Case:
    """Return the case of a kernel in a form at a shape, the same in every run.

    Raises
    ------
    ValueError
        If the kernel does not take that shape or form.
    """
    module = _module(kernel)
    if form not in module.FORMS[kernel]:
        raise ValueError(f"the form of {kernel} must be one of {', '.join(module.FORMS[kernel])}, got {form!r}")
    if len(shape) != _sizes(kernel):
        raise ValueError(f"a shape of {kernel} must be {module.MEANING}, got {shape}")
    return module.make(kernel, form, shape, np.random.default_rng((SEED, *shape)))


def places(
    kernels: Sequence[str] | None = None,
    shapes: str | Sequence[Shape] = "small",
    forms: Sequence[str] | None = None,
) -> list[Place]:
    """List the cases of these kernels, all by default, in these forms, at a grid's shapes or at those that they take.

    Raises
    ------
    ValueError
        If there is no such kernel, none of the kernels has one of the forms, or none takes one of the shapes.
    """
    for kernel in kernels or ():
        if kernel not in _FAMILY:
            raise ValueError(f"kernel must be one of {', '.join(TIMED)}, got {kernel!r}")
    chosen = TIMED if kernels is None else kernels
    known = dict.fromkeys(form for kernel in chosen for form in _module(kernel).FORMS[kernel])
    for form in forms or ():
        if form not in known:
            raise ValueError(f"form must be one of {', '.join(known)}, got {form!r}")
    found = []
    for kernel in chosen:
        module = _module(kernel)
        wanted = module.GRIDS[shapes][kernel] if isinstance(shapes, str) else shapes
        found += [
            Place(kernel, form, shape)
            for shape in wanted
            for form in module.FORMS[kernel]
            if (forms is None or form in forms) and len(shape) == _sizes(kernel) and module.takes(kernel, form, shape)
        ]
    for shape in () if isinstance(shapes, str) else shapes:
        if not any(place.shape == shape for place in found):
            raise ValueError(
                f"{', '.join(chosen)} must be given shapes that they take, got {'x'.join(map(str, shape))}"
            )
    return found


def cases(where: Sequence[Place]) -> Iterator[Case]:
    """Yield the case of each place, one at a time: operands can be large."""
    for place in where:
        yield case(*place)
