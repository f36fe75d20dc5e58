"""Every format that is loaded: an honest file, how it is loaded, and how its checksums are made right after damage."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import small

import bitlearn as bl
from bitlearn import datasets, safetensors, serialization
from bitlearn.classifier import Classifier
from bitlearn.continual import AnalyticLearner, ContinualLearner
from bitlearn.training import Options, fit
from campaign.damages import changed, damaged

Damage = Callable[[bytes, np.random.Generator], bytes]
#: What a compressed file may expand to, where it is made to hold more than it should.
_BOMB = 1 << 26


@dataclass
class Format:
    """One format."""

    #: Where its file lies in a folder of its own.
    path: Path
    #: Load the file; return something that is equal where all content is.
    load: Callable[[Path], Any]
    #: Damage what is inside, and make the checksums right again.
    refitted: Damage
    #: Whether checksums cover all content, so that no damage passes unseen.
    covered: bool


def _saved(
    obj: Any,
    folder: Path,
    save: Callable[[Any, Path], None] = bl.save,
    load: Callable[[Path], Any] = bl.load,
) -> Format:
    """Return the format of what `bitlearn.save`, or an object's own function, writes."""
    path = folder / "saved.safetensors"
    save(obj, path)

    def content(path: Path) -> bytes:
        again = folder / "again"
        save(load(path), again)
        return again.read_bytes()

    return Format(path, content, _described(folder), covered=True)


def _described(folder: Path) -> Damage:
    """Return what changes a description or an array of a saved file, with its checksum."""

    def refitted(content: bytes, rng: np.random.Generator) -> bytes:
        inside = folder / "inside"
        inside.write_bytes(content)
        arrays, metadata = safetensors.read(inside)
        text = metadata["bitlearn"]
        if rng.random() < 0.7:
            text = json.dumps(changed(json.loads(text), rng))
        else:
            name = list(arrays)[rng.integers(len(arrays))]
            array = arrays[name]
            ways = [
                array.astype(np.float64),
                array.reshape(-1),
                array[None],
                array[:-1] if array.ndim else array[None],
                np.zeros((1 << 12, *array.shape[1:]), array.dtype),
                np.full(array.shape, np.nan, np.float32),
                np.frombuffer(rng.bytes(array.nbytes), np.uint8),
            ]
            arrays[name] = np.ascontiguousarray(ways[rng.integers(len(ways))])
            if rng.random() < 0.2:
                del arrays[name]
        metadata = {"bitlearn": text, "crc32": serialization._checksum(arrays, text)}
        safetensors.write(inside, arrays, metadata)
        return inside.read_bytes()

    return refitted


def _stream(method: str) -> ContinualLearner:
    """Return a continual learner that has seen some of a stream."""
    data = small.examples("mlp", 20)
    settings = {"batch_size": 8, "replay_size": 12} | ({"consolidate": True} if method == "latent-replay" else {})
    learner = ContinualLearner(method, preparation=data.preparation, precision="int8", **settings)
    return learner.partial_fit(data.x, np.array(["ant", "bee", "cat"])[data.y % 3])


def _checkpoint(folder: Path) -> Format:
    """Return the format of a checkpoint: one of a training that is over."""
    path, data, options = folder / "checkpoint", small.examples("mlp", 20), Options(epochs=1, batch_size=10, seed=3)
    fit(small.model("mlp", "int8"), bl.optim.adam(), data, options, checkpoint=path)

    def load(path: Path) -> Any:
        model = small.model("mlp", "int8")
        before = small.everything(model)
        try:
            result = fit(model, bl.optim.adam(), data, options, checkpoint=path, resume=True)
        except ValueError:
            assert small.everything(model) == before, "a checkpoint that is refused changed the model"
            raise
        assert result.best is not None
        return small.everything(model), {name: array.tobytes() for name, array in result.best.arrays.items()}

    return Format(path, load, _described(folder), covered=True)


def _layout(folder: Path) -> Format:
    """Return the plain layout of safetensors, which has no checksum."""
    path = folder / "plain.safetensors"
    arrays = {"a": np.arange(60, dtype=np.float32).reshape(5, 12), "b": np.ones(7, bool), "c": np.zeros((0, 3), "i8")}
    safetensors.write(path, arrays, {"made": "by hand"})

    def load(path: Path) -> Any:
        found, metadata = safetensors.read(path)
        return {name: (each.dtype, each.shape, each.tobytes()) for name, each in found.items()}, metadata

    def refitted(content: bytes, rng: np.random.Generator) -> bytes:
        length = int.from_bytes(content[:8], "little")
        header = changed(json.loads(content[8 : 8 + length]), rng)
        encoded = json.dumps(header).encode()
        return len(encoded).to_bytes(8, "little") + encoded + content[8 + length :]

    return Format(path, load, refitted, covered=False)


def _dataset(name: str, path: Path, where: Path, refitted: Damage, *, covered: bool) -> Format:
    def load(_: Path) -> Any:
        found = datasets.load(name, where)
        arrays = (found.x_train, found.y_train, found.x_test, found.y_test)
        return [(each.dtype, each.shape, each.tobytes()) for each in arrays]

    return Format(path, load, refitted, covered)


