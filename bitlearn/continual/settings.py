"""What a setting is: declared once, with its type, its default, its range and what it means; and checked by that."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from bitlearn.continual.ranges import Range
from bitlearn.errors import brief, unknown

#: Of a docstring.
_WIDTH = 100
#: How types are called: one value, and several.
_WORDS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("True or False", "of True and False"),
    str: ("a string", "strings"),
    NoneType: ("None", "of None"),
}


def setting(default: Any, meaning: str, range: Range | None = None) -> Any:
    """Declare a setting: what a field of a class of `Settings` is set to.

    Parameters
    ----------
    default : object
    meaning : str
        What it does, in reStructuredText: help, tables and the class's docstring show it.
    range : Range, optional
        Which values of the field's type it may have; all by default.

    Returns
    -------
    object
        What `dataclasses.dataclass` makes a field of.

    Examples
    --------
    >>> from bitlearn.continual import Options
    >>> from bitlearn.continual.ranges import interval
    >>> @dataclass(frozen=True)
    ... class HalvingOptions(Options):
    ...     factor: float = setting(0.5, "What weights are multiplied by.", interval("(0, 1]"))
    >>> HalvingOptions(epochs=3).factor
    0.5
    >>> HalvingOptions(factor=1.5)
    Traceback (most recent call last):
    ...
    ValueError: factor must be in (0, 1], got 1.5
    """
    return field(default=default, metadata={"meaning": meaning, "range": range})


@dataclass(frozen=True)
class Setting:
    """A setting as it was declared.

    Parameters
    ----------
    name : str
    kind : type
        Its type, as the field's annotation gives it.
    default : object
    meaning : str
    range : Range, optional
    """

    name: str
    kind: Any
    default: Any
    meaning: str
    range: Range | None

    @property
    def type(self) -> str:
        """Its type, as a docstring has it."""
        kinds = _kinds(self.kind)
        return " or ".join(_shown(kind) for kind in kinds if kind is not NoneType)

    @property
    def words(self) -> list[str]:
        """The words or numbers of which it is one, where it is."""
        return [str(word) for kind in _kinds(self.kind) if get_origin(kind) is Literal for word in get_args(kind)]

    @property
    def allowed(self) -> str:
        """Which values of its type it may have; nothing where it may have all."""
        if self.range is not None:
            return self.range.says
        return f"one of {', '.join(self.words)}" if self.words else ""

    @property
    def optional(self) -> bool:
        """Whether it may be None."""
        return NoneType in _kinds(self.kind)

    def checked(self, value: Any) -> Any:
        """Return a value as it is kept; TypeError where it is of another type, ValueError where out of its range."""
        kinds = _kinds(self.kind)
        value = _plain(value, kinds)
        words = self.words
        if not any(_accepts(value, kind) for kind in kinds):
            if words and isinstance(value, str | int):
                raise ValueError(unknown(self.name, value, words + ["None"] * self.optional))
            wanted = " or ".join(filter(None, [", ".join(words), *(_word(kind) for kind in kinds)]))
            raise TypeError(f"{self.name} must be {wanted}, got {brief(value)}")
        if self.range is not None and value is not None:
            each = value if isinstance(value, tuple) else (value,)
            if not each or not all(map(self.range.holds, each)):
                raise ValueError(f"{self.name} must be {self.range.says}, got {brief(value)}")
        return value


def _kinds(kind: Any) -> tuple[Any, ...]:
    """Return the types of which a value may be."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _accepts(value: Any, kind: Any) -> bool:
    """Whether a value is of a type. A bool is no number; an integer is one wherever numbers are wanted."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is tuple and parts[1:] == (...,):
        return isinstance(value, tuple) and all(_accepts(each, parts[0]) for each in value)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return callable(value) if origin is Callable else isinstance(value, origin or kind)


def _plain(value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return a value as Python's own types: numbers of NumPy, lists, and one value where several may be given."""
    if isinstance(value, np.generic):
        value = value.item()
    if any(get_origin(kind) is tuple for kind in kinds):
        if isinstance(value, list | tuple):
            inner = tuple(get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple)
            return tuple(_plain(each, inner) for each in value)
        if any(_accepts((value,), kind) for kind in kinds if get_origin(kind) is tuple):
            value = (value,) if not any(_accepts(value, kind) for kind in kinds) else value
    return float(value) if float in kinds and int not in kinds and type(value) is int else value


