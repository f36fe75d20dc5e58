"""What the test of Flower's simulation has run: votes of nodes in processes of Ray; prints a digest."""

from __future__ import annotations

from flwr.app import ArrayRecord, Context
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation
from parallel_training import digest
from small import everything, examples, model

import bitlearn as bl
from bitlearn import flower

NODES, STEPS = 3, 3


def batches(context: Context, step: int):
    """Ten examples of a node, which are a part of a batch of thirty."""
    data, first = examples("mlp", 600), 30 * step + 10 * int(context.node_config["partition-id"])
    return data.codes()[first : first + 10], data.y[first : first + 10]


def main():
    training = flower.Training(lambda: model("mlp", "int8"), bl.optim.adam())
    strategy = flower.SignVote(training, 0.01, nodes=NODES)
    app = ServerApp()

    @app.main()
    def serve(grid, context):
        strategy.start(grid, ArrayRecord(), num_rounds=STEPS)

    run_simulation(app, flower.vote_app(training, batches), NODES)
    own = everything(strategy.model, strategy.replica.state)
    names = {*strategy.model.parameters(), *strategy.replica.state}
    print("found", strategy.replica.steps, digest({name: own[name] for name in names}), flush=True)


if __name__ == "__main__":
    main()
