"""Settings of methods: declared once, and all that lists, takes, checks, keeps or refuses them goes by that."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import small
from damage import refused, rewritten
from test_continual import clusters

import bitlearn as bl
from bitlearn.cli import continual as command
from bitlearn.cli import main
from bitlearn.cli.settings import options, taken
from bitlearn.continual import METHODS, ContinualLearner, Method, Options
from bitlearn.continual.methods import options_of
from bitlearn.continual.ranges import at_least, interval
from bitlearn.continual.settings import Settings, declared, owners, setting

X, Y, *_ = clusters()
REPLAY = {"head_bits": None, "consolidate": False}
BASES = {"basis_bits": 32, "basis_quantizer": "asymmetric", "basis_share": 1.0}
RATIO = {"eigenvalue_ratio": 5.0, "eigenvalue_floor": 1e-6, "scaled_projection": False}
SHARED = {
    "epochs": 10,
    "batch_size": 50,
    "seed": 0,
    "learning_rate": None,
    "later_learning_rate": None,
    "schedule": "cosine",
    "replay_size": 300,
    "replay_share": 0.72,
    "cut": None,
    "memory_budget": None,
}
#: What each method has of its own, and its default.
OWN = {
    "cwr": {"head_bits": None},
    "latent-replay": REPLAY | {"latents": None},
    "replay": REPLAY,
    "der": {"der_alpha": 0.5, "der_beta": 1.0},
    "ewc": {"regularization": None, "regularization_decay": 1.0},
    "ar1": {"head_bits": None, "regularization": None},
    "gpm": BASES | RATIO | {"projection": "energy", "energy": 0.97, "energy_growth": 0.003, "representations": 300},
    "centre-kernel": RATIO
    | {"centre": None, "centre_branch": "binary", "channel_share": 0.75, "channel_budget": None}
    | {"channel_choice": "gradient", "flip_budget": None, "patch": 1, "temperature": 1.0, "prototype_weight": 10.0},
    "task-wta": {"protect": True, "competing": 0.2, "posterior": "free", "rehearse": False, "distillation": 0.0}
    | {"losers": "masked", "cooling": 1.0, "reuse": -4.0, "sharing": "units", "identity": None},
    "wsn": {"identity": None},
    "sparse-update": {"layers": ()},
}
EVERY = SHARED | {name: default for own in OWN.values() for name, default in own.items()}


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_takes_is_all_methods_settings_and_its_own(method):
    found = declared(METHODS[method].takes)
    assert {name: each.default for name, each in found.items()} == SHARED | OWN.get(method, {})
    assert vars(options_of(method)) == {name: each.default for name, each in found.items()}
    assert METHODS[method].takes.__doc__.count("Parameters\n---") == 1
    for name, each in found.items():
        assert re.search(r"^[A-Z].*\.$", each.meaning), name
        assert f"\n{name} : {each.type}" in METHODS[method].takes.__doc__


@pytest.mark.parametrize("name", EVERY)
def test_a_setting_is_taken_by_its_methods_and_refused_by_all_others(name):
    whose = [method for method in METHODS if name in SHARED or name in OWN.get(method, {})]
    assert owners(name) == whose
    for method in METHODS:
        if method in whose:
            assert getattr(options_of(method, **{name: EVERY[name]}), name) == EVERY[name]
            continue
        listed = ", ".join(whose[:-1]) + " or " * (len(whose) > 1) + whose[-1]
        wanted = rf"^{name} must be given to {listed}, whose setting it is, got it for {method}$"
        for make in (options_of, ContinualLearner):
            with pytest.raises(TypeError, match=wanted):
                make(method, **{name: EVERY[name]})
    if name not in SHARED:
        with pytest.raises(TypeError, match=rf"^{name} must be given to .*, whose setting it is, got it for Options$"):
            Options(**{name: EVERY[name]})


def test_what_is_no_setting_is_refused_with_what_may_be_meant():
    with pytest.raises(TypeError, match=r"a setting of gpm must be one of epochs, .*, got 'enrgy'; perhaps energy$"):
        ContinualLearner("gpm", enrgy=0.9)
    with pytest.raises(TypeError, match=r"a setting of Options must be one of epochs, .*, got 'epoch'; perhaps epochs"):
        Options(epoch=3)
    with pytest.raises(TypeError, match=r"a setting of naive must be one of epochs, .*, got 'colour'$"):
        bl.continual.run("naive", *_begun(), bl.optim.adam(), colour=1)


def _begun():
    scenario = bl.continual.class_incremental(*clusters(), 3)
    return scenario, bl.models.mlp(scenario.input_shape, scenario.classes, hidden=(8,), head="real", seed=1)


@pytest.mark.parametrize(
    ("method", "given", "error", "message"),
    [
        ("naive", {"epochs": "3"}, TypeError, "epochs must be an integer, got '3'"),
        ("naive", {"epochs": 2.5}, TypeError, "epochs must be an integer, got 2.5"),
        ("naive", {"seed": True}, TypeError, "seed must be an integer, got True"),
        ("naive", {"learning_rate": "fast"}, TypeError, "learning_rate must be a number or None, got 'fast'"),
        ("naive", {"schedule": 3}, TypeError, "schedule must be a string or a function, got 3"),
        ("naive", {"replay_share": None}, TypeError, "replay_share must be a number, got None"),
        ("replay", {"consolidate": 1}, TypeError, "consolidate must be True or False, got 1"),
        ("gpm", {"energy": "much"}, TypeError, "energy must be a number or several numbers, got 'much'"),
        ("gpm", {"energy": (0.9, "much")}, TypeError, r"energy must be a number or several numbers, got \(0.9, 'much'"),
        ("gpm", {"basis_bits": 8.0}, TypeError, "basis_bits must be 32, 8, 4, got 8.0"),
        ("gpm", {"basis_bits": 16}, ValueError, "basis_bits must be one of 32, 8, 4, got 16"),
        ("sparse-update", {"layers": 3}, TypeError, "layers must be several strings, got 3"),
        (
            "wsn",
            {"identity": "lost"},
            ValueError,
            "must be one of given, last, confidence, None, got 'lost'; perhaps la",
        ),
        ("centre-kernel", {"channel_budget": "1 MB"}, ValueError, "channel_budget must be bytes, or a number of KiB"),
    ],
)
def test_values_are_checked_by_their_declaration(method, given, error, message):
    with pytest.raises(error, match=message):
        options_of(method, **given)


def test_values_are_kept_as_pythons_own():
    """So that a file can hold them: numbers of NumPy's, a list, one value where several may be given."""
    found = options_of("gpm", epochs=np.int64(3), learning_rate=np.float64(0.5), energy=[np.float64(0.5), 1])
    assert [type(each) for each in (found.epochs, found.learning_rate, *found.energy)] == [int, float, float, float]
    assert found.energy == (0.5, 1.0) and options_of("gpm", energy=1).energy == 1.0
    assert options_of("sparse-update", layers="conv2").layers == ("conv2",)