def _shown(kind: Any) -> str:
    """Return a type as a docstring has it."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "{" + ", ".join(f'"{part}"' if isinstance(part, str) else str(part) for part in parts) + "}"
    if origin is tuple:
        return f"sequence of {_shown(parts[0])}"
    return "callable" if origin is Callable else getattr(kind, "__name__", str(kind))


def _word(kind: Any) -> str:
    """Return a type as an error says it; nothing of words, which are told one by one."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ""
    if origin is tuple:
        return f"several {_WORDS[parts[0]][1]}" if parts[0] in _WORDS else f"a tuple of {_shown(parts[0])}"
    return _WORDS[kind][0] if kind in _WORDS else "a function" if origin is Callable else f"of type {_shown(kind)}"


class Settings:
    """Some settings together: a base of frozen dataclasses whose fields are each made by `setting`.

    Values are checked as an object is made. The docstring of such a class has them as its parameters.
    """

    #: All methods by name, which `bitlearn.continual.methods` enters: an error says whose a setting is.
    methods: ClassVar[Mapping[str, Any]] = {}

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Refuse settings that are none of the class's."""
        if "__dataclass_fields__" not in vars(cls):
            raise TypeError(
                f"{cls.__name__} must be a dataclass, as dataclass(frozen=True) makes it, got a plain class"
            )
        refuse_others(named, cls, cls.__name__)
        return super().__new__(cls)

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.__doc__ = _with_parameters(cls)

    def __post_init__(self) -> None:
        """Check each value; what depends on several is checked by classes of their own."""
        for name, each in declared(type(self)).items():
            object.__setattr__(self, name, each.checked(getattr(self, name)))


def declared(kind: type[Settings]) -> dict[str, Setting]:
    """Return the settings of a class by name, those of its bases first.

    Parameters
    ----------
    kind : type of Settings

    Returns
    -------
    dict of str to Setting

    Examples
    --------
    >>> from bitlearn.continual import Options
    >>> share = declared(Options)["replay_share"]
    >>> share.type, share.default, share.range.says
    ('float', 0.72, 'in (0, 1)')
    """
    found: dict[str, Setting] = _declared(cast(Any, kind))
    return found


@cache
def _declared(kind: Any) -> dict[str, Setting]:
    return _read(kind, fields(kind))


def _read(kind: type, made: Iterable[Field[Any]]) -> dict[str, Setting]:
    types = get_type_hints(kind)
    return {
        each.name: Setting(
            each.name,
            types[each.name],
            None if each.default is MISSING else each.default,
            each.metadata.get("meaning", ""),
            each.metadata.get("range"),
        )
        for each in made
    }


def owners(name: str) -> list[str]:
    """Return the methods that take a setting, by their names.

    Parameters
    ----------
    name : str
        Of the setting.

    Returns
    -------
    list of str

    Examples
    --------
    >>> import bitlearn.continual
    >>> owners("identity")
    ['task-wta', 'wsn']
    """
    return [method for method, kind in Settings.methods.items() if name in declared(kind.takes)]


def refuse_others(given: Iterable[str], kind: type[Settings], where: str) -> None:
    """Raise TypeError where settings are given that a class does not have, saying whose they are, or what is meant.

    Parameters
    ----------
    given : iterable of str
        Names.
    kind : type of Settings
    where : str
        What they were given to, as the error calls it.
    """
    known = declared(kind)
    for name in given:
        if name in known:
            continue
        if found := owners(name):
            listed = " or ".join(filter(None, [", ".join(found[:-1]), found[-1]]))
            raise TypeError(f"{name} must be given to {listed}, whose setting it is, got it for {where}")
        raise TypeError(unknown(f"a setting of {where}", name, known))


def _with_parameters(kind: type) -> str:
    """Return the docstring of a class with its settings, its own first, between its summary and its sections."""
    own: list[Field[Any]] = []
    for name, value in vars(kind).items():
        if isinstance(value, Field):
            value.name = name
            own.append(value)
    inherited = {
        each.name: each
        for base in kind.__mro__[:0:-1]
        for each in vars(base).get("__dataclass_fields__", {}).values()
        if not isinstance(vars(kind).get(each.name), Field)
    }
    lines = []
    for each in _read(kind, [*own, *inherited.values()]).values():
        last = ", optional" if each.default is None else f", default {each.default!r}"
        lines.append(f"{each.name} : {each.type}{last}")
        meaning = each.meaning if each.range is None else f"{each.meaning} Must be {each.range.says}."
        lines += textwrap.wrap(meaning, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    text = inspect.cleandoc(vars(kind).get("__doc__") or f"{kind.__name__}.").splitlines()
    ends = [at - 1 for at, line in enumerate(text) if at and line and set(line) == {"-"}]
    at = ends[0] if ends else len(text)
    head, rest = "\n".join(text[:at]).rstrip(), "\n".join(text[at:])
    return "\n".join([head, "", "Parameters", "----------", *lines, *(["", rest] if rest else [])]) + "\n"