def _compressed(compress: Callable[[bytes], bytes], expand: Callable[[bytes], bytes]) -> Damage:
    """Return what damages the content of a compressed file, or lets it expand to far more."""

    def refitted(content: bytes, rng: np.random.Generator) -> bytes:
        inside = expand(content)
        bomb = compress is not bytes and rng.random() < 0.05
        return compress(inside + bytes(_BOMB) if bomb else damaged(inside, rng))

    return refitted


def _idx(folder: Path, suffix: str) -> Format:
    compress, expand = {
        "": (bytes, bytes),
        ".gz": (gzip.compress, gzip.decompress),
        ".bz2": (bz2.compress, bz2.decompress),
        ".xz": (lzma.compress, lzma.decompress),
    }[suffix]
    rng = np.random.default_rng(1)
    for part, count in (("train", 40), ("t10k", 10)):
        images, labels = rng.integers(0, 256, (count, 9, 7), np.uint8), rng.integers(0, 10, count, np.uint8)
        for what, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{part}-{what}-ubyte{suffix}").write_bytes(compress(header + array.tobytes()))
    path = folder / f"train-images-idx3-ubyte{suffix}"
    return _dataset("mnist", path, folder, _compressed(compress, expand), covered=bool(suffix))


def _cifar_files(python: bool) -> dict[str, bytes]:
    rng, found = np.random.default_rng(2), {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        data, labels = rng.integers(0, 256, (3, 3072), np.uint8), rng.integers(0, 10, 3)
        if python:
            found[name] = pickle.dumps({b"data": data, b"labels": labels.tolist()}, 2)
        else:
            records = np.concatenate([labels[:, None].astype(np.uint8), data], axis=1)
            found[f"{name}.bin"] = records.tobytes()
    return found


def _cifar(folder: Path, python: bool) -> Format:
    files = _cifar_files(python)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return _dataset("cifar10", folder / next(iter(files)), folder, damaged, covered=False)


def _archive(folder: Path, python: bool) -> Format:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in _cifar_files(python).items():
            member = tarfile.TarInfo(f"cifar/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    path = folder / f"cifar-10-{'python' if python else 'binary'}.tar.gz"
    path.write_bytes(gzip.compress(stream.getvalue()))

    def refitted(content: bytes, rng: np.random.Generator) -> bytes:
        inside = gzip.decompress(content)
        if rng.random() < 0.5:
            return gzip.compress(damaged(inside, rng))
        header = bytearray(damaged(inside[:512], rng)[:512].ljust(512, b"\0"))
        header[148:156] = b" " * 8
        header[148:156] = f"{sum(header):06o}\0 ".encode()
        return gzip.compress(bytes(header) + inside[512:])

    return _dataset("cifar10", path, path, refitted, covered=True)


def _npz(folder: Path) -> Format:
    path, rng = folder / "own.npz", np.random.default_rng(3)
    x, y = rng.normal(size=(40, 6)).astype(np.float32), np.arange(40) % 4
    np.savez_compressed(path, X=x, y=y)

    def refitted(content: bytes, rng: np.random.Generator) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = list(members)[rng.integers(len(members))]
        text = members[name]
        if rng.random() < 0.4:
            shapes = (b"(40, 6)", b"(40,)"), (b"(99999999, 6)", b"(4000000000,)"), (b"(-40, 6)", b"(1, 40)")
            old, new = shapes[0], shapes[rng.integers(1, 3)]
            for before, after in zip(old, new, strict=True):
                text = text.replace(before, after)
            members[name] = text[:8] + (text.index(b"\n") - 9).to_bytes(2, "little") + text[10:]
        else:
            members[name] = damaged(text, rng)
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, inside in members.items():
                archive.writestr(each, inside)
        return stream.getvalue()

    return _dataset("npz", path, path, refitted, covered=True)


def formats(folder: Path) -> dict[str, Format]:
    """Make an honest file of each format in folders of their own."""

    def place(name: str) -> Path:
        made = folder / name
        made.mkdir()
        return made

    data = small.examples("mlp", 20)
    learner = AnalyticLearner(9, bits=2).partial_fit(data.codes(), data.y)
    return {
        "model": _saved(small.model("mlp", "int8"), place("model")),
        "convolutions": _saved(small.model("cnv", "low-memory"), place("convolutions")),
        "frozen": _saved(small.model("mlp", "low-memory").freeze(), place("frozen")),
        "classifier": _saved(Classifier(small.model("mlp", "int8").freeze(), data.preparation), place("classifier")),
        "learner": _saved(learner, place("learner"), AnalyticLearner.save, AnalyticLearner.load),
        **{name: _saved(_stream(name), place(name)) for name in ("latent-replay", "der", "ar1", "slda", "analytic")},
        "weights": _saved(bl.pack_weights(bl.pack(np.ones((33, 70))), 70), place("weights")),
        "checkpoint": _checkpoint(place("checkpoint")),
        "safetensors": _layout(place("safetensors")),
        "idx": _idx(place("idx"), ""),
        "idx.gz": _idx(place("idx.gz"), ".gz"),
        "idx.bz2": _idx(place("idx.bz2"), ".bz2"),
        "idx.xz": _idx(place("idx.xz"), ".xz"),
        "cifar": _cifar(place("cifar"), False),
        "cifar pickles": _cifar(place("pickles"), True),
        "cifar archive": _archive(place("archive"), False),
        "cifar pickled archive": _archive(place("pickled archive"), True),
        "npz": _npz(place("npz")),
    }
