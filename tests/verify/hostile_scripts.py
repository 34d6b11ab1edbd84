"""Small TorchScript archives that models must not be: each names, in its own spelling, what would harm.

Most are the archive that torch.jit.save wrote for a module that returns its argument, with other text in the
place of its code, or other bytes in the place of its objects. None harms when it is only read.
"""

import io
import itertools
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

CODE = "code/__torch__/hostile_scripts.py"
HEAD = """class Plain(Module):
  __parameters__ = []
  __buffers__ = ["held", ]
  training : bool
  _is_full_backward_hook : Optional[bool]
  held : Tensor
"""
Records = dict[str, bytes]

# What it is called with, beside the tensor.
OPERATORS = {
    "hash": "",
    "set_": "",
    "resize_": "[8]",
    "as_strided": "[8], [1]",
    "as_strided_": "[8], [1]",
    "storage_offset": "",
    "resize_as_": "x",
    "unsafe_split": "1",
    "unsafe_chunk": "1",
    "put": "x, x",
    "take": "x",
    "embedding_renorm_": "x, 1., 2.",
    "sparse_resize_": "[1], 1, 0",
    "quantize_per_channel": "x, x, 0, 13",
    "record_stream": "x",
    "_resize_output": '[1], torch.device("cpu")',
    "_values": "",
    "_indices": "",
    "_coalesced_": "True",
    "_index_put_impl_": "[x], x, False, True",
    "_reshape_alias": "[8], [1]",
    "grid_sampler": "x, 0, 0, True",
    "max_unpool2d": "x, [1, 1]",
    "pin_memory": "",
}
# How an operator of aten can be named in code; the last two through a variable.
SPELLINGS = {
    "torch": "_0 = torch.{name}(x{args})",
    "autograd": "_0 = torch.autograd.{name}(x{args})",
    "ops": "_0 = ops.aten.{name}(x{args})",
    "ops_autograd": "_0 = ops.aten.autograd.{name}(x{args})",
    "method": "_0 = (x).{name}({rest})",
    "bound_method": "_1 = (x).{name}\n    _0 = _1({rest})",
    "bound_operator": "_1 = torch.{name}\n    _0 = _1(x{args})",
    "bound_module": "_1 = torch\n    _0 = _1.{name}(x{args})",
    "bound_space": "_1 = ops.aten\n    _0 = _1.{name}(x{args})",
}
# Statements in forward(self, x) that name something of other kinds.
STATEMENTS = {
    "print": 'print("spoofed")',
    "print_bound": '_0 = print\n    _0("spoofed")',
    "print_shadowed": 'if torch.gt(torch.len([1]), 2):\n      print = 1\n    else:\n      pass\n    print("x")',
    "print_deleted": "hash = 1\n    del hash\n    _0 = hash(x)",
    "hash_builtin": "_0 = hash(x)",
    "data": "_0 = x.data",
    "data_operator": "_0 = ops.prim.data(x)",
    "targets_of_a_loss": "_0 = torch.nll_loss(x, x, None, 0, -100)",
    "eigenvalues_of_nan": "_0 = torch.linalg_eigvals(x)",
    "id_builtin": "_0 = id(self)",
    "hash_nested": "_0 = torch.add(x, torch.mul(x, hash(x)))",
    "hash_in_list": "_0 = [hash(x)]",
    "hash_in_dict": '_0 = {"a": hash(x)}',
    "hash_in_subscript": "_0 = [1, 2][hash(x)]",
    "hash_in_slice": "_0 = [1, 2][hash(x):]",
    "hash_in_condition": "_0 = 1 if hash(x) else 2",
    "hash_in_comprehension": "_0 = [hash(x) for _1 in [1]]",
    "hash_in_assert": 'assert hash(x), "no"',
    "hash_in_for": "for _0 in range(hash(x)):\n      pass",
    "hash_in_while": "while bool(hash(x)):\n      pass",
    "hash_in_if": "if bool(hash(x)):\n      pass\n    else:\n      pass",
    "hash_in_augmented": "_0 = 1\n    _0 += hash(x)",
    "hash_in_return": "return torch.add(x, hash(x))",
    "hash_in_operator": "_0 = -hash(x) + 1",
    "hash_with_comment": "_0 = torch.hash(x)  # type: ignore",
    "hash_over_lines": "_0 = torch.hash(\n        x)",
    "hash_with_spaces": "_0 = torch . hash ( x )",
    "hash_in_parentheses": "_0 = (torch.hash)(x)",
    "hash_starred": "_0 = max(*[hash(x), 1])",
    "hash_keyword": "_0 = torch.add(x, x, alpha=hash(x))",
    "hash_by_keyword": "_0 = torch.hash(t=x)",
    "hash_after_string": '_0 = "\\" # "\n    _1 = hash(x)',
    "from_file": '_0 = torch.from_file("/etc/hostname", False, 4)',
    "save": '_0 = torch.save([x], "/tmp/never")',
    "save_autograd": '_0 = torch.autograd.save([x], "/tmp/never")',
    "reinterpret": "_0 = ops.inductor._reinterpret_tensor(x, [8], [1], 0)",
    "reinterpret_bound": "_1 = ops.inductor._reinterpret_tensor\n    _0 = _1(x, [8], [1], 0)",
    "alloc_from_pool": "_0 = ops.inductor._alloc_from_pool(x, 0, 6, [8], [1])",
    "inductor_space": "_1 = ops.inductor\n    _0 = _1._reinterpret_tensor(x, [8], [1], 0)",
    "ops_alone": "_1 = ops\n    _0 = _1.inductor._reinterpret_tensor(x, [8], [1], 0)",
    "prims_strided": "_0 = ops.prims.as_strided(x, [8], [1], 0)",
    "prims_resize": "_0 = ops.prims.resize(x, [8])",
    "metatensor_save": "_0 = ops.metatensor.save_buffer(x)",
    "metatensor_load": '_0 = ops.metatensor.load("/etc/hostname")',
    "metatomic_load": '_0 = ops.metatomic.load_system("/etc/hostname")',
    "metatomic_extensions": '_0 = ops.metatomic.load_model_extensions("/tmp/a.pt", "/tmp")',
    "metatomic_metadata": '_0 = ops.metatomic.read_model_metadata("/etc/hostname")',
    "profiler": '_0 = ops.profiler._record_function_enter("a", None)',
    "prim_print": '_0 = ops.prim.Print("a")',
    "prim_id": "_0 = ops.prim.id(self)",
    "prim_unwrap": "_0 = ops.prim.unchecked_unwrap_optional(x)",
    "prim_through_aten": "_0 = ops.prim.autograd.hash(x)",
    "sparse_unsafe": "_0 = torch._sparse_coo_tensor_unsafe(x, x, [8])",
    "csr_unsafe": "_0 = torch._sparse_csr_tensor_unsafe(x, x, x, [8])",
    "nested_view": "_0 = torch._nested_view_from_buffer(x, x, x, x)",
    "unsafe_index": "_0 = torch._unsafe_index(x, [x])",
    "unsafe_index_put": "_0 = torch._unsafe_index_put(x, [x], x)",
    "unsafe_view": "_0 = torch._unsafe_view(x, [8])",
    "efficientzero": "_0 = torch._efficientzerotensor([8])",
    "embedding_bag": "_0 = torch.embedding_bag(x, x, x)",
    "segment_reduce": '_0 = torch.segment_reduce(x, "sum", lengths=x)',
    "quantized": "_0 = ops.quantized.add(x, x, 1., 0)",
    "mkldnn": "_0 = torch.to_mkldnn(x)",
    "fft_internal": "_0 = torch._fft_c2r(x, [0], 0, 8)",
    "cudnn": "_0 = torch.cudnn_is_acceptable(x)",
    "convert_indices": "_0 = torch._convert_indices_from_coo_to_csr(x, 8)",
    "lstm": "_0 = torch.lstm(x, [x, x], [x, x, x, x], True, 1, 0., False, False, False)",
    "manual_seed": "_0 = torch.manual_seed(0)",
    "set_grad": "_0 = torch.set_grad_enabled(False)",
    "to_here": "_0 = torch.to_here(x)",
    "out": "_0 = torch.add(x, x, out=x)",
    "out_of_sort": "_0 = torch.sort(x, 0, False, values=x, indices=x)",
    "out_method": "_0 = (x).add(x, out=x)",
    "out_bound": "_1 = torch.add\n    _0 = _1(x, x, out=x)",
    "fork": "_0 = fork(self.forward, x)",
    "awaitable": "_0 = awaitable(self.forward, x)",
    "rpc": '_0 = rpc_async("a", self.forward, (x,))',
    "getattr_operator": '_0 = getattr(x, "set_")\n    _1 = _0()',
    "getattr_save": '_0 = getattr(x, "as_strided")\n    _1 = _0([8], [1])',
    "getattr_computed": '_1 = "se" + "t_"\n    _0 = getattr(x, _1)',
    "getattr_bound": '_1 = getattr\n    _0 = _1(x, "set_")',
    "getattr_default": '_0 = getattr(x, "nothing", hash(x))',
    "cast_to_class": "_0 = unchecked_cast(__torch__.hostile_scripts.Plain, x)\n    _1 = _0.held",
    "cast_to_tuple": "_0 = unchecked_cast(Tuple[int, int, int], (1,))",
    "cast_to_list_of_tuples": "_0 = unchecked_cast(List[Tuple[int, int]], [(1,)])",
    "cast_bound": "_1 = unchecked_cast\n    _0 = _1(int, x)",
    "class_quantized": "_0 = __torch__.torch.classes.quantized.LinearPackedParamsBase",
    "class_unknown": "_0 = __torch__.torch.classes.metatensor.Loader",
    "class_static": '_0 = __torch__.torch.classes.metatensor.Labels.load("/etc/hostname")',
    "class_static_map": '_0 = __torch__.torch.classes.metatensor.TensorMap.load("/etc/hostname")',
    "class_buffer": "_0 = __torch__.torch.classes.metatensor.Labels.load_buffer(x)",
    "class_method_save": '_0 = __torch__.torch.classes.metatensor.Labels.empty("a").save("/tmp/never")',
    "class_rpc": "_0 = __torch__.torch.classes.dist_rpc.WorkerInfo",
    "undefined_class": "_0 = __torch__.other.Missing(x)",
    "torch_alone": "_0 = [torch]",
    "torch_shadowed": "torch = x",
    "constants": "_0 = CONSTANTS.save",
    "unknown_name": "_0 = future_builtin(x)",
    "annotation_class": "_0 = annotate(List[__torch__.torch.classes.quantized.Conv2dPackedParamsBase], [])",
    "annotation_short": "_0 = annotate(List[torch.classes.quantized.Conv2dPackedParamsBase], [])",
    "uninitialized_class": "_0 = uninitialized(__torch__.torch.classes.xnnpack.LinearOpContext)",
    "isinstance_class": "_0 = isinstance(x, __torch__.torch.classes.cuda.Stream)",
    "raise_call": "raise hash(x)",
    "lambda_like": "_0 = [torch.hash(_1) for _1 in [x]]",
    "dict_comprehension": "_0 = {_1: hash(x) for _1 in [1]}",
    "with_operator": "with torch.hash(x):\n      pass",
    "inner_function": "def inner(y: Tensor) -> int:\n      return hash(y)\n    _0 = inner(x)",
    "inner_default": "def inner(y: int=hash(3)) -> int:\n      return y\n    _0 = inner()",
}
# Whole texts of code, after the head of the class.
BODIES = {
    "setstate": """  def forward(self, x: Tensor) -> Tensor:
    return x
  def __getstate__(self) -> int:
    return 1
  def __setstate__(self, state: int) -> NoneType:
    self.held = torch.zeros([1])
    self.training = False
    self._is_full_backward_hook = None
    return None
""",
    "parameter_default": """  def forward(self, x: Tensor, y: int=torch.hash(1)) -> Tensor:
    return x
""",
    "parameter_type": """  def forward(self, x: Tensor,
    y: Optional[__torch__.torch.classes.quantized.LinearPackedParamsBase]=None) -> Tensor:
    return x
""",
    "return_type": """  def forward(self, x: Tensor) -> __torch__.torch.classes.quantized.LinearPackedParamsBase:
    return uninitialized(__torch__.torch.classes.quantized.LinearPackedParamsBase)
""",
    "attribute_type": """  other : __torch__.torch.classes.quantized.LinearPackedParamsBase
  def forward(self, x: Tensor) -> Tensor:
    return x
""",
    "quoted_attribute": """  __annotations__["0"] = __torch__.torch.classes.quantized.LinearPackedParamsBase
  def forward(self, x: Tensor) -> Tensor:
    return x
""",
    "named_as_operator": """  def forward(self, x: Tensor) -> Tensor:
    return (x).set_()
  def set_(self) -> int:
    return 1
""",
    "other_method": """  def forward(self, x: Tensor) -> Tensor:
    return x
  def unused(self, x: Tensor) -> int:
    return torch.hash(x)
""",
    "two_classes": """  def forward(self, x: Tensor) -> Tensor:
    return x
class Helper:
  def run(self, x: Tensor) -> int:
    return torch.hash(x)
""",
    "base": """  def forward(self, x: Tensor) -> Tensor:
    return x
class Anything(Plain):
  def forward(self, x: Tensor) -> Tensor:
    return x
""",
    "function": """  def forward(self, x: Tensor) -> Tensor:
    return x
def helper(x: Tensor) -> int:
  return torch.hash(x)
""",
    "class_twice": """  def forward(self, x: Tensor) -> Tensor:
    return x
class Plain(Module):
  def forward(self, x: Tensor) -> int:
    return 1
""",
    "self_bound": """  def forward(self, x: Tensor) -> Tensor:
    self = x
    return self.set_()
  def set_(self) -> int:
    return 1
""",
    "parameter_torch": """  def forward(self, torch: Tensor) -> Tensor:
    return torch.set_()
""",
    "not_code": "this is no code\n",
    "unicode": """  def forward(self, x: Tensor) -> Tensor:
    return torch.h\u0430sh(x)
""",
    "byte_order": "\ufeff  def forward(self, x: Tensor) -> Tensor:\n    return x\n",
    "deep_brackets": f"""  def forward(self, x: Tensor) -> Tensor:
    return {"(" * 5000}x{")" * 5000}
""",
    "deep_signs": f"""  def forward(self, x: Tensor) -> Tensor:
    return {"- " * 50000}x
""",
    "long_chain": f"""  def forward(self, x: Tensor) -> Tensor:
    return x{".T" * 300000}
""",
    "long_sum": f"""  def forward(self, x: Tensor) -> Tensor:
    return x{" + x" * 300000}
""",
}


