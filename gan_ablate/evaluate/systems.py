"""Figures of merit and pictures of systems that do more than sample: encoders, codes, pyramids.

A blueprint names its own (`measures`, `pictures`): functions (module, against) -> figures by name, and (module, images)
-> pictures by name. The modules are `GANModule`s; everything is seeded and in float32.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from gan_ablate.data import ImageSet
from gan_ablate.data.images import to_float, to_uint8
from gan_ablate.evaluate.extractors import Extractor, extract
from gan_ablate.evaluate.frechet import frechet_distance, moments
from gan_ablate.evaluate.real_statistics import RealStatistics

LABELS = {  # of the figures below, for tables
    "reconstruction_error": "squared error of x against G(E(x)), per pixel in [-1, 1]",
    "unrelated_error": "the same of x against another image's",
    "code_neighbours": "classes by the nearest code E(x), share right",
    "posterior_distance": "Frechet distance of codes E(x) and the prior",
    "code_accuracy": "samples of the class that their code is matched to, share",
    "code_accuracy_real": "real images of the class that Q's code is matched to, share",
    "code_information": "bound of the information of category and image, in nats",
    "refined_fid": "FID of real blurs with generated detail",
    "blurred_fid": "FID of the same blurs",
}
IMAGES = 2048  # at most, of the real ones
ROWS, COLUMNS = 10, 10  # of a picture


class Against(NamedTuple):
    """What a module is measured against."""

    images: ImageSet
    extractor: Extractor
    statistics: RealStatistics
    seed: int


class Picture(NamedTuple):
    """Images in rows."""

    images: Tensor  # uint8 (N, C, H, W); points in the plane float (N, 2, 1, 1)
    columns: int


def own_figures(module: Any, against: Against) -> dict[str, float | None]:
    """All figures that a module's blueprint names; `None` for those that are not finite. No module state moves."""
    found: dict[str, float | None] = {}
    for measure in _of(module, "measures"):
        with torch.no_grad():
            found |= measure(module, against)
    return {k: v if v is not None and math.isfinite(v) else None for k, v in found.items()}


def own_labels(module: Any) -> dict[str, str]:
    """Names for tables of the figures of a module's own."""
    names = [getattr(measure, "target", "").partition(":")[2] for measure in _of(module, "measures")]
    return {key: LABELS[key] for name in names for key in FIGURES.get(name, ())}


def own_pictures(module: Any, images: ImageSet) -> dict[str, Picture]:
    """All pictures that a module's blueprint names, by file name."""
    found: dict[str, Picture] = {}
    for picture in _of(module, "pictures"):
        with torch.no_grad():
            found |= picture(module, images)
    return found


FIGURES = {  # what each measure gives
    "reconstruction_error": ("reconstruction_error", "unrelated_error"),
    "code_neighbours": ("code_neighbours",),
    "posterior_distance": ("posterior_distance",),
    "code_accuracy": ("code_accuracy", "code_accuracy_real", "code_information"),
    "refinement": ("refined_fid", "blurred_fid"),
}


def _of(module: Any, field: str) -> tuple[Any, ...]:
    return getattr(getattr(module, "blueprint", None), field, ())


def _some(module: Any, images: ImageSet, count: int = IMAGES) -> tuple[Tensor, Tensor | None]:
    """The first real images (n, C, H, W) in [-1, 1] with their labels (n,), on the module's device."""
    labels = None if images.labels is None else images.labels[:count].to(module.device)
    return to_float(images.images[:count].to(module.device)), labels


# -- encoders --------------------------------------------------------------------------------------------------------


def reconstruction_error(module: Any, against: Against) -> dict[str, float | None]:
    """Mean squared error of G(E(x)) against x; the floor is that against another image, chosen at random."""
    x, labels = _some(module, against.images)
    rebuilt = module.decode(module.encode(x), labels)
    others = torch.randperm(len(x), generator=torch.Generator().manual_seed(against.seed)).to(x.device)
    error, unrelated = ((rebuilt - real).square().mean().item() for real in (x, x[others]))
    return {"reconstruction_error": error, "unrelated_error": unrelated}


def code_neighbours(module: Any, against: Against) -> dict[str, float | None]:
    """Share of images whose nearest other image by code is of their class (Donahue et al. 2017, section 4.1).

    None where the data have no classes. The floor is the greatest class's share.
    """
    x, labels = _some(module, against.images)
    if labels is None:
        return {"code_neighbours": None}
    codes = module.encode(x)
    distance = torch.cdist(codes, codes).fill_diagonal_(math.inf)
    return {"code_neighbours": (labels[distance.argmin(1)] == labels).double().mean().item()}


def posterior_distance(module: Any, against: Against) -> dict[str, float | None]:
    """Frechet distance of the codes of real images and as many draws from the prior, as G sees them.

    The floor is what two such sets of draws from the prior are apart.
    """
    x, _ = _some(module, against.images)
    noise = torch.Generator(module.device).manual_seed(against.seed)
    z, _ = module._prior(len(x), noise, training=True)
    return {"posterior_distance": frechet_distance(module.encode(x), moments(z))}


