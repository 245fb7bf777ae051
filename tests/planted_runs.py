"""A simulated store with planted truths: known effects, failures, missing cells and a collapsed arm."""

import json

import numpy as np
import yaml
from PIL import Image

from gan_ablate.recipe import SCHEMA, Recipe, run_id_of

HOSTILE = "<script>alert(1)</script>|`x`"
EFFECTS = {"base": 0.0, "helped": -0.8, "harmed": 0.8, "null": 0.0, "died": 0.0, HOSTILE: 0.0}
VERDICTS = {
    "base": "", "helped": "helps", "harmed": "hurts", "null": "same", "died": "fails more", HOSTILE: "same",
}  # fmt: skip


def planted(model, arm, seed):
    """The recipe of a planted run, as results hold it; arms are told apart by a trick of their name."""
    tricks = [] if arm == "base" else [{"name": arm, "params": {}}]
    return Recipe(model="dcgan", seed=seed, arm=arm).to_dict() | {"model": model, "tricks": tricks}


def run(model, arm, seed):
    """The id of a planted run."""
    return run_id_of(planted(model, arm, seed))


def result(model, arm, seed, fid, outcome="ok", extractor="shapes classifier", signs=None):
    recipe = planted(model, arm, seed)
    more = {"kid": 1.0, "is_mean": 5.0, "precision": 0.6, "recall": 0.4, "density": 0.5, "coverage": 0.3}
    curve = [{"step": s, "fid": fid * f if fid else None, **more} for s, f in ((0, 9), (50, 2), (100, 1))]
    return {
        "schema": SCHEMA, "run_id": run_id_of(recipe), "recipe": recipe, "outcome": outcome, "diverged_at": None, "note": HOSTILE if not fid else "",
        "metrics": {"fid": fid, "is_std": None, "modes": 60 if fid else None, "mode_kl": 0.1, "high_quality": None, **more},
        "best": {"fid": fid, "step": 100} if fid else None, "curve": curve,
        "labels": {"fid": f"FID@2048 ({extractor})", "kid": "KID", "is_mean": "IS"},
        "evaluation": {
            "extractor": extractor, "extractor_digest": "ab" * 32, "samples": 2048, "dataset": "shapes", "split": "train",
            "real_fingerprint": "cd" * 8, "real_images": 20000,
        },
        "signs": signs or {"d_loss_near_zero": None, "gradient_over_100": None, "d_loss_spikes": 90, "g_loss_falls": None},
        "stability": {
            "final_over_best": 1.0, "volatility": 0.2, "largest_d_gradient": 17.0, "largest_g_gradient": 8.0,
            "early_g_gradient": 8.0,
        },
        "g_steps": 100, "d_steps": 100, "images_seen": 6400, "seconds": 10.0, "train_seconds": 9.0, "evaluation_seconds": 1.0,
        "peak_memory_bytes": 700_000_000, "resumed": 0, "sample_grid": "samples/final.png",
        "versions": {"gan_ablate": "0", "torch": "2"}, "hardware": {"cpu": "c", "gpu": None, "threads": 1},
    }  # fmt: skip


