"""Put the space files into the wheel as data of the package `study`. All other settings are in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SPACES = "search_spaces"


class BuildWithSpaces(build_py):
    """Copy search_spaces/*.yaml to study/search_spaces/; an editable install reads the checkout's own folder."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for file in sorted(Path(SPACES).glob("*.yaml")):
            target = Path(self.build_lib, "study", SPACES, file.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithSpaces})
