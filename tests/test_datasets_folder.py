"""A folder of class folders of images: what is read, when, and what is done with a file that is broken."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bitlearn as bl
from bitlearn import datasets
from bitlearn.cli import main
from bitlearn.datasets import folder
from bitlearn.training.description import digest

Image = pytest.importorskip("PIL.Image")


def colour(label: int) -> np.ndarray:
    return np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250]][label], dtype=np.uint8)


def write(path, label: int, size=(40, 60), kind="PNG") -> None:
    pixels = np.broadcast_to(colour(label), (*size, 3)).copy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, kind)


@pytest.fixture
def images(tmp_path):
    for label, name in enumerate(("ants", "bees", "cats")):
        for number in range(10):
            ending, kind = ("png", "PNG") if number % 2 else ("jpg", "JPEG")
            write(tmp_path / name / f"{number}.{ending}", label, (40 + number, 60), kind)
    (tmp_path / "ants" / "notes.txt").write_text("no image")
    return tmp_path


def test_classes_are_folders_in_the_order_of_their_names(images):
    data = datasets.load("folder", images, image_size=28)
    assert (data.classes, data.x_train.shape, data.x_test.shape) == (3, (24, 28, 28, 3), (6, 28, 28, 3))
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        for image, label in zip(x[:], y, strict=True):
            assert np.abs(image.astype(int) - colour(label)).max() <= 8  # a JPEG's error
    assert sorted(data.y_test) == [0, 0, 1, 1, 2, 2]


def test_the_middle_of_the_scaled_image_is_cut_out(tmp_path):
    """Beside Pillow's own scaling: the shorter side to 8/7 of the size."""
    rng = np.random.default_rng(0)
    for size in ((64, 100), (100, 64), (224, 224), (20, 31)):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        path = tmp_path / "image.png"
        Image.fromarray(pixels).save(path)
        found = folder.read(path, 56)
        scale = 64 / min(size)
        wide, high = round(size[1] * scale), round(size[0] * scale)
        scaled = np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR))
        top, left = (high - 56) // 2, (wide - 56) // 2
        np.testing.assert_array_equal(found, scaled[top : top + 56, left : left + 56])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_kind_of_image_becomes_rgb(mode, tmp_path):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(np.full((9, 9, 3), 255, np.uint8)).convert(mode).save(path)
    found = folder.read(path, 7)
    assert (found.shape, found.dtype) == ((7, 7, 3), np.uint8)


def test_files_are_read_when_they_are_asked_for(images, monkeypatch):
    reads = []
    real = folder.read
    monkeypatch.setattr(folder, "read", lambda path, size: reads.append(path) or real(path, size))
    data = datasets.load("folder", images, image_size=28)
    kept = datasets.select(data.x_train, np.array([3, 1, 2]))
    examples = datasets.Examples(kept, data.y_train[[3, 1, 2]], datasets.prepare(kept))
    assert len(reads) <= 1  # one to know what a row is like
    reads.clear()
    assert examples.codes(np.array([0, 2])).shape == (2, 28, 28, 3)
    assert len(reads) == 2


def test_own_folders_for_the_two_parts(tmp_path):
    for part, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(("ants", "bees")):
            for number in range(count):
                write(tmp_path / part / name / f"{number}.png", label)
    data = datasets.load("folder", tmp_path, image_size=14)
    assert (len(data.x_train), len(data.x_test), data.classes) == (6, 4, 2)
    write(tmp_path / "val" / "cats" / "0.png", 2)
    with pytest.raises(ValueError, match=r"val must have the classes of .*train, got cats in one of them alone"):
        datasets.load("folder", tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "no image", "empty", "huge"])
def test_a_broken_file_is_named_or_left_out(damage, images):
    path = images / "bees" / "1.png"
    content = path.read_bytes()
    if damage == "huge":  # a header of 60000x60000 pixels
        content = content[:16] + (60000).to_bytes(4, "big") * 2 + content[24:]
    path.write_bytes({"truncated": content[:-30], "no image": b"text", "empty": b""}.get(damage, content))
    data = datasets.load("folder", images, image_size=28)
    with pytest.raises(ValueError, match=r"1\.png must be"):
        [x[:] for x in (data.x_train, data.x_test)]
    with pytest.warns(UserWarning, match=r"1 of 30 files .* are left out: .*1\.png"):
        data = datasets.load("folder", images, image_size=28, broken="skip")
    assert len(data.x_train[:]) + len(data.x_test[:]) == 29


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold a folder for each of at least 2 classes, got 0"):
        datasets.load("folder", tmp_path)
    for name in ("ants", "bees"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=r"ants must hold images that end in \.jpg, \.jpeg, \.png, got none"):
        datasets.load("folder", tmp_path)
    with pytest.raises(ValueError, match="image_size must be at least 1, got 0"):
        datasets.load("folder", tmp_path, image_size=0)
    with pytest.raises(ValueError, match="broken must be refuse or skip, got 'ignore'"):
        datasets.load("folder", tmp_path, broken="ignore")
    (tmp_path / "ants" / "0.png").write_bytes(b"text")
    write(tmp_path / "bees" / "0.png", 1)
    with (
        pytest.warns(UserWarning, match="are left out"),
        pytest.raises(ValueError, match="ants must hold a readable image, got none"),
    ):
        datasets.load("folder", tmp_path, broken="skip")


def test_a_checkpoint_knows_files_without_reading_them(images, monkeypatch):
    """By name and size: to decode all of a large folder for each training would take hours."""

    def digests() -> str:
        data = datasets.load("folder", images, image_size=16)
        preparation = datasets.prepare(data.x_train[:2])
        rows = np.arange(len(data.x_train))[::-1]
        monkeypatch.setattr(folder, "read", lambda path, size: pytest.fail(f"{path} is read"))
        whole = datasets.Examples(data.x_train, data.y_train, preparation)
        turned = datasets.Examples(datasets.select(data.x_train, rows), data.y_train[rows], preparation)
        found = digest(whole), digest(turned)
        monkeypatch.undo()
        return found

    first = digests()
    assert digests() == first and first[0] != first[1]
    for path in sorted(images.glob("*/*.png")):
        write(path, 1, (47, 81))
    assert not set(digests()) & set(first)


def test_a_network_learns_from_a_folder(images, tmp_path):
    out = tmp_path / "found.json"
    arguments = ["train", "--dataset", "folder", "--data", str(images), "--image-size", "16", "--model", "mlp"]
    more = ["--precision", "low-memory", "--epochs", "3", "--batch-size", "6", "--checkpoint", str(tmp_path / "c")]
    assert main([*arguments, *more, "--json", str(out)]) == 0
    assert json.loads(out.read_text())["history"][-1]["loss"] < 1
    assert main([*arguments, *more, "--resume", "--json", str(out)]) == 0


def test_a_residual_network_makes_a_step_on_images_of_imagenet_size():
    model = bl.models.resnete18((224, 224, 3), 1000, precision="low-memory", width=8)
    rows = bl.memory.predict(model, bl.optim.adam(), 2)
    meter = bl.memory.peak(model, bl.optim.adam(), 2, steps=1)
    predicted = sum(row.bytes for row in rows)
    if "VmHWM" in meter.how:
        assert abs(meter.peak_bytes - predicted) <= 0.05 * predicted + 2**20
