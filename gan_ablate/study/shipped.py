"""Studies that come with the suite, by name: `gan-ablate sweep ablation` needs no file and no checkout.

They lie in `sweeps/` of the repository. A wheel has them inside the package (`setup.py` puts them there).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import gan_ablate
from gan_ablate.errors import unknown

FOLDER = "sweeps"


@lru_cache
def shipped() -> dict[str, Path]:
    """Name -> file of every shipped study, by name. Empty where neither a wheel nor a checkout has any."""
    package = Path(gan_ablate.__file__).parent
    places = (package / FOLDER, package.parent / FOLDER)  # of a wheel; of a checkout, installed editable or not
    home = next((place for place in places if place.is_dir()), None)
    return {path.stem: path for path in sorted(home.glob("*.yaml"))} if home else {}


def study_file(word: str | Path) -> Path:
    """The file that the word for a study means: a path that exists, else a shipped study, as `smoke` or
    `sweeps/smoke.yaml`, which so means the same in every folder.

    Raises `InputError` with close names where a word, or a path into `sweeps/`, is neither. Any other path is given
    back as it is, for its reader to say what is wrong with it.
    """
    path = Path(word)
    known = shipped()
    is_name = path.name == str(word) and not path.suffix
    is_ours = path.parent == Path(FOLDER) and path.suffix == ".yaml"
    if not (is_name or is_ours) or _is_file(path):
        return path
    if path.stem in known:
        return known[path.stem]
    raise unknown("study", path.stem, known, where="no such file" if is_name else str(word))


def _is_file(path: Path) -> bool:
    """Whether there is something to read: a folder that happens to be called like a study is not."""
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # too long a name, or a NUL
        return False
