"""Imports point one way, and what trains nothing stays free of torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gan_ablate"
FREE_OF_TORCH = [
    "gan_ablate.cli",
    "gan_ablate.tricks.listing",
    "gan_ablate.sweep.pool",
    "gan_ablate.sweep.display",
    "gan_ablate.sweep.slurm",
    "gan_ablate.sweep.slurm_job",
    "gan_ablate.sweep.wandb_sweep",
    "gan_ablate.study.study",
    "gan_ablate.store.store",
    "gan_ablate.results.study_file",
    "gan_ablate.uplink.sync",
    "gan_ablate.report",
    "gan_ablate.report.__main__",
    "gan_ablate.stats",
    "gan_ablate.claims",
]
# Each room with the rooms that it may import at module level; a room may always import itself.
CORE = {"errors", "outcomes", "recipe"}
BUILD = CORE | {"blueprint", "trick", "presets"}
MODELS = BUILD | {"tricks", "nets", "losses", "penalties", "optim", "interpolation", "step", "models", "data"}
MAY_IMPORT = {
    "errors": set(),
    "outcomes": set(),
    "recipe": {"errors"},
    "blueprint": CORE,
    "presets": CORE | {"blueprint"},
    "trust": {"errors"},
    "trick": CORE | {"blueprint", "nets", "trust"},
    "tricks": BUILD,
    "nets": {"blueprint", "trick"},
    "losses": {"trick"},
    "penalties": {"trick"},
    "optim": set(),
    "interpolation": set(),
    "step": {"blueprint", "nets", "trick"},
    "sources": {"errors"},
    "data": CORE | {"locks", "sources"},
    "models": MODELS,
    "evaluate": CORE | {"data", "locks", "trust"},
    "stats": set(),
    "untrusted": set(),
    "locks": {"errors"},
    "result_file": CORE | {"untrusted"},
    "claims": CORE | {"stats", "untrusted"},
    "report": CORE | {"stats", "untrusted", "result_file"},
    "sweep": CORE | {"__init__", "result_file", "sources", "trust", "untrusted"},
    "checkpoints": {"sweep"},
    "run": MODELS | {"evaluate", "checkpoints", "run_callbacks", "run_log", "run_loggers", "sources", "__init__"},
    "run_callbacks": {"checkpoints", "evaluate", "models", "run_log"},
    "run_log": {"evaluate"},
    "run_loggers": CORE,
    "uplink": CORE | {"sweep", "untrusted"},
    "sampling": MODELS | {"evaluate"},
    "optimum": MODELS,
    "measure": MODELS | {"evaluate", "sampling", "optimum", "trust"},
    "commands": CORE | {"trust", "untrusted"},
    "cli": CORE | {"__init__", "commands", "trust", "untrusted"},
}


def _imports(path):
    """Rooms that a file imports at module level (imports inside functions and for type checkers are left out)."""
    for node in ast.parse(path.read_text()).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" if node.module == "gan_ablate" else node.module for a in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gan_ablate":
                room = parts[1] if len(parts) > 1 else "__init__"
                yield room if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file() else "__init__"


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_point_one_way(room):
    files = sorted((PACKAGE / room).rglob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]
    assert files
    for path in files:
        wrong = set(_imports(path)) - MAY_IMPORT[room] - {room}
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


def test_every_room_has_a_place_in_the_order():
    rooms = {p.stem for p in PACKAGE.glob("*.py")} | {p.name for p in PACKAGE.iterdir() if any(p.glob("*.py"))}
    assert rooms - {"__init__", "__main__", "__pycache__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", FREE_OF_TORCH)
def test_commands_that_train_nothing_do_not_import_torch(module):
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'lightning', 'wandb'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_room_below_the_tricks_names_one():
    from gan_ablate.tricks import trick_names

    rooms = """nets models step.py losses.py penalties.py optim.py interpolation.py blueprint.py trick.py data evaluate
        sweep""".split()
    for room in rooms:
        path = PACKAGE / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            strings = {n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)}
            assert not strings & (set(trick_names()) - {"n_critic"}), file
