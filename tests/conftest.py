"""One thread per test process: two on two cores run many times slower."""

import io
import math
import os
from collections import Counter
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
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = FeatureExtractorInceptionV3("random", ["2048"], empty)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        torch.nn.init.normal_(network.fc.weight, std=2 / math.sqrt(2048))
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(network.state_dict(), path)
    return path
