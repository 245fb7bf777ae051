"""What pyproject.toml cannot say: a wheel has the studies of `sweeps/` inside the package, as `gan_ablate/sweeps`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

STUDIES = "sweeps/*.yaml"


class WithStudies(build_py):
    """Copies the studies too. An editable install reads them where they lie."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for study in sorted(Path().glob(STUDIES)):
                target = Path(self.build_lib, "gan_ablate", study)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(study), str(target))


setup(cmdclass={"build_py": WithStudies})
