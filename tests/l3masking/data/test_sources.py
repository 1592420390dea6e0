"""Files pinned by blob id, the download cache, and the Hub with its client replaced: no test reaches a network."""

from __future__ import annotations

import subprocess
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import pytest

from l3masking.data import sources
from l3masking.data.rows import Columns
from l3masking.data.sources import HubPart, blob_id, cache_folder, download, read_file, read_hub, read_url
from l3masking.data.table import DataSpec
from l3masking.encoders.load import EncoderSpec
from l3masking.errors import EnvironmentFault, InputError, Unavailable
from l3masking.hub_ids import check_hub_id

CONTENT = b'{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
URL = "https://example.org/pinned/train.jsonl"
BLOB = blob_id(CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands for the network: `body` is what any address answers, or raises; `calls` are the addresses asked for."""
    state = SimpleNamespace(body=CONTENT, calls=[])

    def answer(url: str) -> bytes:
        state.calls.append(url)
        if isinstance(state.body, Exception):
            raise state.body
        return state.body

    monkeypatch.setattr(sources, "download", answer)
    return state


def test_blob_id_is_the_one_git_gives(tmp_path: Path) -> None:
    assert blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git's well-known empty blob
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    said = subprocess.run(["git", "hash-object", "--no-filters", path], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == BLOB


def test_download_reads_the_whole_body(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(CONTENT * 1000)
    assert download(path.as_uri()) == CONTENT * 1000


def test_local_file_is_checked_where_it_is_pinned(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)
    assert read_file(path, None) == read_file(path, BLOB) == CONTENT
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=f"{blob_id(CONTENT[:-1])}, not {BLOB}"):
        read_file(path, BLOB)
    with pytest.raises(InputError, match=r"absent\.jsonl \(No such file"):
        read_file(tmp_path / "absent.jsonl", None)
    with pytest.raises(InputError, match="Is a directory"):
        read_file(tmp_path, None)


def test_download_is_kept_and_used_offline(tmp_path: Path, server: SimpleNamespace) -> None:
    assert read_url(URL, BLOB, tmp_path, offline=False) == CONTENT
    assert read_url(URL, BLOB, tmp_path, offline=False) == CONTENT
    assert read_url(URL, BLOB, tmp_path, offline=True) == CONTENT
    assert server.calls == [URL]
    assert [path.name for path in (tmp_path / "data").iterdir()] == [f"{BLOB}.jsonl"]


def test_what_is_absent_and_offline_is_named(tmp_path: Path, server: SimpleNamespace) -> None:
    with pytest.raises(Unavailable, match=r"not in the cache .* this run is offline$"):
        read_url(URL, BLOB, tmp_path, offline=True)
    assert server.calls == []
    server.body = urllib.error.URLError("no route")
    with pytest.raises(Unavailable, match=r"cannot be downloaded .*no route.*: check the network"):
        read_url(URL, BLOB, tmp_path, offline=False)


@pytest.mark.parametrize("damage", [b"", CONTENT[:20], CONTENT[:-2] + b"z\n", bytes(len(CONTENT))])
def test_damaged_cache_file_is_never_used(tmp_path: Path, server: SimpleNamespace, damage: bytes) -> None:
    read_url(URL, BLOB, tmp_path, offline=False)
    (tmp_path / "data" / f"{BLOB}.jsonl").write_bytes(damage)
    with pytest.raises(Unavailable, match=f"is damaged .*{blob_id(damage)}.*offline"):
        read_url(URL, BLOB, tmp_path, offline=True)
    assert read_url(URL, BLOB, tmp_path, offline=False) == CONTENT
    assert read_url(URL, BLOB, tmp_path, offline=True) == CONTENT


def test_other_content_at_the_address_is_refused_and_not_kept(tmp_path: Path, server: SimpleNamespace) -> None:
    server.body = CONTENT + b"more"
    with pytest.raises(EnvironmentFault, match=f"now has git blob id {blob_id(server.body)}, not {BLOB}"):
        read_url(URL, BLOB, tmp_path, offline=False)
    assert list(tmp_path.rglob("*")) == []


def test_unwritable_cache_is_named(tmp_path: Path, server: SimpleNamespace) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EnvironmentFault, match=r"cannot read .*file/data/.* \(Not a directory\)"):
        read_url(URL, BLOB, tmp_path / "file", offline=False)


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("L3STUDY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "l3study"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "l3study"


def test_a_user_without_a_home_folder_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container whose user has a number and no name."""

    def unknown(*_: object) -> None:
        raise KeyError("no such user")

    for name in ("HOME", "L3STUDY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(EnvironmentFault, match="this home folder is not known; set HOME, or L3STUDY_CACHE"):
        cache_folder()
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert list(tmp_path.iterdir()) == []


COMMIT, LATER = "a" * 40, "b" * 40
COLUMNS = Columns("text", "label")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands for the Hub: `commit` the newest, `table` what it holds, `asked` what load_dataset was called with."""
    import datasets
    import huggingface_hub

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    table = datasets.Dataset.from_dict({"text": ["NA", "", "c"], "label": [1, 0, 1]}, features=features)
    state = SimpleNamespace(commit=COMMIT, table=table, asked=[], error=None)

    def info(_: object, repo_id: str, *, revision: str | None = None) -> SimpleNamespace:
        return SimpleNamespace(sha=revision if revision in (COMMIT, LATER) else state.commit)

    def load(path: str, name: str | None, *, split: str, revision: str, cache_dir: str) -> datasets.Dataset:
        state.asked.append((path, name, split, revision))
        assert list(Path(cache_dir).iterdir()) == []
        if state.error is not None:
            raise state.error
        return state.table

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    monkeypatch.setattr(datasets, "load_dataset", load)
    return state


def test_hub_split_is_read_at_its_commit_and_kept(tmp_path: Path, hub: SimpleNamespace) -> None:
    part = HubPart("owner/name", COMMIT, "plain", "train")
    rows, commit = read_hub(part, COLUMNS, tmp_path, offline=False)
    assert (rows.texts, rows.labels, commit) == (["NA", "", "c"], ["pos", "neg", "pos"], COMMIT)
    assert hub.asked == [("hf://datasets/owner/name", "plain", "train", COMMIT)]
    for offline in (True, False):  # a commit cannot change: it is not asked for again
        assert read_hub(part, COLUMNS, tmp_path, offline=offline) == (rows, COMMIT)
    assert len(hub.asked) == 1
    with pytest.raises(Unavailable, match=r"owner/name .*split test .*offline$"):
        read_hub(part._replace(split="test"), COLUMNS, tmp_path, offline=True)


def test_hub_branch_is_resolved_once_until_its_copy_goes(tmp_path: Path, hub: SimpleNamespace) -> None:
    part = HubPart("owner/name", None, None, "train")
    assert read_hub(part, COLUMNS, tmp_path, offline=False)[1] == COMMIT
    hub.commit, hub.table = LATER, hub.table.select([2])
    assert read_hub(part, COLUMNS, tmp_path, offline=True)[1] == COMMIT
    assert read_hub(part, COLUMNS, tmp_path, offline=False)[1] == COMMIT
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    assert read_hub(part, COLUMNS, tmp_path, offline=False) == ((["c"], ["pos"]), LATER)
    assert read_hub(part, COLUMNS, tmp_path, offline=True)[1] == LATER


@pytest.mark.parametrize("position", [0, 30, -1])
def test_damaged_hub_copy_is_fetched_again(tmp_path: Path, hub: SimpleNamespace, position: int) -> None:
    part = HubPart("owner/name", COMMIT, None, "train")
    good = read_hub(part, COLUMNS, tmp_path, offline=False)
    (path,) = (tmp_path / "data").iterdir()
    content = bytearray(path.read_bytes())
    content[position if position != 30 else content.index(b"\n") + 12] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Unavailable, match="no whole copy"):
        read_hub(part, COLUMNS, tmp_path, offline=True)
    assert read_hub(part, COLUMNS, tmp_path, offline=False) == good


def test_hub_data_is_checked_like_a_file(tmp_path: Path, hub: SimpleNamespace) -> None:
    part = HubPart("owner/name", COMMIT, None, "train")
    with pytest.raises(InputError, match=r"owner/name .*no column `sentence`.*'text', 'label'"):
        read_hub(part, Columns("sentence", "label"), tmp_path, offline=False)
    hub.table = hub.table.map(lambda row, index: {"label": -1 if index == 1 else 0}, with_indices=True)
    with pytest.raises(InputError, match=r"owner/name .*row 2: `label` is null"):  # -1: the labels are withheld
        read_hub(part, COLUMNS, tmp_path, offline=False)
    assert list(tmp_path.iterdir()) == []


def test_a_hub_split_with_withheld_labels_is_refused_with_advice(tmp_path: Path, hub: SimpleNamespace) -> None:
    hub.table = hub.table.map(lambda row: {"label": -1})
    with pytest.raises(InputError, match=r"owner/name .*split test: every label is -1, .* validation split as `test`"):
        read_hub(HubPart("owner/name", COMMIT, None, "test"), COLUMNS, tmp_path, offline=False)
    assert list(tmp_path.iterdir()) == []


def test_hub_errors_are_sorted_by_whose_they_are(tmp_path: Path, hub: SimpleNamespace) -> None:
    part = HubPart("owner/name", COMMIT, None, "dev")
    hub.error = ValueError('Unknown split "dev". Should be one of [train, test].')
    with pytest.raises(InputError, match=r"owner/name .*Unknown split .*\[train, test\]"):
        read_hub(part, COLUMNS, tmp_path, offline=False)
    hub.error = ConnectionError("Couldn't reach it\nlong story")
    with pytest.raises(
        Unavailable,
        match=r"\(ConnectionError: Couldn't reach it\): check its id, its revision and the network",
    ):
        read_hub(part, COLUMNS, tmp_path, offline=False)


def test_unreachable_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(Unavailable, match=r"owner/name .*cannot be fetched .*network"):
        read_hub(HubPart("owner/name", None, None, "train"), COLUMNS, tmp_path, offline=False)


@pytest.mark.parametrize("hub", ["bert", "google-bert/bert-base-uncased", "a_b/c.d", "0/1", "_x/y_"])
def test_hub_ids(hub: str) -> None:
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(hub)
    check_hub_id(hub, "`path`")


@pytest.mark.parametrize(
    ("hub", "said"),
    [
        (
            "https://huggingface.co/google-bert/bert-base-uncased",
            "a URL; give the id alone, as google-bert/bert-base-un",
        ),
        ("https://huggingface.co/datasets/owner/name/tree/main", "a URL; give the id alone, as owner/name"),
        ("https://huggingface.co", "a URL; give the id alone, as owner/name"),
        *(
            (path, "that is a path, which goes to `path`; a Hub id is")
            for path in ("./enc", "/a/b", "~/x", "..", "C:\\x")
        ),
        *(
            (wrong, "a Hub id is owner/name, of letters")
            for wrong in ("a/b/c", "a/b ", "-x/y", "a--b", "x" * 97, "é", "")
        ),
    ],
)
def test_a_folder_or_a_url_is_no_hub_id(hub: str, said: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    with pytest.raises(HFValidationError):
        validate_repo_id(hub)
    with pytest.raises(InputError) as refused:
        check_hub_id(hub, "`path`")
    assert str(refused.value).startswith(f"hub is {hub!r}: ")
    assert said in str(refused.value)


def test_a_folder_that_is_there_is_named_as_one(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="that is a path"):
        EncoderSpec(hub="a/b/c")
    with pytest.raises(InputError, match="goes to `train`, `validation` and `test`, without `hub`"):
        DataSpec(hub="./a", train="train", validation="validation", test="test")