def test_what_a_run_gives_goes_before_what_is_shared():
    shared = options_of("ewc", epochs=2, regularization=3.0)
    assert options_of("ewc", shared, epochs=4) == replace(shared, epochs=4)
    found = []
    for given, more in (
        (Options(epochs=1, batch_size=8), {"regularization": 1e4}),
        (Options(batch_size=8), {"epochs": 1, "regularization": 1e4}),
        (None, {"epochs": 1, "batch_size": 8, "regularization": 1e4}),
    ):
        scenario, model = _begun()
        bl.continual.run("ewc", scenario, model, bl.optim.adam(), given, **more)
        found.append(small.everything(model))
    assert found[0] == found[1] == found[2]
    with pytest.raises(TypeError, match="regularization must be given to ewc or ar1"):
        bl.continual.run("naive", scenario, model, bl.optim.adam(), shared)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["naive", "latent-replay", "gpm", "analytic"])
def test_a_file_from_before_methods_had_settings_of_their_own_is_loaded(method, tmp_path):
    """Then a file held the settings of all methods, whichever was saved."""
    own = {"latent-replay": {"consolidate": True}, "gpm": {"energy": 0.9}}.get(method, {})
    learner = ContinualLearner(method, epochs=1, batch_size=8, **own).fit_task(X, Y)
    learner.save(tmp_path / "now")
    learner.save(tmp_path / "before")

    def as_before(header, arrays):
        given = header["config"]["options"]
        assert set(given) == set(SHARED) | set(OWN.get(method, {}))
        header["config"]["options"] = EVERY | {"der_alpha": 0.25} | given

    rewritten(tmp_path / "before", as_before)
    found = bl.load(tmp_path / "before")
    assert found.options == learner.options
    assert (found.fit_task(X, Y).scores(X) == bl.load(tmp_path / "now").fit_task(X, Y).scores(X)).all()
    rewritten(tmp_path / "before", lambda header, arrays: header["config"]["options"].update(colour=1))
    with refused("before", f"a setting of {method} must be one of epochs", memory=2**23):
        bl.load(tmp_path / "before")


