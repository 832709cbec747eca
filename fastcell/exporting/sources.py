"""Sources of the C core as top-level items, and the items that a cell's step needs.

An exported file has the core's own text: the functions of `src_c/cells` and of
`src_c/math`, with their comments. This module reads these files, follows their includes
from the registry of cells on, and takes the branches of conditions for float32 on an
unknown processor. What is left is a list of *items*: functions, types, constants and
macros. `Sources.needed` returns those that some names lead to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

_REGISTRY = "cells/registry.h"
_DEFINED = {"FC_REAL_BITS": 32}
_WORD = re.compile(r"[A-Za-z_]\w*")
_ENUM = re.compile(r"(?:typedef\s+)?enum\s*(\w*)\s*\{(.*?)\}\s*(\w*)\s*;", re.S)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


class Item(NamedTuple):
    """A top-level piece of C with the comment before it.

    Attributes
    ----------
    names : tuple of str
        What it defines: a function, a type and its tag, the constants of an enum.
    text : str
    """

    names: tuple[str, ...]
    text: str

    @property
    def words(self) -> set[str]:
        """The identifiers in its code."""
        return set(_WORD.findall(_COMMENT.sub(" ", self.text)))

    @property
    def is_cell(self) -> bool:
        """Whether it is the descriptor of a cell."""
        return bool(re.search(r"^static const fc_cell \w+ =", self.text, re.M))


class Sources(NamedTuple):
    """The items of the core that cells are made of, each after those that it needs."""

    items: tuple[Item, ...]

    def needed(self, names: Iterable[str], given: Iterable[str]) -> list[Item]:
        """Return the items that `names` lead to, but not those that define `given`."""
        given = set(given)
        by_name = {n: i for i in self.items if not i.is_cell for n in i.names}
        found: set[Item] = set()
        left = [*names]
        while left:
            item = by_name.get(left.pop())
            if item is None or item in found or given & {*item.names}:
                continue
            found.add(item)
            left.extend(item.words)
        return [item for item in self.items if item in found]

    def cell(self, name: str) -> dict[str, Any]:
        """Return the fields of a cell's descriptor, `fc_cell` in `cells/cell.h`."""
        for item in self.items:
            if name in item.names and item.is_cell:
                text = _COMMENT.sub(" ", item.text)
                fields = _parsed(text[text.index("=") + 1 :], self.constants())
                assert isinstance(fields, dict)
                return fields
        raise KeyError(name)

    def cells(self) -> list[str]:
        """Return the names of all cells."""
        return [item.names[0] for item in self.items if item.is_cell]

    def constants(self) -> dict[str, int]:
        """Return the values of all constants of enums."""
        values: dict[str, int] = {"true": 1, "false": 0}
        for item in self.items:
            body = _ENUM.match(_COMMENT.sub("", item.text).strip())
            if body is None:
                continue
            following = 0
            for part in filter(None, map(str.strip, body[2].split(","))):
                name, _, value = (side.strip() for side in part.partition("="))
                if value in values:
                    following = values[value]
                elif value.isdigit():
                    following = int(value)
                elif value:  # an expression: no descriptor uses such a constant
                    continue
                values[name] = following
                following += 1
        return values


# What has been read: the installed files do not change. (functools.cache is not used:
# type checkers see its functions as those of any arguments.)
_read: dict[str, Any] = {}


def sources() -> Sources:
    """Return the sources of the installed library.

    Raises
    ------
    FileNotFoundError
        If they are missing from the installation.
    """
    if "sources" not in _read:
        own = [_template("access.h"), _template("steps.h")]
        access, steps = (list(_items(text)) for text in own)
        text = "".join(_included(_folder(), _REGISTRY, set()))
        core = list(_items(re.sub(r"\bsqrt\(", "net_root(", text)))
        by_name = {item.names: item for item in access}
        replaced = [by_name.pop(item.names, item) for item in core]
        _read["sources"] = Sources((*by_name.values(), *replaced, *steps))
    found: Sources = _read["sources"]
    return found


