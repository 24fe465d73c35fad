"""What the build does beyond setuptools: it compiles the kernels into a library of the package.

That is for the processor at hand and takes a minute; with VECSTORE_TARGETS=all, for a wheel that others are to use, for
all processors. With VECSTORE_KERNELS=jit, and in an editable install, it compiles nothing: that is done at first use.
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
        command += os.environ.get("VECSTORE_TARGETS", "").split()
        surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), *filter(None, sys.path)])}
        subprocess.run(command, env=surroundings, cwd=package, check=True)


setup(cmdclass={"build_py": BuildWithKernels})