def reconstructions(module: Any, images: ImageSet) -> dict[str, Picture]:
    """Real images in the odd rows, G(E(x)) below each."""
    x, labels = _some(module, images, COLUMNS * ROWS // 2)
    rebuilt = module.decode(module.encode(x), labels)
    pairs = [row for both in zip(x.split(COLUMNS), rebuilt.split(COLUMNS), strict=True) for row in both]
    return {"reconstructions": Picture(module._shown(torch.cat(pairs)).cpu(), COLUMNS)}


# -- codes -----------------------------------------------------------------------------------------------------------


def code_accuracy(module: Any, against: Against) -> dict[str, float | None]:
    """How well categories of the code are classes, and what Q knows of them.

    Categories are matched to classes one to one, so that the most images are right (Chen et al. 2016, section 7.2, who
    so classify real images by Q): a G of one class is right of one category alone. The floor is 1 / classes or little
    more. Of samples the class is the extractor's, where it has classes. `code_information` is ln K less Q's error.
    """
    rules, bp = module.game.rules, module.blueprint
    noise = torch.Generator(module.device).manual_seed(against.seed)
    z = torch.randn(IMAGES, module.latent_dim, generator=noise, device=module.device)
    labels = _in_turn(module, IMAGES)
    fakes, seen = module(z, labels), rules.latents(z)
    error, _ = rules.errors(_codes(module, fakes, labels), seen)
    found: dict[str, float | None] = dict.fromkeys(FIGURES["code_accuracy"])
    found["code_information"] = math.log(rules.categories) - error.mean().item()
    logits = extract(against.extractor, module._shown(fakes)).logits
    if logits is not None and against.extractor.classes:
        found["code_accuracy"] = matched(seen[:, : rules.categories].argmax(1), logits.argmax(1))
    x, classes = _some(module, against.images)
    if classes is not None:
        told = _codes(module, x, classes if bp.conditional else None)[:, : rules.categories].argmax(1)
        found["code_accuracy_real"] = matched(told, classes)
    return found


def matched(codes: Tensor, classes: Tensor) -> float:
    """Share of samples whose class is that of their code, each code matched to a class of its own, at best. (N,) each.

    >>> matched(torch.tensor([2, 2, 0, 0, 1]), torch.tensor([0, 0, 1, 2, 1]))
    0.8
    """
    codes, classes = codes.cpu(), classes.cpu()
    wide = int(classes.max()) + 1
    table = torch.bincount(codes * wide + classes, minlength=(int(codes.max()) + 1) * wide).view(-1, wide)
    rows, columns = linear_sum_assignment(-table.numpy())
    return float(table[rows, columns].sum() / len(codes))


def varied_codes(module: Any, images: ImageSet) -> dict[str, Picture]:
    """A category per row; then each continuous code from -2 to 2 along a row, with one category per row.

    Chen et al. 2016, figure 2. Continuous codes are varied to twice their range, as there.
    """
    rules = module.game.rules
    noise = torch.Generator(module.device).manual_seed(0)
    z = torch.randn(COLUMNS, module.latent_dim, generator=noise, device=module.device)
    codes = torch.eye(rules.categories, device=module.device)
    seen = rules.latents(z)  # (COLUMNS, latent_dim): a noise per column

    def row(code: Tensor, of: Tensor) -> Tensor:
        return torch.cat((code.expand(COLUMNS, -1), of[:, rules.categories :]), dim=1)

    rows = [row(code, seen) for code in codes]
    found = {"codes": Picture(_drawn(module, torch.cat(rows)), COLUMNS)}
    for k in range(rules.continuous):
        along = seen[:1].repeat(COLUMNS, 1)
        along[:, rules.categories + k] = torch.linspace(-2, 2, COLUMNS, device=module.device)
        found[f"code_{k + 1}"] = Picture(_drawn(module, torch.cat([row(code, along) for code in codes])), COLUMNS)
    return found


def _drawn(module: Any, seen: Tensor) -> Tensor:
    """Images of z as G sees it, as the dataset holds its own."""
    return module._shown(module.decode(seen, _in_turn(module, len(seen)))).cpu()


def _in_turn(module: Any, count: int) -> Tensor | None:
    """The classes in turn (count,) for a conditional model."""
    if not module.blueprint.conditional:
        return None
    return torch.arange(count, device=module.device) % len(module.class_share)


def _codes(module: Any, images: Tensor, labels: Tensor | None) -> Tensor:
    """Q's answers (N, Q) to images in [-1, 1], with D in evaluation mode."""
    network: nn.Module = module.discriminator
    was = network.training
    network.eval()
    try:
        return network(images, labels).heads["q_head"]
    finally:
        network.train(was)


# -- pyramids --------------------------------------------------------------------------------------------------------


def refinement(module: Any, against: Against) -> dict[str, float | None]:
    """FID of real images that were halved, doubled and given detail by the finest G; the floor is without the detail.

    None where that detail is of no finite features.
    """
    x, _ = _some(module, against.images)
    noise = torch.Generator(module.device).manual_seed(against.seed)
    z, _ = module._prior(len(x), noise)
    with module.sampling() as generator:
        refined, blurred = generator.refined_levels(z, x)[0], generator.blurred(x)[0]
    found: dict[str, float | None] = {}
    for name, images in (("refined_fid", refined), ("blurred_fid", blurred)):
        features = extract(against.extractor, to_uint8(images)).features
        finite = bool(torch.isfinite(features).all())
        found[name] = frechet_distance(features, against.statistics) if finite else None
    return found


def levels(module: Any, images: ImageSet) -> dict[str, Picture]:
    """Samples from coarse to fine, a column each: the coarsest, enlarged, then each level's blur and image."""
    noise = torch.Generator(module.device).manual_seed(0)
    z, _ = module._prior(COLUMNS, noise)
    with module.sampling() as generator:
        steps = generator.steps(z)
    size = module.blueprint.size
    rows = [x.repeat_interleave(size // x.shape[-1], 2).repeat_interleave(size // x.shape[-1], 3) for x in steps]
    return {"levels": Picture(to_uint8(torch.cat(rows).cpu()), COLUMNS)}