class Plain(torch.nn.Module):
    """Returns what it is given."""

    def __init__(self) -> None:
        """Hold one tensor, for the archive to have one."""
        super().__init__()
        self.register_buffer("held", torch.arange(4.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the argument."""
        return x


def base() -> Records:
    """Records of the harmless archive."""
    buffer = io.BytesIO()
    module = torch.jit.script(Plain())
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as archive:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    return {name: content for name, content in records.items() if not name.endswith(".debug_pkl")}


def write(path: Path, records: Records, folder: str = "plain") -> None:
    """Write an archive as exports are: nothing packed, one folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), content)


def _code(records: Records) -> str:
    return next(name for name in records if name.endswith(".py"))


def with_body(records: Records, body: str) -> Records:
    """The same archive with other methods in its class."""
    name = _code(records)
    return {**records, name: (HEAD + body).encode()}


def with_statement(records: Records, statement: str) -> Records:
    """The same archive with a statement before the one that returns."""
    text = f"  def forward(self, x: Tensor) -> Tensor:\n    {statement}\n    return x\n"
    return with_body(records, text)


def scripts() -> Iterator[tuple[str, Callable[[Records], Records]]]:
    """Names and makers of the archives whose code is hostile."""
    for (name, rest), (spelling, text) in itertools.product(OPERATORS.items(), SPELLINGS.items()):
        statement = text.format(name=name, rest=rest, args=f", {rest}" if rest else "")
        yield f"{name}-{spelling}", lambda r, s=statement: with_statement(r, s)
    for name, statement in STATEMENTS.items():
        yield name, lambda r, s=statement: with_statement(r, s)
    for name, body in BODIES.items():
        yield name, lambda r, b=body: with_body(r, b)
    harmless = "  def forward(self, x: Tensor) -> Tensor:\n    return x\n"
    hidden = b"def helper(x: Tensor) -> int:\n  return torch.hash(x)\n"
    for name in ("code/__torch__/unused.py", "code/other.py", "CODE/__torch__/unused.PY"):
        yield f"record-{name}", lambda r, n=name: {**with_body(r, harmless), n: hidden}


