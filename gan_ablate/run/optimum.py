"""What G still learns from once D is trained to its optimum against it: the test of vanishing gradients."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import lightning

from gan_ablate.data import ImageSet
from gan_ablate.data.module import GANDataModule
from gan_ablate.errors import InputError
from gan_ablate.models import GANModule
from gan_ablate.models.networks import gradient_norm
from gan_ablate.recipe import seed_for
from gan_ablate.run.log import quiet_lightning

D_STEPS = 500  # Arjovsky & Bottou 2017, figure 2, train D for up to 4,000 steps on 64 px; D's loss here is flat before


def gradient_at_optimum(module: GANModule, images: ImageSet, d_steps: int = D_STEPS) -> float:
    """2-norm of the gradient of G's loss in G's parameters, after `d_steps` of D alone (Arjovsky & Bottou 2017, 2.2).

    D goes on from the module's weights by its own objective, penalties and optimiser (fresh moments), without gates,
    clipping or schedule; G stands still until one batch of it is differentiated. `module` itself is not changed. Seeded
    by the recipe. Raises `InputError` where D's loss or that gradient is not finite: then there is no optimum to ask.
    """
    trained = copy.deepcopy(module)
    trained.blueprint = replace(
        trained.blueprint,
        n_critic=d_steps,
        n_generator=1,
        d_gate=None,
        g_gate=None,
        gradient_clip=None,
        lr_schedule=None,
    )
    trained.d_steps, trained.diverged_at, trained.limit = 0, 0, trained.g_steps + 1
    quiet_lightning()
    trainer = lightning.Trainer(
        accelerator="gpu" if module.device.type == "cuda" else "cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    seed = seed_for(module.recipe.seed, "optimum")
    trainer.fit(trained, GANDataModule(images, batch_size=trained.blueprint.batch_size, seed=seed, batches=d_steps))
    found = float(gradient_norm(trained.generator))  # of the one G step, the last thing that happened
    if not (trained.finite.item() and math.isfinite(found)):
        raise InputError(f"D alone did not stay finite over {d_steps} steps: G's gradient at its optimum is not known")
    return found
