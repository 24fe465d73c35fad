"""Kernels compiled ahead of time: numba's LLVM code, made into shared libraries for several processors."""
