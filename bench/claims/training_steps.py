"""Whole training steps against PyTorch doing the same network in floats, in time and in memory."""

from __future__ import annotations

from .. import steps
from . import _tiles
from ._training_steps import ANY, COMPILED, EAGER, FLOAT32, claim, share

#: PyTorch's float32 ways leave tiles out, and so do ours here.
_NEEDS = _tiles.needs_none
_FASTEST = "PyTorch at its fastest (eager, compiled, bfloat16 or both)"

CLAIMS = (
    claim("over-eager", "binarynet", "int8", 7.0, "eager float32 PyTorch", EAGER, needs=_NEEDS),
    claim("over-float32", "binarynet", "int8", 4.5, "the fastest float32 PyTorch", FLOAT32, needs=_NEEDS),
    claim("over-fastest", "binarynet", "int8", 2.8, _FASTEST, ANY, needs=_NEEDS),
    # The fastest policy that keeps the accuracy (`accuracy_of_policies`), and signs of gradients by products of 8 bits.
    claim("over-eager", "binarynet", "int4", 8.0, "eager float32 PyTorch", EAGER, needs=_NEEDS),
    claim("over-fastest", "binarynet", "int4", 3.5, _FASTEST, ANY, needs=_NEEDS),
    *(share(network, "int4", "int8", 0.8, needs=_NEEDS) for network in ("binarynet", "cnv")),
    share("binarynet", "low-memory-8bit", "int8", 1.15, needs=_NEEDS),
    share("binarynet", "low-memory-exact", "low-memory", 1.2, needs=_NEEDS),
    claim("over-eager", "binarynet", "low-memory", 3.5, "eager float32 PyTorch", EAGER, needs=_NEEDS),
    claim("over-fastest", "binarynet", "low-memory", 1.5, _FASTEST, ANY, needs=_NEEDS),
    claim("memory-of-eager", "binarynet", "low-memory", 5.0, "eager float32 PyTorch", EAGER, needs=_NEEDS, memory=True),
    claim("memory-of-smallest", "binarynet", "low-memory", 5.0, "the smallest PyTorch", ANY, needs=_NEEDS, memory=True),
    claim("over-eager", "mlp", "int8", 2.5, "eager float32 PyTorch", EAGER, needs=_NEEDS),
    claim("over-compiled", "mlp", "int8", 1.5, "compiled float32 PyTorch", COMPILED, needs=_NEEDS),
    claim("over-fastest", "mlp", "int8", 1.5, _FASTEST, ANY, needs=_NEEDS),
    *(
        claim(f"over-fastest-batch-{batch}", "mlp", "int8", 3.0, _FASTEST, ANY, needs=_NEEDS, batch=batch)
        for batch in (10, 2)
    ),
    # An update of latent replay: 50 new and 128 replayed examples, and the last three blocks of 512 channels.
    *(
        claim(name, "replayed", policy, bar, _FASTEST, ANY, needs=_NEEDS, batch=178, memory=memory, of_fastest=memory)
        for policy in ("int8", "low-memory")
        for name, bar, memory in (("over-fastest", 3.0, False), ("memory-of-fastest", 8.0, True))
    ),
    # The same by plain SGD, where 7 million weights have no moments: on latent weights of 8 bits, as the paper's.
    *(
        claim(
            name,
            "replayed",
            steps.QUANTIZED.name,
            bar,
            _FASTEST,
            ANY,
            needs=_NEEDS,
            batch=178,
            rule="sgd",
            memory=memory,
            of_fastest=memory,
        )
        for name, bar, memory in (("over-fastest", 3.0, False), ("memory-of-fastest", 8.0, True))
    ),
)
