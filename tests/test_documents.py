"""README.md and the pages of the documentation: every code block runs, and the site builds."""

import subprocess
import sys
from pathlib import Path

import numba
import pytest
from documents import blocks_of, run

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "fastbp" / "docs"
PAGES = [page for page in (ROOT / "README.md", *sorted((DOCS / "pages").rglob("*.md"))) if page.exists()]
PAGES_WITH_CODE = [page for page in PAGES if blocks_of(page)]


@pytest.fixture
def anywhere(tmp_path, monkeypatch):
    """A folder for the files that blocks write, a display that draws nothing, and numba's threads as they were."""
    threads = numba.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    yield
    numba.set_num_threads(threads)


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page):
    names, left_out = run(page)
    if page.name == "README.md":
        assert names["returns"][-5:].mean() > 300  # the pole is balanced
    if left_out:
        pytest.skip("; ".join(left_out))


@pytest.mark.parametrize("page", [page for page in PAGES_WITH_CODE if DOCS in page.parents], ids=lambda page: page.name)
def test_the_code_of_a_page_fits_its_column(page):
    for block in blocks_of(page):
        assert max(map(len, block.code.splitlines())) <= (60 if block.beside else 98), f"line {block.line}"


def test_blocks_are_found_with_what_they_need(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "a\n```python\nx = 1\n```\n    ```sh\n```\n<!-- needs: no_such, os -->\n  ```python\n  x = 2\n  ```\n"
    )
    assert [block[:2] for block in blocks_of(page)] == [(3, ()), (9, ("no_such", "os"))]
    assert run(page)[0]["x"] == 1
    assert run(page)[1] == ["line 9 needs no_such"]


def test_a_block_that_fails_shows_its_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n\n```python\nx = 1\nx / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as failed:
        run(page)
    assert failed.traceback[-1].lineno == 4  # counted from 0
    assert str(failed.traceback[-1].path) == str(page)


@pytest.mark.skipif(not DOCS.exists(), reason="only where the pages lie beside the tests")
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", DOCS / "mkdocs.yml", "-d", tmp_path / "site"]
    done = subprocess.run(build, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "site" / "api" / "kernels" / "index.html").read_text()
    assert "the sum over the minibatch of the weight gradients of its samples" in text
    assert 'class="doc-signature ' in text  # which fastbp.css lets go on in a second line where a page is narrow
    training = (tmp_path / "site" / "api" / "training" / "index.html").read_text()
    assert "with momentum and Nesterov's variant" in training
    assert 'id="fastbp.data.Standardizer.transform"' in training
    style = (tmp_path / "site" / "fastbp.css").read_text()
    assert ".doc-signature pre > code { white-space: pre-wrap;" in style
    assert "(max-width: 59.9375em)" in style  # a phone's: blocks that stand side by side elsewhere
