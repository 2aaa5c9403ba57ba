"""What travels by value, and the book of class definitions that such values name.

Owns: how cloudpickle is bent to our rules: classes go by digest, a class that comes back is the one that is there, and
functions in a slot find what `everywhere` defined. cloudpickle has no public hooks for that, so this module, alone,
knows its internals (those used here are the same in all its releases since 2.2). Must not know: pages, jobs, links.
"""
# ruff: noqa: SLF001

import builtins
import contextlib
import functools
import io
import pickle
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import cloudpickle
from cloudpickle import cloudpickle as cloud

from twistcluster.errors import ProtocolError
from twistcluster.wire.digests import digest
from twistcluster.wire.frames import Buffer

__all__ = [
    "PROTOCOL",
    "ByValuePickler",
    "ByValueUnpickler",
    "Definitions",
    "UnknownDefinitionError",
    "definition",
    "holds_by_value",
    "needs_by_value",
]

PROTOCOL: Final = 5
HOOKED: Final = frozenset({"cloudpickle.cloudpickle", __name__, "twistcluster.wire.references"})
"""Modules of whose functions an unpickler has its own versions."""

State = tuple[type, Any]
"""A class, and what cloudpickle makes it of."""


class UnknownDefinitionError(ProtocolError):
    """A value names a class whose definition never came."""


class Definitions:
    """The class definitions that one process knows, by digest.

    In a client, classes of `__main__` get a digest when an instance first travels. A slot (`in_slot`) names only what it
    was sent: classes born there travel inside their instances' pickles.

    A slot's book also holds the names that its by-value functions share: what `everywhere` defines. Functions find them
    as they find builtins, behind the globals that they carry, so that no two versions of a function meet in them.

    A class of the notebook that was changed in place has several definitions there, and is one class: it is made to be
    what the definition says that is named next, by an argument or by the function that is about to be called (`use`).
    """

    def __init__(self, *, in_slot: bool = False) -> None:
        self._classes: dict[bytes, type] = {}
        self._blobs: dict[bytes, bytes] = {}
        self._needs: dict[bytes, tuple[bytes, ...]] = {}
        self._named: dict[int, tuple[type, bytes]] = {}  # by id: a metaclass may make classes unhashable
        self._fresh: set[int] = set()
        self._states: dict[bytes, list[State]] = {}
        self._current: dict[int, bytes] = {}
        self._attributes: dict[int, frozenset[str]] = {}
        self._used: tuple[bytes, ...] | None = None
        self.names: dict[str, Any] | None = None
        if in_slot:
            self.names = dict(vars(builtins))
            self.names.update({"__name__": "__main__", "__builtins__": builtins, "__doc__": None})

    def refresh(self) -> None:
        """Begin a batch: classes that changed since the last one get a new digest when they are met."""
        self._fresh.clear()

    def digest_of(self, cls: type) -> bytes:
        """Return the digest of a class's definition as it is now (as it was at the last `refresh`, if met since)."""
        return self._digest_of(cls, frozenset())

    def blob(self, name: bytes) -> bytes:
        """Return the definition that this digest names."""
        try:
            return self._blobs[name]
        except KeyError:
            raise UnknownDefinitionError(f"the definition of a notebook's class never came ({name.hex()})") from None

    def knows(self, name: bytes) -> bool:
        """Whether the definition that this digest names is here."""
        return name in self._blobs

    def needs(self, name: bytes) -> tuple[bytes, ...]:
        """Return the digest itself and those of all definitions that this one refers to."""
        found: dict[bytes, None] = {}
        pending = [name]
        while pending:
            one = pending.pop()
            if one not in found:
                found[one] = None
                pending.extend(self._needs.get(one, ()))
        return tuple(found)

    def learn(self, name: bytes, blob: bytes) -> None:
        """Take a definition that a peer sent. It is unpickled when the first value names it."""
        self._blobs.setdefault(name, bytes(blob))

    def resolve(self, name: bytes) -> type:
        """Return the class that this digest names: the very one that it was made from, if that was in this process."""
        cls = self._classes.get(name)
        if cls is None:
            unpickler = ByValueUnpickler(self.blob(name), (), self, step=False)
            cls = unpickler.load()
            if not isinstance(cls, type):
                raise ProtocolError("a definition isn't that of a class")
            self._needs[name] = tuple(unpickler.named)
            self._classes[name] = cls
            self._states[name] = unpickler.states
            self._is_now(cls, name)
        elif self.names is not None and self._current.get(id(cls)) != name:
            for each, state in self._states[name]:
                self.change(each, state)
            self._is_now(cls, name)
        return cls

    def use(self, names: tuple[bytes, ...]) -> None:
        """In a slot: make the classes that these definitions are about what they say."""
        if self._used is not names:
            for name in names:
                self.resolve(name)
            self._used = names

    def change(self, cls: type, state: Any) -> None:
        """In a slot: make a class what cloudpickle says that it is."""
        attributes = frozenset(state[0])
        for name in self._attributes.get(id(cls), attributes) - attributes:
            with contextlib.suppress(AttributeError):
                delattr(cls, name)
        cloud._class_setstate(cls, state)
        self._attributes[id(cls)] = attributes
        self._current.pop(id(cls), None)
        self._used = None

    def _is_now(self, cls: type, name: bytes) -> None:
        self._current[id(cls)] = name
        self._named[id(cls)] = cls, name

    def name(self, cls: type, pending: frozenset[int]) -> bytes | None:
        """Return the digest by which a class travels, or None if it goes by reference or inside the pickle.

        `pending` are the classes whose definitions are being pickled: they refer to each other by value.
        """
        key = id(cls)
        if key in pending:
            return None
        if self.names is None and _by_value(cls):
            return self._digest_of(cls, pending)
        named = self._named.get(key)
        return None if named is None else named[1]

    def _digest_of(self, cls: type, pending: frozenset[int]) -> bytes:
        key = id(cls)
        if key in self._fresh:
            return self._named[key][1]
        pickler = ByValuePickler(self, None, pending | {key})
        pickler.dump(cls)
        blob = pickler.data()
        name = digest(blob)
        self._blobs[name] = blob
        self._needs[name] = tuple(pickler.named)
        self._classes[name] = cls
        self._named[key] = cls, name
        if not pending:  # else it may hold by value what the outer definition is about
            self._fresh.add(key)
        return name