def primitives() -> tuple[str, frozenset[str]]:
    """Return the text of the vectors, and the names that it defines."""
    if "primitives" not in _read:
        text = _template("primitives.h")
        defined = re.findall(r"^FC_INLINE \w+ (\w+)\(", text, re.M)
        types = re.findall(r"^typedef [\w ]+ (\w+)(?: __attribute__.*)?;", text, re.M)
        _read["primitives"] = text, frozenset({*defined, *types, "V", "FC_INLINE"})
    found: tuple[str, frozenset[str]] = _read["primitives"]
    return found


def template(name: str) -> Template:
    """Return a file of the templates, to be filled in."""
    return Template(_template(name))


def _template(name: str) -> str:
    return (Path(__file__).parent / name).read_text()


def _folder() -> Path:
    """Return the folder of the core: in an installed package, or beside the source."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_src_c", package.parent / "src_c"):
        if (folder / _REGISTRY).is_file():
            return folder
    raise FileNotFoundError(f"{package / '_src_c'} must have the core's C sources")


def _included(folder: Path, name: str, seen: set[str]) -> Iterator[str]:
    """Yield the text of a file, of 32 bits, each included file once in its place."""
    if name in seen or not (path := folder / name).is_file():
        return
    seen.add(name)
    for line in _chosen(path.read_text()):
        if included := re.match(r'\s*#\s*include\s+"(.+)"', line):
            inner = included[1]
            inner = f"include/{inner}" if inner.startswith("fastcell") else inner
            yield from _included(folder, inner, seen)
        elif not re.match(r"\s*#\s*(include|undef|error|pragma)\b", line):
            yield line


def _chosen(text: str) -> Iterator[str]:
    """Yield the lines of the branches that are compiled, without the conditions."""
    taken: list[tuple[bool, bool]] = []  # of each open condition: this branch, any yet
    for line in text.splitlines(keepends=True):
        words = re.match(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b(.*)", line)
        if words is None:
            if all(this for this, _ in taken):
                yield line
            continue
        kind, condition = words[1], _COMMENT.sub("", words[2]).strip()
        if kind in ("if", "ifdef", "ifndef"):
            holds = _holds(kind, condition)
            taken.append((holds, holds))
        elif kind == "endif":
            taken.pop()
        else:
            _, before = taken.pop()
            holds = not before and (kind == "else" or _holds("if", condition))
            taken.append((holds, before or holds))


def _holds(kind: str, condition: str) -> bool:
    if kind == "ifdef":
        return condition in _DEFINED
    if kind == "ifndef":  # also the guard of a header, which is read once
        return condition not in _DEFINED
    code = re.sub(
        r"defined\s*\(?\s*(\w+)\s*\)?", lambda m: str(int(m[1] in _DEFINED)), condition
    )
    code = _WORD.sub(lambda m: str(_DEFINED.get(m[0], 0)), code)
    code = code.replace("&&", " and ").replace("||", " or ")
    code = re.sub(r"!(?!=)", " not ", code)
    if not re.fullmatch(r"(?:\d+|and|or|not|[=!<>]=?|[()\s])+", code):
        raise ValueError(f"#{kind} {condition}: a condition the export cannot read")
    return bool(eval(code, {"__builtins__": {}}))


Macros = dict[str, tuple[list[str], str]]  # parameters and body, by the name


def _items(text: str, macros: Macros | None = None) -> Iterator[Item]:
    """Yield the items of a text without conditions; macros that make items expanded."""
    macros = {} if macros is None else macros
    comment = ""
    for piece in _pieces(text, macros):
        if piece.startswith("/*"):
            comment = piece + "\n"
            continue
        called = re.match(r"(\w+)\s*\((.*)\)(;?)$", piece, re.S)
        if macro := re.match(r"#\s*define\s+(\w+)(\(([^)]*)\))?((?:.|\n)*)", piece):
            if macro[2]:
                parameters = [p.strip() for p in macro[3].split(",")]
                macros[macro[1]] = parameters, macro[4].replace("\\\n", "\n")
            if macro[4].strip():  # not the guard of a header
                yield Item((macro[1],), comment + piece)
        elif called and called[1] in macros:
            made = _expanded(*macros[called[1]], called[2]) + called[3]
            yield from _items(comment + made, macros)
        elif piece[0] != "#" and (names := _names(piece)):
            yield Item(names, comment + piece)
        comment = ""


def _pieces(text: str, macros: Macros) -> Iterator[str]:
    """Yield comments, directives, declarations and calls of macros in their order."""
    at, end = 0, len(text)
    directive = re.compile(r"(?:\\\n|[^\n])*")
    call = re.compile(r"(\w+)\s*\([^()]*\);?")
    while at < end:
        if text[at].isspace():
            at += 1
            continue
        start = at
        if text.startswith("/*", at):
            at = text.index("*/", at) + 2
        elif text[at] == "#":
            at += len(directive.match(text, at)[0])  # type: ignore[index]
        elif (made := call.match(text, at)) and made[1] in macros:
            at = made.end()
        else:
            at = _end_of_declaration(text, at)
        yield text[start:at]


def _end_of_declaration(text: str, at: int) -> int:
    """Return where a declaration ends: behind its `;`, or a function's last brace."""
    depth = 0
    is_function = False
    while True:
        if text.startswith("/*", at):
            at = text.index("*/", at) + 2
            continue
        sign = text[at]
        if sign == "{" and depth == 0:
            is_function = text[:at].rstrip().endswith(")")
        depth += (sign in "({[") - (sign in ")}]")
        at += 1
        if depth == 0 and (sign == ";" or (sign == "}" and is_function)):
            return at


