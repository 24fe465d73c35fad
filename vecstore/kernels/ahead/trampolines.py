"""What stands between Python and a kernel in a library: a function that Python calls, with arguments as objects.

It is what a method of an extension module is, `PyObject *f(PyObject *ndarray, PyObject **arguments, Py_ssize_t count)`.
It looks at the types of its arguments as numba's dispatcher would, lets go of the interpreter's lock while the kernel
runs, and returns NotImplemented where the arguments are not what the kernel was compiled for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import populate_array

__all__ = ["emit_entry"]

I1, I8, I32, I64, F64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.DoubleType()
POINTER = I8.as_pointer()
TUPLE: Any = types.BaseTuple
INTEGER: Any = types.Integer
# The interface of Python that is stable: result, arguments.
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "PyErr_Clear": (ir.VoidType(), []),
    "PyErr_Occurred": (POINTER, []),
    "PyErr_SetString": (ir.VoidType(), [POINTER, POINTER]),
    "PyEval_RestoreThread": (ir.VoidType(), [POINTER]),
    "PyEval_SaveThread": (POINTER, []),
    "PyBool_FromLong": (POINTER, [I64]),
    "PyFloat_AsDouble": (F64, [POINTER]),
    "PyFloat_FromDouble": (POINTER, [F64]),
    "PyLong_AsLongLong": (I64, [POINTER]),
    "PyLong_AsUnsignedLongLongMask": (I64, [POINTER]),
    "PyLong_FromLongLong": (POINTER, [I64]),
    "PyLong_FromUnsignedLongLong": (POINTER, [I64]),
    "PyObject_IsTrue": (I32, [POINTER]),
    "PyTuple_GetItem": (POINTER, [POINTER, I64]),
    "PyTuple_New": (POINTER, [I64]),
    "PyTuple_SetItem": (I32, [POINTER, I64, POINTER]),
    "PyTuple_Size": (I64, [POINTER]),
    "PyType_IsSubtype": (I32, [POINTER, POINTER]),
    "Py_IncRef": (ir.VoidType(), [POINTER]),
}
# Where things lie in an object, and in numpy's arrays and types of numbers; the same in numpy 1 and 2.
TYPE = 8
DATA, DIMENSIONS, SHAPE, STRIDES, DTYPE, FLAGS = 16, 24, 32, 40, 56, 64
BYTE_ORDER, NUMBER = 26, 28
IN_ROWS, IN_COLUMNS, ALIGNED, WRITEABLE = 0x1, 0x2, 0x100, 0x400


def emit_entry(context: Any, library: Any, name: str, compiled: Sequence[Any]) -> None:
    """Add a function to a library that calls the first of several compiled kernels whose types fit."""
    module = library.create_ir_module(f"entry.{name}")
    function = ir.Function(module, ir.FunctionType(POINTER, [POINTER, POINTER.as_pointer(), I64]), name)
    b = ir.IRBuilder(function.append_basic_block())
    for kernel in compiled:
        library.add_linking_library(kernel.library)
        following = function.append_basic_block("following")
        _Call(context, b, following).emit(name, kernel, function.args)
        b.position_at_end(following)
        _api(b, "PyErr_Clear")
    b.ret(_new_reference(b, "_Py_NotImplementedStruct"))
    library.add_ir_module(module)


class _Call:
    """The call of one kernel; where its types do not fit, control goes to another block."""

    def __init__(self, context: Any, b: ir.IRBuilder, otherwise: ir.Block) -> None:
        self.context, self.b, self.otherwise = context, b, otherwise
        self.ndarray: Any = None

    def emit(self, name: str, kernel: Any, given: Sequence[ir.Value]) -> None:
        b, context = self.b, self.context
        self.ndarray, arguments, count = given
        signature = kernel.signature
        self.need(b.icmp_signed("==", count, ir.Constant(I64, len(signature.args))))
        objects = [b.load(b.gep(arguments, [ir.Constant(I64, i)])) for i in range(len(signature.args))]
        values = [self.read(value, kind) for value, kind in zip(objects, signature.args, strict=True)]
        callee = context.declare_function(b.module, kernel.fndesc)
        state = _api(b, "PyEval_SaveThread")
        status, result = context.call_conv.call_function(b, callee, signature.return_type, signature.args, values)
        _api(b, "PyEval_RestoreThread", state)
        with b.if_then(status.is_error, likely=False):
            error = b.load(_global(b, "PyExc_RuntimeError"))
            text = context.insert_const_string(b.module, f"the kernel {name} failed: no memory, or a fault of vecstore")
            _api(b, "PyErr_SetString", error, text)
            b.ret(ir.Constant(POINTER, None))
        b.ret(self.boxed(result, signature.return_type))

    def need(self, condition: ir.Value) -> None:
        """Go on where a condition holds."""
        following = self.b.function.append_basic_block()
        self.b.cbranch(condition, following, self.otherwise)
        self.b.position_at_end(following)

    def read(self, value: ir.Value, kind: Any) -> ir.Value:
        """Return what a Python object holds, as numba passes it."""
        b = self.b
        if isinstance(kind, types.Array):
            return self.read_array(value, kind)
        if isinstance(kind, TUPLE):
            size = _api(b, "PyTuple_Size", value)
            self.need(b.icmp_signed("==", size, ir.Constant(I64, len(kind))))
            items = [
                self.read(_api(b, "PyTuple_GetItem", value, ir.Constant(I64, i)), item) for i, item in enumerate(kind)
            ]
            return self.context.make_tuple(b, kind, items)
        if isinstance(kind, types.Boolean):
            found = _api(b, "PyObject_IsTrue", value)
            self.need(b.icmp_signed(">=", found, ir.Constant(I32, 0)))
            return b.trunc(found, I1)
        if isinstance(kind, types.Float):
            found = _api(b, "PyFloat_AsDouble", value)
            suspicious = b.fcmp_ordered("==", found, ir.Constant(F64, -1.0))
        else:
            found = _api(b, "PyLong_AsLongLong" if kind.signed else "PyLong_AsUnsignedLongLongMask", value)
            suspicious = b.icmp_signed("==", found, ir.Constant(I64, -1))
        with b.if_then(suspicious, likely=False):
            self.need(b.icmp_unsigned("==", _api(b, "PyErr_Occurred"), ir.Constant(POINTER, None)))
        return found

    def read_array(self, value: ir.Value, kind: Any) -> ir.Value:
        b = self.b
        own = _field(b, value, TYPE, POINTER)
        with b.if_then(b.icmp_unsigned("!=", own, self.ndarray), likely=False):
            self.need(b.icmp_signed("!=", _api(b, "PyType_IsSubtype", own, self.ndarray), ir.Constant(I32, 0)))
        self.need(b.icmp_signed("==", _field(b, value, DIMENSIONS, I32), ir.Constant(I32, kind.ndim)))
        dtype = _field(b, value, DTYPE, POINTER)
        number, order = _field(b, dtype, NUMBER, I32), _field(b, dtype, BYTE_ORDER, I8)
        fitting = [b.icmp_signed("==", number, ir.Constant(I32, one)) for one in _numbers_of(kind.dtype)]
        self.need(fitting[0] if len(fitting) == 1 else b.or_(*fitting))
        self.need(b.icmp_signed("!=", order, ir.Constant(I8, ord(">"))))
        needed = ALIGNED | {"C": IN_ROWS, "F": IN_COLUMNS}.get(kind.layout, 0) | (WRITEABLE if kind.mutable else 0)
        flags = b.and_(_field(b, value, FLAGS, I32), ir.Constant(I32, needed))
        self.need(b.icmp_signed("==", flags, ir.Constant(I32, needed)))
        array = self.context.make_array(kind)(self.context, b)
        shape, strides = (_field(b, value, place, I64.as_pointer()) for place in (SHAPE, STRIDES))
        item = self.context.get_abi_sizeof(self.context.get_data_type(kind.dtype))
        populate_array(
            array,
            data=b.bitcast(_field(b, value, DATA, POINTER), self.context.get_data_type(kind.dtype).as_pointer()),
            shape=[b.load(b.gep(shape, [ir.Constant(I64, i)])) for i in range(kind.ndim)],
            strides=[b.load(b.gep(strides, [ir.Constant(I64, i)])) for i in range(kind.ndim)],
            itemsize=ir.Constant(I64, item),
            meminfo=None,
        )
        return array._getvalue()

    def boxed(self, value: ir.Value, kind: Any) -> ir.Value:
        """Return a result as a Python object."""
        b = self.b
        if isinstance(kind, types.NoneType):
            return _new_reference(b, "_Py_NoneStruct")
        if isinstance(kind, TUPLE):
            made = _api(b, "PyTuple_New", ir.Constant(I64, len(kind)))
            for i, item in enumerate(kind):
                one = self.boxed(b.extract_value(value, i), item)
                _api(b, "PyTuple_SetItem", made, ir.Constant(I64, i), one)
            return made
        if isinstance(kind, types.Boolean):
            return _api(b, "PyBool_FromLong", b.zext(value, I64))
        if isinstance(kind, types.Float):
            return _api(b, "PyFloat_FromDouble", value)
        if not isinstance(kind, INTEGER) or kind.bitwidth != 64:
            raise TypeError(f"an entry returns None, a bool, a number of 64 bits or some of these, not {kind}")
        return _api(b, "PyLong_FromLongLong" if kind.signed else "PyLong_FromUnsignedLongLong", value)


def _numbers_of(dtype: types.Type) -> list[int]:
    """Return the numbers by which numpy knows a type; integers of 64 bits have two."""
    name = "bool" if isinstance(dtype, types.Boolean) else str(dtype)
    found = {np.dtype(name).num}
    if name in ("int64", "uint64"):
        found |= {7, 9} if name == "int64" else {8, 10}
    return sorted(found)


def _api(b: ir.IRBuilder, name: str, *arguments: ir.Value) -> ir.Value:
    result, taken = FUNCTIONS[name]
    return b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(result, taken), name), arguments)


def _global(b: ir.IRBuilder, name: str) -> ir.Value:
    if name not in b.module.globals:
        ir.GlobalVariable(b.module, POINTER, name)
    return b.module.globals[name]


def _new_reference(b: ir.IRBuilder, name: str) -> ir.Value:
    found = b.bitcast(_global(b, name), POINTER)
    _api(b, "Py_IncRef", found)
    return found


def _field(b: ir.IRBuilder, value: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
    place = b.gep(value, [ir.Constant(I64, offset)])
    return b.load(b.bitcast(place, kind.as_pointer()))
