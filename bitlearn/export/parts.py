"""The C of the kernels that are printed: parts of the files of `bitlearn/export/c`, with types put in where they vary.

A part begins with a line that names it, and what of its calls it has to be told:

``// @ channel_sums(y) groups=y.0 rows=y.1 channels=y.2``
    there is one for each type of the array y, ``channel_sums_i16`` and so on, in which ``$y`` stands for that type; its
    parameter ``groups`` is the size of the first axis of y. A parameter that is not named here is the argument of that
    name, as the table of kernels has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

#: The C types by the names that NumPy has for them; those of bool and float16 are their bits.
TYPES = {
    **{f"{sign}int{bits}": f"{sign or 'i'}{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{"bool": "u8", "float16": "f16", "float32": "f32", "float64": "f64"},
}
_FILES = ("base", "products", "norms", "losses", "codes", "updates", "replay", "called")
_HEAD = re.compile(r"// @ (?P<name>\w+)(\((?P<types>[\w,]+)\))?(?P<sizes>( \w+=\w+\.\d)*)$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Part:
    """A function, a type or a macro in C, with what it says of itself.

    Parameters
    ----------
    name : str
    types : tuple of str
        The arguments whose types its name and text vary with.
    sizes : dict of str to (str, int)
        The parameters that are a size of an argument: which, and of which axis.
    text : str
    """

    name: str
    types: tuple[str, ...]
    sizes: dict[str, tuple[str, int]]
    text: str

    def parameters(self) -> list[str]:
        """Return the names of the function's parameters."""
        found = re.search(rf"\b{self.name}[\w$]*\(([^)]*)\)", self.text)
        assert found is not None, self.name
        return [_NAME.findall(each)[-1] for each in found[1].split(",")]


@cache
def parts() -> dict[str, Part]:
    """Return all parts by name."""
    found: dict[str, Part] = {}
    for name in _FILES:
        text = (files("bitlearn.export") / "c" / f"{name}.c").read_text(encoding="utf-8")
        heads = list(_HEAD.finditer(text))
        for head, following in zip(heads, [*heads[1:], None], strict=True):
            body = text[head.end() : None if following is None else following.start()].strip()
            types = tuple(head["types"].split(",")) if head["types"] else ()
            sizes = {}
            for pair in head["sizes"].split():
                parameter, _, of = pair.partition("=")
                argument, _, axis = of.partition(".")
                sizes[parameter] = argument, int(axis)
            found[head["name"]] = Part(head["name"], types, sizes, body)
    return found


def _typed(name: str) -> tuple[Part, tuple[str, ...]] | None:
    """Return the part that a name in C means, and the types in it; None where it is none of ours."""
    all_parts = parts()
    if name in all_parts and not all_parts[name].types:
        return all_parts[name], ()
    pieces = name.split("_")
    for count in range(1, min(4, len(pieces))):
        base, types = "_".join(pieces[:-count]), tuple(pieces[-count:])
        part = all_parts.get(base)
        if part is not None and len(part.types) == count and all(each in TYPES.values() for each in types):
            return part, types
    return None


def _text(part: Part, types: tuple[str, ...]) -> str:
    text = part.text
    for name, kind in zip(part.types, types, strict=True):
        text = re.sub(rf"\${name}(?![a-z])", kind, text)
    return text


def needed(text: str) -> dict[str, str]:
    """Return the C of all parts that a text in C names, and that these need, in an order in which it compiles.

    Parameters
    ----------
    text : str

    Returns
    -------
    dict of str to str
        By the names, with types, by which they are called.
    """
    done: dict[str, str] = {}
    under_way: set[str] = set()

    def add(name: str) -> None:
        found = _typed(name)
        if found is None or name in under_way:
            return
        under_way.add(name)
        text = _text(*found)
        for each in _NAME.findall(text):
            add(each)
        done[name] = text

    for name in _NAME.findall(text):
        add(name)
    return done