def plant(root, models=("dcgan", "wgan_gp"), effects=EFFECTS, seeds=5, pictures=True, scale=30.0, draw=1):
    """A root of study `planted`: arm `died` diverges always (seed 0 crashed), `null` lacks its last seed from 4 seeds on."""
    rng, cells = np.random.default_rng(draw), []
    for model in models:
        for seed in range(seeds):
            shared = rng.normal(0, 0.1)
            for arm, effect in effects.items():
                run_id = run(model, arm, seed)
                cells.append({"run_id": run_id, "model": model, "dataset": "shapes", "arm": arm, "seed": seed})
                if arm == "null" and seed == seeds - 1 and seeds > 3:
                    continue  # a missing cell
                dead = arm == "died"
                fid = None if dead else float(scale * np.exp(effect + shared + rng.normal(0, 0.03)))
                folder = root / "runs" / run_id
                (folder / "samples").mkdir(parents=True)
                if dead and seed == 0:
                    failed = {
                        "schema": SCHEMA,
                        "run_id": run_id,
                        "recipe": planted(model, arm, seed),
                        "error": HOSTILE,
                        "traceback": "",
                        "attempts": 2,
                    }
                    (folder / "failed.json").write_text(json.dumps(failed))
                    continue
                signs = {"gradient_over_100": 10, "d_loss_spikes": None} if dead else None
                data = result(model, arm, seed, fid, "diverged" if dead else "ok", signs=signs)
                (folder / "result.json").write_text(json.dumps(data))
                if pictures:
                    Image.effect_noise((40, 40), 50).save(folder / "samples" / "final.png")
    study = {
        "schema": SCHEMA, "name": "planted", "version": "0", "source": {}, "cells": cells,
        "not_applicable": [{"model": "wgan_gp", "dataset": "shapes", "arm": "label_smoothing", "reason": HOSTILE}],
    }  # fmt: skip
    (root / "study.yaml").write_text(yaml.dump(study, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    return root


def plant_factorial(root, seeds=2, main=(-0.5, 0.3), together=0.6, sd=0.03):
    """A 2 x 2 x 2 root of factors a, b, c: effects of log FID as given, c without any."""
    rng, cells, factors = np.random.default_rng(3), [], {}
    for seed in range(seeds):
        for code in range(8):
            on = [bool(code >> k & 1) for k in range(3)]
            arm = "+".join(n for n, there in zip("abc", on) if there) or "base"
            factors[arm] = dict(zip("abc", on))
            x = [1 if there else -1 for there in on]
            log = (main[0] * x[0] + main[1] * x[1] + together * x[0] * x[1]) / 2 + rng.normal(0, sd)
            run_id = run("dcgan", arm, seed)
            cells.append({"run_id": run_id, "model": "dcgan", "dataset": "shapes", "arm": arm, "seed": seed})
            folder = root / "runs" / run_id
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(result("dcgan", arm, seed, float(30 * np.exp(log)))))
    design = {"name": "factorial", "factors": {n: [False, True] for n in "abc"}, "aliases": [], "models": {}}
    study = {
        "schema": SCHEMA, "name": "crossed", "version": "0", "cells": cells, "not_applicable": [], "design": design, "factors": factors,
    }  # fmt: skip
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    return root


def plant_points(root, models=("dcgan", "nsgan"), count=40, slope=1.6):
    """A root of random points: log FID falls with the logarithm of lr on dcgan alone, norm `none` fails on both."""
    rng, cells, factors = np.random.default_rng(5), [], {}
    for k in range(count):
        arm = f"point-{k + 1}"
        lr, beta1, norm = float(10 ** rng.uniform(-4, -2)), float(rng.uniform(0, 0.9)), ("batch", "none")[k % 2]
        factors[arm] = {"lr": lr, "beta1": beta1, "norm": norm}
        for model in models:
            run_id = run(model, arm, 0)
            cells.append({"run_id": run_id, "model": model, "dataset": "shapes", "arm": arm, "seed": 0})
            failed = norm == "none" and k % 3 == 0
            log = rng.normal(0, 0.1) - slope * np.log10(lr) * (model == "dcgan") + 1.6 * (norm == "none")
            fid = None if failed else float(10 * np.exp(log))
            folder = root / "runs" / run_id
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(result(model, arm, 0, fid, "diverged" if failed else "ok")))
    design = {"name": "random", "points": count, "seed": 0, "factors": {"lr": [1e-4, 1e-2]}, "models": {}}
    study = {
        "schema": SCHEMA, "name": "points", "version": "0", "cells": cells, "not_applicable": [], "design": design, "factors": factors,
    }  # fmt: skip
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    return root
