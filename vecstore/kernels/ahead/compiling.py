"""From kernels to machine code: numba makes LLVM code of them, for no processor yet; LLVM optimizes it for one.

numba optimizes each function for the processor that it runs on, and keeps it in memory to be called. Neither is wanted
here: `Library` and `Codegen` leave that out. All entries of a level become one module, which goes through numba's own
passes for the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from llvmlite import binding
from numba.core import codegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

from vecstore.kernels.ahead.trampolines import emit_entry
from vecstore.kernels.ahead.types import types_of
from vecstore.kernels.entry import Entry

__all__ = ["TARGETS", "Target", "compile_entries"]


class Target(NamedTuple):
    """A kind of processor, and the level of kernels that is compiled for it."""

    triple: str
    processor: str
    features: str
    level: str


X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
TARGETS = {
    "linux-x86_64-plain": Target(X86, "x86-64-v2", "", "plain"),
    "linux-x86_64-avx2": Target(X86, "haswell", "", "avx2"),
    "linux-x86_64-avx512": Target(X86, "skylake-avx512", "+avx512vbmi,+avx512vnni,+gfni", "avx512"),
    "linux-aarch64-neon": Target(ARM, "cortex-a72", "", "neon"),
}

# What numba's code calls of its runtime: memory for arrays made in a kernel, and another shape of one whose numbers lie
# one after the other. And what code for old processors calls: float16 to float32.
RUNTIME = """
declare ptr @malloc(i64)
declare void @free(ptr)
declare double @llvm.sqrt.f64(double)

define ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {
  %wide = zext i32 %align to i64
  %head = add i64 %wide, 40
  %room = add i64 %size, %head
  %made = call ptr @malloc(i64 %room)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %done, label %fill
fill:
  %address = ptrtoint ptr %made to i64
  %end = add i64 %address, %head
  %below = sub i64 0, %wide
  %start = and i64 %end, %below
  %data = inttoptr i64 %start to ptr
  store i64 1, ptr %made
  %field = getelementptr i8, ptr %made, i64 24
  store ptr %data, ptr %field
  br label %done
done:
  ret ptr %made
}

define void @NRT_MemInfo_call_dtor(ptr %made) {
  call void @free(ptr %made)
  ret void
}

define ptr @NRT_Allocate(i64 %size) {
  %made = call ptr @malloc(i64 %size)
  ret ptr %made
}

define void @NRT_Free(ptr %made) {
  call void @free(ptr %made)
  ret void
}

define i32 @numba_attempt_nocopy_reshape(i64, ptr, ptr, i64 %count, ptr %shape, ptr %strides, i64 %item, i32) {
start:
  br label %next
next:
  %left = phi i64 [ %count, %start ], [ %i, %step ]
  %stride = phi i64 [ %item, %start ], [ %wider, %step ]
  %last = icmp eq i64 %left, 0
  br i1 %last, label %done, label %step
step:
  %i = sub i64 %left, 1
  %place = getelementptr i64, ptr %strides, i64 %i
  store i64 %stride, ptr %place
  %size = getelementptr i64, ptr %shape, i64 %i
  %wide = load i64, ptr %size
  %wider = mul i64 %stride, %wide
  br label %next
done:
  ret i32 1
}

define float @__extendhfsf2(half %x) {
  %bits = bitcast half %x to i16
  %wide = zext i16 %bits to i32
  %size = and i32 %wide, 32767
  %shifted = shl i32 %size, 13
  %small = bitcast i32 %shifted to float
  %scaled = fmul float %small, 0x46F0000000000000
  %number = bitcast float %scaled to i32
  %endless = icmp uge i32 %size, 31744
  %infinite = or i32 %shifted, 2139095040
  %found = select i1 %endless, i32 %infinite, i32 %number
  %sign = and i32 %wide, 32768
  %high = shl i32 %sign, 16
  %all = or i32 %found, %high
  %float = bitcast i32 %all to float
  ret float %float
}

define double @sqrt(double %x) {
  %root = call double @llvm.sqrt.f64(double %x)
  ret double %root
}
"""
CALLED_LATE = "__extendhfsf2"  # only when instructions are chosen
# Where the text of an exception lies, which nobody reads: an error becomes one of Python without it.
TEXT_OF_ERROR = re.compile(r"store ptr @\.const\.picklebuf\.[\w.]+,")


class Library(codegen.JITCodeLibrary):
    """Code of a function and of those that it calls, as numba has made it."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 1  # nobody calls it


class Codegen(codegen.JITCPUCodegen):
    """Code that is never run here."""

    _library_class = Library

    def set_env(self, env_name: str, env: Any) -> None:
        pass

    def aim(self, machine: Any) -> None:
        """Let what `optimize` does be for a machine."""
        self._tm = machine

    def optimize(self, module: Any) -> None:
        """Do with a module what numba does, twice: first with functions, then with those that call them."""
        for _ in range(2):
            for options in ({"loop_vectorize": False, "slp_vectorize": False, "opt": 0, "cost": "cheap"}, {}):
                passes, builder = self._module_pass_manager(**options)
                passes.run(module, builder)


def compile_entries(entries: Iterable[Entry], target: Target) -> bytes:
    """Return an object file with all entries, for a target."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    context = cpu_target.target_context
    context._internal_codegen = code = Codegen("vecstore")
    # Kernels ask for a cache. They get neither that nor functions that Python would call.
    Dispatcher.enable_caching = _bare  # type: ignore[assignment, method-assign]
    library = code.create_library("kernels")
    names = []
    for entry in entries:
        kernel = entry.kernel()
        compiled = []
        for signature in entry.signatures:
            arguments = types_of(signature, target.level)
            kernel.compile(arguments)
            compiled.append(kernel.overloads[arguments])
        emit_entry(context, library, entry.name, compiled)
        names.append(entry.name)
    with global_compiler_lock:
        library.finalize()
    module = binding.parse_assembly(TEXT_OF_ERROR.sub("store ptr null,", str(library._final_module)))
    module.link_in(binding.parse_assembly(RUNTIME))
    for thing in [*module.functions, *module.global_variables]:
        if not thing.is_declaration:
            thing.linkage = "external" if thing.name in (*names, CALLED_LATE) else "internal"
    chosen = binding.Target.from_triple(target.triple)
    of = {"cpu": target.processor, "features": target.features}
    machine = chosen.create_target_machine(**of, opt=3, reloc="pic", codemodel="small")
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    code.aim(machine)
    code.optimize(module)
    made: bytes = machine.emit_object(module)
    return made


def _bare(dispatcher: Dispatcher) -> None:
    dispatcher.targetoptions.update(no_cpython_wrapper=True, no_cfunc_wrapper=True)
