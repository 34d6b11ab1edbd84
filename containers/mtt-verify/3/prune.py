"""In the builder: take out of an installation what neither training nor inference ever uses.

Called as ``prune.py PREFIX``. What is left must pass every command of mtt.
"""

import re
import shutil
import sys
from pathlib import Path

TORCH_MINOR = "2.13"
# Below site-packages: what builds other programs, tests, and examples.
FOLDERS = [
    "torch/include",
    "torch/share",
    "torch/test",
    "torch/lib/libshm_windows",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/random/lib",
    "setuptools",
    "pkg_resources",
    "_distutils_hack",
    "metatensor/include",
    "metatensor/lib/cmake",
    "vesin/include",
    "vesin/lib/cmake",
    "matplotlib/mpl-data/sample_data",
    # Of torch for GPUs: a compiler of kernels, which mtt never uses, and headers.
    "triton",
    "nvidia/cu13/include",
    "ase/gui",
    "ase/test",
]
# Programs of torch's own tests; torch_shm_manager beside them is used.
FILES = [
    "torch/bin/test_*",
    "torch/bin/protoc*",
    "torch/lib/*_test.so",
    "torch/lib/libaoti_custom_ops.so",
    "torch/lib/libbackend_with_compiler.so",
    "distutils-precedence.pth",
]
TESTS = re.compile(r"/tests?$")
SUFFIXES = {".a", ".h", ".hpp", ".cpp", ".c", ".pyx", ".pxd", ".pyi", ".cmake", ".md", ".rst"}


def main() -> None:
    """Remove what the lists above name."""
    prefix = Path(sys.argv[1])
    site = prefix / "lib" / "python3.11" / "site-packages"
    for name in FOLDERS:
        shutil.rmtree(site / name, ignore_errors=True)
    for pattern in FILES:
        for path in site.glob(pattern):
            path.unlink()
    for package in ("metatensor_torch", "metatomic/torch"):
        for build in (site / package).glob("torch-*"):
            if build.name != f"torch-{TORCH_MINOR}":
                shutil.rmtree(build)
    for path in sorted(site.rglob("*"), reverse=True):
        # torch.test and torch.testing are modules that torch itself imports.
        if path.is_dir() and TESTS.search(str(path)) and site / "torch" not in path.parents:
            shutil.rmtree(path)
        elif path.is_file() and path.suffix in SUFFIXES:
            path.unlink()
    for path in (prefix / "bin").iterdir():
        if path.name not in ("python", "python3", "python3.11"):
            path.unlink()
    shutil.rmtree(prefix / "share", ignore_errors=True)


if __name__ == "__main__":
    main()