class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, with classes by digest."""

    def __init__(
        self,
        definitions: Definitions | None,
        taker: Callable[[Any], bool] | None,
        pending: frozenset[int] = frozenset(),
        table: Mapping[type, Callable[[Any], Any]] | None = None,
    ) -> None:
        self._file = io.BytesIO()
        if table:
            self.dispatch_table = {**cloudpickle.Pickler.dispatch_table, **table}  # read by the base class's __init__
        super().__init__(self._file, protocol=PROTOCOL, buffer_callback=taker)
        self._definitions = definitions
        self._pending = pending
        self.named: dict[bytes, None] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Send a class as its definition's digest (`persistent_id` would be asked about every string and number)."""
        if isinstance(obj, type):
            name = None if self._definitions is None else self._definitions.name(obj, self._pending)
            if name is not None:
                self.named[name] = None
                return definition, (name,)
            return _with_slots(obj, super().reducer_override(obj))
        if isinstance(obj, io.TextIOWrapper) and obj not in {sys.stdout, sys.stderr, sys.stdin}:
            raise pickle.PicklingError("cannot pickle an open file")  # cloudpickle would send a copy of its content
        if isinstance(obj, functools._lru_cache_wrapper) and not _importable(obj):
            return _cached, (obj.__wrapped__, obj.cache_parameters())
        return super().reducer_override(obj)

    def data(self) -> bytes:
        """Return the pickle."""
        return self._file.getvalue()


