"""A binary network in plain PyTorch, trained on CIFAR-10; with ``--bitlearn`` three lines make its steps run on bits.

The network is BinaryNet (arXiv 1602.02830) as it is usually written: float32 that plays binary, with a sign and a
straight-through estimator.

    python examples/pytorch_training.py --steps 20 --data DIR
    python examples/pytorch_training.py --steps 20 --data DIR --bitlearn
"""

from __future__ import annotations

import argparse
import bz2
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class SignSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


class Sign(nn.Module):
    def forward(self, x):
        return SignSTE.apply(x)


class Conv2d(nn.Conv2d):
    def forward(self, x):
        return functional.conv2d(x, SignSTE.apply(self.weight), padding=self.padding)


class Linear(nn.Linear):
    def forward(self, x):
        return functional.linear(x, SignSTE.apply(self.weight))


def binarynet(widths=(128, 256, 512), dense=1024, classes=10):
    layers, channels = [], 3
    for width in widths:
        layers += [Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), Sign()]
        layers += [Conv2d(width, width, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(width), Sign()]
        channels = width
    layers += [
        nn.Flatten(),
        Linear(channels * (32 >> len(widths)) ** 2, dense, bias=False),
        nn.BatchNorm1d(dense),
        Sign(),
    ]
    layers += [Linear(dense, dense, bias=False), nn.BatchNorm1d(dense), Sign()]
    return nn.Sequential(*layers, Linear(dense, classes, bias=False), nn.BatchNorm1d(classes))


def batches(folder, size, seed):
    """Yield batches of CIFAR-10's binary files; of random images where there is no folder."""
    rng = np.random.default_rng(seed)
    if folder is None:
        images, labels = rng.integers(0, 256, (4 * size, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, 4 * size)
    else:
        path = Path(folder) / "cifar-10-batches-bin" / "data_batch_1.bin"
        packed = path.with_suffix(".bin.bz2")
        content = bz2.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
        records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        images, labels = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    while True:
        chosen = rng.choice(len(images), size, replace=False)
        x = torch.from_numpy(images[chosen]).float() / 127.5 - 1
        yield x.contiguous(memory_format=torch.channels_last), torch.from_numpy(labels[chosen].astype(np.int64))


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=None, help="the folder that has cifar-10-batches-bin; random images without")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--widths", default="128,256,512")
    parser.add_argument("--dense", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the batches")
    parser.add_argument("--compile", action="store_true", help="compile the network, and run it in bfloat16")
    parser.add_argument("--bitlearn", action="store_true")
    parser.add_argument("--json", default=None, metavar="FILE")
    return parser.parse_args(given)


def train(options):
    """Yield the loss and the seconds of each step."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    source = batches(options.data, options.batch_size, options.seed)
    model = binarynet(tuple(int(width) for width in options.widths.split(",")), options.dense)
    model = model.to(memory_format=torch.channels_last)
    if options.bitlearn:  # the three lines
        import bitlearn.torch as bt

        model = bt.convert(model, torch.zeros(2, 3, 32, 32))
    run = torch.compile(model) if options.compile else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(options.steps):
        x, y = next(source)
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.compile):
            loss = functional.cross_entropy(run(x).float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item(), time.perf_counter() - start
    if options.bitlearn:  # for inference a bit a weight
        before = nbytes(model)
        for layer in model.modules():
            if isinstance(layer, bt.BitConv2d | bt.BitLinear):
                layer.pack_()
        print(f"{before} bytes, {nbytes(model)} for inference")


def nbytes(model):
    """Return the bytes of all that a state dict holds."""
    return sum(each.nbytes for each in model.state_dict().values())


def main():
    options = arguments()
    found = []
    for number, (loss, seconds) in enumerate(train(options), 1):
        print(f"step {number}: loss {loss:.4f}, {seconds:.3f} s", flush=True)
        found.append({"loss": loss, "seconds": seconds})
    if options.json:
        Path(options.json).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
