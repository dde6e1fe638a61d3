"""YAML files that people write: every mistake is a ConfigError with file, line and what was expected."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bus.errors import ConfigError

Fields = dict[str, tuple[str, Callable[[Any], Any]]]
"""For each field, what is expected in words, and the function that reads its value (ValueError when it is not that)."""


class _Loader(yaml.SafeLoader):
    """PyYAML's, but for the words that YAML 1.1 took for booleans: NO is a country and ON a ticker."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))


def shown(node: yaml.Node) -> str:
    """A node as an error message quotes it: at most 80 characters of a value."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value) if len(node.value) <= 80 else f"{node.value[:80]!r}..."
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def plain(node: yaml.Node) -> Any:
    """The value of a scalar, or of a list of scalars, as YAML understands it. Raises ValueError for anything else."""
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value if isinstance(item, yaml.ScalarNode) or _refuse(item)]
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError("not a scalar")
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


def _refuse(node: yaml.Node) -> bool:
    raise ValueError("not a scalar")


class YamlFile:
    """A document of named entries: ``<section>:`` and under it a list of mappings, read node by node.

    The nodes still know their lines, which loaded values do not.
    """

    def __init__(self, text: str, file: str) -> None:
        """Parse ``text``; ``file`` is what errors call it. Raises ConfigError when it is not YAML."""
        self.file = file
        try:
            self._root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise ConfigError(f"{file}:{line}: not YAML: {error.problem or error.context}") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{file}: not YAML: {str(error).splitlines()[0]}") from error

    @classmethod
    def read(cls, path: Path) -> "YamlFile":
        """The document in a file. Raises ConfigError when it is missing, not UTF-8 or not YAML."""
        try:
            return cls(path.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; 'squall init DIR' writes a commented example") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error

    def fail(self, node: yaml.Node, text: str) -> ConfigError:
        """The error for a mistake at a node, to be raised."""
        return ConfigError(f"{self.file}:{node.start_mark.line + 1}: {text}")

    def entries(self, section: str, most: int) -> list[yaml.Node]:
        """The nodes of the list under ``section``, the document's only key. Raises ConfigError."""
        if self._root is None:
            raise ConfigError(f"{self.file}:1: expected '{section}:' with a list of {section}, got an empty file")
        top = self.mapping(self._root, "the file", {section})
        if section not in top:
            raise self.fail(self._root, f"expected '{section}:' with a list of {section}")
        entries = top[section]
        if isinstance(entries, yaml.ScalarNode) and entries.tag == "tag:yaml.org,2002:null":
            return []
        if not isinstance(entries, yaml.SequenceNode):
            raise self.fail(entries, f"{section}: expected a list, got {shown(entries)}")
        if len(entries.value) > most:
            raise self.fail(entries, f"{section}: expected at most {most}, got {len(entries.value)}")
        return list(entries.value)

    def values(self, node: yaml.Node, what: str, fields: Fields, needed: tuple[str, ...]) -> dict[str, Any]:
        """The values of one entry, each read and checked by its field. Raises ConfigError."""
        found = self.mapping(node, what, set(fields))
        for name in needed:
            if name not in found:
                wanted = " and ".join(f"'{each}'" for each in needed)
                raise self.fail(node, f"{what} needs {wanted}, and '{name}' is missing")
        values: dict[str, Any] = {}
        for name, value in found.items():
            expected, read = fields[name]
            try:
                values[name] = read(plain(value))
            except ValueError as error:
                raise self.fail(value, f"{name}: expected {expected}, got {shown(value)}") from error
        return values

    def mapping(self, node: yaml.Node, what: str, known: set[str]) -> dict[str, yaml.Node]:
        """The values of a mapping node by field, all of them known and none twice. Raises ConfigError."""
        if not isinstance(node, yaml.MappingNode):
            raise self.fail(node, f"expected {what} to be 'field: value' lines, got {shown(node)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in known:
                raise self.fail(key, f"unknown field {name!r}; expected one of {', '.join(sorted(known))}")
            if name in found:
                raise self.fail(key, f"{name}: stands twice in one place")
            found[name] = value
        return found

    def unique(self, seen: dict[str, int], name: str, node: yaml.Node, kind: str) -> None:
        """Note a name's line in ``seen``. Raises ConfigError when another entry has it already."""
        if name in seen:
            raise self.fail(node, f"name: {name!r} is taken by the {kind} in line {seen[name]}; names are unique")
        seen[name] = node.start_mark.line + 1
