"""Settings: each declared once, with its type, default, range and meaning, and checked accordingly."""

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

#: The width of a docstring's lines.
_WIDTH = 100
#: The names of types in messages: for one value, and for several.
_WORDS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("True or False", "of True and False"),
    str: ("a string", "strings"),
    NoneType: ("None", "of None"),
}


def setting(default: Any, meaning: str, range: Range | None = None) -> Any:
    """Declare a setting: the value of a field in a subclass of `Settings`.

    Parameters
    ----------
    default : object
    meaning : str
        What it does, in reStructuredText; shown in help, tables and the class's docstring.
    range : Range, optional
        The values of the field's type that it may have; all by default.

    Returns
    -------
    object
        A field for `dataclasses.dataclass`.

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
    """A declared setting.

    Parameters
    ----------
    name : str
    kind : type
        Its type, from the field's annotation.
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
        """Its type, as written in docstrings."""
        kinds = _kinds(self.kind)
        return " or ".join(_shown(kind) for kind in kinds if kind is not NoneType)

    @property
    def words(self) -> list[str]:
        """The words or numbers it is chosen from, if it is."""
        return [str(word) for kind in _kinds(self.kind) if get_origin(kind) is Literal for word in get_args(kind)]

    @property
    def allowed(self) -> str:
        """The values of its type that it may have, in words; empty if it may have all."""
        if self.range is not None:
            return self.range.says
        return f"one of {', '.join(self.words)}" if self.words else ""

    @property
    def optional(self) -> bool:
        """Whether it may be None."""
        return NoneType in _kinds(self.kind)

    def checked(self, value: Any) -> Any:
        """Return a value as it is stored; TypeError if its type is wrong, ValueError if it is out of range."""
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
    """Return the types that a value may have."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _accepts(value: Any, kind: Any) -> bool:
    """Whether a value has a type. A bool does not count as a number; an integer does."""
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
    """Return a value in plain Python types: NumPy numbers and lists change, and one value if several are allowed."""
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
    """Return a type as written in docstrings."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "{" + ", ".join(f'"{part}"' if isinstance(part, str) else str(part) for part in parts) + "}"
    if origin is tuple:
        return f"sequence of {_shown(parts[0])}"
    return "callable" if origin is Callable else getattr(kind, "__name__", str(kind))


def _word(kind: Any) -> str:
    """Return a type as written in messages; empty for words, which are listed one by one."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ""
    if origin is tuple:
        return f"several {_WORDS[parts[0]][1]}" if parts[0] in _WORDS else f"a tuple of {_shown(parts[0])}"
    return _WORDS[kind][0] if kind in _WORDS else "a function" if origin is Callable else f"of type {_shown(kind)}"


class Settings:
    """The base of groups of settings: frozen dataclasses whose fields are each made by `setting`.

    Values are checked when an object is created. Each class's docstring lists its settings as parameters.
    """

    #: All methods by name, filled by `bitlearn.continual.methods`, so that an error can say which method a setting
    #: belongs to.
    methods: ClassVar[Mapping[str, Any]] = {}

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Raise TypeError for settings that the class does not have."""
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
        """Check each value; subclasses check what depends on several."""
        for name, each in declared(type(self)).items():
            object.__setattr__(self, name, each.checked(getattr(self, name)))


def declared(kind: type[Settings]) -> dict[str, Setting]:
    """Return the settings of a class by name, those of its base classes first.

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
    """Return the names of the methods that have a setting.

    Parameters
    ----------
    name : str
        The name of the setting.

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
    """Raise TypeError if settings are given that a class does not have, saying where they belong or what may be meant.

    Parameters
    ----------
    given : iterable of str
        Names of settings.
    kind : type of Settings
    where : str
        What they were given to, for the message.
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
    """Return the docstring of a class with its settings, its own first, inserted after the summary."""
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
