from __future__ import annotations

import pytest

from launcher.cli.main import run


@pytest.mark.parametrize(("target", "said"), [
    ("claim:flowers", "write 'flowers', or 'claim:flowers/' for the folder 'flowers' of a claim"),
    ("flowers:../other", "expected CLAIM or CLAIM:FOLDER/IN/IT"),
    (":folder", "expected CLAIM or CLAIM:FOLDER/IN/IT"),
])  # fmt: skip
@pytest.mark.parametrize("verb", ["push", "check"])
def test_what_names_no_claim_is_refused_before_a_cluster_is_looked_for(
    tmp_path, monkeypatch, capsys, verb, target, said
):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    assert run(["data", verb, str(tmp_path / "data"), target]) == 2
    assert said in capsys.readouterr().err