def _names(piece: str) -> tuple[str, ...]:
    """Return what a declaration defines."""
    code = _COMMENT.sub(" ", piece)
    if body := _ENUM.match(code.strip()):
        constants = [part.split("=")[0].strip() for part in body[2].split(",")]
        return (*dict.fromkeys(filter(None, [*constants, body[1], body[3]])),)
    if named := re.match(r"typedef\b.*?(\w+)\s*;$", code, re.S):
        pointer = (
            re.search(r"\(\*\s*(\w+)\s*\)\s*\(", code) if "{" not in code else None
        )
        return (pointer[1] if pointer else named[1],)
    code = re.sub(r"__attribute__\s*\(\([^)]*\)\)", " ", code)
    head = re.match(r"[^({=;\[]*", code)
    words = _WORD.findall(head[0]) if head else []
    return (words[-1],) if len(words) > 1 else ()


def _expanded(parameters: list[str], body: str, given: str) -> str:
    """Return the body of a macro with its arguments; those have no comma inside."""
    values = dict(zip(parameters, (a.strip() for a in given.split(",")), strict=True))

    def value(match: re.Match[str]) -> str:
        return values.get(match[0], match[0])

    def quoted(match: re.Match[str]) -> str:
        return f'"{values[match[1]]}"' if match[1] in values else match[0]

    body = re.sub(r"(?<!#)#(?!#)\s*(\w+)", quoted, body)
    body = re.sub(r"\s*##\s*", "", re.sub(r"\w+", value, body))
    return re.sub(r"[ \t]+\n", "\n", body).strip()


def _parsed(text: str, constants: dict[str, int]) -> Any:
    """Return a C initializer: a list, or a dict if it has designators."""
    tokens = re.findall(r'"[^"]*"|\w+|[{}\[\].,=|+*-]', text)
    place = 0

    def value() -> Any:
        nonlocal place
        token = tokens[place]
        place += 1
        if token != "{":
            if tokens[place] not in ",}":  # an expression, which the export never reads
                while tokens[place] not in ",}":
                    place += 1
                return None
            return constants.get(token, int(token) if token.isdigit() else token)
        named: dict[str, Any] = {}
        plain: list[Any] = []
        while tokens[place] != "}":
            if tokens[place] == ".":
                name = tokens[place + 1]
                place += 3
                named[name] = value()
            else:
                plain.append(value())
            if tokens[place] == ",":
                place += 1
        place += 1
        return named or plain

    return value()
