"""What the build does beyond setuptools: it compiles the kernels, for all processors, into libraries of the package.

With VECSTORE_KERNELS=jit it does not, and numba compiles them where they are used; so it does in an editable install.
"""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithKernels(build_py):
    """Copy the modules, then compile the kernels among them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode or os.environ.get("VECSTORE_KERNELS") == "jit":
            return
        package = Path(self.build_lib).absolute()
        command = [sys.executable, "-m", "vecstore.kernels.ahead", "--into", package / "vecstore/kernels/libraries"]
        surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), *filter(None, sys.path)])}
        subprocess.run(command, env=surroundings, cwd=package, check=True)


setup(cmdclass={"build_py": BuildWithKernels})
