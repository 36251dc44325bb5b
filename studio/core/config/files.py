"""A run's config as a YAML file that people read, write and keep. Pure: text in, values out, and back.

Only what differs from the defaults is written, with its label behind it. Read is by `yaml.safe_load`'s rules, under
limits, with every fault at its line; anchors and tags are refused, so that a small file stays small.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from studio.core.config import Knob, RunConfig, knobs, parse_config
from studio.core.config.difference import flat, same
from studio.core.errors import Fault, Faults

MOST_BYTES = 64 * 1024
MOST_DEPTH = 3
_TEXTS = {"name": "Name", "dataset": "Dataset", "dataset_id": "Dataset's id"}
_WAY_OUT = "Write one line for each setting, as `learning_rate: 0.0002` below `training:`."


@dataclass(frozen=True)
class RunFile:
    """What a file says: the config nested by group (unchecked), the run's name, the dataset by name and by id."""

    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    name: str = ""
    dataset: str = ""
    dataset_id: str = ""


def to_yaml(found: RunFile, file_name: str = "run.yaml") -> str:
    """The text of a file. Fields at their defaults are left out; the base model stands there always."""
    lines = [f"# A run of Tunesmith. It starts with: tunesmith train {file_name}",
             "# What is not written here is at its default."]  # fmt: skip
    lines += [f"{key}: {_scalar(getattr(found, key))}" for key in _TEXTS if getattr(found, key)]
    values, group = flat(found.config), ""
    for knob in knobs():
        if knob.path != "base.repo" and same(values[knob.path], knob.default):
            continue
        part, _, name = knob.path.partition(".")
        if part != group:
            lines += ["", f"{part}:"]
            group = part
        lines.append(f"  {name}: {_scalar(values[knob.path])}  # {knob.label}{_usual(knob)}")
    return "\n".join(lines) + "\n"


def _usual(knob: Knob) -> str:
    """What it would be if it was not written."""
    if knob.path in ("base.repo", "base.revision") or knob.default == "":
        return ""
    return f", usually {_scalar(knob.default)}"


def _scalar(value: Any) -> str:
    """One value on one line, as YAML's own rules quote it."""
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.15g}"  # 5e-06 and 3, as people write them; the reader knows both
    text = yaml.safe_dump(value, width=10**6, allow_unicode=True, default_style=None)
    return str(text).removesuffix("\n").removesuffix("\n...")


def from_yaml(text: str) -> RunFile:
    """What the text says. Raises `Faults` with every fault, each at its line; the config is checked too."""
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise Faults(
            [Fault("file", f"The file is larger than {MOST_BYTES // 1024} kB.", "A config takes a few lines.")]
        )
    reading = _Reading()
    reading.top(_root(text))
    try:
        parse_config(reading.config)
    except Faults as error:
        reading.faults += [reading.at_its_line(fault) for fault in error.faults]
    if reading.faults:
        raise Faults(sorted(reading.faults, key=lambda fault: reading.lines.get(fault.field, 10**9)))
    return RunFile(reading.config, **reading.texts)


def _root(text: str) -> yaml.Node:
    """The tree of the text. Raises `Faults` where it is no YAML, or more than a config needs."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            named = isinstance(event, yaml.NodeEvent) and event.anchor
            tagged = isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag
            if depth > MOST_DEPTH or named or tagged:
                what = "is nested too deep" if depth > MOST_DEPTH else "has an anchor or a tag"
                raise Faults([Fault("file", f"Line {event.start_mark.line + 1} {what}.", _WAY_OUT)])
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"Line {mark.line + 1}" if mark else "The file"
        raise Faults([Fault("file", f"{line} can not be read: {error.problem}.", _WAY_OUT)]) from error
    except (yaml.YAMLError, ValueError) as error:  # characters that YAML does not know
        raise Faults([Fault("file", "The file is no text that YAML knows.", _WAY_OUT)]) from error
    if root is None:
        raise Faults([Fault("file", "The file says nothing.", _WAY_OUT)])
    return root


class _Reading:
    """What was read so far: the config, the texts beside it, the lines of both, and the faults."""

    def __init__(self) -> None:
        self.config: dict[str, dict[str, Any]] = {}
        self.texts: dict[str, str] = {}
        self.lines: dict[str, int] = {}
        self.faults: list[Fault] = []
        self._knobs = {knob.path: knob for knob in knobs()}

    def top(self, root: yaml.Node) -> None:
        """The whole file."""
        for name, value in self._pairs(root, ""):
            if name in RunConfig.model_fields:
                for inner, node in self._pairs(value, name):
                    self._setting(f"{name}.{inner}", node)
            elif name in _TEXTS:
                self._text(name, value)
            else:
                known = ", ".join([*_TEXTS, *RunConfig.model_fields])
                self._fault(name, f"There is nothing called {name[:60]!r}.", f"Use one of: {known}.")

    def _pairs(self, node: yaml.Node, group: str) -> Iterator[tuple[str, yaml.Node]]:
        """Names and values of a mapping; what is none, or stands there twice, is a fault."""
        if not isinstance(node, yaml.MappingNode):
            if not (isinstance(node, yaml.ScalarNode) and node.value == ""):  # a group with nothing in it
                where = f"{group!r}" if group else "The file"
                self.lines.setdefault(group or "file", node.start_mark.line + 1)
                self._fault(group or "file", f"{where} does not hold names with values.", _WAY_OUT)
            return
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "a list"
            path = f"{group}.{name}" if group else name
            if path in self.lines:
                self.lines[path] = key.start_mark.line + 1
                self._fault(path, f"{name[:60]!r} stands here twice.", "Keep one of the two.")
                continue
            self.lines[path] = key.start_mark.line + 1
            yield name, value

    def _setting(self, path: str, node: yaml.Node) -> None:
        knob = self._knobs.get(path)
        if knob is None:
            self._fault(path, f"There is no setting called {path[:80]!r}.", "Leave it out.")
        elif not isinstance(node, yaml.ScalarNode):
            self._fault(path, f"{knob.label} can not be a list.", "Write one value.")
        else:
            group, _, name = path.partition(".")
            self.config.setdefault(group, {})[name] = _value(knob, node)

    def _text(self, name: str, node: yaml.Node) -> None:
        if isinstance(node, yaml.ScalarNode):
            self.texts[name] = str(node.value)
        else:
            self._fault(name, f"{_TEXTS[name]} can not be a list.", "Write one name.")

    def _fault(self, path: str, problem: str, remedy: str) -> None:
        self.faults.append(self.at_its_line(Fault(path, problem, remedy)))

    def at_its_line(self, fault: Fault) -> Fault:
        """The fault, with its line in front."""
        line = self.lines.get(fault.field)
        return Fault(fault.field, f"Line {line}: {fault.problem}", fault.remedy) if line else fault


def _value(knob: Knob, node: yaml.ScalarNode) -> Any:
    """A scalar as its field takes it: a text stays as it was written (`no`, `5`), the rest by YAML's rules."""
    if isinstance(knob.default, str):
        return str(node.value)
    try:
        value = yaml.SafeLoader("").construct_object(node)
        return value if isinstance(value, bool | int | float) else float(node.value)  # YAML takes 1e-4 for a text
    except (ValueError, yaml.YAMLError):
        return str(node.value)
