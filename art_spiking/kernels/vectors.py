# SPDX-License-Identifier: MIT
"""Vectors of 16 numbers for compiled loops: what numba's own loops leave to chance, stated.

A compiled function that holds such vectors in local variables keeps them in registers. LLVM splits them where
a processor's registers are shorter. None of these checks bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import make_array

LANES = 16


class VectorType(types.Type):
    """numba's type of a vector of `LANES` numbers."""

    def __init__(self, dtype: Any) -> None:
        """A vector of a number type of numba."""
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype}, {LANES})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: VectorType) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(dmm.lookup(fe_type.dtype).get_value_type(), LANES))


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> tuple[Any, int]:
    """Address of `LANES` elements of a contiguous array as a vector's, and their alignment."""
    start = builder.gep(make_array(kind)(context, builder, array).data, [index])
    element = context.get_data_type(kind.dtype)
    return builder.bitcast(start, ir.VectorType(element, LANES).as_pointer()), context.get_abi_sizeof(element)


@intrinsic
def load(typing: Any, array: Any, index: Any) -> tuple[Any, Callable[..., Any]]:
    """The vector array[index : index + LANES] of a contiguous array of one axis."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, alignment = _place(context, builder, signature.args[0], *arguments)
        return builder.load(place, align=alignment)

    return VectorType(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> tuple[Any, Callable[..., Any]]:
    """Writes a vector to array[index : index + LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, alignment = _place(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], place, align=alignment)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _mask(context: Any, builder: Any, count: Any) -> Any:
    """Which of `LANES` places come before a count."""
    integer = ir.IntType(64)
    places = ir.Constant(ir.VectorType(integer, LANES), list(range(LANES)))
    nothing = ir.Constant(ir.VectorType(integer, LANES), ir.Undefined)
    first = builder.insert_element(nothing, count, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.icmp_signed("<", places, builder.shuffle_vector(first, nothing, everywhere))


def _masked_name(kind: str, bits: int) -> str:
    return f"llvm.masked.{kind}.v{LANES}f{bits}.p0v{LANES}f{bits}"


@intrinsic
def load_first(typing: Any, array: Any, index: Any, count: Any) -> tuple[Any, Callable[..., Any]]:
    """`load` of the first elements alone, at most `LANES`; the others are zero, and are not read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, alignment = _place(context, builder, signature.args[0], *arguments[:2])
        vector, mask = place.type.pointee, _mask(context, builder, arguments[2])
        name = _masked_name("load", 8 * alignment)
        shape = ir.FunctionType(vector, [place.type, ir.IntType(32), mask.type, vector])
        called = cgutils.get_or_insert_function(builder.module, shape, name)
        width = ir.Constant(ir.IntType(32), alignment)
        return builder.call(called, [place, width, mask, ir.Constant(vector, None)])

    return VectorType(array.dtype)(array, types.intp, types.intp), generate


@intrinsic
def store_first(
    typing: Any, array: Any, index: Any, vector: Any, count: Any
) -> tuple[Any, Callable[..., Any]]:
    """`store` of the first elements alone, at most `LANES`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, alignment = _place(context, builder, signature.args[0], *arguments[:2])
        held, mask = arguments[2], _mask(context, builder, arguments[3])
        shape = ir.FunctionType(ir.VoidType(), [held.type, place.type, ir.IntType(32), mask.type])
        called = cgutils.get_or_insert_function(builder.module, shape, _masked_name("store", 8 * alignment))
        builder.call(called, [held, place, ir.Constant(ir.IntType(32), alignment), mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


@intrinsic
def store_zipped(typing: Any, array: Any, index: Any, a: Any, b: Any) -> tuple[Any, Callable[..., Any]]:
    """Writes a[0], b[0], a[1], b[1], ... to array[index : index + 2 * LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held, start, *pair = arguments
        for half in (0, LANES // 2):
            mask = [half + k // 2 + (k % 2) * LANES for k in range(LANES)]
            at = builder.add(start, ir.Constant(start.type, 2 * half))
            place, alignment = _place(context, builder, signature.args[0], held, at)
            builder.store(_shuffled(builder, pair[0], pair[1], mask), place, align=alignment)
        return context.get_dummy_value()

    return types.void(array, types.intp, a, b), generate


@intrinsic
def spread(typing: Any, number: Any) -> tuple[Any, Callable[..., Any]]:
    """A vector whose elements are all one number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(context, builder, signature.args[0], arguments[0])

    return VectorType(number)(number), generate


def _spread(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    nothing = ir.Constant(ir.VectorType(context.get_value_type(kind), LANES), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, nothing, everywhere)


@intrinsic
def spread_at(typing: Any, array: Any, index: Any) -> tuple[Any, Callable[..., Any]]:
    """A vector whose elements are all array[index]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        place = builder.gep(make_array(kind)(context, builder, arguments[0]).data, [arguments[1]])
        return _spread(context, builder, kind.dtype, builder.load(place))

    return VectorType(array.dtype)(array, types.intp), generate


@intrinsic
def add(typing: Any, a: Any, b: Any) -> tuple[Any, Callable[..., Any]]:
    """A + b."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return a(a, b), generate


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> tuple[Any, Callable[..., Any]]:
    """A * b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = arguments[2].type
        name = f"llvm.fma.v{LANES}f{8 * context.get_abi_sizeof(vector.element)}"
        return builder.call(
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name),
            arguments,
        )

    return c(a, b, c), generate


@intrinsic
def multiply(typing: Any, a: Any, b: Any) -> tuple[Any, Callable[..., Any]]:
    """A * b."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return a(a, b), generate


@intrinsic
def divide(typing: Any, a: Any, b: Any) -> tuple[Any, Callable[..., Any]]:
    """A / b."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fdiv(*arguments)

    return a(a, b), generate


@intrinsic
def exponential(typing: Any, a: Any) -> tuple[Any, Callable[..., Any]]:
    """The exponential of what is not positive, to two units in the last place; never below normal numbers.

    exp(a) = 2^n exp(r) with n = round(a / ln 2), where exp(r), |r| <= ln(2) / 2, is Taylor's polynomial and
    2^n is written as bits. The C library's is called for each element by itself.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        bits = 8 * context.get_abi_sizeof(kind.element)
        # Least argument; ln 2 in two parts, the first of few digits; degree; the exponent's bias and place.
        least, high, low, degree, bias, place = {
            32: (-87.0, 0.693359375, -2.12194440e-4, 7, 127, 23),
            64: (-708.0, 0.693147180369123816490, 1.90821492927058770002e-10, 13, 1023, 52),
        }[bits]

        def all_are(number: float) -> Any:
            return ir.Constant(kind, [number] * LANES)

        def call(name: str, *given: Any) -> Any:
            shape = ir.FunctionType(kind, [kind] * len(given))
            full = f"llvm.{name}.v{LANES}f{bits}"
            return builder.call(cgutils.get_or_insert_function(builder.module, shape, full), given)

        x = builder.select(
            builder.fcmp_ordered("<", arguments[0], all_are(least)), all_are(least), arguments[0]
        )
        n = call("rint", builder.fmul(x, all_are(1 / math.log(2))))
        rest = call("fma", n, all_are(-low), call("fma", n, all_are(-high), x))
        total = all_are(1 / math.factorial(degree))
        for k in range(degree - 1, -1, -1):
            total = call("fma", total, rest, all_are(1 / math.factorial(k)))
        integers = ir.VectorType(ir.IntType(bits), LANES)
        exponent = builder.add(builder.fptosi(n, integers), ir.Constant(integers, [bias] * LANES))
        power = builder.shl(exponent, ir.Constant(integers, [place] * LANES))
        return builder.fmul(total, builder.bitcast(power, kind))

    return a(a), generate


@intrinsic
def nonzero(typing: Any, array: Any, index: Any) -> tuple[Any, Callable[..., Any]]:
    """Which of array[index : index + LANES] differ from zero, as bits from the lowest; NaN does."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, alignment = _place(context, builder, signature.args[0], *arguments)
        vector = builder.load(place, align=alignment)
        zero = ir.Constant(vector.type, None)
        is_float = isinstance(signature.args[0].dtype, types.Float)
        differs = (builder.fcmp_unordered if is_float else builder.icmp_unsigned)("!=", vector, zero)
        return builder.zext(builder.bitcast(differs, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(array, types.intp), generate


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> tuple[Any, Callable[..., Any]]:
    """The place of the lowest bit that is set; there must be one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.int64), generate


@intrinsic
def transpose(
    typing: Any, source: Any, start: Any, pitch: Any, target: Any, place: Any, target_pitch: Any
) -> tuple[Any, Callable[..., Any]]:
    """Writes a square of `LANES` rows and columns of one array to another, with rows for columns.

    Row k begins at start + k * pitch, and column k is written to place + k * target_pitch.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        array, first, step, out, out_first, out_step = arguments

        def address(kind: Any, held: Any, begin: Any, width: Any, k: int) -> tuple[Any, int]:
            offset = builder.add(begin, builder.mul(width, ir.Constant(width.type, k)))
            return _place(context, builder, kind, held, offset)

        rows = []
        for k in range(LANES):
            where, alignment = address(kinds[0], array, first, step, k)
            rows.append(builder.load(where, align=alignment))
        # Squares of halves are exchanged across the diagonal, at all sizes (Eklundh, 1972).
        half = LANES // 2
        while half:
            low = [k if not k & half else k - half + LANES for k in range(LANES)]
            high = [k + half if not k & half else k + LANES for k in range(LANES)]
            for k in range(LANES):
                if not k & half:
                    pair = rows[k], rows[k + half]
                    rows[k], rows[k + half] = (_shuffled(builder, *pair, mask) for mask in (low, high))
            half //= 2
        for k, vector in enumerate(rows):
            where, alignment = address(kinds[3], out, out_first, out_step, k)
            builder.store(vector, where, align=alignment)
        return context.get_dummy_value()

    integers = types.intp
    return types.void(source, integers, integers, target, integers, integers), generate


def _shuffled(builder: Any, a: Any, b: Any, mask: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), LANES), mask))
