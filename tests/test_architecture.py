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
    "gan_ablate.sweep.replicate",
    "gan_ablate.sweep.slurm",
    "gan_ablate.sweep.slurm_job",
    "gan_ablate.sweep.wandb_sweep",
    "gan_ablate.study.study",
    "gan_ablate.store.store",
    "gan_ablate.store.pack",
    "gan_ablate.results.study_file",
    "gan_ablate.uplink.sync",
    "gan_ablate.report",
    "gan_ablate.report.__main__",
    "gan_ablate.dashboard.server",
    "gan_ablate.stats",
    "gan_ablate.claims",
]
# Each room with the rooms that it may import, inside functions and for type checkers too; a room may always import itself.
# `__main__` is an entry point: nobody imports it, and it may call the command line.
PLAIN = {"errors", "outcomes", "recipe", "__init__"}
BUILD = PLAIN | {"blueprint", "trick", "presets", "systems"}
MODELS = BUILD | {
    "rules",
    "tricks",
    "nets",
    "losses",
    "penalties",
    "optim",
    "adam",
    "rejection",
    "interpolation",
    "step",
    "data",
}
FILES = {"untrusted", "publishing", "trust", "sources", "layout"}
EXPAND = BUILD | {"tricks", "study", "trust", "layout"}
READ = EXPAND | FILES | {"results"}
JUDGE = READ | {"stats", "formatting"}
MAY_IMPORT = {
    # plain data, no torch
    "errors": set(),
    "outcomes": set(),
    "recipe": {"errors"},
    "blueprint": PLAIN,
    "systems": {"blueprint", "errors"},
    "presets": PLAIN | {"blueprint", "trust", "systems"},
    "trust": {"errors"},
    "untrusted": {"errors"},
    "publishing": {"errors"},
    "sources": {"errors", "publishing"},
    "layout": PLAIN | {"sources"},
    "stats": set(),
    "formatting": {"stats"},
    # a game and its training
    "trick": PLAIN | {"blueprint", "nets", "trust"},
    "tricks": BUILD | {"nets"},
    "weights_file": {"errors"},
    "nets": {"blueprint", "errors", "trust", "weights_file"},
    "losses": {"trick"},
    "penalties": {"trick", "optim"},
    "optim": set(),
    "adam": set(),
    "rejection": set(),
    "interpolation": set(),
    "rules": {"nets", "trick"},
    "step": {"blueprint", "nets", "trick", "rules", "penalties"},
    "cache": {"errors", "publishing", "untrusted"},
    "data": PLAIN | {"cache", "publishing", "layout", "untrusted"},
    "models": MODELS,
    "evaluate": PLAIN | {"cache", "data", "layout", "publishing", "trust", "untrusted", "weights_file"},
    # from a study to verdicts: data flows down this list, imports go up
    "study": EXPAND,
    "results": READ,
    "store": READ | {"formatting"},
    "run": MODELS | FILES | {"cache", "models", "evaluate", "results", "store", "uplink"},
    "uplink": READ | {"store"},
    "sweep": JUDGE | {"store", "findings"},
    "findings": JUDGE,
    "claims": JUDGE | {"findings"},
    "report": JUDGE | {"findings", "claims", "store"},
    "dashboard": JUDGE | {"findings", "report", "store"},
    "commands": JUDGE | {"findings", "claims", "report", "dashboard", "store", "sweep", "uplink", "run"},
    "cli": {"__init__", "errors", "trust", "untrusted", "commands"},
    "__init__": {"models", "data", "evaluate"},
}


def _modules():
    names = {p: ".".join(("gan_ablate", *p.relative_to(PACKAGE).with_suffix("").parts)) for p in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


MODULES = _modules()


def _imports(module):
    """Modules of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {whole if whole in MODULES else node.module for whole in names.values()}
    return (found & set(MODULES)) - {module}


IMPORTS = {module: _imports(module) for module in MODULES}


def _room(module):
    return (module.split(".") + ["__init__"])[1]


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_point_one_way(room):
    own = [m for m in MODULES if _room(m) == room and not m.endswith("__main__")]
    assert own
    for module in own:
        wrong = {_room(m) for m in IMPORTS[module]} - MAY_IMPORT[room] - {room}
        assert not wrong, f"{module} imports {wrong}"


def test_every_room_has_a_place_in_the_order():
    assert {_room(m) for m in MODULES} - {"__main__"} == set(MAY_IMPORT)


def _circles(graph):
    """Groups of nodes that reach each other: those left once nodes without a way out, or in, are taken away."""
    left = {node: set(ways) - {node} for node, ways in graph.items()}
    while True:
        reached = set().union(*left.values()) if left else set()
        gone = {node for node, ways in left.items() if not ways & set(left) or node not in reached}
        if not gone:
            return left
        left = {node: ways - gone for node, ways in left.items() if node not in gone}


def test_no_file_and_no_room_imports_in_a_circle():
    assert not _circles({module: ways for module, ways in IMPORTS.items() if not module.endswith("__main__")})
    rooms = {room: set() for room in MAY_IMPORT}
    for module, ways in IMPORTS.items():
        if _room(module) not in ("__init__", "__main__") and not module.endswith("__main__"):
            rooms[_room(module)] |= {_room(m) for m in ways} - {"__init__"}
    assert not _circles(rooms)


def test_a_circle_would_be_found():
    assert set(_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()})) == {"b", "c"}


@pytest.mark.parametrize("module", FREE_OF_TORCH)
def test_commands_that_train_nothing_do_not_import_torch(module):
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'lightning', 'wandb'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_room_below_the_tricks_names_one():
    from gan_ablate.tricks import trick_names

    rooms = """nets models step.py losses.py penalties.py optim.py adam.py rejection.py interpolation.py blueprint.py trick.py data evaluate
        study store sweep uplink""".split()
    for room in rooms:
        path = PACKAGE / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            strings = {n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)}
            assert not strings & (set(trick_names()) - {"n_critic"}), file
