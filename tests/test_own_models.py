"""Models and networks of one's own by import path: `examples/my_gan.py` as the README has it, and what is refused."""

import json
import sys
from pathlib import Path

import lightning
import pytest
import torch
import yaml

from gan_ablate import DCGAN, trust
from gan_ablate.cli import main
from gan_ablate.data.images import ImageSet
from gan_ablate.data.module import GANDataModule
from gan_ablate.errors import InputError
from gan_ablate.presets import preset
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run.measure import open_checkpoint
from gan_ablate.study.study import expand, from_dict

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = "--dataset ring --width 4 --batch-size 8 --precision fp32 --steps 4 --samples 16 --points 1 --logger none"


@pytest.fixture
def beside(monkeypatch):
    """Works in the folder of the example, whose module nobody has imported yet."""
    monkeypatch.chdir(EXAMPLES)
    sys.modules.pop("my_gan", None)
    yield
    sys.modules.pop("my_gan", None)


def results(root):
    return [json.loads(path.read_text()) for path in sorted(root.rglob("result.json"))]


def test_a_model_of_ones_own_trains_is_kept_and_sampled_only_with_permission(beside, tmp_path, capsys):
    argv = ["train", "--model", "my_gan.MyGAN", *SMALL.split(), "--root", str(tmp_path)]
    assert main(argv) == 0
    (result,) = results(tmp_path)
    assert (result["g_steps"], result["d_steps"]) == (4, 8)
    assert result["recipe"]["model"] == "my_gan.MyGAN"
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    sys.modules.pop("my_gan")
    sample = ["sample", str(checkpoint), "--out", str(tmp_path / "grid.png")]
    assert main(sample) == 2
    assert "the module my_gan is imported only with your permission: --trust my_gan" in capsys.readouterr().err
    assert main([*sample, "--trust", "my_gan"]) == 0
    module = open_checkpoint(checkpoint)  # the program has imported it meanwhile
    assert type(module).__name__ == "MyGAN"
    assert type(module.generator.network).__name__ == "MyG"


def test_one_network_of_ones_own_beside_a_model(beside, tmp_path):
    argv = ["train", "--generator", "my_gan.MyG", "--trick", "label_smoothing", *SMALL.split(), "--root", str(tmp_path)]
    assert main(argv) == 0
    (result,) = results(tmp_path)
    assert result["recipe"]["arm"].startswith("generator=my_gan.MyG+label_smoothing")
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    assert type(open_checkpoint(checkpoint).generator.network).__name__ == "MyG"