# --- the command line ------------------------------------------------------------------------------------------------


def arguments(*given: str) -> dict:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return vars(parser.parse_args(["--dataset", "digits", *given]))


def test_compare_gives_each_method_what_it_takes():
    given = arguments("--set", "energy=0.5", "--set", "head_bits=8", "--latent-bits", "8", "--consolidate")
    found = dict(zip(("naive", "gpm", "latent-replay"), taken(given, ("naive", "gpm", "latent-replay")), strict=True))
    assert found == {
        "naive": {"settings": [], "latent_bits": 1, "consolidate": False},
        "gpm": {"settings": [("energy", 0.5)], "latent_bits": 1, "consolidate": False},
        "latent-replay": {"settings": [("head_bits", 8)], "latent_bits": 8, "consolidate": True},
    }
    for method, own in found.items():
        assert vars(options(given | own | {"method": method})).items() >= dict(own["settings"]).items()
    with pytest.raises(TypeError, match="energy must be given to gpm, whose setting it is, got it for naive or joint"):
        taken(arguments("--set", "energy=0.5"), ("naive", "joint"))


def test_compare_says_what_is_wrong_before_it_runs(capsys, tmp_path):
    for given, wanted in (
        ("energy=2", "energy must be in (0, 1], got 2.0"),
        (
            "regularization=2",
            "regularization must be given to ewc or ar1, whose setting it is, got it for naive or gpm",
        ),
    ):
        out = str(tmp_path / "out")
        assert main(["compare", "--methods", "naive,gpm", "--set", given, "--out", out, "--dataset", "digits"]) == 2
        assert wanted in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["continual", "compare"])
def test_the_help_lists_every_method_and_every_setting(capsys, name):
    assert main([name, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f": {', '.join(METHODS)}" in text.replace("- ", "-")  # lines are broken after hyphens
    for each in EVERY:
        flag = {"latents": "latent-bits"}.get(each, each.replace("_", "-"))
        assert f"--{flag} " in text or f" {each}=" in text, each
    assert "energy=0.97 of gpm: The fraction" in text and "Must be in (0, 1]." in text and "``" not in text


# --- settings of one's own -------------------------------------------------------------------------------------------


def test_a_class_of_settings_must_be_a_dataclass():
    class Plain(Options):
        factor: float = setting(0.5, "What is multiplied.", interval("(0, 1]"))

    with pytest.raises(
        TypeError, match=r"Plain must be a dataclass, as dataclass\(frozen=True\) makes it, got a plain"
    ):
        Plain()


def test_settings_of_two_bases_come_together():
    @dataclass(frozen=True)
    class First(Options):
        one: int = setting(1, "The first.", at_least(1))

    @dataclass(frozen=True)
    class Second(Options):
        two: str | tuple[int, ...] = setting("a", "The second.")

    @dataclass(frozen=True)
    class Both(First, Second):
        """Both."""

        one: int = setting(2, "The first one, otherwise.", at_least(2))

    class Own(Method):
        takes = Both

    found = options_of(Own, two=[3], epochs=4)
    assert (found.one, found.two, found.epochs) == (2, (3,), 4) and issubclass(Both, Settings)
    assert "one : int, default 2\n    The first one, otherwise. Must be at least 2.\n" in Both.__doc__
    with pytest.raises(ValueError, match="one must be at least 2, got 1"):
        options_of(Own, one=1)
    with pytest.raises(TypeError, match=r"a setting of Own must be one of .*, got 'three'"):
        options_of(Own, three=1)
