"""The tricks as a table, and what each changes: the text of `gan-ablate tricks`."""

from __future__ import annotations

from gan_ablate.presets import preset
from gan_ablate.recipe import MODELS, Recipe, TrickSpec
from gan_ablate.trick import REGISTRY, Trick, build, effects, parameters_of


def _models(trick: Trick) -> dict[str, tuple[str, ...]]:
    """What a trick changes, per model; empty where it is not applicable."""
    return {model: effects(trick, preset(Recipe(model=model))) for model in MODELS}


def _summary(name: str) -> str:
    return (REGISTRY[name].__doc__ or "").strip().splitlines()[0]


def table() -> str:
    """One entry per trick: name, parameters, models (D N W), what it does, and its paper."""
    lines = []
    for name in sorted(REGISTRY):
        cls = REGISTRY[name]
        parameters = ", ".join(f"{k}={v}" for k, v in parameters_of(cls))
        letters = " ".join(model[0].upper() for model, changes in _models(build(TrickSpec(name))).items() if changes)
        lines += [
            f"{name}({parameters})",
            f"    {_summary(name)}",
            f"    models {letters}; {cls.paper}; {cls.catalogue}",
        ]
    legend = "models: D = dcgan, N = nsgan, W = wgan_gp; `gan-ablate tricks NAME` shows what one changes"
    return "\n".join([*lines, "", legend])


def one(name: str) -> str:
    """One trick: its parameters and what it changes on each model. Raises `InputError` for an unknown name."""
    trick = build(TrickSpec(name))
    cls = type(trick)
    lines = [name, f"  {(cls.__doc__ or '').strip().splitlines()[0]}", f"  paper: {cls.paper}", "  parameters:"]
    lines += [f"    {k} = {v}" for k, v in parameters_of(cls)] or ["    none"]
    for model, changes in _models(trick).items():
        lines += [f"  {model}:", *(f"    {c}" for c in changes or ("not applicable: it would change nothing",))]
    return "\n".join(lines)