def test_from_python_a_class_and_its_path_are_one_recipe(beside, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import my_gan

    fields = {"width": 4, "batch_size": 8, "precision": "32-true", "channels": 1}
    module = DCGAN(generator=my_gan.MyG, discriminator="my_gan.MyD", **fields)
    path = DCGAN(generator="my_gan.MyG", discriminator=my_gan.MyD, **{**fields, "precision": "fp32"})
    assert module.recipe.run_id == path.recipe.run_id != DCGAN(**fields).recipe.run_id
    pixels = torch.randint(0, 256, (32, 1, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    before = module.generator.network.layers[0][0].weight.clone()
    trainer.fit(module, GANDataModule(ImageSet.of(pixels, None, (), "noise"), batch_size=8))
    assert not torch.equal(before, module.generator.network.layers[0][0].weight)
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    again = DCGAN.load_from_checkpoint(tmp_path / "c.ckpt")
    assert torch.equal(again.generate(3, seed=0), module.generate(3, seed=0))


def test_a_study_over_models_of_ones_own(beside, monkeypatch):
    monkeypatch.setattr(trust, "_trusted", {})
    own = {
        "name": "n",
        "models": ["my_gan.MyGAN"],
        "arms": ["label_smoothing"],
        "seeds": 1,
        "base": {"dataset": "ring"},
    }
    with pytest.raises(InputError, match="--trust my_gan gives it"):
        expand(from_dict(own))
    trust.trust_typed("my_gan.MyGAN")
    assert [(r.model, r.arm) for r in expand(from_dict(own)).recipes] == [
        ("my_gan.MyGAN", "base"), ("my_gan.MyGAN", "label_smoothing")
    ]  # fmt: skip


def answers_nothing(recipe):
    raise AssertionError("called")


class TwoLogits(torch.nn.Sequential):
    def __init__(self, bp):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(bp.channels * bp.size**2, 2))


class TwoNumbers(torch.nn.Linear):
    def __init__(self, bp):
        super().__init__(bp.latent_dim, 2)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--model my_gan.MyGam", "model 'my_gan.MyGam': cannot import MyGam from my_gan"),
        ("--model no_such_module.MyGAN", "cannot import MyGAN from no_such_module: No module named"),
        ("--model my_gan.MyG", "is neither a function (recipe: Recipe) -> Blueprint, annotated so, nor a class of"),
        ("--model shutil.rmtree", "is neither a function"),
        (f"--model {__name__}.answers_nothing", "is neither a function"),
        ("--model dcgna", "unknown model 'dcgna': did you mean 'dcgan'?"),
        ("--generator my_gan.MyH", "generator 'my_gan.MyH': cannot import MyH from my_gan"),
        ("--generator json.dumps", "generator 'json.dumps': is no class of torch.nn.Module"),
        ("--discriminator torch.nn.Identity", "discriminator 'torch.nn.Identity': has no parameters to train"),
        (f"--discriminator {__name__}.TwoLogits", "returns a tensor (8, 2), needs logits (8,) or a Critique"),
        (f"--generator {__name__}.TwoNumbers", "(16, 2), needs images (16, 2, 1, 1)"),
        ("--discriminator torch.nn.Bilinear", "is made with one argument, the blueprint"),
        ("--generator my_gan.MyG --trick conditional", "a conditional game needs forward(x, labels)"),
    ],
)
def test_what_is_no_model_and_no_network(beside, tmp_path, capsys, argv, said):
    assert main(["train", *argv.split(), *SMALL.split(), "--root", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


# -- a dataset's usual shape, and Lightning's words ----------------------------------------------------------------------


def test_a_study_fills_in_the_usual_shape_of_each_dataset():
    study = {
        "name": "n",
        "models": ["dcgan"],
        "datasets": ["ring", "mnist", "digits", "/photos"],
        "arms": [],
        "seeds": 1,
    }
    found = {r.dataset: (r.size, r.channels) for r in expand(from_dict(study)).recipes}
    assert found == {"ring": (1, 2), "mnist": (28, 1), "digits": (16, 1), "/photos": (32, 3)}
    given = {**study, "datasets": ["mnist"], "base": {"size": 32}}
    assert [(r.size, r.channels) for r in expand(from_dict(given)).recipes] == [(32, 1)]


@pytest.mark.parametrize("path", sorted(Path("sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_kept_studies_write_their_shape_out(path):
    """So that none of their runs has become another one."""
    base = yaml.safe_load(path.read_text())
    assert all({"size", "channels"} <= {*base["base"], *(own if isinstance(own, dict) else ())}
               for own in base.get("datasets", [{}]))  # fmt: skip


def test_lightnings_words_mean_the_same_run():
    words = {"bf16-mixed": "bf16", "32-true": "fp32", "32": "fp32"}
    for word, ours in words.items():
        assert Recipe(precision=word).run_id == Recipe(precision=ours).run_id
    with pytest.raises(InputError, match="unknown precision '16-mixed'"):
        preset(Recipe(precision="16-mixed", evaluation=Evaluation()))


def test_a_gpu_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for argv in (["train", *SMALL.split()], ["sweep", "sweeps/toys.yaml"]):
        assert main([*argv, "--accelerator", "gpu", "--root", str(tmp_path)]) == 2
        assert "accelerator gpu: no CUDA device is visible here" in capsys.readouterr().err
