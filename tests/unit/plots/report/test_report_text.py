"""What a stranger writes into a results file shows as text in a report, in HTML, in its data and in Markdown."""

import json
import re
import shlex
from html.parser import HTMLParser

import msgspec
import pytest

from plots.report.content import gather
from plots.report.escaping import json_in_html, markdown, visible
from plots.report.html import to_html
from plots.report.markdown import to_markdown
from profiler.results.file import Results
from tests.support.cells import artifact
from tests.support.rounds import a_round, no_round, results, with_cell
from tests.support.summaries import environment

SCRIPT = "</script><script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
ESCAPES = "\x1b[31mred\x07 \u202egpj.exe \u2066x\u2069 \u200bzero"
TEMPLATE = "{{ 7 * 7 }}{% for x in y %}"
HOSTILE = [SCRIPT, IMAGE, ESCAPES, TEMPLATE, "<!--", "a|b`c`*d*_e_[f](g)", "../../x/evil", "%n" * 3000]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Q4_K_M", "Q4_K_M"),
        ("größer 模型", "größer 模型"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc", "a b c"),
        ("\u202eabc", "\\u202eabc"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("x" * 401, "x" * 399 + "…"),
    ],
)
def test_letters_without_a_shape_show_their_number(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_data_cannot_end_its_element() -> None:
    text = json_in_html(["</script>", "<!--", "]]>", "&amp;", "\u2028"])
    assert re.search(r"[<>&\u2028]", text) is None
    assert json.loads(text) == ["</script>", "<!--", "]]>", "&amp;", "\u2028"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Q4_K_M", "Q4_K_M"),
        ("_a_ *b*", "\\_a\\_ \\*b\\*"),
        ("a|b", "a\\|b"),
        ("[x](y)", "\\[x\\](y)"),
        ("<b>&lt;", "\\<b\\>\\&lt;"),
        ("# x\n# y", "\\# x \\# y"),
    ],
)
def test_markdown_shows_markup_as_text(text: str, shown: str) -> None:
    assert markdown(text) == shown


def hostile(text: str) -> Results:
    """Results in which everything that a file may say freely is `text`."""
    where = environment(board=text, cpu_model=text, governor=text, thread_variables={text: text}, llama_commit=text)
    file = artifact(
        "a" * 64, model=text, file_name=text, level=text, arch=text, weights=text, standin_for=text,
        standin_family=text, source=text, revision=text,
    )  # fmt: skip
    bad = artifact("b" * 64, model=text, level="Q8_0", file_name=text)
    rounds = [
        a_round(0, env_id=where.id),
        # The answer is of the load with the most cells, which therefore can be run.
        *(with_cell(a_round(0, env_id=where.id), workload=text, n_threads=n_threads) for n_threads in (1, 2)),
        with_cell(a_round(0, env_id=where.id), workload=text, load_mode=text, type_k=text),
        with_cell(no_round(0, message=text, env_id=where.id), "b" * 64),
    ]
    return results(*rounds, artifacts=[file, bad], environments=[where])


class Page(HTMLParser):
    """Collects elements, attributes and texts as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


PLAIN = Page(to_html(gather(hostile("plain"), draw=False)))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_makes_no_element_and_shows(text: str) -> None:
    html = to_html(gather(hostile(text), draw=False))
    page = Page(html)
    assert page.tags == PLAIN.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in PLAIN.attributes]
    words = " ".join(page.words)
    assert visible(text).strip()[:300] in words
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", html) is None
    html.encode()


def test_hostile_text_in_charts_is_text_and_no_two_ids_are_equal() -> None:
    where = environment(board=SCRIPT, cpu_model=IMAGE)
    files = [artifact(letter * 64, model=SCRIPT, level=level) for letter, level in (("a", IMAGE), ("b", "Q8_0"))]
    rounds = [with_cell(a_round(0, env_id=where.id), file.sha256) for file in files]
    found = results(*rounds, artifacts=files, environments=[where])
    report = gather(found)
    assert [chart.name for chart in report.charts] == [
        "latency-vs-parameters-p6-n4-d0", "memory-by-part-p6-n4-d0", "decode-vs-size-p6-n4-d0",
        "level-tradeoff-p6-n4-d0", "pareto-p6-n4-d0"
    ]  # fmt: skip
    assert report.charts[2].words.startswith("Decode speed against file size ")
    page = Page(to_html(report))
    assert page.tags.count("svg") == 5
    assert (page.tags.count("script"), page.tags.count("img"), page.tags.count("style")) == (2, 0, 1)
    assert [name for name, _ in page.attributes if name.startswith("on")] == []
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    references = [value for name, value in page.attributes if value and name == "href" and value.startswith("#chart")]
    assert len(references) > 20
    assert {value.removeprefix("#") for value in references} <= set(ids)


def test_the_page_s_policy_forbids_the_network() -> None:
    policy = next(value or "" for _, value in PLAIN.attributes if value and "default-src" in value)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("script-src").startswith("'sha256-")
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    links = [value for name, value in PLAIN.attributes if name in ("href", "src", "action") and value]
    assert [link for link in links if not link.startswith(("#", "data:,"))] == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_markdown_ends_no_line_and_no_cell(text: str) -> None:
    def made(word: str) -> list[str]:
        found = hostile(word)
        return to_markdown(gather(found, draw=False), found.environments).splitlines()

    lines, plain = made(text), made("plain")
    assert len(lines) == len(plain)
    bar = re.compile(r"(?<!\\)\|")
    # Tables are in the order of their names.
    assert sorted(len(bar.findall(line)) for line in lines if line.startswith("|")) == sorted(
        len(bar.findall(line)) for line in plain if line.startswith("|")
    )
    fences = [place for place, line in enumerate(lines) if re.fullmatch(r"`{3,}(sh)?", line)]
    code = {place for first, last in zip(fences[::2], fences[1::2], strict=True) for place in range(first, last + 1)}
    outside = "\n".join(line for place, line in enumerate(lines) if place not in code)
    assert re.search(r"(?<!\\)[<>\[\]]", re.sub(r"\[[\d., ]+\]|\[[a-z][^\]\\]*rounds?[^\]\\]*\]", "", outside)) is None
    assert re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e]", outside) is None


@pytest.mark.parametrize("text", [SCRIPT, "$(rm -rf ~)", "a'b; reboot", "--output", ESCAPES, "/etc/../x.gguf"])
def test_a_command_runs_nothing_of_a_file_s_name(text: str) -> None:
    found = hostile("plain")
    sha256 = "a" * 64
    for field in ({"source": text}, {"source": None, "file_name": text}):
        changed = msgspec.structs.replace(found.artifacts[sha256], weights="real", revision=None, **field)
        made = gather(msgspec.structs.replace(found, artifacts={**found.artifacts, sha256: changed}), draw=False)
        for command in made.commands:
            words = shlex.split(command)
            assert words[:2] == ["slmprof", "profile"]
            assert "rm" not in words
            assert "reboot" not in words
            assert words.count("-o") == 1
            assert not words[2].startswith("-")


def test_the_same_results_give_the_same_bytes() -> None:
    def made() -> tuple[str, str]:
        found = hostile("plain")
        report = gather(found, draw=False)
        return to_html(report), to_markdown(report, found.environments)

    assert made() == made()