class ByValueUnpickler(pickle.Unpickler):
    """Resolves classes by digest, and puts what comes by value into its place in this process.

    `calls` are what to call instead of the placeholders of wire/references.py.
    """

    def __init__(
        self,
        data: Buffer,
        buffers: Sequence[Buffer],
        definitions: Definitions,
        *,
        step: bool = False,
        calls: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._definitions = definitions
        self._step = step
        self.named: dict[bytes, None] = {}
        self.states: list[State] = []
        """What classes were made of, in a slot."""
        self._known: set[int] = set()
        self._hooks: dict[str, Callable[..., Any]] = {"definition": self._resolve}
        if definitions.names is None:
            self._hooks["_make_skeleton_class"] = self._make_class
            self._hooks["_make_skeleton_enum"] = self._make_enum
            self._hooks["_class_setstate"] = self._set_class_state
        else:
            self._hooks["_make_function"] = self._make_function
            self._hooks["_function_setstate"] = self._set_function_state
            self._hooks["_class_setstate"] = self._change_class
        if calls is not None:
            self._hooks.update(calls)

    def load(self) -> Any:
        """Unpickle; to be called once.

        Our methods among the hooks, and in the memo, are cycles: they would keep the value, which is in the memo too, until
        the garbage collector comes; for gigabytes of a few arrays it doesn't.
        """
        try:
            return super().load()
        finally:
            self._hooks.clear()
            self.memo.clear()

    def find_class(self, module: str, name: str, /) -> Any:
        """Return a global of a module, or what stands for it here."""
        if name in self._hooks and module in HOOKED:
            return self._hooks[name]
        return super().find_class(module, name)

    def _resolve(self, name: bytes) -> type:
        self.named[name] = None
        return self._definitions.resolve(name)

    # In a client: a class that comes back by value is the one that is there already, and stays as it is. (cloudpickle
    # would give it the attributes and methods that it had where it comes from.)

    def _make_class(self, *args: Any) -> Any:
        return self._made(cloud._make_skeleton_class, args, args[4])

    def _make_enum(self, *args: Any) -> Any:
        return self._made(cloud._make_skeleton_enum, args, args[5])

    def _made(self, make: Callable[..., Any], args: tuple[Any, ...], tracker_id: Any) -> Any:
        there = tracker_id in cloud._DYNAMIC_CLASS_TRACKER_BY_ID
        cls = make(*args)
        if there:
            self._known.add(id(cls))
        return cls

    def _set_class_state(self, cls: Any, state: Any) -> Any:
        return cls if id(cls) in self._known else cloud._class_setstate(cls, state)

    def _change_class(self, cls: type, state: Any) -> type:
        self._definitions.change(cls, state)
        self.states.append((cls, state))
        return cls

    # In a slot: functions find the shared names where they find builtins; those of a step live in them.

    def _make_function(self, code: Any, carried: dict[str, Any], *rest: Any) -> Any:
        names = self._definitions.names
        if self._step and names is not None and carried.get("__name__") == "__main__":
            return types.FunctionType(code, names, *rest)
        carried["__builtins__"] = names
        return types.FunctionType(code, carried, *rest)

    def _set_function_state(self, function: Any, state: Any) -> Any:
        own = function.__globals__
        before = own.get("__builtins__")
        cloud._function_setstate(function, state)
        own["__builtins__"] = before


def definition(name: bytes) -> type:
    """What a pickle calls for a class by digest; a `ByValueUnpickler` puts the class in its place."""
    raise UnknownDefinitionError(
        f"a value names a notebook's class, and is loaded without its definition ({name.hex()})"
    )


def _with_slots(cls: type, reduced: Any) -> Any:
    """A class's reduction by cloudpickle, which would set `__slots__` when it is too late, with them in their place."""
    if reduced is NotImplemented or reduced[0] is not cloud._make_skeleton_class or "__slots__" not in vars(cls):
        return reduced
    make, (kind, name, bases, names, *rest), (attributes, more), *others = reduced
    if typing.NamedTuple in bases:  # it makes its own
        return reduced
    names = {**names, "__slots__": vars(cls)["__slots__"]}
    attributes = {k: v for k, v in attributes.items() if not isinstance(v, types.MemberDescriptorType)}
    return make, (kind, name, bases, names, *rest), (attributes, more), *others


def _importable(function: Any) -> bool:
    """Whether what wraps a function can go by its name, as far as the function can."""
    module = function.__module__
    return module != "__main__" and module not in cloud._PICKLE_BY_VALUE_MODULES and "<" not in function.__qualname__


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Callable[..., Any]:
    """A function with a cache of its own: `functools.lru_cache` has no other way to travel by value."""
    cached: Callable[..., Any] = functools.lru_cache(**parameters)(function)
    return cached


def needs_by_value(data: bytes) -> bool:
    """Whether a plain pickle refers to what the receiver can't import."""
    if b"__main__" in data:
        return True
    registered = cloud._PICKLE_BY_VALUE_MODULES
    return bool(registered) and any(module.encode() in data for module in registered)


def holds_by_value(data: bytes | bytearray) -> bool:
    """Whether a pickle was made by a `ByValuePickler` or holds placeholders, or may: only a `ByValueUnpickler` reads it."""
    return b"cloudpickle" in data or b"twistcluster.wire." in data


def _by_value(cls: type) -> bool:
    module = cls.__module__
    return module == "__main__" or module in cloud._PICKLE_BY_VALUE_MODULES
