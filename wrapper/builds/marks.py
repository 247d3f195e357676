"""The lines that tools mark, among all that they print, when something fails.

Of TAP, node's runner, jest, mocha, vitest, tsc, eslint, npm, and of docker's builders.
They inform: a test can print such lines too. tests/support/failing has what the tools
really print.
"""

import re

# What a line has that may be one of them: most lines are passed over by this.
HINT = re.compile(
    rb"not ok|Subtest|failing|test at |\xe2\x9c\x96|\xe2\x97\x8f|FAIL|[eE]rror|ERR"
    rb"|fatal|\d\) |\w:[\r\x1b]|\w:$|returned a non-zero|\] (RUN|COPY|ADD|FROM) "
    rb"|Step \d",
    re.MULTILINE,
)
OF_BUILDKIT = re.compile(r"#(\d+) (?:\d+\.\d+ )?")
_NOT_OK = re.compile(r"( *)not ok \d+(?: - )?(.*?)(?: # time=.*)?(?: \{)?$")
_PASSED_OVER = re.compile(r"# (todo|skip)\b", re.I)
_SUBTEST = re.compile(r" *# Subtest: (.*)")
_NODE = re.compile(r" *✖ \S")
_JEST = re.compile(r" {0,2}● (?!Console)\S")
_VITEST = re.compile(r" ?FAIL  \S")
_JEST_FILE = re.compile(r"FAIL \S")
_MOCHA = re.compile(r" {1,6}\d+\) \S")
_TSC = re.compile(r"\S.*(\(\d+,\d+\):|:\d+:\d+ -) error TS\d+: ")
_ESLINT = re.compile(r" +\d+:\d+ +error +\S")
_ERROR = re.compile(r"\s*(\S*Error\b|error\b|fatal\b|ERROR\b|npm (ERR!|error) )")
_STEP = re.compile(r"\[.*\] (RUN|COPY|ADD|FROM) |Step \d+/\d+ : ")
_NPM = re.compile(r"npm (ERR!|error) (?!code |errno |A complete log|$)\S")
_NPM_NOISE = re.compile(r"npm (ERR!|error) (Lifecycle script|path |command |workspace)")
# What tells most comes first.
_ORDER = "test", "assertion", "type", "lint", "file", "builder", "npm"
FEW = 3  # errors of a builder's step that are shown, its first


def headline(texts: list[str]) -> str | None:
    """Of a build's failing lines the one that tells most; None where none is marked."""
    for text in texts:
        if _ERROR.match(text):
            return text.strip()
    kinds = _NOT_OK, _JEST, _VITEST, _JEST_FILE, _MOCHA, _TSC, _ESLINT, _NODE
    for text in texts:
        if any(kind.match(text) for kind in kinds):
            return text.strip()
    return None


class Marks:
    """Takes a step's lines in order, each with a number that stands for it."""

    def __init__(self) -> None:
        self._found: dict[str, list[int]] = {kind: [] for kind in _ORDER}
        self._subtests: set[str] = set()
        self._depths: list[int] = []  # of the red TAP tests that may have parents
        self._summary = ""  # node or mocha, once its list of failures has begun
        self._before = ""
        self._in_test = False  # of mocha's list, whose name goes on
        self._steps: dict[str, list[int]] = {}  # a builder's, by its number

    def best(self) -> list[int]:
        """The lines of the kind that tells most, in order; [] where none is marked."""
        return next((self._found[kind] for kind in _ORDER if self._found[kind]), [])

    def take(self, text: str, key: int) -> None:
        """A line, clean, without its end."""
        number = ""
        if head := OF_BUILDKIT.match(text):
            number, text = head[1], text[head.end() :]
        self._take_of_builder(number, text, key)
        if not (self._takes_tap(text, key) or self._takes_list(text, key)):
            self._takes_other(text, key)
        self._before = text

    def _takes_tap(self, text: str, key: int) -> bool:
        if subtest := _SUBTEST.fullmatch(text):
            self._subtests.add(subtest[1].strip())
            return True
        red = _NOT_OK.fullmatch(text)
        if not red or _PASSED_OVER.search(text):
            return bool(red)
        depth, name = len(red[1]), red[2].strip()
        if name not in self._subtests:
            self._found["assertion"].append(key)
            return True
        if not self._depths or self._depths[-1] <= depth:
            self._found["test"].append(key)
        # Else it is red since what it holds is, which was named before it.
        self._depths = [d for d in self._depths if d <= depth]
        self._depths.append(depth)
        return True

    def _takes_list(self, text: str, key: int) -> bool:
        """A runner's list of failures at its end: node's, mocha's."""
        if text.startswith("✖ failing tests"):
            self._summary = "node"
        elif re.fullmatch(r" {2}\d+ failing", text):
            self._summary = "mocha"
        elif self._summary == "node" and text.lstrip().startswith("✖ "):
            if self._before.startswith("test at "):
                self._found["test"].append(key)
        elif self._summary == "mocha" and _MOCHA.match(text):
            self._in_test = not text.endswith(":")
            self._found["test"].append(key)
        elif self._in_test and text.strip():
            # Below its suites' names stands the test's, with a colon behind it.
            self._found["test"][-1] = key
            self._in_test = not text.endswith(":")
        else:
            return False
        return True

    def _takes_other(self, text: str, key: int) -> None:
        if _JEST.match(text) or (_VITEST.match(text) and " > " in text):
            self._found["test"].append(key)
        elif _JEST_FILE.match(text) or _VITEST.match(text):
            self._found["file"].append(key)
        elif _TSC.match(text):
            self._found["type"].append(key)
        elif _ESLINT.match(text):
            self._found["lint"].append(key)
        elif _NPM.match(text) and not _NPM_NOISE.match(text):
            self._found["npm"].append(key)

    def _take_of_builder(self, number: str, text: str, key: int) -> None:
        """BuildKit's lines have a step's number, the classic builder's follow one."""
        if _STEP.match(text):
            self._steps[number] = [key]
        elif text.startswith("ERROR: ") and number:
            self._found["builder"] = [*self._steps.get(number, []), key]
        elif not number and " returned a non-zero code: " in text:
            self._found["builder"] = [*self._steps.get("", []), key]
        elif _ERROR.match(text) and len(self._steps.get(number, ())) in range(
            1, FEW + 1
        ):
            self._steps[number].append(key)
