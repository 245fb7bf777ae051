"""One thread per test process: two on two cores run many times slower."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

SLOW = 200  # usual tests that one marked slow takes as long as
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "disabled")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no worker ends alone with one of them (`make test` gives each worker whole files)."""
    weights = Counter[Path]()
    for item in items:
        weights[item.path] += SLOW if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: (-weights[item.path], item.path))  # stable: the order within a file stays


@pytest.fixture(autouse=True)
def _own_permissions():
    """Modules that a test permits by name are the process's: the next test must not find them permitted."""
    from gan_ablate import trust

    with trust.for_a_while():
        yield


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory) -> Path:
    """A file of torch-fidelity's form for its Inception, with random weights that keep the activations' variance."""
    import torch

    from benchmarks.evaluation import random_inception

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with torch.random.fork_rng():
        random_inception(path)
    return path


@pytest.fixture(scope="session")
def feature_weights(tmp_path_factory) -> Iterator[Path]:
    """Random weights of the network that `projected_discriminator` has by default, where it looks for them."""
    import timm
    import torch

    path = tmp_path_factory.mktemp("features") / "random.pth"
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        torch.save(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), path)
        patch.setenv("GAN_ABLATE_FEATURES", str(path))
        yield path
