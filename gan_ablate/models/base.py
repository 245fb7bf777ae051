"""The LightningModule that trains any game that a blueprint describes: its parts, Lightning's hooks, checkpoints."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import lightning
import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.data.module import Batches, one_device
from gan_ablate.data.torch_sets import batch_of, lowest
from gan_ablate.errors import InputError
from gan_ablate.models.networks import build_network
from gan_ablate.models.training import Training
from gan_ablate.nets.layers import MEMORY
from gan_ablate.optim import correct_for_lazy, make_capturable
from gan_ablate.presets import dcgan, path_of
from gan_ablate.recipe import Recipe, TrickSpec, seed_for, usual_fields, with_usual_fields
from gan_ablate.step import Game
from gan_ablate.tricks import OWN_NETWORKS, assemble

COUNTERS = ("g_steps", "d_steps", "round_d_steps", "diverged_at", "total_steps")  # numbers that a checkpoint carries
STREAMS = ("latents_d", "latents_g", "tricks")  # random numbers of training, one generator each


class GANModule(Training):
    """A game of G against D. One `training_step` is one D update, and after every `n_critic`-th one G update.

    Args:
        tricks: registered names, `name:key=value` or `TrickSpec`s.
        steps: G steps in all; training stops there. `None`: the Trainer's own limits decide. A trick may change it.
        generator, discriminator: networks of one's own, classes or import paths (`presets.with_own_networks`).
        fields: any other field of `Recipe` (size, channels, width, lr, seed, ...).

    Raises:
        InputError: a field, trick or parameter that cannot be used.

    A subclass at the top of a module is a model of its own by its import path; its `preset` makes its blueprint.
    """

    model: ClassVar[str] = "dcgan"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "model" not in cls.__dict__ and "<locals>" not in cls.__qualname__:
            cls.model = f"{cls.__module__}.{cls.__qualname__}"

    def __init__(
        self,
        *,
        tricks: Any = (),
        steps: int | None = None,
        generator: Any = None,
        discriminator: Any = None,
        **fields: Any,
    ) -> None:
        super().__init__()
        given = {"generator": generator, "discriminator": discriminator}
        own = {k: v if isinstance(v, str) else path_of(v, k) for k, v in given.items() if v is not None}
        tricks = [*([TrickSpec(OWN_NETWORKS, own)] if own else []), *tricks]
        model = fields.get("model", self.model)
        if usual_fields(model):  # any other is told the shape of the images that it is to be given
            fields = with_usual_fields(fields, model)
        data = {"model": model, "tricks": tricks, **fields}
        if data["model"] != self.model and type(self) is not GANModule:
            name = type(self).__name__
            raise InputError(
                f"{name} plays {self.model}, not {data['model']}: take GANModule or that model's own class"
            )
        recipe = Recipe.from_dict(data if steps is None else {**data, "steps": steps}, type(self).__name__)
        self._build(recipe, limit=steps)

    @staticmethod
    def preset(recipe: Recipe) -> Blueprint:
        """What the game is before any trick; a subclass has its own."""
        return dcgan(recipe)

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> GANModule:
        """The module that a recipe describes; it stops after its blueprint's number of G steps."""
        module = cls.__new__(cls)
        lightning.LightningModule.__init__(module)
        module._build(recipe, limit=recipe.steps)
        return module

    def _build(self, recipe: Recipe, limit: int | None) -> None:
        self.automatic_optimization = False
        self.recipe, bp, chain = assemble(recipe)
        told = {k: v for k, v in self.recipe.to_dict().items() if k != "arm"}
        self.save_hyperparameters({**told, "steps": limit})  # so that `load_from_checkpoint` builds the same module
        self.limit = limit and bp.steps
        self.total_steps = bp.steps
        self.latent_dim = bp.latent_dim
        self.g_steps = self.d_steps = self.round_d_steps = self.diverged_at = 0
        seed = self.recipe.seed
        if (bp.conditional or bp.d_classes) and not bp.classes:
            raise InputError(f"{self.recipe.dataset}: the number of its classes is not known: give classes=...")
        self.generator = build_network(bp.generator, bp, seed, "generator", bp.g_finish)
        self.discriminator = build_network(bp.discriminator, bp, seed, "discriminator", bp.d_finish)
        self.encoder = build_network(bp.encoder, bp, seed, "encoder") if bp.encoder else None
        self.register_buffer("t", torch.zeros(()))
        self.register_buffer("finite", torch.ones((), dtype=torch.bool))
        self.register_buffer("g_count", torch.zeros((), dtype=torch.int64), persistent=False)
        if bp.conditional or bp.d_classes:
            assert bp.classes
            self.register_buffer("class_share", torch.full((bp.classes,), 1 / bp.classes))
        self.state = nn.ModuleList(nn.Module() for _ in chain.tricks)
        self.game = Game(bp, chain, bp.objective(), self.generator, self.discriminator, bp.rules(), self.encoder)
        self.streams = {}
        self._saved_random: dict[str, Tensor] | None = None
        self.step, self.pauses, self._rounds = "eager", frozenset(), None
        self._lowest = None

    # -- Lightning's hooks -------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        encoder = [] if self.encoder is None else self.encoder.parameters()
        optimizers = [
            self.blueprint.d_optimizer(self.discriminator.parameters()),
            self.blueprint.g_optimizer([*self.generator.parameters(), *encoder]),
        ]
        correct_for_lazy(optimizers[0], self.blueprint.penalty_every)
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["initial_lr"] = group["lr"]
        return optimizers

    def setup(self, stage: str) -> None:
        if stage == "fit" and self._trainer is not None:
            one_device(self.trainer.world_size)

    def on_fit_start(self) -> None:
        bp = self.blueprint
        if self.limit is None and self._trainer is not None:
            batches = self.trainer.estimated_stepping_batches
            self.total_steps = max(1, bp.g_steps_in(int(batches)) if batches != float("inf") else 1)
        if (bp.conditional or bp.d_classes) and self._trainer is not None:
            self._read_class_share(getattr(self.trainer, "datamodule", None))
        # convolutions run fastest on channels_last memory, and a module just moved has lost it
        self.to(memory_format=MEMORY[bp.dims])  # type: ignore[call-overload]

    def _read_class_share(self, data: Any) -> None:
        images = getattr(data, "images", None)
        if images is None:
            return  # a loader of the user's own: labels are drawn evenly
        classes, labels = len(self.class_share), images.labels
        if labels is None or int(labels.max()) >= classes:
            held = "no classes" if labels is None else f"{int(labels.max()) + 1} classes"
            raise InputError(f"{images.name} has {held}, but the model was built for {classes}: give classes=...")
        self.class_share.copy_(torch.bincount(labels, minlength=classes) / len(labels))

    def on_train_start(self) -> None:
        self.g_count.fill_(self.g_steps)
        bp = self.blueprint
        for optimizer in [] if self._trainer is None else self.trainer.optimizers:
            make_capturable(optimizer, scheduled=bp.lr_schedule is not None, annealed=bp.beta2_schedule is not None)
        self.streams = {name: torch.Generator(self.device) for name in STREAMS}
        if self._saved_random is None:
            for name, generator in self.streams.items():
                generator.manual_seed(seed_for(self.recipe.seed, name))
            torch.manual_seed(seed_for(self.recipe.seed, "layers"))  # dropout draws from the global generator
        else:
            for name, generator in self.streams.items():
                generator.set_state(self._saved_random[name].cpu())
            torch.set_rng_state(self._saved_random["layers"].cpu())
            if "layers_cuda" in self._saved_random and self.device.type == "cuda":
                torch.cuda.set_rng_state(self._saved_random["layers_cuda"].cpu(), self.device)

    @property
    def draws_batches(self) -> bool:
        """Whether a call of `training_step` plays many rounds, on batches that it draws itself.

        It needs to know where training ends, and losses that need no scaling (16-mixed does).
        """
        scaler = None if self._trainer is None else getattr(self.trainer.precision_plugin, "scaler", None)
        return self.step != "eager" and self.limit is not None and scaler is None

    def on_train_end(self) -> None:
        self._rounds = None  # with the memory of its graphs

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        images = batch.images if isinstance(batch, Batches) else batch_of(batch)[0]
        if self._lowest is None:  # of a loader's floats: the first batch tells [0, 1] from [-1, 1]
            self._lowest = lowest(images) if self.blueprint.channels in (1, 3) else -1.0
        shape, bp = tuple(images.shape[1:]), self.blueprint
        if shape != bp.shape:
            got, want = "x".join(map(str, shape)), "x".join(map(str, bp.shape))
            raise InputError(f"images are {got} but the model was built for {want}: give both the same size, channels")
        if self._is_done:
            self.trainer.should_stop = True  # resumed from a checkpoint of the last step: nothing is left to train
            return -1
        return None

    # -- checkpoints: Lightning's hold no random state, and a resumed run would be another run --------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        random = {name: generator.get_state() for name, generator in self.streams.items()}
        random["layers"] = torch.get_rng_state()
        if self.device.type == "cuda":
            random["layers_cuda"] = torch.cuda.get_rng_state(self.device)
        counters = {name: getattr(self, name) for name in COUNTERS}
        checkpoint["gan_ablate"] = {"recipe": self.recipe.to_dict(), "random": random, **counters}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = checkpoint["gan_ablate"]
        for name in COUNTERS:
            setattr(self, name, own[name])
        self._saved_random = own["random"]
        weights = checkpoint["state_dict"]
        for name in [name for name in weights if name.startswith("state.")]:
            # state.<position>.<name>; checkpoints of earlier versions have a slash behind the position
            position, _, tensor = name.removeprefix("state.").replace("/", ".").partition(".")
            value = weights[f"state.{position}.{tensor}"] = weights.pop(name)
            cast(nn.Module, self.state[int(position)]).register_buffer(tensor, value.clone().to(self.device))
