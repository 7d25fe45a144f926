"""Files of known logits are scored to figures worked out by hand; what is there is not done again."""

import math
from pathlib import Path

import pytest

from profiler.quality import session
from profiler.quality.choose import refuse_synthetic
from profiler.records.config import F16_CACHE, KvTypes
from profiler.records.quality import Divergence
from quant.base.errors import UserError
from tests.support.quality import Scoring, model

# In a window of eight tokens those at 5, 6 and 7 are predicted in the scored half: here 1, 0 and 1.
TEXT = "00000101"
ONE_IN_FOUR = [0.0, math.log(3)]  # token 0 has the probability 1/4, token 1 has 3/4
EVEN = [5.0, 5.0]


def divergence_of(scoring: Scoring, level: str) -> Divergence:
    found = scoring.latest()[level].divergence
    assert found is not None
    return found


def test_perplexity_is_the_inverse_geometric_mean_of_the_right_tokens_probabilities(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    scoring.run(model(tmp_path, "F16", ONE_IN_FOUR), text=TEXT)
    found = scoring.latest()["f16"]
    assert found.perplexity is not None
    assert (found.n_chunks, found.n_tokens, found.perplexity.n_scored) == (1, 8, 3)
    assert found.perplexity.ppl.value == pytest.approx((64 / 9) ** (1 / 3), rel=1e-6)
    # The logarithms are ln 4/3 twice and ln 4 once: their variance is 2/9 · (ln 3)², and of the mean half of that.
    assert found.perplexity.ppl.se == pytest.approx((64 / 9) ** (1 / 3) * math.log(3) / 3, rel=1e-6)


def test_a_level_is_compared_token_by_token(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    counts = scoring.run(model(tmp_path, "F16", ONE_IN_FOUR), model(tmp_path, "Q2_K", EVEN), text=TEXT)
    assert (counts.n_ok, counts.n_failed, counts.n_known) == (2, 0, 0)
    found = divergence_of(scoring, "q2_k")
    kld = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert found.kld.value == pytest.approx(kld, rel=1e-4)
    assert found.kld.se == pytest.approx(0, abs=1e-6)
    assert [found.kld_p90, found.kld_p99, found.kld_max] == pytest.approx([kld] * 3, rel=1e-4)
    assert found.same_top.value == 0  # of two even tokens the first counts
    assert found.dp_rms.value == pytest.approx(0.25)
    assert found.log_ppl_ratio.value == pytest.approx(math.log(2) - math.log(64 / 9) / 3, rel=1e-6)


def test_each_file_is_scored_with_each_kv_cache_against_the_reference_with_an_f16_cache(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    files = model(tmp_path, "F16", ONE_IN_FOUR, cached={"q8_0": EVEN}), model(tmp_path, "Q2_K", EVEN)
    caches = (KvTypes("f16", "q4_0"), KvTypes("q8_0", "q8_0"))
    counts = scoring.run(*files, text=TEXT, caches=caches)
    assert (counts.n_ok, counts.n_known) == (5, 0)
    found = {(each.artifact_sha256[:3], each.cache): each.divergence for each in scoring.known.qualities}
    assert list(found) == [("f16", F16_CACHE), *((name, cache) for name in ("f16", "q2_") for cache in caches)]
    kld = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert [each.kld.value for each in found.values() if each] == pytest.approx(
        [0, 0, kld, kld, kld], rel=1e-4, abs=1e-8
    )
    assert {job.config.cache for job in scoring.jobs if job.is_reference} == {F16_CACHE}
    again = scoring.run(*files, text=TEXT, caches=(F16_CACHE, *caches))
    assert (again.n_ok, again.n_known) == (1, 5)  # Q2_K with an f16 cache


def test_the_unquantized_model_does_not_differ_from_itself(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    scoring.run(model(tmp_path, "F16", ONE_IN_FOUR), model(tmp_path, "F32", ONE_IN_FOUR), text=TEXT)
    itself, its_twin = divergence_of(scoring, "f16"), divergence_of(scoring, "f32")
    assert (itself.kld.value, itself.same_top.value, itself.dp_rms.value) == (0, 1, 0)
    assert its_twin.kld.value == pytest.approx(0, abs=1e-8)
    assert (its_twin.same_top.value, its_twin.dp_rms.value, its_twin.log_ppl_ratio.value) == (1, 0, 0)


def test_without_an_unquantized_model_there_is_perplexity_alone(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    scoring.run(None, model(tmp_path, "Q8_0", EVEN), text=TEXT)
    found = scoring.latest()["q8_0"]
    assert (found.reference_sha256, found.divergence) == (None, None)
    assert found.perplexity is not None
    assert found.perplexity.ppl.value == pytest.approx(2)


def test_bos_comes_before_the_text(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    scoring.run(model(tmp_path, "F16", EVEN, bos=0), text="1" * 15)
    assert scoring.latest()["f16"].n_chunks == 2  # fifteen tokens and BOS


def test_a_text_in_many_turns_gives_the_same_as_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = model(tmp_path, "F16", ONE_IN_FOUR), model(tmp_path, "Q2_K", EVEN)
    text = "0110100110010110" * 2
    whole, parts = Scoring(tmp_path), Scoring(tmp_path)
    whole.run(*files, text=text)
    monkeypatch.setattr(session, "_DISK_BYTES", 0)
    parts.run(*files, text=text)
    assert [(job.first, job.n_windows) for job in parts.jobs] == [(n, 1) for n in range(4) for _ in files]
    assert len(whole.jobs) == 2
    for level in ("f16", "q2_k"):
        one, other = whole.latest()[level], parts.latest()[level]
        assert one.n_chunks == other.n_chunks == 4
        assert (one.perplexity, one.divergence) == (other.perplexity, other.divergence)
    assert not (tmp_path / "scratch").exists()


def test_what_is_there_is_not_done_again(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    f16, q8, q2 = (model(tmp_path, level, EVEN) for level in ("F16", "Q8_0", "Q2_K"))
    scoring.run(f16, q8, text=TEXT)
    again = scoring.run(f16, q8, text=TEXT)
    assert (again.n_ok, again.n_failed, again.n_known, len(scoring.jobs)) == (0, 0, 2, 2)
    more = scoring.run(f16, q8, q2, text=TEXT)
    assert (more.n_ok, more.n_known) == (1, 2)
    assert [Path(job.path).name for job in scoring.jobs[2:]] == ["tiny-F16.gguf", "tiny-Q2_K.gguf"]
    other = scoring.run(f16, text=TEXT + "1")
    assert (other.n_ok, other.n_known) == (1, 0)


def test_a_level_that_fails_is_a_record_and_is_tried_again(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    f16, q8 = model(tmp_path, "F16", EVEN), model(tmp_path, "Q8_0", EVEN)
    counts = scoring.run(f16, model(tmp_path, "Q2_K", EVEN, fail="decode"), q8, text=TEXT)
    assert (counts.n_ok, counts.n_failed) == (2, 1)
    failed = scoring.latest()["q2_k"]
    assert failed.error is not None
    assert (failed.status, failed.error.kind, failed.perplexity) == ("failed", "decode", None)
    counts = scoring.run(f16, model(tmp_path, "Q2_K", EVEN), q8, text=TEXT)
    assert (counts.n_ok, counts.n_failed, counts.n_known) == (1, 0, 2)
    assert scoring.latest()["q2_k"].status == "ok"


def test_without_its_reference_no_level_is_scored_and_figures_stay(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    scoring.run(model(tmp_path, "F16", EVEN), text=TEXT)
    broken = model(tmp_path, "F16", EVEN, fail="load")
    counts = scoring.run(broken, model(tmp_path, "Q8_0", EVEN), text=TEXT)
    assert (counts.n_ok, counts.n_failed, counts.n_known) == (0, 1, 1)
    assert scoring.latest()["f16"].status == "ok"
    error = scoring.latest()["q8_0"].error
    assert error is not None
    assert error.message.startswith("F16, ")
    assert error.message.endswith("failed")


def test_a_level_that_reads_other_tokens_is_not_compared(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    counts = scoring.run(model(tmp_path, "F16", EVEN), model(tmp_path, "Q8_0", EVEN, bos=1), text=TEXT)
    assert (counts.n_ok, counts.n_failed) == (1, 1)
    error = scoring.latest()["q8_0"].error
    assert error is not None
    assert error.kind == "tokens"


def test_logits_that_are_no_numbers_are_a_failure(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    overflown = model(tmp_path, "Q8_0", EVEN)
    overflown.path.write_text('{"after": {}, "other": [1e39, 0]}')  # infinite as a float32
    scoring.run(model(tmp_path, "F16", EVEN), overflown, text=TEXT)
    error = scoring.latest()["q8_0"].error
    assert error is not None
    assert error.kind == "values"


def test_what_does_not_fit_into_memory_is_skipped(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    scoring.available_bytes = 1
    counts = scoring.run(model(tmp_path, "F16", EVEN), model(tmp_path, "Q8_0", EVEN), text=TEXT)
    assert (counts.n_ok, counts.n_failed, scoring.jobs) == (0, 0, [])
    assert {level: each.status for level, each in scoring.latest().items()} == {"f16": "skipped", "q8_0": "skipped"}


def test_where_only_the_unquantized_model_does_not_fit_there_is_perplexity_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring = Scoring(tmp_path)
    monkeypatch.setattr(session, "needed_bytes", lambda known, _: 1000 if known.level == "F16" else 10)
    scoring.available_bytes = 100
    counts = scoring.run(model(tmp_path, "F16", EVEN), model(tmp_path, "Q8_0", EVEN), text=TEXT)
    assert (counts.n_ok, counts.n_failed) == (1, 0)
    found = scoring.latest()
    assert (found["f16"].status, found["q8_0"].status) == ("skipped", "ok")
    assert (found["q8_0"].reference_sha256, found["q8_0"].divergence) == (None, None)
    assert found["q8_0"].perplexity is not None
    assert any("only perplexity is measured, no KLD" in line for line in scoring.said)


def test_a_text_that_fills_no_window_is_the_user_s_mistake(tmp_path: Path) -> None:
    scoring = Scoring(tmp_path)
    with pytest.raises(UserError, match=r"7 tokens, .*window of 8; .*--text"):
        scoring.run(model(tmp_path, "F16", EVEN), text=TEXT[1:])
    assert scoring.records == []
    assert not (tmp_path / "scratch").exists()


def test_a_disk_without_room_for_a_window_is_the_user_s_to_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 100}))
    with pytest.raises(UserError, match=r"has 100 B free, and a window takes 2\.9 KiB; free space"):
        Scoring(tmp_path).run(model(tmp_path, "F16", EVEN), text=TEXT)  # three rows of 500 tokens of two bytes


def test_synthetic_weights_are_refused(tmp_path: Path) -> None:
    import msgspec

    real = model(tmp_path, "F16", EVEN)
    refuse_synthetic([real])
    synthetic = msgspec.structs.replace(real, artifact=msgspec.structs.replace(real.artifact, weights="synthetic"))
    with pytest.raises(UserError, match="tiny: synthetic weights are random numbers, so there is no quality to lose"):
        refuse_synthetic([real, synthetic])
