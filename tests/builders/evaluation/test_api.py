"""Calls against signatures: judged as Python would bind them, and never run."""

from __future__ import annotations

import inspect
import json
import pathlib
from pathlib import Path

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.api import Api, valid
from adapterworks.manifests.errors import InvalidInput

SIGNATURES: dict[str, str | None] = {
    "json.dumps": str(inspect.signature(json.dumps)),
    "json.loads": str(inspect.signature(json.loads)),
    "json.JSONDecodeError": None,
    "pathlib.Path": "(*args, **kwargs)",
    "pathlib.Path.read_text": str(inspect.signature(pathlib.Path.read_text)),
    "pathlib.Path.write_text": str(inspect.signature(pathlib.Path.write_text)),
    "store.open": "(name, /, mode=<object object at 0x7f>, *, create: bool)",
    "get_weather": "(city: str, unit: str = 'c')",
}
API = Api(SIGNATURES)
RIGHT = [
    "import json\njson.dumps({}, indent=2)",
    "import json as j\nj.loads(text)",
    "from json import dumps as d\nprint(d(x, default=str, sort_keys=True))",
    "from json import *\nloads(text)",
    "import json\njson.dumps(*values, **options)",
    "from pathlib import Path\np = Path('x')\nprint(p.read_text(encoding='utf-8'))",
    "import pathlib\nwith pathlib.Path('x') as p:\n    p.write_text('y', newline='')",
    "import store\nstore.open('a', create=True)",
    "get_weather('Basel', unit='f')",
    "```python\nget_weather(city='Basel')\n```",
    "import json, requests\nrequests.get(json.dumps({}))",
    "import json\ntry:\n    json.loads(x)\nexcept json.JSONDecodeError as e:\n    e.add_note(1)",
]
WRONG = [
    "import json\njson.dump_string({})",
    "import json\njson.dumps({}, 2)",
    "import json\njson.dumps()",
    "import json\njson.loads(a, b)",
    "from json import to_json\n",
    "import json.tools\njson.dumps({})",
    "from pathlib import Path\np = Path('x')\np.read_lines()",
    "from pathlib import Path\np = Path('x')\np.read_text('utf-8', 'strict', None, 1)",
    "import store\nstore.open(name='a', create=True)",
    "import store\nstore.open('a', 'r', True)",
    "import store\nstore.open('a')",
    "get_weather()",
    "get_weather('Basel', city='Bern')",
    "get_weather('Basel', units='f')",
    "import json\njson.dumps({})\njson.nothing()",
    "print(1)",
    "import requests\nrequests.get(url)",
    "import json\njson.dumps({}",
    "",
    "I would call json.dumps(x).",
]


@pytest.mark.parametrize("answer", RIGHT)
def test_what_the_signatures_allow_is_valid(answer: str) -> None:
    assert valid(answer, API)
    assert metric("api_valid").score(answer, chat("q", "a", api=SIGNATURES)) == 1.0


@pytest.mark.parametrize("answer", WRONG)
def test_what_they_do_not_allow_is_not(answer: str) -> None:
    assert not valid(answer, API)
    assert metric("api_valid").score(answer, chat("q", "a", api=json.dumps(SIGNATURES))) == 0.0


def test_what_cannot_be_told_is_not_judged() -> None:
    known = "import json\njson.dumps({})\n"
    for more in (
        "def f(json):\n    json.nothing()",  # a parameter of that name
        "def get_weather(a, b, c, d):\n    ...\nget_weather(1, 2, 3, 4)",
        "from pathlib import Path\np = Path(1)\np = other()\np.read_lines()",
        "json.loads(x).get(1, 2, 3)",
    ):
        taken = "def f(json)" not in more
        assert valid((known if taken else "get_weather(1)\nimport json\n") + more, API), more


def test_nothing_is_imported_or_run(tmp_path: Path) -> None:
    place = tmp_path / "made"
    answer = f"import pathlib\npathlib.Path({str(place)!r}).write_text('x')\nget_weather(1)"
    assert valid(answer, API)
    assert not place.exists()
    assert valid("import nowhere\nnowhere.f(1)", Api({"nowhere.f": "(x)"}))


def test_a_row_whose_own_answer_is_no_call_of_its_api_is_refused() -> None:
    require = metric("api_valid").require
    assert require is not None
    require([chat("q", "get_weather(1)", api=SIGNATURES)])
    with pytest.raises(InvalidInput, match="row 3 makes no valid call"):
        require([chat("q", "get_weather()", row=3, api=SIGNATURES)])