def _replaced(records: Records, old: bytes, new: bytes, record: str = "data.pkl") -> Records:
    assert old in records[record], (record, old)
    return {**records, record: records[record].replace(old, new, 1)}


def _long(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _tensor(offset: bytes, sizes: bytes, strides: bytes, count: bytes = b"K\x04") -> bytes:
    """A pickle of the module with a tensor described by these opcodes."""
    storage = (
        b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    )
    held = b"ctorch._utils\n_rebuild_tensor_v2\n" + storage + count + b"tQ" + offset
    held += b"(" + sizes + b"t(" + strides + b"t\x89ccollections\nOrderedDict\n)RtR"
    return _module(held)


def _module(held: bytes, after: bytes = b"") -> bytes:
    """A pickle of the module whose tensor is what these opcodes make."""
    names = {"training": b"\x89", "_is_full_backward_hook": b"N", "held": held}
    items = b"".join(b"X" + struct.pack("<I", len(k)) + k.encode() + v for k, v in names.items())
    return b"\x80\x02c__torch__.hostile_scripts\nPlain\n)\x81}(" + items + b"ub" + after + b"."


def pickles() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of objects that libtorch would make although they are not sound."""
    one = b"K\x01"
    yield "beyond", _tensor(b"K\x00", b"K\x05", one)
    yield "offset", _tensor(b"K\x01", b"K\x04", one)
    yield "offset_far", _tensor(_long(2**60), b"K\x01", one)
    yield "offset_negative", _tensor(_long(-8), b"K\x01", one)
    yield "offset_of_empty", _tensor(_long(2**40), b"K\x00", one)
    yield "stride", _tensor(b"K\x00", b"K\x02", b"K\x04")
    yield "stride_negative", _tensor(b"K\x00", b"K\x02", _long(-1))
    yield "stride_overflow", _tensor(b"K\x00", b"K\x05", _long(2**62))
    yield "stride_wraps", _tensor(b"K\x00", b"K\x03", _long(2**63 - 1))
    yield "size_negative", _tensor(b"K\x00", _long(-1), one)
    yield "size_overflow", _tensor(b"K\x00", _long(2**62) + _long(2**62), b"K\x00K\x00")
    yield "sizes_without_strides", _tensor(b"K\x00", b"K\x02K\x02", one)
    yield "count_larger", _tensor(b"K\x00", b"K\x04", one, b"K\xff")
    yield "count_smaller", _tensor(b"K\x00", b"K\x04", one, b"K\x01")
    yield "count_negative", _tensor(b"K\x00", b"K\x04", one, b"J\xff\xff\xff\xff")
    good = _tensor(b"K\x00", b"K\x04", one)
    yield "wider", good.replace(b"FloatStorage", b"DoubleStorage")
    yield "quantized", good.replace(b"FloatStorage", b"QInt8Storage")
    yield "qtensor", good.replace(b"_rebuild_tensor_v2", b"_rebuild_qtensor")
    yield "sparse", good.replace(b"_rebuild_tensor_v2", b"_rebuild_sparse_tensor")
    yield (
        "from_type",
        good.replace(b"torch._utils\n_rebuild_tensor_v2", b"torch._tensor\n_rebuild_from_type_v2"),
    )
    yield "missing_record", good.replace(b"\x01\x00\x00\x000X", b"\x01\x00\x00\x009X")
    yield "record_elsewhere", good.replace(b"\x01\x00\x00\x000X", b"\x0a\x00\x00\x00../versionX")
    yield "meta", good.replace(b"\x03\x00\x00\x00cpu", b"\x04\x00\x00\x00meta")
    yield "integer_for_tensor", _module(b"K\x07")
    yield "text_for_tensor", _module(b"X\x01\x00\x00\x00a")
    yield "object_for_tensor", _module(b"c__torch__.hostile_scripts\nPlain\n)\x81}b")
    yield "attribute_missing", good.replace(b"X\x04\x00\x00\x00held", b"X\x04\x00\x00\x00hold")
    yield "not_a_name", _module(b"K\x00)R")
    yield "system", _module(b"cos\nsystem\n(X\x04\x00\x00\x00truetR")
    yield "python_class", _module(b"cbuiltins\nobject\n)\x81}b")
    yield "unknown_class", _module(b"c__torch__.nowhere\nThing\n)\x81}b")
    yield (
        "custom_class",
        _module(b"c__torch__.torch.classes.quantized\nLinearPackedParamsBase\n)\x81Nb"),
    )
    yield "rref", _module(b"ctorch.distributed.rpc\nrref\n)R")
    yield "tensor_id", _module(b"ctorch.jit._pickle\nbuild_tensor_from_id\n(K\x00tR")
    yield "wrong_list", _module(b"ctorch.jit._pickle\nbuild_intlist\n(](X\x01\x00\x00\x00aetR")
    tag = b"ctorch.jit._pickle\nrestore_type_tag\n("
    yield "wrong_tag", _module(tag + b"](K\x01eX\x11\x00\x00\x00List[Tuple[int]]\x20tR")
    yield (
        "tag_of_class",
        _module(
            tag
            + b"](K\x01eX"
            + struct.pack("<I", 42)
            + b"List[__torch__.torch.classes.quantized.Foo1]tR"
        ),
    )
    yield "memo_far", b"\x80\x02Nr\xff\xff\xff\x7f."
    yield "memo_missing", b"\x80\x02h\x09."
    yield "stack_empty", b"\x80\x02R."
    yield "protocol", b"\x80\x04N."
    yield "long_integer", b"\x80\x02\x8a\x01\x01."
    yield "instance", b"\x80\x02(c__torch__.hostile_scripts\nPlain\no."
    yield "truncated", good[:-20]
    yield "trailing", good + b"cos\nsystem\n."
    yield "itself", b"\x80\x02]q\x00(h\x00e."


def _with_interface(records: Records) -> Records:
    """An object in the place of one with a method that takes other arguments."""
    body = (
        "  inner : __torch__.hostile_scripts.Takes\n"
        "  def forward(self, x: Tensor) -> Tensor:\n    return (self.inner).run(x, x)\n"
        "class Takes(ModuleInterface):\n"
        "  def run(self, x: Tensor, y: Tensor) -> Tensor:\n    pass\n"
        "class Other(Module):\n"
        "  def run(self, x: Tensor) -> Tensor:\n    return x\n"
    )
    inner = b"X\x05\x00\x00\x00innerc__torch__.hostile_scripts\nOther\n)\x81}b"
    content = _tensor(b"K\x00", b"K\x04", b"K\x01").replace(b"ub.", inner + b"ub.")
    return {**with_body(records, body), "data.pkl": content}


SMALL = b"c__torch__.hostile_scripts\nSmall\n)\x81}(X\x03\x00\x00\x00oneK\x01ub"
# A class with few attributes and one with many: taken for the other, memory behind the first is read.
CLASSES = "class Small:\n  one : int\nclass Big:\n" + "".join(
    f"  f{k} : Tensor\n" for k in range(60)
)


def _with_attributes(
    records: Records, attributes: dict[str, tuple[str, bytes]], body: str
) -> Records:
    """The archive of a module with these attributes: the type that the code states, and the object."""
    values = {"training": b"\x89", "_is_full_backward_hook": b"N"}
    values |= {name: value for name, (_, value) in attributes.items()}
    items = b"".join(b"X" + struct.pack("<I", len(k)) + k.encode() + v for k, v in values.items())
    head = HEAD.replace('"held", ', "").replace("  held : Tensor\n", "")
    types = "".join(f"  {name} : {kind}\n" for name, (kind, _) in attributes.items())
    pickled = b"\x80\x02c__torch__.hostile_scripts\nPlain\n)\x81}(" + items + b"ub."
    code = f"{head}{types}  def forward(self, x: Tensor) -> Tensor:\n    {body}\n{CLASSES}"
    return {**records, _code(records): code.encode(), "data.pkl": pickled}


def confusions() -> Iterator[tuple[str, Callable[[Records], Records]]]:
    """Objects that code may take for objects of another class."""
    own = "__torch__.hostile_scripts."
    small, big = f"List[{own}Small]", f"List[{own}Big]"
    branches = (
        "y = self.u\n    if isinstance(y, {}):\n      z = x\n    else:\n      z = {}\n    return z"
    )
    shared = {"a": (small, b"]q\x00"), "b": (big, b"h\x00"), "c": (f"{own}Small", SMALL)}
    filled = {"a": (f"List[List[{own}Small]]", b"](](" + SMALL + b"ee")}
    union = {"u": (f"Union[{small}, {big}]", b"](" + SMALL + b"e")}
    tuples = {"u": ("Union[Tuple[Tensor, str], Tuple[int, int]]", b"NX\x01\x00\x00\x00a\x86")}
    yield (
        "list_of_two_types",
        lambda r: _with_attributes(
            r, shared, "_0 = torch.append(self.a, self.c)\n    return ((self.b)[0]).f40"
        ),
    )
    yield "list_without_a_type", lambda r: _with_attributes(r, filled, "return x")
    yield (
        "union_of_lists",
        lambda r: _with_attributes(r, union, branches.format(small, "((y)[0]).f40")),
    )
    yield (
        "union_of_tuples",
        lambda r: _with_attributes(
            r, tuples, branches.format("Tuple[Tensor, str]", "torch.add(x, (y)[0])")
        ),
    )
    yield (
        "module_in_two_records",
        lambda r: {
            **r,
            "code/__torch__/M.py": CLASSES.encode(),
            "code/__torch__.m.py": CLASSES.encode(),
        },
    )


def objects() -> Iterator[tuple[str, Callable[[Records], Records]]]:
    """Names and makers of the archives whose objects are forged."""
    for name, content in pickles():
        yield f"pickle-{name}", lambda r, c=content: {**r, "data.pkl": c}
        if name in ("system", "rref", "memo_far", "python_class"):
            yield f"constants-{name}", lambda r, c=content: {**r, "constants.pkl": c}
            yield f"debug-{name}", lambda r, c=content: {**r, f"{_code(r)}.debug_pkl": c}
    yield "interface", _with_interface
    for name, make in confusions():
        yield f"confusion-{name}", make
    yield "legacy", lambda r: {**r, "model.json": b"{}"}
    yield "bytecode", lambda r: {**r, "bytecode.pkl": b"\x80\x02N."}
    yield "package", lambda r: {**r, ".data/ts_code/code/a.py": b""}
    yield "version_2", lambda r: {**r, "version": b"2\n"}
    yield "version_text", lambda r: {**r, "version": b"3; rm"}
    yield "version_twice", lambda r: {**r, ".data/version": b"3\n"}
    for field, value in (
        ("name", "../evil"),
        ("name", "/tmp/evil"),
        ("name", "a/b"),
        ("path", "../evil.so"),
        ("path", "/tmp/evil.so"),
        ("path", "a/../../evil.so"),
        ("path", ""),
    ):
        for record in ("extra/extensions", "extra/extensions-deps"):
            text = str([{"name": "good", "path": "good.so", **{field: value}}]).replace("'", '"')
            yield f"{record}-{field}-{value}", lambda r, n=record, t=text: {**r, n: t.encode()}


def layouts(records: Records) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of archives that readers of zip archives would not agree about."""

    def packed(*more: tuple[str, bytes], only: Records | None = None) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in (only or records).items():
                archive.writestr(zipfile.ZipInfo(f"plain/{name}"), content)
            for name, content in more:
                archive.writestr(zipfile.ZipInfo(name), content)
        return buffer.getvalue()

    good = packed()
    yield "two_folders", packed(("other/data.pkl", records["data.pkl"]))
    yield "folder_inside", packed(("plain2/version", b"3"))
    yield "no_folder", packed(("data.pkl", b""))
    yield "twice", packed(("plain/data.pkl", records["data.pkl"]))
    yield "case", packed(("plain/DATA.pkl", records["data.pkl"]))
    yield "case_of_folder", packed(("PLAIN/data.pkl", records["data.pkl"]))
    yield "dots", packed(("plain/extra/../data.pkl", b""))
    yield "absolute", packed(("/plain/data.pkl", b""))
    yield "backslash", packed(("plain\\data.pkl", b""))
    yield (
        "nul",
        packed(("plain/data.pkl#x", b"")).replace(b"plain/data.pkl#x", b"plain/data.pkl\0x"),
    )
    yield "unicode_name", packed(("plain/extra/d\u0430ta", b""))
    yield "before", b"#!/bin/sh\n" + good
    yield "after", good + b"more"
    yield "comment", good[:-2] + b"\x04\x00more"
    at = good.index(b"PK\x03\x04", 4)
    yield "between", good[:at] + b"x" * 100 + good[at:]
    yield "local_name", good.replace(b"plain/data.pkl", b"plain/dAta.pkl", 1)
    middle = good.rindex(b"PK\x01\x02")
    yield "encrypted", good[: middle + 8] + b"\x01" + good[middle + 9 :]
    yield "method", good[: middle + 10] + b"\x0c" + good[middle + 11 :]
    yield "local_method", good[:8] + b"\x08" + good[9:]


def write_all(folder: Path) -> list[Path]:
    """Write all archives into ``folder``, and return their paths."""
    records = base()
    out = []
    for kind, makers in (("code", scripts()), ("object", objects())):
        for number, (name, make) in enumerate(makers):
            path = folder / f"{kind}-{number:03}-{name.replace('/', '_')}.pt"
            write(path, make(records))
            out.append(path)
    for name, content in layouts(records):
        path = folder / f"layout-{name}.pt"
        path.write_bytes(content)
        out.append(path)
    return out
